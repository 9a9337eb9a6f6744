package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"cloudsettle/console/api/rest"
)

type creditBill struct {
	ID     string `arg:"" help:"A monthly bill or a daily one."`
	Amount string `arg:"" help:"Above zero, such as 12.34; in the bill's currency if none is named."`
	Reason string `help:"Why; the customer sees it." required:""`
	Debit  bool   `help:"Charge more instead of giving back."`

	Currency     string `help:"The currency; that of the monthly bill by default, and needed for a daily one." placeholder:"CODE"`
	Wallet       bool   `help:"Use the billing account's wallet, also for what was charged through a cloud account." xor:"through"`
	Subscription string `help:"Use this subscription of a cloud account, if the bill was charged in several ways." placeholder:"ID" xor:"through"`
	keyFlag
}

// Run issues a note and prints it.
func (n *creditBill) Run(ctx context.Context, c *cli) error {
	currency := n.Currency
	if currency == "" {
		if currency = currencyOf(n.ID); currency == "" {
			return errors.New("give --currency: the id of a daily bill does not tell it")
		}
	}
	kind := rest.NewCreditNoteKindCredit
	if n.Debit {
		kind = rest.NewCreditNoteKindDebit
	}
	ask := rest.NewCreditNote{Amount: rest.Amount{Amount: n.Amount, Currency: currency}, Kind: &kind, Reason: n.Reason}
	switch {
	case n.Wallet:
		ask.Settlement = &rest.Settlement{Method: rest.SettlementMethodBillingAccount}
	case n.Subscription != "":
		ask.Settlement = &rest.Settlement{Method: rest.SettlementMethodCloudAccount, SubscriptionID: &n.Subscription}
	}
	note, err := received[rest.CreditNote](c.api.CreateCreditNote(ctx, n.ID,
		&rest.CreateCreditNoteParams{IdempotencyKey: given(n.IdempotencyKey)}, ask))
	if err != nil {
		return err
	}
	return printOne(c, note, noteColumns())
}

// currencyOf reads the currency out of a monthly bill's id.
func currencyOf(bill string) string {
	if !strings.HasPrefix(bill, "mb_") {
		return ""
	}
	return bill[strings.LastIndexByte(bill, '_')+1:]
}

func noteColumns() []column[rest.CreditNote] {
	return []column[rest.CreditNote]{
		{"ID", func(n rest.CreditNote) string { return n.ID }},
		{"BILL", func(n rest.CreditNote) string { return n.BillID }},
		{"KIND", func(n rest.CreditNote) string { return string(n.Kind) }},
		{"AMOUNT", func(n rest.CreditNote) string { return money(n.Amount) }},
		{"THROUGH", func(n rest.CreditNote) string { return settledBy(&n.Settlement) }},
		{"DEDUCTED", func(n rest.CreditNote) string { return deducted(n.Deductions) }},
		{"CLOUD CHARGE", func(n rest.CreditNote) string { return n.CloudCharge.Amount }},
		{"ARREARS", func(n rest.CreditNote) string { return n.Arrears.Amount }},
		{"ISSUED", func(n rest.CreditNote) string { return when(&n.IssuedAt) }},
		{"BY", func(n rest.CreditNote) string { return text(n.By) }},
		{"REASON", func(n rest.CreditNote) string { return n.Reason }},
	}
}

type listNotes struct {
	BillingAccount string `help:"Only those of this billing account." placeholder:"ID"`
	Bill           string `help:"Only those that name this bill." placeholder:"ID"`
	listFlags
}

// Run lists credit and debit notes.
func (l *listNotes) Run(ctx context.Context, c *cli) error {
	items, err := gather[rest.CreditNote](l.Limit, func(p page) (*http.Response, error) {
		return c.api.ListCreditNotes(ctx, &rest.ListCreditNotesParams{
			BillingAccountID: given(l.BillingAccount), BillID: given(l.Bill), Limit: &p.limit, Cursor: p.cursor,
		})
	})
	if err != nil {
		return err
	}
	return printAll(c, items, noteColumns())
}

type showCloudBill struct {
	ID    string `arg:"" help:"A cloud account."`
	Month string `arg:"" help:"Such as 2026-10; the running one will do."`
}

// cloudLine is what one workspace, or a subscription without any, came to.
type cloudLine struct {
	sub rest.SubscriptionSum
	ws  rest.BillWorkspace
}

// Run prints what each subscription and workspace came to.
func (s *showCloudBill) Run(ctx context.Context, c *cli) error {
	b, err := received[rest.CloudAccountBill](c.patient.GetCloudAccountBill(ctx, s.ID,
		&rest.GetCloudAccountBillParams{Month: s.Month}))
	if err != nil {
		return err
	}
	if c.output == "json" {
		return printJSON(c.out, b)
	}
	var lines []cloudLine
	var subs []rest.SubscriptionSum
	for _, x := range b.Currencies {
		for _, sub := range x.Subscriptions {
			subs = append(subs, sub)
			for _, ws := range sub.Workspaces {
				lines = append(lines, cloudLine{sub, ws})
			}
		}
	}
	err = printAll(c, lines, []column[cloudLine]{
		{"SUBSCRIPTION", func(l cloudLine) string { return l.sub.SubscriptionID }},
		{"WORKSPACE", func(l cloudLine) string { return l.ws.WorkspaceID }},
		{"SITE", func(l cloudLine) string { return l.ws.Site }},
		{"DAYS", func(l cloudLine) string { return count(l.ws.Days) }},
		{"TOTAL", func(l cloudLine) string { return money(l.ws.Amount) }},
		{"CLOUD CHARGE", func(l cloudLine) string { return l.ws.CloudCharge.Amount }},
	})
	if err != nil || c.output == "csv" {
		return err
	}
	_, _ = fmt.Fprintln(c.out)
	return errors.Join(printAll(c, subs, cloudSumColumns()), sumUp(c.out, b))
}

func cloudSumColumns() []column[rest.SubscriptionSum] {
	return []column[rest.SubscriptionSum]{
		{"SUBSCRIPTION", func(x rest.SubscriptionSum) string { return x.SubscriptionID }},
		{"CHARGED", func(x rest.SubscriptionSum) string { return money(x.Charged) }},
		{"NOTES", func(x rest.SubscriptionSum) string { return x.CreditNotes.Amount }},
		{"ACCEPTED SO FAR", func(x rest.SubscriptionSum) string { return fmt.Sprint(x.Metering.UnitsAccepted) }},
		{"IN FLIGHT", func(x rest.SubscriptionSum) string { return fmt.Sprint(x.Metering.UnitsInFlight) }},
		{"UNIT", func(x rest.SubscriptionSum) string { return x.Metering.UnitAmount.Amount }},
		{"CARRY", func(x rest.SubscriptionSum) string { return x.Metering.Carry.Amount }},
	}
}

// sumUp prints the sum in each currency.
func sumUp(w io.Writer, b rest.CloudAccountBill) error {
	for _, x := range b.Currencies {
		if _, err := fmt.Fprintf(w, "\n%s: charged %s, notes %s\n", b.Month, money(x.Charged), money(x.CreditNotes)); err != nil {
			return err
		}
	}
	return nil
}

type exportBill struct {
	ID             string `arg:"" optional:"" help:"A monthly bill; without it, all bills of a period."`
	Of             string `help:"What to export of a period: lines (of daily bills), daily or monthly." enum:"lines,daily,monthly" default:"lines"`
	Month          string `help:"The period is this month, such as 2026-10." xor:"period" placeholder:"MONTH"`
	From           string `help:"The first day of the period." xor:"period" placeholder:"DAY"`
	To             string `help:"The day after its last." placeholder:"DAY"`
	BillingAccount string `help:"Only those of this billing account." placeholder:"ID"`
}

// Run writes bills as they are received. Half of them are a failure.
func (e *exportBill) Run(ctx context.Context, c *cli) error {
	format := rest.JSON
	if c.output == "csv" {
		format = rest.Csv
	}
	if e.ID != "" {
		return c.copied(c.patient.ExportBill(ctx, e.ID, &rest.ExportBillParams{Format: &format}))
	}
	from, to, err := e.period()
	if err != nil {
		return err
	}
	of := map[string]rest.ExportBillsParamsOf{"lines": rest.DailyBillLines, "daily": rest.DailyBills, "monthly": rest.Bills}[e.Of]
	return c.copied(c.patient.ExportBills(ctx, &rest.ExportBillsParams{
		Of: of, From: from, To: to, BillingAccountID: given(e.BillingAccount), Format: &format,
	}))
}

func (e *exportBill) period() (from, to string, err error) {
	if e.Month == "" {
		if e.From == "" || e.To == "" {
			return "", "", errors.New("give a bill's id, or --month, or --from and --to")
		}
		return e.From, e.To, nil
	}
	first, err := time.Parse("2006-01", e.Month)
	if err != nil {
		return "", "", fmt.Errorf("--month: %q is not a month such as 2026-10", e.Month)
	}
	return first.Format(time.DateOnly), first.AddDate(0, 1, 0).Format(time.DateOnly), nil
}

// copied writes an answer as it comes.
func (c *cli) copied(resp *http.Response, err error) error {
	if err != nil {
		return unreachable(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		if err != nil {
			return unreachable(err)
		}
		return refused(resp, body)
	}
	_, err = io.Copy(c.out, resp.Body)
	return err
}
