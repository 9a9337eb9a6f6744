package api_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"sort"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"cloudsettle/core"
)

func TestBadInput(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	n := s.tenant("acme")
	const accounts, bindings, keys = "/api/v1/billing-accounts", "/api/v1/bindings", "/api/v1/api-keys"
	good := `"user_name":"other","email":"o@acme.example","currency":"CNY"`
	for _, c := range []struct {
		method, path, body string
		status             int
		code, field        string
	}{
		{"POST", accounts, ``, 400, "invalid_json", ""},
		{"POST", accounts, `{`, 400, "invalid_json", ""},
		{"POST", accounts, `{` + good + `} {}`, 400, "invalid_json", ""},
		{"POST", accounts, "{\"user_name\":\"\xff\"}", 400, "invalid_json", ""},
		{"POST", accounts, `null`, 400, "invalid_fields", ""},
		{"POST", accounts, `[]`, 400, "invalid_fields", ""},
		{"POST", accounts, `{}`, 400, "invalid_fields", "currency,email,user_name"},
		{"POST", accounts, `{` + good + `,"balance":1}`, 400, "invalid_fields", "balance"},
		{"POST", accounts, `{` + good + `,"Phone":"+8613800000000"}`, 400, "invalid_fields", "Phone"},
		{"POST", accounts, `{"user_name":1,"email":null,"currency":"CNY"}`, 400, "invalid_fields", "email,user_name"},
		{"POST", accounts, `{"user_name":"a","email":"b","phone":"1","currency":"cny"}`, 400, "invalid_fields", "currency,email,phone,user_name"},
		{"POST", accounts, `{` + good + `,"phone":"` + strings.Repeat("1", 70_000) + `"}`, 413, "too_large", ""},
		{"PATCH", accounts + "/" + n.account, `{}`, 400, "invalid_fields", "arbitrary_settlement"},
		{"PATCH", accounts + "/" + n.account, `{"arbitrary_settlement":"yes"}`, 400, "invalid_fields", "arbitrary_settlement"},
		{"PATCH", accounts + "/ba_none", `{"arbitrary_settlement":true}`, 404, "not_found", ""},
		{"POST", "/api/v1/workspaces", `{"name":"","site":"nowhere","owner_email":"x"}`, 400, "invalid_fields", "name,owner_email,site"},
		{"POST", "/api/v1/workspaces", `{"name":"a\u0000b","site":"c1","owner_email":"d@acme.example"}`, 400, "invalid_fields", "name"},
		{"POST", bindings, `{"workspace_id":"` + n.workspace + `","billing_account_id":"` + n.account + `","settlement":{"method":"cash"}}`, 400, "invalid_fields", "settlement/method"},
		{"POST", bindings, `{"workspace_id":"` + n.workspace + `","billing_account_id":"` + n.account + `","settlement":{"method":"billing_account","x":1}}`, 400, "invalid_fields", "settlement/x"},
		{"POST", bindings, `{"workspace_id":"` + n.workspace + `","billing_account_id":"` + n.account + `","settlement":{"method":"cloud_account"}}`, 409, "invalid_settlement", ""},
		{"POST", keys, `{"name":"a\nb","role":"operator"}`, 400, "invalid_fields", "name"},
		{"POST", keys, `{"name":"x","role":"root"}`, 400, "invalid_fields", "role"},
		{"POST", keys + "/key_none/revoke", `{"x":1}`, 400, "unexpected_body", ""},
		{"GET", accounts + "?limit=0", ``, 400, "invalid_fields", "limit"},
		{"GET", accounts + "?limit=201", ``, 400, "invalid_fields", "limit"},
		{"GET", accounts + "?limit=ten", ``, 400, "invalid_fields", "limit"},
		{"GET", accounts + "?limit=1&limit=2", ``, 400, "invalid_parameters", "limit"},
		{"GET", accounts + "?limt=1", ``, 400, "invalid_parameters", "limt"},
		{"GET", accounts + "?cursor=%00", ``, 400, "invalid_fields", "cursor"},
		{"GET", accounts + "?cursor=", ``, 400, "invalid_fields", "cursor"},
		{"GET", "/api/v1/callbacks?rejected=perhaps", ``, 400, "invalid_fields", "rejected"},
		{"GET", accounts + "/%00", ``, 404, "not_found", ""},
		{"GET", accounts + "/a%2Fb", ``, 404, "not_found", ""},
		{"GET", accounts + "/a/b", ``, 404, "not_found", ""},
		{"GET", accounts + "/" + strings.Repeat("x", 65), ``, 400, "invalid_fields", "id"},
	} {
		what := fmt.Sprintf("%s %.60s %.90s", c.method, c.path, c.body)
		got := s.call(s.admin, c.method, c.path, c.body)
		s.refuses(what, got, c.status, c.code)
		if named := named(got); named != c.field {
			t.Errorf("%s names the fields %q, want %q: %s", what, named, c.field, got.raw)
		}
	}
	if list := s.want(200, "GET", accounts, nil).list(); len(list) != 1 {
		t.Errorf("bad input made %d billing accounts", len(list)-1)
	}
}

// named returns the fields that a problem names, in order.
func named(a answer) string {
	var out []string
	list, _ := a.body["errors"].([]any)
	for _, item := range list {
		if m, ok := item.(map[string]any); ok {
			out = append(out, fmt.Sprint(m["field"]))
		}
	}
	sort.Strings(out)
	return strings.Join(out, ",")
}

func TestOtherMediaTypes(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	body := `{"name":"ci","role":"readonly"}`
	for _, contentType := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/xml"} {
		got := s.call(s.admin, "POST", "/api/v1/api-keys", body, "Content-Type", contentType)
		s.refuses("Content-Type: "+contentType, got, 415, "unsupported_media_type")
	}
	got := s.call(s.admin, "POST", "/api/v1/api-keys", body, "Content-Type", "Application/JSON; charset=utf-8")
	if got.status != 201 {
		t.Errorf("JSON with a charset = %d %s, want 201", got.status, got.raw)
	}
}

// TestUnrouted: below /api every answer is the API's own, whatever routes the
// rest of the server has.
func TestUnrouted(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	for _, c := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/api", 404, ""},
		{"GET", "/api/", 404, ""},
		{"GET", "/api/v1", 404, ""},
		{"GET", "/api/v1/nothing", 404, ""},
		{"POST", "/api/v2/workspaces", 404, ""},
		{"GET", "/api/v1/workspaces/", 404, ""},
		{"DELETE", "/api/v1/workspaces", 405, "GET, POST"},
		{"DELETE", "/api/v1/workspaces/ws_1", 405, "GET"},
		{"GET", "/api/v1/cloud-accounts/cac_1/claim", 405, "POST"},
		{"PUT", "/api/v1/billing-accounts/ba_1", 405, "GET, PATCH"},
		{"POST", "/api/docs", 405, "GET"},
		{"POST", "/api/openapi.yaml", 405, "GET"},
	} {
		got := s.call(s.admin, c.method, c.path, nil)
		code := map[int]string{404: "unknown_route", 405: "method_not_allowed"}[c.status]
		if c.path == "/api/v1/workspaces/" {
			code = got.text("code") // an empty id is no route or no workspace
		}
		s.refuses(c.method+" "+c.path, got, c.status, code)
		if allow := got.header.Get("Allow"); allow != c.allow {
			t.Errorf("%s %s: Allow %q, want %q", c.method, c.path, allow, c.allow)
		}
	}
	if got := s.call("", "GET", "/anything", nil); got.raw != "the console" {
		t.Errorf("GET /anything = %q, want what the rest of the server answers", got.raw)
	}
}

// TestIdempotency: a repeat with one key has one effect and one answer.
func TestIdempotency(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	n := s.tenant("acme")
	ws := s.workspace("prod")
	another := s.key("operator", "")
	for name, c := range map[string]struct{ path, body, other string }{
		"account": {
			"/api/v1/billing-accounts", `{"user_name":"other","email":"o@acme.example","currency":"CNY"}`,
			`{"user_name":"third","email":"t@acme.example","currency":"CNY"}`,
		},
		"workspace": {
			"/api/v1/workspaces", `{"name":"w","site":"c1","owner_email":"d@acme.example"}`,
			`{"name":"v","site":"c1","owner_email":"d@acme.example"}`,
		},
		"binding": {
			"/api/v1/bindings",
			`{"workspace_id":"` + ws + `","billing_account_id":"` + n.account + `","settlement":{"method":"billing_account"}}`,
			`{"workspace_id":"` + ws + `","billing_account_id":"` + n.account + `","settlement":{"method":"cloud_account","subscription_id":"` + n.subscription + `"}}`,
		},
	} {
		first := s.call(s.admin, "POST", c.path, c.body, "Idempotency-Key", name)
		again := s.call(s.admin, "POST", c.path, c.body, "Idempotency-Key", name)
		if first.status != 201 || again.status != 201 || first.raw != again.raw {
			t.Errorf("%s: %d %s, then %d %s, want 201 and the same", name, first.status, first.raw, again.status, again.raw)
		}
		s.refuses(name+" with another body",
			s.call(s.admin, "POST", c.path, c.other, "Idempotency-Key", name), 422, "idempotency_key_reused")
		other := s.call(another, "POST", c.path, c.other, "Idempotency-Key", name)
		if other.status != 201 || other.text("id") == first.text("id") {
			t.Errorf("%s: the same key of another caller = %d %s, want its own effect", name, other.status, other.raw)
		}
		if got := s.call(another, "POST", c.path, c.other, "Idempotency-Key", name); got.raw != other.raw {
			t.Errorf("%s: its repeat = %d %s, want %s", name, got.status, got.raw, other.raw)
		}
	}
	s.afterRebinding(ws, n)
}

// afterRebinding: a repeat answers with the binding that the request made,
// also when another one holds by now.
func (s *server) afterRebinding(ws string, n tenant) {
	s.t.Helper()
	body := `{"workspace_id":"` + ws + `","billing_account_id":"` + n.account + `","settlement":{"method":"billing_account"}}`
	got := s.call(s.admin, "POST", "/api/v1/bindings", body, "Idempotency-Key", "binding")
	if method := got.body["settlement"].(map[string]any)["method"]; got.status != 201 || method != "billing_account" {
		s.t.Errorf("repeat after a rebinding = %d %s, want what the request made", got.status, got.raw)
	}
	if got.text("to") == "" {
		s.t.Errorf("repeat after a rebinding = %s, want to see that it ended", got.raw)
	}
}

// TestAPIKeyIsMadeOnce: the repeat tells the key and never its secret.
func TestAPIKeyIsMadeOnce(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	body := map[string]any{"name": "ci", "role": "readonly"}
	first := s.call(s.admin, "POST", "/api/v1/api-keys", body, "Idempotency-Key", "k")
	again := s.call(s.admin, "POST", "/api/v1/api-keys", body, "Idempotency-Key", "k")
	if first.text("secret") == "" || again.status != 201 || again.text("secret") != "" || again.text("id") != first.text("id") {
		t.Errorf("POST api-keys twice = %s, then %s, want one key and one secret", first.raw, again.raw)
	}
}

// TestRefusedRequestLeavesItsKeyFree: what changed nothing may be tried again.
func TestRefusedRequestLeavesItsKeyFree(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	body := map[string]any{"user_name": "acme", "email": "a@acme.example", "currency": "CNY"}
	taken := map[string]any{"user_name": "acme", "email": "b@acme.example", "currency": "CNY"}
	s.want(201, "POST", "/api/v1/billing-accounts", body)
	s.refuses("a taken name",
		s.call(s.admin, "POST", "/api/v1/billing-accounts", taken, "Idempotency-Key", "k"), 409, "user_name_taken")
	taken["user_name"] = "acme2"
	if got := s.call(s.admin, "POST", "/api/v1/billing-accounts", taken, "Idempotency-Key", "k"); got.status != 201 {
		t.Errorf("POST with the key of a refused request = %d %s, want 201", got.status, got.raw)
	}
}

func TestIdempotencyKeysHaveLimits(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	body := `{"name":"ci","role":"readonly"}`
	for _, key := range []string{strings.Repeat("x", 256), "two words", "ключ"} {
		got := s.call(s.admin, "POST", "/api/v1/api-keys", body, "Idempotency-Key", key)
		s.refuses("Idempotency-Key", got, 400, "invalid_fields")
		if named(got) != "Idempotency-Key" {
			t.Errorf("Idempotency-Key %.10q names %q", key, named(got))
		}
	}
	if got := s.call(s.admin, "POST", "/api/v1/api-keys", body, "Idempotency-Key", strings.Repeat("x", 255)); got.status != 201 {
		t.Errorf("a key of 255 characters = %d %s, want 201", got.status, got.raw)
	}
}

// TestPaging walks 250 objects with every page size there is room for: each
// is seen once, in order.
func TestPaging(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	const total = 250
	var want []string
	for i := range total {
		want = append(want, s.workspace(fmt.Sprintf("w-%d", i)))
	}
	if got := s.want(200, "GET", "/api/v1/workspaces", nil).list(); len(got) != core.DefaultPage {
		t.Errorf("the default page = %d items, want %d", len(got), core.DefaultPage)
	}
	for _, limit := range []int{37, 125, 200} {
		if got := s.walk(t, fmt.Sprintf("/api/v1/workspaces?limit=%d", limit)); strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("pages of %d: %d items, want all %d in order", limit, len(got), total)
		}
	}
}

// TestPagingOfOwnThings: an account's own lists obey limit and cursor too.
func TestPagingOfOwnThings(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	n := s.tenant("acme")
	want := []string{n.subscription}
	for i := range 6 {
		sub, _ := s.buy(fmt.Sprintf("s-%d", i), "buyer-acme")
		want = append(want, string(sub.ID))
	}
	s.admin = n.key
	for limit := 1; limit <= 8; limit++ {
		got := s.walk(t, fmt.Sprintf("/api/v1/subscriptions?listing=cloud-main&limit=%d", limit))
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("pages of %d = %v, want %v", limit, got, want)
		}
	}
}

// walk follows next_cursor to the end and returns the ids.
func (s *server) walk(t *testing.T, path string) (ids []string) {
	t.Helper()
	for cursor := ""; ; {
		p := path
		if cursor != "" {
			p += "&cursor=" + cursor
		}
		a := s.want(200, "GET", p, nil)
		for _, item := range a.list() {
			ids = append(ids, fmt.Sprint(item["id"]))
		}
		if cursor = a.text("next_cursor"); cursor == "" {
			return ids
		}
		if len(ids) > 1000 {
			t.Fatalf("GET %s never ends", path)
		}
	}
}

// broken is a store whose transactions fail.
type broken struct {
	core.Store
	err error
}

func (b *broken) View(ctx context.Context, fn func(context.Context, core.ReadTx) error) error {
	if b.err != nil {
		return b.err
	}
	return b.Store.View(ctx, fn)
}

// TestFaultsOfOurs: an unavailable store says to come back, anything else
// tells nothing but the request's id.
func TestFaultsOfOurs(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	b := &broken{Store: s.svc.Store}
	s = serve(t, b)
	b.err = fmt.Errorf("bolt: page 7: %w", core.ErrUnavailable)
	got := s.call(s.admin, "GET", "/api/v1/sites", nil)
	s.refuses("an unavailable store", got, 503, "unavailable")
	if got.header.Get("Retry-After") == "" || strings.Contains(got.raw, "page 7") {
		t.Errorf("503 = %v %s, want Retry-After and no detail", got.header, got.raw)
	}
	b.err = fmt.Errorf("disk sector 42 said %q", "hunter2")
	got = s.call(s.admin, "GET", "/api/v1/sites", nil)
	s.refuses("a fault of ours", got, 500, "internal")
	if strings.Contains(got.raw, "sector") {
		t.Errorf("500 = %s, want no detail", got.raw)
	}
	if log := s.log.String(); !strings.Contains(log, got.text("request_id")) || !strings.Contains(log, "sector 42") {
		t.Errorf("log = %s, want the cause under the request's id", log)
	}
}

// TestAnyBody: whatever is sent is answered in the API's words and is no fault
// of ours.
func TestAnyBody(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	n := s.tenant("acme")
	paths := []string{
		"/api/v1/billing-accounts", "/api/v1/workspaces", "/api/v1/bindings", "/api/v1/api-keys",
		"/api/v1/cloud-accounts/" + n.cloudAccount + "/claim",
	}
	rapid.Check(t, func(r *rapid.T) {
		path := rapid.SampledFrom(paths).Draw(r, "path")
		body := rapid.OneOf(
			rapid.StringN(0, 60, 200),
			rapid.Map(rapid.MapOf(rapid.SampledFrom([]string{"name", "role", "user_name", "email", "settlement"}),
				rapid.StringN(0, 10, 40)), func(m map[string]string) string {
				var parts []string
				for k, v := range m {
					parts = append(parts, fmt.Sprintf("%q:%q", k, v))
				}
				return "{" + strings.Join(parts, ",") + "}"
			}),
		).Draw(r, "body")
		req := httptest.NewRequestWithContext(t.Context(), "POST", path, strings.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+s.admin)
		if got := s.do(req); got.status >= 500 || got.status < 200 {
			r.Fatalf("POST %s %q = %d %s", path, body, got.status, got.raw)
		}
	})
}
