package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"cloudsettle/console/api/rest"
)

type meterCmds struct {
	Status  meterStatus  `cmd:"" help:"List what is reported to marketplaces, and the subscriptions that need a look."`
	Health  meterHealth  `cmd:"" help:"List how the reporting of subscriptions is, or show one."`
	Flush   meterFlush   `cmd:"" help:"Report what is due now."`
	Resolve meterResolve `cmd:"" help:"Decide about a record whose report got no answer."`
	Retry   meterRetry   `cmd:"" help:"Seal and report again what was held back."`
}

func meterColumns() []column[rest.MeteringRecord] {
	return []column[rest.MeteringRecord]{
		{"ID", func(r rest.MeteringRecord) string { return r.ID }},
		{"LISTING", func(r rest.MeteringRecord) string { return r.Listing }},
		{"SUBSCRIPTION", func(r rest.MeteringRecord) string { return r.SubscriptionID }},
		{"PERIOD", func(r rest.MeteringRecord) string { return when(&r.PeriodStart) }},
		{"UNITS", func(r rest.MeteringRecord) string { return fmt.Sprint(r.Units) }},
		{"AMOUNT", func(r rest.MeteringRecord) string { return money(r.Amount) }},
		{"STATUS", func(r rest.MeteringRecord) string { return string(r.Status) }},
		{"DEADLINE", func(r rest.MeteringRecord) string { return when(&r.Deadline) }},
		{"ALARM", func(r rest.MeteringRecord) string {
			if r.Alarm == rest.Calm {
				return ""
			}
			return string(r.Alarm)
		}},
		{"ATTEMPTS", func(r rest.MeteringRecord) string { return count(r.Attempts) }},
		{"ERROR", func(r rest.MeteringRecord) string { return r.LastError }},
	}
}

type meterStatus struct {
	Subscription string `help:"Only those of this subscription." placeholder:"ID"`
	Listing      string `help:"Only those of this listing."`
	Status       string `help:"Only those in this state, such as sealed, unknown or conflict."`
	listFlags
}

// Run lists metering records.
func (l *meterStatus) Run(ctx context.Context, c *cli) error {
	items, err := gather[rest.MeteringRecord](l.Limit, func(p page) (*http.Response, error) {
		ask := rest.ListMeteringRecordsParams{
			SubscriptionID: given(l.Subscription), Listing: given(l.Listing), Limit: &p.limit, Cursor: p.cursor,
		}
		if l.Status != "" {
			status := rest.MeteringStatus(l.Status)
			ask.Status = &status
		}
		return c.api.ListMeteringRecords(ctx, &ask)
	})
	if err != nil {
		return err
	}
	if err := printAll(c, items, meterColumns()); err != nil || c.output == "json" || c.output == "csv" {
		return err
	}
	return l.health(ctx, c)
}

// health prints below the records what is wrong with subscriptions: a table of
// records does not show the one that is missing.
func (l *meterStatus) health(ctx context.Context, c *cli) error {
	var found []rest.SubscriptionMetering
	if l.Subscription != "" {
		v, err := received[rest.SubscriptionMetering](c.api.GetSubscriptionMetering(ctx, l.Subscription))
		if err != nil {
			return err
		}
		found = append(found, v)
	} else {
		for _, health := range []rest.MeteringHealth{rest.Stuck, rest.Silent} {
			h := meterHealth{Listing: l.Listing, Health: string(health), listFlags: l.listFlags}
			list, err := h.list(ctx, c)
			if err != nil {
				return err
			}
			found = append(found, list...)
		}
	}
	if len(found) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(c.out); err != nil {
		return err
	}
	return printAll(c, found, healthColumns())
}

func healthColumns() []column[rest.SubscriptionMetering] {
	return []column[rest.SubscriptionMetering]{
		{"SUBSCRIPTION", func(v rest.SubscriptionMetering) string { return v.SubscriptionID }},
		{"LISTING", func(v rest.SubscriptionMetering) string { return v.Listing }},
		{"HEALTH", func(v rest.SubscriptionMetering) string { return string(v.Health) }},
		{"WORKSPACES", func(v rest.SubscriptionMetering) string { return count(v.Workspaces) }},
		{"USAGE UNTIL", func(v rest.SubscriptionMetering) string { return when(v.UsageUntil) }},
		{"LAST SETTLED", func(v rest.SubscriptionMetering) string { return text(v.LastSettledDay) }},
		{"LAST ACCEPTED", func(v rest.SubscriptionMetering) string { return when(v.LastAcceptedAt) }},
		{"PENDING", func(v rest.SubscriptionMetering) string { return count(v.Pending) }},
		{"NEXT DEADLINE", func(v rest.SubscriptionMetering) string { return when(v.NextDeadline) }},
		{"HOLD", func(v rest.SubscriptionMetering) string {
			if v.Hold == nil {
				return ""
			}
			return string(*v.Hold)
		}},
	}
}

type meterHealth struct {
	Subscription string `arg:"" optional:"" help:"Show just this one."`
	Listing      string `help:"Only those of this listing."`
	Health       string `help:"Only those in this state: stuck, silent, idle, reporting or unbound."`
	listFlags
}

// Run lists the health of subscriptions, or shows one.
func (h *meterHealth) Run(ctx context.Context, c *cli) error {
	if h.Subscription != "" {
		v, err := received[rest.SubscriptionMetering](c.api.GetSubscriptionMetering(ctx, h.Subscription))
		if err != nil {
			return err
		}
		return printOne(c, v, healthColumns())
	}
	items, err := h.list(ctx, c)
	if err != nil {
		return err
	}
	return printAll(c, items, healthColumns())
}

func (h *meterHealth) list(ctx context.Context, c *cli) ([]rest.SubscriptionMetering, error) {
	return gather[rest.SubscriptionMetering](h.Limit, func(p page) (*http.Response, error) {
		ask := rest.ListMeteringHealthParams{Listing: given(h.Listing), Limit: &p.limit, Cursor: p.cursor}
		if h.Health != "" {
			health := rest.MeteringHealth(h.Health)
			ask.Health = &health
		}
		return c.api.ListMeteringHealth(ctx, &ask)
	})
}

type meterResolve struct {
	ID      string `arg:"" help:"The record."`
	Outcome string `arg:"" enum:"accepted,not-accepted" help:"accepted if the marketplace has it on file, not-accepted if it has not."`
	Reason  string `required:"" help:"How you know; it is kept with the record."`
}

// Run decides about a record.
func (r *meterResolve) Run(ctx context.Context, c *cli) error {
	v, err := received[rest.MeteringRecord](c.api.ResolveMeteringRecord(ctx, r.ID, nil, rest.NewMeteringResolution{
		Outcome: rest.MeteringOutcome(strings.ReplaceAll(r.Outcome, "-", "_")), Reason: r.Reason,
	}))
	if err != nil {
		return err
	}
	return printOne(c, v, meterColumns())
}

type meterRetry struct {
	Subscriptions []string `arg:"" name:"subscription"`
}

// Run lifts holds. A repeat is safe.
func (r *meterRetry) Run(ctx context.Context, c *cli) error {
	var out []rest.SubscriptionMetering
	for _, id := range r.Subscriptions {
		v, err := received[rest.SubscriptionMetering](c.api.RetrySubscriptionMetering(ctx, id, nil))
		if err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		out = append(out, v)
	}
	return printAll(c, out, healthColumns())
}

type meterFlush struct{}

// Run reports what is due. A repeat is safe.
func (*meterFlush) Run(ctx context.Context, c *cli) error {
	v, err := received[rest.MeteringFlush](c.api.FlushMetering(ctx, nil))
	if err != nil {
		return err
	}
	return printOne(c, v, []column[rest.MeteringFlush]{
		{"PENDING", func(v rest.MeteringFlush) string { return count(v.Pending) }},
	})
}
