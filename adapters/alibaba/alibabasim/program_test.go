package alibabasim_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"cloudsettle/adapters/alibaba"
	"cloudsettle/adapters/alibaba/alibabasim"
	"cloudsettle/adapters/internal/sim"
	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

// clock is a clock that stands still until it is moved.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// program is the smallest program around the adapter: subscriptions in a map.
type program struct {
	adapter core.Adapter
	clock   *clock

	mu     sync.Mutex
	subs   map[string]marketplace.Subscription
	nonces map[string]bool
	noted  map[string]int
	// before, if set, may answer instead of the program.
	before func(cb core.Callback) (status int, body string)
}

func (p *program) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	endpoint := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/webhooks/ali"), "/")
	cb := core.Callback{
		Listing: "ali", Endpoint: endpoint, Method: r.Method, RawQuery: r.URL.RawQuery,
		Header: r.Header, Body: body, ReceivedAt: p.clock.now(), RequestID: "req_1",
	}
	if p.before != nil {
		if status, text := p.before(cb); status != 0 {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text)
			return
		}
	}
	reply := p.handle(r.Context(), cb)
	for name, values := range reply.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(reply.Status)
	_, _ = w.Write(reply.Body)
}

func (p *program) handle(ctx context.Context, cb core.Callback) core.Reply {
	ev, err := p.adapter.Receive(ctx, cb)
	var out core.Outcome
	if err == nil {
		out, err = p.apply(ev)
	}
	return p.adapter.Reply(cb, ev, out, err)
}

func (p *program) apply(ev marketplace.Event) (core.Outcome, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch ev.Kind {
	case marketplace.Noted:
		p.noted[ev.Delivery]++
		return core.Outcome{Result: marketplace.Ignored}, nil
	case marketplace.SignIn:
		return p.signIn(ev)
	}
	sub, known := p.subs[ev.Subject]
	if !known {
		sub.ID = marketplace.SubscriptionID("sub_" + ev.Subject)
	}
	next, result := marketplace.Decide(sub, ev, p.clock.now(), "cb_1")
	if ev.Account != "" {
		next.Account = marketplace.AccountID("cac_" + ev.Account)
	}
	p.subs[ev.Subject] = next
	return core.Outcome{Result: result, Subscription: &next, Landing: "/landing/" + ev.Subject}, nil
}

func (p *program) signIn(ev marketplace.Event) (core.Outcome, error) {
	sub, known := p.subs[ev.Subject]
	switch {
	case !known:
		return core.Outcome{}, core.ErrNotFound
	case p.nonces[ev.Nonce]:
		return core.Outcome{Result: marketplace.Replayed, Subscription: &sub}, nil
	}
	p.nonces[ev.Nonce] = true
	return core.Outcome{Result: marketplace.Answered, Subscription: &sub, Landing: "/landing/" + ev.Subject}, nil
}

// bench is a program and a marketplace that know each other.
type bench struct {
	*program
	clock  *clock
	market core.Marketplace
	sim    *alibabasim.Simulator
	url    string // of the simulator
	// confirmed receives a value for each call of ConfirmNotification.
	confirmed chan struct{}
}

// newBench returns a bench with a usual configuration; change edits it.
func newBench(t *testing.T, site string, cfg sim.Config, change ...func(map[string]any)) *bench {
	t.Helper()
	b := &bench{
		clock:     &clock{t: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)},
		confirmed: make(chan struct{}, 1000),
	}
	b.program = &program{
		clock: b.clock, subs: map[string]marketplace.Subscription{},
		nonces: map[string]bool{}, noted: map[string]int{},
	}
	seller := httptest.NewServer(b.program)
	t.Cleanup(seller.Close)
	var simHandler http.Handler
	simServer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		simHandler.ServeHTTP(w, r)
		if r.URL.Query().Get("Action") == "ConfirmNotification" {
			b.confirmed <- struct{}{}
		}
	}))
	t.Cleanup(simServer.Close)

	listing := map[string]any{
		"provider": "alibaba", "site": site, "product_code": "cmgj00012345", "spi_key": "test-isv-key-0001",
		"spi_key_previous": "test-isv-key-0000", "access_key_id": "test-ak", "access_key_secret": "test-sk",
		"endpoint": simServer.URL,
	}
	for _, edit := range change {
		edit(listing)
	}
	raw, err := json.Marshal(listing)
	if err != nil {
		t.Fatal(err)
	}
	b.market, err = alibaba.Open(core.Settings{
		Listing: "ali", Raw: raw, PublicURL: seller.URL, Now: b.clock.now, Dev: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	b.adapter = b.market.Adapter
	cfg.Listing, cfg.Raw, cfg.Target, cfg.BaseURL = "ali", raw, seller.URL, simServer.URL
	cfg.Now = b.clock.now
	simulator, err := alibabasim.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b.sim = simulator.(*alibabasim.Simulator)
	t.Cleanup(func() { _ = b.sim.Close() })
	simHandler, b.url = b.sim, simServer.URL
	return b
}

func (b *bench) wait(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := b.sim.Wait(ctx); err != nil {
		t.Fatal(err)
	}
}

var statuses = map[string]marketplace.Status{
	alibabasim.Opened:  marketplace.StatusActive,
	alibabasim.Expired: marketplace.StatusFrozen,
	alibabasim.Closed:  marketplace.StatusEnded,
}

// compare checks that the program believes what the marketplace does.
func (b *bench) compare(t *testing.T, when string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.sim.Instances()
	if len(all) != len(b.subs) {
		t.Errorf("%s: %d subscriptions, want %d", when, len(b.subs), len(all))
	}
	for _, i := range all {
		sub := b.subs[i.ID]
		got := fmt.Sprintln(sub.Status, sub.SKU, sub.Trial, sub.ExpiresAt, sub.Account)
		want := fmt.Sprintln(statuses[i.Status], i.SKU, i.Trial, i.ExpiresOn.UTC(), "cac_"+i.AliUID)
		if got != want {
			t.Errorf("%s: %s is %s, want %s", when, i.ID, got, want)
		}
		for name, value := range i.Items {
			if sub.Attribute(name) != value {
				t.Errorf("%s: %s has %s = %q, want %q", when, i.ID, name, sub.Attribute(name), value)
			}
		}
		if i.Problem != "" || i.SellerID != i.ID {
			t.Errorf("%s: instanceId of %s is %q: %s", when, i.ID, i.SellerID, i.Problem)
		}
	}
}

type state struct {
	Instances []alibabasim.Instance `json:"instances"`
	Parked    int                   `json:"parked"`
	Stuck     int                   `json:"stuck"`
}

func (b *bench) state(t *testing.T) state {
	t.Helper()
	var s state
	b.call(t, http.MethodGet, "/_sim/state", "", &s)
	return s
}

func (b *bench) call(t *testing.T, method, path, body string, out any) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}
