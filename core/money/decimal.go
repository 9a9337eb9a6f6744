package money

import (
	"fmt"
	"math"

	"github.com/govalues/decimal"
)

// MaxDigits is how many digits a decimal has at most, before and after the
// point together. Quantities and unit prices thus reach from 10⁻¹⁹ to 10¹⁹.
const MaxDigits = decimal.MaxPrec

// maxCoef is the largest number of MaxDigits digits.
const maxCoef = 9_999_999_999_999_999_999

// ParseDecimal reads an exact decimal, "1200000" or "0.0007", and keeps its
// decimals. There is no exponent, no plus sign, no grouping, no space; unlike
// decimal.Parse it never rounds. Errors: ErrSyntax, ErrInexact for more than
// 19 decimals, ErrOverflow for more than MaxDigits digits.
func ParseDecimal(s string) (decimal.Decimal, error) {
	n, err := scan(s)
	switch {
	case err != nil:
	case n.decimals > decimal.MaxScale:
		err = ErrInexact
	case n.wide:
		err = ErrOverflow
	default:
		var d decimal.Decimal
		if d, err = NewDecimal(n.negative, n.coef, n.decimals); err == nil {
			return d, nil
		}
	}
	return decimal.Decimal{}, fmt.Errorf("number %s: %w", quote(s), err)
}

// NewDecimal returns ±coef / 10^scale, or ErrOverflow if coef has more than
// MaxDigits digits or the scale is not within [0, 19].
func NewDecimal(negative bool, coef uint64, scale int) (decimal.Decimal, error) {
	d, err := newDecimal(coef, scale)
	if err != nil || coef > maxCoef {
		return decimal.Decimal{}, fmt.Errorf("%d with %d decimals: %w", coef, scale, ErrOverflow)
	}
	if negative {
		d = d.Neg()
	}
	return d, nil
}

// newDecimal makes coef / 10^scale from two halves where it is more than the
// constructor's int64 holds.
func newDecimal(coef uint64, scale int) (decimal.Decimal, error) {
	if coef <= math.MaxInt64 {
		return decimal.New(int64(coef), scale)
	}
	half, err := decimal.New(int64(coef/2), scale)
	if err != nil {
		return decimal.Decimal{}, err
	}
	odd, err := decimal.New(int64(coef%2), scale)
	if err != nil {
		return decimal.Decimal{}, err
	}
	return decimal.Sum(half, half, odd)
}
