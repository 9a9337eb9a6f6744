package bolt_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
	"go.uber.org/goleak"

	"cloudsettle/core"
	"cloudsettle/store/bolt"
	"cloudsettle/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) core.Store { return open(t, place(t)) })
}

func TestDurable(t *testing.T) {
	storetest.RunDurable(t, storetest.Durable{
		Open:  func(path string) (core.Store, error) { return bolt.Open(path) },
		Place: func(t *testing.T) string { return place(t) },
		Renew: func(path string) error {
			return inFile(path, func(tx *bbolt.Tx) error {
				return tx.Bucket([]byte("meta")).Put([]byte("schema"), binary.BigEndian.AppendUint32(nil, 1<<31))
			})
		},
	})
}

// place returns where a new store may be.
func place(t testing.TB) string { return filepath.Join(t.TempDir(), "data", "cloudsettle.db") }

// open opens the store at path and closes it after the test.
func open(t testing.TB, path string) *bolt.Store {
	t.Helper()
	s, err := bolt.Open(path)
	if err != nil {
		t.Fatalf("Open(%q) = %v", path, err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return s
}

// inFile changes a closed store's file behind its back.
func inFile(path string, fn func(*bbolt.Tx) error) error {
	db, err := bbolt.Open(path, os.FileMode(0o600), nil)
	if err != nil {
		return err
	}
	defer db.Close()
	return db.Update(fn)
}
