package core

import (
	"context"
	"errors"
	"slices"

	"cloudsettle/core/money"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// lineKey tells lines of one day apart.
type lineKey struct{ item, variant string }

// correct bills what came late for an earlier day: what that day comes to now,
// with everything that is known, less what was billed for it so far. So a late
// sample that is sent again in a later day costs nothing, tiers and maxima are
// right, and a smaller quantity is a credit.
func (p *preparation) correct(ctx context.Context, b *settlement.DailyBill, rec usage.Record, site workspace.Site, of usage.Day) error {
	r, ok, err := p.tariffs.rater(site.Prices, b.Currency, of)
	if err != nil {
		return err
	}
	if !ok {
		b.Unrated = append(b.Unrated, settlement.Unrated{Item: "*", Reason: "no_price_book_for_" + of.String()})
		return nil
	}
	samples, err := p.effective(ctx, rec, site, of)
	if err != nil {
		return err
	}
	billed, err := p.billed(ctx, rec, of)
	if err != nil {
		return err
	}
	var now settlement.DailyBill
	if err := p.add(&now, r, samples, of); err != nil {
		return err
	}
	for _, l := range now.Lines {
		l.Amount -= billed[lineKey{l.Item, l.Variant}]
		if l.Amount != 0 {
			b.Lines = append(b.Lines, l)
		}
	}
	b.Unrated = append(b.Unrated, now.Unrated...)
	return nil
}

// effective returns all samples of one earlier day: its own, and over them
// those that came late up to the day that is being billed.
func (p *preparation) effective(ctx context.Context, rec usage.Record, site workspace.Site, of usage.Day) ([]usage.Sample, error) {
	var out []usage.Sample
	for day := of; day <= p.day; day++ {
		r := rec
		if day != p.day {
			var err error
			r, err = p.tx.UsageOf(ctx, workspace.ID(rec.Workspace), day)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
		}
		for _, x := range r.Samples {
			if usage.DayOf(x.Hour, site.Zone) == of {
				out = overlay(out, x)
			}
		}
	}
	return out, nil
}

// overlay puts x into sorted samples, over one with the same key.
func overlay(samples []usage.Sample, x usage.Sample) []usage.Sample {
	at, found := slices.BinarySearchFunc(samples, x, usage.Compare)
	if found {
		samples[at] = x
		return samples
	}
	return slices.Insert(samples, at, x)
}

// billed returns what was billed for one earlier day so far, by line.
func (p *preparation) billed(ctx context.Context, rec usage.Record, of usage.Day) (map[lineKey]money.Micros, error) {
	out := map[lineKey]money.Micros{}
	for day := of; day < p.day; day++ {
		b, err := p.tx.DailyBill(ctx, workspace.ID(rec.Workspace), day)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, l := range b.Lines {
			if day == of && l.Of == 0 || l.Of == of {
				out[lineKey{l.Item, l.Variant}] += l.Amount
			}
		}
	}
	return out, nil
}
