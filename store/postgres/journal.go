package postgres

import (
	"context"
	"iter"

	"github.com/jackc/pgx/v5"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

const entryColumns = `id, listing, kind, action, delivery, verified, result, reason, effects, subscription, attempts,
	received_at, method, endpoint, raw_query, body, event`

const entryValues = `$1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17`

const entryReplaced = `id = $1, listing = $2, kind = $3, action = $4, delivery = $5, verified = $6, result = $7,
	reason = $8, effects = $9, subscription = $10, attempts = $11, received_at = $12, method = $13, endpoint = $14,
	raw_query = $15, body = $16, event = $17`

func scanEntry(rows pgx.Rows, e *core.JournalEntry) error {
	var query, event []byte
	err := rows.Scan(&e.ID, &e.Listing, &e.Kind, &e.Action, &e.Delivery, &e.Verified, &e.Result, &e.Reason, &e.Effects,
		&e.Subscription, &e.Attempts, into(&e.ReceivedAt), &e.Method, &e.Endpoint, &query, &e.Body, &event)
	if err != nil {
		return err
	}
	e.RawQuery, e.Effects, e.Body = string(query), orNil(e.Effects), orNil(e.Body)
	if event == nil {
		return nil
	}
	e.Event = &marketplace.Event{}
	return decodeJSON(event, e.Event)
}

// entryArgs returns the parameters of entryValues. What arrived is kept to the
// byte; all else is text.
func entryArgs(e *core.JournalEntry) ([]any, error) {
	var event []byte
	if e.Event != nil {
		ev := *e.Event
		ev.ExpiresAt = utc(ev.ExpiresAt)
		var err error
		if event, err = encodeJSON(ev); err != nil {
			return nil, err
		}
	}
	return []any{
		e.ID, clean(string(e.Listing)), clean(string(e.Kind)), clean(e.Action), clean(e.Delivery), e.Verified, e.Result,
		clean(e.Reason), cleanAll(e.Effects), clean(string(e.Subscription)), e.Attempts, orNull(e.ReceivedAt),
		clean(e.Method), clean(e.Endpoint), []byte(e.RawQuery), append([]byte{}, e.Body...), event,
	}, nil
}

// CallbackEntry implements core.JournalReader.
func (r *reader) CallbackEntry(ctx context.Context, id marketplace.CallbackID) (core.JournalEntry, error) {
	return one(ctx, r, "callback", scanEntry, "select "+entryColumns+" from callbacks where id = $1", string(id))
}

// CallbackEntries implements core.JournalReader.
func (r *reader) CallbackEntries(
	ctx context.Context, l marketplace.ListingID, p core.Page,
) iter.Seq2[core.JournalEntry, error] {
	sql, from := "select "+entryColumns+" from callbacks where ($1 = '' or id < $1) order by id desc limit $2", byID
	if l != "" {
		sql = "select " + entryColumns + ` from callbacks
			where listing = $1 and ($2 = '' or id < $2) order by id desc limit $3`
		from = of(string(l))
	}
	return list(ctx, r, p, listing[core.JournalEntry]{
		sql, from, scanEntry, func(e *core.JournalEntry) string { return string(e.ID) },
	})
}

// PutCallbackEntry implements core.JournalWriter. It replaces an entry of the
// same id.
func (t *txn) PutCallbackEntry(_ context.Context, e core.JournalEntry) error {
	if err := checkKey("callback", string(e.ID)); err != nil {
		return err
	}
	args, err := entryArgs(&e)
	if err != nil {
		return err
	}
	return t.write(nil, `
		insert into callbacks (`+entryColumns+`) values (`+entryValues+`) on conflict (id) do update set `+entryReplaced,
		args...)
}

// maxRejections bounds the log of refused callbacks: it is read as a whole.
const maxRejections = 1 << 16

// PutRejection implements core.JournalWriter.
func (t *txn) PutRejection(_ context.Context, slot int, e core.JournalEntry) error {
	if slot < 0 || slot >= maxRejections {
		return core.Invalid("invalid_slot", "slot %d of the log of refused callbacks", slot)
	}
	e.ID = marketplace.CallbackID(clean(string(e.ID)))
	args, err := entryArgs(&e)
	if err != nil {
		return err
	}
	return t.write(nil, `
		insert into rejections (`+entryColumns+`, slot) values (`+entryValues+`, $18)
		on conflict (slot) do update set `+entryReplaced, append(args, slot)...)
}

// Rejections implements core.JournalReader.
func (r *reader) Rejections(ctx context.Context) iter.Seq2[core.JournalEntry, error] {
	return yieldAll(ctx, r, scanEntry, "select "+entryColumns+" from rejections order by received_at desc nulls last, id desc")
}
