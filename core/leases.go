package core

import (
	"context"
	"errors"
	"sync"
	"time"
)

// How replicas share what only one of them may do at a time.
const (
	// leaseTerm is how soon another replica takes over from one that died.
	leaseTerm = time.Minute
	// leaseRenew leaves three more tries before a lease runs out.
	leaseRenew = leaseTerm / 4
)

// errTakenOver is what ends work whose lease ran out and that another replica
// took over. What it has committed stays, and is not done again.
var errTakenOver = errors.New("another replica has taken this over")

// duty is a piece of work that one replica does at a time.
type duty struct {
	name string
	// apart is how long after it another replica must not begin, also if the one
	// that did it died.
	apart time.Duration
	// again is how long after it was done no other replica needs to do it.
	again time.Duration
	// inTurn makes callers of one process wait for each other; otherwise one
	// leaves it to the other.
	inTurn bool
}

// duties are those that this process is at, each with what is closed after it.
type duties struct {
	mu   sync.Mutex
	busy map[string]chan struct{}
}

// begin takes a duty. If another caller in this process is at it, it reports
// false, or waits if it is to, as long as ctx lasts.
func (d *duties) begin(ctx context.Context, name string, wait bool) bool {
	for {
		busy := d.take(name)
		if busy == nil {
			return true
		}
		if !wait {
			return false
		}
		select {
		case <-busy:
		case <-ctx.Done():
			return false
		}
	}
}

// take takes a duty, or returns what is closed when it is free.
func (d *duties) take(name string) (busy chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if busy := d.busy[name]; busy != nil {
		return busy
	}
	if d.busy == nil {
		d.busy = map[string]chan struct{}{}
	}
	d.busy[name] = make(chan struct{})
	return nil
}

func (d *duties) end(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.busy[name])
	delete(d.busy, name)
}

// solely runs do under the lease of a duty's name, or does nothing if another
// replica has it, or another caller in this one who is not waited for. The context of do ends when
// the lease is lost. If the process dies the lease runs out by itself.
func (s *Service) solely(ctx context.Context, d duty, do func(context.Context) error) error {
	if !s.duties.begin(ctx, d.name, d.inTurn) {
		return ctx.Err()
	}
	defer s.duties.end(d.name)
	if free, err := s.dutyFree(ctx, d); err != nil || !free {
		return err
	}
	if got, err := s.acquire(ctx, d, leaseTerm+d.apart); err != nil || !got {
		return err
	}
	err := s.renewing(ctx, d, do)
	rest := d.apart
	if err == nil {
		rest = max(rest, d.again)
	}
	if _, failed := s.acquire(context.WithoutCancel(ctx), d, rest); failed != nil {
		s.Log.Warn("a lease is not given back, it runs out", "name", d.name, "error", failed)
	}
	if errors.Is(err, errTakenOver) {
		s.Log.Warn("taken over by another replica", "name", d.name)
		return nil
	}
	return err
}

// dutyFree looks before anything is written: a replica that waits for another
// to die commits nothing.
func (s *Service) dutyFree(ctx context.Context, d duty) (bool, error) {
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (bool, error) {
		l, err := tx.Lease(ctx, d.name)
		return l.Holder == s.Replica || !s.Now().Before(l.Until), err
	})
}

// acquire takes, renews or, for no time at all, frees a duty.
func (s *Service) acquire(ctx context.Context, d duty, term time.Duration) (bool, error) {
	now := s.Now()
	return InTx(ctx, s.Store, func(ctx context.Context, tx Tx) (bool, error) {
		return tx.AcquireLease(ctx, d.name, Lease{Holder: s.Replica, From: now, Until: now.Add(term)})
	})
}

// atWork tells the lease of a duty that is being done from one that only rests
// after it, which lasts longer. It is for duties without a time apart.
func atWork(l Lease, now time.Time) bool {
	return now.Before(l.Until) && l.Until.Sub(l.From) <= leaseTerm
}

// renewing runs do and renews the lease meanwhile.
func (s *Service) renewing(ctx context.Context, d duty, do func(context.Context) error) error {
	held, lose := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for renewed := time.Now(); ; { // how long this took, not what time it is
			if pause(held, leaseRenew); held.Err() != nil {
				return
			}
			try, cancel := context.WithTimeout(held, leaseRenew)
			got, err := s.acquire(try, d, leaseTerm+d.apart)
			cancel()
			switch {
			case err == nil && got:
				renewed = time.Now()
			case err == nil || time.Since(renewed) > leaseTerm-leaseRenew:
				lose(errTakenOver)
				return
			}
		}
	})
	err := do(held)
	if lost := context.Cause(held); err != nil && errors.Is(lost, errTakenOver) {
		err = lost
	}
	lose(nil)
	wg.Wait()
	return err
}

// stillMine fails in a transaction if another replica has taken a duty over.
func (s *Service) stillMine(ctx context.Context, tx ReadTx, d duty) error {
	l, err := tx.Lease(ctx, d.name)
	if err == nil && l.Holder != s.Replica {
		return errTakenOver
	}
	return err
}

// leaseTasks takes tasks of a kind that are due. It looks before anything is
// leased: an idle program commits nothing.
func (s *Service) leaseTasks(ctx context.Context, kind string, term time.Duration, limit int) ([]Task, error) {
	if due, err := s.taskDue(ctx, kind); err != nil || !due {
		return nil, err
	}
	l := s.newLease(term)
	return InTx(ctx, s.Store, func(ctx context.Context, tx Tx) ([]Task, error) {
		return tx.LeaseTasks(ctx, kind, l, limit)
	})
}

// newLease is a lease of tasks from now on.
func (s *Service) newLease(term time.Duration) Lease {
	now := s.Now()
	return Lease{Holder: s.NewID("lease"), From: now, Until: now.Add(term)}
}
