package huaweisim

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"cloudsettle/adapters/internal/sim"
	"cloudsettle/core"
	"cloudsettle/core/id"
	"cloudsettle/core/marketplace"
	"cloudsettle/store/bolt"
)

// TestLifecycleInCore is TestLifecycle with the real core on a real store.
func TestLifecycleInCore(t *testing.T) {
	t.Parallel()
	store, err := bolt.Open(filepath.Join(t.TempDir(), "db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	r := start(t, 9, sim.Hostile)
	svc := core.NewService(core.Config{
		Store: store, Marketplaces: []core.Marketplace{r.market}, Now: time.Now,
		NewID: id.NewGenerator(time.Now).New, Log: slog.New(slog.DiscardHandler),
		LinkKey: make([]byte, 32), Brand: "Example",
	})
	r.handler = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		reply, _ := svc.Callback(q.Context(), r.market, core.Callback{
			Listing: "hw-cn", Method: q.Method, RawQuery: q.URL.RawQuery, Header: q.Header, Body: body,
			ReceivedAt: time.Now(), RequestID: "req_test",
		})
		for k, v := range reply.Header {
			w.Header()[k] = v
		}
		w.WriteHeader(reply.Status)
		_, _ = w.Write(reply.Body)
	})
	r.live(t, rand.New(rand.NewPCG(9, 7)))
	r.compare(t, stored(t, store), 16)
}

// stored returns the subscriptions of a store, by instance.
func stored(t *testing.T, s core.Store) map[string]marketplace.Subscription {
	t.Helper()
	out := map[string]marketplace.Subscription{}
	err := s.View(t.Context(), func(ctx context.Context, tx core.ReadTx) error {
		for sub, err := range tx.Subscriptions(ctx, "hw-cn", core.Page{Limit: 1000}) {
			if err != nil {
				return err
			}
			out[sub.Subject] = sub
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
