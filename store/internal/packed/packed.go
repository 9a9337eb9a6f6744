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
// value share one allocation. After the first fault it reads only zeros; the
// caller asks for the fault at the end.
type Reader struct {
	Rest string // what was not read yet
	bad  bool
}

// Done returns ErrCorrupt unless the value was read to its end without a fault.
func (r *Reader) Done() error {
	if r.bad || r.Rest != "" {
		return ErrCorrupt
	}
	return nil
}

// Bad reports whether there was a fault.
func (r *Reader) Bad() bool { return r.bad }

// Fail notes a fault.
func (r *Reader) Fail() {
	r.bad, r.Rest = true, ""
}

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if r.Rest == "" {
		r.Fail()
		return 0
	}
	b := r.Rest[0]
	r.Rest = r.Rest[1:]
	return b
}

// Uint reads a varint of at most 64 bits.
func (r *Reader) Uint() uint64 {
	if len(r.Rest) > 0 && r.Rest[0] < 0x80 { // most are small
		v := uint64(r.Rest[0])
		r.Rest = r.Rest[1:]
		return v
	}
	return r.longUint()
}

func (r *Reader) longUint() uint64 {
	var v uint64
	for i := 0; i < len(r.Rest) && i < binary.MaxVarintLen64; i++ {
		b := r.Rest[i]
		if b < 0x80 {
			if i == binary.MaxVarintLen64-1 && b > 1 {
				break
			}
			r.Rest = r.Rest[i+1:]
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
func (r *Reader) Text() string {
	n := r.Uint()
	if n > uint64(len(r.Rest)) {
		r.Fail()
		return ""
	}
	s := r.Rest[:n]
	r.Rest = r.Rest[n:]
	return s
}

// AppendText writes a text.
func AppendText[S ~string](dst []byte, s S) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}
