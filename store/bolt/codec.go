package bolt

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"cloudsettle/core"
	"cloudsettle/store/internal/packed"
)

// Every stored value begins with a byte that says how the rest is written.
const (
	formatJSON    byte = 1 // a JSON object; unknown fields are ignored
	formatPacked1 byte = 2 // fields one after the other, as the record's codec lists them
)

// errCorrupt is a value that no version of the program wrote.
var errCorrupt = packed.ErrCorrupt

// errFormat refuses values of a later version: to guess would be to lose data.
func errFormat(format byte) error {
	return fmt.Errorf("format %d: %w", format, core.ErrSchema)
}

// utc is a time as it is stored: UTC, to the microsecond, which is what every
// store can hold.
func utc(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}

// encodeJSON is the encoding of records that are seldom read or written.
func encodeJSON(v any) encoder {
	return func(dst []byte) ([]byte, error) {
		text, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		return append(append(dst, formatJSON), text...), nil
	}
}

// decodeJSON reads what encodeJSON wrote.
func decodeJSON[T any](value []byte) (rec T, err error) {
	if len(value) == 0 {
		return rec, errCorrupt
	}
	if value[0] != formatJSON {
		return rec, errFormat(value[0])
	}
	if err := json.Unmarshal(value[1:], &rec); err != nil {
		return rec, fmt.Errorf("%w: %w", errCorrupt, err)
	}
	return rec, nil
}

// The packed form. Strings and lists begin with their length; lengths and
// numbers are varints; a time is the microseconds since year 1, so that no
// time at all is one zero byte.

// zeroMicro is the beginning of packed time, which is Go's zero time.
const zeroMicro = -62135596800000000

func appendStrings(dst []byte, list []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for _, s := range list {
		dst = packed.AppendText(dst, s)
	}
	return dst
}

func appendTime(dst []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(dst, 0)
	}
	return binary.AppendUvarint(dst, uint64(t.UnixMicro()-zeroMicro))
}

func appendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}

// appendMaybe writes a truth value that may be unknown.
func appendMaybe(dst []byte, v *bool) []byte {
	if v == nil {
		return append(dst, 2)
	}
	return appendBool(dst, *v)
}

// unpacker reads the packed form of a record.
type unpacker struct{ packed.Reader }

// unpack begins to read a packed value.
func unpack(value []byte) (*unpacker, error) {
	if len(value) == 0 {
		return nil, errCorrupt
	}
	if value[0] != formatPacked1 {
		return nil, errFormat(value[0])
	}
	return &unpacker{packed.Read(string(value[1:]))}, nil
}

func (u *unpacker) bool() bool {
	b := u.Byte()
	if b > 1 {
		u.Fail()
	}
	return b == 1
}

func (u *unpacker) maybe() *bool {
	b := u.Byte()
	if b > 2 {
		u.Fail()
	}
	if b >= 2 {
		return nil
	}
	v := b == 1
	return &v
}

func (u *unpacker) time() time.Time {
	v := u.Uint()
	if v == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(v) + zeroMicro).UTC()
}

// count reads the length of a list of strings.
func (u *unpacker) count() int { return u.listOf(1) }

// listOf reads the length of a list whose members take at least least bytes
// each, so that damage cannot make the program ask for memory that no list of
// that size needs.
func (u *unpacker) listOf(least int) int {
	n := u.Uint()
	if n > uint64(u.Left()/least) {
		u.Fail()
		return 0
	}
	return int(n)
}

func (u *unpacker) strings() []string {
	n := u.count()
	if n == 0 {
		return nil
	}
	list := make([]string, n)
	for i := range list {
		list[i] = u.Text()
	}
	return list
}
