package bolt

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"cloudsettle/core"
	"cloudsettle/store/internal/daypack"
)

// Every stored value begins with a byte that says how the rest is written.
const (
	formatJSON    byte = 1 // a JSON object; unknown fields are ignored
	formatPacked1 byte = 2 // fields one after the other, as the record's codec lists them
)

// errCorrupt is a value that no version of the program wrote.
var errCorrupt = daypack.ErrCorrupt

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

func appendString[S ~string](dst []byte, s S) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func appendStrings(dst []byte, list []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(list)))
	for _, s := range list {
		dst = appendString(dst, s)
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

// unpacker reads the packed form. It works on a string so that all strings of
// a record share one allocation. After the first fault it reads only zeros;
// the caller asks for the fault at the end.
type unpacker struct {
	rest string
	bad  bool
}

// unpack begins to read a packed value.
func unpack(value []byte) (*unpacker, error) {
	if len(value) == 0 {
		return nil, errCorrupt
	}
	if value[0] != formatPacked1 {
		return nil, errFormat(value[0])
	}
	return &unpacker{rest: string(value[1:])}, nil
}

// done reports whether the value was read to its end without a fault.
func (u *unpacker) done() error {
	if u.bad || u.rest != "" {
		return errCorrupt
	}
	return nil
}

func (u *unpacker) fail() {
	u.bad, u.rest = true, ""
}

func (u *unpacker) byte() byte {
	if u.rest == "" {
		u.fail()
		return 0
	}
	b := u.rest[0]
	u.rest = u.rest[1:]
	return b
}

// uint reads a varint of at most 64 bits.
func (u *unpacker) uint() uint64 {
	if len(u.rest) > 0 && u.rest[0] < 0x80 { // most are small
		v := uint64(u.rest[0])
		u.rest = u.rest[1:]
		return v
	}
	return u.longUint()
}

func (u *unpacker) longUint() uint64 {
	var v uint64
	for i := 0; i < len(u.rest) && i < binary.MaxVarintLen64; i++ {
		b := u.rest[i]
		if b < 0x80 {
			if i == binary.MaxVarintLen64-1 && b > 1 {
				break
			}
			u.rest = u.rest[i+1:]
			return v | uint64(b)<<(7*i)
		}
		v |= uint64(b&0x7f) << (7 * i)
	}
	u.fail()
	return 0
}

// int reads a number that may be negative.
func (u *unpacker) int() int64 {
	v := u.uint()
	return int64(v>>1) ^ -int64(v&1)
}

func (u *unpacker) bool() bool {
	b := u.byte()
	if b > 1 {
		u.fail()
	}
	return b == 1
}

func (u *unpacker) maybe() *bool {
	b := u.byte()
	if b > 2 {
		u.fail()
	}
	if b >= 2 {
		return nil
	}
	v := b == 1
	return &v
}

func (u *unpacker) time() time.Time {
	v := u.uint()
	if v == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(v) + zeroMicro).UTC()
}

func (u *unpacker) string() string {
	n := u.uint()
	if n > uint64(len(u.rest)) {
		u.fail()
		return ""
	}
	s := u.rest[:n]
	u.rest = u.rest[n:]
	return s
}

// count reads the length of a list of strings.
func (u *unpacker) count() int { return u.listOf(1) }

// listOf reads the length of a list whose members take at least least bytes
// each, so that damage cannot make the program ask for memory that no list of
// that size needs.
func (u *unpacker) listOf(least int) int {
	n := u.uint()
	if n > uint64(len(u.rest)/least) {
		u.fail()
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
		list[i] = u.string()
	}
	return list
}
