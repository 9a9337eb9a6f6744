package webhooks_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"

	"cloudsettle/core"
	"cloudsettle/core/id"
	"cloudsettle/core/marketplace"
	"cloudsettle/store/fresh"
	"cloudsettle/store/postgres/pgtest"
	"cloudsettle/webhooks"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// plain is an adapter of a dialect made for these tests: the body names the
// subscription, or what is to go wrong.
type plain struct{}

func (plain) Receive(_ context.Context, cb core.Callback) (marketplace.Event, error) {
	ev := marketplace.Event{Listing: cb.Listing, Provider: "plain", Action: cb.Endpoint + "/buy"}
	switch text := string(cb.Body); {
	case cb.Method != http.MethodPost:
		return ev, fmt.Errorf("plain: method %s: %w", cb.Method, core.ErrUnsupported)
	case text == "panic":
		_ = text[len(text)] // a run-time error, as a bug makes one
	case text == "internal":
		return ev, errors.New("plain: out of luck")
	case strings.HasPrefix(text, "forged"):
		return ev, fmt.Errorf("plain: %s: %w", text, core.ErrUnverified)
	default:
		name := text[:min(len(text), 9)]
		ev.Kind, ev.Subject, ev.Account, ev.Rank = marketplace.Activated, name, "1234-"+name, "1"
	}
	return ev, nil
}

func (plain) Reply(_ core.Callback, _ marketplace.Event, out core.Outcome, err error) core.Reply {
	word := string(out.Result)
	for _, class := range []error{
		core.ErrUnsupported, core.ErrTooLarge, core.ErrInvalid, core.ErrUnverified,
	} {
		if errors.Is(err, class) {
			word = class.Error()
		}
	}
	if err != nil && word == "" {
		word = "internal"
	}
	return core.Reply{
		Status: http.StatusAccepted,
		Header: http.Header{"Body-Sign": {"b64"}, "Content-Type": {"text/plain"}},
		Body:   []byte("<" + word + ">"),
	}
}

// mute panics whatever it is asked.
type mute struct{}

func (mute) Receive(context.Context, core.Callback) (marketplace.Event, error) { panic("secret") }
func (mute) Reply(core.Callback, marketplace.Event, core.Outcome, error) core.Reply {
	panic("secret")
}

// bundle is a receiver on a real service and a real store.
type bundle struct {
	echo *echo.Echo
	svc  *core.Service
	log  *syncBuffer

	mu      sync.Mutex
	records []webhooks.Record
}

func setup(t testing.TB) *bundle {
	t.Helper()
	b := &bundle{echo: echo.New(), log: &syncBuffer{}}
	b.svc = core.NewService(core.Config{
		Store: fresh.Open(t),
		Marketplaces: []core.Marketplace{
			{Listing: core.Listing{ID: "shop", Provider: "plain"}, Adapter: plain{}},
			{Listing: core.Listing{ID: "mute", Provider: "mute"}, Adapter: mute{}},
		},
		Now: time.Now, NewID: id.NewGenerator(time.Now).New, LinkKey: make([]byte, 32),
		Log: slog.New(slog.NewJSONHandler(b.log, nil)),
	})
	webhooks.Register(b.echo, b.svc, webhooks.Options{Observe: func(r webhooks.Record) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.records = append(b.records, r)
	}})
	return b
}

func (b *bundle) do(method, path, body string, header ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	rec := httptest.NewRecorder()
	b.echo.ServeHTTP(rec, req)
	return rec
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestReply(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", webhooks.MaxBody)
	for _, c := range []struct {
		name, method, path, body, want string
		header                         []string
	}{
		{name: "Applied", method: "POST", path: "/webhooks/shop", body: "l-1", want: "<applied>"},
		{name: "QueryIsNotThePath", method: "POST", path: "/webhooks/shop?a=b%2Fc", body: "l-2", want: "<applied>"},
		{name: "Endpoint", method: "POST", path: "/webhooks/shop/events", body: "l-3", want: "<applied>"},
		{name: "WrongMethod", method: "DELETE", path: "/webhooks/shop", want: "<unsupported>"},
		{name: "RareMethod", method: "PROPFIND", path: "/webhooks/shop/sso", want: "<unsupported>"},
		{name: "Forged", method: "POST", path: "/webhooks/shop", body: "forged", want: "<not authentic>"},
		{name: "LargestBody", method: "POST", path: "/webhooks/shop", body: large, want: "<applied>"},
		{name: "TooLarge", method: "POST", path: "/webhooks/shop", body: large + "x", want: "<too large>"},
		{name: "Encoded", method: "POST", path: "/webhooks/shop", body: "l-4", want: "<invalid>",
			header: []string{"Content-Encoding", "gzip"}},
		{name: "Internal", method: "POST", path: "/webhooks/shop", body: "internal", want: "<internal>"},
		{name: "Panic", method: "POST", path: "/webhooks/shop", body: "panic", want: "<internal>"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := setup(t).do(c.method, c.path, c.body, c.header...)
			if got.Code != http.StatusAccepted || got.Body.String() != c.want {
				t.Errorf("%s %s = %d %q, want 202 %q", c.method, c.path, got.Code, got.Body, c.want)
			}
			if got.Header().Get("X-Request-Id") == "" {
				t.Errorf("%s %s has no request id", c.method, c.path)
			}
		})
	}
}

// TestExactBytes looks at the raw response: a header keeps its case and the
// body gets nothing added, compressed or not.
func TestExactBytes(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(setup(t).echo)
	t.Cleanup(srv.Close)
	req, err := http.NewRequestWithContext(t.Context(), "POST", srv.URL+"/webhooks/shop", strings.NewReader("l-1"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "gzip")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	resp.Header.Del("Date")
	resp.Header.Del("X-Request-Id")
	want := http.Header{"Body-Sign": {"b64"}, "Content-Type": {"text/plain"}, "Content-Length": {"9"}}
	if diff := cmp.Diff(want, resp.Header); diff != "" || string(body) != "<applied>" {
		t.Errorf("POST = %q, headers (-want +got):\n%s", body, diff)
	}
}

func TestNotFound(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for path, code := range map[string]string{
		"/webhooks/other":          "unknown_listing",
		"/webhooks/other/events":   "unknown_listing",
		"/webhooks/shop/queue":     "not_found",
		"/webhooks/shop/pull":      "not_found",
		"/webhooks/shop/":          "not_found",
		"/webhooks/shop/Events":    "not_found",
		"/webhooks/shop/events/x":  "not_found",
		"/webhooks/shop%2Fevents":  "unknown_listing",
		"/webhooks/shop/events%00": "not_found",
	} {
		got := b.do("POST", path, "l-1")
		var p struct {
			Type, Title, Code string
			Status            int
			RequestID         string `json:"request_id"`
		}
		if err := json.Unmarshal(got.Body.Bytes(), &p); err != nil {
			t.Errorf("POST %s = %d %q: %v", path, got.Code, got.Body, err)
			continue
		}
		if got.Code != 404 || p.Status != 404 || p.Code != code || p.Type != "about:blank" ||
			p.Title != "Not Found" || p.RequestID == "" ||
			got.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("POST %s = %d %+v, want 404 %s", path, got.Code, p, code)
		}
	}
}

// TestUnheardMethod: a method that HTTP does not know has no dialect either.
func TestUnheardMethod(t *testing.T) {
	t.Parallel()
	if got := setup(t).do("FROB", "/webhooks/shop", ""); got.Code != 404 || got.Body.Len() == 0 {
		t.Errorf("FROB = %d %q, want 404 and a problem", got.Code, got.Body)
	}
}

// TestChunkedBody: a body of unknown length meets the same limit.
func TestChunkedBody(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for n, want := range map[int]string{webhooks.MaxBody: "<applied>", webhooks.MaxBody + 1: "<too large>"} {
		req := httptest.NewRequest("POST", "/webhooks/shop", io.LimitReader(zeros{}, int64(n)))
		req.ContentLength = -1
		rec := httptest.NewRecorder()
		b.echo.ServeHTTP(rec, req)
		if rec.Body.String() != want {
			t.Errorf("POST of %d bytes = %q, want %q", n, rec.Body, want)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte("0"), len(p))), nil }

// TestShortBody: half a body is not handed on, whatever it says.
func TestShortBody(t *testing.T) {
	t.Parallel()
	b := setup(t)
	req := httptest.NewRequest("POST", "/webhooks/shop", strings.NewReader("l-1"))
	req.ContentLength = 10
	rec := httptest.NewRecorder()
	b.echo.ServeHTTP(rec, req)
	if got := rec.Body.String(); got != "<invalid>" {
		t.Errorf("POST of half a body = %q, want %q", got, "<invalid>")
	}
}

func TestReplyItselfPanics(t *testing.T) {
	t.Parallel()
	b := setup(t)
	got := b.do("POST", "/webhooks/mute", "l-1")
	if got.Code != 500 || !strings.Contains(got.Body.String(), `"code":"internal"`) {
		t.Errorf("POST = %d %q, want 500 and a problem", got.Code, got.Body)
	}
	if s := b.log.String(); !strings.Contains(s, "webhooks_test.mute") || strings.Contains(s, "secret") {
		t.Errorf("log = %s, want a stack without the panic's text", s)
	}
}

// TestLog: one line per callback, with what is needed to find it again and
// nothing that is worth stealing.
func TestLog(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.do("POST", "/webhooks/shop/events?token=hunter2", "l-1", "X-Api-Key", "hunter2")
	b.do("POST", "/webhooks/shop?token=hunter2", "forged hunter2")
	lines := strings.Split(strings.TrimSpace(b.log.String()), "\n")
	if len(lines) != 2 || strings.Contains(b.log.String(), "hunter2") {
		t.Fatalf("log = %s, want two lines without secrets", b.log)
	}
	var got []map[string]any
	for _, l := range lines {
		m := map[string]any{}
		if err := json.Unmarshal([]byte(l), &m); err != nil {
			t.Fatal(err)
		}
		for _, k := range []string{"time", "duration", "request_id", "callback"} {
			if _, ok := m[k]; !ok {
				t.Errorf("log line %s has no %s", l, k)
			}
			delete(m, k)
		}
		got = append(got, m)
	}
	want := []map[string]any{
		{"level": "INFO", "msg": "callback", "listing": "shop", "endpoint": "events", "kind": "activated",
			"action": "events/buy", "outcome": "applied", "status": 202.0},
		{"level": "WARN", "msg": "callback", "listing": "shop", "endpoint": "", "kind": "",
			"action": "/buy", "outcome": "unverified", "status": 202.0},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
	if len(b.records) != 2 || b.records[0].Callback == "" || b.records[1].Outcome != "unverified" {
		t.Errorf("observed %+v, want the same two callbacks", b.records)
	}
}

// TestRefusedIsJournaled: what could not be read is in the log of refused
// callbacks, and nothing else changed.
func TestRefusedIsJournaled(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.do("POST", "/webhooks/shop", strings.Repeat("x", webhooks.MaxBody+1))
	refused, err := b.svc.CallbackEntries(t.Context(), "", true, core.Page{Limit: 10})
	if err != nil || len(refused.Items) != 1 {
		t.Fatalf("refused callbacks = %d, %v, want 1", len(refused.Items), err)
	}
	subs, err := b.svc.Subscriptions(t.Context(), core.Actor{}, "", core.Page{Limit: 10})
	if err != nil || len(subs.Items) != 0 {
		t.Errorf("subscriptions = %d, %v, want none", len(subs.Items), err)
	}
}
