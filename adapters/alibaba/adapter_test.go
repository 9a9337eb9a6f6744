package alibaba

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"cloudsettle/adapters/adaptertest"
	"cloudsettle/core"
)

const testKey = "test-isv-key-0001"

var testTime = time.Date(2026, 11, 21, 12, 31, 0, 0, time.UTC)

// open opens an adapter with a usual configuration; change edits it.
func open(tb testing.TB, change func(c map[string]any, s *core.Settings)) (core.Marketplace, error) {
	tb.Helper()
	c := map[string]any{
		"id": "ali-cn", "provider": "alibaba", "site": "cn", "product_code": "cmgj00012345",
		"spi_key": testKey, "currency": "CNY", "on_release": "settle_by_wallet",
		"metering": map[string]any{
			"key": "Unit", "assist": "cmgj00012345-Unit-1", "unit_amount": "0.01", "cycle": "hourly",
		},
	}
	s := core.Settings{
		Listing: "ali-cn", PublicURL: "https://billing.example.com",
		Now: func() time.Time { return testTime },
	}
	if change != nil {
		change(c, &s)
	}
	raw, err := json.Marshal(c)
	if err != nil {
		tb.Fatal(err)
	}
	s.Raw = raw
	return Open(s)
}

func mustOpen(tb testing.TB, change func(c map[string]any, s *core.Settings)) core.Marketplace {
	tb.Helper()
	m, err := open(tb, change)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func TestConformance(t *testing.T) {
	t.Parallel()
	adaptertest.Run(t, adaptertest.Harness{
		Open:    func(tb testing.TB) core.Marketplace { return mustOpen(tb, nil) },
		At:      testTime,
		Dir:     "testdata",
		Signed:  func(string) bool { return true },
		Secrets: []string{testKey},
	})
}

func TestOpenReportsAllProblems(t *testing.T) {
	t.Parallel()
	_, err := open(t, func(c map[string]any, s *core.Settings) {
		for k, v := range map[string]any{
			"id": "other", "provider": "aws", "site": "eu", "product_code": "", "spi_key": "",
			"access_key_id": "AK", "currency": "yuan", "on_release": "delete", "endpoint": "http://api.example.com",
			"time_zone": "Mars/Olympus", "sso_window": "48h", "poll_interval": "soon",
			"metering": map[string]any{"key": "Ounce", "unit_amount": "0.00", "cycle": "yearly"},
		} {
			c[k] = v
		}
		s.PublicURL, s.Now = "billing.example.com", nil
	})
	if err == nil {
		t.Fatal("Open() = nil error")
	}
	for _, want := range []string{
		"alibaba: ", `"ali-cn"`, "id:", "provider:", "site:", "product_code:", "spi_key:", "access_key_id",
		"currency:", "on_release:", "public_url:", "no clock", "endpoint:", "time_zone:", "sso_window:",
		"poll_interval:", "metering.key:", "metering.unit_amount:", "metering.cycle:",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("Open() = %v, want it to speak of %q", err, want)
		}
	}
}

func TestOpenIsStrict(t *testing.T) {
	t.Parallel()
	_, err := open(t, func(c map[string]any, _ *core.Settings) { c["spi_kye"] = "x" })
	if err == nil || !strings.Contains(err.Error(), "spi_kye") {
		t.Errorf("Open(unknown key) = %v, want an error that names it", err)
	}
	for _, raw := range []string{"", "null x", "{}{}", `{"site":1}`} {
		if _, err := Open(core.Settings{Listing: "ali-cn", Raw: json.RawMessage(raw)}); err == nil {
			t.Errorf("Open(%q) = nil error", raw)
		}
	}
}

func TestOpenDefaults(t *testing.T) {
	t.Parallel()
	m := mustOpen(t, func(c map[string]any, _ *core.Settings) {
		c["site"] = "intl"
		for _, k := range []string{"id", "provider", "currency", "on_release", "metering"} {
			delete(c, k)
		}
	})
	want := core.Listing{ID: "ali-cn", Provider: Provider, Currency: "USD", OnRelease: "settle_by_wallet"}
	if m.Listing != want {
		t.Errorf("Open() = listing %+v, want %+v", m.Listing, want)
	}
	if m.Feed != nil {
		t.Error("Open(no access key) has a feed")
	}
}

func TestEndpoint(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		site, endpoint string
		dev            bool
		want           string // scheme://host, "" for an error
	}{
		{"cn", "", false, "https://market.aliyuncs.com"},
		{"intl", "", false, "https://market.ap-southeast-1.aliyuncs.com"},
		{"cn", "market.example.com", false, "https://market.example.com"},
		{"cn", "https://market.example.com:8443/", false, "https://market.example.com:8443"},
		{"cn", "http://127.0.0.1:9000", false, "http://127.0.0.1:9000"},
		{"cn", "http://localhost:9000", false, "http://localhost:9000"},
		{"cn", "http://[::1]:9000", false, "http://[::1]:9000"},
		{"cn", "http://simulator:9000", true, "http://simulator:9000"},
		{"cn", "http://simulator:9000", false, ""},
		{"cn", "ftp://127.0.0.1", true, ""},
		{"cn", "https://market.example.com/path", true, ""},
		{"cn", "https://me@market.example.com", true, ""},
		{"cn", "https://", true, ""},
	} {
		e, err := parseEndpoint(tc.endpoint, siteEndpoint(tc.site), tc.dev)
		got := ""
		if err == nil {
			got = e.scheme + "://" + e.host
		}
		if got != tc.want {
			t.Errorf("parseEndpoint(%q, %q, dev %t) = %q, %v, want %q", tc.site, tc.endpoint, tc.dev, got, err, tc.want)
		}
	}
}

// The vectors of the protocol notes, computed by another implementation.
func TestTokenVectors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ query, key, want string }{
		{"p3=3&p1=1&p2=2", "isvkey", "691b1c2be27485a87fb000de6f89f1d3"},
		{"action=createInstance&aliUid=1234567890123456&orderBizId=122779388&orderId=269326581310319" +
			"&productCode=cmgj00012345&skuId=yuncode6661200001&package_version=yuncode6661200001&trial=false" +
			"&expiredOn=2027-01-25+00%3A00%3A00", testKey, "9e602deaf57bc0d3d69ddddb3e6d0305"},
		{"action=renewInstance&expiredOn=2028-01-25%2000:00:00&instanceId=122779388&orderId=269326581310999",
			testKey, "ab254887784b702397786e686d587ae4"},
		{"instanceId=122779388&action=expiredInstance", testKey, "2a96abe4c74d3fdb30babdef5560bfe1"},
		{"action=releaseInstance&instanceId=122779388&isRefund=true&orderId=269326581310319",
			testKey, "621c5d6d0150d05483f32ee23d7c7329"},
		{"action=upgradeInstance&instanceId=122779388&orderId=269326581311111&skuId=yuncode6661200002",
			testKey, "9c23f2fea81dc11d7fd20693a61c0295"},
		{"action=verify&instanceId=122779388&timeStamp=2026-11-21+20:30:00", testKey, "469cce5d257d47c71d324508fa53ee40"},
		{"action=createInstance&aliUid=1&orderBizId=2&orderId=3&productCode=p&skuId=s&template=&trial=false",
			testKey, "f64d2a41b8def26c3e229e0594c85d1c"},
		{"action=refundRenewInstance&expiredOn=2027-01-25+00:00:00&instanceId=122779388",
			testKey, "81e6ddef11649b370928fb4a3e974cef"},
		{"action=orderPay&aliUid=12345678901234&orderBizId=12345&orderId=123456789&productCode=cmapi00001" +
			"&requestId=469363e82a2847838bfcaeed436da272&skuId=yuncode215700000",
			testKey, "7d04f92d4fe7168240f7dc27db1e2d3a"},
	} {
		p, err := read(core.Callback{RawQuery: tc.query + "&token=anything"})
		if err != nil {
			t.Errorf("read(%q) = %v", tc.query, err)
			continue
		}
		if got := digest(p.canonical(), tc.key); string(got[:]) != tc.want {
			t.Errorf("token of %q = %s, want %s", tc.query, got, tc.want)
		}
	}
}

func TestReadLimits(t *testing.T) {
	t.Parallel()
	for _, q := range []string{
		strings.Repeat("a=1&", maxParams+1),
		strings.Repeat("n", maxName+1) + "=1",
		"a=" + strings.Repeat("v", maxValue+1),
		"a=" + strings.Repeat("%41", maxValue+1),
	} {
		if _, err := read(core.Callback{RawQuery: q}); err == nil {
			t.Errorf("read(%.20q…, %d bytes) = nil error", q, len(q))
		}
	}
	p, err := read(core.Callback{RawQuery: "b=2&&a=%e4%b8%ad+x&b=3&c"})
	want := params{{"a", "中 x"}, {"b", "2"}, {"c", ""}}
	if err != nil || !slices.Equal(p, want) {
		t.Errorf("read() = %v, %v, want %v", p, err, want)
	}
}
