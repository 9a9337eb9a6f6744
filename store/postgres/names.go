package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"cloudsettle/core"
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

// lookup is what a name leads to.
type lookup struct {
	key
	query
	found any // a pointer to it; nil is nothing
}

// lookFor returns a lookup that is not done. join ends with the column of the
// target.
func lookFor[T any](r *reader, row func(pgx.Rows, *T) error, columns, join string, k key) *lookup {
	const where = " = n.target where n.scope = $1 and n.name = $2"
	sql := "select " + columns + " from names n join " + join + where
	if r.writes {
		sql = `
		with held as (
			insert into names (scope, name, target) values ($1, $2, '') on conflict do nothing returning 1
		) ` + sql + " and not exists (select from held)"
	}
	l := &lookup{key: k}
	l.query = query{sql, []any{k.scope, k.name}, func(rows pgx.Rows) error {
		var list []T
		err := collect(rows, &list, row)
		l.found = nil
		if len(list) > 0 {
			l.found = &list[0]
		}
		return err
	}}
	return l
}

// named returns what a lookup finds, or found already when others were done.
func named[T any](ctx context.Context, r *reader, what string, l *lookup) (out T, err error) {
	if !isKey(l.scope, l.name) {
		return out, r.none(what, l.name)
	}
	if done := r.known[l.key]; done != nil {
		delete(r.known, l.key) // what the caller has is its own
		l = done
	} else if err := r.lookUp(ctx, l); err != nil {
		return out, err
	}
	if found, ok := l.found.(*T); ok {
		return *found, nil
	}
	return out, core.NotFound(what, l.name)
}

// lookUp does a lookup, and in the same round trip those that come next.
func (r *reader) lookUp(ctx context.Context, l *lookup) error {
	all := []*lookup{l}
	for _, next := range r.ahead {
		if isKey(next.scope, next.name) && !slices.ContainsFunc(all, func(l *lookup) bool { return l.key == next.key }) {
			all = append(all, next)
		}
	}
	r.ahead = nil
	queries := make([]query, len(all))
	for i, l := range all {
		queries[i] = l.query
	}
	if err := r.ask(ctx, queries...); err != nil {
		return err
	}
	for _, done := range all {
		if done != l {
			r.known[done.key] = done
		}
		if r.writes && done.found == nil {
			r.wrote, r.held[done.key] = true, true
		}
	}
	return nil
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
			sql = "update names set target = $3 where scope = $1 and name = $2" // the place is ours
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
