package huawei

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

func reply(t *testing.T, method string, ev marketplace.Event, out core.Outcome, err error) answer {
	t.Helper()
	cb := core.Callback{Method: method, RequestID: "req_1"}
	r := open(t, nil).Adapter.Reply(cb, ev, out, err)
	var ans answer
	if e := json.Unmarshal(r.Body, &ans); e != nil || r.Status != http.StatusOK {
		t.Fatalf("Reply() = %d %s, %v, want 200 and JSON", r.Status, r.Body, e)
	}
	if got, want := r.Header.Get("Body-Sign"), bodySign(testKey, r.Body); got != want {
		t.Errorf("Body-Sign = %s, want %s", got, want)
	}
	return ans
}

func TestReplyToOutcomes(t *testing.T) {
	t.Parallel()
	known := &marketplace.Subscription{Subject: "i-1", Account: "a-1", Status: marketplace.StatusActive}
	early := &marketplace.Subscription{Subject: "i-1", Status: marketplace.StatusPending}
	tests := []struct {
		kind   marketplace.Kind
		result marketplace.Result
		sub    *marketplace.Subscription
		want   string
	}{
		{marketplace.Activated, marketplace.Applied, known, "000000 i-1"},
		{marketplace.Activated, marketplace.Duplicate, known, "000000 i-1"},
		{marketplace.Activated, marketplace.Stale, known, "000000 i-1"},
		{marketplace.Activated, marketplace.Processing, known, "000004 i-1"},
		{marketplace.Activated, marketplace.Waiting, early, "000004 i-1"},
		{marketplace.Activated, marketplace.Processing, nil, "000005 "},
		{marketplace.Activated, marketplace.Applied, nil, "000005 "},
		{marketplace.Activated, marketplace.Refused, nil, "000100 "},
		{marketplace.Activated, marketplace.Replayed, known, "000001 "},
		{marketplace.Retermed, marketplace.Applied, known, "000000 "},
		{marketplace.Retermed, marketplace.Waiting, early, "000003 "},
		{marketplace.Retermed, marketplace.Duplicate, early, "000003 "},
		{marketplace.Retermed, marketplace.Processing, nil, "000004 "},
		{marketplace.Changed, marketplace.Refused, known, "000100 "},
		{marketplace.Suspended, marketplace.Waiting, early, "000003 "},
		{marketplace.Resumed, marketplace.Stale, known, "000000 "},
		{marketplace.Expired, marketplace.Refused, known, "000005 "},
		{marketplace.Ended, marketplace.Waiting, early, "000000 "},
		{marketplace.Ended, marketplace.Duplicate, early, "000000 "},
		{marketplace.Checked, marketplace.Answered, known, "000000 "},
		{marketplace.Checked, marketplace.Refused, nil, "000003 "},
		{marketplace.Checked, marketplace.Refused, known, "000005 "},
		{marketplace.Noted, marketplace.Ignored, nil, "000000 "},
		{marketplace.Noted, "something new", nil, "000005 "},
	}
	for _, tt := range tests {
		ev := marketplace.Event{Kind: tt.kind, Proposed: "b-2"}
		ans := reply(t, http.MethodPost, ev, core.Outcome{Result: tt.result, Subscription: tt.sub}, nil)
		if got := ans.ResultCode + " " + ans.InstanceID; got != tt.want {
			t.Errorf("Reply(%s, %s, %+v) = %s, want %s", tt.kind, tt.result, tt.sub, got, tt.want)
		}
	}
}

func TestReplyToErrors(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]string{
		core.ErrUnverified:                   "000001",
		core.ErrExpired:                      "000001",
		core.ErrInvalid:                      "000002",
		core.ErrUnsupported:                  "000002",
		core.ErrTooLarge:                     "000002",
		core.NotFound("instance", "i-1"):     "000003",
		core.ErrUnavailable:                  "000005",
		core.ErrConflict:                     "000005",
		core.ErrNotUsable:                    "000005",
		errors.New("disk on fire"):           "000005",
		fmt.Errorf("x: %w", core.ErrInvalid): "000002",
	} {
		ans := reply(t, http.MethodGet, marketplace.Event{}, core.Outcome{}, err)
		if ans.ResultCode != want || !strings.Contains(ans.ResultMsg, "req_1") || strings.Contains(ans.ResultMsg, "fire") {
			t.Errorf("Reply(%v) = %+v, want %s with the request id and no detail", err, ans, want)
		}
	}
	ans := reply(t, http.MethodPost, marketplace.Event{}, core.Outcome{}, core.Invalid("bad", "%s", strings.Repeat("长", 300)))
	if n := len([]rune(ans.ResultMsg)); n > 255 {
		t.Errorf("resultMsg has %d characters, want at most 255", n)
	}
}

func TestReplyTellsWhereTheBuyerGoes(t *testing.T) {
	t.Parallel()
	out := core.Outcome{
		Result: marketplace.Applied, Landing: "/landing/x",
		Subscription: &marketplace.Subscription{Subject: "i-1", Account: "a-1"},
	}
	ev := marketplace.Event{Kind: marketplace.Activated}
	if ans := reply(t, http.MethodGet, ev, out, nil); ans.AppInfo == nil ||
		ans.AppInfo.FrontEndURL != "https://billing.example.com/landing/x" {
		t.Errorf("version 1 newInstance = %+v, want the landing page", ans)
	}
	if ans := reply(t, http.MethodPost, ev, out, nil); ans.AppInfo != nil {
		t.Errorf("version 2 newInstance = %+v, want no appInfo", ans)
	}
}

func TestReplyToQuestions(t *testing.T) {
	t.Parallel()
	sub := func(id string, account marketplace.AccountID, s marketplace.Status) core.Answer {
		return core.Answer{
			Subject: id, Landing: "/landing/" + id,
			Subscription: &marketplace.Subscription{Subject: id, Account: account, Status: s},
		}
	}
	active, frozen := sub("i-1", "a", marketplace.StatusActive), sub("i-2", "a", marketplace.StatusFrozen)
	pending, unknown := sub("i-3", "", marketplace.StatusPending), core.Answer{Subject: "i-4"}
	for _, tt := range []struct {
		answers []core.Answer
		want    string
	}{
		{[]core.Answer{active, frozen}, "000000 i-1 i-2"},
		{[]core.Answer{unknown, active}, "000000 i-1"},
		{[]core.Answer{pending}, "000004"},
		{[]core.Answer{pending, active}, "000004 i-1"},
		{[]core.Answer{unknown}, "000003"},
		{nil, "000003"},
	} {
		ev := marketplace.Event{Kind: marketplace.Asked, Subjects: []string{"i-1"}}
		ans := reply(t, http.MethodPost, ev, core.Outcome{Result: marketplace.Answered, Answers: tt.answers}, nil)
		got := ans.ResultCode
		for _, info := range ans.Info {
			got += " " + info.InstanceID
			if info.AppInfo.FrontEndURL != "https://billing.example.com/landing/"+info.InstanceID {
				t.Errorf("front end of %s = %s", info.InstanceID, info.AppInfo.FrontEndURL)
			}
		}
		if got != tt.want {
			t.Errorf("Reply(%v) = %s, want %s", tt.answers, got, tt.want)
		}
	}
}

func TestReplyIsASCII(t *testing.T) {
	t.Parallel()
	out := core.Outcome{Result: marketplace.Refused, Reason: `用量 "超过" 😀 <限制>`}
	r := open(t, nil).Adapter.Reply(core.Callback{}, marketplace.Event{Kind: marketplace.Checked}, out, nil)
	for _, c := range r.Body {
		if c >= 0x80 {
			t.Fatalf("Reply() = %s, want ASCII only", r.Body)
		}
	}
	var ans answer
	if err := json.Unmarshal(r.Body, &ans); err != nil || ans.ResultMsg != out.Reason {
		t.Errorf("Reply() says %q, %v, want %q", ans.ResultMsg, err, out.Reason)
	}
}
