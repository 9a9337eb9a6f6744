package rating

import (
	"math"
	"math/bits"

	"cloudsettle/core/money"
	"cloudsettle/core/pricing"
)

// tariff is a price made ready for 64-bit numbers. The amount of a quantity
// that is a count of 10^-k is
//
//	Σ part × price × 10^(shift-k) / divisor
//
// in micros' 10^-(book's scale), where the parts are those of the tiers.
type tariff struct {
	mode    pricing.Mode
	ends    []uint64 // of all tiers but the last, as counts of 10^-scale
	scale   int
	prices  []uint64 // of all tiers, of one scale
	shift   int
	divisor uint64
	micros  uint64 // how many micros one 10^-(book's scale) is
	wide    bool   // a number in it did not fit
}

// newTariff makes a price ready. A flat price is one tier.
func newTariff(it *pricing.Item, p *pricing.Price, bookScale int) tariff {
	tiers := p.Tiers
	if it.Mode == pricing.Flat {
		tiers = []pricing.Tier{{Price: p.Price}}
	}
	t := tariff{mode: it.Mode, micros: pow10[pricing.MaxScale-bookScale]}
	ends, prices := make([]fixed, len(tiers)-1), make([]fixed, len(tiers))
	for i, tier := range tiers {
		prices[i] = fixedOf(tier.Price)
		if i < len(ends) {
			ends[i] = fixedOf(tier.UpTo)
		}
	}
	var priceScale int
	t.ends, t.scale = t.align(ends)
	t.prices, priceScale = t.align(prices)
	unit := fixedOf(it.Unit)
	t.shift = bookScale + unit.scale - priceScale
	t.divisor = unit.coef
	for t.divisor%10 == 0 { // most units are powers of ten: there is little to divide by
		t.divisor /= 10
		t.shift--
	}
	return t
}

// align returns numbers as counts of the same 10^-scale.
func (t *tariff) align(numbers []fixed) (counts []uint64, scale int) {
	for _, n := range numbers {
		scale = max(scale, n.scale)
	}
	for _, n := range numbers {
		count, ok := n.at(scale)
		t.wide = t.wide || !ok
		counts = append(counts, count)
	}
	return counts, scale
}

// amount returns what a quantity costs and the tier that it reaches. It is
// false where 128 bits are too few to tell.
func (t *tariff) amount(q fixed) (amount money.Micros, tier int, ok bool) {
	scale := max(q.scale, t.scale)
	count, ok := q.at(scale)
	if t.wide || !ok {
		return 0, 0, false
	}
	var p product
	if t.mode == pricing.Graduated {
		p, tier = t.graduated(count, pow10[scale-t.scale])
	} else {
		tier = t.reached(count, pow10[scale-t.scale])
		p.add(count, t.prices[tier])
	}
	amount, ok = t.round(p, t.shift-scale)
	return amount, tier, ok
}

// reached returns the tier of a count. Ends belong to the tier they end.
func (t *tariff) reached(count, factor uint64) int {
	for i, end := range t.ends {
		if hi, lo := bits.Mul64(end, factor); hi != 0 || count <= lo {
			return i
		}
	}
	return len(t.ends)
}

// graduated prices each tier's part of a count.
func (t *tariff) graduated(count, factor uint64) (p product, tier int) {
	var begin uint64
	for i, end := range t.ends {
		hi, lo := bits.Mul64(end, factor)
		if hi != 0 || count <= lo {
			p.add(count-begin, t.prices[i])
			return p, i
		}
		p.add(lo-begin, t.prices[i])
		begin = lo
	}
	p.add(count-begin, t.prices[len(t.ends)])
	return p, len(t.ends)
}

// round returns p × 10^shift / divisor, half-even, in micros.
func (t *tariff) round(p product, shift int) (money.Micros, bool) {
	divisor := t.divisor
	switch {
	case shift > maxScale || shift < -maxScale:
		return 0, false
	case shift >= 0:
		p.scale(pow10[shift])
	default:
		hi, lo := bits.Mul64(divisor, pow10[-shift])
		divisor, p.wide = lo, hi != 0
	}
	if p.wide || p.hi >= divisor {
		return 0, false
	}
	count, rest := bits.Div64(p.hi, p.lo, divisor)
	var up uint64
	if half := divisor - rest; rest > half || rest == half && count%2 == 1 {
		up = 1
	}
	count, wrapped := bits.Add64(count, up, 0)
	hi, micros := bits.Mul64(count, t.micros)
	return money.Micros(micros), wrapped == 0 && hi == 0 && micros <= math.MaxInt64
}

// product is a sum of products in 128 bits.
type product struct {
	hi, lo uint64
	wide   bool // it did not fit
}

func (p *product) add(x, y uint64) {
	hi, lo := bits.Mul64(x, y)
	var carry uint64
	p.lo, carry = bits.Add64(p.lo, lo, 0)
	p.hi, carry = bits.Add64(p.hi, hi, carry)
	p.wide = p.wide || carry != 0
}

func (p *product) scale(by uint64) {
	over, hi := bits.Mul64(p.hi, by)
	carry, lo := bits.Mul64(p.lo, by)
	hi, overflow := bits.Add64(hi, carry, 0)
	p.hi, p.lo = hi, lo
	p.wide = p.wide || over != 0 || overflow != 0
}
