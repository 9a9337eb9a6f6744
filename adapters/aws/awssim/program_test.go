package awssim_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloudsettle/adapters/aws"
	"cloudsettle/adapters/aws/awssim"
	"cloudsettle/adapters/internal/sim"
	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

const productCode = "aw4fgf5tyo5w2ap6fexample"

// program is the least that can be behind an adapter: subscriptions in a map,
// found as core finds them.
type program struct {
	market core.Marketplace
	now    func() time.Time

	mu   sync.Mutex
	subs []*marketplace.Subscription
}

// ServeHTTP takes callbacks as the webhook server does.
func (p *program) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	_, endpoint, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/webhooks/"), "/")
	reply, _ := p.handle(r.Context(), core.Callback{
		Listing: "aws-main", Endpoint: endpoint, Method: r.Method, RawQuery: r.URL.RawQuery, Header: r.Header,
		Body: body, ReceivedAt: p.now(), RequestID: "req_test",
	})
	for k, v := range reply.Header {
		w.Header()[k] = v
	}
	w.WriteHeader(reply.Status)
	_, _ = w.Write(reply.Body)
}

func (p *program) handle(ctx context.Context, cb core.Callback) (core.Reply, error) {
	ev, err := p.market.Adapter.Receive(ctx, cb)
	if err == nil && ev.Incomplete {
		ev, err = p.market.Completer.Complete(ctx, ev)
	}
	var out core.Outcome
	if err == nil {
		out = p.apply(ev)
	}
	return p.market.Adapter.Reply(cb, ev, out, err), err
}

func (p *program) apply(ev marketplace.Event) core.Outcome {
	p.mu.Lock()
	defer p.mu.Unlock()
	if ev.Kind == marketplace.Noted {
		return core.Outcome{Result: marketplace.Ignored}
	}
	own := p.find(&ev)
	sub, result := marketplace.Decide(*own, ev, p.now(), "cb")
	if sub.Account == "" && ev.Account != "" {
		sub.Account = marketplace.AccountID(ev.Account)
	}
	*own = sub
	if ev.Previous != "" && own.Previous == "" {
		prev := p.byName(ev.Previous)
		if prev == nil {
			prev = p.make()
			prev.Also = []string{ev.Previous}
		}
		own.Previous, prev.Next = prev.ID, own.ID
	}
	out := core.Outcome{Result: result, Subscription: own}
	if own.Known() {
		out.Landing = "/landing/" + string(own.ID)
	}
	return out
}

func (p *program) find(ev *marketplace.Event) *marketplace.Subscription {
	own := p.byName(ev.Subject)
	var taken []string
	for _, name := range ev.Also {
		other := p.byName(name)
		switch {
		case other == nil || other == own:
		case own == nil && (other.Subject == "" || ev.Subject == ""):
			own = other
		case own != nil && other.Subject == "" && !other.Known():
			p.merge(own, other)
		default:
			taken = append(taken, name)
		}
	}
	ev.Also = slices.DeleteFunc(slices.Clone(ev.Also), func(n string) bool { return slices.Contains(taken, n) })
	if own == nil {
		own = p.make()
	}
	return own
}

func (p *program) make() *marketplace.Subscription {
	s := &marketplace.Subscription{ID: marketplace.SubscriptionID(rune('a' + len(p.subs)))}
	p.subs = append(p.subs, s)
	return s
}

func (p *program) merge(own, early *marketplace.Subscription) {
	merged := marketplace.Merge(*own, *early)
	for i, s := range p.subs {
		if s == early {
			p.subs[i] = &marketplace.Subscription{ID: s.ID}
		}
		if s.Previous == early.ID {
			s.Previous = own.ID
		}
		if s.Next == early.ID {
			s.Next = own.ID
		}
	}
	*own = merged
}

func (p *program) byName(name string) *marketplace.Subscription {
	if name == "" {
		return nil
	}
	for _, s := range p.subs {
		if s.HasName(name) {
			return s
		}
	}
	return nil
}

// subscription returns what the program holds under a name.
func (p *program) subscription(name string) marketplace.Subscription {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.byName(name); s != nil {
		return *s
	}
	return marketplace.Subscription{}
}

// bundle is a simulator and a program that talk to each other.
type bundle struct {
	*awssim.Simulator
	program *program
	config  map[string]any
	url     string // of the simulator
	clock   *clock
}

// clock stands until it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// start connects a simulator and a program over real HTTP.
func start(t testing.TB, seed uint64, faults sim.Faults, change map[string]any) *bundle {
	t.Helper()
	b := &bundle{clock: &clock{now: time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)}}
	b.program = &program{now: b.clock.Now}
	var simulator http.Handler
	marketServer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { simulator.ServeHTTP(w, r) }))
	t.Cleanup(marketServer.Close)
	programServer := httptest.NewServer(b.program)
	t.Cleanup(programServer.Close)
	b.url = marketServer.URL
	u, err := url.Parse(b.url)
	if err != nil {
		t.Fatal(err)
	}
	b.config = map[string]any{
		"product_code": productCode, "access_key_id": "AKIDEXAMPLE", "secret_access_key": "example-secret",
		"event_api_key": "example-event-key", "endpoint": b.url, "signing_cert_hosts": []string{u.Host},
		"sns_topics": []string{
			"arn:aws:sns:us-east-1:123456789012:aws-mp-subscription-notification-" + productCode,
			"arn:aws:sns:us-east-1:123456789012:aws-mp-entitlement-notification-" + productCode,
		},
	}
	for k, v := range change {
		b.config[k] = v
	}
	raw, err := json.Marshal(b.config)
	if err != nil {
		t.Fatal(err)
	}
	b.program.market, err = aws.Open(core.Settings{Listing: "aws-main", Raw: raw, Now: b.clock.Now, Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	b.Simulator, err = awssim.New(sim.Config{
		Listing: "aws-main", Raw: raw, Target: programServer.URL, BaseURL: b.url, Now: b.clock.Now,
		Seed: seed, Faults: faults, Compress: 10_000,
	})
	if err != nil {
		t.Fatal(err)
	}
	simulator = b.Simulator
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// do lets an event happen and fails the test if it cannot.
func (b *bundle) do(t testing.TB, event string, params map[string]string) awssim.Agreement {
	t.Helper()
	a, err := b.Do(event, params)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// settle waits for all deliveries.
func (b *bundle) settle(t testing.TB) {
	t.Helper()
	if err := b.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// readQueue runs the program's feed until the queue is empty.
func (b *bundle) readQueue(t testing.TB) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- b.program.market.Feed.Run(ctx, func(ctx context.Context, cb core.Callback) error {
			_, err := b.program.handle(ctx, cb)
			return err
		})
	}()
	b.settle(t)
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Feed.Run() = %v, want context.Canceled", err)
	}
}

func sha256Hex(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
