// Package settlement turns what was rated into bills and decides what pays for
// them: vouchers, cards, cash, a cloud account, and what stays owed.
//
// Owns: daily and monthly bills and the notes that correct them, the order of
// deduction, how a bill stands, rounding of what a wallet is charged. Does not
// own: prices and lines (core/rating), balances (core/ledger), what a
// marketplace is told (core/metering).
package settlement

import (
	"errors"
	"fmt"
	"time"

	"github.com/govalues/decimal"

	"cloudsettle/core/account"
	"cloudsettle/core/ledger"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/money"
	"cloudsettle/core/pricing"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// BillID identifies a daily bill. A workspace has one for each day with usage,
// so the id says which.
type BillID string

// DailyBillID returns the id of the bill of one workspace and day.
func DailyBillID(w workspace.ID, d usage.Day) BillID {
	return BillID("db_" + d.String() + "_" + string(w))
}

// DailyKey is the place of a daily bill.
type DailyKey struct {
	Workspace workspace.ID
	Day       usage.Day
}

// Line is one rated item of a daily bill.
type Line struct {
	Item       string          `json:"item"`
	Variant    string          `json:"variant,omitempty"`
	Quantity   decimal.Decimal `json:"quantity"`
	Unit       decimal.Decimal `json:"unit"`
	Price      decimal.Decimal `json:"price"` // zero for tiers that mix prices
	Amount     money.Micros    `json:"amount"`
	NoVouchers bool            `json:"no_vouchers,omitempty"`
	// Of is the day that the line corrects, or zero for the bill's own day.
	Of usage.Day `json:"of,omitempty"`
}

// Unrated are samples that are in no line, and why: they wait.
type Unrated struct {
	Item    string `json:"item"`
	Variant string `json:"variant,omitempty"`
	Reason  string `json:"reason"`
}

// DailyBill is what one workspace's day came to and what paid for it. It is
// made whole in one transaction and never changes.
type DailyBill struct {
	ID             BillID               `json:"id"`
	Workspace      workspace.ID         `json:"workspace"`
	Site           string               `json:"site"`
	Day            usage.Day            `json:"day"`
	BillingAccount account.ID           `json:"billing_account"`
	Binding        workspace.BindingID  `json:"binding"`
	Settlement     workspace.Settlement `json:"settlement"`
	Currency       money.Currency       `json:"currency"`
	Book           pricing.BookID       `json:"book"`
	Lines          []Line               `json:"lines"`
	Unrated        []Unrated            `json:"unrated,omitempty"`
	Total          money.Micros         `json:"total"`
	Split
	// UsageRev is the revision of the samples that were rated, LedgerSeq the
	// transaction that paid, 0 if there was nothing to pay.
	UsageRev  uint64    `json:"usage_rev"`
	LedgerSeq uint64    `json:"ledger_seq,omitempty"`
	SealedAt  time.Time `json:"sealed_at"`
}

// Deduction is what one account of the ledger paid of a bill.
type Deduction struct {
	Source ledger.Account `json:"source"`
	Micros money.Micros   `json:"amount"`
}

// Split says what paid for a bill. Deductions, Cloud and Arrears add up to the
// total.
type Split struct {
	Deductions []Deduction  `json:"deductions,omitempty"`
	Cloud      money.Micros `json:"cloud,omitempty"`
	Arrears    money.Micros `json:"arrears,omitempty"`
}

// sum adds up what was paid.
func (s *Split) sum() (money.Micros, error) {
	sum, err := money.Sum(s.Cloud, s.Arrears)
	for _, d := range s.Deductions {
		if err == nil {
			sum, err = sum.Add(d.Micros)
		}
	}
	return sum, err
}

// ErrSplit says that a bill and what pays for it differ.
var ErrSplit = errors.New("what was paid is not the total")

// Check reports whether a bill equals the sum of its lines and of what paid
// for it.
func (b *DailyBill) Check() error {
	var lines money.Micros
	var err error
	for _, l := range b.Lines {
		if lines, err = lines.Add(l.Amount); err != nil {
			return err
		}
	}
	paid, err := b.sum()
	if err != nil {
		return err
	}
	if lines != b.Total || paid != b.Total {
		return fmt.Errorf("%w: lines %s, paid %s, total %s", ErrSplit, lines, paid, b.Total)
	}
	return nil
}

// Postings are the movements of money that pay for the bill.
func (b *DailyBill) Postings() []ledger.Posting {
	return b.postings(b.Total, b.Settlement.Subscription)
}

// postings earn a total that s pays for.
func (s *Split) postings(total money.Micros, sub marketplace.SubscriptionID) []ledger.Posting {
	out := []ledger.Posting{{Account: ledger.Revenue, Micros: total}}
	for _, d := range s.Deductions {
		out = append(out, ledger.Posting{Account: d.Source, Micros: -d.Micros})
	}
	if s.Cloud != 0 {
		out = append(out, ledger.Posting{Account: ledger.Cloud(string(sub)), Micros: -s.Cloud})
	}
	if s.Arrears != 0 {
		out = append(out, ledger.Posting{Account: ledger.Arrears, Micros: -s.Arrears})
	}
	return out
}
