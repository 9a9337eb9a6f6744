package marketplace

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Derive returns s with everything that follows from its facts computed again.
func Derive(s Subscription) Subscription {
	s = s.Clone()
	s.derive()
	return s
}

// derive computes everything that follows from the facts.
func (s *Subscription) derive() {
	s.deriveTerm()
	s.derivePlan()
	s.Replaced = s.newest(Succeeded) != nil
	s.Status = s.deriveStatus()
}

// deriveStatus is the state machine. Activation and ending are compared by
// rank: where the provider orders its statements a later activation revives an
// ended subscription, where it does not an ending is final.
func (s *Subscription) deriveStatus() Status {
	activated, ending, ended := s.newest(Activated), s.newest(Ending), s.newest(Ended)
	switch {
	case ended != nil && (activated == nil || ended.Rank >= activated.Rank):
		return StatusEnded
	case activated == nil:
		return StatusPending
	case ending != nil && ending.Rank > activated.Rank:
		return StatusEnding
	case s.frozen():
		return StatusFrozen
	default:
		return StatusActive
	}
}

// frozen reports whether an expiry or a suspension is not yet answered.
func (s *Subscription) frozen() bool {
	if e := s.newest(Expired); e != nil && !s.answered(*e) {
		return true
	}
	suspended, resumed := s.newest(Suspended), s.newest(Resumed)
	return suspended != nil && (resumed == nil || suspended.Rank > resumed.Rank)
}

// answered reports whether something lifts the expiry e. A ranked resumption
// lifts what ranks below it. A renewal lifts an expiry that arrived before its
// term ends: until then the marketplace has no reason to expire it again, so
// the expiry is an older one that came late. A renewal or resumption that
// names no term lifts expiries up to the reorder window after it.
func (s *Subscription) answered(e Fact) bool {
	openEnded := !s.hasTerm()
	for _, f := range s.Facts {
		switch f.Kind {
		case Renewed, Retermed:
			until := f.ExpiresAt
			switch {
			case until.IsZero() || openEnded:
				until = f.SeenAt.Add(reorderWindow)
			case s.ExpiresAt.Before(until):
				until = s.ExpiresAt // it was refunded
			}
			if until.After(e.SeenAt) {
				return true
			}
		case Resumed:
			if f.Rank > e.Rank || f.Rank == "" && f.SeenAt.Add(reorderWindow).After(e.SeenAt) {
				return true
			}
		}
	}
	return false
}

// hasTerm reports whether the purchase itself had a term; pay-as-you-go has
// none, and its renewals only say that arrears were paid.
func (s *Subscription) hasTerm() bool {
	a := s.newest(Activated)
	return a == nil || !a.ExpiresAt.IsZero()
}

// deriveTerm computes when the term ends. An absolute statement holds by rank;
// otherwise the furthest renewal does that was not refunded.
func (s *Subscription) deriveTerm() {
	if f := s.newest(Retermed); f != nil {
		s.ExpiresAt = f.ExpiresAt
		return
	}
	var ends []time.Time
	for _, f := range s.Facts {
		if (f.Kind == Activated || f.Kind == Renewed) && !f.ExpiresAt.IsZero() {
			ends = append(ends, f.ExpiresAt)
		}
	}
	slices.SortFunc(ends, time.Time.Compare)
	for _, f := range s.Facts {
		if f.Kind == RenewalRefunded {
			ends = refund(ends, f.ExpiresAt)
		}
	}
	s.ExpiresAt = time.Time{}
	if len(ends) > 0 {
		s.ExpiresAt = ends[len(ends)-1]
	}
}

// refund removes the nearest end beyond to, which is the renewal that a refund
// back to that date takes away, and makes to an end itself.
func refund(ends []time.Time, to time.Time) []time.Time {
	at, known := slices.BinarySearchFunc(ends, to, time.Time.Compare)
	if !known {
		ends = slices.Insert(ends, at, to)
	}
	beyond := at
	for beyond < len(ends) && ends[beyond].Equal(to) {
		beyond++
	}
	if beyond < len(ends) {
		ends = slices.Delete(ends, beyond, beyond+1)
	}
	return ends
}

// derivePlan computes plan, quantity and trial from the facts in rank order.
func (s *Subscription) derivePlan() {
	facts := slices.Clone(s.Facts)
	slices.SortStableFunc(facts, func(a, b Fact) int {
		return cmp.Or(
			cmp.Compare(planStage(a.Kind), planStage(b.Kind)),
			strings.Compare(a.Rank, b.Rank),
			a.SeenAt.Compare(b.SeenAt),
		)
	})
	s.SKU, s.Quantity, s.Trial = "", 0, false
	for _, f := range facts {
		s.SKU = cmp.Or(f.SKU, s.SKU)
		s.Quantity = cmp.Or(f.Quantity, s.Quantity)
		if f.Trial != nil {
			s.Trial = *f.Trial
		}
	}
}

// planStage puts the purchase before whatever changed it, and everything that
// only repeats the purchase before both.
func planStage(k Kind) int {
	switch k {
	case Registered, Linked:
		return 0
	case Activated:
		return 1
	default:
		return 2
	}
}

// newest returns the highest-ranked fact of a kind, or nil.
func (s *Subscription) newest(k Kind) *Fact {
	var best *Fact
	for i := range s.Facts {
		if f := &s.Facts[i]; f.Kind == k && (best == nil || f.Rank > best.Rank) {
			best = f
		}
	}
	return best
}
