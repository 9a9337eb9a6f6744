// Package packed reads and writes the packed form of stored values: numbers
// are varints, texts begin with their length.
package packed

import (
	"encoding/binary"
	"errors"
)

// ErrCorrupt is a value that no version of the program wrote.
var ErrCorrupt = errors.New("the stored value is damaged")

// Reader reads the packed form. It works on a string so that all texts of a
// value share one allocation, and moves a position, which costs less than to
// cut the string. After the first fault it reads only zeros; the caller asks
// for the fault at the end.
type Reader struct {
	value string
	at    int
	bad   bool
}

// Read begins to read a value.
func Read(value string) Reader { return Reader{value: value} }

// Done returns ErrCorrupt unless the value was read to its end without a fault.
func (r *Reader) Done() error {
	if r.bad || r.More() {
		return ErrCorrupt
	}
	return nil
}

// More reports whether something was not read yet.
func (r *Reader) More() bool { return r.at < len(r.value) }

// Left is how many bytes were not read yet.
func (r *Reader) Left() int { return len(r.value) - r.at }

// At is the position of what is read next, for Since.
func (r *Reader) At() int { return r.at }

// Since returns what was read since a position; nothing after a fault.
func (r *Reader) Since(at int) string { return r.value[min(at, r.at):r.at] }

// Bad reports whether there was a fault.
func (r *Reader) Bad() bool { return r.bad }

// Fail notes a fault.
func (r *Reader) Fail() { *r = Reader{bad: true} }

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if r.at >= len(r.value) {
		r.Fail()
		return 0
	}
	r.at++
	return r.value[r.at-1]
}

// Uint reads a varint of at most 64 bits.
func (r *Reader) Uint() uint64 {
	if r.at < len(r.value) && r.value[r.at] < 0x80 { // most are small
		r.at++
		return uint64(r.value[r.at-1])
	}
	return r.longUint()
}

func (r *Reader) longUint() uint64 {
	var v uint64
	for i := 0; i < binary.MaxVarintLen64 && r.at+i < len(r.value); i++ {
		b := r.value[r.at+i]
		if b < 0x80 {
			if i == binary.MaxVarintLen64-1 && b > 1 {
				break
			}
			r.at += i + 1
			return v | uint64(b)<<(7*i)
		}
		v |= uint64(b&0x7f) << (7 * i)
	}
	r.Fail()
	return 0
}

// Int reads a number that may be negative.
func (r *Reader) Int() int64 {
	v := r.Uint()
	return int64(v>>1) ^ -int64(v&1)
}

// Text reads a text.
func (r *Reader) Text() string { return r.Bytes(r.Uint()) }

// Bytes reads n bytes.
func (r *Reader) Bytes(n uint64) string {
	if n > uint64(r.Left()) {
		r.Fail()
		return ""
	}
	r.at += int(n)
	return r.value[r.at-int(n) : r.at]
}

// AppendText writes a text.
func AppendText[S ~string](dst []byte, s S) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}
