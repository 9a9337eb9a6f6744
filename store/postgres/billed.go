package postgres

import (
	"context"
	"errors"
	"iter"

	"cloudsettle/core"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// BilledOn implements core.BillReader. It reads usage and bills chunk by chunk
// and puts them side by side here: in an outer join each column may be null.
func (r *reader) BilledOn(ctx context.Context, day usage.Day, p core.Page) iter.Seq2[*core.Billed, error] {
	return func(yield func(*core.Billed, error) bool) {
		used := peek(r.UsageOn(ctx, day, p), func(rec *usage.Record) string { return rec.Workspace })
		defer used.stop()
		bills := peek(r.DailyBillsOn(ctx, day, p), func(b *settlement.DailyBill) string { return string(b.Workspace) })
		defer bills.stop()
		left := p.Limit
		for used.there || bills.there {
			ws := used.key
			if !used.there || bills.there && bills.key < ws {
				ws = bills.key
			}
			out := core.Billed{Workspace: workspace.ID(ws)}
			err := errors.Join(used.take(ws, &out.Usage), bills.take(ws, &out.Bill))
			if !yield(&out, err) || err != nil {
				return
			}
			if left--; left == 0 {
				return
			}
		}
	}
}

// peeked is a scan and what it yields next.
type peeked[T any] struct {
	keyOf func(*T) string
	next  func() (T, error, bool)
	stop  func()
	there bool // something comes, be it an error
	key   string
	value T
	err   error
}

// peek begins a scan and looks at what comes first.
func peek[T any](scan iter.Seq2[T, error], keyOf func(*T) string) *peeked[T] {
	l := &peeked[T]{keyOf: keyOf}
	l.next, l.stop = iter.Pull2(scan)
	l.step()
	return l
}

func (l *peeked[T]) step() {
	l.value, l.err, l.there = l.next()
	l.key = ""
	if l.there && l.err == nil {
		l.key = l.keyOf(&l.value)
	}
}

// take moves what has the key to dst. An error has the least key.
func (l *peeked[T]) take(key string, dst *T) error {
	if !l.there || l.key != key {
		return nil
	}
	if l.err != nil {
		return l.err
	}
	*dst = l.value
	l.step()
	return nil
}
