package core

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"cloudsettle/core/marketplace"
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
