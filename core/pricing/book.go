package pricing

import (
	"github.com/govalues/decimal"

	"cloudsettle/core/money"
	"cloudsettle/core/usage"
)

// BookID identifies one version of a price book.
type BookID string

// Book is one version of the prices that hold in a zone in a currency. Books
// are never changed once stored: a bill names the version it was made with and
// keeps it.
type Book struct {
	ID   BookID `json:"id"`
	Name string `json:"name"`
	// Zone groups the sites with the same prices.
	Zone     string         `json:"zone"`
	Currency money.Currency `json:"currency"`
	// EffectiveFrom is the first day, at the site, that the book holds for.
	EffectiveFrom usage.Day `json:"effective_from"`
	// Version counts the books of a zone and currency. It is given when a book
	// is stored.
	Version int `json:"version"`
	// Scale is how many decimals an amount is rounded to; at most MaxScale.
	Scale int    `json:"scale"`
	Items []Item `json:"items"`
}

// DefaultScale is the scale of a book that does not say: every amount that can
// be kept is kept.
const DefaultScale = MaxScale

// Item is something that is charged.
type Item struct {
	Code string `json:"item"`
	Name string `json:"name,omitempty"` // for people
	// Unit is how much one price is for: 1000000 of the prices per million.
	Unit        decimal.Decimal `json:"unit"`
	Aggregation Aggregation     `json:"aggregation"`
	Mode        Mode            `json:"mode"`
	// FreeQuota is how much of a workspace's day is free. Variants share it, in
	// the order in which Prices lists them.
	FreeQuota decimal.Decimal `json:"free_quota,omitzero"`
	// ExcludeVouchers says that vouchers may not pay for this item.
	ExcludeVouchers bool `json:"exclude_vouchers,omitempty"`
	// Measures are what workspaces report. None is one that is called Code.
	Measures []Measure `json:"measures,omitempty"`
	Prices   []Price   `json:"prices"`
}

// Aggregation is how the hourly samples of a day become one number.
type Aggregation string

// The aggregations. Sum is for what was added in an hour, Max for what was
// held or is already counted over the day, Last for what counts as it stood.
const (
	Sum  Aggregation = "sum"
	Max  Aggregation = "max"
	Last Aggregation = "last"
)

// Mode is how tiers apply.
type Mode string

// The modes. Flat has one price and no tiers.
const (
	Flat      Mode = "flat"
	Graduated Mode = "graduated"
	Volume    Mode = "volume"
)

// Measure is a number that workspaces report towards an item.
type Measure struct {
	Code   string          `json:"measure"` // what samples call it
	Weight decimal.Decimal `json:"weight"`  // what one counts for
	// Group is the sum that the measure goes into; the largest group counts.
	Group string `json:"group,omitempty"`
	// Event is how one event is counted, or nil: as one. It is applied where
	// events are counted, before they become samples.
	Event *Event `json:"event,omitempty"`
}

// Price is the price of a variant, such as a retention; items without variants
// have one price of variant "".
type Price struct {
	Variant string          `json:"variant,omitempty"`
	Price   decimal.Decimal `json:"price,omitzero"` // of one Unit, of a flat item
	Tiers   []Tier          `json:"tiers,omitempty"`
}

// Tier is a price up to a quantity.
type Tier struct {
	// UpTo is the last quantity of the tier, in what is measured, not in units;
	// zero in the last tier, which has no end.
	UpTo  decimal.Decimal `json:"up_to,omitzero"`
	Price decimal.Decimal `json:"price"` // of one Unit
}

// Counted returns the measures of the item, which are never none.
func (it *Item) Counted() []Measure {
	if len(it.Measures) == 0 {
		return []Measure{{Code: it.Code, Weight: decimal.One}}
	}
	return it.Measures
}

// Select returns the book that holds in a zone and currency on a day, and
// whether there is one: of those that are effective by then the one with the
// latest date, and of several with that date the newest version. It is for
// days that are not sealed: a sealed bill keeps the book it names.
func Select(books []Book, zone string, c money.Currency, day usage.Day) (Book, bool) {
	var best *Book
	for i := range books {
		b := &books[i]
		if b.Zone != zone || b.Currency != c || b.EffectiveFrom > day {
			continue
		}
		if best == nil || b.newerThan(best) {
			best = b
		}
	}
	if best == nil {
		return Book{}, false
	}
	return *best, true
}

func (b *Book) newerThan(o *Book) bool {
	if b.EffectiveFrom != o.EffectiveFrom {
		return b.EffectiveFrom > o.EffectiveFrom
	}
	return b.Version > o.Version
}
