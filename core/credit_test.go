package core_test

import (
	"testing"

	"cloudsettle/core"
	"cloudsettle/core/ledger"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/money"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// note issues a note of an amount; a negative one is a debit.
func (x *till) note(bill settlement.BillID, amount string, s workspace.Settlement) (settlement.Note, error) {
	x.t.Helper()
	m, err := money.ParseMicros(amount)
	must(x.t, err)
	n := core.NewNote{Bill: bill, Reason: "agreed", Settlement: s, Amount: money.Amount{Micros: m, Currency: "CNY"}}
	if m < 0 {
		n.Debit, n.Amount.Micros = true, -m
	}
	return x.IssueNote(x.t.Context(), core.Request{Actor: core.Actor{Name: "finance"}}, n)
}

var wallet = workspace.Settlement{Method: workspace.ByBillingAccount}

// TestCreditNotes: a credit lowers what is owed, then adds to cash, and never
// gives back more than is left.
func TestCreditNotes(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	ws := x.payg()
	x.adjust("4")
	d := x.billed(ws, "2026-11-25", "4") // 6.00: 4 from cash, 2 owed
	x.billed(ws, "2026-11-26", "2")      // 3.00 owed
	if _, err := x.note("mb_2026-11_"+settlement.BillID(x.acc)+"_CNY", "1", wallet); code(err) != "not_found" {
		t.Errorf("a note for an open month: %v, want not_found", err)
	}
	n, err := x.note(d.ID, "1.255", workspace.Settlement{})
	must(t, err)
	if n.Arrears.String() != "-1.260000" || x.balance(ledger.Arrears) != "-3.740000" || n.By != "finance" {
		t.Errorf("note %+v, arrears %s, want 1.26 less owed and the rest carried", n, x.balance(ledger.Arrears))
	}
	x.closeMonth("2026-11")
	b := x.monthly("2026-11")
	if b.Net.String() != "7.745000" || len(b.Notes) != 1 || b.Due.String() != "3.740000" || b.Status != settlement.PartiallyPaid {
		t.Errorf("bill %+v, want 7.745 with one note, 3.74 due", b)
	}
	for _, c := range []struct {
		bill   settlement.BillID
		amount string
		s      workspace.Settlement
		want   string
	}{
		{d.ID, "4.745001", wallet, "exceeds_bill"},
		{b.ID, "7.745001", wallet, "exceeds_bill"},
		{b.ID, "1", workspace.Settlement{Method: workspace.ByCloudAccount, Subscription: "sub_x"}, "not_charged"},
		{"db_2026-11-27_" + settlement.BillID(ws), "1", wallet, "not_found"},
		{"odd", "1", wallet, "not_found"},
	} {
		if _, err := x.note(c.bill, c.amount, c.s); code(err) != c.want {
			t.Errorf("a note of %s for %s: %v, want %s", c.amount, c.bill, err, c.want)
		}
	}
	_, err = x.note(b.ID, "-2", wallet)
	must(t, err)
	x.wantBill("2026-11", "9.000000", settlement.PartiallyPaid, "5.740000")
	_, err = x.note(b.ID, "9.745", wallet)
	must(t, err)
	x.wantBill("2026-11", "9.000000", settlement.Void, "0.000000")
	if x.balance(ledger.Cash) != "4.000000" || x.balance(ledger.Arrears) != "0.000000" || x.balance(ledger.Carry) != "0.000000" {
		t.Errorf("cash %s, arrears %s, carry %s, want the 4 back", x.balance(ledger.Cash), x.balance(ledger.Arrears), x.balance(ledger.Carry))
	}
	if _, err := x.note(d.ID, "0.000001", wallet); code(err) != "exceeds_bill" {
		t.Errorf("a note for a day of a void bill: %v, want exceeds_bill", err)
	}
	if again := x.bill(ws, d.Day); again.Total != d.Total || again.Arrears != d.Arrears {
		t.Errorf("the daily bill became %+v", again)
	}
	x.sound()
}

// TestCreditThroughTheCloud: what was charged through a cloud account is given
// back as debt that later charges pay off; nothing negative is ever sent.
func TestCreditThroughTheCloud(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	sub := x.buy(x.cloud, "s-1", "b-1")
	x.claim(sub, x.acc)
	ws := x.workspace("c1")
	must(t, x.bind(ws, x.acc, sub.ID))
	x.billed(ws, "2026-11-25", "4") // 6.00
	must(t, x.Flush(t.Context()))
	x.closeMonth("2026-11")
	b := x.monthly("2026-11")
	n, err := x.note(b.ID, "2.5", workspace.Settlement{})
	must(t, err)
	if n.Settlement.Subscription != sub.ID || n.Cloud.String() != "-2.500000" {
		t.Errorf("note %+v, want it through the subscription", n)
	}
	x.sound()
	x.billed(ws, "2026-12-05", "1") // 1.50 pays part of the debt
	must(t, x.Flush(t.Context()))
	x.billed(ws, "2026-12-06", "2") // 3.00: 2.00 is sent
	must(t, x.Flush(t.Context()))
	list, err := x.MeterRecords(t.Context(), core.Actor{}, sub.ID, core.Page{Limit: 10})
	must(t, err)
	if len(list.Items) != 2 || list.Items[0].Units != 600 || list.Items[1].Units != 200 {
		t.Errorf("records %+v, want 600 and 200 units", list.Items)
	}
	if _, err := x.note(b.ID, "3.500001", workspace.Settlement{}); code(err) != "exceeds_bill" {
		t.Errorf("a second note: %v, want exceeds_bill", err)
	}
	x.consolidated(sub)
	_, err = x.note(b.ID, "-1", workspace.Settlement{})
	must(t, err)
	must(t, x.Flush(t.Context()))
	x.sound()
	x.tell(x.cloud, marketplace.Event{Kind: marketplace.Ended, Subject: "s-1", Rank: "9"})
	if _, err := x.note(b.ID, "1", workspace.Settlement{}); code(err) != "subscription_ended" {
		t.Errorf("a note through what ended: %v, want subscription_ended", err)
	}
	_, err = x.note(b.ID, "1", wallet)
	must(t, err)
	if x.balance(ledger.Cash) != "1.000000" {
		t.Errorf("cash %s, want 1", x.balance(ledger.Cash))
	}
	if _, err := x.note(b.ID, "1", workspace.Settlement{}); code(err) != "settlement_required" {
		t.Errorf("a note for what was paid in two ways: %v, want settlement_required", err)
	}
	x.sound()
}

// consolidated: the cloud account's view adds up to what the subscription owes.
func (x *till) consolidated(sub marketplace.Subscription) {
	x.t.Helper()
	var charged, notes money.Micros
	for _, month := range []string{"2026-11", "2026-12"} {
		m, err := usage.ParseMonth(month)
		must(x.t, err)
		v, err := x.CloudAccountBill(x.t.Context(), core.Actor{}, sub.Account, m)
		must(x.t, err)
		if len(v.Currencies) != 1 || len(v.Currencies[0].Subscriptions) != 1 {
			x.t.Fatalf("view of %s: %+v, want one subscription", month, v)
		}
		s := v.Currencies[0].Subscriptions[0]
		charged, notes = charged+s.Charged, notes+s.Notes
		if s.Meter.Accepted != 800 || s.Carry.String() != "0.000000" || len(s.Workspaces) != 1 || s.Workspaces[0].Site != "c1" {
			x.t.Errorf("view of %s: %+v, want 800 units accepted and one workspace", month, s)
		}
	}
	if charged.String() != "10.500000" || notes.String() != "-2.500000" {
		x.t.Errorf("charged %s, notes %s, want 10.5 and -2.5", charged, notes)
	}
}

// TestCreditNoteOnce: a repeat with the same key gives nothing back again.
func TestCreditNoteOnce(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	ws := x.payg()
	x.adjust("100")
	d := x.billed(ws, "2026-11-25", "4")
	r := core.Request{Actor: core.Actor{Name: "finance"}, Key: "k", Digest: "d"}
	want := core.NewNote{Bill: d.ID, Reason: "agreed", Amount: money.Amount{Micros: 1_000_000, Currency: "CNY"}}
	first, err := x.IssueNote(t.Context(), r, want)
	must(t, err)
	again, err := x.IssueNote(t.Context(), r, want)
	must(t, err)
	if again.ID != first.ID || x.balance(ledger.Cash) != "95.000000" {
		t.Errorf("notes %s and %s, cash %s, want one note and 95", first.ID, again.ID, x.balance(ledger.Cash))
	}
	for name, n := range map[string]core.NewNote{
		"no reason":    {Bill: d.ID, Amount: want.Amount, Reason: " "},
		"zero":         {Bill: d.ID, Amount: money.Amount{Currency: "CNY"}, Reason: "r"},
		"other money":  {Bill: d.ID, Amount: money.Amount{Micros: 1, Currency: "USD"}, Reason: "r"},
		"below a zero": {Bill: d.ID, Amount: money.Amount{Micros: -1, Currency: "CNY"}, Reason: "r"},
	} {
		if _, err := x.IssueNote(t.Context(), core.Request{}, n); err == nil {
			t.Errorf("%s: a note was made", name)
		}
	}
	x.sound()
}

// TestNotesAtOnce: whoever credits a bill at the same time, it is not credited
// more than it came to.
func TestNotesAtOnce(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	ws := x.payg()
	x.adjust("100")
	d := x.billed(ws, "2026-11-25", "4") // 6.00
	codes := make(chan string, 10)
	for range cap(codes) {
		go func() {
			_, err := x.IssueNote(t.Context(), core.Request{}, core.NewNote{
				Bill: d.ID, Reason: "agreed", Amount: money.Amount{Micros: money.Unit, Currency: "CNY"},
			})
			codes <- code(err)
		}()
	}
	got := map[string]int{}
	for range cap(codes) {
		got[<-codes]++
	}
	if got["ok"] != 6 || got["exceeds_bill"] != 4 || x.balance(ledger.Cash) != "100.000000" {
		t.Errorf("%v, cash %s, want six notes and all of it back", got, x.balance(ledger.Cash))
	}
	x.sound()
}
