package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
)

// taskSeal turns what a subscription owes into a metering record.
const taskSeal = "seal"

// sealing is the payload of such a task.
type sealing struct {
	Subscription marketplace.SubscriptionID `json:"subscription"`
	Until        time.Time                  `json:"until"` // the end of what was charged
}

// sealLater is how long after a missing period sealing is tried again.
const sealLater = 10 * time.Minute

// openMeterAccount takes the unit from the marketplace's terms. A listing
// without metering only adds up what is owed.
func (s *Service) openMeterAccount(ctx context.Context, tx ReadTx, acc *metering.Account, id marketplace.SubscriptionID) error {
	sub, err := tx.Subscription(ctx, id)
	if err != nil {
		return err
	}
	acc.Subscription = id
	if m := s.markets[sub.Listing].Meter; m != nil {
		acc.UnitAmount = m.Terms().UnitAmount
	}
	return nil
}

// promiseSeal has one task for each subscription, however often it is charged.
func (s *Service) promiseSeal(ctx context.Context, tx Tx, id marketplace.SubscriptionID, until, due time.Time) error {
	t, err := s.sealTask(id, until, due)
	if err != nil {
		return err
	}
	return tx.PutTask(ctx, t)
}

func (s *Service) sealTask(id marketplace.SubscriptionID, until, due time.Time) (Task, error) {
	payload, err := json.Marshal(sealing{Subscription: id, Until: until})
	return Task{ID: "task_seal_" + string(id), Kind: taskSeal, DueAt: due, CreatedAt: s.Now(), Payload: payload}, err
}

// seal makes the record of what a subscription owes in whole units, and removes
// the task: charges of another transaction promise again.
func (s *Service) seal(ctx context.Context, t Task) error {
	var p sealing
	if err := json.Unmarshal(t.Payload, &p); err != nil {
		return err
	}
	id := metering.RecordID(s.NewID("mr"))
	err := s.Store.Update(ctx, func(ctx context.Context, tx Tx) error {
		if err := tx.DeleteTask(ctx, t.ID); err != nil {
			return err
		}
		acc, err := tx.MeterAccount(ctx, p.Subscription)
		if err != nil {
			return err
		}
		sub, err := tx.Subscription(ctx, p.Subscription)
		if err != nil {
			return err
		}
		m := s.markets[sub.Listing].Meter
		if m == nil {
			return nil
		}
		units, err := acc.Due(m.Terms().MaxUnits)
		switch {
		case err != nil || units == 0:
			return err
		case acc.InFlight > 0 && m.Terms().SameSubscription:
			return errNoPeriod // one record at a time
		}
		if at := sub.StoppedAt(); !at.IsZero() && at.Before(p.Until) {
			p.Until = at
		}
		return s.sealUnits(ctx, tx, m, acc, sub, metering.Record{ID: id, Units: units}, p.Until)
	})
	if err != nil {
		return err
	}
	return errRemoved
}

// errNoPeriod says that there is no period to report under now.
var errNoPeriod = fmt.Errorf("no period is open for metering now: %w", ErrUnavailable)

func (s *Service) sealUnits(ctx context.Context, tx Tx, m Meter, acc metering.Account, sub marketplace.Subscription, r metering.Record, until time.Time) error {
	terms, now := m.Terms(), s.Now()
	var failed error
	period, ok := m.Period(until, now, func(start time.Time) bool {
		if start.Before(sub.CreatedAt.Truncate(time.Hour)) {
			return true // marketplaces take nothing from before the purchase
		}
		taken, err := tx.MeterPeriodTaken(ctx, sub.ID, terms.Dimension, start)
		failed = errors.Join(failed, err)
		return taken
	})
	if failed != nil {
		return failed
	}
	if !ok {
		return errNoPeriod
	}
	buyer, err := tx.CloudAccount(ctx, sub.Account)
	if err != nil {
		return err
	}
	r.Listing, r.Subscription, r.Dimension = sub.Listing, sub.ID, terms.Dimension
	r.PeriodStart, r.PeriodEnd, r.Deadline = period.Start, period.End, period.Deadline
	r.UnitAmount, r.Currency, r.SealedAt, r.Status = acc.UnitAmount, acc.Currency, now, metering.Sealed
	r.Subject, r.Account, r.Attributes = sub.Subject, buyer.ProviderID, sub.Details()
	if err := tx.PutMeterAccount(ctx, acc.Seal(r.Units)); err != nil {
		return err
	}
	return tx.PutMeterRecord(ctx, r)
}

// MeterRecords lists metering records, those of one subscription if id is not
// empty.
func (s *Service) MeterRecords(ctx context.Context, who Actor, id marketplace.SubscriptionID, p Page) (List[metering.Record], error) {
	if id != "" {
		if _, err := s.Subscription(ctx, who, id); err != nil {
			return List[metering.Record]{}, err
		}
	} else if who.Role == RoleAccount {
		return List[metering.Record]{}, Invalid("subscription_id_required", "name the subscription whose records to list")
	}
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (List[metering.Record], error) {
		return listed(tx.MeterRecords(ctx, id, more(p)), p, func(r metering.Record) string { return string(r.ID) })
	})
}
