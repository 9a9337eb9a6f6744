package rows

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"cloudsettle/core"
	"cloudsettle/core/usage"
)

// TestTextBecomesPlain: what cannot be text is replaced once, and the result
// is its own canonical form; bytes stay.
func TestTextBecomesPlain(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		parts := rapid.SliceOf(rapid.SampledFrom([]string{"a", "\xff", "\x00", `\`, `\u0000`, `\ufffd`, "\ufffd", "<", "云", `"`}))
		text := strings.Join(parts.Draw(t, "text"), "")
		e := NewEntry(core.JournalEntry{ID: "cb_1", Reason: text, RawQuery: text})
		row, err := Callbacks.Row(&e)
		if err != nil {
			t.Fatal(err)
		}
		back, err := Callbacks.Record(row)
		if err != nil {
			t.Fatal(err)
		}
		j := back.Journal()
		want := strings.ReplaceAll(strings.Map(func(r rune) rune { return r }, text), "\x00", "\ufffd")
		if j.RawQuery != text || j.Reason != want || !utf8.ValidString(j.Reason) {
			t.Errorf("%q came back as %q, want %q, and as query %q", text, j.Reason, want, j.RawQuery)
		}
		again, err := Callbacks.Row(back)
		if err != nil || !reflect.DeepEqual(row, again) {
			t.Errorf("%s became %s, %v", row.Value, again.Value, err)
		}
	})
}

// TestKeysSortAsTheirParts: the order of bytes is the order of what is in keys.
func TestKeysSortAsTheirParts(t *testing.T) {
	t.Parallel()
	ascending := []string{
		PeriodKey(usage.Day(-1<<31), "a"), PeriodKey(usage.Day(-1), "z"), PeriodKey(usage.Day(0), "a"),
		PeriodKey(usage.Day(0), "a", "b"), PeriodKey(usage.Day(0), "a", "c"), PeriodKey(usage.Day(0), "aa", "b"),
		PeriodKey(usage.Day(1), "a"), PeriodKey(usage.Day(256), ""), PeriodKey(usage.Day(1<<31-1), "a"),
	}
	for i := 1; i < len(ascending); i++ {
		if ascending[i] <= ascending[i-1] {
			t.Errorf("%q does not come after %q", ascending[i], ascending[i-1])
		}
	}
	for _, day := range []usage.Day{-1 << 31, -1, 0, 20_000, 1<<31 - 1} {
		if got, rest := Period[usage.Day](PeriodKey(day, "ws", "x")); got != day || rest != "ws\x00x" {
			t.Errorf("Period() = %d, %q, want %d", int32(got), rest, int32(day))
		}
	}
}

// TestRecordRefuses: a row whose key is not its record's, or that is no record.
func TestRecordRefuses(t *testing.T) {
	t.Parallel()
	for _, row := range []core.Row{
		{Key: "a", Value: []byte(`{"name":"b","value":""}`)}, {Key: "a", Value: nil}, {Key: "a", Value: []byte(`[]`)},
	} {
		if _, err := Settings.Record(row); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("Record(%q) = %v, want ErrInvalid", row.Value, err)
		}
	}
}
