package huaweisim

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"cloudsettle/adapters/internal/sim"
)

// callerTimeout is after how long KooGallery hangs up, as documented.
const callerTimeout = 5 * time.Second

// maxViolations bounds how many violations are remembered.
const maxViolations = 1000

// Sim is a simulated KooGallery. It is safe for concurrent use.
type Sim struct {
	cfg    sim.Config
	own    settings
	sender *sim.Sender
	mux    *http.ServeMux

	mu         sync.Mutex
	rnd        *rand.Rand
	key        string // that callbacks are signed with now
	lastStamp  int64  // milliseconds of the last signed timestamp
	seq        int    // of orders
	orders     []*Order
	instances  []*Instance
	stopped    []*call // given up; a person may restart them
	violations []string
	orderQuery string // how Query order misbehaves; "" is well
	cadence    string // how callbacks are repeated: "burst" or "hourly"
	meter      meter
}

var _ sim.Simulator = (*Sim)(nil)

// settings are the parts of the listing's configuration that both sides share.
type settings struct {
	Key             string `json:"key"`
	OrderNotifyKey  string `json:"order_notify_key"`
	AccessKeyID     string `json:"access_key_id"`
	SecretAccessKey string `json:"secret_access_key"`
	Site            string `json:"site"`
	Metering        struct {
		UsageValue string `json:"usage_value"`
		Batch      int    `json:"batch"`
		Rate       int    `json:"rate"`
	} `json:"metering"`
}

// China reports whether the listing is sold in China, as it is if nothing is said.
func (s settings) China() bool { return s.Site == "" || s.Site == "cn" }

// New returns a simulator that is to be closed.
func New(cfg sim.Config) (*Sim, error) {
	var own settings
	if err := json.Unmarshal(cfg.Raw, &own); err != nil {
		return nil, fmt.Errorf("huaweisim: configuration: %w", err)
	}
	if own.Key == "" {
		return nil, errors.New("huaweisim: configuration: key: missing")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Sim{
		own: own, key: own.Key, cadence: "burst", meter: newMeter(),
		rnd: rand.New(rand.NewPCG(cfg.Seed, cfg.Seed+1)), // #nosec -- reproducible on purpose
	}
	cfg.Client = s.client(cfg.Client)
	s.cfg, s.sender = cfg, sim.NewSender(cfg)
	s.mux = s.routes()
	return s, nil
}

// client returns a client like KooGallery's that checks every answer.
func (s *Sim) client(base *http.Client) *http.Client {
	c := &http.Client{}
	if base != nil {
		*c = *base
	}
	if c.Transport == nil {
		c.Transport = http.DefaultTransport
	}
	c.Transport = checkingTransport{c.Transport, s}
	c.Timeout = callerTimeout
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}

// ServeHTTP serves Query order, the control API and the page.
func (s *Sim) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Attempts returns what was delivered so far, oldest first.
func (s *Sim) Attempts() []sim.Attempt { return s.sender.Attempts() }

// Wait returns when no delivery is under way.
func (s *Sim) Wait(ctx context.Context) error { return s.sender.Wait(ctx) }

// Close stops all deliveries and waits for them.
func (s *Sim) Close() error { return s.sender.Close() }

// Violations returns what was wrong with the program's answers.
func (s *Sim) Violations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.violations)
}

// violate notes a violation. The caller must not hold the lock.
func (s *Sim) violate(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.violateLocked(format, args...)
}

func (s *Sim) violateLocked(format string, args ...any) {
	if len(s.violations) < maxViolations {
		s.violations = append(s.violations, fmt.Sprintf(format, args...))
	}
}

// events are the activities; some are of one version only.
func events() []sim.Event {
	event := func(name, help, params string) sim.Event {
		return sim.Event{Name: name, Help: help, Params: strings.Fields(params + " testFlag")}
	}
	const change = "instanceId orderId skuCode productId quantity"
	return []sim.Event{
		event("newInstance", "a purchase; version=1 for the old interface, testFlag=1 for a probe",
			"orderId orderLineId businessId customerId customerName productId skuCode quantity "+
				"chargingMode orderType expireTime version"),
		event("queryInstance", "asks about an instance", "instanceId version"),
		event("refreshInstance", "a renewal, its refund, or a trial that becomes formal",
			"instanceId scene orderId expireTime productId trialToFormal version"),
		event("updateInstanceStatus", "freezes or thaws", "instanceId status"),
		event("releaseInstance", "ends an instance", "instanceId orderId version"),
		event("upgradeInstance", "another plan or quantity", change),
		event("changeInstanceCheck", "asks whether a change is possible", change),
		event("orderNotify", "tells of an order", "orderId orderLineId"),
		event("expireInstance", "version 1: the term is over", "instanceId orderId"),
		event("instanceStatus", "version 1: freezes or thaws", "instanceId instanceStatus"),
		event("upgrade", "version 1: another plan or quantity", change),
		event("getLicense", "version 1: asks for a licence", "customerId orderId productId"),
	}
}

// Events lists what Trigger knows.
func (s *Sim) Events() []sim.Event { return events() }

// Trigger sends one callback, once and without faults. What is not given comes
// from the newest instance, or is made up; unknown ids are used as they are.
func (s *Sim) Trigger(
	ctx context.Context, event string, params map[string]string,
) (sim.Attempt, error) {
	c, err := s.prepare(event, params)
	if err != nil {
		return sim.Attempt{}, err
	}
	return s.sender.Once(ctx, c.delivery()), nil
}

// prepare changes the book as the event says and returns its call.
func (s *Sim) prepare(event string, params map[string]string) (*call, error) {
	at := slices.IndexFunc(events(), func(e sim.Event) bool { return e.Name == event })
	if at < 0 {
		return nil, fmt.Errorf("huaweisim: event %q is not known", event)
	}
	if err := known(events()[at], params); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := maps.Clone(params)
	if p == nil {
		p = map[string]string{}
	}
	switch event {
	case "newInstance":
		return s.buy(p)[0], nil
	case "orderNotify":
		o := s.order(p["orderId"])
		return s.notice(event, map[string]any{
			"orderId": o.OrderID, "orderLineId": cmp.Or(p["orderLineId"], o.Lines[0].OrderLineID),
		}, p), nil
	case "getLicense":
		return s.license(p), nil
	}
	return s.aboutInstance(event, p)
}

func known(e sim.Event, params map[string]string) error {
	for name := range params {
		if !slices.Contains(e.Params, name) {
			return fmt.Errorf("huaweisim: %s has no parameter %q; it has %s",
				e.Name, name, strings.Join(e.Params, ", "))
		}
	}
	return nil
}

// aboutInstance prepares an event about an instance that is there already. The
// version that is asked for, or the only one that has the event, becomes the
// instance's.
func (s *Sim) aboutInstance(event string, p map[string]string) (*call, error) {
	i := s.instanceFor(p)
	switch event {
	case "expireInstance", "instanceStatus", "upgrade":
		i.Version = 1
	case "updateInstanceStatus", "upgradeInstance", "changeInstanceCheck":
		i.Version = 2
	default:
		if p["version"] != "" {
			i.Version = versionOf(p)
		}
	}
	switch event {
	case "queryInstance":
		return s.query(i, p), nil
	case "refreshInstance":
		return s.refresh(i, p)
	case "updateInstanceStatus":
		return s.setStatus(i, cmp.Or(p["status"], "FREEZE") == "FREEZE", p), nil
	case "instanceStatus":
		return s.setStatus(i, cmp.Or(p["instanceStatus"], "FREEZE") == "FREEZE", p), nil
	case "expireInstance":
		return s.expire(i, p), nil
	case "releaseInstance":
		return s.release(i, p), nil
	case "changeInstanceCheck":
		return s.check(i, p), nil
	default:
		return s.upgrade(i, p)
	}
}
