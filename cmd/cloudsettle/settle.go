package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"cloudsettle/console/api/rest"
)

type settleCmds struct {
	Daily   settleDaily   `cmd:"" help:"Settle a day: make the daily bills of what is over and has usage."`
	Monthly settleMonthly `cmd:"" help:"Close a month: make the monthly bills."`
}

// settleFlags are the flags of both.
type settleFlags struct {
	DryRun bool `help:"Print the bills that would be made, and make none."`
	Early  bool `help:"Settle a period that is not over; only with serve --dev."`
	keyFlag
}

type settleDaily struct {
	Day string `arg:"" help:"Such as 2026-11-20." placeholder:"DAY"`
	settleFlags
}

type settleMonthly struct {
	Month string `arg:"" help:"Such as 2026-10." placeholder:"MONTH"`
	settleFlags
}

// Run settles a day.
func (d *settleDaily) Run(ctx context.Context, s *streams, c *cli) error {
	return d.settle(ctx, s, c, rest.NewSettlementRun{Kind: rest.Daily, Period: d.Day})
}

// Run closes a month.
func (m *settleMonthly) Run(ctx context.Context, s *streams, c *cli) error {
	return m.settle(ctx, s, c, rest.NewSettlementRun{Kind: rest.Monthly, Period: m.Month})
}

// lookAgain is how often a run is looked at while it goes on.
const lookAgain = 300 * time.Millisecond

func (f *settleFlags) settle(ctx context.Context, s *streams, c *cli, ask rest.NewSettlementRun) error {
	if f.Early {
		ask.Early = &f.Early
	}
	if f.DryRun {
		return preview(ctx, c, ask)
	}
	run, err := received[rest.SettlementRun](c.api.StartSettlementRun(ctx,
		&rest.StartSettlementRunParams{IdempotencyKey: given(f.IdempotencyKey)}, ask))
	if err != nil {
		return err
	}
	bar := spinner(s.err, "settle "+run.Period)
	for run.Status == rest.Running {
		select {
		case <-ctx.Done():
			return fmt.Errorf("the run %s goes on in the background: %w", run.ID, ctx.Err())
		case <-time.After(lookAgain):
		}
		_ = bar.Add(1)
		if run, err = received[rest.SettlementRun](c.api.GetSettlementRun(ctx, run.ID)); err != nil {
			return err
		}
		if run.Error != nil {
			bar.Describe("settle " + run.Period + " (" + printable(*run.Error) + ")")
		}
	}
	_ = bar.Finish()
	if err := printOne(c, run, runColumns()); err != nil {
		return err
	}
	if run.Status != rest.Done {
		return fmt.Errorf("the run %s %s: %s", run.ID, run.Status, text(run.Error))
	}
	return nil
}

func runColumns() []column[rest.SettlementRun] {
	return []column[rest.SettlementRun]{
		{"ID", func(r rest.SettlementRun) string { return r.ID }},
		{"KIND", func(r rest.SettlementRun) string { return string(r.Kind) }},
		{"PERIOD", func(r rest.SettlementRun) string { return r.Period }},
		{"STATUS", func(r rest.SettlementRun) string { return string(r.Status) }},
		{"BILLS", func(r rest.SettlementRun) string { return count(r.Bills) }},
		{"WAITING", func(r rest.SettlementRun) string { return count(r.Waiting) }},
		{"ERROR", func(r rest.SettlementRun) string { return text(r.Error) }},
	}
}

// preview prints what a run would make.
func preview(ctx context.Context, c *cli, ask rest.NewSettlementRun) error {
	v, err := received[rest.SettlementPreview](c.patient.PreviewSettlementRun(ctx, ask))
	if err != nil {
		return err
	}
	if c.output == "json" {
		return printJSON(c.out, v)
	}
	if ask.Kind == rest.Monthly {
		err = printAll(c, v.Bills, billColumns())
	} else {
		err = printAll(c, v.DailyBills, dailyBillColumns())
	}
	if err != nil || c.output == "csv" {
		return err
	}
	if len(v.Changes) > 0 {
		_, _ = fmt.Fprintln(c.out)
		if err := printAll(c, v.Changes, changeColumns()); err != nil {
			return err
		}
	}
	for _, w := range v.Waits {
		_, _ = fmt.Fprintf(c.out, "%s waits: %s\n", printable(w.WorkspaceID), printable(w.Reason))
	}
	_, err = fmt.Fprintf(c.out, "\n%d bills, %s; %d workspaces wait\n", v.Count, amounts(v.Totals), v.Waiting)
	return err
}

func changeColumns() []column[rest.BalanceChange] {
	return []column[rest.BalanceChange]{
		{"BILLING ACCOUNT", func(c rest.BalanceChange) string { return c.BillingAccountID }},
		{"BALANCE", func(c rest.BalanceChange) string { return c.Account }},
		{"BEFORE", func(c rest.BalanceChange) string { return money(c.Before) }},
		{"AFTER", func(c rest.BalanceChange) string { return money(c.After) }},
	}
}

func amounts(list []rest.Amount) string {
	var out []string
	for _, a := range list {
		out = append(out, money(a))
	}
	if len(out) == 0 {
		return "nothing to pay"
	}
	return strings.Join(out, ", ")
}

// money prints an amount for people; nothing for zero in lists would hide it.
func money(a rest.Amount) string { return a.Amount + " " + a.Currency }

// onTerminal returns w if it is a terminal, else nowhere: a bar in a file is a
// mess.
func onTerminal(w io.Writer) io.Writer {
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return w
		}
	}
	return io.Discard
}

// spinner shows that something goes on, on a terminal.
func spinner(w io.Writer, what string) *progressbar.ProgressBar {
	return bar(w, -1, what)
}

// bar shows how much of something is done, on a terminal. It moves when it is
// told to: the library's own ticking races with that (progressbar v3.19.1).
func bar(w io.Writer, total int64, what string) *progressbar.ProgressBar {
	return progressbar.NewOptions64(total, progressbar.OptionSetWriter(onTerminal(w)), progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(lookAgain/3),
		progressbar.OptionSetSpinnerChangeInterval(0))
}
