package money_test

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"cloudsettle/core/money"
)

const (
	least = money.Micros(math.MinInt64)
	most  = money.Micros(math.MaxInt64)
)

func TestParseMicros(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   string
		want money.Micros
		err  error
	}{
		{"12.34", 12_340_000, nil},
		{"12", 12_000_000, nil},
		{"0", 0, nil},
		{"-0", 0, nil},
		{"007", 7_000_000, nil},
		{"0.000001", 1, nil},
		{"-0.000001", -1, nil},
		{"9223372036854.775807", most, nil},
		{"-9223372036854.775808", least, nil},
		{"9223372036854.775808", 0, money.ErrOverflow},
		{"-9223372036854.775809", 0, money.ErrOverflow},
		{"9999999999999", 0, money.ErrOverflow},
		{"99999999999999999999999999", 0, money.ErrOverflow},
		{"36893488147419103232", 0, money.ErrOverflow}, // 2⁶⁵: zero in 64 bits
		{"0.0000001", 0, money.ErrInexact},
		{"1.0000000", 0, money.ErrInexact},
		{"", 0, money.ErrSyntax},
		{"-", 0, money.ErrSyntax},
		{"+1", 0, money.ErrSyntax},
		{".5", 0, money.ErrSyntax},
		{"5.", 0, money.ErrSyntax},
		{".", 0, money.ErrSyntax},
		{"1.2.3", 0, money.ErrSyntax},
		{"--1", 0, money.ErrSyntax},
		{"1e3", 0, money.ErrSyntax},
		{"1,000", 0, money.ErrSyntax},
		{" 1", 0, money.ErrSyntax},
		{"1 ", 0, money.ErrSyntax},
		{"0x10", 0, money.ErrSyntax},
		{"NaN", 0, money.ErrSyntax},
		{"１", 0, money.ErrSyntax}, // a full-width digit
		{strings.Repeat("0", 64), 0, nil},
		{strings.Repeat("0", 65), 0, money.ErrSyntax},
	} {
		got, err := money.ParseMicros(c.in)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("ParseMicros(%q) = %d, %v, want %d, %v", c.in, got, err, c.want, c.err)
		}
	}
}

func TestFormat(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		m           money.Micros
		api         string
		currency    money.Currency
		minor, text string
	}{
		{12_340_000, "12.340000", "CNY", "12.34", "12.34 CNY"},
		{12_345_000, "12.345000", "USD", "12.345", "12.345 USD"},
		{-5, "-0.000005", "EUR", "-0.000005", "-0.000005 EUR"},
		{0, "0.000000", "GBP", "0.00", "0.00 GBP"},
		{1_200_000_000, "1200.000000", "JPY", "1200", "1200 JPY"},
		{1_500_000, "1.500000", "KRW", "1.5", "1.5 KRW"},
		{1_500_000, "1.500000", "KWD", "1.500", "1.500 KWD"},
		{1_500_000, "1.500000", "CLF", "1.5000", "1.5000 CLF"},
		{1_500_000, "1.500000", "XTS", "1.50", "1.50 XTS"},
		{least, "-9223372036854.775808", "HKD", "-9223372036854.775808", "-9223372036854.775808 HKD"},
	} {
		if got := c.m.String(); got != c.api {
			t.Errorf("String(%d) = %q, want %q", int64(c.m), got, c.api)
		}
		if got := c.m.FormatMinor(c.currency); got != c.minor {
			t.Errorf("FormatMinor(%d, %s) = %q, want %q", int64(c.m), c.currency, got, c.minor)
		}
		if got := (money.Amount{Micros: c.m, Currency: c.currency}).String(); got != c.text {
			t.Errorf("Amount.String() = %q, want %q", got, c.text)
		}
	}
}

func TestMinorDigits(t *testing.T) {
	t.Parallel()
	for c, want := range map[money.Currency]int{
		"CNY": 2, "USD": 2, "EUR": 2, "GBP": 2, "HKD": 2, "SGD": 2,
		"JPY": 0, "KRW": 0, "VND": 0, "KWD": 3, "CLF": 4, "ZZZ": 2,
	} {
		if got := c.MinorDigits(); got != want {
			t.Errorf("MinorDigits(%s) = %d, want %d", c, got, want)
		}
	}
}

func TestParseCurrency(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "CN", "CNYY", "cny", "C1Y", "CNＹ", "   "} {
		if _, err := money.ParseCurrency(s); !errors.Is(err, money.ErrCurrency) {
			t.Errorf("ParseCurrency(%q) = %v, want ErrCurrency", s, err)
		}
		if _, err := money.Parse("1", money.Currency(s)); !errors.Is(err, money.ErrCurrency) {
			t.Errorf("Parse(1, %q) = %v, want ErrCurrency", s, err)
		}
	}
	if c, err := money.ParseCurrency("CNY"); c != "CNY" || err != nil {
		t.Errorf("ParseCurrency(CNY) = %q, %v", c, err)
	}
}

// TestArithmeticAgreesWithBigIntegers: exact, or an error where 64 bits do not
// hold it.
func TestArithmeticAgreesWithBigIntegers(t *testing.T) {
	t.Parallel()
	check := func(t *rapid.T, op string, got money.Micros, err error, want *big.Int) {
		switch {
		case want.IsInt64() && (err != nil || int64(got) != want.Int64()):
			t.Fatalf("%s = %d, %v, want %d", op, got, err, want)
		case !want.IsInt64() && !errors.Is(err, money.ErrOverflow):
			t.Fatalf("%s = %d, %v, want ErrOverflow", op, got, err)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		a, b := micros().Draw(t, "a"), micros().Draw(t, "b")
		x, y := big.NewInt(int64(a)), big.NewInt(int64(b))
		sum, err := a.Add(b)
		check(t, "Add", sum, err, new(big.Int).Add(x, y))
		diff, err := a.Sub(b)
		check(t, "Sub", diff, err, new(big.Int).Sub(x, y))
		neg, err := a.Neg()
		check(t, "Neg", neg, err, new(big.Int).Neg(x))
		sum, err = money.Sum(a, b)
		check(t, "Sum", sum, err, new(big.Int).Add(x, y))
	})
}

// micros draws from the whole range, with its ends and the surroundings of
// zero more often.
func micros() *rapid.Generator[money.Micros] {
	return rapid.OneOf(
		rapid.Map(rapid.Int64(), func(i int64) money.Micros { return money.Micros(i) }),
		rapid.Map(rapid.Int64Range(-3_000_000, 3_000_000), func(i int64) money.Micros { return money.Micros(i) }),
		rapid.SampledFrom([]money.Micros{least, least + 1, -1, 0, 1, most - 1, most}),
	)
}

func TestCurrenciesDoNotMix(t *testing.T) {
	t.Parallel()
	yuan, dollars := money.Amount{Micros: 1, Currency: "CNY"}, money.Amount{Micros: 1, Currency: "USD"}
	for name, pair := range map[string][2]money.Amount{
		"Different": {yuan, dollars},
		"Forgotten": {yuan, {}},
		"Neither":   {{}, {}},
	} {
		_, add := pair[0].Add(pair[1])
		_, sub := pair[0].Sub(pair[1])
		_, cmp := pair[0].Cmp(pair[1])
		for op, err := range map[string]error{"Add": add, "Sub": sub, "Cmp": cmp} {
			if !errors.Is(err, money.ErrCurrency) {
				t.Errorf("%s of %s = %v, want ErrCurrency", op, name, err)
			}
		}
	}
}

func TestAmountArithmetic(t *testing.T) {
	t.Parallel()
	a, b := money.Amount{Micros: 5, Currency: "CNY"}, money.Amount{Micros: 7, Currency: "CNY"}
	if got, err := a.Add(b); got.Micros != 12 || got.Currency != "CNY" || err != nil {
		t.Errorf("Add = %v, %v", got, err)
	}
	if got, err := a.Sub(b); got.Micros != -2 || got.Currency != "CNY" || err != nil {
		t.Errorf("Sub = %v, %v", got, err)
	}
	if got, err := a.Neg(); got.Micros != -5 || got.Currency != "CNY" || err != nil {
		t.Errorf("Neg = %v, %v", got, err)
	}
	if got, err := a.Cmp(b); got != -1 || err != nil {
		t.Errorf("Cmp = %v, %v", got, err)
	}
	top := money.Amount{Micros: most, Currency: "CNY"}
	if got, err := top.Add(a); !errors.Is(err, money.ErrOverflow) || got != (money.Amount{}) {
		t.Errorf("Add at the top = %v, %v, want ErrOverflow", got, err)
	}
}

func TestRoundMinor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in       money.Micros
		currency money.Currency
		rounded  money.Micros
	}{
		{12_345_000, "CNY", 12_340_000}, // a tie goes to the even cent
		{12_355_000, "CNY", 12_360_000},
		{12_345_001, "CNY", 12_350_000},
		{12_354_999, "CNY", 12_350_000},
		{-12_345_000, "CNY", -12_340_000},
		{-12_355_000, "CNY", -12_360_000},
		{-12_345_001, "CNY", -12_350_000},
		{5_000, "USD", 0},
		{-5_000, "USD", 0},
		{500_000, "JPY", 0},
		{1_500_000, "JPY", 2_000_000},
		{2_500_000, "KRW", 2_000_000},
		{1_500, "KWD", 2_000},
		{2_500, "KWD", 2_000},
	} {
		rounded, rest, err := c.in.RoundMinor(c.currency)
		if rounded != c.rounded || rest != c.in-c.rounded || err != nil {
			t.Errorf("RoundMinor(%s, %s) = %s, %s, %v, want %s", c.in, c.currency, rounded, rest, err, c.rounded)
		}
	}
	for _, m := range []money.Micros{least, most} {
		if _, _, err := m.RoundMinor("CNY"); !errors.Is(err, money.ErrOverflow) {
			t.Errorf("RoundMinor(%s, CNY) = %v, want ErrOverflow", m, err)
		}
	}
}

// TestRoundMinorIsExact: what is charged and what is carried are the amount,
// and the charge is the nearest one that can be paid.
func TestRoundMinorIsExact(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := micros().Draw(t, "amount")
		c := rapid.SampledFrom([]money.Currency{"CNY", "JPY", "KWD", "CLF"}).Draw(t, "currency")
		rounded, rest, err := m.RoundMinor(c)
		if err != nil {
			if m > least+money.Unit && m < most-money.Unit {
				t.Fatalf("RoundMinor(%s, %s) = %v", m, c, err)
			}
			return
		}
		minor, err := rounded.Minor(c)
		if err != nil {
			t.Fatalf("Minor(%s, %s) = %v", rounded, c, err)
		}
		unit := money.Unit
		for range c.MinorDigits() {
			unit /= 10
		}
		if rounded+rest != m || rest > unit/2 || rest < -unit/2 || money.Micros(minor)*unit != rounded {
			t.Fatalf("RoundMinor(%s, %s) = %s, %s", m, c, rounded, rest)
		}
		if (rest == unit/2 || rest == -unit/2) && minor%2 != 0 {
			t.Fatalf("RoundMinor(%s, %s) = %s, want the even neighbour", m, c, rounded)
		}
	})
}

func TestMinorRefusesFractions(t *testing.T) {
	t.Parallel()
	if got, err := money.Micros(12_340_000).Minor("CNY"); got != 1234 || err != nil {
		t.Errorf("Minor(12.34 CNY) = %d, %v, want 1234", got, err)
	}
	if got, err := money.Micros(12_345_000).Minor("CNY"); !errors.Is(err, money.ErrInexact) {
		t.Errorf("Minor(12.345 CNY) = %d, %v, want ErrInexact", got, err)
	}
}

func TestAmountJSON(t *testing.T) {
	t.Parallel()
	a, err := money.Parse("12.34", "CNY")
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(a)
	if want := `{"amount":"12.340000","currency":"CNY"}`; string(text) != want || err != nil {
		t.Errorf("Marshal = %s, %v, want %s", text, err, want)
	}
	if text, err := json.Marshal(money.Amount{Micros: 1}); err == nil {
		t.Errorf("Marshal of an amount without a currency = %s, want an error", text)
	}
	for in, want := range map[string]error{
		`{"amount":"1.5","currency":"CNY"}`:       nil,
		`{"amount":"1.5"}`:                        money.ErrCurrency,
		`{"currency":"CNY"}`:                      money.ErrSyntax,
		`{"amount":null,"currency":"CNY"}`:        money.ErrSyntax,
		`{"amount":"1.5","currency":"yuan"}`:      money.ErrCurrency,
		`{"amount":"1.5","currency":""}`:          money.ErrCurrency,
		`{"amount":"1.0000005","currency":"CNY"}`: money.ErrInexact,
		`{"amount":"1e3","currency":"CNY"}`:       money.ErrSyntax,
	} {
		var got money.Amount
		if err := json.Unmarshal([]byte(in), &got); !errors.Is(err, want) {
			t.Errorf("Unmarshal(%s) = %v, %v, want %v", in, got, err, want)
		}
	}
	var got money.Amount
	if err := json.Unmarshal([]byte(`{"amount":1.5,"currency":"CNY"}`), &got); err == nil {
		t.Errorf("Unmarshal of a JSON number = %v, want an error", got)
	}
}

// TestTextIsIdentity: what is written is read back, and says the same to
// whoever computes with it.
func TestTextIsIdentity(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := money.Amount{Micros: micros().Draw(t, "amount"), Currency: "CNY"}
		text, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		var back money.Amount
		if err := json.Unmarshal(text, &back); err != nil || back != a {
			t.Fatalf("Unmarshal(%s) = %v, %v, want %v", text, back, err, a)
		}
		if m, err := money.ParseMicros(a.Micros.FormatMinor("JPY")); m != a.Micros || err != nil {
			t.Fatalf("ParseMicros(FormatMinor(%s)) = %s, %v", a.Micros, m, err)
		}
		want, _ := new(big.Rat).SetString(a.Micros.String())
		if got := big.NewRat(int64(a.Micros), int64(money.Unit)); got.Cmp(want) != 0 {
			t.Fatalf("String(%d) = %s", int64(a.Micros), a.Micros)
		}
	})
}
