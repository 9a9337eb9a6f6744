package postgres

import (
	"context"
	"iter"

	"github.com/jackc/pgx/v5"

	"cloudsettle/core"
)

// chunk is how many rows of a scan come in one round trip: as many as a
// settlement asks for at a time, and some megabytes at most.
const chunk = 1024

// listing is a scan in the order of a key.
type listing[T any] struct {
	// sql ends with the parameter that limits the rows, where null is no limit.
	sql string
	// from returns the other parameters, for what comes after a key.
	from func(after string) ([]any, error)
	row  func(pgx.Rows, *T) error
	key  func(*T) string
}

// list yields a page of l. On a snapshot, which does not move, it comes in
// chunks. A transaction that writes takes it whole, because its own later
// writes must not be in it.
func list[T any](ctx context.Context, r *reader, p core.Page, l listing[T]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		left := p.Limit
		for after := p.After; ; {
			n := chunk
			if r.writes {
				n = 0
			}
			if left > 0 && (n == 0 || left < n) {
				n = left
			}
			rows, err := l.take(ctx, r, after, n)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for i := range rows {
				if !yield(rows[i], nil) {
					return
				}
			}
			if left -= len(rows); n == 0 || len(rows) < n || left == 0 {
				return
			}
			after = l.key(&rows[len(rows)-1])
		}
	}
}

// take reads up to n rows after a key; 0 is all.
func (l *listing[T]) take(ctx context.Context, r *reader, after string, n int) ([]T, error) {
	args, err := l.from(after)
	if err != nil {
		return nil, err
	}
	var limit *int
	if n > 0 {
		limit = &n
	}
	return all(ctx, r, l.row, l.sql, append(args, limit)...)
}

// all reads all rows of a query.
func all[T any](ctx context.Context, r *reader, row func(pgx.Rows, *T) error, sql string, args ...any) ([]T, error) {
	var out []T
	err := r.ask(ctx, query{sql, args, func(rows pgx.Rows) error {
		out = nil
		return collect(rows, &out, row)
	}})
	return out, err
}

// collect appends all rows to a list.
func collect[T any](rows pgx.Rows, to *[]T, row func(pgx.Rows, *T) error) error {
	for rows.Next() {
		var v T
		if err := row(rows, &v); err != nil {
			return err
		}
		*to = append(*to, v)
	}
	return rows.Err()
}

// yieldAll yields all rows of a query.
func yieldAll[T any](ctx context.Context, r *reader, row func(pgx.Rows, *T) error, sql string, args ...any) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		rows, err := all(ctx, r, row, sql, args...)
		if err != nil {
			var none T
			yield(none, err)
			return
		}
		for i := range rows {
			if !yield(rows[i], nil) {
				return
			}
		}
	}
}

// one reads the row of a key. A name that can be no key is not found either.
func one[T any](
	ctx context.Context, r *reader, what string, row func(pgx.Rows, *T) error, sql string, key ...string,
) (out T, err error) {
	if !isKey(key...) {
		return out, r.none(what, last(key))
	}
	args := make([]any, len(key))
	for i := range key {
		args[i] = key[i]
	}
	return only(ctx, r, what, last(key), row, sql, args...)
}

// only reads the only row of a query; none is ErrNotFound.
func only[T any](
	ctx context.Context, r *reader, what, id string, row func(pgx.Rows, *T) error, sql string, args ...any,
) (out T, err error) {
	rows, err := all(ctx, r, row, sql, args...)
	switch {
	case err != nil:
		return out, err
	case len(rows) == 0:
		return out, core.NotFound(what, id)
	}
	return rows[0], nil
}

// none is the error of a read that needs not ask.
func (r *reader) none(what, id string) error {
	if r.over {
		return errOver
	}
	return core.NotFound(what, id)
}

func last(list []string) string { return list[len(list)-1] }

// byID is where a scan in the order of one text begins.
func byID(after string) ([]any, error) { return []any{clean(after)}, nil }

// of is byID with an owner before it.
func of(owner string) func(string) ([]any, error) {
	return func(after string) ([]any, error) { return []any{clean(owner), clean(after)}, nil }
}
