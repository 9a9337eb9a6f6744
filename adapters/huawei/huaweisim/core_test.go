package huaweisim

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloudsettle/adapters/internal/sim"
	"cloudsettle/core"
	"cloudsettle/core/id"
	"cloudsettle/core/marketplace"
	"cloudsettle/store/fresh"
	"cloudsettle/store/postgres/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// TestLifecycleInCore is TestLifecycle with the real core on a real store.
func TestLifecycleInCore(t *testing.T) {
	t.Parallel()
	r := start(t, 9, sim.Hostile)
	svc := inCore(t, r, time.Now)
	r.live(t, rand.New(rand.NewPCG(9, 7)))
	r.compare(t, stored(t, svc.Store), 16)
}

// TestPurchaseIsFinishedLater: while Query order fails, a purchase gets its
// identity and is being processed; repeats get the same one.
func TestPurchaseIsFinishedLater(t *testing.T) {
	t.Parallel()
	r := start(t, 1, sim.Faults{})
	var ahead atomic.Int64
	svc := inCore(t, r, func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })
	expect := func(event, want string, params map[string]string) {
		t.Helper()
		a, err := r.sim.Trigger(t.Context(), event, params)
		if err != nil || !strings.Contains(a.Body, want) {
			t.Errorf("%s %v = %s, %v, want %s", event, params, a.Body, err, want)
		}
		r.wait(t)
	}
	misbehave := func(how string) {
		if err := r.sim.Misbehave(map[string]string{"order_query": how}); err != nil {
			t.Fatal(err)
		}
	}
	misbehave(queryBroken)
	expect("newInstance", `"000004"`, map[string]string{"orderId": "CS1", "businessId": "i-1"})
	expect("newInstance", `"instanceId":"i-1"`, map[string]string{"orderId": "CS1", "businessId": "i-2"})
	expect("queryInstance", `"000004"`, map[string]string{"instanceId": "i-1"})
	misbehave(queryWell)
	ahead.Store(int64(time.Hour))
	if err := svc.RunTasks(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect("queryInstance", `"000000"`, map[string]string{"instanceId": "i-1"})
	expect("newInstance", `"instanceId":"i-1"`, map[string]string{"orderId": "CS1", "businessId": "i-3"})
	if s := stored(t, svc.Store)["i-1"]; s.Status != marketplace.StatusActive || s.SKU != someSKU {
		t.Errorf("instance i-1 is %+v, want it active", s)
	}
}

// inCore lets the simulator call the real core.
func inCore(t *testing.T, r *rig, now func() time.Time) *core.Service {
	t.Helper()
	svc := core.NewService(core.Config{
		Store: fresh.Open(t), Marketplaces: []core.Marketplace{r.market}, Now: now,
		NewID: id.NewGenerator(now).New, Log: slog.New(slog.DiscardHandler),
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
	return svc
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
