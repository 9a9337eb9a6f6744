package core_test

import (
	"context"
	"testing"
	"time"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
)

// sealHook is a store that lets something happen after the first commit of a
// metering record.
type sealHook struct {
	core.Store
	then func()
}

func (s *sealHook) Update(ctx context.Context, fn func(context.Context, core.Tx) error) error {
	sealed := false
	err := s.Store.Update(ctx, func(ctx context.Context, tx core.Tx) error {
		m := &sealWatch{Tx: tx}
		defer func() { sealed = m.sealed }()
		return fn(ctx, m)
	})
	if then := s.then; err == nil && sealed && then != nil {
		s.then = nil
		then()
	}
	return err
}

type sealWatch struct {
	core.Tx
	sealed bool
}

func (t *sealWatch) PutMeterRecord(ctx context.Context, r metering.Record) error {
	t.sealed = t.sealed || r.Rev == 0
	return t.Tx.PutMeterRecord(ctx, r)
}

// TestChargeWhileSealing: a day that is settled just after a record was sealed
// is reported too, without waiting for a further charge.
func TestChargeWhileSealing(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	sub := x.buy(x.cloud, "s-1", "b-1")
	x.claim(sub, x.acc)
	ws := x.workspace("c1")
	must(t, x.bind(ws, x.acc, sub.ID))
	x.use(ws, "time_series", "3d", 1, "1000") // 0.60
	tomorrow := x.start.AddDate(0, 0, 1)
	x.clock.Add(tomorrow.Add(2 * time.Hour).Sub(x.Now()))
	today := x.start
	x.start = tomorrow
	x.use(ws, "time_series", "3d", 1, "2000") // 1.20
	x.clock.Add(24 * time.Hour)
	x.start = today
	x.close()
	c := x.Config
	c.Store = &sealHook{Store: x.Store, then: func() {
		x.day, x.start = x.day+1, tomorrow
		x.close()
	}}
	must(t, core.NewService(c).Flush(t.Context()))
	for range 3 {
		must(t, x.Flush(t.Context()))
		x.clock.Add(time.Minute)
	}
	list, err := x.MeterRecords(t.Context(), core.Actor{}, sub.ID, core.Page{Limit: 10})
	must(t, err)
	if len(list.Items) != 2 || list.Items[0].Units != 60 || list.Items[1].Units != 120 {
		t.Errorf("records %+v, want 60 and 120 units", list.Items)
	}
	x.sound()
}

// TestUsageAfterTheLastBill: what a workspace reports for a day whose bill was
// made before the day was over, because its subscription ended, is billed with
// the next day.
func TestUsageAfterTheLastBill(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	sub := x.buy(x.cloud, "s-1", "b-1")
	x.claim(sub, x.acc)
	ws := x.workspace("c1")
	must(t, x.bind(ws, x.acc, sub.ID))
	x.clock.Add(time.Hour)
	x.use(ws, "logs", "7d", 1, "1000000")
	x.tell(x.cloud, marketplace.Event{Kind: marketplace.Ended, Subject: "s-1", Rank: "9"})
	must(t, x.RunTasks(t.Context()))
	if b := x.bill(ws, x.day); b.Total.String() != "1.200000" {
		t.Fatalf("the last bill is %s, want 1.2", b.Total)
	}
	if r := x.use(ws, "logs", "7d", 2, "500000"); r.Late != 1 {
		t.Errorf("usage after the last bill: %+v, want it late", r)
	}
	x.day++
	x.start = x.start.AddDate(0, 0, 1)
	x.close()
	if b := x.bill(ws, x.day); b.Total.String() != "0.600000" {
		t.Errorf("the next bill is %s, want 0.6", b.Total)
	}
	x.sound()
}
