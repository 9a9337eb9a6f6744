package core

import (
	"context"
	"sync/atomic"
	"time"
)

// trafficMemory is how long after a callback more are expected: marketplaces
// send several for one purchase, and repeat what was answered late.
const trafficMemory = 10 * time.Second

// traffic knows whether callbacks are coming in. It measures the machine, not
// the business, so it has a clock of its own, which tests do not move.
type traffic struct {
	began time.Time
	last  atomic.Int64 // nanoseconds after began, or 0
}

func newTraffic() *traffic { return &traffic{began: time.Now()} }

// note says that a callback came.
func (t *traffic) note() { t.last.Store(int64(time.Since(t.began))) }

// flows reports whether callbacks came lately.
func (t *traffic) flows() bool {
	last := t.last.Load()
	return last > 0 && time.Since(t.began)-time.Duration(last) < trafficMemory
}

// backgroundKey marks a context as InBackground does.
type backgroundKey struct{}

// InBackground marks the transactions of ctx as ones that nobody waits for. A
// store that runs one transaction at a time lets others go between them.
func InBackground(ctx context.Context) context.Context {
	return context.WithValue(ctx, backgroundKey{}, true)
}

// IsBackground reports whether ctx was marked by InBackground.
func IsBackground(ctx context.Context) bool { return ctx.Value(backgroundKey{}) != nil }
