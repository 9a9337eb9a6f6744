package core_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cloudsettle/core"
	"cloudsettle/core/ledger"
	"cloudsettle/core/money"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
	"cloudsettle/store"
	"cloudsettle/store/postgres/pgtest"
)

// fiveStores are settlers in five processes, as far as a database can tell: each
// has a store of its own on it.
type fiveStores struct {
	*till
	days []usage.Day
	five []*core.Service
}

// newFiveStores moves a period that is not billed to a database of server.
func newFiveStores(t *testing.T, server *pgtest.Server) *fiveStores {
	t.Helper()
	x, days := newSharedDays(t, 2)
	url := server.Database(t) + "&pool_max_conns=6"
	to := openStore(t, url)
	moved := store.Copy{From: x.store, To: to}
	_, err := moved.Run(t.Context())
	must(t, errors.Join(err, moved.Finish(t.Context())))
	f := &fiveStores{till: x, days: days}
	for n := range 5 {
		st := openStore(t, url)
		f.five = append(f.five, x.replica(fmt.Sprint("settler ", n), func(c *core.Config) { c.Store = st }))
	}
	c := x.Config
	c.Store = to
	x.store, x.Service = to, core.NewService(c) // who looks on
	return f
}

func openStore(t *testing.T, url string) core.Store {
	t.Helper()
	st, err := store.Open(t.Context(), url)
	must(t, err)
	t.Cleanup(func() { must(t, errors.Join(st.Check(context.Background()), st.Close())) })
	return st
}

// wantOneBill: of all workspaces each has one bill for a day.
func (f *fiveStores) wantOneBill(day usage.Day) {
	f.t.Helper()
	list, err := f.DailyBillsOn(f.t.Context(), day, core.Page{Limit: core.MaxPage})
	must(f.t, err)
	billed := map[workspace.ID]int{}
	for _, b := range list.Items {
		billed[b.Workspace]++
	}
	if len(list.Items) != sharedWorkspaces || len(billed) != sharedWorkspaces {
		f.t.Errorf("%s: %d bills for %d workspaces, want one for each of %d", day, len(list.Items), len(billed), sharedWorkspaces)
	}
}

// directly has all five settle a day.
func (f *fiveStores) directly(day usage.Day) {
	atOnce(f.t, func(i int) (int, error) {
		out, err := f.five[i].SettleDay(f.t.Context(), day, core.SettleOptions{})
		return out.Bills, err
	}, sharedWorkspaces)
}

// byRuns has each of the five start a run for the day, and all of them work on
// whatever is promised.
func (f *fiveStores) byRuns(day usage.Day) {
	f.t.Helper()
	runs := make([]core.SettlementRun, len(f.five))
	atOnce(f.t, func(i int) (_ int, err error) {
		runs[i], err = f.five[i].StartRun(f.t.Context(), core.Request{}, core.RunDaily, day.String(), false)
		return 0, errors.Join(err, f.five[i].RunSettlements(f.t.Context()))
	}, 0)
	bills := 0
	for _, r := range runs {
		now := f.run(r.ID)
		if bills += now.Bills; now.Status != "done" || now.Error != "" {
			f.t.Errorf("%s: run %+v, want it done", day, now)
		}
	}
	if bills != sharedWorkspaces {
		f.t.Errorf("%s: five runs counted %d bills, want %d", day, bills, sharedWorkspaces)
	}
}

// byOneRun has all five work on the ranges of one run.
func (f *fiveStores) byOneRun(day usage.Day) {
	f.t.Helper()
	r, err := f.five[0].StartRun(f.t.Context(), core.Request{}, core.RunDaily, day.String(), false)
	must(f.t, err)
	atOnce(f.t, func(i int) (int, error) { return 0, f.five[i].RunSettlements(f.t.Context()) }, 0)
	f.wantDone(r.ID)
}

// whenDue has all five look for what is due, which is this day.
func (f *fiveStores) whenDue(day usage.Day) {
	f.t.Helper()
	atOnce(f.t, func(i int) (int, error) { return 0, f.five[i].SettleDue(f.t.Context()) }, 0)
	f.wantDone("run_" + day.String())
}

// billedAs: each workspace was billed what another settler billed it, and so
// much was earned. Whose bill a voucher paid depends on which came first, so
// what cash and what the marketplace paid may differ.
func (x *till) billedAs(other *till, days []usage.Day) {
	x.t.Helper()
	for _, a := range []ledger.Account{ledger.Revenue, ledger.Arrears} {
		if got, want := x.balance(a), other.balance(a); got != want {
			x.t.Errorf("%s is %s, want %s", a, got, want)
		}
	}
	if diff := cmp.Diff(other.billTotals(days), x.billTotals(days)); diff != "" {
		x.t.Errorf("bills (-one settler +several):\n%s", diff)
	}
}

// wantReported: the marketplace has what the books say it was sent.
func (f *fiveStores) wantReported() {
	f.t.Helper()
	accepted := int64(0)
	must(f.t, f.store.View(f.t.Context(), func(ctx context.Context, tx core.ReadTx) error {
		accepted = 0
		for a, err := range tx.MeterAccounts(ctx, core.Page{}) {
			if accepted += a.Accepted; err != nil || a.InFlight != 0 {
				f.t.Errorf("meter account %+v, %v, want all of it taken", a, err)
			}
		}
		return nil
	}))
	if got := f.taken(); got != accepted || got == 0 {
		f.t.Errorf("the marketplace has %d units, the books %d", got, accepted)
	}
}

// billTotals is what workspaces owe for days, in the order in which they were
// made.
func (x *till) billTotals(days []usage.Day) (out []money.Micros) {
	x.t.Helper()
	for _, day := range days {
		list, err := x.DailyBillsOn(x.t.Context(), day, core.Page{Limit: core.MaxPage})
		must(x.t, err)
		for _, b := range list.Items {
			out = append(out, b.Total)
		}
	}
	return out
}

// TestFiveStoresSettleADayOnce: five settlers, each with a store of its own on
// one database, settle the same day at once, in every way there is. Each
// workspace has one bill, and the books are those that one settler makes.
func TestFiveStoresSettleADayOnce(t *testing.T) {
	t.Parallel()
	alone, days := newSharedDays(t, 2)
	for _, day := range days {
		alone.settle(day)
	}
	_, err := alone.CloseMonth(t.Context(), alone.day.Month())
	must(t, errors.Join(err, alone.Flush(t.Context())))
	server := pgtest.Start(t)
	t.Cleanup(server.Remove)
	for name, settle := range map[string]func(*fiveStores, usage.Day){
		"directly": (*fiveStores).directly, "by five runs": (*fiveStores).byRuns,
		"by one run": (*fiveStores).byOneRun, "when due": (*fiveStores).whenDue,
	} {
		t.Run(name, func(t *testing.T) {
			f := newFiveStores(t, server)
			for _, day := range f.days {
				settle(f, day)
				f.wantOneBill(day)
			}
			atOnce(t, func(i int) (int, error) { return f.five[i].CloseMonth(t.Context(), f.day.Month()) }, 1)
			atOnce(t, func(i int) (int, error) { return 0, f.five[i].Flush(t.Context()) }, 0)
			f.billedAs(alone, f.days)
			f.wantReported()
			f.sound()
		})
	}
}

// TestLaterDaysWaitForOneThatIsSettled: while a replica is at a day, and has not
// cut it yet, others do not settle the days after it.
func TestLaterDaysWaitForOneThatIsSettled(t *testing.T) {
	t.Parallel()
	x, days := newSharedDays(t, 2)
	a, b := x.replica("a"), x.replica("b")
	begun := func() bool {
		_, err := x.SettlementRun(t.Context(), "run_"+days[1].String())
		return err == nil
	}
	must(t, a.Solely(t.Context(), "settle/"+days[0].String(), 10*time.Minute, func(ctx context.Context) error {
		must(t, b.SettleDue(ctx))
		if begun() {
			t.Error("the next day has begun before its time")
		}
		return nil
	}))
	must(t, b.SettleDue(t.Context())) // the first one rests now, which the next does not wait for
	if !begun() {
		t.Error("the next day waits for one that nobody is at")
	}
}
