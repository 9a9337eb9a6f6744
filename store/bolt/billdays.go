package bolt

import (
	"context"
	"iter"

	"cloudsettle/core/usage"
)

// BillDays implements core.BillReader. It looks once for each day that has
// bills, however many there are.
func (r *reader) BillDays(context.Context) iter.Seq2[usage.Day, error] {
	return func(yield func(usage.Day, error) bool) {
		if r.over {
			yield(0, errOver)
			return
		}
		from := []byte(nil)
		for {
			next, found := r.firstFrom(dailyBills, from)
			if !found {
				return
			}
			day := periodOf[usage.Day](next)
			if !yield(day, nil) {
				return
			}
			from = appendPeriod(nil, day+1)
		}
	}
}
