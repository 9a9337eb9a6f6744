package rating

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/govalues/decimal"

	"cloudsettle/core/money"
	"cloudsettle/core/pricing"
	"cloudsettle/core/usage"
)

// random makes books and samples. Numbers are of any length, so that some fit
// 64 bits on all ways and some on none.
type random struct{ *rand.Rand }

// number has up to digits digits, up to scale of them after the point.
func (r random) number(digits, scale int) decimal.Decimal {
	coef := r.Uint64() % (pow10[1+r.IntN(digits)%maxScale])
	d, err := money.NewDecimal(false, coef, r.IntN(scale+1))
	if err != nil {
		panic(err)
	}
	return d
}

// above has the same range without zero.
func (r random) above(digits, scale int) decimal.Decimal {
	if d := r.number(digits, scale); d.IsPos() {
		return d
	}
	return decimal.One
}

// unit is mostly a power of ten, as units are.
func (r random) unit() decimal.Decimal {
	if r.IntN(4) == 0 {
		return r.above(19, 19)
	}
	return decimal.MustNew(int64(pow10[r.IntN(13)]), 0)
}

// sizes are the lengths of numbers that a book and its samples are made of:
// those of a price list, longer ones, and all that there are.
var sizes = [][2]int{{8, 3}, {12, 6}, {19, 19}}

func (r random) item(digits, scale int) pricing.Item {
	it := pricing.Item{
		Code: "i", Unit: r.unit(),
		Aggregation: []pricing.Aggregation{pricing.Sum, pricing.Max, pricing.Last}[r.IntN(3)],
		Mode:        []pricing.Mode{pricing.Flat, pricing.Graduated, pricing.Volume}[r.IntN(3)],
		Measures: []pricing.Measure{
			{Code: "a", Weight: decimal.One},
			{Code: "b", Weight: r.above(3, 3)},
			{Code: "c", Weight: r.above(3, 3), Group: "other"},
		},
	}
	if r.IntN(2) == 0 {
		it.FreeQuota = r.number(digits, scale)
	}
	for i := range 2 {
		it.Prices = append(it.Prices, r.price(it.Mode, fmt.Sprintf("%dd", i), digits, scale))
	}
	return it
}

func (r random) price(m pricing.Mode, variant string, digits, scale int) pricing.Price {
	p := pricing.Price{Variant: variant}
	if m == pricing.Flat {
		p.Price = r.number(digits, scale)
		return p
	}
	end := decimal.Zero
	for range r.IntN(4) {
		if next := r.above(digits, scale); next.Cmp(end) > 0 {
			end = next
			p.Tiers = append(p.Tiers, pricing.Tier{UpTo: end, Price: r.number(digits, scale)})
		}
	}
	p.Tiers = append(p.Tiers, pricing.Tier{Price: r.number(digits, scale)})
	return p
}

func (r random) samples(digits, scale int) []usage.Sample {
	out := make([]usage.Sample, 1+r.IntN(4))
	for i := range out {
		out[i] = usage.Sample{
			Item: []string{"a", "b", "c"}[r.IntN(3)], Variant: []string{"0d", "1d"}[r.IntN(2)],
			Hour: time.Unix(int64(i)*3600, 0), Quantity: r.number(digits, scale),
		}
	}
	return out
}

// cases is how many random days the two ways are compared on. A million take
// a while: go test -run FastIsWide ./core/rating -cases 1000000
var cases = flag.Int("cases", 20_000, "random days for TestFastIsWide")

const casesPerBook = 50

// TestFastIsWide: the way with 64-bit numbers finds what fractions of any size
// find, wherever it finds anything.
func TestFastIsWide(t *testing.T) {
	t.Parallel()
	n := *cases
	r := random{rand.New(rand.NewPCG(1, 2))}
	var fast, refused int
	var out Result
	for range n / casesPerBook {
		size := sizes[r.IntN(len(sizes))]
		b := pricing.Book{
			Name: "a", Zone: "a", Currency: "CNY", Scale: r.IntN(7),
			Items: []pricing.Item{r.item(size[0], size[1])},
		}
		rater, err := Compile(b)
		if err != nil {
			t.Fatalf("Compile(%+v) = %v", b, err)
		}
		for range casesPerBook {
			in := r.samples(size[0], size[1])
			ok, fits := compare(t, rater, &out, in)
			if ok {
				fast++
			}
			if !fits {
				refused++
			}
		}
	}
	if fast < n/2 || fast > n*9/10 || refused < n/100 {
		t.Errorf("of %d cases 64 bits were enough for %d, and %d were refused: too one-sided a test", n, fast, refused)
	}
}

// compare rates an item both ways. It returns whether 64 bits were enough and
// whether all lines fit.
func compare(t *testing.T, r *Rater, out *Result, in []usage.Sample) (fast, fits bool) {
	it := &r.items[0]
	out.reset(r)
	r.tally(out, in)
	it.measure(out.tallies, out.rated)
	var wide [2]rated
	copy(wide[:], out.rated)
	r.rateWide(it, wide[:], in)
	fast, fits = it.rateFast(out.rated), true
	for i := range wide {
		fits = fits && (wide[i].fits || !wide[i].seen)
		if fast && wide[i] != out.rated[i] {
			t.Fatalf("book %+v\nsamples %v\n64 bits: %+v\nwide:    %+v", r.book, in, out.rated[i], wide[i])
		}
	}
	return fast, fits
}
