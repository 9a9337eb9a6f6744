package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
	"cloudsettle/store/postgres"
	"cloudsettle/store/postgres/pgtest"
)

// counter is a row that workers add to, and what they believe it holds.
type counter struct {
	id    marketplace.SubscriptionID
	acked int64 // additions that Update said were done
	lost  int64 // additions of which nobody knows
}

// add adds one. The addition names itself by a claim, as every caller that may
// repeat does, so that a repeat after a lost answer does nothing.
func (c *counter) add(ctx context.Context, s core.Store, n int64) error {
	return s.Update(ctx, func(ctx context.Context, tx core.Tx) error {
		_, fresh, err := tx.Claim(ctx, "additions", fmt.Sprintf("%s/%09d", c.id, n), core.Claim{})
		if err != nil || !fresh {
			return err
		}
		sub, err := tx.Subscription(ctx, c.id)
		if errors.Is(err, core.ErrNotFound) {
			sub = marketplace.Subscription{ID: c.id, Listing: "main", Subject: string(c.id), Account: "ca_1"}
		} else if err != nil {
			return err
		}
		sub.Quantity++
		return tx.PutSubscription(ctx, sub)
	})
}

// stored returns what the row holds and how many additions are claimed.
func (c *counter) stored(t *testing.T, s core.Store, upTo int64) (quantity, claimed int64) {
	t.Helper()
	err := s.Update(t.Context(), func(ctx context.Context, tx core.Tx) error {
		sub, err := tx.Subscription(ctx, c.id)
		quantity, claimed = sub.Quantity, 0
		for n := range upTo {
			_, fresh, errClaim := tx.Claim(ctx, "additions", fmt.Sprintf("%s/%09d", c.id, n), core.Claim{})
			if err = errors.Join(err, errClaim); err != nil {
				return err
			}
			if !fresh {
				claimed++
			}
		}
		return errLook
	})
	if !errors.Is(err, errLook) {
		t.Fatalf("look at %s: %v", c.id, err)
	}
	return quantity, claimed
}

// errLook rolls back a transaction that only looks.
var errLook = errors.New("only looking")

// TestCrashes stops the server at once, again and again, under load. Nothing
// that was acknowledged is lost, nothing is done twice, and no call is left
// without an answer.
func TestCrashes(t *testing.T) {
	rounds := 30
	if testing.Short() || raceEnabled {
		rounds = 5
	}
	server := pgtest.Start(t)
	t.Cleanup(server.Remove)
	s := open(t, server.Database(t))
	stopped, stop := context.WithCancel(t.Context())
	const workers = 8
	var wg sync.WaitGroup
	counters, ends := make([]counter, workers), make([]int64, workers)
	var done atomic.Int64
	for i := range workers {
		c := &counters[i]
		c.id = marketplace.SubscriptionID(fmt.Sprintf("sub_%d", i))
		wg.Go(func() {
			for n := int64(0); stopped.Err() == nil; n++ {
				ends[i] = n + 1
				switch err := c.add(context.Background(), s, n); {
				case err == nil:
					c.acked++
					done.Add(1)
				case errors.Is(err, core.ErrUnavailable):
					c.lost++
				default:
					t.Errorf("add() = %v, want nil or ErrUnavailable", err)
					return
				}
			}
		})
	}
	for range rounds {
		for before := done.Load(); done.Load() < before+workers*2; { // so that each crash meets work
			time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
		}
		server.Crash()
		if err := server.Run(); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	wg.Wait()
	var acked, lost int64
	for i := range counters {
		c := &counters[i]
		quantity, claimed := c.stored(t, s, ends[i])
		if quantity != claimed || quantity < c.acked || quantity > c.acked+c.lost {
			t.Errorf("%s holds %d of %d claimed, %d acknowledged, %d unknown", c.id, quantity, claimed, c.acked, c.lost)
		}
		acked, lost = acked+c.acked, lost+c.lost
	}
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("Check() = %v", err)
	}
	t.Logf("%d crashes: %d acknowledged, %d unavailable", rounds, acked, lost)
}

// TestBadNetwork puts a network between the store and the server that is slow
// and breaks connections, also between a commit and its answer. The engine's
// answers to commits are then lost, and every one of them must be found out:
// callers see no more than what one that adds without claims could live with.
func TestBadNetwork(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	server := pgtest.Shared(t)
	n := &badNetwork{}
	p := newProxy(t, server.Addr(), n.carry)
	s, err := postgres.Open(t.Context(), server.At(p.addr(), url)+pool)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	n.breakOne.Store(20) // of 20 messages
	const workers, rounds = 8, 60
	var wg sync.WaitGroup
	var acked atomic.Int64
	for w := range workers {
		wg.Go(func() {
			for range rounds {
				err := s.Update(t.Context(), func(ctx context.Context, tx core.Tx) error {
					sub, err := tx.Subscription(ctx, marketplace.SubscriptionID(fmt.Sprintf("sub_%d", w%4)))
					if errors.Is(err, core.ErrNotFound) {
						sub = marketplace.Subscription{ID: marketplace.SubscriptionID(fmt.Sprintf("sub_%d", w%4)), Listing: "main", Account: "ca_1"}
					} else if err != nil {
						return err
					}
					sub.Quantity++
					return tx.PutSubscription(ctx, sub)
				})
				if err != nil {
					t.Errorf("Update() = %v, want every commit resolved", err)
					return
				}
				acked.Add(1)
			}
		})
	}
	wg.Wait()
	n.breakOne.Store(0)
	total := int64(0)
	err = s.View(t.Context(), func(ctx context.Context, tx core.ReadTx) error {
		for sub, err := range tx.Subscriptions(ctx, "", core.Page{}) {
			if err != nil {
				return err
			}
			total += sub.Quantity
		}
		return nil
	})
	if err != nil || total != acked.Load() || n.broken.Load() == 0 {
		t.Errorf("stored %d of %d acknowledged, %v, %d connections broken", total, acked.Load(), err, n.broken.Load())
	}
	t.Logf("%d acknowledged over %d broken connections", acked.Load(), n.broken.Load())
}

// badNetwork carries bytes slowly and breaks connections.
type badNetwork struct {
	// breakOne is of how many messages one breaks its connection; 0 is none.
	breakOne atomic.Int64
	broken   atomic.Int64
}

// carry passes on what arrives until one side ends or the connection breaks.
// What arrived is passed on before it breaks, or is not: an answer is lost in
// the second case only, a request in either.
func (n *badNetwork) carry(from, to net.Conn, _ bool) {
	buf := make([]byte, 64<<10)
	for {
		size, err := from.Read(buf)
		if err != nil {
			return
		}
		time.Sleep(time.Duration(rand.IntN(1000)) * time.Microsecond)
		one := n.breakOne.Load()
		breaks := one > 0 && rand.Int64N(one) == 0
		if breaks && rand.IntN(2) == 0 {
			size = rand.IntN(size)
		}
		if _, err := to.Write(buf[:size]); err != nil || breaks {
			if breaks {
				n.broken.Add(1)
			}
			return
		}
	}
}

// proxy is a network between clients and a server.
type proxy struct {
	listener net.Listener
	to       string
	// carry carries what one side sends until the connection, both ways, is to
	// be closed.
	carry func(from, to net.Conn, fromClient bool)
	wg    sync.WaitGroup
}

func newProxy(t *testing.T, to string, carry func(from, to net.Conn, fromClient bool)) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, to: to, carry: carry}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.to)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.wg.Go(func() { p.link(client, server, true) })
		p.wg.Go(func() { p.link(server, client, false) })
	}
}

func (p *proxy) link(from, to net.Conn, fromClient bool) {
	defer from.Close()
	defer to.Close()
	p.carry(from, to, fromClient)
}
