package usage

import "cmp"

// Entry is a sample with the day at its workspace's site that it belongs to.
type Entry struct {
	Sample
	Day Day
}

// Record is all that one workspace reported for one day.
type Record struct {
	Workspace string
	Day       Day
	// Rev counts the changes of the record. Sealed says that the day is billed:
	// nothing is added any more.
	Rev     uint64
	Sealed  bool
	Samples []Sample // sorted by item, variant and hour
}

// Of returns the record with only the samples of one item, or all if item is "".
func (r Record) Of(item string) Record {
	if item == "" {
		return r
	}
	var kept []Sample
	for _, x := range r.Samples {
		if x.Item == item {
			kept = append(kept, x)
		}
	}
	r.Samples = kept
	return r
}

// Compare orders samples of one workspace by item, variant and hour: samples
// that compare equal have the same key.
func Compare(a, b Sample) int {
	return cmp.Or(cmp.Compare(a.Item, b.Item), cmp.Compare(a.Variant, b.Variant), a.Hour.Compare(b.Hour))
}

// Seal names the revision of a record that was billed.
type Seal struct {
	Workspace string
	Day       Day
	Rev       uint64
}
