// Package sim is what the marketplaces' simulators share: delivering callbacks
// with retries and with the faults of real networks, and telling afterwards
// what happened.
//
// A simulator is a real HTTP server. It misbehaves from a seed, so that a
// failing run can be repeated. It does not simulate: TLS, the marketplaces'
// consoles and review processes, their rate limits on callbacks, their bills.
package sim

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"cloudsettle/core/marketplace"
)

// Config is what every simulator is started with.
type Config struct {
	Listing marketplace.ListingID
	// Raw is the listing's configuration, the same that the adapter gets: both
	// sides then agree on keys and product codes.
	Raw json.RawMessage
	// Target is where the program listens, for example http://127.0.0.1:8080;
	// callbacks go to Target/webhooks/{listing}.
	Target string
	// BaseURL is where the simulator itself is reached; set once it listens.
	BaseURL  string
	Now      func() time.Time
	Seed     uint64
	Faults   Faults
	Compress float64 // divides all waits: 3600 makes an hour a second; 0 means 1
	Client   *http.Client
	Log      *slog.Logger
}

// Faults are probabilities from 0 to 1 of what networks and marketplaces do.
type Faults struct {
	Repeat    float64 `json:"repeat"`     // deliver again after success
	Delay     float64 `json:"delay"`      // hold back, so that callbacks overtake each other
	DropReply float64 `json:"drop_reply"` // lose the answer after the program gave it
}

// Hostile is what tests use by default.
var Hostile = Faults{Repeat: 0.3, Delay: 0.3, DropReply: 0.2}

// Simulator plays one marketplace for one listing. Its handler serves the
// marketplace's own API, a page at / to buy and cancel by hand, and /_sim/…
// to script it.
type Simulator interface {
	http.Handler
	// Events lists what Trigger knows.
	Events() []Event
	// Trigger does what makes the marketplace send an event's callback, sends
	// it once, without faults, and returns how it went. Parameters that are not
	// given get defaults.
	Trigger(ctx context.Context, event string, params map[string]string) (Attempt, error)
	// Attempts returns what was delivered so far, oldest first.
	Attempts() []Attempt
	// Wait returns when no delivery is under way.
	Wait(ctx context.Context) error
	// Close stops all deliveries and waits for them.
	Close() error
}

// Event describes one event for the command line and the page.
type Event struct {
	Name   string   // "createInstance"
	Help   string   // one line
	Params []string // the parameters it takes
}

// Attempt is one delivery of a callback and its answer.
type Attempt struct {
	Name     string    `json:"name"`
	N        int       `json:"n"` // 1 is the first
	At       time.Time `json:"at"`
	URL      string    `json:"url"`
	Status   int       `json:"status"`
	Location string    `json:"location,omitempty"`
	Body     string    `json:"body"`
	Error    string    `json:"error,omitempty"`
	Accepted bool      `json:"accepted"` // the marketplace is content
	Lost     bool      `json:"lost"`     // the answer was dropped on purpose
}
