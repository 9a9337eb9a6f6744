package huaweisim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"cloudsettle/adapters/huawei"
	"cloudsettle/adapters/internal/sim"
	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

const raw = `{"id":"hw-cn","provider":"huawei","site":"cn","product_code":"OFFI1","key":%q,"key_previous":%q,` +
	`"access_key_id":"TESTAK0000","secret_access_key":"test-sk","endpoint":%q,"currency":"CNY"}`

// program is what the simulator calls: the adapter, and the state of core in
// memory.
type program struct {
	adapter   core.Adapter
	completer core.Completer

	mu     sync.Mutex
	names  map[string]*marketplace.Subscription
	nonces map[string]bool
}

func (p *program) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	cb := core.Callback{
		Listing: "hw-cn", Method: r.Method, RawQuery: r.URL.RawQuery, Header: r.Header, Body: body,
		ReceivedAt: time.Now(), RequestID: "req_test",
	}
	var out core.Outcome
	ev, err := p.adapter.Receive(r.Context(), cb)
	if err == nil {
		ev, err = p.completer.Complete(r.Context(), ev)
	}
	if err == nil {
		out = p.apply(ev, cb.ReceivedAt)
	}
	reply := p.adapter.Reply(cb, ev, out, err)
	for k, v := range reply.Header {
		w.Header()[k] = v
	}
	w.WriteHeader(reply.Status)
	_, _ = w.Write(reply.Body)
}

// apply does what core does, without a store.
func (p *program) apply(ev marketplace.Event, at time.Time) core.Outcome {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case ev.Test:
		return core.Outcome{Result: marketplace.Tested}
	case ev.Nonce != "" && p.nonces[ev.Nonce]:
		return core.Outcome{Result: marketplace.Replayed}
	case ev.Kind == marketplace.Noted:
		return core.Outcome{Result: marketplace.Ignored}
	case ev.Kind == marketplace.Asked:
		out := core.Outcome{Result: marketplace.Answered}
		for _, s := range ev.Subjects {
			out.Answers = append(out.Answers, core.Answer{Subject: s, Subscription: p.copy(s), Landing: "/landing/" + s})
		}
		return out
	case ev.Kind == marketplace.Checked && p.names[ev.Subject] == nil:
		return core.Outcome{Result: marketplace.Refused, Reason: "no such subscription"}
	case ev.Kind == marketplace.Checked:
		return core.Outcome{Result: marketplace.Answered, Subscription: p.copy(ev.Subject)}
	}
	p.nonces[ev.Nonce] = true
	s := p.find(ev)
	next, result := marketplace.Decide(*s, ev, at, "cb_test")
	if ev.Account != "" {
		next.Account = marketplace.AccountID("cac_" + ev.Account)
	}
	*s = next
	for _, name := range append([]string{s.Subject}, s.Also...) {
		p.names[name] = s
	}
	return core.Outcome{Result: result, Subscription: p.copy(s.Subject), Landing: "/landing/" + s.Subject}
}

func (p *program) copy(name string) *marketplace.Subscription {
	s := p.names[name]
	if s == nil {
		return nil
	}
	c := s.Clone()
	return &c
}

func (p *program) find(ev marketplace.Event) *marketplace.Subscription {
	for _, name := range append(append([]string{ev.Subject}, ev.Also...), ev.Proposed) {
		if s := p.names[name]; s != nil {
			return s
		}
	}
	return &marketplace.Subscription{ID: marketplace.SubscriptionID(fmt.Sprintf("sub_%d", len(p.names)))}
}

// rig is a simulator and a program that talk over HTTP.
type rig struct {
	sim     *Sim
	program *program
	handler http.Handler // the program, or another one
	market  core.Marketplace
	api     string
}

func start(tb testing.TB, seed uint64, faults sim.Faults) *rig {
	tb.Helper()
	r := &rig{program: &program{names: map[string]*marketplace.Subscription{}, nonces: map[string]bool{}}}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { r.sim.ServeHTTP(w, q) }))
	tb.Cleanup(api.Close)
	r.handler = r.program
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.handler.ServeHTTP(w, q)
	}))
	tb.Cleanup(target.Close)
	r.api = api.URL

	var err error
	r.sim, err = New(sim.Config{
		Listing: "hw-cn", Raw: json.RawMessage(fmt.Sprintf(raw, "key-one", "", api.URL)), Target: target.URL,
		Now: time.Now, Seed: seed, Faults: faults, Compress: 1e6,
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = r.sim.Close() })
	r.open(tb, "key-one", "")
	return r
}

// open gives the program an adapter with these keys.
func (r *rig) open(tb testing.TB, key, previous string) {
	tb.Helper()
	m, err := huawei.Open(core.Settings{
		Listing: "hw-cn", Raw: json.RawMessage(fmt.Sprintf(raw, key, previous, r.api)),
		PublicURL: "https://billing.example.com", Now: time.Now, Dev: true,
	})
	if err != nil {
		tb.Fatal(err)
	}
	r.market, r.program.adapter, r.program.completer = m, m.Adapter, m.Completer
}

func (r *rig) wait(tb testing.TB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := r.sim.Wait(ctx); err != nil {
		tb.Fatal(err)
	}
}

// TestLifecycle: whatever is repeated, lost, delayed and overtaken, the program
// ends in the simulator's truth.
func TestLifecycle(t *testing.T) {
	t.Parallel()
	for _, seed := range []uint64{1, 2, 3, 4} {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			r := start(t, seed, sim.Hostile)
			r.live(t, rand.New(rand.NewPCG(seed, 7)))
			r.compare(t, r.program.subscriptions(), 16)
		})
	}
}

// live buys two of everything, and then things happen to it.
func (r *rig) live(t *testing.T, rnd *rand.Rand) {
	t.Helper()
	for _, version := range []string{"1", "2"} {
		for _, mode := range []string{"PERIOD", "ON_DEMAND", "ON_DEMAND_PKG", "ONE_TIME"} {
			r.sim.Buy(map[string]string{"version": version, "chargingMode": mode})
		}
		r.sim.Buy(map[string]string{
			"version": version, "chargingMode": "ON_DEMAND", "lines": "3", "quantity": "5",
		})
		r.sim.Buy(map[string]string{"version": version, "orderType": "TRIAL"})
	}
	r.wait(t)
	for range 120 {
		r.someAction(t, rnd)
	}
	r.wait(t)
}

// someAction does something to some instance that its buyer could do now.
func (r *rig) someAction(t *testing.T, rnd *rand.Rand) {
	all := r.sim.State().Instances
	i := all[rnd.IntN(len(all))]
	action := actions()[rnd.IntN(len(actions()))]
	if action == "release" && rnd.IntN(4) > 0 { // let most live longer
		return
	}
	if err := r.sim.Act(i.InstanceID, action, map[string]string{}); err != nil {
		t.Logf("Act(%s): %v", action, err) // not every action is possible at any time
	}
}

// subscriptions returns what the program has, by instance.
func (p *program) subscriptions() map[string]marketplace.Subscription {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]marketplace.Subscription{}
	for _, s := range p.names {
		out[s.Subject] = s.Clone()
	}
	return out
}

// compare checks that both sides hold the same to be true.
func (r *rig) compare(t *testing.T, got map[string]marketplace.Subscription, instances int) {
	t.Helper()
	st := r.sim.State()
	if len(st.Instances) != instances || len(got) != instances {
		t.Errorf("%d instances, %d subscriptions, want %d", len(st.Instances), len(got), instances)
	}
	if len(st.Violations) > 0 || len(st.Stopped) > 0 {
		t.Errorf("violations %q, given up %q, want none", st.Violations, st.Stopped)
	}
	for _, i := range st.Instances {
		s, known := got[i.InstanceID]
		if !known {
			t.Errorf("the program does not know instance %s", i.InstanceID)
			continue
		}
		has := fmt.Sprint(s.Status, " ", s.SKU, s.Quantity, s.Trial, s.ExpiresAt.UTC())
		want := fmt.Sprint(i.Status(), " ", i.SKU, i.Quantity, i.Trial, i.ExpiresAt.UTC())
		if has != want || !s.Known() {
			t.Errorf("version %d instance %s: the program has %s, want %s", i.Version, i.InstanceID, has, want)
		}
		if !i.Confirmed || i.FrontEndURL == "" {
			t.Errorf("instance %s: confirmed %t, front end %q, want both", i.InstanceID, i.Confirmed, i.FrontEndURL)
		}
	}
}

func TestTriggerEverything(t *testing.T) {
	t.Parallel()
	r := start(t, 1, sim.Faults{})
	for _, tt := range []struct {
		event  string
		params map[string]string
		want   string
	}{
		{"newInstance", nil, "000000"},
		{"newInstance", map[string]string{"testFlag": "1"}, "000000"},
		{"newInstance", map[string]string{"orderId": "CS1", "businessId": "i-1", "customerId": "c-1", "skuCode": "gold"}, "000000"},
		{"newInstance", map[string]string{"orderId": "CS1", "businessId": "i-2"}, "000000"},
		{"queryInstance", map[string]string{"instanceId": "i-1"}, "000000"},
		{"queryInstance", map[string]string{"instanceId": "i-2"}, "000003"},
		{"queryInstance", map[string]string{"instanceId": "i-2", "testFlag": "1"}, "000000"},
		{"refreshInstance", map[string]string{"instanceId": "i-1", "expireTime": "20300101000000"}, "000000"},
		{"refreshInstance", map[string]string{"instanceId": "unknown"}, "000003"},
		{"updateInstanceStatus", map[string]string{"instanceId": "i-1"}, "000000"},
		{"updateInstanceStatus", map[string]string{"instanceId": "i-1", "status": "UNFREEZE"}, "000000"},
		{"upgradeInstance", map[string]string{"instanceId": "i-1", "skuCode": "platinum", "quantity": "9"}, "000000"},
		{"changeInstanceCheck", map[string]string{"instanceId": "i-1"}, "000000"},
		{"changeInstanceCheck", map[string]string{"instanceId": "unknown"}, "000003"},
		{"orderNotify", nil, "000000"},
		{"releaseInstance", map[string]string{"instanceId": "i-1", "orderId": "CS9"}, "000000"},
		{"releaseInstance", map[string]string{"instanceId": "unknown"}, "000000"},
		{"newInstance", map[string]string{"orderId": "CS2", "businessId": "i-3", "version": "1"}, "000000"},
		{"queryInstance", map[string]string{"instanceId": "i-3"}, "000000"},
		{"instanceStatus", map[string]string{"instanceId": "i-3", "instanceStatus": "FREEZE"}, "000000"},
		{"instanceStatus", map[string]string{"instanceId": "i-3", "instanceStatus": "NORMAL"}, "000000"},
		{"expireInstance", map[string]string{"instanceId": "i-3"}, "000000"},
		{"refreshInstance", map[string]string{"instanceId": "i-3", "trialToFormal": "1"}, "000000"},
		{"upgrade", map[string]string{"instanceId": "i-3"}, "000000"},
		{"releaseInstance", map[string]string{"instanceId": "i-3"}, "000000"},
		{"getLicense", nil, "000002"},
	} {
		a, err := r.sim.Trigger(t.Context(), tt.event, tt.params)
		if err != nil || a.Status != http.StatusOK || !strings.Contains(a.Body, `"resultCode":"`+tt.want+`"`) {
			t.Errorf("Trigger(%s, %v) = %+v, %v, want %s", tt.event, tt.params, a, err, tt.want)
		}
	}
	r.wait(t)
	if v := r.sim.Violations(); len(v) > 0 {
		t.Errorf("violations: %q, want none", v)
	}
	if s := r.program.names["i-1"]; s == nil || s.SKU != "platinum" || s.Quantity != 9 || s.Status != marketplace.StatusEnded {
		t.Errorf("instance i-1 is %+v, want platinum × 9, ended", s)
	}
	for _, event := range []string{"teleport", ""} {
		if _, err := r.sim.Trigger(t.Context(), event, nil); err == nil {
			t.Errorf("Trigger(%q) = nil, want an error", event)
		}
	}
	if _, err := r.sim.Trigger(t.Context(), "newInstance", map[string]string{"colour": "red"}); err == nil {
		t.Error("Trigger(unknown parameter) = nil, want an error")
	}
}

// TestQueryOrderFails: while Query order fails nothing is bought, and
// afterwards everything is.
func TestQueryOrderFails(t *testing.T) {
	t.Parallel()
	for fault, code := range map[string]string{"500": "000005", "404": "000002", "nobuyer": "000005"} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			r := start(t, 1, sim.Faults{})
			if err := r.sim.Misbehave(map[string]string{"order_query": fault}); err != nil {
				t.Fatal(err)
			}
			p := map[string]string{"orderId": "CS1", "businessId": "i-1"}
			a, err := r.sim.Trigger(t.Context(), "newInstance", p)
			if err != nil || a.Accepted || !strings.Contains(a.Body, code) {
				t.Errorf("Trigger(newInstance) = %+v, %v, want %s", a, err, code)
			}
			if err := r.sim.Misbehave(map[string]string{"order_query": ""}); err != nil {
				t.Fatal(err)
			}
			if a, err = r.sim.Trigger(t.Context(), "newInstance", p); err != nil || !a.Accepted {
				t.Errorf("Trigger(newInstance) afterwards = %+v, %v, want it accepted", a, err)
			}
		})
	}
}

// TestGivingUp: an order that is never answered is refunded, another call can
// be restarted by hand.
func TestGivingUp(t *testing.T) {
	t.Parallel()
	r := start(t, 1, sim.Faults{})
	r.sim.Buy(map[string]string{"orderId": "CS0"})
	r.wait(t)
	i := r.sim.State().Instances[0]

	if err := r.sim.Misbehave(map[string]string{"order_query": "500", "cadence": "hourly"}); err != nil {
		t.Fatal(err)
	}
	r.sim.Buy(map[string]string{"orderId": "CS1"})
	if err := r.sim.Act(i.InstanceID, "upgrade", map[string]string{"skuCode": "gold"}); err != nil {
		t.Fatal(err)
	}
	r.wait(t)
	st := r.sim.State()
	if got := st.Orders[1].Lines[0].Status; got != "refunded" {
		t.Errorf("status of the order = %s, want refunded", got)
	}
	if len(st.Stopped) != 1 || st.Stopped[0] != "upgradeInstance" {
		t.Errorf("given up: %q, want the upgrade", st.Stopped)
	}
	if err := r.sim.Misbehave(map[string]string{"order_query": ""}); err != nil {
		t.Fatal(err)
	}
	r.sim.Restart()
	r.wait(t)
	if s := r.program.names[i.InstanceID]; s.SKU != "gold" {
		t.Errorf("SKU after the restart = %s, want gold", s.SKU)
	}
}

func TestRotateKey(t *testing.T) {
	t.Parallel()
	r := start(t, 1, sim.Faults{})
	trigger := func(version string) sim.Attempt {
		a, err := r.sim.Trigger(t.Context(), "newInstance", map[string]string{"version": version})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	r.open(t, "key-two", "key-one") // the program learns the new key first
	for _, version := range []string{"1", "2"} {
		if a := trigger(version); !a.Accepted {
			t.Errorf("version %s with the previous key: %+v, want it accepted", version, a)
		}
	}
	if err := r.sim.RotateKey("key-two"); err != nil {
		t.Fatal(err)
	}
	for _, version := range []string{"1", "2"} {
		if a := trigger(version); !a.Accepted {
			t.Errorf("version %s with the new key: %+v, want it accepted", version, a)
		}
	}
	if err := r.sim.RotateKey("key-three"); err != nil {
		t.Fatal(err)
	}
	if a := trigger("2"); a.Accepted || !strings.Contains(a.Body, "000001") {
		t.Errorf("with an unknown key: %+v, want 000001", a)
	}
	r.wait(t)
}

func TestControl(t *testing.T) {
	t.Parallel()
	r := start(t, 1, sim.Faults{})
	post := func(path, kind, body string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.api+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", kind)
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp
	}
	const form, object = "application/x-www-form-urlencoded", "application/json"
	if resp := post("/_sim/orders", form, "customerId=c-1&skuCode=&version=2"); resp.StatusCode != http.StatusSeeOther {
		t.Errorf("buying on the page = %d, want a redirect", resp.StatusCode)
	}
	if resp := post("/_sim/orders", object, `{"customerId":"c-2"}`); resp.StatusCode != http.StatusOK {
		t.Errorf("buying by script = %d, want 200", resp.StatusCode)
	}
	r.wait(t)
	id := r.sim.State().Instances[0].InstanceID
	for path, want := range map[string]int{
		"/_sim/instances/" + id + "/renew":   http.StatusOK,
		"/_sim/instances/" + id + "/fly":     http.StatusBadRequest,
		"/_sim/instances/nobody/renew":       http.StatusBadRequest,
		"/_sim/rotate-key":                   http.StatusBadRequest,
		"/_sim/restart":                      http.StatusOK,
		"/_sim/faults":                       http.StatusOK,
		"/_sim/instances/" + id + "/upgrade": http.StatusOK,
	} {
		if resp := post(path, object, ""); resp.StatusCode != want {
			t.Errorf("POST %s = %d, want %d", path, resp.StatusCode, want)
		}
	}
	r.wait(t)
	for path, want := range map[string]string{
		"/": "Continue to the seller", "/_sim/state": id, "/_sim/attempts": "upgradeInstance",
	} {
		w := httptest.NewRecorder()
		r.sim.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("GET %s = %d without %q", path, w.Code, want)
		}
	}
}

func TestQueryOrderWantsASignature(t *testing.T) {
	t.Parallel()
	r := start(t, 1, sim.Faults{})
	const path = "/api/mkp-openapi-public/global/v1/order/query?orderId=MOCKPERIODYEARNEW"
	ask := func(sk string, at time.Time, header ...string) int {
		req := httptest.NewRequest(http.MethodGet, path, nil)
		req.Header.Set("X-Sdk-Date", at.UTC().Format("20060102T150405Z"))
		req.Header.Set("User-Agent", "test")
		signed := []string{"user-agent", "x-sdk-date"}
		req.Header.Set("Authorization", "SDK-HMAC-SHA256 Access=TESTAK0000, SignedHeaders="+strings.Join(signed, ";")+
			", Signature="+signCall(req, nil, sk, signed))
		if len(header) == 2 {
			req.Header.Set(header[0], header[1])
		}
		w := httptest.NewRecorder()
		r.sim.ServeHTTP(w, req)
		return w.Code
	}
	now := time.Now()
	for name, tt := range map[string]struct{ got, want int }{
		"genuine":          {ask("test-sk", now), http.StatusOK},
		"14 minutes late":  {ask("test-sk", now.Add(-14*time.Minute)), http.StatusOK},
		"16 minutes late":  {ask("test-sk", now.Add(-16*time.Minute)), http.StatusUnauthorized},
		"16 minutes early": {ask("test-sk", now.Add(16*time.Minute)), http.StatusUnauthorized},
		"wrong secret":     {ask("other", now), http.StatusUnauthorized},
		"changed header":   {ask("test-sk", now, "User-Agent", "proxy"), http.StatusUnauthorized},
		"no authorization": {ask("test-sk", now, "Authorization", ""), http.StatusUnauthorized},
	} {
		if tt.got != tt.want {
			t.Errorf("Query order, %s = %d, want %d", name, tt.got, tt.want)
		}
	}
}

// TestSignCallVector is a published signature, from a licence activation.
func TestSignCallVector(t *testing.T) {
	t.Parallel()
	const url = "https://mkt.myhuaweicloud.com/api/mkp-openapi-public/global/v1/license/activate"
	r := httptest.NewRequest(http.MethodPost, url, nil)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Sdk-Date", "20240317T144237Z")
	r.Header.Set("X-Stage", "RELEASE")
	const want = "77595ad624b6e4e49990b8c4e84bf1c287457fca61069c4e60b9b6765b52053d"
	if got := signCall(r, nil, "123", []string{"content-type", "host", "x-sdk-date", "x-stage"}); got != want {
		t.Errorf("signCall() = %s, want %s", got, want)
	}
}

// TestAnswersAreChecked: an answer without a good signature is a violation, and
// in version 1 no success.
func TestAnswersAreChecked(t *testing.T) {
	t.Parallel()
	for name, header := range map[string]string{
		"missing": "", "bare": "sign_type=HMAC-SHA256, signature=abc", "wrong": `sign_type="HMAC-SHA256", signature="abc"`,
	} {
		answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if header != "" {
				w.Header().Set("Body-Sign", header)
			}
			_, _ = io.Copy(w, bytes.NewReader([]byte(`{"resultCode":"000000","instanceId":"i-1"}`)))
		})
		target := httptest.NewServer(answer)
		defer target.Close()
		s, err := New(sim.Config{Listing: "hw-cn", Raw: json.RawMessage(`{"key":"k"}`), Target: target.URL})
		if err != nil {
			t.Fatal(err)
		}
		a, err := s.Trigger(t.Context(), "getLicense", nil)
		if err != nil || a.Accepted || len(s.Violations()) != 1 {
			t.Errorf("%s Body-Sign in version 1: %+v, %v, violations %q, want it refused", name, a, err, s.Violations())
		}
		a, err = s.Trigger(t.Context(), "orderNotify", nil)
		if err != nil || !a.Accepted || len(s.Violations()) != 2 {
			t.Errorf("%s Body-Sign in version 2: %+v, %v, violations %q, want it noted", name, a, err, s.Violations())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestNewNeedsAKey(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{`{}`, `[]`, ``} {
		if _, err := New(sim.Config{Raw: json.RawMessage(raw)}); err == nil {
			t.Errorf("New(%q) = nil, want an error", raw)
		}
	}
	_, err := New(sim.Config{})
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		t.Errorf("New(nothing) = %v, want a syntax error", err)
	}
}
