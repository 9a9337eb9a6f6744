package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"cloudsettle/core"
	"cloudsettle/store/internal/rows"
)

var _ core.Movable = (*Store)(nil)

// rowChunk is how many rows of a table come in one round trip: they may be
// large, and are all in memory.
const rowChunk = 512

// Tables implements core.Movable.
func (s *Store) Tables() []string { return rows.Names() }

// Rows implements core.Movable.
func (s *Store) Rows(ctx context.Context, table, after string, limit int) (list []core.Row, err error) {
	m, err := moverOf(table)
	if err != nil {
		return nil, err
	}
	err = s.View(ctx, func(ctx context.Context, tx core.ReadTx) error {
		list = nil
		for size := 0; len(list) < limit && size < core.MaxRowBytes; {
			n := min(limit-len(list), rowChunk)
			more, err := m.after(ctx, tx.(*reader), after, n)
			if err != nil || len(more) == 0 {
				return err
			}
			for i := range more {
				size += len(more[i].Value)
			}
			list, after = append(list, more...), more[len(more)-1].Key
		}
		return nil
	})
	return list, err
}

// LastKey implements core.Movable.
func (s *Store) LastKey(ctx context.Context, table string) (key string, err error) {
	m, err := moverOf(table)
	if err != nil {
		return "", err
	}
	err = s.View(ctx, func(ctx context.Context, tx core.ReadTx) error {
		last, err := m.rows(ctx, tx.(*reader), m.sql+" order by "+strings.Join(m.keys, " desc, ")+" desc limit 1")
		if len(last) > 0 {
			key = last[0].Key
		}
		return err
	})
	return key, err
}

// PutRows implements core.Movable.
func (s *Store) PutRows(ctx context.Context, table string, list []core.Row) error {
	m, err := moverOf(table)
	if err != nil {
		return err
	}
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return s.repeat(ctx, beginUpdate, func(ctx context.Context, t *txn) error {
		t.moving = true
		return m.put(ctx, t, list)
	})
}

func moverOf(table string) (*mover, error) {
	if m, ok := movers[table]; ok {
		return &m, nil
	}
	return nil, core.Invalid("unknown_table", "there is no table %q", table)
}

// mover moves the records of one table.
type mover struct {
	// holds are the tables that hold the records: one, and those of names.
	holds []string
	// sql reads all rows. keys are the columns that they are ordered by, and
	// place returns the values of those for a key.
	sql   string
	keys  []string
	place func(key string) []any
	rows  func(ctx context.Context, r *reader, sql string, args ...any) ([]core.Row, error)
	put   func(ctx context.Context, t *txn, list []core.Row) error
}

// after reads up to n rows after a key.
func (m *mover) after(ctx context.Context, r *reader, after string, n int) ([]core.Row, error) {
	order := " order by " + strings.Join(m.keys, ", ") + " limit " + strconv.Itoa(n)
	if after == "" {
		return m.rows(ctx, r, m.sql+order)
	}
	return m.rows(ctx, r, m.sql+" where "+m.compare(">", 1)+order, m.place(after)...)
}

// compare compares the key of a row with parameters from the n-th on.
func (m *mover) compare(operator string, n int) string {
	marks := make([]string, len(m.keys))
	for i := range marks {
		marks[i] = "$" + strconv.Itoa(n+i)
	}
	return "(" + strings.Join(m.keys, ", ") + ") " + operator + " (" + strings.Join(marks, ", ") + ")"
}

// records is how a table's records are read and written.
type records[T any] struct {
	table *rows.Table[T]
	// columns are read from a relation, its first word is the table's name.
	columns, from string
	keys          []string
	place         func(key string) []any
	scan          func(pgx.Rows, *T) error
	// add stores records that are not there.
	add   func(ctx context.Context, t *txn, list []*T) error
	names []string // other tables that add writes to
}

// moved makes the mover of a table.
func moved[T any](x records[T]) mover {
	m := mover{
		holds: append([]string{strings.Fields(x.from)[0]}, x.names...),
		sql:   "select " + x.columns + " from " + x.from, keys: x.keys, place: x.place,
	}
	read := func(ctx context.Context, r *reader, sql string, args ...any) ([]T, error) {
		return all(ctx, r, x.scan, sql, args...)
	}
	m.rows = func(ctx context.Context, r *reader, sql string, args ...any) ([]core.Row, error) {
		list, err := read(ctx, r, sql, args...)
		out := make([]core.Row, len(list))
		for i := range list {
			if err == nil {
				out[i], err = x.table.Row(&list[i])
			}
		}
		return out, err
	}
	m.put = func(ctx context.Context, t *txn, list []core.Row) error {
		fresh, err := x.table.Records(list)
		if err != nil || len(list) == 0 {
			return err
		}
		stored, err := read(ctx, &t.reader, m.sql+" where "+m.compare(">=", 1)+" and "+m.compare("<=", 1+len(m.keys)),
			append(m.place(list[0].Key), m.place(list[len(list)-1].Key)...)...)
		if err == nil && len(stored) > 0 {
			fresh, err = x.missing(stored, fresh, list)
		}
		if err == nil && len(fresh) > 0 {
			err = x.add(ctx, t, fresh)
		}
		if err != nil {
			return fmt.Errorf("postgres: %s: %w", x.table.Name, err)
		}
		return nil
	}
	return m
}

// missing returns the records that are not stored; others must be the same.
func (x *records[T]) missing(stored []T, fresh []*T, list []core.Row) (out []*T, err error) {
	known := make(map[string]*T, len(stored))
	for i := range stored {
		known[x.table.Key(&stored[i])] = &stored[i]
	}
	for i, row := range list {
		if was := known[row.Key]; was == nil {
			out = append(out, fresh[i])
		} else if err := x.table.Same(was, row); err != nil {
			return nil, err
		}
	}
	return out, nil
}
