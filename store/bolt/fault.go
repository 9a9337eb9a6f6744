package bolt

import (
	"errors"
	"fmt"
	"syscall"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"cloudsettle/core"
)

// commit commits a group and decides what a failure means.
//
// bbolt writes and syncs the new pages, then writes and syncs one of two meta
// pages, which makes the new pages the state. A failure before the meta page
// is written leaves the old state, in the file and in memory. After that
// nobody knows which of the two the disk holds, while this process already
// sees the new one: going on could build on what a crash takes away, and
// reuse pages that the state on the disk still needs. So only a lack of space
// that left the old state in place is survived; anything else ends the store,
// and the next start finds one of the two states whole.
func (s *Store) commit(tx *bbolt.Tx) error {
	id := tx.ID()
	err := s.tryCommit(tx)
	if err == nil {
		return nil
	}
	if isFull(err) && s.newest() < id {
		return fmt.Errorf("bolt: commit: %w: %w", core.ErrUnavailable, err)
	}
	return s.fail(fmt.Errorf("bolt: commit %d: %w", id, err))
}

// tryCommit is Commit with its panics, which are bbolt's word for damage, as
// errors. After a panic bbolt's locks stay taken.
func (s *Store) tryCommit(tx *bbolt.Tx) (err error) {
	defer func() {
		if v := recover(); v != nil {
			s.stuck.Store(true)
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return tx.Commit()
}

// isFull reports whether err is a lack of space, which may pass.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) ||
		errors.Is(err, berrors.ErrMaxSizeReached)
}

// newest returns the number of the transaction whose state readers see.
func (s *Store) newest() int {
	tx, err := s.db.Begin(false)
	if err != nil {
		return int(^uint(0) >> 1) // unknown, so not older than anything
	}
	defer tx.Rollback()
	return tx.ID()
}

// fail stops the store for good: this call and all that follow are told why.
// It returns the error they get.
func (s *Store) fail(why error) error {
	s.failure.Do(func() {
		s.cause = fmt.Errorf("%w: %w", core.ErrUnavailable, why)
		close(s.failed)
	})
	s.queue.close(s.cause)
	return s.cause
}

// Failed is closed when the disk failed in a way after which nothing more can
// be promised. The program should exit: the next start recovers.
func (s *Store) Failed() <-chan struct{} { return s.failed }

// Err says why the store failed, or returns nil.
func (s *Store) Err() error {
	select {
	case <-s.failed:
		return s.cause
	default:
		return nil
	}
}
