package core

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"

	"cloudsettle/core/account"
)

// secretBytes of an API key: 256 bits, so that a bare digest of it is safe.
const secretBytes = 32

// minBootstrap is the shortest bootstrap key that is not guessable in practice.
const minBootstrap = 16

// hintLen is how much of a secret is kept to recognize it.
const hintLen = 4

// Digest is how secrets of API keys are kept.
func Digest(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// CreateAPIKey makes a key and returns its secret, which is shown this once: a
// repeat of the request returns the key it made, and no secret.
func (s *Service) CreateAPIKey(ctx context.Context, r Request, name string, role Role, acts account.ID) (APIKey, string, error) {
	if !role.Valid() || (role == RoleAccount) != (acts != "") {
		return APIKey{}, "", Invalid("invalid_role", "role must be operator, finance, workspace, readonly, or account with a billing_account_id")
	}
	type made struct {
		key    APIKey
		secret string
	}
	var b [secretBytes]byte
	_, _ = rand.Read(b[:])
	secret := "csk_" + base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:])
	load := func(ctx context.Context, tx ReadTx, id string) (made, error) {
		k, err := findAPIKey(ctx, tx, id)
		return made{key: k}, err
	}
	m, err := once(ctx, s, r, load, func(ctx context.Context, tx Tx) (made, string, error) {
		if acts != "" {
			if _, err := loadBillingAccount(ctx, tx, string(acts)); err != nil {
				return made{}, "", err
			}
		}
		k := s.newAPIKey(name, role, acts, secret)
		return made{k, secret}, k.ID, tx.PutAPIKey(ctx, k)
	})
	return m.key, m.secret, err
}

func (s *Service) newAPIKey(name string, role Role, acts account.ID, secret string) APIKey {
	return APIKey{
		ID: s.NewID("key"), Name: name, Role: role, BillingAccount: acts, Digest: Digest(secret),
		Hint: secret[len(secret)-hintLen:], CreatedAt: s.Now(),
	}
}

// Bootstrap makes secret an operator key, once.
func (s *Service) Bootstrap(ctx context.Context, secret string) error {
	if len(secret) < minBootstrap {
		return Invalid("bootstrap_key_too_short", "the bootstrap API key must have at least %d characters", minBootstrap)
	}
	_, err := InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (APIKey, error) {
		return tx.APIKeyByDigest(ctx, Digest(secret))
	})
	if !errors.Is(err, ErrNotFound) {
		return err
	}
	return s.Store.Update(ctx, func(ctx context.Context, tx Tx) error {
		return tx.PutAPIKey(ctx, s.newAPIKey("bootstrap", RoleOperator, "", secret))
	})
}

// Authenticate returns who a secret stands for, or ErrUnverified. The secret
// is found by its digest, so the time this takes tells nothing about it.
func (s *Service) Authenticate(ctx context.Context, secret string) (Actor, error) {
	if s.LocalSecret != "" && hmac.Equal([]byte(secret), []byte(s.LocalSecret)) {
		return Actor{Name: "local", Role: RoleOperator}, nil
	}
	k, err := InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (APIKey, error) {
		return tx.APIKeyByDigest(ctx, Digest(secret))
	})
	switch {
	case errors.Is(err, ErrNotFound) || err == nil && !k.RevokedAt.IsZero():
		return Actor{}, &Fault{Err: ErrUnverified, Code: "unauthorized", Detail: "this API key is not valid"}
	case err != nil:
		return Actor{}, err
	}
	return Actor{Name: "key:" + k.ID, Role: k.Role, BillingAccount: k.BillingAccount}, nil
}

// APIKeys lists keys, without their secrets.
func (s *Service) APIKeys(ctx context.Context, p Page) (List[APIKey], error) {
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (List[APIKey], error) {
		return listed(tx.APIKeys(ctx, more(p)), p, func(k APIKey) string { return k.ID })
	})
}

// RevokeAPIKey ends a key at once. Revoking it again changes nothing.
func (s *Service) RevokeAPIKey(ctx context.Context, id string) (APIKey, error) {
	return InTx(ctx, s.Store, func(ctx context.Context, tx Tx) (APIKey, error) {
		k, err := findAPIKey(ctx, tx, id)
		if err != nil || !k.RevokedAt.IsZero() {
			return k, err
		}
		k.RevokedAt = s.Now()
		return k, tx.PutAPIKey(ctx, k)
	})
}

func findAPIKey(ctx context.Context, tx ReadTx, id string) (APIKey, error) {
	for k, err := range tx.APIKeys(ctx, Page{Limit: maxAPIKeys}) {
		if err != nil || k.ID == id {
			return k, err
		}
	}
	return APIKey{}, NotFound("API key", id)
}

// maxAPIKeys bounds a scan of all keys; people make tens of them.
const maxAPIKeys = 100_000
