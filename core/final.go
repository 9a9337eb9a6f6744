package core

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"cloudsettle/core/marketplace"
	"cloudsettle/core/money"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// taskFinal bills what workspaces used up to the end of their subscription,
// while the marketplace still takes it: some take it for an hour.
const taskFinal = "final"

// finalJob is the payload of such a task.
type finalJob struct {
	Subscription marketplace.SubscriptionID `json:"subscription"`
	At           time.Time                  `json:"at"` // when it ended
}

// finalDays is how many days may still be unbilled at an end: the running one,
// and the one before it while its grace lasts.
const finalDays usage.Day = 2

// settleFinal bills the open days of all workspaces that settled through a
// subscription when it ended, and reports what they come to. Usage that they
// report for those days afterwards is late usage of their next settlement.
func (s *Service) settleFinal(ctx context.Context, t Task) error {
	var job finalJob
	if err := json.Unmarshal(t.Payload, &job); err != nil {
		return err
	}
	for back := finalDays - 1; back >= 0; back-- { // each on top of the bill before it
		batch, err := InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) ([]settled, error) {
			return s.prepareFinal(ctx, tx, job, back)
		})
		if err != nil {
			return err
		}
		if _, _, err := s.commitApart(ctx, batch); err != nil {
			return err
		}
	}
	err := s.Store.Update(ctx, func(ctx context.Context, tx Tx) error {
		return s.promiseSeal(ctx, tx, job.Subscription, job.At, s.Now())
	})
	if err != nil {
		return err
	}
	return s.Flush(ctx)
}

// prepareFinal rates the day that was some days before the end.
func (s *Service) prepareFinal(ctx context.Context, tx ReadTx, job finalJob, back usage.Day) ([]settled, error) {
	bindings, err := collect(tx.BindingsTo(ctx, job.Subscription))
	if err != nil {
		return nil, err
	}
	left, err := collect(tx.BindingsLeft(ctx, job.Subscription))
	if err != nil {
		return nil, err
	}
	prices, err := loadTariffs(ctx, tx)
	if err != nil {
		return nil, err
	}
	var out []settled
	for _, b := range append(bindings, left...) {
		w, err := tx.Workspace(ctx, b.Workspace)
		if err != nil {
			return nil, err
		}
		x, state, err := s.finalOf(ctx, tx, prices, w, job.At, back)
		if errors.Is(err, money.ErrOverflow) {
			s.tooLarge(w.ID, usage.DayOf(job.At, s.sites[w.Site].Zone)-back, err)
			continue
		}
		if err != nil {
			return nil, err
		}
		if state == rateDone {
			out = append(out, x)
		}
	}
	return out, nil
}

// finalOf rates a day of one workspace up to at, if it is open.
func (s *Service) finalOf(ctx context.Context, tx ReadTx, t *tariffs, w workspace.Workspace, at time.Time, back usage.Day) (settled, rateState, error) {
	site, ok := s.sites[w.Site]
	if !ok {
		return settled{}, rateSkip, nil
	}
	day := usage.DayOf(at, site.Zone) - back
	rec, err := tx.UsageOf(ctx, w.ID, day)
	if errors.Is(err, ErrNotFound) {
		return settled{}, rateSkip, nil
	}
	if err != nil {
		return settled{}, rateSkip, err
	}
	p := preparation{Service: s, tx: tx, tariffs: t, day: day, early: true, until: at}
	return p.rate(ctx, rec)
}
