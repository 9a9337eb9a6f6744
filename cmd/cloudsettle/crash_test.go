package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
	"cloudsettle/store"
	"cloudsettle/store/fresh"
)

// How the crash test runs.
const (
	crashes      = 200
	crashesAgain = 40 // on a store that does not end with the server
	crashesShort = 20
	crashWorkers = 9
	maxAlive     = 150 * time.Millisecond // of serving before each kill
	recheck      = 20                     // acknowledged callbacks sent again after each restart
)

// sent is one logical callback with its first acknowledged answer.
type sent struct {
	listing, event string
	params         map[string]string
	subject        string
	answer         string
}

// TestKilledServerLosesNothing kills the server again and again while the
// three marketplaces send. Whatever was acknowledged is there after a restart,
// was applied once, and gets the same answer again.
func TestKilledServerLosesNothing(t *testing.T) {
	n := crashes
	if !fresh.InFile(t) {
		n = crashesAgain
	}
	if testing.Short() {
		n = crashesShort
	}
	r := newRig(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	var acked []sent
	var next atomic.Int64
	for range n {
		r.start()
		for _, s := range sample(rnd, acked, recheck) {
			if a := r.trigger(s.listing, s.event, s.params); a.Body != s.answer {
				t.Errorf("%s %s %v: answered %s, before the kill %s", s.listing, s.event, s.params, a.Body, s.answer)
			}
		}
		acked = append(acked, r.sendUntilKilled(&next, time.Duration(rnd.Int64N(int64(maxAlive))))...)
	}
	r.start()
	for _, s := range acked {
		if a := r.trigger(s.listing, s.event, s.params); a.Body != s.answer {
			t.Errorf("%s %s %v: answered %s, first %s", s.listing, s.event, s.params, a.Body, s.answer)
		}
	}
	r.kill()
	t.Logf("%d kills, %d callbacks sent, %d acknowledged", n, next.Load(), len(acked))
	if len(acked) < n {
		t.Errorf("only %d callbacks were acknowledged in %d runs: the test does not test", len(acked), n)
	}
	r.checkOnce(acked)
}

func sample(rnd *rand.Rand, all []sent, n int) []sent {
	var out []sent
	for range min(n, len(all)) {
		out = append(out, all[rnd.IntN(len(all))])
	}
	return out
}

// sendUntilKilled sends callbacks from several workers, kills the server after
// d, and returns what was acknowledged.
func (r *rig) sendUntilKilled(next *atomic.Int64, d time.Duration) []sent {
	var mu sync.Mutex
	var acked []sent
	var wg sync.WaitGroup
	for range crashWorkers {
		wg.Go(func() {
			for {
				s := callback(next.Add(1))
				a := r.trigger(s.listing, s.event, s.params)
				if a.Error != "" {
					return // killed
				}
				if a.Accepted {
					s.answer = a.Body
					mu.Lock()
					acked = append(acked, s)
					mu.Unlock()
				}
			}
		})
	}
	time.Sleep(d) // the moment of the kill is what is random
	r.kill()
	wg.Wait()
	return acked
}

// callback returns the n-th callback: purchases on all marketplaces, and
// renewals that may come before the purchase is known.
func callback(n int64) sent {
	switch n % 4 {
	case 0:
		id := fmt.Sprintf("l-%032x", n)
		return sent{listing: "aws-main", event: "subscribe", subject: id, params: map[string]string{
			"license": id, "agreement": fmt.Sprintf("agmt-%d", n), "account": fmt.Sprintf("%012d", n),
			"time": "2026-11-21T00:00:00Z",
		}}
	case 1:
		id := fmt.Sprintf("b-%d", n)
		return sent{listing: "hw-cn", event: "newInstance", subject: id, params: map[string]string{
			"version": "1", "orderId": fmt.Sprintf("CS%d", n), "businessId": id, "customerId": fmt.Sprint(n),
		}}
	case 2:
		id := fmt.Sprint(100000000 + n)
		return sent{listing: "ali-cn", event: "createInstance", subject: id, params: map[string]string{
			"orderBizId": id, "orderId": fmt.Sprint(200000000 + n), "aliUid": fmt.Sprint(300000000 + n),
		}}
	default:
		id := fmt.Sprint(100000000 + n - 1)
		return sent{listing: "ali-cn", event: "expiredInstance", subject: id, params: map[string]string{"instanceId": id}}
	}
}

// checkOnce looks into the store of the stopped server: every acknowledged
// callback is one fact of its subscription and took effect once.
func (r *rig) checkOnce(acked []sent) {
	r.t.Helper()
	st, err := store.Open(context.Background(), r.store)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	if err := st.Check(context.Background()); err != nil {
		r.t.Error(err)
	}
	err = st.View(context.Background(), func(ctx context.Context, tx core.ReadTx) error {
		for _, s := range acked {
			sub, err := tx.SubscriptionByName(ctx, marketplace.ListingID(s.listing), s.subject)
			if err != nil {
				r.t.Errorf("acknowledged %s %s is lost: %v", s.listing, s.subject, err)
			} else if len(sub.Facts) == 0 {
				r.t.Errorf("acknowledged %s %s left no fact", s.listing, s.subject)
			}
		}
		return countEffects(ctx, tx, r)
	})
	if err != nil {
		r.t.Error(err)
	}
}

// countEffects fails if one fact was applied by two journal entries.
func countEffects(ctx context.Context, tx core.ReadTx, r *rig) error {
	type fact struct {
		sub       marketplace.SubscriptionID
		kind      marketplace.Kind
		key, rank string
	}
	seen := map[fact]marketplace.CallbackID{}
	page := core.Page{Limit: 1 << 30}
	for e, err := range tx.CallbackEntries(ctx, "", page) {
		if err != nil {
			return err
		}
		if e.Result != marketplace.Applied && e.Result != marketplace.Waiting {
			continue
		}
		f := fact{e.Subscription, e.Kind, e.Event.Key, e.Event.Rank}
		if other, twice := seen[f]; twice {
			r.t.Errorf("%+v was applied by %s and by %s", f, other, e.ID)
		}
		seen[f] = e.ID
	}
	return nil
}
