package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"cloudsettle/console/api/rest"
)

type billCmds struct {
	List   listBills  `cmd:"" help:"List monthly bills, or with --day daily ones."`
	Show   showBill   `cmd:"" help:"Show one monthly bill."`
	Export exportBill `cmd:"" help:"Write a monthly bill with all its daily bills, or all bills of a period, as JSON or, with -o csv, as CSV."`
	Credit creditBill `cmd:"" help:"Give back some of a bill, or with --debit charge more for it. The bill itself stays as it is."`
	Notes  listNotes  `cmd:"" help:"List credit and debit notes."`

	CloudAccount showCloudBill `cmd:"" help:"Add up what a cloud account was charged in a month, over all sites."`
}

func billColumns() []column[rest.Bill] {
	return []column[rest.Bill]{
		{"ID", func(b rest.Bill) string { return b.ID }},
		{"MONTH", func(b rest.Bill) string { return b.Month }},
		{"BILLING ACCOUNT", func(b rest.Bill) string { return b.BillingAccountID }},
		{"STATUS", func(b rest.Bill) string { return string(b.Status) }},
		{"TOTAL", func(b rest.Bill) string { return money(b.Total) }},
		{"NET", func(b rest.Bill) string { return b.Net.Amount }},
		{"DUE", func(b rest.Bill) string { return b.Due.Amount }},
		{"DUE BY", func(b rest.Bill) string { return when(b.DueAt) }},
		{"DEDUCTED", func(b rest.Bill) string { return deducted(b.Deductions) }},
		{"CLOUD CHARGE", func(b rest.Bill) string { return b.CloudCharge.Amount }},
		{"ARREARS", func(b rest.Bill) string { return b.Arrears.Amount }},
		{"WORKSPACES", func(b rest.Bill) string { return count(len(b.Workspaces)) }},
	}
}

func dailyBillColumns() []column[rest.DailyBill] {
	return []column[rest.DailyBill]{
		{"DAY", func(b rest.DailyBill) string { return b.Day }},
		{"WORKSPACE", func(b rest.DailyBill) string { return b.WorkspaceID }},
		{"BILLING ACCOUNT", func(b rest.DailyBill) string { return b.BillingAccountID }},
		{"SETTLED BY", func(b rest.DailyBill) string { return settledBy(&b.Settlement) }},
		{"STATUS", func(b rest.DailyBill) string { return string(b.Status) }},
		{"TOTAL", func(b rest.DailyBill) string { return money(b.Total) }},
		{"DEDUCTED", func(b rest.DailyBill) string { return deducted(b.Deductions) }},
		{"CLOUD CHARGE", func(b rest.DailyBill) string { return b.CloudCharge.Amount }},
		{"ARREARS", func(b rest.DailyBill) string { return b.Arrears.Amount }},
		{"LINES", func(b rest.DailyBill) string { return count(len(b.Lines)) }},
	}
}

func deducted(list []rest.Deduction) string {
	var out []string
	for _, d := range list {
		out = append(out, d.Source+" "+d.Amount.Amount)
	}
	return strings.Join(out, ", ")
}

type listBills struct {
	BillingAccount string `help:"Only those of this billing account." placeholder:"ID"`
	Month          string `help:"Only those of this month, such as 2026-10."`
	Workspace      string `help:"The daily bills of this workspace; with --day." placeholder:"ID"`
	Day            string `help:"The daily bills of this day, such as 2026-11-20."`
	listFlags
}

// Run lists bills.
func (l *listBills) Run(ctx context.Context, c *cli) error {
	if l.Day != "" {
		return l.daily(ctx, c)
	}
	if l.Workspace != "" {
		return errors.New("give --day with --workspace")
	}
	items, err := gather[rest.Bill](l.Limit, func(p page) (*http.Response, error) {
		return c.api.ListBills(ctx, &rest.ListBillsParams{
			BillingAccountID: given(l.BillingAccount), Month: given(l.Month), Limit: &p.limit, Cursor: p.cursor,
		})
	})
	if err != nil {
		return err
	}
	return printAll(c, items, billColumns())
}

func (l *listBills) daily(ctx context.Context, c *cli) error {
	items, err := gather[rest.DailyBill](l.Limit, func(p page) (*http.Response, error) {
		return c.api.ListDailyBills(ctx, &rest.ListDailyBillsParams{
			WorkspaceID: given(l.Workspace), BillingAccountID: given(l.BillingAccount), Day: &l.Day, Limit: &p.limit, Cursor: p.cursor,
		})
	})
	if err != nil {
		return err
	}
	return printAll(c, items, dailyBillColumns())
}

type showBill struct {
	ID string `arg:""`
}

// Run shows a bill, and what each workspace came to.
func (s *showBill) Run(ctx context.Context, c *cli) error {
	b, err := received[rest.Bill](c.api.GetBill(ctx, s.ID))
	if err != nil {
		return err
	}
	if err := printOne(c, b, billColumns()); err != nil || c.output != "table" {
		return err
	}
	_, _ = fmt.Fprintln(c.out)
	if err := printAll(c, b.Workspaces, billWorkspaceColumns()); err != nil || len(b.CreditNotes) == 0 {
		return err
	}
	_, _ = fmt.Fprintln(c.out)
	return printAll(c, b.CreditNotes, noteColumns())
}

func billWorkspaceColumns() []column[rest.BillWorkspace] {
	return []column[rest.BillWorkspace]{
		{"WORKSPACE", func(w rest.BillWorkspace) string { return w.WorkspaceID }},
		{"SITE", func(w rest.BillWorkspace) string { return w.Site }},
		{"SETTLED BY", func(w rest.BillWorkspace) string { return text(w.SubscriptionID) }},
		{"ADJUSTS", func(w rest.BillWorkspace) string { return text(w.AdjustsMonth) }},
		{"DAYS", func(w rest.BillWorkspace) string { return count(w.Days) }},
		{"AMOUNT", func(w rest.BillWorkspace) string { return money(w.Amount) }},
		{"CLOUD CHARGE", func(w rest.BillWorkspace) string { return w.CloudCharge.Amount }},
	}
}
