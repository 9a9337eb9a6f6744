package storetest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/ledger"
	"cloudsettle/core/money"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// longBook is more than a store reads at a time.
const longBook = 1100

// readTogether: what is read of many at once is what is read of each.
func readTogether(t *testing.T, s core.Store) {
	names := []string{"1", "10", "2", "2_x", "3"} // in their order, some of them the beginning of others
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		for i, name := range names {
			ws := workspace.ID("ws_" + name)
			old, now := binding("bd_"+name+"_1", string(ws)), binding("bd_"+name+"_2", string(ws))
			old.To, now.From = epoch.AddDate(0, 0, 1), epoch.AddDate(0, 0, 1)
			err := firstOf(tx.PutWorkspace(ctx, aWorkspace(string(ws))), tx.Bind(ctx, old), tx.Bind(ctx, now),
				tx.AddDailyBill(ctx, dailyBill(string(ws), today, "ba_1")),
				postTo(ctx, tx, account.ID("ba_"+name), "CNY", i+1), postTo(ctx, tx, account.ID("ba_"+name), "USD", 1))
			if err != nil {
				return err
			}
		}
		return postTo(ctx, tx, "ba_2", "EUR", longBook)
	})
	for _, ws := range []string{"ws_1", "ws_2_x", "ws_2", "ws_30", "ws_4"} { // some of those with a bill, and others
		appendUsage(t, s, []usage.Verdict{usage.Accepted, usage.Accepted},
			of(ws, sample("logs", 1, "1")), of(ws, sample("logs", len(ws), "2")))
	}
	for _, ws := range []workspace.ID{"ws_2", "ws_4"} {
		if err := seal(t, s, ws, today, 1); err != nil {
			t.Fatal(err)
		}
	}
	check := func(ctx context.Context, tx core.ReadTx) error {
		for i := range names {
			for j := i; j < len(names); j++ {
				sameBooks(ctx, t, tx, names[i:j+1])
				sameHistories(ctx, t, tx, names[i:j+1])
			}
		}
		sameBills(ctx, t, tx, "ws_3", "ws_nobody", "ws_1", "ws_3", "")
		sameBills(ctx, t, tx)
		for _, p := range []core.Page{{}, {Limit: 1}, {Limit: 3}, {After: "ws_10"}, {After: "ws_10", Limit: 2}, {After: "ws_9"}} {
			sameBilled(ctx, t, tx, p)
		}
		return nil
	}
	view(t, s, check)
	update(t, s, func(ctx context.Context, tx core.Tx) error { return check(ctx, tx) })
}

func sameBooks(ctx context.Context, t *testing.T, tx core.ReadTx, names []string) {
	t.Helper()
	var want []ledger.Transaction
	for _, name := range names {
		for _, c := range []money.Currency{"CNY", "EUR", "USD"} {
			book, err := collect(tx.LedgerTransactions(ctx, account.ID("ba_"+name), c, core.Page{}))
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, book...)
		}
	}
	first, last := ledger.Key{Owner: "ba_" + names[0], Currency: "CNY"}, ledger.Key{Owner: "ba_" + names[len(names)-1], Currency: "USD"}
	got, err := collect(tx.LedgerBooks(ctx, first, last))
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("LedgerBooks(%v to %v) = %d transactions, %v, want %d:\n%s", first, last, len(got), err, len(want), diff)
	}
}

func sameHistories(ctx context.Context, t *testing.T, tx core.ReadTx, names []string) {
	t.Helper()
	var want []workspace.Binding
	for _, name := range names {
		history, err := collect(tx.BindingHistory(ctx, workspace.ID("ws_"+name)))
		if err != nil || len(history) != 2 {
			t.Fatalf("%d bindings of %s, %v", len(history), name, err)
		}
		want = append(want, history...)
	}
	first, last := workspace.ID("ws_"+names[0]), workspace.ID("ws_"+names[len(names)-1])
	got, err := collect(tx.BindingHistories(ctx, first, last))
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("BindingHistories(%s to %s) = %v (-want +got):\n%s", first, last, err, diff)
	}
}

// sameBilled reads a page of today's usage and bills side by side.
func sameBilled(ctx context.Context, t *testing.T, tx core.ReadTx, p core.Page) {
	t.Helper()
	byName := map[workspace.ID]*core.Billed{}
	at := func(ws workspace.ID) *core.Billed {
		if byName[ws] == nil {
			byName[ws] = &core.Billed{Workspace: ws}
		}
		return byName[ws]
	}
	for rec, err := range tx.UsageOn(ctx, today, core.Page{After: p.After}) {
		if err != nil {
			t.Fatal(err)
		}
		at(workspace.ID(rec.Workspace)).Usage = rec
	}
	for b, err := range tx.DailyBillsOn(ctx, today, core.Page{After: p.After}) {
		if err != nil {
			t.Fatal(err)
		}
		at(b.Workspace).Bill = b
	}
	want := slices.Sorted(maps.Keys(byName))
	if p.Limit > 0 {
		want = want[:min(p.Limit, len(want))]
	}
	var got []workspace.ID
	for x, err := range tx.BilledOn(ctx, today, p) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, x.Workspace)
		if diff := cmp.Diff(byName[x.Workspace], x, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("BilledOn(%+v) yields for %s (-want +got):\n%s", p, x.Workspace, diff)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("BilledOn(%+v) yields %q, want %q", p, got, want)
	}
}

// sameBills reads bills of today and the day after.
func sameBills(ctx context.Context, t *testing.T, tx core.ReadTx, workspaces ...workspace.ID) {
	t.Helper()
	var keys []settlement.DailyKey
	var want []settlement.DailyBill
	for _, ws := range workspaces {
		for day := today; day <= today+1; day++ {
			b, err := tx.DailyBill(ctx, ws, day)
			if err != nil && !errors.Is(err, core.ErrNotFound) {
				t.Fatal(err)
			}
			keys, want = append(keys, settlement.DailyKey{Workspace: ws, Day: day}), append(want, b)
		}
	}
	got, err := tx.DailyBillsOf(ctx, make([]settlement.DailyBill, 1), keys...)
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
		t.Errorf("DailyBillsOf(%v) = %v (-want +got):\n%s", keys, err, diff)
	}
}
