package core

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"cloudsettle/core/account"
	"cloudsettle/core/ledger"
	"cloudsettle/core/money"
	"cloudsettle/core/pricing"
	"cloudsettle/core/rating"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// How days are settled.
const (
	// settleGrace is how long after a site's midnight usage of the day may still
	// come before it is billed.
	settleGrace = 30 * time.Minute
	// settleChunk is how many workspaces share a transaction. Callbacks wait for
	// one at most, which takes some tens of milliseconds.
	settleChunk = 1024
	// settleAhead is how many chunks are rated before they can be committed.
	settleAhead = 2
)

// SettleOptions are how a run differs from the daily one.
type SettleOptions struct {
	// Early settles days that are not over, for development.
	Early bool
	// DryRun bills nothing and returns what would be billed.
	DryRun bool
}

// settled is what one workspace's day comes to before anything is deducted.
type settled struct {
	bill settlement.DailyBill
	end  time.Time // of the day
}

// SettleDay bills all usage of one day whose site's day is over. It may run
// any number of times, and several at once: a workspace's day is billed once.
// It returns the number of bills and of workspaces whose usage waits; a dry
// run returns the bills themselves.
func (s *Service) SettleDay(ctx context.Context, day usage.Day, o SettleOptions) (bills []settlement.DailyBill, made, waiting int, err error) {
	ctx, stop := context.WithCancel(ctx)
	chunks := make(chan chunk, settleAhead)
	var wg sync.WaitGroup
	wg.Go(func() { s.rateDay(ctx, day, o, chunks) })
	defer wg.Wait()
	defer stop()
	for c := range chunks {
		if c.err != nil {
			return bills, made, waiting, fmt.Errorf("settle %s: %w", day, c.err)
		}
		waiting += c.waiting
		if o.DryRun {
			for i := range c.batch {
				bills = append(bills, c.batch[i].bill)
			}
			continue
		}
		n, waits, err := s.commitApart(ctx, c.batch)
		made, waiting = made+n, waiting+waits
		if err != nil {
			return bills, made, waiting, fmt.Errorf("settle %s: %w", day, err)
		}
	}
	return bills, made, waiting, nil
}

// chunk is a part of a day that was rated and can be committed.
type chunk struct {
	batch   []settled
	waiting int // workspaces whose usage waits
	err     error
}

// rateDay rates a day chunk by chunk, ahead of whoever commits them. It closes
// chunks at the end, or after one with an error.
func (s *Service) rateDay(ctx context.Context, day usage.Day, o SettleOptions, chunks chan<- chunk) {
	defer close(chunks)
	prices, err := InView(ctx, s.Store, loadTariffs)
	for after := ""; ; {
		var c chunk
		if c.err = err; err == nil {
			c, after = s.prepare(ctx, day, o, prices, after)
		}
		select {
		case chunks <- c:
		case <-ctx.Done():
			return
		}
		if c.err != nil || after == "" {
			return
		}
	}
}

// prepare rates the next chunk of a day on a snapshot. It returns where the
// next one begins, or "" at the end.
func (s *Service) prepare(ctx context.Context, day usage.Day, o SettleOptions, t *tariffs, after string) (c chunk, next string) {
	c.err = s.Store.View(ctx, func(ctx context.Context, tx ReadTx) error {
		p := preparation{Service: s, tx: tx, tariffs: t, day: day, early: o.Early}
		n := 0
		for rec, err := range tx.UsageOn(ctx, day, Page{After: after, Limit: settleChunk}) {
			if err != nil {
				return err
			}
			n++
			next = rec.Workspace
			b, state, err := p.rate(ctx, rec)
			switch {
			case errors.Is(err, money.ErrOverflow):
				s.tooLarge(workspace.ID(rec.Workspace), day, err)
				c.waiting++
			case err != nil:
				return fmt.Errorf("workspace %s: %w", rec.Workspace, err)
			case state == rateWaits:
				c.waiting++
			case state == rateDone:
				c.batch = append(c.batch, b)
			}
		}
		if n < settleChunk {
			next = ""
		}
		return nil
	})
	return c, next
}

// preparation rates records on one snapshot.
type preparation struct {
	*Service
	tx      ReadTx
	tariffs *tariffs
	day     usage.Day
	early   bool
	// until, if not zero, is the instant up to which a day that is cut short is
	// billed; the binding that held just before it pays.
	until  time.Time
	result rating.Result
}

// rateState is what became of a record.
type rateState int

const (
	rateSkip  rateState = iota // billed already, or its day is not over
	rateWaits                  // nobody pays for it, nothing prices it, or an earlier day has to be billed first
	rateDone
)

func (p *preparation) rate(ctx context.Context, rec usage.Record) (settled, rateState, error) {
	if rec.Sealed {
		return settled{}, rateSkip, nil
	}
	w, err := p.tx.Workspace(ctx, workspace.ID(rec.Workspace))
	if err != nil {
		return settled{}, rateSkip, err
	}
	site, ok := p.sites[w.Site]
	if !ok {
		return settled{}, rateWaits, nil
	}
	_, end := p.day.Bounds(site.Zone)
	if !p.early && p.Now().Before(end.Add(settleGrace)) {
		return settled{}, rateSkip, nil
	}
	if !p.until.IsZero() && p.until.Before(end) {
		end = p.until
	}
	binding, ok, err := bindingAt(ctx, p.tx, w.ID, end)
	if err != nil || !ok {
		return settled{}, rateWaits, err
	}
	currency, err := p.currency(ctx, binding)
	if err != nil {
		return settled{}, rateSkip, err
	}
	out, done, err := p.lines(ctx, rec, site, currency, "")
	if err != nil || !done {
		return settled{}, rateWaits, err
	}
	out.ID, out.Workspace, out.Site, out.Day = settlement.DailyBillID(w.ID, p.day), w.ID, w.Site, p.day
	out.BillingAccount, out.Binding, out.Settlement = binding.BillingAccount, binding.ID, binding.Settlement
	out.UsageRev = rec.Rev
	return settled{bill: out, end: end}, rateDone, nil
}

// bindingAt returns the binding that held at the end of a day: just before at.
// A workspace that was bound later, for the first time, is paid for by that
// binding if it was made on the day itself.
func bindingAt(ctx context.Context, tx ReadTx, id workspace.ID, at time.Time) (workspace.Binding, bool, error) {
	current, err := tx.Binding(ctx, id)
	switch {
	case errors.Is(err, ErrNotFound):
	case err != nil:
		return current, false, err
	case current.From.Before(at):
		return current, true, nil
	}
	var held workspace.Binding
	for b, err := range tx.BindingHistory(ctx, id) {
		if err != nil {
			return held, false, err
		}
		if b.From.Before(at) && (b.To.IsZero() || !b.To.Before(at)) {
			held = b
		}
	}
	return held, held.ID != "", nil
}

// currency is the currency that a binding is paid in: the listing's, or the
// billing account's.
func (p *preparation) currency(ctx context.Context, b workspace.Binding) (money.Currency, error) {
	if b.Settlement.Method == workspace.ByCloudAccount {
		sub, err := p.tx.Subscription(ctx, b.Settlement.Subscription)
		if err != nil {
			return "", err
		}
		return money.Currency(p.markets[sub.Listing].Listing.Currency), nil
	}
	a, err := p.tx.BillingAccount(ctx, b.BillingAccount)
	return money.Currency(a.Currency), err
}

// lines rates the record's own samples and what came late for earlier days, by
// a certain version of the price book or, if book is "", the one that holds. It
// returns false if there is none, or if an earlier day has to be billed first.
func (p *preparation) lines(ctx context.Context, rec usage.Record, site workspace.Site, c money.Currency, book pricing.BookID) (settlement.DailyBill, bool, error) {
	own, late := split(rec.Samples, site.Zone, p.day)
	r, ok, err := p.tariffs.version(site.Prices, c, p.day, book)
	if err != nil || !ok {
		return settlement.DailyBill{}, false, err
	}
	b := settlement.DailyBill{Workspace: workspace.ID(rec.Workspace), Currency: c, Book: r.Book().ID}
	if err := p.add(&b, r, own, 0); err != nil {
		return b, false, err
	}
	for _, day := range late {
		if ok, err := p.correct(ctx, &b, rec, site, day); err != nil || !ok {
			return b, false, err
		}
	}
	for _, l := range b.Lines {
		if b.Total, err = b.Total.Add(l.Amount); err != nil {
			return b, false, err
		}
	}
	return b, true, nil
}

// add rates samples and appends their lines.
func (p *preparation) add(b *settlement.DailyBill, r *rating.Rater, samples []usage.Sample, of usage.Day) error {
	if err := r.Rate(&p.result, samples); err != nil {
		return err
	}
	for i := range p.result.Lines {
		l := &p.result.Lines[i]
		b.Lines = append(b.Lines, settlement.Line{
			Item: l.Item, Variant: l.Variant, Quantity: l.Quantity, Unit: l.Unit, Price: l.Price,
			Amount: l.Amount, NoVouchers: l.ExcludeVouchers, Of: of,
		})
	}
	for _, f := range p.result.Faults {
		x := samples[f.Sample]
		b.Unrated = append(b.Unrated, settlement.Unrated{Item: x.Item, Variant: x.Variant, Reason: string(f.Reason)})
	}
	return nil
}

// split parts samples into those of the day itself and the earlier days that
// others came late for.
func split(samples []usage.Sample, zone *time.Location, day usage.Day) (own []usage.Sample, late []usage.Day) {
	seen := map[usage.Day]bool{}
	for _, x := range samples {
		if d := usage.DayOf(x.Hour, zone); d == day {
			own = append(own, x)
		} else if !seen[d] {
			seen[d] = true
			late = append(late, d)
		}
	}
	return own, late
}

// commitApart pays for a chunk, and leaves out bills that come to more than the
// books can hold: one workspace's nonsense must not stop everybody's bills. It
// returns how many were made and how many wait for a person.
func (s *Service) commitApart(ctx context.Context, batch []settled) (made, waiting int, err error) {
	made, err = s.commitBills(ctx, batch)
	switch {
	case !errors.Is(err, money.ErrOverflow):
		return made, 0, err
	case len(batch) == 1:
		s.tooLarge(batch[0].bill.Workspace, batch[0].bill.Day, err)
		return 0, 1, nil
	}
	half := len(batch) / 2
	for _, part := range [][]settled{batch[:half], batch[half:]} {
		n, waits, err := s.commitApart(ctx, part)
		made, waiting = made+n, waiting+waits
		if err != nil {
			return made, waiting, err
		}
	}
	return made, waiting, nil
}

// tooLarge tells people of usage that cannot be billed.
func (s *Service) tooLarge(id workspace.ID, day usage.Day, err error) {
	s.Log.Error("usage comes to more than can be billed", "workspace", id, "day", day.String(), "error", err)
}

// commitBills pays for a chunk in one transaction. What was billed or changed
// since it was rated is left for the next run.
func (s *Service) commitBills(ctx context.Context, batch []settled) (int, error) {
	if len(batch) == 0 {
		return 0, nil
	}
	return InTx(ctx, s.Store, func(ctx context.Context, tx Tx) (int, error) {
		made := 0
		for i := range batch {
			ok, err := s.commitBill(ctx, tx, batch[i])
			if err != nil {
				return 0, fmt.Errorf("workspace %s: %w", batch[i].bill.Workspace, err)
			}
			if ok {
				made++
			}
		}
		return made, nil
	})
}

func (s *Service) commitBill(ctx context.Context, tx Tx, x settled) (bool, error) {
	b := x.bill
	err := tx.SealUsage(ctx, b.Workspace, b.Day, b.UsageRev)
	if errors.Is(err, ErrConflict) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	h, err := tx.LedgerHead(ctx, b.BillingAccount, b.Currency)
	if err != nil {
		return false, err
	}
	funds, err := collect(tx.FundsOf(ctx, b.BillingAccount))
	if err != nil {
		return false, err
	}
	b.SealedAt = s.Now()
	purse := settlement.Purse{Head: h, Funds: funds, At: paidAt(&b, s.sites[b.Site].Zone)}
	if b.Split, err = settlement.Deduct(b.Lines, purse, b.Settlement.Method); err != nil {
		return false, err
	}
	t, err := s.post(ctx, tx, h, ledger.Transaction{At: b.SealedAt, Kind: ledger.Usage, Ref: string(b.ID), Postings: b.Postings()})
	var f *Fault
	switch {
	case errors.As(err, &f) && b.Total == 0: // nothing to pay
	case err != nil:
		return false, err
	default:
		b.LedgerSeq = t.Seq
	}
	if err := s.chargeCloud(ctx, tx, b, x.end); err != nil {
		return false, err
	}
	return true, tx.AddDailyBill(ctx, b)
}

// paidAt is when funds must be valid to pay for a bill: at the end of its day,
// or when it was made if that was earlier.
func paidAt(b *settlement.DailyBill, zone *time.Location) time.Time {
	_, end := b.Day.Bounds(zone)
	if b.SealedAt.Before(end) {
		return b.SealedAt
	}
	return end
}

// CloseMonth makes the monthly bills of all accounts that have daily bills in
// a month. Closing it again makes none that are there.
func (s *Service) CloseMonth(ctx context.Context, m usage.Month) (int, error) {
	payers, err := s.payers(ctx, m)
	if err != nil {
		return 0, err
	}
	made := 0
	for k := range payers {
		ok, err := s.closeMonth(ctx, k.id, m, k.currency)
		if err != nil {
			return made, fmt.Errorf("close %s of %s: %w", m, k.id, err)
		}
		if ok {
			made++
		}
	}
	return made, nil
}

// payer is who gets one monthly bill.
type payer struct {
	id       account.ID
	currency money.Currency
}

// payers returns who has daily bills in a month. Each day is read on a snapshot
// of its own, so that none is held for long.
func (s *Service) payers(ctx context.Context, m usage.Month) (map[payer]bool, error) {
	from, to := m.Days()
	out := map[payer]bool{}
	for day := from; day < to; day++ {
		err := s.Store.View(ctx, func(ctx context.Context, tx ReadTx) error {
			for b, err := range tx.DailyBillsOn(ctx, day, Page{}) {
				if err != nil {
					return err
				}
				out[payer{b.BillingAccount, b.Currency}] = true
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s *Service) closeMonth(ctx context.Context, id account.ID, m usage.Month, c money.Currency) (bool, error) {
	return InTx(ctx, s.Store, func(ctx context.Context, tx Tx) (bool, error) {
		if _, err := tx.MonthlyBill(ctx, id, m, c); !errors.Is(err, ErrNotFound) {
			return false, err
		}
		b, err := consolidate(ctx, tx, id, m, c, s.Now())
		if err != nil {
			return false, err
		}
		return true, tx.PutMonthlyBill(ctx, b)
	})
}

func consolidate(ctx context.Context, tx ReadTx, id account.ID, m usage.Month, c money.Currency, at time.Time) (settlement.MonthlyBill, error) {
	from, to := m.Days()
	var days []settlement.DailyBill
	for b, err := range tx.DailyBillsFor(ctx, id, from, to, Page{}) {
		if err != nil {
			return settlement.MonthlyBill{}, err
		}
		if b.Currency == c {
			days = append(days, b)
		}
	}
	return settlement.Consolidate(id, m, c, days, at)
}
