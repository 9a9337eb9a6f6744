// Package rows is the canonical form of records that move between stores: a
// key, and the JSON of the core noun with its revision. Keys sort in every
// store as the store sorts its records, and equal records have equal bytes, so
// that stores can be compared by digests.
//
// Text that is not UTF-8, or holds a NUL, has U+FFFD in those places: not every
// engine can store it. Requests and their queries are bytes and stay as they are.
package rows

import (
	"bytes"
	"encoding/json"
	"fmt"

	"cloudsettle/core"
)

// Table is one kind of record.
type Table[T any] struct {
	Name string
	// Key returns the place of a record. Parts have a NUL between them and
	// numbers are big-endian, so that the order of bytes is the order of parts.
	Key func(*T) string
}

// Row returns a record in canonical form.
func (t *Table[T]) Row(rec *T) (core.Row, error) {
	text, err := json.Marshal(rec)
	if err != nil {
		return core.Row{}, fmt.Errorf("%s %q: %w", t.Name, t.Key(rec), err)
	}
	return core.Row{Key: t.Key(rec), Value: plain(text)}, nil
}

// Record returns the record of a row.
func (t *Table[T]) Record(row core.Row) (*T, error) {
	rec := new(T)
	if err := json.Unmarshal(row.Value, rec); err != nil {
		return nil, core.Invalid("invalid_rows", "%s %q: %s", t.Name, row.Key, err)
	}
	if key := t.Key(rec); key != row.Key {
		return nil, core.Invalid("invalid_rows", "%s %q belongs under %q", t.Name, row.Key, key)
	}
	return rec, nil
}

// Records returns the records of rows, whose keys must ascend.
func (t *Table[T]) Records(list []core.Row) ([]*T, error) {
	out := make([]*T, len(list))
	for i := range list {
		if i > 0 && list[i].Key <= list[i-1].Key {
			return nil, core.Invalid("invalid_rows", "%s: the key %q comes after %q", t.Name, list[i].Key, list[i-1].Key)
		}
		var err error
		if out[i], err = t.Record(list[i]); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Same checks that a stored record is the one that a row puts in its place.
func (t *Table[T]) Same(stored *T, row core.Row) error {
	was, err := t.Row(stored)
	if err != nil {
		return err
	}
	if was.Key != row.Key || !bytes.Equal(was.Value, row.Value) {
		return core.Conflict("taken", "%s: another row is stored under %q", t.Name, row.Key)
	}
	return nil
}

// replacement is U+FFFD as JSON text has it unless it is escaped.
const replacement = "\ufffd"

// plain writes the escapes of what text cannot hold, and of what replaces it,
// as the replacement itself: what was replaced once looks as what is replaced
// now. A backslash that is itself escaped begins none.
func plain(text []byte) []byte {
	out := text[:0]
	for {
		at := bytes.IndexByte(text, '\\')
		if at < 0 {
			return append(out, text...)
		}
		out = append(out, text[:at]...)
		text = text[at:]
		if bytes.HasPrefix(text, []byte(`\u0000`)) || bytes.HasPrefix(text, []byte(`\ufffd`)) {
			out = append(out, replacement...)
			text = text[len(`\u0000`):]
			continue
		}
		out = append(out, text[:2]...)
		text = text[2:]
	}
}
