package samples

import (
	"time"

	"github.com/govalues/decimal"

	"cloudsettle/core"
	"cloudsettle/core/money"
)

// maxFastDigits is how many digits always fit 64 bits.
const maxFastDigits = 18

// hourLayout is the one form of time that is read by hand.
const hourLayout = "2006-01-02T15:04:05Z"

// scanner reads objects of the usual shape. What samples repeat it keeps: the
// strings of one report, and the hour before.
type scanner struct {
	names    map[string]string
	hourText [len(hourLayout)]byte
	hour     time.Time
}

func newScanner() scanner { return scanner{names: map[string]string{}} }

// The fields of a sample, as bits of what was seen.
const (
	sawWorkspace = 1 << iota
	sawItem
	sawVariant
	sawHour
	sawQuantity

	sawNeeded = sawWorkspace | sawItem | sawHour | sawQuantity
)

// scan reads the object that b begins with, and returns its length, or 0 for
// anything that is not quite usual, which is not to say wrong.
func (s *scanner) scan(b []byte) (core.UsageSample, int) {
	var out core.UsageSample
	if len(b) == 0 || b[0] != '{' {
		return out, 0
	}
	seen, i := 0, 1
	for {
		key, next := quoted(b, space(b, i))
		if next == 0 {
			return out, 0
		}
		if i = space(b, next); i >= len(b) || b[i] != ':' {
			return out, 0
		}
		field, next := s.field(&out, key, b, space(b, i+1))
		if next == 0 || seen&field != 0 {
			return out, 0
		}
		seen |= field
		if i = space(b, next); i >= len(b) {
			return out, 0
		}
		if b[i] == '}' {
			break
		}
		if b[i] != ',' {
			return out, 0
		}
		i++
	}
	if seen&sawNeeded != sawNeeded {
		return out, 0
	}
	return out, i + 1
}

// field reads the value at i into its place in out. It returns which field that
// was and where the value ends, or 0.
func (s *scanner) field(out *core.UsageSample, key, b []byte, i int) (field, next int) {
	var text []byte
	if string(key) == "quantity" {
		out.Quantity, next = quantity(b, i)
		return sawQuantity, next
	}
	if text, next = quoted(b, i); next == 0 {
		return 0, 0
	}
	switch string(key) {
	case "workspace_id":
		out.Workspace = s.name(text)
		return sawWorkspace, next
	case "item":
		out.Item = s.name(text)
		return sawItem, next
	case "variant":
		out.Variant = s.name(text)
		return sawVariant, next
	case "hour":
		if !s.time(text) {
			return 0, 0
		}
		out.Hour = s.hour
		return sawHour, next
	}
	return 0, 0
}

// name returns text as a string, the same one each time.
func (s *scanner) name(text []byte) string {
	if name, ok := s.names[string(text)]; ok {
		return name
	}
	name := string(text)
	s.names[name] = name
	return name
}

// time reads text as a time in the usual form.
func (s *scanner) time(text []byte) bool {
	if len(text) != len(hourLayout) || text[len(hourLayout)-1] != 'Z' {
		return false
	}
	if s.hourText == [len(hourLayout)]byte(text) {
		return true
	}
	t, err := time.Parse(hourLayout, string(text))
	if err != nil {
		return false
	}
	s.hour, s.hourText = t, [len(hourLayout)]byte(text)
	return true
}

// quoted returns the plain string at i and where it ends, or 0: one of
// printable ASCII without escapes.
func quoted(b []byte, i int) (text []byte, next int) {
	if i >= len(b) || b[i] != '"' {
		return nil, 0
	}
	from := i + 1
	for i = from; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return b[from:i], i + 1
		case c < ' ' || c > '~' || c == '\\':
			return nil, 0
		}
	}
	return nil, 0
}

// quantity reads the number at i, which may be quoted, and where it ends, or 0.
func quantity(b []byte, i int) (decimal.Decimal, int) {
	quote := i < len(b) && b[i] == '"'
	if quote {
		i++
	}
	from, point, coef := i, -1, uint64(0)
	for ; i < len(b); i++ {
		c := b[i]
		if c == '.' && point < 0 {
			point = i
			continue
		}
		if c < '0' || c > '9' || i-from > maxFastDigits {
			break
		}
		coef = coef*10 + uint64(c-'0')
	}
	decimals, ok := 0, i > from && i-from <= maxFastDigits && i < len(b)
	if point >= 0 {
		decimals = i - point - 1
		ok = ok && point > from && decimals > 0
	}
	if !ok {
		return decimal.Decimal{}, 0
	}
	if quote {
		if b[i] != '"' {
			return decimal.Decimal{}, 0
		}
		i++
	} else if b[from] == '0' && i-from > 1 && point != from+1 || b[i] != ',' && b[i] != '}' && !isSpace(b[i]) {
		return decimal.Decimal{}, 0 // 007, 1e3
	}
	d, err := money.NewDecimal(false, coef, decimals)
	if err != nil {
		return decimal.Decimal{}, 0
	}
	return d, i
}

// space returns where the white space at i ends.
func space(b []byte, i int) int {
	for i < len(b) && isSpace(b[i]) {
		i++
	}
	return i
}
