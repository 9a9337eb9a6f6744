package bolt_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/govalues/decimal"
	"go.etcd.io/bbolt"

	"cloudsettle/core"
	"cloudsettle/core/usage"
	"cloudsettle/store/storetest"
)

func BenchmarkUpdate(b *testing.B) {
	storetest.BenchmarkUpdate(b, func(t testing.TB) core.Store { return open(t, place(t)) })
}

// BenchmarkControl is what the disk and bbolt give without a store: one put
// under an ascending key a call, all calls that wait share a commit.
func BenchmarkControl(b *testing.B) {
	for _, goroutines := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("goroutines=%d", goroutines), func(b *testing.B) {
			c := newControl(b)
			value := make([]byte, 200) // a callback's body
			storetest.Load(b, goroutines, func(_ context.Context, n int64) error {
				return c.put(binary.BigEndian.AppendUint64(nil, uint64(n)), value)
			})
		})
	}
}

// control is the least that a queue-grouped writer can be.
type control struct {
	puts chan controlPut
	db   *bbolt.DB
}

type controlPut struct {
	key, value []byte
	done       chan error
}

func newControl(b *testing.B) *control {
	b.Helper()
	db, err := bbolt.Open(b.TempDir()+"/db", 0o600, &bbolt.Options{
		NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, InitialMmapSize: 1 << 30, NoStatistics: true,
	})
	if err != nil {
		b.Fatal(err)
	}
	c := &control{puts: make(chan controlPut, 4096), db: db}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for first := range c.puts {
			c.commit(first)
		}
	}()
	b.Cleanup(func() {
		close(c.puts)
		<-ended
		_ = db.Close()
	})
	return c
}

func (c *control) put(key, value []byte) error {
	p := controlPut{key, value, make(chan error, 1)}
	c.puts <- p
	return <-p.done
}

// commit commits first and whatever waits behind it.
func (c *control) commit(first controlPut) {
	group := []controlPut{first}
	for len(group) < 256 && len(c.puts) > 0 {
		group = append(group, <-c.puts)
	}
	err := c.db.Update(func(tx *bbolt.Tx) error {
		bucket, err := tx.CreateBucketIfNotExists([]byte("puts"))
		if err != nil {
			return err
		}
		bucket.FillPercent = 0.9
		for _, p := range group {
			if err := bucket.Put(p.key, p.value); err != nil {
				return err
			}
		}
		return nil
	})
	for _, p := range group {
		p.done <- err
	}
}

// The store that BenchmarkAfterDelete deletes from.
const (
	deleteClaims = 200_000
	deleteChunk  = 10_000
)

// BenchmarkAfterDelete compares commits before and after a fifth of a
// store's records are deleted: free pages must not make commits slower.
func BenchmarkAfterDelete(b *testing.B) {
	s := open(b, place(b))
	key := func(i int) string { return fmt.Sprintf("%012d", i) }
	inChunks(b, s, deleteClaims, func(ctx context.Context, tx core.Tx, i int) error {
		_, _, err := tx.Claim(ctx, "deliveries", key(i), core.Claim{Digest: "digest", Result: key(i)})
		return err
	})
	var last atomic.Int64
	commits := func(b *testing.B) {
		storetest.Load(b, 64, func(ctx context.Context, _ int64) error {
			n := int(last.Add(1))
			return s.Update(ctx, func(ctx context.Context, tx core.Tx) error {
				_, _, err := tx.Claim(ctx, "others", key(n), core.Claim{})
				return err
			})
		})
	}
	for range 2 { // a fifth in each
		b.Run("before", commits)
		inChunks(b, s, 1, func(ctx context.Context, tx core.Tx, _ int) error {
			n, err := tx.DropClaims(ctx, "deliveries", "9", deleteClaims/5)
			if n != deleteClaims/5 {
				b.Errorf("DropClaims() = %d, want %d", n, deleteClaims/5)
			}
			return err
		})
		b.Run("after", commits)
	}
}

// inChunks runs fn for 0 to n-1, deleteChunk of them a transaction.
func inChunks(b *testing.B, s core.Store, n int, fn func(context.Context, core.Tx, int) error) {
	b.Helper()
	for from := 0; from < n; from += deleteChunk {
		err := s.Update(b.Context(), func(ctx context.Context, tx core.Tx) error {
			for i := from; i < min(from+deleteChunk, n); i++ {
				if err := fn(ctx, tx, i); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAppendUsage adds batches as a workspace fleet reports them: twenty
// items of each workspace for one hour, hour after hour.
func BenchmarkAppendUsage(b *testing.B) {
	const fleet, items = 500, 20
	s := open(b, place(b))
	batch := make([]usage.Entry, fleet*items)
	for i := range batch {
		batch[i].Sample = usage.Sample{
			Workspace: fmt.Sprintf("ws_%04d", i/items), Item: fmt.Sprintf("item-%02d", i%items),
			Variant: "14d", Quantity: decimal.MustNew(int64(i)*997, 3),
		}
	}
	hour := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	b.ReportAllocs()
	for b.Loop() {
		for i := range batch {
			batch[i].Hour, batch[i].Day = hour, usage.DayOf(hour, time.UTC)
		}
		if _, err := s.AppendUsage(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
		hour = hour.Add(time.Hour)
	}
	b.ReportMetric(float64(b.N*len(batch))/b.Elapsed().Seconds(), "samples/s")
}
