package dev_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"cloudsettle/console/dev"
	"cloudsettle/core"
)

func setup(t *testing.T) (*echo.Echo, *dev.Inbox, *dev.Clock) {
	t.Helper()
	start := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	clock := dev.NewClock(func() time.Time { return start })
	inbox, e := dev.NewInbox(clock.Now), echo.New()
	dev.Register(e, inbox, clock)
	return e, inbox, clock
}

func do(e *echo.Echo, method, path, body, accept string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(method, path, strings.NewReader(body))
	req.Header.Set("Accept", accept)
	rec := httptest.NewRecorder()
	e.ServeHTTP(rec, req)
	return rec
}

func TestClock(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"now":"2026-12-01T00:00:00Z"}`:           `200 {"now":"2026-12-01T00:00:00Z"}`,
		`{"now":"2026-11-21T11:00:00+08:00"}`:      `200 {"now":"2026-11-21T03:00:00Z"}`, // the same instant
		`{"now":"2026-11-21T02:59:59Z"}`:           `409 "clock_only_moves_forward"`,
		`{"now":"3026-11-21T02:59:59Z"}`:           `422 "clock_too_far"`,
		`{"now":"tomorrow"}`:                       `422 "invalid_body"`,
		`{}`:                                       `422 "invalid_body"`,
		`{"now":"2026-12-01T00:00:00Z","speed":2}`: `422 "invalid_body"`,
		strings.Repeat(" ", 2000) + `{"now":"x"}`:  `422 "invalid_body"`,
	} {
		e, _, _ := setup(t)
		rec := do(e, "PUT", "/dev/clock", body, "")
		got := fmt.Sprintf("%d %s", rec.Code, strings.TrimSpace(rec.Body.String()))
		if rec.Code != 200 {
			var p struct{ Code string }
			if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil {
				t.Fatal(err)
			}
			got = fmt.Sprintf("%d %q", rec.Code, p.Code)
		}
		if got != want {
			t.Errorf("PUT %s = %s, want %s", body, got, want)
		}
	}
}

func TestClockRunsOn(t *testing.T) {
	t.Parallel()
	base := time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC)
	clock := dev.NewClock(func() time.Time { return base })
	if err := clock.Set(base.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	base = base.Add(time.Minute)
	if got, want := clock.Now(), base.Add(time.Hour); !got.Equal(want) {
		t.Errorf("Now() a minute after Set = %v, want %v", got, want)
	}
}

func TestInbox(t *testing.T) {
	t.Parallel()
	e, inbox, _ := setup(t)
	for n := range 205 {
		m := core.Mail{To: fmt.Sprintf("u%d@example.com", n%2), Subject: fmt.Sprint("<b>", n), Text: "code 123456"}
		if err := inbox.Send(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]int{"/dev/inbox": 200, "/dev/inbox?format=json&to=u1@example.com": 100} {
		var got struct{ Data []dev.Message }
		rec := do(e, "GET", path, "", "application/json")
		if err := json.Unmarshal(rec.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if len(got.Data) != want {
			t.Errorf("GET %s = %d messages, want %d", path, len(got.Data), want)
		}
	}
	page := do(e, "GET", "/dev/inbox", "", "text/html,application/json").Body.String()
	first, last := strings.Index(page, "&lt;b&gt;204"), strings.Index(page, "&lt;b&gt;203")
	if first < 0 || last < first || strings.Contains(page, "&lt;b&gt;4<") {
		t.Errorf("GET /dev/inbox as HTML: newest at %d, one before at %d, want them in this order", first, last)
	}
}

func TestEmptyInbox(t *testing.T) {
	t.Parallel()
	e, _, _ := setup(t)
	if got := do(e, "GET", "/dev/inbox?format=json", "", "").Body.String(); strings.TrimSpace(got) != `{"data":[]}` {
		t.Errorf("GET of an empty inbox = %s, want an empty list", got)
	}
	if rec := do(e, "GET", "/dev/inbox", "", ""); rec.Code != http.StatusOK || !strings.Contains(rec.Body.String(), "Nothing here yet") {
		t.Errorf("GET of an empty inbox = %d %s", rec.Code, rec.Body)
	}
}
