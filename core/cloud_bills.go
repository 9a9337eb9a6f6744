package core

import (
	"cmp"
	"context"
	"slices"
	"time"

	"cloudsettle/core/account"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
	"cloudsettle/core/money"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
)

// CloudBill is what one cloud account was charged in a month, over all sites.
type CloudBill struct {
	Account    marketplace.AccountID
	Month      usage.Month
	Currencies []CloudCurrency
}

// CloudCurrency is the part of a cloud account's bill in one currency.
type CloudCurrency struct {
	Currency money.Currency
	// Charged is the sum of the daily bills' charges, Notes that of the notes
	// that were issued in the month (UTC).
	Charged, Notes money.Micros
	Subscriptions  []CloudSubscription
}

// CloudSubscription is the part of one subscription.
type CloudSubscription struct {
	Charged, Notes money.Micros
	Workspaces     []settlement.Subtotal
	// Meter and Carry are what was reported to the marketplace until now, of all
	// months, and what is charged and not reported yet.
	Meter metering.Account
	Carry money.Micros
}

// CloudAccountBill adds up the daily bills of one month that were charged
// through a cloud account. The month may be running.
func (s *Service) CloudAccountBill(ctx context.Context, who Actor, id marketplace.AccountID, m usage.Month) (CloudBill, error) {
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (CloudBill, error) {
		v, err := viewCloudAccount(ctx, tx, who, id)
		if err != nil {
			return CloudBill{}, err
		}
		sums, err := cloudSums(ctx, tx, v, m)
		if err != nil {
			return CloudBill{}, err
		}
		out := CloudBill{Account: id, Month: m, Currencies: []CloudCurrency{}}
		for _, sub := range v.Subscriptions {
			acc, err := tx.MeterAccount(ctx, sub)
			if err != nil {
				return out, err
			}
			if acc.Currency == "" {
				continue // nothing was ever charged through it
			}
			part, err := sums.of(acc)
			if err == nil {
				err = out.add(acc.Currency, part)
			}
			if err != nil {
				return out, err
			}
		}
		return out, nil
	})
}

// sums are a month's charges and notes of one billing account.
type sums struct {
	bill  settlement.MonthlyBill // of daily bills in any currency: a subscription has one
	notes map[marketplace.SubscriptionID]money.Micros
}

func cloudSums(ctx context.Context, tx ReadTx, v CloudAccountView, m usage.Month) (sums, error) {
	owner := account.ID(v.BillingAccount)
	x := sums{
		bill:  settlement.NewMonthlyBill(owner, m, "", settlement.Fence{}, 0),
		notes: map[marketplace.SubscriptionID]money.Micros{},
	}
	if owner == "" {
		return x, nil
	}
	from, to := m.Days()
	for d, err := range tx.DailyBillsFor(ctx, owner, from, to, Page{}) {
		if err == nil && d.Cloud != 0 {
			err = x.bill.Add(&d)
		}
		if err != nil {
			return x, err
		}
	}
	for n, err := range tx.Notes(ctx, owner, Page{}) {
		if err == nil && usage.DayOf(n.IssuedAt, time.UTC).Month() == m {
			id := n.Settlement.Subscription
			x.notes[id], err = x.notes[id].Add(n.Cloud)
		}
		if err != nil {
			return x, err
		}
	}
	return x, nil
}

// of returns the part of one subscription.
func (x *sums) of(acc metering.Account) (CloudSubscription, error) {
	out := CloudSubscription{Meter: acc, Notes: x.notes[acc.Subscription], Workspaces: []settlement.Subtotal{}}
	var err error
	if out.Carry, err = acc.Carry(); err != nil {
		return out, err
	}
	for _, w := range x.bill.Workspaces {
		if w.Subscription != acc.Subscription {
			continue
		}
		if out.Charged, err = out.Charged.Add(w.Cloud); err != nil {
			return out, err
		}
		out.Workspaces = append(out.Workspaces, w)
	}
	return out, nil
}

// add puts a subscription's part where its currency is.
func (b *CloudBill) add(c money.Currency, part CloudSubscription) (err error) {
	at, found := slices.BinarySearchFunc(b.Currencies, c, func(x CloudCurrency, c money.Currency) int {
		return cmp.Compare(x.Currency, c)
	})
	if !found {
		b.Currencies = slices.Insert(b.Currencies, at, CloudCurrency{Currency: c})
	}
	x := &b.Currencies[at]
	x.Subscriptions = append(x.Subscriptions, part)
	if x.Charged, err = x.Charged.Add(part.Charged); err != nil {
		return err
	}
	x.Notes, err = x.Notes.Add(part.Notes)
	return err
}
