package postgres

import (
	"context"
	"iter"

	"github.com/jackc/pgx/v5"

	"cloudsettle/core"
)

const apiKeyColumns = "id, rev, name, role, billing_account, digest, hint, created_at, revoked_at" // #nosec -- names of columns

func scanAPIKey(rows pgx.Rows, k *core.APIKey) error {
	return rows.Scan(&k.ID, &k.Rev, &k.Name, &k.Role, &k.BillingAccount, &k.Digest, &k.Hint, into(&k.CreatedAt), into(&k.RevokedAt))
}

// APIKeyByDigest implements core.AccessReader.
func (r *reader) APIKeyByDigest(ctx context.Context, digest string) (core.APIKey, error) {
	k, err := one(ctx, r, "API key", scanAPIKey, "select "+apiKeyColumns+" from api_keys where digest = $1", digest)
	if isNotFound(err) {
		return k, core.NotFound("API key", "with this secret")
	}
	return k, err
}

// APIKeys implements core.AccessReader.
func (r *reader) APIKeys(ctx context.Context, p core.Page) iter.Seq2[core.APIKey, error] {
	return list(ctx, r, p, listing[core.APIKey]{
		"select " + apiKeyColumns + " from api_keys where id > $1 order by id limit $2",
		byID, scanAPIKey, func(k *core.APIKey) string { return k.ID },
	})
}

// PutAPIKey implements core.AccessWriter. A digest that another key has is
// ErrConflict.
func (t *txn) PutAPIKey(_ context.Context, k core.APIKey) error {
	if err := checkKey("digest", k.Digest); err != nil {
		return err
	}
	return t.put("API key", k.ID, k.Rev, `
		insert into api_keys (id, rev, name, role, billing_account, digest, hint, created_at, revoked_at)
		values ($1, $2::bigint + 1, $3, $4, $5, $6, $7, $8, $9)`, `
		update api_keys set rev = rev + 1, name = $3, role = $4, billing_account = $5, digest = $6, hint = $7,
			created_at = $8, revoked_at = $9
		where id = $1 and rev = $2`, []any{
		k.ID, whole(k.Rev), clean(k.Name), k.Role, k.BillingAccount, k.Digest, k.Hint, orNull(k.CreatedAt), orNull(k.RevokedAt),
	})
}

// Setting implements core.AccessReader.
func (r *reader) Setting(ctx context.Context, name string) (string, error) {
	return one(ctx, r, "setting", func(rows pgx.Rows, value *string) error { return rows.Scan(value) },
		"select value from settings where name = $1", name)
}

// PutSetting implements core.AccessWriter.
func (t *txn) PutSetting(_ context.Context, name, value string) error {
	if err := checkKey("setting", name); err != nil {
		return err
	}
	return t.write(nil, `
		insert into settings (name, value) values ($1, $2) on conflict (name) do update set value = $2`, name, value)
}
