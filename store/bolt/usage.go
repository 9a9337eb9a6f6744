package bolt

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"go.etcd.io/bbolt"

	"cloudsettle/core"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// Usage is stored as one value for each workspace and day, in a bucket for
// each month: a settlement reads the workspaces of a day one after the other,
// and an old month is dropped whole.

// monthFormat names the bucket of a month; names sort as months do.
const monthFormat = "2006-01"

// dayKey appends the key of a workspace's day within its month.
func dayKey(dst []byte, day int, workspace string) []byte {
	return append(append(dst, byte(day)), workspace...)
}

// dayBatch is the part of a batch that goes into one stored value.
type dayBatch struct {
	day       time.Time
	workspace string
	samples   []daySample
	at        []int // the positions of samples in the whole batch
}

// AppendUsage implements core.Store. A batch with a sample that cannot be a
// key (an hour that is not whole, an empty name, a NUL in one) is ErrInvalid
// and nothing of it is stored.
func (s *Store) AppendUsage(ctx context.Context, samples []usage.Sample) ([]usage.Verdict, error) {
	days, err := byDay(samples)
	if err != nil {
		return nil, err
	}
	verdicts := make([]usage.Verdict, len(samples))
	err = s.write(ctx, func(t *txn) error {
		for i := range days {
			if err := t.mergeUsage(&days[i], verdicts); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return verdicts, nil
}

// byDay sorts a batch into the values it goes into, in the order of their keys.
func byDay(samples []usage.Sample) ([]dayBatch, error) {
	packed, err := packSamples(samples)
	if err != nil {
		return nil, err
	}
	order := make([]int, len(samples))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		p, q := &packed[a], &packed[b]
		return cmp.Or(
			cmp.Compare(p.day, q.day),
			strings.Compare(samples[a].Workspace, samples[b].Workspace),
			compareSeries(p.item, p.variant, q.item, q.variant),
			cmp.Compare(p.hour, q.hour),
			cmp.Compare(a, b),
		)
	})
	sorted := make([]daySample, len(samples))
	for i, at := range order {
		sorted[i] = packed[at]
	}
	var days []dayBatch
	for from := 0; from < len(order); {
		first, to := order[from], from
		for to < len(order) && sorted[to].day == sorted[from].day &&
			samples[order[to]].Workspace == samples[first].Workspace {
			to++
		}
		days = append(days, dayBatch{
			day: dayOf(samples[first].Hour), workspace: samples[first].Workspace,
			samples: sorted[from:to], at: order[from:to],
		})
		from = to
	}
	return days, nil
}

// packSamples checks samples and packs their quantities.
func packSamples(samples []usage.Sample) ([]daySample, error) {
	packed := make([]daySample, len(samples))
	var quantities []byte
	for i := range samples {
		s := &samples[i]
		if err := checkSample(i, s); err != nil {
			return nil, err
		}
		hours := s.Hour.Unix() / int64(time.Hour/time.Second)
		packed[i] = daySample{item: s.Item, variant: s.Variant, day: floorDiv(hours, 24)}
		packed[i].hour = byte(hours - 24*packed[i].day)
		quantities = appendQuantity(quantities, s.Quantity)
	}
	rest := &unpacker{rest: string(quantities)}
	for i := range packed {
		packed[i].quantity = rest.quantity()
	}
	return packed, nil
}

// floorDiv divides and rounds down, also before 1970.
func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func checkSample(at int, s *usage.Sample) error {
	switch {
	case s.Workspace == "" || s.Item == "":
		return core.Invalid("invalid_sample", "sample %d: the workspace or the item is empty", at)
	case !isName(s.Workspace) || !isName(s.Item) || !isName(s.Variant):
		return core.Invalid("invalid_sample", "sample %d: a name is too long or holds a NUL", at)
	case !s.Hour.Equal(s.Hour.Truncate(time.Hour)):
		return core.Invalid("invalid_sample", "sample %d: %s is not the beginning of an hour", at, s.Hour)
	}
	return nil
}

// isName reports whether s can be part of a key.
func isName(s string) bool { return len(s) < maxKey && strings.IndexByte(s, 0) < 0 }

// dayOf returns the beginning of the day that t is in.
func dayOf(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

// mergeUsage adds d to what is stored of its day and notes what became of each
// sample.
func (t *txn) mergeUsage(d *dayBatch, verdicts []usage.Verdict) error {
	key := t.arena.keep(dayKey(t.arena.room(), d.day.Day(), d.workspace))
	month := d.day.Format(monthFormat)
	var stored []byte
	if b := t.month(month); b != nil {
		stored = b.Get(key)
	}
	m := merger{fresh: d.samples, at: d.at, verdicts: verdicts}
	value, err := m.merge(t.arena.room(), stored)
	if err != nil {
		return errUsage(d.workspace, d.day, err)
	}
	if m.changed {
		t.usage = append(t.usage, usagePut{month, key, t.arena.keep(value)})
	}
	return nil
}

func errUsage(workspace string, day time.Time, err error) error {
	return fmt.Errorf("bolt: usage of %q on %s: %w", workspace, day.Format(time.DateOnly), err)
}

// usagePut is a day to be written when the call has succeeded.
type usagePut struct {
	month      string
	key, value []byte
}

// flushUsage writes the days that the call merged.
func (t *txn) flushUsage() error {
	for _, put := range t.usage {
		b, err := t.bucket(usageMonths).CreateBucketIfNotExists([]byte(put.month))
		if err != nil {
			return err
		}
		if err := b.Put(put.key, put.value); err != nil {
			return err
		}
	}
	return nil
}

// month returns the bucket of a month, or nil.
func (r *reader) month(name string) *bbolt.Bucket {
	return r.bucket(usageMonths).Bucket([]byte(name))
}

// Usage implements core.UsageReader.
func (r *reader) Usage(
	_ context.Context, id workspace.ID, from, to time.Time,
) iter.Seq2[usage.Sample, error] {
	return func(yield func(usage.Sample, error) bool) {
		if r.over {
			yield(usage.Sample{}, errOver)
			return
		}
		first, last := []byte(from.UTC().Format(monthFormat)), []byte(to.UTC().Format(monthFormat))
		months := r.bucket(usageMonths).Cursor()
		for name, _ := months.Seek(first); name != nil; name, _ = months.Next() {
			if bytes.Compare(name, last) > 0 {
				return
			}
			if !r.usageOfMonth(string(name), string(id), from, to, yield) {
				return
			}
		}
	}
}

// usageOfMonth yields what a month holds and reports whether to go on.
func (r *reader) usageOfMonth(
	name, id string, from, to time.Time, yield func(usage.Sample, error) bool,
) bool {
	month, err := time.Parse(monthFormat, name)
	if err != nil {
		yield(usage.Sample{}, fmt.Errorf("bolt: usage: %w: month %q", errCorrupt, name))
		return false
	}
	b := r.month(name)
	for day := month; day.Month() == month.Month(); day = day.AddDate(0, 0, 1) {
		if !day.Before(to) || !day.AddDate(0, 0, 1).After(from) {
			continue
		}
		next := func(s dayItem, err error) bool {
			if err != nil {
				return yield(usage.Sample{}, errUsage(id, day, err))
			}
			hour := day.Add(time.Duration(s.hour) * time.Hour)
			return hour.Before(from) || !hour.Before(to) || yield(usage.Sample{
				Workspace: id, Item: s.item, Variant: s.variant, Hour: hour, Quantity: s.quantity,
			}, nil)
		}
		if !readDay(b.Get(dayKey(nil, day.Day(), id)), next) {
			return false
		}
	}
	return true
}
