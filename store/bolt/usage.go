package bolt

import (
	"bytes"
	"context"
	"fmt"
	"iter"

	"go.etcd.io/bbolt"

	"cloudsettle/core"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
	"cloudsettle/store/internal/daypack"
)

// Usage is stored as one value for each day and workspace, in a bucket for
// each month: a settlement reads the workspaces of a day one after the other,
// and an old month is dropped whole.
//
// What is not sealed is listed in usageOpen under the same key. So to seal a
// record is to take a small key away, not to write the record again, and the
// days that wait are found without looking at those that are done.

// monthKey names the bucket of a month; names sort as months do.
func monthKey(m usage.Month) []byte { return appendPeriod(nil, m) }

// bulkUsage is how many samples make a batch that others do not wait behind: so
// many take about as long as a commit.
const bulkUsage = 1000

// AppendUsage implements core.Store. A batch with a sample that cannot be a
// key (an hour that is not whole, an empty name, a NUL in one) is ErrInvalid
// and nothing of it is stored.
func (s *Store) AppendUsage(ctx context.Context, entries []usage.Entry) ([]usage.Verdict, error) {
	days, err := daypack.Split(entries)
	if err != nil {
		return nil, err
	}
	if len(entries) > bulkUsage {
		ctx = core.InBackground(ctx)
	}
	verdicts := make([]usage.Verdict, len(entries))
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

// mergeUsage adds d to what is stored of its day and notes what became of each
// sample.
func (t *txn) mergeUsage(d *daypack.Batch, verdicts []usage.Verdict) error {
	key, _ := periodKey(t.arena.room(), d.Day, d.Workspace) // Split saw to it
	key = t.arena.keep(key)
	stored := t.usageValue(d.Day, key)
	sealed := stored != nil && t.get(usageOpen, key) == nil
	value, changed, err := d.Merge(t.arena.room(), stored, sealed, verdicts)
	if err != nil {
		return errUsage(d.Workspace, d.Day, err)
	}
	if !changed {
		return nil
	}
	t.usage = append(t.usage, usagePut{d.Day.Month(), key, t.arena.keep(value)})
	if stored == nil {
		t.own.set(usageOpen, key, []byte{})
	}
	return nil
}

func errUsage(workspace string, day usage.Day, err error) error {
	return fmt.Errorf("bolt: usage of %q on %s: %w", workspace, day, err)
}

// usagePut is a day to be written when the call has succeeded.
type usagePut struct {
	month      usage.Month
	key, value []byte
}

// flushUsage writes the days that the call merged.
func (t *txn) flushUsage() error {
	for _, put := range t.usage {
		b, err := t.bucket(usageMonths).CreateBucketIfNotExists(monthKey(put.month))
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
func (o *opened) month(m usage.Month) *bbolt.Bucket {
	return o.bucket(usageMonths).Bucket(monthKey(m))
}

// usageValue returns the stored value of a day under key, or nil. Only
// AppendUsage writes such values, and it reads each once.
func (o *opened) usageValue(day usage.Day, key []byte) []byte {
	if m := day.Month(); o.days == nil || o.daysOf != m {
		b := o.month(m)
		if b == nil {
			return nil
		}
		o.days, o.daysOf = b.Cursor(), m
	}
	found, value := o.days.Seek(key)
	if !bytes.Equal(found, key) {
		return nil
	}
	return value
}

// UsageOf implements core.UsageReader.
func (r *reader) UsageOf(_ context.Context, id workspace.ID, day usage.Day) (usage.Record, error) {
	if r.over {
		return usage.Record{}, errOver
	}
	key, ok := periodKey(nil, day, string(id))
	if !ok {
		return usage.Record{}, core.NotFound("usage of workspace", string(id))
	}
	value := r.usageValue(day, key)
	if value == nil {
		return usage.Record{}, core.NotFound("usage on "+day.String()+" of workspace", string(id))
	}
	rec, err := daypack.Decode(value, string(id), day)
	if err != nil {
		return usage.Record{}, errUsage(string(id), day, err)
	}
	rec.Sealed = r.get(usageOpen, key) == nil
	return rec, nil
}

// UsageOn implements core.UsageReader.
func (r *reader) UsageOn(
	_ context.Context, day usage.Day, p core.Page,
) iter.Seq2[usage.Record, error] {
	return func(yield func(usage.Record, error) bool) {
		if r.over {
			yield(usage.Record{}, errOver)
			return
		}
		b := r.month(day.Month())
		if b == nil {
			return
		}
		prefix := appendPeriod(nil, day)
		after := afterIn(prefix, p.After)
		open := r.openOn(prefix, after)
		left := p.Limit
		for c := newCursor(b, prefix, after, ascending); c.key != nil; c.step() {
			id := string(c.key[periodSize:])
			rec, err := daypack.Decode(c.value, id, day)
			if err != nil {
				yield(usage.Record{}, errUsage(id, day, err))
				return
			}
			rec.Sealed = !open.has(c.key)
			if !yield(rec, nil) {
				return
			}
			if left--; left == 0 {
				return
			}
		}
	}
}

// openDays walks the records of a day that are not sealed beside a walk of all
// its records.
type openDays struct {
	stored *cursor
	own    *ownCursor
}

func (r *reader) openOn(prefix, after []byte) *openDays {
	return &openDays{
		newCursor(r.bucket(usageOpen), prefix, after, ascending),
		r.ownCursor(usageOpen, prefix, after, ascending),
	}
}

// has reports whether the record under key is open. Keys must ascend.
func (o *openDays) has(key []byte) bool {
	for o.stored.key != nil && bytes.Compare(o.stored.key, key) < 0 {
		o.stored.step()
	}
	for o.own.key() != nil && bytes.Compare(o.own.key(), key) < 0 {
		o.own.take()
	}
	if bytes.Equal(o.own.key(), key) {
		return o.own.take() != nil
	}
	return bytes.Equal(o.stored.key, key)
}

// UsageDays implements core.UsageReader.
func (r *reader) UsageDays(_ context.Context, from, to usage.Day) iter.Seq2[usage.Day, error] {
	return func(yield func(usage.Day, error) bool) {
		if r.over {
			yield(0, errOver)
			return
		}
		for day := from; day < to; day++ {
			next, found := r.firstFrom(usageOpen, appendPeriod(nil, day))
			if !found {
				return
			}
			day = periodOf[usage.Day](next) // passes over the days between
			if day >= to || !yield(day, nil) {
				return
			}
		}
	}
}

// firstFrom returns the first key of b that comes after another.
func (r *reader) firstFrom(b bucket, after []byte) (key []byte, found bool) {
	for key := range r.scan(b, nil, after, ascending) {
		return key, true
	}
	return nil, false
}

// SealUsage implements core.UsageWriter. The revision stays: it is the one
// that was billed.
func (t *txn) SealUsage(_ context.Context, seals ...usage.Seal) ([]bool, error) {
	if t.over {
		return nil, errOver
	}
	done := make([]bool, len(seals))
	for i, seal := range seals {
		key, ok := periodKey(t.arena.room(), seal.Day, seal.Workspace)
		if !ok {
			return nil, errKey("usage", seal.Workspace)
		}
		key = t.arena.keep(key)
		value := t.usageValue(seal.Day, key)
		if value == nil || t.get(usageOpen, key) == nil {
			continue
		}
		rev, err := daypack.Rev(value)
		if err != nil {
			return nil, errUsage(seal.Workspace, seal.Day, err)
		}
		if done[i] = rev == seal.Rev; done[i] {
			t.own.set(usageOpen, key, nil)
		}
	}
	return done, nil
}
