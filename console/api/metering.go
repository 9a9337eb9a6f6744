package api

import (
	"context"
	"strconv"
	"time"

	"cloudsettle/console/api/rest"
	"cloudsettle/core"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
	"cloudsettle/core/money"
	"cloudsettle/core/settlement"
)

// flushWithin bounds how long a flush waits for marketplaces: below what
// clients and proxies wait for an answer. The rest goes on by itself.
const flushWithin = 20 * time.Second

// ListMeteringRecords implements rest.StrictServerInterface.
func (h handlers) ListMeteringRecords(
	ctx context.Context, r rest.ListMeteringRecordsRequestObject,
) (rest.ListMeteringRecordsResponseObject, error) {
	list, err := h.svc.FindMeterRecords(ctx, requestOf(ctx).Actor, core.MeterFilter{
		Subscription: marketplace.SubscriptionID(value(r.Params.SubscriptionID)),
		Listing:      marketplace.ListingID(value(r.Params.Listing)), Status: metering.Status(value(r.Params.Status)),
	}, page(r.Params.Limit, r.Params.Cursor))
	if err != nil {
		return nil, err
	}
	out := rest.ListMeteringRecords200JSONResponse{Data: []rest.MeteringRecord{}, NextCursor: list.Next}
	for i := range list.Items {
		item, err := encodeMeterRecord(&list.Items[i], h.svc.Now())
		if err != nil {
			return nil, err
		}
		out.Data = append(out.Data, item)
	}
	return out, nil
}

// FlushMetering implements rest.StrictServerInterface.
func (h handlers) FlushMetering(
	ctx context.Context, _ rest.FlushMeteringRequestObject,
) (rest.FlushMeteringResponseObject, error) {
	flush, cancel := context.WithTimeout(ctx, flushWithin)
	defer cancel()
	if err := h.svc.Flush(flush); err != nil && flush.Err() == nil {
		return nil, err
	}
	n, err := h.svc.PendingRecords(ctx)
	return rest.FlushMetering202JSONResponse{Pending: n}, err
}

// ResolveMeteringRecord implements rest.StrictServerInterface.
func (h handlers) ResolveMeteringRecord(
	ctx context.Context, r rest.ResolveMeteringRecordRequestObject,
) (rest.ResolveMeteringRecordResponseObject, error) {
	rec, err := h.svc.ResolveRecord(ctx, requestOf(ctx), metering.RecordID(r.ID),
		r.Body.Outcome == rest.MeteringOutcomeAccepted, r.Body.Reason)
	if err != nil {
		return nil, err
	}
	out, err := encodeMeterRecord(&rec, h.svc.Now())
	return rest.ResolveMeteringRecord200JSONResponse(out), err
}

// GetSubscriptionMetering implements rest.StrictServerInterface.
func (h handlers) GetSubscriptionMetering(
	ctx context.Context, r rest.GetSubscriptionMeteringRequestObject,
) (rest.GetSubscriptionMeteringResponseObject, error) {
	st, err := h.svc.MeterState(ctx, requestOf(ctx).Actor, marketplace.SubscriptionID(r.ID))
	if err != nil {
		return nil, err
	}
	out, err := encodeMeterState(&st, h.svc.Now())
	return rest.GetSubscriptionMetering200JSONResponse(out), err
}

// RetrySubscriptionMetering implements rest.StrictServerInterface.
func (h handlers) RetrySubscriptionMetering(
	ctx context.Context, r rest.RetrySubscriptionMeteringRequestObject,
) (rest.RetrySubscriptionMeteringResponseObject, error) {
	st, err := h.svc.RetryMetering(ctx, requestOf(ctx), marketplace.SubscriptionID(r.ID))
	if err != nil {
		return nil, err
	}
	out, err := encodeMeterState(&st, h.svc.Now())
	return rest.RetrySubscriptionMetering200JSONResponse(out), err
}

// ListMeteringHealth implements rest.StrictServerInterface.
func (h handlers) ListMeteringHealth(
	ctx context.Context, r rest.ListMeteringHealthRequestObject,
) (rest.ListMeteringHealthResponseObject, error) {
	list, err := h.svc.MeterStates(ctx, core.MeterStateFilter{
		Listing: marketplace.ListingID(value(r.Params.Listing)), Health: metering.Health(value(r.Params.Health)),
	}, page(r.Params.Limit, r.Params.Cursor))
	if err != nil {
		return nil, err
	}
	out := rest.ListMeteringHealth200JSONResponse{Data: []rest.SubscriptionMetering{}, NextCursor: list.Next}
	for i := range list.Items {
		item, err := encodeMeterState(&list.Items[i], h.svc.Now())
		if err != nil {
			return nil, err
		}
		out.Data = append(out.Data, item)
	}
	return out, nil
}

// Verify implements rest.StrictServerInterface.
func (h handlers) Verify(ctx context.Context, _ rest.VerifyRequestObject) (rest.VerifyResponseObject, error) {
	v, err := h.svc.Verify(ctx)
	return rest.Verify200JSONResponse{
		Ok: v.OK, Checked: v.Checked, Violations: encodeAll(v.Violations, func(x core.Violation) rest.Violation {
			return rest.Violation{Invariant: x.Invariant, Object: x.Object, Detail: x.Detail}
		}),
	}, err
}

func encodeMeterRecord(r *metering.Record, now time.Time) (rest.MeteringRecord, error) {
	amount, err := r.Amount()
	out := rest.MeteringRecord{
		ID: string(r.ID), Listing: string(r.Listing), SubscriptionID: string(r.Subscription), Dimension: r.Dimension,
		PeriodStart: instant(r.PeriodStart), PeriodEnd: instant(r.PeriodEnd), Units: r.Units,
		Amount: encodeAmount(amount, r.Currency), Status: rest.MeteringStatus(r.Status), Deadline: instant(r.Deadline),
		Alarm: rest.MeteringRecordAlarm(metering.AlarmOf(r, now).String()), Attempts: r.Attempts,
		ProviderRecordID: r.ProviderID, LastError: r.LastError, RetryAt: optionalInstant(r.RetryAt),
	}
	if d := r.Resolution; d != (metering.Resolution{}) {
		outcome := rest.MeteringOutcomeNotAccepted
		if d.Accepted {
			outcome = rest.MeteringOutcomeAccepted
		}
		out.Resolution = &rest.MeteringResolution{Outcome: outcome, Reason: d.Reason, By: d.By, At: instant(d.At)}
	}
	return out, err
}

func encodeMeterState(st *core.MeterState, now time.Time) (rest.SubscriptionMetering, error) {
	acc := &st.Signs.Account
	out := rest.SubscriptionMetering{
		SubscriptionID: string(st.Subscription), Listing: string(st.Listing), Health: rest.MeteringHealth(st.Health),
		Workspaces: st.Signs.Workspaces, UsageUntil: optionalInstant(st.Signs.UsageUntil),
		Pending: st.Pending, NextDeadline: optionalInstant(st.Deadline),
		AcceptedUnits: acc.Accepted, InFlightUnits: acc.InFlight,
		LastAcceptedAt: optionalInstant(acc.AcceptedAt), HeldAt: optionalInstant(acc.HeldAt),
	}
	if st.Signs.Settled {
		out.LastSettledDay = optional(st.LastSettled.String())
	}
	if acc.Hold != "" {
		hold := rest.SubscriptionMeteringHold(acc.Hold)
		out.Hold = &hold
	}
	carry, err := acc.Carry()
	if acc.Currency != "" {
		charged, carry := encodeAmount(acc.Charged, acc.Currency), encodeAmount(carry, acc.Currency)
		out.Charged, out.Carry = &charged, &carry
	}
	if st.Last != nil && err == nil {
		last, encodeErr := encodeMeterRecord(st.Last, now)
		out.LastAccepted, err = &last, encodeErr
	}
	return out, err
}

func encodeRun(r core.SettlementRun) rest.SettlementRun {
	return rest.SettlementRun{
		ID: r.ID, Kind: rest.RunKind(r.Kind), Period: r.Period, Status: rest.SettlementRunStatus(r.Status),
		Bills: r.Bills, Waiting: r.Waiting, Waits: encodeAll(r.Waits, encodeWait), Error: optional(r.Error), StartedAt: instant(r.StartedAt),
		FinishedAt: optionalInstant(r.FinishedAt),
	}
}

func encodeDailyBill(b settlement.DailyBill) rest.DailyBill {
	status := rest.DailyBillStatusSettled
	switch {
	case b.SealedAt.IsZero():
		status = rest.DailyBillStatusOpen
	case b.Arrears > 0:
		status = rest.DailyBillStatusSealed
	}
	return rest.DailyBill{
		ID: string(b.ID), WorkspaceID: string(b.Workspace), Site: b.Site, Day: b.Day.String(), Status: status,
		BillingAccountID: string(b.BillingAccount), Settlement: encodeSettlement(b.Settlement), PriceBookID: string(b.Book),
		Total:       encodeAmount(b.Total, b.Currency),
		Lines:       encodeAll(b.Lines, func(l settlement.Line) rest.BillLine { return encodeLine(l, b.Currency) }),
		Deductions:  encodeDeductions(b.Split, b.Currency),
		CloudCharge: encodeAmount(b.Cloud, b.Currency), Arrears: encodeAmount(b.Arrears, b.Currency),
		Unrated: encodeAll(b.Unrated, func(u settlement.Unrated) rest.UnratedUsage {
			return rest.UnratedUsage{Item: u.Item, Variant: u.Variant, Reason: u.Reason}
		}),
		SealedAt: optionalInstant(b.SealedAt),
	}
}

func encodeLine(l settlement.Line, c money.Currency) rest.BillLine {
	out := rest.BillLine{
		Item: l.Item, Variant: l.Variant, Quantity: l.Quantity.String(), Unit: l.Unit.String(), Price: l.Price.String(),
		Amount: encodeAmount(l.Amount, c),
	}
	if l.Of != 0 {
		day := l.Of.String()
		out.CorrectsDay = &day
	}
	return out
}

func encodeDeductions(s settlement.Split, c money.Currency) []rest.Deduction {
	return encodeAll(s.Deductions, func(d settlement.Deduction) rest.Deduction {
		return rest.Deduction{Source: string(d.Source), Amount: encodeAmount(d.Micros, c)}
	})
}

func encodeBill(b core.BillView) rest.Bill {
	return rest.Bill{
		ID: string(b.ID), BillingAccountID: string(b.BillingAccount), Month: b.Month.String(),
		Status: rest.BillStatus(b.Status), Total: encodeAmount(b.Total, b.Currency),
		Net: encodeAmount(b.Net, b.Currency), Due: encodeAmount(b.Due, b.Currency),
		Workspaces: encodeAll(b.Workspaces, func(s settlement.Subtotal) rest.BillWorkspace { return encodeSubtotal(s, b.Currency) }),
		Deductions: encodeDeductions(b.Split, b.Currency), CloudCharge: encodeAmount(b.Cloud, b.Currency),
		Arrears: encodeAmount(b.Arrears, b.Currency), CreditNotes: encodeAll(b.Notes, encodeNote),
		IssuedAt: optionalInstant(b.IssuedAt), DueAt: optionalInstant(b.DueAt),
	}
}

func encodeSubtotal(s settlement.Subtotal, c money.Currency) rest.BillWorkspace {
	out := rest.BillWorkspace{
		WorkspaceID: string(s.Workspace), Site: s.Site, SubscriptionID: optional(string(s.Subscription)),
		Days: s.Days, Amount: encodeAmount(s.Amount, c), CloudCharge: encodeAmount(s.Cloud, c),
	}
	if s.Adjusts != 0 {
		month := s.Adjusts.String()
		out.AdjustsMonth = &month
	}
	return out
}

func decimalOf(n uint64) string { return strconv.FormatUint(n, 10) }
