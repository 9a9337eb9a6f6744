package samples

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"cloudsettle/core"
	"cloudsettle/core/money"
)

// slow reads one sample with encoding/json, or says in Bad why it cannot.
func slow(raw []byte) core.UsageSample {
	var s core.UsageSample
	if err := decode(raw, &s); err != nil {
		return core.UsageSample{Bad: err.Error()}
	}
	return s
}

func decode(raw []byte, s *core.UsageSample) error {
	if !utf8.Valid(raw) {
		return fmt.Errorf("is not UTF-8")
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil || fields == nil {
		return fmt.Errorf("is not a JSON object")
	}
	for _, name := range []string{"workspace_id", "item", "hour", "quantity"} {
		if fields[name] == nil {
			return fmt.Errorf("%s is missing", name)
		}
	}
	for name, value := range fields {
		if err := set(s, name, value); err != nil {
			return err
		}
	}
	return nil
}

// set reads one field.
func set(s *core.UsageSample, name string, value json.RawMessage) (err error) {
	switch name {
	case "workspace_id":
		s.Workspace, err = text(name, value)
	case "item":
		s.Item, err = text(name, value)
	case "variant":
		s.Variant, err = text(name, value)
	case "hour":
		err = setHour(s, value)
	case "quantity":
		err = setQuantity(s, value)
	default:
		err = fmt.Errorf("%.40q is not a field of a sample", name)
	}
	return err
}

// text reads a string that may be the key of something.
func text(name string, value json.RawMessage) (string, error) {
	var s string
	if value[0] != '"' || json.Unmarshal(value, &s) != nil {
		return "", fmt.Errorf("%s must be a string", name)
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", fmt.Errorf("%s must not have control characters", name)
	}
	return s, nil
}

func setHour(s *core.UsageSample, value json.RawMessage) error {
	hour, err := text("hour", value)
	if err != nil {
		return err
	}
	t, err := time.Parse(time.RFC3339, hour)
	if err != nil {
		return fmt.Errorf("hour must be a time such as 2026-11-21T03:00:00Z")
	}
	s.Hour = t.UTC()
	return nil
}

// setQuantity reads a decimal from a string or from the digits of a number: it
// never passes through a float.
func setQuantity(s *core.UsageSample, value json.RawMessage) error {
	digits := string(value)
	if value[0] == '"' {
		var err error
		if digits, err = text("quantity", value); err != nil {
			return err
		}
	}
	d, err := money.ParseDecimal(digits)
	if err != nil {
		return fmt.Errorf("quantity: %w", err)
	}
	s.Quantity = d
	return nil
}
