package crash

import (
	"context"
	"time"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/ledger"
	"cloudsettle/core/metering"
	"cloudsettle/core/money"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
	"cloudsettle/store"
)

// books are what a marketplace's simulator says it will bill.
type books interface {
	Metered(subject, dimension string) (units int64, records int)
}

// parking is a marketplace that recognizes no repeats: whether a report that
// got no answer was taken is nothing that can be asked or tried. By policy such
// a record is sent once and then waits, unknown, for a person, and with it
// everything that its subscription owes later.
type parking interface {
	MeteredOf(subject, dimension string, start time.Time) int
	MeteringProblems() []string
}

// check looks into the store of a story that is over.
func (a *arena) check(sold []purchase) {
	a.t.Helper()
	st, err := store.Open(a.t.Context(), a.db)
	if err != nil {
		a.t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	svc := newService(st, store.Shared(st), a.opened, a.clock)
	v, err := svc.Verify(a.t.Context())
	if err != nil || !v.OK {
		a.t.Errorf("verify: %v, %+v", err, v.Violations)
	}
	if err := st.Check(a.t.Context()); err != nil {
		a.t.Error(err)
	}
	a.checkBills(st)
	a.checkWallets(st)
	a.checkMonth(st)
	for _, p := range sold {
		a.checkMeter(svc, st, p)
	}
}

// checkBills: everything that was used is billed, once and at its day's price.
func (a *arena) checkBills(st core.Store) {
	a.t.Helper()
	billed := viewing(a, st, func(ctx context.Context, tx core.ReadTx) (map[workspace.ID]money.Micros, error) {
		out := map[workspace.ID]money.Micros{}
		for day, err := range tx.BillDays(ctx) {
			if err != nil {
				return nil, err
			}
			for b, err := range tx.DailyBillsOn(ctx, day, core.Page{}) {
				if err != nil {
					return nil, err
				}
				out[b.Workspace] += b.Total
			}
		}
		return out, nil
	})
	for _, p := range a.c.Parts {
		if billed[p.ID] != a.story.used[p.ID] {
			a.t.Errorf("workspace %s of %q was billed %s, used %s", p.ID, p.Purchase, billed[p.ID], a.story.used[p.ID])
		}
	}
	today := usage.DayOf(a.clock(), time.UTC)
	open := viewing(a, st, func(ctx context.Context, tx core.ReadTx) (n int, err error) {
		for _, err := range tx.UsageDays(ctx, today-100, today) {
			if n++; err != nil {
				return n, err
			}
		}
		return n, nil
	})
	if open > 0 {
		a.t.Errorf("%d days have usage that is not billed", open)
	}
}

// checkWallets: what is granted and topped up came once, and what is earned is
// what was used.
func (a *arena) checkWallets(st core.Store) {
	a.t.Helper()
	earned := map[money.Currency]money.Micros{}
	for _, id := range []account.ID{a.c.Wallet, a.c.Cloud} {
		for _, c := range []money.Currency{"CNY", "USD"} {
			h := viewing(a, st, func(ctx context.Context, tx core.ReadTx) (ledger.Head, error) { return tx.LedgerHead(ctx, id, c) })
			earned[c] += h.Of(ledger.Revenue)
			want := money.Micros(0)
			if id == a.c.Wallet && c == "CNY" {
				want = walletHas
			}
			if got := -h.Of(ledger.External); got != want {
				a.t.Errorf("%s was given %s %s, want %s", id, got, c, want)
			}
		}
	}
	want := map[money.Currency]money.Micros{"CNY": a.story.wallet["CNY"], "USD": a.story.wallet["USD"]}
	for _, p := range purchases() {
		want[a.markets[p.Listing].listing.currency()] += a.story.cloud[p.Name]
	}
	for c := range want {
		if earned[c] != want[c] {
			a.t.Errorf("%s %s are earned, want %s", earned[c], c, want[c])
		}
	}
}

// checkMonth: October is closed, with one bill for each account and currency,
// and there are two price books for each zone.
func (a *arena) checkMonth(st core.Store) {
	a.t.Helper()
	month, _ := usage.ParseMonth("2026-10")
	n := viewing(a, st, func(ctx context.Context, tx core.ReadTx) (n int, err error) {
		for b, err := range tx.MonthlyBills(ctx, "", core.Page{}) {
			if err != nil {
				return n, err
			}
			if n++; b.Month != month {
				a.t.Errorf("there is a bill for %s", b.Month)
			}
		}
		_, err = tx.Setting(ctx, "closed/2026-10")
		return n, err
	})
	if n != 3 {
		a.t.Errorf("October has %d bills, want 3", n)
	}
	n = viewing(a, st, func(ctx context.Context, tx core.ReadTx) (n int, err error) {
		for _, err := range tx.PriceBooks(ctx, core.Page{}) {
			if n++; err != nil {
				return n, err
			}
		}
		return n, nil
	})
	if n != 2*len(prices) {
		a.t.Errorf("%d price books, want %d", n, 2*len(prices))
	}
}

// checkMeter: the marketplace has what the program believes it has, each record
// once, and together with the carry it is all that was charged.
func (a *arena) checkMeter(svc *core.Service, st core.Store, p purchase) {
	a.t.Helper()
	id := a.c.Subscriptions[p.Name]
	acc := viewing(a, st, func(ctx context.Context, tx core.ReadTx) (metering.Account, error) { return tx.MeterAccount(ctx, id) })
	records := viewing(a, st, func(ctx context.Context, tx core.ReadTx) (out []metering.Record, err error) {
		for r, err := range tx.MeterRecords(ctx, id, core.Page{}) {
			if err != nil {
				return nil, err
			}
			out = append(out, r)
		}
		return out, nil
	})
	sim := *a.markets[p.Listing].sim.Load()
	var unknown, taken int64 // units of records that wait for a person; those that the marketplace has
	has := 0                 // records that the marketplace must have
	for _, r := range records {
		switch {
		case r.Status == metering.Accepted:
			has++
		case parked(svc, r):
			unknown += r.Units
			once := sim.(parking).MeteredOf(r.Subject, r.Dimension, r.PeriodStart)
			has, taken = has+once, taken+int64(once)*r.Units
			if once > 1 || r.Attempts != 1 {
				a.t.Errorf("%s was sent %d times, and is on file %d times", r.ID, r.Attempts, once)
			}
		default:
			a.t.Errorf("%s of %s is %s: %s", r.ID, p.Listing, r.Status, r.LastError)
		}
	}
	units, filed := sim.(books).Metered(p.Name, records[0].Dimension)
	if units != acc.Accepted+taken || filed != has {
		a.t.Errorf("%s has %d units in %d records of %s, want %d and %d in %d", p.Listing, units, filed, p.Name, acc.Accepted, taken, has)
	}
	if park, ok := sim.(parking); ok {
		if problems := park.MeteringProblems(); len(problems) > 0 {
			a.t.Errorf("%s: %s", p.Listing, problems)
		}
	}
	carry, err := acc.Carry()
	if err != nil || acc.Charged != a.story.cloud[p.Name] || acc.InFlight != unknown || acc.Lost != 0 ||
		carry < 0 || carry >= acc.UnitAmount && unknown == 0 {
		a.t.Errorf("%s of %s: %+v carries %s, %v; want %s charged, %d in flight", p.Name, p.Listing, acc, carry, err, a.story.cloud[p.Name], unknown)
	}
}
