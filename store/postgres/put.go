package postgres

import (
	"errors"

	"cloudsettle/core"
)

// put inserts a record at revision 0 and updates it otherwise. The parameters of
// both statements begin with the id and the revision.
func (t *txn) put(what, id string, rev uint64, insert, update string, args []any) error {
	if t.over {
		return errOver
	}
	if err := checkKey(what, id); err != nil {
		return err
	}
	if rev == 0 {
		return t.write(stale(what, id, rev), insert, args...)
	}
	return t.write(stale(what, id, rev), exactly(update), args...)
}

// exactly makes a statement that changes no row an error of the engine's: what
// is only counted afterwards would be committed already.
func exactly(change string) string {
	return "with changed as (" + change + " returning 1) select 1 / count(*) from changed"
}

// stale explains why a record is not put.
func stale(what, id string, rev uint64) func() error {
	return func() error {
		return core.Conflict("stale_revision", "%s %q is not at revision %d, or a name of it is taken", what, id, rev)
	}
}

// taken explains why a name cannot be had.
func taken(what, name string) func() error {
	return func() error { return core.Conflict("taken", "%s %q is taken", what, name) }
}

func isNotFound(err error) bool { return errors.Is(err, core.ErrNotFound) }
