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

// When periods are closed by themselves.
const (
	taskSettle  = "settle"
	settleLease = 10 * time.Minute // a run that is still going is safe to run beside
	settleEvery = time.Minute
	settleAgain = 10 * time.Minute // how soon a day with waiting usage is looked at again
	settleOld   = 24 * time.Hour   // likewise for days that are long over
)

// settleJob is the payload of a task that runs a settlement.
type settleJob struct {
	Run   string `json:"run"`
	Early bool   `json:"early,omitempty"`
}

// StartRun promises to settle a day ("2026-11-20") or to close a month
// ("2026-11"). The run is done in the background; see SettlementRun.
func (s *Service) StartRun(ctx context.Context, r Request, kind, period string, early bool) (SettlementRun, error) {
	if err := s.checkPeriod(kind, period, early); err != nil {
		return SettlementRun{}, err
	}
	run := SettlementRun{ID: s.NewID("run"), Kind: kind, Period: period, Status: "running", StartedAt: s.Now()}
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
func (s *Service) begun(day usage.Day) bool {
	return slices.ContainsFunc(s.Sites, func(site workspace.Site) bool {
		from, _ := day.Bounds(site.Zone)
		return !s.Now().Before(from)
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

// RunSettlements works on promised runs: one, if any is due. Run does this by
// itself.
func (s *Service) RunSettlements(ctx context.Context) error {
	if due, err := s.taskDue(ctx, taskSettle); err != nil || !due {
		return err
	}
	now := s.Now()
	tasks, err := InTx(ctx, s.Store, func(ctx context.Context, tx Tx) ([]Task, error) {
		return tx.LeaseTasks(ctx, taskSettle, now, now.Add(settleLease), 1)
	})
	if err != nil {
		return err
	}
	for _, t := range tasks {
		if err := s.work(ctx, t, settleLease, s.settleTask); err != nil {
			return err
		}
	}
	return nil
}

// settleTask does one run and records how it ended. A run that fails is tried
// again: it goes on where it stopped.
func (s *Service) settleTask(ctx context.Context, t Task) error {
	var job settleJob
	if err := json.Unmarshal(t.Payload, &job); err != nil {
		return err
	}
	run, err := s.SettlementRun(ctx, job.Run)
	if err != nil {
		return err
	}
	done, err := s.doRun(ctx, run, job.Early)
	run.Bills, run.Waiting, run.Waits = done.Bills, done.Waiting, done.Waits
	run.Status, run.Error, run.FinishedAt = "done", "", s.Now()
	if err != nil {
		run.Status, run.Error, run.FinishedAt = "running", errorClass(err), time.Time{}
		s.Log.Error("settlement", "run", run.ID, "period", run.Period, "error", err)
	}
	put := s.Store.Update(context.WithoutCancel(ctx), func(ctx context.Context, tx Tx) error {
		return tx.PutSettlementRun(ctx, run)
	})
	if err == nil {
		err = put
	}
	return err
}

func (s *Service) doRun(ctx context.Context, run SettlementRun, early bool) (DayOutcome, error) {
	if run.Kind == RunMonthly {
		m, err := usage.ParseMonth(run.Period)
		if err != nil {
			return DayOutcome{}, err
		}
		made, err := s.CloseMonth(ctx, m)
		return DayOutcome{Bills: made}, err
	}
	day, err := usage.ParseDay(run.Period)
	if err != nil {
		return DayOutcome{}, err
	}
	return s.SettleDay(ctx, day, SettleOptions{Early: early && s.Dev})
}

// SettleDue settles, oldest first, the days that are over, and then closes the
// months whose day has come. What is due is state in the store: after any
// downtime it catches up. Run does this by itself; only one may run at a time.
func (s *Service) SettleDue(ctx context.Context) error {
	now := s.Now()
	today := usage.DayOf(now, time.UTC)
	days, err := InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) ([]usage.Day, error) {
		return collect(tx.UsageDays(ctx, 0, today+1))
	})
	if err != nil {
		return err
	}
	for _, day := range days {
		again := settleAgain
		if day < today-2*lateDays { // nothing is reported for it any more
			again = settleOld
		}
		if now.Before(s.lookedAt[day].Add(again)) {
			continue
		}
		out, err := s.SettleDay(ctx, day, SettleOptions{})
		if err != nil {
			return err
		}
		if out.Bills > 0 || out.Waiting > 0 {
			s.Log.Info("settled", "day", day.String(), "bills", out.Bills, "waiting", out.Waiting, "waits", out.Waits)
		}
		s.lookedAt[day] = now
	}
	return s.closeDue(ctx)
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
