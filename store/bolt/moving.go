package bolt

import (
	"context"
	"fmt"
	"iter"

	"cloudsettle/core"
	"cloudsettle/store/internal/rows"
)

var _ core.Movable = (*Store)(nil)

// Tables implements core.Movable.
func (s *Store) Tables() []string { return rows.Names() }

// Rows implements core.Movable. The key of a row is the record's key in its
// bucket.
func (s *Store) Rows(ctx context.Context, table, after string, limit int) (list []core.Row, err error) {
	err = s.move(ctx, table, func(r *reader, m *mover) error {
		size := 0
		for row, err := range m.rows(r, after) {
			if err != nil {
				return fmt.Errorf("bolt: %w", err)
			}
			list = append(list, row)
			if size += len(row.Value); len(list) >= limit || size >= core.MaxRowBytes {
				break
			}
		}
		return nil
	})
	return list, err
}

// LastKey implements core.Movable.
func (s *Store) LastKey(ctx context.Context, table string) (key string, err error) {
	err = s.move(ctx, table, func(r *reader, m *mover) error {
		key = m.last(r)
		return nil
	})
	return key, err
}

// PutRows implements core.Movable.
func (s *Store) PutRows(ctx context.Context, table string, list []core.Row) error {
	m, err := moverOf(table)
	if err != nil {
		return err
	}
	return s.write(ctx, func(t *txn) error { return m.put(t, list) })
}

// move runs fn on a snapshot.
func (s *Store) move(ctx context.Context, table string, fn func(*reader, *mover) error) error {
	m, err := moverOf(table)
	if err != nil {
		return err
	}
	return s.View(ctx, func(_ context.Context, tx core.ReadTx) error { return fn(tx.(*reader), m) })
}

func moverOf(table string) (*mover, error) {
	if m, ok := movers[table]; ok {
		return &m, nil
	}
	return nil, core.Invalid("unknown_table", "there is no table %q", table)
}

// mover moves the records of one table.
type mover struct {
	// holds are the buckets that the table is in: itself and its indexes.
	holds []bucket
	rows  func(r *reader, after string) iter.Seq2[core.Row, error]
	last  func(r *reader) string
	put   func(t *txn, list []core.Row) error
}

// moved makes the mover of a table whose rows are the records of the first of
// some buckets, which the others index. add stores a record that is not there.
func moved[T any](
	table *rows.Table[T], decode func(key, value []byte) (T, error), add func(*txn, *T) error, holds ...bucket,
) mover {
	b := holds[0]
	return mover{
		holds: holds,
		rows: func(r *reader, after string) iter.Seq2[core.Row, error] {
			return r.rowsOf(b, after, rowOf(table, decode))
		},
		last: func(r *reader) string {
			for key := range r.scan(b, nil, nil, descending) {
				return string(key)
			}
			return ""
		},
		put: func(t *txn, list []core.Row) error {
			return putRows(t, table, list, func(row core.Row) (*T, error) {
				value := t.get(b, []byte(row.Key))
				if value == nil {
					return nil, nil
				}
				rec, err := decode([]byte(row.Key), value)
				return &rec, err
			}, add)
		},
	}
}

// rowOf returns how a stored record becomes a row.
func rowOf[T any](
	table *rows.Table[T], decode func(key, value []byte) (T, error),
) func(key, value []byte) (core.Row, error) {
	return func(key, value []byte) (core.Row, error) {
		rec, err := decode(key, value)
		if err != nil {
			return core.Row{}, fmt.Errorf("%s %q: %w", table.Name, key, err)
		}
		row, err := table.Row(&rec)
		if err == nil && row.Key != string(key) {
			err = fmt.Errorf("%s %q is stored under %q: %w", table.Name, row.Key, key, errCorrupt)
		}
		return row, err
	}
}

// rowsOf yields the records of a bucket after a key.
func (r *reader) rowsOf(
	b bucket, after string, rowOf func(key, value []byte) (core.Row, error),
) iter.Seq2[core.Row, error] {
	return func(yield func(core.Row, error) bool) {
		for key, value := range r.scan(b, nil, afterKey(after), ascending) {
			if row, err := rowOf(key, value); !yield(row, err) || err != nil {
				return
			}
		}
	}
}

// putRows adds the records of rows that find does not find.
func putRows[T any](
	t *txn, table *rows.Table[T], list []core.Row,
	find func(core.Row) (*T, error), add func(*txn, *T) error,
) error {
	records, err := table.Records(list)
	if err != nil {
		return fmt.Errorf("bolt: %w", err)
	}
	for i, row := range list {
		stored, err := find(row)
		switch {
		case err != nil:
		case stored != nil:
			err = table.Same(stored, row)
		default:
			err = add(t, records[i])
		}
		if err != nil {
			return fmt.Errorf("bolt: %s %q: %w", table.Name, row.Key, err)
		}
	}
	return nil
}
