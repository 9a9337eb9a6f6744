package rating_test

import (
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/govalues/decimal"
	"pgregory.net/rapid"

	"cloudsettle/core/money"
	"cloudsettle/core/rating"
	"cloudsettle/core/usage"
)

// propertyBook has an item of each kind. Its unit of three cannot be divided
// by exactly.
const propertyBook = `
  - {item: flat, unit: 1000, aggregation: sum, prices: [{variant: 7d, price: 1.23}, {variant: 14d, price: 0.7}]}
  - {item: thirds, unit: 3, aggregation: sum, free_quota: 5, prices: [{price: 0.01}]}
  - {item: held, unit: 10, aggregation: max, prices: [{price: 0.333}]}
  - {item: stood, unit: 10, aggregation: last, prices: [{price: 0.333}]}
  - item: graduated
    unit: 7
    aggregation: sum
    mode: graduated
    prices: [{tiers: [{up_to: 10.5, price: 3.3}, {up_to: 1000, price: 0}, {up_to: 1001, price: 9}, {price: 0.001}]}]
  - item: volume
    unit: 1
    aggregation: sum
    mode: volume
    prices: [{tiers: [{up_to: 10, price: 2}, {price: 1}]}]
  - item: weighed
    unit: 1
    aggregation: sum
    measures: [{measure: x, weight: 0.25}, {measure: y, weight: 4, group: g}, {measure: z, group: g}]
    prices: [{variant: 7d, price: 0.000001}]`

func quantity() *rapid.Generator[decimal.Decimal] {
	return rapid.Custom(func(t *rapid.T) decimal.Decimal {
		top := rapid.SampledFrom([]uint64{10, 3000, 1e9, 1e19 - 1}).Draw(t, "top")
		d, err := money.NewDecimal(false, rapid.Uint64Range(0, top).Draw(t, "coef"), rapid.IntRange(0, 6).Draw(t, "scale"))
		if err != nil {
			t.Fatal(err)
		}
		return d
	})
}

// days draws the samples of a day: known and unknown, and a few below zero,
// with keys that are unique.
func days() *rapid.Generator[[]usage.Sample] {
	names := []string{"flat", "thirds", "held", "stood", "graduated", "volume", "weighed", "x", "y", "z", "gold"}
	sample := rapid.Custom(func(t *rapid.T) usage.Sample {
		q := quantity().Draw(t, "quantity")
		if rapid.IntRange(0, 20).Draw(t, "below") == 0 {
			q = q.Neg()
		}
		return usage.Sample{
			Item:     rapid.SampledFrom(names).Draw(t, "item"),
			Variant:  rapid.SampledFrom([]string{"", "7d", "14d"}).Draw(t, "variant"),
			Hour:     midnight.Add(time.Duration(rapid.IntRange(0, 23).Draw(t, "hour")) * time.Hour),
			Quantity: q,
		}
	})
	return rapid.SliceOfNDistinct(sample, 0, 40, func(s usage.Sample) [3]string {
		return [3]string{s.Item, s.Variant, s.Hour.String()}
	})
}

func rate(t interface{ Fatal(...any) }, r *rating.Rater, in []usage.Sample) rating.Result {
	var out rating.Result
	if err := r.Rate(&out, in); err != nil {
		t.Fatal(err)
	}
	return out
}

var sameDecimal = cmp.Comparer(func(a, b decimal.Decimal) bool { return a.CmpTotal(b) == 0 })

// TestLinesAddUp, are in order, and hold all samples that are no faults.
func TestLinesAddUp(t *testing.T) {
	t.Parallel()
	r := compile(t, "currency: CNY", propertyBook)
	rapid.Check(t, func(t *rapid.T) {
		in := days().Draw(t, "samples")
		out := rate(t, r, in)
		var sum money.Micros
		for i, l := range out.Lines {
			sum += l.Amount
			if i > 0 && (out.Lines[i-1].Item+"\x00"+out.Lines[i-1].Variant) >= l.Item+"\x00"+l.Variant {
				t.Fatalf("line %d is out of order: %+v", i, out.Lines)
			}
		}
		if sum != out.Total {
			t.Fatalf("the lines add up to %s, the total is %s", sum, out.Total)
		}
		good := slices.Clone(in)
		for _, f := range slices.Backward(out.Faults) {
			good = slices.Delete(good, f.Sample, f.Sample+1)
		}
		again := rate(t, r, good)
		if diff := cmp.Diff(out.Lines, again.Lines, sameDecimal, cmpopts.EquateEmpty()); diff != "" || len(again.Faults) > 0 {
			t.Fatalf("without the faults %v, lines differ or %v:\n%s", out.Faults, again.Faults, diff)
		}
	})
}

// TestOnlyValuesCount: the order of samples and how numbers are written change
// nothing, nor does what was in the result before.
func TestOnlyValuesCount(t *testing.T) {
	t.Parallel()
	r := compile(t, "currency: CNY", propertyBook)
	var used rating.Result
	rapid.Check(t, func(t *rapid.T) {
		in := days().Draw(t, "samples")
		want := rate(t, r, in)
		other := rapid.Permutation(in).Draw(t, "permutation")
		for i := range other {
			q := &other[i].Quantity
			*q = q.Pad(rapid.IntRange(0, decimal.MaxScale).Draw(t, "decimals"))
		}
		if err := r.Rate(&used, other); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want.Lines, used.Lines, sameDecimal, cmpopts.EquateEmpty()); diff != "" || want.Total != used.Total {
			t.Fatalf("lines differ (-first +other):\n%s", diff)
		}
		if len(want.Faults) != len(used.Faults) {
			t.Fatalf("faults = %v, want as many as %v", used.Faults, want.Faults)
		}
	})
}

// amountOf rates one sample; it is false for a fault.
func amountOf(t *rapid.T, r *rating.Rater, item, variant string, q decimal.Decimal) (money.Micros, bool) {
	out := rate(t, r, []usage.Sample{{Item: item, Variant: variant, Hour: midnight, Quantity: q}})
	return out.Total, len(out.Faults) == 0
}

// TestMoreNeverCostsLess, but for volume prices, where it may.
func TestMoreNeverCostsLess(t *testing.T) {
	t.Parallel()
	r := compile(t, "currency: CNY", propertyBook)
	rapid.Check(t, func(t *rapid.T) {
		a, b := quantity().Draw(t, "a"), quantity().Draw(t, "b")
		less, more := a.Min(b), a.Max(b)
		for _, item := range []string{"thirds", "held", "stood", "graduated"} {
			x, okX := amountOf(t, r, item, "", less)
			y, okY := amountOf(t, r, item, "", more)
			if okX && okY && x > y || !okX && okY {
				t.Fatalf("%s of %s costs %s, %s costs %s", less, item, x, more, y)
			}
		}
	})
}

// TestGraduatedIsContinuous: at the end of a tier, a little more costs a
// little more.
func TestGraduatedIsContinuous(t *testing.T) {
	t.Parallel()
	r := compile(t, "currency: CNY", propertyBook)
	rapid.Check(t, func(t *rapid.T) {
		end := decimal.MustParse(rapid.SampledFrom([]string{"10.5", "1000", "1001"}).Draw(t, "end"))
		step := decimal.MustNew(rapid.Int64Range(1, 1000).Draw(t, "step"), 9) // at most 10⁻⁶
		above, err := end.Add(step)
		if err != nil {
			t.Fatal(err)
		}
		at, _ := amountOf(t, r, "graduated", "", end)
		past, _ := amountOf(t, r, "graduated", "", above)
		if past < at || past > at+3 { // 9/7 × 10⁻⁶ at most, and a rounding
			t.Fatalf("%s costs %s, %s costs %s", end, at, above, past)
		}
	})
}

// TestAmountIsNearest: no line is more than half a micro from what a fraction
// says it should be.
func TestAmountIsNearest(t *testing.T) {
	t.Parallel()
	r := compile(t, "currency: CNY", propertyBook)
	rapid.Check(t, func(t *rapid.T) {
		q := quantity().Draw(t, "quantity")
		got, ok := amountOf(t, r, "flat", "7d", q)
		if !ok {
			t.Skip("too large")
		}
		exact, _ := new(big.Rat).SetString(q.String())
		exact.Mul(exact, big.NewRat(1_230_000, 1000)) // 1.23 for 1000, in micros
		off := exact.Sub(exact, new(big.Rat).SetInt64(int64(got)))
		if off.Abs(off).Cmp(big.NewRat(1, 2)) > 0 {
			t.Fatalf("%s costs %s, %s micros off", q, got, off)
		}
	})
}
