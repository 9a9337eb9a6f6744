package api

import (
	"context"
	"time"

	"cloudsettle/console/api/rest"
	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/ledger"
	"cloudsettle/core/money"
	"cloudsettle/core/settlement"
)

// decodeAmount reads an amount of a body.
func decodeAmount(a rest.Amount) (money.Amount, error) {
	out, err := money.Parse(a.Amount, money.Currency(a.Currency))
	if err != nil {
		return out, invalidParameter("amount", err.Error())
	}
	return out, nil
}

// GetWallet implements rest.StrictServerInterface.
func (h handlers) GetWallet(ctx context.Context, r rest.GetWalletRequestObject) (rest.GetWalletResponseObject, error) {
	list, err := h.svc.Wallets(ctx, requestOf(ctx).Actor, account.ID(r.ID))
	now := h.svc.Now()
	return rest.GetWallet200JSONResponse{
		BillingAccountID: r.ID,
		Balances:         encodeAll(list, func(w core.Wallet) rest.Balance { return encodeBalance(w, now) }),
	}, err
}

// AdjustWallet implements rest.StrictServerInterface.
func (h handlers) AdjustWallet(
	ctx context.Context, r rest.AdjustWalletRequestObject,
) (rest.AdjustWalletResponseObject, error) {
	amount, err := decodeAmount(r.Body.Amount)
	if err != nil {
		return nil, err
	}
	t, err := h.svc.AdjustWallet(ctx, requestOf(ctx), account.ID(r.ID), amount, r.Body.Reason)
	if err != nil {
		return nil, err
	}
	return rest.AdjustWallet201JSONResponse(encodeTransaction(t)), nil
}

// ListLedgerTransactions implements rest.StrictServerInterface.
func (h handlers) ListLedgerTransactions(
	ctx context.Context, r rest.ListLedgerTransactionsRequestObject,
) (rest.ListLedgerTransactionsResponseObject, error) {
	who := requestOf(ctx).Actor
	a, err := h.svc.BillingAccount(ctx, who, account.ID(r.Params.BillingAccountID))
	if err != nil {
		return nil, err
	}
	currency := a.Currency
	if r.Params.Currency != nil {
		currency = *r.Params.Currency
	}
	list, err := h.svc.LedgerTransactions(ctx, who, a.ID, money.Currency(currency), page(r.Params.Limit, r.Params.Cursor))
	return rest.ListLedgerTransactions200JSONResponse{
		Data: encodeAll(list.Items, encodeTransaction), NextCursor: list.Next,
	}, err
}

// ListVouchers implements rest.StrictServerInterface.
func (h handlers) ListVouchers(
	ctx context.Context, r rest.ListVouchersRequestObject,
) (rest.ListVouchersResponseObject, error) {
	list, err := h.funds(ctx, r.Params.BillingAccountID, func(k settlement.FundKind) bool { return k != settlement.PrepaidCard })
	return rest.ListVouchers200JSONResponse{Data: list}, err
}

// ListPrepaidCards implements rest.StrictServerInterface.
func (h handlers) ListPrepaidCards(
	ctx context.Context, r rest.ListPrepaidCardsRequestObject,
) (rest.ListPrepaidCardsResponseObject, error) {
	list, err := h.funds(ctx, r.Params.BillingAccountID, func(k settlement.FundKind) bool { return k == settlement.PrepaidCard })
	return rest.ListPrepaidCards200JSONResponse{Data: list}, err
}

func (h handlers) funds(ctx context.Context, owner string, of func(settlement.FundKind) bool) ([]rest.Fund, error) {
	all, err := h.svc.FundsOf(ctx, requestOf(ctx).Actor, account.ID(owner))
	out := []rest.Fund{}
	for _, f := range all {
		if of(f.Kind) {
			out = append(out, encodeFund(f, h.svc.Now()))
		}
	}
	return out, err
}

// CreateVoucher implements rest.StrictServerInterface.
func (h handlers) CreateVoucher(
	ctx context.Context, r rest.CreateVoucherRequestObject,
) (rest.CreateVoucherResponseObject, error) {
	kind := settlement.OrdinaryVoucher
	if value(r.Body.Kind) == rest.Discount {
		kind = settlement.DiscountVoucher
	}
	f, err := h.grant(ctx, kind, r.Body.BillingAccountID, r.Body.Amount, r.Body.ValidFrom, r.Body.ValidUntil)
	return rest.CreateVoucher201JSONResponse(f), err
}

// CreatePrepaidCard implements rest.StrictServerInterface.
func (h handlers) CreatePrepaidCard(
	ctx context.Context, r rest.CreatePrepaidCardRequestObject,
) (rest.CreatePrepaidCardResponseObject, error) {
	f, err := h.grant(ctx, settlement.PrepaidCard,
		r.Body.BillingAccountID, r.Body.Amount, r.Body.ValidFrom, r.Body.ValidUntil)
	return rest.CreatePrepaidCard201JSONResponse(f), err
}

func (h handlers) grant(
	ctx context.Context, kind settlement.FundKind, owner string, face rest.Amount, from *time.Time, until time.Time,
) (rest.Fund, error) {
	amount, err := decodeAmount(face)
	if err != nil {
		return rest.Fund{}, err
	}
	start := h.svc.Now()
	if from != nil {
		start = *from
	}
	f, err := h.svc.GrantFund(ctx, requestOf(ctx), settlement.Fund{
		Owner: owner, Kind: kind, Currency: amount.Currency, Face: amount.Micros, From: instant(start), Until: instant(until),
	})
	if err != nil {
		return rest.Fund{}, err
	}
	w, err := h.svc.WalletOf(ctx, requestOf(ctx).Actor, account.ID(owner), f.Currency)
	return encodeFund(core.FundView{Fund: f, Left: w.Head.Of(f.Account())}, h.svc.Now()), err
}

func encodeAmount(m money.Micros, c money.Currency) rest.Amount {
	return rest.Amount{Amount: m.String(), Currency: string(c)}
}

// encodeBalance tells what a wallet has in one currency. Vouchers and cards
// count as far as they may pay now.
func encodeBalance(w core.Wallet, now time.Time) rest.Balance {
	c := w.Head.Currency
	var vouchers, cards money.Micros // below what was granted, so they do not wrap
	for _, f := range w.Funds {
		switch left := w.Head.Of(f.Account()); {
		case f.Currency != c || !f.Valid(now):
		case f.Kind == settlement.PrepaidCard:
			cards += left
		default:
			vouchers += left
		}
	}
	return rest.Balance{
		Currency: string(c), Cash: encodeAmount(w.Balance, c), Arrears: encodeAmount(-w.Head.Of(ledger.Arrears), c),
		Carry: encodeAmount(-w.Head.Of(ledger.Carry), c), Vouchers: encodeAmount(vouchers, c), Cards: encodeAmount(cards, c),
	}
}

func encodeTransaction(t ledger.Transaction) rest.Transaction {
	hash, _ := t.Hash.MarshalText() // never fails
	return rest.Transaction{
		ID:               t.Owner + "_" + string(t.Currency) + "_" + decimalOf(t.Seq),
		BillingAccountID: t.Owner, Currency: string(t.Currency), Seq: int64(t.Seq), //nolint:gosec // counts transactions
		At: instant(t.At), Kind: rest.TransactionKind(t.Kind), Ref: optional(t.Ref), Reason: optional(t.Reason),
		By: optional(t.By), Hash: string(hash),
		Postings: encodeAll(t.Postings, func(p ledger.Posting) rest.Posting {
			return rest.Posting{Account: string(p.Account), Amount: encodeAmount(p.Micros, t.Currency)}
		}),
	}
}

func encodeFund(v core.FundView, now time.Time) rest.Fund {
	status := rest.FundStatusActive
	switch {
	case v.Left == 0:
		status = rest.FundStatusUsedUp
	case now.Before(v.From):
		status = rest.FundStatusInactive
	case !v.Valid(now):
		status = rest.FundStatusExpired
	}
	return rest.Fund{
		ID: v.ID, BillingAccountID: v.Owner, Kind: rest.FundKind(v.Kind), Amount: encodeAmount(v.Face, v.Currency),
		Balance: encodeAmount(v.Left, v.Currency), Status: status, ValidFrom: instant(v.From), ValidUntil: instant(v.Until),
	}
}
