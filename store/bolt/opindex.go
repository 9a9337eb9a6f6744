package bolt

import "hash/maphash"

// opIndex finds the ops of an overlay by bucket and key. It is a table of
// positions with linear probing: a map would copy every key, and a settlement
// makes tens of thousands of writes in one transaction.
type opIndex struct {
	slots []int32 // 1 + the position of an op, or 0; the length is a power of two
	seed  maphash.Seed
}

// leastSlots is the size of a new table: it is rebuilt after 128 ops.
const leastSlots = 256

// reset gives a very large table back.
func (x *opIndex) reset() {
	if cap(x.slots) > 4*maxKept {
		x.slots = nil
	}
}

// rebuild indexes ops and nothing else.
func (x *opIndex) rebuild(ops []op) {
	size := leastSlots
	for size < 4*len(ops) { // room to double
		size *= 2
	}
	if size <= cap(x.slots) {
		x.slots = x.slots[:size]
		clear(x.slots)
	} else {
		x.slots = make([]int32, size)
	}
	if x.seed == (maphash.Seed{}) {
		x.seed = maphash.MakeSeed()
	}
	for i := range ops {
		x.put(ops, i)
	}
}

// add indexes the last op, which is not in the table.
func (x *opIndex) add(ops []op) {
	if 2*len(ops) > len(x.slots) {
		x.rebuild(ops)
		return
	}
	x.put(ops, len(ops)-1)
}

func (x *opIndex) put(ops []op, at int) {
	slot := x.start(ops[at].bucket, ops[at].key)
	for x.slots[slot] != 0 {
		slot = (slot + 1) & (len(x.slots) - 1)
	}
	x.slots[slot] = int32(at + 1) // #nosec -- memory ends long before
}

// find returns the position of the op that writes key, or -1.
func (x *opIndex) find(ops []op, b bucket, key []byte) int {
	for slot := x.start(b, key); x.slots[slot] != 0; slot = (slot + 1) & (len(x.slots) - 1) {
		if at := int(x.slots[slot] - 1); ops[at].is(b, key) {
			return at
		}
	}
	return -1
}

// start is where to begin to look for a key.
func (x *opIndex) start(b bucket, key []byte) int {
	h := maphash.Bytes(x.seed, key) + uint64(b)*0x9e3779b97f4a7c15 // apart for equal keys of buckets
	return int(h & uint64(len(x.slots)-1))                         // #nosec -- below the length
}
