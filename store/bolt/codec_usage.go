package bolt

import (
	"cmp"
	"encoding/binary"
	"math"
	"strings"

	"github.com/govalues/decimal"

	"cloudsettle/core/usage"
)

// A workspace's day is packed as series, one for each item and variant, sorted.
// A series is its item, its variant, and the length in bytes of what follows:
// hours with their quantities, sorted. So a batch copies the series that it
// does not touch as they are.

// daySample is a sample on its way into a stored day.
type daySample struct {
	item, variant string
	day           int64 // days since 1970
	hour          byte  // 0 to 23
	quantity      string
}

// series is a stored series, its samples still packed.
type series struct {
	item, variant string
	samples       string
	packed        string // all of it
}

// series reads the next series; none is left when its item is empty.
func (u *unpacker) series() series {
	if u.rest == "" {
		return series{}
	}
	before := u.rest
	s := series{item: u.string(), variant: u.string(), samples: u.string()}
	if s.item == "" {
		u.fail()
	}
	s.packed = before[:len(before)-len(u.rest)]
	return s
}

// compareSeries orders by item, then by variant.
func compareSeries(item, variant, otherItem, otherVariant string) int {
	return cmp.Or(strings.Compare(item, otherItem), strings.Compare(variant, otherVariant))
}

// merger merges a batch into a packed day.
type merger struct {
	fresh    []daySample // sorted; repeats in the order they came
	at       []int       // their positions in verdicts
	verdicts []usage.Verdict
	scratch  []byte // the series being merged
	changed  bool
	bad      bool // a stored series is damaged
}

// merge appends the merged day to dst and notes what became of each sample. An
// empty value is a day without samples.
func (m *merger) merge(dst, value []byte) ([]byte, error) {
	dst = append(dst, formatPacked1)
	u := &unpacker{}
	if len(value) > 0 {
		var err error
		if u, err = unpack(value); err != nil {
			return nil, err
		}
	}
	stored := u.series()
	for stored.item != "" || len(m.fresh) > 0 {
		order := -1
		switch {
		case stored.item == "":
			order = 1
		case len(m.fresh) > 0:
			order = compareSeries(stored.item, stored.variant, m.fresh[0].item, m.fresh[0].variant)
		}
		if order < 0 {
			dst = append(dst, stored.packed...)
		} else if order > 0 {
			dst = m.mergeSeries(dst, "")
		} else {
			dst = m.mergeSeries(dst, stored.samples)
		}
		if order <= 0 {
			stored = u.series()
		}
	}
	if m.bad {
		return nil, errCorrupt
	}
	return dst, u.done()
}

// mergeSeries appends the series that the batch continues with, merged into
// its stored samples.
func (m *merger) mergeSeries(dst []byte, stored string) []byte {
	item, variant := m.fresh[0].item, m.fresh[0].variant
	old := &unpacker{rest: stored}
	out := m.scratch[:0]
	now := old.hourly()
	for len(m.fresh) > 0 && m.fresh[0].item == item && m.fresh[0].variant == variant {
		for now.there && now.hour < m.fresh[0].hour {
			out = now.append(out)
			now = old.hourly()
		}
		kept := hourly{hour: m.fresh[0].hour}
		if now.there && now.hour == kept.hour {
			kept, now = now, old.hourly()
		}
		out = m.settle(kept, item, variant).append(out)
	}
	for now.there {
		out = now.append(out)
		now = old.hourly()
	}
	m.scratch, m.bad = out, m.bad || old.bad
	dst = appendString(dst, item)
	dst = appendString(dst, variant)
	dst = binary.AppendUvarint(dst, uint64(len(out)))
	return append(dst, out...)
}

// settle takes all samples of one hour from the batch and returns what is kept.
func (m *merger) settle(kept hourly, item, variant string) hourly {
	for len(m.fresh) > 0 {
		s := &m.fresh[0]
		if s.hour != kept.hour || s.item != item || s.variant != variant {
			break
		}
		verdict := usage.Accepted
		switch {
		case kept.there && sameQuantity(kept.quantity, s.quantity):
			verdict = usage.Duplicate
		case kept.there:
			verdict = usage.Replaced
		}
		if verdict != usage.Duplicate {
			kept = hourly{s.hour, s.quantity, true}
			m.changed = true
		}
		m.verdicts[m.at[0]] = verdict
		m.fresh, m.at = m.fresh[1:], m.at[1:]
	}
	return kept
}

// hourly is the quantity of one hour, packed.
type hourly struct {
	hour     byte
	quantity string
	there    bool
}

func (h hourly) append(dst []byte) []byte { return append(append(dst, h.hour), h.quantity...) }

// lastHour is the last hour of a day in UTC.
const lastHour = 23

// hourly reads the next hour of a series; at its end none is there.
func (u *unpacker) hourly() hourly {
	if u.rest == "" {
		return hourly{}
	}
	h := hourly{hour: u.byte(), quantity: u.quantity(), there: true}
	if h.hour > lastHour {
		u.fail()
	}
	h.there = !u.bad
	return h
}

// dayItem is a sample as read from a stored day.
type dayItem struct {
	item, variant string
	hour          byte
	quantity      decimal.Decimal
}

// readDay yields the samples of a packed day in their order. No value is a day
// without samples.
func readDay(value []byte, yield func(dayItem, error) bool) bool {
	if value == nil {
		return true
	}
	u, err := unpack(value)
	if err != nil {
		return yield(dayItem{}, err)
	}
	for s := u.series(); s.item != ""; s = u.series() {
		hours := &unpacker{rest: s.samples}
		for h := hours.hourly(); h.there; h = hours.hourly() {
			quantity, err := unpackQuantity(h.quantity)
			if !yield(dayItem{s.item, s.variant, h.hour, quantity}, err) || err != nil {
				return false
			}
		}
		if hours.bad {
			u.fail()
		}
	}
	if err := u.done(); err != nil {
		return yield(dayItem{}, err)
	}
	return true
}

// A packed quantity is a byte with its scale and sign, then its coefficient.
const negative = 0x80

func appendQuantity(dst []byte, q decimal.Decimal) []byte {
	head := byte(q.Scale())
	if q.IsNeg() {
		head |= negative
	}
	return binary.AppendUvarint(append(dst, head), q.Coef())
}

// quantity reads a packed quantity and leaves it packed.
func (u *unpacker) quantity() string {
	before := u.rest
	u.byte()
	u.uint()
	return before[:len(before)-len(u.rest)]
}

// unpackQuantity is the reverse of appendQuantity.
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
