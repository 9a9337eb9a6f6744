package bolt

import (
	"context"
	"iter"

	"cloudsettle/core"
)

// APIKeyByDigest implements core.AccessReader.
func (r *reader) APIKeyByDigest(_ context.Context, digest string) (core.APIKey, error) {
	id, err := r.lookup(apiKeysByDigest, digest)
	if err != nil || id == nil {
		return core.APIKey{}, missing(err, "API key", "with this secret")
	}
	return find(r, apiKeys, "API key", string(id), decodeJSON[core.APIKey])
}

// APIKeys implements core.AccessReader.
func (r *reader) APIKeys(_ context.Context, p core.Page) iter.Seq2[core.APIKey, error] {
	return page(r, apiKeys, p, ascending, all(decodeJSON[core.APIKey]))
}

// PutAPIKey implements core.AccessWriter. A digest that another key has is
// ErrConflict.
func (t *txn) PutAPIKey(_ context.Context, k core.APIKey) error {
	before, err := revised(t, apiKeys, "API key", k.ID, k.Rev,
		decodeJSON[core.APIKey], func(k *core.APIKey) uint64 { return k.Rev })
	if err != nil {
		return err
	}
	k.Rev++
	return t.storeAPIKey(before, k)
}

// storeAPIKey writes k in place of before, or of nothing.
func (t *txn) storeAPIKey(before *core.APIKey, k core.APIKey) error {
	if before != nil && before.Digest != k.Digest {
		if err := t.remove(apiKeysByDigest, "digest", before.Digest); err != nil {
			return err
		}
	}
	if before == nil || before.Digest != k.Digest {
		if err := t.take(apiKeysByDigest, "digest", k.ID, k.Digest); err != nil {
			return err
		}
	}
	k.CreatedAt, k.RevokedAt = utc(k.CreatedAt), utc(k.RevokedAt)
	return t.put(apiKeys, "API key", encodeJSON(k), k.ID)
}

// Setting implements core.AccessReader.
func (r *reader) Setting(_ context.Context, name string) (string, error) {
	return find(r, settings, "setting", name, decodeJSON[string])
}

// PutSetting implements core.AccessWriter.
func (t *txn) PutSetting(_ context.Context, name, value string) error {
	return t.put(settings, "setting", encodeJSON(value), name)
}
