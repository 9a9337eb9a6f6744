package daypack

import "encoding/binary"

// reader reads the packed form: numbers are varints, texts begin with their
// length. It works on a string so that all texts of a day share one
// allocation. After the first fault it reads only zeros; the caller asks for
// the fault at the end.
type reader struct {
	rest string
	bad  bool
}

// done reports whether the value was read to its end without a fault.
func (u *reader) done() error {
	if u.bad || u.rest != "" {
		return ErrCorrupt
	}
	return nil
}

func (u *reader) fail() {
	u.bad, u.rest = true, ""
}

func (u *reader) byte() byte {
	if u.rest == "" {
		u.fail()
		return 0
	}
	b := u.rest[0]
	u.rest = u.rest[1:]
	return b
}

// uint reads a varint of at most 64 bits.
func (u *reader) uint() uint64 {
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
func (u *reader) int() int64 {
	v := u.uint()
	return int64(v>>1) ^ -int64(v&1)
}

func (u *reader) string() string {
	n := u.uint()
	if n > uint64(len(u.rest)) {
		u.fail()
		return ""
	}
	s := u.rest[:n]
	u.rest = u.rest[n:]
	return s
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}
