package bolt

import (
	"bytes"
	"slices"

	"go.etcd.io/bbolt"
)

// overlay holds the writes of one call until the call has succeeded. A call
// that fails is dropped with its overlay, so its neighbours in the group need
// not run again.
type overlay struct {
	ops []op
	// index finds ops by bucket and key once there are too many to look through.
	index opIndex
	// touched has a bit for each bucket with writes: a settlement scans buckets
	// that it does not write to between thousands of writes to others.
	touched uint64
}

// touched has room for all buckets.
var _ [64 - numBuckets]struct{}

// op is a write. A nil value deletes.
type op struct {
	bucket bucket
	key    []byte
	value  []byte
}

// maxUnindexed is how many ops are looked through one by one. A callback has
// about five; comparing that many short keys is cheaper than hashing one.
const maxUnindexed = 24

// maxKept is how many ops' memory is kept from one call to the next. A bulk
// deletion may have had ten times more; a chunk of a settlement has as many.
const maxKept = 1 << 15

// reset forgets all writes.
func (o *overlay) reset() {
	clear(o.ops)
	o.ops, o.touched = o.ops[:0], 0
	if cap(o.ops) > maxKept {
		o.ops = nil
	}
	o.index.reset()
}

// set records a write; a later one to the same key takes its place.
func (o *overlay) set(b bucket, key, value []byte) {
	if at := o.find(b, key); at >= 0 {
		o.ops[at].value = value
		return
	}
	o.ops = append(o.ops, op{b, key, value})
	o.touched |= 1 << b
	switch n := len(o.ops); {
	case n == maxUnindexed+1:
		o.index.rebuild(o.ops)
	case n > maxUnindexed:
		o.index.add(o.ops)
	}
}

// find returns the position of the write to key, or -1.
func (o *overlay) find(b bucket, key []byte) int {
	if len(o.ops) > maxUnindexed {
		return o.index.find(o.ops, b, key)
	}
	for i := range o.ops {
		if o.ops[i].is(b, key) {
			return i
		}
	}
	return -1
}

// within returns the writes to keys of b that begin with prefix, by key.
func (o *overlay) within(b bucket, prefix []byte) []op {
	if o.touched&(1<<b) == 0 {
		return nil
	}
	var found []op
	for _, w := range o.ops {
		if w.bucket == b && bytes.HasPrefix(w.key, prefix) {
			found = append(found, w)
		}
	}
	if !slices.IsSortedFunc(found, compareKeys) {
		slices.SortFunc(found, compareKeys)
	}
	return found
}

// flush writes everything to the transaction, in the order of its trees so
// that neighbouring keys find their page at hand.
func (o *overlay) flush(in *opened) error {
	if len(o.ops) <= maxUnindexed {
		return flushOps(in, o.ops)
	}
	for b := range bucket(numBuckets) {
		if o.touched&(1<<b) == 0 {
			continue
		}
		if err := flushOps(in, o.within(b, nil)); err != nil {
			return err
		}
	}
	return nil
}

func flushOps(in *opened, ops []op) error {
	for i := range ops {
		if err := ops[i].apply(in.bucket(ops[i].bucket)); err != nil {
			return err
		}
	}
	return nil
}

func (w *op) is(b bucket, key []byte) bool { return w.bucket == b && bytes.Equal(w.key, key) }

func (w op) apply(b *bbolt.Bucket) error {
	if w.value == nil {
		return b.Delete(w.key)
	}
	return b.Put(w.key, w.value)
}

func compareKeys(a, b op) int { return bytes.Compare(a.key, b.key) }

// arena hands out memory that lasts until the group is committed: bbolt keeps
// the slices it is given and reads them only then.
type arena struct{ buf []byte }

// arenaChunk is what the arena takes at a time: about a group of callbacks.
const arenaChunk = 256 << 10

// arenaRoom is the least room offered; what needs more moves to the heap.
const arenaRoom = 4 << 10

// room returns an empty slice to append one value to.
func (a *arena) room() []byte {
	if cap(a.buf)-len(a.buf) < arenaRoom {
		a.buf = make([]byte, 0, arenaChunk)
	}
	return a.buf[len(a.buf):len(a.buf):cap(a.buf)]
}

// keep takes the memory of b, which was appended to room, out of the arena.
func (a *arena) keep(b []byte) []byte {
	if len(b) <= cap(a.buf)-len(a.buf) {
		a.buf = a.buf[:len(a.buf)+len(b)]
	}
	return b[:len(b):len(b)]
}

// reset makes the memory free again. Nothing may refer to it any more.
func (a *arena) reset() { a.buf = a.buf[:0] }
