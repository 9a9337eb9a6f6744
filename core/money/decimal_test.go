package money_test

import (
	"errors"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"cloudsettle/core/money"
)

func TestParseDecimal(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in, want string
		err      error
	}{
		{"1200000", "1200000", nil},
		{"0.0007", "0.0007", nil},
		{"1.50", "1.50", nil},
		{"-3.25", "-3.25", nil},
		{"-0", "0", nil},
		{"9999999999999999999", "9999999999999999999", nil},
		{"-9999999999999999999", "-9999999999999999999", nil},
		{"0.9999999999999999999", "0.9999999999999999999", nil},
		{"999999999.9999999999", "999999999.9999999999", nil},
		{"0000000000000000000000000001", "1", nil},
		{"10000000000000000000", "", money.ErrOverflow},
		{"1.0000000000000000001", "", money.ErrOverflow}, // decimal.Parse would round it
		{"1844674407370955161.7", "", money.ErrOverflow}, // more than 64 bits
		{"0.00000000000000000001", "", money.ErrInexact},
		{"1e9", "", money.ErrSyntax},
		{"", "", money.ErrSyntax},
		{"Inf", "", money.ErrSyntax},
		{strings.Repeat("9", 100), "", money.ErrSyntax},
	} {
		got, err := money.ParseDecimal(c.in)
		if !errors.Is(err, c.err) || err == nil && got.String() != c.want {
			t.Errorf("ParseDecimal(%q) = %s, %v, want %s, %v", c.in, got, err, c.want, c.err)
		}
	}
}

func TestNewDecimalIsExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		coef, scale := rapid.Uint64().Draw(t, "coef"), rapid.IntRange(-1, 20).Draw(t, "scale")
		negative := rapid.Bool().Draw(t, "negative")
		d, err := money.NewDecimal(negative, coef, scale)
		if fits := coef < 1e19 && scale >= 0 && scale <= 19; fits != (err == nil) {
			t.Fatalf("NewDecimal(%v, %d, %d) = %s, %v", negative, coef, scale, d, err)
		}
		if err == nil && (d.Coef() != coef || d.Scale() != scale || d.IsNeg() != (negative && coef != 0)) {
			t.Fatalf("NewDecimal(%v, %d, %d) = %s", negative, coef, scale, d)
		}
	})
}

// FuzzParse: every text is read exactly or refused, by both readers.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"12.34", "-0.000001", "9223372036854.775807", "1e3", ".", "0.1234567"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, ok := new(big.Rat).SetString(s)
		if m, err := money.ParseMicros(s); err == nil {
			if !ok || big.NewRat(int64(m), int64(money.Unit)).Cmp(want) != 0 {
				t.Errorf("ParseMicros(%q) = %s", s, m)
			}
			if back, err := money.ParseMicros(m.String()); back != m || err != nil {
				t.Errorf("ParseMicros(%q) = %s, %v", m.String(), back, err)
			}
		}
		if d, err := money.ParseDecimal(s); err == nil {
			got, _ := new(big.Rat).SetString(d.String())
			if !ok || got.Cmp(want) != 0 {
				t.Errorf("ParseDecimal(%q) = %s", s, d)
			}
		}
	})
}
