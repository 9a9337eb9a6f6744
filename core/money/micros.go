package money

import (
	"fmt"
	"math"
	"math/bits"
	"strconv"
)

// Micros is a number of 10⁻⁶ currency units whose currency is known from the
// context: the lines of a bill, the postings of an account. It is what bulk
// data holds; 64 bits reach to nine trillion units.
type Micros int64

// microDigits is the number of decimals of a Micros.
const microDigits = 6

// Unit is one whole currency unit.
const Unit Micros = 1_000_000

// pow10 holds the powers of ten that fit 64 bits.
var pow10 = [20]uint64{
	1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9,
	1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
}

// Add returns m + o, or ErrOverflow.
func (m Micros) Add(o Micros) (Micros, error) {
	sum := m + o
	if (sum > m) != (o > 0) {
		return 0, fmt.Errorf("%s + %s: %w", m, o, ErrOverflow)
	}
	return sum, nil
}

// Sub returns m − o, or ErrOverflow.
func (m Micros) Sub(o Micros) (Micros, error) {
	diff := m - o
	if (diff < m) != (o > 0) {
		return 0, fmt.Errorf("%s - %s: %w", m, o, ErrOverflow)
	}
	return diff, nil
}

// Neg returns −m, or ErrOverflow for the one number that has no opposite.
func (m Micros) Neg() (Micros, error) {
	if m == math.MinInt64 {
		return 0, fmt.Errorf("-(%s): %w", m, ErrOverflow)
	}
	return -m, nil
}

// Sum adds up amounts of one currency, or ErrOverflow.
func Sum(ms ...Micros) (Micros, error) {
	var sum Micros
	for _, m := range ms {
		var err error
		if sum, err = sum.Add(m); err != nil {
			return 0, err
		}
	}
	return sum, nil
}

// RoundMinor splits m into whole minor units of c, half-even, and the rest:
// rounded + rest = m, and rest is at most half a minor unit, of either sign.
// What is charged to a wallet is the rounded part; the rest is carried.
// Errors: ErrOverflow, within a minor unit of the ends of the range.
func (m Micros) RoundMinor(c Currency) (rounded, rest Micros, err error) {
	unit := c.minor()
	abs := m.magnitude()
	units, over := abs/unit, abs%unit
	if over > unit/2 || over == unit/2 && units%2 == 1 {
		units++
	}
	rounded, ok := signed(units*unit, m < 0) // at most 2⁶³ + 10⁶: no wrap
	if !ok {
		return 0, 0, fmt.Errorf("%s rounded to %d decimals: %w", m, c.MinorDigits(), ErrOverflow)
	}
	return rounded, m - rounded, nil
}

// Minor returns m as a count of c's minor units, or ErrInexact if it is not
// whole.
func (m Micros) Minor(c Currency) (int64, error) {
	unit := Micros(c.minor())
	if m%unit != 0 {
		return 0, fmt.Errorf("%s in units of %d decimals: %w", m, c.MinorDigits(), ErrInexact)
	}
	return int64(m / unit), nil
}

// magnitude is |m|, which has room for the opposite of the least number.
func (m Micros) magnitude() uint64 {
	if m < 0 {
		return -uint64(m)
	}
	return uint64(m)
}

// signed is the reverse of magnitude; it is false if the number does not fit.
func signed(abs uint64, negative bool) (Micros, bool) {
	if negative {
		return Micros(-abs), abs <= 1<<63
	}
	return Micros(abs), abs < 1<<63
}

// ParseMicros reads a decimal number with at most six decimals: "12", "12.34",
// "-0.000001". There is no exponent, no plus sign, no grouping, no space.
// Errors: ErrSyntax, ErrInexact for more decimals, ErrOverflow.
func ParseMicros(s string) (Micros, error) {
	n, err := scan(s)
	if err != nil {
		return 0, fmt.Errorf("amount %s: %w", quote(s), err)
	}
	if n.decimals > microDigits {
		return 0, fmt.Errorf("amount %s has more than %d decimals: %w", quote(s), microDigits, ErrInexact)
	}
	hi, lo := bits.Mul64(n.coef, pow10[microDigits-n.decimals])
	m, ok := signed(lo, n.negative)
	if n.wide || hi != 0 || !ok {
		return 0, fmt.Errorf("amount %s: %w", quote(s), ErrOverflow)
	}
	return m, nil
}

// String returns m with all six decimals, "12.340000": the form of the API.
func (m Micros) String() string { return string(m.append(nil, microDigits)) }

// AppendText appends what String returns. It never fails.
func (m Micros) AppendText(dst []byte) ([]byte, error) { return m.append(dst, microDigits), nil }

// MarshalText returns what String returns. It never fails.
func (m Micros) MarshalText() ([]byte, error) { return m.append(nil, microDigits), nil }

// UnmarshalText reads a number; see ParseMicros.
func (m *Micros) UnmarshalText(text []byte) (err error) {
	*m, err = ParseMicros(string(text))
	return err
}

// FormatMinor returns m with as many decimals as c has, and more only where m
// would not be shown whole: "12.34", "12.345".
func (m Micros) FormatMinor(c Currency) string {
	decimals := microDigits
	for abs := m.magnitude(); decimals > c.MinorDigits() && abs%10 == 0; abs /= 10 {
		decimals--
	}
	return string(m.append(nil, decimals))
}

// append writes m with some decimals; those it leaves out must be zero.
func (m Micros) append(dst []byte, decimals int) []byte {
	abs := m.magnitude()
	if m < 0 {
		dst = append(dst, '-')
	}
	dst = strconv.AppendUint(dst, abs/uint64(Unit), 10)
	if decimals == 0 {
		return dst
	}
	fraction := abs%uint64(Unit) + uint64(Unit) // the leading one keeps the zeros
	at := len(dst)
	dst = strconv.AppendUint(dst, fraction, 10)
	dst[at] = '.'
	return dst[:at+1+decimals]
}
