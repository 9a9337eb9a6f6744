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
	order := make([]int, len(samples))
	for i := range samples {
		if err := checkSample(i, &samples[i]); err != nil {
			return nil, err
		}
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return compareSamples(&samples[a], &samples[b]) })
	var days []dayBatch
	for _, at := range order {
		s := &samples[at]
		day := dayOf(s.Hour)
		last := len(days) - 1
		if last < 0 || days[last].workspace != s.Workspace || !days[last].day.Equal(day) {
			days = append(days, dayBatch{day: day, workspace: s.Workspace})
			last++
		}
		d := &days[last]
		d.samples = append(d.samples, daySample{
			item: s.Item, variant: s.Variant, hour: byte(s.Hour.UTC().Hour()), quantity: packQuantity(s.Quantity),
		})
		d.at = append(d.at, at)
	}
	return days, nil
}

func checkSample(at int, s *usage.Sample) error {
	_, ok := appendKey(nil, s.Item, s.Variant, s.Workspace)
	switch {
	case !ok:
		return core.Invalid("invalid_sample", "sample %d: a name is empty or too long or holds a NUL", at)
	case s.Item == "":
		return core.Invalid("invalid_sample", "sample %d: the item is empty", at)
	case !s.Hour.Equal(s.Hour.Truncate(time.Hour)):
		return core.Invalid("invalid_sample", "sample %d: %s is not the beginning of an hour", at, s.Hour)
	}
	return nil
}

func compareSamples(a, b *usage.Sample) int {
	if c := dayOf(a.Hour).Compare(dayOf(b.Hour)); c != 0 {
		return c
	}
	return cmp.Or(
		strings.Compare(a.Workspace, b.Workspace),
		strings.Compare(a.Item, b.Item),
		strings.Compare(a.Variant, b.Variant),
		a.Hour.Compare(b.Hour),
	)
}

// dayOf returns the beginning of the day that t is in.
func dayOf(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

// mergeUsage adds d to what is stored of its day and notes what became of each
// sample.
func (t *txn) mergeUsage(d *dayBatch, verdicts []usage.Verdict) error {
	key := t.arena.keep(dayKey(t.arena.room(), d.day.Day(), d.workspace))
	month := d.day.Format(monthFormat)
	var stored []daySample
	if b := t.month(month); b != nil {
		var err error
		if stored, err = decodeDay(b.Get(key)); err != nil {
			return fmt.Errorf("bolt: usage of %q on %s: %w", d.workspace, d.day.Format(time.DateOnly), err)
		}
	}
	merged, changed := mergeDay(stored, d, verdicts)
	if changed {
		value := t.arena.keep(appendDay(t.arena.room(), merged))
		t.usage = append(t.usage, usagePut{month, key, value})
	}
	return nil
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
		for name, _ := months.Seek(first); name != nil && bytes.Compare(name, last) <= 0; name, _ = months.Next() {
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
		samples, err := decodeDay(b.Get(dayKey(nil, day.Day(), id)))
		if err != nil {
			yield(usage.Sample{}, fmt.Errorf("bolt: usage of %q on %s: %w", id, day.Format(time.DateOnly), err))
			return false
		}
		for _, s := range samples {
			hour := day.Add(time.Duration(s.hour) * time.Hour)
			if hour.Before(from) || !hour.Before(to) {
				continue
			}
			quantity, err := unpackQuantity(s.quantity)
			if !yield(usage.Sample{
				Workspace: id, Item: s.item, Variant: s.variant, Hour: hour, Quantity: quantity,
			}, err) || err != nil {
				return false
			}
		}
	}
	return true
}
