package core_test

import (
	"context"
	"testing"
	"time"

	"cloudsettle/core"
	"cloudsettle/core/metering"
)

// afterCommit is a store that does something after its nth commit.
type afterCommit struct {
	core.Store
	n  int
	do func()
}

func (s *afterCommit) Update(ctx context.Context, fn func(context.Context, core.Tx) error) error {
	err := s.Store.Update(ctx, fn)
	if s.n--; s.n == 0 {
		s.do()
	}
	return err
}

// TestChargeBesideSealing: what is charged just after a record was sealed is
// sealed too, without another charge.
func TestChargeBesideSealing(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 4; n++ { // the lease, the record with the end of the task, sending, the answer
		x := newTill(t)
		sub := x.buy(x.cloud, "s-1", "b-1")
		x.claim(sub, x.acc)
		ws := x.workspace("c1")
		must(t, x.bind(ws, x.acc, sub.ID))
		x.use(ws, "time_series", "3d", 1, "1000") // 60 units
		x.close()
		x.next()
		x.use(ws, "time_series", "3d", 1, "1000")
		x.clock.Add(24 * time.Hour)
		c := x.Config
		made := 0
		c.Store = &afterCommit{Store: x.store, n: n, do: func() { made, _ = x.settle(x.day) }}
		must(t, core.NewService(c).Flush(t.Context()))
		if made != 1 {
			t.Fatalf("%d bills after commit %d, want 1", made, n)
		}
		for range 3 {
			x.clock.Add(2 * time.Minute)
			must(t, x.Flush(t.Context()))
		}
		var units int64
		for _, u := range x.meter.taken {
			units += u
		}
		if units != 120 {
			t.Errorf("charged again after commit %d: %d units reported, want 120", n, units)
		}
	}
}

// TestMoreUnitsThanARecordHolds: what is due beyond the most that a record may
// have is sealed in further records, without another charge.
func TestMoreUnitsThanARecordHolds(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	x.meter.most = 100
	sub := x.buy(x.cloud, "s-1", "b-1")
	x.claim(sub, x.acc)
	ws := x.workspace("c1")
	must(t, x.bind(ws, x.acc, sub.ID))
	x.use(ws, "time_series", "3d", 1, "6007") // 3.6042: 360 units and 0.0042
	x.close()
	for range 6 {
		must(t, x.Flush(t.Context()))
		x.clock.Add(time.Minute)
	}
	list, err := x.MeterRecords(t.Context(), core.Actor{}, sub.ID, core.Page{Limit: 10})
	must(t, err)
	var units int64
	for _, r := range list.Items {
		if r.Status == metering.Accepted {
			units += r.Units
		}
	}
	if units != 360 || len(list.Items) != 4 {
		t.Errorf("%d units accepted in %d records, want 360 in 4", units, len(list.Items))
	}
	x.sound()
}

// TestFirstPeriod: the hour of a purchase is reported where the marketplace
// takes it, else the first whole one.
func TestFirstPeriod(t *testing.T) {
	t.Parallel()
	for _, whole := range []bool{false, true} {
		x := newTill(t)
		x.meter.terms.WholePeriods = whole
		x.clock.Add(x.Now().Truncate(time.Hour).Add(90 * time.Minute).Sub(x.Now()))
		sub := x.buy(x.cloud, "s-1", "b-1")
		x.claim(sub, x.acc)
		ws := x.workspace("c1")
		must(t, x.bind(ws, x.acc, sub.ID))
		x.use(ws, "time_series", "3d", 1, "6000")
		x.close()
		for h := range 24 { // every later hour of the day has its record
			at := sub.CreatedAt.Truncate(time.Hour).Add(time.Duration(h+1) * time.Hour)
			must(t, x.store.Update(t.Context(), func(ctx context.Context, tx core.Tx) error {
				return tx.PutMeterRecord(ctx, metering.Record{
					ID: metering.RecordID("mr_" + at.Format(time.RFC3339)), Listing: sub.Listing, Subscription: sub.ID, Dimension: "fee",
					PeriodStart: at, PeriodEnd: at.Add(time.Hour), Status: metering.Rejected,
				})
			}))
		}
		must(t, x.Flush(t.Context()))
		list, err := x.MeterRecords(t.Context(), core.Actor{}, sub.ID, core.Page{Limit: 100})
		must(t, err)
		first := 0
		for _, r := range list.Items {
			if r.PeriodStart.Before(sub.CreatedAt) {
				first++
			}
		}
		if want := map[bool]int{false: 1, true: 0}[whole]; first != want {
			t.Errorf("whole periods %t: %d records of the hour of the purchase, want %d", whole, first, want)
		}
	}
}
