package core_test

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/govalues/decimal"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/ledger"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
	"cloudsettle/core/money"
	"cloudsettle/core/pricing"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// meter is a marketplace that takes what it is told to take.
type meter struct {
	mu      sync.Mutex
	terms   core.MeterTerms // over the usual ones
	verdict func(metering.Record) metering.Verdict
	parks   bool             // a record that may be on file is left to a person
	taken   map[string]int64 // units by subscription and period
	sent    [][]metering.Record
	calls   int
	most    int64 // units of a record; 0: as many as there are
}

func (m *meter) Terms() core.MeterTerms {
	t := m.terms
	t.Dimension, t.UnitAmount, t.Currency, t.Batch = "fee", 10_000, "CNY", 25
	t.MaxUnits = cmp.Or(t.MaxUnits, m.most, 1<<31)
	return t
}

func (m *meter) Period(end, now time.Time, taken func(time.Time) bool) (core.MeterPeriod, bool) {
	for h := 1; h <= 24; h++ {
		start := end.Truncate(time.Hour).Add(-time.Duration(h) * time.Hour)
		if !taken(start) {
			return core.MeterPeriod{Start: start, End: start.Add(time.Hour), Deadline: now.Add(24 * time.Hour)}, true
		}
	}
	return core.MeterPeriod{}, false
}

func (m *meter) Resolve(metering.Record) bool { return !m.parks }

func (m *meter) Report(_ context.Context, records []metering.Record) []metering.Result {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []metering.Result
	m.calls++
	m.sent = append(m.sent, slices.Clone(records))
	for _, r := range records {
		v := metering.OK
		if m.verdict != nil {
			v = m.verdict(r)
		}
		key := string(r.Subscription) + r.PeriodStart.String()
		if v == metering.OK || v == metering.MaybeTaken {
			if have, ok := m.taken[key]; ok && have != r.Units {
				v = metering.Different
			} else {
				m.taken[key] = r.Units
			}
		}
		out = append(out, metering.Result{Record: r.ID, Verdict: v})
	}
	return out
}

// till is a world with prices, a wallet and usage.
type till struct {
	*world
	meter *meter
	acc   account.ID
	day   usage.Day
	start time.Time // of the day at site c1
	first usage.Day
	rand  *rand.Rand
}

func newTill(t *testing.T) *till {
	t.Helper()
	w := newWorld(t)
	m := &meter{taken: map[string]int64{}}
	c := w.Config
	w.cloud.Listing.Currency, w.cloud.Meter = "CNY", m
	c.Marketplaces = []core.Marketplace{w.cloud, w.other}
	c.Sites[0].Prices, c.Sites[1].Prices = "CN", "CN"
	w.Service = core.NewService(c)
	x := &till{world: w, meter: m, acc: w.account("acme").ID}
	x.day = usage.DayOf(w.Now(), c.Sites[0].Zone)
	x.start, _ = x.day.Bounds(c.Sites[0].Zone)
	x.first = x.day
	_, err := w.AddPriceBook(t.Context(), core.Request{}, book(t))
	must(t, err)
	return x
}

func book(t *testing.T) pricing.Book {
	t.Helper()
	books, err := pricing.ParseYAML([]byte(`
name: public
zone: CN
currency: CNY
effective_from: 2026-01-01
items:
  - {item: logs, unit: 1000000, aggregation: sum, prices: [{variant: 7d, price: 1.2}, {variant: 14d, price: 1.5}]}
  - {item: time_series, unit: 1000, aggregation: max, prices: [{variant: 3d, price: 0.6}]}
  - {item: trace, unit: 1000000, aggregation: sum, prices: [{variant: 3d, price: 2}]}
  - {item: pv, unit: 10000, aggregation: sum, prices: [{variant: 3d, price: 0.7}]}
  - {item: sms, unit: 10, aggregation: sum, exclude_vouchers: true, prices: [{price: 1}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	return books[0]
}

// use reports a quantity in an hour of the day.
func (x *till) use(ws workspace.ID, item, variant string, hour int, quantity string) core.UsageReport {
	x.t.Helper()
	r, err := x.ReportUsage(x.t.Context(), []core.UsageSample{{
		Workspace: string(ws), Item: item, Variant: variant, Hour: x.start.Add(time.Duration(hour) * time.Hour),
		Quantity: decimal.MustParse(quantity),
	}})
	must(x.t, err)
	if len(r.Rejected) > 0 {
		x.t.Fatalf("rejected: %+v", r.Rejected)
	}
	return r
}

// payg returns a workspace that its account pays for.
func (x *till) payg() workspace.ID {
	x.t.Helper()
	ws := x.workspace("c1")
	must(x.t, x.bind(ws, x.acc, ""))
	return ws
}

// close waits for the day to be over and settles it.
func (x *till) close() int {
	x.t.Helper()
	if over := x.start.Add(25 * time.Hour); x.Now().Before(over) {
		x.clock.Add(over.Sub(x.Now()))
	}
	out, err := x.SettleDay(x.t.Context(), x.day, core.SettleOptions{})
	must(x.t, err)
	return out.Bills
}

func (x *till) bill(ws workspace.ID, day usage.Day) settlement.DailyBill {
	x.t.Helper()
	bills, err := x.DailyBills(x.t.Context(), core.Actor{}, core.BillFilter{Workspace: string(ws), From: day, To: day + 1})
	must(x.t, err)
	if len(bills) != 1 {
		x.t.Fatalf("%d bills for %s, want 1", len(bills), day)
	}
	return bills[0]
}

func (x *till) adjust(amount string) {
	x.t.Helper()
	m, err := money.ParseMicros(amount)
	must(x.t, err)
	_, err = x.AdjustWallet(x.t.Context(), core.Request{}, x.acc, money.Amount{Micros: m, Currency: "CNY"}, "test")
	must(x.t, err)
}

func (x *till) balance(a ledger.Account) string {
	x.t.Helper()
	w, err := x.WalletOf(x.t.Context(), core.Actor{}, x.acc, "CNY")
	must(x.t, err)
	return w.Head.Of(a).String()
}

// sound fails if any invariant is broken.
func (x *till) sound() {
	x.t.Helper()
	v, err := x.Verify(x.t.Context())
	must(x.t, err)
	if !v.OK {
		x.t.Errorf("verify: %+v", v.Violations)
	}
}

// TestWorkedExample is the published example of a day's bill: 13.4, less what
// session replay comes to, which this book leaves out.
func TestWorkedExample(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	ws := x.payg()
	x.adjust("100")
	for h := range 12 {
		x.use(ws, "time_series", "3d", h, "6000")
	}
	x.use(ws, "logs", "7d", 1, "1500000")
	x.use(ws, "logs", "7d", 2, "500000")
	x.use(ws, "trace", "3d", 3, "2000000")
	x.use(ws, "pv", "3d", 4, "20000")
	if n := x.close(); n != 1 {
		t.Fatalf("%d bills, want 1", n)
	}
	b := x.bill(ws, x.day)
	if b.Total.String() != "11.400000" || len(b.Lines) != 4 {
		t.Errorf("total %s of %d lines, want 11.4 of 4", b.Total, len(b.Lines))
	}
	if got := x.balance(ledger.Cash); got != "88.600000" {
		t.Errorf("cash %s, want 88.6", got)
	}
	if n := x.close(); n != 0 {
		t.Errorf("settling again made %d bills", n)
	}
	x.sound()
}

// TestDeductionOrder: ordinary vouchers, discount vouchers, cards, cash, and
// then arrears; vouchers not for what excludes them.
func TestDeductionOrder(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	ws := x.payg()
	for _, f := range []settlement.Fund{
		{Kind: settlement.PrepaidCard, Face: 3_000_000}, {Kind: settlement.DiscountVoucher, Face: 2_000_000},
		{Kind: settlement.OrdinaryVoucher, Face: 1_000_000},
	} {
		f.Owner, f.Currency, f.From, f.Until = string(x.acc), "CNY", x.Now(), x.Now().AddDate(1, 0, 0)
		_, err := x.GrantFund(t.Context(), core.Request{}, f)
		must(t, err)
	}
	x.adjust("2")
	x.use(ws, "trace", "3d", 1, "4000000") // 8.00
	x.use(ws, "sms", "", 1, "5")           // 0.50, no vouchers
	x.close()
	b := x.bill(ws, x.day)
	want := []money.Micros{1_000_000, 2_000_000, 3_000_000, 2_000_000}
	if len(b.Deductions) != len(want) {
		t.Fatalf("deductions %+v, want four", b.Deductions)
	}
	for i, d := range b.Deductions {
		if d.Micros != want[i] {
			t.Errorf("deduction %d: %s from %s, want %s", i, d.Micros, d.Source, want[i])
		}
	}
	if b.Arrears != 500_000 || x.balance(ledger.Arrears) != "-0.500000" {
		t.Errorf("arrears %s, balance %s, want 0.5 owed", b.Arrears, x.balance(ledger.Arrears))
	}
	x.adjust("10")
	if x.balance(ledger.Arrears) != "0.000000" || x.balance(ledger.Cash) != "9.500000" {
		t.Errorf("after a top-up: arrears %s, cash %s, want 0 and 9.5", x.balance(ledger.Arrears), x.balance(ledger.Cash))
	}
	x.sound()
}

// TestFractionsAreCarried: a wallet is charged whole cents, and what is
// rounded off is charged once it is one.
func TestFractionsAreCarried(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	ws := x.payg()
	x.adjust("1")
	for range 10 {
		x.use(ws, "time_series", "3d", 1, "7") // 0.0042
		x.close()
		x.day++
		x.start = x.start.AddDate(0, 0, 1)
	}
	if got := x.balance(ledger.Cash); got != "0.960000" {
		t.Errorf("cash %s after ten days of 0.0042, want 0.96", got)
	}
	if got := x.balance(ledger.Carry); got != "-0.002000" {
		t.Errorf("carry %s, want -0.002", got)
	}
	x.sound()
}

// TestLateUsage: what comes after its day was billed is charged in the next
// bill as the difference it makes; sent again it costs nothing.
func TestLateUsage(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	ws := x.payg()
	x.adjust("100")
	x.use(ws, "time_series", "3d", 1, "5000") // max: 3.00
	x.use(ws, "logs", "14d", 1, "1000000")    // 1.50
	x.close()
	if r := x.use(ws, "logs", "14d", 1, "1000000"); r.Duplicate != 1 {
		t.Errorf("a repeat after sealing: %+v, want a duplicate", r)
	}
	if r := x.use(ws, "time_series", "3d", 2, "6000"); r.Late != 1 {
		t.Errorf("late: %+v", r)
	}
	x.use(ws, "logs", "14d", 1, "400000") // 0.90 too much was billed
	first := x.day
	for range 2 {
		x.day++
		x.start = x.start.AddDate(0, 0, 1)
		x.close()
		x.start = x.start.AddDate(0, 0, -int(x.day-first))
		x.use(ws, "time_series", "3d", 2, "6000") // once more
		x.start = x.start.AddDate(0, 0, int(x.day-first))
	}
	b := x.bill(ws, first+1)
	if b.Total.String() != "-0.300000" || len(b.Lines) != 2 || b.Lines[0].Of != first {
		t.Errorf("correction %s %+v, want 0.6 - 0.9", b.Total, b.Lines)
	}
	if again := x.bill(ws, first+2); again.Total != 0 {
		t.Errorf("the same late sample again cost %s", again.Total)
	}
	if got := x.balance(ledger.Cash); got != "95.800000" {
		t.Errorf("cash %s, want 100 - 4.5 + 0.3", got)
	}
	x.sound()
}

// TestUnboundUsageWaits: nobody pays for it, so it is not billed, and not lost.
func TestUnboundUsageWaits(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	ws := x.workspace("c1")
	x.use(ws, "logs", "7d", 1, "1000000")
	x.clock.Add(48 * time.Hour)
	out, err := x.SettleDay(t.Context(), x.day, core.SettleOptions{})
	if err != nil || out.Bills != 0 || out.Waiting != 1 || len(out.Waits) != 1 || out.Waits[0].Reason != core.WaitUnbound {
		t.Errorf("made %+v, %v, want none and one that waits", out, err)
	}
	must(t, x.bind(ws, x.acc, ""))
	if out, err := x.SettleDay(t.Context(), x.day, core.SettleOptions{}); err != nil || out.Bills != 1 {
		t.Errorf("made %+v, %v once somebody pays, want one", out, err)
	}
	x.sound()
}

// TestMarketplacesPayFromThePurchase: what was used before a workspace was bound
// to a cloud account is not charged there.
func TestMarketplacesPayFromThePurchase(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	ws := x.workspace("c1")
	x.use(ws, "time_series", "3d", 1, "6000")
	x.clock.Add(48 * time.Hour)
	sub := x.buy(x.cloud, "s-1", "b-1")
	x.claim(sub, x.acc)
	must(t, x.bind(ws, x.acc, sub.ID))
	out, err := x.SettleDay(t.Context(), x.day, core.SettleOptions{})
	if err != nil || out.Bills != 0 || out.Waiting != 1 {
		t.Errorf("made %+v, %v, want none", out, err)
	}
	x.sound()
}

// TestCloudAccountIsReported: charges through a cloud account reach the
// marketplace in whole units, once, whatever it answers; the rest is carried.
func TestCloudAccountIsReported(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		verdict func(n int, r metering.Record) metering.Verdict
		status  metering.Status
	}{
		{"Accepted", func(int, metering.Record) metering.Verdict { return metering.OK }, metering.Accepted},
		{"LostReply", func(n int, _ metering.Record) metering.Verdict {
			if n == 1 {
				return metering.MaybeTaken
			}
			return metering.Same
		}, metering.Accepted},
		{"Throttled", func(n int, _ metering.Record) metering.Verdict {
			if n < 3 {
				return metering.Throttled
			}
			return metering.OK
		}, metering.Accepted},
		{"AnotherQuantityOnFile", func(int, metering.Record) metering.Verdict { return metering.Different }, metering.Conflict},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x := newTill(t)
			sub := x.buy(x.cloud, "s-1", "b-1")
			x.claim(sub, x.acc)
			ws := x.workspace("c1")
			must(t, x.bind(ws, x.acc, sub.ID))
			x.meter.verdict = func(r metering.Record) metering.Verdict { return c.verdict(x.meter.calls, r) }
			x.use(ws, "time_series", "3d", 1, "6007") // 3.6042: 360 units and 0.0042
			x.close()
			for range 5 {
				must(t, x.Flush(t.Context()))
				x.clock.Add(time.Hour)
			}
			list, err := x.MeterRecords(t.Context(), core.Actor{}, sub.ID, core.Page{Limit: 10})
			must(t, err)
			if len(list.Items) != 1 || list.Items[0].Units != 360 || list.Items[0].Status != c.status {
				t.Fatalf("records %+v, want one of 360 units, %s", list.Items, c.status)
			}
			if got := x.balance(ledger.Cloud(string(sub.ID))); got != "-3.604200" {
				t.Errorf("charged through the cloud: %s", got)
			}
			x.sound()
		})
	}
}

// TestFinalUsageIsReportedAtOnce: the end of a subscription bills what was used
// so far and reports it while the marketplace still takes it.
func TestFinalUsageIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	for _, kind := range []marketplace.Kind{marketplace.Ending, marketplace.Ended} {
		x := newTill(t)
		sub := x.buy(x.cloud, "s-1", "b-1")
		x.claim(sub, x.acc)
		ws := x.workspace("c1")
		must(t, x.bind(ws, x.acc, sub.ID))
		x.clock.Add(time.Hour)
		x.use(ws, "time_series", "3d", 1, "6000")
		x.tell(x.cloud, marketplace.Event{Kind: kind, Subject: "s-1", Rank: "9"})
		for range 3 {
			must(t, x.RunTasks(t.Context()))
			must(t, x.Flush(t.Context()))
		}
		list, err := x.MeterRecords(t.Context(), core.Actor{}, sub.ID, core.Page{Limit: 10})
		must(t, err)
		if len(list.Items) != 1 || list.Items[0].Units != 360 || list.Items[0].Status != metering.Accepted {
			t.Fatalf("%s: records %+v, want one of 360 units, accepted", kind, list.Items)
		}
		if r := x.use(ws, "time_series", "3d", 2, "7000"); r.Late != 1 {
			t.Errorf("%s: usage after the end: %+v, want late", kind, r)
		}
		x.sound()
	}
}

// TestMonth: a monthly bill is the sum of its days; closing twice makes one.
func TestMonth(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	ws := x.payg()
	x.adjust("100")
	for range 3 {
		x.use(ws, "logs", "14d", 1, "1000000")
		x.close()
		x.day++
		x.start = x.start.AddDate(0, 0, 1)
	}
	m := (x.day - 1).Month()
	for i := range 2 {
		if n, err := x.CloseMonth(t.Context(), m); err != nil || n != 1-i {
			t.Errorf("closing made %d bills, %v, want %d", n, err, 1-i)
		}
	}
	list, err := x.MonthlyBills(t.Context(), core.Actor{}, core.BillQuery{Owner: x.acc}, core.Page{Limit: 10})
	must(t, err)
	if len(list.Items) != 1 || list.Items[0].Total.String() != "4.500000" || list.Items[0].Status != settlement.Paid {
		t.Errorf("monthly bills %+v, want one of 4.5, paid", list.Items)
	}
	x.sound()
}

// TestManySettlersPostOnce: a day is settled by five at once.
func TestManySettlersPostOnce(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	x.adjust("1000")
	for range 40 {
		ws := x.payg()
		x.use(ws, "logs", "14d", 1, "1000000")
	}
	x.clock.Add(48 * time.Hour)
	total := make(chan int, 5)
	for range 5 {
		go func() {
			out, err := x.SettleDay(t.Context(), x.day, core.SettleOptions{})
			if err != nil {
				t.Error(err)
			}
			total <- out.Bills
		}()
	}
	sum := 0
	for range 5 {
		sum += <-total
	}
	if sum != 40 || x.balance(ledger.Cash) != "940.000000" {
		t.Errorf("%d bills, cash %s, want 40 and 940", sum, x.balance(ledger.Cash))
	}
	x.sound()
}

// TestUsageIsChecked: a bad sample never blocks the good ones.
func TestUsageIsChecked(t *testing.T) {
	t.Parallel()
	x := newTill(t)
	ws := string(x.payg())
	one := decimal.One
	r, err := x.ReportUsage(t.Context(), []core.UsageSample{
		{Workspace: ws, Item: "logs", Variant: "7d", Hour: x.start, Quantity: one},
		{Workspace: "ws_nobody", Item: "logs", Variant: "7d", Hour: x.start, Quantity: one},
		{Workspace: ws, Item: "nothing", Hour: x.start, Quantity: one},
		{Workspace: ws, Item: "logs", Variant: "7d", Hour: x.start.Add(time.Minute), Quantity: one},
		{Workspace: ws, Item: "logs", Variant: "7d", Hour: x.Now().Add(3 * time.Hour).Truncate(time.Hour), Quantity: one},
		{Workspace: ws, Item: "logs", Variant: "7d", Hour: x.start.AddDate(-1, 0, 0), Quantity: one},
		{Workspace: ws, Item: "logs", Variant: "7d", Hour: x.start, Quantity: one.Neg()},
		{Bad: "not an object"},
		{Workspace: ws, Item: "logs", Variant: "7d", Hour: x.start.Add(time.Hour), Quantity: one},
		{Workspace: ws, Item: "logs", Variant: "7d", Hour: x.start, Quantity: one},
	})
	must(t, err)
	codes := []string{"unknown_workspace", "unknown_item", "invalid_hour", "future_hour", "too_late", "negative_quantity", "invalid_sample"}
	if r.Accepted != 2 || r.Duplicate != 1 || len(r.Rejected) != len(codes) {
		t.Fatalf("report %+v, want 2 accepted, 1 duplicate, %d rejected", r, len(codes))
	}
	for i, x := range r.Rejected {
		if x.Code != codes[i] || x.Index != i+1 {
			t.Errorf("rejection %d: %+v, want %s", i, x, codes[i])
		}
	}
}
