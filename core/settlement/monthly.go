package settlement

import (
	"cmp"
	"slices"
	"time"

	"cloudsettle/core/account"
	"cloudsettle/core/ledger"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/money"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// Fence is an end of what monthly bills cover: the daily bills of days before
// Before that were paid for in transactions of the book up to Seq. The number
// of a transaction decides, not a clock: it is part of what was committed.
type Fence struct {
	Before usage.Day `json:"before"`
	Seq    uint64    `json:"seq"`
}

// Covers reports whether a daily bill is on the near side. One that moved no
// money is in no monthly bill.
func (f Fence) Covers(day usage.Day, seq uint64) bool {
	return seq != 0 && day < f.Before && seq <= f.Seq
}

// Subtotal is what one workspace came to in a month, settled in one way.
type Subtotal struct {
	Workspace    workspace.ID               `json:"workspace"`
	Site         string                     `json:"site"`
	Subscription marketplace.SubscriptionID `json:"subscription,omitempty"`
	// Adjusts is the earlier month that the days are of: they were billed after
	// that month was closed. It is zero for the bill's own month.
	Adjusts usage.Month  `json:"adjusts,omitempty"`
	Days    int          `json:"days"`
	Amount  money.Micros `json:"amount"`
	// Cloud is how much of the amount was charged through the subscription.
	Cloud money.Micros `json:"cloud,omitempty"`
}

func compareSubtotals(a, b Subtotal) int {
	return cmp.Or(cmp.Compare(a.Workspace, b.Workspace), cmp.Compare(a.Subscription, b.Subscription),
		cmp.Compare(a.Adjusts, b.Adjusts))
}

// MonthlyBill is what a billing account owes for one month in one currency:
// the sum of daily bills, over all sites. It covers those before Until that no
// earlier bill covers, so each daily bill is in one monthly bill. Once issued
// it never changes; what is paid or credited later follows from the ledger.
type MonthlyBill struct {
	ID             BillID         `json:"id"`
	BillingAccount account.ID     `json:"billing_account"`
	Month          usage.Month    `json:"month"`
	Currency       money.Currency `json:"currency"`
	Since          Fence          `json:"since"` // where the bill before ends
	Until          Fence          `json:"until"`
	Workspaces     []Subtotal     `json:"workspaces"`
	Total          money.Micros   `json:"total"`
	Split
	IssuedAt time.Time `json:"issued_at,omitzero"` // zero while the month is open
	DueAt    time.Time `json:"due_at,omitzero"`
}

// MonthlyBillID returns the id of an account's bill for a month and currency.
func MonthlyBillID(id account.ID, m usage.Month, c money.Currency) BillID {
	return BillID("mb_" + m.String() + "_" + string(id) + "_" + string(c))
}

// NewMonthlyBill returns a bill that covers nothing yet. since is where the
// account's bill before ends, seq the end of the book.
func NewMonthlyBill(id account.ID, m usage.Month, c money.Currency, since Fence, seq uint64) MonthlyBill {
	_, end := m.Days()
	return MonthlyBill{
		ID: MonthlyBillID(id, m, c), BillingAccount: id, Month: m, Currency: c,
		Since: since, Until: Fence{Before: end, Seq: seq},
	}
}

// Covers reports whether a daily bill belongs to b.
func (b *MonthlyBill) Covers(day usage.Day, seq uint64) bool {
	return b.Until.Covers(day, seq) && !b.Since.Covers(day, seq)
}

// Add adds a daily bill that b covers.
func (b *MonthlyBill) Add(d *DailyBill) (err error) {
	if b.Total, err = b.Total.Add(d.Total); err != nil {
		return err
	}
	if b.Cloud, err = b.Cloud.Add(d.Cloud); err != nil {
		return err
	}
	if b.Arrears, err = b.Arrears.Add(d.Arrears); err != nil {
		return err
	}
	for _, x := range d.Deductions {
		if err := b.deduct(x.Source, x.Micros); err != nil {
			return err
		}
	}
	s := b.subtotal(d)
	s.Days++
	if s.Cloud, err = s.Cloud.Add(d.Cloud); err != nil {
		return err
	}
	s.Amount, err = s.Amount.Add(d.Total)
	return err
}

// subtotal returns the place where a daily bill is added up.
func (b *MonthlyBill) subtotal(d *DailyBill) *Subtotal {
	s := Subtotal{Workspace: d.Workspace, Site: d.Site, Subscription: d.Settlement.Subscription}
	if m := d.Day.Month(); m != b.Month {
		s.Adjusts = m
	}
	at, found := slices.BinarySearchFunc(b.Workspaces, s, compareSubtotals)
	if !found {
		b.Workspaces = slices.Insert(b.Workspaces, at, s)
	}
	return &b.Workspaces[at]
}

func (b *MonthlyBill) deduct(source ledger.Account, m money.Micros) (err error) {
	at, found := slices.BinarySearchFunc(b.Deductions, source, func(d Deduction, a ledger.Account) int {
		return cmp.Compare(d.Source, a)
	})
	if !found {
		b.Deductions = slices.Insert(b.Deductions, at, Deduction{Source: source})
	}
	d := &b.Deductions[at]
	d.Micros, err = d.Micros.Add(m)
	return err
}

// MonthlyStatus is where a monthly bill is in its life.
type MonthlyStatus string

// The states of a monthly bill. They are not stored: they follow from the
// bill, its notes, what the account owes and the time.
const (
	Open          MonthlyStatus = "open" // the month goes on; nothing is stored
	Issued        MonthlyStatus = "issued"
	Paid          MonthlyStatus = "paid"
	PartiallyPaid MonthlyStatus = "partially_paid"
	Overdue       MonthlyStatus = "overdue"
	Void          MonthlyStatus = "void" // credited whole
)

// Standing is how a monthly bill stands.
type Standing struct {
	Status MonthlyStatus
	Notes  []Note
	// Net is the total with all notes, Due how much of it is still owed.
	Net, Due money.Micros
}

// Stand tells how b stands at now. notes are those of the account, owed is what
// of the account's debt may be b's: what is paid pays the oldest debt first, so
// what is owed still is the newest debt, and later bills come before b.
func (b *MonthlyBill) Stand(notes []Note, owed money.Micros, now time.Time) (Standing, error) {
	s := Standing{Net: b.Total}
	first := b.Arrears // what was owed before anything of it was paid
	for _, n := range notes {
		if !n.On(b) {
			continue
		}
		var err error
		if s.Net, err = s.Net.Add(n.Total); err != nil {
			return s, err
		}
		if first, err = first.Add(n.Arrears); err != nil {
			return s, err
		}
		s.Notes = append(s.Notes, n)
	}
	s.Due = max(min(first, owed), 0)
	switch {
	case b.IssuedAt.IsZero():
		s.Status = Open
	case s.Due == 0 && b.Total > 0 && s.Net == 0:
		s.Status = Void
	case s.Due == 0:
		s.Status = Paid
	case !now.Before(b.DueAt):
		s.Status = Overdue
	case s.Due < s.Net:
		s.Status = PartiallyPaid
	default:
		s.Status = Issued
	}
	return s, nil
}
