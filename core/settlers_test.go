package core_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/govalues/decimal"

	"cloudsettle/core"
	"cloudsettle/core/ledger"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// The period that settlers share.
const (
	sharedDays       = 4
	sharedWorkspaces = 24
)

// newShared is a month with usage that is not billed: some workspaces are
// paid by a wallet with vouchers, others through a cloud account, and each day
// has usage that came late for the first one. It returns the days.
func newShared(t *testing.T) (*till, []usage.Day) {
	t.Helper()
	return newSharedDays(t, sharedDays)
}

func newSharedDays(t *testing.T, count int) (*till, []usage.Day) {
	t.Helper()
	x := newTill(t)
	sub := x.buy(x.cloud, "s-1", "b-1")
	x.claim(sub, x.acc)
	x.adjust("20")
	for i, kind := range []settlement.FundKind{settlement.OrdinaryVoucher, settlement.DiscountVoucher, settlement.PrepaidCard} {
		_, err := x.GrantFund(t.Context(), core.Request{}, settlement.Fund{
			Owner: string(x.acc), Currency: "CNY", Kind: kind, Face: 7_000_000, From: x.Now(), Until: x.Now().AddDate(1, i, 0),
		})
		must(t, err)
	}
	var spaces []workspace.ID
	for i := range sharedWorkspaces {
		ws := x.workspace("c1")
		if i%3 == 0 {
			must(t, x.bind(ws, x.acc, sub.ID))
		} else {
			must(t, x.bind(ws, x.acc, ""))
		}
		spaces = append(spaces, ws)
		x.use(ws, "time_series", "3d", 1, fmt.Sprint(1000+i)) // fractions of a cent
	}
	x.close()
	var days []usage.Day
	for n := range count {
		day := x.day + usage.Day(n) + 1
		days = append(days, day)
		for i, ws := range spaces {
			x.useOn(x.day, ws, "time_series", "3d", 2, fmt.Sprint(2000+100*n+i))
			x.useOn(day, ws, "logs", "14d", 1, fmt.Sprint(1000*(i+1)))
		}
		x.clock.Add(24 * time.Hour)
	}
	x.clock.Add(time.Hour)
	return x, days
}

// TestFiveSettlersAtOnce: five settlers of two services on one store go over
// the same days, in different orders, and close the same month. What comes out
// is what one settler alone makes of it.
func TestFiveSettlersAtOnce(t *testing.T) {
	t.Parallel()
	alone, days := newShared(t)
	for _, day := range days {
		alone.settle(day)
	}
	n, err := alone.CloseMonth(t.Context(), alone.day.Month())
	must(t, err)
	must(t, alone.Flush(t.Context()))

	x, days := newShared(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	services := []*core.Service{x.Service, x.replica("other")}
	atOnce(t, func(i int) (int, error) {
		return settleAll(t.Context(), services[i%2], days, rand.New(rand.NewPCG(seed, uint64(i))))
	}, len(days)*sharedWorkspaces)
	atOnce(t, func(i int) (int, error) { return services[i%2].CloseMonth(t.Context(), x.day.Month()) }, n)
	must(t, x.Flush(t.Context()))
	for _, a := range []ledger.Account{ledger.Cash, ledger.Arrears, ledger.Carry, ledger.Revenue} {
		if got, want := x.balance(a), alone.balance(a); got != want {
			t.Errorf("%s is %s, want %s as of one settler alone", a, got, want)
		}
	}
	var want int64
	for _, units := range alone.meter.taken {
		want += units
	}
	var got int64
	for _, units := range x.meter.taken {
		got += units
	}
	if got != want || got == 0 {
		t.Errorf("%d units reported, want %d", got, want)
	}
	x.sound()
}

// settleAll settles days, first in some order and then in theirs: a day that
// has to wait for another one waits.
func settleAll(ctx context.Context, s *core.Service, days []usage.Day, random *rand.Rand) (made int, err error) {
	for _, at := range random.Perm(len(days)) {
		out, err := s.SettleDay(ctx, days[at], core.SettleOptions{})
		if made += out.Bills; err != nil {
			return made, err
		}
	}
	for _, day := range days {
		out, err := s.SettleDay(ctx, day, core.SettleOptions{})
		if made += out.Bills; err != nil {
			return made, err
		}
	}
	return made, s.Flush(ctx)
}

// atOnce runs do five times at once and checks how much they made together.
func atOnce(t *testing.T, do func(int) (int, error), want int) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	begin, sum := make(chan struct{}), 0
	for i := range 5 {
		wg.Go(func() {
			<-begin
			n, err := do(i)
			mu.Lock()
			defer mu.Unlock()
			if sum += n; err != nil {
				t.Error(err)
			}
		})
	}
	close(begin)
	wg.Wait()
	if sum != want {
		t.Errorf("five at once made %d bills, want %d", sum, want)
	}
}

// TestClosingTwiceChangesNothing: what is closed again, by the same service or
// another one on the same store, leaves every byte as it was.
func TestClosingTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	x, days := newShared(t)
	for _, day := range days {
		if made, _ := x.settle(day); made != sharedWorkspaces {
			t.Fatalf("%s: %d bills, want %d", day, made, sharedWorkspaces)
		}
	}
	if n, err := x.CloseMonth(t.Context(), x.day.Month()); err != nil || n != 1 {
		t.Fatalf("closing made %d bills, %v, want 1", n, err)
	}
	must(t, x.Flush(t.Context()))
	before := factsOf(t, x.store)
	x.clock.Add(time.Hour)
	for _, s := range []*core.Service{x.Service, core.NewService(x.Config)} {
		for _, day := range append([]usage.Day{x.day}, days...) {
			if out, err := s.SettleDay(t.Context(), day, core.SettleOptions{}); err != nil || out.Bills != 0 || out.Waiting != 0 {
				t.Errorf("%s again: %+v, %v, want none", day, out, err)
			}
		}
		if n, err := s.CloseMonth(t.Context(), x.day.Month()); err != nil || n != 0 {
			t.Errorf("the month again: %d bills, %v, want none", n, err)
		}
		must(t, s.Flush(t.Context()))
	}
	if diff := cmp.Diff(before, factsOf(t, x.store), cmp.Comparer(decimal.Decimal.Equal)); diff != "" {
		t.Errorf("closing twice changed something (-before +after):\n%s", diff)
	}
	x.sound()
}

// factsOf is all that settlement writes.
func factsOf(t *testing.T, s core.Store) (facts []any) {
	t.Helper()
	must(t, s.View(t.Context(), func(ctx context.Context, tx core.ReadTx) error {
		for h, err := range tx.LedgerHeads(ctx, core.Page{}) {
			must(t, err)
			facts = append(facts, h)
		}
		for day, err := range tx.BillDays(ctx) {
			must(t, err)
			for b, err := range tx.DailyBillsOn(ctx, day, core.Page{}) {
				must(t, err)
				facts = append(facts, b)
			}
			for r, err := range tx.UsageOn(ctx, day, core.Page{}) {
				must(t, err)
				facts = append(facts, r)
			}
		}
		for b, err := range tx.MonthlyBills(ctx, "", core.Page{}) {
			must(t, err)
			facts = append(facts, b)
		}
		for a, err := range tx.MeterAccounts(ctx, core.Page{}) {
			must(t, err)
			facts = append(facts, a)
		}
		for r, err := range tx.MeterRecords(ctx, marketplace.SubscriptionID(""), core.Page{}) {
			must(t, err)
			facts = append(facts, r)
		}
		return nil
	}))
	if len(facts) == 0 {
		t.Fatal("there are no facts")
	}
	return facts
}
