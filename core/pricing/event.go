package pricing

import (
	"errors"
	"fmt"

	"github.com/govalues/decimal"

	"cloudsettle/core/money"
)

// Event is how many units one event of a size counts for: at least Min, and
// one more for each Per of what its size has over Free. An entry that counts
// once for every ten kilobytes begun or at least once is {Per: 10000, Min: 1}.
type Event struct {
	Size  string          `json:"size"` // what the size is of, for people: "bytes"
	Free  decimal.Decimal `json:"free,omitzero"`
	Per   decimal.Decimal `json:"per"`
	Round Round           `json:"round"`
	Min   decimal.Decimal `json:"min,omitzero"`
}

// Round is what becomes of a part of Per.
type Round string

// The ways to round.
const (
	Floor Round = "floor"
	Ceil  Round = "ceil"
)

// errSize is the error of a size that no event has.
var errSize = errors.New("the size of an event must not be negative")

// Units returns what an event of this size counts for: max(Min, round((size −
// Free) / Per)). Errors: money.ErrOverflow, or a size below zero.
func (e *Event) Units(size decimal.Decimal) (decimal.Decimal, error) {
	if size.IsNeg() {
		return decimal.Decimal{}, fmt.Errorf("%s %s: %w", e.Size, size, errSize)
	}
	units, err := e.steps(size)
	if err != nil {
		return decimal.Decimal{}, fmt.Errorf("%s %s: %w: %w", e.Size, size, money.ErrOverflow, err)
	}
	return units.Max(e.Min), nil
}

// steps returns the whole number of Per in what size has over Free.
func (e *Event) steps(size decimal.Decimal) (decimal.Decimal, error) {
	over, err := size.SubExact(e.Free, max(size.Scale(), e.Free.Scale()))
	if err != nil || !over.IsPos() {
		return decimal.Zero, err
	}
	steps, rest, err := over.QuoRem(e.Per)
	if err != nil || rest.IsZero() || e.Round == Floor {
		return steps, err
	}
	return steps.Add(decimal.One)
}
