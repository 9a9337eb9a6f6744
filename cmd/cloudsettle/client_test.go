package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"cloudsettle/console/api"
	"cloudsettle/console/api/rest"
	"cloudsettle/core"
	"cloudsettle/core/id"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/workspace"
	"cloudsettle/store/fresh"
)

// terminal runs commands against an API on a real service and store.
type terminal struct {
	t      *testing.T
	svc    *core.Service
	market core.Marketplace
	url    string
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	st := fresh.Open(t)
	m := core.Marketplace{Listing: core.Listing{ID: "cloud-main", Provider: "cloud", Currency: "CNY", OnRelease: workspace.Lock}}
	svc := core.NewService(core.Config{
		Store: st, Marketplaces: []core.Marketplace{m}, Now: time.Now, NewID: id.NewGenerator(time.Now).New,
		Sites: []workspace.Site{{Code: "c1", Cloud: "cloud", Zone: time.UTC, Prices: "CN"}}, Dev: true,
		Log: slog.New(slog.DiscardHandler), LinkKey: make([]byte, 32), Brand: "Test",
	})
	e := echo.New()
	if err := api.Register(e, svc); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(e)
	t.Cleanup(server.Close)
	if err := svc.Bootstrap(t.Context(), bootstrap); err != nil {
		t.Fatal(err)
	}
	return &terminal{t: t, svc: svc, market: m, url: server.URL}
}

// run runs a command line as the operator.
func (x *terminal) run(args ...string) (code int, stdout, stderr string) {
	x.t.Helper()
	return runLine(x.t, append([]string{"--server", x.url, "--api-key", bootstrap}, args...)...)
}

func runLine(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, &out, &errs)
	return code, out.String(), errs.String()
}

// json runs a command that must succeed and reads what it prints.
func (x *terminal) json(args ...string) map[string]any {
	x.t.Helper()
	code, stdout, stderr := x.run(append([]string{"-o", "json"}, args...)...)
	var out map[string]any
	if err := json.Unmarshal([]byte(stdout), &out); code != exitOK || err != nil {
		x.t.Fatalf("%v = %d, %v: %s%s", args, code, err, stdout, stderr)
	}
	return out
}

func (x *terminal) buy(subject string) core.Outcome {
	x.t.Helper()
	out, err := x.svc.Handle(x.t.Context(), x.market,
		core.Callback{Listing: "cloud-main", Method: "POST", Body: []byte("hello"), ReceivedAt: time.Now()},
		marketplace.Event{
			Listing: "cloud-main", Provider: "cloud", Kind: marketplace.Activated, Action: "buy", Subject: subject, Account: "b-1",
		})
	if err != nil {
		x.t.Fatal(err)
	}
	return out
}

// TestClientCommands walks a purchase from its callback to a settled workspace.
func TestClientCommands(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	bought := x.buy("s-1")
	sub, cloud := string(bought.Subscription.ID), string(bought.Subscription.Account)
	account := fmt.Sprint(x.json("billing-accounts", "create", "acme", "--email", "ops@acme.example", "--currency", "CNY")["id"])
	claimed := x.json("cloud-accounts", "claim", cloud, account)
	ws := fmt.Sprint(x.json("workspaces", "create", "prod", "--site", "c1", "--owner-email", "dev@acme.example")["id"])
	bound := x.json("bindings", "create", ws, account, "--subscription", sub)
	replayed := x.json("callbacks", "replay", string(bought.Callback))
	key := x.json("apikey", "create", "ci", "--role", "account", "--billing-account", account)
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"claim", claimed["billing_account_id"], account},
		{"bind", fmt.Sprint(bound["settlement"]), "map[method:cloud_account subscription_id:" + sub + "]"},
		{"replay", replayed["note"], "no effect (already applied)"},
		{"a key's account", key["billing_account_id"], account},
	} {
		if c.got != c.want {
			t.Errorf("%s = %v, want %v", c.what, c.got, c.want)
		}
	}
	for line, wants := range map[string][]string{
		"billing-accounts list":                     {account, "ops@acme.example"},
		"billing-accounts show " + account:          {account, "CNY"},
		"cloud-accounts list":                       {cloud, "active", sub, ws},
		"cloud-accounts show " + cloud:              {cloud, account},
		"bills cloud-account " + cloud + " 2026-11": {"SUBSCRIPTION", "CARRY"},
		"subscriptions list":                        {sub, "s-1"},
		"subscriptions show " + sub:                 {sub, "cloud-main"},
		"workspaces list":                           {ws, "prod", sub},
		"workspaces show " + ws:                     {ws, "dev@acme.example"},
		"bindings list --workspace " + ws:           {ws, account, "chosen"},
		"callbacks list":                            {string(bought.Callback), "activated", "applied"},
		"callbacks list --rejected":                 {"RECEIVED"},
		"callbacks show " + callbackOf(bought):      {"BODY", "hello", "subscription " + sub + " is active"},
		"apikey list":                               {"bootstrap", "ci", "account"},
		"apikey revoke " + fmt.Sprint(key["id"]):    {"REVOKED"},
	} {
		code, stdout, stderr := x.run(strings.Fields(line)...)
		for _, want := range wants {
			if code != exitOK || !strings.Contains(stdout, want) {
				t.Errorf("%s = %d %s%s, want %q in it", line, code, stdout, stderr, want)
			}
		}
		if secret := fmt.Sprint(key["secret"]); strings.Contains(stdout, secret) {
			t.Errorf("%s shows a secret", line)
		}
	}
}

func callbackOf(out core.Outcome) string { return string(out.Callback) }

// TestClientExitCodes: what scripts rely on.
func TestClientExitCodes(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	busy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(`{"status":503,"code":"unavailable","detail":"unavailable, try again soon","errors":[],"request_id":"req_7"}`))
	}))
	defer busy.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	proxy := httptest.NewServer(http.RedirectHandler("http://example.com/", http.StatusFound))
	defer proxy.Close()
	for _, c := range []struct {
		server, line string
		code         int
		stderr       []string
	}{
		{x.url, "workspaces list", exitOK, nil},
		{x.url, "workspaces show ws_none", exitFailed, []string{"404 not_found", "request req_"}},
		{
			x.url, "workspaces create w --site nowhere --owner-email x", exitFailed,
			[]string{"400 invalid_fields", "\n  site: is not a configured site", "\n  owner_email: ", "\n  request req_"},
		},
		{x.url, "workspaces create w", exitUsage, []string{"--site"}},
		{x.url, "workspaces frobnicate", exitUsage, nil},
		{x.url, "-o xml workspaces list", exitUsage, []string{"xml"}},
		{"127.0.0.1:8080", "workspaces list", exitUsage, []string{"server"}},
		{x.url, "apikey create x --role root", exitUsage, []string{"root"}},
		{gone.URL, "workspaces list", exitUnavailable, []string{"refused"}},
		{busy.URL, "workspaces list", exitUnavailable, []string{"try again soon", "req_7"}},
		{proxy.URL, "workspaces list", exitFailed, []string{"302"}},
	} {
		args := append([]string{"--server", c.server, "--api-key", bootstrap}, strings.Fields(c.line)...)
		code, stdout, stderr := runLine(t, args...)
		if code != c.code {
			t.Errorf("%s at %s = %d, want %d: %s%s", c.line, c.server, code, c.code, stdout, stderr)
		}
		for _, want := range c.stderr {
			if !strings.Contains(stderr, want) {
				t.Errorf("%s at %s says %q, want %q in it", c.line, c.server, stderr, want)
			}
		}
		if strings.Contains(stdout+stderr, bootstrap) {
			t.Errorf("%s shows the key", c.line)
		}
	}
}

// TestClientFollowsPages: a list has as many items as were asked for.
func TestClientFollowsPages(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	const total = 205
	for i := range total {
		w := workspace.Workspace{Name: fmt.Sprintf("w-%d", i), Site: "c1", OwnerEmail: "dev@acme.example"}
		if _, err := x.svc.CreateWorkspace(t.Context(), core.Request{}, w); err != nil {
			t.Fatal(err)
		}
	}
	for limit, want := range map[string]int{"0": total, "3": 3, "200": 200, "201": 201, "1000": total} {
		code, stdout, stderr := x.run("-o", "csv", "workspaces", "list", "--limit", limit)
		rows, err := csv.NewReader(strings.NewReader(stdout)).ReadAll()
		if code != exitOK || err != nil || len(rows) != want+1 {
			t.Errorf("--limit %s = %d, %v, %d rows, want a header and %d: %s", limit, code, err, len(rows), want, stderr)
		}
	}
}

// TestClientIdempotencyKey: a repeated command makes nothing new.
func TestClientIdempotencyKey(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	line := []string{"workspaces", "create", "w", "--site", "c1", "--owner-email", "dev@acme.example", "--idempotency-key", "k-1"}
	if first, again := x.json(line...), x.json(line...); first["id"] != again["id"] {
		t.Errorf("the command made %v, then %v, want one workspace", first["id"], again["id"])
	}
}

// TestDemoKeyStaysHere: the key in the working directory goes to this machine only.
func TestDemoKeyStaysHere(t *testing.T) { //nolint:paralleltest // changes the working directory
	t.Chdir(t.TempDir())
	if err := os.MkdirAll(filepath.Dir(devKeyFile), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(devKeyFile, []byte(bootstrap+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	x := newTerminal(t)
	if code, _, stderr := runLine(t, "--server", x.url, "workspaces", "list"); code != exitOK {
		t.Errorf("list with the demo's key = %d %s, want 0", code, stderr)
	}
	code, _, stderr := runLine(t, "--server", "http://server.example.com:1", "workspaces", "list")
	if code != exitFailed || !strings.Contains(stderr, "no API key") {
		t.Errorf("list elsewhere = %d %s, want no key to send", code, stderr)
	}
}

func TestPrintTable(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	c := &cli{output: "table", out: &out}
	columns := []column[[2]string]{
		{"NAME", func(v [2]string) string { return v[0] }}, {"CITY", func(v [2]string) string { return v[1] }},
	}
	if err := printAll(c, [][2]string{{"云市场", "Hangzhou"}, {"a\x1b[2Jb", ""}}, columns); err != nil {
		t.Fatal(err)
	}
	want := "NAME    CITY\n云市场  Hangzhou\na\ufffd[2Jb\n"
	if out.String() != want {
		t.Errorf("printAll() = %q, want %q", out.String(), want)
	}
	out.Reset()
	if err := printOne(c, [2]string{"x", ""}, columns); err != nil || out.String() != "NAME  x\n" {
		t.Errorf("printOne() = %q, %v, want only the field that is there", out.String(), err)
	}
}

// TestProblemCannotControlTheTerminal: details may quote what strangers sent.
func TestProblemCannotControlTheTerminal(t *testing.T) {
	t.Parallel()
	p := &problem{rest.Problem{Detail: "no workspace \x1b]0;x\a", Status: 404, Code: "not_found"}}
	if got := p.Error(); strings.ContainsAny(got, "\x1b\a") {
		t.Errorf("Error() = %q, want no control characters", got)
	}
}
