package alibabasim_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
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

func newBench(t *testing.T, site string, cfg sim.Config) *bench {
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

	raw, err := json.Marshal(map[string]any{
		"provider": "alibaba", "site": site, "product_code": "cmgj00012345", "spi_key": "test-isv-key-0001",
		"spi_key_previous": "test-isv-key-0000", "access_key_id": "test-ak", "access_key_secret": "test-sk",
		"endpoint": simServer.URL,
	})
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

// Under faults of every kind, the program ends where the marketplace does.
func TestLifecycle(t *testing.T) {
	t.Parallel()
	for _, site := range []string{"cn", "intl"} {
		for seed := range uint64(6) {
			t.Run(fmt.Sprintf("%s/seed%d", site, seed), func(t *testing.T) {
				t.Parallel()
				b := newBench(t, site, sim.Config{Seed: seed, Faults: sim.Hostile, Compress: 1e5})
				b.live(t, rand.New(rand.NewPCG(seed, 7)), site)
			})
		}
	}
}

// live lets a few buyers act at random for ten terms.
func (b *bench) live(t *testing.T, rnd *rand.Rand, site string) {
	for n := range 6 {
		params := map[string]string{"trial": fmt.Sprint(n%3 == 1), "AccountQuantity": fmt.Sprint(n + 1)}
		if n%3 == 2 {
			params["expiredOn"] = "-"
		}
		i := b.sim.Buy(params)
		if n%2 == 0 {
			b.do(t, i.ID, "upgradeInstance", map[string]string{"Num": "5"})
			b.do(t, i.ID, "renewInstance", nil)
		}
	}
	b.wait(t)
	b.compare(t, "after buying")
	for term := range 10 {
		b.clock.advance(40 * 24 * time.Hour)
		for _, i := range b.sim.Instances() {
			b.act(t, i, rnd.IntN(8), site)
		}
		b.wait(t)
		b.compare(t, fmt.Sprintf("in term %d", term))
	}
}

// act does one of the things that buyers and marketplaces do.
func (b *bench) act(t *testing.T, i alibabasim.Instance, what int, site string) {
	switch {
	case i.Status == alibabasim.Closed:
		b.sim.Buy(map[string]string{"orderBizId": i.ID}) // a late repeat
	case i.Status == alibabasim.Expired && what < 3:
		b.do(t, i.ID, "renewInstance", nil)
	case i.Status == alibabasim.Expired && what < 6 && site == "cn":
		b.do(t, i.ID, "resumeInstance", nil)
	case i.Status == alibabasim.Opened && what < 4:
		b.do(t, i.ID, "expiredInstance", nil)
		if what == 0 {
			b.do(t, i.ID, "renewInstance", nil)
		}
	case what == 4 && site == "cn":
		b.do(t, i.ID, "upgradeInstance", map[string]string{"AccountQuantity": "10"})
		b.do(t, i.ID, "upgradeInstance", map[string]string{"AccountQuantity": "20"})
	case what == 5 && site == "cn" && !i.ExpiresOn.IsZero():
		b.do(t, i.ID, "renewInstance", nil)
		b.do(t, i.ID, "refundRenewInstance", nil)
	case what == 7:
		b.do(t, i.ID, "releaseInstance", nil)
	default:
		b.do(t, i.ID, "upgradeInstance", nil)
	}
}

func (b *bench) do(t *testing.T, id, action string, params map[string]string) {
	t.Helper()
	if _, err := b.sim.Do(id, action, params); err != nil && !strings.Contains(err.Error(), "renewed until") {
		t.Error(err)
	}
}

// instanceId 0 means "not yet": the marketplace asks until there is one.
func TestCreateIsAskedAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, "intl", sim.Config{Compress: 1e6})
	answers := []string{`{"instanceId":"0"}`, `{"instanceId":0}`, `{}`, `not json`, ``, `{"instanceId":null}`}
	var mu sync.Mutex
	n := 0
	b.before = func(core.Callback) (int, string) {
		mu.Lock()
		defer mu.Unlock()
		if n++; n <= len(answers) {
			return http.StatusOK, answers[n-1]
		}
		return 0, ""
	}
	b.sim.Buy(nil)
	b.wait(t)
	b.compare(t, "after the last answer")
	if got := len(b.sim.Attempts()); got != len(answers)+1 {
		t.Errorf("createInstance was sent %d times, want %d", got, len(answers)+1)
	}
}

// After 120 retries the marketplace gives up, until the seller resets it.
func TestRetriesEndAndAreReset(t *testing.T) {
	t.Parallel()
	b := newBench(t, "intl", sim.Config{Compress: 1e8})
	b.before = func(core.Callback) (int, string) { return http.StatusServiceUnavailable, "" }
	b.sim.Buy(nil)
	b.wait(t)
	if got := len(b.sim.Attempts()); got != 121 {
		t.Errorf("createInstance was sent %d times, want 121", got)
	}
	b.before = nil
	if got := b.sim.Retry(); got != 1 {
		t.Errorf("Retry() = %d, want 1", got)
	}
	b.wait(t)
	b.compare(t, "after the reset")
}

// A message that could not be delivered is pulled, once.
func TestFeed(t *testing.T) {
	t.Parallel()
	b := newBench(t, "cn", sim.Config{Compress: 1e8})
	b.before = func(cb core.Callback) (int, string) {
		if strings.Contains(cb.RawQuery, "orderPay") {
			return http.StatusInternalServerError, ""
		}
		return 0, ""
	}
	for range 60 { // more than a page
		b.sim.Buy(nil)
	}
	b.wait(t)
	if got := b.state(t).Parked; got != 60 {
		t.Fatalf("%d messages are parked, want 60", got)
	}
	b.pull(t, 60)
	for delivery, n := range b.noted {
		if n != 1 || !strings.HasPrefix(delivery, "orderPay/") {
			t.Errorf("%s was noted %d times, want once", delivery, n)
		}
	}
	if got := b.state(t).Parked; got != 0 {
		t.Errorf("%d messages are parked after pulling, want 0", got)
	}
}

// pull runs the feed until n callbacks were confirmed.
func (b *bench) pull(t *testing.T, n int) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	go func() {
		for range n {
			select {
			case <-b.confirmed:
			case <-ctx.Done():
			}
		}
		stop()
	}()
	handled := 0
	err := b.market.Feed.Run(ctx, func(ctx context.Context, cb core.Callback) error {
		handled++
		if r := b.handle(ctx, cb); r.Status != http.StatusOK || string(r.Body) != `{"success":true}` {
			t.Errorf("Reply() = %d %s, want success", r.Status, r.Body)
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || handled != n {
		t.Errorf("Run() = %v after %d callbacks, want canceled after %d", err, handled, n)
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

// The buyer is signed in once per link, while the subscription can be used.
func TestSignIn(t *testing.T) {
	t.Parallel()
	b := newBench(t, "cn", sim.Config{Compress: 1e8})
	i := b.sim.Buy(nil)
	b.wait(t)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	open := func(link string, want int, wantText string) {
		t.Helper()
		resp, err := client.Get(link)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, _ := io.ReadAll(resp.Body)
		if text := resp.Header.Get("Location") + string(body); resp.StatusCode != want || !strings.Contains(text, wantText) {
			t.Errorf("GET sso = %d %s, want %d and %q", resp.StatusCode, text, want, wantText)
		}
		if resp.Header.Get("Referrer-Policy") != "no-referrer" {
			t.Error("GET sso lets the browser pass the link on")
		}
	}
	link := func() string {
		b.clock.advance(time.Second)
		l, err := b.sim.SignIn(i.ID)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	first := link()
	open(first, http.StatusSeeOther, "/landing/"+i.ID)
	open(first, http.StatusGone, "used already")
	open(strings.Replace(link(), "token=", "token=0", 1), http.StatusForbidden, "not valid")
	late := link()
	b.clock.advance(6 * time.Minute)
	open(late, http.StatusGone, "expired")
	b.do(t, i.ID, "expiredInstance", nil)
	b.wait(t)
	open(link(), http.StatusForbidden, "paused")
	b.do(t, i.ID, "releaseInstance", nil)
	b.wait(t)
	open(link(), http.StatusForbidden, "ended")
}

// Trigger needs to know nothing of an instance.
func TestTrigger(t *testing.T) {
	t.Parallel()
	b := newBench(t, "cn", sim.Config{})
	for _, e := range b.sim.Events() {
		params := map[string]string{"instanceId": "555", "Extra": "1"}
		want := e.Name == "expiredInstance" || e.Name == "resumeInstance" || e.Name == "releaseInstance" || e.Name == "orderPay"
		if e.Name == "createInstance" {
			params, want = map[string]string{"orderBizId": "777", "aliUid": "1"}, true
		}
		got, err := b.sim.Trigger(t.Context(), e.Name, params)
		if err != nil || got.Accepted != want {
			t.Errorf("Trigger(%s) = %+v, %v, want accepted %t", e.Name, got, err, want)
		}
	}
	if got := b.subs["777"]; got.Status != marketplace.StatusActive {
		t.Errorf("Trigger(createInstance) made %+v, want an active subscription", got)
	}
	got, err := b.sim.Trigger(t.Context(), "renewInstance", map[string]string{"instanceId": "777", "token": "x"})
	if err != nil || got.Accepted || !strings.Contains(got.Body, "token") {
		t.Errorf("Trigger(wrong token) = %+v, %v, want a refusal", got, err)
	}
	if _, err := b.sim.Trigger(t.Context(), "bindDomain", nil); err == nil {
		t.Error("Trigger(bindDomain) = nil error")
	}
}

// While a key is changed, callbacks with the old one are good, others are not.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	b := newBench(t, "cn", sim.Config{})
	for key, want := range map[string]bool{"test-isv-key-0000": true, "test-isv-key-0001": true, "other": false} {
		var ignored any
		if got := b.call(t, http.MethodPost, "/_sim/rotate-key", `{"key":"`+key+`"}`, &ignored); got != http.StatusOK {
			t.Errorf("rotate-key = %d, want 200", got)
		}
		got, err := b.sim.Trigger(t.Context(), "createInstance", nil)
		if err != nil || got.Accepted != want {
			t.Errorf("Trigger(key %s) = %+v, %v, want accepted %t", key, got, err, want)
		}
	}
}

func TestControl(t *testing.T) {
	t.Parallel()
	b := newBench(t, "cn", sim.Config{Compress: 1e8})
	var i alibabasim.Instance
	if got := b.call(t, http.MethodPost, "/_sim/orders", `{"Count":"3"}`, &i); got != http.StatusCreated {
		t.Fatalf("POST orders = %d, want 201", got)
	}
	b.wait(t)
	b.compare(t, "after buying")
	for _, tc := range []struct {
		path, body string
		want       int
	}{
		{"/_sim/orders/" + i.ID + "/expire", "", http.StatusOK},
		{"/_sim/orders/" + i.ID + "/resume", "{}", http.StatusOK},
		{"/_sim/orders/" + i.ID + "/resume", "{}", http.StatusConflict},
		{"/_sim/orders/" + i.ID + "/dance", "{}", http.StatusConflict},
		{"/_sim/orders/404/renew", "{}", http.StatusConflict},
		{"/_sim/orders/" + i.ID + "/renew", "[", http.StatusBadRequest},
		{"/_sim/faults", `{"repeat":0.5,"api":{"html":1}}`, http.StatusOK},
		{"/_sim/faults", `{"chaos":1}`, http.StatusBadRequest},
		{"/_sim/rotate-key", `{}`, http.StatusBadRequest},
		{"/_sim/retry", ``, http.StatusOK},
		{"/_sim/orders/" + i.ID + "/release", `{"isRefund":"true"}`, http.StatusOK},
	} {
		var ignored any
		if got := b.call(t, http.MethodPost, tc.path, tc.body, &ignored); got != tc.want {
			t.Errorf("POST %s %s = %d, want %d: %v", tc.path, tc.body, got, tc.want, ignored)
		}
		b.wait(t)
	}
	if got := b.state(t).Instances; len(got) != 1 || got[0].Status != alibabasim.Closed || !got[0].Refunded {
		t.Errorf("state = %+v, want one instance, released with refund", got)
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	b := newBench(t, "cn", sim.Config{Compress: 1e8})
	post := func(path string, form url.Values) string {
		t.Helper()
		resp, err := http.PostForm(b.url+path, form)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	post("/buy", url.Values{"term": {"trial"}, "AccountQuantity": {""}, "skuId": {`<b>"x"</b>`}})
	b.wait(t)
	id := b.sim.Instances()[0].ID
	page := post("/instances/"+id+"/expire", nil)
	for _, want := range []string{id, "Expired", "trial", "&lt;b&gt;", "Go to the service", "/instances/" + id + "/login"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	b.wait(t)
	b.compare(t, "after the trial")
	if page := post("/instances/"+id+"/dance", nil); !strings.Contains(page, "cannot be done") {
		t.Error("the page does not say that one cannot dance")
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+"/buy", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("POST /buy from another site = %d, want 403", resp.StatusCode)
	}
}
