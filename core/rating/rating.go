package rating

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/govalues/decimal"

	"cloudsettle/core/money"
	"cloudsettle/core/pricing"
	"cloudsettle/core/usage"
)

// Line is one line of a daily bill: what one variant of an item comes to.
type Line struct {
	Item     string
	Variant  string
	Quantity decimal.Decimal // of the day, in what is measured, without trailing zeros
	Free     decimal.Decimal // how much of Quantity the free quota covers
	Unit     decimal.Decimal // what Price is for
	Mode     pricing.Mode
	// Price is the price that all of Quantity - Free is charged at, of a Unit;
	// zero for graduated items, whose prices are in Tiers.
	Price decimal.Decimal
	// Tiers are those that applied: of a graduated item from the first to the
	// one that the quantity reaches, of a volume item that one. They belong to
	// the book and must not be changed.
	Tiers           []pricing.Tier
	Amount          money.Micros
	ExcludeVouchers bool
}

// Reason says why a sample is in no line. It is what the API calls the error.
type Reason string

// The reasons.
const (
	UnknownItem    Reason = "unknown_item"      // the book has no measure of that name
	UnknownVariant Reason = "unknown_variant"   // the item has no price for it
	Negative       Reason = "negative_quantity" // usage is never below zero
	OutOfRange     Reason = "out_of_range"      // its line does not fit a quantity or an amount
)

// Fault is a sample that is in no line.
type Fault struct {
	Sample int // its place among the samples
	Reason Reason
}

// Result is what a day of a workspace comes to. Use one for many days: Rate
// overwrites what was in it and allocates nothing once it is large enough.
type Result struct {
	// Lines are in the byte order of items, then variants. There is one for
	// each item and variant that was reported, also where nothing was used.
	Lines []Line
	// Faults are in the order of the samples. They do not touch other lines.
	Faults []Fault
	// Total is the sum of the lines.
	Total money.Micros

	used    []bool // by item: there are samples
	tallies []tally
	rated   []rated
}

// Rate rates the samples of one workspace's day into out. The keys of samples
// are unique: two samples of the same item, variant and hour would both count.
// Each sample is in the line of its item and variant, or a fault.
//
// Errors: money.ErrOverflow if the lines are fine and their sum is not.
func (r *Rater) Rate(out *Result, samples []usage.Sample) error {
	out.reset(r)
	r.tally(out, samples)
	for i, used := range out.used {
		if used {
			r.rate(out, &r.items[i], samples)
		}
	}
	slices.SortFunc(out.Faults, func(a, b Fault) int { return cmp.Compare(a.Sample, b.Sample) })
	for i := range out.Lines {
		total, err := out.Total.Add(out.Lines[i].Amount)
		if err != nil {
			return fmt.Errorf("rating: total: %w", err)
		}
		out.Total = total
	}
	return nil
}

// reset empties out and makes it large enough for r.
func (out *Result) reset(r *Rater) {
	out.Lines, out.Faults, out.Total = out.Lines[:0], out.Faults[:0], 0
	out.used = slices.Grow(out.used[:0], len(r.items))[:len(r.items)]
	clear(out.used)
	out.tallies = slices.Grow(out.tallies[:0], len(r.gauges))[:len(r.gauges)]
	clear(out.tallies)
	out.rated = slices.Grow(out.rated[:0], r.longest)[:r.longest]
}

// rate adds the lines of one item.
func (r *Rater) rate(out *Result, it *item, samples []usage.Sample) {
	results := out.rated[:len(it.lines)]
	it.measure(out.tallies, results)
	if !it.rateFast(results) {
		r.rateWide(it, results, samples)
	}
	for i := range it.lines {
		switch res := &results[i]; {
		case !res.seen:
		case res.fits:
			out.Lines = append(out.Lines, it.lines[i].bill(res))
		default:
			r.refuse(out, &it.lines[i], samples)
		}
	}
}

// rated is what became of a line.
type rated struct {
	seen     bool // there were samples
	fits     bool // all below could be calculated
	quantity fixed
	free     fixed
	amount   money.Micros
	tier     int // the one that was reached
}

// bill makes the line of a bill.
func (l *line) bill(res *rated) Line {
	out := Line{
		Item: l.item.Code, Variant: l.price.Variant,
		Quantity: res.quantity.decimal(), Free: res.free.decimal(),
		Unit: l.item.Unit, Mode: l.item.Mode, Price: l.price.Price,
		Amount: res.amount, ExcludeVouchers: l.item.ExcludeVouchers,
	}
	switch l.item.Mode {
	case pricing.Graduated:
		out.Tiers = l.price.Tiers[:res.tier+1]
	case pricing.Volume:
		out.Tiers = l.price.Tiers[res.tier : res.tier+1]
		out.Price = out.Tiers[0].Price
	}
	return out
}

// refuse makes faults of all samples of a line.
func (r *Rater) refuse(out *Result, l *line, samples []usage.Sample) {
	for i := range samples {
		g, ok := r.find[keyOf(&samples[i])]
		if ok && r.gauges[g].line == l && !samples[i].Quantity.IsNeg() {
			out.Faults = append(out.Faults, Fault{i, OutOfRange})
		}
	}
}
