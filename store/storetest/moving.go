package storetest

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/ledger"
	"cloudsettle/core/money"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// RunMovable checks the promises of a store whose records can be moved.
func RunMovable(t *testing.T, open func(*testing.T) core.Movable) {
	for name, test := range map[string]func(t *testing.T, from, to core.Movable){
		"RowsAreInOrder": rowsInOrder, "RowsMove": rowsMove, "RowsMoveOnce": rowsMoveOnce,
		"BadRowsAreRefused": badRows, "MovedRecordsGoOn": movedGoOn,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, to := open(t), open(t)
			Fill(t, from)
			test(t, from, to)
			for _, s := range []core.Store{from, to} {
				if err := s.Check(t.Context()); err != nil {
					t.Errorf("Check() after the test = %v", err)
				}
			}
		})
	}
}

// Fill stores records of every kind and in every state that has a place of its
// own in some store.
func Fill(t testing.TB, s core.Store) {
	t.Helper()
	update(t, s, writeEverything)
	update(t, s, fillAgain)
	odd := "9999999999999999999 -0.0000000000000000001 1.50 0.000000"
	for day := today - 40; day <= today; day += 10 {
		var samples []usage.Sample
		for i, ws := range []string{"ws_1", "ws_10", "ws_2"} {
			var quantity string
			_, _ = fmt.Sscan(odd[i:], &quantity)
			samples = append(samples, of(ws, sample("logs", i, quantity)), of(ws, sample("traces", -30, "1.50")))
		}
		appendEntries(t, s, make([]usage.Verdict, len(samples)), on(day, samples...))
		appendEntries(t, s, []usage.Verdict{usage.Replaced}, on(day, of("ws_2", sample("traces", -30, "7"))))
		if err := seal(t, s, "ws_10", day, 1); err != nil {
			t.Fatal(err)
		}
	}
}

// fillAgain writes second records of a kind, later revisions, and what is in
// no list.
func fillAgain(ctx context.Context, tx core.Tx) error {
	early, bare, raw := subscription("sub_early"), subscription("sub_bare"), fullEntry()
	early.Account, early.Facts = "", fullSubscription().Facts
	bare.ExpiresAt, bare.SKU = early.ExpiresAt, "a <b> & \u2028 \\u0000 \ufffd"
	raw.ID, raw.RawQuery, raw.Event = "cb_raw", "a=\xff\x00b", nil
	again := fullSubscription()
	again.Rev, again.Also = 1, []string{"order", "renamed"}
	left, ended := binding("bd_3", "ws_1"), binding("bd_2", "ws_2")
	left.Left, left.From = "sub_1", epoch.AddDate(0, 0, 1)
	ended.Settlement = workspace.Settlement{Method: workspace.ByBillingAccount}
	final := meterRecord("mr_2", 2)
	final.Status, final.Attributes = "accepted", nil
	overdue, plain := aTask("task_2", "notify", epoch.AddDate(0, 0, -1)), aTask("task_3", "mail", epoch)
	plain.Payload = nil
	_, _, err := tx.Claim(ctx, "scope", "key/2", core.Claim{Digest: "d", Result: "r", At: epoch})
	if err == nil {
		_, _, err = tx.Claim(ctx, "scop", "key", core.Claim{})
	}
	return firstOf(err,
		tx.PutSubscription(ctx, early), tx.PutSubscription(ctx, bare), tx.PutSubscription(ctx, again),
		tx.PutWorkspace(ctx, aWorkspace("ws_10")), tx.PutWorkspace(ctx, aWorkspace("ws_2")),
		tx.Bind(ctx, left), tx.Bind(ctx, ended),
		tx.PutBillingAccount(ctx, billingAccount("ba_2", "Other", "other@example.com", "")),
		tx.PutCallbackEntry(ctx, raw), tx.PutRejection(ctx, 300, raw),
		tx.PutSetting(ctx, "empty", ""), tx.PutTask(ctx, overdue, plain), fillMoney(ctx, tx), tx.PutMeterRecord(ctx, final),
	)
}

func fillMoney(ctx context.Context, tx core.Tx) error {
	var errs []error
	for i, ws := range []string{"ws_10", "ws_2"} {
		bill := settlement.DailyBill{Workspace: workspace.ID(ws), Day: today - usage.Day(300*i), BillingAccount: "ba_2", Currency: "USD"}
		bill.ID = settlement.DailyBillID(bill.Workspace, bill.Day)
		month := monthlyBill(account.ID("ba_2"), today.Month()-usage.Month(i), "USD")
		month.Workspaces, month.Split = nil, settlement.Split{}
		month.IssuedAt, month.DueAt = bill.SealedAt, bill.SealedAt
		errs = append(errs, tx.AddDailyBill(ctx, bill), tx.AddMonthlyBill(ctx, month))
	}
	for _, c := range []money.Currency{"CNY", "USD"} {
		errs = append(errs, postTo(ctx, tx, "ba_10", c, 300))
	}
	return firstOf(append(errs, tx.PutFund(ctx, aFund("v_2", "")), tx.PutMeterAccount(ctx, meterAccount("sub_2")))...)
}

// allRows reads a table so many rows at a time.
func allRows(t *testing.T, s core.Movable, table string, limit int) (all []core.Row) {
	t.Helper()
	for after := ""; ; {
		list, err := s.Rows(t.Context(), table, after, limit)
		if err != nil {
			t.Fatalf("Rows(%s, %q) = %v", table, after, err)
		}
		if len(list) > limit {
			t.Fatalf("Rows(%s) returns %d rows, want %d at most", table, len(list), limit)
		}
		if len(list) == 0 {
			return all
		}
		all = append(all, list...)
		after = list[len(list)-1].Key
	}
}

func putRows(t *testing.T, s core.Movable, table string, list []core.Row) {
	t.Helper()
	if err := s.PutRows(t.Context(), table, list); err != nil {
		t.Fatalf("PutRows(%s) = %v", table, err)
	}
}

// moveAll moves everything, a few rows at a time.
func moveAll(t *testing.T, from, to core.Movable) {
	t.Helper()
	for _, table := range from.Tables() {
		rest := allRows(t, from, table, 100)
		for len(rest) > 0 {
			n := min(3, len(rest))
			putRows(t, to, table, rest[:n])
			rest = rest[n:]
		}
	}
}

func rowsInOrder(t *testing.T, from, to core.Movable) {
	for _, table := range from.Tables() {
		list := allRows(t, from, table, 1000)
		if len(list) == 0 {
			t.Errorf("%s: Fill stored nothing that is in it", table)
			continue
		}
		for i := 1; i < len(list); i++ {
			if list[i].Key <= list[i-1].Key {
				t.Errorf("%s: the key %q comes after %q", table, list[i].Key, list[i-1].Key)
			}
		}
		if diff := cmp.Diff(list, allRows(t, from, table, 1)); diff != "" {
			t.Errorf("%s, one by one:\n%s", table, diff)
		}
		last, err := from.LastKey(t.Context(), table)
		if err != nil || last != list[len(list)-1].Key {
			t.Errorf("LastKey(%s) = %q, %v, want %q", table, last, err, list[len(list)-1].Key)
		}
		if last, err := to.LastKey(t.Context(), table); err != nil || last != "" {
			t.Errorf("LastKey(%s) = %q, %v in an empty store", table, last, err)
		}
	}
}

func rowsMove(t *testing.T, from, to core.Movable) {
	moveAll(t, from, to)
	for _, table := range from.Tables() {
		if diff := cmp.Diff(allRows(t, from, table, 1000), allRows(t, to, table, 1000)); diff != "" {
			t.Errorf("%s:\n%s", table, diff)
		}
	}
	view(t, to, func(ctx context.Context, tx core.ReadTx) error {
		want := map[string]bool{"SubscriptionByName agreement": true} // the later revision is without it
		for what, err := range lookups(ctx, tx) {
			if (err != nil) != want[what] {
				t.Errorf("%s = %v after the move", what, err)
			}
		}
		return nil
	})
	was, is := read(t, from, readEverything), read(t, to, readEverything)
	if diff := cmp.Diff(was, is); diff != "" {
		t.Errorf("what is read after the move:\n%s", diff)
	}
}

func rowsMoveOnce(t *testing.T, from, to core.Movable) {
	moveAll(t, from, to)
	moveAll(t, from, to)
	for _, c := range []struct {
		table  string
		change func(context.Context, core.Tx) error
	}{
		{"settings", func(ctx context.Context, tx core.Tx) error { return tx.PutSetting(ctx, "name", "other") }},
		{"usage", func(ctx context.Context, tx core.Tx) error { return sealIn(ctx, tx, "ws_1", today, 1) }},
		{"subscriptions", func(ctx context.Context, tx core.Tx) error {
			s, err := tx.Subscription(ctx, "sub_full")
			return firstOf(err, tx.PutSubscription(ctx, s))
		}},
		{"ledger_heads", func(ctx context.Context, tx core.Tx) error { return postTo(ctx, tx, "ba_1", "CNY", 1) }},
	} {
		update(t, to, c.change)
		wantErr(t, "PutRows over another row of "+c.table,
			to.PutRows(t.Context(), c.table, allRows(t, from, c.table, 1000)), core.ErrConflict)
	}
}

func badRows(t *testing.T, from, to core.Movable) {
	subs := allRows(t, from, "subscriptions", 1000)
	renamed := subs[0]
	renamed.Key = "sub_other"
	twin := core.Row{Key: "sub_zz", Value: bytes.Replace(subs[len(subs)-1].Value, []byte(`"id":"sub_full"`), []byte(`"id":"sub_zz"`), 1)}
	for what, c := range map[string]struct {
		table string
		list  []core.Row
		class error
	}{
		"an unknown table":         {"nothing", nil, core.ErrInvalid},
		"descending keys":          {"subscriptions", []core.Row{subs[1], subs[0]}, core.ErrInvalid},
		"the same key twice":       {"subscriptions", []core.Row{subs[0], subs[0]}, core.ErrInvalid},
		"another key":              {"subscriptions", []core.Row{renamed}, core.ErrInvalid},
		"a value that is no JSON":  {"subscriptions", []core.Row{{Key: "sub_1", Value: []byte("?")}}, core.ErrInvalid},
		"a name of another record": {"subscriptions", append(subs[:len(subs):len(subs)], twin), core.ErrConflict},
	} {
		wantErr(t, "PutRows of "+what, to.PutRows(t.Context(), c.table, c.list), c.class)
	}
	for _, table := range to.Tables() {
		if list := allRows(t, to, table, 1000); len(list) != 0 {
			t.Errorf("%s has %d rows after refusals", table, len(list))
		}
	}
	if _, err := to.Rows(t.Context(), "nothing", "", 1); err == nil {
		t.Error("Rows of an unknown table = nil, want an error")
	}
}

// movedGoOn: what is moved can be worked with, which needs all that a store
// keeps beside records.
func movedGoOn(t *testing.T, from, to core.Movable) {
	lease := func(tx core.Tx, holder string) ([]core.Task, error) {
		return tx.LeaseTasks(t.Context(), "notify", aLease(holder, epoch), 10)
	}
	update(t, from, func(_ context.Context, tx core.Tx) error {
		_, err := lease(tx, "one that stays behind")
		return err
	})
	moveAll(t, from, to)
	appendEntries(t, to, []usage.Verdict{usage.Duplicate, usage.Late},
		on(today, of("ws_10", sample("traces", -30, "1.50")), of("ws_10", sample("logs", 9, "1"))))
	appendEntries(t, to, []usage.Verdict{usage.Accepted}, on(today, sample("logs", 9, "1")))
	if got := usageOf(t, to, "ws_2", today); got.Rev != 2 {
		t.Errorf("UsageOf(ws_2) is at revision %d, want 2", got.Rev)
	}
	update(t, to, func(ctx context.Context, tx core.Tx) error {
		sub, errSub := tx.Subscription(ctx, "sub_full")
		acc, errAcc := tx.BillingAccount(ctx, "ba_1")
		rec, errRec := tx.MeterRecord(ctx, "mr_1")
		sub.Also, acc.Email, rec.Status = nil, "new@example.com", "accepted"
		return firstOf(errSub, errAcc, errRec, tx.PutSubscription(ctx, sub), tx.PutBillingAccount(ctx, acc),
			tx.PutMeterRecord(ctx, rec), tx.Bind(ctx, binding("bd_4", "ws_1")), postTo(ctx, tx, "ba_10", "USD", 2))
	})
	for what, write := range map[string]func(context.Context, core.Tx) error{
		"a name": func(ctx context.Context, tx core.Tx) error {
			s := subscription("sub_x")
			s.Subject = "name of sub_bare"
			return tx.PutSubscription(ctx, s)
		},
		"a login": func(ctx context.Context, tx core.Tx) error {
			return tx.PutBillingAccount(ctx, billingAccount("ba_9", "other", "x@example.com", ""))
		},
		"a bill": func(ctx context.Context, tx core.Tx) error {
			return tx.AddDailyBill(ctx, dailyBill("ws_1", today, "ba_1"))
		},
		"a period": func(ctx context.Context, tx core.Tx) error { return tx.PutMeterRecord(ctx, meterRecord("mr_9", 1)) },
		"a digest": func(ctx context.Context, tx core.Tx) error { return tx.PutAPIKey(ctx, aKey("key_9", "digest")) },
	} {
		fails(t, to, what+" that is taken", core.ErrConflict, write)
	}
	pending := read(t, to, func(ctx context.Context, tx core.ReadTx) (int, error) { return count(tx.MeterPending(ctx)), nil })
	leased, err := core.InTx(t.Context(), to, func(_ context.Context, tx core.Tx) ([]core.Task, error) {
		return lease(tx, "another")
	})
	if pending != 0 || err != nil || len(leased) != 2 {
		t.Errorf("%d records are pending, want none; LeaseTasks() = %v, %v, want two", pending, leased, err)
	}
	proof := ledger.NewProof(ledger.Head{Owner: "ba_10", Currency: "USD"})
	view(t, to, func(ctx context.Context, tx core.ReadTx) error {
		for tx, err := range tx.LedgerTransactions(ctx, "ba_10", "USD", core.Page{}) {
			if err := firstOf(err, proof.Next(tx)); err != nil {
				return err
			}
		}
		h, err := tx.LedgerHead(ctx, "ba_10", "USD")
		return firstOf(err, proof.End(h))
	})
}
