package core

import (
	"time"

	"cloudsettle/core/account"
)

// Role is what an API key may do.
type Role string

// The roles. A key that acts for one billing account has RoleAccount.
const (
	RoleOperator  Role = "operator"
	RoleFinance   Role = "finance"
	RoleWorkspace Role = "workspace"
	RoleReadonly  Role = "readonly"
	RoleAccount   Role = "account"
)

// Valid reports whether r is a role that keys may have.
func (r Role) Valid() bool {
	switch r {
	case RoleOperator, RoleFinance, RoleWorkspace, RoleReadonly, RoleAccount:
		return true
	}
	return false
}

// APIKey lets a program act. Only the digest of its secret is kept.
type APIKey struct {
	ID             string     `json:"id"`
	Rev            uint64     `json:"rev"`
	Name           string     `json:"name"`
	Role           Role       `json:"role"`
	BillingAccount account.ID `json:"billing_account,omitempty"` // with RoleAccount
	Digest         string     `json:"digest"`
	Hint           string     `json:"hint"` // the last characters of the secret, to recognize it
	CreatedAt      time.Time  `json:"created_at"`
	RevokedAt      time.Time  `json:"revoked_at,omitzero"`
}

// Actor is who asks for something.
type Actor struct {
	Name           string // for histories: "key:key_…", "buyer:…", "system"
	Role           Role
	BillingAccount account.ID // with RoleAccount: the only account it may touch
}

// May reports whether the actor may see or change what belongs to a billing account.
func (a Actor) May(owner account.ID) bool {
	return a.Role != RoleAccount || (owner != "" && owner == a.BillingAccount)
}

// Request is what every change carries: who asks, and the key that makes a
// repeat safe.
type Request struct {
	Actor Actor
	// Key is the caller's idempotency key, or "". Digest is of what was asked;
	// the same key with another digest is ErrKeyReused.
	Key    string
	Digest string
}
