package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// compactBatch is how many bytes go into one transaction of a new file: enough
// to make its commits cheap, little enough to hold in memory.
const compactBatch = 16 << 20

// CompactTo writes what the store holds now into a new file at path, without
// free pages, and makes it durable. The file must not exist, and does not
// exist afterwards if this fails. Writers go on meanwhile, and what they write
// is not in it.
func (s *Store) CompactTo(ctx context.Context, path string) error {
	if err := s.admit(ctx); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return fmt.Errorf("bolt: compact: %w", err)
	}
	if err := errors.Join(f.Close(), s.copyTo(path), syncDir(filepath.Dir(path))); err != nil {
		return errors.Join(fmt.Errorf("bolt: compact: %w", err), os.Remove(path))
	}
	return nil
}

// copyTo fills the empty file at path.
func (s *Store) copyTo(path string) error {
	if err := s.Err(); err != nil {
		return err
	}
	o := bboltOptions()
	o.NoSync = true       // once at the end is enough: until then nobody relies on the file
	o.InitialMmapSize = 0 // with a large map the file grows in large steps
	dst, err := bbolt.Open(path, fileMode, o)
	if err != nil {
		return err
	}
	return errors.Join(bbolt.Compact(dst, s.db, compactBatch), dst.Sync(), dst.Close())
}
