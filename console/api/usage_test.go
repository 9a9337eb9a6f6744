package api_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	fastjson "github.com/goccy/go-json"
	"github.com/google/go-cmp/cmp"

	"cloudsettle/core"
)

// report makes the body of a report of n samples of some workspaces: an array,
// or lines.
func report(workspaces []string, day time.Time, n int, lines bool) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteString(map[bool]string{true: "\n", false: ","}[lines])
		}
		at := i / len(workspaces)
		_, _ = fmt.Fprintf(&b, `{"workspace_id":%q,"item":"logs","variant":"v%d","hour":%q,"quantity":"%d"}`,
			workspaces[i%len(workspaces)], at/12, day.Add(time.Duration(at%12)*time.Hour).Format(time.RFC3339), 1_000_000+i)
	}
	if lines {
		return b.String()
	}
	return "[" + b.String() + "]"
}

func (s *server) priced() string {
	s.t.Helper()
	s.tomorrow()
	s.want(201, "POST", "/api/v1/price-books", publicBook)
	return s.workspace("prod")
}

func (s *server) lines(body string) answer {
	s.t.Helper()
	return s.call(s.admin, "POST", "/api/v1/usage", body, "Content-Type", "application/x-ndjson")
}

// TestFullReport: 50,000 samples in either form, then again; one more is
// refused as a whole.
func TestFullReport(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	first := s.priced()
	workspaces := []string{first}
	for i := range 99 {
		workspaces = append(workspaces, s.workspace(fmt.Sprintf("w-%d", i)))
	}
	day := s.svc.Now().Truncate(24 * time.Hour)
	half := map[string]any{"accepted": float64(core.MaxUsageBatch), "duplicate": 0.0, "replaced": 0.0, "late": 0.0, "rejected": []any{}}
	fields(t, "the first", s.want(200, "POST", "/api/v1/usage", report(workspaces, day, core.MaxUsageBatch, false)).body, half)
	half["accepted"], half["duplicate"] = 0.0, float64(core.MaxUsageBatch)
	fields(t, "again", s.lines(report(workspaces, day, core.MaxUsageBatch, true)).body, half)
	s.refuses("one too many", s.lines(report(workspaces, day, core.MaxUsageBatch+1, true)), 413, "too_many_samples")
	list := s.want(200, "GET", "/api/v1/usage?workspace_id="+first+"&day="+s.today(), nil).list()
	if len(list) != core.MaxUsageBatch/100 {
		t.Errorf("GET usage = %d samples, want %d", len(list), core.MaxUsageBatch/100)
	}
}

// TestBadSamplesAreAlone: each bad sample is named with its reason, and the
// good ones between are taken.
func TestBadSamplesAreAlone(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ws := s.priced()
	good := func(item, hour, quantity string) string {
		return fmt.Sprintf(`{"workspace_id":%q,"item":%q,"variant":"14d","hour":%q,"quantity":%s}`, ws, item, hour, quantity)
	}
	old := s.svc.Now().AddDate(0, 0, -70).Truncate(24 * time.Hour).Format(time.RFC3339)
	records := []string{
		good("logs", s.hour(1), `"1"`), good("nothing", s.hour(1), `"1"`), good("logs", s.hour(2), `2.5`),
		good("logs", s.hour(3), `"-1"`), good("logs", s.hour(30), `"1"`), good("logs", old, `"1"`), good("logs", s.hour(3), `1e3`),
		good("logs", s.svc.Now().Truncate(24*time.Hour).Add(90*time.Minute).Format(time.RFC3339), `"1"`),
		`{"workspace_id":"ws_none","item":"logs","hour":"` + s.hour(1) + `","quantity":"1"}`,
		`{"workspace_id":"a\u0000b","item":"logs","hour":"` + s.hour(1) + `","quantity":"1"}`,
		`17`, `null`, good("logs", s.hour(4), `"3"`),
	}
	want := []string{
		"1 unknown_item", "3 negative_quantity", "4 future_hour", "5 too_late", "6 invalid_sample", "7 invalid_hour",
		"8 unknown_workspace", "9 invalid_sample", "10 invalid_sample", "11 invalid_sample",
	}
	for i, a := range []answer{
		s.want(200, "POST", "/api/v1/usage", "["+strings.Join(records, ",\n")+"]"), s.lines(strings.Join(records, "\n") + "\n"),
	} {
		var got []string
		rejected, _ := a.body["rejected"].([]any)
		for _, item := range rejected {
			m := item.(map[string]any)
			got = append(got, fmt.Sprint(m["index"], " ", m["code"]))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("report %d: rejected (-want +got):\n%s", i, diff)
		}
		fields(t, "report", a.body, map[string]any{"accepted": []any{3.0, 0.0}[i], "duplicate": []any{0.0, 3.0}[i]})
	}
	broken := s.lines(records[0] + "\n{\"workspace_id\n" + records[2])
	fields(t, "a broken line", broken.body, map[string]any{"duplicate": 2.0})
	fields(t, "another quantity", s.lines(good("logs", s.hour(4), `"4"`)).body, map[string]any{"replaced": 1.0, "accepted": 0.0})
	fields(t, "the same one", s.lines(good("logs", s.hour(4), `4.0`)).body, map[string]any{"replaced": 0.0, "duplicate": 1.0})
}

// TestLateUsage: what comes after its day was billed is charged in the open
// day, with the day it corrects.
func TestLateUsage(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	n := s.tenant("acme")
	s.tomorrow()
	s.want(201, "POST", "/api/v1/price-books", publicBook)
	day, hour := s.today(), s.hour(3)
	s.use(n.workspace, "logs", "14d", hour, "1000000")
	s.settle("daily", day)
	fields(t, "the same again", s.use(n.workspace, "logs", "14d", hour, "1000000").body, map[string]any{"late": 0.0, "duplicate": 1.0})
	s.tomorrow()
	fields(t, "another quantity", s.use(n.workspace, "logs", "14d", hour, "3000000").body, map[string]any{"late": 1.0})
	next := s.today()
	s.settle("daily", next)
	bills := s.want(200, "GET", "/api/v1/daily-bills?workspace_id="+n.workspace+"&day="+next, nil).list()
	if len(bills) != 1 {
		t.Fatalf("GET daily-bills = %v, want the correction", bills)
	}
	fields(t, "correction", bills[0], map[string]any{"total": amount("3.000000", "CNY"), "status": "sealed", "arrears": amount("3.000000", "CNY")})
	line, _ := bills[0]["lines"].([]any)[0].(map[string]any)
	fields(t, "line", line, map[string]any{"corrects_day": day, "amount": amount("3.000000", "CNY")})
	fields(t, "verify", s.want(200, "GET", "/api/v1/verify", nil).body, map[string]any{"ok": true})
}

// TestReportsThatAreRefused: nothing of them is taken.
func TestReportsThatAreRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ws := s.priced()
	good := fmt.Sprintf(`{"workspace_id":%q,"item":"logs","hour":%q,"quantity":"1"}`, ws, s.hour(1))
	for _, c := range []struct {
		contentType, body string
		status            int
		code              string
	}{
		{"application/json", ``, 400, "invalid_json"},
		{"application/json", good, 400, "invalid_json"},
		{"application/json", `[` + good + `,`, 400, "invalid_json"},
		{"application/json", `[` + good + `] x`, 400, "invalid_json"},
		{"application/json", `[` + good + `,x]`, 400, "invalid_json"},
		{"text/csv", good, 415, "unsupported_media_type"},
		{"", good, 415, "unsupported_media_type"},
		{"application/x-ndjson", good + "\n" + strings.Repeat("x", 17<<10), 413, "too_large"},
		{"application/x-ndjson", good + "\n" + strings.Repeat("\n", 17<<20), 413, "too_large"},
	} {
		got := s.call(s.admin, "POST", "/api/v1/usage", c.body, "Content-Type", c.contentType)
		s.refuses(fmt.Sprintf("POST usage as %q %.20q", c.contentType, c.body), got, c.status, c.code)
	}
	s.refuses("an unknown parameter", s.call(s.admin, "POST", "/api/v1/usage?x=1", "[]"), 400, "invalid_parameters")
	if list := s.want(200, "GET", "/api/v1/usage?workspace_id="+ws+"&day="+s.today(), nil).list(); len(list) != 0 {
		t.Errorf("refused reports left %v", list)
	}
}

// BenchmarkUsageIntake is a full report, checked and durably committed, on new
// hours each time.
func BenchmarkUsageIntake(b *testing.B) {
	s := newServer(b)
	s.tomorrow()
	s.want(201, "POST", "/api/v1/price-books", publicBook)
	var workspaces []string
	for i := range 1000 {
		workspaces = append(workspaces, s.workspace(fmt.Sprintf("w-%d", i)))
	}
	day := s.svc.Now().Truncate(24 * time.Hour)
	const days = 60
	for _, lines := range []bool{false, true} {
		b.Run(map[bool]string{false: "array", true: "ndjson"}[lines], func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				b.StopTimer()
				n++
				at := day.AddDate(0, 0, -n%days)
				body := strings.ReplaceAll(report(workspaces, at, core.MaxUsageBatch, lines), `"quantity":"1`, fmt.Sprintf(`"quantity":"%d1`, n))
				req := httptest.NewRequestWithContext(b.Context(), "POST", "/api/v1/usage", strings.NewReader(body))
				req.Header.Set("Content-Type", map[bool]string{false: "application/json", true: "application/x-ndjson"}[lines])
				req.Header.Set("Authorization", "Bearer "+s.admin)
				rec := httptest.NewRecorder()
				b.SetBytes(int64(len(body)))
				b.StartTimer()
				s.echo.ServeHTTP(rec, req)
				if rec.Code != 200 || strings.Contains(rec.Body.String(), "index") {
					b.Fatalf("POST usage = %d %.200s", rec.Code, rec.Body)
				}
			}
		})
	}
	body := []byte(report(workspaces, day, core.MaxUsageBatch, false))
	benchDecode(b, "goccy", body, fastjson.Unmarshal)
	benchDecode(b, "encoding", body, json.Unmarshal)
}

// benchDecode is what only decoding the same bytes costs.
func benchDecode(b *testing.B, name string, body []byte, decode func([]byte, any) error) {
	b.Run("decode-only-"+name, func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		b.ReportAllocs()
		for b.Loop() {
			var out []struct {
				Workspace string    `json:"workspace_id"`
				Item      string    `json:"item"`
				Variant   string    `json:"variant"`
				Hour      time.Time `json:"hour"`
				Quantity  string    `json:"quantity"`
			}
			if err := decode(body, &out); err != nil || len(out) != core.MaxUsageBatch {
				b.Fatal(len(out), err)
			}
		}
	})
}
