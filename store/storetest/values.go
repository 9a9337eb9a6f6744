package storetest

import (
	"context"
	"iter"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/govalues/decimal"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// count returns how many records a scan yields; an error counts as one.
func count[T any](seq iter.Seq2[T, error]) int {
	n := 0
	for range seq {
		n++
	}
	return n
}

// lookups yields the error of every single read of what writeEverything writes.
func lookups(ctx context.Context, tx core.ReadTx) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		full, number := fullSubscription(), fullCloudAccount().ProviderID
		_, err := tx.Subscription(ctx, full.ID)
		ok := yield("Subscription", err)
		for _, name := range append([]string{full.Subject}, full.Also...) {
			_, err = tx.SubscriptionByName(ctx, listing, name)
			ok = ok && yield("SubscriptionByName "+name, err)
		}
		_, err = tx.CloudAccount(ctx, "ca_full")
		ok = ok && yield("CloudAccount", err)
		_, err = tx.CloudAccountByProvider(ctx, listing, number)
		ok = ok && yield("CloudAccountByProvider", err)
		_, err = tx.BillingAccount(ctx, "ba_1")
		ok = ok && yield("BillingAccount", err)
		for _, login := range []string{"acme", "ops@acme.example", "+8613800000000"} {
			_, err = tx.BillingAccountByLogin(ctx, login)
			ok = ok && yield("BillingAccountByLogin "+login, err)
		}
		_, err = tx.Workspace(ctx, "ws_1")
		ok = ok && yield("Workspace", err)
		_, err = tx.Binding(ctx, "ws_1")
		ok = ok && yield("Binding", err)
		_, err = tx.CallbackEntry(ctx, "cb_full")
		ok = ok && yield("CallbackEntry", err)
		_, err = tx.APIKeyByDigest(ctx, "digest")
		ok = ok && yield("APIKeyByDigest", err)
		_, err = tx.Setting(ctx, "name")
		ok = ok && yield("Setting", err)
		_, err = tx.PriceBook(ctx, "pb_1")
		ok = ok && yield("PriceBook", err)
		_, err = tx.DailyBill(ctx, "ws_1", today)
		ok = ok && yield("DailyBill", err)
		_, err = tx.MonthlyBill(ctx, "ba_1", today.Month(), "CNY")
		ok = ok && yield("MonthlyBill", err)
		_, err = tx.SettlementRun(ctx, "sr_1")
		ok = ok && yield("SettlementRun", err)
		_, err = tx.Fund(ctx, "v_1")
		ok = ok && yield("Fund", err)
		_, err = tx.MeterRecord(ctx, "mr_1")
		ok = ok && yield("MeterRecord", err)
		_, err = tx.Note(ctx, "cn_1")
		_ = ok && yield("Note", err)
	}
}

func notFound(t *testing.T, s core.Store) {
	nothingStored(t, s)
	update(t, s, writeEverything)
	view(t, s, func(ctx context.Context, tx core.ReadTx) error {
		for what, err := range lookups(ctx, tx) {
			if err != nil {
				t.Errorf("%s = %v, want what was written", what, err)
			}
		}
		_, err := tx.SubscriptionByName(ctx, "other", "12345678")
		wantErr(t, "SubscriptionByName of another listing", err, core.ErrNotFound)
		_, err = tx.Subscription(ctx, "")
		wantErr(t, "Subscription of no id", err, core.ErrNotFound)
		return nil
	})
	err := s.Update(t.Context(), func(ctx context.Context, tx core.Tx) error {
		return tx.DeleteSubscription(ctx, "sub_missing")
	})
	wantErr(t, "DeleteSubscription of a missing one", err, core.ErrNotFound)
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		done, err := tx.FinishTask(ctx, core.Task{ID: "task_missing", Holder: "lease_1"})
		if done {
			t.Error("FinishTask of a missing task = true")
		}
		return err
	})
}

// everything is one record of each kind, as a store returns them.
type everything struct {
	Subscription marketplace.Subscription
	CloudAccount marketplace.Account
	Account      account.Account
	Workspace    workspace.Workspace
	Binding      workspace.Binding
	Entry        core.JournalEntry
	Rejections   []core.JournalEntry
	Key          core.APIKey
	Setting      string
	Tasks        []core.Task
	Billing      billing
}

func readEverything(ctx context.Context, tx core.ReadTx) (e everything, err error) {
	for _, read := range []func() error{
		func() (err error) { e.Subscription, err = tx.Subscription(ctx, "sub_full"); return },
		func() (err error) { e.CloudAccount, err = tx.CloudAccount(ctx, "ca_full"); return },
		func() (err error) { e.Account, err = tx.BillingAccount(ctx, "ba_1"); return },
		func() (err error) { e.Workspace, err = tx.Workspace(ctx, "ws_1"); return },
		func() (err error) { e.Binding, err = tx.Binding(ctx, "ws_1"); return },
		func() (err error) { e.Entry, err = tx.CallbackEntry(ctx, "cb_full"); return },
		func() (err error) { e.Rejections, err = collect(tx.Rejections(ctx)); return },
		func() (err error) { e.Key, err = tx.APIKeyByDigest(ctx, "digest"); return },
		func() (err error) { e.Setting, err = tx.Setting(ctx, "name"); return },
		func() (err error) { e.Tasks, err = collect(tx.Tasks(ctx, core.Page{})); return },
		func() (err error) { e.Billing, err = readBilling(ctx, tx); return },
	} {
		if err := read(); err != nil {
			return e, err
		}
	}
	return e, nil
}

// wantEverything is what writeEverything stores.
func wantEverything() everything {
	e := everything{
		Subscription: fullSubscription(), CloudAccount: fullCloudAccount(),
		Account:   billingAccount("ba_1", "acme", "ops@acme.example", "+8613800000000"),
		Workspace: aWorkspace("ws_1"), Binding: binding("bd_1", "ws_1"), Entry: fullEntry(),
		Rejections: []core.JournalEntry{fullEntry()}, Key: aKey("key_1", "digest"), Setting: "value",
		Tasks:   []core.Task{aTask("task_1", "notify", epoch)},
		Billing: wantBilling(),
	}
	e.Subscription.Rev, e.CloudAccount.Rev, e.Account.Rev, e.Workspace.Rev, e.Key.Rev = 1, 1, 1, 1, 1
	return e
}

func allFieldsReturn(t *testing.T, s core.Store) {
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		if err := writeEverything(ctx, tx); err != nil {
			return err
		}
		got, err := readEverything(ctx, tx)
		if diff := cmp.Diff(wantEverything(), got); diff != "" {
			t.Errorf("before the commit (-want +got):\n%s", diff)
		}
		return err
	})
	if diff := cmp.Diff(wantEverything(), read(t, s, readEverything)); diff != "" {
		t.Errorf("after the commit (-want +got):\n%s", diff)
	}
}

// valuesAreCopies: neither what was put nor what was read is shared.
func valuesAreCopies(t *testing.T, s core.Store) {
	update(t, s, func(ctx context.Context, tx core.Tx) error { // it may run again, so it spoils its own
		sub, entry, task := fullSubscription(), fullEntry(), aTask("task_1", "notify", epoch)
		if err := writeEverything(ctx, tx); err != nil {
			return err
		}
		entry.ID, task.ID = "cb_2", "task_2"
		sub.Rev = 1
		for _, err := range []error{
			tx.PutSubscription(ctx, sub), tx.PutCallbackEntry(ctx, entry), tx.PutTask(ctx, task),
		} {
			if err != nil {
				return err
			}
		}
		spoil(&sub, &entry, &task)
		return nil
	})
	first := read(t, s, readEverything)
	kept := read(t, s, readEverything)
	spoil(&first.Subscription, &first.Entry, &first.Tasks[0])
	for i := range 20 { // write over whatever memory the reads might have borrowed
		putSubscriptions(t, s, "sub_"+strings.Repeat("x", i+1))
	}
	want := wantEverything()
	want.Subscription.Rev = 2
	want.Tasks = append(want.Tasks, aTask("task_2", "notify", epoch))
	for name, got := range map[string]everything{"kept": kept, "read again": read(t, s, readEverything)} {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// spoil changes everything that could be shared.
func spoil(s *marketplace.Subscription, e *core.JournalEntry, task *core.Task) {
	s.Also[0], s.Facts[0].Kind, s.Facts[0].Details[0].Value = "spoiled", "spoiled", "spoiled"
	*s.Facts[0].Trial = !*s.Facts[0].Trial
	e.Effects[0], e.Body[0] = "spoiled", 'X'
	e.Event.Attributes["a"], e.Event.Also[0] = "spoiled", "spoiled"
	task.Payload[0] = 'X'
}

func timesAreUTC(t *testing.T, s core.Store) {
	odd := time.Date(2026, 3, 29, 2, 30, 0, 123_456_789, time.FixedZone("odd", 5*3600+45*60))
	want := time.Date(2026, 3, 28, 20, 45, 0, 123_456_000, time.UTC)
	sub, ws, task := subscription("sub_1"), aWorkspace("ws_1"), aTask("task_1", "notify", odd)
	sub.CreatedAt, sub.LastEventAt, sub.ExpiresAt = odd, time.Time{}, time.Time{}
	ws.CreatedAt, ws.LockedAt = odd, time.Time{}
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		for _, err := range []error{
			tx.PutSubscription(ctx, sub), tx.PutWorkspace(ctx, ws), tx.PutTask(ctx, task),
		} {
			if err != nil {
				return err
			}
		}
		_, _, err := tx.Claim(ctx, "scope", "key", core.Claim{At: odd})
		return err
	})
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		gotSub, errSub := tx.Subscription(ctx, "sub_1")
		gotWs, errWs := tx.Workspace(ctx, "ws_1")
		tasks, errTask := collect(tx.Tasks(ctx, core.Page{}))
		claim, _, errClaim := tx.Claim(ctx, "scope", "key", core.Claim{})
		for what, got := range map[string]time.Time{
			"Subscription.CreatedAt": gotSub.CreatedAt, "Workspace.CreatedAt": gotWs.CreatedAt,
			"Task.DueAt": tasks[0].DueAt, "Claim.At": claim.At,
		} {
			if got != want {
				t.Errorf("%s = %v, want %v", what, got, want)
			}
		}
		if !gotSub.ExpiresAt.IsZero() || !gotSub.LastEventAt.IsZero() || !gotWs.LockedAt.IsZero() {
			t.Error("a time that was not set came back set")
		}
		return firstOf(errSub, errWs, errTask, errClaim)
	})
}

// firstOf returns the first error.
func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func moneyIsExact(t *testing.T, s core.Store) {
	texts := []string{
		"0", "0.000000", "1", "-1", "1.50", "1200000", "0.0000000000000000001", "-0.0000000000000000001",
		"9999999999999999999", "-9999999999999999999", "0.9999999999999999999", "9223372036854775807",
		"9223372036854775808", "123456789012345678.9", "999999999999999999.9",
	}
	var samples []usage.Sample
	for i, text := range texts {
		samples = append(samples, sample("logs", i, text))
	}
	appendUsage(t, s, make([]usage.Verdict, len(samples)), samples...)
	got := usageOf(t, s, "ws_1", today).Samples
	for i, text := range texts {
		if i >= len(got) || got[i].Quantity.String() != text {
			t.Errorf("quantity %d = %v, want %s", i, got, text)
		}
	}
	for _, quantity := range []int64{math.MaxInt64, math.MinInt64, 0} {
		sub := subscription("sub_" + decimal.MustNew(quantity, 0).String())
		sub.Quantity = quantity
		update(t, s, func(ctx context.Context, tx core.Tx) error { return tx.PutSubscription(ctx, sub) })
		got := read(t, s, func(ctx context.Context, tx core.ReadTx) (marketplace.Subscription, error) {
			return tx.Subscription(ctx, sub.ID)
		})
		if got.Quantity != quantity {
			t.Errorf("quantity = %d, want %d", got.Quantity, quantity)
		}
	}
}

func emptyAndNil(t *testing.T, s core.Store) {
	sub, entry := subscription("sub_full"), core.JournalEntry{ID: "cb_full", Listing: listing}
	sub.Also, sub.Facts = []string{}, []marketplace.Fact{}
	entry.Effects, entry.Body = []string{}, []byte{}
	entry.Event = &marketplace.Event{Also: []string{}, Attributes: map[string]string{}}
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		return firstOf(tx.PutSubscription(ctx, sub), tx.PutCallbackEntry(ctx, entry), tx.PutSetting(ctx, "name", ""))
	})
	view(t, s, func(ctx context.Context, tx core.ReadTx) error {
		got, err := tx.Subscription(ctx, "sub_full")
		if got.Also != nil || got.Facts != nil {
			t.Errorf("Subscription() = %+v, want nil lists", got)
		}
		e, errEntry := tx.CallbackEntry(ctx, "cb_full")
		if e.Effects != nil || e.Body != nil || e.Event == nil || e.Event.Also != nil || e.Event.Attributes != nil {
			t.Errorf("CallbackEntry() = %+v, want nil lists", e)
		}
		value, errSetting := tx.Setting(ctx, "name")
		if value != "" {
			t.Errorf("Setting() = %q, want empty", value)
		}
		return firstOf(err, errEntry, errSetting)
	})
}

func anyUTF8(t *testing.T, s core.Store) {
	names := []string{
		"a", "A", "foo", "foo|", "foo/bar", "a b", "%", "_", "'", `"`, `\`, "\n", "\x01", "\x7f", "\u00e9", "e\u0301",
		"云市场", "🧾", "\u202e", "ﬀ", strings.Repeat("长", 80),
	}
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		for i, name := range names {
			sub := subscription("sub_" + strings.Repeat("i", i))
			sub.Subject, sub.SKU = name, name
			if err := tx.PutSubscription(ctx, sub); err != nil {
				return err
			}
		}
		return nil
	})
	view(t, s, func(ctx context.Context, tx core.ReadTx) error {
		for _, name := range names {
			got, err := tx.SubscriptionByName(ctx, listing, name)
			if err != nil || got.Subject != name || got.SKU != name {
				t.Errorf("SubscriptionByName(%q) = %q, %v", name, got.Subject, err)
			}
		}
		return nil
	})
}

// keysAreChecked: what cannot be a key is refused, not stored under another.
func keysAreChecked(t *testing.T, s core.Store) {
	putSubscriptions(t, s, "sub_1")
	nul, empty, long := subscription("sub_2"), subscription(""), subscription("sub_3")
	nul.Subject = "a\x00b"
	long.Subject = strings.Repeat("x", 1<<16)
	for name, c := range map[string]struct {
		sub  marketplace.Subscription
		want error
	}{
		"a NUL in a name": {nul, core.ErrInvalid}, "no id": {empty, core.ErrInvalid},
		"a name of 64 KiB": {long, core.ErrTooLarge},
	} {
		err := s.Update(t.Context(), func(ctx context.Context, tx core.Tx) error {
			return tx.PutSubscription(ctx, c.sub)
		})
		wantErr(t, "PutSubscription with "+name, err, c.want)
	}
	view(t, s, func(ctx context.Context, tx core.ReadTx) error {
		_, err := tx.SubscriptionByName(ctx, listing[:1], string(listing[1:])+"\x00name of sub_1")
		wantErr(t, "SubscriptionByName with a NUL", err, core.ErrNotFound)
		return nil
	})
	if got := subscriptionIDs(t, s, "", core.Page{}); !slices.Equal(got, []string{"sub_1"}) {
		t.Errorf("stored = %q, want only what was there", got)
	}
}
