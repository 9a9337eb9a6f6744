package bolt

import (
	"bytes"
	"context"
	"iter"

	"cloudsettle/core"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
	"cloudsettle/store/internal/daypack"
)

// BilledOn implements core.BillReader. It walks the usage of a day and its
// bills side by side.
func (r *reader) BilledOn(_ context.Context, day usage.Day, p core.Page) iter.Seq2[*core.Billed, error] {
	return func(yield func(*core.Billed, error) bool) {
		if r.over {
			yield(nil, errOver)
			return
		}
		prefix := appendPeriod(nil, day)
		after := afterIn(prefix, p.After)
		bills, stop := iter.Pull2(r.scan(dailyBills, prefix, after, ascending))
		defer stop()
		w := billedWalk{day: day, used: &cursor{}, open: r.openOn(prefix, after), bills: bills}
		if b := r.month(day.Month()); b != nil {
			w.used = newCursor(b, prefix, after, ascending)
		}
		w.billKey, w.bill, _ = bills()
		left := p.Limit
		for key := w.key(); key != nil; key = w.key() {
			err := w.take(key)
			if !yield(&w.Billed, err) || err != nil {
				return
			}
			if left--; left == 0 {
				return
			}
		}
	}
}

// billedWalk walks the usage of a day and its bills side by side, and reads
// them one after the other into the same memory.
type billedWalk struct {
	core.Billed
	day           usage.Day
	used          *cursor
	open          *openDays
	bills         func() (key, value []byte, ok bool)
	billKey, bill []byte // the next one
}

// key returns the key of the workspace that comes next, or nil at the end.
func (w *billedWalk) key() []byte {
	if w.used.key == nil || w.billKey != nil && bytes.Compare(w.billKey, w.used.key) < 0 {
		return w.billKey
	}
	return w.used.key
}

// take reads what is there under key, and goes past it.
func (w *billedWalk) take(key []byte) error {
	w.Workspace = workspace.ID(key[periodSize:])
	w.Usage = usage.Record{Samples: w.Usage.Samples[:0]}
	if bytes.Equal(w.used.key, key) {
		if err := daypack.Read(&w.Usage, w.used.value, string(w.Workspace), w.day); err != nil {
			return errUsage(string(w.Workspace), w.day, err)
		}
		w.Usage.Sealed = !w.open.has(key)
		w.used.step()
	}
	w.Bill = settlement.DailyBill{Lines: w.Bill.Lines[:0]}
	if bytes.Equal(w.billKey, key) {
		if err := readDailyBill(&w.Bill, w.bill); err != nil {
			return errBill(settlement.DailyBillID(w.Workspace, w.day), err)
		}
		w.billKey, w.bill, _ = w.bills()
	}
	return nil
}
