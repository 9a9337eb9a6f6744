package bolt

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"
	"strings"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

// CallbackEntry implements core.JournalReader.
func (r *reader) CallbackEntry(
	_ context.Context, id marketplace.CallbackID,
) (core.JournalEntry, error) {
	return find(r, callbacks, "callback", string(id), decodeEntry)
}

// CallbackEntries implements core.JournalReader. It passes over the entries of
// other listings without decoding them.
func (r *reader) CallbackEntries(
	_ context.Context, l marketplace.ListingID, p core.Page,
) iter.Seq2[core.JournalEntry, error] {
	decode := func(value []byte) (e core.JournalEntry, keep bool, err error) {
		if l != "" && !entryIsOf(l, value) {
			return e, false, nil
		}
		e, err = decodeEntry(value)
		return e, true, err
	}
	return page(r, callbacks, p, descending, decode)
}

// PutCallbackEntry implements core.JournalWriter. It replaces an entry of the
// same id.
func (t *txn) PutCallbackEntry(_ context.Context, e core.JournalEntry) error {
	return t.put(callbacks, "callback", func(dst []byte) ([]byte, error) {
		return appendEntry(dst, e), nil
	}, string(e.ID))
}

// maxRejections bounds the log of refused callbacks: it is read as a whole.
const maxRejections = 1 << 16

// PutRejection implements core.JournalWriter.
func (t *txn) PutRejection(_ context.Context, slot int, e core.JournalEntry) error {
	if t.over {
		return errOver
	}
	if slot < 0 || slot >= maxRejections {
		return core.Invalid("invalid_slot", "slot %d of the log of refused callbacks", slot)
	}
	key := t.arena.keep(binary.BigEndian.AppendUint32(t.arena.room(), uint32(slot)))
	t.own.set(rejections, key, t.arena.keep(appendEntry(t.arena.room(), e)))
	return nil
}

// Rejections implements core.JournalReader.
func (r *reader) Rejections(context.Context) iter.Seq2[core.JournalEntry, error] {
	return func(yield func(core.JournalEntry, error) bool) {
		var list []core.JournalEntry
		for e, err := range page(r, rejections, core.Page{}, ascending, all(decodeEntry)) {
			if err != nil {
				yield(core.JournalEntry{}, fmt.Errorf("read the refused callbacks: %w", err))
				return
			}
			list = append(list, e)
		}
		slices.SortFunc(list, func(a, b core.JournalEntry) int {
			return cmp.Or(b.ReceivedAt.Compare(a.ReceivedAt), strings.Compare(string(b.ID), string(a.ID)))
		})
		for _, e := range list {
			if !yield(e, nil) {
				return
			}
		}
	}
}
