package api

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/json"
	"io"
	"iter"
	"net/http"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/labstack/echo/v4"

	"cloudsettle/console/api/rest"
	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
)

// maxExport is the longest period of one export: a leap year.
const maxExport usage.Day = 366

// exportTables returns the columns of each kind of export.
func exportTables(spec *openapi3.T) map[rest.ExportBillsParamsOf]table {
	of := func(schema string) table { return tableOf(spec.Components.Schemas[schema].Value) }
	return map[rest.ExportBillsParamsOf]table{
		rest.Bills: of("Bill"), rest.DailyBills: of("DailyBill"), rest.DailyBillLines: of("DailyBillLine"),
	}
}

// ExportBills implements rest.StrictServerInterface.
func (h handlers) ExportBills(
	ctx context.Context, r rest.ExportBillsRequestObject,
) (rest.ExportBillsResponseObject, error) {
	from, to, err := dayRange(r.Params.From, r.Params.To, maxExport)
	if err != nil {
		return nil, err
	}
	owner, err := ownerFilter(ctx, r.Params.BillingAccountID)
	if err != nil {
		return nil, err
	}
	x := exporter{svc: h.svc, who: requestOf(ctx).Actor, owner: owner, from: from, to: to}
	if owner == "" && x.who.Role == core.RoleAccount {
		x.owner = x.who.BillingAccount
	}
	out := download{
		name:  string(r.Params.Of) + "_" + from.String() + "_" + to.String(),
		table: h.tables[r.Params.Of], csv: value(r.Params.Format) == rest.Csv,
	}
	switch r.Params.Of {
	case rest.Bills:
		out.items = encoded(x.bills(ctx), encodeBill)
	case rest.DailyBills:
		out.items = encoded(x.days(ctx), encodeDailyBill)
	default:
		out.items = encoded(x.lines(ctx), func(l rest.DailyBillLine) rest.DailyBillLine { return l })
	}
	return out, nil
}

// exporter reads all bills of a period, page by page: no snapshot is held for
// long, however slowly they are taken off.
type exporter struct {
	svc      *core.Service
	who      core.Actor
	owner    account.ID // "" is all
	from, to usage.Day
}

// paged yields the items of all pages.
func paged[T any](next func(core.Page) (core.List[T], error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for p := (core.Page{Limit: core.MaxPage}); ; {
			list, err := next(p)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, item := range list.Items {
				if !yield(item, nil) {
					return
				}
			}
			if p.After = list.Next; p.After == "" {
				return
			}
		}
	}
}

func (x *exporter) bills(ctx context.Context) iter.Seq2[core.BillView, error] {
	return func(yield func(core.BillView, error) bool) {
		start := string(settlement.MonthlyBillID("", x.from.Month(), ""))
		for b, err := range paged(func(p core.Page) (core.List[core.BillView], error) {
			if p.After == "" {
				p.After = start
			}
			return x.svc.MonthlyBills(ctx, x.who, core.BillQuery{Owner: x.owner}, p)
		}) {
			if err == nil && b.Month > (x.to-1).Month() || !yield(b, err) {
				return
			}
		}
	}
}

func (x *exporter) days(ctx context.Context) iter.Seq2[settlement.DailyBill, error] {
	if x.owner != "" {
		return paged(func(p core.Page) (core.List[settlement.DailyBill], error) {
			return x.svc.DailyBillsOf(ctx, x.who, x.owner, x.from, x.to, p)
		})
	}
	return func(yield func(settlement.DailyBill, error) bool) {
		for day := x.from; day < x.to; day++ {
			for b, err := range paged(func(p core.Page) (core.List[settlement.DailyBill], error) {
				return x.svc.DailyBillsOn(ctx, day, p)
			}) {
				if !yield(b, err) {
					return
				}
			}
		}
	}
}

func (x *exporter) lines(ctx context.Context) iter.Seq2[rest.DailyBillLine, error] {
	return func(yield func(rest.DailyBillLine, error) bool) {
		for b, err := range x.days(ctx) {
			if err != nil {
				yield(rest.DailyBillLine{}, err)
				return
			}
			for _, l := range b.Lines {
				if !yield(encodeFullLine(&b, l), nil) {
					return
				}
			}
		}
	}
}

func encodeFullLine(b *settlement.DailyBill, l settlement.Line) rest.DailyBillLine {
	x := encodeLine(l, b.Currency)
	return rest.DailyBillLine{
		Day: b.Day.String(), WorkspaceID: string(b.Workspace), Site: b.Site, BillingAccountID: string(b.BillingAccount),
		SubscriptionID: optional(string(b.Settlement.Subscription)), BillID: string(b.ID), Item: x.Item, Variant: x.Variant,
		Quantity: x.Quantity, Unit: x.Unit, Price: x.Price, Amount: x.Amount, CorrectsDay: x.CorrectsDay,
	}
}

// encoded yields each item as JSON.
func encoded[T, U any](items iter.Seq2[T, error], encode func(T) U) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for item, err := range items {
			var text []byte
			if err == nil {
				text, err = json.Marshal(encode(item))
			}
			if !yield(text, err) || err != nil {
				return
			}
		}
	}
}

// download writes items as they come. It breaks off where it cannot go on: half
// of them must not look like all.
type download struct {
	name  string
	items iter.Seq2[[]byte, error]
	table table
	csv   bool
}

// VisitExportBillsResponse implements rest.ExportBillsResponseObject.
func (d download) VisitExportBillsResponse(w http.ResponseWriter) error {
	out := &attachment{w: w, name: d.name + ".json", kind: echo.MIMEApplicationJSON}
	write := d.writeJSON
	if d.csv {
		out.name, out.kind, write = d.name+".csv", csvHeader, d.writeCSV
	}
	buffered := bufio.NewWriter(out)
	err := write(buffered)
	if err == nil {
		err = buffered.Flush()
	}
	if err != nil && out.started {
		panic(http.ErrAbortHandler)
	}
	return err
}

func (d download) writeJSON(w io.Writer) error {
	before := `{"data":[`
	for item, err := range d.items {
		if err == nil {
			_, err = w.Write(append([]byte(before), item...))
		}
		if err != nil {
			return err
		}
		before = ",\n"
	}
	if before == ",\n" {
		before = ""
	}
	_, err := io.WriteString(w, before+`],"next_cursor":""}`+"\n")
	return err
}

func (d download) writeCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	if err := out.Write(d.table.header()); err != nil {
		return err
	}
	for item, err := range d.items {
		var fields map[string]any
		if err == nil {
			err = decodeNumbers(item, &fields)
		}
		var row []string
		if err == nil {
			row, err = d.table.row(fields)
		}
		if err == nil {
			err = out.Write(row)
		}
		if err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// attachment is a file that is sent with the first bytes that are written to
// it: before that an error can be answered as one.
type attachment struct {
	w          http.ResponseWriter
	name, kind string
	started    bool
}

func (a *attachment) Write(p []byte) (int, error) {
	if !a.started {
		a.started = true
		a.w.Header().Set(echo.HeaderContentType, a.kind)
		a.w.Header().Set(echo.HeaderContentDisposition, `attachment; filename="`+a.name+`"`)
	}
	return a.w.Write(p)
}
