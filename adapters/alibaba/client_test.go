package alibaba

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"cloudsettle/core"
)

// apiClient returns a client whose API is h.
func apiClient(t *testing.T, h http.HandlerFunc) *client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return newClient(Config{AccessKeyID: "test-ak", AccessKeySecret: "test-sk"},
		endpoint{"http", strings.TrimPrefix(s.URL, "http://"), "cn-hangzhou"})
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// What the SDK makes of bad answers (a panic, success, an error with the key
// in it) becomes an error that says nothing secret and may be tried again.
func TestClientSurvivesBadAnswers(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]http.HandlerFunc{
		"NumericCode":   answer(500, `{"Code":500,"Message":"x"}`),
		"ObjectCode":    answer(500, `{"Code":{}}`),
		"HTML":          answer(502, `<html>Bad Gateway</html>`),
		"Empty":         answer(500, ``),
		"NotJSON":       answer(200, `<html>Login</html>`),
		"SuccessFalse":  answer(200, `{"Success":false,"Code":"Busy"}`),
		"SuccessText":   answer(200, `{"Success":"false","Code":"Busy"}`),
		"WrongType":     answer(200, `{"TotalCount":"many"}`),
		"TooLong":       answer(200, `{"NotificationList":["`+strings.Repeat("x", maxAnswer)+`"]}`),
		"Signature":     answer(400, `{"Code":"SignatureDoesNotMatch","Message":"server string to sign is:POST&%2F&test-ak"}`),
		"BrokenAnswer":  func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"RedirectLoops": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.String(), http.StatusFound) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got failedNotifications
			err := apiClient(t, h).call(t.Context(), "DescribeFailedNotifications", nil, &got)
			if !errors.Is(err, core.ErrUnavailable) || !strings.HasPrefix(err.Error(), "alibaba: DescribeFailedNotifications: ") {
				t.Errorf("call() = %v, want ErrUnavailable of the adapter's", err)
			}
			for _, secret := range []string{"test-ak", "test-sk", "AccessKeyId", "Signature="} {
				if err != nil && strings.Contains(err.Error(), secret) {
					t.Errorf("call() = %v shows %s", err, secret)
				}
			}
		})
	}
}

func TestClientEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	c := apiClient(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	var got failedNotifications
	if err := c.call(ctx, "DescribeFailedNotifications", nil, &got); !errors.Is(err, context.Canceled) {
		t.Errorf("call() = %v, want canceled", err)
	}
}

// One SDK client is not safe for concurrent use; ours is.
func TestClientIsConcurrent(t *testing.T) {
	t.Parallel()
	c := apiClient(t, func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"Success": true, "TotalCount": len(r.URL.Query().Get("N"))})
	})
	var wg sync.WaitGroup
	for n := range 20 {
		wg.Go(func() {
			var got failedNotifications
			err := c.call(t.Context(), "X", map[string]string{"N": strings.Repeat("n", n)}, &got)
			if err != nil || got.TotalCount != n {
				t.Errorf("call(%d) = %d, %v", n, got.TotalCount, err)
			}
		})
	}
	wg.Wait()
}

// api serves parked messages and remembers which were confirmed.
type api struct {
	mu        sync.Mutex
	list      []notification
	confirmed []string
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.URL.Query().Get("Action") == "ConfirmNotification" {
		a.confirmed = append(a.confirmed, r.URL.Query().Get("NotificationRequestId"))
		_, _ = w.Write([]byte(`{"Success":true}`))
		return
	}
	_ = json.NewEncoder(w).Encode(failedNotifications{len(a.list), a.list})
}

// A message is confirmed after it was handled, and only then; one that cannot
// be read or handled does not hold up the others.
func TestFeedConfirmsWhatWasHandled(t *testing.T) {
	t.Parallel()
	message := `{"action":"orderPay","orderBizId":"7","orderId":"8","aliUid":"9","productCode":"cmgj00012345","skuId":"s"}`
	h := &api{list: []notification{
		{"bad", "orderPay", `not json`},
		{"nested", "orderPay", `{"a":{}}`},
		{"refused", "orderPay", message},
		{"good", "orderPay", message},
		{"forged", "orderPay", `{"token":"x","requestId":"other","orderId":"8"}`},
		{"future", "orderPaint", message},
	}}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	var log bytes.Buffer
	m := mustOpen(t, func(c map[string]any, s *core.Settings) {
		c["access_key_id"], c["access_key_secret"], c["endpoint"] = "test-ak", "test-sk", server.URL
		s.Log = slog.New(slog.NewTextHandler(&log, nil))
	})
	var handled []string
	err := m.Feed.(*feed).poll(t.Context(), func(ctx context.Context, cb core.Callback) error {
		ev, err := m.Adapter.Receive(ctx, cb)
		if err == nil && ev.Delivery == "orderPay/refused" {
			return core.ErrUnavailable
		}
		if err == nil {
			handled = append(handled, ev.Delivery)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(handled, " "), "orderPay/good orderPay/forged"; got != want {
		t.Errorf("handled %q, want %q", got, want)
	}
	if got, want := strings.Join(h.confirmed, " "), "good forged"; got != want {
		t.Errorf("confirmed %q, want %q", got, want)
	}
	for _, secret := range []string{"test-ak", "test-sk", testKey, "orderBizId"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log shows %s: %s", secret, log.String())
		}
	}
}

// Run goes on after a failed poll and ends with its context.
func TestFeedGoesOn(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	polls := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if polls++; polls == 3 {
			cancel()
		}
		w.WriteHeader(http.StatusBadGateway)
	}))
	t.Cleanup(server.Close)
	m := mustOpen(t, func(c map[string]any, _ *core.Settings) {
		c["access_key_id"], c["access_key_secret"], c["endpoint"] = "ak", "sk", server.URL
	})
	f := m.Feed.(*feed)
	f.interval = time.Millisecond
	if err := f.Run(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Run() = %v, want canceled", err)
	}
}
