package daypack

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/govalues/decimal"
	"pgregory.net/rapid"

	"cloudsettle/core"
	"cloudsettle/core/usage"
	"cloudsettle/store/internal/packed"
)

// decimals draws any decimal.
func decimals() *rapid.Generator[decimal.Decimal] {
	return rapid.Custom(func(t *rapid.T) decimal.Decimal {
		coef := rapid.Uint64Range(0, 9_999_999_999_999_999_999).Draw(t, "coefficient")
		scale := rapid.IntRange(0, decimal.MaxScale).Draw(t, "scale")
		d, err := newDecimal(coef, scale)
		if err != nil || d.Coef() != coef || d.Scale() != scale {
			t.Fatalf("newDecimal(%d, %d) = %v, %v", coef, scale, d, err)
		}
		if rapid.Bool().Draw(t, "negative") {
			d = d.Neg()
		}
		return d
	})
}

func TestDecimalReturns(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := decimals().Draw(t, "decimal")
		got, err := unpackDecimal(string(AppendDecimal(nil, want)))
		if err != nil || got != want {
			t.Fatalf("unpackDecimal(AppendDecimal(%v)) = %v, %v", want, got, err)
		}
	})
}

// FuzzDay: no value makes a decoder panic.
func FuzzDay(f *testing.F) {
	f.Add(mergedDay(f, nil, usage.Sample{Workspace: "ws_1", Item: "logs", Quantity: decimal.MustParse("1.5")}))
	f.Fuzz(func(_ *testing.T, value []byte) {
		_, _ = Decode(value, "ws_1", testDay)
		_, _, _ = mergeInto(value, []usage.Sample{{Workspace: "ws_1", Item: "logs"}})
	})
}

// testDay is the day of samples.
const testDay usage.Day = 20778

// hourOf returns an hour of testDay.
func hourOf(hour int) time.Time {
	return time.Date(2026, 11, 21, hour, 0, 0, 0, time.UTC)
}

// mergedDay merges samples of one day into a stored value.
func mergedDay(t testing.TB, stored []byte, samples ...usage.Sample) []byte {
	t.Helper()
	value, _, err := mergeInto(stored, samples)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func mergeInto(stored []byte, samples []usage.Sample) ([]byte, []usage.Verdict, error) {
	entries := make([]usage.Entry, len(samples))
	for i, s := range samples {
		entries[i] = usage.Entry{Sample: s, Day: testDay}
	}
	days, err := Split(entries)
	if err != nil || len(days) != 1 {
		return nil, nil, fmt.Errorf("%d days, want 1: %w", len(days), err)
	}
	verdicts := make([]usage.Verdict, len(samples))
	value, _, err := days[0].Merge(nil, stored, false, verdicts)
	return value, verdicts, err
}

// TestMergeDayAgrees compares the merge with a map.
func TestMergeDayAgrees(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		known := map[string]string{}
		var stored []byte
		for range rapid.IntRange(1, 4).Draw(t, "batches") {
			batch := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) usage.Sample {
				return usage.Sample{
					Workspace: "ws_1", Item: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "item"),
					Variant:  rapid.SampledFrom([]string{"", "x"}).Draw(t, "variant"),
					Hour:     hourOf(rapid.IntRange(-2, 2).Draw(t, "hour")),
					Quantity: decimal.MustNew(rapid.Int64Range(0, 2).Draw(t, "quantity"), 0),
				}
			}), 1, 12).Draw(t, "batch")
			var verdicts []usage.Verdict
			var err error
			if stored, verdicts, err = mergeInto(stored, batch); err != nil {
				t.Fatal(err)
			}
			for i, s := range batch {
				key := s.Item + "/" + s.Variant + "/" + s.Hour.String()
				before, there := known[key]
				want := usage.Accepted
				if there && before == s.Quantity.String() {
					want = usage.Duplicate
				} else if there {
					want = usage.Replaced
				}
				if verdicts[i] != want {
					t.Fatalf("verdict %d = %v, want %v", i, verdicts[i], want)
				}
				known[key] = s.Quantity.String()
			}
		}
		checkMerged(t, stored, known)
	})
}

// checkMerged compares a merged day with the map.
func checkMerged(t *rapid.T, stored []byte, known map[string]string) {
	rec, err := Decode(stored, "ws_1", testDay)
	if err != nil {
		t.Fatalf("Decode() = %v", err)
	}
	for i, s := range rec.Samples {
		if want := known[s.Item+"/"+s.Variant+"/"+s.Hour.String()]; s.Quantity.String() != want {
			t.Fatalf("sample %d = %v, want %s", i, s.Quantity, want)
		}
		if i > 0 && usage.Compare(rec.Samples[i-1], s) >= 0 {
			t.Fatalf("samples %v and %v are out of order", rec.Samples[i-1], s)
		}
	}
	if len(rec.Samples) != len(known) {
		t.Fatalf("Decode yields %d samples, want %d", len(rec.Samples), len(known))
	}
}

// TestDamagedDayIsRefused: a batch may not be merged into what cannot be read.
func TestDamagedDayIsRefused(t *testing.T) {
	t.Parallel()
	sample := usage.Sample{Workspace: "ws_1", Item: "logs", Hour: hourOf(0), Quantity: decimal.MustParse("1.5")}
	value := mergedDay(t, nil, sample)
	damaged := bytes.Clone(value)
	damaged[len(damaged)-1] |= 0x80 // the quantity goes on beyond its series
	for name, stored := range map[string][]byte{"cut": value[:len(value)-1], "damaged": damaged} {
		if _, _, err := mergeInto(stored, []usage.Sample{sample}); !errors.Is(err, packed.ErrCorrupt) {
			t.Errorf("merging into a %s day = %v, want packed.ErrCorrupt", name, err)
		}
	}
}

// TestEncodeIsTheReverse: a day that was decoded is packed to the same bytes,
// with the revision that it has.
func TestEncodeIsTheReverse(t *testing.T) {
	t.Parallel()
	value := mergedDay(t, nil,
		usage.Sample{Workspace: "ws_1", Item: "logs", Variant: "14d", Hour: hourOf(3), Quantity: decimal.MustParse("1.50")},
		usage.Sample{Workspace: "ws_1", Item: "logs", Variant: "14d", Hour: hourOf(-40), Quantity: decimal.MustParse("9999999999999999999")},
		usage.Sample{Workspace: "ws_1", Item: "hosts", Hour: hourOf(3), Quantity: decimal.MustParse("-0.001")})
	rec, err := Decode(value, "ws_1", testDay)
	if err != nil {
		t.Fatal(err)
	}
	for _, rev := range []uint64{1, 7, 1 << 40} {
		rec.Rev = rev
		again, err := Encode([]byte("before"), &rec)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(again[len("before"):], "ws_1", testDay)
		if err != nil || got.Rev != rev {
			t.Errorf("Decode() = revision %d, %v, want %d", got.Rev, err, rev)
		}
		if rev == 1 && string(again) != "before"+string(value) {
			t.Errorf("Encode() = %x, want %x", again, value)
		}
	}
	if _, err := Encode(nil, &usage.Record{}); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("Encode() of no samples = %v, want ErrInvalid", err)
	}
}
