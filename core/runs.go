package core

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// The kinds of settlement run.
const (
	RunDaily   = "daily"
	RunMonthly = "monthly"
)

// The states of a settlement run.
const (
	runRunning = "running"
	runDone    = "done"
)

// When periods are closed by themselves.
const (
	taskSettle  = "settle"
	settleEvery = time.Minute
	settleAgain = 10 * time.Minute // how soon a day with waiting usage is looked at again
	settleOld   = 24 * time.Hour   // likewise for days that are long over
)

// StartRun promises to settle a day ("2026-11-20") or to close a month
// ("2026-11"). The run is done in the background; see SettlementRun.
func (s *Service) StartRun(ctx context.Context, r Request, kind, period string, early bool) (SettlementRun, error) {
	if err := s.checkPeriod(kind, period, early); err != nil {
		return SettlementRun{}, err
	}
	run := SettlementRun{ID: s.NewID("run"), Kind: kind, Period: period, Status: runRunning, StartedAt: s.Now()}
	load := func(ctx context.Context, tx ReadTx, id string) (SettlementRun, error) {
		return tx.SettlementRun(ctx, id)
	}
	return once(ctx, s, r, load, func(ctx context.Context, tx Tx) (SettlementRun, string, error) {
		if err := tx.PutSettlementRun(ctx, run); err != nil {
			return run, "", err
		}
		return run, run.ID, s.promise(ctx, tx, taskSettle, settleJob{Run: run.ID, Early: early})
	})
}

// checkPeriod refuses periods that are not over, unless early is allowed.
func (s *Service) checkPeriod(kind, period string, early bool) error {
	var last usage.Day
	switch kind {
	case RunDaily:
		day, err := usage.ParseDay(period)
		if err != nil {
			return Invalid("invalid_period", "period must be a day such as 2026-11-20")
		}
		last = day
	case RunMonthly:
		m, err := usage.ParseMonth(period)
		if err != nil {
			return Invalid("invalid_period", "period must be a month such as 2026-11")
		}
		from, to := m.Days()
		if !s.begun(from) { // its bill would swallow the days to come
			return Conflict("period_not_over", "%s has not begun at any site", period)
		}
		last = to - 1
	default:
		return Invalid("invalid_kind", "kind must be daily or monthly")
	}
	if early && s.Dev {
		return nil
	}
	if s.begun(last + 1) {
		return nil
	}
	return Conflict("period_not_over", "%s is not over at any site", period)
}

// begun reports whether a day has begun at any site.
func (s *Service) begun(day usage.Day) bool { return s.begunAt(day, s.Now()) }

func (s *Service) begunAt(day usage.Day, at time.Time) bool {
	return slices.ContainsFunc(s.Sites, func(site workspace.Site) bool {
		from, _ := day.Bounds(site.Zone)
		return !at.Before(from)
	})
}

// SettlementRun returns one run.
func (s *Service) SettlementRun(ctx context.Context, id string) (SettlementRun, error) {
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (SettlementRun, error) {
		r, err := tx.SettlementRun(ctx, id)
		return orNotFound(r, err, "settlement run", id)
	})
}

// SettlementRuns lists runs.
func (s *Service) SettlementRuns(ctx context.Context, p Page) (List[SettlementRun], error) {
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (List[SettlementRun], error) {
		return listed(tx.SettlementRuns(ctx, more(p)), p, func(r SettlementRun) string { return r.ID })
	})
}

// RunSettlements works on promised runs, and on ranges of large ones, until no
// other is free; replicas do so side by side. Run does this by itself.
func (s *Service) RunSettlements(ctx context.Context) error {
	for ctx.Err() == nil {
		tasks, err := s.leaseTasks(ctx, taskSettle, settleLease, 1)
		if err != nil || len(tasks) == 0 {
			return err
		}
		for _, t := range tasks {
			if err := s.settleTask(ctx, t); err != nil {
				return err
			}
		}
	}
	return ctx.Err()
}

// settleTask does one run, or a range of one. One that fails is tried again: it
// goes on where it stopped.
func (s *Service) settleTask(ctx context.Context, t Task) error {
	x := settling{Service: s, task: t}
	if err := json.Unmarshal(t.Payload, &x.job); err != nil {
		return s.putBack(ctx, t, err)
	}
	within, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	cut, err := x.do(within)
	if err != nil && !errors.Is(err, errTakenOver) {
		err = x.fail(ctx, err)
	} else if err == nil && !cut {
		err = x.finish(ctx)
	}
	if errors.Is(err, errTakenOver) {
		s.Log.Warn("settlement taken over by another replica", "task", t.ID)
		return nil
	}
	return err
}

// do settles what the task is about. It reports whether it was cut instead.
func (x *settling) do(ctx context.Context) (cut bool, err error) {
	run, err := x.SettlementRun(ctx, x.job.Run)
	if err != nil {
		return false, err
	}
	if run.Kind == RunMonthly {
		m, err := usage.ParseMonth(run.Period)
		if err != nil {
			return false, err
		}
		return false, x.closeMonth(ctx, m)
	}
	day, err := usage.ParseDay(run.Period)
	if err != nil {
		return false, err
	}
	if cut, err := x.cut(ctx, day); cut || err != nil {
		return cut, err
	}
	return false, x.settleDay(ctx, day)
}

// SettleDue settles, oldest first, the days that are over, and then closes the
// months whose day has come. What is due is state in the store: after any
// downtime it catches up. Run does this by itself. A day that another replica
// is at, or looked at lately, is left to it; a large one is shared.
func (s *Service) SettleDue(ctx context.Context) error {
	days, err := s.openDays(ctx)
	if err != nil {
		return err
	}
	for _, d := range days {
		if d.free {
			if err := s.solely(ctx, s.settlingDay(d.day), func(ctx context.Context) error { return s.settleOpen(ctx, d.day) }); err != nil {
				return err
			}
		}
		if going, err := s.helpDay(ctx, d.day); err != nil || going {
			return err // later days may depend on it
		}
		if err := s.leaveDay(ctx, d); err != nil {
			return err
		}
	}
	return s.closeDue(ctx)
}

// leaveDay frees the name of a day that is settled whole: it is not looked at
// again.
func (s *Service) leaveDay(ctx context.Context, d openDay) error {
	if !d.free {
		return nil
	}
	open, err := InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) ([]usage.Day, error) {
		return collect(tx.UsageDays(ctx, d.day, d.day+1))
	})
	if err != nil || len(open) > 0 {
		return err
	}
	_, err = s.acquire(ctx, s.settlingDay(d.day), 0)
	return err
}

// openDay is a day with open usage that is over somewhere.
type openDay struct {
	day  usage.Day
	free bool // nobody is at it or looked at it lately
}

func (s *Service) openDays(ctx context.Context) ([]openDay, error) {
	now := s.Now()
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) ([]openDay, error) {
		days, err := collect(tx.UsageDays(ctx, 0, usage.DayOf(now, time.UTC)+1))
		if err != nil {
			return nil, err
		}
		var out []openDay
		for _, day := range days {
			if !s.begunAt(day+1, now.Add(-settleGrace)) {
				continue
			}
			l, err := tx.Lease(ctx, s.settlingDay(day).name)
			if err != nil {
				return nil, err
			}
			out = append(out, openDay{day, !now.Before(l.Until)})
		}
		return out, nil
	})
}

// settlingDay is the duty to settle a day.
func (s *Service) settlingDay(day usage.Day) duty {
	d := duty{name: "settle/" + day.String(), again: settleAgain}
	if day < usage.DayOf(s.Now(), time.UTC)-2*lateDays { // nothing is reported for it any more
		d.again = settleOld
	}
	return d
}

// settleOpen settles a day, or cuts a large one into ranges that replicas share.
func (s *Service) settleOpen(ctx context.Context, day usage.Day) error {
	ends, err := s.ranges(ctx, day)
	if err != nil {
		return err
	}
	if len(ends) > 0 {
		return s.startDay(ctx, day, ends)
	}
	out, err := s.SettleDay(ctx, day, SettleOptions{})
	if err == nil && (out.Bills > 0 || out.Waiting > 0) {
		s.Log.Info("settled", "day", day.String(), "bills", out.Bills, "waiting", out.Waiting, "waits", out.Waits)
	}
	return err
}

// helpDay works on the ranges of a day that was cut, if any are free. It
// reports whether others are still at it.
func (s *Service) helpDay(ctx context.Context, day usage.Day) (going bool, err error) {
	going, err = s.dayGoing(ctx, day)
	if err != nil || !going {
		return going, err
	}
	if err := s.RunSettlements(ctx); err != nil {
		return true, err
	}
	return s.dayGoing(ctx, day)
}

// dayGoing reports whether somebody is at a day: at its ranges, at all of it, or
// about to cut it.
func (s *Service) dayGoing(ctx context.Context, day usage.Day) (bool, error) {
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (bool, error) {
		l, err := tx.Lease(ctx, s.settlingDay(day).name)
		if err != nil || atWork(l, s.Now()) {
			return true, err
		}
		run, err := tx.SettlementRun(ctx, dayRun(day))
		if errors.Is(err, ErrNotFound) {
			return false, nil
		}
		return run.Status == runRunning, err
	})
}

// BillFilter narrows a list of daily bills.
type BillFilter struct {
	Workspace string
	From, To  usage.Day // [From, To)
}

// DailyBills lists the daily bills of one workspace in a range of days.
func (s *Service) DailyBills(ctx context.Context, who Actor, f BillFilter) ([]settlement.DailyBill, error) {
	v, err := s.Workspace(ctx, who, workspace.ID(f.Workspace))
	if err != nil {
		return nil, err
	}
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) ([]settlement.DailyBill, error) {
		out := []settlement.DailyBill{}
		for day := f.From; day < f.To && len(out) < MaxPage; day++ {
			b, err := tx.DailyBill(ctx, v.ID, day)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if who.May(b.BillingAccount) {
				out = append(out, b)
			}
		}
		return out, nil
	})
}

// DailyBillsOn lists the daily bills of one day, for operators.
func (s *Service) DailyBillsOn(ctx context.Context, day usage.Day, p Page) (List[settlement.DailyBill], error) {
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (List[settlement.DailyBill], error) {
		return listed(tx.DailyBillsOn(ctx, day, more(p)), p, func(b settlement.DailyBill) string { return string(b.Workspace) })
	})
}
