package core

import "context"

// Row is one record on its way from one store to another.
type Row struct {
	// Key is the record's place in its table. Rows are in byte order of keys.
	Key string
	// Value is the record in canonical form: the same bytes, whichever store
	// returns them.
	Value []byte
}

// Movable is a store whose records can be moved to another store, of its own
// kind or another. Records keep their revisions and times. What a store keeps
// only to find records again is not moved: the receiver makes its own.
//
// Moving is no way to change records, and nothing else may use either store
// meanwhile.
type Movable interface {
	Store

	// Tables names the kinds of record, the same ones in every store.
	Tables() []string

	// Rows returns up to limit rows of a table with keys after a key, or from
	// the beginning if that is "". Fewer are not the end: none is. Rows are cut
	// short where they become large.
	Rows(ctx context.Context, table, after string, limit int) ([]Row, error)

	// LastKey returns the key of a table's last row, or "" if it has none.
	LastKey(ctx context.Context, table string) (string, error)

	// PutRows stores rows, whose keys must ascend, in one transaction. Those
	// that are stored already stay; another row under a stored key, or a name
	// in it that belongs to another row, is ErrConflict and nothing is stored.
	PutRows(ctx context.Context, table string, rows []Row) error
}

// MaxRowBytes is how many bytes of values Rows returns before it cuts them
// short: a batch is in memory several times, packed and unpacked, on both sides.
const MaxRowBytes = 4 << 20
