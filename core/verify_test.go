package core_test

import (
	"cmp"
	"context"
	"slices"
	"testing"

	"cloudsettle/core"
	"cloudsettle/core/ledger"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/money"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// audited is a till with a day that was billed, on one side to a wallet and on
// the other to a marketplace, which accepted what it came to.
type audited struct {
	*till
	sub         marketplace.Subscription
	payg, cloud workspace.ID
}

func newAudited(t *testing.T) *audited {
	t.Helper()
	x := &audited{till: newTill(t)}
	x.adjust("100")
	x.payg = x.till.payg()
	x.sub, x.cloud = x.cloudWorkspace("s-1")
	x.use(x.payg, "logs", "14d", 1, "1000000")
	x.use(x.cloud, "logs", "14d", 1, "3000000")
	if made := x.close(); made != 2 {
		t.Fatalf("%d bills, want 2", made)
	}
	x.flush()
	x.sound()
	return x
}

// forged stores a bill for the usage of another day that is like b but for what
// change does to it. What it came to is not moved.
func (x *audited) forged(ctx context.Context, tx core.Tx, change func(*settlement.DailyBill)) error {
	b, err := tx.DailyBill(ctx, x.payg, x.day)
	if err != nil {
		return err
	}
	day := x.day + 1
	rec, err := tx.UsageOf(ctx, x.payg, day)
	if err != nil {
		return err
	}
	b.ID, b.Day, b.UsageRev = settlement.DailyBillID(x.payg, day), day, rec.Rev
	change(&b)
	_, err = tx.SealUsage(ctx, usage.Seal{Workspace: string(x.payg), Day: day, Rev: rec.Rev})
	return cmp.Or(err, tx.AddDailyBill(ctx, b))
}

// book stores a transaction without looking at what it does.
func (x *audited) book(ctx context.Context, tx core.Tx, t ledger.Transaction, change func(*ledger.Transaction)) error {
	h, err := tx.LedgerHead(ctx, x.acc, "CNY")
	if err != nil {
		return err
	}
	t.At = x.Now()
	next, t, err := h.Post(t)
	if err != nil {
		return err
	}
	change(&t)
	return tx.AppendLedger(ctx, ledger.Book{Head: next, Added: []ledger.Transaction{t}})
}

// move is a transaction between an account and the outside.
func move(kind ledger.Kind, ref string, to ledger.Account, m money.Micros) ledger.Transaction {
	return ledger.Transaction{Kind: kind, Ref: ref, Postings: []ledger.Posting{
		{Account: ledger.External, Micros: -m}, {Account: to, Micros: m},
	}}
}

// TestVerifyFinds changes stored facts behind the program's back, one at a time.
func TestVerifyFinds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		want  string
		forge func(ctx context.Context, x *audited, tx core.Tx) error
	}{
		"a callback that was lost": {"I1", func(ctx context.Context, x *audited, tx core.Tx) error {
			return tx.PutCallbackEntry(ctx, core.JournalEntry{
				ID: "cb_lost", Listing: x.sub.Listing, Result: marketplace.Applied, Subscription: x.sub.ID, ReceivedAt: x.Now(),
				Event: &marketplace.Event{Kind: marketplace.Renewed, Subject: "s-1", Key: "order-2"},
			})
		}},
		"a callback about nothing": {"I1", func(ctx context.Context, x *audited, tx core.Tx) error {
			return tx.PutCallbackEntry(ctx, core.JournalEntry{
				ID: "cb_lost", Listing: x.sub.Listing, Result: marketplace.Waiting, Subscription: "sub_gone", ReceivedAt: x.Now(),
				Event: &marketplace.Event{Kind: marketplace.Activated, Subject: "s-2"},
			})
		}},
		"a state that does not follow": {"I2", func(ctx context.Context, x *audited, tx core.Tx) error {
			s, err := tx.Subscription(ctx, x.sub.ID)
			s.Status = marketplace.StatusEnded
			return cmp.Or(err, tx.PutSubscription(ctx, s))
		}},
		"a forged transaction": {"I3", func(ctx context.Context, x *audited, tx core.Tx) error {
			return x.book(ctx, tx, move(ledger.Adjustment, "", ledger.Cash, 1), func(t *ledger.Transaction) {
				t.Postings[0].Micros, t.Postings[1].Micros = 2, -2
			})
		}},
		"a bill that is in no book": {"I3", func(ctx context.Context, x *audited, tx core.Tx) error {
			return x.forged(ctx, tx, func(b *settlement.DailyBill) { b.LedgerSeq = 0 })
		}},
		"a bill with another's transaction": {"I3", func(ctx context.Context, x *audited, tx core.Tx) error {
			return x.forged(ctx, tx, func(*settlement.DailyBill) {})
		}},
		"a bill with a transaction to come": {"I3", func(ctx context.Context, x *audited, tx core.Tx) error {
			return x.forged(ctx, tx, func(b *settlement.DailyBill) { b.LedgerSeq = 99 })
		}},
		"a bill that was paid twice": {"I3", func(ctx context.Context, x *audited, tx core.Tx) error {
			ref := string(settlement.DailyBillID(x.payg, x.day))
			return x.book(ctx, tx, move(ledger.Usage, ref, ledger.Cash, -1_500_000), func(*ledger.Transaction) {})
		}},
		"a bill that is more than its lines": {"I4", func(ctx context.Context, x *audited, tx core.Tx) error {
			return x.forged(ctx, tx, func(b *settlement.DailyBill) { b.Total++ })
		}},
		"a bill without usage": {"I5", func(ctx context.Context, x *audited, tx core.Tx) error {
			return tx.AddDailyBill(ctx, settlement.DailyBill{
				ID: settlement.DailyBillID("ws_none", x.day), Workspace: "ws_none", Day: x.day, BillingAccount: x.acc, Currency: "CNY",
			})
		}},
		"usage without a bill": {"I5", func(ctx context.Context, x *audited, tx core.Tx) error {
			_, err := tx.SealUsage(ctx, usage.Seal{Workspace: string(x.payg), Day: x.day + 1, Rev: 1})
			return err
		}},
		"a bill of other usage": {"I5", func(ctx context.Context, x *audited, tx core.Tx) error {
			return x.forged(ctx, tx, func(b *settlement.DailyBill) { b.UsageRev++ })
		}},
		"a price that was not in the book": {"I6", func(ctx context.Context, x *audited, tx core.Tx) error {
			return x.forged(ctx, tx, func(b *settlement.DailyBill) {
				b.Lines[0].Amount, b.Total, b.Deductions[0].Micros = 1_000_000, 1_000_000, 1_000_000
			})
		}},
		"a payment for nothing": {"I6", func(ctx context.Context, x *audited, tx core.Tx) error {
			ref := string(settlement.DailyBillID("ws_none", x.day))
			return x.book(ctx, tx, move(ledger.Usage, ref, ledger.Cash, -1), func(*ledger.Transaction) {})
		}},
		"a monthly bill that leaves something out": {"I4", func(ctx context.Context, x *audited, tx core.Tx) error {
			return tx.AddMonthlyBill(ctx, settlement.NewMonthlyBill(x.acc, x.day.Month(), "CNY", settlement.Fence{}, 2))
		}},
		"a monthly bill with a gap": {"I4", func(ctx context.Context, x *audited, tx core.Tx) error {
			return tx.AddMonthlyBill(ctx, settlement.NewMonthlyBill(x.acc, x.day.Month(), "CNY", settlement.Fence{Before: x.day + 1, Seq: 2}, 2))
		}},
		"a note that moved nothing": {"I4", func(ctx context.Context, x *audited, tx core.Tx) error {
			return tx.AddNote(ctx, settlement.Note{
				ID: "cn_1", Bill: settlement.DailyBillID("ws_none", x.day), BillingAccount: x.acc, Currency: "CNY", Total: -1,
			})
		}},
		"a unit that was never reported": {"I7", func(ctx context.Context, x *audited, tx core.Tx) error {
			a, err := tx.MeterAccount(ctx, x.sub.ID)
			a.Accepted++
			return cmp.Or(err, tx.PutMeterAccount(ctx, a))
		}},
		"a charge that is in no book": {"I7", func(ctx context.Context, x *audited, tx core.Tx) error {
			a, err := tx.MeterAccount(ctx, x.sub.ID)
			a.Charged++
			return cmp.Or(err, tx.PutMeterAccount(ctx, a))
		}},
		"a record of other units": {"I7", func(ctx context.Context, x *audited, tx core.Tx) error {
			r := x.only(x.sub.ID)
			r.UnitAmount *= 10
			return tx.PutMeterRecord(ctx, r)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := newAudited(t)
			x.useOn(x.day+1, x.payg, "logs", "14d", 1, "1000000")
			must(t, x.store.Update(t.Context(), func(ctx context.Context, tx core.Tx) error { return c.forge(ctx, x, tx) }))
			v, err := x.Verify(t.Context())
			must(t, err)
			if v.OK || !slices.ContainsFunc(v.Violations, func(b core.Violation) bool { return b.Invariant == c.want }) {
				t.Errorf("%+v, want %s broken", v, c.want)
			}
		})
	}
}
