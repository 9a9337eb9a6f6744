package bolt

import (
	"cmp"
	"encoding/binary"
	"math"
	"strings"
	"time"

	"github.com/govalues/decimal"

	"cloudsettle/core/usage"
)

// A workspace's day is packed as a head and series, one for each item and
// variant, sorted. A series is its item, its variant, and the length in bytes
// of what follows: hours with their quantities, sorted. So a batch copies the
// series that it does not touch as they are. An hour is counted from midnight
// UTC of the day: sites have other midnights, and what came too late for one
// day is billed on another, so that it may be far away and negative.

const (
	secondsPerHour = int64(time.Hour / time.Second)
	hoursPerDay    = 24
)

// dayHead is what a packed day begins with, after its format: the revision and
// the number of samples, both of fixed size so that they are filled in last.
type dayHead struct {
	rev   uint64
	count uint32
	rest  []byte // the series
}

// dayHeadSize is the size of the format, the revision and the count.
const dayHeadSize = 1 + 8 + 4

// leastSample is the least that a sample takes: its hour and its quantity.
const leastSample = 1 + 2

// unpackDay reads the head of a packed day.
func unpackDay(value []byte) (dayHead, error) {
	switch {
	case len(value) == 0:
		return dayHead{}, errCorrupt
	case value[0] != formatPacked1:
		return dayHead{}, errFormat(value[0])
	case len(value) < dayHeadSize:
		return dayHead{}, errCorrupt
	}
	h := dayHead{
		binary.BigEndian.Uint64(value[1:]), binary.BigEndian.Uint32(value[9:]), value[dayHeadSize:],
	}
	if uint64(h.count) > uint64(len(h.rest)/leastSample) {
		return dayHead{}, errCorrupt
	}
	return h, nil
}

// daySample is a sample on its way into a stored day.
type daySample struct {
	item, variant string
	hour          int64 // since midnight UTC
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
	sealed   bool
	scratch  []byte // the series being merged
	changed  bool
	added    uint32
	bad      bool // a stored series is damaged
}

// merge appends the merged day to dst and notes what became of each sample. An
// empty value is a day without samples.
func (m *merger) merge(dst, value []byte) ([]byte, error) {
	var head dayHead
	if len(value) > 0 {
		var err error
		if head, err = unpackDay(value); err != nil {
			return nil, err
		}
	}
	at := len(dst)
	dst = append(append(dst, formatPacked1), make([]byte, dayHeadSize-1)...)
	u := &unpacker{rest: string(head.rest)}
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
	binary.BigEndian.PutUint64(dst[at+1:], head.rev+1)
	binary.BigEndian.PutUint32(dst[at+9:], head.count+m.added)
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
		verdict := m.judge(kept, s)
		switch verdict {
		case usage.Accepted:
			m.added++
			fallthrough
		case usage.Replaced:
			kept = hourly{s.hour, s.quantity, true}
			m.changed = true
		}
		m.verdicts[m.at[0]] = verdict
		m.fresh, m.at = m.fresh[1:], m.at[1:]
	}
	return kept
}

// judge decides what becomes of a sample where kept is stored.
func (m *merger) judge(kept hourly, s *daySample) usage.Verdict {
	switch {
	case kept.there && sameQuantity(kept.quantity, s.quantity):
		return usage.Duplicate
	case m.sealed:
		return usage.Late
	case kept.there:
		return usage.Replaced
	}
	return usage.Accepted
}

// hourly is the quantity of one hour, packed.
type hourly struct {
	hour     int64
	quantity string
	there    bool
}

// append packs h, unless it is not there.
func (h hourly) append(dst []byte) []byte {
	if !h.there {
		return dst
	}
	return append(binary.AppendVarint(dst, h.hour), h.quantity...)
}

// hourly reads the next hour of a series; at its end none is there.
func (u *unpacker) hourly() hourly {
	if u.rest == "" {
		return hourly{}
	}
	h := hourly{hour: u.int(), quantity: u.quantity(), there: true}
	h.there = !u.bad
	return h
}

// decodeDay reads a packed day.
func decodeDay(value []byte, workspace string, day usage.Day) (usage.Record, error) {
	head, err := unpackDay(value)
	if err != nil {
		return usage.Record{}, err
	}
	rec := usage.Record{
		Workspace: workspace, Day: day, Rev: head.rev, Samples: make([]usage.Sample, 0, head.count),
	}
	u := &unpacker{rest: string(head.rest)}
	for s := u.series(); s.item != ""; s = u.series() {
		if rec.Samples, err = appendSamples(rec.Samples, s, &rec); err != nil {
			return usage.Record{}, err
		}
	}
	if len(rec.Samples) != int(head.count) {
		return usage.Record{}, errCorrupt
	}
	return rec, u.done()
}

// appendSamples unpacks a series of rec, which may hold no more than there is
// room for.
func appendSamples(dst []usage.Sample, s series, rec *usage.Record) ([]usage.Sample, error) {
	midnight := hoursPerDay * int64(rec.Day)
	for u := (unpacker{rest: s.samples}); u.rest != ""; {
		hour, head, coef := u.int(), u.byte(), u.uint()
		quantity, err := decimalOf(head, coef)
		if u.bad || err != nil || len(dst) == cap(dst) {
			return nil, errCorrupt
		}
		dst = dst[:len(dst)+1]
		to := &dst[len(dst)-1] // field by field: a copy of the whole is slow while garbage is collected
		to.Workspace, to.Item, to.Variant = rec.Workspace, s.item, s.variant
		to.Hour, to.Quantity = time.Unix((midnight+hour)*secondsPerHour, 0).UTC(), quantity
	}
	return dst, nil
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
	return decimalOf(head, coef)
}

// decimalOf makes a decimal of its packed parts.
func decimalOf(head byte, coef uint64) (decimal.Decimal, error) {
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
