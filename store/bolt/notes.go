package bolt

import (
	"context"
	"iter"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/settlement"
)

// Note implements core.NoteReader.
func (r *reader) Note(_ context.Context, id settlement.NoteID) (settlement.Note, error) {
	return r.note(string(id))
}

func (r *reader) note(id string) (settlement.Note, error) {
	return find(r, creditNotes, "credit note", id, decodeJSON[settlement.Note])
}

// Notes implements core.NoteReader.
func (r *reader) Notes(
	_ context.Context, id account.ID, p core.Page,
) iter.Seq2[settlement.Note, error] {
	if id == "" {
		return page(r, creditNotes, p, ascending, all(decodeJSON[settlement.Note]))
	}
	return members(r, creditNotesByAccount, string(id), p, r.note)
}

// AddNote implements core.NoteWriter.
func (t *txn) AddNote(_ context.Context, n settlement.Note) error {
	const what = "credit note"
	stored, err := t.lookup(creditNotes, string(n.ID))
	if err != nil {
		return err
	}
	if stored != nil {
		return core.Conflict("taken", "credit note %q is stored already", n.ID)
	}
	n.IssuedAt = utc(n.IssuedAt)
	if len(n.Deductions) == 0 {
		n.Deductions = nil
	}
	if err := t.put(creditNotes, what, encodeJSON(n), string(n.ID)); err != nil {
		return err
	}
	return t.point(creditNotesByAccount, what, "", string(n.BillingAccount), string(n.ID))
}
