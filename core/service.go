package core

import (
	"cmp"
	"context"
	"log/slog"
	"sync"
	"time"

	"cloudsettle/core/marketplace"
	"cloudsettle/core/workspace"
)

// Config is what a Service is made of.
type Config struct {
	Store        Store
	Marketplaces []Marketplace
	Sites        []workspace.Site
	Mailer       Mailer
	Now          func() time.Time
	NewID        func(prefix string) string
	Log          *slog.Logger
	// LinkKey signs links to landing pages; at least 32 random bytes.
	LinkKey []byte
	// Dev allows to settle days that are not over.
	Dev bool
	// Brand is shown to buyers.
	Brand string
	// MonthlyCloseDay is the day of a month on which the month before is closed,
	// 1 to 28; 0 is DefaultCloseDay.
	MonthlyCloseDay int
	// PaymentDays is how long after it was issued a monthly bill must be paid; 0
	// is DefaultPaymentDays.
	PaymentDays int
	// LocalSecret, if not empty, is an operator's API key that is not stored:
	// for programs that have opened the store themselves.
	LocalSecret string
	Alerts      Alerts
	// Shared says that other processes may serve the same store: a large day is
	// cut into parts, which costs a sixth more time where nobody shares them.
	Shared bool
	// Replica tells this process from others on the same store; random if empty.
	Replica string
}

// Service is what the program does, for whoever asks: webhooks, API, CLI.
type Service struct {
	Config
	markets  map[marketplace.ListingID]Marketplace
	sites    map[string]workspace.Site
	links    linkSigner
	rejected rejectLog
	traffic  *traffic
	calls    sync.WaitGroup // to marketplaces that are under way
	sent     sentLog
	watch    watch
	zeroed   zeroLog
	duties   duties
	prices   priceList
	rangeOf  int // how many workspaces of a day are settled as one task
}

// NewService returns a service. Run must be running for tasks to be done.
func NewService(c Config) *Service {
	c.MonthlyCloseDay = cmp.Or(c.MonthlyCloseDay, DefaultCloseDay)
	c.PaymentDays = cmp.Or(c.PaymentDays, DefaultPaymentDays)
	if c.Replica == "" {
		c.Replica = c.NewID("replica")
	}
	s := &Service{
		Config:  c,
		markets: make(map[marketplace.ListingID]Marketplace, len(c.Marketplaces)),
		sites:   make(map[string]workspace.Site, len(c.Sites)),
		links:   linkSigner{key: c.LinkKey},

		traffic: newTraffic(), rangeOf: settleRange,
	}
	for _, m := range c.Marketplaces {
		s.markets[m.Listing.ID] = m
	}
	for _, site := range c.Sites {
		s.sites[site.Code] = site
	}
	return s
}

// Marketplace returns the marketplace of a listing.
func (s *Service) Marketplace(id marketplace.ListingID) (Marketplace, bool) {
	m, ok := s.markets[id]
	return m, ok
}

// completeWithin bounds the call to a provider that a callback waits for.
// Huawei's caller gives up after 5 s (its interface guide for V2, 2025).
const completeWithin = 3 * time.Second

// Carried is one callback with all that became of it.
type Carried struct {
	Event   marketplace.Event // what was understood of it, also beside an error
	Outcome Outcome
	Reply   Reply
	Err     error // the one that Reply already answers, for the log
}

// Callback carries one callback through the program.
func (s *Service) Callback(ctx context.Context, m Marketplace, cb Callback) (Reply, error) {
	c := s.Carry(ctx, m, cb)
	return c.Reply, c.Err
}

// Carry carries one callback through the program and tells all that became of
// it; each line is one stage.
func (s *Service) Carry(ctx context.Context, m Marketplace, cb Callback) Carried {
	s.traffic.note()
	ev, err := m.Adapter.Receive(ctx, cb)
	var out Outcome
	if err == nil {
		out, err = s.Handle(ctx, m, cb, ev)
	}
	if refused(out, err) {
		s.reject(cb, ev, out, err)
	}
	return Carried{Event: ev, Outcome: out, Reply: m.Adapter.Reply(cb, ev, out, err), Err: err}
}

// Refuse answers a callback that could not be read, and why, in the
// marketplace's dialect. It changes nothing.
func (s *Service) Refuse(m Marketplace, cb Callback, why error) Carried {
	if refused(Outcome{}, why) {
		s.reject(cb, marketplace.Event{}, Outcome{}, why)
	}
	return Carried{Reply: m.Adapter.Reply(cb, marketplace.Event{}, Outcome{}, why), Err: why}
}

// Handle completes an event if need be and applies it. What cannot be
// completed in time is accepted and finished later.
func (s *Service) Handle(ctx context.Context, m Marketplace, cb Callback, ev marketplace.Event) (Outcome, error) {
	// As it is stored: the end of a binding and what is billed up to it must be
	// the same instant.
	cb.ReceivedAt = cb.ReceivedAt.Truncate(time.Microsecond)
	if !ev.Incomplete || ev.Test || m.Completer == nil {
		return s.apply(ctx, m, cb, ev, nil)
	}
	whole, err := s.complete(ctx, m, ev)
	switch {
	case err == nil:
		return s.apply(ctx, m, cb, whole, nil)
	case IsRetryable(err):
		return s.apply(ctx, m, cb, ev, err)
	default:
		return Outcome{}, err
	}
}

func (s *Service) complete(ctx context.Context, m Marketplace, ev marketplace.Event) (marketplace.Event, error) {
	ctx, cancel := context.WithTimeout(ctx, completeWithin)
	defer cancel()
	whole, err := m.Completer.Complete(ctx, ev)
	whole.Incomplete = false
	return whole, err
}
