package bolt

import (
	"cmp"
	"encoding/binary"
	"math"
	"strings"

	"github.com/govalues/decimal"

	"cloudsettle/core/usage"
)

// daySample is a sample within its workspace and day.
type daySample struct {
	item, variant string
	hour          byte   // 0 to 23
	quantity      string // packed: most are only copied
}

func (s *daySample) compare(o *daySample) int {
	return cmp.Or(
		strings.Compare(s.item, o.item),
		strings.Compare(s.variant, o.variant),
		cmp.Compare(s.hour, o.hour),
	)
}

// mergeDay merges a batch, sorted by compare with repeats in the order they
// came, into the stored samples. changed says whether there is anything to
// store.
func mergeDay(stored []daySample, d *dayBatch, verdicts []usage.Verdict) (merged []daySample, changed bool) {
	merged = make([]daySample, 0, len(stored)+len(d.samples))
	for i := range d.samples {
		s := &d.samples[i]
		for len(stored) > 0 && stored[0].compare(s) <= 0 {
			merged = append(merged, stored[0])
			stored = stored[1:]
		}
		last := len(merged) - 1
		verdict := usage.Accepted
		switch {
		case last < 0 || merged[last].compare(s) != 0:
			merged = append(merged, *s)
		case sameQuantity(merged[last].quantity, s.quantity):
			verdict = usage.Duplicate
		default:
			merged[last].quantity = s.quantity
			verdict = usage.Replaced
		}
		verdicts[d.at[i]] = verdict
		changed = changed || verdict != usage.Duplicate
	}
	return append(merged, stored...), changed
}

// appendDay packs sorted samples: each item and variant once, then its hours
// with their quantities.
func appendDay(dst []byte, samples []daySample) []byte {
	dst = append(dst, formatPacked1)
	for len(samples) > 0 {
		n := 1
		for n < len(samples) && samples[n].item == samples[0].item && samples[n].variant == samples[0].variant {
			n++
		}
		dst = appendString(dst, samples[0].item)
		dst = appendString(dst, samples[0].variant)
		dst = binary.AppendUvarint(dst, uint64(n))
		for _, s := range samples[:n] {
			dst = append(append(dst, s.hour), s.quantity...)
		}
		samples = samples[n:]
	}
	return dst
}

// The least bytes of a packed sample: its hour, and the scale and coefficient
// of its quantity.
const minSample = 3

// lastHour is the last hour of a day in UTC.
const lastHour = 23

// decodeDay reads what appendDay wrote; no value is no samples.
func decodeDay(value []byte) ([]daySample, error) {
	if value == nil {
		return nil, nil
	}
	u, err := unpack(value)
	if err != nil {
		return nil, err
	}
	samples := make([]daySample, 0, len(u.rest)/minSample)
	for u.rest != "" {
		item, variant := u.string(), u.string()
		for range u.listOf(minSample) {
			s := daySample{item: item, variant: variant, hour: u.byte(), quantity: u.quantity()}
			if s.hour > lastHour {
				u.fail()
			}
			samples = append(samples, s)
		}
	}
	if err := u.done(); err != nil {
		return nil, err
	}
	return samples, nil
}

// A packed quantity is a byte with its scale and sign, then its coefficient.
const negative = 0x80

func packQuantity(q decimal.Decimal) string {
	head := byte(q.Scale())
	if q.IsNeg() {
		head |= negative
	}
	var buf [1 + binary.MaxVarintLen64]byte
	return string(binary.AppendUvarint(append(buf[:0], head), q.Coef()))
}

// quantity reads a packed quantity and leaves it packed.
func (u *unpacker) quantity() string {
	before := u.rest
	u.byte()
	u.uint()
	return before[:len(before)-len(u.rest)]
}

// unpackQuantity is the reverse of packQuantity.
func unpackQuantity(packed string) (decimal.Decimal, error) {
	u := unpacker{rest: packed}
	head, coef := u.byte(), u.uint()
	if err := u.done(); err != nil {
		return decimal.Decimal{}, err
	}
	q, err := newDecimal(coef, int(head&^negative))
	if err != nil {
		return decimal.Decimal{}, errCorrupt
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
	p, errP := unpackQuantity(a)
	q, errQ := unpackQuantity(b)
	return errP == nil && errQ == nil && p.Equal(q)
}
