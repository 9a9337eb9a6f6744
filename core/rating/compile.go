package rating

import (
	"cmp"
	"slices"
	"strings"

	"cloudsettle/core/pricing"
	"cloudsettle/core/usage"
)

// Rater rates by one price book. It is never changed and may be shared.
type Rater struct {
	book     pricing.Book
	items    []item // by code
	gauges   []gauge
	find     map[key]int     // the gauge of a sample
	measures map[string]bool // all that samples may be called
	longest  int             // the most lines of an item
}

// item is a pricing.Item made ready.
type item struct {
	*pricing.Item
	quota fixed
	lines []line // by variant
	order []int  // lines in the order in which they draw on the quota
}

// line is a price of an item made ready.
type line struct {
	item   *pricing.Item
	price  *pricing.Price
	first  int      // the gauge of the item's first measure; the others follow
	groups [][]term // each adds up; the largest is the quantity
	tariff tariff
}

// term is a summand of a quantity.
type term struct {
	gauge  int
	weight fixed
}

// gauge is what the samples of a measure and variant are counted on.
type gauge struct {
	item        int // its place among the items
	line        *line
	aggregation pricing.Aggregation
}

// key is what samples and gauges are matched by.
type key struct{ measure, variant string }

func keyOf(s *usage.Sample) key { return key{s.Item, s.Variant} }

// Compile makes a Rater of a book, which must not be changed after that. The
// error is that of Book.Validate.
func Compile(b pricing.Book) (*Rater, error) {
	if err := b.Validate(); err != nil {
		return nil, err
	}
	r := &Rater{book: b, find: map[key]int{}, measures: map[string]bool{}}
	r.items = make([]item, len(b.Items))
	for i := range b.Items {
		r.items[i] = item{Item: &b.Items[i], quota: fixedOf(b.Items[i].FreeQuota)}
		r.longest = max(r.longest, len(b.Items[i].Prices))
	}
	slices.SortFunc(r.items, func(a, b item) int { return strings.Compare(a.Code, b.Code) })
	for i := range r.items {
		r.compile(i)
	}
	return r, nil
}

// Book returns the book that r rates by. What it refers to must not be changed.
func (r *Rater) Book() pricing.Book { return r.book }

// compile makes the lines of an item, by variant.
func (r *Rater) compile(place int) {
	it := &r.items[place]
	it.lines = make([]line, len(it.Prices))
	it.order = make([]int, len(it.Prices))
	byVariant := make([]int, len(it.Prices))
	for i := range byVariant {
		byVariant[i] = i
	}
	slices.SortFunc(byVariant, func(a, b int) int {
		return cmp.Compare(it.Prices[a].Variant, it.Prices[b].Variant)
	})
	for at, listed := range byVariant {
		p := &it.Prices[listed]
		l := &it.lines[at]
		*l = line{
			item: it.Item, price: p, first: len(r.gauges),
			tariff: newTariff(it.Item, p, r.book.Scale),
		}
		l.groups = r.groups(place, l)
		it.order[listed] = at
	}
}

// groups makes the gauges of a line, and the sums that they go into.
func (r *Rater) groups(place int, l *line) [][]term {
	var names []string
	var groups [][]term
	for _, m := range l.item.Counted() {
		at := slices.Index(names, m.Group)
		if at < 0 {
			at = len(names)
			names, groups = append(names, m.Group), append(groups, nil)
		}
		g := len(r.gauges)
		r.gauges = append(r.gauges, gauge{place, l, l.item.Aggregation})
		r.find[key{m.Code, l.price.Variant}] = g
		r.measures[m.Code] = true
		groups[at] = append(groups[at], term{g, fixedOf(m.Weight)})
	}
	return groups
}
