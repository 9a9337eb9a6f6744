package core

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
)

// How what is due becomes records.
const (
	// sealBatch is how many subscriptions share a transaction: a commit costs
	// more than what is in it, and callbacks wait for one at most.
	sealBatch = 64
	// sealAgain is how soon sealing is tried again where no period is free now,
	// or a window closed. Periods come free with the hour; the final window of a
	// subscription is an hour, so minutes count.
	sealAgain = time.Minute
)

// sealDue makes the records of everything that is due.
func (s *Service) sealDue(ctx context.Context) error {
	for ctx.Err() == nil {
		tasks, err := s.leaseTasks(ctx, taskSeal, taskLease, sealBatch)
		if err != nil || len(tasks) == 0 {
			return err
		}
		if err := s.sealTasks(ctx, tasks); err == nil {
			continue
		}
		for _, t := range tasks { // one of them is at fault: find it
			if err := s.sealTasks(ctx, []Task{t}); err != nil {
				s.Log.Error("sealing", "task", t.ID, "error", err)
				if err := s.putBack(ctx, t, err); err != nil {
					return err
				}
			}
		}
	}
	return ctx.Err()
}

// sealTasks does tasks and removes them in one transaction. A charge that came
// meanwhile promised sealing anew: that one is not ours, and stays.
func (s *Service) sealTasks(ctx context.Context, tasks []Task) error {
	return s.Store.Update(ctx, func(ctx context.Context, tx Tx) error {
		for _, t := range tasks {
			held, err := tx.FinishTask(ctx, t)
			if err != nil {
				return err
			}
			if !held {
				continue
			}
			again, err := s.seal(ctx, tx, t)
			if err != nil {
				return err
			}
			if again.IsZero() {
				continue
			}
			t.DueAt = again
			if err := tx.PutTask(ctx, t); err != nil {
				return err
			}
		}
		return nil
	})
}

// seal makes a record of what a subscription owes in whole units. It returns
// when to try again, or zero if nothing is left to do.
func (s *Service) seal(ctx context.Context, tx Tx, t Task) (again time.Time, err error) {
	var p sealing
	if err := json.Unmarshal(t.Payload, &p); err != nil {
		return again, err
	}
	acc, err := tx.MeterAccount(ctx, p.Subscription)
	if err != nil {
		return again, err
	}
	sub, err := tx.Subscription(ctx, p.Subscription)
	if err != nil {
		return again, err
	}
	m := s.markets[sub.Listing].Meter
	if m == nil || acc.Hold != "" {
		return again, nil
	}
	units, err := acc.Due(m.Terms().MaxUnits)
	if err != nil || units == 0 {
		return again, err
	}
	if s.tooLate(m, &sub, p) {
		return again, s.stopOver(ctx, tx, acc, &sub, units)
	}
	sealed, err := s.sealUnits(ctx, tx, m, acc, sub, units, p)
	switch {
	case err != nil:
		return again, err
	case !sealed:
		return s.Now().Add(sealAgain), nil
	case units == m.Terms().MaxUnits:
		return s.Now(), nil // there may be more
	}
	return again, nil
}

// finalUntil is until when a marketplace takes usage of a subscription that
// ended, or zero while it goes on.
func finalUntil(m Meter, sub *marketplace.Subscription) time.Time {
	stopped, within := sub.StoppedAt(), m.Terms().FinalWithin
	if stopped.IsZero() || within <= 0 {
		return time.Time{}
	}
	return stopped.Add(within)
}

// tooLate reports whether the final window is over. Some marketplaces would
// say yes to such a record and not bill it.
func (s *Service) tooLate(m Meter, sub *marketplace.Subscription, p sealing) bool {
	until := finalUntil(m, sub)
	return !p.Forced && !until.IsZero() && !s.Now().Before(until)
}

// stopOver holds back what is due after the final window, and tells people.
func (s *Service) stopOver(ctx context.Context, tx Tx, acc metering.Account, sub *marketplace.Subscription, units int64) error {
	if err := tx.PutMeterAccount(ctx, acc.Stop(metering.HoldOver, s.Now())); err != nil {
		return err
	}
	return s.promiseAlerts(ctx, tx, []alert{{
		Listing: sub.Listing, Subscription: sub.ID, Trouble: metering.TroubleHeld, Units: units,
		Detail: "the subscription ended, and the marketplace takes no more usage of it",
	}})
}

// sealUnits makes a record under a free period. It reports false if there is
// none now.
func (s *Service) sealUnits(ctx context.Context, tx Tx, m Meter, acc metering.Account, sub marketplace.Subscription, units int64, p sealing) (bool, error) {
	terms, now, until := m.Terms(), s.Now(), p.Until
	if at := sub.StoppedAt(); !at.IsZero() && at.Before(until) {
		until = at
	}
	var failed error
	period, ok := m.Period(until, now, func(start time.Time) bool {
		taken, err := periodTaken(ctx, tx, &sub, terms, start)
		failed = errors.Join(failed, err)
		return taken
	})
	if failed != nil || !ok {
		return false, failed
	}
	if final := finalUntil(m, &sub); !p.Forced && !final.IsZero() && final.Before(period.Deadline) {
		period.Deadline = final
	}
	if err := tx.PutMeterAccount(ctx, acc.Seal(units)); err != nil {
		return false, err
	}
	return true, s.putSealed(ctx, tx, acc, &sub, terms.Dimension, period, units)
}

// periodTaken reports whether a period cannot be used: it has a record, or it
// is from before the purchase, of which marketplaces take nothing.
func periodTaken(ctx context.Context, tx ReadTx, sub *marketplace.Subscription, terms MeterTerms, start time.Time) (bool, error) {
	first := sub.CreatedAt
	if !terms.WholePeriods {
		first = first.Truncate(time.Hour)
	}
	if start.Before(first) {
		return true, nil
	}
	return tx.MeterPeriodTaken(ctx, sub.ID, terms.Dimension, start)
}

// putSealed stores a new record with everything that is sent of it.
func (s *Service) putSealed(ctx context.Context, tx Tx, acc metering.Account, sub *marketplace.Subscription, dimension string, p MeterPeriod, units int64) error {
	buyer, err := tx.CloudAccount(ctx, sub.Account)
	if err != nil {
		return err
	}
	return tx.PutMeterRecord(ctx, metering.Record{
		ID: metering.RecordID(s.NewID("mr")), Listing: sub.Listing, Subscription: sub.ID, Dimension: dimension,
		PeriodStart: p.Start, PeriodEnd: p.End, Deadline: p.Deadline, Units: units, UnitAmount: acc.UnitAmount,
		Currency: acc.Currency, SealedAt: s.Now(), Status: metering.Sealed,
		Subject: sub.Subject, Account: buyer.ProviderID, Attributes: sub.Details(),
	})
}
