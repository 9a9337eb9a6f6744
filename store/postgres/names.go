package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
)

// A name that a transaction looks for and does not find, it is about to give to
// something. To read first and insert later would lock the part of the index
// where the name would be against all who do the same with names near it, and
// all but one of them would run again. So the place is taken first, empty; a
// transaction that looks for the same name waits for this one.

// The scopes of names, which go on with the listing.
const (
	subscriptionScope = "subscription/"
	cloudAccountScope = "cloud_account/"
)

// key is a name within its scope.
type key struct{ scope, name string }

// named reads what a name leads to. join ends with the column of the target.
func named[T any](
	ctx context.Context, r *reader, what string, row func(pgx.Rows, *T) error, columns, join string, k key,
) (T, error) {
	const where = " = n.target where n.scope = $1 and n.name = $2"
	sql := "select " + columns + " from names n join " + join + where
	if !r.writes {
		return one(ctx, r, what, row, sql, k.scope, k.name)
	}
	out, err := one(ctx, r, what, row, `
		with held as (
			insert into names (scope, name, target) values ($1, $2, '') on conflict do nothing returning 1
		) `+sql+" and not exists (select from held)", k.scope, k.name)
	if isNotFound(err) && isKey(k.scope, k.name) {
		r.wrote = true
		r.held[k] = true
	}
	return out, err
}

// rename makes names lead to id, and frees those that did and do not any more.
func (t *txn) rename(id string, names []key) error {
	before := t.names[id]
	t.names[id] = names
	for _, k := range before {
		if slices.Contains(names, k) {
			continue
		}
		err := t.write(nil, "delete from names where scope = $1 and name = $2 and target = $3", k.scope, k.name, id)
		if err != nil {
			return err
		}
	}
	for _, k := range names {
		if slices.Contains(before, k) {
			continue
		}
		sql := "insert into names (scope, name, target) values ($1, $2, $3)"
		if t.held[k] {
			sql += " on conflict (scope, name) do update set target = $3 where names.target = ''" // no other can be there
			delete(t.held, k)
		}
		if err := t.write(taken("name", k.name), sql, k.scope, k.name, id); err != nil {
			return err
		}
	}
	return nil
}

// release gives places back that were taken and not used.
func (t *txn) release() error {
	for k := range t.held {
		err := t.write(nil, "delete from names where scope = $1 and name = $2 and target = ''", k.scope, k.name)
		if err != nil {
			return err
		}
	}
	return nil
}
