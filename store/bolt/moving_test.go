package bolt

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"cloudsettle/core"
	"cloudsettle/store/internal/packed"
	"cloudsettle/store/storetest"
)

func TestMovable(t *testing.T) {
	t.Parallel()
	storetest.RunMovable(t, func(t *testing.T) core.Movable { return openNew(t) })
}

// TestEveryBucketMoves: each bucket but that of the schema is a table or an
// index of one. What is added to the layout must be added to movers.
func TestEveryBucketMoves(t *testing.T) {
	t.Parallel()
	movedBy := map[bucket]string{meta: "nothing", leases: "nothing"}
	for name, m := range movers {
		for _, b := range m.holds {
			if other := movedBy[b]; other != "" {
				t.Errorf("%s is moved by %s and by %s", layout[b].name, other, name)
			}
			movedBy[b] = name
		}
	}
	for b := range bucket(numBuckets) {
		if movedBy[b] == "" {
			t.Errorf("nothing moves %s", layout[b].name)
		}
	}
	tables := openNew(t).Tables()
	for _, name := range tables {
		if _, ok := movers[name]; !ok {
			t.Errorf("%s has no mover", name)
		}
	}
	if len(tables) != len(movers) {
		t.Errorf("%d tables have %d movers", len(tables), len(movers))
	}
}

// TestMovedFileIsTheSame: every bucket of a store into which all was moved has
// the bytes of the one it came from, indexes too, and something is in each.
func TestMovedFileIsTheSame(t *testing.T) {
	t.Parallel()
	from, to := openNew(t), openNew(t)
	storetest.Fill(t, from)
	for _, table := range from.Tables() {
		list, err := from.Rows(t.Context(), table, "", 1000)
		if err != nil {
			t.Fatal(err)
		}
		if err := to.PutRows(t.Context(), table, list); err != nil {
			t.Fatal(err)
		}
	}
	for b := range bucket(numBuckets) {
		if b == leases {
			continue // they end with the process
		}
		was, is := contents(t, from, b), contents(t, to, b)
		if len(was) == 0 {
			t.Errorf("%s is empty", layout[b].name)
		}
		if !bytes.Equal(was, is) {
			t.Errorf("%s has %d bytes, want the same %d", layout[b].name, len(is), len(was))
		}
	}
}

// contents returns all keys and values of a bucket.
func contents(t *testing.T, s *Store, b bucket) (all []byte) {
	t.Helper()
	var walk func(in *bbolt.Bucket) error
	walk = func(in *bbolt.Bucket) error {
		return in.ForEach(func(key, value []byte) error {
			all = packed.AppendText(all, string(key))
			if value == nil {
				return walk(in.Bucket(key))
			}
			all = packed.AppendText(all, string(value))
			return nil
		})
	}
	err := s.View(t.Context(), func(_ context.Context, tx core.ReadTx) error { return walk(tx.(*reader).bucket(b)) })
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func openNew(t *testing.T) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "cloudsettle.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
