package storetest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/ledger"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
	"cloudsettle/core/money"
	"cloudsettle/core/settlement"
)

func headName(h ledger.Head) string { return h.Owner + "/" + string(h.Currency) }

// ledgerIsAChain: only what follows the stored head is stored.
func ledgerIsAChain(t *testing.T, s core.Store) {
	empty := ledger.Head{Owner: "ba_1", Currency: "CNY"}
	got := read(t, s, func(ctx context.Context, tx core.ReadTx) (ledger.Head, error) {
		return tx.LedgerHead(ctx, "ba_1", "CNY")
	})
	if diff := cmp.Diff(empty, got); diff != "" {
		t.Errorf("LedgerHead of a new book (-want +got):\n%s", diff)
	}
	one, h1, err1 := post(empty, 5)
	two, h2, err2 := post(h1, 6)
	three, h3, err3 := post(h2, 7)
	rival, hRival, errRival := post(empty, 8)
	if err := firstOf(err1, err2, err3, errRival); err != nil {
		t.Fatal(err)
	}
	appending := func(tx ledger.Transaction, h ledger.Head) func(context.Context, core.Tx) error {
		return func(ctx context.Context, store core.Tx) error {
			return store.AppendLedger(ctx, ledger.Book{Head: h, Added: []ledger.Transaction{tx}})
		}
	}
	fails(t, s, "AppendLedger of the second first", core.ErrConflict, appending(two, h2))
	fails(t, s, "AppendLedger of nothing", core.ErrInvalid, func(ctx context.Context, tx core.Tx) error {
		return tx.AppendLedger(ctx, ledger.Book{Head: empty})
	})
	update(t, s, func(ctx context.Context, tx core.Tx) error { // both posted before the first is stored
		err := tx.AppendLedger(ctx, ledger.Book{Head: h2, Added: []ledger.Transaction{one, two}})
		now, errHead := tx.LedgerHead(ctx, "ba_1", "CNY")
		if now.Seq != 2 || now.Hash != two.Hash {
			t.Errorf("LedgerHead in the transaction is at %d, want 2", now.Seq)
		}
		return firstOf(err, errHead)
	})
	fails(t, s, "AppendLedger of a transaction that is there", core.ErrConflict, appending(two, h2))
	fails(t, s, "AppendLedger at a place that is taken", core.ErrConflict, appending(rival, hRival))
	forged, hForged := three, h3
	forged.Prev = rival.Hash
	fails(t, s, "AppendLedger to another chain", core.ErrConflict, appending(forged, hForged))
	fails(t, s, "AppendLedger with another's head", core.ErrInvalid, appending(three, h2))
	fails(t, s, "Update(failing)", errOwn, func(ctx context.Context, tx core.Tx) error {
		return errors.Join(appending(three, h3)(ctx, tx), errOwn)
	})
	view(t, s, func(ctx context.Context, tx core.ReadTx) error {
		head, err := tx.LedgerHead(ctx, "ba_1", "CNY")
		if head.Seq != 2 || head.Of(ledger.Cash) != 11 {
			t.Errorf("LedgerHead() = %+v, want the one after the second", head)
		}
		all, errAll := collect(tx.LedgerTransactions(ctx, "ba_1", "CNY", core.Page{}))
		if diff := cmp.Diff([]ledger.Transaction{one, two}, all); diff != "" {
			t.Errorf("LedgerTransactions (-want +got):\n%s", diff)
		}
		return firstOf(err, errAll)
	})
}

// ledgerLosesNothing: whoever posts at the same time, each transaction is in
// the chain once.
func ledgerLosesNothing(t *testing.T, s core.Store) {
	each(writers, func(int) {
		err := s.Update(t.Context(), func(ctx context.Context, tx core.Tx) error {
			return postTo(ctx, tx, "ba_1", "CNY", 10)
		})
		if err != nil {
			t.Errorf("Update() = %v", err)
		}
	})
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		return firstOf(postTo(ctx, tx, "ba_1", "USD", 1), postTo(ctx, tx, "ba_10", "CNY", 1))
	})
	view(t, s, func(ctx context.Context, tx core.ReadTx) error {
		proof, n := ledger.NewProof(ledger.Head{Owner: "ba_1", Currency: "CNY"}), 0
		for posted, err := range tx.LedgerTransactions(ctx, "ba_1", "CNY", core.Page{}) {
			if err == nil {
				err = proof.Next(posted)
			}
			if err != nil {
				return err
			}
			n++
		}
		head, err := tx.LedgerHead(ctx, "ba_1", "CNY")
		if err := firstOf(err, proof.End(head)); err != nil || n != writers*10 {
			t.Errorf("%d transactions, %v, want a chain of %d", n, err, writers*10)
		}
		return err
	})
	for after, want := range map[string][]string{"255": {"256", "257"}, "0": {"1", "2"}, "319": {"320"}, "320": nil} {
		p := core.Page{After: after, Limit: 2}
		wantScan(t, s, "LedgerTransactions", p, want,
			func(posted ledger.Transaction) string { return strconv.FormatUint(posted.Seq, 10) },
			func(ctx context.Context, tx core.ReadTx) iter.Seq2[ledger.Transaction, error] {
				return tx.LedgerTransactions(ctx, "ba_1", "CNY", p)
			})
	}
}

func headsAreListed(t *testing.T, s core.Store) {
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		return firstOf(postTo(ctx, tx, "ba_10", "CNY", 1), postTo(ctx, tx, "ba_1", "USD", 1),
			postTo(ctx, tx, "ba_1", "CNY", 2), postTo(ctx, tx, "ba_2", "CNY", 1))
	})
	for _, c := range []struct {
		p    core.Page
		want []string
	}{
		{core.Page{}, []string{"ba_1/CNY", "ba_1/USD", "ba_10/CNY", "ba_2/CNY"}},
		{core.Page{Limit: 1}, []string{"ba_1/CNY"}},
		{core.Page{After: "ba_1/USD", Limit: 1}, []string{"ba_10/CNY"}},
		{core.Page{After: "ba_2/CNY"}, nil},
	} {
		wantScan(t, s, "LedgerHeads", c.p, c.want, headName,
			func(ctx context.Context, tx core.ReadTx) iter.Seq2[ledger.Head, error] {
				return tx.LedgerHeads(ctx, c.p)
			})
	}
}

// ledgerIsExact: balances and postings of any size return as they are.
func ledgerIsExact(t *testing.T, s core.Store) {
	for i, m := range []money.Micros{math.MaxInt64, -math.MaxInt64, 1} {
		owner := account.ID("ba_" + strconv.Itoa(i))
		head, posted, err := ledger.Head{Owner: string(owner), Currency: "CNY"}.Post(ledger.Transaction{
			At: epoch, Postings: []ledger.Posting{{Account: ledger.Revenue, Micros: m}, {Account: ledger.Cloud("x"), Micros: -m}},
		})
		if err != nil {
			t.Fatalf("Post() = %v", err)
		}
		update(t, s, func(ctx context.Context, tx core.Tx) error {
			return tx.AppendLedger(ctx, ledger.Book{Head: head, Added: []ledger.Transaction{posted}})
		})
		view(t, s, func(ctx context.Context, tx core.ReadTx) error {
			got, err := tx.LedgerHead(ctx, owner, "CNY")
			all, errAll := collect(tx.LedgerTransactions(ctx, owner, "CNY", core.Page{}))
			if diff := cmp.Diff(head.Balances, got.Balances) + cmp.Diff([]ledger.Transaction{posted}, all); diff != "" {
				t.Errorf("with %d (-want +got):\n%s", m, diff)
			}
			return firstOf(err, errAll)
		})
	}
}

func fundID(f settlement.Fund) string { return f.ID }

func fundsFollow(t *testing.T, s core.Store) {
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		return firstOf(tx.PutFund(ctx, aFund("v_2", "ba_1")), tx.PutFund(ctx, aFund("v_1", "ba_1")),
			tx.PutFund(ctx, aFund("v_3", "ba_10")))
	})
	given := aFund("v_1", "ba_10")
	given.Rev = 1
	update(t, s, func(ctx context.Context, tx core.Tx) error { return tx.PutFund(ctx, given) })
	for owner, want := range map[account.ID][]string{"ba_1": {"v_2"}, "ba_10": {"v_1", "v_3"}, "ba": nil, "": nil} {
		wantScan(t, s, "FundsOf "+string(owner), core.Page{}, want, fundID,
			func(ctx context.Context, tx core.ReadTx) iter.Seq2[settlement.Fund, error] {
				return tx.FundsOf(ctx, owner)
			})
	}
}

func recordID(r metering.Record) metering.RecordID { return r.ID }

// wantPending checks which records wait, in their order.
func wantPending(t *testing.T, s core.Store, want ...string) {
	t.Helper()
	wantScan(t, s, "MeterPending", core.Page{}, want, recordID,
		func(ctx context.Context, tx core.ReadTx) iter.Seq2[metering.Record, error] {
			return tx.MeterPending(ctx)
		})
}

// pendingIsByDeadline: records that are not final wait, the most urgent first.
func pendingIsByDeadline(t *testing.T, s core.Store) {
	change := func(id metering.RecordID, fn func(*metering.Record)) {
		t.Helper()
		update(t, s, func(ctx context.Context, tx core.Tx) error {
			r, err := tx.MeterRecord(ctx, id)
			fn(&r)
			return firstOf(err, tx.PutMeterRecord(ctx, r))
		})
	}
	final := meterRecord("mr_0", 9)
	final.Status = metering.Expired
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		same := meterRecord("mr_3", 5)
		same.Deadline = meterRecord("", 1).Deadline
		return firstOf(tx.PutMeterRecord(ctx, meterRecord("mr_2", 3)), tx.PutMeterRecord(ctx, meterRecord("mr_4", 1)),
			tx.PutMeterRecord(ctx, same), tx.PutMeterRecord(ctx, final), tx.PutMeterRecord(ctx, meterRecord("mr_1", 30)))
	})
	wantPending(t, s, "mr_3", "mr_4", "mr_2", "mr_1")
	for _, status := range []metering.Status{metering.Sending, metering.Unknown, metering.Open} {
		change("mr_4", func(r *metering.Record) { r.Status = status })
		wantPending(t, s, "mr_3", "mr_4", "mr_2", "mr_1")
	}
	change("mr_1", func(r *metering.Record) { r.Deadline = epoch.AddDate(0, 0, -1) })
	wantPending(t, s, "mr_1", "mr_3", "mr_4", "mr_2")
	for i, status := range []metering.Status{metering.Accepted, metering.Conflict, metering.Rejected, metering.Expired} {
		id := metering.RecordID(fmt.Sprintf("mr_%d", i+1))
		change(id, func(r *metering.Record) { r.Status = status })
	}
	wantPending(t, s)
	change("mr_0", func(r *metering.Record) { r.Status = metering.Sealed })
	wantPending(t, s, "mr_0")
}

// meterPeriods: a subscription has one record for a dimension and period.
func meterPeriods(t *testing.T, s core.Store) {
	first := meterRecord("mr_1", 1)
	taken := func(sub marketplace.SubscriptionID, dimension string, start time.Time) bool {
		t.Helper()
		return read(t, s, func(ctx context.Context, tx core.ReadTx) (bool, error) {
			return tx.MeterPeriodTaken(ctx, sub, dimension, start)
		})
	}
	if taken("sub_1", "usage_fee", first.PeriodStart) {
		t.Error("MeterPeriodTaken() = true before anything is stored")
	}
	clash := meterRecord("mr_2", 1)
	clash.PeriodEnd, clash.Status = clash.PeriodEnd.Add(time.Hour), metering.Rejected
	fails(t, s, "PutMeterRecord twice for a period", core.ErrConflict, func(ctx context.Context, tx core.Tx) error {
		return firstOf(tx.PutMeterRecord(ctx, first), tx.PutMeterRecord(ctx, clash))
	})
	update(t, s, func(ctx context.Context, tx core.Tx) error { return tx.PutMeterRecord(ctx, first) })
	fails(t, s, "PutMeterRecord for a period that is taken", core.ErrConflict, func(ctx context.Context, tx core.Tx) error {
		return tx.PutMeterRecord(ctx, clash)
	})
	ended := first
	ended.Rev, ended.Status = 1, metering.Rejected
	update(t, s, func(ctx context.Context, tx core.Tx) error { return tx.PutMeterRecord(ctx, ended) })
	for _, c := range []struct {
		sub       marketplace.SubscriptionID
		dimension string
		start     time.Time
		want      bool
	}{
		{"sub_1", "usage_fee", first.PeriodStart, true}, // also when it is final
		{"sub_1", "usage_fee", first.PeriodStart.In(time.FixedZone("east", 8*3600)), true},
		{"sub_1", "usage_fee", first.PeriodStart.Add(time.Microsecond), false},
		{"sub_1", "usage_fe", first.PeriodStart, false}, {"sub_10", "usage_fee", first.PeriodStart, false},
	} {
		if got := taken(c.sub, c.dimension, c.start); got != c.want {
			t.Errorf("MeterPeriodTaken(%s, %s, %v) = %t, want %t", c.sub, c.dimension, c.start, got, c.want)
		}
	}
	elsewhere, other := meterRecord("mr_3", 1), meterRecord("mr_4", 1)
	elsewhere.Subscription, other.Dimension = "sub_10", "other"
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		return firstOf(tx.PutMeterRecord(ctx, elsewhere), tx.PutMeterRecord(ctx, other))
	})
	for _, c := range []struct {
		sub  marketplace.SubscriptionID
		p    core.Page
		want []string
	}{
		{"", core.Page{}, []string{"mr_1", "mr_3", "mr_4"}}, {"", core.Page{After: "mr_1", Limit: 1}, []string{"mr_3"}},
		{"sub_1", core.Page{}, []string{"mr_1", "mr_4"}}, {"sub_1", core.Page{Limit: 1}, []string{"mr_1"}},
		{"sub_1", core.Page{After: "mr_1"}, []string{"mr_4"}}, {"sub_10", core.Page{}, []string{"mr_3"}},
		{"sub", core.Page{}, nil},
	} {
		wantScan(t, s, "MeterRecords of "+string(c.sub), c.p, c.want, recordID,
			func(ctx context.Context, tx core.ReadTx) iter.Seq2[metering.Record, error] {
				return tx.MeterRecords(ctx, c.sub, c.p)
			})
	}
}

// meterSums: a subscription without sums has zero ones.
func meterSums(t *testing.T, s core.Store) {
	view(t, s, func(ctx context.Context, tx core.ReadTx) error {
		got, err := tx.MeterAccount(ctx, "sub_1")
		if diff := cmp.Diff(metering.Account{Subscription: "sub_1"}, got); diff != "" {
			t.Errorf("MeterAccount of none (-want +got):\n%s", diff)
		}
		return err
	})
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		return firstOf(tx.PutMeterAccount(ctx, meterAccount("sub_2")), tx.PutMeterAccount(ctx, meterAccount("sub_1")))
	})
	for _, c := range []struct {
		p    core.Page
		want []string
	}{{core.Page{}, []string{"sub_1", "sub_2"}}, {core.Page{After: "sub_1"}, []string{"sub_2"}}} {
		wantScan(t, s, "MeterAccounts", c.p, c.want,
			func(a metering.Account) marketplace.SubscriptionID { return a.Subscription },
			func(ctx context.Context, tx core.ReadTx) iter.Seq2[metering.Account, error] {
				return tx.MeterAccounts(ctx, c.p)
			})
	}
}
