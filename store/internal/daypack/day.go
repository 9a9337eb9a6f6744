// Package daypack packs what a workspace reported for one day into one value,
// and merges batches of samples into such values. All stores share it: a
// sample is the same sample, and a repeat the same repeat, in each of them.
//
// A workspace's day is packed as a head and series, one for each item and
// variant, sorted. A series is its item, its variant, and the length in bytes
// of what follows: hours with their quantities, sorted. So a batch copies the
// series that it does not touch as they are. An hour is counted from midnight
// UTC of the day: sites have other midnights, and what came too late for one
// day is billed on another, so that it may be far away and negative.
package daypack

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"cloudsettle/core"
	"cloudsettle/core/usage"
	"cloudsettle/store/internal/packed"
)

// format says how a value is packed; it is the value's first byte. Others are
// of a later version of the program.
const format byte = 2

// reader reads the packed form of a day.
type reader struct{ packed.Reader }

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
		return dayHead{}, packed.ErrCorrupt
	case value[0] != format:
		return dayHead{}, fmt.Errorf("format %d: %w", value[0], core.ErrSchema)
	case len(value) < dayHeadSize:
		return dayHead{}, packed.ErrCorrupt
	}
	h := dayHead{
		binary.BigEndian.Uint64(value[1:]), binary.BigEndian.Uint32(value[9:]), value[dayHeadSize:],
	}
	if uint64(h.count) > uint64(len(h.rest)/leastSample) {
		return dayHead{}, packed.ErrCorrupt
	}
	return h, nil
}

// series is a stored series, its samples still packed.
type series struct {
	item, variant string
	samples       string
	packed        string // all of it
}

// series reads the next series; none is left when its item is empty.
func (u *reader) series() series {
	if !u.More() {
		return series{}
	}
	before := u.At()
	s := series{item: u.Text(), variant: u.Text(), samples: u.Text()}
	if s.item == "" {
		u.Fail()
	}
	s.packed = u.Since(before)
	return s
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
func (u *reader) hourly() hourly {
	if !u.More() {
		return hourly{}
	}
	h := hourly{hour: u.Int(), quantity: u.quantity(), there: true}
	h.there = !u.Bad()
	return h
}

// Rev returns the revision of a packed day.
func Rev(value []byte) (uint64, error) {
	head, err := unpackDay(value)
	return head.rev, err
}

// Decode reads a packed day.
func Decode(value []byte, workspace string, day usage.Day) (usage.Record, error) {
	var rec usage.Record
	err := Read(&rec, value, workspace, day)
	return rec, err
}

// Read is Decode into a record whose samples' memory is used again.
func Read(rec *usage.Record, value []byte, workspace string, day usage.Day) error {
	head, err := unpackDay(value)
	if err != nil {
		return err
	}
	samples := slices.Grow(rec.Samples[:0], int(head.count))[:0:head.count]
	*rec = usage.Record{Workspace: workspace, Day: day, Rev: head.rev}
	u := reader{packed.Read(string(head.rest))}
	for s := u.series(); s.item != ""; s = u.series() {
		if samples, err = appendSamples(samples, s, rec); err != nil {
			return err
		}
	}
	if len(samples) != int(head.count) {
		return packed.ErrCorrupt
	}
	rec.Samples = samples
	return u.Done()
}

// Encode appends a packed day to dst, with the revision that rec has: the
// reverse of Decode. Without samples it is ErrInvalid.
func Encode(dst []byte, rec *usage.Record) ([]byte, error) {
	entries := make([]usage.Entry, len(rec.Samples))
	for i, s := range rec.Samples {
		s.Workspace = rec.Workspace
		entries[i] = usage.Entry{Sample: s, Day: rec.Day}
	}
	days, err := Split(entries)
	if err != nil {
		return nil, err
	}
	if len(days) == 0 {
		return nil, core.Invalid("invalid_sample", "a day without samples")
	}
	at := len(dst)
	dst, _, err = days[0].Merge(dst, nil, false, make([]usage.Verdict, len(entries)))
	if err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint64(dst[at+1:], rec.Rev)
	return dst, nil
}

// appendSamples unpacks a series of rec, which may hold no more than there is
// room for.
func appendSamples(dst []usage.Sample, s series, rec *usage.Record) ([]usage.Sample, error) {
	midnight := hoursPerDay * int64(rec.Day)
	for u := (reader{packed.Read(s.samples)}); u.More(); {
		hour, head, coef := u.Int(), u.Byte(), u.Uint()
		quantity, err := Decimal(head, coef)
		if u.Bad() || err != nil || len(dst) == cap(dst) {
			return nil, packed.ErrCorrupt
		}
		dst = dst[:len(dst)+1]
		to := &dst[len(dst)-1] // field by field: a copy of the whole is slow while garbage is collected
		to.Workspace, to.Item, to.Variant = rec.Workspace, s.item, s.variant
		to.Hour, to.Quantity = time.Unix((midnight+hour)*secondsPerHour, 0).UTC(), quantity
	}
	return dst, nil
}
