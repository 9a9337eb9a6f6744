package core

import (
	"context"
	"errors"

	"cloudsettle/core/account"
	"cloudsettle/core/ledger"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
	"cloudsettle/core/money"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// maxCurrencies bounds a scan of one account's books: ISO 4217 has fewer.
const maxCurrencies = 200

// UsageOf returns what a workspace reported for a day. A day without usage is
// an empty record.
func (s *Service) UsageOf(ctx context.Context, who Actor, id workspace.ID, day usage.Day) (usage.Record, error) {
	if _, err := s.Workspace(ctx, who, id); err != nil {
		return usage.Record{}, err
	}
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (usage.Record, error) {
		rec, err := tx.UsageOf(ctx, id, day)
		if errors.Is(err, ErrNotFound) {
			return usage.Record{Workspace: string(id), Day: day}, nil
		}
		return rec, err
	})
}

// UsageOn lists what workspaces reported for a day, of one item if it is not
// "", for operators. A page may be shorter than its limit: workspaces without
// that item are left out.
func (s *Service) UsageOn(ctx context.Context, day usage.Day, item string, p Page) (List[usage.Record], error) {
	list, err := InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (List[usage.Record], error) {
		return listed(tx.UsageOn(ctx, day, more(p)), p, func(r usage.Record) string { return r.Workspace })
	})
	out := List[usage.Record]{Items: []usage.Record{}, Next: list.Next}
	for _, r := range list.Items {
		if r = r.Of(item); len(r.Samples) > 0 {
			out.Items = append(out.Items, r)
		}
	}
	return out, err
}

// DailyBillsOf lists the bills that a billing account got for days in
// [from, to), whatever workspaces they are for.
func (s *Service) DailyBillsOf(ctx context.Context, who Actor, id account.ID, from, to usage.Day, p Page) (List[settlement.DailyBill], error) {
	if !who.May(id) {
		return List[settlement.DailyBill]{}, NotFound("billing account", string(id))
	}
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (List[settlement.DailyBill], error) {
		return listed(tx.DailyBillsFor(ctx, id, from, to, more(p)), p, func(b settlement.DailyBill) string { return string(b.ID) })
	})
}

// Wallets returns what a billing account has, by currency. Its own currency is
// always there.
func (s *Service) Wallets(ctx context.Context, who Actor, id account.ID) ([]Wallet, error) {
	a, err := s.BillingAccount(ctx, who, id)
	if err != nil {
		return nil, err
	}
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) ([]Wallet, error) {
		funds, err := collect(tx.FundsOf(ctx, id))
		if err != nil {
			return nil, err
		}
		var out []Wallet
		own := false
		for h, err := range tx.LedgerHeads(ctx, Page{After: string(id) + "/", Limit: maxCurrencies}) {
			if err != nil {
				return nil, err
			}
			if h.Owner != string(id) {
				break
			}
			own = own || string(h.Currency) == a.Currency
			out = append(out, Wallet{Owner: id, Head: h, Funds: funds, Balance: h.Of(ledger.Cash)})
		}
		if !own {
			head := ledger.Head{Owner: string(id), Currency: money.Currency(a.Currency)}
			out = append(out, Wallet{Owner: id, Head: head, Funds: funds})
		}
		return out, nil
	})
}

// FundsOf returns the vouchers and prepaid cards of a billing account with
// what each still holds.
func (s *Service) FundsOf(ctx context.Context, who Actor, id account.ID) ([]FundView, error) {
	if _, err := s.BillingAccount(ctx, who, id); err != nil {
		return nil, err
	}
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) ([]FundView, error) {
		out := []FundView{}
		for f, err := range tx.FundsOf(ctx, id) {
			if err != nil {
				return nil, err
			}
			h, err := tx.LedgerHead(ctx, id, f.Currency)
			if err != nil {
				return nil, err
			}
			out = append(out, FundView{f, h.Of(f.Account())})
		}
		return out, nil
	})
}

// FundView is a voucher or prepaid card with what it still holds.
type FundView struct {
	settlement.Fund
	Left money.Micros
}

// MeterFilter narrows a list of metering records.
type MeterFilter struct {
	Subscription marketplace.SubscriptionID
	Listing      marketplace.ListingID
	Status       metering.Status
}

// FindMeterRecords lists metering records. A key that acts for one account
// must name the subscription.
func (s *Service) FindMeterRecords(ctx context.Context, who Actor, f MeterFilter, p Page) (List[metering.Record], error) {
	if f == (MeterFilter{Subscription: f.Subscription}) || who.Role == RoleAccount && f.Subscription == "" {
		return s.MeterRecords(ctx, who, f.Subscription, p)
	}
	if f.Subscription != "" {
		if _, err := s.Subscription(ctx, who, f.Subscription); err != nil {
			return List[metering.Record]{}, err
		}
	}
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (List[metering.Record], error) {
		return filtered(tx.MeterRecords(ctx, f.Subscription, scanning(p)), p,
			func(r metering.Record) string { return string(r.ID) }, func(r metering.Record) bool {
				return wanted(f.Listing, r.Listing) && wanted(f.Status, r.Status)
			})
	})
}

// PendingRecords returns how many metering records are not final.
func (s *Service) PendingRecords(ctx context.Context) (int, error) {
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (int, error) {
		n := 0
		for _, err := range tx.MeterPending(ctx) {
			if err != nil {
				return n, err
			}
			n++
		}
		return n, nil
	})
}
