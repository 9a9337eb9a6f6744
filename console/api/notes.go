package api

import (
	"context"

	"cloudsettle/console/api/rest"
	"cloudsettle/core"
	"cloudsettle/core/ledger"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/settlement"
)

// CreateCreditNote implements rest.StrictServerInterface.
func (h handlers) CreateCreditNote(
	ctx context.Context, r rest.CreateCreditNoteRequestObject,
) (rest.CreateCreditNoteResponseObject, error) {
	amount, err := decodeAmount(r.Body.Amount)
	if err != nil {
		return nil, err
	}
	want := core.NewNote{
		Bill: settlement.BillID(r.ID), Amount: amount, Reason: r.Body.Reason,
		Debit: value(r.Body.Kind) == rest.NewCreditNoteKindDebit,
	}
	if s := r.Body.Settlement; s != nil {
		want.Settlement = decodeSettlement(*s)
	}
	n, err := h.svc.IssueNote(ctx, requestOf(ctx), want)
	if err != nil {
		return nil, err
	}
	return rest.CreateCreditNote201JSONResponse(encodeNote(n)), nil
}

// GetCreditNote implements rest.StrictServerInterface.
func (h handlers) GetCreditNote(
	ctx context.Context, r rest.GetCreditNoteRequestObject,
) (rest.GetCreditNoteResponseObject, error) {
	n, err := h.svc.Note(ctx, requestOf(ctx).Actor, settlement.NoteID(r.ID))
	if err != nil {
		return nil, err
	}
	return rest.GetCreditNote200JSONResponse(encodeNote(n)), nil
}

// ListCreditNotes implements rest.StrictServerInterface.
func (h handlers) ListCreditNotes(
	ctx context.Context, r rest.ListCreditNotesRequestObject,
) (rest.ListCreditNotesResponseObject, error) {
	owner, err := ownerFilter(ctx, r.Params.BillingAccountID)
	if err != nil {
		return nil, err
	}
	list, err := h.svc.Notes(ctx, requestOf(ctx).Actor, owner, settlement.BillID(value(r.Params.BillID)),
		page(r.Params.Limit, r.Params.Cursor))
	return rest.ListCreditNotes200JSONResponse{Data: encodeAll(list.Items, encodeNote), NextCursor: list.Next}, err
}

func encodeNote(n settlement.Note) rest.CreditNote {
	kind, amount := rest.CreditNoteKindDebit, n.Total
	if n.Kind() == ledger.CreditNote {
		kind, amount = rest.CreditNoteKindCredit, -n.Total
	}
	return rest.CreditNote{
		ID: string(n.ID), BillID: string(n.Bill), BillingAccountID: string(n.BillingAccount), Kind: kind,
		Amount: encodeAmount(amount, n.Currency), Reason: n.Reason, By: optional(n.By),
		Settlement: encodeSettlement(n.Settlement), Deductions: encodeDeductions(n.Split, n.Currency),
		CloudCharge: encodeAmount(n.Cloud, n.Currency), Arrears: encodeAmount(n.Arrears, n.Currency),
		IssuedAt: instant(n.IssuedAt),
	}
}

// GetCloudAccountBill implements rest.StrictServerInterface.
func (h handlers) GetCloudAccountBill(
	ctx context.Context, r rest.GetCloudAccountBillRequestObject,
) (rest.GetCloudAccountBillResponseObject, error) {
	m, err := parseMonth(r.Params.Month)
	if err != nil {
		return nil, err
	}
	b, err := h.svc.CloudAccountBill(ctx, requestOf(ctx).Actor, marketplace.AccountID(r.ID), m)
	if err != nil {
		return nil, err
	}
	return rest.GetCloudAccountBill200JSONResponse{
		CloudAccountID: string(b.Account), Month: b.Month.String(), Currencies: encodeAll(b.Currencies, encodeCloudSum),
	}, nil
}

func encodeCloudSum(x core.CloudCurrency) rest.CloudAccountSum {
	c := x.Currency
	return rest.CloudAccountSum{
		Charged: encodeAmount(x.Charged, c), CreditNotes: encodeAmount(x.Notes, c),
		Subscriptions: encodeAll(x.Subscriptions, func(s core.CloudSubscription) rest.SubscriptionSum {
			out := rest.SubscriptionSum{
				SubscriptionID: string(s.Meter.Subscription), Charged: encodeAmount(s.Charged, c), CreditNotes: encodeAmount(s.Notes, c),
				Workspaces: encodeAll(s.Workspaces, func(w settlement.Subtotal) rest.BillWorkspace { return encodeSubtotal(w, c) }),
			}
			out.Metering.UnitAmount, out.Metering.Carry = encodeAmount(s.Meter.UnitAmount, c), encodeAmount(s.Carry, c)
			out.Metering.UnitsAccepted, out.Metering.UnitsInFlight = s.Meter.Accepted, s.Meter.InFlight
			return out
		}),
	}
}
