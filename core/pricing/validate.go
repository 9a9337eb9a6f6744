package pricing

import (
	"strconv"

	"github.com/govalues/decimal"
)

// The limits of a book. They are far above what a price list holds, and keep
// what a stranger uploads from costing more than it is worth.
const (
	MaxScale    = 6 // the decimals that an amount can have
	MaxItems    = 1000
	MaxPrices   = 100 // of an item
	MaxTiers    = 100 // of a price
	MaxMeasures = 100 // of an item
	maxCode     = 64
	maxName     = 200
)

// Validate returns nil or Problems with everything that is wrong with the
// book, up to a hundred things. ID and Version are not looked at: they are given when it is stored.
func (b *Book) Validate() error {
	var v validator
	v.name("/name", b.Name)
	v.require(b.Name != "", "/name", "is missing")
	v.code("/zone", b.Zone)
	v.require(b.Currency.Valid(), "/currency", "must be three capital letters such as CNY")
	v.require(b.Scale >= 0 && b.Scale <= MaxScale, "/scale", "must be from 0 to "+strconv.Itoa(MaxScale))
	v.require(len(b.Items) > 0, "/items", "is empty")
	if !v.require(len(b.Items) <= MaxItems, "/items", "more than "+strconv.Itoa(MaxItems)) {
		return v.found.err()
	}
	items, measures := map[string]bool{}, map[string]bool{}
	for i := range b.Items {
		it, path := &b.Items[i], place("/items", i)
		v.item(path, it)
		v.unique(path+"/item", it.Code, items)
		v.measures(path, it, measures)
	}
	return v.found.err()
}

// validator collects problems.
type validator struct{ found Problems }

// require notes a problem unless ok, and returns ok.
func (v *validator) require(ok bool, path, detail string) bool {
	if !ok {
		v.found.add(0, path, detail)
	}
	return ok
}

func (v *validator) item(path string, it *Item) {
	v.code(path+"/item", it.Code)
	v.name(path+"/name", it.Name)
	v.positive(path+"/unit", it.Unit)
	v.require(it.Aggregation.Valid(), path+"/aggregation", "must be sum, max or last")
	v.require(it.Mode.Valid(), path+"/mode", "must be flat, graduated or volume")
	v.notNegative(path+"/free_quota", it.FreeQuota)
	v.require(len(it.Prices) > 0, path+"/prices", "is empty")
	if !v.require(len(it.Prices) <= MaxPrices, path+"/prices", "more than "+strconv.Itoa(MaxPrices)) {
		return
	}
	variants := map[string]bool{}
	for i := range it.Prices {
		p, at := &it.Prices[i], place(path+"/prices", i)
		if p.Variant != "" {
			v.code(at+"/variant", p.Variant)
		}
		v.unique(at+"/variant", p.Variant, variants)
		v.price(at, p, it.Mode)
	}
}

// Valid reports whether a is one of the aggregations.
func (a Aggregation) Valid() bool { return a == Sum || a == Max || a == Last }

// Valid reports whether m is one of the modes.
func (m Mode) Valid() bool { return m == Flat || m == Graduated || m == Volume }

func (v *validator) price(path string, p *Price, m Mode) {
	switch {
	case m == Flat:
		v.notNegative(path+"/price", p.Price)
		v.require(len(p.Tiers) == 0, path+"/tiers", "a flat item has no tiers")
		return
	case !m.Valid():
		return
	}
	v.require(p.Price.IsZero(), path+"/price", "an item with tiers has its prices there")
	v.require(len(p.Tiers) > 0, path+"/tiers", "is empty")
	if v.require(len(p.Tiers) <= MaxTiers, path+"/tiers", "more than "+strconv.Itoa(MaxTiers)) {
		v.tiers(path+"/tiers", p.Tiers)
	}
}

func (v *validator) tiers(path string, tiers []Tier) {
	below := decimal.Zero
	for i, t := range tiers {
		at := place(path, i)
		v.notNegative(at+"/price", t.Price)
		if i == len(tiers)-1 {
			v.require(t.UpTo.IsZero(), at+"/up_to", "the last tier has no end")
			return
		}
		v.require(t.UpTo.Cmp(below) > 0, at+"/up_to", "must be above "+below.String())
		below = t.UpTo
	}
}

func (v *validator) measures(path string, it *Item, taken map[string]bool) {
	if len(it.Measures) == 0 {
		v.unique(path+"/item", it.Code, taken)
		return
	}
	for i := range it.Measures {
		m, at := &it.Measures[i], place(path+"/measures", i)
		v.code(at+"/measure", m.Code)
		v.unique(at+"/measure", m.Code, taken)
		v.positive(at+"/weight", m.Weight)
		if m.Group != "" {
			v.code(at+"/group", m.Group)
		}
		if m.Event != nil {
			v.event(at+"/event", m.Event)
		}
	}
}

func (v *validator) event(path string, e *Event) {
	v.name(path+"/size", e.Size)
	v.require(e.Size != "", path+"/size", "is missing")
	v.notNegative(path+"/free", e.Free)
	v.positive(path+"/per", e.Per)
	v.notNegative(path+"/min", e.Min)
	v.require(e.Round == Floor || e.Round == Ceil, path+"/round", "must be floor or ceil")
}

func (v *validator) positive(path string, d decimal.Decimal) {
	v.require(d.IsPos(), path, "must be above zero")
}

func (v *validator) notNegative(path string, d decimal.Decimal) {
	v.require(!d.IsNeg(), path, "must not be negative")
}

// unique notes a name that was taken; each name must stand for one thing, or a
// sample would be charged twice.
func (v *validator) unique(path, name string, taken map[string]bool) {
	v.require(!taken[name], path, strconv.Quote(name)+" is there twice")
	taken[name] = true
}

// code checks a name that programs use.
func (v *validator) code(path, s string) {
	if !v.require(s != "", path, "is missing") {
		return
	}
	ok := len(s) <= maxCode
	for i := 0; i < len(s) && ok; i++ {
		ok = codeByte(s[i])
	}
	v.require(ok, path, "must be at most 64 letters, digits and _ . -")
}

func codeByte(b byte) bool {
	return 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' ||
		b == '_' || b == '.' || b == '-'
}

// name checks a text that people read.
func (v *validator) name(path, s string) {
	ok := len(s) <= maxName
	for _, r := range s {
		ok = ok && r >= ' ' && r != 0x7f && r != '\uFFFD'
	}
	v.require(ok, path, "must be at most 200 bytes of text without control characters")
}

func place(path string, i int) string { return path + "/" + strconv.Itoa(i) }
