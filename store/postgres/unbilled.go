package postgres

import (
	"context"
	"database/sql"
	"iter"

	"github.com/jackc/pgx/v5"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/money"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// unbilledSQL reads what is open of a day with who would pay, from the index of
// what is open: a day that is settled again costs only what is left of it.
const unbilledSQL = `
	select u.day, u.workspace, u.sealed, u.samples,
		w.id, w.rev, w.name, w.site, w.owner_email, w.opened_by, w.locked_at, w.created_at,
		b.id, b.billing_account, b.method, b.subscription, b.from_at, b.cause, b.by_whom, b.left_behind,
		a.currency, s.listing
	from usage u
	left join workspaces w on w.id = u.workspace
	left join bindings b on b.workspace = u.workspace and b.to_at is null
	left join billing_accounts a on a.id = b.billing_account
	left join subscriptions s on s.id = b.subscription
	where u.day = $1 and not u.sealed and u.workspace > $2
	order by u.workspace limit $3`

// UnbilledOn implements core.UsageReader.
func (r *reader) UnbilledOn(ctx context.Context, day usage.Day, p core.Page) iter.Seq2[core.Unbilled, error] {
	return list(ctx, r, p, listing[core.Unbilled]{
		unbilledSQL, onDay(day), scanUnbilled, func(u *core.Unbilled) string { return u.Usage.Workspace },
	})
}

// UnbilledRanges implements core.UsageReader.
func (r *reader) UnbilledRanges(ctx context.Context, day usage.Day, size int) ([]string, error) {
	if size <= 0 {
		return nil, core.Invalid("invalid_range", "ranges of %d workspaces", size)
	}
	return all(ctx, r, func(rows pgx.Rows, ws *string) error { return rows.Scan(ws) }, `
		select workspace from (
			select workspace, row_number() over (order by workspace) as n, count(*) over () as total
			from usage where day = $1 and not sealed
		) as open where n % $2 = 0 and n < total order by n`, int32(day), size)
}

// maybe are the columns of outer joins, which are null where nothing is.
type maybe struct {
	workspace, name, site, ownerEmail, openedBy           sql.NullString
	binding, payer, method, subscription, cause, by, left sql.NullString
	currency, listing                                     sql.NullString
	rev                                                   sql.NullInt64
}

func scanUnbilled(rows pgx.Rows, u *core.Unbilled) error {
	var d storedDay
	var m maybe
	err := rows.Scan(&d.key.day, &d.key.workspace, &d.sealed, &d.samples,
		&m.workspace, &m.rev, &m.name, &m.site, &m.ownerEmail, &m.openedBy, into(&u.Workspace.LockedAt), into(&u.Workspace.CreatedAt),
		&m.binding, &m.payer, &m.method, &m.subscription, into(&u.Binding.From), &m.cause, &m.by, &m.left,
		&m.currency, &m.listing)
	if err != nil {
		return err
	}
	if err := d.unpack(&u.Usage); err != nil {
		return err
	}
	return m.fill(u, d.key.workspace)
}

// fill completes u. What a binding leads to must be there.
func (m *maybe) fill(u *core.Unbilled, id string) error {
	if !m.workspace.Valid {
		return core.NotFound("workspace", id)
	}
	w, b := &u.Workspace, &u.Binding
	w.ID, w.Rev, w.Name, w.Site = workspace.ID(m.workspace.String), uint64(m.rev.Int64), m.name.String, m.site.String // #nosec -- see whole
	w.OwnerEmail, w.OpenedBy = m.ownerEmail.String, marketplace.Provider(m.openedBy.String)
	if !m.binding.Valid {
		return nil
	}
	b.ID, b.Workspace, b.BillingAccount = workspace.BindingID(m.binding.String), w.ID, account.ID(m.payer.String)
	b.Settlement.Method = workspace.Method(m.method.String)
	b.Settlement.Subscription = marketplace.SubscriptionID(m.subscription.String)
	b.Cause, b.By, b.Left = workspace.Cause(m.cause.String), m.by.String, marketplace.SubscriptionID(m.left.String)
	switch {
	case !m.currency.Valid:
		return core.NotFound("billing account", m.payer.String)
	case m.subscription.String != "" && !m.listing.Valid:
		return core.NotFound("subscription", m.subscription.String)
	}
	u.Currency, u.Listing = money.Currency(m.currency.String), marketplace.ListingID(m.listing.String)
	return nil
}
