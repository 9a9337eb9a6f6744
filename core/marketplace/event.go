package marketplace

import "time"

// Provider is the short name of a marketplace, for example the folder name of
// its adapter.
type Provider string

// ListingID names one product of ours on one marketplace; it is part of the
// callback path.
type ListingID string

// SubscriptionID identifies a subscription. AccountID identifies a cloud
// account. CallbackID identifies a journal entry.
type (
	SubscriptionID string
	AccountID      string
	CallbackID     string
)

// Kind is what a verified callback says, in our words.
type Kind string

// The kinds of event. Those up to Ended are facts about a subscription.
const (
	Registered      Kind = "registered"       // the buyer came from the marketplace with a proof of purchase
	Activated       Kind = "activated"        // it is bought and may be used
	Renewed         Kind = "renewed"          // the term reaches at least ExpiresAt
	RenewalRefunded Kind = "renewal_refunded" // a renewal was taken back; the term ends at ExpiresAt
	Retermed        Kind = "retermed"         // the term ends at ExpiresAt, whatever was said before by lower ranks
	Changed         Kind = "changed"          // another plan, or other quantities
	Expired         Kind = "expired"          // the term is over, or the buyer is in arrears: freeze
	Suspended       Kind = "suspended"        // freeze until Resumed, whatever the term
	Resumed         Kind = "resumed"          // the reason for freezing is gone
	Ending          Kind = "ending"           // a last window for metering is open
	Ended           Kind = "ended"            // it is over
	Succeeded       Kind = "succeeded"        // it ended because another subscription replaces it
	Linked          Kind = "linked"           // other names of the subscription, or its predecessor

	Noted   Kind = "noted"   // information, or a type of event that we do not know
	Asked   Kind = "asked"   // the marketplace asks about subscriptions
	SignIn  Kind = "sign_in" // the buyer opens our console from the marketplace
	Checked Kind = "checked" // may this subscription change as proposed?
)

// Event is a verified callback, normalized. Only an adapter makes one.
type Event struct {
	Listing  ListingID `json:"listing"`
	Provider Provider  `json:"provider"`
	Kind     Kind      `json:"kind"`
	Action   string    `json:"action"`         // the provider's own word for it
	Test     bool      `json:"test,omitempty"` // a probe: answer as usual, change nothing

	// Delivery identifies the logical callback however often it is sent. An
	// empty Delivery is recognized by its fact alone.
	Delivery string `json:"delivery,omitempty"`
	// Nonce may be used once; an event whose nonce was seen is refused.
	Nonce string `json:"nonce,omitempty"`

	// Subject is the provider's identity of the subscription. Also are other
	// names it goes by (an agreement, an order line, a legacy customer). An
	// event without a Subject is matched by Also; a subscription found by Also
	// adopts the Subject if it has none yet.
	Subject string   `json:"subject,omitempty"`
	Also    []string `json:"also,omitempty"`
	// Proposed becomes the Subject of a new subscription where the provider lets
	// us choose it. A repeat may propose another one; the first stays.
	Proposed string `json:"proposed,omitempty"`
	// Previous is a name of the subscription that this one replaces.
	Previous string `json:"previous,omitempty"`
	// Subjects are asked about by an Asked event.
	Subjects []string `json:"subjects,omitempty"`

	// Account is the buyer's account at the cloud, AccountName its display name.
	Account     string `json:"account,omitempty"`
	AccountName string `json:"account_name,omitempty"`

	// Key tells facts of one kind apart: an order id where there may be several,
	// empty where the newest statement replaces the one before.
	Key string `json:"key,omitempty"`
	// Rank orders facts of one subscription as the provider orders them, byte
	// by byte; empty where the provider gives no order.
	Rank string `json:"rank,omitempty"`

	SKU       string    `json:"sku,omitempty"`
	Quantity  int64     `json:"quantity,omitempty"` // in the listing's unit; 0 is "not stated"
	Trial     *bool     `json:"trial,omitempty"`    // nil is "not stated"
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	// Attributes are provider details kept with the subscription, by the
	// provider's names.
	Attributes map[string]string `json:"attributes,omitempty"`

	// Incomplete events need a call to the provider before they can be applied.
	Incomplete bool `json:"incomplete,omitempty"`
}

// Result says what became of an event.
type Result string

// The results. Every one of them commits; only failures of ours roll back.
const (
	Applied    Result = "applied"    // the state changed
	Duplicate  Result = "duplicate"  // known already, nothing changed
	Stale      Result = "stale"      // superseded by what is known, nothing changed
	Waiting    Result = "waiting"    // kept until the purchase it belongs to arrives
	Processing Result = "processing" // accepted, finished later
	Answered   Result = "answered"   // a question was answered
	Ignored    Result = "ignored"    // verified, and nothing to do
	Tested     Result = "tested"     // a probe of the marketplace
	Replayed   Result = "replayed"   // refused: its nonce was used before
	Refused    Result = "refused"    // refused by a rule of ours
)
