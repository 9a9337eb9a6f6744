package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloudsettle/core"
)

// aLease is a lease for a minute.
func aLease(holder string, from time.Time) core.Lease {
	return core.Lease{Holder: holder, From: from, Until: from.Add(time.Minute)}
}

var errNotHeld = errors.New("the lease is not held")

func mustHold(held bool, err error) error {
	if err == nil && !held {
		return errNotHeld
	}
	return err
}

// takeTask leases the one task that is due.
func takeTask(t *testing.T, s core.Store, l core.Lease) core.Task {
	t.Helper()
	tasks, err := core.InTx(t.Context(), s, func(ctx context.Context, tx core.Tx) ([]core.Task, error) {
		return tx.LeaseTasks(ctx, "notify", l, 2)
	})
	if err != nil || len(tasks) != 1 || tasks[0].Holder != l.Holder {
		t.Fatalf("LeaseTasks(%s) = %v, %v, want one task with that holder", l.Holder, tasks, err)
	}
	return tasks[0]
}

// wantLost: what the former holder of a task does changes nothing.
func wantLost(t *testing.T, s core.Store, was core.Task) {
	t.Helper()
	all := func(ctx context.Context, tx core.ReadTx) ([]core.Task, error) {
		return collect(tx.Tasks(ctx, core.Page{}))
	}
	before := read(t, s, all)
	was.DueAt, was.LeasedUntil, was.Attempts, was.Payload = epoch.Add(time.Hour), time.Time{}, 9, []byte("lost")
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		put, err := tx.PutLeased(ctx, was)
		done, errDone := tx.FinishTask(ctx, was)
		if put || done {
			t.Errorf("under %s: PutLeased = %t, FinishTask = %t, want false", was.Holder, put, done)
		}
		return firstOf(err, errDone)
	})
	if after := read(t, s, all); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("the tasks are %v, want %v", after, before)
	}
}

// lostLease: a holder whose lease was taken over, whose task was promised anew,
// or is done, changes nothing any more, also if the task is made again.
func lostLease(t *testing.T, s core.Store) {
	put := func(ctx context.Context, tx core.Tx) error { return tx.PutTask(ctx, aTask("task_1", "notify", epoch)) }
	update(t, s, put)
	first := takeTask(t, s, aLease("lease_1", epoch))
	second := takeTask(t, s, aLease("lease_2", epoch.Add(time.Minute)))
	wantLost(t, s, first)
	update(t, s, put) // promised anew
	wantLost(t, s, second)
	third := takeTask(t, s, aLease("lease_3", epoch))
	wantLost(t, s, second)
	update(t, s, func(ctx context.Context, tx core.Tx) error { return mustHold(tx.FinishTask(ctx, third)) })
	for _, was := range []core.Task{first, second, third} {
		wantLost(t, s, was)
	}
	update(t, s, put)
	wantLost(t, s, third)
	wantLost(t, s, aTask("task_1", "notify", epoch)) // that nobody leased
	takeTask(t, s, aLease("lease_4", epoch))
	for _, was := range []core.Task{first, second, third} {
		wantLost(t, s, was)
	}
}

// renewedLease: a lease lasts as long as it is renewed, and until the task is
// put back.
func renewedLease(t *testing.T, s core.Store) {
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		return tx.PutTask(ctx, aTask("task_1", "notify", epoch))
	})
	task := takeTask(t, s, aLease("lease_1", epoch))
	hold := func(task core.Task) {
		t.Helper()
		update(t, s, func(ctx context.Context, tx core.Tx) error { return mustHold(tx.PutLeased(ctx, task)) })
	}
	due := func(at time.Time) bool {
		return read(t, s, func(ctx context.Context, tx core.ReadTx) (bool, error) { return tx.TaskDue(ctx, "notify", at) })
	}
	task.LeasedUntil, task.Payload = epoch.Add(2*time.Minute), []byte("half")
	hold(task)
	if due(epoch.Add(time.Minute)) || !due(epoch.Add(2*time.Minute)) {
		t.Error("the renewed lease does not end when it should")
	}
	task.LeasedUntil, task.DueAt = time.Time{}, epoch.Add(time.Second)
	hold(task)
	if due(epoch) || !due(epoch.Add(time.Second)) {
		t.Error("the task that was put back is not free when it is due")
	}
	if got := takeTask(t, s, aLease("lease_2", epoch.Add(time.Second))); string(got.Payload) != "half" {
		t.Errorf("the payload is %q, want what was put back", got.Payload)
	}
}

// namesAreLeased: a name has one holder, until the lease ends, is given back or
// is taken over.
func namesAreLeased(t *testing.T, s core.Store) {
	for i, c := range []struct {
		name, holder string
		from, until  time.Duration
		want         bool
	}{
		{"sweep", "a", 0, 60, true},
		{"sweep", "b", 30, 90, false},
		{"close", "b", 30, 90, true},
		{"sweep", "a", 40, 100, true}, // renewed
		{"sweep", "b", 99, 160, false},
		{"sweep", "b", 100, 160, true}, // ran out
		{"sweep", "a", 120, 180, false},
		{"sweep", "a", 120, 120, false}, // not its own to free
		{"sweep", "b", 130, 130, true},  // given back
		{"sweep", "a", 130, 200, true},
	} {
		l := core.Lease{Holder: c.holder, From: epoch.Add(c.from * time.Second), Until: epoch.Add(c.until * time.Second)}
		got, err := core.InTx(t.Context(), s, func(ctx context.Context, tx core.Tx) (bool, error) {
			return tx.AcquireLease(ctx, c.name, l)
		})
		if got != c.want || err != nil {
			t.Errorf("%d: AcquireLease(%s, %s) = %t, %v, want %t", i, c.name, c.holder, got, err, c.want)
		}
	}
	view(t, s, func(ctx context.Context, tx core.ReadTx) error {
		l, err := tx.Lease(ctx, "sweep")
		if l.Holder != "a" || !l.From.Equal(epoch.Add(130*time.Second)) || !l.Until.Equal(epoch.Add(200*time.Second)) {
			t.Errorf("Lease(sweep) = %+v, want what was taken last", l)
		}
		none, errNone := tx.Lease(ctx, "nobody's")
		if none != (core.Lease{}) {
			t.Errorf("Lease of a name that nobody took = %+v, want none", none)
		}
		return firstOf(err, errNone)
	})
}

// oneGetsTheName: of many who want a name at once one gets it.
func oneGetsTheName(t *testing.T, s core.Store) {
	var got atomic.Int32
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			ok, err := core.InTx(t.Context(), s, func(ctx context.Context, tx core.Tx) (bool, error) {
				return tx.AcquireLease(ctx, "sweep", aLease(fmt.Sprint("replica_", i), epoch))
			})
			if err != nil {
				t.Error(err)
			}
			if ok {
				got.Add(1)
			}
		})
	}
	if wg.Wait(); got.Load() != 1 {
		t.Errorf("%d got the name, want 1", got.Load())
	}
}

// unbilledRanges: a day is cut so that each range has size open workspaces, and
// the last one what is left, at least one.
func unbilledRanges(t *testing.T, s core.Store) {
	for i := range 7 {
		id := fmt.Sprint("ws_", i)
		for _, d := range []int{0, 1} {
			if _, err := s.AppendUsage(t.Context(), on(today, of(id, sample("logs", 1+d, "1")))); err != nil {
				t.Fatal(err)
			}
		}
	}
	want := func(size int, want ...string) {
		t.Helper()
		got := read(t, s, func(ctx context.Context, tx core.ReadTx) ([]string, error) {
			return tx.UnbilledRanges(ctx, today, size)
		})
		if !slices.Equal(got, want) {
			t.Errorf("UnbilledRanges(%d) = %q, want %q", size, got, want)
		}
	}
	want(100)
	want(7)
	want(6, "ws_5")
	want(3, "ws_2", "ws_5")
	want(2, "ws_1", "ws_3", "ws_5")
	if err := seal(t, s, "ws_1", today, 2); err != nil {
		t.Fatal(err)
	}
	want(6)
	want(3, "ws_3")
	want(2, "ws_2", "ws_4")
	err := s.View(t.Context(), func(ctx context.Context, tx core.ReadTx) error {
		if none, err := tx.UnbilledRanges(ctx, today+1, 2); len(none) > 0 || err != nil {
			t.Errorf("UnbilledRanges of a day without usage = %q, %v, want none", none, err)
		}
		_, err := tx.UnbilledRanges(ctx, today, 0)
		return err
	})
	wantErr(t, "UnbilledRanges(0)", err, core.ErrInvalid)
}
