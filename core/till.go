package core

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cloudsettle/core/ledger"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// commitBills pays for a chunk, in one transaction or, while callbacks come in,
// in several short ones. What was billed or changed since it was rated is left
// for the next run, and so is what cannot be paid for: it does not hold up the
// others.
func (s *Service) commitBills(ctx context.Context, batch []settled) (int, error) {
	made := 0
	for len(batch) > 0 {
		n := len(batch)
		if s.traffic.flows() {
			n = min(n, settleStep)
		}
		some, err := s.commitStep(ctx, batch[:n])
		if made += some; err != nil {
			return made, err
		}
		batch = batch[n:]
	}
	return made, nil
}

// commitStep pays for bills in one transaction.
func (s *Service) commitStep(ctx context.Context, batch []settled) (int, error) {
	for len(batch) > 0 {
		made, err := InTx(ctx, s.Store, func(ctx context.Context, tx Tx) (int, error) {
			return s.payAll(ctx, tx, batch)
		})
		var bad *unpayable
		if !errors.As(err, &bad) {
			return made, err
		}
		s.Log.Error("usage cannot be billed", "workspace", bad.workspace, "error", bad.err)
		batch = slices.DeleteFunc(slices.Clone(batch), func(x settled) bool { return x.bill.Workspace == bad.workspace })
	}
	return 0, nil
}

// unpayable is a bill whose sums do not fit.
type unpayable struct {
	workspace workspace.ID
	err       error
}

func (u *unpayable) Error() string { return fmt.Sprintf("workspace %s: %v", u.workspace, u.err) }

// payAll seals the usage of a chunk, pays for it and stores its bills.
func (s *Service) payAll(ctx context.Context, tx Tx, batch []settled) (int, error) {
	sealed, err := sealUsage(ctx, tx, batch)
	if err != nil || len(sealed) == 0 {
		return 0, err
	}
	t := till{Service: s, tx: tx, bills: make([]settlement.DailyBill, len(sealed))}
	for i := range sealed {
		t.bills[i] = sealed[i].bill
	}
	if err := t.open(ctx); err != nil {
		return 0, err
	}
	for i := range t.bills {
		if err := t.pay(&t.bills[i], sealed[i].end); err != nil {
			return 0, &unpayable{t.bills[i].Workspace, err}
		}
	}
	return len(sealed), t.close(ctx)
}

// sealUsage returns those whose usage was still open and as it was rated.
func sealUsage(ctx context.Context, tx Tx, batch []settled) ([]settled, error) {
	seals := make([]usage.Seal, len(batch))
	for i := range batch {
		b := &batch[i].bill
		seals[i] = usage.Seal{Workspace: string(b.Workspace), Day: b.Day, Rev: b.UsageRev}
	}
	ok, err := tx.SealUsage(ctx, seals...)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(ok, false) {
		return batch, nil
	}
	var out []settled
	for i := range batch {
		if ok[i] {
			out = append(out, batch[i])
		}
	}
	return out, nil
}

// till pays for bills in one transaction. What payers have is read once, before
// the first bill, and written once, after the last.
type till struct {
	*Service
	tx      Tx
	bills   []settlement.DailyBill
	keys    []ledger.Key
	purses  map[ledger.Key]*purse
	subs    []marketplace.SubscriptionID
	charges map[marketplace.SubscriptionID]*charge
}

// purse is what one billing account has in one currency.
type purse struct {
	book  ledger.Book
	funds []settlement.Fund
}

// charge is what one subscription owes its marketplace.
type charge struct {
	account metering.Account
	until   time.Time // the end of what was charged; zero if nothing was
}

// open reads what the payers of all bills have.
func (t *till) open(ctx context.Context) error {
	t.purses, t.charges = map[ledger.Key]*purse{}, map[marketplace.SubscriptionID]*charge{}
	for i := range t.bills {
		b := &t.bills[i]
		if k := bookOf(b); t.purses[k] == nil {
			t.purses[k] = &purse{}
			t.keys = append(t.keys, k)
		}
		if id := b.Settlement.Subscription; id != "" && t.charges[id] == nil {
			t.charges[id] = &charge{}
			t.subs = append(t.subs, id)
		}
	}
	purses, err := t.tx.Purses(ctx, t.keys...)
	if err != nil {
		return err
	}
	for i, k := range t.keys {
		*t.purses[k] = purse{ledger.Book{Head: purses[i].Head}, purses[i].Funds}
	}
	accounts, err := t.tx.MeterAccountsOf(ctx, t.subs...)
	if err != nil {
		return err
	}
	for i, id := range t.subs {
		t.charges[id].account = accounts[i]
		if accounts[i].UnitAmount == 0 {
			if err := t.openMeterAccount(ctx, t.tx, &t.charges[id].account, id); err != nil {
				return err
			}
		}
	}
	return nil
}

// bookOf names the book that pays for a bill.
func bookOf(b *settlement.DailyBill) ledger.Key {
	return ledger.Key{Owner: string(b.BillingAccount), Currency: b.Currency}
}

// pay decides what pays for a bill, in the balances that the bills before it
// have left.
func (t *till) pay(b *settlement.DailyBill, end time.Time) error {
	p := t.purses[bookOf(b)]
	b.SealedAt = t.Now()
	var err error
	b.Split, err = settlement.Deduct(b.Lines, settlement.Purse{
		Head: p.book.Head, Funds: p.funds, At: paidAt(b, t.sites[b.Site].Zone),
	}, b.Settlement.Method)
	if err != nil {
		return err
	}
	posted, err := p.book.Post(ledger.Transaction{
		At: b.SealedAt, Kind: ledger.Usage, Ref: string(b.ID), Postings: b.Postings(),
	})
	switch {
	case errors.Is(err, ledger.ErrEmpty): // nothing to pay
	case err != nil:
		return err
	default:
		b.LedgerSeq = posted.Seq
	}
	if b.Cloud == 0 {
		return nil
	}
	c := t.charges[b.Settlement.Subscription]
	c.account.Currency = b.Currency
	if end.After(c.until) {
		c.until = end
	}
	c.account, err = c.account.Charge(b.Cloud)
	return err
}

// close stores the bills and what was paid, and promises that what
// subscriptions owe is reported.
func (t *till) close(ctx context.Context) error {
	books := make([]ledger.Book, 0, len(t.keys))
	for _, k := range t.keys {
		if b := t.purses[k].book; len(b.Added) > 0 {
			books = append(books, b)
		}
	}
	var accounts []metering.Account
	var tasks []Task
	for _, id := range t.subs {
		c := t.charges[id]
		if c.until.IsZero() {
			continue
		}
		task, err := t.sealTask(id, c.until, t.Now())
		if err != nil {
			return err
		}
		accounts, tasks = append(accounts, c.account), append(tasks, task)
	}
	return first(
		func() error { return t.tx.AppendLedger(ctx, books...) },
		func() error { return t.tx.AddDailyBill(ctx, t.bills...) },
		func() error { return t.tx.PutMeterAccount(ctx, accounts...) },
		func() error { return t.tx.PutTask(ctx, tasks...) },
	)
}

// first runs steps up to the first that fails.
func first(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
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
