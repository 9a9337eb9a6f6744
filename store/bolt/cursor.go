package bolt

import (
	"bytes"
	"slices"

	"go.etcd.io/bbolt"
)

// cursor walks the stored entries of a bucket that begin with a prefix.
type cursor struct {
	in     *bbolt.Cursor
	prefix []byte
	d      direction
	key    []byte // nil at the end
	value  []byte
}

// newCursor stands on the first entry after the key after, or on the first.
func newCursor(b *bbolt.Bucket, prefix, after []byte, d direction) *cursor {
	c := &cursor{in: b.Cursor(), prefix: prefix, d: d}
	if d == descending {
		c.fromEnd(after)
	} else {
		c.fromStart(after)
	}
	return c
}

func (c *cursor) fromStart(after []byte) {
	c.key, c.value = c.in.Seek(larger(c.prefix, after))
	if after != nil && bytes.Equal(c.key, after) {
		c.key, c.value = c.in.Next()
	}
	c.end()
}

func (c *cursor) fromEnd(after []byte) {
	bound := after
	if bound == nil {
		bound = successor(c.prefix)
	}
	if bound == nil {
		c.key, c.value = c.in.Last()
	} else if key, _ := c.in.Seek(bound); key == nil {
		c.key, c.value = c.in.Last()
	} else {
		c.key, c.value = c.in.Prev()
	}
	c.end()
}

// step moves on.
func (c *cursor) step() {
	if c.d == descending {
		c.key, c.value = c.in.Prev()
	} else {
		c.key, c.value = c.in.Next()
	}
	c.end()
}

// end stops the walk outside the prefix.
func (c *cursor) end() {
	if !bytes.HasPrefix(c.key, c.prefix) {
		c.key = nil
	}
}

// ownCursor walks the writes of the call itself.
type ownCursor struct{ ops []op }

func (r *reader) ownCursor(b bucket, prefix, after []byte, d direction) *ownCursor {
	if r.own == nil {
		return &ownCursor{}
	}
	ops := r.own.within(b, prefix)
	if d == descending {
		slices.Reverse(ops)
	}
	if after != nil {
		ops = slices.DeleteFunc(ops, func(w op) bool { return !d.before(after, w.key) })
	}
	return &ownCursor{ops}
}

// key returns the key the cursor stands on, or nil at the end.
func (c *ownCursor) key() []byte {
	if len(c.ops) == 0 {
		return nil
	}
	return c.ops[0].key
}

// take returns the value and moves on; nil is a deletion.
func (c *ownCursor) take() []byte {
	value := c.ops[0].value
	c.ops = c.ops[1:]
	return value
}

func larger(a, b []byte) []byte {
	if bytes.Compare(a, b) > 0 {
		return a
	}
	return b
}

// successor returns the smallest key above all that begin with prefix, or nil
// if there is no such key.
func successor(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			next := bytes.Clone(prefix[:i+1])
			next[i]++
			return next
		}
	}
	return nil
}
