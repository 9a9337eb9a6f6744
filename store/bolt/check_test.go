package bolt_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"cloudsettle/core"
	"cloudsettle/core/ledger"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/store/bolt"
)

// TestCheckFindsDamage changes a closed store behind its back.
func TestCheckFindsDamage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		damage func(*bbolt.Tx) error
		want   string
	}{
		"a name is lost": {func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("subscriptions_by_name")).Delete([]byte("aws-main\x00l-1"))
		}, "subscriptions_by_name leads from"},
		"a name leads elsewhere": {func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("subscriptions_by_name")).Put([]byte("aws-main\x00l-1"), []byte("sub_2"))
		}, `to "sub_2", want "sub_1"`},
		"a name leads to nothing": {func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("subscriptions_by_name")).Put([]byte("aws-main\x00l-2"), []byte("sub_2"))
		}, "subscriptions_by_name has 2 entries, want 1"},
		"a record is cut": {func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte("subscriptions"))
			value := b.Get([]byte("sub_1"))
			return b.Put([]byte("sub_1"), value[:len(value)-1])
		}, `subscriptions "sub_1"`},
		"usage is open that is not there": {func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("usage_open")).Put([]byte("\x80\x00\x00\x00ws_1"), []byte{})
		}, "usage_open has 2 entries, want 1"},
		"usage is cut": {func(tx *bbolt.Tx) error {
			months := tx.Bucket([]byte("usage"))
			name, _ := months.Cursor().First()
			key, value := months.Bucket(name).Cursor().First()
			return months.Bucket(name).Put(key, value[:len(value)-1])
		}, "usage "},
		"an account's bill is lost": {func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte("daily_bills_by_account"))
			key, _ := b.Cursor().First()
			return b.Delete(key)
		}, "daily_bills_by_account misses"},
		"an account's note is lost": {func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("credit_notes_by_account")).Delete([]byte("ba_1\x00cn_1"))
		}, "credit_notes_by_account leads from"},
		"a record waits no more": {func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte("meter_pending"))
			key, _ := b.Cursor().First()
			return b.Delete(key)
		}, "meter_pending leads from"},
		"a period is taken by another": {func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte("meter_records_by_period"))
			key, _ := b.Cursor().First()
			return b.Put(key, []byte("mr_2"))
		}, `to "mr_2", want "mr_1"`},
		"a transaction is lost": {func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte("ledger_transactions"))
			key, _ := b.Cursor().First()
			return b.Delete(key)
		}, "is at 2 and has 1 transactions"},
		"nothing": {func(*bbolt.Tx) error { return nil }, ""},
	} {
		path := place(t)
		s, err := bolt.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		err = s.Update(t.Context(), func(ctx context.Context, tx core.Tx) error {
			return writeSome(ctx, tx)
		})
		_, errUsage := s.AppendUsage(t.Context(), []usage.Entry{{
			Day: 20_778, Sample: usage.Sample{Workspace: "ws_1", Item: "logs", Hour: time.Unix(0, 0)},
		}})
		if err != nil || errUsage != nil || s.Close() != nil {
			t.Fatal(err)
		}
		if err := inFile(path, c.damage); err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := open(t, path).Check(t.Context()); err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s: Check() = %q, want %q in it", name, got, c.want)
		}
	}
}

// writeSome writes a record of each kind that has an index.
func writeSome(ctx context.Context, tx core.Tx) error {
	book := ledger.Book{Head: ledger.Head{Owner: "ba_1", Currency: "CNY"}}
	first, err := book.Post(ledger.Transaction{
		Postings: []ledger.Posting{{Account: ledger.Cash, Micros: 1}, {Account: ledger.External, Micros: -1}},
	})
	_, errNext := book.Post(first)
	return errors.Join(err, errNext, tx.AppendLedger(ctx, book),
		tx.PutSubscription(ctx, marketplace.Subscription{ID: "sub_1", Listing: "aws-main", Subject: "l-1"}),
		tx.AddDailyBill(ctx, settlement.DailyBill{
			ID: settlement.DailyBillID("ws_1", 1), Workspace: "ws_1", Day: 1, BillingAccount: "ba_1",
		}),
		tx.AddNote(ctx, settlement.Note{ID: "cn_1", BillingAccount: "ba_1", Currency: "CNY"}),
		tx.PutMeterRecord(ctx, metering.Record{ID: "mr_1", Subscription: "sub_1", Dimension: "fee", Status: metering.Sealed}))
}
