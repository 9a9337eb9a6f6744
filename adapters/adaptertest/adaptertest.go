package adaptertest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

var update = flag.Bool("update", false, "rewrite the .want files")

// minForgeries is how many derived forgeries an adapter with signed callbacks
// must at least refuse; fewer means that fixtures are missing.
const minForgeries = 200

// Harness says how to test one adapter and declares its limits.
type Harness struct {
	// Open returns a fresh adapter whose clock stands at At.
	Open func(tb testing.TB) core.Marketplace
	At   time.Time
	Dir  string // of the fixtures

	// Signed reports whether a fixture carries a signature that covers its
	// parameters or body.
	Signed func(name string) bool
	// UnsignedFields are JSON fields of signed bodies that no signature covers.
	UnsignedFields []string
	// UnsignedQuery says that only the body is signed, and the parameters
	// beside those that carry the signature are not.
	UnsignedQuery bool
	// Secrets must not appear in any event, error or reply.
	Secrets []string
}

// Run checks the promises of core.Adapter.
func Run(t *testing.T, h Harness) {
	names := fixtures(t, h.Dir)
	t.Run("Fixtures", func(t *testing.T) {
		for _, name := range names {
			t.Run(name, func(t *testing.T) { h.fixture(t, name) })
		}
	})
	t.Run("ForgeriesAreRefused", func(t *testing.T) { h.forgeries(t, names) })
	t.Run("ParameterOrderIsFree", func(t *testing.T) { h.parameterOrder(t, names) })
	t.Run("StrangersAreAnswered", func(t *testing.T) { h.strangers(t, names) })
	t.Run("ReplyIsTotal", func(t *testing.T) { h.replyIsTotal(t, names) })
}

func fixtures(t *testing.T, dir string) []string {
	paths, err := filepath.Glob(filepath.Join(dir, "*.http"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no fixtures in %s: %v", dir, err)
	}
	names := make([]string, len(paths))
	for i, p := range paths {
		names[i] = strings.TrimSuffix(filepath.Base(p), ".http")
	}
	return names
}

// want is the golden form of what a fixture means.
type want struct {
	Event *marketplace.Event `json:"event,omitempty"`
	Error string             `json:"error,omitempty"`
	Reply wantReply          `json:"reply"`
}

type wantReply struct {
	Status int                 `json:"status"`
	Header map[string][]string `json:"header,omitempty"`
	Body   string              `json:"body,omitempty"`
}

func (h Harness) fixture(t *testing.T, name string) {
	m := h.Open(t)
	cb := Read(t, filepath.Join(h.Dir, name+".http"), h.At)
	ev, err := m.Adapter.Receive(t.Context(), cb)
	got := want{}
	if err != nil {
		got.Error = err.Error()
	} else {
		got.Event = &ev
	}
	r := m.Adapter.Reply(cb, ev, Applied(ev), err)
	got.Reply = wantReply{Status: r.Status, Header: r.Header, Body: string(r.Body)}
	h.leaks(t, got)

	path := filepath.Join(h.Dir, name+".want")
	text := marshal(t, got)
	if *update {
		if err := os.WriteFile(path, text, 0o644); err != nil { // #nosec -- a golden file
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run with -update)", err)
	}
	if diff := gocmp.Diff(string(golden), string(text)); diff != "" {
		t.Errorf("%s means something else (-want +got):\n%s", name, diff)
	}
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (h Harness) leaks(t *testing.T, got want) {
	t.Helper()
	text := string(marshal(t, got))
	for _, s := range h.Secrets {
		if strings.Contains(text, s) {
			t.Errorf("a secret shows in %s", text)
		}
	}
}

// Applied returns the outcome of an event that did what it says, for a
// subscription that is fresh in a store.
func Applied(ev marketplace.Event) core.Outcome {
	out := core.Outcome{Result: marketplace.Applied, Callback: "cb_test", Landing: "/landing/test"}
	if ev.Test {
		return core.Outcome{Result: marketplace.Tested, Callback: "cb_test"}
	}
	switch ev.Kind {
	case marketplace.Noted:
		return core.Outcome{Result: marketplace.Ignored, Callback: "cb_test"}
	case marketplace.Asked:
		out.Result = marketplace.Answered
		for _, s := range ev.Subjects {
			out.Answers = append(out.Answers, core.Answer{Subject: s, Subscription: subscription(s), Landing: "/landing/test"})
		}
		return out
	case marketplace.Checked:
		out.Result = marketplace.Answered
	}
	subject := cmp.Or(ev.Subject, ev.Proposed)
	if subject == "" && len(ev.Also) > 0 {
		subject = ev.Also[0]
	}
	out.Subscription = subscription(subject)
	return out
}

func subscription(subject string) *marketplace.Subscription {
	return &marketplace.Subscription{
		ID: "sub_test", Subject: subject, Account: "cac_test", Status: marketplace.StatusActive,
	}
}

// outcomes are all that Reply must have an answer for.
func (h Harness) replyIsTotal(t *testing.T, names []string) {
	m := h.Open(t)
	results := []marketplace.Result{
		marketplace.Applied, marketplace.Duplicate, marketplace.Stale, marketplace.Waiting,
		marketplace.Processing, marketplace.Answered, marketplace.Ignored, marketplace.Tested,
		marketplace.Replayed, marketplace.Refused, "something new",
	}
	errs := []error{
		core.ErrNotFound, core.ErrConflict, core.ErrInvalid, core.ErrUnverified, core.ErrUnsupported,
		core.ErrTooLarge, core.ErrExpired, core.ErrUnavailable, core.ErrNotUsable, errors.New("disk on fire"),
	}
	for _, name := range names {
		cb := Read(t, filepath.Join(h.Dir, name+".http"), h.At)
		ev, _ := m.Adapter.Receive(t.Context(), cb)
		for _, r := range results {
			for _, sub := range []*marketplace.Subscription{nil, subscription("x-1")} {
				h.answered(t, name, string(r), m.Adapter.Reply(cb, ev, core.Outcome{Result: r, Subscription: sub}, nil))
			}
		}
		for _, e := range errs {
			r := m.Adapter.Reply(cb, marketplace.Event{}, core.Outcome{}, e)
			h.answered(t, name, e.Error(), r)
			if strings.Contains(string(r.Body), "disk on fire") {
				t.Errorf("%s: Reply tells the marketplace about an internal error: %s", name, r.Body)
			}
		}
	}
}

func (h Harness) answered(t *testing.T, name, what string, r core.Reply) {
	t.Helper()
	if r.Status < 200 || r.Status > 599 {
		t.Errorf("%s: Reply(%s) has status %d", name, what, r.Status)
	}
	if len(r.Body) == 0 && r.Header.Get("Location") == "" {
		t.Errorf("%s: Reply(%s) is empty", name, what)
	}
}
