package postgres_test

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cloudsettle/core"
	"cloudsettle/core/id"
	"cloudsettle/core/marketplace"
	"cloudsettle/store/postgres"
	"cloudsettle/store/postgres/pgtest"
	"cloudsettle/store/storetest"
)

// benchConns is how many callbacks arrive at once, and as many connections.
const benchConns = 64

// warmUp makes all connections, and their statements known.
func warmUp(b *testing.B, fn func(context.Context, int64) error) {
	b.Helper()
	inParallel(b, 1<<40, 100*benchConns, fn)
}

// benchNow is when the benchmarks take place.
var benchNow = time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)

func benchClock() time.Time { return benchNow }

// BenchmarkCallback carries callbacks through the service: purchases of new
// buyers, and renewals of what was bought.
func BenchmarkCallback(b *testing.B) {
	b.Run("purchase", func(b *testing.B) {
		buy, _ := benchService(b)
		measure(b, buy)
	})
	b.Run("renewal", func(b *testing.B) {
		buy, renew := benchService(b)
		inParallel(b, 0, benchKnown, buy)
		measure(b, renew)
	})
}

func measure(b *testing.B, fn func(context.Context, int64) error) {
	b.Helper()
	warmUp(b, fn)
	storetest.Load(b, benchConns, fn)
}

// BenchmarkCallbackPairs carries purchases through the service, and in turns
// with them writes the same rows by hand: in two round trips, after looking for
// the two names that a purchase looks for, at an isolation that would let two of
// the same purchase collide. It reports the median share of its rate.
func BenchmarkCallbackPairs(b *testing.B) {
	const each = 5000
	buy, _ := benchService(b)
	byHand := benchByHand(b)
	warmUp(b, buy)
	warmUp(b, byHand)
	var shares, rates []float64
	for n := int64(0); b.Loop(); n += each {
		took := func(fn func(context.Context, int64) error) float64 {
			began := time.Now()
			inParallel(b, n, each, fn)
			return time.Since(began).Seconds()
		}
		ours, bare := 0.0, 0.0
		if len(shares)%2 == 0 { // what comes first may find the disk idle
			ours, bare = took(buy), took(byHand)
		} else {
			bare, ours = took(byHand), took(buy)
		}
		shares, rates = append(shares, bare/ours), append(rates, each/ours)
	}
	slices.Sort(shares)
	slices.Sort(rates)
	b.ReportMetric(shares[len(shares)/2], "share-of-bare")
	b.ReportMetric(rates[len(rates)/2], "tx/s")
	b.ReportMetric(shares[0], "least")
	b.ReportMetric(shares[len(shares)-1], "most")
}

// inParallel calls fn with n numbers from a first one on.
func inParallel(b *testing.B, from, n int64, fn func(context.Context, int64) error) {
	b.Helper()
	var wg sync.WaitGroup
	for worker := range int64(benchConns) {
		wg.Go(func() {
			for i := worker; i < n; i += benchConns {
				if err := fn(b.Context(), from+i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// benchKnown is how many subscriptions are renewed in turn.
const benchKnown = 2000

// benchName is a provider's name, in no order.
func benchName(what string, n int64) string {
	return fmt.Sprintf("%s-%016x", what, uint64(n)*0x9e3779b97f4a7c15)
}

func benchService(b *testing.B) (buy, renew func(context.Context, int64) error) {
	b.Helper()
	s, err := postgres.Open(b.Context(), pgtest.New(b)+fmt.Sprintf("&pool_max_conns=%d", benchConns))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	market := core.Marketplace{Listing: core.Listing{ID: "cloud-main", Provider: "cloud"}}
	svc := core.NewService(core.Config{
		Store: s, Marketplaces: []core.Marketplace{market}, Now: time.Now, NewID: id.NewGenerator(time.Now).New,
		Log: slog.New(slog.DiscardHandler), LinkKey: make([]byte, 32),
	})
	tell := func(ctx context.Context, ev marketplace.Event) error {
		ev.Listing, ev.Provider, ev.Action = market.Listing.ID, market.Listing.Provider, string(ev.Kind)
		cb := core.Callback{Listing: ev.Listing, Method: "POST", Body: []byte(`{"action":"test"}`), ReceivedAt: benchNow}
		_, err := svc.Handle(ctx, market, cb, ev)
		return err
	}
	buy = func(ctx context.Context, n int64) error {
		return tell(ctx, marketplace.Event{
			Kind: marketplace.Activated, Subject: benchName("sub", n), Account: benchName("buyer", n), SKU: "basic",
		})
	}
	renew = func(ctx context.Context, n int64) error {
		return tell(ctx, marketplace.Event{
			Kind: marketplace.Renewed, Subject: benchName("sub", n%benchKnown), Key: fmt.Sprint(n / benchKnown % 4),
			Rank: fmt.Sprintf("%012d", n), ExpiresAt: benchNow.Add(time.Duration(n) * time.Second),
		})
	}
	return buy, renew
}

// benchByHand writes what a purchase writes.
func benchByHand(b *testing.B) func(context.Context, int64) error {
	b.Helper()
	url := pgtest.New(b) + fmt.Sprintf("&pool_max_conns=%d", benchConns)
	s, err := postgres.Open(b.Context(), url) // makes the tables
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	pool, err := pgxpool.New(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	newID := id.NewGenerator(time.Now).New
	return func(ctx context.Context, n int64) error {
		sub, acc, cb := newID("sub"), newID("ca"), newID("cb")
		var commit [16]byte
		binary.BigEndian.PutUint64(commit[:], uint64(time.Now().UnixMilli())<<16|uint64(n)&0xffff)
		_, _ = rand.Read(commit[8:])
		conn, err := pool.Acquire(ctx)
		if err != nil {
			return err
		}
		defer conn.Release()
		batch := &pgx.Batch{}
		batch.Queue("begin isolation level read committed")
		const byName = "select s.* from names n join subscriptions s on s.id = n.target where n.scope = 'subscription/cloud-main' and n.name = $1"
		const byNumber = "select a.* from names n join cloud_accounts a on a.id = n.target where n.scope = 'cloud_account/cloud-main' and n.name = $1"
		batch.Queue(byName, benchName("sub", n))
		batch.Queue(byNumber, benchName("buyer", n))
		if err := conn.SendBatch(ctx, batch).Close(); err != nil {
			return err
		}
		batch = &pgx.Batch{}
		batch.Queue(`insert into subscriptions (id, rev, listing, provider, subject, also, account, previous, next, status, sku,
			quantity, trial, replaced, expires_at, created_at, last_event_at, facts)
			values ($1, 1, 'cloud-main', 'cloud', $2, '{}', $3, '', '', 'active', 'basic', 0, false, false, null, $4, $4, $5)`,
			sub, benchName("sub", n), acc, benchNow, []byte(`[{"kind":"activated","seen_at":"2026-11-21T08:00:00Z","callback":"`+cb+`"}]`))
		batch.Queue("insert into names (scope, name, target) values ('subscription/cloud-main', $1, $2)", benchName("sub", n), sub)
		batch.Queue("insert into names (scope, name, target) values ('cloud_account/cloud-main', $1, $2)", benchName("buyer", n), acc)
		batch.Queue(`insert into cloud_accounts (id, rev, listing, provider, provider_id, name, billing_account, subscriptions, created_at)
			values ($1, 1, 'cloud-main', 'cloud', $2, '', '', array[$3], $4)`, acc, benchName("buyer", n), sub, benchNow)
		batch.Queue(`insert into callbacks (id, listing, kind, action, delivery, verified, result, reason, effects, subscription,
			attempts, received_at, method, endpoint, raw_query, body, event)
			values ($1, 'cloud-main', 'activated', 'activated', '', true, 'applied', '', array['cloud account', 'subscription'], $2, 1, $3,
			'POST', '', '', $4, $5)`, cb, sub, benchNow, []byte(`{"action":"test"}`),
			[]byte(`{"kind": "activated", "action": "activated", "subject": "`+benchName("sub", n)+`", "account": "`+benchName("buyer", n)+`"}`))
		batch.Queue("insert into commits (id, committed) values ($1, true)", commit[:])
		batch.Queue("commit")
		return conn.SendBatch(ctx, batch).Close()
	}
}
