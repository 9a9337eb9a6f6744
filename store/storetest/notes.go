package storetest

import (
	"context"
	"iter"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/settlement"
)

// notesAreInsertOnly: a note never changes, not even to itself.
func notesAreInsertOnly(t *testing.T, s core.Store) {
	first := aNote("cn_1", "ba_1")
	update(t, s, func(ctx context.Context, tx core.Tx) error { return tx.AddNote(ctx, first) })
	changed := aNote("cn_1", "ba_2")
	changed.Total++
	for _, n := range []settlement.Note{first, changed} {
		fails(t, s, "AddNote of a known id", core.ErrConflict, func(ctx context.Context, tx core.Tx) error {
			return tx.AddNote(ctx, n)
		})
	}
	fails(t, s, "AddNote twice", core.ErrConflict, func(ctx context.Context, tx core.Tx) error {
		return firstOf(tx.AddNote(ctx, aNote("cn_2", "ba_1")), tx.AddNote(ctx, aNote("cn_2", "ba_1")))
	})
	fails(t, s, "AddNote of no id", core.ErrInvalid, func(ctx context.Context, tx core.Tx) error {
		return tx.AddNote(ctx, aNote("", "ba_1"))
	})
	view(t, s, func(ctx context.Context, tx core.ReadTx) error {
		got, err := tx.Note(ctx, "cn_1")
		if diff := cmp.Diff(aNote("cn_1", "ba_1"), got); diff != "" {
			t.Errorf("Note(cn_1) (-want +got):\n%s", diff)
		}
		_, errNone := tx.Note(ctx, "cn_2")
		wantErr(t, "Note of a transaction that failed", errNone, core.ErrNotFound)
		return err
	})
}

// notesAreListed: by id, and those of one account.
func notesAreListed(t *testing.T, s core.Store) {
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		return firstOf(tx.AddNote(ctx, aNote("cn_3", "ba_1")), tx.AddNote(ctx, aNote("cn_1", "ba_1")),
			tx.AddNote(ctx, aNote("cn_2", "ba_10")), tx.AddNote(ctx, aNote("cn_4", "ba_1")))
	})
	for _, c := range []struct {
		owner account.ID
		p     core.Page
		want  []string
	}{
		{"", core.Page{}, []string{"cn_1", "cn_2", "cn_3", "cn_4"}},
		{"", core.Page{After: "cn_1", Limit: 2}, []string{"cn_2", "cn_3"}},
		{"ba_1", core.Page{}, []string{"cn_1", "cn_3", "cn_4"}},
		{"ba_1", core.Page{After: "cn_1", Limit: 1}, []string{"cn_3"}},
		{"ba_10", core.Page{}, []string{"cn_2"}},
		{"ba", core.Page{}, nil},
	} {
		wantScan(t, s, "Notes of "+string(c.owner), c.p, c.want,
			func(n settlement.Note) settlement.NoteID { return n.ID },
			func(ctx context.Context, tx core.ReadTx) iter.Seq2[settlement.Note, error] {
				return tx.Notes(ctx, c.owner, c.p)
			})
	}
}
