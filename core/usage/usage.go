// Package usage holds what workspaces report: quantities of items by hour.
//
// Owns: the identity of a sample and what a repeat of it means. Does not own:
// prices, days and bills.
package usage

import (
	"time"

	"github.com/govalues/decimal"
)

// Sample is the quantity of one item that one workspace used in one hour. The
// key of a sample is (Workspace, Item, Variant, Hour).
type Sample struct {
	Workspace string // a workspace.ID; usage is taken before bindings are looked at
	Item      string
	Variant   string          // the retention, for example "14d"; empty for flat items
	Hour      time.Time       // its beginning, UTC
	Quantity  decimal.Decimal // in the item's own unit, exact
}

// Verdict is what became of a sample.
type Verdict uint8

// The verdicts.
const (
	Accepted Verdict = iota
	Duplicate
	Replaced
	Late // its day is sealed, and this is not what was billed
)
