package huawei

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

// mockOrder is the recorded answer of Query order to a mock order (2024-11),
// with documentation ids.
const mockOrder = `{"resultCode":"MKT.0000","resultMsg":"Success","orderInfo":{"orderId":"CS1","orderType":"NEW",` +
	`"createTime":"20241121090846","orderLine":[{"orderLineId":"CS1-000001","chargingMode":"PERIOD",` +
	`"periodType":"year","periodNumber":1,"expireTime":"20251121235959","productInfo":[{"productId":"OFFI1-p",` +
	`"skuCode":"sku-basic","linearValue":50,"productName":"MOCK测试商品"}],"extendParams":[{"name":"ip","value":"127.0.0.1"}],` +
	`"currency":"100","currencyAfterDiscount":"90"}],"buyerInfo":{"mobilePhone":"18688888888","email":null,` +
	`"customerId":"459bbbec25d24749b2eb83be37b602a8","customerName":"mock_user_01","userId":null,"userName":null},"extendParams":[]}}`

// complete completes ev against a Query order that answers with status and body.
func complete(
	t *testing.T, status int, body string, ev marketplace.Event, more map[string]any,
) (marketplace.Event, error) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != orderPath || r.URL.Query().Get("orderId") == "" {
			t.Errorf("asked for %s, want %s", r.URL, orderPath)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	defer srv.Close()
	cfg := map[string]any{"endpoint": srv.URL}
	for k, v := range more {
		cfg[k] = v
	}
	return open(t, cfg).Completer.Complete(t.Context(), ev)
}

func incomplete(k marketplace.Kind) marketplace.Event {
	ev := marketplace.Event{
		Kind: k, Incomplete: true, Attributes: map[string]string{"orderId": "CS1", "orderLineId": "CS1-000001"},
	}
	if k == marketplace.Activated {
		ev.Also, ev.Proposed = []string{"order:CS1/CS1-000001"}, "b-1"
		return ev
	}
	ev.Subject, ev.Key = "i-1", "CS1"
	return ev
}

func TestCompletePurchase(t *testing.T) {
	t.Parallel()
	ev := incomplete(marketplace.Activated)
	got, err := complete(t, http.StatusOK, mockOrder, ev, nil)
	want := incomplete(marketplace.Activated)
	want.Incomplete = false
	want.Account, want.AccountName = "459bbbec25d24749b2eb83be37b602a8", "mock_user_01"
	want.SKU, want.Quantity, want.Trial = "sku-basic", 50, new(false)
	want.ExpiresAt = time.Date(2025, 11, 21, 23, 59, 59, 0, time.UTC)
	want.Attributes = map[string]string{
		"orderId": "CS1", "orderLineId": "CS1-000001", "orderType": "NEW", "chargingMode": "PERIOD",
		"productId": "OFFI1-p", "productName": "MOCK测试商品", "periodType": "year", "periodNumber": "1",
		"orderAmount": "90", "mobilePhone": "18688888888", "extendParams": `[{"name":"ip","value":"127.0.0.1"}]`,
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("Complete() = %v, differs (-want +got):\n%s", err, diff)
	}
	if diff := cmp.Diff(incomplete(marketplace.Activated), ev); diff != "" {
		t.Errorf("Complete changed its argument (-before +after):\n%s", diff)
	}
	again, err := open(t, nil).Completer.Complete(t.Context(), got)
	if diff := cmp.Diff(got, again); diff != "" || err != nil {
		t.Errorf("Complete(complete) = %v, differs (-want +got):\n%s", err, diff)
	}
}

func TestCompletePayPerUseIsNamedByItsProduct(t *testing.T) {
	t.Parallel()
	body := strings.NewReplacer(`"PERIOD"`, `"ON_DEMAND"`, `"20251121235959"`, "null", `"NEW"`, `"TRIAL"`).Replace(mockOrder)
	got, err := complete(t, http.StatusOK, body, incomplete(marketplace.Activated), nil)
	want := []string{"order:CS1/CS1-000001", "product:CS1/OFFI1-p"}
	if diff := cmp.Diff(want, got.Also); diff != "" || err != nil {
		t.Errorf("Complete().Also = %v, differs (-want +got):\n%s", err, diff)
	}
	if !got.ExpiresAt.IsZero() || got.Trial == nil || !*got.Trial {
		t.Errorf("Complete() = %+v, want a trial without a term", got)
	}
}

func TestCompleteChange(t *testing.T) {
	t.Parallel()
	got, err := complete(t, http.StatusOK, mockOrder, incomplete(marketplace.Changed), nil)
	if err != nil || got.Rank != "20241121090846/CS1" || got.SKU != "sku-basic" || got.Quantity != 50 {
		t.Errorf("Complete(upgrade) = %+v, %v, want plan and rank of the order", got, err)
	}
	renewal := incomplete(marketplace.Retermed)
	renewal.ExpiresAt = at
	got, err = complete(t, http.StatusOK, mockOrder, renewal, nil)
	if err != nil || got.Rank != "20241121090846/CS1" || !got.ExpiresAt.Equal(at) {
		t.Errorf("Complete(renewal) = %+v, %v, want the term of the callback", got, err)
	}
	renewal.Attributes["scene"] = "UNSUBSCRIBE_RENEWAL_PERIOD"
	got, err = complete(t, http.StatusOK, mockOrder, renewal, nil)
	if err != nil || got.Rank == "" || got.SKU != "" || got.Quantity != 0 {
		t.Errorf("Complete(refunded renewal) = %+v, %v, want no plan", got, err)
	}
}

func TestCompleteFails(t *testing.T) {
	t.Parallel()
	without := func(old, replacement string) string { return strings.ReplaceAll(mockOrder, old, replacement) }
	tests := []struct {
		name   string
		status int
		body   string
		config map[string]any
		want   error
	}{
		{"OldFamily", 200, without("MKT.0000", "CBC. 0000"), nil, nil},
		{"InternalError", 500, `{"resultCode":"MKT.0999"}`, nil, core.ErrUnavailable},
		{"InvalidOrder", 500, `{"resultCode":"MKT.0100"}`, nil, core.ErrInvalid},
		{"InvalidOrderOldName", 400, `{"error_code":"CBC.0101","error_msg":"x"}`, nil, core.ErrInvalid},
		{"NotFound", 404, `{"resultCode":"MKT.0199"}`, nil, core.ErrInvalid},
		{"NotFoundPlain", 404, `not found`, nil, core.ErrInvalid},
		{"GatewayKnowsNoSuchAPI", 404, `{"error_code":"APIG.0101","error_msg":"x"}`, nil, core.ErrUnavailable},
		{"WrongAccessKey", 401, `{"error_code":"APIGW.0301"}`, nil, core.ErrUnavailable},
		{"TooOften", 406, `{"resultCode":"MKT.0250"}`, nil, core.ErrUnavailable},
		{"NotJSON", 200, `<html>`, nil, core.ErrUnavailable},
		{"TooLarge", 200, `{"resultMsg":"` + strings.Repeat("x", maxBody) + `"}`, nil, core.ErrUnavailable},
		{"SuccessWithErrorStatus", 500, mockOrder, nil, core.ErrUnavailable},
		{"Nothing", 200, `{"resultCode":"MKT.0000","orderInfo":null}`, nil, core.ErrInvalid},
		{"AnotherOrder", 200, without(`"orderId":"CS1"`, `"orderId":"CS2"`), nil, core.ErrUnavailable},
		{"AnotherLine", 200, without("CS1-000001", "CS1-000002"), nil, core.ErrInvalid},
		{"NoBuyer", 200, without(`"customerId":"459bbbec25d24749b2eb83be37b602a8"`, `"customerId":null`), nil, core.ErrUnavailable},
		{"BadQuantity", 200, without(`:50,`, `:"lots",`), nil, core.ErrInvalid},
		{"BadTerm", 200, without(`20251121235959`, `soon`), nil, core.ErrInvalid},
		{"ProductOfTheListing", 200, mockOrder, map[string]any{"product_ids": []string{"OFFI1-p"}}, nil},
		{"ProductOfAnother", 200, mockOrder, map[string]any{"product_ids": []string{"OFFI2"}}, core.ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			ev, err := complete(t, tt.status, tt.body, incomplete(marketplace.Activated), tt.config)
			if !errors.Is(err, tt.want) {
				t.Errorf("Complete(%s) = %v, want %v", tt.name, err, tt.want)
			}
			if tt.want != nil && !ev.Incomplete {
				t.Errorf("Complete(%s) = %+v, want it incomplete still", tt.name, ev)
			}
		})
	}
	_, err := complete(t, 200, without("20241121090846", ""), incomplete(marketplace.Changed), nil)
	if !errors.Is(err, core.ErrUnavailable) {
		t.Errorf("Complete(order without creation time) = %v, want %v", err, core.ErrUnavailable)
	}
}

// TestQueryEndsWithItsContext: the SDK knows no contexts.
func TestQueryEndsWithItsContext(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer srv.Close()
	m := open(t, map[string]any{"endpoint": srv.URL})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := m.Completer.Complete(ctx, incomplete(marketplace.Activated))
	if !errors.Is(err, core.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Complete(slow) = %v, want %v for the deadline", err, core.ErrUnavailable)
	}
}

func TestQueryFallsBack(t *testing.T) {
	t.Parallel()
	asked := ""
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.RawQuery + " " + r.Header.Get("X-Sdk-Date") + " " + r.Header.Get("User-Agent")
		_, _ = w.Write([]byte(mockOrder))
	}))
	defer srv.Close()
	closed := httptest.NewServer(nil)
	closed.Close()
	a := open(t, nil).Adapter.(*Adapter)
	a.orders.endpoints = []string{closed.URL, srv.URL}
	if _, err := a.Complete(t.Context(), incomplete(marketplace.Activated)); err != nil {
		t.Errorf("Complete() with the first address down = %v, want nil", err)
	}
	const want = "orderId=CS1&orderLineId=CS1-000001 20261121T090000Z huaweicloud-usdk-go/3.0; cloudsettle"
	if asked != want {
		t.Errorf("asked %q, want %q", asked, want)
	}
	a.orders.endpoints = []string{closed.URL, closed.URL}
	if _, err := a.Complete(t.Context(), incomplete(marketplace.Activated)); !errors.Is(err, core.ErrUnavailable) {
		t.Errorf("Complete() with both down = %v, want %v", err, core.ErrUnavailable)
	}
}

func FuzzParseOrder(f *testing.F) {
	f.Add(200, mockOrder)
	f.Add(500, `{"error_code":"CBC. 0250"}`)
	a := fuzzed(f)
	f.Fuzz(func(t *testing.T, status int, body string) {
		o, err := parseOrder("CS1", status, body)
		if err != nil {
			return
		}
		l, err := o.line("")
		if err != nil {
			return
		}
		ev := incomplete(marketplace.Activated)
		if err := a.completePurchase(&ev, o, l); err == nil && ev.Account == "" {
			t.Errorf("a purchase without a buyer: %+v", ev)
		}
	})
}
