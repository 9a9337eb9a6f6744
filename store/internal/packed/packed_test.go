package packed

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"
)

// TestReader reads back what was written, and calls everything else damaged.
func TestReader(t *testing.T) {
	t.Parallel()
	value := binary.AppendVarint(binary.AppendUvarint(AppendText([]byte{7}, "text"), 300), -5)
	for end := range value {
		r := Read(string(value[:end]))
		r.Byte()
		r.Text()
		r.Uint()
		r.Int()
		if err := r.Done(); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d of %d bytes: Done() = %v, want ErrCorrupt", end, len(value), err)
		}
	}
	r := Read(string(value))
	if b, s, u, i := r.Byte(), r.Text(), r.Uint(), r.Int(); b != 7 || s != "text" || u != 300 || i != -5 || r.Done() != nil {
		t.Errorf("read %d %q %d %d, %v", b, s, u, i, r.Done())
	}
	if r = Read("12"); r.Byte() != '1' || r.Done() == nil {
		t.Error("Done() = nil with a byte left")
	}
}

// TestVarintOverflow: a number of more than 64 bits is damage, not a wrap.
func TestVarintOverflow(t *testing.T) {
	t.Parallel()
	largest := binary.AppendUvarint(nil, math.MaxUint64)
	if u := Read(string(largest)); u.Uint() != math.MaxUint64 || u.Done() != nil {
		t.Error("the largest number does not return")
	}
	largest[len(largest)-1]++
	if u := Read(string(largest)); u.Uint() != 0 || u.Done() == nil {
		t.Error("a larger number than 64 bits is read")
	}
}
