package core

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
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
// subscription when it ended, and promises that what they come to is reported. Usage that they
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
		if _, _, err := s.commitBills(ctx, batch, nil); err != nil {
			return err
		}
	}
	return s.Store.Update(ctx, func(ctx context.Context, tx Tx) error {
		if err := s.hurry(ctx, tx, job.Subscription); err != nil {
			return err
		}
		return s.promiseSeal(ctx, tx, job.Subscription, job.At, s.Now())
	})
}

// hurry gives the records of a subscription that ended the deadline of its
// final window, and lets them be sent at once: they were sealed when there was
// more time.
func (s *Service) hurry(ctx context.Context, tx Tx, id marketplace.SubscriptionID) error {
	sub, err := tx.Subscription(ctx, id)
	if err != nil {
		return err
	}
	m := s.markets[sub.Listing].Meter
	if m == nil {
		return nil
	}
	until := finalUntil(m, &sub)
	if until.IsZero() || !s.Now().Before(until) {
		return nil
	}
	if acc, err := tx.MeterAccount(ctx, id); err != nil || acc.InFlight == 0 {
		return err // spares a look at the records of all others
	}
	pending, err := collect(tx.MeterPending(ctx))
	if err != nil {
		return err
	}
	for _, r := range pending {
		if r.Subscription != id || !until.Before(r.Deadline) {
			continue
		}
		r.Deadline = until
		if r.Status == metering.Sealed {
			r.RetryAt = s.Now()
		}
		if err := tx.PutMeterRecord(ctx, r); err != nil {
			return err
		}
	}
	return nil
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
	prices, err := s.tariffs(ctx, tx)
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
		if err != nil {
			return nil, err
		}
		if state.done {
			out = append(out, x)
		}
	}
	return out, nil
}

// finalOf rates a day of one workspace up to at, if it is open.
func (s *Service) finalOf(ctx context.Context, tx ReadTx, t *tariffs, w workspace.Workspace, at time.Time, back usage.Day) (settled, rateState, error) {
	site, ok := s.sites[w.Site]
	if !ok {
		return settled{}, rateState{}, nil
	}
	day := usage.DayOf(at, site.Zone) - back
	rec, err := tx.UsageOf(ctx, w.ID, day)
	if errors.Is(err, ErrNotFound) || err == nil && rec.Sealed {
		return settled{}, rateState{}, nil
	}
	if err != nil {
		return settled{}, rateState{}, err
	}
	p := preparation{Service: s, tx: tx, tariffs: t, day: day, early: true, until: at}
	return p.rate(ctx, Unbilled{Usage: rec, Workspace: w})
}
