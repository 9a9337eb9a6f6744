package samples

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/govalues/decimal"

	"cloudsettle/core"
)

const usual = `{"workspace_id":"ws_1","item":"logs","variant":"14d","hour":"2026-11-21T03:00:00Z","quantity":"1200000"}`

// shown is a sample in words, for comparisons.
func shown(s core.UsageSample) string {
	if s.Bad != "" {
		return "bad: " + s.Bad
	}
	return fmt.Sprintf("%q %q %q %s %s", s.Workspace, s.Item, s.Variant, s.Hour.Format("2006-01-02T15:04:05.999999999Z07:00"), s.Quantity)
}

func seeds() []string {
	return []string{
		usual,
		` {"quantity" : 12.50 , "hour":"2026-11-21T03:00:00Z", "item":"a","workspace_id":"b"} `,
		`{"workspace_id":"ws_1","item":"logs","hour":"2026-11-21T11:00:00+08:00","quantity":"0.0000000000000000001"}`,
		`{"workspace_id":"wś","item":"l\u006fgs","hour":"2026-11-21T03:00:00Z","quantity":9999999999999999999}`,
		`{"workspace_id":"w","item":"i","hour":"2026-11-21T03:00:00Z","quantity":"12345678901234567890"}`,
		`{"workspace_id":"w","item":"i","hour":"2026-11-21T03:00:00Z","quantity":1e3}`,
		`{"workspace_id":"w","item":"i","hour":"2026-11-21T03:00:00Z","quantity":007}`,
		`{"workspace_id":"w","item":"i","hour":"2026-11-21T03:00:00Z","quantity":"007"}`,
		`{"workspace_id":"w","item":"i","hour":"2026-11-21T03:00:00Z","quantity":0.5}`,
		`{"workspace_id":"w","item":"i","hour":"2026-11-21T03:00:00Z","quantity":0}`,
		`{"workspace_id":"w","item":"i","hour":"2026-11-21T03:00:00Z","quantity":-1}`,
		`{"workspace_id":"w","item":"i","hour":"2026-11-21T03:00:00Z","quantity":"1."}`,
		`{"workspace_id":"w","item":"i","hour":"2026-11-21T03:00:00Z","quantity":"1.2.3"}`,
		`{"workspace_id":"w","item":"i","hour":"2026-02-30T03:00:00Z","quantity":"1"}`,
		`{"workspace_id":"w","item":"i","hour":"2026-11-21T03:00:00Z","quantity":"1","x":1}`,
		`{"workspace_id":"w","item":"i","Hour":"2026-11-21T03:00:00Z","quantity":"1"}`,
		`{"workspace_id":"w","item":"i","item":"j","hour":"2026-11-21T03:00:00Z","quantity":"1"}`,
		`{"workspace_id":null,"item":"i","hour":"2026-11-21T03:00:00Z","quantity":"1"}`,
		`{"workspace_id":"w","item":"i","hour":"2026-11-21T03:00:00Z","quantity":"1",}`,
		`{}`, `null`, `[]`, `1`, `"x"`, `{`, ``, `{"workspace_id":"` + "\xff" + `"}`,
	}
}

// FuzzScan: what is read by hand is what encoding/json reads.
func FuzzScan(f *testing.F) {
	for _, s := range seeds() {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newScanner()
		got, n := s.scan(b)
		if n == 0 {
			return
		}
		if want := slow(b[:n]); shown(got) != shown(want) || want.Bad != "" {
			t.Errorf("scan(%q) = %s, want %s", b[:n], shown(got), shown(want))
		}
	})
}

// FuzzReadArray: an array is read in any chunks as encoding/json cuts it, and
// refused where that refuses it.
func FuzzReadArray(f *testing.F) {
	for _, s := range seeds() {
		f.Add([]byte("[" + s + "," + usual + "]"))
	}
	f.Add([]byte(`[]`))
	f.Add([]byte(`[1 2]`))
	f.Add([]byte(`[] x`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := ReadArray(iotest.OneByteReader(bytes.NewReader(b)), 100)
		var raw []json.RawMessage
		if wrong := json.Unmarshal(b, &raw); wrong != nil || raw == nil {
			if err == nil {
				t.Errorf("ReadArray(%q) = %d samples, want an error", b, len(got))
			}
			return
		}
		if errors.Is(err, ErrTooLong) || errors.Is(err, ErrTooMany) {
			return
		}
		if err != nil || len(got) != len(raw) {
			t.Fatalf("ReadArray(%q) = %d samples, %v, want %d", b, len(got), err, len(raw))
		}
		for i := range raw {
			if want := slow(raw[i]); (got[i].Bad == "") != (want.Bad == "") || want.Bad == "" && shown(got[i]) != shown(want) {
				t.Errorf("ReadArray(%q)[%d] = %s, want %s", b, i, shown(got[i]), shown(want))
			}
		}
	})
}

func TestUsualIsFast(t *testing.T) { //nolint:paralleltest // counts allocations
	sc, in := newScanner(), []byte(usual)
	if _, n := sc.scan(in); n != len(in) {
		t.Errorf("scan(%s) = %d, want it read by hand", in, n)
	}
	if n := testing.AllocsPerRun(100, func() { sc.scan(in) }); n > 0 {
		t.Errorf("scan(%s) makes %v allocations, want none", in, n)
	}
}

func TestSlow(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		usual: `"ws_1" "logs" "14d" 2026-11-21T03:00:00Z 1200000`,
		`{"workspace_id":"w","item":"i","hour":"2026-11-21T11:00:00+08:00","quantity":12.50}`:   `"w" "i" "" 2026-11-21T03:00:00Z 12.50`,
		`{"workspace_id":"w","item":"i","hour":"2026-11-21T03:00:00Z","quantity":1e3}`:          `bad: quantity: number "1e3": not a decimal number`,
		`{"workspace_id":"w","item":"i","hour":"noon","quantity":"1"}`:                          `bad: hour must be a time such as 2026-11-21T03:00:00Z`,
		`{"workspace_id":"w","item":"i","hour":"2026-11-21T03:00:00Z"}`:                         `bad: quantity is missing`,
		`{"workspace_id":"w","item":1,"hour":"2026-11-21T03:00:00Z","quantity":"1"}`:            `bad: item must be a string`,
		`{"workspace_id":"w","item":"a\u0000","hour":"2026-11-21T03:00:00Z","quantity":"1"}`:    `bad: item must not have control characters`,
		`{"workspace_id":"w","item":"i","hour":"2026-11-21T03:00:00Z","quantity":"1","note":1}`: `bad: "note" is not a field of a sample`,
		`[]`: `bad: is not a JSON object`, `null`: `bad: is not a JSON object`, `{"`: `bad: is not a JSON object`,
	} {
		if got := shown(slow([]byte(in))); got != want {
			t.Errorf("slow(%s) = %s, want %s", in, got, want)
		}
	}
}

// TestReadInAnyChunks: however the bytes arrive, the samples are the same.
func TestReadInAnyChunks(t *testing.T) {
	t.Parallel()
	const n = 4000 // more than one chunk
	line := strings.ReplaceAll(usual, `"item":"logs"`, `"item":"l\u006fgs"`)
	lines := strings.Repeat(usual+"\n"+line+"\r\n\n", n/2)
	array := "[" + strings.TrimSuffix(strings.Repeat(usual+" ,\n"+line+",", n/2), ",") + "]\n"
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"at once": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader, "with the error": iotest.DataErrReader,
	} {
		fromLines, err1 := ReadLines(wrap(strings.NewReader(lines)), n)
		fromArray, err2 := ReadArray(wrap(strings.NewReader(array)), n)
		if err1 != nil || err2 != nil || len(fromLines) != n || len(fromArray) != n {
			t.Fatalf("%s: %d lines, %v, %d elements, %v, want %d", name, len(fromLines), err1, len(fromArray), err2, n)
		}
		for i := range n {
			if want := shown(slow([]byte(usual))); shown(fromLines[i]) != want || shown(fromArray[i]) != want {
				t.Fatalf("%s: sample %d = %s and %s, want %s", name, i, shown(fromLines[i]), shown(fromArray[i]), want)
			}
		}
	}
}

func TestBadRecordsAreAlone(t *testing.T) {
	t.Parallel()
	got, err := ReadLines(strings.NewReader("x\n"+usual+"\n{\"\n"+usual), 4)
	if err != nil || len(got) != 4 {
		t.Fatalf("ReadLines() = %d, %v, want 4", len(got), err)
	}
	bad := []bool{got[0].Bad != "", got[1].Bad != "", got[2].Bad != "", got[3].Bad != ""}
	if diff := cmp.Diff([]bool{true, false, true, false}, bad); diff != "" {
		t.Errorf("ReadLines() bad (-want +got):\n%s", diff)
	}
	got, err = ReadArray(strings.NewReader(`[1,`+usual+`,{"a":[1,"]"]}]`), 3)
	if err != nil || len(got) != 3 || got[0].Bad == "" || got[1].Bad != "" || got[2].Bad == "" {
		t.Errorf("ReadArray() = %+v, %v, want the middle one good", got, err)
	}
}

func TestRefusedWhole(t *testing.T) {
	t.Parallel()
	long := `{"item":"` + strings.Repeat("x", MaxRecord) + `"}`
	failing := io.MultiReader(strings.NewReader("["+usual+","), iotest.ErrReader(io.ErrUnexpectedEOF))
	for _, c := range []struct {
		src  io.Reader
		want error
	}{
		{strings.NewReader(``), ErrSyntax},
		{strings.NewReader(usual), ErrSyntax},
		{strings.NewReader(`[`), ErrSyntax},
		{strings.NewReader(`[` + usual), ErrSyntax},
		{strings.NewReader(`[` + usual + usual + `]`), ErrSyntax},
		{strings.NewReader(`[` + usual + `,]`), ErrSyntax},
		{strings.NewReader(`[` + usual + `] []`), ErrSyntax},
		{strings.NewReader(`[` + usual + `,x]`), ErrSyntax},
		{strings.NewReader(`[` + usual + `,` + usual + `,` + usual + `]`), ErrTooMany},
		{strings.NewReader(`[` + long + `]`), ErrTooLong},
		{failing, io.ErrUnexpectedEOF},
	} {
		if got, err := ReadArray(c.src, 2); !errors.Is(err, c.want) {
			t.Errorf("ReadArray() = %d samples, %v, want %v", len(got), err, c.want)
		}
	}
	if _, err := ReadLines(strings.NewReader(long), 2); !errors.Is(err, ErrTooLong) {
		t.Errorf("ReadLines(a long line) = %v, want %v", err, ErrTooLong)
	}
	if _, err := ReadLines(strings.NewReader(strings.Repeat(usual+"\n", 3)), 2); !errors.Is(err, ErrTooMany) {
		t.Errorf("ReadLines(3 lines) = %v, want %v", err, ErrTooMany)
	}
	if got, err := ReadArray(strings.NewReader(` [ ] `), 2); err != nil || len(got) != 0 {
		t.Errorf("ReadArray([]) = %d, %v, want none", len(got), err)
	}
}

func TestQuantityIsExact(t *testing.T) {
	t.Parallel()
	for _, q := range []string{"0", "1", "1200000", "0.1", "123456789012345678", "1234567890123456789", "0.0000000000000000001", "10.00"} {
		for _, form := range []string{q, `"` + q + `"`} {
			got, err := ReadLines(strings.NewReader(strings.Replace(usual, `"1200000"`, form, 1)), 1)
			if err != nil || len(got) != 1 || got[0].Quantity.String() != decimal.MustParse(q).String() {
				t.Errorf("quantity %s = %+v, %v, want it exactly", form, got, err)
			}
		}
	}
}

func BenchmarkReadArray(b *testing.B) {
	body := []byte("[" + strings.TrimSuffix(strings.Repeat(usual+",", 50_000), ",") + "]")
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if got, err := ReadArray(bytes.NewReader(body), 50_000); err != nil || len(got) != 50_000 {
			b.Fatal(err)
		}
	}
}
