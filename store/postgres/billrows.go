package postgres

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/govalues/decimal"

	"cloudsettle/core/ledger"
	"cloudsettle/core/money"
	"cloudsettle/core/settlement"
)

// The lists of bills and ledgers are rows of JSON arrays, not of objects: the
// names of fields would be most of what is stored. docs/operations.md and the
// comments of the columns say what is where, and views give it names.

// billArrays are the columns of several daily bills.
type billArrays struct {
	days                                                                             []int32
	workspaces, sites, accounts, bindings, methods, subscriptions, currencies, books []string
	totals, clouds, arrears, usageRevs, ledgerSeqs                                   []int64
	sealed                                                                           []*time.Time
	lines, unrated, deductions                                                       [][]byte
}

const insertDailyBills = `
	insert into daily_bills (` + dailyBillColumns + `)
	select * from unnest($1::int[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
		$9::text[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::timestamptz[],
		$16::jsonb[], $17::jsonb[], $18::jsonb[])`

func (c *billArrays) args() []any {
	return []any{
		c.days, c.workspaces, c.sites, c.accounts, c.bindings, c.methods, c.subscriptions, c.currencies, c.books,
		c.totals, c.clouds, c.arrears, c.usageRevs, c.ledgerSeqs, c.sealed, c.lines, c.unrated, c.deductions,
	}
}

func (c *billArrays) grow(n int) {
	c.days, c.sealed = make([]int32, 0, n), make([]*time.Time, 0, n)
	for _, list := range []*[]string{
		&c.workspaces, &c.sites, &c.accounts, &c.bindings, &c.methods, &c.subscriptions, &c.currencies, &c.books,
	} {
		*list = make([]string, 0, n)
	}
	for _, list := range []*[]int64{&c.totals, &c.clouds, &c.arrears, &c.usageRevs, &c.ledgerSeqs} {
		*list = make([]int64, 0, n)
	}
	for _, list := range []*[][]byte{&c.lines, &c.unrated, &c.deductions} {
		*list = make([][]byte, 0, n)
	}
}

func (c *billArrays) add(b *settlement.DailyBill) error {
	var unrated []byte
	if len(b.Unrated) > 0 {
		var err error
		if unrated, err = encodeJSON(b.Unrated); err != nil {
			return err
		}
	}
	c.days, c.workspaces, c.sites = append(c.days, int32(b.Day)), append(c.workspaces, string(b.Workspace)), append(c.sites, b.Site)
	c.accounts, c.bindings = append(c.accounts, string(b.BillingAccount)), append(c.bindings, string(b.Binding))
	c.methods = append(c.methods, string(b.Settlement.Method))
	c.subscriptions = append(c.subscriptions, string(b.Settlement.Subscription))
	c.currencies, c.books = append(c.currencies, string(b.Currency)), append(c.books, string(b.Book))
	c.totals, c.clouds = append(c.totals, int64(b.Total)), append(c.clouds, int64(b.Cloud))
	c.arrears, c.usageRevs = append(c.arrears, int64(b.Arrears)), append(c.usageRevs, whole(b.UsageRev))
	c.ledgerSeqs, c.sealed = append(c.ledgerSeqs, whole(b.LedgerSeq)), append(c.sealed, orNull(b.SealedAt))
	c.lines, c.unrated = append(c.lines, appendLines(nil, b.Lines)), append(c.unrated, unrated)
	c.deductions = append(c.deductions, appendDeductions(nil, b.Deductions))
	return nil
}

// lineSize is about what a line takes.
const lineSize = 64

// appendLines writes lines as daily_bills.lines documents them.
func appendLines(dst []byte, lines []settlement.Line) []byte {
	if dst == nil {
		dst = make([]byte, 0, 2+lineSize*len(lines))
	}
	dst = append(dst, '[')
	for i := range lines {
		l := &lines[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(append(dst, '['), l.Item)
		dst = appendText(append(dst, ','), l.Variant)
		for _, d := range [...]decimal.Decimal{l.Quantity, l.Unit, l.Price} {
			dst = append(dst, ',', '"')
			dst, _ = d.AppendText(dst) // it never fails
			dst = append(dst, '"')
		}
		dst = strconv.AppendInt(append(dst, ','), int64(l.Amount), 10)
		if l.NoVouchers {
			dst = append(dst, ",1,"...)
		} else {
			dst = append(dst, ",0,"...)
		}
		dst = append(strconv.AppendInt(dst, int64(l.Of), 10), ']')
	}
	return append(dst, ']')
}

// appendText writes a JSON text. Nearly all names are written as they are.
func appendText(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			text, _ := json.Marshal(s) // a string never fails
			return append(dst, withoutNUL(text)...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

// decodeLines reads what appendLines wrote.
func decodeLines(text []byte) ([]settlement.Line, error) {
	var rows []lineRow
	if err := decodeJSON(text, &rows); err != nil || len(rows) == 0 {
		return nil, err
	}
	lines := make([]settlement.Line, len(rows))
	for i := range rows {
		lines[i] = settlement.Line(rows[i])
	}
	return lines, nil
}

// lineRow is a line as a row of JSON.
type lineRow settlement.Line

// UnmarshalJSON implements json.Unmarshaler.
func (l *lineRow) UnmarshalJSON(text []byte) error {
	var noVouchers int
	err := json.Unmarshal(text, &[]any{
		&l.Item, &l.Variant, &l.Quantity, &l.Unit, &l.Price, (*int64)(&l.Amount), &noVouchers, (*int32)(&l.Of),
	})
	l.NoVouchers = noVouchers == 1
	return err
}

// appendDeductions writes rows of source and amount.
func appendDeductions(dst []byte, list []settlement.Deduction) []byte {
	dst = append(dst, '[')
	for i, d := range list {
		dst = appendAmount(dst, i, d.Source, d.Micros)
	}
	return append(dst, ']')
}

func decodeDeductions(text []byte) ([]settlement.Deduction, error) {
	return decodeAmounts(text, func(a ledger.Account, m money.Micros) settlement.Deduction {
		return settlement.Deduction{Source: a, Micros: m}
	})
}

func appendPostings(dst []byte, list []ledger.Posting) []byte {
	dst = append(dst, '[')
	for i, p := range list {
		dst = appendAmount(dst, i, p.Account, p.Micros)
	}
	return append(dst, ']')
}

func decodePostings(text []byte) ([]ledger.Posting, error) {
	return decodeAmounts(text, func(a ledger.Account, m money.Micros) ledger.Posting {
		return ledger.Posting{Account: a, Micros: m}
	})
}

func appendBalances(dst []byte, list []ledger.Balance) []byte {
	dst = append(dst, '[')
	for i, b := range list {
		dst = appendAmount(dst, i, b.Account, b.Micros)
	}
	return append(dst, ']')
}

func decodeBalances(text []byte) ([]ledger.Balance, error) {
	return decodeAmounts(text, func(a ledger.Account, m money.Micros) ledger.Balance {
		return ledger.Balance{Account: a, Micros: m}
	})
}

// appendAmount writes the n-th row of an account and an amount.
func appendAmount(dst []byte, n int, a ledger.Account, m money.Micros) []byte {
	if n > 0 {
		dst = append(dst, ',')
	}
	dst = appendText(append(dst, '['), string(a))
	return append(strconv.AppendInt(append(dst, ','), int64(m), 10), ']')
}

// decodeAmounts reads rows of an account and an amount.
func decodeAmounts[T any](text []byte, entry func(ledger.Account, money.Micros) T) ([]T, error) {
	if len(text) <= len("[]") {
		return nil, nil
	}
	var rows []amountRow
	if err := decodeJSON(text, &rows); err != nil {
		return nil, err
	}
	out := make([]T, len(rows))
	for i, r := range rows {
		out[i] = entry(r.account, r.amount)
	}
	return out, nil
}

// amountRow is an account and an amount as a row of JSON.
type amountRow struct {
	account ledger.Account
	amount  money.Micros
}

// UnmarshalJSON implements json.Unmarshaler.
func (r *amountRow) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&r.account, (*int64)(&r.amount)})
}
