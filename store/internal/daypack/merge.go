package daypack

import (
	"encoding/binary"

	"cloudsettle/core/usage"
	"cloudsettle/store/internal/packed"
)

// Merge appends to dst the stored day with the batch merged into it, and notes
// in verdicts what became of each sample of the batch. No stored value is a day
// without samples; a sealed one takes no more. Unless it reports a change, what
// is stored stays as it is.
func (b *Batch) Merge(dst, stored []byte, sealed bool, verdicts []usage.Verdict) (value []byte, changed bool, err error) {
	m := merger{fresh: b.samples, at: b.at, verdicts: verdicts, sealed: sealed}
	value, err = m.merge(dst, stored)
	return value, m.changed, err
}

// merger merges a batch into a packed day.
type merger struct {
	fresh    []sample // sorted; repeats in the order they came
	at       []int    // their positions in verdicts
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
	dst = append(append(dst, format), make([]byte, dayHeadSize-1)...)
	u := &reader{packed.Read(string(head.rest))}
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
		return nil, packed.ErrCorrupt
	}
	binary.BigEndian.PutUint64(dst[at+1:], head.rev+1)
	binary.BigEndian.PutUint32(dst[at+9:], head.count+m.added)
	return dst, u.Done()
}

// mergeSeries appends the series that the batch continues with, merged into
// its stored samples.
func (m *merger) mergeSeries(dst []byte, stored string) []byte {
	item, variant := m.fresh[0].item, m.fresh[0].variant
	old := &reader{packed.Read(stored)}
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
	m.scratch, m.bad = out, m.bad || old.Bad()
	dst = packed.AppendText(dst, item)
	dst = packed.AppendText(dst, variant)
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
func (m *merger) judge(kept hourly, s *sample) usage.Verdict {
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
