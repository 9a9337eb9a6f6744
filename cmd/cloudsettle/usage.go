package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"

	"cloudsettle/console/api/rest"
)

// usageBatch is how many samples are sent at a time: a fifth of what the API
// takes, so that the bar moves.
const usageBatch = 10_000

// maxShown bounds how many rejected samples are printed.
const maxShown = 20

type usageCmds struct {
	Import importUsage `cmd:"" help:"Report the usage of a file."`
	List   listUsage   `cmd:"" help:"List what workspaces reported for a day."`
}

type listUsage struct {
	Day       string `arg:"" help:"A day, such as 2026-11-20."`
	Workspace string `help:"Only this workspace." placeholder:"ID"`
	Item      string `help:"Only this item."`
	listFlags
}

// usageRow is one sample with its workspace, as it is printed.
type usageRow struct {
	WorkspaceID string `json:"workspace_id"`
	Sealed      bool   `json:"sealed"`
	rest.UsageQuantity
}

// Run prints one row for each sample.
func (l *listUsage) Run(ctx context.Context, c *cli) error {
	days, err := l.days(ctx, c)
	if err != nil {
		return err
	}
	var rows []usageRow
	for _, d := range days {
		for _, q := range d.Data {
			rows = append(rows, usageRow{d.WorkspaceID, d.Sealed, q})
		}
	}
	return printAll(c, rows, []column[usageRow]{
		{"WORKSPACE", func(r usageRow) string { return r.WorkspaceID }},
		{"ITEM", func(r usageRow) string { return r.Item }},
		{"VARIANT", func(r usageRow) string { return r.Variant }},
		{"HOUR", func(r usageRow) string { return when(&r.Hour) }},
		{"QUANTITY", func(r usageRow) string { return r.Quantity }},
		{"BILLED", func(r usageRow) string { return yes(r.Sealed) }},
	})
}

func (l *listUsage) days(ctx context.Context, c *cli) ([]rest.UsageDay, error) {
	if l.Workspace != "" {
		d, err := received[rest.UsageDay](c.api.ListUsage(ctx, &rest.ListUsageParams{WorkspaceID: l.Workspace, Day: l.Day, Item: given(l.Item)}))
		return []rest.UsageDay{d}, err
	}
	return gather[rest.UsageDay](l.Limit, func(p page) (*http.Response, error) {
		return c.api.ListUsageDays(ctx, &rest.ListUsageDaysParams{Day: l.Day, Item: given(l.Item), Limit: &p.limit, Cursor: p.cursor})
	})
}

type importUsage struct {
	File string `arg:"" help:"NDJSON, a JSON array, or CSV with a header of the same names." type:"existingfile"`
}

// Run reports a file in batches. A repeat is safe, also after a part: what was
// taken before is a duplicate.
func (i *importUsage) Run(ctx context.Context, s *streams, c *cli) error {
	f, err := os.Open(i.File)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	u := upload{ctx: ctx, cli: c}
	progress := bar(s.err, info.Size(), "usage")
	err = records(f, i.File, func(record []byte, at int64) error {
		_ = progress.Set64(at)
		return u.add(record)
	})
	if err == nil {
		err = u.send()
	}
	_ = progress.Finish()
	if err != nil {
		err = fmt.Errorf("after %d records, which are safe to send again: %w", u.sent, err)
	}
	return errors.Join(u.print(), err)
}

// upload is a report on its way.
type upload struct {
	ctx   context.Context //nolint:containedctx // of the one command that it is part of
	cli   *cli
	batch bytes.Buffer
	in    int // records in the batch
	sent  int
	total rest.UsageReport
}

// add appends one record, which is one line.
func (u *upload) add(record []byte) error {
	u.batch.Write(record)
	u.batch.WriteByte('\n')
	if u.in++; u.in < usageBatch {
		return nil
	}
	return u.send()
}

func (u *upload) send() error {
	if u.in == 0 {
		return nil
	}
	r, err := received[rest.UsageReport](u.cli.patient.ReportUsageWithBody(u.ctx, "application/x-ndjson", bytes.NewReader(u.batch.Bytes())))
	if err != nil {
		return err
	}
	u.total.Accepted += r.Accepted
	u.total.Duplicate += r.Duplicate
	u.total.Replaced += r.Replaced
	u.total.Late += r.Late
	for _, x := range r.Rejected {
		x.Index += u.sent
		u.total.Rejected = append(u.total.Rejected, x)
	}
	u.sent += u.in
	u.in = 0
	u.batch.Reset()
	return nil
}

// print prints what became of the file, and fails if some of it was rejected.
func (u *upload) print() error {
	if u.cli.output == "json" {
		if u.total.Rejected == nil {
			u.total.Rejected = []rest.UsageRejection{}
		}
		return errors.Join(printJSON(u.cli.out, u.total), u.rejected())
	}
	err := printOne(u.cli, u.total, []column[rest.UsageReport]{
		{"ACCEPTED", func(r rest.UsageReport) string { return count(r.Accepted) }},
		{"DUPLICATE", func(r rest.UsageReport) string { return count(r.Duplicate) }},
		{"REPLACED", func(r rest.UsageReport) string { return count(r.Replaced) }},
		{"LATE", func(r rest.UsageReport) string { return count(r.Late) }},
		{"REJECTED", func(r rest.UsageReport) string { return count(len(r.Rejected)) }},
	})
	return errors.Join(err, u.rejected())
}

// rejected says which records were not taken and why; the first of them.
func (u *upload) rejected() error {
	if len(u.total.Rejected) == 0 {
		return nil
	}
	err := fmt.Errorf("%d records were rejected", len(u.total.Rejected))
	for n, x := range u.total.Rejected {
		if n == maxShown {
			return fmt.Errorf("%w\n  …", err)
		}
		err = fmt.Errorf("%w\n  record %d: %s: %s", err, x.Index, x.Code, printable(x.Detail))
	}
	return err
}

// oneLine writes a JSON value without line breaks.
func oneLine(raw json.RawMessage) ([]byte, error) {
	var out bytes.Buffer
	err := json.Compact(&out, raw)
	return out.Bytes(), err
}
