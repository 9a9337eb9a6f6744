package alibaba

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"cloudsettle/core/metering"
)

// Every documented answer, and what nobody documented.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	const later, repair = apart, repairTime
	for _, tc := range []struct {
		status        int
		body          string
		want, several metering.Verdict // of one record, of two that shared the call
		wait          time.Duration
	}{
		{200, `{"Success":true,"RequestId":"r"}`, metering.OK, metering.OK, 0},
		{200, `{"Success":"true","RequestId":7}`, metering.OK, metering.OK, 0},
		{200, `{"Success":true,"Code":"200","Result":true}`, metering.OK, metering.OK, 0},
		{200, `{"Success":true,"Code":200}`, metering.OK, metering.OK, 0},
		{500, `{"Code":"Service.Flow.Control"}`, metering.Throttled, metering.Throttled, later},
		{200, `{"Success":false,"Code":"Service.Flow.Control"}`, metering.Throttled, metering.Throttled, later},
		{400, `{"Code":"Throttling.User"}`, metering.Throttled, metering.Throttled, later},
		{429, ``, metering.Throttled, metering.Throttled, later},
		{400, `{"Code":"Invalid.Parameter.Metering"}`, metering.Refused, metering.Refused, 0},
		{500, `{"Code":"Invalid.Parameter.Metering"}`, metering.Refused, metering.Refused, 0},
		{500, `{"Code":"Invalid.Parameter.Instance"}`, metering.Refused, metering.Refused, 0},
		{500, `{"Code":"Invalid.Parameter"}`, metering.Refused, metering.Refused, 0},
		{500, `{"Code":"Metering.Data.Exceeded"}`, metering.Refused, metering.Refused, 0},
		{500, `{"Code":"Permission.Denied"}`, metering.NotTaken, metering.NotTaken, repair},
		{400, `{"Code":"SignatureDoesNotMatch"}`, metering.NotTaken, metering.NotTaken, repair},
		{404, `{"Code":"InvalidAccessKeyId.NotFound"}`, metering.NotTaken, metering.NotTaken, repair},
		{403, `{"Code":"Forbidden.RAM"}`, metering.NotTaken, metering.NotTaken, repair},
		{400, `{"Code":"InvalidTimeStamp.Expired"}`, metering.NotTaken, metering.NotTaken, repair},
		{500, `{"Code":"UnknownError"}`, metering.NotTaken, metering.MaybeTaken, later},
		{503, `{"Code":"ServiceUnavailable"}`, metering.NotTaken, metering.MaybeTaken, later},
		{500, ``, metering.NotTaken, metering.MaybeTaken, later},
		{502, `<html>Bad Gateway</html>`, metering.NotTaken, metering.MaybeTaken, later},
		{503, `{}`, metering.NotTaken, metering.MaybeTaken, later},
		{504, `<html>`, metering.MaybeTaken, metering.MaybeTaken, later},
		{400, `{"Code":"SignatureNonceUsed"}`, metering.MaybeTaken, metering.MaybeTaken, later},
		// Unknown: never OK, never sent again by itself.
		{200, `{"Success":false,"Code":"Busy"}`, metering.MaybeTaken, metering.MaybeTaken, later},
		{200, `{"Success":true,"Code":"Busy"}`, metering.MaybeTaken, metering.MaybeTaken, later},
		{200, `{"Success":null}`, metering.MaybeTaken, metering.MaybeTaken, later},
		{200, `{}`, metering.MaybeTaken, metering.MaybeTaken, later},
		{200, `[true]`, metering.MaybeTaken, metering.MaybeTaken, later},
		{200, ``, metering.MaybeTaken, metering.MaybeTaken, later},
		{200, `<html>Login</html>`, metering.MaybeTaken, metering.MaybeTaken, later},
		{201, `{"Success":true}`, metering.MaybeTaken, metering.MaybeTaken, later},
		{500, `{"Success":true}`, metering.NotTaken, metering.MaybeTaken, later},
		{500, `{"Code":500}`, metering.MaybeTaken, metering.MaybeTaken, later},
		{500, `{"Code":{}}`, metering.MaybeTaken, metering.MaybeTaken, later},
		{500, `{"Code":"Service.Flow.Controlled"}`, metering.MaybeTaken, metering.MaybeTaken, later},
		{400, `{"Code":"NewFangledError"}`, metering.MaybeTaken, metering.MaybeTaken, later},
		{418, ``, metering.MaybeTaken, metering.MaybeTaken, later},
	} {
		got := answered{reached: true, status: tc.status, body: []byte(tc.body)}
		one, two := judge(got, 1, false), judge(got, 2, false)
		if one.verdict != tc.want || two.verdict != tc.several || one.wait != tc.wait {
			t.Errorf("judge(%d, %s) = %s, for two %s, wait %s, want %s, %s, %s",
				tc.status, tc.body, one.verdict, two.verdict, one.wait, tc.want, tc.several, tc.wait)
		}
		if parks := judge(got, 1, true); parks.verdict != tc.several {
			t.Errorf("judge(%d, %s) with on_server_error park = %s, want %s", tc.status, tc.body, parks.verdict, tc.several)
		}
		if one.verdict != metering.OK && one.detail == "" {
			t.Errorf("judge(%d, %s) gives no reason", tc.status, tc.body)
		}
	}
}

// Through the SDK, whose panics and errors must not matter: no answer at all.
func TestReportWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("Action") != "" {
			panic(http.ErrAbortHandler)
		}
	}))
	t.Cleanup(broken.Close)
	for name, tc := range map[string]struct {
		endpoint string
		want     metering.Verdict
	}{
		"NobodyListens": {"http://" + closed.Addr().String(), metering.NotTaken},
		"Broken":        {broken.URL, metering.MaybeTaken},
	} {
		m := openMeterAt(t, tc.endpoint, nil)
		got := m.Report(t.Context(), []metering.Record{record(1)})
		if got[0].Verdict != tc.want || got[0].Detail == "" {
			t.Errorf("%s: Report() = %+v, want %s with a reason", name, got, tc.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := openMeter(t, &recorder{}, nil).Report(ctx, []metering.Record{record(1)}); got[0].Verdict != metering.NotTaken {
		t.Errorf("Report(canceled) = %+v, want not taken", got)
	}
}

// One call, whatever it is answered: the SDK does not send again by itself,
// and what is told of a failure has no secrets in it.
func TestReportDoesNotRetryNorTell(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		status int
		body   string
	}{
		{500, `{"Code":"UnknownError","Message":"test-ak"}`}, {502, `test-ak`}, {500, `{"Code":500}`},
		{400, `{"Code":"SignatureDoesNotMatch","Message":"server string to sign is:POST&%2F&test-ak"}`},
		{200, `{"Success":false,"Code":"` + strings.Repeat("x", 1000) + `test-ak"}`},
	} {
		h := &recorder{answer: func(int, url.Values) (int, string) { return tc.status, tc.body }}
		got := openMeter(t, h, nil).Report(t.Context(), []metering.Record{record(1)})
		if len(h.sent) != 1 {
			t.Errorf("%d %.40s: %d calls, want 1", tc.status, tc.body, len(h.sent))
		}
		for _, secret := range []string{"test-ak", "test-sk", "Signature=", "http://", "1000001"} {
			if strings.Contains(got[0].Detail, secret) {
				t.Errorf("%d %.40s: Report() tells %s: %s", tc.status, tc.body, secret, got[0].Detail)
			}
		}
	}
}
