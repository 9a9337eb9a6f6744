package core

import (
	"context"
	"errors"

	"cloudsettle/core/marketplace"
)

// callbacks: what an applied callback states is among the facts of its
// subscription (I1).
func (v *verifier) callbacks(ctx context.Context) error {
	return pages(ctx, v, "callbacks", func(ctx context.Context, tx ReadTx, p Page) (List[JournalEntry], error) {
		return listed(tx.CallbackEntries(ctx, "", more(p)), p, func(e JournalEntry) string { return string(e.ID) })
	}, func(ctx context.Context, tx ReadTx, page []JournalEntry) error {
		known := map[marketplace.SubscriptionID]marketplace.Subscription{}
		for i := range page {
			e := &page[i]
			if e.Event == nil || e.Result != marketplace.Applied && e.Result != marketplace.Waiting {
				continue
			}
			sub, ok := known[e.Subscription]
			if !ok {
				var err error
				if sub, err = subjectOf(ctx, tx, e); err != nil {
					return err
				}
				known[e.Subscription] = sub
			}
			if !sub.Holds(*e.Event) {
				v.breaks("I1", string(e.ID), "was %s, and subscription %q does not know of it", e.Result, e.Subscription)
			}
		}
		return nil
	})
}

// subjectOf returns the subscription that a callback spoke of, which is empty
// if it is missing. Early facts may have moved to another one since.
func subjectOf(ctx context.Context, tx ReadTx, e *JournalEntry) (marketplace.Subscription, error) {
	sub, err := tx.Subscription(ctx, e.Subscription)
	for _, name := range append([]string{e.Event.Subject, e.Event.Proposed}, e.Event.Also...) {
		if !errors.Is(err, ErrNotFound) {
			return sub, err
		}
		if name != "" {
			sub, err = tx.SubscriptionByName(ctx, e.Listing, name)
		}
	}
	if errors.Is(err, ErrNotFound) {
		return marketplace.Subscription{}, nil
	}
	return sub, err
}

// subscriptions: the state is what follows from the facts (I1, I2).
func (v *verifier) subscriptions(ctx context.Context) error {
	return each(ctx, v, "subscriptions", func(ctx context.Context, tx ReadTx, p Page) (List[marketplace.Subscription], error) {
		return listed(tx.Subscriptions(ctx, "", more(p)), p, func(s marketplace.Subscription) string { return string(s.ID) })
	}, func(ctx context.Context, tx ReadTx, s marketplace.Subscription) error {
		if again := marketplace.Derive(s); again.Status != s.Status || !again.ExpiresAt.Equal(s.ExpiresAt) || again.SKU != s.SKU ||
			again.Quantity != s.Quantity || again.Trial != s.Trial || again.Replaced != s.Replaced {
			v.breaks("I2", string(s.ID), "is %s, its facts say %s", s.Status, again.Status)
		}
		_, err := tx.CloudAccount(ctx, s.Account)
		if errors.Is(err, ErrNotFound) {
			v.breaks("I1", string(s.ID), "its cloud account %s is missing", s.Account)
			return nil
		}
		return err
	})
}
