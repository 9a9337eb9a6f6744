package postgres

import (
	"context"
	"iter"
	"slices"

	"github.com/jackc/pgx/v5"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/marketplace"
)

const subscriptionColumns = `s.id, s.rev, s.listing, s.provider, s.subject, s.also, s.account, s.previous, s.next,
	s.status, s.sku, s.quantity, s.trial, s.replaced, s.expires_at, s.created_at, s.last_event_at, s.facts`

func scanSubscription(rows pgx.Rows, s *marketplace.Subscription) error {
	var facts []byte
	err := rows.Scan(&s.ID, &s.Rev, &s.Listing, &s.Provider, &s.Subject, &s.Also, &s.Account, &s.Previous, &s.Next,
		&s.Status, &s.SKU, &s.Quantity, &s.Trial, &s.Replaced, into(&s.ExpiresAt), into(&s.CreatedAt), into(&s.LastEventAt), &facts)
	if err != nil {
		return err
	}
	s.Also = orNil(s.Also)
	if len(facts) > len("[]") {
		return decodeJSON(facts, &s.Facts)
	}
	return nil
}

// Subscription implements core.SubscriptionReader.
func (r *reader) Subscription(ctx context.Context, id marketplace.SubscriptionID) (marketplace.Subscription, error) {
	return one(ctx, r, "subscription", r.knowing(scanSubscription),
		"select "+subscriptionColumns+" from subscriptions s where s.id = $1", string(id))
}

// SubscriptionByName implements core.SubscriptionReader.
func (r *reader) SubscriptionByName(
	ctx context.Context, l marketplace.ListingID, name string,
) (marketplace.Subscription, error) {
	return one(ctx, r, "subscription", r.knowing(scanSubscription), `
		select `+subscriptionColumns+` from subscription_names n join subscriptions s on s.id = n.subscription
		where n.listing = $1 and n.name = $2`, string(l), name)
}

// Subscriptions implements core.SubscriptionReader.
func (r *reader) Subscriptions(
	ctx context.Context, l marketplace.ListingID, p core.Page,
) iter.Seq2[marketplace.Subscription, error] {
	return list(ctx, r, p, listing[marketplace.Subscription]{
		`select ` + subscriptionColumns + ` from subscriptions s
		where s.account <> '' and ($1 = '' or s.listing = $1) and s.id > $2 order by s.id limit $3`,
		of(string(l)), r.knowing(scanSubscription), func(s *marketplace.Subscription) string { return string(s.ID) },
	})
}

// subscriptionNames are what a subscription is found by.
type subscriptionNames struct {
	listing marketplace.ListingID
	names   []string
}

func namesOf(s *marketplace.Subscription) subscriptionNames {
	n := subscriptionNames{listing: s.Listing}
	for _, name := range append([]string{s.Subject}, s.Also...) {
		if name != "" && !slices.Contains(n.names, name) {
			n.names = append(n.names, name)
		}
	}
	return n
}

// knowing makes a transaction that writes remember the names of what it reads:
// they cannot change under it, and most writes leave them as they are.
func (r *reader) knowing(
	row func(pgx.Rows, *marketplace.Subscription) error,
) func(pgx.Rows, *marketplace.Subscription) error {
	if r.names == nil {
		return row
	}
	return func(rows pgx.Rows, s *marketplace.Subscription) error {
		err := row(rows, s)
		if err == nil {
			r.names[s.ID] = namesOf(s)
		}
		return err
	}
}

// PutSubscription implements core.SubscriptionWriter.
func (t *txn) PutSubscription(ctx context.Context, s marketplace.Subscription) error {
	if err := t.checkSubscription(&s); err != nil {
		return err
	}
	facts, err := encodeFacts(s.Facts)
	if err != nil {
		return err
	}
	args := []any{
		s.ID, whole(s.Rev), s.Listing, clean(string(s.Provider)), s.Subject, texts(s.Also), s.Account,
		clean(string(s.Previous)), clean(string(s.Next)), s.Status, clean(s.SKU), s.Quantity, s.Trial, s.Replaced,
		orNull(s.ExpiresAt), orNull(s.CreatedAt), orNull(s.LastEventAt), facts,
	}
	var before subscriptionNames
	if s.Rev > 0 {
		if before, err = t.namesBefore(ctx, &s); err != nil {
			return err
		}
	}
	err = t.put("subscription", string(s.ID), s.Rev, `
		insert into subscriptions (id, rev, listing, provider, subject, also, account, previous, next, status, sku,
			quantity, trial, replaced, expires_at, created_at, last_event_at, facts)
		values ($1, $2::bigint + 1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)`, `
		update subscriptions set rev = rev + 1, listing = $3, provider = $4, subject = $5, also = $6, account = $7,
			previous = $8, next = $9, status = $10, sku = $11, quantity = $12, trial = $13, replaced = $14,
			expires_at = $15, created_at = $16, last_event_at = $17, facts = $18
		where id = $1 and rev = $2`, args)
	if err != nil {
		return err
	}
	return t.rename(s.ID, before, namesOf(&s))
}

// checkSubscription refuses what cannot be a key.
func (t *txn) checkSubscription(s *marketplace.Subscription) error {
	if t.over {
		return errOver
	}
	if err := checkKey("subscription", string(s.ID)); err != nil {
		return err
	}
	for _, name := range namesOf(s).names {
		if err := checkKey("subscription name", string(s.Listing), name); err != nil {
			return err
		}
	}
	return nil
}

func encodeFacts(facts []marketplace.Fact) ([]byte, error) {
	stored := make([]marketplace.Fact, len(facts))
	for i, f := range facts {
		f.SeenAt, f.ExpiresAt = utc(f.SeenAt), utc(f.ExpiresAt)
		stored[i] = f
	}
	return encodeJSON(stored)
}

// namesBefore returns the names that the stored subscription has.
func (t *txn) namesBefore(ctx context.Context, s *marketplace.Subscription) (subscriptionNames, error) {
	if before, ok := t.names[s.ID]; ok {
		return before, nil
	}
	_, err := t.Subscription(ctx, s.ID)
	if err != nil && isNotFound(err) {
		return subscriptionNames{}, nil // the revision will tell
	}
	return t.names[s.ID], err
}

// rename points the names of next to id and frees those of before that next
// does not have.
func (t *txn) rename(id marketplace.SubscriptionID, before, next subscriptionNames) error {
	t.names[id] = next
	same := before.listing == next.listing
	for _, name := range before.names {
		if same && slices.Contains(next.names, name) {
			continue
		}
		err := t.write(nil, "delete from subscription_names where listing = $1 and name = $2 and subscription = $3",
			before.listing, name, id)
		if err != nil {
			return err
		}
	}
	for _, name := range next.names {
		if same && slices.Contains(before.names, name) {
			continue
		}
		err := t.write(taken("subscription name", name),
			"insert into subscription_names (listing, name, subscription) values ($1, $2, $3)", next.listing, name, id)
		if err != nil {
			return err
		}
	}
	return nil
}

// DeleteSubscription implements core.SubscriptionWriter. A missing one is
// ErrNotFound.
func (t *txn) DeleteSubscription(ctx context.Context, id marketplace.SubscriptionID) error {
	before, ok := t.names[id]
	if !ok {
		if _, err := t.Subscription(ctx, id); err != nil {
			return err
		}
		before = t.names[id]
	}
	if err := t.rename(id, before, subscriptionNames{}); err != nil {
		return err
	}
	delete(t.names, id)
	gone := func() error { return core.NotFound("subscription", string(id)) }
	return t.write(gone, exactly("delete from subscriptions where id = $1"), id)
}

const cloudAccountColumns = `id, rev, listing, provider, provider_id, name, billing_account, subscriptions, created_at`

func scanCloudAccount(rows pgx.Rows, a *marketplace.Account) error {
	err := rows.Scan(&a.ID, &a.Rev, &a.Listing, &a.Provider, &a.ProviderID, &a.Name, &a.BillingAccount, &a.Subscriptions,
		into(&a.CreatedAt))
	a.Subscriptions = orNil(a.Subscriptions)
	return err
}

// CloudAccount implements core.SubscriptionReader.
func (r *reader) CloudAccount(ctx context.Context, id marketplace.AccountID) (marketplace.Account, error) {
	return one(ctx, r, "cloud account", scanCloudAccount,
		"select "+cloudAccountColumns+" from cloud_accounts where id = $1", string(id))
}

// CloudAccountByProvider implements core.SubscriptionReader.
func (r *reader) CloudAccountByProvider(
	ctx context.Context, l marketplace.ListingID, providerID string,
) (marketplace.Account, error) {
	return one(ctx, r, "cloud account", scanCloudAccount,
		"select "+cloudAccountColumns+" from cloud_accounts where listing = $1 and provider_id = $2", string(l), providerID)
}

// CloudAccounts implements core.SubscriptionReader.
func (r *reader) CloudAccounts(ctx context.Context, p core.Page) iter.Seq2[marketplace.Account, error] {
	return list(ctx, r, p, listing[marketplace.Account]{
		"select " + cloudAccountColumns + " from cloud_accounts where id > $1 order by id limit $2",
		byID, scanCloudAccount, func(a *marketplace.Account) string { return string(a.ID) },
	})
}

// CloudAccountsOf implements core.SubscriptionReader.
func (r *reader) CloudAccountsOf(
	ctx context.Context, id account.ID, p core.Page,
) iter.Seq2[marketplace.Account, error] {
	return list(ctx, r, p, listing[marketplace.Account]{
		`select ` + cloudAccountColumns + ` from cloud_accounts
		where billing_account = $1 and billing_account <> '' and id > $2 order by id limit $3`,
		of(string(id)), scanCloudAccount, func(a *marketplace.Account) string { return string(a.ID) },
	})
}

// PutCloudAccount implements core.SubscriptionWriter. A provider's account that
// is stored under another id is ErrConflict.
func (t *txn) PutCloudAccount(_ context.Context, a marketplace.Account) error {
	if err := checkKey("provider's account", string(a.Listing), a.ProviderID); err != nil {
		return err
	}
	return t.put("cloud account", string(a.ID), a.Rev, `
		insert into cloud_accounts (id, rev, listing, provider, provider_id, name, billing_account, subscriptions, created_at)
		values ($1, $2::bigint + 1, $3, $4, $5, $6, $7, $8, $9)`, `
		update cloud_accounts set rev = rev + 1, listing = $3, provider = $4, provider_id = $5, name = $6,
			billing_account = $7, subscriptions = $8, created_at = $9
		where id = $1 and rev = $2`, []any{
		a.ID, whole(a.Rev), a.Listing, a.Provider, a.ProviderID, clean(a.Name), a.BillingAccount, texts(a.Subscriptions),
		orNull(a.CreatedAt),
	})
}
