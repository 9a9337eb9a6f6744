package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"cloudsettle/core"
)

// errOver is what reads and writes of a transaction get after it has ended.
var errOver = errors.New("bolt: the transaction is over")

// reader reads one state of the store: in View a snapshot, in Update the
// group's transaction below the call's own writes.
type reader struct {
	*opened
	own     *overlay // nil in View
	over    bool
	opening string
	scratch []byte // the key being looked up
}

// txn is the transaction of one call of Update.
type txn struct {
	reader
	arena *arena
	usage []usagePut
}

var (
	_ core.ReadTx = (*reader)(nil)
	_ core.Tx     = (*txn)(nil)
)

// get returns the stored value, or nil. It is valid until the next write.
func (r *reader) get(b bucket, key []byte) []byte {
	if r.own != nil {
		if at := r.own.find(b, key); at >= 0 {
			return r.own.ops[at].value
		}
	}
	return r.opened.get(b, key)
}

// lookup returns the value under parts, or nil if there is none.
func (r *reader) lookup(b bucket, parts ...string) ([]byte, error) {
	if r.over {
		return nil, errOver
	}
	key, ok := appendKey(r.scratch[:0], parts...)
	if !ok {
		return nil, nil
	}
	r.scratch = key
	return r.get(b, key), nil
}

// lookupIn is lookup for keys that begin with a period.
func lookupIn[P ~int32](r *reader, b bucket, p P, parts ...string) ([]byte, error) {
	if r.over {
		return nil, errOver
	}
	key, ok := periodKey(r.scratch[:0], p, parts...)
	if !ok {
		return nil, nil
	}
	r.scratch = key
	return r.get(b, key), nil
}

// encoder appends a stored value to dst.
type encoder func(dst []byte) ([]byte, error)

// put writes what encode appends under parts.
func (t *txn) put(b bucket, what string, encode encoder, parts ...string) error {
	key, err := t.key(what, parts...)
	if err != nil {
		return err
	}
	return t.putAt(b, what, encode, key)
}

// putAt writes what encode appends under a key that lasts.
func (t *txn) putAt(b bucket, what string, encode encoder, key []byte) error {
	value, err := encode(t.arena.room())
	if err != nil {
		return fmt.Errorf("bolt: encode %s: %w", what, err)
	}
	t.own.set(b, key, t.arena.keep(value))
	return nil
}

// putIn is put for keys that begin with a period.
func putIn[P ~int32](
	t *txn, b bucket, what string, encode encoder, p P, parts ...string,
) error {
	if t.over {
		return errOver
	}
	key, ok := periodKey(t.arena.room(), p, parts...)
	if !ok {
		return errKey(what, parts...)
	}
	return t.putAt(b, what, encode, t.arena.keep(key))
}

// point makes an index entry that leads to id.
func (t *txn) point(b bucket, what, id string, parts ...string) error {
	encode := func(dst []byte) ([]byte, error) { return append(dst, id...), nil }
	return t.put(b, what, encode, parts...)
}

// remove deletes the entry under parts, if there is one.
func (t *txn) remove(b bucket, what string, parts ...string) error {
	key, err := t.key(what, parts...)
	if err != nil {
		return err
	}
	t.own.set(b, key, nil)
	return nil
}

// key makes a key that lasts until the group is committed.
func (t *txn) key(what string, parts ...string) ([]byte, error) {
	if t.over {
		return nil, errOver
	}
	key, ok := appendKey(t.arena.room(), parts...)
	if !ok {
		return nil, errKey(what, parts...)
	}
	return t.arena.keep(key), nil
}

// direction is the order of a scan.
type direction bool

const (
	ascending  direction = false
	descending direction = true
)

// scan yields the entries of b whose keys begin with prefix and come after
// the key after (unless that is nil), as they are when the scan begins. Keys
// and values are valid until the next step.
func (r *reader) scan(b bucket, prefix, after []byte, d direction) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		stored := newCursor(r.bucket(b), prefix, after, d)
		own := r.ownCursor(b, prefix, after, d)
		for stored.key != nil || own.key() != nil {
			next := own.key()
			use := next == nil || stored.key != nil && d.before(stored.key, next)
			switch {
			case use:
				if !yield(stored.key, stored.value) {
					return
				}
				stored.step()
			default:
				if bytes.Equal(stored.key, next) {
					stored.step()
				}
				if value := own.take(); value != nil && !yield(next, value) {
					return
				}
			}
		}
	}
}

// before reports whether a comes before b in this direction.
func (d direction) before(a, b []byte) bool {
	if d == descending {
		a, b = b, a
	}
	return bytes.Compare(a, b) < 0
}

// page yields up to p.Limit records of b from p.After on, those that decode
// says to keep.
func page[T any](r *reader, b bucket, p core.Page, d direction,
	decode func(value []byte) (rec T, keep bool, err error),
) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		if r.over {
			yield(zero, errOver)
			return
		}
		left := p.Limit
		for key, value := range r.scan(b, nil, afterKey(p.After), d) {
			rec, keep, err := decode(value)
			if err != nil {
				yield(zero, fmt.Errorf("bolt: %s %q: %w", layout[b].name, key, err))
				return
			}
			if !keep {
				continue
			}
			if !yield(rec, nil) {
				return
			}
			if left--; left == 0 {
				return
			}
		}
	}
}

// members yields up to p.Limit records that the index b lists under owner.
func members[T any](r *reader, b bucket, owner string, p core.Page,
	load func(id string) (T, error),
) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		if r.over {
			yield(zero, errOver)
			return
		}
		prefix := prefixOf(owner)
		after := afterIn(prefix, p.After)
		left := p.Limit
		for key := range r.scan(b, prefix, after, ascending) {
			rec, err := load(string(key[len(prefix):]))
			if !yield(rec, err) || err != nil {
				return
			}
			if left--; left == 0 {
				return
			}
		}
	}
}

// span yields what has keys that begin with one prefix, with another, or lie
// between.
func (r *reader) span(b bucket, first, last []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		for key, value := range r.scan(b, nil, first, ascending) {
			if bytes.Compare(key, last) > 0 && !bytes.HasPrefix(key, last) || !yield(key, value) {
				return
			}
		}
	}
}

// afterKey is the key that a page begins after, or nil.
func afterKey(after string) []byte { return afterIn(nil, after) }

// afterIn is afterKey among the keys that begin with a prefix.
func afterIn(prefix []byte, after string) []byte {
	if after == "" {
		return nil
	}
	return append(bytes.Clone(prefix), after...)
}

// txContext marks the context of a transaction, so that one inside another is
// an error: both would wait for the same writer.
type txContext struct {
	context.Context
	s *Store
}

// txKey asks a context whether it belongs to a transaction of a store.
type txKey struct{ s *Store }

// Value answers txKey and passes everything else on.
func (c *txContext) Value(key any) any {
	if k, ok := key.(txKey); ok && k.s == c.s {
		return true
	}
	return c.Context.Value(key)
}
