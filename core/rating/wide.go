package rating

import (
	"math/big"

	"github.com/govalues/decimal"

	"cloudsettle/core/money"
	"cloudsettle/core/pricing"
	"cloudsettle/core/usage"
)

// rateWide rates the lines of an item with fractions of any size, from the
// samples and the book. It is what the 64-bit way must agree with, and shares
// nothing with it.
func (r *Rater) rateWide(it *item, results []rated, samples []usage.Sample) {
	values := r.tallyWide(it, samples)
	left := fraction(it.FreeQuota)
	for _, i := range it.order {
		res := &results[i]
		if !res.seen {
			continue
		}
		l := &it.lines[i]
		quantity := l.measureWide(values)
		free := smaller(left, quantity)
		left = new(big.Rat).Sub(left, free)
		billed := new(big.Rat).Sub(quantity, free)
		amount, tier := l.amountWide(billed)
		var okQuantity, okFree, okAmount bool
		res.quantity, okQuantity = fixedFraction(quantity)
		res.free, okFree = fixedFraction(free)
		res.amount, okAmount = roundWide(amount, r.book.Scale)
		res.tier = tier
		res.fits = okQuantity && okFree && okAmount
	}
}

// tallyWide aggregates the samples of an item by gauge.
func (r *Rater) tallyWide(it *item, samples []usage.Sample) map[int]*big.Rat {
	values, hours := map[int]*big.Rat{}, map[int]int64{}
	for i := range samples {
		s := &samples[i]
		g, ok := r.find[keyOf(s)]
		if !ok || r.gauges[g].line.item != it.Item || s.Quantity.IsNeg() {
			continue
		}
		before, q := values[g], fraction(s.Quantity)
		switch {
		case before == nil:
		case it.Aggregation == pricing.Sum:
			q.Add(q, before)
		case it.Aggregation == pricing.Max && before.Cmp(q) > 0,
			it.Aggregation == pricing.Last && s.Hour.Unix() < hours[g]:
			continue
		}
		values[g], hours[g] = q, s.Hour.Unix()
	}
	return values
}

// measureWide returns the quantity of a line.
func (l *line) measureWide(values map[int]*big.Rat) *big.Rat {
	sums := map[string]*big.Rat{}
	largest := new(big.Rat)
	for i, m := range l.item.Counted() {
		value := values[l.first+i]
		if value == nil {
			continue
		}
		if sums[m.Group] == nil {
			sums[m.Group] = new(big.Rat)
		}
		sums[m.Group].Add(sums[m.Group], new(big.Rat).Mul(value, fraction(m.Weight)))
	}
	for _, sum := range sums {
		if sum.Cmp(largest) > 0 {
			largest = sum
		}
	}
	return largest
}

// amountWide returns what a quantity costs, exactly, and the tier it reaches.
func (l *line) amountWide(q *big.Rat) (*big.Rat, int) {
	unit := fraction(l.item.Unit)
	cost := func(quantity *big.Rat, price decimal.Decimal) *big.Rat {
		c := new(big.Rat).Mul(quantity, fraction(price))
		return c.Quo(c, unit)
	}
	if l.item.Mode == pricing.Flat {
		return cost(q, l.price.Price), 0
	}
	sum, begin := new(big.Rat), new(big.Rat)
	for i, t := range l.price.Tiers {
		end := fraction(t.UpTo)
		last := i == len(l.price.Tiers)-1 || q.Cmp(end) <= 0
		switch {
		case last && l.item.Mode == pricing.Volume:
			return cost(q, t.Price), i
		case last:
			return sum.Add(sum, cost(new(big.Rat).Sub(q, begin), t.Price)), i
		}
		sum.Add(sum, cost(new(big.Rat).Sub(end, begin), t.Price))
		begin = end
	}
	panic("rating: a price without tiers was compiled")
}

// roundWide rounds to a scale, half-even, and reports whether it fits.
func roundWide(r *big.Rat, scale int) (money.Micros, bool) {
	count := new(big.Int).Mul(r.Num(), new(big.Int).SetUint64(pow10[scale]))
	count, rest := count.QuoRem(count, r.Denom(), new(big.Int))
	half := new(big.Int).Sub(r.Denom(), rest)
	if c := rest.Cmp(half); c > 0 || c == 0 && count.Bit(0) == 1 {
		count.Add(count, big.NewInt(1))
	}
	count.Mul(count, new(big.Int).SetUint64(pow10[pricing.MaxScale-scale]))
	return money.Micros(count.Int64()), count.IsInt64()
}

// fraction returns a decimal as it is.
func fraction(d decimal.Decimal) *big.Rat {
	num := new(big.Int).SetUint64(d.Coef())
	if d.IsNeg() {
		num.Neg(num)
	}
	return new(big.Rat).SetFrac(num, new(big.Int).SetUint64(pow10[d.Scale()]))
}

// fixedFraction is the reverse of fraction; it is false for what a decimal
// cannot hold.
func fixedFraction(r *big.Rat) (fixed, bool) {
	coef := new(big.Int).Mul(r.Num(), new(big.Int).SetUint64(pow10[maxScale]))
	coef, rest := coef.QuoRem(coef, r.Denom(), new(big.Int))
	scale, ten, digit := maxScale, big.NewInt(10), new(big.Int)
	for scale > 0 {
		shorter, digit := new(big.Int).QuoRem(coef, ten, digit)
		if digit.Sign() != 0 {
			break
		}
		coef, scale = shorter, scale-1
	}
	f := fixed{coef.Uint64(), scale}
	return f, rest.Sign() == 0 && coef.IsUint64() && f.fits()
}

func smaller(a, b *big.Rat) *big.Rat {
	if a.Cmp(b) < 0 {
		return a
	}
	return b
}
