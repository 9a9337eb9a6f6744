package core_test

import (
	"context"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"cloudsettle/core"
	"cloudsettle/core/ledger"
	"cloudsettle/core/money"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// on moves the till to a day: noon there, or later.
func (x *till) on(day string) {
	x.t.Helper()
	d, err := usage.ParseDay(day)
	must(x.t, err)
	x.day = d
	x.start, _ = d.Bounds(x.Sites[0].Zone)
	if noon := x.start.Add(12 * time.Hour); x.Now().Before(noon) {
		x.clock.Add(noon.Sub(x.Now()))
	}
}

// until moves the clock forward to an instant.
func (x *till) until(at string) {
	x.t.Helper()
	when, err := time.Parse(time.RFC3339, at)
	must(x.t, err)
	if x.Now().After(when) {
		x.t.Fatalf("it is %s, after %s", x.Now(), at)
	}
	x.clock.Add(when.Sub(x.Now()))
}

// billed bills a day on which a workspace used logs for n × 1.50.
func (x *till) billed(ws workspace.ID, day, millions string) settlement.DailyBill {
	x.t.Helper()
	x.on(day)
	x.use(ws, "logs", "14d", 1, millions+"000000")
	if x.close() == 0 {
		x.t.Fatalf("no bill for %s", day)
	}
	return x.bill(ws, x.day)
}

func (x *till) closeMonth(month string) int {
	x.t.Helper()
	m, err := usage.ParseMonth(month)
	must(x.t, err)
	n, err := x.CloseMonth(x.t.Context(), m)
	must(x.t, err)
	return n
}

// monthly returns the account's bill of a month, which may be open.
func (x *till) monthly(month string) core.BillView {
	x.t.Helper()
	m, err := usage.ParseMonth(month)
	must(x.t, err)
	list, err := x.MonthlyBills(x.t.Context(), core.Actor{}, core.BillQuery{Owner: x.acc, Month: m}, core.Page{Limit: 10})
	must(x.t, err)
	if len(list.Items) != 1 {
		x.t.Fatalf("%d bills for %s, want one: %+v", len(list.Items), month, list.Items)
	}
	one, err := x.MonthlyBill(x.t.Context(), core.Actor{}, list.Items[0].ID)
	must(x.t, err)
	if one.Total != list.Items[0].Total || one.Status != list.Items[0].Status || one.Due != list.Items[0].Due {
		x.t.Errorf("bill %+v differs from its place in the list %+v", one, list.Items[0])
	}
	return one
}

func (x *till) wantBill(month, total string, status settlement.MonthlyStatus, due string) {
	x.t.Helper()
	if b := x.monthly(month); b.Total.String() != total || b.Status != status || b.Due.String() != due {
		x.t.Errorf("bill of %s: %s, %s, due %s, want %s, %s, %s", month, b.Total, b.Status, b.Due, total, status, due)
	}
}

// TestBelatedDaysAreInTheNextBill: a day that is billed after its month was
// closed is in exactly one monthly bill, and no bill changes.
func TestBelatedDaysAreInTheNextBill(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	x.adjust("1000")
	ws, orphan := x.payg(), x.workspace("c1")
	x.billed(ws, "2026-11-24", "2") // 3.00
	x.use(orphan, "logs", "14d", 1, "4000000")
	x.billed(ws, "2026-11-30", "2")
	x.billed(ws, "2026-12-01", "2") // billed before November is closed
	if n := x.closeMonth("2026-11"); n != 1 {
		t.Fatalf("closing made %d bills, want 1", n)
	}
	x.wantBill("2026-11", "6.000000", settlement.Paid, "0.000000")
	x.wantBill("2026-12", "3.000000", settlement.Open, "0.000000")

	// The orphan finds somebody who pays for that day.
	must(t, x.store.Update(t.Context(), func(ctx context.Context, tx core.Tx) error {
		return tx.Bind(ctx, workspace.Binding{
			ID: "bd_late", Workspace: orphan, BillingAccount: x.acc, From: x.Now().AddDate(0, 0, -20),
			Settlement: workspace.Settlement{Method: workspace.ByBillingAccount},
		})
	}))
	x.on("2026-11-24")
	if n := x.close(); n != 1 {
		t.Fatalf("%d bills for the orphan's day, want 1", n)
	}
	x.wantBill("2026-11", "6.000000", settlement.Paid, "0.000000")
	x.wantBill("2026-12", "9.000000", settlement.Open, "0.000000")
	if n := x.closeMonth("2026-11"); n != 0 {
		t.Errorf("closing November again made %d bills", n)
	}
	x.until("2027-01-03T01:00:00Z")
	if n := x.closeMonth("2026-12"); n != 1 {
		t.Errorf("closing December made %d bills, want 1", n)
	}
	x.wantBill("2026-12", "9.000000", settlement.Paid, "0.000000")
	b := x.monthly("2026-12")
	if len(b.Workspaces) != 2 || b.Workspaces[1].Adjusts != b.Month-1 || b.Workspaces[1].Amount.String() != "6.000000" {
		t.Errorf("workspaces %+v, want one that adjusts November by 6", b.Workspaces)
	}
	x.sound()
}

// TestCoveredDaysArePaged: the daily bills of a monthly one are listed page by
// page, belated ones first.
func TestCoveredDaysArePaged(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	x.adjust("1000")
	ws := []workspace.ID{x.payg(), x.payg(), x.payg()}
	x.on("2026-11-25")
	x.use(ws[0], "logs", "14d", 1, "1000000")
	x.close()
	x.closeMonth("2026-11")
	for _, day := range []string{"2026-11-26", "2026-12-05"} {
		x.on(day)
		for _, id := range ws {
			x.use(id, "logs", "14d", 1, "1000000")
		}
		x.close()
	}
	b := x.monthly("2026-12")
	var got []settlement.BillID
	for p := (core.Page{Limit: 2}); ; {
		list, err := x.DailyBillsIn(t.Context(), b.MonthlyBill, p)
		must(t, err)
		for _, d := range list.Items {
			got = append(got, d.ID)
		}
		if p.After = list.Next; p.After == "" {
			break
		}
	}
	seen := map[settlement.BillID]bool{}
	for _, id := range got {
		seen[id] = true
	}
	if len(got) != 6 || len(seen) != 6 || b.Total.String() != "9.000000" {
		t.Errorf("%d daily bills %q of a bill of %s, want six of 9", len(got), got, b.Total)
	}
	x.sound()
}

// TestMonthsAreCaughtUp: after months of downtime each month is closed, oldest
// first and on its own, whatever the day of closing.
func TestMonthsAreCaughtUp(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	c := x.Config
	c.MonthlyCloseDay = 5
	x.Service = core.NewService(c)
	x.adjust("1000")
	ws := x.payg()
	for _, day := range []string{"2026-11-25", "2026-12-10", "2027-01-10", "2027-02-03"} {
		x.on(day)
		x.use(ws, "logs", "14d", 1, "2000000")
	}
	x.until("2027-02-05T00:30:00Z") // the day has come, the grace has not passed
	x.once(func() bool { return len(x.bills()) == 2 })
	x.wantBill("2026-11", "3.000000", settlement.Paid, "0.000000")
	x.wantBill("2026-12", "3.000000", settlement.Paid, "0.000000")
	x.wantBill("2027-01", "3.000000", settlement.Open, "0.000000")
	x.wantBill("2027-02", "3.000000", settlement.Open, "0.000000")
	x.until("2027-02-05T00:41:00Z")
	x.once(func() bool { return len(x.bills()) == 3 })
	x.wantBill("2027-01", "3.000000", settlement.Paid, "0.000000")
	x.sound()
}

func (x *till) bills() []core.BillView {
	x.t.Helper()
	list, err := x.MonthlyBills(x.t.Context(), core.Actor{}, core.BillQuery{Owner: x.acc}, core.Page{Limit: 100})
	must(x.t, err)
	return list.Items
}

// once settles what is due until something is so, and once more.
func (x *till) once(ok func() bool) {
	x.t.Helper()
	for range 2 {
		must(x.t, x.SettleDue(x.t.Context()))
	}
	if !ok() {
		x.t.Fatalf("not so after settling what is due: %+v", x.bills())
	}
}

// TestOldestDebtIsPaidFirst walks bills through their states.
func TestOldestDebtIsPaidFirst(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	ws := x.payg()
	x.adjust("1")
	x.billed(ws, "2026-11-25", "4") // 6.00: 1 from cash, 5 owed
	x.closeMonth("2026-11")
	x.wantBill("2026-11", "6.000000", settlement.PartiallyPaid, "5.000000")
	x.billed(ws, "2026-12-05", "2") // 3.00 owed
	x.wantBill("2026-12", "3.000000", settlement.Open, "3.000000")
	x.adjust("2")
	x.wantBill("2026-11", "6.000000", settlement.PartiallyPaid, "3.000000")
	x.until("2027-01-01T00:00:00Z")
	x.wantBill("2026-11", "6.000000", settlement.Overdue, "3.000000")
	x.closeMonth("2026-12")
	x.wantBill("2026-12", "3.000000", settlement.Issued, "3.000000")
	x.billed(ws, "2027-01-02", "2") // 3.00 owed
	x.adjust("4")
	x.wantBill("2026-11", "6.000000", settlement.Paid, "0.000000")
	x.wantBill("2026-12", "3.000000", settlement.PartiallyPaid, "2.000000")
	x.wantBill("2027-01", "3.000000", settlement.Open, "3.000000")
	x.until("2027-01-20T00:00:00Z")
	x.wantBill("2026-12", "3.000000", settlement.Overdue, "2.000000")
	x.adjust("100")
	x.wantBill("2026-12", "3.000000", settlement.Paid, "0.000000")
	x.wantBill("2027-01", "3.000000", settlement.Open, "0.000000")
	x.sound()
}

// TestMonthsThatHaveNotBegun: such a bill would swallow the days to come.
func TestMonthsThatHaveNotBegun(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	c := x.Config
	c.Dev = true
	x.Service = core.NewService(c)
	for period, want := range map[string]string{"2026-11": "ok", "2026-12": "period_not_over", "2026-10": "ok"} {
		_, err := x.StartRun(t.Context(), core.Request{}, core.RunMonthly, period, true)
		if code(err) != want {
			t.Errorf("closing %s early: %v, want %s", period, err, want)
		}
	}
}

// TestEveryDayIsInOneBill does at random what happens to an account: days are
// billed late and in any order, months are closed early, late or not at all,
// money comes, notes are issued. Whatever happens, the monthly bills with the
// open ones come to what the daily bills come to, and what is due of them to
// what is owed.
func TestEveryDayIsInOneBill(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for world := range 6 {
		x := newTill(t)
		x.rand = rand.New(rand.NewPCG(seed, uint64(world)))
		ws := []workspace.ID{x.payg(), x.payg()}
		x.on("2026-11-22")
		for range 60 {
			x.happen(ws)
			x.addsUp()
		}
		x.sound()
	}
}

// happen does one thing at random.
func (x *till) happen(ws []workspace.ID) {
	x.t.Helper()
	switch n := x.rand.IntN(10); {
	case n < 3: // some days pass without settlement
		for range 1 + x.rand.IntN(9) {
			x.use(ws[x.rand.IntN(len(ws))], "logs", "14d", 1, strconv.Itoa(1+x.rand.IntN(3_000_000)))
			x.day++
			x.start = x.start.AddDate(0, 0, 1)
			x.clock.Add(24 * time.Hour)
		}
	case n < 7: // a day of before is billed
		day := x.day - usage.Day(x.rand.IntN(40)) - 2
		_, err := x.SettleDay(x.t.Context(), day, core.SettleOptions{})
		must(x.t, err)
	case n == 7:
		_, err := x.CloseMonth(x.t.Context(), (x.day - usage.Day(x.rand.IntN(50))).Month())
		must(x.t, err)
	case n == 8:
		x.adjust(strconv.Itoa(1 + x.rand.IntN(5)))
	default:
		x.noteAnything()
	}
}

// noteAnything tries to credit or debit some bill.
func (x *till) noteAnything() {
	x.t.Helper()
	bills := x.bills()
	if len(bills) == 0 {
		return
	}
	b := bills[x.rand.IntN(len(bills))]
	id := b.ID
	if days, err := x.DailyBillsIn(x.t.Context(), b.MonthlyBill, core.Page{Limit: 1}); err == nil && x.rand.IntN(2) == 0 {
		id = days.Items[0].ID
	}
	_, err := x.note(id, money.Micros(x.rand.IntN(8_000_000)-3_000_000).String(), wallet)
	if c := code(err); c != "ok" && c != "exceeds_bill" && c != "invalid_amount" {
		x.t.Fatal(err)
	}
}

// addsUp compares all monthly bills with the ledger.
func (x *till) addsUp() {
	x.t.Helper()
	var net, due money.Micros
	for m := x.first.Month(); m <= x.day.Month()+1; m++ {
		list, err := x.MonthlyBills(x.t.Context(), core.Actor{}, core.BillQuery{Owner: x.acc, Month: m}, core.Page{Limit: 10})
		must(x.t, err)
		for _, b := range list.Items {
			net, due = net+b.Net, due+b.Due
		}
	}
	w, err := x.WalletOf(x.t.Context(), core.Actor{}, x.acc, "CNY")
	must(x.t, err)
	if earned, owed := w.Head.Of(ledger.Revenue), -w.Head.Of(ledger.Arrears); net != earned || due != owed {
		x.t.Fatalf("on %s the bills come to %s and %s due, the ledger has %s and %s", x.day, net, due, earned, owed)
	}
}
