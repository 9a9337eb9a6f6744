package core

import (
	"context"
	"encoding/json"
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
	// Forced seals although the subscription and its final window are over: a
	// person asked for it.
	Forced bool `json:"forced,omitempty"`
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
	return s.putSeal(ctx, tx, sealing{Subscription: id, Until: until}, due)
}

func (s *Service) putSeal(ctx context.Context, tx Tx, p sealing, due time.Time) error {
	t, err := s.sealTask(p, due)
	if err != nil {
		return err
	}
	return tx.PutTask(ctx, t)
}

func (s *Service) sealTask(p sealing, due time.Time) (Task, error) {
	payload, err := json.Marshal(p)
	return Task{ID: "task_seal_" + string(p.Subscription), Kind: taskSeal, DueAt: due, CreatedAt: s.Now(), Payload: payload}, err
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
