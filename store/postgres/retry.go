package postgres

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// How often a transaction runs again.
const (
	// maxContended bounds the runs of a call that others are in the way of, and
	// freeRuns are those before it waits for its turn. Two that keep getting in
	// each other's way are apart after a few; those in turn meet only calls that
	// run for the first time, and other processes.
	maxContended = 64
	freeRuns     = 2
	// maxRefused is how often a write is refused before that is the answer. What
	// was read may have been outdated once; to be outdated again is bad luck.
	maxRefused = 3
	// patience is how long a call tries to reach a server that is away. One that
	// crashed is back in seconds; a marketplace waits ten for its answer.
	patience = 5 * time.Second
	// A pause is random, below the first pause doubled so often.
	firstPause   = time.Millisecond
	maxDoublings = 4 // among calls that are in each other's way
	awayDoubling = 7 // while the server is away
)

// repeat runs fn in a transaction until it is committed, or cannot be.
func (s *Store) repeat(ctx context.Context, begin string, fn func(context.Context, *txn) error) error {
	var tries attempts
	defer tries.leave(s)
	for {
		f, err := s.attempt(ctx, begin, fn)
		if f == nil {
			return err
		}
		if f.kind == homeless {
			f = s.partitions.missed(ctx, s, f)
		}
		if !tries.again(ctx, s, f) {
			return f.public(ctx)
		}
	}
}

// attempt runs fn once. A failure is not fn's own error, and may be repaired.
func (s *Store) attempt(ctx context.Context, begin string, fn func(context.Context, *txn) error) (*failure, error) {
	t := &txn{reader: reader{s: s, begin: begin, writes: true, names: map[string][]key{}, held: map[key]bool{}, known: map[key]*lookup{}}}
	defer t.end()
	err := fn(&txContext{ctx, s}, t)
	if err == nil && t.broken == nil {
		err = t.release()
	}
	t.over = true
	switch {
	case t.broken != nil:
		return t.broken, nil
	case err != nil:
		var f *failure
		if errors.As(err, &f) { // told before anything was sent
			return f, nil
		}
		return nil, err
	case ctx.Err() != nil:
		return nil, errContext(ctx)
	}
	return t.commit(ctx), nil
}

// attempts counts the runs of one call.
type attempts struct {
	contended, refused int
	lostSince          time.Time // since when no answer came
	inTurn             bool
}

// again reports whether a call runs again after f, and waits until it may.
func (a *attempts) again(ctx context.Context, s *Store, f *failure) bool {
	var pause int
	if f.kind != lost {
		a.lostSince = time.Time{} // the server answers
	}
	switch f.kind {
	case contended, homeless:
		a.contended++
		if a.contended >= maxContended {
			return false
		}
		pause = min(a.contended, maxDoublings)
		if a.contended >= freeRuns && !a.inTurn {
			return a.wait(ctx, s)
		}
	case refused:
		a.refused++
		if a.refused >= maxRefused {
			return false
		}
		pause = a.refused
	case lost:
		if a.lostSince.IsZero() {
			a.lostSince = time.Now()
		}
		if time.Since(a.lostSince) > patience {
			return false
		}
		pause = awayDoubling
	default:
		return false
	}
	return sleep(ctx, pauseAfter(pause))
}

// wait waits for the call's turn among those that were in each other's way.
func (a *attempts) wait(ctx context.Context, s *Store) bool {
	select {
	case s.contended <- struct{}{}:
		a.inTurn = true
		return true
	case <-ctx.Done():
		return false
	}
}

// leave lets the next call have its turn.
func (a *attempts) leave(s *Store) {
	if a.inTurn {
		<-s.contended
	}
}

// pauseAfter returns a random pause before the n-th repeat.
func pauseAfter(n int) time.Duration {
	return time.Duration(rand.Int64N(int64(firstPause << n))) // #nosec -- to spread load, not to hide anything
}

// sleep pauses; false means that ctx was done before.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
