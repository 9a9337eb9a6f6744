package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"cloudsettle/console/api/rest"
	"cloudsettle/console/api/samples"
	"cloudsettle/core"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

const (
	// maxReport bounds a report of usage: 50,000 samples with long names.
	maxReport = 16 << 20
	// reportWithin is how long a report may take to arrive: 16 MiB at 1.1 Mbit/s.
	reportWithin = 2 * time.Minute
	// maxReports bounds the reports that are read at a time; a report takes up
	// to 30 MiB of memory while it is. Further ones wait for their turn.
	maxReports = 8
)

// intake takes reports of usage. It is not generated: a report is read as a
// stream, sample by sample.
type intake struct {
	svc   *core.Service
	turns chan struct{}
}

func newIntake(svc *core.Service) intake {
	return intake{svc: svc, turns: make(chan struct{}, maxReports)}
}

// report answers POST /api/v1/usage. The guard let it through.
func (in intake) report(c echo.Context) error {
	r := c.Request()
	select {
	case in.turns <- struct{}{}:
		defer func() { <-in.turns }()
	case <-r.Context().Done():
		return r.Context().Err()
	}
	// Deadlines of sockets are real time, whatever the program's clock says.
	patient := http.NewResponseController(c.Response())
	_ = patient.SetReadDeadline(time.Now().Add(reportWithin)) // not where nothing is a socket: tests, the command line
	_ = patient.SetWriteDeadline(time.Now().Add(2 * reportWithin))
	list, err := readReport(c)
	if err != nil {
		return err
	}
	report, err := in.svc.ReportUsage(r.Context(), list)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, encodeReport(report))
}

// readReport reads the samples by their media type.
func readReport(c echo.Context) ([]core.UsageSample, error) {
	r := c.Request()
	body := http.MaxBytesReader(c.Response(), r.Body, maxReport)
	switch mediaType(r) {
	case echo.MIMEApplicationJSON:
		list, err := samples.ReadArray(body, core.MaxUsageBatch)
		return list, badReport(err)
	case "application/x-ndjson", "application/ndjson", "application/jsonl":
		list, err := samples.ReadLines(body, core.MaxUsageBatch)
		return list, badReport(err)
	}
	return nil, echo.ErrUnsupportedMediaType
}

// badReport says why nothing of a report is taken.
func badReport(err error) error {
	var tooLong *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, samples.ErrSyntax):
		return core.Invalid("invalid_json", "%v", err)
	case errors.Is(err, samples.ErrTooMany):
		return &core.Fault{Err: core.ErrTooLarge, Code: "too_many_samples", Detail: "a report has at most 50000 samples"}
	case errors.Is(err, samples.ErrTooLong):
		return &core.Fault{Err: core.ErrTooLarge, Code: "too_large", Detail: "a sample is longer than 16 KiB"}
	case errors.As(err, &tooLong):
		return &core.Fault{Err: core.ErrTooLarge, Code: "too_large", Detail: "a report is longer than 16 MiB"}
	}
	return core.Invalid("incomplete_body", "the body did not arrive whole")
}

func mediaType(r *http.Request) string {
	t, _, _ := strings.Cut(r.Header.Get(echo.HeaderContentType), ";")
	return strings.ToLower(strings.TrimSpace(t))
}

func encodeReport(r core.UsageReport) rest.UsageReport {
	return rest.UsageReport{
		Accepted: r.Accepted, Duplicate: r.Duplicate, Replaced: r.Replaced, Late: r.Late,
		Rejected: encodeAll(r.Rejected, func(x core.UsageRejection) rest.UsageRejection {
			return rest.UsageRejection{Index: x.Index, Code: x.Code, Detail: x.Detail}
		}),
	}
}

// ListUsage implements rest.StrictServerInterface.
func (h handlers) ListUsage(ctx context.Context, r rest.ListUsageRequestObject) (rest.ListUsageResponseObject, error) {
	day, err := parseDay("day", r.Params.Day)
	if err != nil {
		return nil, err
	}
	rec, err := h.svc.UsageOf(ctx, requestOf(ctx).Actor, workspace.ID(r.Params.WorkspaceID), day)
	return rest.ListUsage200JSONResponse(encodeUsageDay(rec.Of(value(r.Params.Item)))), err
}

// ListUsageDays implements rest.StrictServerInterface.
func (h handlers) ListUsageDays(
	ctx context.Context, r rest.ListUsageDaysRequestObject,
) (rest.ListUsageDaysResponseObject, error) {
	day, err := parseDay("day", r.Params.Day)
	if err != nil {
		return nil, err
	}
	list, err := h.svc.UsageOn(ctx, day, value(r.Params.Item), page(r.Params.Limit, r.Params.Cursor))
	return rest.ListUsageDays200JSONResponse{Data: encodeAll(list.Items, encodeUsageDay), NextCursor: list.Next}, err
}

func encodeUsageDay(rec usage.Record) rest.UsageDay {
	return rest.UsageDay{
		WorkspaceID: rec.Workspace, Day: rec.Day.String(), Sealed: rec.Sealed,
		Data: encodeAll(rec.Samples, func(x usage.Sample) rest.UsageQuantity {
			return rest.UsageQuantity{Item: x.Item, Variant: x.Variant, Hour: instant(x.Hour), Quantity: x.Quantity.String()}
		}),
	}
}

// parseDay reads a parameter whose form the description has checked.
func parseDay(name, text string) (usage.Day, error) {
	day, err := usage.ParseDay(text)
	if err != nil {
		return 0, invalidParameter(name, "is not a day of the calendar")
	}
	return day, nil
}

func invalidParameter(name, detail string) error {
	return &core.Fault{
		Err: core.ErrInvalid, Code: "invalid_fields", Detail: "some fields are wrong",
		Fields: []core.FieldFault{{Field: name, Detail: detail}},
	}
}
