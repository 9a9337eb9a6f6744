package bolt_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"

	"go.etcd.io/bbolt"

	"cloudsettle/core"
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
