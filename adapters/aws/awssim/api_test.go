package awssim_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"cloudsettle/adapters/aws/awssim"
	"cloudsettle/adapters/internal/sim"
	"cloudsettle/core"
)

// call makes a signed AWS JSON call and returns status and answer.
func (b *bundle) call(t *testing.T, target, body, accessKey, secret string, spoil func(*http.Request)) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", target)
	creds := sdk.Credentials{AccessKeyID: accessKey, SecretAccessKey: secret}
	err = v4.NewSigner().SignHTTP(t.Context(), creds, req, sha256Hex(body), "aws-marketplace", "us-east-1", b.clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	if spoil != nil {
		spoil(req)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var out map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, out
}

func TestUnsignedCallsAreRefused(t *testing.T) {
	t.Parallel()
	b := start(t, 1, sim.Faults{}, nil)
	const target, body = "AWSMPMeteringService.ResolveCustomer", `{"RegistrationToken":"x"}`
	for name, c := range map[string]struct {
		key, secret string
		spoil       func(*http.Request)
		want        string
	}{
		"signed":                {"AKIDEXAMPLE", "example-secret", nil, "InvalidTokenException"},
		"another key":           {"AKIDOTHER", "example-secret", nil, "AccessDeniedException"},
		"another secret":        {"AKIDEXAMPLE", "other", nil, "AccessDeniedException"},
		"no signature":          {"AKIDEXAMPLE", "example-secret", func(r *http.Request) { r.Header.Del("Authorization") }, "AccessDeniedException"},
		"another operation":     {"AKIDEXAMPLE", "example-secret", func(r *http.Request) { r.Header.Set("X-Amz-Target", "AWSMPEntitlementService.GetEntitlements") }, "AccessDeniedException"},
		"another date":          {"AKIDEXAMPLE", "example-secret", func(r *http.Request) { r.Header.Set("X-Amz-Date", "20260101T000000Z") }, "AccessDeniedException"},
		"another host":          {"AKIDEXAMPLE", "example-secret", func(r *http.Request) { r.Host = "example.com" }, "AccessDeniedException"},
		"another body, as long": {"AKIDEXAMPLE", "example-secret", func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(`{"RegistrationToken":"y"}`)) }, "AccessDeniedException"},
		"nonsense":              {"AKIDEXAMPLE", "example-secret", func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=a") }, "AccessDeniedException"},
	} {
		_, out := b.call(t, target, body, c.key, c.secret, c.spoil)
		if kind, _ := out["__type"].(string); !strings.HasSuffix(kind, "#"+c.want) {
			t.Errorf("a call %s answers %v, want %s", name, out, c.want)
		}
	}
}

func TestTokensExpire(t *testing.T) {
	t.Parallel()
	b := start(t, 1, sim.Faults{}, nil)
	a := b.do(t, "buy", nil)
	b.settle(t)
	visit := func() int {
		got, err := b.Trigger(t.Context(), "register", map[string]string{"agreement": a.ID, "token": b.token(t, a.ID)})
		if err != nil {
			t.Fatal(err)
		}
		return got.Status
	}
	token := b.token(t, a.ID)
	register := func() sim.Attempt {
		got, err := b.Trigger(t.Context(), "register", map[string]string{"agreement": a.ID, "token": token})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for range 2 {
		if got := register(); got.Status != http.StatusSeeOther || !strings.HasPrefix(got.Location, "/landing/") {
			t.Errorf("registering = %d to %q, want 303 to the landing page, also the second time", got.Status, got.Location)
		}
	}
	b.clock.advance(4*time.Hour + time.Second)
	if got := register(); got.Status != http.StatusBadRequest || !strings.Contains(got.Body, "Set up your account") {
		t.Errorf("registering after 4 h = %d %s, want 400 and what to do", got.Status, got.Body)
	}
	if got := visit(); got != http.StatusSeeOther {
		t.Errorf("a fresh token = %d, want 303", got)
	}
	b.Set(func(s *awssim.Switches) { s.OneShotTokens = true })
	if got := register(); got.Status != http.StatusBadRequest {
		t.Errorf("a used one-shot token = %d, want 400", got.Status)
	}
	got, err := b.Trigger(t.Context(), "register", map[string]string{"token": "forged"})
	if err != nil || got.Status != http.StatusBadRequest {
		t.Errorf("a forged token = %d, %v, want 400", got.Status, err)
	}
}

// token mints one through the control API.
func (b *bundle) token(t *testing.T, agreement string) string {
	t.Helper()
	status, out := b.control(t, http.MethodPost, "/_sim/tokens/"+agreement, "")
	token, _ := out["token"].(string)
	if status != http.StatusCreated || token == "" {
		t.Fatalf("POST /_sim/tokens = %d %v", status, out)
	}
	return token
}

func (b *bundle) control(t *testing.T, method, path, body string) (int, map[string]any) {
	t.Helper()
	status, text := b.visit(t, method, path, "application/json", body)
	var out map[string]any
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatalf("%s %s = %s: %v", method, path, text, err)
	}
	return status, out
}

func (b *bundle) visit(t *testing.T, method, path, contentType, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, b.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestEntitlementsInJSON(t *testing.T) {
	t.Parallel()
	b := start(t, 1, sim.Faults{}, map[string]any{"model": "contract"})
	a := b.do(t, "buy", map[string]string{"account": "123456789012", "quantity": "12"})
	b.do(t, "buy", map[string]string{"account": "123456789012", "quantity": "13"})
	b.settle(t)
	ask := func(in string) map[string]any {
		_, out := b.call(t, "AWSMPEntitlementService.GetEntitlements", in, "AKIDEXAMPLE", "example-secret", nil)
		return out
	}
	arn := "arn:aws:license-manager::294406891311:license:" + a.License
	one := ask(`{"ProductCode":"` + productCode + `","Filter":{"LICENSE_ARN":["` + arn + `"]},"MaxResults":25}`)
	list, _ := one["Entitlements"].([]any)
	if len(list) != 1 || list[0].(map[string]any)["LicenseArn"] != arn {
		t.Errorf("entitlements of one license = %v", one)
	}
	first := ask(`{"ProductCode":"` + productCode + `","Filter":{"CUSTOMER_AWS_ACCOUNT_ID":["123456789012"]},"MaxResults":1}`)
	if list, _ := first["Entitlements"].([]any); len(list) != 1 || first["NextToken"] != "1" {
		t.Errorf("the first page of two = %v", first)
	}
	for _, in := range []string{
		`{"ProductCode":"another"}`, `{"ProductCode":"` + productCode + `","MaxResults":26}`,
		`{"ProductCode":"` + productCode + `","Filter":{"LICENSE_ARN":[]}}`,
		`{"ProductCode":"` + productCode + `","Filter":{"COLOUR":["red"]}}`,
		`{"ProductCode":"` + productCode + `","Filter":{"CUSTOMER_IDENTIFIER":["a"],"CUSTOMER_AWS_ACCOUNT_ID":["1"]}}`,
	} {
		if out := ask(in); !strings.HasSuffix(out["__type"].(string), "InvalidParameterException") {
			t.Errorf("GetEntitlements(%s) = %v, want InvalidParameterException", in, out)
		}
	}
}

func TestManyPagesOfEntitlements(t *testing.T) {
	t.Parallel()
	b := start(t, 1, sim.Faults{}, map[string]any{"model": "contract"})
	b.Set(func(s *awssim.Switches) { s.EmptyPages = true })
	for n := range 60 {
		p := map[string]string{"license": "l-" + strconv.Itoa(n), "customer": "X1", "legacy": "true", "dimension": "d" + strconv.Itoa(n)}
		if _, err := b.Trigger(t.Context(), "subscribe", p); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.Trigger(t.Context(), "sns-entitlement-updated", map[string]string{"customer": "X1"}); err != nil {
		t.Fatal(err)
	}
	sub := b.program.subscription("customer:X1")
	if n := strings.Count(sub.SKU, "+") + 1; n != 60 {
		t.Errorf("the subscription has %d dimensions, want 60", n)
	}
}

func TestUnhandledMessagesComeAgain(t *testing.T) {
	t.Parallel()
	b := start(t, 1, sim.Faults{}, map[string]any{"sqs_queue_url": "https://sqs.us-east-1.amazonaws.com/123456789012/events"})
	b.do(t, "buy", nil)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	seen := map[string]int{}
	done := make(chan error, 1)
	go func() {
		done <- b.program.market.Feed.Run(ctx, func(_ context.Context, cb core.Callback) error {
			if seen[cb.RequestID]++; seen[cb.RequestID] == 1 {
				return errors.New("the store is down")
			}
			return nil
		})
	}()
	b.settle(t)
	stop()
	<-done
	for id, n := range seen {
		if n != 2 {
			t.Errorf("message %s was handled %d times, want again after the failure and then no more", id, n)
		}
	}
	if len(seen) != 2 {
		t.Errorf("%d messages were read, want 2", len(seen))
	}
}

func TestPageIsEnoughForABuyer(t *testing.T) {
	t.Parallel()
	b := start(t, 1, sim.Faults{}, nil)
	click := func(path string, form url.Values) string {
		status, text := b.visit(t, http.MethodPost, path, "application/x-www-form-urlencoded", form.Encode())
		if status != http.StatusOK {
			t.Fatalf("POST %s = %d %s", path, status, text)
		}
		b.settle(t)
		return text
	}
	click("/do/buy", url.Values{"account": {"123456789012"}, "quantity": {"5"}})
	a := b.Agreements()[0]
	setup := click("/setup/"+a.ID, nil)
	action := regexp.MustCompile(`action="([^"]+/register)"`).FindStringSubmatch(setup)
	token := regexp.MustCompile(`name="x-amzn-marketplace-token" value="([^"]+)"`).FindStringSubmatch(setup)
	if action == nil || token == nil {
		t.Fatalf("no way to the seller in %s", setup)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.PostForm(action[1], url.Values{"x-amzn-marketplace-token": {unescape(token[1])}})
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusSeeOther || !strings.HasPrefix(resp.Header.Get("Location"), "/landing/") {
		t.Errorf("the seller answers %d %q, want 303 to a landing page", resp.StatusCode, resp.Header.Get("Location"))
	}
	for _, step := range []struct{ event, want string }{
		{"change", awssim.Active}, {"unsubscribe", awssim.Ending}, {"deprovision", awssim.Ended},
	} {
		page := click("/do/"+step.event, url.Values{"agreement": {a.ID}, "quantity": {"6"}})
		if !strings.Contains(page, `">`+step.want) {
			t.Errorf("after %s the page does not say %s: %s", step.event, step.want, page)
		}
		b.agrees(t)
	}
	if status, _ := b.visit(t, http.MethodPost, "/do/nothing", "application/x-www-form-urlencoded", ""); status != http.StatusBadRequest {
		t.Errorf("an unknown button = %d, want 400", status)
	}
}

func unescape(s string) string {
	return strings.NewReplacer("&#43;", "+", "&#61;", "=", "&#34;", `"`, "&amp;", "&").Replace(s)
}

func TestControl(t *testing.T) {
	t.Parallel()
	b := start(t, 1, sim.Faults{}, nil)
	status, a := b.control(t, http.MethodPost, "/_sim/orders", `{"account":"123456789012","quantity":"3"}`)
	if status != http.StatusCreated || a["account"] != "123456789012" {
		t.Fatalf("POST /_sim/orders = %d %v", status, a)
	}
	path := "/_sim/orders/" + a["agreement"].(string)
	for _, c := range []struct {
		path, body string
		want       int
	}{
		{path + "/renew", "", 201}, {path + "/nothing", "", 400}, {path + "/change", `{"quantity":"many"}`, 400},
		{"/_sim/orders/agmt-none/renew", "", 404}, {"/_sim/orders", "{", 400}, {"/_sim/rotate-key", "", 200},
		{"/_sim/faults", `{"throttle":1}`, 200}, {"/_sim/faults", `{"repeat":0.5}`, 200}, {"/_sim/faults", `{"colour":1}`, 400}, {"/_sim/faults", "{", 400},
		{"/_sim/trigger/advisory", `{"agreement":"agmt-9"}`, 200}, {"/_sim/trigger/nothing", "", 400},
		{"/_sim/tokens/none", "", 404},
	} {
		if status, out := b.control(t, http.MethodPost, c.path, c.body); status != c.want {
			t.Errorf("POST %s %s = %d %v, want %d", c.path, c.body, status, out, c.want)
		}
	}
	b.settle(t)
	_, state := b.control(t, http.MethodGet, "/_sim/state", "")
	if n := len(state["agreements"].([]any)); n != 3 {
		t.Errorf("there are %d agreements, want 3", n)
	}
	if got := state["faults"].(map[string]any); got["throttle"] != 1.0 || got["repeat"] != 0.5 {
		t.Errorf("faults = %v, want throttle 1 and repeat 0.5", got)
	}
	if _, attempts := b.visit(t, http.MethodGet, "/_sim/attempts", "", ""); !strings.Contains(attempts, "License Updated") {
		t.Errorf("the attempts do not mention License Updated: %s", attempts)
	}
}

func TestNewRefusesNonsense(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{"", "{", `{}`, `{"product_code":""}`} {
		if _, err := awssim.New(sim.Config{Raw: json.RawMessage(raw), Now: time.Now}); err == nil {
			t.Errorf("New(%q) = nil, want an error", raw)
		}
	}
}

func TestSimulatorOutlivesAProgramThatIsDown(t *testing.T) {
	t.Parallel()
	down := httptest.NewServer(http.NotFoundHandler())
	down.Close()
	raw, err := json.Marshal(map[string]any{"product_code": productCode})
	if err != nil {
		t.Fatal(err)
	}
	s, err := awssim.New(sim.Config{Listing: "aws-main", Raw: raw, Target: down.URL, Now: time.Now, Compress: 1e9})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got, err := s.Trigger(t.Context(), "subscribe", nil)
	if err != nil || got.Accepted || got.Error == "" {
		t.Errorf("Trigger() = %+v, %v, want an attempt that says why it failed", got, err)
	}
	var page bytes.Buffer
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil))
	_, _ = page.ReadFrom(w.Body)
	if w.Code != http.StatusOK || !strings.Contains(page.String(), "connection refused") {
		t.Errorf("GET / = %d, want a page that shows the failure: %s", w.Code, page.String())
	}
}
