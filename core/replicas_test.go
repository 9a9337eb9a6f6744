package core_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/govalues/decimal"

	"cloudsettle/core"
	"cloudsettle/core/metering"
	"cloudsettle/core/usage"
)

// rangeSize cuts a shared day into six ranges.
const rangeSize = sharedWorkspaces / 6

// replica is another process on the store of x.
func (x *till) replica(name string, change ...func(*core.Config)) *core.Service {
	c := x.Config
	c.Replica = name
	for _, f := range change {
		f(&c)
	}
	return core.NewService(c).CutAt(rangeSize)
}

// dyingStore dies with a transaction: nothing is stored any more.
type dyingStore struct {
	core.Store
	left atomic.Int64 // transactions that go well
	dead atomic.Bool
}

var errDead = errors.New("the process is dead")

func (s *dyingStore) Update(ctx context.Context, fn func(context.Context, core.Tx) error) error {
	if s.left.Add(-1) < 0 {
		s.dead.Store(true)
	}
	if s.dead.Load() {
		return errDead
	}
	return s.Store.Update(ctx, fn)
}

// mortal is a replica that dies after some transactions.
func (x *till) mortal(name string, after int) *core.Service {
	s := &dyingStore{Store: x.store}
	s.left.Store(int64(after))
	return x.replica(name, func(c *core.Config) { c.Store = s })
}

// together lets replicas do something at once.
func together(t *testing.T, replicas []*core.Service, do func(*core.Service) error) {
	t.Helper()
	var wg sync.WaitGroup
	for _, s := range replicas {
		wg.Go(func() {
			if err := do(s); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func (x *till) run(id string) core.SettlementRun {
	x.t.Helper()
	r, err := x.SettlementRun(x.t.Context(), id)
	must(x.t, err)
	return r
}

func (x *till) wantDone(id string) {
	x.t.Helper()
	if r := x.run(id); r.Status != "done" || r.Bills != sharedWorkspaces || r.Ranges != 0 || r.Waiting != 0 || r.FinishedAt.IsZero() {
		x.t.Errorf("run %+v, want done with %d bills", r, sharedWorkspaces)
	}
}

// TestReplicasShareDays: three replicas work on the ranges of large days, those
// that were asked for and those that are due. What comes out is what one settler
// makes of whole days.
func TestReplicasShareDays(t *testing.T) {
	t.Parallel()
	alone, days := newShared(t)
	for _, day := range days {
		alone.settle(day)
	}
	x, days := newShared(t)
	three := []*core.Service{x.replica("a"), x.replica("b"), x.replica("c")}
	run, err := three[0].StartRun(t.Context(), core.Request{}, core.RunDaily, days[0].String(), false)
	must(t, err)
	together(t, three, func(s *core.Service) error { return s.RunSettlements(t.Context()) })
	x.wantDone(run.ID)
	for range days { // each waits until the one before it is done
		together(t, three, func(s *core.Service) error { return s.SettleDue(t.Context()) })
		x.clock.Add(time.Minute)
	}
	for _, day := range days[1:] {
		x.wantDone("run_" + day.String())
	}
	x.billedAs(alone, days)
	x.sound()
}

// TestADeadReplicaCostsNothing: a replica dies after any of its transactions.
// Others do at once what it has not taken, and the rest when its leases end;
// each bill is made once and counted once.
func TestADeadReplicaCostsNothing(t *testing.T) {
	t.Parallel()
	for _, asked := range []bool{true, false} {
		t.Run(fmt.Sprintf("asked=%t", asked), func(t *testing.T) {
			t.Parallel()
			after, left := 0, 0
			for done := false; !done && !t.Failed(); after++ {
				t.Run(fmt.Sprintf("after %d", after), func(t *testing.T) { // its store is gone before the next one
					var ranges int
					ranges, done = dieAfter(t, after, asked)
					left = max(left, ranges)
				})
			}
			if after < 12 || left < 5 { // the cut, and for each of six ranges a lease, bills and its end
				t.Errorf("it needed %d transactions, with %d ranges left at most", after, left)
			}
		})
	}
}

// dieAfter settles a day by one replica that dies, and then by another. It
// reports how many ranges the first one left, and whether it was done.
func dieAfter(t *testing.T, after int, asked bool) (left int, done bool) {
	t.Helper()
	x, days := newSharedDays(t, 1)
	settle := func(s *core.Service, ctx context.Context) error {
		return errors.Join(s.SettleDue(ctx), s.RunSettlements(ctx))
	}
	id := "run_" + days[0].String()
	if asked {
		settle = (*core.Service).RunSettlements
		run, err := x.StartRun(t.Context(), core.Request{}, core.RunDaily, days[0].String(), false)
		must(t, err)
		id = run.ID
	}
	a := x.mortal("a", after)
	b := x.replica("b")
	if err := settle(a, t.Context()); err != nil && !errors.Is(err, errDead) {
		t.Fatal(err)
	}
	if r, err := x.SettlementRun(t.Context(), id); err == nil {
		left, done = r.Ranges, r.Status == "done"
	}
	must(t, settle(b, t.Context()))
	if r, err := x.SettlementRun(t.Context(), id); err == nil && r.Ranges > 1 {
		t.Errorf("dead after %d: %d ranges are not done, want at most the one that it had", after, r.Ranges)
	}
	for range 2 {
		x.clock.Add(time.Minute) // its leases end
		must(t, settle(b, t.Context()))
	}
	x.wantDone(id)
	x.sound()
	return left, done
}

// TestATakenOverSettlerStops: a replica is held up after any of its
// transactions until another has done all that is left. It makes nothing more,
// and nothing is counted twice.
func TestATakenOverSettlerStops(t *testing.T) {
	t.Parallel()
	for after, late := 1, true; late && !t.Failed(); after++ {
		t.Run(fmt.Sprintf("after %d", after), func(t *testing.T) {
			x, days := newSharedDays(t, 1)
			run, err := x.StartRun(t.Context(), core.Request{}, core.RunDaily, days[0].String(), false)
			must(t, err)
			late = false
			b := x.replica("b")
			a := x.replica("a", func(c *core.Config) {
				c.Store = &between{Store: x.store, after: after, do: func() {
					late = true
					x.clock.Add(2 * time.Minute)
					if err := b.RunSettlements(t.Context()); err != nil {
						t.Error(err)
					}
				}}
			})
			must(t, a.RunSettlements(t.Context()))
			x.wantDone(run.ID)
			x.sound()
		})
	}
}

// TestADayCountsWhatWaits: what waits in any range is in the run, once.
func TestADayCountsWhatWaits(t *testing.T) {
	t.Parallel()
	x, days := newSharedDays(t, 1)
	for range 3 * rangeSize {
		x.useOn(days[0], x.workspace("c1"), "logs", "14d", 1, "1000") // nobody pays
	}
	s := x.replica("a")
	run, err := s.StartRun(t.Context(), core.Request{}, core.RunDaily, days[0].String(), false)
	must(t, err)
	must(t, s.RunSettlements(t.Context()))
	if r := x.run(run.ID); r.Status != "done" || r.Bills != sharedWorkspaces || r.Waiting != 3*rangeSize || len(r.Waits) != r.Waiting {
		t.Errorf("run %+v, want %d bills and %d that wait", r, sharedWorkspaces, 3*rangeSize)
	}
}

// TestOneReplicaHasADuty: another one does what it did not until its lease
// ends, then takes over, and the first one's context ends no later than it
// looks.
func TestOneReplicaHasADuty(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	a, b := x.replica("a"), x.replica("b")
	did := func(s *core.Service, again time.Duration) (did bool) {
		t.Helper()
		must(t, s.Solely(t.Context(), "piece", again, func(context.Context) error { did = true; return nil }))
		return did
	}
	must(t, a.Solely(t.Context(), "piece", 0, func(context.Context) error {
		if did(b, 0) || did(a, 0) {
			t.Error("two are at it at once")
		}
		x.clock.Add(59 * time.Second)
		if did(b, 0) {
			t.Error("it was taken over before the lease ended")
		}
		x.clock.Add(time.Second)
		if !did(b, time.Hour) {
			t.Error("it was not taken over when the lease ended")
		}
		return nil
	}))
	if did(a, 0) || !did(b, 0) || !did(a, 0) {
		t.Error("who gave it back, or has rest, does not count")
	}
	if err := a.Solely(t.Context(), "piece", time.Hour, func(context.Context) error { return errDead }); !errors.Is(err, errDead) {
		t.Errorf("Solely() = %v, want what it did to fail", err)
	}
	if !did(b, 0) {
		t.Error("what failed is not done again")
	}
}

// pacedMeter notes when it was called, and how many calls there were at once.
type pacedMeter struct {
	*meter
	rate    float64
	now     atomic.Int32
	mu      sync.Mutex
	starts  []time.Time
	crowded bool
	during  func() // the first call
}

func (m *pacedMeter) Terms() core.MeterTerms {
	t := m.meter.Terms()
	t.Batch, t.Rate = 1, m.rate
	return t
}

func (m *pacedMeter) Report(ctx context.Context, records []metering.Record) []metering.Result {
	crowded := m.now.Add(1) > 1
	m.mu.Lock()
	m.crowded = m.crowded || crowded
	m.starts = append(m.starts, time.Now())
	first := len(m.starts) == 1
	m.mu.Unlock()
	if first && m.during != nil {
		m.during()
	}
	defer m.now.Add(-1)
	return m.meter.Report(ctx, records)
}

// paced has records to report to a meter with a pace.
func paced(t *testing.T, rate float64, terms core.MeterTerms, subscriptions int, quantity string) (*till, *pacedMeter) {
	t.Helper()
	x := newTill(t)
	x.meter.terms = terms
	for i := range subscriptions {
		_, ws := x.cloudWorkspace(fmt.Sprint("s-", i))
		x.use(ws, "time_series", "3d", 1, quantity)
	}
	x.close()
	m := &pacedMeter{meter: x.meter, rate: rate}
	return x, m
}

func (m *pacedMeter) of(c *core.Config) {
	c.Marketplaces = append([]core.Marketplace(nil), c.Marketplaces...)
	c.Marketplaces[0].Meter = m
}

// TestReplicasKeepTheRate: two that flush at once call one after the other, and
// not more often than the marketplace wants.
func TestReplicasKeepTheRate(t *testing.T) {
	t.Parallel()
	const rate, subscriptions = 100, 12
	x, m := paced(t, rate, core.MeterTerms{}, subscriptions, "6000")
	two := []*core.Service{x.replica("a", m.of), x.replica("b", m.of)}
	for range 3 {
		together(t, two, func(s *core.Service) error { return s.Flush(t.Context()) })
		x.clock.Add(time.Second)
	}
	if len(m.starts) != subscriptions || m.crowded {
		t.Errorf("%d calls, at once: %t; want %d one after the other", len(m.starts), m.crowded, subscriptions)
	}
	for i := 1; i < len(m.starts); i++ {
		if d := m.starts[i].Sub(m.starts[i-1]); d < time.Second/rate {
			t.Errorf("call %d came %s after the one before", i, d)
		}
	}
}

// TestTakenOverReporterStops: who finds after a call that another replica has
// the listing makes no other.
func TestTakenOverReporterStops(t *testing.T) {
	t.Parallel()
	x, m := paced(t, 0, core.MeterTerms{}, 3, "6000")
	a, b := x.replica("a", m.of), x.replica("b", m.of)
	m.during = func() {
		x.clock.Add(2 * time.Minute)
		if err := b.Solely(t.Context(), "report/cloud-main", time.Hour, func(context.Context) error { return nil }); err != nil {
			t.Error(err)
		}
	}
	must(t, a.Flush(t.Context()))
	if len(m.starts) != 1 {
		t.Errorf("%d calls, want the one that was under way", len(m.starts))
	}
	must(t, b.Flush(t.Context()))
	if got := x.taken(); got != 3*360 {
		t.Errorf("the marketplace has %d units, want %d", got, 3*360)
	}
	x.sound()
}

// TestReplicasShareNewPrices: a price book that one added holds for another
// that has read the ones before.
func TestReplicasShareNewPrices(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	a, b := x.replica("a"), x.replica("b")
	ws := x.workspace("c1")
	accepts := func(s *core.Service, item string, want int) {
		t.Helper()
		r, err := s.ReportUsage(t.Context(), []core.UsageSample{{Workspace: string(ws), Item: item, Variant: "7d", Hour: x.start, Quantity: decimal.One}})
		must(t, err)
		if r.Accepted != want {
			t.Errorf("%s: accepted %d, want %d", item, r.Accepted, want)
		}
	}
	accepts(b, "logs", 1)
	accepts(b, "news", 0)
	more := book(t)
	more.Items[0].Code = "news"
	_, err := a.AddPriceBook(t.Context(), core.Request{}, more)
	must(t, err)
	accepts(b, "news", 1)
}

// TestFlushComesAfterThePassBefore: a flush while the program reports by itself
// reports what that pass did not know of.
func TestFlushComesAfterThePassBefore(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	_, later := x.cloudWorkspace("later")
	_, ws := x.cloudWorkspace("s-0")
	x.use(ws, "time_series", "3d", 1, "6000")
	x.close()
	m := &pacedMeter{meter: x.meter}
	a := x.replica("a", m.of)
	flushed := make(chan error, 1)
	m.during = func() {
		x.use(later, "time_series", "3d", 1, "6000")
		x.close()
		go func() { flushed <- a.Flush(t.Context()) }()
		select {
		case err := <-flushed:
			t.Error("Flush() came back before the pass ended:", err)
			flushed <- err
		case <-time.After(50 * time.Millisecond):
		}
	}
	must(t, errors.Join(a.Flush(t.Context()), <-flushed))
	if got := x.taken(); got != 2*360 {
		t.Errorf("the marketplace has %d units, want %d", got, 2*360)
	}
	x.sound()
}

// TestReplicasKeepRecordsApart: two replicas flush all the time, one dies and
// another comes; records of one subscription stay a minute apart.
func TestReplicasKeepRecordsApart(t *testing.T) {
	t.Parallel()
	x, m := paced(t, 0, core.MeterTerms{SameSubscription: true, Apart: time.Minute, MaxUnits: 60}, 1, "6000")
	store := &dyingStore{Store: x.store}
	store.left.Store(1 << 30)
	a := x.replica("a", m.of, func(c *core.Config) { c.Store = store })
	b := x.replica("b", m.of)
	for i := range 15 * 12 { // a quarter of an hour
		store.dead.Store(i > 50)
		together(t, []*core.Service{a, b}, func(s *core.Service) error {
			if err := s.Flush(t.Context()); !errors.Is(err, errDead) {
				return err
			}
			return nil
		})
		x.clock.Add(5 * time.Second)
	}
	var last time.Time
	records := 0
	for _, batch := range m.sent {
		for _, r := range batch {
			if d := r.SentAt.Sub(last); d < time.Minute {
				t.Errorf("record %s was sent %s after another", r.ID, d)
			}
			last = r.SentAt
			records++
		}
	}
	if records != 6 || x.taken() != 360 {
		t.Errorf("%d records sent, %d units taken, want 6 and 360", records, x.taken())
	}
}

// TestReplicasCloseAMonthOnce: three close at once what is due.
func TestReplicasCloseAMonthOnce(t *testing.T) {
	t.Parallel()
	x, days := newShared(t)
	x.clock.Add(20 * 24 * time.Hour)
	three := []*core.Service{x.replica("a"), x.replica("b"), x.replica("c")}
	for range days {
		together(t, three, func(s *core.Service) error { return s.SettleDue(t.Context()) })
		x.clock.Add(time.Minute)
	}
	var open []usage.Day
	must(t, x.store.View(t.Context(), func(ctx context.Context, tx core.ReadTx) error {
		for day, err := range tx.UsageDays(ctx, 0, days[len(days)-1]+1) {
			must(t, err)
			open = append(open, day)
		}
		return nil
	}))
	if n := len(x.bills()); n == 0 || len(open) > 0 {
		t.Errorf("%d monthly bills, days %v are open", n, open)
	}
	x.sound()
}

// TestSettledDayLeavesNoLease: only a day with open usage has one, so there are
// not more and more.
func TestSettledDayLeavesNoLease(t *testing.T) {
	t.Parallel()
	x, days := newSharedDays(t, 2)
	x.useOn(days[1], x.workspace("c1"), "logs", "14d", 1, "1000") // nobody pays
	must(t, x.SettleDue(t.Context()))
	must(t, x.store.View(t.Context(), func(ctx context.Context, tx core.ReadTx) error {
		for i, day := range days {
			l, err := tx.Lease(ctx, "settle/"+day.String())
			must(t, err)
			if left := l.Holder != ""; left != (i == 1) {
				t.Errorf("%s: lease %+v, left %t", day, l, left)
			}
		}
		return nil
	}))
}

// TestLostRangeMakesNoBills: a replica whose range was taken over after any of
// its transactions makes no bill of it, for nobody would count it.
func TestLostRangeMakesNoBills(t *testing.T) {
	t.Parallel()
	for _, after := range []int{2, 3, 5, 9} {
		x, days := newSharedDays(t, 1)
		_, err := x.StartRun(t.Context(), core.Request{}, core.RunDaily, days[0].String(), false)
		must(t, err)
		bills := func() int {
			list, err := x.DailyBillsOn(t.Context(), days[0], core.Page{Limit: sharedWorkspaces})
			must(t, err)
			return len(list.Items)
		}
		made := -1
		a := x.replica("a", func(c *core.Config) {
			c.Store = &between{Store: x.store, after: after, do: func() {
				x.clock.Add(2 * time.Minute)
				must(t, x.store.Update(t.Context(), func(ctx context.Context, tx core.Tx) error {
					now := x.Now()
					_, err := tx.LeaseTasks(ctx, "settle", core.Lease{Holder: "c", From: now, Until: now.Add(time.Hour)}, 100)
					return err
				}))
				made = bills()
			}}
		})
		must(t, a.RunSettlements(t.Context()))
		if got := bills(); got != made {
			t.Errorf("taken over after %d: %d bills, want the %d that were made before", after, got, made)
		}
	}
}
