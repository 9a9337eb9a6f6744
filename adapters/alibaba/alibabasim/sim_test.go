package alibabasim_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"cloudsettle/adapters/alibaba/alibabasim"
	"cloudsettle/adapters/internal/sim"
	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

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
