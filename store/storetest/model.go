package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

// The model test: goroutines apply random transactions to their own part of
// the store and to a map, and compare the two after each commit.
const (
	modelWorkers = 8
	modelRounds  = 60
	modelIDs     = 6 // few, so that records meet their own past
	modelSteps   = 5
)

// model is what one goroutine believes to be stored, by identifier.
type model map[marketplace.SubscriptionID]marketplace.Subscription

func modelAgrees(t *testing.T, s core.Store) {
	seed := rand.Uint64()
	each(modelWorkers, func(i int) {
		m := &modeler{
			t: t, s: s, known: model{}, listing: marketplace.ListingID(fmt.Sprintf("listing-%d", i)),
			rand: rand.New(rand.NewPCG(seed, uint64(i))),
		}
		for round := range modelRounds {
			if !m.round() {
				t.Errorf("seed %d, worker %d, round %d", seed, i, round)
				return
			}
		}
	})
}

// modeler is one goroutine with its model.
type modeler struct {
	t       *testing.T
	s       core.Store
	listing marketplace.ListingID
	rand    *rand.Rand
	known   model
}

// round applies one transaction, which fails now and then, and compares.
func (m *modeler) round() bool {
	var next model
	err := m.s.Update(m.t.Context(), func(ctx context.Context, tx core.Tx) error {
		next = maps.Clone(m.known)
		for range 1 + m.rand.IntN(modelSteps) {
			if err := m.step(ctx, tx, next); err != nil {
				return err
			}
		}
		if err := m.compare(ctx, tx, next); err != nil {
			return err
		}
		if m.rand.IntN(4) == 0 {
			return errOwn
		}
		return nil
	})
	switch {
	case err == nil:
		m.known = next
	case !errors.Is(err, errOwn):
		m.t.Errorf("Update() = %v", err)
		return false
	}
	err = m.s.View(m.t.Context(), func(ctx context.Context, tx core.ReadTx) error {
		return m.compare(ctx, tx, m.known)
	})
	if err != nil {
		m.t.Error(err)
	}
	return err == nil
}

// step puts, changes or deletes one subscription in both.
func (m *modeler) step(ctx context.Context, tx core.Tx, next model) error {
	id := marketplace.SubscriptionID(fmt.Sprintf("sub_%d_%s", m.rand.IntN(modelIDs), m.listing))
	sub, stored := next[id]
	if stored && m.rand.IntN(3) == 0 {
		delete(next, id)
		return tx.DeleteSubscription(ctx, id)
	}
	if !stored {
		sub = subscription(string(id))
		sub.Listing = m.listing
	}
	sub.Quantity = m.rand.Int64()
	sub.Also = []string{fmt.Sprintf("%s also %d", id, m.rand.IntN(3))}
	if err := tx.PutSubscription(ctx, sub); err != nil {
		return err
	}
	sub.Rev++
	next[id] = sub
	return nil
}

// compare checks the list and the names of the goroutine's own listing.
func (m *modeler) compare(ctx context.Context, tx core.ReadTx, want model) error {
	got, err := collect(tx.Subscriptions(ctx, m.listing, core.Page{}))
	if err != nil {
		return err
	}
	ids := slices.Sorted(maps.Keys(want))
	if len(got) != len(ids) {
		return fmt.Errorf("the store lists %d subscriptions, want %d", len(got), len(ids))
	}
	for i, id := range ids {
		if got[i].ID != id || got[i].Rev != want[id].Rev || got[i].Quantity != want[id].Quantity {
			return fmt.Errorf("subscription %d = %q at %d, want %q at %d", i, got[i].ID, got[i].Rev, id, want[id].Rev)
		}
		for n := range 3 {
			name := fmt.Sprintf("%s also %d", id, n)
			found, err := tx.SubscriptionByName(ctx, m.listing, name)
			if taken := want[id].Also[0] == name; taken != (err == nil) || taken && found.ID != id {
				return fmt.Errorf("the name %q leads to %q, %w", name, found.ID, err)
			}
		}
	}
	return nil
}

// noWriteSkew: two transactions that read what the other writes are not both
// committed as if the other had not been, though they write different records.
func noWriteSkew(t *testing.T, s core.Store) {
	const rounds = 20
	for round := range rounds {
		names := []string{fmt.Sprintf("left %d", round), fmt.Sprintf("right %d", round)}
		update(t, s, func(ctx context.Context, tx core.Tx) error {
			return firstOf(tx.PutSetting(ctx, names[0], "on"), tx.PutSetting(ctx, names[1], "on"))
		})
		each(len(names), func(i int) { // each turns its own off while the other is on
			err := s.Update(t.Context(), func(ctx context.Context, tx core.Tx) error {
				other, err := tx.Setting(ctx, names[1-i])
				if err != nil || other != "on" {
					return err
				}
				return tx.PutSetting(ctx, names[i], "off")
			})
			if err != nil {
				t.Errorf("Update() = %v", err)
			}
		})
		on := 0
		view(t, s, func(ctx context.Context, tx core.ReadTx) error {
			for _, name := range names {
				value, err := tx.Setting(ctx, name)
				if err != nil {
					return err
				}
				if value == "on" {
					on++
				}
			}
			return nil
		})
		if on != 1 {
			t.Fatalf("round %d: %d are on, want one", round, on)
		}
	}
}
