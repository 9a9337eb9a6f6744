package samples

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"cloudsettle/core"
)

const (
	// chunk is how much is read at a time: large enough that a record that
	// straddles two chunks, and is looked at twice, is rare.
	chunk = 256 << 10
	// MaxRecord is the longest sample that is read: its names have at most 128
	// bytes each, the rest is room for whitespace and escapes.
	MaxRecord = 16 << 10
)

// ErrSyntax says that a report is not a JSON array, so that nothing of it can
// be taken.
var ErrSyntax = errors.New("not a JSON array of samples")

// ErrTooMany says that a report has more samples than are taken at a time.
var ErrTooMany = errors.New("too many samples")

// ErrTooLong says that one sample is longer than MaxRecord.
var ErrTooLong = errors.New("a sample is too long")

// ReadArray reads a JSON array of at most limit samples. A sample that cannot
// be read is in its place, with the reason in Bad. Errors: ErrSyntax,
// ErrTooMany, ErrTooLong, and those of src.
func ReadArray(src io.Reader, limit int) ([]core.UsageSample, error) {
	r := newReader(src)
	if c, err := r.token(); err != nil || c != '[' {
		return nil, syntax(err, "it does not begin with [")
	}
	r.at++
	c, err := r.token()
	if err != nil {
		return nil, syntax(err, "it does not end")
	}
	var out []core.UsageSample
	for first := true; !first || c != ']'; first = false {
		if out, err = r.element(out, limit); err != nil {
			return nil, err
		}
		if c, err = r.token(); err != nil {
			return nil, syntax(err, "it does not end")
		}
		if c == ']' {
			break
		}
		if c != ',' {
			return nil, fmt.Errorf("%w: after sample %d comes neither , nor ]", ErrSyntax, len(out)-1)
		}
		r.at++
	}
	r.at++
	if _, err := r.token(); !errors.Is(err, io.EOF) {
		return nil, syntax(err, "something follows it")
	}
	return out, nil
}

// ReadLines reads NDJSON: at most limit samples, one a line. Empty lines count
// for nothing. A line that cannot be read is a sample with the reason in Bad.
// Errors: ErrTooMany, ErrTooLong, and those of src.
func ReadLines(src io.Reader, limit int) ([]core.UsageSample, error) {
	r := newReader(src)
	var out []core.UsageSample
	for {
		line, err := r.line()
		if err != nil {
			return nil, err
		}
		if line == nil {
			return out, nil
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if len(out) == limit {
			return nil, ErrTooMany
		}
		s, n := r.scanner.scan(line)
		if n != len(line) {
			s = slow(line)
		}
		out = add(out, s)
	}
}

// syntax words what is wrong with an array, unless src failed.
func syntax(err error, why string) error {
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return fmt.Errorf("%w: %s", ErrSyntax, why)
}

// reader cuts a stream into records.
type reader struct {
	src     io.Reader
	buf     []byte
	at, end int // what was read and not used: buf[at:end]
	err     error
	scanner scanner
}

func newReader(src io.Reader) *reader {
	return &reader{src: src, buf: make([]byte, chunk), scanner: newScanner()}
}

// more reads more of src behind what is there. It reports false at the end,
// or when the buffer is full.
func (r *reader) more() bool {
	if r.at > 0 {
		r.end = copy(r.buf, r.buf[r.at:r.end])
		r.at = 0
	}
	if r.err != nil || r.end == len(r.buf) {
		return false
	}
	n, err := io.ReadAtLeast(r.src, r.buf[r.end:], 1)
	r.end += n
	if err != nil {
		r.err = err
	}
	return n > 0
}

// token returns the next byte that is not white space, without taking it.
func (r *reader) token() (byte, error) {
	for {
		for ; r.at < r.end; r.at++ {
			if c := r.buf[r.at]; !isSpace(c) {
				return c, nil
			}
		}
		if !r.more() {
			return 0, r.err
		}
	}
}

// element reads one element of an array and appends it.
func (r *reader) element(out []core.UsageSample, limit int) ([]core.UsageSample, error) {
	if _, err := r.token(); err != nil {
		return nil, syntax(err, "it does not end")
	}
	if len(out) == limit {
		return nil, ErrTooMany
	}
	s, n := r.scanner.scan(r.buf[r.at:r.end])
	if n > 0 && n <= MaxRecord {
		r.at += n
		return add(out, s), nil
	}
	raw, err := r.value()
	if err != nil {
		return nil, err
	}
	if !json.Valid(raw) {
		return nil, fmt.Errorf("%w: sample %d is not JSON", ErrSyntax, len(out))
	}
	if s, n = r.scanner.scan(raw); n != len(raw) { // it may just have straddled two chunks
		s = slow(raw)
	}
	return add(out, s), nil
}

// add appends a sample to a list that doubles when it is full: by the quarters
// that append takes, a large report would be copied five times.
func add(out []core.UsageSample, s core.UsageSample) []core.UsageSample {
	if len(out) == cap(out) {
		out = slices.Grow(out, max(len(out), 1))
	}
	return append(out, s)
}

// value takes one JSON value, whatever it is, by looking for its end.
func (r *reader) value() ([]byte, error) {
	for {
		have := r.buf[r.at:r.end]
		n, whole := extent(have)
		switch {
		case whole && n <= MaxRecord:
			r.at += n
			return have[:n], nil
		case whole || len(have) > MaxRecord:
			return nil, ErrTooLong
		case r.more():
			continue
		}
		return nil, syntax(r.err, "it does not end")
	}
}

// line takes one line without its end, or returns nil at the end of src.
func (r *reader) line() ([]byte, error) {
	for {
		have := r.buf[r.at:r.end]
		n := bytes.IndexByte(have, '\n')
		switch {
		case n > MaxRecord || n < 0 && len(have) > MaxRecord:
			return nil, ErrTooLong
		case n >= 0:
			r.at += n + 1
			return have[:n], nil
		case r.more():
			continue
		case !errors.Is(r.err, io.EOF):
			return nil, r.err
		case len(have) == 0:
			return nil, nil
		}
		r.at = r.end
		return r.buf[:r.end], nil // more moved what is left to the front
	}
}

// extent returns the length of the JSON value that b begins with, and whether
// all of it is there. It looks at brackets and strings only: what it finds may
// not be valid.
func extent(b []byte) (n int, whole bool) {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			end := stringEnd(b, i+1)
			if end < 0 {
				return 0, false
			}
			if i = end; depth == 0 {
				return i + 1, true
			}
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth == 0 {
				return i, true // of what is around
			}
			if depth--; depth == 0 {
				return i + 1, true
			}
		case depth == 0 && (c == ',' || isSpace(c)):
			return i, true
		}
	}
	return 0, false
}

// stringEnd returns where the string ends whose first byte is at i, or -1.
func stringEnd(b []byte, i int) int {
	for ; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }
