// Package bolt keeps everything in one file on the local disk, with bbolt.
//
// There is one writer. Calls of Update queue for it; those that wait while it
// commits share the next commit, so that one fsync serves many. Each call
// writes to a buffer of its own that joins the group when the call succeeds:
// one that fails or panics drops out and its neighbours do not notice.
//
// Readers see the last commit and never wait for the writer.
package bolt

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"go.etcd.io/bbolt"

	"cloudsettle/core"
)

// Store implements core.Store.
type Store struct {
	db    *bbolt.DB
	queue *queue
	idle  chan struct{} // closed when the writer has ended
	// opening tells this opening of the file from others.
	opening string

	failed  chan struct{}
	failure sync.Once
	cause   error // set before failed is closed
	stuck   atomic.Bool

	closing sync.Once
	closed  error
}

var _ core.Store = (*Store)(nil)

// errClosed is what calls get after Close.
var errClosed = fmt.Errorf("bolt: the store is closed: %w", core.ErrUnavailable)

// View implements core.Store. A transaction of the same store inside fn is
// ErrNested: a reader that waits for another can keep the writer from growing
// its map of the file, and that one the other reader.
func (s *Store) View(ctx context.Context, fn func(context.Context, core.ReadTx) error) error {
	if err := s.admit(ctx); err != nil {
		return err
	}
	tx, err := s.begin(false)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	r := &reader{opened: &opened{tx: tx}, opening: s.opening}
	defer func() { r.over = true }()
	return fn(&txContext{ctx, s}, r)
}

// Update implements core.Store. fn runs once, in the goroutine of the writer; a
// panic in it rolls back and goes on in the caller. ErrUnavailable comes at
// once if too many calls wait, and for every call of a group whose commit
// failed. Once ctx is done a call that has not begun is dropped, and one that
// runs is rolled back; a commit that has begun is not stopped.
func (s *Store) Update(ctx context.Context, fn func(context.Context, core.Tx) error) error {
	return s.write(ctx, func(t *txn) error { return fn(&txContext{ctx, s}, t) })
}

// write queues run for the writer and waits for the commit.
func (s *Store) write(ctx context.Context, run func(*txn) error) error {
	if err := s.admit(ctx); err != nil {
		return err
	}
	c := &call{ctx: ctx, run: run, done: make(chan struct{})}
	if err := s.queue.add(c); err != nil {
		return err
	}
	return c.await()
}

// admit refuses calls that cannot begin.
func (s *Store) admit(ctx context.Context) error {
	if ctx.Err() != nil {
		return errContext(ctx)
	}
	if ctx.Value(txKey{s}) != nil {
		return fmt.Errorf("bolt: %w", core.ErrNested)
	}
	return nil
}

// Backup writes a copy of the store as it is now to w and returns its bytes.
// The copy is a store file. Writers go on meanwhile; the file grows by what
// they change, because the copied pages must stay.
func (s *Store) Backup(ctx context.Context, w io.Writer) (int64, error) {
	if err := s.admit(ctx); err != nil {
		return 0, err
	}
	tx, err := s.begin(false)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback()
	n, err := tx.WriteTo(&stoppable{ctx, w})
	if err != nil { // bbolt does not wrap all that the writer returns
		return n, fmt.Errorf("bolt: backup: %w", cmp.Or(ctx.Err(), err))
	}
	return n, nil
}

// stoppable is a writer that ends with its context.
type stoppable struct {
	ctx context.Context
	w   io.Writer
}

// Write implements io.Writer.
func (s *stoppable) Write(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.w.Write(p)
}

// Close implements core.Store. Calls that wait already are carried out, later
// ones are ErrUnavailable. It may be called again and then does nothing.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.queue.close(errClosed)
		<-s.idle
		if s.stuck.Load() {
			s.closed = fmt.Errorf("bolt: close: the file stays open: %w", s.cause)
			return
		}
		if err := s.db.Close(); err != nil {
			s.closed = fmt.Errorf("bolt: close: %w", err)
		}
	})
	return s.closed
}
