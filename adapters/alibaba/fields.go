package alibaba

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"cloudsettle/core"
)

// fields reads verified parameters and collects what is wrong with them.
type fields struct {
	params
	zone     *time.Location
	problems []core.FieldFault
}

func (f *fields) problem(name, format string, args ...any) {
	f.problems = append(f.problems, core.FieldFault{Field: name, Detail: fmt.Sprintf(format, args...)})
}

// fault returns everything that is wrong, or nil.
func (f *fields) fault() error {
	if len(f.problems) == 0 {
		return nil
	}
	return fmt.Errorf("alibaba: %s: %w", f.get("action"),
		&core.Fault{Err: core.ErrInvalid, Code: "invalid_parameter", Fields: f.problems})
}

// invalid returns a fault in what the marketplace sent.
func invalid(code, format string, args ...any) error {
	return fmt.Errorf("alibaba: %w", core.Invalid(code, format, args...))
}

// id returns a required identifier.
func (f *fields) id(name string) string {
	v := f.optionalID(name)
	if f.get(name) == "" {
		f.problem(name, "missing")
	}
	return v
}

// maxID is far beyond any identifier of the marketplace (the longest has 32).
const maxID = 128

// optionalID returns an identifier or "". It is text to us, leading zeros and
// all: printable ASCII but for what separates parameters in the signed text,
// where it could make one parameter look like two.
func (f *fields) optionalID(name string) string {
	v := f.get(name)
	if len(v) > maxID || strings.ContainsFunc(v, notInID) {
		f.problem(name, "%.64q is not an identifier", v)
		return ""
	}
	return v
}

func notInID(r rune) bool { return r <= ' ' || r > '~' || r == '&' || r == '=' }

// boolean returns true for "true", false for "false" and otherwise for "".
func (f *fields) boolean(name string, otherwise bool) bool {
	switch v := f.get(name); v {
	case "":
		return otherwise
	case "true":
		return true
	case "false":
		return false
	default:
		f.problem(name, "%.64q is neither true nor false", v)
		return otherwise
	}
}

// epochMillis is the least length of a time that is written as milliseconds
// since 1970: 11 digits are 1973.
const epochMillis = 11

// time returns a point in time or the zero time. One implementation is known
// to accept milliseconds as well, so we do.
func (f *fields) time(name string) time.Time {
	v := f.get(name)
	if v == "" {
		return time.Time{}
	}
	t, err := time.ParseInLocation(time.DateTime, v, f.zone)
	if err != nil && len(v) >= epochMillis && strings.Trim(v, "0123456789") == "" {
		var ms int64
		if ms, err = strconv.ParseInt(v, 10, 64); err == nil {
			t = time.UnixMilli(ms)
		}
	}
	if err != nil || t.Year() < firstYear || t.Year() > lastYear {
		f.problem(name, "%.64q is not a time such as 2006-01-02 15:04:05", v)
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}

// Years beyond these are mistakes, and RFC 3339 cannot write all of them.
const (
	firstYear = 2000
	lastYear  = 9999
)

func (f *fields) requiredTime(name string) time.Time {
	if f.get(name) == "" {
		f.problem(name, "missing")
	}
	return f.time(name)
}
