package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"cloudsettle/core"
)

// Lease implements core.LeaseReader.
func (r *reader) Lease(ctx context.Context, name string) (core.Lease, error) {
	l, err := one(ctx, r, "lease", func(rows pgx.Rows, l *core.Lease) error {
		return rows.Scan(&l.Holder, into(&l.From), into(&l.Until))
	}, "select holder, from_at, until_at from leases where name = $1", clean(name))
	if isNotFound(err) {
		return core.Lease{}, nil
	}
	return l, err
}

// AcquireLease implements core.LeaseWriter.
func (t *txn) AcquireLease(ctx context.Context, name string, l core.Lease) (bool, error) {
	if err := checkKey("lease", name); err != nil {
		return false, err
	}
	if !l.Until.After(l.From) {
		return t.freeLease(ctx, name, l)
	}
	n, err := t.change(ctx, `
		insert into leases as l (name, holder, from_at, until_at) values ($1, $2, $3, $4)
		on conflict (name) do update set holder = $2, from_at = $3, until_at = $4
		where l.holder = $2 or l.until_at <= $3`,
		name, clean(l.Holder), utc(l.From), utc(l.Until))
	return n > 0, err
}

func (t *txn) freeLease(ctx context.Context, name string, l core.Lease) (bool, error) {
	n, err := t.change(ctx, "delete from leases where name = $1 and (holder = $2 or until_at <= $3)",
		name, clean(l.Holder), utc(l.From))
	if err != nil || n > 0 {
		return err == nil, err
	}
	other, err := t.Lease(ctx, name)
	return other == (core.Lease{}), err
}
