package landing

import (
	"errors"
	"maps"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"cloudsettle/core/marketplace"
)

// The limits of what the bearer of a link may try without being signed in. A
// person who mistypes needs a dozen attempts; mails to strangers, guessed
// codes and accounts made to no end need many more.
const (
	attemptsAtOnce = 30
	attemptsEvery  = time.Minute
	attemptsKept   = 10_000 // purchases with recent attempts; each cost its buyer a purchase
)

var errTooOften = errors.New("landing: too many attempts")

// attempts bounds attempts per purchase.
type attempts struct {
	mu sync.Mutex
	by map[marketplace.SubscriptionID]*rate.Limiter
}

// allow reports whether there may be another attempt now.
func (a *attempts) allow(id marketplace.SubscriptionID, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.by[id]
	if l == nil {
		if l = a.track(id, now); l == nil {
			return false
		}
	}
	return l.AllowN(now, 1)
}

// track begins to count for a purchase, or returns nil if there is no room.
func (a *attempts) track(id marketplace.SubscriptionID, now time.Time) *rate.Limiter {
	if a.by == nil {
		a.by = map[marketplace.SubscriptionID]*rate.Limiter{}
	}
	if len(a.by) >= attemptsKept {
		maps.DeleteFunc(a.by, func(_ marketplace.SubscriptionID, l *rate.Limiter) bool {
			return l.TokensAt(now) >= attemptsAtOnce
		})
	}
	if len(a.by) >= attemptsKept {
		return nil
	}
	l := rate.NewLimiter(rate.Every(attemptsEvery), attemptsAtOnce)
	a.by[id] = l
	return l
}
