// Package workspace holds workspaces, the units of usage, and the bindings
// that say how each is settled.
//
// Owns: who may be bound to what and when that may change, and what the state
// of a subscription does to its workspaces. Does not own: usage, bills, the
// subscription itself.
package workspace

import (
	"time"

	"cloudsettle/core/account"
	"cloudsettle/core/marketplace"
)

// ID identifies a workspace, BindingID one binding of a workspace.
type (
	ID        string
	BindingID string
)

// Status says whether a workspace takes data.
type Status string

// The states of a workspace. A locked workspace can be read and unlocked until
// its buffer ends; after that its data may be deleted.
const (
	Open   Status = "active"
	Locked Status = "locked"
)

// BufferPeriod is how long a locked workspace keeps its data: the product's
// promise to its customers.
const BufferPeriod = 14 * 24 * time.Hour

// Workspace is a unit of usage and of settlement.
type Workspace struct {
	ID         ID     `json:"id"`
	Rev        uint64 `json:"rev"`
	Name       string `json:"name"`
	Site       string `json:"site"`
	OwnerEmail string `json:"owner_email"`
	// OpenedBy is the marketplace through which it was opened, or "". Such a
	// workspace settles through that cloud while the subscription lasts.
	OpenedBy  marketplace.Provider `json:"opened_by,omitempty"`
	LockedAt  time.Time            `json:"locked_at,omitzero"`
	CreatedAt time.Time            `json:"created_at"`
}

// Status derives the state from the lock.
func (w *Workspace) Status() Status {
	if w.LockedAt.IsZero() {
		return Open
	}
	return Locked
}

// BufferEndsAt is when the data of a locked workspace may be deleted; zero
// while it is open.
func (w *Workspace) BufferEndsAt() time.Time {
	if w.LockedAt.IsZero() {
		return time.Time{}
	}
	return w.LockedAt.Add(BufferPeriod)
}

// Method is how a workspace is paid for.
type Method string

// The settlement methods.
const (
	ByBillingAccount Method = "billing_account"
	ByCloudAccount   Method = "cloud_account"
)

// Settlement is a method with what it needs.
type Settlement struct {
	Method       Method                     `json:"method"`
	Subscription marketplace.SubscriptionID `json:"subscription,omitempty"`
}

// Cause says why a binding was made.
type Cause string

// The causes of a binding. Only those a customer chose count against the rule
// of one change a month.
const (
	Chosen             Cause = "chosen"
	SubscriptionEnded  Cause = "subscription_ended"
	SubscriptionFollow Cause = "subscription_replaced"
)

// Binding says how a workspace is settled in [From, To). Bindings are never
// changed but for being ended; together they are the workspace's history.
type Binding struct {
	ID             BindingID  `json:"id"`
	Workspace      ID         `json:"workspace"`
	BillingAccount account.ID `json:"billing_account"`
	Settlement     Settlement `json:"settlement"`
	From           time.Time  `json:"from"`
	To             time.Time  `json:"to,omitzero"` // zero while it holds
	Cause          Cause      `json:"cause"`
	By             string     `json:"by,omitempty"` // who asked for it
	// Left is the subscription whose end caused this binding, if one did.
	Left marketplace.SubscriptionID `json:"left,omitempty"`
}
