package core

import (
	"context"
	"errors"
	"slices"

	"cloudsettle/core/account"
	"cloudsettle/core/ledger"
	"cloudsettle/core/money"
	"cloudsettle/core/settlement"
	"cloudsettle/core/workspace"
)

// monthlyBills: a monthly bill equals the sum of its daily bills, and begins
// where the one before it ends, so that each daily bill is in one (I4).
func (v *verifier) monthlyBills(ctx context.Context) error {
	return each(ctx, v, "monthly_bills", func(ctx context.Context, tx ReadTx, p Page) (List[settlement.MonthlyBill], error) {
		return listed(tx.MonthlyBills(ctx, "", more(p)), p, func(b settlement.MonthlyBill) string { return string(b.ID) })
	}, v.monthlyBill)
}

func (v *verifier) monthlyBill(ctx context.Context, tx ReadTx, b settlement.MonthlyBill) error {
	books := statements{Service: v.Service, tx: tx}
	before, _, err := books.before(ctx, b.BillingAccount, b.Currency, b.Month)
	if err != nil {
		return err
	}
	h, err := tx.LedgerHead(ctx, b.BillingAccount, b.Currency)
	if err != nil {
		return err
	}
	again := settlement.NewMonthlyBill(b.BillingAccount, b.Month, b.Currency, before.Until, b.Until.Seq)
	if again.Since != b.Since || again.Until != b.Until || b.Until.Seq < b.Since.Seq || b.Until.Seq > h.Seq {
		v.breaks("I4", string(b.ID), "covers %+v to %+v, the bill before ends at %+v and the book at %d",
			b.Since, b.Until, before.Until, h.Seq)
		return nil
	}
	if err := fill(ctx, tx, &again); err != nil {
		return err
	}
	if again.Total != b.Total || !same(again.Workspaces, b.Workspaces) || !same(again.Split, b.Split) {
		v.breaks("I4", string(b.ID), "its daily bills come to %s, not %s", again.Total, b.Total)
	}
	return nil
}

// notes: a note has its transaction, and no bill is credited more than it came
// to (I4).
func (v *verifier) notes(ctx context.Context) error {
	return each(ctx, v, "credit_notes", func(ctx context.Context, tx ReadTx, p Page) (List[settlement.Note], error) {
		return listed(tx.Notes(ctx, "", more(p)), p, func(n settlement.Note) string { return string(n.ID) })
	}, func(ctx context.Context, tx ReadTx, n settlement.Note) error {
		books := statements{Service: v.Service, tx: tx}
		facts := n
		c, err := books.corrected(ctx, &facts)
		if errors.Is(err, ErrNotFound) || errors.Is(err, ErrInvalid) || errors.Is(err, ErrConflict) {
			v.breaks("I4", string(n.ID), "the bill that it corrects: %v", err)
			return nil
		}
		if err != nil {
			return err
		}
		if facts.BillingAccount != n.BillingAccount || facts.Day != n.Day || facts.Seq != n.Seq {
			v.breaks("I4", string(n.ID), "is not for bill %s", n.Bill)
		}
		balances, err := books.balances(ctx, c, n.BillingAccount)
		if err != nil {
			return err
		}
		// The bill that it names: a daily bill may be credited before it is known
		// what its month comes to.
		if x := balances[0]; n.Total < 0 && (x.Net < 0 || n.Cloud < 0 && x.Clouds[n.Settlement.Subscription] < 0) {
			v.breaks("I4", string(n.ID), "gives back more than its bill came to")
		}
		return v.posted(ctx, tx, &n)
	})
}

// posted: the transaction of a note is there and moves what the note says (I3).
func (v *verifier) posted(ctx context.Context, tx ReadTx, n *settlement.Note) error {
	t, err := transaction(ctx, tx, n.BillingAccount, n.Currency, n.LedgerSeq)
	if err == nil && (t.Ref != string(n.ID) || t.Kind != n.Kind()) {
		v.breaks("I3", string(n.ID), "its transaction %d is missing", n.LedgerSeq)
	}
	return err
}

// transaction returns one of a book, or an empty one if it is missing.
func transaction(ctx context.Context, tx ReadTx, id account.ID, c money.Currency, seq uint64) (ledger.Transaction, error) {
	if seq == 0 {
		return ledger.Transaction{}, nil
	}
	for t, err := range tx.LedgerTransactions(ctx, id, c, Page{After: before(seq), Limit: 1}) {
		if err != nil || t.Seq == seq {
			return t, err
		}
	}
	return ledger.Transaction{}, nil
}

// corrected derives again what a note moved, from the balances as they stood
// (I3, I6).
func (v *verifier) corrected(ctx context.Context, tx ReadTx, before ledger.Head, t ledger.Transaction) error {
	n, err := tx.Note(ctx, settlement.NoteID(t.Ref))
	if errors.Is(err, ErrNotFound) {
		v.breaks("I6", t.Ref, "moved money and is not there")
		return nil
	}
	if err != nil {
		return err
	}
	again := n
	if err := again.Pay(before); err != nil {
		return err
	}
	if again.Cloud != n.Cloud || again.Arrears != n.Arrears || !slices.Equal(again.Deductions, n.Deductions) {
		v.breaks("I6", t.Ref, "moved money in another way than the balances of then say")
	}
	if !t.Moves(n.Postings()) || n.Cloud != 0 && n.Settlement.Method != workspace.ByCloudAccount {
		v.breaks("I3", t.Ref, "its transaction %d moves something else", t.Seq)
	}
	return nil
}
