package alibaba

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cloudsettle/adapters/adaptertest"
	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

// sign returns a callback with these parameters, signed with key.
func sign(tb testing.TB, key string, values map[string]string) core.Callback {
	tb.Helper()
	q := url.Values{}
	for k, v := range values {
		q.Set(k, v)
	}
	p, err := read(core.Callback{RawQuery: q.Encode()})
	if err != nil {
		tb.Fatal(err)
	}
	token := digest(p.canonical(), key)
	q.Set(tokenParam, string(token[:]))
	return core.Callback{
		Listing: "ali-cn", Method: http.MethodGet, RawQuery: q.Encode(), Header: http.Header{},
		ReceivedAt: testTime, RequestID: "req_test",
	}
}

func fixture(tb testing.TB, name string) core.Callback {
	tb.Helper()
	return adaptertest.Read(tb, filepath.Join("testdata", name+".http"), testTime)
}

// Of doubled parameters the first counts; what follows is not signed, and
// means nothing.
func TestReceiveDoubledParameters(t *testing.T) {
	t.Parallel()
	a := mustOpen(t, nil).Adapter
	cb := fixture(t, "create")
	want, err := a.Receive(t.Context(), cb)
	if err != nil {
		t.Fatal(err)
	}
	cb.RawQuery += "&orderBizId=999&trial=true&token=x&action=releaseInstance"
	got, err := a.Receive(t.Context(), cb)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Receive(doubled) = %v (-want +got):\n%s", err, diff)
	}
	cb.RawQuery = "orderBizId=999&" + cb.RawQuery
	if got, err := a.Receive(t.Context(), cb); !errors.Is(err, core.ErrUnverified) {
		t.Errorf("Receive(doubled before) = %+v, %v, want ErrUnverified", got, err)
	}
}

// The query comes before the form.
func TestReceiveQueryBeforeForm(t *testing.T) {
	t.Parallel()
	a := mustOpen(t, nil).Adapter
	cb := fixture(t, "release")
	cb.Method, cb.Body = http.MethodPost, []byte("instanceId=999")
	cb.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if got, err := a.Receive(t.Context(), cb); err != nil || got.Subject != "122779388" {
		t.Errorf("Receive() = %+v, %v, want instance 122779388", got, err)
	}
}

func TestReceiveKeyRotation(t *testing.T) {
	t.Parallel()
	a := mustOpen(t, func(c map[string]any, _ *core.Settings) { c["spi_key_previous"] = "old" }).Adapter
	values := map[string]string{"action": "expiredInstance", "instanceId": "1"}
	for key, want := range map[string]error{testKey: nil, "old": nil, "older": core.ErrUnverified, "": core.ErrUnverified} {
		if _, err := a.Receive(t.Context(), sign(t, key, values)); !errors.Is(err, want) {
			t.Errorf("Receive(key %q) = %v, want %v", key, err, want)
		}
	}
	// Without a previous key the empty key must not become one.
	a = mustOpen(t, nil).Adapter
	if _, err := a.Receive(t.Context(), sign(t, "", values)); !errors.Is(err, core.ErrUnverified) {
		t.Errorf("Receive(empty key) = %v, want ErrUnverified", err)
	}
}

func TestReceiveTimes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ zone, text, want string }{
		{"", "2027-01-25 00:00:00", "2027-01-24T16:00:00Z"},
		{"UTC", "2027-01-25 00:00:00", "2027-01-25T00:00:00Z"},
		{"", "1800806400000", "2027-01-24T16:00:00Z"},
		{"", "2027-01-25", ""},
		{"", "2027-02-30 00:00:00", ""},
		{"", "0000-00-00 00:00:00", ""},
		{"", "1234567890", ""},
		{"", "99999999999999999999", ""},
		{"", "2027-01-25T00:00:00Z", ""},
	} {
		a := mustOpen(t, func(c map[string]any, _ *core.Settings) { c["time_zone"] = tc.zone }).Adapter
		ev, err := a.Receive(t.Context(), sign(t, testKey, map[string]string{
			"action": "refundRenewInstance", "instanceId": "1", "expiredOn": tc.text,
		}))
		got := ""
		if err == nil {
			got = ev.ExpiresAt.Format(time.RFC3339)
		}
		if got != tc.want || err != nil && !errors.Is(err, core.ErrInvalid) {
			t.Errorf("Receive(expiredOn %q in %q) = %q, %v, want %q", tc.text, tc.zone, got, err, tc.want)
		}
	}
}

func TestReceiveRanks(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		byArrival   bool
		order, want string
	}{
		{false, "269326581310999", "00000269326581310999"},
		{false, "9", "00000000000000000009"},
		{false, "A9", ""},
		{false, strings.Repeat("9", 21), ""},
		{true, "269326581310999", ""},
	} {
		a := mustOpen(t, func(c map[string]any, _ *core.Settings) { c["order_by_arrival"] = tc.byArrival }).Adapter
		for _, action := range []string{"renewInstance", "upgradeInstance"} {
			ev, err := a.Receive(t.Context(), sign(t, testKey, map[string]string{
				"action": action, "instanceId": "1", "skuId": "s", "orderId": tc.order,
			}))
			if err != nil || ev.Rank != tc.want || ev.Key != tc.order {
				t.Errorf("Receive(%s %q) = key %q, rank %q, %v, want rank %q", action, tc.order, ev.Key, ev.Rank, err, tc.want)
			}
		}
	}
}

func TestReceiveQuantity(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		item   string
		values map[string]string
		want   int64
	}{
		{"", map[string]string{"Count": "3"}, 3},
		{"", map[string]string{"Count": "3", "AccountQuantity": "5"}, 5},
		{"", map[string]string{"Count": "3", "AccountQuantity": "many"}, 3},
		{"", map[string]string{"Seats": "3"}, 0},
		{"", map[string]string{"Count": "-3"}, 0},
		{"", map[string]string{"Count": "99999999999999999999"}, 0},
		{"Seats", map[string]string{"Seats": "4", "Count": "3"}, 4},
	} {
		a := mustOpen(t, func(c map[string]any, _ *core.Settings) { c["quantity_item"] = tc.item }).Adapter
		values := map[string]string{"action": "upgradeInstance", "instanceId": "1", "skuId": "s"}
		maps.Copy(values, tc.values)
		ev, err := a.Receive(t.Context(), sign(t, testKey, values))
		if err != nil || ev.Quantity != tc.want {
			t.Errorf("Receive(%v, item %q) = quantity %d, %v, want %d", tc.values, tc.item, ev.Quantity, err, tc.want)
		}
	}
}

// On the international site a change is known by what it says.
func TestReceiveChangesWithoutOrder(t *testing.T) {
	t.Parallel()
	a := mustOpen(t, nil).Adapter
	keys := map[string]bool{}
	for _, items := range []map[string]string{
		{"skuId": "a"}, {"skuId": "b"}, {"skuId": "a", "Count": "1"}, {"skuId": "a", "Count": "2"}, {"skuId": "a", "Count": ""},
	} {
		values := map[string]string{"action": "upgradeInstance", "instanceId": "1"}
		maps.Copy(values, items)
		for range 2 {
			ev, err := a.Receive(t.Context(), sign(t, testKey, values))
			if err != nil {
				t.Fatal(err)
			}
			keys[ev.Key] = true
		}
	}
	if len(keys) != 5 {
		t.Errorf("Receive() made keys %v, want 5 different ones", keys)
	}
}

// Every required parameter is missed, and all of them are named at once.
func TestReceiveNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	a := mustOpen(t, nil).Adapter
	for action, required := range map[string][]string{
		actionCreate:      {"orderBizId", "aliUid", "skuId", "orderId", "productCode"},
		actionRenew:       {"instanceId", "orderId"},
		actionRefundRenew: {"instanceId", "expiredOn"},
		actionUpgrade:     {"instanceId", "skuId"},
		actionExpired:     {"instanceId"},
		actionResume:      {"instanceId"},
		actionRelease:     {"instanceId"},
		actionOrderPay:    {"requestId"},
		actionVerify:      {"instanceId", "timeStamp"},
	} {
		_, err := a.Receive(t.Context(), sign(t, testKey, map[string]string{"action": action}))
		var f *core.Fault
		if !errors.As(err, &f) || !errors.Is(err, core.ErrInvalid) || !strings.HasPrefix(err.Error(), "alibaba: ") {
			t.Errorf("Receive(%s) = %v, want a fault of the adapter's", action, err)
			continue
		}
		var got []string
		for _, p := range f.Fields {
			got = append(got, p.Field)
		}
		if diff := cmp.Diff(required, got); diff != "" {
			t.Errorf("Receive(%s) names other parameters (-want +got):\n%s", action, diff)
		}
	}
}

func TestReceiveNonces(t *testing.T) {
	t.Parallel()
	a := mustOpen(t, nil).Adapter
	seen := map[string]bool{}
	for _, tc := range []struct{ instance, at string }{
		{"1", "2026-11-21 20:30:00"}, {"1", "2026-11-21 20:30:01"}, {"2", "2026-11-21 20:30:00"},
	} {
		ev, err := a.Receive(t.Context(), sign(t, testKey, map[string]string{
			"action": "verify", "instanceId": tc.instance, "timeStamp": tc.at,
		}))
		if err != nil || ev.Nonce == "" || seen[ev.Nonce] {
			t.Errorf("Receive(verify %v) = nonce %q, %v, want a new one", tc, ev.Nonce, err)
		}
		seen[ev.Nonce] = true
	}
}

// FuzzReceive: whatever arrives is answered, and believed only if its token
// holds.
func FuzzReceive(f *testing.F) {
	for _, name := range []string{"create", "create-form", "create-items", "verify", "bad-encoding", "upgrade"} {
		cb := fixture(f, name)
		f.Add(cb.Method, cb.Endpoint, cb.Header.Get("Content-Type"), cb.RawQuery, cb.Body)
	}
	a := mustOpen(f, nil).Adapter
	f.Fuzz(func(t *testing.T, method, endpoint, contentType, query string, body []byte) {
		cb := core.Callback{
			Method: method, Endpoint: endpoint, RawQuery: query, Body: body, ReceivedAt: testTime,
			Header: http.Header{"Content-Type": {contentType}},
		}
		ev, err := a.Receive(t.Context(), cb)
		if err == nil {
			p, _ := read(cb)
			if want := digest(p.canonical(), testKey); p.get(tokenParam) != string(want[:]) {
				t.Errorf("Receive() = %+v without a good token", ev)
			}
		}
		if r := a.Reply(cb, ev, adaptertest.Applied(ev), err); r.Status < 200 || len(r.Body) == 0 && r.Header.Get("Location") == "" {
			t.Errorf("Reply(%v) = %+v, want an answer", err, r)
		}
	})
}

// FuzzReceiveSigned: what is signed is understood or refused as invalid, and
// never says anything about another product.
func FuzzReceiveSigned(f *testing.F) {
	f.Add("createInstance", "1", "s", "2027-01-25 00:00:00", "true", "cmgj00012345", "Count", "3")
	f.Add("verify", "1&x=2", "", "2026-11-21 20:30:00", "", "", "timeStamp", "\x00")
	a := mustOpen(f, nil).Adapter
	f.Fuzz(func(t *testing.T, action, id, sku, at, flag, product, name, value string) {
		values := map[string]string{
			"action": action, "instanceId": id, "orderBizId": id, "orderId": id, "aliUid": id, "requestId": id,
			"skuId": sku, "expiredOn": at, "timeStamp": at, "trial": flag, "isRefund": flag, "productCode": product,
		}
		if _, taken := values[name]; !taken && name != tokenParam {
			values[name] = value
		}
		q := url.Values{}
		for k, v := range values {
			q.Set(k, v)
		}
		if _, err := read(core.Callback{RawQuery: q.Encode()}); err != nil {
			return // over a limit
		}
		ev, err := a.Receive(t.Context(), sign(t, testKey, values))
		switch {
		case err == nil:
			if ev.Kind == "" || ev.Kind != marketplace.SignIn && product != "" && product != "cmgj00012345" {
				t.Errorf("Receive(%v) = %+v", values, ev)
			}
		case !errors.Is(err, core.ErrInvalid) && !errors.Is(err, core.ErrUnsupported) && !errors.Is(err, core.ErrExpired):
			t.Errorf("Receive(%v) = %v, want an error of what was sent", values, err)
		}
	})
}

func BenchmarkReceive(b *testing.B) {
	m := mustOpen(b, nil)
	for _, name := range []string{"create", "expired", "verify"} {
		cb := fixture(b, name)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				ev, err := m.Adapter.Receive(b.Context(), cb)
				if err != nil {
					b.Fatal(err)
				}
				m.Adapter.Reply(cb, ev, core.Outcome{Result: marketplace.Duplicate, Landing: "/landing/x"}, nil)
			}
		})
	}
	forged := fixture(b, "create-wrong-token")
	b.Run("forged", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ev, err := m.Adapter.Receive(b.Context(), forged)
			m.Adapter.Reply(forged, ev, core.Outcome{}, err)
		}
	})
}
