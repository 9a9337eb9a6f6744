package bolt

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"

	"cloudsettle/core"
)

// held is a store whose writer waits inside a transaction, so that what is
// queued meanwhile shares the next commits.
type held struct {
	*Store
	release chan struct{}
	first   chan error
}

func hold(t *testing.T) *held {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	h := &held{s, make(chan struct{}), make(chan error, 1)}
	inside := make(chan struct{})
	go func() {
		h.first <- s.Update(context.Background(), func(context.Context, core.Tx) error {
			close(inside)
			<-h.release
			return nil
		})
	}()
	<-inside
	return h
}

// queueUp starts calls in order and returns their results.
func (h *held) queueUp(ctx context.Context, fns ...func(context.Context, core.Tx) error) []chan error {
	results := make([]chan error, len(fns))
	for i, fn := range fns {
		results[i] = make(chan error, 1)
		before := h.waiting()
		go func() {
			defer func() {
				if v := recover(); v != nil {
					results[i] <- fmt.Errorf("panic: %v", v)
				}
			}()
			results[i] <- h.Update(ctx, fn)
		}()
		for h.waiting() == before { // until it stands in the queue
			runtime.Gosched()
		}
	}
	return results
}

// waiting returns how many calls stand in the queue.
func (h *held) waiting() int {
	h.queue.mu.Lock()
	defer h.queue.mu.Unlock()
	return len(h.queue.lanes[awaited])
}

// put returns a transaction that stores a setting.
func put(name string) func(context.Context, core.Tx) error {
	return func(ctx context.Context, tx core.Tx) error { return tx.PutSetting(ctx, name, "there") }
}

// stored reports whether a setting is there.
func (s *Store) stored(t *testing.T, name string) bool {
	t.Helper()
	_, err := core.InView(t.Context(), core.Store(s), func(ctx context.Context, tx core.ReadTx) (string, error) {
		return tx.Setting(ctx, name)
	})
	return err == nil
}

// TestGroupSharesCommit: what queues during one commit shares the next, and
// those that fail or panic drop out of it alone, having seen the others.
func TestGroupSharesCommit(t *testing.T) {
	t.Parallel()
	errOwn := errors.New("own")
	h := hold(t)
	before := h.newest()
	runs := 0
	results := h.queueUp(t.Context(), put("a"),
		func(ctx context.Context, tx core.Tx) error { return errors.Join(put("failed")(ctx, tx), errOwn) },
		func(ctx context.Context, tx core.Tx) error {
			_ = put("panicked")(ctx, tx)
			panic("call")
		},
		func(ctx context.Context, tx core.Tx) error {
			runs++
			for name, want := range map[string]bool{"a": true, "failed": false, "panicked": false} {
				if _, err := tx.Setting(ctx, name); (err == nil) != want {
					return fmt.Errorf("the setting %q in the same group: %w", name, err)
				}
			}
			return put("b")(ctx, tx)
		})
	close(h.release)
	for i, want := range []string{"<nil>", "own", "panic: call", "<nil>"} {
		if got := fmt.Sprint(<-results[i]); got != want {
			t.Errorf("call %d = %s, want %s", i, got, want)
		}
	}
	if got := h.newest() - before; got != 1 {
		t.Errorf("%d commits for the group, want 1", got)
	}
	for name, want := range map[string]bool{"a": true, "b": true, "failed": false, "panicked": false} {
		if got := h.stored(t, name); got != want {
			t.Errorf("%q stored: %t, want %t", name, got, want)
		}
	}
	if runs != 1 {
		t.Errorf("the last call ran %d times, want once", runs)
	}
}

// TestGroupIsBounded: more calls than a group holds take another commit.
func TestGroupIsBounded(t *testing.T) {
	t.Parallel()
	h := hold(t)
	before := h.newest()
	var fns []func(context.Context, core.Tx) error
	for i := range maxGroup + 1 {
		fns = append(fns, put(fmt.Sprint(i)))
	}
	results := h.queueUp(t.Context(), fns...)
	close(h.release)
	for i := range results {
		if err := <-results[i]; err != nil {
			t.Errorf("call %d = %v", i, err)
		}
	}
	if got := h.newest() - before; got != 2 {
		t.Errorf("%d commits for %d calls, want 2", got, len(fns))
	}
}

// TestReadsNeedNoCommit: a group that wrote nothing costs no sync.
func TestReadsNeedNoCommit(t *testing.T) {
	t.Parallel()
	h := hold(t)
	before := h.newest()
	close(h.release)
	if err := <-h.first; err != nil || h.newest() != before {
		t.Errorf("an empty Update = %v after %d commits, want none", err, h.newest()-before)
	}
}

// TestQueueIsBounded: a call that finds too many waiting is told at once.
func TestQueueIsBounded(t *testing.T) {
	t.Parallel()
	h := hold(t)
	calls := make([]*call, maxWaiting)
	for i := range calls {
		calls[i] = &call{ctx: t.Context(), run: func(*txn) error { return nil }, done: make(chan struct{})}
		if err := h.queue.add(calls[i]); err != nil {
			t.Fatalf("call %d of %d = %v", i, maxWaiting, err)
		}
	}
	if err := h.Update(t.Context(), put("a")); !errors.Is(err, core.ErrUnavailable) {
		t.Errorf("Update() with %d waiting = %v, want ErrUnavailable", maxWaiting, err)
	}
	close(h.release)
	for i := range calls {
		if err := calls[i].await(); err != nil {
			t.Errorf("call %d = %v", i, err)
		}
	}
	if err := h.Update(t.Context(), put("a")); err != nil {
		t.Errorf("Update() afterwards = %v, want nil", err)
	}
}

// TestAbandonedCallDoesNotRun: a caller whose context ends while it waits
// leaves at once, and its transaction never runs.
func TestAbandonedCallDoesNotRun(t *testing.T) {
	t.Parallel()
	h := hold(t)
	ctx, cancel := context.WithCancel(t.Context())
	results := h.queueUp(ctx, put("abandoned"))
	cancel()
	err := <-results[0] // before the writer goes on
	if !errors.Is(err, context.Canceled) || !errors.Is(err, core.ErrUnavailable) {
		t.Errorf("Update() = %v, want Canceled and ErrUnavailable", err)
	}
	close(h.release)
	if err := h.Update(t.Context(), put("after")); err != nil {
		t.Errorf("Update() = %v", err)
	}
	if h.stored(t, "abandoned") {
		t.Error("the abandoned call was carried out")
	}
}

// TestCloseFinishesWhatWaits: calls that wait when the store is closed are
// carried out.
func TestCloseFinishesWhatWaits(t *testing.T) {
	t.Parallel()
	h := hold(t)
	results := h.queueUp(t.Context(), put("a"), put("b"))
	closed := make(chan error, 1)
	go func() { closed <- h.Close() }()
	close(h.release)
	for i := range results {
		if err := <-results[i]; err != nil {
			t.Errorf("call %d = %v, want nil", i, err)
		}
	}
	if err := <-closed; err != nil {
		t.Errorf("Close() = %v", err)
	}
}

// TestFailedGroupAnswersAll: after a commit that failed nobody is told
// anything that rests on it, not even an error of their own.
func TestFailedGroupAnswersAll(t *testing.T) {
	t.Parallel()
	h := hold(t)
	taken := errors.New("taken")
	results := h.queueUp(t.Context(), put("a"), func(ctx context.Context, tx core.Tx) error {
		if _, err := tx.Setting(ctx, "a"); err == nil {
			return taken
		}
		return nil
	}, func(ctx context.Context, tx core.Tx) error {
		tx.(*txn).usage = []usagePut{{month: 1, key: make([]byte, 1<<16)}} // no key for bbolt
		return nil
	})
	close(h.release)
	for i := range results {
		if err := <-results[i]; !errors.Is(err, core.ErrUnavailable) || errors.Is(err, taken) {
			t.Errorf("call %d of a group that failed = %v, want only ErrUnavailable", i, err)
		}
	}
	if h.stored(t, "a") {
		t.Error("part of the group is stored")
	}
	if err := h.Update(t.Context(), put("b")); err != nil {
		t.Errorf("Update() afterwards = %v, want nil", err)
	}
}

// TestLanesTakeTurns: whoever is waited for goes between those that nobody
// waits for, and neither lane keeps the other from its turn.
func TestLanesTakeTurns(t *testing.T) {
	t.Parallel()
	q := newQueue()
	add := func(ctx context.Context, n int) {
		for range n {
			if err := q.add(&call{ctx: ctx}); err != nil {
				t.Fatal(err)
			}
		}
	}
	add(core.InBackground(t.Context()), maxGroup+1)
	add(t.Context(), 2*maxGroup)
	for i, want := range []struct {
		background bool
		n          int
	}{{false, maxGroup}, {true, maxGroup}, {false, maxGroup}, {true, 1}} {
		group := q.take(nil)
		if len(group) != want.n || core.IsBackground(group[0].ctx) != want.background {
			t.Errorf("group %d: %d calls, background %t, want %+v", i, len(group), core.IsBackground(group[0].ctx), want)
		}
	}
}
