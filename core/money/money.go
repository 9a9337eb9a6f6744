// Package money does the program's arithmetic on money: exact amounts of
// 10⁻⁶ currency units, exact decimals for quantities and prices, and the
// rules by which amounts are rounded and shared out.
//
// Owns: amounts, currencies, rounding, allocation. Does not own: prices and
// what they mean. Nothing here is ever a float, and nothing wraps around: what
// does not fit is an error.
package money

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
)

// The errors of arithmetic and of reading numbers.
var (
	ErrOverflow = errors.New("number out of range")
	ErrCurrency = errors.New("currency does not fit")
	ErrSyntax   = errors.New("not a decimal number")
	ErrInexact  = errors.New("more decimals than can be kept")
	ErrWeights  = errors.New("weights must not be negative and must not all be zero")
)

// Amount is an amount of money in its currency. The zero Amount has no
// currency and adds to nothing, so a forgotten currency shows.
type Amount struct {
	Micros   Micros
	Currency Currency
}

// Parse reads an amount such as "12.34" of a currency; see ParseMicros.
func Parse(s string, c Currency) (Amount, error) {
	if !c.Valid() {
		return Amount{}, fmt.Errorf("amount in %q: %w", string(c), ErrCurrency)
	}
	m, err := ParseMicros(s)
	if err != nil {
		return Amount{}, err
	}
	return Amount{m, c}, nil
}

// Add returns a + b. Errors: ErrCurrency if the currencies differ, ErrOverflow.
func (a Amount) Add(b Amount) (Amount, error) {
	if err := a.sameCurrency(b); err != nil {
		return Amount{}, err
	}
	m, err := a.Micros.Add(b.Micros)
	return a.with(m, err)
}

// Sub returns a − b. Errors: ErrCurrency if the currencies differ, ErrOverflow.
func (a Amount) Sub(b Amount) (Amount, error) {
	if err := a.sameCurrency(b); err != nil {
		return Amount{}, err
	}
	m, err := a.Micros.Sub(b.Micros)
	return a.with(m, err)
}

// Neg returns −a, or ErrOverflow for the one amount that has no opposite.
func (a Amount) Neg() (Amount, error) {
	m, err := a.Micros.Neg()
	return a.with(m, err)
}

// Cmp returns −1, 0 or +1, or ErrCurrency if the currencies differ.
func (a Amount) Cmp(b Amount) (int, error) {
	if err := a.sameCurrency(b); err != nil {
		return 0, err
	}
	return cmp.Compare(a.Micros, b.Micros), nil
}

// RoundMinor splits a into whole minor units, half-even, and the rest, which
// may be negative; together they are a. Errors: ErrOverflow.
func (a Amount) RoundMinor() (rounded, rest Amount, err error) {
	m, r, err := a.Micros.RoundMinor(a.Currency)
	if err != nil {
		return Amount{}, Amount{}, err
	}
	return Amount{m, a.Currency}, Amount{r, a.Currency}, nil
}

// String shows a for people, "12.34 CNY": as many decimals as the currency
// has, and more where the amount needs them.
func (a Amount) String() string {
	return a.Micros.FormatMinor(a.Currency) + " " + string(a.Currency)
}

// wire is the JSON form of an Amount.
type wire struct {
	Amount   *Micros   `json:"amount"`
	Currency *Currency `json:"currency"`
}

// MarshalJSON writes {"amount":"12.340000","currency":"CNY"}. An amount
// without a currency is ErrCurrency.
func (a Amount) MarshalJSON() ([]byte, error) {
	if !a.Currency.Valid() {
		return nil, fmt.Errorf("amount in %q: %w", string(a.Currency), ErrCurrency)
	}
	return json.Marshal(wire{&a.Micros, &a.Currency})
}

// UnmarshalJSON reads what MarshalJSON writes, with any number of decimals up
// to six. The amount is a string: a JSON number would pass through floats on
// its way. Errors: ErrSyntax, ErrInexact, ErrOverflow, ErrCurrency.
func (a *Amount) UnmarshalJSON(data []byte) error {
	var w wire
	if err := json.Unmarshal(data, &w); err != nil {
		return err
	}
	switch {
	case w.Amount == nil:
		return fmt.Errorf("amount: missing: %w", ErrSyntax)
	case w.Currency == nil:
		return fmt.Errorf("currency: missing: %w", ErrCurrency)
	}
	*a = Amount{*w.Amount, *w.Currency}
	return nil
}

func (a Amount) with(m Micros, err error) (Amount, error) {
	if err != nil {
		return Amount{}, err
	}
	return Amount{m, a.Currency}, nil
}

func (a Amount) sameCurrency(b Amount) error {
	if a.Currency != b.Currency || a.Currency == "" {
		return fmt.Errorf("%q beside %q: %w", string(a.Currency), string(b.Currency), ErrCurrency)
	}
	return nil
}
