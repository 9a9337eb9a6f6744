package core

import (
	"context"
	"errors"
	"strconv"

	"cloudsettle/core/account"
	"cloudsettle/core/ledger"
	"cloudsettle/core/money"
	"cloudsettle/core/settlement"
)

// maxReason bounds the words that explain an adjustment.
const maxReason = 500

// Wallet is what a billing account has in one currency.
type Wallet struct {
	Owner   account.ID
	Head    ledger.Head
	Funds   []settlement.Fund
	Balance money.Micros // cash that can be spent
}

// AdjustWallet adds to (or takes from) the cash of a billing account. What is
// added first pays what is owed. Cash never goes below zero: that is
// ErrConflict.
func (s *Service) AdjustWallet(ctx context.Context, r Request, id account.ID, amount money.Amount, reason string) (ledger.Transaction, error) {
	if reason == "" || len(reason) > maxReason {
		return ledger.Transaction{}, Invalid("reason_required", "say in at most %d bytes why", maxReason)
	}
	_, err := InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (account.Account, error) {
		return loadBillingAccount(ctx, tx, string(id))
	})
	if err != nil {
		return ledger.Transaction{}, err
	}
	load := func(ctx context.Context, tx ReadTx, seq string) (ledger.Transaction, error) {
		for t, err := range tx.LedgerTransactions(ctx, id, amount.Currency, Page{After: seq, Limit: 1}) {
			return t, err
		}
		return ledger.Transaction{}, NotFound("transaction", seq)
	}
	return once(ctx, s, r, load, func(ctx context.Context, tx Tx) (ledger.Transaction, string, error) {
		h, err := tx.LedgerHead(ctx, id, amount.Currency)
		if err != nil {
			return ledger.Transaction{}, "", err
		}
		t, err := s.post(ctx, tx, h, ledger.Transaction{
			At: s.Now(), Kind: ledger.Adjustment, Reason: reason, By: r.Actor.Name, Postings: topUp(h, amount.Micros),
		})
		return t, before(t.Seq), err
	})
}

// topUp moves m from outside into arrears, as far as something is owed, and
// then into cash.
func topUp(h ledger.Head, m money.Micros) []ledger.Posting {
	owed := -h.Of(ledger.Arrears)
	pay := max(min(m, owed), 0)
	return []ledger.Posting{
		{Account: ledger.External, Micros: -m}, {Account: ledger.Arrears, Micros: pay}, {Account: ledger.Cash, Micros: m - pay},
	}
}

// post appends t to the book of h.
func (s *Service) post(ctx context.Context, tx Tx, h ledger.Head, t ledger.Transaction) (ledger.Transaction, error) {
	book := ledger.Book{Head: h}
	t, err := book.Post(t)
	if err != nil {
		return t, ledgerFault(err)
	}
	return t, tx.AppendLedger(ctx, book)
}

// GrantFund gives a voucher or prepaid card to a billing account.
func (s *Service) GrantFund(ctx context.Context, r Request, f settlement.Fund) (settlement.Fund, error) {
	f.ID, f.Rev = s.NewID("fund"), 0
	if f.Face <= 0 || !f.Until.After(f.From) || !f.Currency.Valid() {
		return f, Invalid("invalid_fund", "face value must be above zero and the end after the beginning")
	}
	load := func(ctx context.Context, tx ReadTx, id string) (settlement.Fund, error) { return tx.Fund(ctx, id) }
	return once(ctx, s, r, load, func(ctx context.Context, tx Tx) (settlement.Fund, string, error) {
		if _, err := loadBillingAccount(ctx, tx, f.Owner); err != nil {
			return f, "", err
		}
		h, err := tx.LedgerHead(ctx, account.ID(f.Owner), f.Currency)
		if err != nil {
			return f, "", err
		}
		_, err = s.post(ctx, tx, h, ledger.Transaction{
			At: s.Now(), Kind: ledger.Grant, Ref: f.ID, By: r.Actor.Name,
			Postings: []ledger.Posting{{Account: ledger.External, Micros: -f.Face}, {Account: f.Account(), Micros: f.Face}},
		})
		if err != nil {
			return f, "", err
		}
		return f, f.ID, tx.PutFund(ctx, f)
	})
}

// WalletOf returns what a billing account has in one currency.
func (s *Service) WalletOf(ctx context.Context, who Actor, id account.ID, c money.Currency) (Wallet, error) {
	if !who.May(id) {
		return Wallet{}, NotFound("billing account", string(id))
	}
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (Wallet, error) {
		if _, err := loadBillingAccount(ctx, tx, string(id)); err != nil {
			return Wallet{}, err
		}
		h, err := tx.LedgerHead(ctx, id, c)
		if err != nil {
			return Wallet{}, err
		}
		funds, err := collect(tx.FundsOf(ctx, id))
		return Wallet{Owner: id, Head: h, Funds: funds, Balance: h.Of(ledger.Cash)}, err
	})
}

// LedgerTransactions lists the book of a billing account in one currency.
func (s *Service) LedgerTransactions(ctx context.Context, who Actor, id account.ID, c money.Currency, p Page) (List[ledger.Transaction], error) {
	if !who.May(id) {
		return List[ledger.Transaction]{}, NotFound("billing account", string(id))
	}
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (List[ledger.Transaction], error) {
		return listed(tx.LedgerTransactions(ctx, id, c, more(p)), p, func(t ledger.Transaction) string { return text(t.Seq) })
	})
}

// before is the page key that a scan for transaction seq starts after.
func before(seq uint64) string { return text(seq - 1) }

func text(n uint64) string { return strconv.FormatUint(n, 10) }

// ledgerFault tells a caller why money does not move.
func ledgerFault(err error) error {
	switch {
	case errors.Is(err, ledger.ErrInsufficient):
		return Conflict("insufficient_balance", "%v", err)
	case errors.Is(err, money.ErrOverflow), errors.Is(err, ledger.ErrEmpty):
		return &Fault{Err: errors.Join(ErrInvalid, err), Code: "invalid_amount", Detail: err.Error()}
	}
	return err
}
