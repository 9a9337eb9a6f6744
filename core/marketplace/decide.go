package marketplace

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// maxFacts bounds the facts of one subscription. A monthly renewal and a
// monthly change for twenty years are 480; more than this is a fault or abuse.
const maxFacts = 1024

// reorderWindow is how long after each other two callbacks without any order
// of the provider's may still have crossed on their way. Marketplaces give up
// retrying within hours, but sellers restart retries by hand on the next days.
const reorderWindow = 72 * time.Hour

// Decide adds what ev states to s and derives the state again. It is the whole
// life cycle: pure, and the same for every marketplace. s may be new (only its
// ID set). seenAt is when the callback arrived.
//
// The returned subscription is s itself, unchanged, unless the result is
// Applied or Waiting.
func Decide(s Subscription, ev Event, seenAt time.Time, cb CallbackID) (Subscription, Result) {
	if !ev.Kind.states() {
		return s, Ignored
	}
	next := s.Clone()
	if next.CreatedAt.IsZero() {
		next.CreatedAt = seenAt
		next.Listing, next.Provider = ev.Listing, ev.Provider
	}
	named := next.adopt(ev)
	stated := next.state(factOf(ev, seenAt, cb))
	switch {
	case !named && stated != Applied:
		return s, stated
	case len(next.Facts) > maxFacts:
		return s, Refused
	}
	next.LastEventAt = seenAt
	next.derive()
	if !next.Known() && ev.Account == "" {
		return next, Waiting
	}
	return next, Applied
}

// Merge moves the names and facts of early into s: both turned out to be the
// same subscription. It is used when early is not Known.
func Merge(s, early Subscription) Subscription {
	s = s.Clone()
	for _, name := range append([]string{early.Subject}, early.Also...) {
		s.name(name)
	}
	for _, f := range early.Facts {
		s.state(f)
	}
	s.Previous = cmp.Or(s.Previous, early.Previous)
	s.Next = cmp.Or(s.Next, early.Next)
	s.CreatedAt = earlier(s.CreatedAt, early.CreatedAt)
	s.derive()
	return s
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

// states reports whether events of this kind are facts about a subscription.
func (k Kind) states() bool {
	switch k {
	case Registered, Activated, Renewed, RenewalRefunded, Retermed, Changed, Expired,
		Suspended, Resumed, Ending, Ended, Succeeded, Linked:
		return true
	}
	return false
}

// adopt takes over names from ev and reports whether any was new.
func (s *Subscription) adopt(ev Event) bool {
	added := false
	if subject := cmp.Or(ev.Subject, ev.Proposed); s.Subject == "" && subject != "" {
		s.Subject, added = subject, true
	}
	for _, name := range ev.Also {
		added = s.name(name) || added
	}
	return added
}

// name adds another name of s, in byte order, and reports whether it was new.
func (s *Subscription) name(name string) bool {
	if name == "" || s.HasName(name) {
		return false
	}
	s.Also = append(s.Also, name)
	slices.Sort(s.Also)
	return true
}

func factOf(ev Event, seenAt time.Time, cb CallbackID) Fact {
	f := Fact{
		Kind: ev.Kind, Key: ev.Key, Rank: ev.Rank, SeenAt: seenAt, Callback: cb,
		Trial: ev.Trial, SKU: ev.SKU, Quantity: ev.Quantity, ExpiresAt: ev.ExpiresAt,
	}
	for _, name := range slices.Sorted(maps.Keys(ev.Attributes)) {
		f.Details = append(f.Details, Attributed{Name: name, Value: ev.Attributes[name]})
	}
	return f
}

// state adds f to the facts of s. A fact with the same kind and key replaces
// the one before if its rank is higher; else it is a repeat.
func (s *Subscription) state(f Fact) Result {
	at, found := slices.BinarySearchFunc(s.Facts, f, compareFacts)
	if !found {
		s.Facts = slices.Insert(s.Facts, at, f)
		return Applied
	}
	switch old := &s.Facts[at]; {
	case f.Rank > old.Rank:
		*old = f
		return Applied
	case f.Rank < old.Rank:
		return Stale
	case f.Kind == Expired && s.expiresAnew(f), s.resumesAnew(f):
		old.SeenAt, old.Callback = f.SeenAt, f.Callback
		return Applied
	default:
		return Duplicate
	}
}

// expiresAnew tells a second expiry from a repeat of the first, which some
// marketplaces send as the same bytes: it is a new one if the subscription is
// not frozen and no known renewal answers it.
func (s *Subscription) expiresAnew(f Fact) bool {
	return s.Status == StatusActive && !s.answered(f)
}

// resumesAnew tells a second resumption from a repeat of the first, which some
// marketplaces send as the same bytes: a frozen subscription is one that the
// first did not lift. Renewals name their order, so a repeat of one is a repeat.
func (s *Subscription) resumesAnew(f Fact) bool {
	return f.Kind == Resumed && f.Rank == "" && s.Status == StatusFrozen
}

// compareFacts orders facts by kind and key, so that equal sets have equal bytes.
func compareFacts(a, b Fact) int {
	return cmp.Or(strings.Compare(string(a.Kind), string(b.Kind)), strings.Compare(a.Key, b.Key))
}
