package huawei

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cloudsettle/adapters/adaptertest"
	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

const (
	testKey = "testkey-0000-1111-2222-333344445555"
	testSK  = "test-secret-access-key"
)

// at is when the fixtures arrive.
var at = time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)

// open opens a listing with further configuration.
func open(tb testing.TB, more map[string]any) core.Marketplace {
	tb.Helper()
	m, err := Open(settings(tb, more))
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func settings(tb testing.TB, more map[string]any) core.Settings {
	tb.Helper()
	cfg := map[string]any{
		"id": "hw-cn", "provider": "huawei", "site": "cn", "product_code": "OFFI1", "key": testKey,
		"access_key_id": "TESTAK0000", "secret_access_key": testSK, "endpoint": "", "currency": "CNY",
		"metering": map[string]any{"unit_amount": "0.01"},
	}
	for k, v := range more {
		cfg[k] = v
	}
	raw, err := json.Marshal(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	return core.Settings{
		Listing: "hw-cn", Raw: raw, PublicURL: "https://billing.example.com",
		Now: func() time.Time { return at }, Dev: true,
	}
}

func fixture(tb testing.TB, name string) core.Callback {
	tb.Helper()
	return adaptertest.Read(tb, filepath.Join("testdata", name+".http"), at)
}

// TestConformance runs the suite twice, because the versions sign different
// things: version 2 the body and three parameters, version 1 every parameter.
func TestConformance(t *testing.T) {
	t.Parallel()
	h := adaptertest.Harness{
		Open: func(tb testing.TB) core.Marketplace { return open(tb, nil) },
		At:   at, Dir: "testdata", Secrets: []string{testKey, testSK},
	}
	t.Run("V1", func(t *testing.T) {
		h.Signed = func(name string) bool { return strings.HasPrefix(name, "v1-") }
		adaptertest.Run(t, h)
	})
	t.Run("V2", func(t *testing.T) {
		h.UnsignedQuery = true
		h.Signed = func(name string) bool {
			return strings.HasPrefix(name, "v2-") && name != "v2-new-instance-extra-parameter" &&
				name != "v2-new-instance-nulls" // nothing signs a null
		}
		adaptertest.Run(t, h)
	})
}

func TestOpenNamesEveryProblem(t *testing.T) {
	t.Parallel()
	_, err := Open(settings(t, map[string]any{
		"site": "moon", "key": "", "access_key_id": "", "secret_access_key": "", "endpoint": "ftp://x",
		"currency": "yuan", "on_release": "shrug", "time_zone": "Mars/Base", "max_skew": "6m", "provider": "aws",
		"metering":    map[string]any{"unit_amount": "0.00"},
		"v1_max_skew": "9999h", "encrypt_type": "3", "id": "other",
	}))
	if err == nil {
		t.Fatal("Open(nonsense) = nil, want an error")
	}
	for _, key := range []string{
		"site", "key", "access_key_id", "secret_access_key", "endpoint", "currency", "on_release",
		"time_zone", "max_skew", "v1_max_skew", "encrypt_type", "id", "provider", "metering.unit_amount",
	} {
		if !strings.Contains(err.Error(), "huawei: configuration: "+key+":") {
			t.Errorf("Open(nonsense) = %v, want it to name %s", err, key)
		}
	}
}

func TestOpenIsStrict(t *testing.T) {
	t.Parallel()
	for name, more := range map[string]map[string]any{
		"unknown key":        {"signing_key": "x"},
		"unknown metering":   {"metering": map[string]any{"unit": "1"}},
		"wrong type":         {"product_ids": "OFFI1"},
		"not a duration":     {"max_skew": "soon"},
		"the same key twice": {"key_previous": testKey},
	} {
		if _, err := Open(settings(t, more)); err == nil {
			t.Errorf("Open(%s) = nil, want an error", name)
		}
	}
	s := settings(t, map[string]any{"endpoint": "http://127.0.0.1:1"})
	s.Dev = false
	if _, err := Open(s); err == nil {
		t.Error("Open(plain HTTP endpoint without Dev) = nil, want an error")
	}
}

func TestEndpointsOfSites(t *testing.T) {
	t.Parallel()
	for site, want := range map[string][]string{
		"cn":   {"https://mkt.myhuaweicloud.com", "https://mkt.myhuaweicloud.cn"},
		"intl": {"https://mkt-intl.myhuaweicloud.com", "https://mkt.myhuaweicloud.cn"},
		"eu":   {"https://mkt.myhuaweicloud.eu"},
	} {
		if diff := cmp.Diff(want, Config{Site: site}.endpoints()); diff != "" {
			t.Errorf("endpoints(%s) differ (-want +got):\n%s", site, diff)
		}
	}
}

func TestReceive(t *testing.T) {
	t.Parallel()
	query := func(more string) func(*core.Callback) {
		return func(cb *core.Callback) { cb.RawQuery += more }
	}
	late := func(d time.Duration) func(*core.Callback) {
		return func(cb *core.Callback) { cb.ReceivedAt = at.Add(d) }
	}
	unchanged := func(*core.Callback) {}
	tests := []struct {
		name   string
		change func(*core.Callback)
		config map[string]any
		want   error
	}{
		{"Genuine", unchanged, nil, nil},
		{"WrongMethod", func(cb *core.Callback) { cb.Method = http.MethodPut }, nil, core.ErrUnsupported},
		{"WrongEndpoint", func(cb *core.Callback) { cb.Endpoint = "sso" }, nil, core.ErrUnsupported},
		{"NoContentType", func(cb *core.Callback) { cb.Header = nil }, nil, nil},
		{"UnknownParameter", query("&zz=1"), nil, nil},
		{"DoubledParameterCountsOnce", query("&nonce=0&timestamp=1"), nil, nil},
		{"DoubledParameterInFront", func(cb *core.Callback) { cb.RawQuery = "nonce=0&" + cb.RawQuery },
			nil, core.ErrUnverified},
		{"BadEncoding", query("&x=%zz"), nil, core.ErrInvalid},
		{"TooManyParameters", query(strings.Repeat("&x=1", maxParams)), nil, core.ErrInvalid},
		{"SixtySecondsLate", late(58500 * time.Millisecond), nil, nil},
		{"LaterThanThat", late(58501 * time.Millisecond), nil, core.ErrExpired},
		{"EarlierThanThat", late(-61502 * time.Millisecond), nil, core.ErrExpired},
		{"SkewIsConfigurable", late(4 * time.Minute), map[string]any{"max_skew": "5m"}, nil},
		{"PreviousKey", unchanged, map[string]any{"key": "new", "key_previous": testKey}, nil},
		{"KeyForOrderNotifyOnly", unchanged,
			map[string]any{"key": "new", "order_notify_key": testKey}, core.ErrUnverified},
		{"ReplacedKey", unchanged, map[string]any{"key": "new"}, core.ErrUnverified},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cb := fixture(t, "v2-new-instance")
			tt.change(&cb)
			_, err := open(t, tt.config).Adapter.Receive(t.Context(), cb)
			if !errors.Is(err, tt.want) {
				t.Errorf("Receive(%s) = %v, want %v", tt.name, err, tt.want)
			}
		})
	}
}

// TestOnlyWhatIsSignedIsRead: nulls are left out of what is signed, so one that
// is added on the way must not blank the field that it resembles.
func TestOnlyWhatIsSignedIsRead(t *testing.T) {
	t.Parallel()
	cb := fixture(t, "v2-new-instance-nulls")
	cb.Body = []byte(strings.Replace(string(cb.Body), "}", `,"ORDERID":null,"BusinessId":null}`, 1))
	ev, err := open(t, nil).Adapter.Receive(t.Context(), cb)
	if err != nil || ev.Proposed == "" || ev.Attributes["orderId"] == "" {
		t.Errorf("Receive(nulls added) = %+v, %v, want the fields that were signed", ev, err)
	}
}

func TestOrderNotifyHasItsOwnKey(t *testing.T) {
	t.Parallel()
	m := open(t, map[string]any{"key": "new", "order_notify_key": testKey})
	cb := fixture(t, "v2-order-notify")
	ev, err := m.Adapter.Receive(t.Context(), cb)
	if err != nil || ev.Kind != marketplace.Noted {
		t.Fatalf("Receive(orderNotify) = %s, %v, want noted", ev.Kind, err)
	}
	r := m.Adapter.Reply(cb, ev, core.Outcome{Result: marketplace.Ignored}, nil)
	if got, want := r.Header.Get("Body-Sign"), bodySign(testKey, r.Body); got != want {
		t.Errorf("Body-Sign = %s, want %s", got, want)
	}
}

// TestAnswersAreSignedWithTheCallersKey: while a key is replaced KooGallery
// checks answers with the one it still signs with.
func TestAnswersAreSignedWithTheCallersKey(t *testing.T) {
	t.Parallel()
	m := open(t, map[string]any{"key": "new", "key_previous": testKey})
	for _, name := range []string{"v1-new-instance", "v2-new-instance"} {
		cb := fixture(t, name)
		r := m.Adapter.Reply(cb, marketplace.Event{}, core.Outcome{}, core.ErrUnavailable)
		if got, want := r.Header.Get("Body-Sign"), bodySign(testKey, r.Body); got != want {
			t.Errorf("%s: Body-Sign = %s, want %s", name, got, want)
		}
		cb.RawQuery = "a=b"
		r = m.Adapter.Reply(cb, marketplace.Event{}, core.Outcome{}, core.ErrUnverified)
		if got, want := r.Header.Get("Body-Sign"), bodySign("new", r.Body); got != want {
			t.Errorf("%s from a stranger: Body-Sign = %s, want %s", name, got, want)
		}
	}
}

func TestV1(t *testing.T) {
	t.Parallel()
	m := open(t, nil)
	cb := fixture(t, "v1-new-instance-minimal")
	cb.RawQuery += "&orderId=CS-other&activity=releaseInstance"
	ev, err := m.Adapter.Receive(t.Context(), cb)
	if err != nil || ev.Kind != marketplace.Activated || ev.Attributes["orderId"] != "CS2611210853A1B2C" {
		t.Errorf("Receive(doubled parameters) = %+v, %v, want those that are signed", ev, err)
	}
	cb = fixture(t, "v1-new-instance-plus-lost")
	ev, err = m.Adapter.Receive(t.Context(), cb)
	if err != nil || ev.Attributes["email"] != "admin@example.com" {
		t.Errorf("Receive(plus lost) = %+v, %v, want the e-mail address", ev, err)
	}
	cb = fixture(t, "v1-new-instance-stale")
	ev, err = open(t, map[string]any{"v1_max_skew": "25h"}).Adapter.Receive(t.Context(), cb)
	if err != nil {
		t.Errorf("Receive(old, wide window) = %+v, %v, want it believed", ev, err)
	}
	cb = fixture(t, "v1-new-instance")
	ev, err = open(t, map[string]any{"time_zone": "Asia/Shanghai"}).Adapter.Receive(t.Context(), cb)
	want := time.Date(2027, 11, 21, 15, 59, 59, 0, time.UTC)
	if err != nil || !ev.ExpiresAt.Equal(want) {
		t.Errorf("Receive(Beijing time).ExpiresAt = %v, %v, want %v", ev.ExpiresAt, err, want)
	}
	_, err = open(t, map[string]any{"product_ids": []string{"OFFI1"}}).Adapter.Receive(t.Context(), cb)
	if !errors.Is(err, core.ErrInvalid) {
		t.Errorf("Receive(product of another listing) = %v, want %v", err, core.ErrInvalid)
	}
	_, err = open(t, map[string]any{"product_ids": []string{"sku-basic"}}).Adapter.Receive(t.Context(), cb)
	if err != nil {
		t.Errorf("Receive(product listed by SKU) = %v, want nil", err)
	}
}

// TestRanksCompareAcrossVersions: a product moves from version 1 to version 2,
// and what version 2 says afterwards must win.
func TestRanksCompareAcrossVersions(t *testing.T) {
	t.Parallel()
	m := open(t, nil)
	receive := func(name string) marketplace.Event {
		ev, err := m.Adapter.Receive(t.Context(), fixture(t, name))
		if err != nil {
			t.Fatal(err)
		}
		return ev
	}
	v1, v2 := receive("v1-instance-status-freeze"), receive("v2-update-instance-status-unfreeze")
	if len(v1.Rank) != len(v2.Rank) || v1.Rank != "1795251598500" {
		t.Errorf("ranks of freezing are %s and %s, want both in milliseconds", v1.Rank, v2.Rank)
	}
	if r := receive("v1-refresh-instance").Rank; r >= "20000101000000/" {
		t.Errorf("rank of a renewal in version 1 = %s, want below version 2", r)
	}
}

func FuzzReceiveV2(f *testing.F) {
	a := fuzzed(f)
	for _, name := range names(f, "v2-*") {
		f.Add(fixture(f, name).RawQuery, fixture(f, name).Body)
	}
	f.Fuzz(func(t *testing.T, query string, body []byte) {
		believe(t, a, core.Callback{Method: http.MethodPost, RawQuery: query, Body: body, ReceivedAt: at})
		s := stamp{timestamp: "1795251598500", nonce: "0123456789abcdef"}
		var n notice
		if json.Unmarshal(body, &n) == nil {
			// What a signer of ours might send, well signed or not.
			ev, err := n.normalize(a.event(string(n.Activity)), s.timestamp)
			total(t, a, core.Callback{Method: http.MethodPost}, ev, err)
		}
		if sorted, ok := sortedBody(body); ok && !json.Valid(sorted) {
			t.Errorf("sortedBody(%q) = %q, not JSON", body, sorted)
		}
	})
}

func FuzzReceiveV1(f *testing.F) {
	a := fuzzed(f)
	for _, name := range names(f, "v1-*") {
		f.Add(fixture(f, name).RawQuery)
	}
	f.Fuzz(func(t *testing.T, query string) {
		believe(t, a, core.Callback{Method: http.MethodGet, RawQuery: query, ReceivedAt: at})
		p, err := parseQuery(query)
		if err != nil {
			return
		}
		ev, err := a.normalizeV1(a.event(p.get("activity")), p, &a.secrets[0], "1795251598500")
		total(t, a, core.Callback{Method: http.MethodGet}, ev, err)
	})
}

func fuzzed(tb testing.TB) *Adapter { return open(tb, nil).Adapter.(*Adapter) }

func names(tb testing.TB, pattern string) []string {
	paths, err := filepath.Glob(filepath.Join("testdata", pattern+".http"))
	if err != nil || len(paths) == 0 {
		tb.Fatalf("no fixtures %s: %v", pattern, err)
	}
	for i, p := range paths {
		paths[i] = strings.TrimSuffix(filepath.Base(p), ".http")
	}
	return paths
}

// believe checks that nothing is believed that the key did not sign.
func believe(t *testing.T, a *Adapter, cb core.Callback) {
	ev, err := a.Receive(context.Background(), cb)
	total(t, a, cb, ev, err)
	if err != nil {
		return
	}
	q, _ := parseQuery(cb.RawQuery)
	if cb.Method == http.MethodGet {
		_, _, err = a.verifyV1(q)
	} else {
		_, _, err = a.verifyV2(stampOf(q), cb.Body)
	}
	if err != nil {
		t.Errorf("Receive(%q, %q) = %+v, want it refused", cb.RawQuery, cb.Body, ev)
	}
}

// total checks that an event is either refused or whole, and answered.
func total(t *testing.T, a *Adapter, cb core.Callback, ev marketplace.Event, err error) {
	if err == nil && ev.Kind != marketplace.Noted && ev.Kind != marketplace.Asked &&
		ev.Subject == "" && ev.Proposed == "" {
		t.Errorf("an event without identity: %+v", ev)
	}
	r := a.Reply(cb, ev, adaptertest.Applied(ev), err)
	var ans answer
	if e := json.Unmarshal(r.Body, &ans); e != nil || len(ans.ResultCode) != 6 || len(ans.ResultMsg) > 255 {
		t.Errorf("Reply() = %s, %v, want a result", r.Body, e)
	}
}

func BenchmarkReceiveV2(b *testing.B) { benchmark(b, "v2-update-instance-status-freeze") }
func BenchmarkReceiveV1(b *testing.B) { benchmark(b, "v1-instance-status-freeze") }

func BenchmarkReceiveV1Purchase(b *testing.B) { benchmark(b, "v1-new-instance") }

// benchmark measures verifying, normalizing and answering.
func benchmark(b *testing.B, name string) {
	m, cb := open(b, nil), fixture(b, name)
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		ev, err := m.Adapter.Receive(ctx, cb)
		if err != nil {
			b.Fatal(err)
		}
		m.Adapter.Reply(cb, ev, core.Outcome{
			Result: marketplace.Applied, Subscription: &marketplace.Subscription{Subject: "i", Account: "a"},
		}, nil)
	}
}
