package core

import (
	"context"
	"fmt"
	"slices"
	"time"

	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// dailyBills: a bill equals its lines and what paid for it, and comes out the
// same from its samples and price book; usage is sealed if and only if it is in
// a bill (I4, I5, I6).
func (v *verifier) dailyBills(ctx context.Context) error {
	var prices *tariffs // of when the bills are looked at
	days, err := InView(ctx, v.Store, func(ctx context.Context, tx ReadTx) (days []usage.Day, err error) {
		if prices, err = loadTariffs(ctx, tx); err != nil {
			return nil, err
		}
		return collect(tx.BillDays(ctx))
	})
	if err != nil || len(days) == 0 {
		return err
	}
	last := max(days[len(days)-1], usage.DayOf(v.Now(), time.UTC))
	for day := days[0]; day <= last; day++ {
		v.again = preparation{Service: v.Service, tariffs: prices, day: day, result: v.again.result}
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

// billsOn holds a page of a day's bills against the usage of the same
// workspaces, and returns where the next page begins, or "".
func (v *verifier) billsOn(ctx context.Context, tx ReadTx, day usage.Day, p Page) (next string, err error) {
	bills, err := listed(tx.DailyBillsOn(ctx, day, more(p)), p, func(b settlement.DailyBill) string { return string(b.Workspace) })
	if err != nil {
		return "", err
	}
	v.again.tx = tx
	left := bills.Items
	for rec, err := range tx.UsageOn(ctx, day, Page{After: p.After}) {
		if err != nil {
			return "", err
		}
		if bills.Next != "" && rec.Workspace > bills.Next {
			break
		}
		for len(left) > 0 && string(left[0].Workspace) < rec.Workspace {
			v.breaks("I5", string(left[0].ID), "its samples are missing")
			left = left[1:]
		}
		if len(left) > 0 && string(left[0].Workspace) == rec.Workspace {
			if err := v.dailyBill(ctx, &left[0], rec); err != nil {
				return "", err
			}
			left = left[1:]
		} else if rec.Sealed {
			v.breaks("I5", string(settlement.DailyBillID(workspace.ID(rec.Workspace), day)), "its samples are sealed and it is missing")
		}
	}
	for i := range left {
		v.breaks("I5", string(left[i].ID), "its samples are missing")
	}
	v.out.Checked["daily_bills"] += len(bills.Items)
	return bills.Next, nil
}

// dailyBill derives a bill again from its samples.
func (v *verifier) dailyBill(ctx context.Context, b *settlement.DailyBill, rec usage.Record) error {
	if err := b.Check(); err != nil {
		v.breaks("I4", string(b.ID), "%v", err)
	}
	if !rec.Sealed || rec.Rev != b.UsageRev {
		v.breaks("I5", string(b.ID), "its samples are not sealed, or are not those that were billed")
		return nil
	}
	again, waits, err := v.again.lines(ctx, rec, v.sites[b.Site], b.Currency, b.Book)
	if err != nil {
		return err
	}
	if waits != "" || !slices.Equal(again.Lines, b.Lines) || again.Total != b.Total {
		v.breaks("I6", string(b.ID), "its samples and price book come to %s, not %s", again.Total, b.Total)
	}
	return nil
}
