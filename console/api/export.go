package api

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"io"
	"net/http"

	"cloudsettle/console/api/csvsafe"
	"cloudsettle/console/api/rest"
	"cloudsettle/core"
	"cloudsettle/core/settlement"
)

// ExportBill implements rest.StrictServerInterface.
func (h handlers) ExportBill(
	ctx context.Context, r rest.ExportBillRequestObject,
) (rest.ExportBillResponseObject, error) {
	b, err := h.svc.MonthlyBill(ctx, requestOf(ctx).Actor, settlement.BillID(r.ID))
	if err != nil {
		return nil, err
	}
	x := billExport{bill: b, csv: value(r.Params.Format) == rest.Csv}
	x.next = func(after string) (core.List[settlement.DailyBill], error) {
		return h.svc.DailyBillsIn(ctx, b.MonthlyBill, core.Page{After: after, Limit: core.MaxPage})
	}
	x.first, err = x.next("")
	return x, err
}

// billExport writes a monthly bill with its daily bills, page by page: a large
// one does not fit in memory.
type billExport struct {
	bill  core.BillView
	csv   bool
	first core.List[settlement.DailyBill]
	next  func(after string) (core.List[settlement.DailyBill], error)
}

// VisitExportBillResponse implements rest.ExportBillResponseObject.
func (x billExport) VisitExportBillResponse(w http.ResponseWriter) error {
	name, kind, write := string(x.bill.ID)+".json", "application/json", x.writeJSON
	if x.csv {
		name, kind, write = string(x.bill.ID)+".csv", csvHeader, x.writeCSV
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
	if err := write(w); err != nil {
		panic(http.ErrAbortHandler) // half of a bill must not look like a whole one
	}
	return nil
}

// days hands over the daily bills that are in the bill.
func (x billExport) days(each func(settlement.DailyBill) error) error {
	for list := x.first; ; {
		for _, b := range list.Items {
			if err := each(b); err != nil {
				return err
			}
		}
		if list.Next == "" {
			return nil
		}
		var err error
		if list, err = x.next(list.Next); err != nil {
			return err
		}
	}
}

func (x billExport) writeJSON(w io.Writer) error {
	head, err := json.Marshal(encodeBill(x.bill))
	if err != nil {
		return err
	}
	if _, err := w.Write(append(append([]byte(`{"bill":`), head...), `,"daily_bills":[`...)); err != nil {
		return err
	}
	comma := ""
	err = x.days(func(b settlement.DailyBill) error {
		text, err := json.Marshal(encodeDailyBill(b))
		if err == nil {
			_, err = w.Write(append([]byte(comma), text...))
		}
		comma = ","
		return err
	})
	if err == nil {
		_, err = w.Write([]byte("]}\n"))
	}
	return err
}

func (x billExport) writeCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	err := out.Write([]string{
		"day", "workspace_id", "site", "settled_through", "item", "variant", "quantity", "unit", "price", "amount",
		"currency", "corrects_day",
	})
	if err != nil {
		return err
	}
	err = x.days(func(b settlement.DailyBill) error {
		for _, l := range encodeDailyBill(b).Lines {
			row := csvsafe.Row(b.Day.String(), string(b.Workspace), b.Site, string(b.Settlement.Subscription),
				l.Item, l.Variant, l.Quantity, l.Unit, l.Price, l.Amount.Amount, l.Amount.Currency, value(l.CorrectsDay))
			if err := out.Write(row); err != nil {
				return err
			}
		}
		return nil
	})
	out.Flush()
	if err != nil {
		return err
	}
	return out.Error()
}
