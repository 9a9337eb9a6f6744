package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"cloudsettle/core/usage"
)

// How replicas share a settlement.
const (
	// settleRange is how many open workspaces of a day are settled as one task: a
	// second or two of work, beside which leasing and finishing it is little.
	settleRange = 8 * settleChunk
	// settleLease is how soon another replica takes over a range from one that
	// died. Every transaction with bills renews it.
	settleLease = time.Minute
	// settleWithin is how long one task may take; it goes on where it stopped.
	settleWithin = 10 * time.Minute
)

// settleJob is the payload of a task that settles a day, a range of it, or a
// month, and how far it has come.
type settleJob struct {
	Run   string `json:"run"`
	Early bool   `json:"early,omitempty"`
	// Range says that the day was cut, and that this is the part of it after one
	// workspace and up to and with another; to the end if that is "".
	Range bool   `json:"range,omitempty"`
	After string `json:"after,omitempty"`
	Upto  string `json:"upto,omitempty"`
	// What was done, the waits of workspaces up to After only.
	Bills   int    `json:"bills,omitempty"`
	Waiting int    `json:"waiting,omitempty"`
	Waits   []Wait `json:"waits,omitempty"`
}

// settling is such a task under a lease.
type settling struct {
	*Service
	task Task
	job  settleJob
}

// noter is told in a transaction how many bills that makes. What it fails with
// rolls them back. A nil one takes no notes.
type noter func(ctx context.Context, tx Tx, made int) error

func (n noter) do(ctx context.Context, tx Tx, made int) error {
	if n == nil {
		return nil
	}
	return n(ctx, tx, made)
}

// after is n on top of what earlier transactions made.
func (n noter) after(made int) noter {
	if n == nil || made == 0 {
		return n
	}
	return func(ctx context.Context, tx Tx, more int) error { return n(ctx, tx, made+more) }
}

// note stores how far the task has come and renews its lease, in the
// transaction that makes bills: each is counted once, whoever counts, and one
// that has lost its lease makes none.
func (x *settling) note(ctx context.Context, tx Tx, made int) error {
	job := x.job
	job.Bills += made
	t, err := x.with(job)
	if err != nil {
		return err
	}
	return held(tx.PutLeased(ctx, t))
}

// held turns a lease that was lost into an error.
func held(held bool, err error) error {
	if err == nil && !held {
		return errTakenOver
	}
	return err
}

// with is the task with another payload, leased from now on.
func (x *settling) with(job settleJob) (Task, error) {
	t := x.task
	t.LeasedUntil = x.Now().Add(settleLease)
	var err error
	t.Payload, err = json.Marshal(job)
	return t, err
}

// settleDay bills the range of a day, or all of it.
func (x *settling) settleDay(ctx context.Context, day usage.Day) error {
	ctx = InBackground(ctx)
	r := dayRange{day, x.job.After, x.job.Upto}
	return x.rated(ctx, r, SettleOptions{Early: x.job.Early && x.Dev}, func(c chunk) error {
		made, waits, err := x.commitBills(ctx, c.batch, x.note)
		x.job.Bills += made
		if err != nil {
			return err
		}
		out := DayOutcome{Waiting: x.job.Waiting, Waits: x.job.Waits}
		out.wait(c.waits...)
		out.wait(waits...)
		x.job.Waiting, x.job.Waits = out.Waiting, out.Waits
		if c.last != "" {
			x.job.After = c.last
		}
		if made > 0 {
			x.task.LeasedUntil = x.Now().Add(settleLease)
		}
		return x.renew(ctx)
	})
}

// renew renews the lease if no bills did for half of it.
func (x *settling) renew(ctx context.Context) error {
	if x.Now().Before(x.task.LeasedUntil.Add(-settleLease / 2)) {
		return nil
	}
	err := x.Store.Update(ctx, func(ctx context.Context, tx Tx) error { return x.note(ctx, tx, 0) })
	if err == nil {
		x.task.LeasedUntil = x.Now().Add(settleLease)
	}
	return err
}

// closeMonth makes the bills of a month.
func (x *settling) closeMonth(ctx context.Context, m usage.Month) error {
	made, err := x.Service.closeMonth(ctx, m, x.note)
	x.job.Bills += made
	return err
}

// finish removes the task and adds what it came to to its run, which is done
// when all its ranges are.
func (x *settling) finish(ctx context.Context) error {
	return x.Store.Update(context.WithoutCancel(ctx), func(ctx context.Context, tx Tx) error {
		if err := held(tx.FinishTask(ctx, x.task)); err != nil {
			return err
		}
		run, err := tx.SettlementRun(ctx, x.job.Run)
		if err != nil {
			return err
		}
		run.add(x.job)
		if x.job.Range {
			run.Ranges--
		}
		if run.Ranges == 0 {
			run.Status, run.Error, run.FinishedAt = runDone, "", x.Now()
		}
		return tx.PutSettlementRun(ctx, run)
	})
}

func (r *SettlementRun) add(job settleJob) {
	sum := DayOutcome{Waits: r.Waits}
	sum.wait(job.Waits...)
	r.Bills, r.Waiting, r.Waits = r.Bills+job.Bills, r.Waiting+job.Waiting, sum.Waits
}

// fail puts the task back as far as it has come, and says why in its run.
func (x *settling) fail(ctx context.Context, why error) error {
	x.Log.Error("settlement", "run", x.job.Run, "error", why)
	t, err := x.with(x.job)
	if err != nil {
		return err
	}
	t = x.postponed(t, why)
	return x.Store.Update(context.WithoutCancel(ctx), func(ctx context.Context, tx Tx) error {
		if err := held(tx.PutLeased(ctx, t)); err != nil {
			return err
		}
		run, err := tx.SettlementRun(ctx, x.job.Run)
		if err != nil {
			return err
		}
		run.Error = errorClass(why)
		return tx.PutSettlementRun(ctx, run)
	})
}

// cut puts a task for each range of a large day in the place of the one for
// all of it. It reports false for a day that is one range.
func (x *settling) cut(ctx context.Context, day usage.Day) (bool, error) {
	if x.job.Range {
		return false, nil
	}
	ends, err := x.ranges(ctx, day)
	if err != nil || len(ends) == 0 {
		return false, err
	}
	return true, x.Store.Update(ctx, func(ctx context.Context, tx Tx) error {
		if err := held(tx.FinishTask(ctx, x.task)); err != nil {
			return err
		}
		run, err := tx.SettlementRun(ctx, x.job.Run)
		if err != nil {
			return err
		}
		run.add(settleJob{Bills: x.job.Bills}) // what waits is found again
		return x.putRanges(ctx, tx, run, ends, x.job.Early)
	})
}

// ranges returns where the open workspaces of a day are cut for others to
// share; nowhere if there is nobody to share them with.
func (s *Service) ranges(ctx context.Context, day usage.Day) ([]string, error) {
	if !s.Shared {
		return nil, nil
	}
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) ([]string, error) {
		return tx.UnbilledRanges(ctx, day, s.rangeOf)
	})
}

// putRanges stores a run that was cut with a task for each of its ranges. Their
// names follow from the run's.
func (s *Service) putRanges(ctx context.Context, tx Tx, run SettlementRun, ends []string, early bool) error {
	now := s.Now()
	run.Ranges = len(ends) + 1
	tasks := make([]Task, run.Ranges)
	after := ""
	for i := range tasks {
		job := settleJob{Run: run.ID, Early: early, Range: true, After: after}
		if i < len(ends) {
			job.Upto = ends[i]
			after = ends[i]
		}
		payload, err := json.Marshal(job)
		if err != nil {
			return err
		}
		tasks[i] = Task{
			ID: fmt.Sprintf("task_%s_%05d", run.ID, i), Kind: taskSettle, DueAt: now, CreatedAt: now, Payload: payload,
		}
	}
	if err := tx.PutSettlementRun(ctx, run); err != nil {
		return err
	}
	return tx.PutTask(ctx, tasks...)
}

// dayRun is the name of the run that settles a large day by itself.
func dayRun(day usage.Day) string { return "run_" + day.String() }

// startDay begins such a run, unless one is going on: whoever comes first.
func (s *Service) startDay(ctx context.Context, day usage.Day, ends []string) error {
	return s.Store.Update(ctx, func(ctx context.Context, tx Tx) error {
		run, err := tx.SettlementRun(ctx, dayRun(day))
		if err != nil && !errors.Is(err, ErrNotFound) || run.Status == runRunning {
			return err
		}
		return s.putRanges(ctx, tx, SettlementRun{
			ID: dayRun(day), Rev: run.Rev, Kind: RunDaily, Period: day.String(), Status: runRunning, StartedAt: s.Now(),
		}, ends, false)
	})
}
