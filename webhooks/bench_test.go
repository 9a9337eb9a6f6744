package webhooks_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"cloudsettle/core"
	"cloudsettle/core/id"
	"cloudsettle/store/bolt"
	"cloudsettle/webhooks"
)

// BenchmarkCallback compares the whole way of a callback with a bare handler
// that makes one durable put, with 64 callers. Read the ratio, not the numbers.
func BenchmarkCallback(b *testing.B) {
	body := strings.Repeat("x", 2<<10)
	b.Run("Bare", func(b *testing.B) {
		store := openStore(b)
		e, newID := echo.New(), id.NewGenerator(time.Now).New
		e.POST("/webhooks/:listing", func(c echo.Context) error {
			raw, err := io.ReadAll(c.Request().Body)
			if err != nil {
				return err
			}
			err = store.Update(c.Request().Context(), func(ctx context.Context, tx core.Tx) error {
				return tx.PutSetting(ctx, newID("put"), string(raw))
			})
			if err != nil {
				return err
			}
			return c.String(http.StatusOK, "ok")
		})
		drive(b, e, func(int64) string { return body })
	})
	b.Run("Full", func(b *testing.B) {
		svc := core.NewService(core.Config{
			Store:        openStore(b),
			Marketplaces: []core.Marketplace{{Listing: core.Listing{ID: "shop", Provider: "plain"}, Adapter: plain{}}},
			Now:          time.Now, NewID: id.NewGenerator(time.Now).New, LinkKey: make([]byte, 32),
			Log: slog.New(slog.NewJSONHandler(io.Discard, nil)),
		})
		e := echo.New()
		webhooks.Register(e, svc, webhooks.Options{})
		drive(b, e, func(n int64) string {
			s := strconv.FormatInt(n+1e8, 10) // nine digits: another subscription each time
			return s + body[len(s):]
		})
	})
}

func openStore(b *testing.B) core.Store {
	b.Helper()
	store, err := bolt.Open(filepath.Join(b.TempDir(), "db"), bolt.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close() })
	return store
}

func drive(b *testing.B, h http.Handler, body func(int64) string) {
	b.Helper()
	var n atomic.Int64
	b.SetParallelism(32) // 64 callers on two cores
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest("POST", "/webhooks/shop", strings.NewReader(body(n.Add(1)))))
			if rec.Code/100 != 2 {
				b.Errorf("POST = %d %s", rec.Code, rec.Body)
				return
			}
		}
	})
}
