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
	parts, order := group(entries, packed)
	sorted := make([]sample, len(entries))
	for i, at := range order {
		sorted[i] = packed[at]
	}
	var days []Batch
	for len(parts) > 0 {
		first, n := &parts[0], 1
		for n < len(parts) && parts[n].day == first.day && parts[n].workspace == first.workspace {
			n++
		}
		from, to := first.from, parts[n-1].to
		days = append(days, Batch{Day: first.day, Workspace: first.workspace, samples: sorted[from:to], at: order[from:to]})
		parts = parts[n:]
	}
	return days, nil
}

// part is where the samples of one series are in the order of a batch.
type part struct {
	seriesKey
	from, to int
}

type seriesKey struct {
	day                      usage.Day
	workspace, item, variant string
}

func (k *seriesKey) compare(other *seriesKey) int {
	return cmp.Or(cmp.Compare(k.day, other.day), strings.Compare(k.workspace, other.workspace),
		compareSeries(k.item, k.variant, other.item, other.variant))
}

// group sorts the positions of entries by series and hour, repeats in the order
// they came, and returns the series in their order. Names are compared once for
// each series, which mostly has many samples, and not for each sample.
func group(entries []usage.Entry, packed []sample) ([]part, []int) {
	var parts []part
	known := map[seriesKey]int{}
	of := make([]int, len(entries))
	for i := range entries {
		e := &entries[i]
		key := seriesKey{e.Day, e.Workspace, e.Item, e.Variant}
		at, ok := known[key]
		if !ok {
			at = len(parts)
			known[key] = at
			parts = append(parts, part{seriesKey: key})
		}
		of[i] = at
		parts[at].to++
	}
	next := place(parts)
	order := make([]int, len(entries))
	for i, at := range of {
		order[next[at]] = i
		next[at]++
	}
	byHour := func(a, b int) int { return cmp.Compare(packed[a].hour, packed[b].hour) }
	for _, p := range parts {
		if samples := order[p.from:p.to]; !slices.IsSortedFunc(samples, byHour) {
			slices.SortStableFunc(samples, byHour)
		}
	}
	return parts, order
}

// place sorts parts, which know how many samples they have, says from where to
// where they go, and returns where that begins for each as they were before.
func place(parts []part) []int {
	ranks := make([]int, len(parts))
	for i := range ranks {
		ranks[i] = i
	}
	slices.SortFunc(ranks, func(a, b int) int { return parts[a].compare(&parts[b].seriesKey) })
	begin, sorted, at := make([]int, len(parts)), make([]part, len(parts)), 0
	for i, rank := range ranks {
		begin[rank] = at
		sorted[i] = part{parts[rank].seriesKey, at, at + parts[rank].to}
		at = sorted[i].to
	}
	copy(parts, sorted)
	return begin
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
