package aws_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloudsettle/adapters/adaptertest"
	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

func registration(token string) core.Callback {
	return core.Callback{
		Listing: "aws-main", Endpoint: "register", Method: http.MethodPost,
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
		Body:   []byte("x-amzn-marketplace-token=" + token), ReceivedAt: at, RequestID: "req_test",
	}
}

// resolving opens a listing whose metering service is h.
func resolving(t *testing.T, h http.HandlerFunc) (core.Marketplace, *atomic.Int64) {
	t.Helper()
	var calls atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		h(w, r)
	}))
	t.Cleanup(srv.Close)
	m, _ := market(t, map[string]any{"endpoint": srv.URL})
	return m, &calls
}

func fault(w http.ResponseWriter, status int, kind string) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(`{"__type":"` + kind + `","message":"no"}`))
}

func TestRegistrationSurvivesThrottling(t *testing.T) {
	t.Parallel()
	failures := []string{"ThrottlingException", "ThrottlingException"}
	m, calls := resolving(t, func(w http.ResponseWriter, _ *http.Request) {
		if len(failures) > 0 {
			fault(w, http.StatusBadRequest, failures[0])
			failures = failures[1:]
			return
		}
		_, _ = w.Write([]byte(`{"CustomerAWSAccountId":"845735284135","LicenseArn":"` + license + `","ProductCode":"` + productCode + `"}`))
	})
	ev := receive(t, m, registration("abc"))
	if ev.Subject != "l-51b9c48f8e8847cb9d1c8f4708155afc" || calls.Load() != 3 {
		t.Errorf("Receive() = %+v after %d calls, want the license after 3", ev, calls.Load())
	}
}

func TestRegistrationGivesUpInTime(t *testing.T) {
	t.Parallel()
	m, calls := resolving(t, func(w http.ResponseWriter, _ *http.Request) { fault(w, 500, "InternalServiceErrorException") })
	cb := registration("secret-token")
	ev, err := m.Adapter.Receive(t.Context(), cb)
	if !errors.Is(err, core.ErrUnavailable) || calls.Load() != 3 {
		t.Errorf("Receive() = %v after %d calls, want ErrUnavailable after 3", err, calls.Load())
	}
	if strings.Contains(err.Error(), "secret-token") {
		t.Errorf("the error tells the token: %v", err)
	}
	r := m.Adapter.Reply(cb, ev, core.Outcome{}, err)
	if r.Status != http.StatusServiceUnavailable || !strings.Contains(string(r.Body), "req_test") {
		t.Errorf("Reply() = %d %s, want 503 with the reference", r.Status, r.Body)
	}
}

func TestRegistrationWaitsForNobodyLong(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{})
	m, _ := resolving(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-gone:
		}
	})
	defer close(gone)
	begun := time.Now()
	_, err := m.Adapter.Receive(t.Context(), registration("abc"))
	if took := time.Since(begun); !errors.Is(err, core.ErrUnavailable) || took > 20*time.Second {
		t.Errorf("Receive() = %v after %v, want ErrUnavailable after about 4 s", err, took)
	}
}

func TestNothingIsAskedWithoutAToken(t *testing.T) {
	t.Parallel()
	m, calls := resolving(t, func(w http.ResponseWriter, _ *http.Request) { fault(w, 400, "InvalidTokenException") })
	for _, body := range []string{
		"", "x-amzn-marketplace-token=", "x-amzn-marketplace-offer-type=free-trial", "token=abc", "%zz",
		"X-AMZN-MARKETPLACE-TOKEN=abc", "x-amzn-marketplace-token=" + strings.Repeat("a", 17<<10), "\x00",
	} {
		cb := registration("")
		cb.Body = []byte(body)
		ev, err := m.Adapter.Receive(t.Context(), cb)
		if !errors.Is(err, core.ErrInvalid) {
			t.Errorf("Receive(%.40q) = %v, want ErrInvalid", body, err)
		}
		if r := m.Adapter.Reply(cb, ev, core.Outcome{}, err); r.Status != http.StatusBadRequest {
			t.Errorf("Reply(%.40q) has status %d, want 400", body, r.Status)
		}
	}
	if n := calls.Load(); n != 0 {
		t.Errorf("AWS was called %d times, want never", n)
	}
}

func TestOnlyLicenseUpdatedActivates(t *testing.T) {
	t.Parallel()
	m, _ := market(t, nil)
	for _, fixture := range []string{
		"bus-agreement-created", "bus-agreement-created-renew", "bus-agreement-amended", "bus-agreement-ended-renewed",
		"bus-agreement-ended-replaced", "bus-agreement-ended-cancelled", "bus-license-deprovisioned", "bus-advisory",
		"bus-license-updated-other-product", "bus-forged-source",
	} {
		ev := receive(t, m, readFixture(t, fixture))
		if ev.Kind == marketplace.Activated || ev.Account != "" {
			t.Errorf("%s: Receive() = %s for account %q, want neither an activation nor an account", fixture, ev.Kind, ev.Account)
		}
	}
}

func TestCustomersAreTheIdentityWhereToldSo(t *testing.T) {
	t.Parallel()
	m, _ := market(t, map[string]any{"endpoint": meteringService(t), "identity": "customer"})
	ev := receive(t, m, readFixture(t, "register-legacy"))
	if ev.Subject != "" || len(ev.Also) == 0 || ev.Also[0] != "customer:X01EXAMPLEX" || ev.Attributes["license_arn"] != license {
		t.Errorf("Receive(legacy registration) = %+v, want the customer as the only identity", ev)
	}
	if ev := receive(t, m, readFixture(t, "register")); ev.Subject != "l-51b9c48f8e8847cb9d1c8f4708155afc" {
		t.Errorf("Receive(registration without a customer) has subject %q, want the license", ev.Subject)
	}
	for _, fixture := range []string{"bus-license-updated", "bus-license-deprovisioned", "bus-agreement-created", "bus-agreement-ended-cancelled"} {
		if ev := receive(t, m, readFixture(t, fixture)); ev.Kind != marketplace.Noted {
			t.Errorf("Receive(%s) = %s, want it noted: SNS says the same", fixture, ev.Kind)
		}
	}
}

func TestQueueTakesAllThreeForms(t *testing.T) {
	t.Parallel()
	m, w := market(t, nil)
	raw := `{"action":"unsubscribe-pending","customer-identifier":"X01EXAMPLEX","product-code":"` + productCode + `"}`
	for name, c := range map[string]struct {
		body string
		kind marketplace.Kind
		rank string
	}{
		"an envelope":          {string(readFixture(t, "sns-subscribe-success").Body), marketplace.Activated, "2026-05-02T00:54:06.655000000Z"},
		"a raw delivery":       {raw, marketplace.Ending, "2026-11-20T10:00:00.500000000Z"},
		"an EventBridge event": {string(readFixture(t, "bus-license-updated").Body), marketplace.Activated, "2024-08-30T21:36:03.000000000Z"},
		"something else":       {`{"hello":"world"}`, marketplace.Noted, ""},
		"no JSON":              {`hello`, marketplace.Noted, ""},
	} {
		cb := core.Callback{
			Listing: "aws-main", Endpoint: "queue", Method: http.MethodPost, Body: []byte(c.body), ReceivedAt: at,
			Header: http.Header{"X-Sqs-Message-Id": {"m-1"}, "X-Sqs-Sent-Timestamp": {"2026-11-20T10:00:00.5Z"}},
		}
		ev := receive(t, m, cb)
		if ev.Kind != c.kind || ev.Rank != c.rank || ev.Delivery == "" {
			t.Errorf("%s in the queue: Receive() = %s rank %q delivery %q, want %s rank %q", name, ev.Kind, ev.Rank, ev.Delivery, c.kind, c.rank)
		}
		if _, err := m.Adapter.Receive(t.Context(), push(c.body, cb.Header)); name != "an envelope" && err == nil {
			t.Errorf("%s over HTTP with the queue's headers is believed", name)
		}
	}
	if n := w.hits.Load(); n > 1 {
		t.Errorf("the queue's messages made %d connections", n)
	}
}

func TestQueueKeepsToTheTopics(t *testing.T) {
	t.Parallel()
	m, _ := market(t, nil)
	cb := readFixture(t, "sns-unknown-topic")
	cb.Endpoint = "queue"
	if _, err := m.Adapter.Receive(t.Context(), cb); !errors.Is(err, core.ErrUnverified) {
		t.Errorf("Receive() = %v, want ErrUnverified", err)
	}
}

func TestSourceCanBeWrappedInATopic(t *testing.T) {
	t.Parallel()
	m, _ := ownMarket(t, nil, nil)
	msg := notification()
	msg["Message"] = string(readFixture(t, "bus-license-updated-full-arn").Body)
	if ev := receive(t, m, push(sign(t, msg), nil)); ev.Kind != marketplace.Activated {
		t.Errorf("Receive() = %s for an event forwarded through a topic, want activated", ev.Kind)
	}
}

func TestReplies(t *testing.T) {
	t.Parallel()
	m, _ := market(t, nil)
	for _, c := range []struct {
		endpoint string
		err      error
		want     int
	}{
		{"events", core.ErrUnverified, 403}, {"events", core.ErrInvalid, 400}, {"events", core.ErrTooLarge, 413},
		{"events", core.ErrUnavailable, 503}, {"events", errors.New("disk on fire"), 503}, {"events", core.ErrConflict, 503},
		{"events", core.ErrUnsupported, 405}, {"", core.ErrUnsupported, 404}, {"sso", core.ErrTooLarge, 413},
		{"register", core.ErrExpired, 400}, {"register", core.ErrInvalid, 400}, {"register", core.ErrTooLarge, 413},
		{"register", core.ErrUnavailable, 503}, {"register", errors.New("disk on fire"), 503},
	} {
		cb := core.Callback{Endpoint: c.endpoint, Method: http.MethodPost, RequestID: "req_7"}
		r := m.Adapter.Reply(cb, marketplace.Event{}, core.Outcome{}, c.err)
		if r.Status != c.want || !strings.Contains(string(r.Body), "req_7") || strings.Contains(string(r.Body), "disk") {
			t.Errorf("Reply(%q, %v) = %d %s, want %d with the request id", c.endpoint, c.err, r.Status, r.Body, c.want)
		}
	}
}

func TestBuyerIsLedToTheLandingPage(t *testing.T) {
	t.Parallel()
	m, _ := market(t, nil)
	cb := core.Callback{Endpoint: "register", Method: http.MethodPost, RequestID: "req_7"}
	for _, result := range []marketplace.Result{marketplace.Applied, marketplace.Duplicate, marketplace.Stale, marketplace.Waiting} {
		r := m.Adapter.Reply(cb, marketplace.Event{}, core.Outcome{Result: result, Landing: "/landing/abc"}, nil)
		if r.Status != http.StatusSeeOther || r.Header.Get("Location") != "/landing/abc" || r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("Reply(%s) = %d %v, want 303 to the landing page", result, r.Status, r.Header)
		}
	}
	if r := m.Adapter.Reply(cb, marketplace.Event{}, core.Outcome{Result: marketplace.Processing}, nil); r.Status != http.StatusOK {
		t.Errorf("Reply(processing) = %d, want a page", r.Status)
	}
	if r := m.Adapter.Reply(cb, marketplace.Event{}, core.Outcome{Result: marketplace.Refused, Landing: "/x"}, nil); r.Status != http.StatusConflict {
		t.Errorf("Reply(refused) = %d, want 409", r.Status)
	}
}

// The parsers must not panic, and whatever they make of a message that nobody
// signed must be a refusal.

func FuzzReceivePush(f *testing.F) {
	m, _ := market(f, nil)
	for _, name := range []string{"sns-vector-1", "sns-vector-1-lambda", "sns-subscription-confirmation", "bus-license-updated"} {
		f.Add(string(readFixture(f, name).Body))
	}
	f.Fuzz(func(t *testing.T, body string) {
		ev, err := m.Adapter.Receive(t.Context(), push(body, nil))
		if err == nil && ev.Kind != marketplace.Noted {
			t.Errorf("Receive(%q) = %+v without any key", body, ev)
		}
	})
}

func FuzzReceiveEventBridge(f *testing.F) {
	m, _ := market(f, nil)
	for _, name := range []string{
		"bus-license-updated", "bus-agreement-created-renew", "bus-agreement-ended-cancelled", "bus-advisory",
		"bus-license-updated-no-license", "sns-documented-sample",
	} {
		f.Add(string(readFixture(f, name).Body))
	}
	f.Fuzz(func(t *testing.T, body string) {
		cb := push(body, keyed())
		ev, err := m.Adapter.Receive(t.Context(), cb)
		if err != nil && !errors.Is(err, core.ErrInvalid) {
			t.Errorf("Receive(%q) = %v, want ErrInvalid or none", body, err)
		}
		switch ev.Kind {
		case marketplace.Noted:
		case marketplace.Activated, marketplace.Ended:
			if err == nil && (ev.Rank == "" || ev.Subject == "" && len(ev.Also) == 0) {
				t.Errorf("Receive(%q) = %+v, a fact without rank or name", body, ev)
			}
		default:
			if err == nil && (len(ev.Also) == 0 || ev.Account != "") {
				t.Errorf("Receive(%q) = %+v, an agreement without name or with an account", body, ev)
			}
		}
		if r := m.Adapter.Reply(cb, ev, core.Outcome{}, err); r.Status != 200 && r.Status != 400 {
			t.Errorf("Reply(%q) = %d", body, r.Status)
		}
	})
}

func FuzzReceiveQueued(f *testing.F) {
	m, w := market(f, nil)
	for _, name := range []string{"sns-subscribe-success", "sns-documented-sample", "bus-license-updated", "sns-vector-1"} {
		f.Add(string(readFixture(f, name).Body), "2026-11-20T10:00:00.5Z")
	}
	f.Fuzz(func(t *testing.T, body, sent string) {
		cb := push(body, http.Header{"X-Sqs-Message-Id": {"m-1"}, "X-Sqs-Sent-Timestamp": {sent}})
		cb.Endpoint = "queue"
		_, err := m.Adapter.Receive(t.Context(), cb)
		if err != nil && !errors.Is(err, core.ErrInvalid) && !errors.Is(err, core.ErrUnverified) {
			t.Errorf("Receive(%q) = %v, want ErrInvalid, ErrUnverified or none", body, err)
		}
		if w.hits.Load() > 0 {
			t.Errorf("Receive(%q) made a connection", body)
		}
	})
}

func FuzzReceiveRegistration(f *testing.F) {
	m, _ := market(f, map[string]any{"endpoint": meteringService(f)})
	for _, name := range []string{"register", "register-trial", "register-multipart", "register-multipart-cut", "register-bad-encoding"} {
		cb := readFixture(f, name)
		f.Add(cb.Header.Get("Content-Type"), cb.Body)
	}
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		cb := registration("")
		cb.Header.Set("Content-Type", contentType)
		cb.Body = body
		ev, err := m.Adapter.Receive(t.Context(), cb)
		if err == nil && (ev.Kind != marketplace.Registered || ev.Account == "") {
			t.Errorf("Receive(%q, %q) = %+v, want a registration with an account", contentType, body, ev)
		}
		if r := m.Adapter.Reply(cb, ev, adaptertest.Applied(ev), err); r.Status < 300 {
			t.Errorf("Reply(%q) = %d", body, r.Status)
		}
	})
}

func BenchmarkReceive(b *testing.B) {
	for _, c := range []struct{ name, fixture string }{
		{"SNS1", "sns-vector-1"}, {"SNS2", "sns-vector-2"}, {"SNSLegacy", "sns-subscribe-success"},
		{"EventBridge", "bus-license-updated"}, {"EventBridgeNoted", "bus-advisory"}, {"WrongKey", "bus-wrong-key"},
	} {
		b.Run(c.name, func(b *testing.B) {
			m, _ := market(b, nil)
			cb := readFixture(b, c.fixture)
			b.ReportAllocs()
			for b.Loop() {
				ev, err := m.Adapter.Receive(b.Context(), cb)
				m.Adapter.Reply(cb, ev, core.Outcome{Result: marketplace.Applied}, err)
			}
		})
	}
}
