package alibaba

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

// replyTo returns the answer to an action and what its body says.
func replyTo(t *testing.T, a core.Adapter, action string, out core.Outcome, err error) (core.Reply, map[string]any) {
	t.Helper()
	kinds := map[string]marketplace.Kind{
		actionCreate: marketplace.Activated, actionRenew: marketplace.Renewed, actionExpired: marketplace.Expired,
		actionRefundRenew: marketplace.RenewalRefunded, actionUpgrade: marketplace.Changed,
		actionResume: marketplace.Resumed, actionRelease: marketplace.Ended, actionOrderPay: marketplace.Noted,
	}
	cb := core.Callback{Method: http.MethodGet, RequestID: "req_1"}
	r := a.Reply(cb, marketplace.Event{Action: action, Kind: kinds[action], Subject: "77"}, out, err)
	body := map[string]any{}
	if err := json.Unmarshal(r.Body, &body); err != nil {
		t.Fatalf("Reply(%s, %v) is not JSON: %s", action, err, r.Body)
	}
	return r, body
}

func TestReplyToCreate(t *testing.T) {
	t.Parallel()
	a := mustOpen(t, nil).Adapter
	known := &marketplace.Subscription{Subject: "77", Account: "cac_1", Status: marketplace.StatusEnded}
	for _, tc := range []struct {
		result marketplace.Result
		err    error
		status int
		want   string
	}{
		{marketplace.Applied, nil, 200, "77"},
		{marketplace.Duplicate, nil, 200, "77"},
		{marketplace.Stale, nil, 200, "77"},
		{marketplace.Processing, nil, 200, "0"},
		{marketplace.Refused, nil, 200, "0"},
		{"something new", nil, 200, "0"},
		{"", core.ErrUnverified, 200, "0"},
		{"", core.ErrInvalid, 200, "0"},
		{"", core.ErrUnavailable, 503, "0"},
		{"", core.ErrConflict, 503, "0"},
		{"", core.ErrTooLarge, 413, "0"},
		{"", errors.New("disk on fire"), 500, "0"},
	} {
		for _, sub := range []*marketplace.Subscription{known, nil} {
			r, body := replyTo(t, a, actionCreate, core.Outcome{Result: tc.result, Subscription: sub}, tc.err)
			if r.Status != tc.status || body["instanceId"] != tc.want {
				t.Errorf("Reply(create, %q, %v) = %d %s, want %d and %q", tc.result, tc.err, r.Status, r.Body, tc.status, tc.want)
			}
			if (tc.status == 503) != (r.Header.Get("Retry-After") != "") {
				t.Errorf("Reply(create, %v) has Retry-After %q", tc.err, r.Header.Get("Retry-After"))
			}
		}
	}
}

// Before its purchase, an end is accepted and everything else is asked again.
func TestReplyBeforeThePurchase(t *testing.T) {
	t.Parallel()
	a := mustOpen(t, nil).Adapter
	early := &marketplace.Subscription{Subject: "77"}
	for action, want := range map[string]bool{
		actionRenew: false, actionRefundRenew: false, actionUpgrade: false,
		actionExpired: true, actionResume: true, actionRelease: true,
	} {
		for _, out := range []core.Outcome{
			{Result: marketplace.Waiting}, {Result: marketplace.Waiting, Subscription: early},
			{Result: marketplace.Duplicate, Subscription: early},
		} {
			if r, body := replyTo(t, a, action, out, nil); body["success"] != want || r.Status != http.StatusOK {
				t.Errorf("Reply(%s, %s) = %d %s, want success %t", action, out.Result, r.Status, r.Body, want)
			}
		}
	}
}

func TestReplyToOthers(t *testing.T) {
	t.Parallel()
	for _, asString := range []bool{false, true} {
		a := mustOpen(t, func(c map[string]any, _ *core.Settings) { c["success_as_string"] = asString }).Adapter
		say := func(b bool) any {
			if asString {
				return fmt.Sprint(b)
			}
			return b
		}
		for result, want := range map[marketplace.Result]bool{
			marketplace.Applied: true, marketplace.Duplicate: true, marketplace.Stale: true, marketplace.Ignored: true,
			marketplace.Tested: true, marketplace.Processing: true, marketplace.Answered: true,
			marketplace.Replayed: false, marketplace.Refused: false, "something new": false,
		} {
			r, body := replyTo(t, a, actionRenew, core.Outcome{Result: result}, nil)
			if body["success"] != say(want) || r.Status != http.StatusOK {
				t.Errorf("Reply(renew, %s) = %d %s, want success %v", result, r.Status, r.Body, say(want))
			}
			if message, _ := body["message"].(string); !want && !strings.Contains(message, "req_1") {
				t.Errorf("Reply(renew, %s) = %s, want the request id", result, r.Body)
			}
		}
		r, body := replyTo(t, a, actionRenew, core.Outcome{}, errors.New("disk on fire"))
		if r.Status != 500 || body["success"] != say(false) || strings.Contains(string(r.Body), "fire") {
			t.Errorf("Reply(renew, internal) = %d %s, want 500 and no details", r.Status, r.Body)
		}
	}
}

// The webhook server refuses what is too large without asking Receive.
func TestReplyWithoutReceive(t *testing.T) {
	t.Parallel()
	a := mustOpen(t, nil).Adapter
	cb := fixture(t, "create")
	r := a.Reply(cb, marketplace.Event{}, core.Outcome{}, core.ErrTooLarge)
	if r.Status != http.StatusRequestEntityTooLarge || !strings.Contains(string(r.Body), `"instanceId":"0"`) {
		t.Errorf("Reply(too large) = %d %s, want 413 and instanceId 0", r.Status, r.Body)
	}
}

func TestReplyToBrowser(t *testing.T) {
	t.Parallel()
	a := mustOpen(t, nil).Adapter
	sub := func(s marketplace.Status) *marketplace.Subscription {
		return &marketplace.Subscription{Subject: "77", Account: "cac_1", Status: s}
	}
	const landing = "/landing/x"
	for _, tc := range []struct {
		out    core.Outcome
		err    error
		status int
		text   string
	}{
		{core.Outcome{Result: marketplace.Answered, Subscription: sub("active"), Landing: landing}, nil, 303, ""},
		{core.Outcome{Result: marketplace.Answered, Subscription: sub("active")}, nil, 403, "could not be signed in"},
		{core.Outcome{Result: marketplace.Refused, Subscription: sub("frozen")}, nil, 403, "paused"},
		{core.Outcome{Result: marketplace.Answered, Subscription: sub("frozen"), Landing: landing}, nil, 403, "paused"},
		{core.Outcome{Result: marketplace.Refused, Subscription: sub("ended")}, nil, 403, "has ended"},
		{core.Outcome{Result: marketplace.Refused}, nil, 404, "not known"},
		{core.Outcome{Result: marketplace.Replayed}, nil, 410, "used already"},
		{core.Outcome{}, core.ErrUnverified, 403, "not valid"},
		{core.Outcome{}, core.ErrExpired, 410, "has expired"},
		{core.Outcome{}, core.ErrInvalid, 400, "not complete"},
		{core.Outcome{}, core.ErrNotFound, 404, "not known"},
		{core.Outcome{}, core.ErrNotUsable, 403, "cannot be used"},
		{core.Outcome{}, core.ErrUnavailable, 503, "back in a moment"},
		{core.Outcome{}, errors.New("disk on fire"), 500, "wrong on our side"},
	} {
		cb := core.Callback{Endpoint: endpointSSO, Method: http.MethodGet, RequestID: "<req>"}
		r := a.Reply(cb, marketplace.Event{Kind: marketplace.SignIn, Action: actionVerify}, tc.out, tc.err)
		if r.Status != tc.status || !strings.Contains(string(r.Body), tc.text) {
			t.Errorf("Reply(%+v, %v) = %d %s, want %d %q", tc.out, tc.err, r.Status, r.Body, tc.status, tc.text)
		}
		if r.Status == 303 && r.Header.Get("Location") != "https://billing.example.com"+landing {
			t.Errorf("Reply(%+v) leads to %q", tc.out, r.Header.Get("Location"))
		}
		if r.Header.Get("Referrer-Policy") != "no-referrer" || strings.Contains(string(r.Body), "<req>") {
			t.Errorf("Reply(%+v, %v) = %v %s: unsafe for a browser", tc.out, tc.err, r.Header, r.Body)
		}
	}
}
