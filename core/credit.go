package core

import (
	"context"
	"errors"
	"strings"

	"cloudsettle/core/account"
	"cloudsettle/core/ledger"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/money"
	"cloudsettle/core/settlement"
	"cloudsettle/core/workspace"
)

// NewNote asks for a credit note, or for a debit note if Debit is set.
type NewNote struct {
	Bill   settlement.BillID
	Amount money.Amount // above zero
	Debit  bool
	Reason string
	// Settlement is what the money goes through; its zero value is what the whole
	// bill was charged to.
	Settlement workspace.Settlement
}

// IssueNote corrects an issued monthly bill, or a daily bill, by a note. The
// bill stays as it is. Errors are ErrConflict if the note would give back more
// than is left of the bill, or if nobody says how the money goes and the bill
// was charged in several ways.
func (s *Service) IssueNote(ctx context.Context, r Request, n NewNote) (settlement.Note, error) {
	if strings.TrimSpace(n.Reason) == "" || len(n.Reason) > maxReason {
		return settlement.Note{}, Invalid("reason_required", "say in at most %d bytes why", maxReason)
	}
	if n.Amount.Micros <= 0 {
		return settlement.Note{}, Invalid("invalid_amount", "the amount must be above zero; kind says which way it goes")
	}
	if through := n.Settlement.Subscription != ""; through != (n.Settlement.Method == workspace.ByCloudAccount) {
		return settlement.Note{}, Invalid("invalid_settlement", "a subscription is named for a cloud account's settlement, and only for it")
	}
	note := settlement.Note{
		ID: settlement.NoteID(s.NewID("cn")), Bill: n.Bill, Currency: n.Amount.Currency, Settlement: n.Settlement,
		Total: n.Amount.Micros, Reason: n.Reason, By: r.Actor.Name, IssuedAt: s.Now(),
	}
	if !n.Debit {
		note.Total = -note.Total
	}
	load := func(ctx context.Context, tx ReadTx, id string) (settlement.Note, error) {
		return tx.Note(ctx, settlement.NoteID(id))
	}
	return once(ctx, s, r, load, func(ctx context.Context, tx Tx) (settlement.Note, string, error) {
		out, err := s.issueNote(ctx, tx, note)
		return out, string(out.ID), err
	})
}

func (s *Service) issueNote(ctx context.Context, tx Tx, n settlement.Note) (settlement.Note, error) {
	x := statements{Service: s, tx: tx}
	c, err := x.corrected(ctx, &n)
	if err != nil {
		return n, err
	}
	// The head of the book comes first: whoever has it, has the account's notes.
	h, err := tx.LedgerHead(ctx, n.BillingAccount, n.Currency)
	if err != nil {
		return n, err
	}
	balances, err := x.balances(ctx, c, n.BillingAccount)
	if err != nil {
		return n, err
	}
	if n.Settlement.Method == "" {
		if n.Settlement, err = balances[0].Settlement(); err != nil {
			return n, noteFault(err)
		}
	}
	for _, b := range balances {
		if err := b.Allows(n.Total, n.Settlement); err != nil {
			return n, noteFault(err)
		}
	}
	if err := n.Pay(h); err != nil {
		return n, ledgerFault(err)
	}
	t, err := s.post(ctx, tx, h, ledger.Transaction{
		At: n.IssuedAt, Kind: n.Kind(), Ref: string(n.ID), Reason: n.Reason, By: n.By, Postings: n.Postings(),
	})
	if err != nil {
		return n, err
	}
	n.LedgerSeq = t.Seq
	if err := s.correctCloud(ctx, tx, &n); err != nil {
		return n, err
	}
	return n, tx.AddNote(ctx, n)
}

// noteFault tells a caller why a bill is not corrected.
func noteFault(err error) error {
	switch {
	case errors.Is(err, settlement.ErrNoteTooLarge):
		return Conflict("exceeds_bill", "%v", err)
	case errors.Is(err, settlement.ErrNoteSettlement):
		return Conflict("settlement_required", "%v: name the settlement that the note goes through", err)
	case errors.Is(err, settlement.ErrNoteChannel):
		return Conflict("not_charged", "%v", err)
	}
	return ledgerFault(err)
}

// corrected is what a note is for: a daily bill, the monthly bill that has it,
// or a monthly bill alone.
type corrected struct {
	daily   *settlement.DailyBill
	monthly *settlement.MonthlyBill
}

// corrected finds the bill that n is for and fills in whose it is.
func (x *statements) corrected(ctx context.Context, n *settlement.Note) (corrected, error) {
	if owner, m, currency, ok := monthlyKey(n.Bill); ok {
		b, err := x.tx.MonthlyBill(ctx, owner, m, currency)
		n.BillingAccount = owner
		return corrected{monthly: &b}, checkNote(err, n, currency)
	}
	ws, day, err := billKey(string(n.Bill))
	if err != nil {
		return corrected{}, NotFound("bill", string(n.Bill))
	}
	d, err := x.tx.DailyBill(ctx, ws, day)
	if err := checkNote(err, n, d.Currency); err != nil {
		return corrected{}, err
	}
	if d.LedgerSeq == 0 {
		return corrected{}, Conflict("nothing_billed", "bill %q moved no money", d.ID)
	}
	n.BillingAccount, n.Day, n.Seq = d.BillingAccount, d.Day, d.LedgerSeq
	b, err := x.monthlyOf(ctx, &d)
	return corrected{daily: &d, monthly: b}, err
}

// checkNote reports whether a bill was found and n is in its currency.
func checkNote(err error, n *settlement.Note, c money.Currency) error {
	if _, err := orNotFound(n, err, "bill", string(n.Bill)); err != nil {
		return err
	}
	if n.Currency != c {
		return Invalid("invalid_currency", "the bill is in %s", c)
	}
	return nil
}

// monthlyOf returns the monthly bill that covers a daily one, or nil if none
// does yet.
func (x *statements) monthlyOf(ctx context.Context, d *settlement.DailyBill) (*settlement.MonthlyBill, error) {
	b, found, err := x.last(ctx, d.BillingAccount, d.Currency)
	for ; err == nil && found && b.Month >= d.Day.Month(); b, found, err = x.before(ctx, d.BillingAccount, d.Currency, b.Month) {
		if b.Covers(d.Day, d.LedgerSeq) {
			return &b, nil
		}
	}
	return nil, err
}

// balances returns what is left of each bill that a note corrects, the one that
// it names first.
func (x *statements) balances(ctx context.Context, c corrected, owner account.ID) ([]settlement.Balance, error) {
	notes, err := collect(x.tx.Notes(ctx, owner, Page{}))
	if err != nil {
		return nil, err
	}
	var out []settlement.Balance
	if c.daily != nil {
		b, err := settlement.DailyBalance(c.daily, notes)
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	if c.monthly != nil {
		b, err := settlement.MonthlyBalance(c.monthly, notes)
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

// correctCloud changes what a subscription owes its marketplace. What is given
// back is paid off by later charges; nothing is ever taken back from a
// marketplace.
func (s *Service) correctCloud(ctx context.Context, tx Tx, n *settlement.Note) error {
	if n.Cloud == 0 {
		return nil
	}
	id := n.Settlement.Subscription
	sub, err := tx.Subscription(ctx, id)
	if err != nil {
		return err
	}
	if sub.Status == marketplace.StatusEnded { // nothing is charged through it any more
		return Conflict("subscription_ended", "subscription %q has ended: name the billing account's settlement", id)
	}
	acc, err := tx.MeterAccount(ctx, id)
	if err != nil {
		return err
	}
	if acc, err = acc.Charge(n.Cloud); err != nil {
		return ledgerFault(err)
	}
	if err := tx.PutMeterAccount(ctx, acc); err != nil || n.Cloud < 0 {
		return err
	}
	return s.promiseSeal(ctx, tx, id, n.IssuedAt, n.IssuedAt)
}

// Note returns one note that the actor may see.
func (s *Service) Note(ctx context.Context, who Actor, id settlement.NoteID) (settlement.Note, error) {
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (settlement.Note, error) {
		n, err := tx.Note(ctx, id)
		if err == nil && !who.May(n.BillingAccount) {
			err = ErrNotFound
		}
		if err != nil {
			_, err = orNotFound(n, err, "credit note", string(id))
			return settlement.Note{}, err
		}
		return n, nil
	})
}

// Notes lists notes, those of one account or bill if it is named; an account's
// own key sees its own.
func (s *Service) Notes(ctx context.Context, who Actor, owner account.ID, bill settlement.BillID, p Page) (List[settlement.Note], error) {
	if who.Role == RoleAccount {
		owner = who.BillingAccount
	}
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (List[settlement.Note], error) {
		return filtered(tx.Notes(ctx, owner, scanning(p)), p,
			func(n settlement.Note) string { return string(n.ID) },
			func(n settlement.Note) bool { return wanted(bill, n.Bill) })
	})
}
