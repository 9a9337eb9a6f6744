package money

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
)

// Allocate shares total out by weights. The parts add up to total, and each is
// less than one micro away from its exact share. Every part is first rounded
// towards zero; what is left goes out one micro each to the largest
// remainders, the earlier part first where they are equal. A part of weight
// zero is zero. A negative total is shared as its opposite is and the parts
// negated, so that a refund takes back exactly what a charge brought.
//
// Errors: ErrWeights if a weight is negative or all are zero, ErrOverflow if
// they do not add up within 64 bits.
func Allocate(total Micros, weights []int64) ([]Micros, error) {
	sum, err := sumWeights(weights)
	if err != nil {
		return nil, err
	}
	abs := total.magnitude()
	parts := make([]Micros, len(weights))
	rests := make([]rest, len(weights))
	left := abs
	for i, w := range weights {
		hi, lo := bits.Mul64(abs, uint64(w))
		share, over := bits.Div64(hi, lo, sum) // w ≤ sum, so the share is at most abs
		left -= share
		parts[i] = toward(share, total < 0)
		rests[i] = rest{i, over}
	}
	slices.SortFunc(rests, rest.compare)
	for _, r := range rests[:left] { // fewer than there are remainders above zero
		parts[r.part] += toward(1, total < 0)
	}
	return parts, nil
}

// rest is what a part lost when it was rounded, in shares of a micro.
type rest struct {
	part int
	over uint64
}

func (r rest) compare(o rest) int {
	return cmp.Or(cmp.Compare(o.over, r.over), cmp.Compare(r.part, o.part))
}

func sumWeights(weights []int64) (uint64, error) {
	var sum, carry uint64
	for _, w := range weights {
		if w < 0 {
			return 0, ErrWeights
		}
		if sum, carry = bits.Add64(sum, uint64(w), 0); carry != 0 {
			return 0, fmt.Errorf("sum of weights: %w", ErrOverflow)
		}
	}
	if sum == 0 {
		return 0, ErrWeights
	}
	return sum, nil
}

// toward gives a magnitude the sign of the total it is part of; parts are
// never larger than the total.
func toward(abs uint64, negative bool) Micros {
	m, _ := signed(abs, negative)
	return m
}
