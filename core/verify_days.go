package core

import (
	"context"
	"fmt"
	"slices"
	"time"

	"cloudsettle/core/ledger"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
)

// dailyBills: a bill equals its lines and what paid for it, and comes out the
// same from its samples and price book; usage is sealed if and only if it is in
// a bill (I4, I5, I6).
func (v *verifier) dailyBills(ctx context.Context) error {
	days, err := v.billDays(ctx)
	if err != nil || len(days) == 0 {
		return err
	}
	last := max(days[len(days)-1], usage.DayOf(v.Now(), time.UTC)+1) // which has begun in the east
	for day := days[0]; day <= last; day++ {
		v.again = preparation{Service: v.Service, day: day, result: v.again.result}
		for p := (Page{Limit: verifyChunk}); ; {
			err := v.Store.View(ctx, func(ctx context.Context, tx ReadTx) (err error) {
				p.After, err = v.billsOn(ctx, tx, day, p)
				return err
			})
			if err != nil {
				return fmt.Errorf("verify daily_bills: %w", err)
			}
			if p.After == "" {
				break
			}
		}
	}
	return nil
}

// billDays returns the days that have bills.
func (v *verifier) billDays(ctx context.Context) ([]usage.Day, error) {
	return InView(ctx, v.Store, func(ctx context.Context, tx ReadTx) ([]usage.Day, error) { return collect(tx.BillDays(ctx)) })
}

// billsOn holds a page of a day's bills against the usage of the same
// workspaces, and returns where the next page begins, or "".
func (v *verifier) billsOn(ctx context.Context, tx ReadTx, day usage.Day, p Page) (next string, err error) {
	v.again.tx = tx
	if v.again.tariffs, err = v.rates.read(ctx, tx); err != nil {
		return "", err
	}
	seen := 0
	for x, err := range tx.BilledOn(ctx, day, p) {
		if err != nil {
			return "", err
		}
		if err := v.billed(ctx, day, x); err != nil {
			return "", err
		}
		seen++
		next = string(x.Workspace)
	}
	if seen < p.Limit {
		next = ""
	}
	return next, nil
}

// billed holds a workspace's bill against its usage.
func (v *verifier) billed(ctx context.Context, day usage.Day, x *Billed) error {
	if x.Bill.ID == "" {
		if x.Usage.Sealed {
			v.breaks("I5", string(settlement.DailyBillID(x.Workspace, day)), "its samples are sealed and it is missing")
		}
		return nil
	}
	v.out.Checked["daily_bills"]++
	if len(x.Usage.Samples) == 0 {
		v.breaks("I5", string(x.Bill.ID), "its samples are missing")
		return nil
	}
	return v.dailyBill(ctx, &x.Bill, x.Usage)
}

// dailyBill derives a bill again from its samples.
func (v *verifier) dailyBill(ctx context.Context, b *settlement.DailyBill, rec usage.Record) error {
	if err := b.Check(); err != nil {
		v.breaks("I4", string(b.ID), "%v", err)
	}
	switch {
	case b.LedgerSeq != 0:
		v.unbooked++
	case b.Total != 0 || b.Cloud != 0 || b.Arrears != 0 || len(b.Deductions) > 0:
		v.breaks("I3", string(b.ID), "is not in the ledger")
	}
	if !rec.Sealed || rec.Rev != b.UsageRev {
		v.breaks("I5", string(b.ID), "its samples are not sealed, or are not those that were billed")
		return nil
	}
	waits, err := v.again.lines(ctx, &v.bill, rec, v.sites[b.Site], b.Currency, b.Book)
	if err != nil {
		return err
	}
	switch {
	case waits != "":
		v.breaks("I6", string(b.ID), "cannot be derived again: %s", waits)
	case !slices.Equal(v.bill.Lines, b.Lines) || v.bill.Total != b.Total:
		v.breaks("I6", string(b.ID), "its samples and price book come to %s, not %s", v.bill.Total, b.Total)
	}
	return nil
}

// bookings: each bill is in the ledger where it says (I3). It is the long way
// to look: transactions lead to their bills anyhow, and where both are as many,
// none is missing. They may differ when bills were made meanwhile.
func (v *verifier) bookings(ctx context.Context) error {
	days, err := v.billDays(ctx)
	if err != nil {
		return err
	}
	for _, day := range days {
		err := each(ctx, v, "bookings", func(ctx context.Context, tx ReadTx, p Page) (List[settlement.DailyBill], error) {
			return listed(tx.DailyBillsOn(ctx, day, more(p)), p, func(b settlement.DailyBill) string { return string(b.Workspace) })
		}, v.booking)
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) booking(ctx context.Context, tx ReadTx, b settlement.DailyBill) error {
	if b.LedgerSeq == 0 {
		return nil
	}
	t, err := transaction(ctx, tx, b.BillingAccount, b.Currency, b.LedgerSeq)
	if err == nil && (t.Kind != ledger.Usage || t.Ref != string(b.ID)) {
		v.breaks("I3", string(b.ID), "transaction %d, which it names, is not its own", b.LedgerSeq)
	}
	return err
}
