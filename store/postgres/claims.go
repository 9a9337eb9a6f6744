package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"cloudsettle/core"
)

// Claim implements core.Claimer. A claim that somebody took since the
// transaction began is not seen by the read: the engine then fails the insert,
// and the next run reads it.
func (t *txn) Claim(
	ctx context.Context, scope, key string, c core.Claim,
) (prior core.Claim, fresh bool, err error) {
	if err := checkKey("claim", scope, key); err != nil {
		return prior, false, err
	}
	taken, err := t.change(ctx, `
		insert into claims (scope, key, digest, result, at) values ($1, $2, $3, $4, $5) on conflict do nothing`,
		scope, key, clean(c.Digest), clean(c.Result), orNull(c.At))
	if err != nil || taken > 0 {
		return prior, err == nil, err
	}
	prior, err = one(ctx, &t.reader, "claim", func(rows pgx.Rows, c *core.Claim) error {
		return rows.Scan(&c.Digest, &c.Result, into(&c.At))
	}, "select digest, result, at from claims where scope = $1 and key = $2", scope, key)
	return prior, false, err
}

// DropClaims implements core.Claimer.
func (t *txn) DropClaims(ctx context.Context, scope, before string, limit int) (int, error) {
	return t.change(ctx, `
		delete from claims where scope = $1 and key in (
			select key from claims where scope = $1 and key < $2 order by key limit $3)`,
		clean(scope), clean(before), max(limit, 0))
}

// change carries a write out at once and returns how many rows it changed.
func (t *txn) change(ctx context.Context, sql string, args ...any) (changed int, err error) {
	err = t.ask(ctx, query{sql, args, func(rows pgx.Rows) error {
		rows.Close()
		changed = int(rows.CommandTag().RowsAffected())
		return nil
	}})
	t.wrote = t.wrote || changed > 0
	return changed, err
}
