package api_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"
	"github.com/labstack/echo/v4"

	"cloudsettle/console/api"
	"cloudsettle/console/dev"
	"cloudsettle/core"
	"cloudsettle/core/id"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/workspace"
	"cloudsettle/store/fresh"
	"cloudsettle/store/postgres/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// bootstrap is the operator key of every test server.
const bootstrap = "bootstrap-operator-key-0123456789"

// server is the API on a real service and store. Every answer is checked
// against the description.
type server struct {
	t      testing.TB
	svc    *core.Service
	echo   *echo.Echo
	router routers.Router
	log    *logged
	clock  *dev.Clock
	cloud  core.Marketplace
	admin  string // an operator's key
}

func newServer(t testing.TB) *server {
	t.Helper()
	return serve(t, fresh.Open(t))
}

// serve puts the API on a store.
func serve(t testing.TB, st core.Store) *server {
	t.Helper()
	log := &logged{}
	cloud := core.Marketplace{Listing: core.Listing{
		ID: "cloud-main", Provider: "cloud", Currency: "CNY", OnRelease: workspace.Lock,
	}}
	clock := dev.NewClock(time.Now)
	svc := core.NewService(core.Config{
		Store: st, Marketplaces: []core.Marketplace{cloud}, Now: clock.Now, Dev: true,
		Sites: []workspace.Site{{Code: "c1", Cloud: "cloud", Zone: time.UTC, Prices: "CN"}, {Code: "any", Zone: time.UTC}},
		NewID: id.NewGenerator(clock.Now).New, Log: slog.New(slog.NewJSONHandler(log, nil)),
		LinkKey: make([]byte, 32), Brand: "Test",
	})
	s := &server{t: t, svc: svc, echo: echo.New(), log: log, clock: clock, cloud: cloud, admin: bootstrap}
	s.echo.GET("/*", func(c echo.Context) error { return c.String(http.StatusOK, "the console") })
	if err := api.Register(s.echo, svc); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.router, err = legacy.NewRouter(specification(t)); err != nil {
		t.Fatal(err)
	}
	if err := svc.Bootstrap(t.Context(), bootstrap); err != nil {
		t.Logf("bootstrap: %v", err)
	}
	return s
}

func specification(t testing.TB) *openapi3.T {
	t.Helper()
	spec, err := openapi3.NewLoader().LoadFromData(api.Specification())
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// logged keeps what was logged.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// answer is one answer of the API.
type answer struct {
	status int
	header http.Header
	raw    string
	body   map[string]any // nil if it is not a JSON object
}

func (a answer) text(field string) string {
	s, _ := a.body[field].(string)
	return s
}

func (a answer) list() []map[string]any {
	var out []map[string]any
	items, _ := a.body["data"].([]any)
	for _, item := range items {
		m, _ := item.(map[string]any)
		out = append(out, m)
	}
	return out
}

// call sends body, which is marshalled unless it is a string, with a key.
func (s *server) call(key, method, path string, body any, header ...string) answer {
	s.t.Helper()
	req := httptest.NewRequestWithContext(s.t.Context(), method, path, reader(s.t, body))
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return s.do(req)
}

func (s *server) do(req *http.Request) answer {
	s.t.Helper()
	rec := httptest.NewRecorder()
	s.echo.ServeHTTP(rec, req)
	a := answer{status: rec.Code, header: rec.Header(), raw: rec.Body.String()}
	_ = json.Unmarshal(rec.Body.Bytes(), &a.body)
	s.conforms(req, a)
	return a
}

func reader(t testing.TB, body any) io.Reader {
	t.Helper()
	switch b := body.(type) {
	case nil:
		return http.NoBody
	case string:
		return strings.NewReader(b)
	}
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(raw)
}

// conforms fails the test if the answer is not what the description promises.
func (s *server) conforms(req *http.Request, a answer) {
	s.t.Helper()
	if a.status >= 400 && (a.header.Get("Content-Type") != "application/problem+json" ||
		a.text("request_id") == "" || a.text("request_id") != a.header.Get("X-Request-Id")) {
		s.t.Errorf("%s %s = %d %s %s, want a problem with its request id", req.Method, req.URL, a.status, a.header, a.raw)
	}
	route, params, err := s.router.FindRoute(req)
	if err != nil {
		return // not an operation: 404 or 405
	}
	err = openapi3filter.ValidateResponse(req.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route},
		Status:                 a.status, Header: a.header, Body: io.NopCloser(strings.NewReader(a.raw)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	})
	if err != nil {
		s.t.Errorf("%s %s = %d %s: %v", req.Method, req.URL, a.status, a.raw, err)
	}
}

// want calls as an operator and fails the test unless the status is as wanted.
func (s *server) want(status int, method, path string, body any) answer {
	s.t.Helper()
	a := s.call(s.admin, method, path, body)
	if a.status != status {
		s.t.Fatalf("%s %s = %d %s, want %d", method, path, a.status, a.raw, status)
	}
	return a
}

// refuses fails the test unless a is a problem with this status and code.
func (s *server) refuses(what string, a answer, status int, code string) {
	s.t.Helper()
	if a.status != status || a.text("code") != code {
		s.t.Errorf("%s = %d %s, want %d %s", what, a.status, a.raw, status, code)
	}
}

func (s *server) account(name string) string {
	s.t.Helper()
	return s.want(201, "POST", "/api/v1/billing-accounts", map[string]any{
		"user_name": name, "email": name + "@acme.example", "currency": "CNY",
	}).text("id")
}

func (s *server) workspace(name string) string {
	s.t.Helper()
	return s.want(201, "POST", "/api/v1/workspaces", map[string]any{
		"name": name, "site": "c1", "owner_email": "dev@acme.example",
	}).text("id")
}

// key makes an API key and returns its secret.
func (s *server) key(role, owner string) string {
	s.t.Helper()
	body := map[string]any{"name": role, "role": role}
	if owner != "" {
		body["billing_account_id"] = owner
	}
	return s.want(201, "POST", "/api/v1/api-keys", body).text("secret")
}

// buy lets a buyer purchase a subscription and returns it and its callback.
func (s *server) buy(subject, buyer string) (marketplace.Subscription, marketplace.CallbackID) {
	s.t.Helper()
	out := s.tell(marketplace.Event{
		Kind: marketplace.Activated, Subject: subject, Account: buyer, SKU: "basic", Quantity: 3,
		ExpiresAt: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC),
	}, []byte(`{"order":"1"}`))
	return *out.Subscription, out.Callback
}

func (s *server) tell(ev marketplace.Event, body []byte) core.Outcome {
	s.t.Helper()
	ev.Listing, ev.Provider, ev.Action = s.cloud.Listing.ID, s.cloud.Listing.Provider, "act:"+string(ev.Kind)
	out, err := s.svc.Handle(s.t.Context(), s.cloud, core.Callback{
		Listing: ev.Listing, Method: "POST", RawQuery: "a=b", Body: body, ReceivedAt: time.Now(),
	}, ev)
	if err != nil {
		s.t.Fatalf("Handle(%s): %v", ev.Kind, err)
	}
	return out
}

// tenant is a billing account with one of everything, and its key.
type tenant struct {
	account, cloudAccount, subscription, workspace, binding, key string
}

func (s *server) tenant(name string) tenant {
	s.t.Helper()
	sub, _ := s.buy("subject-"+name, "buyer-"+name)
	n := tenant{account: s.account(name), cloudAccount: string(sub.Account), subscription: string(sub.ID)}
	s.want(200, "POST", "/api/v1/cloud-accounts/"+n.cloudAccount+"/claim", map[string]any{"billing_account_id": n.account})
	n.workspace = s.workspace("ws-" + name)
	n.binding = s.bind(n, n.workspace)
	n.key = s.key("account", n.account)
	return n
}

// bind settles a workspace through the wallet of n, as an operator.
func (s *server) bind(n tenant, workspace string) string {
	s.t.Helper()
	return s.want(201, "POST", "/api/v1/bindings", binding(workspace, n.account, "")).text("id")
}

// binding is the body that settles a workspace, through a subscription if one
// is given.
func binding(workspace, account, subscription string) map[string]any {
	settlement := map[string]any{"method": "billing_account"}
	if subscription != "" {
		settlement = map[string]any{"method": "cloud_account", "subscription_id": subscription}
	}
	return map[string]any{"workspace_id": workspace, "billing_account_id": account, "settlement": settlement}
}
