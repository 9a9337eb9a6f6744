package core

import (
	"context"
	"iter"
	"strconv"
	"strings"

	"cloudsettle/core/ledger"
	"cloudsettle/core/settlement"
)

// Places in the daily bills of a monthly one: the number of a transaction while
// those of earlier months are read, then the id of a daily bill.
const atTransaction = "tx_"

// covered yields the daily bills of a monthly one, after a place. First those
// that were made after their month was closed, in the order of the book: only
// it knows when they were made. Then the others, by day and workspace.
func covered(ctx context.Context, tx ReadTx, b settlement.MonthlyBill, after string) iter.Seq2[settlement.DailyBill, error] {
	return func(yield func(settlement.DailyBill, error) bool) {
		if after == "" || strings.HasPrefix(after, atTransaction) {
			for d, err := range belated(ctx, tx, b, strings.TrimPrefix(after, atTransaction)) {
				if !yield(d, err) || err != nil {
					return
				}
			}
			after = ""
		}
		for d, err := range tx.DailyBillsFor(ctx, b.BillingAccount, b.Since.Before, b.Until.Before, Page{After: after}) {
			if err == nil && (d.Currency != b.Currency || !b.Covers(d.Day, d.LedgerSeq)) {
				continue
			}
			if !yield(d, err) || err != nil {
				return
			}
		}
	}
}

// belated yields the daily bills of days that the bill before b could have
// covered, but for when they were made. They are found by the transactions that
// paid for them.
func belated(ctx context.Context, tx ReadTx, b settlement.MonthlyBill, after string) iter.Seq2[settlement.DailyBill, error] {
	return func(yield func(settlement.DailyBill, error) bool) {
		if b.Since.Seq >= b.Until.Seq || b.Since == (settlement.Fence{}) {
			return
		}
		if after == "" {
			after = text(b.Since.Seq)
		}
		for t, err := range tx.LedgerTransactions(ctx, b.BillingAccount, b.Currency, Page{After: after}) {
			if err == nil && t.Seq > b.Until.Seq {
				return
			}
			if err == nil && t.Kind != ledger.Usage {
				continue
			}
			d, mine, err := paidFor(ctx, tx, b, t, err)
			if err == nil && !mine {
				continue
			}
			if !yield(d, err) || err != nil {
				return
			}
		}
	}
}

// paidFor returns the daily bill that a transaction paid for, if it is a
// belated one of b.
func paidFor(ctx context.Context, tx ReadTx, b settlement.MonthlyBill, t ledger.Transaction, err error) (settlement.DailyBill, bool, error) {
	if err != nil {
		return settlement.DailyBill{}, false, err
	}
	ws, day, err := billKey(t.Ref)
	if err != nil || day >= b.Since.Before {
		return settlement.DailyBill{}, false, err
	}
	d, err := tx.DailyBill(ctx, ws, day)
	return d, true, err
}

// placeOf is where a list of the daily bills of b goes on after d.
func placeOf(b *settlement.MonthlyBill, d *settlement.DailyBill) string {
	if d.Day < b.Since.Before {
		return atTransaction + strconv.FormatUint(d.LedgerSeq, 10)
	}
	return string(d.ID)
}

// DailyBillsIn lists the daily bills of a monthly one that the caller has read.
func (s *Service) DailyBillsIn(ctx context.Context, b settlement.MonthlyBill, p Page) (List[settlement.DailyBill], error) {
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (List[settlement.DailyBill], error) {
		return listed(covered(ctx, tx, b, p.After), p, func(d settlement.DailyBill) string { return placeOf(&b, &d) })
	})
}
