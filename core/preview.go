package core

import (
	"context"
	"maps"
	"slices"
	"time"

	"cloudsettle/core/account"
	"cloudsettle/core/ledger"
	"cloudsettle/core/money"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
)

// Preview is what a settlement run would make.
type Preview struct {
	Count   int            // of bills
	Totals  []money.Amount // of all bills, by currency
	Daily   []settlement.DailyBill
	Monthly []BillView
	// Changes are what would become of balances. Of all lists there are the
	// first MaxPage.
	Changes []Change
	Waiting int
	Waits   []Wait
}

// Change is what would become of one account of a book.
type Change struct {
	Owner         account.ID
	Currency      money.Currency
	Account       ledger.Account
	Before, After money.Micros
}

// PreviewRun returns what StartRun would make, and makes nothing.
func (s *Service) PreviewRun(ctx context.Context, kind, period string, early bool) (Preview, error) {
	if err := s.checkPeriod(kind, period, early); err != nil {
		return Preview{}, err
	}
	if kind == RunMonthly {
		m, err := usage.ParseMonth(period)
		if err != nil {
			return Preview{}, err
		}
		return s.previewMonth(ctx, m)
	}
	day, err := usage.ParseDay(period)
	if err != nil {
		return Preview{}, err
	}
	return s.previewDay(ctx, day, SettleOptions{Early: early && s.Dev})
}

// previewDay pays for a day as a settlement would, and stores nothing.
func (s *Service) previewDay(ctx context.Context, day usage.Day, o SettleOptions) (Preview, error) {
	var out Preview
	var waits DayOutcome
	t := s.newTill()
	err := s.rated(ctx, dayRange{day: day}, o, func(c chunk) error {
		waits.wait(c.waits...)
		bills, err := InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) ([]settlement.DailyBill, error) {
			return t.payAll(ctx, tx, c.batch)
		})
		if err != nil {
			return err
		}
		for i := range bills {
			bills[i].SealedAt, bills[i].LedgerSeq = time.Time{}, 0 // they are not made
			if err := out.count(bills[i].Total, bills[i].Currency); err != nil {
				return err
			}
		}
		out.Daily = append(out.Daily, bills[:min(len(bills), MaxPage-len(out.Daily))]...)
		return nil
	})
	out.Waiting, out.Waits, out.Changes = waits.Waiting, waits.Waits, t.changes()
	return out, err
}

// count adds a bill to the totals.
func (p *Preview) count(total money.Micros, c money.Currency) (err error) {
	p.Count++
	at := slices.IndexFunc(p.Totals, func(a money.Amount) bool { return a.Currency == c })
	if at < 0 {
		at = len(p.Totals)
		p.Totals = append(p.Totals, money.Amount{Currency: c})
	}
	p.Totals[at].Micros, err = p.Totals[at].Micros.Add(total)
	return err
}

// changes returns what became of what payers have: the first MaxPage.
func (t *till) changes() []Change {
	var out []Change
	for _, k := range t.keys {
		p := t.purses[k]
		touched := map[ledger.Account]bool{}
		for _, tx := range p.book.Added {
			for _, posting := range tx.Postings {
				touched[posting.Account] = posting.Account != ledger.Revenue
			}
		}
		for _, a := range slices.Sorted(maps.Keys(touched)) {
			if !touched[a] {
				continue
			}
			if len(out) == MaxPage {
				return out
			}
			out = append(out, Change{account.ID(k.Owner), k.Currency, a, p.was.Of(a), p.book.Head.Of(a)})
		}
	}
	return out
}

// previewMonth returns the monthly bills that are not made yet.
func (s *Service) previewMonth(ctx context.Context, m usage.Month) (Preview, error) {
	var out Preview
	err := s.prepareMonth(ctx, m, func(bills []settlement.MonthlyBill) error {
		for _, b := range bills {
			if err := out.count(b.Total, b.Currency); err != nil {
				return err
			}
		}
		shown := bills[:min(len(bills), MaxPage-len(out.Monthly))]
		views, err := InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) ([]BillView, error) {
			books := statements{Service: s, tx: tx}
			return books.stand(ctx, shown)
		})
		out.Monthly = append(out.Monthly, views...)
		return err
	})
	return out, err
}
