package daypack

import (
	"encoding/binary"
	"math"

	"github.com/govalues/decimal"

	"cloudsettle/store/internal/packed"
)

// A packed quantity is a byte with its scale and sign, then its coefficient.
const negative = 0x80

// AppendDecimal packs a decimal.
func AppendDecimal(dst []byte, q decimal.Decimal) []byte {
	head := byte(q.Scale())
	if q.IsNeg() {
		head |= negative
	}
	return binary.AppendUvarint(append(dst, head), q.Coef())
}

// quantity reads a packed quantity and leaves it packed.
func (u *reader) quantity() string {
	before := u.At()
	u.Byte()
	u.Uint()
	return u.Since(before)
}

// unpackDecimal is the reverse of AppendDecimal.
func unpackDecimal(text string) (decimal.Decimal, error) {
	u := reader{packed.Read(text)}
	head, coef := u.Byte(), u.Uint()
	if err := u.Done(); err != nil {
		return decimal.Decimal{}, err
	}
	return Decimal(head, coef)
}

// Decimal makes a decimal of its packed parts.
func Decimal(head byte, coef uint64) (decimal.Decimal, error) {
	q, err := newDecimal(coef, int(head&^negative))
	if err != nil {
		return decimal.Decimal{}, packed.ErrCorrupt
	}
	if head&negative != 0 {
		q = q.Neg()
	}
	return q, nil
}

// newDecimal makes coef / 10^scale. Coefficients have up to 19 digits, which
// is more than the constructor's int64 holds.
func newDecimal(coef uint64, scale int) (decimal.Decimal, error) {
	if coef <= math.MaxInt64 {
		return decimal.New(int64(coef), scale)
	}
	head, err := decimal.New(int64(coef/10), max(scale-1, 0))
	if err != nil {
		return decimal.Decimal{}, err
	}
	if scale == 0 {
		if head, err = head.Mul(decimal.Ten); err != nil {
			return decimal.Decimal{}, err
		}
	}
	tail, err := decimal.New(int64(coef%10), scale)
	if err != nil {
		return decimal.Decimal{}, err
	}
	return head.AddExact(tail, scale)
}

// sameQuantity compares packed quantities by value: 1.0 is 1.
func sameQuantity(a, b string) bool {
	if a == b {
		return true
	}
	p, errP := unpackDecimal(a)
	q, errQ := unpackDecimal(b)
	return errP == nil && errQ == nil && p.Equal(q)
}
