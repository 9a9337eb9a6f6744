package marketplace

import (
	"slices"
	"time"
)

// Status is where a subscription is in its life cycle.
type Status string

// The states; docs/flow.md has the diagram.
const (
	StatusPending Status = "pending" // not yet activated
	StatusActive  Status = "active"
	StatusFrozen  Status = "frozen" // service paused, data kept
	StatusEnding  Status = "ending" // last metering window
	StatusEnded   Status = "ended"
)

// Fact is one thing that a marketplace stated about a subscription.
type Fact struct {
	Kind      Kind         `json:"kind"`
	Key       string       `json:"key,omitempty"`
	Rank      string       `json:"rank,omitempty"`
	SeenAt    time.Time    `json:"seen_at"`
	Callback  CallbackID   `json:"callback,omitempty"`
	Trial     *bool        `json:"trial,omitempty"`
	SKU       string       `json:"sku,omitempty"`
	Quantity  int64        `json:"quantity,omitempty"`
	ExpiresAt time.Time    `json:"expires_at,omitzero"`
	Details   []Attributed `json:"details,omitempty"`
}

// Attributed is one provider detail. Details are kept sorted by name.
type Attributed struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Subscription is what a buyer bought: a set of facts and what follows from
// them. The fields below Facts are derived and never set by hand.
type Subscription struct {
	ID       SubscriptionID `json:"id"`
	Rev      uint64         `json:"rev"`
	Listing  ListingID      `json:"listing"`
	Provider Provider       `json:"provider"`
	// Subject is the provider's identity of the subscription, Also its other names.
	Subject string   `json:"subject"`
	Also    []string `json:"also,omitempty"`
	// Account is empty until a purchase is known; such a subscription only
	// holds facts that came early and is shown to nobody.
	Account AccountID `json:"account,omitempty"`
	// Previous and Next link a subscription to the one it replaces and the one
	// that replaces it.
	Previous SubscriptionID `json:"previous,omitempty"`
	Next     SubscriptionID `json:"next,omitempty"`

	Facts []Fact `json:"facts"`

	Status    Status    `json:"status"`
	SKU       string    `json:"sku,omitempty"`
	Quantity  int64     `json:"quantity,omitempty"`
	Trial     bool      `json:"trial,omitempty"`
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	// Replaced says that a successor takes over its workspaces.
	Replaced bool `json:"replaced,omitempty"`

	CreatedAt   time.Time `json:"created_at"`
	LastEventAt time.Time `json:"last_event_at"`
}

// Known reports whether the purchase itself is known, not only later facts.
func (s *Subscription) Known() bool { return s.Account != "" }

// Live reports whether workspaces may be bound to s and used: it is neither
// over, nor frozen, nor waiting for its activation or its last metering.
func (s *Subscription) Live() bool { return s.Status == StatusActive }

// StoppedAt is when we heard that s ends or has ended; zero while it goes on.
// What was said before it was last activated does not count.
func (s *Subscription) StoppedAt() time.Time {
	if s.Status != StatusEnding && s.Status != StatusEnded {
		return time.Time{}
	}
	activated := s.newest(Activated)
	for _, k := range []Kind{Ending, Ended} {
		if f := s.newest(k); f != nil && (activated == nil || f.Rank >= activated.Rank) {
			return f.SeenAt
		}
	}
	return time.Time{}
}

// Attribute returns the newest value of a provider detail, or "".
func (s *Subscription) Attribute(name string) string {
	value, rank := "", ""
	for _, f := range s.Facts {
		for _, d := range f.Details {
			if d.Name == name && (value == "" || f.Rank >= rank) {
				value, rank = d.Value, f.Rank
			}
		}
	}
	return value
}

// Clone returns a copy that shares nothing with s.
func (s Subscription) Clone() Subscription {
	s.Facts = slices.Clone(s.Facts)
	s.Also = slices.Clone(s.Also)
	return s
}

// Holds reports whether what ev states is among the facts of s, or was
// superseded there.
func (s *Subscription) Holds(ev Event) bool {
	if !ev.Kind.states() {
		return true
	}
	at, found := slices.BinarySearchFunc(s.Facts, Fact{Kind: ev.Kind, Key: ev.Key}, compareFacts)
	return found && s.Facts[at].Rank >= ev.Rank
}

// HasName reports whether name identifies s.
func (s *Subscription) HasName(name string) bool {
	return s.Subject == name || slices.Contains(s.Also, name)
}

// Account is a buyer's account at a cloud, as saved by us. It can settle any
// number of workspaces once a billing account has claimed it.
type Account struct {
	ID         AccountID `json:"id"`
	Rev        uint64    `json:"rev"`
	Listing    ListingID `json:"listing"`
	Provider   Provider  `json:"provider"`
	ProviderID string    `json:"provider_id"` // the provider's number, a string: leading zeros count
	Name       string    `json:"name,omitempty"`
	// BillingAccount is the billing account that claimed it, or "".
	BillingAccount string           `json:"billing_account,omitempty"`
	Subscriptions  []SubscriptionID `json:"subscriptions"`
	CreatedAt      time.Time        `json:"created_at"`
}

// Details returns the newest value of every provider detail.
func (s *Subscription) Details() map[string]string {
	out := map[string]string{}
	for _, f := range s.Facts {
		for _, d := range f.Details {
			out[d.Name] = s.Attribute(d.Name)
		}
	}
	return out
}
