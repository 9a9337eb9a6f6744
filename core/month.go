package core

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cloudsettle/core/account"
	"cloudsettle/core/ledger"
	"cloudsettle/core/money"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
)

// How months are closed.
const (
	// DefaultCloseDay leaves two days for usage that comes late.
	DefaultCloseDay = 3
	// MaxCloseDay is the last day that every month has.
	MaxCloseDay = 28
	// DefaultPaymentDays is the buffer after which workspaces of an account in
	// arrears are locked, too.
	DefaultPaymentDays = 14
	// MaxPaymentDays is longer than any terms that are agreed in practice.
	MaxPaymentDays = 365
	// closeChunk is how many books share a snapshot and a transaction.
	closeChunk = 64
)

// CloseMonth makes the monthly bills of all accounts for which daily bills up
// to the end of a month are in no monthly bill yet. Daily bills that were made
// after their month was closed are among them; they are in the next one.
// Closing a month again makes no bill for an account that has one for it, or
// for a later month.
func (s *Service) CloseMonth(ctx context.Context, m usage.Month) (int, error) {
	return s.closeMonth(ctx, m, nil)
}

// closeMonth is CloseMonth, noting its bills in the transactions that make them.
func (s *Service) closeMonth(ctx context.Context, m usage.Month, note noter) (int, error) {
	made := 0
	err := s.prepareMonth(ctx, m, func(bills []settlement.MonthlyBill) error {
		n, err := s.issue(ctx, bills, note.after(made))
		made += n
		return err
	})
	if err != nil {
		return made, fmt.Errorf("close %s: %w", m, err)
	}
	return made, nil
}

// prepareMonth adds up the bills of a month that are not made yet, chunk by
// chunk and each on a snapshot, so that writers do not wait for it.
func (s *Service) prepareMonth(ctx context.Context, m usage.Month, each func([]settlement.MonthlyBill) error) error {
	for p := (Page{Limit: closeChunk}); ; {
		var bills []settlement.MonthlyBill
		err := s.Store.View(ctx, func(ctx context.Context, tx ReadTx) error {
			page, err := listed(tx.LedgerHeads(ctx, more(p)), p, bookKey)
			if err != nil {
				return err
			}
			p.After = page.Next
			books := statements{Service: s, tx: tx}
			for _, h := range page.Items {
				b, ok, err := books.unissued(ctx, h, m)
				if err != nil {
					return fmt.Errorf("account %s: %w", h.Owner, err)
				}
				if ok {
					bills = append(bills, b)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if len(bills) > 0 {
			if err := each(bills); err != nil {
				return err
			}
		}
		if p.After == "" {
			return nil
		}
	}
}

func bookKey(h ledger.Head) string { return h.Owner + "/" + string(h.Currency) }

// issue stores bills that were prepared. One that was made meanwhile, for this
// or a later month, is left as it is: it covers what these would.
func (s *Service) issue(ctx context.Context, bills []settlement.MonthlyBill, note noter) (int, error) {
	return InTx(ctx, s.Store, func(ctx context.Context, tx Tx) (int, error) {
		made := 0
		books := statements{Service: s, tx: tx}
		for _, b := range bills {
			// The head of the book comes first: whoever has it, has the bills.
			if _, err := tx.LedgerHead(ctx, b.BillingAccount, b.Currency); err != nil {
				return 0, err
			}
			last, _, err := books.last(ctx, b.BillingAccount, b.Currency)
			if err != nil {
				return 0, err
			}
			if last.Until != b.Since {
				continue
			}
			b.IssuedAt = s.Now()
			b.DueAt = b.IssuedAt.AddDate(0, 0, s.PaymentDays)
			if err := tx.AddMonthlyBill(ctx, b); err != nil {
				return 0, err
			}
			made++
		}
		return made, note.do(ctx, tx, made)
	})
}

// closeDue closes, oldest first, all months whose day has come and that were
// not closed yet.
func (s *Service) closeDue(ctx context.Context) error {
	months, err := InView(ctx, s.Store, s.monthsDue)
	if err != nil || len(months) == 0 {
		return err
	}
	return s.solely(ctx, duty{name: "close"}, func(ctx context.Context) error { return s.closeMonths(ctx, months) })
}

func (s *Service) closeMonths(ctx context.Context, months []usage.Month) error {
	for _, m := range months {
		made, err := s.CloseMonth(ctx, m)
		if err != nil {
			return err
		}
		err = s.Store.Update(ctx, func(ctx context.Context, tx Tx) error {
			return tx.PutSetting(ctx, closedSetting(m), s.Now().Format(time.RFC3339))
		})
		if err != nil {
			return err
		}
		s.Log.Info("month closed", "month", m.String(), "bills", made)
	}
	return nil
}

func closedSetting(m usage.Month) string { return "closed/" + m.String() }

// monthsDue returns the months that have to be closed now, from the first that
// has bills on.
func (s *Service) monthsDue(ctx context.Context, tx ReadTx) ([]usage.Month, error) {
	first, ok, err := firstMonth(ctx, tx)
	if err != nil || !ok {
		return nil, err
	}
	var out []usage.Month
	for m := first; !s.Now().Before(s.closesAt(m)); m++ {
		done, err := closed(ctx, tx, m)
		if err != nil {
			return nil, err
		}
		if !done {
			out = append(out, m)
		}
	}
	return out, nil
}

// firstMonth is the month of the first daily bill there is.
func firstMonth(ctx context.Context, tx ReadTx) (usage.Month, bool, error) {
	for day, err := range tx.BillDays(ctx) {
		return day.Month(), true, err
	}
	return 0, false, nil
}

// closed reports whether a month was closed for all accounts.
func closed(ctx context.Context, tx ReadTx, m usage.Month) (bool, error) {
	_, err := tx.Setting(ctx, closedSetting(m))
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// closesAt is when a month is closed: when the day has come in UTC and at every
// site, and the days before it were settled.
func (s *Service) closesAt(m usage.Month) time.Time {
	_, next := m.Days()
	day := next + usage.Day(s.MonthlyCloseDay) - 1 // #nosec -- 1 to 28
	at, _ := day.Bounds(time.UTC)
	for _, site := range s.Sites {
		if from, _ := day.Bounds(site.Zone); from.After(at) {
			at = from
		}
	}
	return at.Add(settleGrace + settleAgain)
}

// statements reads the monthly bills of accounts on one snapshot.
type statements struct {
	*Service
	tx    ReadTx
	first usage.Month // that has daily bills; 0 before it is known
}

// last returns the newest bill of an account in one currency. Months without
// one are possible, so it looks into each, from the running one back.
func (x *statements) last(ctx context.Context, id account.ID, c money.Currency) (settlement.MonthlyBill, bool, error) {
	return x.before(ctx, id, c, x.thisMonth()+2) // it is the next one somewhere
}

func (x *statements) thisMonth() usage.Month { return usage.DayOf(x.Now(), time.UTC).Month() }

// before returns the newest bill of an account in one currency for a month
// before m.
func (x *statements) before(ctx context.Context, id account.ID, c money.Currency, m usage.Month) (settlement.MonthlyBill, bool, error) {
	if x.first == 0 {
		first, ok, err := firstMonth(ctx, x.tx)
		if err != nil || !ok {
			return settlement.MonthlyBill{}, false, err
		}
		x.first = first
	}
	for m--; m >= x.first; m-- {
		b, err := x.tx.MonthlyBill(ctx, id, m, c)
		if err == nil || !errors.Is(err, ErrNotFound) {
			return b, err == nil, err
		}
	}
	return settlement.MonthlyBill{}, false, nil
}

// unissued adds up the bill that closing a month would make, if any.
func (x *statements) unissued(ctx context.Context, h ledger.Head, m usage.Month) (settlement.MonthlyBill, bool, error) {
	id := account.ID(h.Owner)
	last, found, err := x.last(ctx, id, h.Currency)
	if err != nil || found && last.Month >= m {
		return last, false, err
	}
	b := settlement.NewMonthlyBill(id, m, h.Currency, last.Until, h.Seq)
	err = fill(ctx, x.tx, &b)
	return b, len(b.Workspaces) > 0, err
}

// fill adds up all daily bills that b covers.
func fill(ctx context.Context, tx ReadTx, b *settlement.MonthlyBill) error {
	for d, err := range covered(ctx, tx, *b, "") {
		if err == nil {
			err = b.Add(&d)
		}
		if err != nil {
			return fmt.Errorf("monthly bill %s: %w", b.ID, err)
		}
	}
	return nil
}
