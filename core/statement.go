package core

import (
	"context"
	"errors"
	"strings"

	"cloudsettle/core/account"
	"cloudsettle/core/ledger"
	"cloudsettle/core/money"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
)

// BillView is a monthly bill and how it stands now.
type BillView struct {
	settlement.MonthlyBill
	settlement.Standing
}

// MonthlyBill returns one monthly bill that the actor may see. That of a month
// that is not closed is added up as it stands.
func (s *Service) MonthlyBill(ctx context.Context, who Actor, id settlement.BillID) (BillView, error) {
	owner, m, currency, ok := monthlyKey(id)
	if !ok || !who.May(owner) {
		return BillView{}, NotFound("bill", string(id))
	}
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (BillView, error) {
		books := statements{Service: s, tx: tx}
		b, err := tx.MonthlyBill(ctx, owner, m, currency)
		if errors.Is(err, ErrNotFound) {
			var open bool
			if b, open, err = books.open(ctx, owner, m, currency); err == nil && !open {
				err = NotFound("bill", string(id))
			}
		}
		if err != nil {
			return BillView{}, err
		}
		list, err := books.stand(ctx, []settlement.MonthlyBill{b})
		if err != nil {
			return BillView{}, err
		}
		return list[0], nil
	})
}

// monthlyKey reads the account, month and currency out of a bill's id.
func monthlyKey(id settlement.BillID) (account.ID, usage.Month, money.Currency, bool) {
	month, rest, _ := strings.Cut(strings.TrimPrefix(string(id), "mb_"), "_")
	at := strings.LastIndexByte(rest, '_')
	m, err := usage.ParseMonth(month)
	if err != nil || at < 0 {
		return "", 0, "", false
	}
	owner, currency := account.ID(rest[:at]), money.Currency(rest[at+1:])
	return owner, m, currency, settlement.MonthlyBillID(owner, m, currency) == id
}

// BillQuery narrows a list of monthly bills.
type BillQuery struct {
	Owner account.ID
	// Month is the only one to list, or 0. With an owner the bill of a month that
	// is not closed is listed, too; to add it up for everybody would take long.
	Month usage.Month
}

// MonthlyBills lists monthly bills by month; an account's own key sees its own.
func (s *Service) MonthlyBills(ctx context.Context, who Actor, q BillQuery, p Page) (List[BillView], error) {
	if who.Role == RoleAccount {
		q.Owner = who.BillingAccount
	}
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (List[BillView], error) {
		books := statements{Service: s, tx: tx}
		list, err := books.list(ctx, q, p)
		if err != nil {
			return List[BillView]{}, err
		}
		views, err := books.stand(ctx, list.Items)
		return List[BillView]{Items: views, Next: list.Next}, err
	})
}

func (x *statements) list(ctx context.Context, q BillQuery, p Page) (List[settlement.MonthlyBill], error) {
	if q.Owner != "" && q.Month != 0 {
		return x.ofMonth(ctx, q.Owner, q.Month, p)
	}
	if q.Month != 0 && p.After == "" { // before the first bill of the month
		p.After = string(settlement.MonthlyBillID("", q.Month, ""))
	}
	seq := func(yield func(settlement.MonthlyBill, error) bool) {
		for b, err := range x.tx.MonthlyBills(ctx, q.Owner, more(p)) {
			if err == nil && q.Month != 0 && b.Month != q.Month || !yield(b, err) {
				return
			}
		}
	}
	return listed(seq, p, func(b settlement.MonthlyBill) string { return string(b.ID) })
}

// ofMonth lists an account's bills of one month, one for each currency.
func (x *statements) ofMonth(ctx context.Context, id account.ID, m usage.Month, p Page) (List[settlement.MonthlyBill], error) {
	seq := func(yield func(settlement.MonthlyBill, error) bool) {
		for h, err := range booksOf(ctx, x.tx, id) {
			if err != nil {
				yield(settlement.MonthlyBill{}, err)
				return
			}
			if string(settlement.MonthlyBillID(id, m, h.Currency)) <= p.After {
				continue
			}
			b, err := x.tx.MonthlyBill(ctx, id, m, h.Currency)
			ok := err == nil
			if errors.Is(err, ErrNotFound) {
				b, ok, err = x.open(ctx, id, m, h.Currency)
			}
			if (ok || err != nil) && (!yield(b, err) || err != nil) {
				return
			}
		}
	}
	return listed(seq, p, func(b settlement.MonthlyBill) string { return string(b.ID) })
}

// booksOf yields the books of one account.
func booksOf(ctx context.Context, tx ReadTx, id account.ID) func(func(ledger.Head, error) bool) {
	return func(yield func(ledger.Head, error) bool) {
		for h, err := range tx.LedgerHeads(ctx, Page{After: string(id) + "/", Limit: maxCurrencies}) {
			if err == nil && h.Owner != string(id) || !yield(h, err) {
				return
			}
		}
	}
}

// open adds up the bill of a month that is not closed, if it has any days. What
// was made for closed months is in the bill of the first one that is open.
func (x *statements) open(ctx context.Context, id account.ID, m usage.Month, c money.Currency) (settlement.MonthlyBill, bool, error) {
	h, err := x.tx.LedgerHead(ctx, id, c)
	if err != nil {
		return settlement.MonthlyBill{}, false, err
	}
	last, found, err := x.last(ctx, id, c)
	if err != nil || found && last.Month >= m {
		return last, false, err
	}
	since := last.Until
	if !found || m > last.Month+1 {
		done, err := closed(ctx, x.tx, m-1)
		if err != nil {
			return last, false, err
		}
		if from, _ := m.Days(); !done { // the month before takes its own days first
			since = settlement.Fence{Before: from, Seq: h.Seq}
		}
	}
	b := settlement.NewMonthlyBill(id, m, c, since, h.Seq)
	err = fill(ctx, x.tx, &b)
	return b, len(b.Workspaces) > 0, err
}

// uncovered adds up everything of a book that is beyond a fence.
func (x *statements) uncovered(ctx context.Context, h ledger.Head, since settlement.Fence) (settlement.MonthlyBill, error) {
	m := x.thisMonth() + 2 // it is the next one somewhere
	b := settlement.NewMonthlyBill(account.ID(h.Owner), m, h.Currency, since, h.Seq)
	return b, fill(ctx, x.tx, &b)
}

// stand tells how bills stand.
func (x *statements) stand(ctx context.Context, bills []settlement.MonthlyBill) ([]BillView, error) {
	known := map[string]*debts{}
	out := make([]BillView, 0, len(bills))
	for _, b := range bills {
		key := string(b.BillingAccount) + "/" + string(b.Currency)
		if known[key] == nil {
			d, err := x.debts(ctx, b.BillingAccount, b.Currency)
			if err != nil {
				return nil, err
			}
			known[key] = d
		}
		owed, err := x.owed(ctx, known[key], &b)
		if err != nil {
			return nil, err
		}
		s, err := b.Stand(known[key].notes, owed, x.Now())
		if err != nil {
			return nil, err
		}
		out = append(out, BillView{b, s})
	}
	return out, nil
}

// debts is what the standing of all bills in one book follows from.
type debts struct {
	head  ledger.Head
	notes []settlement.Note
	owed  money.Micros // in all
	due   map[settlement.BillID]money.Micros
}

// debts gives what an account owes to its bills, from the newest on. Only those
// are read that it is for: none of an account that owes nothing.
func (x *statements) debts(ctx context.Context, id account.ID, c money.Currency) (*debts, error) {
	h, err := x.tx.LedgerHead(ctx, id, c)
	if err != nil {
		return nil, err
	}
	d := &debts{head: h, owed: -h.Of(ledger.Arrears), due: map[settlement.BillID]money.Micros{}}
	if d.notes, err = collect(x.tx.Notes(ctx, id, Page{})); err != nil || d.owed <= 0 {
		return d, err
	}
	b, found, err := x.last(ctx, id, c)
	if err != nil {
		return nil, err
	}
	open, err := x.uncovered(ctx, h, b.Until)
	if err != nil {
		return nil, err
	}
	s, err := open.Stand(d.notes, d.owed, x.Now())
	for left := d.owed - s.Due; err == nil && found && left > 0; left -= s.Due {
		if s, err = b.Stand(d.notes, left, x.Now()); err != nil {
			return nil, err
		}
		d.due[b.ID] = s.Due
		b, found, err = x.before(ctx, id, c, b.Month)
	}
	return d, err
}

// owed is how much of what the account owes may be b's.
func (x *statements) owed(ctx context.Context, d *debts, b *settlement.MonthlyBill) (money.Micros, error) {
	if d.owed <= 0 || !b.IssuedAt.IsZero() {
		return d.due[b.ID], nil
	}
	later, err := x.uncovered(ctx, d.head, b.Until)
	if err != nil {
		return 0, err
	}
	s, err := later.Stand(d.notes, d.owed, x.Now())
	return d.owed - s.Due, err
}
