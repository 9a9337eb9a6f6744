package main

import (
	"context"
	"fmt"
	"net/http"

	"cloudsettle/console/api/rest"
)

type meterCmds struct {
	Status meterStatus `cmd:"" help:"List what is reported to marketplaces."`
	Flush  meterFlush  `cmd:"" help:"Report what is due now."`
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
	return printAll(c, items, meterColumns())
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
