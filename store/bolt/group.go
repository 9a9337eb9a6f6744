package bolt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"cloudsettle/core"
)

// maxGroup is how many calls share a commit at most. Beyond that the fsync is
// a small part of the cost and only latency grows.
const maxGroup = 256

// maxWaiting bounds the calls that wait for the writer. At the slowest disk we
// know of (100 commits a second) this is well below a second of work, so a
// caller is told to come back before its marketplace would give up.
const maxWaiting = 4096

// call is one transaction on its way to the writer.
type call struct {
	ctx   context.Context
	run   func(*txn) error
	state atomic.Uint32
	done  chan struct{}

	// The writer sets these before it closes done.
	err      error
	panicked any
	exited   bool
}

// The states of a call: whoever leaves waiting first decides.
const (
	waiting uint32 = iota
	running
	abandoned
)

// await returns when the writer is done with c, or when ctx is done before the
// writer began. A panic in the transaction goes on in the caller.
func (c *call) await() error {
	select {
	case <-c.done:
	case <-c.ctx.Done():
		if c.state.CompareAndSwap(waiting, abandoned) {
			return errContext(c.ctx)
		}
		<-c.done
	}
	switch {
	case c.panicked != nil:
		panic(c.panicked)
	case c.exited:
		runtime.Goexit()
	}
	return c.err
}

// errContext is the error of a call whose context ended first.
func errContext(ctx context.Context) error {
	return fmt.Errorf("bolt: nothing was written: %w: %w", core.ErrUnavailable, context.Cause(ctx))
}

// queue holds the calls that wait for the writer. Those that nobody waits for
// have a lane of their own: the writer takes from both in turn, so that whoever
// waits does so for one of them at most, and they come to their turn as well.
type queue struct {
	mu     sync.Mutex
	filled sync.Cond // calls came, or the queue was closed
	lanes  [2][]*call
	turn   int   // the lane that is next if both have calls
	closed error // why no more calls are taken
}

// The lanes of a queue.
const (
	awaited = iota
	background
)

func newQueue() *queue {
	q := &queue{}
	q.filled.L = &q.mu
	return q
}

// add hands a call to the writer.
func (q *queue) add(c *call) error {
	lane := awaited
	if core.IsBackground(c.ctx) {
		lane = background
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed != nil:
		return q.closed
	case len(q.lanes[lane]) >= maxWaiting:
		return fmt.Errorf("bolt: %d calls are waiting: %w", maxWaiting, core.ErrUnavailable)
	}
	q.lanes[lane] = append(q.lanes[lane], c)
	q.filled.Signal()
	return nil
}

// take waits for calls and appends up to maxGroup of one lane to dst. It adds
// none when the queue is closed and empty.
func (q *queue) take(dst []*call) []*call {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.lanes[awaited])+len(q.lanes[background]) == 0 && q.closed == nil {
		q.filled.Wait()
	}
	if len(q.lanes[q.turn]) == 0 {
		q.turn = 1 - q.turn
	}
	calls := q.lanes[q.turn]
	n := min(len(calls), maxGroup)
	dst = append(dst, calls[:n]...)
	rest := copy(calls, calls[n:])
	clear(calls[rest:])
	q.lanes[q.turn] = calls[:rest]
	q.turn = 1 - q.turn
	return dst
}

// close makes add fail with why, unless it does so already.
func (q *queue) close(why error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed == nil {
		q.closed = why
	}
	q.filled.Signal()
}

// writer runs calls one after the other and commits them in groups: whatever
// arrives during one commit shares the next. There is no timer to tune.
type writer struct {
	s       *Store
	group   []*call
	next    int // the call of group to run next
	tx      opened
	dirty   bool  // something is to be committed
	spoiled error // why nothing of the group may be
	own     overlay
	arena   arena
}

// loop works until the queue is closed and empty.
func (w *writer) loop() {
	finished := false
	defer func() {
		if !finished {
			go w.loop() // a transaction function ended this goroutine; go on after it
			return
		}
		close(w.s.idle)
	}()
	for w.turn() {
	}
	finished = true
}

// turn runs and commits one group; false means that there will be no more.
func (w *writer) turn() bool {
	if w.tx.tx == nil {
		runtime.Gosched() // let those that were just answered queue again: larger groups
		w.group = w.s.queue.take(w.group[:0])
		if len(w.group) == 0 {
			return false
		}
		tx, err := w.s.begin(true)
		if err != nil {
			w.answer(err)
			return true
		}
		w.tx, w.next = opened{tx: tx}, 0
	}
	for w.next < len(w.group) {
		c := w.group[w.next]
		w.next++
		w.run(c)
	}
	err := w.commit()
	w.tx = opened{}
	w.arena.reset()
	w.answer(err)
	return true
}

// run runs one call and adds its writes to the group if it succeeds.
func (w *writer) run(c *call) {
	if !c.state.CompareAndSwap(waiting, running) {
		return
	}
	t := &txn{reader: reader{opened: &w.tx, own: &w.own, opening: w.s.opening}, arena: &w.arena}
	returned := false
	defer func() {
		t.over = true
		w.own.reset()
		if returned {
			return
		}
		if c.panicked = recover(); c.panicked == nil {
			c.exited = true
		}
	}()
	c.err = c.run(t)
	if c.err == nil && c.ctx.Err() != nil {
		c.err = errContext(c.ctx)
	}
	if c.err == nil {
		w.join(t)
	}
	returned = true
}

// join adds the writes of a call to the group. If bbolt does not take them,
// which put and key make impossible, some may be there and others not: then
// the whole group must go.
func (w *writer) join(t *txn) {
	if len(w.own.ops) == 0 && len(t.usage) == 0 {
		return
	}
	before := w.spoiled
	w.dirty, w.spoiled = true, errTorn // until all of it is written
	if err := cmp.Or(w.own.flush(&w.tx), t.flushUsage()); err != nil {
		w.spoiled = fmt.Errorf("%w: %w", errTorn, err)
		return
	}
	w.spoiled = before
}

// errTorn is why a group is given up of which a call is written only in part.
var errTorn = fmt.Errorf("bolt: a call could not be written: %w", core.ErrUnavailable)

// commit makes the group durable.
func (w *writer) commit() error {
	dirty, spoiled := w.dirty, w.spoiled
	w.dirty, w.spoiled = false, nil
	if !dirty || spoiled != nil {
		return errors.Join(spoiled, w.tx.tx.Rollback())
	}
	return w.s.commit(w.tx.tx)
}

// answer tells every caller of the group. Nobody hears anything before the
// commit: even an error may rest on what a neighbour wrote. After a commit
// that failed, err is everybody's answer.
func (w *writer) answer(err error) {
	for i, c := range w.group {
		if err != nil {
			c.err = err
		}
		close(c.done)
		w.group[i] = nil
	}
}

// begin opens a transaction of bbolt.
func (s *Store) begin(writable bool) (*bbolt.Tx, error) {
	if err := s.Err(); err != nil {
		return nil, err
	}
	tx, err := s.db.Begin(writable)
	if errors.Is(err, berrors.ErrInvalidMapping) { // a map that could not be enlarged is gone
		return nil, s.fail(err)
	}
	if err != nil {
		return nil, fmt.Errorf("bolt: begin: %w: %w", core.ErrUnavailable, err)
	}
	return tx, nil
}
