package core

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
	"cloudsettle/core/settlement"
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

// chargeCloud adds what a bill charges through a cloud account to what its
// subscription owes, and promises that it is reported.
func (s *Service) chargeCloud(ctx context.Context, tx Tx, b settlement.DailyBill, end time.Time) error {
	if b.Cloud == 0 {
		return nil
	}
	id := b.Settlement.Subscription
	acc, err := tx.MeterAccount(ctx, id)
	if err != nil {
		return err
	}
	if acc.UnitAmount == 0 {
		if err := s.openMeterAccount(ctx, tx, &acc, id); err != nil {
			return err
		}
	}
	acc.Currency = b.Currency
	if acc, err = acc.Charge(b.Cloud); err != nil {
		return err
	}
	if err := tx.PutMeterAccount(ctx, acc); err != nil {
		return err
	}
	return s.promiseSeal(ctx, tx, id, end, s.Now())
}

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
	payload, err := json.Marshal(sealing{Subscription: id, Until: until})
	if err != nil {
		return err
	}
	return tx.PutTask(ctx, Task{ID: "task_seal_" + string(id), Kind: taskSeal, DueAt: due, CreatedAt: s.Now(), Payload: payload})
}

// seal makes the record of what a subscription owes in whole units. It removes
// its task in the same transaction: a charge that is made just afterwards
// promises another one, which must stay.
func (s *Service) seal(ctx context.Context, t Task) error {
	var p sealing
	if err := json.Unmarshal(t.Payload, &p); err != nil {
		return err
	}
	id := metering.RecordID(s.NewID("mr"))
	full, err := InTx(ctx, s.Store, func(ctx context.Context, tx Tx) (bool, error) {
		full, err := s.sealDue(ctx, tx, p, id)
		if err != nil || full {
			return full, err
		}
		return false, tx.DeleteTask(ctx, t.ID)
	})
	switch {
	case err != nil:
		return err
	case full:
		return errFull
	}
	return errTaskEnded
}

// errFull keeps the task: a record holds no more units, and there may be more.
var errFull = fmt.Errorf("more units than one record holds: %w", ErrUnavailable)

// sealDue seals what is due, and reports whether the record is full.
func (s *Service) sealDue(ctx context.Context, tx Tx, p sealing, id metering.RecordID) (full bool, err error) {
	acc, err := tx.MeterAccount(ctx, p.Subscription)
	if err != nil {
		return false, err
	}
	sub, err := tx.Subscription(ctx, p.Subscription)
	if err != nil {
		return false, err
	}
	m := s.markets[sub.Listing].Meter
	if m == nil {
		return false, nil
	}
	units, err := acc.Due(m.Terms().MaxUnits)
	switch {
	case err != nil || units == 0:
		return false, err
	case acc.InFlight > 0 && m.Terms().SameSubscription:
		return false, errNoPeriod // one record at a time
	}
	if at := sub.StoppedAt(); !at.IsZero() && at.Before(p.Until) {
		p.Until = at
	}
	full = units == m.Terms().MaxUnits
	return full, s.sealUnits(ctx, tx, m, acc, sub, metering.Record{ID: id, Units: units}, p.Until)
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
