package api

import (
	"context"
	"fmt"

	"cloudsettle/console/api/rest"
	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/money"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
)

// maxDays is the longest range of days that a list covers; one page of bills
// of a workspace.
const maxDays = core.MaxPage

// ListDailyBills implements rest.StrictServerInterface.
func (h handlers) ListDailyBills(
	ctx context.Context, r rest.ListDailyBillsRequestObject,
) (rest.ListDailyBillsResponseObject, error) {
	from, to, err := days(r.Params)
	if err != nil {
		return nil, err
	}
	owner, err := ownerFilter(ctx, r.Params.BillingAccountID)
	if err != nil {
		return nil, err
	}
	who := requestOf(ctx).Actor
	if owner == "" && who.Role == core.RoleAccount {
		owner = who.BillingAccount
	}
	var list core.List[settlement.DailyBill]
	p := page(r.Params.Limit, r.Params.Cursor)
	switch {
	case r.Params.WorkspaceID != nil:
		list.Items, err = h.svc.DailyBills(ctx, who, core.BillFilter{Workspace: *r.Params.WorkspaceID, From: from, To: to})
		list.Items = paidBy(list.Items, owner)
	case owner != "":
		list, err = h.svc.DailyBillsOf(ctx, who, owner, from, to, p)
	case to != from+1:
		return nil, invalidParameter("day", "is needed for the bills of all workspaces")
	default:
		list, err = h.svc.DailyBillsOn(ctx, from, p)
	}
	return rest.ListDailyBills200JSONResponse{
		Data: encodeAll(list.Items, encodeDailyBill), NextCursor: list.Next,
	}, err
}

// paidBy returns the bills of one payer, or all if it is "".
func paidBy(bills []settlement.DailyBill, owner account.ID) []settlement.DailyBill {
	if owner == "" {
		return bills
	}
	out := []settlement.DailyBill{}
	for _, b := range bills {
		if b.BillingAccount == owner {
			out = append(out, b)
		}
	}
	return out
}

// days returns the range [from, to) that a list is asked for.
func days(p rest.ListDailyBillsParams) (from, to usage.Day, err error) {
	switch {
	case p.Day != nil && p.From == nil && p.To == nil:
		from, err = parseDay("day", *p.Day)
		return from, from + 1, err
	case p.Day != nil || p.From == nil || p.To == nil:
		return 0, 0, invalidParameter("day", "give day, or from and to")
	}
	return dayRange(*p.From, *p.To, maxDays)
}

// dayRange reads a range [from, to) of at most so many days.
func dayRange(first, last string, most usage.Day) (from, to usage.Day, err error) {
	if from, err = parseDay("from", first); err != nil {
		return 0, 0, err
	}
	if to, err = parseDay("to", last); err != nil {
		return 0, 0, err
	}
	if to <= from || to > from+most {
		return 0, 0, invalidParameter("to", fmt.Sprintf("must be 1 to %d days after from", most))
	}
	return from, to, nil
}

// ListBills implements rest.StrictServerInterface.
func (h handlers) ListBills(ctx context.Context, r rest.ListBillsRequestObject) (rest.ListBillsResponseObject, error) {
	owner, err := ownerFilter(ctx, r.Params.BillingAccountID)
	if err != nil {
		return nil, err
	}
	q := core.BillQuery{Owner: owner}
	if r.Params.Month != nil {
		if q.Month, err = parseMonth(*r.Params.Month); err != nil {
			return nil, err
		}
	}
	list, err := h.svc.MonthlyBills(ctx, requestOf(ctx).Actor, q, page(r.Params.Limit, r.Params.Cursor))
	return rest.ListBills200JSONResponse{Data: encodeAll(list.Items, encodeBill), NextCursor: list.Next}, err
}

func parseMonth(text string) (usage.Month, error) {
	m, err := usage.ParseMonth(text)
	if err != nil {
		return 0, invalidParameter("month", "is not a month of the calendar")
	}
	return m, nil
}

// GetBill implements rest.StrictServerInterface.
func (h handlers) GetBill(ctx context.Context, r rest.GetBillRequestObject) (rest.GetBillResponseObject, error) {
	b, err := h.svc.MonthlyBill(ctx, requestOf(ctx).Actor, settlement.BillID(r.ID))
	if err != nil {
		return nil, err
	}
	return rest.GetBill200JSONResponse(encodeBill(b)), nil
}

// ListSettlementRuns implements rest.StrictServerInterface.
func (h handlers) ListSettlementRuns(
	ctx context.Context, r rest.ListSettlementRunsRequestObject,
) (rest.ListSettlementRunsResponseObject, error) {
	list, err := h.svc.SettlementRuns(ctx, page(r.Params.Limit, r.Params.Cursor))
	return rest.ListSettlementRuns200JSONResponse{Data: encodeAll(list.Items, encodeRun), NextCursor: list.Next}, err
}

// GetSettlementRun implements rest.StrictServerInterface.
func (h handlers) GetSettlementRun(
	ctx context.Context, r rest.GetSettlementRunRequestObject,
) (rest.GetSettlementRunResponseObject, error) {
	run, err := h.svc.SettlementRun(ctx, r.ID)
	return rest.GetSettlementRun200JSONResponse(encodeRun(run)), err
}

// StartSettlementRun implements rest.StrictServerInterface.
func (h handlers) StartSettlementRun(
	ctx context.Context, r rest.StartSettlementRunRequestObject,
) (rest.StartSettlementRunResponseObject, error) {
	run, err := h.svc.StartRun(ctx, requestOf(ctx), string(r.Body.Kind), r.Body.Period, value(r.Body.Early))
	return rest.StartSettlementRun202JSONResponse(encodeRun(run)), err
}

// PreviewSettlementRun implements rest.StrictServerInterface.
func (h handlers) PreviewSettlementRun(
	ctx context.Context, r rest.PreviewSettlementRunRequestObject,
) (rest.PreviewSettlementRunResponseObject, error) {
	v, err := h.svc.PreviewRun(ctx, string(r.Body.Kind), r.Body.Period, value(r.Body.Early))
	if err != nil {
		return nil, err
	}
	return rest.PreviewSettlementRun200JSONResponse{
		Kind: r.Body.Kind, Period: r.Body.Period, Count: v.Count,
		Totals:     encodeAll(v.Totals, func(a money.Amount) rest.Amount { return encodeAmount(a.Micros, a.Currency) }),
		DailyBills: encodeAll(v.Daily, encodeDailyBill), Bills: encodeAll(v.Monthly, encodeBill),
		Changes: encodeAll(v.Changes, encodeChange), Waiting: v.Waiting, Waits: encodeAll(v.Waits, encodeWait),
	}, nil
}

func encodeChange(c core.Change) rest.BalanceChange {
	return rest.BalanceChange{
		BillingAccountID: string(c.Owner), Account: string(c.Account),
		Before: encodeAmount(c.Before, c.Currency), After: encodeAmount(c.After, c.Currency),
	}
}

func encodeWait(w core.Wait) rest.Wait {
	return rest.Wait{WorkspaceID: string(w.Workspace), Reason: string(w.Reason)}
}
