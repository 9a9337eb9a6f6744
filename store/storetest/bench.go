package storetest

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"cloudsettle/core"
)

// BenchmarkUpdate measures transactions that write what a purchase does, from
// as many goroutines as callbacks may arrive at once.
func BenchmarkUpdate(b *testing.B, open func(testing.TB) core.Store) {
	for _, goroutines := range []int{1, 64, 256} {
		b.Run(fmt.Sprintf("goroutines=%d", goroutines), func(b *testing.B) {
			s := open(b)
			Load(b, goroutines, func(ctx context.Context, n int64) error {
				number := fmt.Sprintf("%012d", n)
				return s.Update(ctx, func(ctx context.Context, tx core.Tx) error {
					return writePurchase(ctx, tx, number)
				})
			})
		})
	}
}

// Load runs fn b.N times with ascending numbers from so many goroutines, and
// reports the rate.
func Load(b *testing.B, goroutines int, fn func(context.Context, int64) error) {
	b.Helper()
	var next atomic.Int64
	b.ReportAllocs()
	b.ResetTimer()
	each(goroutines, func(int) {
		for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
			if err := fn(b.Context(), n); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tx/s")
}
