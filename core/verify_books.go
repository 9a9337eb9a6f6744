package core

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"cloudsettle/core/ledger"
	"cloudsettle/core/settlement"
)

// ledgers: every book is replayed from its beginning (I3, I9).
func (v *verifier) ledgers(ctx context.Context) error {
	return pages(ctx, v, "ledgers", func(ctx context.Context, tx ReadTx, p Page) (List[ledger.Head], error) {
		return listed(tx.LedgerHeads(ctx, more(p)), p, func(h ledger.Head) string { return h.Owner + "/" + string(h.Currency) })
	}, func(ctx context.Context, tx ReadTx, heads []ledger.Head) error {
		keys := make([]ledger.Key, len(heads))
		for i := range heads {
			keys[i] = keyOf(&heads[i])
		}
		purses, err := tx.Purses(ctx, keys...)
		if err != nil {
			return err
		}
		r := replay{verifier: v, tx: tx, books: purses}
		r.begin()
		for t, err := range tx.LedgerBooks(ctx, keys[0], keys[len(keys)-1]) {
			if err == nil {
				err = r.next(ctx, t)
			}
			if err != nil {
				return err
			}
		}
		return r.end(ctx)
	})
}

func keyOf(h *ledger.Head) ledger.Key { return ledger.Key{Owner: h.Owner, Currency: h.Currency} }

// replay goes through the transactions of books, which come in their order.
type replay struct {
	*verifier
	tx     ReadTx
	books  []settlement.Purse // those not at their end; the first is at proof
	proof  *ledger.Proof
	broken bool      // the first book is, and its rest proves nothing
	bills  []payment // not looked at yet
}

// payment is what was paid for a bill, and from what.
type payment struct {
	bill   settlement.DailyKey
	before settlement.Purse
	by     ledger.Transaction
}

// next replays one transaction.
func (r *replay) next(ctx context.Context, t ledger.Transaction) error {
	key := ledger.Key{Owner: t.Owner, Currency: t.Currency}
	for len(r.books) > 0 && compareKeys(keyOf(&r.books[0].Head), key) < 0 {
		r.endBook()
	}
	r.out.Checked["ledger_transactions"]++
	name := fmt.Sprintf("%s/%s/%d", t.Owner, t.Currency, t.Seq)
	if len(r.books) == 0 || keyOf(&r.books[0].Head) != key {
		r.breaks("I3", name, "has no book")
		return nil
	}
	if r.broken {
		return nil
	}
	before := settlement.Purse{Head: r.proof.Head(), Funds: r.books[0].Funds}
	if err := r.proof.Next(t); err != nil {
		r.breaks("I3", name, "%v", err)
		r.broken = true
		return nil
	}
	return r.paid(ctx, before, t)
}

func compareKeys(a, b ledger.Key) int {
	return cmp.Or(strings.Compare(a.Owner, b.Owner), strings.Compare(string(a.Currency), string(b.Currency)))
}

// begin begins with the first book that is left.
func (r *replay) begin() {
	r.broken = false
	if len(r.books) > 0 {
		h := &r.books[0].Head
		r.proof = ledger.NewProof(ledger.Head{Owner: h.Owner, Currency: h.Currency})
	}
}

// endBook compares the first book with what its transactions lead to.
func (r *replay) endBook() {
	h := r.books[0].Head
	if err := r.proof.End(h); err != nil && !r.broken {
		r.breaks("I3", h.Owner+"/"+string(h.Currency), "%v", err)
	}
	r.books = r.books[1:]
	r.begin()
}

// end compares the books that are left, and looks at the bills that are.
func (r *replay) end(ctx context.Context) error {
	for len(r.books) > 0 {
		r.endBook()
	}
	return r.payments(ctx)
}

// paid notes what paid for a bill, to be derived again from the balances as
// they stood.
func (r *replay) paid(ctx context.Context, before settlement.Purse, t ledger.Transaction) error {
	switch t.Kind {
	case ledger.Usage:
	case ledger.CreditNote, ledger.DebitNote:
		return r.corrected(ctx, r.tx, before.Head, t)
	default:
		return nil
	}
	ws, day, err := billKey(t.Ref)
	if err != nil {
		r.breaks("I6", t.Ref, "%v", err)
		return nil
	}
	r.bills = append(r.bills, payment{settlement.DailyKey{Workspace: ws, Day: day}, before, t})
	if len(r.bills) < verifyChunk {
		return nil
	}
	return r.payments(ctx)
}

// payments looks at the bills that were noted.
func (r *replay) payments(ctx context.Context) error {
	keys := make([]settlement.DailyKey, len(r.bills))
	for i := range r.bills {
		keys[i] = r.bills[i].bill
	}
	found, err := r.tx.DailyBillsOf(ctx, r.read, keys...)
	if err != nil {
		return err
	}
	r.read = found
	for i := range found {
		if err := r.payment(&r.bills[i], &found[i]); err != nil {
			return err
		}
	}
	r.bills = r.bills[:0]
	return nil
}

// payment derives again what paid for a bill.
func (r *replay) payment(p *payment, b *settlement.DailyBill) error {
	if b.ID == "" {
		r.breaks("I6", p.by.Ref, "was paid and is not there")
		return nil
	}
	if string(b.BillingAccount) != p.before.Head.Owner || b.Currency != p.before.Head.Currency {
		r.breaks("I6", string(b.ID), "was paid from the book of %s in %s", p.before.Head.Owner, p.before.Head.Currency)
		return nil
	}
	if b.LedgerSeq != p.by.Seq || !p.by.Moves(b.Postings()) {
		r.breaks("I3", string(b.ID), "its transaction %d moves something else, or is not the one it names", p.by.Seq)
	} else {
		r.unbooked--
	}
	purse := settlement.Purse{Head: p.before.Head, Funds: grantedBy(p.before.Funds, p.before.Head), At: paidAt(b, r.sites[b.Site].Zone)}
	again, err := settlement.Deduct(b.Lines, purse, b.Settlement.Method)
	if err != nil {
		return err
	}
	if again.Cloud != b.Cloud || again.Arrears != b.Arrears || !slices.Equal(again.Deductions, b.Deductions) {
		r.breaks("I6", string(b.ID), "was paid in another way than the balances of then say")
	}
	return nil
}
