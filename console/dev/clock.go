package dev

import (
	"sync/atomic"
	"time"

	"cloudsettle/core"
)

// maxAhead bounds how far the clock can be moved in all: a century tests any
// term, and more would leave the range of times that can be written.
const maxAhead = 100 * 365 * 24 * time.Hour

// Clock is a clock that runs as fast as another and can be moved forward.
// Never backwards: what is stored would then lie in the future.
type Clock struct {
	base  func() time.Time
	ahead atomic.Int64 // nanoseconds
}

// NewClock returns a clock that shows what base shows until it is moved.
func NewClock(base func() time.Time) *Clock { return &Clock{base: base} }

// Now returns the time, in UTC.
func (c *Clock) Now() time.Time {
	return c.base().Add(time.Duration(c.ahead.Load())).UTC()
}

// Set moves the clock forward to t. Errors: ErrConflict if t has passed
// already, ErrInvalid if it is further away than a century.
func (c *Clock) Set(t time.Time) error {
	for {
		ahead := c.ahead.Load()
		base := c.base()
		move := t.Sub(base)
		switch {
		case move < time.Duration(ahead):
			now := base.Add(time.Duration(ahead)).UTC()
			return core.Conflict("clock_only_moves_forward", "it is %s already", now.Format(time.RFC3339Nano))
		case move > maxAhead:
			return core.Invalid("clock_too_far", "the clock moves at most a century")
		case c.ahead.CompareAndSwap(ahead, int64(move)):
			return nil
		}
	}
}
