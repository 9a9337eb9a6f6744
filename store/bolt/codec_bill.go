package bolt

import (
	"encoding/binary"
	"slices"

	"github.com/govalues/decimal"

	"cloudsettle/core/account"
	"cloudsettle/core/ledger"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/money"
	"cloudsettle/core/pricing"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
	"cloudsettle/store/internal/daypack"
	"cloudsettle/store/internal/packed"
)

// appendDailyBill packs b without its identifier, which follows from its
// workspace and day.
func appendDailyBill(dst []byte, b *settlement.DailyBill) []byte {
	dst = append(dst, formatPacked1)
	dst = packed.AppendText(dst, b.Workspace)
	dst = packed.AppendText(dst, b.Site)
	dst = binary.AppendVarint(dst, int64(b.Day))
	dst = packed.AppendText(dst, b.BillingAccount)
	dst = packed.AppendText(dst, b.Binding)
	dst = packed.AppendText(dst, b.Settlement.Method)
	dst = packed.AppendText(dst, b.Settlement.Subscription)
	dst = packed.AppendText(dst, b.Currency)
	dst = packed.AppendText(dst, b.Book)
	dst = binary.AppendUvarint(dst, uint64(len(b.Lines)))
	for i := range b.Lines {
		dst = appendLine(dst, &b.Lines[i])
	}
	dst = binary.AppendUvarint(dst, uint64(len(b.Unrated)))
	for _, u := range b.Unrated {
		dst = packed.AppendText(packed.AppendText(packed.AppendText(dst, u.Item), u.Variant), u.Reason)
	}
	dst = binary.AppendVarint(dst, int64(b.Total))
	dst = binary.AppendUvarint(dst, uint64(len(b.Deductions)))
	for _, d := range b.Deductions {
		dst = binary.AppendVarint(packed.AppendText(dst, d.Source), int64(d.Micros))
	}
	dst = binary.AppendVarint(dst, int64(b.Cloud))
	dst = binary.AppendVarint(dst, int64(b.Arrears))
	dst = binary.AppendUvarint(dst, b.UsageRev)
	dst = binary.AppendUvarint(dst, b.LedgerSeq)
	return appendTime(dst, b.SealedAt)
}

func appendLine(dst []byte, l *settlement.Line) []byte {
	dst = packed.AppendText(dst, l.Item)
	dst = packed.AppendText(dst, l.Variant)
	dst = daypack.AppendDecimal(dst, l.Quantity)
	dst = daypack.AppendDecimal(dst, l.Unit)
	dst = daypack.AppendDecimal(dst, l.Price)
	dst = binary.AppendVarint(dst, int64(l.Amount))
	dst = appendBool(dst, l.NoVouchers)
	return binary.AppendVarint(dst, int64(l.Of))
}

// The least bytes that members of a packed bill's lists take.
const (
	leastLine      = 2 + 3*2 + 3
	leastUnrated   = 3
	leastDeduction = 2
)

// decodeDailyBill reads what appendDailyBill wrote.
func decodeDailyBill(value []byte) (settlement.DailyBill, error) {
	var b settlement.DailyBill
	if err := readDailyBill(&b, value); err != nil {
		return settlement.DailyBill{}, err
	}
	return b, nil
}

// readDailyBill is decodeDailyBill into a bill whose lines' memory is used
// again. After an error b is of no use.
func readDailyBill(b *settlement.DailyBill, value []byte) error {
	u, err := unpack(value)
	if err != nil {
		return err
	}
	lines := b.Lines[:0]
	*b = settlement.DailyBill{
		Workspace: workspace.ID(u.Text()), Site: u.Text(),
		Day: usage.Day(u.int32()), BillingAccount: account.ID(u.Text()),
		Binding: workspace.BindingID(u.Text()),
		Settlement: workspace.Settlement{
			Method: workspace.Method(u.Text()), Subscription: marketplace.SubscriptionID(u.Text()),
		},
		Currency: money.Currency(u.Text()), Book: pricing.BookID(u.Text()),
	}
	b.ID = settlement.DailyBillID(b.Workspace, b.Day)
	if n := u.listOf(leastLine); n > 0 {
		b.Lines = slices.Grow(lines, n)[:n]
	}
	for i := range b.Lines {
		u.line(&b.Lines[i])
	}
	b.Unrated = list(u, leastUnrated, func(u *unpacker) settlement.Unrated {
		return settlement.Unrated{Item: u.Text(), Variant: u.Text(), Reason: u.Text()}
	})
	b.Total = u.micros()
	b.Deductions = list(u, leastDeduction, func(u *unpacker) settlement.Deduction {
		return settlement.Deduction{Source: ledger.Account(u.Text()), Micros: u.micros()}
	})
	b.Cloud, b.Arrears = u.micros(), u.micros()
	b.UsageRev, b.LedgerSeq, b.SealedAt = u.Uint(), u.Uint(), u.time()
	return u.Done()
}

// line reads a line field by field: to copy a whole one is slow while garbage
// is collected, and bills are mostly lines.
func (u *unpacker) line(l *settlement.Line) {
	l.Item, l.Variant = u.Text(), u.Text()
	l.Quantity, l.Unit, l.Price = u.decimal(), u.decimal(), u.decimal()
	l.Amount, l.NoVouchers, l.Of = u.micros(), u.bool(), usage.Day(u.int32())
}

// list reads a list whose members take at least least bytes; an empty one is
// nil.
func list[T any](u *unpacker, least int, read func(*unpacker) T) []T {
	n := u.listOf(least)
	if n == 0 {
		return nil
	}
	out := make([]T, n)
	for i := range out {
		out[i] = read(u)
	}
	return out
}

func (u *unpacker) micros() money.Micros { return money.Micros(u.Int()) }

// int32 reads a number of at most 32 bits.
func (u *unpacker) int32() int32 {
	v := u.Int()
	if int64(int32(v)) != v { // #nosec -- this is the check
		u.Fail()
		return 0
	}
	return int32(v) // #nosec -- checked
}

// decimal reads what daypack.AppendDecimal wrote.
func (u *unpacker) decimal() decimal.Decimal {
	head, coef := u.Byte(), u.Uint()
	d, err := daypack.Decimal(head, coef)
	if err != nil {
		u.Fail()
	}
	return d
}
