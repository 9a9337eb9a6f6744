package rating_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/govalues/decimal"

	"cloudsettle/core/money"
	"cloudsettle/core/pricing"
	"cloudsettle/core/pricing/example"
	"cloudsettle/core/rating"
	"cloudsettle/core/usage"
)

var midnight = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)

// samples reads "item variant quantity [quantity …]" lines, one quantity an
// hour; "-" stands for no variant.
func samples(lines string) []usage.Sample {
	var out []usage.Sample
	for line := range strings.Lines(strings.TrimSpace(lines)) {
		f := strings.Fields(line)
		for hour, q := range f[2:] {
			out = append(out, usage.Sample{
				Workspace: "ws_1", Item: f[0], Variant: strings.TrimPrefix(f[1], "-"),
				Hour: midnight.Add(time.Duration(hour) * time.Hour), Quantity: decimal.MustParse(q),
			})
		}
	}
	return out
}

// compile reads the items of a book in YAML.
func compile(t testing.TB, head, items string) *rating.Rater {
	t.Helper()
	books, err := pricing.ParseYAML([]byte("name: a\nzone: CN\neffective_from: 2026-01-01\n" + head + "\nitems:\n" + items))
	if err != nil {
		t.Fatal(err)
	}
	r, err := rating.Compile(books[0])
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// exampleRater compiles a book of the public price list.
func exampleRater(t testing.TB, zone string, c money.Currency) *rating.Rater {
	t.Helper()
	books, err := example.Books()
	if err != nil {
		t.Fatal(err)
	}
	day, err := usage.ParseDay("2026-11-20")
	if err != nil {
		t.Fatal(err)
	}
	book, ok := pricing.Select(books, zone, c, day)
	if !ok {
		t.Fatalf("no book for %s %s", zone, c)
	}
	r, err := rating.Compile(book)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// show writes lines as "item variant quantity amount".
func show(out *rating.Result) string {
	var b strings.Builder
	for _, l := range out.Lines {
		variant := l.Variant
		if variant == "" {
			variant = "-"
		}
		b.WriteString(l.Item + " " + variant + " " + l.Quantity.String() + " " + l.Amount.String() + "\n")
	}
	for _, f := range out.Faults {
		b.WriteString("fault " + string(f.Reason) + "\n")
	}
	return b.String() + "total " + out.Total.String()
}

func checkBill(t *testing.T, r *rating.Rater, in, want string) {
	t.Helper()
	var out rating.Result
	if err := r.Rate(&out, samples(in)); err != nil {
		t.Fatalf("Rate(%s) = %v", in, err)
	}
	if diff := cmp.Diff(strings.TrimSpace(want), show(&out)); diff != "" {
		t.Errorf("Rate(%s) (-want +got):\n%s", in, diff)
	}
}

// TestWorkedExample is the daily bill that the public price list works out:
// 3.6 + 2.4 + 4 + 1.4 + 2 = 13.4.
func TestWorkedExample(t *testing.T) {
	t.Parallel()
	checkBill(t, exampleRater(t, "CN", "CNY"), `
time_series 3d 1500 4200 6000
logs 7d 500000 500000 1000000
trace 3d 1200000 800000
pv 3d 20000
triggers - 8000 12000`, `
logs 7d 2000000 2.400000
pv 3d 20000 1.400000
time_series 3d 6000 3.600000
trace 3d 2000000 4.000000
triggers - 20000 2.000000
total 13.400000`)
}

// TestPublicPrices: the same usage in every book, worked out by hand.
func TestPublicPrices(t *testing.T) {
	t.Parallel()
	const in = `
forwarding_storage - 1000000000 2500000000 2000000000
logs 14d 1 2 3
synthetic_tests - 1234
session_replay - 10 20 15`
	for _, c := range []struct {
		zone     string
		currency money.Currency
		want     string
	}{
		// 2.5 GB × 0.007; 6 × 1.5 / 10⁶; 20 × 2.5 / 10³; 1234 × 1 / 10⁴
		{"CN", "CNY", `
forwarding_storage - 2500000000 0.017500
logs 14d 6 0.000009
session_replay - 20 0.050000
synthetic_tests - 1234 0.123400
total 0.190909`},
		// 2.5 GB × 0.014; 6 × 3 / 10⁶; 20 × 2.5 / 10³; 1234 × 10 / 10⁴
		{"INTL", "CNY", `
forwarding_storage - 2500000000 0.035000
logs 14d 6 0.000018
session_replay - 20 0.050000
synthetic_tests - 1234 1.234000
total 1.319018`},
		// 2.5 GB × 0.001; 6 × 0.22 / 10⁶ = 0.00000132; 20 × 0.35 / 10³; 1234 × 0.143 / 10⁴ = 0.0176462
		{"CN", "USD", `
forwarding_storage - 2500000000 0.002500
logs 14d 6 0.000001
session_replay - 20 0.007000
synthetic_tests - 1234 0.017646
total 0.027147`},
		// 2.5 GB × 0.002; 6 × 0.5 / 10⁶; 20 × 0.35 / 10³; 1234 × 1.43 / 10⁴ = 0.176462
		{"INTL", "USD", `
forwarding_storage - 2500000000 0.005000
logs 14d 6 0.000003
session_replay - 20 0.007000
synthetic_tests - 1234 0.176462
total 0.188465`},
	} {
		checkBill(t, exampleRater(t, c.zone, c.currency), in, c.want)
	}
}

// TestMeasures: what the price list says of traces, page views, triggers.
func TestMeasures(t *testing.T) {
	t.Parallel()
	r := exampleRater(t, "CN", "CNY")
	for name, c := range map[string]struct{ in, want string }{
		"MoreSpansThanTraces": { // 300 spans count as 30 traces
			"trace 7d 10 10\ntrace_spans 7d 100 200", "trace 7d 30 0.000090\ntotal 0.000090",
		},
		"MoreTracesThanSpans": {
			"trace 7d 10 30\ntrace_spans 7d 100 200", "trace 7d 40 0.000120\ntotal 0.000120",
		},
		"OnlySpans": {"trace_spans 7d 5", "trace 7d 0.5 0.000002\ntotal 0.000002"}, // a tie, to even
		"PageEvents": { // (400 + 300 + 200 + 150) / 100 = 10.5 is more than 10
			"pv 3d 10\nrum_resources 3d 400\nrum_long_tasks 3d 300\nrum_errors 3d 200\nrum_actions 3d 150",
			"pv 3d 10.5 0.000735\ntotal 0.000735",
		},
		"PageViews":     {"pv 3d 11\nrum_actions 3d 1050", "pv 3d 11 0.000770\ntotal 0.000770"},
		"MutationRun":   {"trigger_advanced_runs - 1", "triggers - 5 0.000500\ntotal 0.000500"},
		"OutlierRun":    {"trigger_advanced_runs - 1\ntrigger_range - 1", "triggers - 6 0.000600\ntotal 0.000600"},
		"IntervalRuns":  {"trigger_advanced_runs - 1 1\ntrigger_range - 3", "triggers - 13 0.001300\ntotal 0.001300"},
		"HostSmartRun":  {"trigger_smart_runs - 1", "triggers - 10 0.001000\ntotal 0.001000"},
		"AllKinds":      {"triggers - 1 2\ntrigger_smart_runs - 1\ntrigger_rum_smart_runs - 2", "triggers - 213 0.021300\ntotal 0.021300"},
		"NothingUsed":   {"sms - 0 0", "sms - 0 0.000000\ntotal 0.000000"},
		"NoSamples":     {"", "total 0.000000"},
		"TwoRetentions": {"logs 7d 1000000\nlogs 14d 1000000", "logs 14d 1000000 1.500000\nlogs 7d 1000000 1.200000\ntotal 2.700000"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkBill(t, r, c.in, c.want)
		})
	}
}

func TestAggregation(t *testing.T) {
	t.Parallel()
	r := compile(t, "currency: CNY", `
  - {item: added, unit: 1, aggregation: sum, prices: [{price: 1}]}
  - {item: held, unit: 1, aggregation: max, prices: [{price: 1}]}
  - {item: stood, unit: 1, aggregation: last, prices: [{price: 1}]}`)
	const in = "added - 1.5 2 0.25\nheld - 1.5 2 0.25\nstood - 1.5 2 0.25"
	const want = "added - 3.75 3.750000\nheld - 2 2.000000\nstood - 0.25 0.250000\ntotal 6.000000"
	checkBill(t, r, in, want)
	backwards := samples(in)
	for i, j := 0, len(backwards)-1; i < j; i, j = i+1, j-1 {
		backwards[i], backwards[j] = backwards[j], backwards[i]
	}
	var out rating.Result
	if err := r.Rate(&out, backwards); err != nil || show(&out) != want {
		t.Errorf("Rate of the samples backwards = %s, %v, want %s", show(&out), err, want)
	}
}

// TestTiers at and around their ends; prices 3, 2 and 1 for 10, up to 100 and
// up to 1000.
func TestTiers(t *testing.T) {
	t.Parallel()
	const tiers = "unit: 10, aggregation: sum, prices: [{tiers: [{up_to: 100, price: 3}, {up_to: 1000, price: 2}, {price: 1}]}]}"
	r := compile(t, "currency: JPY\nscale: 4", "  - {item: g, mode: graduated, "+tiers+"\n  - {item: v, mode: volume, "+tiers)
	for _, c := range []struct {
		quantity, graduated, volume string
		tier                        int
	}{
		{"0", "0.000000", "0.000000", 0},
		{"1", "0.300000", "0.300000", 0},
		{"100", "30.000000", "30.000000", 0},
		{"100.001", "30.000200", "20.000200", 1}, // 30 + 0.0002; 20.0002
		{"101", "30.200000", "20.200000", 1},
		{"1000", "210.000000", "200.000000", 1},
		{"1000.5", "210.050000", "100.050000", 2},
		{"11000", "1210.000000", "1100.000000", 2}, // 30 + 180 + 1000
	} {
		var out rating.Result
		if err := r.Rate(&out, samples("g - "+c.quantity+"\nv - "+c.quantity)); err != nil || len(out.Lines) != 2 {
			t.Fatalf("Rate(%s) = %+v, %v", c.quantity, out.Lines, err)
		}
		g, v := out.Lines[0], out.Lines[1]
		if g.Amount.String() != c.graduated || len(g.Tiers) != c.tier+1 || !g.Price.IsZero() {
			t.Errorf("graduated %s = %s in %d tiers, want %s in %d", c.quantity, g.Amount, len(g.Tiers), c.graduated, c.tier+1)
		}
		if price := int64(3 - c.tier); v.Amount.String() != c.volume || len(v.Tiers) != 1 || v.Price.Cmp(decimal.MustNew(price, 0)) != 0 {
			t.Errorf("volume %s = %s at %s, want %s at %d", c.quantity, v.Amount, v.Price, c.volume, price)
		}
	}
}

func TestFreeQuota(t *testing.T) {
	t.Parallel()
	r := compile(t, "currency: CNY", `
  - item: logs
    unit: 1
    aggregation: sum
    free_quota: 100
    prices: [{variant: 7d, price: 1}, {variant: 14d, price: 2}]
  - item: tiered
    unit: 1
    aggregation: sum
    mode: graduated
    free_quota: 10
    prices: [{tiers: [{up_to: 5, price: 2}, {price: 1}]}]`)
	for _, c := range []struct{ in, want, free string }{
		{"logs 7d 99", "logs 7d 99 0.000000\ntotal 0.000000", "99"},
		{"logs 7d 100.5", "logs 7d 100.5 0.500000\ntotal 0.500000", "100"},
		// the quota goes to 7d first, which is listed first
		{"logs 14d 80\nlogs 7d 60", "logs 14d 80 80.000000\nlogs 7d 60 0.000000\ntotal 80.000000", "40 60"},
		{"logs 14d 80\nlogs 7d 160", "logs 14d 80 160.000000\nlogs 7d 160 60.000000\ntotal 220.000000", "0 100"},
		// tiers begin where the quota ends: 5 at 2, 2 at 1
		{"tiered - 17", "tiered - 17 12.000000\ntotal 12.000000", "10"},
	} {
		checkBill(t, r, c.in, c.want)
		var out rating.Result
		if err := r.Rate(&out, samples(c.in)); err != nil {
			t.Fatal(err)
		}
		var free []string
		for _, l := range out.Lines {
			free = append(free, l.Free.String())
		}
		if got := strings.Join(free, " "); got != c.free {
			t.Errorf("Rate(%s) gives %s for free, want %s", c.in, got, c.free)
		}
	}
}

// TestRounding: once a line, half-even, to the scale of the book.
func TestRounding(t *testing.T) {
	t.Parallel()
	const items = "  - {item: a, unit: 1000, aggregation: sum, prices: [{price: 1}]}\n" +
		"  - {item: b, unit: 3, aggregation: sum, prices: [{price: 1}]}"
	for _, c := range []struct{ scale, in, want string }{
		{"0", "a - 500", "0.000000"},
		{"0", "a - 500.0001", "1.000000"},
		{"0", "a - 1500", "2.000000"},
		{"0", "a - 2500", "2.000000"},
		{"2", "a - 5", "0.000000"},
		{"2", "a - 15", "0.020000"},
		{"2", "a - 25", "0.020000"},
		{"2", "a - 2.5 2.5 2.5 2.5", "0.010000"}, // not rounded by the hour
		{"6", "a - 0.0005", "0.000000"},
		{"6", "a - 0.0015", "0.000002"},
		{"6", "b - 1", "0.333333"},
		{"6", "b - 2", "0.666667"},
		{"6", "b - 0.0000015", "0.000000"}, // a tie
		{"6", "b - 0.0000045", "0.000002"}, // a tie
	} {
		r := compile(t, "currency: USD\nscale: "+c.scale, items)
		var out rating.Result
		if err := r.Rate(&out, samples(c.in)); err != nil || len(out.Lines) != 1 || out.Lines[0].Amount.String() != c.want {
			t.Errorf("Rate(%s) to %s decimals = %+v, %v, want %s", c.in, c.scale, out.Lines, err, c.want)
		}
	}
}

// TestRange: tiny and huge numbers come out exactly, or are faults that leave
// the other lines alone.
func TestRange(t *testing.T) {
	t.Parallel()
	r := compile(t, "currency: CNY", `
  - {item: atoms, unit: 1000000000000000000, aggregation: sum, prices: [{price: 1}]}
  - {item: bytes, unit: 1000000000, aggregation: sum, prices: [{price: 0.007}]}
  - {item: fine, unit: 0.0000000000000000001, aggregation: sum, prices: [{price: 0.0000000000000000001}]}
  - {item: gold, unit: 1, aggregation: sum, prices: [{price: 1000000}]}
  - {item: held, unit: 1, aggregation: max, prices: [{price: 0}]}
  - item: tiers
    unit: 0.0000000000000000007
    aggregation: sum
    mode: graduated
    prices: [{tiers: [{up_to: 0.0000000000000000001, price: 7}, {up_to: 9999999999999999999, price: 0.0000000000000000001}, {price: 0}]}]`)
	for name, c := range map[string]struct{ in, want string }{
		"Largest":        {"bytes - 9999999999999999999", "bytes - 9999999999999999999 70000000.000000\ntotal 70000000.000000"},
		"Smallest":       {"atoms - 0.0000000000000000001", "atoms - 0.0000000000000000001 0.000000\ntotal 0.000000"},
		"FineUnit":       {"fine - 12.5", "fine - 12.5 12.500000\ntotal 12.500000"},
		"FineTiers":      {"tiers - 7", "tiers - 7 2.000000\ntotal 2.000000"}, // 1 + 1
		"LongSum":        {"held - 1\nbytes - 0.0000000001 999999999", "bytes - 999999999.0000000001 0.007000\nheld - 1 0.000000\ntotal 0.007000"},
		"CarryToRound":   {"bytes - 9999999999.999999999 0.000000001", "bytes - 10000000000 0.070000\ntotal 0.070000"},
		"SumTooLong":     {"atoms - 1000000000000000000\nbytes - 9999999999999999999 1", "atoms - 1000000000000000000 1.000000\nfault out_of_range\nfault out_of_range\ntotal 1.000000"},
		"SumTooFine":     {"bytes - 1000000000 0.0000000001", "fault out_of_range\nfault out_of_range\ntotal 0.000000"},
		"MaxNeverTooBig": {"held - 0.0000000000000000001 9999999999999999999", "held - 9999999999999999999 0.000000\ntotal 0.000000"},
		"AmountTooLarge": {"gold - 9223372.036854775808\natoms - 0", "atoms - 0 0.000000\nfault out_of_range\ntotal 0.000000"},
		"AmountLargest":  {"gold - 9223372.036854775807", "gold - 9223372.036854775807 9223372036854.775807\ntotal 9223372036854.775807"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkBill(t, r, c.in, c.want)
		})
	}
	var out rating.Result
	err := r.Rate(&out, samples("gold - 9223372.036854775807\nfine - 1"))
	if !errors.Is(err, money.ErrOverflow) {
		t.Errorf("Rate of lines whose sum is too large = %v, want ErrOverflow", err)
	}
}

// TestFaults: a sample that cannot be rated says why and leaves the others be.
func TestFaults(t *testing.T) {
	t.Parallel()
	r := exampleRater(t, "CN", "CNY")
	in := samples(`
gold - 1
logs 7d 1000000 -1 1000000
logs 8d 1
sms 7d 1
rum_errors 90d 1
rum_pv 3d 1`)
	var out rating.Result
	if err := r.Rate(&out, in); err != nil {
		t.Fatal(err)
	}
	want := []rating.Fault{
		{Sample: 0, Reason: rating.UnknownItem},
		{Sample: 2, Reason: rating.Negative},
		{Sample: 4, Reason: rating.UnknownVariant},
		{Sample: 5, Reason: rating.UnknownVariant},
		{Sample: 6, Reason: rating.UnknownVariant},
		{Sample: 7, Reason: rating.UnknownItem},
	}
	if diff := cmp.Diff(want, out.Faults); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	if len(out.Lines) != 1 || out.Total != 2_400_000 {
		t.Errorf("lines = %+v, total %s, want one line of 2.4", out.Lines, out.Total)
	}
}

// TestLine: a line keeps all that its amount follows from.
func TestLine(t *testing.T) {
	t.Parallel()
	r := exampleRater(t, "CN", "CNY")
	var out rating.Result
	if err := r.Rate(&out, samples("synthetic_tests - 500")); err != nil {
		t.Fatal(err)
	}
	want := rating.Line{
		Item: "synthetic_tests", Quantity: decimal.MustNew(500, 0), Unit: decimal.MustNew(10000, 0),
		Mode: pricing.Flat, Price: decimal.MustNew(1, 0), Amount: 50_000, ExcludeVouchers: true,
	}
	if diff := cmp.Diff([]rating.Line{want}, out.Lines, cmp.Comparer(decimal.Decimal.Equal)); diff != "" {
		t.Errorf("line (-want +got):\n%s", diff)
	}
	if b := r.Book(); b.Zone != "CN" || b.Currency != "CNY" {
		t.Errorf("Book() = %s %s", b.Zone, b.Currency)
	}
}

// TestEffectiveDates: each day is rated by the book that holds on it.
func TestEffectiveDates(t *testing.T) {
	t.Parallel()
	const head = "name: a\nzone: CN\ncurrency: CNY\neffective_from: "
	const item = "\nitems:\n  - {item: trace, unit: 1000000, aggregation: sum, prices: [{variant: 30d, price: "
	books, err := pricing.ParseYAML([]byte(head + "2023-08-24" + item + "18}]}\n---\n" + head + "2024-01-01" + item + "10.8}]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for date, want := range map[string]money.Micros{"2023-12-31": 18_000_000, "2024-01-01": 10_800_000} {
		day, err := usage.ParseDay(date)
		if err != nil {
			t.Fatal(err)
		}
		book, _ := pricing.Select(books, "CN", "CNY", day)
		r, err := rating.Compile(book)
		if err != nil {
			t.Fatal(err)
		}
		var out rating.Result
		if err := r.Rate(&out, samples("trace 30d 1000000")); err != nil || out.Total != want {
			t.Errorf("a million traces on %s = %s, %v, want %s", date, out.Total, err, want)
		}
	}
}

func TestCompileRefusesAWrongBook(t *testing.T) {
	t.Parallel()
	var problems pricing.Problems
	if r, err := rating.Compile(pricing.Book{}); r != nil || !errors.As(err, &problems) {
		t.Errorf("Compile of an empty book = %v, %v, want Problems", r, err)
	}
}
