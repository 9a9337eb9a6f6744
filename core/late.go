package core

import (
	"context"
	"errors"
	"slices"

	"cloudsettle/core/money"
	"cloudsettle/core/rating"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// lineKey tells lines of one day apart.
type lineKey struct{ item, variant string }

// correct bills what came late for an earlier day: what that day comes to now,
// with everything that is known, less what it came to with what was billed
// before. So a late sample that is sent again in a later day costs nothing,
// tiers and maxima are right, and a smaller quantity is a credit. It waits while
// a day in between that corrects the same one is not billed.
func (p *preparation) correct(ctx context.Context, b *settlement.DailyBill, rec usage.Record, site workspace.Site, of usage.Day) (WaitReason, error) {
	r, ok, err := p.pricesOf(ctx, b, site, of)
	if err != nil || !ok {
		return WaitNoPrices, err
	}
	samples, ok, err := p.known(ctx, rec, site, of)
	if err != nil || !ok {
		return WaitEarlierDay, err
	}
	var then, now settlement.DailyBill
	if err := p.add(&then, r, samples, of); err != nil {
		return "", err
	}
	for _, x := range rec.Samples {
		if usage.DayOf(x.Hour, site.Zone) == of {
			samples = overlay(samples, x)
		}
	}
	if err := p.add(&now, r, samples, of); err != nil {
		return "", err
	}
	b.Unrated = append(b.Unrated, now.Unrated...)
	return "", p.difference(ctx, b, then.Lines, now.Lines)
}

// pricesOf returns the prices that a day is corrected by: those of its own
// bill, whatever was added since, or if that was in another currency those of
// the bill with the correction. Both are named by bills, so that the
// correction can be derived again.
func (p *preparation) pricesOf(ctx context.Context, b *settlement.DailyBill, site workspace.Site, of usage.Day) (*rating.Rater, bool, error) {
	book := b.Book
	first, err := p.tx.DailyBill(ctx, b.Workspace, of)
	switch {
	case errors.Is(err, ErrNotFound):
	case err != nil:
		return nil, false, err
	case first.Currency == b.Currency:
		book = first.Book
	}
	return p.tariffs.version(site.Prices, b.Currency, of, book)
}

// known returns the samples of one earlier day that were billed before: its
// own, and over them those that came late. It returns false while a day that
// has some of them is not billed.
func (p *preparation) known(ctx context.Context, rec usage.Record, site workspace.Site, of usage.Day) ([]usage.Sample, bool, error) {
	var out []usage.Sample
	for day := of; day < p.day; day++ {
		r, err := p.tx.UsageOf(ctx, workspace.ID(rec.Workspace), day)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, false, err
		}
		for _, x := range r.Samples {
			if usage.DayOf(x.Hour, site.Zone) != of {
				continue
			}
			if !r.Sealed {
				return nil, false, nil
			}
			out = overlay(out, x)
		}
	}
	return out, true, nil
}

// difference appends the lines of now, less what those of then came to. A line
// that is not in then was not used yet, or was too large to be an amount.
func (p *preparation) difference(ctx context.Context, b *settlement.DailyBill, then, now []settlement.Line) error {
	was := map[lineKey]money.Micros{}
	for _, l := range then {
		was[lineKey{l.Item, l.Variant}] = l.Amount
	}
	var billed map[lineKey]money.Micros
	for _, l := range now {
		key := lineKey{l.Item, l.Variant}
		before, ok := was[key]
		if !ok && billed == nil {
			var err error
			if billed, err = p.billed(ctx, b, l.Of); err != nil {
				return err
			}
		}
		if !ok {
			before = billed[key]
		}
		if l.Amount -= before; l.Amount != 0 {
			b.Lines = append(b.Lines, l)
		}
	}
	return nil
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

// billed returns what was billed for one earlier day so far, in the currency
// of a bill, by line.
func (p *preparation) billed(ctx context.Context, b *settlement.DailyBill, of usage.Day) (map[lineKey]money.Micros, error) {
	out := map[lineKey]money.Micros{}
	for day := of; day < p.day; day++ {
		old, err := p.tx.DailyBill(ctx, b.Workspace, day)
		if errors.Is(err, ErrNotFound) || err == nil && old.Currency != b.Currency {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, l := range old.Lines {
			if day == of && l.Of == 0 || l.Of == of {
				out[lineKey{l.Item, l.Variant}] += l.Amount
			}
		}
	}
	return out, nil
}
