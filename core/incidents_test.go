package core_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/govalues/decimal"

	"cloudsettle/core"
	"cloudsettle/core/ledger"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
	"cloudsettle/core/pricing"
	"cloudsettle/core/usage"
)

// What has gone wrong in billing systems elsewhere, each as a test of what must
// happen here.

var million = decimal.MustParse("1000000")

// nextDay moves on by a day at site c1.
func (x *till) nextDay() {
	x.day++
	x.start = x.start.AddDate(0, 0, 1)
}

// TestOnlySuccessIsRemitted: whatever else a marketplace answers, nothing
// counts as reported, and what is under way is not due a second time.
func TestOnlySuccessIsRemitted(t *testing.T) {
	t.Parallel()
	for _, v := range []metering.Verdict{
		metering.NotActive, metering.Duplicate, metering.Different, metering.Refused, metering.OutOfTime, metering.NotTaken,
		metering.Throttled, metering.MaybeTaken, "a status of next year",
	} {
		t.Run(string(v), func(t *testing.T) {
			t.Parallel()
			x := alarmed(t)
			x.meter.parks = true
			sub, ws := x.cloudWorkspace("s-1")
			x.use(ws, "time_series", "3d", 1, "6000")
			x.says(v)
			x.close()
			x.flush()
			acc := x.state(sub.ID).Signs.Account
			if acc.Accepted != 0 || acc.InFlight+acc.Lost != 360 || acc.LastAccepted != "" {
				t.Errorf("account %+v, want nothing accepted and all 360 units accounted for", acc)
			}
			if acc.InFlight == 360 {
				x.nextDay()
				x.use(ws, "time_series", "3d", 1, "100") // 0.06
				x.close()
				for range 2 { // the first window is over: its units are sealed again
					x.flush()
					x.clock.Add(2 * time.Minute)
				}
				if acc = x.state(sub.ID).Signs.Account; acc.InFlight != 366 {
					t.Errorf("%d units in flight after 6 more, want 366", acc.InFlight)
				}
			}
			x.sound()
		})
	}
}

// TestFailingCallsAddNothing: each run that fails leaves the sums as they were.
func TestFailingCallsAddNothing(t *testing.T) {
	t.Parallel()
	x := alarmed(t)
	sub, ws := x.cloudWorkspace("s-1")
	x.says(metering.NotTaken)
	x.use(ws, "time_series", "3d", 1, "6000")
	x.close()
	for range 40 {
		x.flush()
		x.clock.Add(20 * time.Minute)
	}
	if r := x.only(sub.ID); r.Units != 360 || r.Attempts < 20 {
		t.Errorf("record %+v, want 360 units after many attempts", r)
	}
	x.says(metering.OK)
	x.flush()
	if got := x.taken(); got != 360 {
		t.Errorf("the marketplace has %d units, want 360", got)
	}
	x.sound()
}

// TestOutageLongerThanTheWindow: a record whose window closes is not retried
// for ever, people are told, and its units are reported under another period.
func TestOutageLongerThanTheWindow(t *testing.T) {
	t.Parallel()
	x := alarmed(t)
	sub, ws := x.cloudWorkspace("s-1")
	x.says(metering.NotTaken)
	x.use(ws, "time_series", "3d", 1, "6000")
	x.close()
	for range 30 {
		x.flush()
		x.clock.Add(time.Hour)
	}
	if mails := subjects(x.watch()); mails != "[Test] Metering of cloud-main: 1 expired" {
		t.Errorf("mails %q, want one about the expired record", mails)
	}
	x.says(metering.OK)
	x.flush()
	records := x.records(sub.ID)
	if len(records) != 2 || records[0].Status != metering.Expired || records[1].Status != metering.Accepted || x.taken() != 360 {
		t.Errorf("records %+v, %d units taken, want one expired and one accepted, 360 units", records, x.taken())
	}
	x.sound()
}

// TestMissedRunsAreCaughtUp: a program that was down over the end of a month
// bills and reports every day of it, and closes the month.
func TestMissedRunsAreCaughtUp(t *testing.T) {
	t.Parallel()
	x := alarmed(t)
	x.clock.Add(8 * 24 * time.Hour) // the 29th
	x.day += 8
	x.start = x.start.AddDate(0, 0, 8)
	_, ws := x.cloudWorkspace("s-1")
	first := x.day
	for range 5 {
		x.use(ws, "time_series", "3d", 10, "6000")
		x.clock.Add(24 * time.Hour)
		x.nextDay()
	}
	x.clock.Add(24 * time.Hour)
	for range 2 {
		must(t, x.SettleDue(t.Context()))
		x.restart()
	}
	for range 5 {
		x.flush()
		x.clock.Add(time.Hour)
	}
	for day := first; day < x.day; day++ {
		if b := x.bill(ws, day); b.Total.String() != "3.600000" {
			t.Errorf("%s: %s, want 3.6", day, b.Total)
		}
	}
	months, err := x.MonthlyBills(t.Context(), core.Actor{}, core.BillQuery{Owner: x.acc}, core.Page{Limit: 10})
	must(t, err)
	if len(months.Items) != 1 || months.Items[0].Total.String() != "7.200000" || months.Items[0].Month.String() != "2026-11" {
		t.Errorf("monthly bills %+v, want one of the two days of November", months.Items)
	}
	if x.taken() != 5*360 {
		t.Errorf("%d units reported, want %d", x.taken(), 5*360)
	}
	x.sound()
}

// TestADayIsTheSites: the same hours belong to other days at other sites, and
// none to two days or to none, however often days are settled.
func TestADayIsTheSites(t *testing.T) {
	t.Parallel()
	x := alarmed(t)
	east, utc := x.payg(), x.workspace("o1")
	must(t, x.bind(utc, x.acc, ""))
	x.nextDay()
	x.clock.Add(80 * time.Hour)
	for h := range 48 {
		for _, ws := range []string{string(east), string(utc)} {
			report, err := x.ReportUsage(t.Context(), []core.UsageSample{{
				Workspace: ws, Item: "logs", Variant: "7d", Hour: x.start.Add(time.Duration(h) * time.Hour), Quantity: million,
			}})
			if err != nil || report.Accepted != 1 {
				t.Fatalf("report %+v, %v", report, err)
			}
		}
	}
	for range 3 {
		for day := x.day - 1; day < x.day+4; day++ {
			_, err := x.SettleDay(t.Context(), day, core.SettleOptions{})
			must(t, err)
		}
	}
	for _, c := range []struct {
		site  string
		hours map[usage.Day]int
	}{
		{"c1", map[usage.Day]int{x.day: 24, x.day + 1: 24}},
		{"o1", map[usage.Day]int{x.day - 1: 8, x.day: 24, x.day + 1: 16}},
	} {
		ws := east
		if c.site == "o1" {
			ws = utc
		}
		bills, err := x.DailyBills(t.Context(), core.Actor{}, core.BillFilter{Workspace: string(ws), From: x.day - 2, To: x.day + 5})
		must(t, err)
		if len(bills) != len(c.hours) {
			t.Errorf("%s: %d bills, want %d", c.site, len(bills), len(c.hours))
		}
		for _, b := range bills {
			if want := fmt.Sprintf("%d.%d00000", c.hours[b.Day]*12/10, c.hours[b.Day]*12%10); b.Total.String() != want {
				t.Errorf("%s on %s: %s, want %s for %d hours", c.site, b.Day, b.Total, want, c.hours[b.Day])
			}
		}
	}
	x.sound()
}

// TestACreditIsPaidOff: usage that is taken back becomes a debt that later
// charges pay off; a marketplace never hears of less than nothing.
func TestACreditIsPaidOff(t *testing.T) {
	t.Parallel()
	x := alarmed(t)
	sub, ws := x.cloudWorkspace("s-1")
	x.use(ws, "logs", "7d", 1, "3000000") // 3.60
	x.close()
	x.flush()
	x.use(ws, "logs", "7d", 1, "1000000") // 2.40 too much
	x.nextDay()
	x.close()
	x.flush()
	x.nextDay()
	x.use(ws, "logs", "7d", 1, "1500000") // 1.80: the debt is not paid off
	x.close()
	x.flush()
	if got := x.taken(); got != 360 {
		t.Errorf("%d units reported while the debt lasts, want 360", got)
	}
	x.nextDay()
	x.use(ws, "logs", "7d", 1, "1000000") // 1.20, half of it pays the rest
	x.close()
	x.flush()
	if got := x.taken(); got != 420 {
		t.Errorf("%d units reported, want 360 and 60", got)
	}
	for _, r := range x.records(sub.ID) {
		if r.Units <= 0 {
			t.Errorf("record %s has %d units", r.ID, r.Units)
		}
	}
	x.sound()
}

// TestSmallDaysAddUp: fractions of a unit are carried, not cut off day by day.
func TestSmallDaysAddUp(t *testing.T) {
	t.Parallel()
	x := alarmed(t)
	_, ws := x.cloudWorkspace("s-1")
	for range 12 {
		x.use(ws, "time_series", "3d", 1, "7") // 0.0042
		x.close()
		x.flush()
		x.nextDay()
	}
	if got := x.taken(); got != 5 {
		t.Errorf("%d units after twelve days of 0.0042, want 5", got)
	}
	x.sound()
}

// TestTheEndIsBilledOnce: however often it is told of, and whatever settles the
// day meanwhile.
func TestTheEndIsBilledOnce(t *testing.T) {
	t.Parallel()
	x := alarmed(t)
	x.meter.terms = core.MeterTerms{FinalWithin: time.Hour}
	sub, ws := x.cloudWorkspace("s-1")
	x.use(ws, "time_series", "3d", 1, "6000")
	x.clock.Add(time.Hour)
	for range 3 {
		x.ended("s-1")
		x.tell(x.cloud, marketplace.Event{Kind: marketplace.Ended, Subject: "s-1", Rank: "9"})
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := x.RunTasks(t.Context()); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if _, err := x.SettleDay(t.Context(), x.day, core.SettleOptions{Early: true}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	x.flush()
	if got := x.balance(ledger.Cloud(string(sub.ID))); got != "-3.600000" || x.taken() != 360 {
		t.Errorf("charged %s and %d units, want 3.6 and 360 once", got, x.taken())
	}
	x.sound()
}

// TestPricesChangeWithTheDay: a day has one price, also the day on which it
// changes, and no day has two.
func TestPricesChangeWithTheDay(t *testing.T) {
	t.Parallel()
	x := alarmed(t)
	ws := x.payg()
	x.adjust("100")
	next := x.day + 1
	books, err := pricing.ParseYAML([]byte(fmt.Sprintf(`
name: public
zone: CN
currency: CNY
effective_from: %s
items:
  - {item: logs, unit: 1000000, aggregation: sum, prices: [{variant: 7d, price: 2}]}
`, next)))
	must(t, err)
	_, err = x.AddPriceBook(t.Context(), core.Request{}, books[0])
	must(t, err)
	for range 2 {
		x.use(ws, "logs", "7d", 1, "1000000")
		x.use(ws, "logs", "7d", 2, "1000000")
		x.close()
		x.close()
		x.nextDay()
	}
	for day, want := range map[usage.Day]string{next - 1: "2.400000", next: "4.000000"} {
		if b := x.bill(ws, day); b.Total.String() != want || len(b.Lines) != 1 {
			t.Errorf("%s: %s in %d lines, want %s in one", day, b.Total, len(b.Lines), want)
		}
	}
	x.sound()
}

// TestUsageInATierIsTakenBack: what was billed in a higher tier is credited at
// that tier's price.
func TestUsageInATierIsTakenBack(t *testing.T) {
	t.Parallel()
	x := alarmed(t)
	ws := x.payg()
	x.adjust("100")
	books, err := pricing.ParseYAML([]byte(`
name: public
zone: CN
currency: CNY
effective_from: 2026-11-01
items:
  - item: logs
    unit: 1000000
    aggregation: sum
    mode: graduated
    prices: [{variant: 7d, tiers: [{up_to: 2000000, price: 3}, {price: 1}]}]
`))
	must(t, err)
	_, err = x.AddPriceBook(t.Context(), core.Request{}, books[0])
	must(t, err)
	x.use(ws, "logs", "7d", 1, "2000000")
	x.use(ws, "logs", "7d", 2, "3000000")
	x.close()
	x.use(ws, "logs", "7d", 2, "1000000") // two less, of the second tier
	of := x.day
	x.nextDay()
	x.close()
	if first, second := x.bill(ws, of), x.bill(ws, of+1); first.Total.String() != "9.000000" || second.Total.String() != "-2.000000" {
		t.Errorf("bills of %s and %s, want 9 and -2", first.Total, second.Total)
	}
	x.sound()
}
