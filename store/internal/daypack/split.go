package daypack

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"cloudsettle/core"
	"cloudsettle/core/usage"
	"cloudsettle/store/internal/packed"
)

// Batch is the part of a batch of samples that goes into one stored value.
type Batch struct {
	Day       usage.Day
	Workspace string
	samples   []sample
	at        []int // the positions of samples in the whole batch
}

// sample is a sample on its way into a stored day.
type sample struct {
	item, variant string
	hour          int64 // since midnight UTC
	quantity      string
}

// Split sorts a batch into the values it goes into, in the order of their days
// and workspaces. A sample that cannot be a key (an hour that is not whole, an
// empty or too long name, a NUL in one) is ErrInvalid.
func Split(entries []usage.Entry) ([]Batch, error) {
	packed, err := packEntries(entries)
	if err != nil {
		return nil, err
	}
	order, sorted := sortEntries(entries, packed), make([]sample, len(entries))
	for i, at := range order {
		sorted[i] = packed[at]
	}
	var days []Batch
	for from := 0; from < len(order); {
		first, to := &entries[order[from]], from
		for to < len(order) && entries[order[to]].Day == first.Day &&
			entries[order[to]].Workspace == first.Workspace {
			to++
		}
		days = append(days, Batch{
			Day: first.Day, Workspace: first.Workspace, samples: sorted[from:to], at: order[from:to],
		})
		from = to
	}
	return days, nil
}

type seriesKey struct {
	day                      usage.Day
	workspace, item, variant string
}

// sortEntries returns the positions of entries by series and hour, repeats in
// the order they came. It counts how many each series has, which tells where
// they go; hours mostly come in their order.
func sortEntries(entries []usage.Entry, packed []sample) []int {
	series, n := ranks(entries)
	next := make([]int, n+1)
	for _, s := range series {
		next[s+1]++
	}
	for s := range n {
		next[s+1] += next[s]
	}
	order := make([]int, len(entries))
	for i, s := range series {
		order[next[s]] = i
		next[s]++
	}
	byHour := func(a, b int) int { return cmp.Compare(packed[a].hour, packed[b].hour) }
	from := 0
	for _, to := range next[:n] { // where the series ends by now
		if own := order[from:to]; !slices.IsSortedFunc(own, byHour) {
			slices.SortStableFunc(own, byHour)
		}
		from = to
	}
	return order
}

// ranks returns for each entry where its series is among those of the batch in
// their order, and how many series there are. A series mostly has many samples:
// so its names are compared once and not for each of them.
func ranks(entries []usage.Entry) (series []int, n int) {
	known := map[seriesKey]int{}
	var keys []seriesKey
	series = make([]int, len(entries))
	for i := range entries {
		e := &entries[i]
		key := seriesKey{e.Day, e.Workspace, e.Item, e.Variant}
		at, ok := known[key]
		if !ok {
			at = len(keys)
			known[key] = at
			keys = append(keys, key)
		}
		series[i] = at
	}
	slices.SortFunc(keys, func(a, b seriesKey) int {
		return cmp.Or(cmp.Compare(a.day, b.day), strings.Compare(a.workspace, b.workspace),
			compareSeries(a.item, a.variant, b.item, b.variant))
	})
	rank := make([]int, len(keys))
	for i, key := range keys {
		rank[known[key]] = i
	}
	for i, at := range series {
		series[i] = rank[at]
	}
	return series, len(keys)
}

// packEntries checks samples and packs their quantities.
func packEntries(entries []usage.Entry) ([]sample, error) {
	list := make([]sample, len(entries))
	var quantities []byte
	for i := range entries {
		e := &entries[i]
		if err := checkSample(i, &e.Sample); err != nil {
			return nil, err
		}
		list[i] = sample{
			item: e.Item, variant: e.Variant,
			hour: e.Hour.Unix()/secondsPerHour - hoursPerDay*int64(e.Day),
		}
		quantities = AppendDecimal(quantities, e.Quantity)
	}
	rest := &reader{packed.Read(string(quantities))}
	for i := range list {
		list[i].quantity = rest.quantity()
	}
	return list, nil
}

func checkSample(at int, s *usage.Sample) error {
	switch {
	case s.Workspace == "" || s.Item == "":
		return core.Invalid("invalid_sample", "sample %d: the workspace or the item is empty", at)
	case !isName(s.Workspace) || !isName(s.Item) || !isName(s.Variant):
		return core.Invalid("invalid_sample", "sample %d: a name is too long or holds a NUL", at)
	case !s.Hour.Equal(s.Hour.Truncate(time.Hour)):
		return core.Invalid("invalid_sample", "sample %d: %s is not the beginning of an hour", at, s.Hour)
	}
	return nil
}

// maxName bounds names in bytes: a workspace with its day must be a key in
// every store.
const maxName = 2044

// isName reports whether s can be part of a key.
func isName(s string) bool { return len(s) <= maxName && strings.IndexByte(s, 0) < 0 }

// compareSeries orders by item, then by variant.
func compareSeries(item, variant, otherItem, otherVariant string) int {
	return cmp.Or(strings.Compare(item, otherItem), strings.Compare(variant, otherVariant))
}
