// Package postgres keeps everything in a PostgreSQL database, or in another
// engine that speaks its protocol and has serializable transactions.
//
// Update is one serializable transaction, so a closure sees what it would see
// as the only writer; what the engine cannot order runs again. Writes wait in
// the transaction and travel with the next read or with the commit, and the
// beginning travels with the first statement: the number of round trips is the
// number of reads that need an answer, and one.
//
// What the engine finds wrong with a write, such as a name that is taken, is
// therefore told by a later call of the same transaction, or by Update.
package postgres

import (
	"context"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5/pgxpool"

	"cloudsettle/core"
)

// Store implements core.Store.
type Store struct {
	pool       *pgxpool.Pool
	partitions partitions
	// contended is held by a call that lost to others more than once. Such
	// calls go one after the other, so that a row that all want does not make
	// them all run in vain.
	contended chan struct{}

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
	stop    context.CancelFunc // ends the sweeper
	swept   chan struct{}      // closed when it has ended
}

var _ core.Store = (*Store)(nil)

// errClosed is what calls get after Close.
var errClosed = fmt.Errorf("postgres: the store is closed: %w", core.ErrUnavailable)

// View implements core.Store. A transaction of the same store inside fn is
// ErrNested: it would take a second connection while it holds one, and enough
// of those wait for each other for ever.
func (s *Store) View(ctx context.Context, fn func(context.Context, core.ReadTx) error) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	r := &reader{s: s, begin: beginView}
	defer r.end()
	err = fn(&txContext{ctx, s}, r)
	if r.broken != nil {
		return r.broken.public(ctx)
	}
	return err
}

// Update implements core.Store. A panic in fn rolls back and goes on. Once ctx
// is done what runs is rolled back; a commit that was sent is not stopped.
func (s *Store) Update(ctx context.Context, fn func(context.Context, core.Tx) error) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	return s.repeat(ctx, beginUpdate, func(ctx context.Context, t *txn) error { return fn(ctx, t) })
}

// enter admits a call, which leaves when it is done.
func (s *Store) enter(ctx context.Context) (leave func(), err error) {
	if ctx.Err() != nil {
		return nil, errContext(ctx)
	}
	if ctx.Value(txKey{s}) != nil {
		return nil, fmt.Errorf("postgres: %w", core.ErrNested)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errClosed
	}
	s.running.Add(1)
	return s.running.Done, nil
}

// errContext is the error of a call whose context ended before its commit.
func errContext(ctx context.Context) error {
	return fmt.Errorf("postgres: nothing was written: %w: %w", core.ErrUnavailable, context.Cause(ctx))
}

// Close implements core.Store. It may be called again and then does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	was := s.closed
	s.closed = true
	s.mu.Unlock()
	s.running.Wait()
	if !was {
		s.stop()
		<-s.swept
		s.pool.Close()
	}
	return nil
}

// txContext marks the context of a transaction, so that one inside another is
// an error.
type txContext struct {
	context.Context
	s *Store
}

// txKey asks a context whether it belongs to a transaction of a store.
type txKey struct{ s *Store }

// Value answers txKey and passes everything else on.
func (c *txContext) Value(key any) any {
	if k, ok := key.(txKey); ok && k.s == c.s {
		return true
	}
	return c.Context.Value(key)
}
