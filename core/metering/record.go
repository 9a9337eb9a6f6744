// Package metering holds what is reported to marketplaces: how charges become
// units, and the life of a record from sealing to the marketplace's answer.
//
// Charges are money, marketplaces count whole units. What is reported is a
// cumulative delta: all charges so far, in whole units, less the units that
// were sealed already. The fraction stays as carry and is never dropped; a
// negative correction is paid off by later charges, never sent.
//
// Owns: units, carry, record states and what an answer does to them. Does not
// own: the marketplace's windows and wire (adapters), prices, the ledger.
package metering

import (
	"errors"
	"time"

	"cloudsettle/core/marketplace"
	"cloudsettle/core/money"
)

// RecordID identifies a metering record.
type RecordID string

// Status is where a record is in its life.
type Status string

// The states. Open gathers; from Sealed on a record never changes but for its
// state. Unknown is what a crash or a timeout leaves; it is resolved by the
// marketplace's own rules. The last four are final, and all but Accepted alarm.
const (
	Open     Status = "open"
	Sealed   Status = "sealed"
	Sending  Status = "sending"
	Unknown  Status = "unknown"
	Accepted Status = "accepted"
	Conflict Status = "conflict" // another quantity is on file for this key
	Rejected Status = "rejected" // the marketplace will not take it
	Expired  Status = "expired"  // its window closed before it was accepted
)

// Final reports whether nothing more can happen to a record.
func (s Status) Final() bool {
	switch s {
	case Accepted, Conflict, Rejected, Expired:
		return true
	}
	return false
}

// Record is one report of units for one subscription and period. (Subscription,
// Dimension, PeriodStart) is its key at the marketplace.
type Record struct {
	ID           RecordID                   `json:"id"`
	Rev          uint64                     `json:"rev"`
	Listing      marketplace.ListingID      `json:"listing"`
	Subscription marketplace.SubscriptionID `json:"subscription"`
	Dimension    string                     `json:"dimension"`
	PeriodStart  time.Time                  `json:"period_start"`
	PeriodEnd    time.Time                  `json:"period_end"`
	Units        int64                      `json:"units"`
	UnitAmount   money.Micros               `json:"unit_amount"`
	Currency     money.Currency             `json:"currency"`
	// Deadline is until when the marketplace accepts it.
	Deadline time.Time `json:"deadline"`
	SealedAt time.Time `json:"sealed_at"`
	Status   Status    `json:"status"`
	Attempts int       `json:"attempts"`
	// RetryAt is when it may be sent again; zero is at once.
	RetryAt time.Time `json:"retry_at,omitzero"`
	SentAt  time.Time `json:"sent_at,omitzero"`
	// Doubt says that an attempt got no answer: the record may be on file,
	// whatever later attempts were told.
	Doubt      bool   `json:"doubt,omitempty"`
	ProviderID string `json:"provider_id,omitempty"` // the marketplace's id for it
	LastError  string `json:"last_error,omitempty"`
	// Resolution is what a person decided about a record that was Unknown.
	Resolution Resolution `json:"resolution,omitzero"`
	// Subject and Attributes are what the marketplace knows the subscription by
	// when the record was sealed; a record is sent as it was sealed.
	Subject    string            `json:"subject"`
	Account    string            `json:"account"` // the buyer's number at the cloud
	Attributes map[string]string `json:"attributes,omitempty"`
}

// Resolution is a person's decision whether a record is on file.
type Resolution struct {
	Accepted bool      `json:"accepted"`
	By       string    `json:"by"`
	Reason   string    `json:"reason"`
	At       time.Time `json:"at"`
}

// Resolve ends an Unknown record as a person says. One that is not on file is
// Rejected, and its units are due again.
func (r Record) Resolve(d Resolution) Record {
	r.Resolution, r.Status, r.Doubt, r.RetryAt = d, Rejected, false, time.Time{}
	if d.Accepted {
		r.Status, r.LastError = Accepted, ""
	}
	return r
}

// Amount is what the units come to.
func (r *Record) Amount() (money.Micros, error) { return times(r.UnitAmount, r.Units) }

// Urgency is how far a record is in its window: 0 sealed just now, 1 expired.
func (r *Record) Urgency(now time.Time) float64 {
	window := r.Deadline.Sub(r.SealedAt)
	if window <= 0 {
		return 1
	}
	return float64(now.Sub(r.SealedAt)) / float64(window)
}

// Verdict is what a marketplace said of one record.
type Verdict string

// The verdicts of a report.
const (
	OK         Verdict = "ok"
	Same       Verdict = "same"        // on file already, with this very quantity
	Different  Verdict = "different"   // on file with another quantity
	Duplicate  Verdict = "duplicate"   // on file; the marketplace does not say with which quantity
	NotTaken   Verdict = "not_taken"   // not processed, nothing is on file: send again
	Throttled  Verdict = "throttled"   // not processed: send again later
	Refused    Verdict = "refused"     // will never be accepted as it is
	NotActive  Verdict = "not_active"  // the buyer is not subscribed (any more)
	OutOfTime  Verdict = "out_of_time" // outside the window
	MaybeTaken Verdict = "maybe"       // the answer was lost: it may be on file or not
)

// Result is the verdict on one record.
type Result struct {
	Record     RecordID
	Verdict    Verdict
	ProviderID string
	Detail     string // a few words, no secrets
	RetryAfter time.Duration
}

// ErrUnits says that units or amounts do not fit.
var ErrUnits = errors.New("units out of range")
