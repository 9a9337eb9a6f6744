package adaptertest

import (
	"bytes"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cloudsettle/core"
)

// forgery is a callback that somebody changed on its way.
type forgery struct {
	what string
	cb   core.Callback
}

func (h Harness) forgeries(t *testing.T, names []string) {
	m := h.Open(t)
	total := 0
	for _, name := range names {
		if h.Signed == nil || !h.Signed(name) {
			continue
		}
		cb := Read(t, filepath.Join(h.Dir, name+".http"), h.At)
		if _, err := m.Adapter.Receive(t.Context(), cb); err != nil {
			continue // a fixture of something that is refused anyway
		}
		for _, f := range append(h.forgeQuery(cb), h.forgeBody(cb)...) {
			total++
			if ev, err := m.Adapter.Receive(t.Context(), f.cb); err == nil {
				t.Errorf("%s with %s is believed: %+v", name, f.what, ev)
			}
		}
	}
	if h.Signed != nil && total < minForgeries {
		t.Errorf("only %d forgeries derived, want at least %d: add fixtures", total, minForgeries)
	}
	t.Logf("%d forgeries refused", total)
}

// forgeQuery changes, empties, drops and renames each parameter, and adds one.
func (h Harness) forgeQuery(cb core.Callback) []forgery {
	var out []forgery
	pairs := split(cb.RawQuery)
	change := func(what string, p []string) {
		f := cb
		f.RawQuery = strings.Join(p, "&")
		out = append(out, forgery{what, f})
	}
	for i, p := range pairs {
		k, v, _ := strings.Cut(p, "=")
		with := func(s string) []string { return slices.Concat(pairs[:i], []string{s}, pairs[i+1:]) }
		change("parameter "+k+" dropped", slices.Concat(pairs[:i], pairs[i+1:]))
		change("parameter "+k+" renamed", with(k+"x="+v))
		if v != "" {
			change("parameter "+k+" emptied", with(k+"="))
		}
		for at := range v {
			if c := v[at]; c != '%' && (at < 1 || v[at-1] != '%') && (at < 2 || v[at-2] != '%') {
				change(fmt.Sprintf("byte %d of %s changed", at, k), with(k+"="+v[:at]+other(c)+v[at+1:]))
			}
		}
	}
	if !h.UnsignedQuery && len(pairs) > 0 {
		change("a parameter added", append(slices.Clone(pairs), "zz=1"))
	}
	return out
}

func split(rawQuery string) []string {
	if rawQuery == "" {
		return nil
	}
	return strings.Split(rawQuery, "&")
}

// other returns another character of the same sort, so that what changes is
// the meaning and not the syntax. Letters do not merely change case.
func other(c byte) string {
	switch {
	case c == '9' || c == 'z' || c == 'Z' || c == 'f' || c == 'F':
		return string(c - 1)
	case c >= '0' && c < '9' || c >= 'a' && c < 'z' || c >= 'A' && c < 'Z':
		return string(c + 1)
	default:
		return "0"
	}
}

// forgeBody changes each byte of the body that a signature covers.
func (h Harness) forgeBody(cb core.Callback) []forgery {
	var out []forgery
	open := h.unsigned(cb.Body)
	for i, c := range cb.Body {
		if slices.ContainsFunc(open, func(r []int) bool { return i >= r[0] && i < r[1] }) {
			continue
		}
		f := cb
		f.Body = bytes.Clone(cb.Body)
		f.Body[i] = other(c)[0]
		out = append(out, forgery{fmt.Sprintf("byte %d of the body changed", i), f})
	}
	if len(cb.Body) > 0 {
		f := cb
		f.Body = nil
		out = append(out, forgery{"no body", f})
	}
	return out
}

// unsigned finds the places of body that no signature covers.
func (h Harness) unsigned(body []byte) [][]int {
	var out [][]int
	for _, field := range h.UnsignedFields {
		re := regexp.MustCompile(`"` + regexp.QuoteMeta(field) + `"\s*:\s*("(?:[^"\\]|\\.)*"|null)\s*,?`)
		out = append(out, re.FindAllIndex(body, -1)...)
	}
	return out
}

// parameterOrder: a signature over parameters does not depend on their order
// on the wire.
func (h Harness) parameterOrder(t *testing.T, names []string) {
	m := h.Open(t)
	for _, name := range names {
		cb := Read(t, filepath.Join(h.Dir, name+".http"), h.At)
		_, wantErr := m.Adapter.Receive(t.Context(), cb)
		pairs := split(cb.RawQuery)
		slices.Reverse(pairs)
		cb.RawQuery = strings.Join(pairs, "&")
		if _, err := h.Open(t).Adapter.Receive(t.Context(), cb); (err == nil) != (wantErr == nil) {
			t.Errorf("%s with its parameters reversed: Receive() = %v, before: %v", name, err, wantErr)
		}
	}
}

// strangers sends what no marketplace sends; each is refused and answered.
func (h Harness) strangers(t *testing.T, names []string) {
	m := h.Open(t)
	listing := Read(t, filepath.Join(h.Dir, names[0]+".http"), h.At).Listing
	long := strings.Repeat("a", 64<<10)
	for i, s := range []struct{ method, endpoint, query, contentType, body string }{
		{"GET", "", "", "", ""},
		{"POST", "", "", "application/json", ""},
		{"POST", "", "", "application/json", "{"},
		{"POST", "", "", "application/json", "null"},
		{"POST", "", "", "application/json", `[]`},
		{"POST", "", "", "application/json", strings.Repeat("[", 100_000)},
		{"POST", "", "", "text/plain", `{"Type":"Notification"}`},
		{"POST", "", "", "application/x-www-form-urlencoded", "a=%zz&b"},
		{"POST", "", "signature=x&timestamp=y&nonce=z", "application/json", `{"activity":"newInstance"}`},
		{"POST", "", "signature=&timestamp=&nonce=", "application/json", `{"activity":""}`},
		{"GET", "", "action=createInstance&token=", "", ""},
		{"GET", "", "action=nobodyKnows&token=x", "", ""},
		{"GET", "", "action=createInstance&action=releaseInstance&token=x&token=y", "", ""},
		{"GET", "", "activity=newInstance&authToken=&timeStamp=", "", ""},
		{"GET", "", "a=%zz", "", ""},
		{"GET", "", "a=%ff%fe&token=%00", "", ""},
		{"GET", "", "token=" + long, "", ""},
		{"GET", "", "&&&===;;;", "", ""},
		{"PUT", "", "", "application/json", "{}"},
		{"DELETE", "", "", "", ""},
		{"PATCH", "events", "", "application/json", "{}"},
		{"POST", "events", "", "application/json", `{"Type":"Notification","SignatureVersion":"9"}`},
		{"POST", "events", "", "application/json", `{"detail-type":"License Updated","source":"aws.agreement-marketplace"}`},
		{"POST", "register", "", "application/x-www-form-urlencoded", "x-amzn-marketplace-token="},
		{"GET", "sso", "action=verify", "", ""},
		{"POST", "nowhere", "", "application/json", "{}"},
		{"GET", "nowhere", "", "", ""},
	} {
		cb := core.Callback{
			Listing: listing, Endpoint: s.endpoint, Method: s.method, RawQuery: s.query,
			Header: http.Header{"Content-Type": {s.contentType}}, Body: []byte(s.body),
			ReceivedAt: h.At, RequestID: "req_test",
		}
		ev, err := m.Adapter.Receive(t.Context(), cb)
		if err == nil {
			t.Errorf("stranger %d (%s %s?%.40s) is believed: %+v", i, s.method, s.endpoint, s.query, ev)
		}
		h.answered(t, "stranger", fmt.Sprint(err), m.Adapter.Reply(cb, ev, core.Outcome{}, err))
	}
}
