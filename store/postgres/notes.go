package postgres

import (
	"context"
	"iter"

	"github.com/jackc/pgx/v5"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/settlement"
)

const noteColumns = `id, bill, day, seq, billing_account, currency, method, subscription, total, cloud, arrears, deductions,
	reason, by_whom, ledger_seq, issued_at`

func scanNote(rows pgx.Rows, n *settlement.Note) error {
	var deductions []byte
	err := rows.Scan(&n.ID, &n.Bill, (*int32)(&n.Day), &n.Seq, &n.BillingAccount, &n.Currency, &n.Settlement.Method,
		&n.Settlement.Subscription, &n.Total, &n.Cloud, &n.Arrears, &deductions, &n.Reason, &n.By, &n.LedgerSeq,
		into(&n.IssuedAt))
	if err != nil {
		return err
	}
	n.Deductions, err = decodeDeductions(deductions)
	return err
}

func noteID(n *settlement.Note) string { return string(n.ID) }

// Note implements core.NoteReader.
func (r *reader) Note(ctx context.Context, id settlement.NoteID) (settlement.Note, error) {
	return one(ctx, r, "credit note", scanNote, "select "+noteColumns+" from credit_notes where id = $1", string(id))
}

// Notes implements core.NoteReader.
func (r *reader) Notes(ctx context.Context, id account.ID, p core.Page) iter.Seq2[settlement.Note, error] {
	sql, from := "select "+noteColumns+" from credit_notes where id > $1 order by id limit $2", byID
	if id != "" {
		sql = "select " + noteColumns + " from credit_notes where billing_account = $1 and id > $2 order by id limit $3"
		from = of(string(id))
	}
	return list(ctx, r, p, listing[settlement.Note]{sql, from, scanNote, noteID})
}

// AddNote implements core.NoteWriter.
func (t *txn) AddNote(_ context.Context, n settlement.Note) error {
	if t.over {
		return errOver
	}
	if err := checkKey("credit note", string(n.BillingAccount), string(n.ID)); err != nil {
		return err
	}
	return t.write(taken("credit note", string(n.ID)), `
		insert into credit_notes (`+noteColumns+`)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)`,
		n.ID, clean(string(n.Bill)), int32(n.Day), whole(n.Seq), n.BillingAccount, n.Currency, n.Settlement.Method,
		clean(string(n.Settlement.Subscription)), int64(n.Total), int64(n.Cloud), int64(n.Arrears),
		appendDeductions(nil, n.Deductions), clean(n.Reason), clean(n.By), whole(n.LedgerSeq), orNull(n.IssuedAt))
}
