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
	"cloudsettle/core/money"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// commitBills pays for a chunk, in one transaction or, while callbacks come in,
// in several short ones. What was billed or changed since it was rated is left
// for the next run. What each transaction made is noted in it.
func (s *Service) commitBills(ctx context.Context, batch []settled, note noter) (made int, waits []Wait, err error) {
	for len(batch) > 0 {
		n := len(batch)
		if s.traffic.flows() {
			n = min(n, settleStep)
		}
		some, errStep := s.commitStep(ctx, batch[:n], note.after(made))
		var bad *unpayable
		if errors.As(errStep, &bad) { // it does not hold up the others
			s.tooLarge(bad.workspace, bad.day, bad.err)
			waits = append(waits, Wait{bad.workspace, WaitOutOfRange})
			batch = slices.DeleteFunc(slices.Clone(batch), func(x settled) bool { return x.bill.Workspace == bad.workspace })
			continue
		}
		if made += some; errStep != nil {
			return made, waits, errStep
		}
		batch = batch[n:]
	}
	return made, waits, nil
}

// tooLarge tells people of usage that cannot be billed.
func (s *Service) tooLarge(id workspace.ID, day usage.Day, err error) {
	s.Log.Error("usage comes to more than can be billed", "workspace", id, "day", day.String(), "error", err)
}

// unpayable is a bill that comes to more than the books can hold.
type unpayable struct {
	workspace workspace.ID
	day       usage.Day
	err       error
}

func (u *unpayable) Error() string { return fmt.Sprintf("workspace %s: %v", u.workspace, u.err) }

// commitStep seals usage, pays for it and stores its bills in one transaction.
func (s *Service) commitStep(ctx context.Context, batch []settled, note noter) (int, error) {
	return InTx(ctx, s.Store, func(ctx context.Context, tx Tx) (int, error) {
		sealed, err := sealUsage(ctx, tx, batch)
		if err != nil || len(sealed) == 0 {
			return 0, err
		}
		t := s.newTill()
		bills, err := t.payAll(ctx, tx, sealed)
		if err != nil {
			return 0, err
		}
		return len(bills), first(
			func() error { return t.close(ctx, tx, bills) },
			func() error { return note.do(ctx, tx, len(bills)) },
		)
	})
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

// till pays for bills. What a payer has is read before their first bill, and
// written once, after the last.
type till struct {
	*Service
	keys    []ledger.Key
	purses  map[ledger.Key]*purse
	subs    []marketplace.SubscriptionID
	charges map[marketplace.SubscriptionID]*charge
}

func (s *Service) newTill() *till {
	return &till{Service: s, purses: map[ledger.Key]*purse{}, charges: map[marketplace.SubscriptionID]*charge{}}
}

// purse is what one billing account has in one currency.
type purse struct {
	was   ledger.Head
	book  ledger.Book
	funds []settlement.Fund
}

// charge is what one subscription owes its marketplace.
type charge struct {
	account metering.Account
	until   time.Time // the end of what was charged; zero if nothing was
}

// payAll returns the bills of a batch with what pays for them.
func (t *till) payAll(ctx context.Context, tx ReadTx, batch []settled) ([]settlement.DailyBill, error) {
	bills := make([]settlement.DailyBill, len(batch))
	for i := range batch {
		bills[i] = batch[i].bill
	}
	if err := t.open(ctx, tx, bills); err != nil {
		return nil, err
	}
	for i := range bills {
		err := t.pay(&bills[i], batch[i].end)
		if errors.Is(err, money.ErrOverflow) {
			return nil, &unpayable{bills[i].Workspace, bills[i].Day, err}
		}
		if err != nil {
			return nil, err
		}
	}
	return bills, nil
}

// open reads what the payers of bills have, unless it is known.
func (t *till) open(ctx context.Context, tx ReadTx, bills []settlement.DailyBill) error {
	books, subs := len(t.keys), len(t.subs)
	for i := range bills {
		b := &bills[i]
		if k := bookOf(b); t.purses[k] == nil {
			t.purses[k] = &purse{}
			t.keys = append(t.keys, k)
		}
		if id := b.Settlement.Subscription; id != "" && t.charges[id] == nil {
			t.charges[id] = &charge{}
			t.subs = append(t.subs, id)
		}
	}
	purses, err := tx.Purses(ctx, t.keys[books:]...)
	if err != nil {
		return err
	}
	for i, p := range purses {
		*t.purses[t.keys[books+i]] = purse{p.Head, ledger.Book{Head: p.Head}, p.Funds}
	}
	accounts, err := tx.MeterAccountsOf(ctx, t.subs[subs:]...)
	if err != nil {
		return err
	}
	for i, a := range accounts {
		if a.UnitAmount == 0 {
			if err := t.openMeterAccount(ctx, tx, &a, t.subs[subs+i]); err != nil {
				return err
			}
		}
		t.charges[t.subs[subs+i]].account = a
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

// close stores bills and what was paid, and promises that what subscriptions
// owe is reported.
func (t *till) close(ctx context.Context, tx Tx, bills []settlement.DailyBill) error {
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
		task, err := t.sealTask(sealing{Subscription: id, Until: c.until}, t.Now())
		if err != nil {
			return err
		}
		accounts, tasks = append(accounts, c.account), append(tasks, task)
	}
	return first(
		func() error { return tx.AppendLedger(ctx, books...) },
		func() error { return tx.AddDailyBill(ctx, bills...) },
		func() error { return tx.PutMeterAccount(ctx, accounts...) },
		func() error { return tx.PutTask(ctx, tasks...) },
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
