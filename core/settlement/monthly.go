package settlement

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"cloudsettle/core/account"
	"cloudsettle/core/ledger"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/money"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// MonthlyStatus is where a monthly bill is in its life.
type MonthlyStatus string

// The states of a monthly bill.
const (
	Issued        MonthlyStatus = "issued"
	Paid          MonthlyStatus = "paid"
	PartiallyPaid MonthlyStatus = "partially_paid"
	Overdue       MonthlyStatus = "overdue"
	Void          MonthlyStatus = "void"
)

// Subtotal is what one workspace came to in a month.
type Subtotal struct {
	Workspace    workspace.ID               `json:"workspace"`
	Site         string                     `json:"site"`
	Subscription marketplace.SubscriptionID `json:"subscription,omitempty"`
	Days         int                        `json:"days"`
	Amount       money.Micros               `json:"amount"`
}

// MonthlyBill is what a billing account owes for one month in one currency:
// the sum of its daily bills, over all sites.
type MonthlyBill struct {
	ID             BillID         `json:"id"`
	Rev            uint64         `json:"rev"`
	BillingAccount account.ID     `json:"billing_account"`
	Month          usage.Month    `json:"month"`
	Currency       money.Currency `json:"currency"`
	Status         MonthlyStatus  `json:"status"`
	Workspaces     []Subtotal     `json:"workspaces"`
	Total          money.Micros   `json:"total"`
	Split
	IssuedAt time.Time `json:"issued_at"`
}

// MonthlyBillID returns the id of an account's bill for a month and currency.
func MonthlyBillID(id account.ID, m usage.Month, c money.Currency) BillID {
	return BillID("mb_" + m.String() + "_" + string(id) + "_" + string(c))
}

// Consolidate adds up the daily bills of one account, month and currency.
func Consolidate(id account.ID, m usage.Month, c money.Currency, days []DailyBill, now time.Time) (MonthlyBill, error) {
	b := MonthlyBill{
		ID: MonthlyBillID(id, m, c), BillingAccount: id, Month: m, Currency: c, Status: Paid, IssuedAt: now,
	}
	for i := range days {
		if err := b.add(&days[i]); err != nil {
			return b, fmt.Errorf("daily bill %s: %w", days[i].ID, err)
		}
	}
	slices.SortFunc(b.Workspaces, func(x, y Subtotal) int {
		return cmp.Or(cmp.Compare(x.Workspace, y.Workspace), cmp.Compare(x.Subscription, y.Subscription))
	})
	slices.SortFunc(b.Deductions, func(x, y Deduction) int { return cmp.Compare(x.Source, y.Source) })
	if b.Arrears > 0 {
		b.Status = Overdue
		if b.Arrears < b.Total {
			b.Status = PartiallyPaid
		}
	}
	return b, nil
}

func (b *MonthlyBill) add(d *DailyBill) (err error) {
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
	at := slices.IndexFunc(b.Workspaces, func(s Subtotal) bool {
		return s.Workspace == d.Workspace && s.Subscription == d.Settlement.Subscription
	})
	if at < 0 {
		at = len(b.Workspaces)
		b.Workspaces = append(b.Workspaces, Subtotal{Workspace: d.Workspace, Site: d.Site, Subscription: d.Settlement.Subscription})
	}
	s := &b.Workspaces[at]
	s.Days++
	s.Amount, err = s.Amount.Add(d.Total)
	return err
}

func (b *MonthlyBill) deduct(source ledger.Account, m money.Micros) (err error) {
	for i := range b.Deductions {
		if d := &b.Deductions[i]; d.Source == source {
			d.Micros, err = d.Micros.Add(m)
			return err
		}
	}
	b.Deductions = append(b.Deductions, Deduction{source, m})
	return nil
}
