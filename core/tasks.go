package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"cloudsettle/core/marketplace"
)

// How tasks are worked on.
const (
	taskPoll     = 250 * time.Millisecond // how soon a promised task is looked at
	taskLease    = time.Minute            // longer than any single task may take
	taskBatch    = 16
	taskTimeout  = 20 * time.Second
	maxBackoff   = 15 * time.Minute // Huawei refunds an order after 3 h: try often enough
	sweepEvery   = time.Minute
	nonceKept    = 10 * time.Minute // well over every marketplace's clock tolerance
	sweepAtMost  = 1000             // claims dropped in one transaction, to keep it short
	feedRestart  = 5 * time.Second
	firstBackoff = 2 * time.Second
)

// backoff returns the wait before attempt n+1.
func backoff(n int) time.Duration {
	return min(firstBackoff<<min(n-1, 20), maxBackoff)
}

// Run does what was promised until ctx is done: tasks, feeds, and keeping
// bounded what must stay bounded. It returns when all of it has stopped.
func (s *Service) Run(ctx context.Context) {
	var wg sync.WaitGroup
	every := func(d time.Duration, do func(context.Context) error) {
		wg.Go(func() { s.loop(InBackground(ctx), d, do) })
	}
	every(taskPoll, s.RunTasks)
	every(rejectFlush, s.FlushRejections)
	every(taskPoll, s.RunSettlements)
	every(settleEvery, s.SettleDue)
	every(reportEvery, s.Flush)
	every(alarmEvery, s.WatchMeters)
	every(surveyEvery, s.SurveyMeters)
	every(zeroEvery, s.SealZeros)
	every(sweepEvery, func(ctx context.Context) error {
		return s.solely(ctx, duty{name: "sweep", again: sweepEvery}, s.sweep)
	})
	for _, m := range s.Marketplaces {
		if m.Feed != nil {
			wg.Go(func() { s.feed(ctx, m) })
		}
	}
	wg.Wait()
	_ = s.FlushRejections(context.WithoutCancel(ctx))
}

func (s *Service) loop(ctx context.Context, d time.Duration, do func(context.Context) error) {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if err := do(ctx); err != nil && ctx.Err() == nil {
				s.Log.Error("background work", "error", err)
			}
		}
	}
}

// feed pulls callbacks until ctx is done, whatever fails, as long as no other
// replica does.
func (s *Service) feed(ctx context.Context, m Marketplace) {
	handle := func(ctx context.Context, cb Callback) error {
		_, err := s.Callback(ctx, m, cb)
		if err != nil && !IsRetryable(err) && refused(Outcome{}, err) {
			return nil // it will not get better; it is in the log of refused callbacks
		}
		return err
	}
	for ctx.Err() == nil {
		err := s.solely(ctx, duty{name: "feed/" + string(m.Listing.ID)}, func(ctx context.Context) error {
			return m.Feed.Run(ctx, handle)
		})
		if err != nil && ctx.Err() == nil {
			s.Log.Error("feed", "listing", m.Listing.ID, "error", err)
		}
		pause(ctx, feedRestart)
	}
}

// RunTasks works on the tasks that are due now.
func (s *Service) RunTasks(ctx context.Context) error {
	for kind, do := range map[string]func(context.Context, Task) error{
		taskComplete: s.finish,
		taskMail:     s.mail,
		taskFinal:    s.settleFinal,
	} {
		if err := s.runKind(ctx, kind, do); err != nil {
			return fmt.Errorf("tasks %s: %w", kind, err)
		}
	}
	return nil
}

func (s *Service) runKind(ctx context.Context, kind string, do func(context.Context, Task) error) error {
	tasks, err := s.leaseTasks(ctx, kind, taskLease, taskBatch)
	if err != nil {
		return err
	}
	for _, t := range tasks {
		if t.LeasedUntil.Before(s.Now().Add(taskTimeout)) {
			return nil // those before took long; others may take what is left
		}
		if err := s.work(ctx, t, do); err != nil {
			return err
		}
	}
	return nil
}

// taskDue reports whether there is a task of a kind to lease.
func (s *Service) taskDue(ctx context.Context, kind string) (bool, error) {
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (bool, error) {
		return tx.TaskDue(ctx, kind, s.Now())
	})
}

// work does one task and removes it, or puts it back for later, unless it was
// taken over meanwhile.
func (s *Service) work(ctx context.Context, t Task, do func(context.Context, Task) error) error {
	run, cancel := context.WithTimeout(ctx, taskTimeout)
	err := do(run, t)
	cancel()
	if err != nil {
		return s.putBack(ctx, t, err)
	}
	return s.Store.Update(context.WithoutCancel(ctx), func(ctx context.Context, tx Tx) error {
		_, err := tx.FinishTask(ctx, t)
		return err
	})
}

// putBack promises a task that failed again, for later.
func (s *Service) putBack(ctx context.Context, t Task, why error) error {
	t = s.postponed(t, why)
	return s.Store.Update(context.WithoutCancel(ctx), func(ctx context.Context, tx Tx) error {
		_, err := tx.PutLeased(ctx, t)
		return err
	})
}

// postponed is a task that failed as it is put back.
func (s *Service) postponed(t Task, why error) Task {
	t.Attempts++
	t.LeasedUntil = time.Time{}
	t.DueAt = s.Now().Add(backoff(t.Attempts))
	t.LastError = errorClass(why)
	return t
}

// finish completes an event that was accepted before it was complete.
func (s *Service) finish(ctx context.Context, t Task) error {
	var c completion
	if err := json.Unmarshal(t.Payload, &c); err != nil {
		return err
	}
	m, ok := s.markets[c.Event.Listing]
	if !ok {
		return fmt.Errorf("listing %q: %w", c.Event.Listing, ErrNotFound)
	}
	ev, err := s.complete(ctx, m, c.Event)
	if errors.Is(err, ErrInvalid) {
		s.Log.Error("an accepted callback cannot be completed", "callback", c.Callback, "listing", c.Event.Listing)
	}
	if err != nil {
		return err
	}
	e, err := s.CallbackEntry(ctx, c.Callback)
	if err != nil {
		return err
	}
	e.Result, e.Event = marketplace.Duplicate, &ev // unless it is applied now
	ev.Nonce = ""
	_, err = s.reapply(ctx, m, Callback{Listing: ev.Listing, ReceivedAt: e.ReceivedAt}, ev, e)
	return err
}

func (s *Service) mail(ctx context.Context, t Task) error {
	var m Mail
	if err := json.Unmarshal(t.Payload, &m); err != nil {
		return err
	}
	return s.Mailer.Send(ctx, m)
}

// sweep drops nonces that no signature can carry any more.
func (s *Service) sweep(ctx context.Context) error {
	before := NonceTime(s.Now().Add(-nonceKept))
	for id := range s.markets {
		for {
			n, err := InTx(ctx, s.Store, func(ctx context.Context, tx Tx) (int, error) {
				return tx.DropClaims(ctx, scopeNonce+string(id), before, sweepAtMost)
			})
			if err != nil {
				return err
			}
			if n < sweepAtMost {
				break
			}
		}
	}
	return nil
}

// NonceTime is how adapters write the time that a nonce begins with, so that
// old nonces sort before new ones: milliseconds, 13 digits until the year 2286.
func NonceTime(t time.Time) string { return fmt.Sprintf("%013d", t.UnixMilli()) }
