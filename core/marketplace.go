package core

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
	"cloudsettle/core/money"
	"cloudsettle/core/workspace"
)

// Callback is one inbound HTTP request of a marketplace, or one message read
// from a queue of its, before anything about it is believed.
type Callback struct {
	Listing    marketplace.ListingID
	Endpoint   string // the path after the listing: "", "register", "events" or "sso"
	Method     string
	RawQuery   string
	Header     http.Header
	Body       []byte
	ReceivedAt time.Time
	RequestID  string
}

// Reply is what the marketplace is answered, byte for byte.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// Outcome is what became of an event; Reply turns it into the marketplace's
// words.
type Outcome struct {
	Result marketplace.Result
	// Subscription is the subscription after the event; nil if there is none.
	Subscription *marketplace.Subscription
	// Answers are the subscriptions that an Asked event named, in its order.
	Answers []Answer
	// Landing is the path of the page that a buyer goes to next, or "".
	Landing string
	// Effects say in a line each what changed.
	Effects  []string
	Callback marketplace.CallbackID
	// Reason says in a few words why an event was refused or ignored.
	Reason string
}

// Answer is the answer about one subscription.
type Answer struct {
	Subject      string
	Subscription *marketplace.Subscription // nil: unknown
	Landing      string
}

// Adapter speaks one marketplace's dialect of callbacks.
type Adapter interface {
	// Receive verifies cb over its raw bytes and says what it means. It does
	// no I/O to the store; it may call the provider where the callback means
	// nothing otherwise. Errors: ErrUnverified, ErrInvalid, ErrUnsupported,
	// ErrTooLarge, ErrExpired, ErrUnavailable, or internal.
	Receive(ctx context.Context, cb Callback) (marketplace.Event, error)
	// Reply answers cb. It is total: every outcome and every error, known or
	// not, has an answer in the marketplace's dialect. ev is what Receive
	// returned, also beside an error.
	Reply(cb Callback, ev marketplace.Event, out Outcome, err error) Reply
}

// Completer fetches what an Incomplete event lacks.
type Completer interface {
	// Complete returns ev with everything in place, or ErrUnavailable, or
	// ErrInvalid if the provider does not know what ev speaks of. It may run
	// again for the same event.
	Complete(ctx context.Context, ev marketplace.Event) (marketplace.Event, error)
}

// Feed delivers callbacks that are pulled, not pushed.
type Feed interface {
	// Run pulls until ctx is done. Each callback goes through handle, which
	// has applied it durably when it returns nil; only then may Run confirm it
	// to the provider. A callback may be handled more than once.
	Run(ctx context.Context, handle func(context.Context, Callback) error) error
}

// Marketplace is everything one listing's provider can do for us. Nil fields
// but Adapter mean that it does not offer that.
type Marketplace struct {
	Listing   Listing
	Adapter   Adapter
	Completer Completer
	Feed      Feed
	Meter     Meter
}

// Listing is what the rest of the program knows of one product on one
// marketplace.
type Listing struct {
	ID        marketplace.ListingID
	Provider  marketplace.Provider
	Currency  string
	OnRelease workspace.Release
}

// Settings is what an adapter is opened with.
type Settings struct {
	Listing marketplace.ListingID
	// Raw holds the listing's configuration as JSON, secrets resolved. Adapters
	// decode it strictly: an unknown key is an error.
	Raw       json.RawMessage
	PublicURL string
	Now       func() time.Time
	Log       *slog.Logger
	// Dev relaxes what only a public endpoint can satisfy: hosts of simulators
	// are accepted where the configuration names them.
	Dev bool
}

// Meter reports usage to a marketplace.
type Meter interface {
	// Terms are what the marketplace counts in and how it wants to be called.
	Terms() MeterTerms
	// Period returns the period that a charge for usage up to end is reported
	// under, at now, and until when the marketplace accepts it. taken reports
	// whether a period that starts then has a record already; Period then picks
	// another one, or none (ok is false) until a later now.
	Period(end, now time.Time, taken func(start time.Time) bool) (p MeterPeriod, ok bool)
	// Report sends records, at most Terms().Batch, all of one listing, and
	// returns a verdict for each, in any order. It never returns an error for
	// what the marketplace said: a record without an answer is MaybeTaken if it
	// may have been sent, NotTaken if it surely was not. Report does not retry.
	Report(ctx context.Context, records []metering.Record) []metering.Result
	// Resolve decides about a record whose report got no answer, by the
	// marketplace's own rules: send the same again (true) or leave it to a
	// person (false).
	Resolve(r metering.Record) (resend bool)
}

// MeterPeriod is the period of a record, [Start, End), and its window.
type MeterPeriod struct{ Start, End, Deadline time.Time }

// MeterTerms is how a marketplace wants to be reported to.
type MeterTerms struct {
	Dimension  string
	UnitAmount money.Micros
	Currency   money.Currency
	// Batch is how many records one call may have; SameSubscription says that
	// records of one subscription may not share a call or follow each other
	// within Apart.
	Batch            int
	SameSubscription bool
	Apart            time.Duration
	// Rate is how many calls a second the marketplace takes.
	Rate float64
	// MaxUnits is the most that one record may have.
	MaxUnits int64
	// FinalWithin is how long usage is still accepted after a subscription ended.
	FinalWithin time.Duration
	// WholePeriods says that the marketplace takes no period that began before
	// the purchase; others take the hour that the purchase is in.
	WholePeriods bool
	// ReportZero asks for a record of zero units for each hour without usage.
	ReportZero bool
}
