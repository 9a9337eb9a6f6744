package rating

import (
	"math/bits"

	"github.com/govalues/decimal"

	"cloudsettle/core/money"
)

// fixed is the number coef / 10^scale, never negative. Those that leave this
// package have no trailing zeros after the point, as trim makes them.
type fixed struct {
	coef  uint64
	scale int
}

// maxScale and maxCoef are the range of a decimal.
const (
	maxScale = decimal.MaxScale
	maxCoef  = 9_999_999_999_999_999_999
)

var pow10 = [maxScale + 1]uint64{
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9,
	1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
}

// fixedOf returns the magnitude of d.
func fixedOf(d decimal.Decimal) fixed { return trim(d.Coef(), d.Scale()) }

// trim takes the trailing zeros off.
func trim(coef uint64, scale int) fixed {
	for scale > 0 && coef%10 == 0 {
		coef /= 10
		scale--
	}
	return fixed{coef, scale}
}

// decimal returns f, which must be within the range of a decimal.
func (f fixed) decimal() decimal.Decimal {
	d, err := money.NewDecimal(false, f.coef, f.scale)
	if err != nil {
		panic("rating: a quantity that was checked: " + err.Error())
	}
	return d
}

// at returns f as a count of 10^-scale, and whether that fits.
func (f fixed) at(scale int) (uint64, bool) {
	hi, lo := bits.Mul64(f.coef, pow10[scale-f.scale])
	return lo, hi == 0
}

// cmp compares any two numbers.
func (f fixed) cmp(o fixed) int {
	scale := max(f.scale, o.scale)
	fHi, fLo := bits.Mul64(f.coef, pow10[scale-f.scale])
	oHi, oLo := bits.Mul64(o.coef, pow10[scale-o.scale])
	switch {
	case fHi != oHi:
		return sign(fHi > oHi)
	case fLo != oLo:
		return sign(fLo > oLo)
	}
	return 0
}

func sign(more bool) int {
	if more {
		return 1
	}
	return -1
}

// add returns f + o, not trimmed, and whether it fits.
func (f fixed) add(o fixed) (fixed, bool) {
	if f.scale == o.scale {
		sum, carry := bits.Add64(f.coef, o.coef, 0)
		return fixed{sum, f.scale}, carry == 0
	}
	scale := max(f.scale, o.scale)
	x, okX := f.at(scale)
	y, okY := o.at(scale)
	sum, carry := bits.Add64(x, y, 0)
	return fixed{sum, scale}, okX && okY && carry == 0
}

// sub returns f - o, trimmed, which must not be negative, and whether it fits.
func (f fixed) sub(o fixed) (fixed, bool) {
	scale := max(f.scale, o.scale)
	x, okX := f.at(scale)
	y, okY := o.at(scale)
	return trim(x-y, scale), okX && okY
}

// mul returns f × o, trimmed, and whether it fits.
func (f fixed) mul(o fixed) (fixed, bool) {
	hi, lo := bits.Mul64(f.coef, o.coef)
	p := trim(lo, f.scale+o.scale)
	if hi != 0 || p.scale > maxScale {
		return fixed{}, false
	}
	return p, true
}

// fits reports whether f is within the range of a decimal.
func (f fixed) fits() bool { return f.coef <= maxCoef }
