package bolt

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/marketplace"
)

// Subscription implements core.SubscriptionReader.
func (r *reader) Subscription(
	_ context.Context, id marketplace.SubscriptionID,
) (marketplace.Subscription, error) {
	return find(r, subscriptions, "subscription", string(id), decodeSubscription)
}

// SubscriptionByName implements core.SubscriptionReader.
func (r *reader) SubscriptionByName(
	ctx context.Context, l marketplace.ListingID, name string,
) (marketplace.Subscription, error) {
	id, err := r.lookup(subscriptionsByName, string(l), name)
	if err != nil || id == nil {
		return marketplace.Subscription{}, missing(err, "subscription", name)
	}
	return r.Subscription(ctx, marketplace.SubscriptionID(id))
}

// Subscriptions implements core.SubscriptionReader. It filters as it walks: a
// subscription that is not Known is rare and soon merged into another, and an
// index of listings would cost every purchase a page.
func (r *reader) Subscriptions(
	_ context.Context, l marketplace.ListingID, p core.Page,
) iter.Seq2[marketplace.Subscription, error] {
	decode := func(value []byte) (marketplace.Subscription, bool, error) {
		s, err := decodeSubscription(value)
		return s, s.Known() && (l == "" || s.Listing == l), err
	}
	return page(r, subscriptions, p, ascending, decode)
}

// PutSubscription implements core.SubscriptionWriter.
func (t *txn) PutSubscription(_ context.Context, s marketplace.Subscription) error {
	before, err := revised(t, subscriptions, "subscription", string(s.ID), s.Rev,
		decodeSubscriptionHead, func(h *subscriptionHead) uint64 { return h.rev })
	if err != nil {
		return err
	}
	s.Rev++
	return t.storeSubscription(before, s)
}

// storeSubscription writes s in place of what had the names of before.
func (t *txn) storeSubscription(before *subscriptionHead, s marketplace.Subscription) error {
	next := subscriptionHead{listing: s.Listing, subject: s.Subject, also: s.Also}
	if err := t.rename(string(s.ID), before, next); err != nil {
		return err
	}
	return t.put(subscriptions, "subscription", func(dst []byte) ([]byte, error) {
		return appendSubscription(dst, s, s.Rev), nil
	}, string(s.ID))
}

// rename points the names of next to id and frees those of before that next
// does not have.
func (t *txn) rename(id string, before *subscriptionHead, next subscriptionHead) error {
	const what = "subscription name"
	if before == nil {
		before = &subscriptionHead{}
	}
	same := before.listing == next.listing
	for name := range next.names {
		if same && before.has(name) {
			continue
		}
		err := t.take(subscriptionsByName, what, id, string(next.listing), name)
		if err != nil {
			return err
		}
	}
	for name := range before.names {
		if same && next.has(name) {
			continue
		}
		if err := t.remove(subscriptionsByName, what, string(before.listing), name); err != nil {
			return err
		}
	}
	return nil
}

func (h *subscriptionHead) has(name string) bool {
	return h.subject == name || slices.Contains(h.also, name)
}

// DeleteSubscription implements core.SubscriptionWriter. A missing one is
// ErrNotFound.
func (t *txn) DeleteSubscription(_ context.Context, id marketplace.SubscriptionID) error {
	before, err := find(&t.reader, subscriptions, "subscription", string(id), decodeSubscriptionHead)
	if err != nil {
		return err
	}
	if err := t.rename(string(id), &before, subscriptionHead{}); err != nil {
		return err
	}
	return t.remove(subscriptions, "subscription", string(id))
}

// CloudAccount implements core.SubscriptionReader.
func (r *reader) CloudAccount(
	_ context.Context, id marketplace.AccountID,
) (marketplace.Account, error) {
	return find(r, cloudAccounts, "cloud account", string(id), decodeCloudAccount)
}

// CloudAccountByProvider implements core.SubscriptionReader.
func (r *reader) CloudAccountByProvider(
	ctx context.Context, l marketplace.ListingID, providerID string,
) (marketplace.Account, error) {
	id, err := r.lookup(cloudAccountsByProvider, string(l), providerID)
	if err != nil || id == nil {
		return marketplace.Account{}, missing(err, "cloud account", providerID)
	}
	return r.CloudAccount(ctx, marketplace.AccountID(id))
}

// CloudAccounts implements core.SubscriptionReader.
func (r *reader) CloudAccounts(
	_ context.Context, p core.Page,
) iter.Seq2[marketplace.Account, error] {
	return page(r, cloudAccounts, p, ascending, all(decodeCloudAccount))
}

// CloudAccountsOf implements core.SubscriptionReader.
func (r *reader) CloudAccountsOf(
	ctx context.Context, id account.ID, p core.Page,
) iter.Seq2[marketplace.Account, error] {
	load := func(id string) (marketplace.Account, error) {
		return r.CloudAccount(ctx, marketplace.AccountID(id))
	}
	return members(r, cloudAccountsByOwner, string(id), p, load)
}

// PutCloudAccount implements core.SubscriptionWriter. A provider's account that
// is stored under another id is ErrConflict.
func (t *txn) PutCloudAccount(_ context.Context, a marketplace.Account) error {
	before, err := revised(t, cloudAccounts, "cloud account", string(a.ID), a.Rev,
		decodeCloudAccount, func(a *marketplace.Account) uint64 { return a.Rev })
	if err != nil {
		return err
	}
	a.Rev++
	return t.storeCloudAccount(before, a)
}

// storeCloudAccount writes a in place of before, or of nothing.
func (t *txn) storeCloudAccount(before *marketplace.Account, a marketplace.Account) error {
	if before == nil {
		before = &marketplace.Account{}
	}
	if before.Listing != a.Listing || before.ProviderID != a.ProviderID {
		if err := t.renumber(before, a); err != nil {
			return err
		}
	}
	err := t.list(cloudAccountsByOwner, "owner of a cloud account",
		before.BillingAccount, a.BillingAccount, string(a.ID))
	if err != nil {
		return err
	}
	return t.put(cloudAccounts, "cloud account", func(dst []byte) ([]byte, error) {
		return appendCloudAccount(dst, a, a.Rev), nil
	}, string(a.ID))
}

func (t *txn) renumber(before *marketplace.Account, a marketplace.Account) error {
	const what = "provider's account"
	if before.ProviderID != "" {
		err := t.remove(cloudAccountsByProvider, what, string(before.Listing), before.ProviderID)
		if err != nil {
			return err
		}
	}
	return t.take(cloudAccountsByProvider, what, string(a.ID), string(a.Listing), a.ProviderID)
}

// find reads one record by its id.
func find[T any](
	r *reader, b bucket, what, id string, decode func([]byte) (T, error),
) (rec T, err error) {
	value, err := r.lookup(b, id)
	if err != nil || value == nil {
		return rec, missing(err, what, id)
	}
	if rec, err = decode(value); err != nil {
		return rec, fmt.Errorf("bolt: %s %q: %w", what, id, err)
	}
	return rec, nil
}

// missing is the error of a lookup that found nothing, or failed with err.
func missing(err error, what, id string) error {
	if err != nil {
		return err
	}
	return core.NotFound(what, id)
}

// all is a filter of page that keeps everything.
func all[T any](decode func([]byte) (T, error)) func([]byte) (T, bool, error) {
	return func(value []byte) (T, bool, error) {
		rec, err := decode(value)
		return rec, true, err
	}
}

// revised checks that the stored record is at revision rev, where 0 means that
// there is none, and returns it; nil if there is none.
func revised[T any](
	t *txn, b bucket, what, id string, rev uint64,
	decode func([]byte) (T, error), revOf func(*T) uint64,
) (*T, error) {
	value, err := t.lookup(b, id)
	if err != nil {
		return nil, err
	}
	return unchanged(value, what, id, rev, decode, revOf)
}

// unchanged is revised for a value that was looked up.
func unchanged[T any](
	value []byte, what, id string, rev uint64,
	decode func([]byte) (T, error), revOf func(*T) uint64,
) (*T, error) {
	if value == nil {
		if rev != 0 {
			return nil, core.Conflict("stale_revision", "%s %q is not stored any more", what, id)
		}
		return nil, nil
	}
	before, err := decode(value)
	if err != nil {
		return nil, fmt.Errorf("bolt: %s %q: %w", what, id, err)
	}
	if stored := revOf(&before); stored != rev {
		return nil, core.Conflict("stale_revision",
			"%s %q is at revision %d, not %d", what, id, stored, rev)
	}
	return &before, nil
}

// take makes the unique index b lead from parts to id. If it leads elsewhere
// that is ErrConflict.
func (t *txn) take(b bucket, what, id string, parts ...string) error {
	holder, err := t.lookup(b, parts...)
	switch {
	case err != nil:
		return err
	case string(holder) == id:
		return nil
	case holder != nil:
		return core.Conflict("taken", "%s %q is taken", what, parts[len(parts)-1])
	}
	return t.point(b, what, id, parts...)
}

// list moves id in the index b from one owner to another. An empty owner is
// none.
func (t *txn) list(b bucket, what, from, to, id string) error {
	if from == to {
		return nil
	}
	if from != "" {
		if err := t.remove(b, what, from, id); err != nil {
			return err
		}
	}
	if to == "" {
		return nil
	}
	return t.point(b, what, "", to, id)
}

// LookAhead implements core.SubscriptionWriter. Every name is near.
func (t *txn) LookAhead(marketplace.ListingID, []string, []string) {}
