package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"cloudsettle/core"
)

// schema is the version of the layout of buckets and keys. A store of a later
// version is refused.
const schema = 1

// lockTimeout is how long Open waits for another process to let go of the
// file: enough for one that is stopping, not for one that serves.
const lockTimeout = time.Second

// mapSize is how much address space the file's map takes from the start. To
// enlarge it the writer has to wait for all readers, and new readers for the
// writer; 16 GiB is several years of a large seller, and address space that
// is not used costs nothing.
const mapSize = 16 << 30

// The modes of a new file and directory: it is other people's money.
const (
	fileMode fs.FileMode = 0o600
	dirMode  fs.FileMode = 0o700
)

// Open opens the store in the file at path and creates both the file and its
// directory if they are missing. Errors: ErrUnavailable if another process has
// it open, ErrSchema if a later version of the program wrote it, ErrInvalid if
// the file is something else.
func Open(path string) (*Store, error) {
	if err := makeDir(filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("bolt: open %q: %w", path, err)
	}
	db, err := bbolt.Open(path, fileMode, bboltOptions())
	if err != nil {
		return nil, errOpen(path, err)
	}
	if err := prepare(db, path); err != nil {
		return nil, errors.Join(fmt.Errorf("bolt: open %q: %w", path, err), db.Close())
	}
	s := &Store{
		db: db, queue: newQueue(), opening: newOpening(),
		idle: make(chan struct{}), failed: make(chan struct{}),
	}
	go (&writer{s: s}).loop()
	return s, nil
}

// bboltOptions tunes bbolt. The list of free pages is not kept in
// the file: writing it made commits after a large deletion ten times slower;
// the price is that Open looks through the file's pages.
func bboltOptions() *bbolt.Options {
	o := &bbolt.Options{
		Timeout:        lockTimeout,
		NoFreelistSync: true,
		FreelistType:   bbolt.FreelistMapType,
		NoStatistics:   true,
	}
	size := int64(mapSize)                                  // a variable: it is no int on 32 bits, where it is not used
	if strconv.IntSize == 64 && runtime.GOOS != "windows" { // where a map is not file space
		o.InitialMmapSize = int(size)
	}
	return o
}

// errOpen explains why bbolt did not open the file.
func errOpen(path string, err error) error {
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return fmt.Errorf("bolt: %q is in use by another process, perhaps a running server: %w",
			path, core.ErrUnavailable)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrVersionMismatch),
		errors.Is(err, berrors.ErrChecksum):
		return fmt.Errorf("bolt: %q is damaged or is not a store: %w: %w", path, core.ErrInvalid, err)
	}
	return fmt.Errorf("bolt: open %q: %w", path, err)
}

// prepare makes a new file a store and checks that an old one is. It writes
// nothing to a file that is complete: a full disk may still be read.
func prepare(db *bbolt.DB, path string) error {
	complete := false
	err := db.View(func(tx *bbolt.Tx) (err error) {
		complete, err = isComplete(tx)
		return err
	})
	if err != nil || complete {
		return err
	}
	if err := db.Update(complement); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// isComplete reports whether the file has this version's schema and buckets.
func isComplete(tx *bbolt.Tx) (bool, error) {
	if err := checkSchema(tx); err != nil {
		return false, err
	}
	for _, b := range layout {
		if tx.Bucket([]byte(b.name)) == nil {
			return false, nil
		}
	}
	return true, nil
}

// complement adds what a file lacks.
func complement(tx *bbolt.Tx) error {
	for _, b := range layout {
		if _, err := tx.CreateBucketIfNotExists([]byte(b.name)); err != nil {
			return fmt.Errorf("make bucket %s: %w", b.name, err)
		}
	}
	version := binary.BigEndian.AppendUint32(nil, schema)
	return tx.Bucket([]byte(layout[meta].name)).Put([]byte(schemaKey), version)
}

// schemaKey is where the meta bucket keeps the schema's version.
const schemaKey = "schema"

// checkSchema accepts an empty file and one of this version.
func checkSchema(tx *bbolt.Tx) error {
	about := tx.Bucket([]byte(layout[meta].name))
	if about == nil {
		if first, _ := tx.Cursor().First(); first != nil {
			return fmt.Errorf("this is another program's file: %w", core.ErrInvalid)
		}
		return nil
	}
	version := about.Get([]byte(schemaKey))
	if len(version) != 4 {
		return fmt.Errorf("this file does not tell its version: %w", core.ErrInvalid)
	}
	if v := binary.BigEndian.Uint32(version); v > schema {
		return fmt.Errorf("version %d is newer than %d: %w", v, schema, core.ErrSchema)
	}
	return nil
}

// makeDir makes dir and the directories above it, durably.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := makeDir(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

// syncDir makes the names in dir durable: a synced file without a name is lost.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" { // directories cannot be synced there
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
