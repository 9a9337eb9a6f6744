package core_test

import (
	"testing"
	"time"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// next makes the day after the current one.
func (x *till) next() {
	x.day++
	x.start = x.start.AddDate(0, 0, 1)
}

// useOn reports a quantity in an hour of another day.
func (x *till) useOn(day usage.Day, ws workspace.ID, item, variant string, hour int, quantity string) core.UsageReport {
	x.t.Helper()
	start := x.start
	defer func() { x.start = start }()
	x.start = start.AddDate(0, 0, int(day-x.day))
	return x.use(ws, item, variant, hour, quantity)
}

// settle settles a day and returns how many bills were made and how many wait.
func (x *till) settle(day usage.Day) (made, waiting int) {
	x.t.Helper()
	out, err := x.SettleDay(x.t.Context(), day, core.SettleOptions{})
	must(x.t, err)
	return out.Bills, out.Waiting
}

// TestCorrectionsKeepThePricesOfTheirDay: a price book that is added for the
// past changes neither what was billed nor what a correction of it comes to.
func TestCorrectionsKeepThePricesOfTheirDay(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	ws := x.payg()
	x.use(ws, "logs", "14d", 1, "1000000") // 1.50
	x.close()
	first := x.day
	dearer := book(t)
	dearer.Items[0].Prices[1].Price = dearer.Items[2].Prices[0].Price // 2
	_, err := x.AddPriceBook(t.Context(), core.Request{}, dearer)
	must(t, err)
	x.next()
	x.useOn(first, ws, "logs", "14d", 2, "1000000")
	x.close()
	if b := x.bill(ws, x.day); b.Total.String() != "1.500000" {
		t.Errorf("a million more, late: %s, want it at the price of its day, 1.5", b.Total)
	}
	dearer.Items[0].Prices[1].Price = dearer.Items[3].Prices[0].Price
	_, err = x.AddPriceBook(t.Context(), core.Request{}, dearer)
	must(t, err)
	x.sound()
}

// TestCorrectionInAnotherCurrency: a day that was billed in one currency is
// corrected in another one by what the late usage itself comes to there.
func TestCorrectionInAnotherCurrency(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	dollars := book(t)
	dollars.Currency = "USD"
	dollars.Items[0].Prices[1].Price = dollars.Items[2].Prices[0].Price // 2 instead of 1.5
	_, err := x.AddPriceBook(t.Context(), core.Request{}, dollars)
	must(t, err)
	a, err := x.CreateBillingAccount(t.Context(), core.Request{}, account.Account{UserName: "usa", Email: "usa@example.com", Currency: "USD"})
	must(t, err)
	x.acc = a.ID
	ws := x.payg()
	x.use(ws, "logs", "14d", 1, "1000000") // 2.00 USD
	x.close()
	first := x.day
	sub := x.buy(x.cloud, "s-1", "b-1") // in CNY
	x.claim(sub, x.acc)
	x.clock.Add(time.Hour)
	must(t, x.bind(ws, x.acc, sub.ID))
	x.next()
	x.useOn(first, ws, "logs", "14d", 2, "2000000")
	x.close()
	b := x.bill(ws, x.day)
	if b.Currency != "CNY" || b.Total.String() != "3.000000" {
		t.Errorf("two millions more, late: %s %s, want 3 CNY", b.Total, b.Currency)
	}
	x.sound()
}

// TestDaysWithCorrectionsAreBilledInOrder: a day that corrects another one
// waits until the days between them that correct it too are billed.
func TestDaysWithCorrectionsAreBilledInOrder(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	ws := x.payg()
	x.use(ws, "time_series", "3d", 1, "5000") // 3.00
	x.close()
	first := x.day
	x.useOn(first, ws, "time_series", "3d", 2, "6000") // 0.60 more, in the next day
	x.clock.Add(24 * time.Hour)
	x.useOn(first, ws, "time_series", "3d", 3, "7000") // 0.60 more, in the one after it
	x.clock.Add(24 * time.Hour)
	if made, waiting := x.settle(first + 2); made != 0 || waiting != 1 {
		t.Errorf("before the day between: %d bills, %d wait, want 0 and 1", made, waiting)
	}
	for _, day := range []usage.Day{first + 1, first + 2} {
		x.settle(day)
		if b := x.bill(ws, day); b.Total.String() != "0.600000" {
			t.Errorf("%s comes to %s, want 0.6", day, b.Total)
		}
	}
	x.sound()
}

// TestUsageAfterTheFinalBillIsKept: the day of a subscription's end is billed
// before it is over; what is reported for it afterwards is billed the day after.
func TestUsageAfterTheFinalBillIsKept(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	sub := x.buy(x.other, "s-1", "b-1") // its end leaves workspaces to their account
	x.other.Listing.Currency = "CNY"
	c := x.Config
	c.Marketplaces = []core.Marketplace{x.cloud, x.other}
	x.Service = core.NewService(c)
	x.claim(sub, x.acc)
	_, err := x.SetArbitrarySettlement(t.Context(), x.acc, true)
	must(t, err)
	ws := x.workspace("c1")
	must(t, x.bind(ws, x.acc, sub.ID))
	x.clock.Add(time.Hour)
	x.use(ws, "time_series", "3d", 1, "6000")
	x.tell(x.other, marketplace.Event{Kind: marketplace.Ended, Subject: "s-1", Rank: "9"})
	must(t, x.RunTasks(t.Context()))
	if b := x.bill(ws, x.day); b.Cloud.String() != "3.600000" {
		t.Fatalf("the final bill: %+v, want 3.6 through the cloud", b)
	}
	if r := x.use(ws, "time_series", "3d", 2, "7000"); r.Late != 1 || r.Accepted != 0 {
		t.Errorf("usage after the end: %+v, want late", r)
	}
	if r := x.use(ws, "time_series", "3d", 2, "7000"); r.Duplicate != 1 || r.Late != 0 {
		t.Errorf("the same again: %+v, want a duplicate", r)
	}
	x.next()
	x.close()
	if b := x.bill(ws, x.day); b.Arrears.String() != "0.600000" || b.Lines[0].Of != x.day-1 {
		t.Errorf("the bill after the end: %+v, want 0.6 for the day before", b)
	}
	x.sound()
}

// TestFinalBillsFollowEachOther: an end bills two days; late usage that is in
// both is charged once.
func TestFinalBillsFollowEachOther(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	sub := x.buy(x.cloud, "s-1", "b-1")
	x.claim(sub, x.acc)
	ws := x.workspace("c1")
	must(t, x.bind(ws, x.acc, sub.ID))
	x.use(ws, "time_series", "3d", 1, "5000")
	x.close()
	first := x.day
	x.useOn(first, ws, "time_series", "3d", 2, "6000")
	x.clock.Add(24 * time.Hour)
	x.useOn(first, ws, "time_series", "3d", 3, "7000")
	x.tell(x.cloud, marketplace.Event{Kind: marketplace.Ended, Subject: "s-1", Rank: "9"})
	must(t, x.RunTasks(t.Context()))
	for _, day := range []usage.Day{first + 1, first + 2} {
		if b := x.bill(ws, day); b.Cloud.String() != "0.600000" {
			t.Errorf("%s comes to %s, want 0.6", day, b.Cloud)
		}
	}
	x.sound()
}
