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
	return named[marketplace.Subscription](ctx, r, "subscription", r.subscriptionBy(l, name))
}

func (r *reader) subscriptionBy(l marketplace.ListingID, name string) *lookup {
	return lookFor(r, r.knowing(scanSubscription), subscriptionColumns, "subscriptions s on s.id", key{subscriptionScope + string(l), name})
}

// LookAhead implements core.SubscriptionWriter.
func (t *txn) LookAhead(l marketplace.ListingID, names, providerIDs []string) {
	for _, name := range names {
		t.ahead = append(t.ahead, t.subscriptionBy(l, name))
	}
	for _, id := range providerIDs {
		t.ahead = append(t.ahead, t.cloudAccountBy(l, id))
	}
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

// namesOf returns what a subscription is found by, each name once.
func namesOf(s *marketplace.Subscription) []key {
	var list []key
	for _, name := range append([]string{s.Subject}, s.Also...) {
		k := key{subscriptionScope + string(s.Listing), name}
		if name != "" && !slices.Contains(list, k) {
			list = append(list, k)
		}
	}
	return list
}

// knowing makes a transaction that writes remember the names of what it reads:
// they cannot change under it, and most writes leave them as they are.
func (r *reader) knowing(
	row func(pgx.Rows, *marketplace.Subscription) error,
) func(pgx.Rows, *marketplace.Subscription) error {
	if !r.writes {
		return row
	}
	return func(rows pgx.Rows, s *marketplace.Subscription) error {
		err := row(rows, s)
		if err == nil {
			r.names[string(s.ID)] = namesOf(s)
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
	if s.Rev > 0 && !t.moving && t.names[string(s.ID)] == nil {
		if _, err := t.Subscription(ctx, s.ID); err != nil && !isNotFound(err) {
			return err
		} // if it is gone the revision will tell
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
	return t.rename(string(s.ID), namesOf(&s))
}

// checkSubscription refuses what cannot be a key.
func (t *txn) checkSubscription(s *marketplace.Subscription) error {
	if t.over {
		return errOver
	}
	if err := checkKey("subscription", string(s.ID)); err != nil {
		return err
	}
	for _, k := range namesOf(s) {
		if err := checkKey("subscription name", k.scope, k.name); err != nil {
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

// DeleteSubscription implements core.SubscriptionWriter. A missing one is
// ErrNotFound.
func (t *txn) DeleteSubscription(ctx context.Context, id marketplace.SubscriptionID) error {
	if t.names[string(id)] == nil {
		if _, err := t.Subscription(ctx, id); err != nil {
			return err
		}
	}
	if err := t.rename(string(id), nil); err != nil {
		return err
	}
	gone := func() error { return core.NotFound("subscription", string(id)) }
	return t.write(gone, exactly("delete from subscriptions where id = $1"), id)
}

const cloudAccountColumns = `a.id, a.rev, a.listing, a.provider, a.provider_id, a.name, a.billing_account,
	a.subscriptions, a.created_at`

// numberOf is what a cloud account is found by.
func numberOf(a *marketplace.Account) key {
	return key{cloudAccountScope + string(a.Listing), a.ProviderID}
}

// knowingNumber is knowing for cloud accounts.
func (r *reader) knowingNumber(rows pgx.Rows, a *marketplace.Account) error {
	err := scanCloudAccount(rows, a)
	if err == nil && r.writes {
		r.names[string(a.ID)] = []key{numberOf(a)}
	}
	return err
}

func scanCloudAccount(rows pgx.Rows, a *marketplace.Account) error {
	err := rows.Scan(&a.ID, &a.Rev, &a.Listing, &a.Provider, &a.ProviderID, &a.Name, &a.BillingAccount, &a.Subscriptions,
		into(&a.CreatedAt))
	a.Subscriptions = orNil(a.Subscriptions)
	return err
}

// CloudAccount implements core.SubscriptionReader.
func (r *reader) CloudAccount(ctx context.Context, id marketplace.AccountID) (marketplace.Account, error) {
	return one(ctx, r, "cloud account", r.knowingNumber,
		"select "+cloudAccountColumns+" from cloud_accounts a where a.id = $1", string(id))
}

// CloudAccountByProvider implements core.SubscriptionReader.
func (r *reader) CloudAccountByProvider(
	ctx context.Context, l marketplace.ListingID, providerID string,
) (marketplace.Account, error) {
	return named[marketplace.Account](ctx, r, "cloud account", r.cloudAccountBy(l, providerID))
}

func (r *reader) cloudAccountBy(l marketplace.ListingID, providerID string) *lookup {
	return lookFor(r, r.knowingNumber, cloudAccountColumns, "cloud_accounts a on a.id", key{cloudAccountScope + string(l), providerID})
}

// CloudAccounts implements core.SubscriptionReader.
func (r *reader) CloudAccounts(ctx context.Context, p core.Page) iter.Seq2[marketplace.Account, error] {
	return list(ctx, r, p, listing[marketplace.Account]{
		"select " + cloudAccountColumns + " from cloud_accounts a where a.id > $1 order by a.id limit $2",
		byID, r.knowingNumber, func(a *marketplace.Account) string { return string(a.ID) },
	})
}

// CloudAccountsOf implements core.SubscriptionReader.
func (r *reader) CloudAccountsOf(
	ctx context.Context, id account.ID, p core.Page,
) iter.Seq2[marketplace.Account, error] {
	return list(ctx, r, p, listing[marketplace.Account]{
		`select ` + cloudAccountColumns + ` from cloud_accounts a
		where a.billing_account = $1 and a.billing_account <> '' and a.id > $2 order by a.id limit $3`,
		of(string(id)), r.knowingNumber, func(a *marketplace.Account) string { return string(a.ID) },
	})
}

// PutCloudAccount implements core.SubscriptionWriter. A provider's account that
// is stored under another id is ErrConflict.
func (t *txn) PutCloudAccount(ctx context.Context, a marketplace.Account) error {
	number := numberOf(&a)
	if err := checkKey("provider's account", number.scope, number.name); err != nil {
		return err
	}
	if a.Rev > 0 && !t.moving && t.names[string(a.ID)] == nil {
		if _, err := t.CloudAccount(ctx, a.ID); err != nil && !isNotFound(err) {
			return err
		} // if it is gone the revision will tell
	}
	err := t.put("cloud account", string(a.ID), a.Rev, `
		insert into cloud_accounts (id, rev, listing, provider, provider_id, name, billing_account, subscriptions, created_at)
		values ($1, $2::bigint + 1, $3, $4, $5, $6, $7, $8, $9)`, `
		update cloud_accounts set rev = rev + 1, listing = $3, provider = $4, provider_id = $5, name = $6,
			billing_account = $7, subscriptions = $8, created_at = $9
		where id = $1 and rev = $2`, []any{
		a.ID, whole(a.Rev), a.Listing, a.Provider, a.ProviderID, clean(a.Name), a.BillingAccount, texts(a.Subscriptions),
		orNull(a.CreatedAt),
	})
	if err != nil {
		return err
	}
	return t.rename(string(a.ID), []key{number})
}
