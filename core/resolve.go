package core

import (
	"context"

	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
)

// ResolveRecord ends an unknown record as a person decides who has looked at
// the marketplace's own books. Units of a record that is not on file are due
// again. The same decision again changes nothing.
func (s *Service) ResolveRecord(ctx context.Context, r Request, id metering.RecordID, accepted bool, reason string) (metering.Record, error) {
	if reason == "" || len(reason) > maxReason {
		return metering.Record{}, Invalid("reason_required", "say in at most %d bytes why", maxReason)
	}
	decision := metering.Resolution{Accepted: accepted, By: r.Actor.Name, Reason: reason, At: s.Now()}
	load := func(ctx context.Context, tx ReadTx, id string) (metering.Record, error) {
		rec, err := tx.MeterRecord(ctx, metering.RecordID(id))
		return orNotFound(rec, err, "metering record", id)
	}
	return once(ctx, s, r, load, func(ctx context.Context, tx Tx) (metering.Record, string, error) {
		rec, err := load(ctx, tx, string(id))
		switch {
		case err != nil:
			return rec, "", err
		case rec.Resolution != metering.Resolution{} && rec.Resolution.Accepted == accepted:
			return rec, string(id), nil
		case rec.Status != metering.Unknown:
			return rec, "", Conflict("not_unknown", "record %s is %s: only unknown records are decided by hand", id, rec.Status)
		}
		rec = rec.Resolve(decision)
		if err := s.endRecord(ctx, tx, &rec); err != nil {
			return rec, "", err
		}
		if !accepted {
			err = s.promiseSeal(ctx, tx, rec.Subscription, rec.PeriodEnd, s.Now())
		}
		rec.Rev++
		return rec, string(id), err
	})
}

// RetryMetering lifts the hold on what a subscription owes, so that it is
// sealed again, even after its final window: a person has seen to the cause.
func (s *Service) RetryMetering(ctx context.Context, r Request, id marketplace.SubscriptionID) (MeterState, error) {
	load := func(ctx context.Context, tx ReadTx, id string) (MeterState, error) {
		return s.meterState(ctx, tx, marketplace.SubscriptionID(id))
	}
	if _, err := s.Subscription(ctx, r.Actor, id); err != nil {
		return MeterState{}, err
	}
	return once(ctx, s, r, load, func(ctx context.Context, tx Tx) (MeterState, string, error) {
		acc, err := tx.MeterAccount(ctx, id)
		if err != nil {
			return MeterState{}, "", err
		}
		if acc.Hold != "" {
			if err := s.release(ctx, tx, acc, sealing{Subscription: id, Until: s.Now(), Forced: acc.Hold == metering.HoldOver}); err != nil {
				return MeterState{}, "", err
			}
		}
		st, err := s.meterState(ctx, tx, id)
		return st, string(id), err
	})
}

// release lifts a hold and promises that what is due is sealed.
func (s *Service) release(ctx context.Context, tx Tx, acc metering.Account, p sealing) error {
	if err := tx.PutMeterAccount(ctx, acc.Release()); err != nil {
		return err
	}
	return s.putSeal(ctx, tx, p, s.Now())
}

// releaseMeter lifts a hold after the marketplace said something new of a
// subscription: the reason may be gone. That it is over stays until it goes on.
func (a *application) releaseMeter(ctx context.Context, sub *marketplace.Subscription) error {
	acc, err := a.tx.MeterAccount(ctx, sub.ID)
	if err != nil || acc.Hold == "" || acc.Hold == metering.HoldOver && !sub.StoppedAt().IsZero() {
		return err
	}
	a.effect("usage of subscription %s is reported again", sub.ID)
	return a.release(ctx, a.tx, acc, sealing{Subscription: sub.ID, Until: a.Now()})
}
