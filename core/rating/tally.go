package rating

import (
	"cloudsettle/core/pricing"
	"cloudsettle/core/usage"
)

// tally is a gauge while a day is counted.
type tally struct {
	value fixed
	at    int64 // the hour of value, for pricing.Last
	seen  bool
	wide  bool // value did not fit
}

// tally counts the samples on their gauges. Stores return the samples of an
// item and variant together, so most need no look-up.
func (r *Rater) tally(out *Result, samples []usage.Sample) {
	var g *gauge
	var t *tally
	for i := range samples {
		s := &samples[i]
		if i == 0 || s.Item != samples[i-1].Item || s.Variant != samples[i-1].Variant {
			g, t = r.open(out, s)
		}
		switch {
		case g == nil:
			out.Faults = append(out.Faults, Fault{i, r.stranger(s)})
		case s.Quantity.IsNeg():
			out.Faults = append(out.Faults, Fault{i, Negative})
		default:
			t.count(g.aggregation, s)
		}
	}
}

// open finds the gauge of a sample and its tally, or nil, and notes that there
// is something to rate.
func (r *Rater) open(out *Result, s *usage.Sample) (*gauge, *tally) {
	at, ok := r.find[keyOf(s)]
	if !ok {
		return nil, nil
	}
	g := &r.gauges[at]
	out.used[g.item] = true
	return g, &out.tallies[at]
}

// stranger says why a sample has no gauge.
func (r *Rater) stranger(s *usage.Sample) Reason {
	if r.measures[s.Item] {
		return UnknownVariant
	}
	return UnknownItem
}

// count adds a sample.
func (t *tally) count(a pricing.Aggregation, s *usage.Sample) {
	q := fixed{s.Quantity.Coef(), s.Quantity.Scale()}
	switch a {
	case pricing.Sum:
		sum, ok := t.value.add(q)
		t.value, t.wide = sum, t.wide || !ok
	case pricing.Max:
		if q.cmp(t.value) > 0 {
			t.value = q
		}
	default:
		if hour := s.Hour.Unix(); !t.seen || hour >= t.at {
			t.value, t.at = q, hour
		}
	}
	t.seen = true
}

// measure makes the quantities of an item's lines from the tallies.
func (it *item) measure(tallies []tally, results []rated) {
	for i := range it.lines {
		results[i] = rated{}
		it.lines[i].measure(tallies, &results[i])
	}
}

// measure sets seen, quantity, and whether it fits.
func (l *line) measure(tallies []tally, res *rated) {
	res.fits = true
	for _, group := range l.groups {
		var sum fixed
		for _, term := range group {
			t := &tallies[term.gauge]
			if !t.seen {
				continue
			}
			part, okPart := t.value.mul(term.weight)
			next, okSum := sum.add(part)
			sum, res.seen = next, true
			res.fits = res.fits && okPart && okSum && !t.wide
		}
		if sum.cmp(res.quantity) > 0 {
			res.quantity = sum
		}
	}
	res.quantity = trim(res.quantity.coef, res.quantity.scale)
	res.fits = res.fits && res.quantity.fits()
}
