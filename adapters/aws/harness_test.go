package aws_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"cloudsettle/adapters/adaptertest"
	"cloudsettle/adapters/aws"
	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

// at is a moment at which AWS's own certificate of the vectors was valid.
var at = time.Date(2022, 7, 29, 0, 0, 0, 0, time.UTC)

const (
	productCode = "aw4fgf5tyo5w2ap6fexample"
	license     = "arn:aws:license-manager::294406891311:license:l-51b9c48f8e8847cb9d1c8f4708155afc"

	awsCertURL  = "https://sns.us-east-2.amazonaws.com/SimpleNotificationService-7ff5318490ec183fbaddaa2a969abfda.pem"
	ownCertURL  = "https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
	topicPrefix = "arn:aws:sns:us-east-1:287250355862:aws-mp-"
)

// settings returns the settings of a listing with changes to its configuration.
func settings(tb testing.TB, change map[string]any) core.Settings {
	tb.Helper()
	cfg := map[string]any{
		"id": "aws-main", "provider": "aws", "product_code": productCode, "product_id": "prod-qtwveEXAMPLE",
		"region": "us-east-1", "access_key_id": "AKIDEXAMPLE", "secret_access_key": "example-secret",
		"event_api_key": "example-event-key", "model": "contract", "currency": "USD",
		"on_release": "settle_by_wallet", "support_email": "support@example.com",
		"metering": map[string]any{"dimension": "usage_fee", "unit_amount": "0.01"},
		"sns_topics": []string{
			topicPrefix + "subscription-notification-" + productCode,
			topicPrefix + "entitlement-notification-" + productCode,
			"arn:aws:sns:us-east-2:295079676684:publish-and-verify-892f85fe-4836-424d-8188-ab85bef0f362",
			"arn:aws:sns:us-east-2:295079676684:publish-and-verify-62674b1d-4295-426b-88e7-5fb75652a04e",
			"arn:aws:sns:us-east-2:295079676684:publish-and-verify-6e11fed2-fcdf-4c52-9dc4-36ef43f37f84",
		},
	}
	for k, v := range change {
		cfg[k] = v
	}
	raw, err := json.Marshal(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return core.Settings{
		Listing: "aws-main", Raw: raw, PublicURL: "https://billing.example.com",
		Now: func() time.Time { return at },
	}
}

// web is the world outside: certificates by URL, and SNS itself. It counts.
type web struct {
	pages map[string][]byte
	hits  atomic.Int64
}

func newWeb(tb testing.TB) *web {
	tb.Helper()
	w := &web{pages: map[string][]byte{}}
	for url, file := range map[string]string{awsCertURL: "sns-aws.pem", ownCertURL: "sns-constructed.pem"} {
		text, err := os.ReadFile("testdata/" + file)
		if err != nil {
			tb.Fatal(err)
		}
		w.pages[url] = text
	}
	return w
}

// RoundTrip answers for every host.
func (w *web) RoundTrip(r *http.Request) (*http.Response, error) {
	w.hits.Add(1)
	body, found := w.pages[r.URL.String()]
	if r.URL.Query().Get("Action") == "ConfirmSubscription" && r.URL.Host == "sns.us-east-1.amazonaws.com" {
		body, found = []byte("<ConfirmSubscriptionResponse/>"), true
	}
	status := http.StatusOK
	if !found {
		status = http.StatusNotFound
	}
	return &http.Response{
		StatusCode: status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body)), Request: r,
	}, nil
}

// meteringService answers ResolveCustomer by token, as the service does.
func meteringService(tb testing.TB) string {
	tb.Helper()
	const ok = `{"CustomerAWSAccountId":"845735284135","LicenseArn":"` + license + `","ProductCode":"` + productCode + `"}`
	answers := map[string]string{
		"tok+/=":     ok,
		"tok-legacy": `{"CustomerAWSAccountId":"845735284135","CustomerIdentifier":"X01EXAMPLEX","LicenseArn":"` + license + `","ProductCode":"` + productCode + `"}`,
		"tok-legacy-no-license": `{"CustomerAWSAccountId":"845735284135","CustomerIdentifier":"X01EXAMPLEX","ProductCode":"` +
			productCode + `"}`,
		"tok-no-license":    `{"CustomerAWSAccountId":"845735284135","ProductCode":"` + productCode + `"}`,
		"tok-wrong-product": `{"CustomerAWSAccountId":"845735284135","LicenseArn":"` + license + `","ProductCode":"another1example"}`,
		"tok-no-account":    `{"LicenseArn":"` + license + `","ProductCode":"` + productCode + `"}`,
		"tok-expired":       `{"__type":"com.amazonaws.marketplacemetering#ExpiredTokenException","message":"expired"}`,
		"tok-no-access":     `{"__type":"AccessDeniedException","message":"not allowed"}`,
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct{ RegistrationToken string }
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		answer, known := answers[in.RegistrationToken]
		if !known {
			answer = `{"__type":"InvalidTokenException","message":"no"}`
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		if bytes.Contains([]byte(answer), []byte("__type")) {
			w.WriteHeader(http.StatusBadRequest)
		}
		_, _ = io.WriteString(w, answer)
	}))
	tb.Cleanup(srv.Close)
	return srv.URL
}

// market opens a listing in a world that it returns.
func market(tb testing.TB, change map[string]any) (core.Marketplace, *web) {
	tb.Helper()
	w := newWeb(tb)
	m, err := aws.OpenWith(settings(tb, change), w, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return m, w
}

// push is a callback at the events endpoint.
func push(body string, header http.Header) core.Callback {
	if header == nil {
		header = http.Header{}
	}
	return core.Callback{
		Listing: "aws-main", Endpoint: "events", Method: http.MethodPost, Header: header, Body: []byte(body),
		ReceivedAt: at, RequestID: "req_test",
	}
}

func keyed() http.Header { return http.Header{"X-Api-Key": {"example-event-key"}} }

func receive(t *testing.T, m core.Marketplace, cb core.Callback) marketplace.Event {
	t.Helper()
	ev, err := m.Adapter.Receive(t.Context(), cb)
	if err != nil {
		t.Fatalf("Receive(%s) = %v", cb.Body, err)
	}
	return ev
}

func readFixture(tb testing.TB, name string) core.Callback {
	tb.Helper()
	return adaptertest.Read(tb, "testdata/"+name+".http", at)
}
