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

// noGauge stands for a sample whose key is unknown.
const noGauge = -1

// tally counts the samples on their gauges. Stores return the samples of an
// item and variant together, so most need no look-up.
func (r *Rater) tally(out *Result, samples []usage.Sample) {
	var last key
	g := int32(noGauge)
	for i := range samples {
		s := &samples[i]
		if k := keyOf(s); i == 0 || k != last {
			last, g = k, r.gauge(k)
		}
		switch {
		case g == noGauge:
			out.Faults = append(out.Faults, Fault{i, r.stranger(s)})
		case s.Quantity.IsNeg():
			out.Faults = append(out.Faults, Fault{i, Negative})
		default:
			out.tallies[g].count(r.gauges[g].aggregation, s)
		}
	}
}

func (r *Rater) gauge(k key) int32 {
	if g, ok := r.find[k]; ok {
		return g
	}
	return noGauge
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
	q := fixedOf(s.Quantity)
	switch {
	case !t.seen:
		t.value, t.at, t.seen = q, s.Hour.Unix(), true
	case a == pricing.Sum:
		sum, ok := t.value.add(q)
		t.value, t.wide = sum, t.wide || !ok
	case a == pricing.Max:
		if q.cmp(t.value) > 0 {
			t.value = q
		}
	case s.Hour.Unix() >= t.at:
		t.value, t.at = q, s.Hour.Unix()
	}
}

// measure makes the quantities of an item's lines from the tallies and reports
// whether there is any line with samples.
func (it *item) measure(out *Result) bool {
	found := false
	for i := range it.lines {
		res := &out.rated[i]
		*res = rated{}
		it.lines[i].measure(out.tallies, res)
		found = found || res.seen
	}
	return found
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
	res.fits = res.fits && res.quantity.fits()
}
