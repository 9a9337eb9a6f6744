package core

import (
	"context"
	"errors"
	"time"

	"github.com/govalues/decimal"

	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// The limits of a report of usage.
const (
	// MaxUsageBatch is how many samples one report may have.
	MaxUsageBatch = 50_000
	// maxAhead is how far the clocks of reporters may be ahead of ours.
	maxAhead = time.Hour
	// lateDays is how long after its day a sample is still taken: two bills.
	lateDays = 62
	// maxItem bounds names that samples give.
	maxItem = 128
)

// UsageSample is a sample as reported. Bad, if not empty, is why it could not
// even be read.
type UsageSample struct {
	Workspace, Item, Variant string
	Hour                     time.Time
	Quantity                 decimal.Decimal
	Bad                      string
}

// UsageRejection is a sample that was not taken, and why.
type UsageRejection struct {
	Index        int
	Code, Detail string
}

// UsageReport is what became of a report.
type UsageReport struct {
	Accepted, Duplicate, Replaced, Late int
	Rejected                            []UsageRejection
}

// ReportUsage takes samples. A bad one never blocks the good ones. A repeat of
// the whole report, or of any part, changes nothing. What comes after its day
// was billed goes into the next open day and is charged as a correction there.
func (s *Service) ReportUsage(ctx context.Context, samples []UsageSample) (UsageReport, error) {
	if len(samples) > MaxUsageBatch {
		return UsageReport{}, &Fault{Err: ErrTooLarge, Code: "too_many_samples", Detail: "a report has at most 50000 samples"}
	}
	in := intake{Service: s, now: s.Now(), report: UsageReport{Rejected: []UsageRejection{}}, sites: map[string]*workspace.Site{}}
	err := s.Store.View(ctx, func(ctx context.Context, tx ReadTx) error { return in.sort(ctx, tx, samples) })
	if err != nil || len(in.entries) == 0 {
		return in.report, err
	}
	late, err := in.append(ctx, in.entries, &in.report.Accepted, &in.report.Replaced)
	for after := usage.Day(0); err == nil && len(late) > 0; after++ {
		in.move(late, after)
		late, err = in.append(ctx, late, &in.report.Late, &in.report.Late)
	}
	return in.report, err
}

// move puts late entries into the day at their site some days after today. Today
// itself is billed already where a subscription ended.
func (in *intake) move(late []usage.Entry, after usage.Day) {
	for i := range late {
		late[i].Day = usage.DayOf(in.now, in.sites[late[i].Workspace].Zone) + after
	}
}

// intake is one report on its way.
type intake struct {
	*Service
	now     time.Time
	report  UsageReport
	entries []usage.Entry
	prices  *tariffs
	sites   map[string]*workspace.Site // by workspace; nil: no such workspace
}

// sort checks each sample and finds its day.
func (in *intake) sort(ctx context.Context, tx ReadTx, samples []UsageSample) (err error) {
	if in.prices, err = in.tariffs(ctx, tx); err != nil {
		return err
	}
	in.entries = make([]usage.Entry, 0, len(samples))
	for i := range samples {
		site, err := in.site(ctx, tx, samples[i].Workspace)
		if err != nil {
			return err
		}
		if code, detail := in.wrong(&samples[i], site); code != "" {
			in.report.Rejected = append(in.report.Rejected, UsageRejection{i, code, detail})
			continue
		}
		x := &samples[i]
		in.entries = append(in.entries, usage.Entry{
			Sample: usage.Sample{Workspace: x.Workspace, Item: x.Item, Variant: x.Variant, Hour: x.Hour.UTC(), Quantity: x.Quantity},
			Day:    usage.DayOf(x.Hour, site.Zone),
		})
	}
	return nil
}

// site returns where a workspace lives, or nil if there is none.
func (in *intake) site(ctx context.Context, tx ReadTx, id string) (*workspace.Site, error) {
	if site, ok := in.sites[id]; ok {
		return site, nil
	}
	w, err := tx.Workspace(ctx, workspace.ID(id))
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrInvalid) {
		in.sites[id] = nil
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	site := in.Service.sites[w.Site]
	in.sites[id] = &site
	return &site, nil
}

func (in *intake) wrong(x *UsageSample, site *workspace.Site) (code, detail string) {
	switch {
	case x.Bad != "":
		return "invalid_sample", x.Bad
	case site == nil:
		return "unknown_workspace", "there is no workspace " + x.Workspace
	case site.Zone == nil:
		return "unknown_site", "the workspace's site is not configured"
	case len(x.Item) > maxItem || len(x.Variant) > maxItem:
		return "invalid_sample", "item and variant have at most 128 bytes"
	case !in.prices.known[site.Prices][x.Item]:
		return "unknown_item", "no price book of zone " + site.Prices + " has an item " + x.Item
	case x.Quantity.IsNeg():
		return "negative_quantity", "usage is never below zero"
	case !x.Hour.Equal(x.Hour.Truncate(time.Hour)):
		return "invalid_hour", "hour must be the beginning of an hour"
	case x.Hour.After(in.now.Add(maxAhead)):
		return "future_hour", "the hour has not begun"
	case x.Hour.Before(in.now.AddDate(0, 0, -lateDays)):
		return "too_late", "usage is taken until 62 days after its day"
	}
	return "", ""
}

// append stores entries and counts what became of them. It returns those whose
// day is sealed. A repeat of one that was late before is a duplicate.
func (in *intake) append(ctx context.Context, entries []usage.Entry, accepted, replaced *int) ([]usage.Entry, error) {
	verdicts, err := in.Store.AppendUsage(ctx, entries)
	if err != nil {
		return nil, err
	}
	var late []usage.Entry
	for i, v := range verdicts {
		switch v {
		case usage.Accepted:
			*accepted++
		case usage.Duplicate:
			in.report.Duplicate++
		case usage.Replaced:
			*replaced++
		case usage.Late:
			late = append(late, entries[i])
		}
	}
	return late, nil
}
