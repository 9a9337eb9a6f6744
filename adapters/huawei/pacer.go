package huawei

import (
	"context"
	"time"
)

// pacer keeps calls apart, whoever makes them. Only one waits at a time.
type pacer struct {
	turn  chan time.Time // holds when the last call was made, unless one waits
	apart time.Duration
	now   func() time.Time
	sleep func(ctx context.Context, d time.Duration) error
}

func newPacer(apart time.Duration, now func() time.Time) pacer {
	turn := make(chan time.Time, 1)
	turn <- time.Time{}
	return pacer{turn: turn, apart: apart, now: now, sleep: sleep}
}

// await returns when a call may be made, or with ctx's error. It never waits
// longer than the calls are apart, even if the clock stands still.
func (p pacer) await(ctx context.Context) error {
	select {
	case last := <-p.turn:
		err := p.sleep(ctx, min(p.apart, last.Add(p.apart).Sub(p.now())))
		if err == nil {
			last = p.now()
		}
		p.turn <- last
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
