package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"cloudsettle/core"
	"cloudsettle/core/ledger"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// unbilledWithPayer: what is open of a day comes with its workspace, the
// binding that holds, and what that is paid in.
func unbilledWithPayer(t *testing.T, s core.Store) {
	cloud, wallet := binding("bd_1", "ws_1"), binding("bd_2", "ws_2")
	wallet.Settlement = workspace.Settlement{Method: workspace.ByBillingAccount}
	ids := []string{"ws_1", "ws_2", "ws_3", "ws_4"}
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		err := firstOf(tx.PutBillingAccount(ctx, billingAccount("ba_1", "acme", "ops@acme.example", "")),
			tx.PutSubscription(ctx, subscription("sub_1")))
		for _, id := range ids {
			err = firstOf(err, tx.PutWorkspace(ctx, aWorkspace(id)))
		}
		return firstOf(err, tx.Bind(ctx, cloud), tx.Bind(ctx, wallet))
	})
	for _, id := range ids {
		_, err := s.AppendUsage(t.Context(), on(today, of(id, sample("logs", 1, "1"))))
		_, errNext := s.AppendUsage(t.Context(), on(today+1, of(id, sample("logs", 25, "1"))))
		if err := firstOf(err, errNext); err != nil {
			t.Fatal(err)
		}
	}
	want := func(ws string, b workspace.Binding) core.Unbilled {
		w := aWorkspace(ws)
		w.Rev = 1
		u := core.Unbilled{Usage: usageOf(t, s, w.ID, today), Workspace: w, Binding: b}
		if b.ID != "" {
			u.Currency = "CNY"
		}
		if b.Settlement.Subscription != "" {
			u.Listing = subscription("sub_1").Listing
		}
		return u
	}
	one, two, three, four := want("ws_1", cloud), want("ws_2", wallet), want("ws_3", workspace.Binding{}), want("ws_4", workspace.Binding{})
	wantUnbilled(t, s, core.Page{}, one, two, three, four)
	wantUnbilled(t, s, core.Page{Limit: 2}, one, two)
	wantUnbilled(t, s, core.Page{After: "ws_2", Limit: 2}, three, four)
	if err := seal(t, s, "ws_2", today, 1); err != nil {
		t.Fatal(err)
	}
	wantUnbilled(t, s, core.Page{After: "ws_1", Limit: 1}, three)
	wantUnbilled(t, s, core.Page{}, one, three, four)
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		err := sealIn(ctx, tx, "ws_1", today, 1)
		got, errScan := collect(tx.UnbilledOn(ctx, today, core.Page{Limit: 1}))
		if len(got) != 1 || got[0].Workspace.ID != "ws_3" {
			t.Errorf("UnbilledOn in the transaction that sealed yields %+v, want ws_3", got)
		}
		return firstOf(err, errScan)
	})
}

func wantUnbilled(t *testing.T, s core.Store, p core.Page, want ...core.Unbilled) {
	t.Helper()
	got := read(t, s, func(ctx context.Context, tx core.ReadTx) ([]core.Unbilled, error) {
		return collect(tx.UnbilledOn(ctx, today, p))
	})
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("UnbilledOn(%+v) (-want +got):\n%s", p, diff)
	}
}

// sealsTogether: of many seals each is judged by itself.
func sealsTogether(t *testing.T, s core.Store) {
	for _, id := range []string{"ws_1", "ws_2", "ws_3"} {
		if _, err := s.AppendUsage(t.Context(), on(today, of(id, sample("logs", 1, "1")))); err != nil {
			t.Fatal(err)
		}
	}
	seals := []usage.Seal{
		{Workspace: "ws_3", Day: today, Rev: 1}, {Workspace: "ws_1", Day: today, Rev: 2},
		{Workspace: "ws_9", Day: today, Rev: 1}, {Workspace: "ws_2", Day: today, Rev: 1},
	}
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		none, errNone := tx.SealUsage(ctx)
		got, err := tx.SealUsage(ctx, seals...)
		if diff := cmp.Diff([]bool{true, false, false, true}, got); diff != "" || len(none) != 0 {
			t.Errorf("SealUsage (-want +got):\n%s, and of none %v", diff, none)
		}
		return firstOf(errNone, err)
	})
	if usageOf(t, s, "ws_1", today).Sealed || !usageOf(t, s, "ws_2", today).Sealed || !usageOf(t, s, "ws_3", today).Sealed {
		t.Error("the first or not the others is sealed")
	}
}

// pursesInOrder: heads and funds come in the order of their keys, also for
// books that are not begun.
func pursesInOrder(t *testing.T, s core.Store) {
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		return firstOf(postTo(ctx, tx, "ba_1", "CNY", 2), postTo(ctx, tx, "ba_1", "USD", 1),
			tx.PutFund(ctx, aFund("v_2", "ba_2")), tx.PutFund(ctx, aFund("v_1", "ba_2")), tx.PutMeterAccount(ctx, meterAccount("sub_1"), meterAccount("sub_3")))
	})
	one, two := aFund("v_1", "ba_2"), aFund("v_2", "ba_2")
	one.Rev, two.Rev = 1, 1
	view(t, s, func(ctx context.Context, tx core.ReadTx) error {
		got, err := tx.Purses(ctx, ledger.Key{Owner: "ba_2", Currency: "CNY"}, ledger.Key{Owner: "ba_1", Currency: "USD"}, ledger.Key{Owner: "ba_1", Currency: "CNY"})
		heads := make([]ledger.Head, 2)
		var errs [2]error
		heads[0], errs[0] = tx.LedgerHead(ctx, "ba_1", "USD")
		heads[1], errs[1] = tx.LedgerHead(ctx, "ba_1", "CNY")
		want := []settlement.Purse{
			{Head: ledger.Head{Owner: "ba_2", Currency: "CNY"}, Funds: []settlement.Fund{one, two}}, {Head: heads[0]}, {Head: heads[1]},
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("Purses (-want +got):\n%s", diff)
		}
		first, third := meterAccount("sub_1"), meterAccount("sub_3")
		first.Rev, third.Rev = 1, 1
		sums, errSums := tx.MeterAccountsOf(ctx, "sub_3", "sub_2", "sub_1")
		if diff := cmp.Diff([]metering.Account{third, {Subscription: "sub_2"}, first}, sums); diff != "" {
			t.Errorf("MeterAccountsOf (-want +got):\n%s", diff)
		}
		none, errNone := tx.MeterAccountsOf(ctx, []marketplace.SubscriptionID{}...)
		if len(none) != 0 {
			t.Errorf("MeterAccountsOf nobody = %v", none)
		}
		return firstOf(err, errs[0], errs[1], errSums, errNone)
	})
}

// taskDue: there is a task if and only if one could be leased.
func taskDue(t *testing.T, s core.Store) {
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		return tx.PutTask(ctx, aTask("task_1", "notify", epoch), aTask("task_2", "other", epoch.Add(time.Hour)))
	})
	want := func(kind string, at time.Time, want bool) {
		t.Helper()
		got := read(t, s, func(ctx context.Context, tx core.ReadTx) (bool, error) { return tx.TaskDue(ctx, kind, at) })
		if got != want {
			t.Errorf("TaskDue(%s) after %v = %t, want %t", kind, at.Sub(epoch), got, want)
		}
	}
	want("notify", epoch.Add(-time.Microsecond), false)
	want("notify", epoch, true)
	want("notif", epoch, false)
	want("other", epoch, false)
	want("other", epoch.Add(time.Hour), true)
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		_, err := tx.LeaseTasks(ctx, "notify", aLease("lease_1", epoch), 1)
		return err
	})
	want("notify", epoch.Add(time.Second), false)
	want("notify", epoch.Add(time.Minute), true)
}
