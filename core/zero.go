package core

import (
	"context"
	"sync"
	"time"

	"cloudsettle/core/marketplace"
)

// How hours without usage are reported, where a listing wants it.
const (
	zeroEvery = time.Minute
	// zeroAfter is how long after an hour its zero is sealed: what was charged
	// just now goes first.
	zeroAfter = 5 * time.Minute
	// zeroDayAfter holds for the last hour of a site's day, under which the whole
	// day is reported once it is settled: a zero would take its place.
	zeroDayAfter = 2 * time.Hour
	// zeroBack is how many hours a program that was down catches up; older ones
	// stay open for what is charged later.
	zeroBack = 3
)

// zeroLog remembers which hours were seen to. It is forgotten with the process:
// to look again finds the records that are there.
type zeroLog struct {
	mu   sync.Mutex
	done map[zeroHour]bool
}

type zeroHour struct {
	listing marketplace.ListingID
	end     time.Time
}

// SealZeros makes a record of zero units for each active subscription and hour
// that has none, where the listing wants it: then the marketplace can tell an
// hour without usage from reporting that is broken. Sums do not change.
func (s *Service) SealZeros(ctx context.Context) error {
	now := s.Now()
	for id, market := range s.markets {
		if market.Meter == nil || !market.Meter.Terms().ReportZero {
			continue
		}
		hours := s.zerosDue(id, now)
		if len(hours) == 0 {
			continue
		}
		err := s.solely(ctx, duty{name: "zeros/" + string(id), again: 2 * zeroEvery}, func(ctx context.Context) error {
			for _, h := range hours {
				if err := s.sealZerosOf(ctx, market.Meter, h); err != nil {
					return err
				}
				s.zeroed.add(h, now)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// zerosDue returns the hours of a listing that were not seen to.
func (s *Service) zerosDue(id marketplace.ListingID, now time.Time) []zeroHour {
	var out []zeroHour
	end := now.UTC().Truncate(time.Hour)
	for range zeroBack {
		h := zeroHour{id, end}
		if !s.zeroed.has(h) && !now.Before(end.Add(s.zeroWait(end))) {
			out = append(out, h)
		}
		end = end.Add(-time.Hour)
	}
	return out
}

func (l *zeroLog) has(h zeroHour) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done[h]
}

// add remembers an hour, and forgets those that are never asked for again.
func (l *zeroLog) add(h zeroHour, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done == nil {
		l.done = map[zeroHour]bool{}
	}
	l.done[h] = true
	for old := range l.done {
		if now.Sub(old.end) > 2*zeroBack*time.Hour {
			delete(l.done, old)
		}
	}
}

// zeroWait is how long after the hour that ended then its zeros are sealed.
func (s *Service) zeroWait(end time.Time) time.Duration {
	for _, site := range s.Sites {
		if end.Sub(midnight(end, site.Zone)) < time.Hour { // a day ended in the hour
			return zeroDayAfter
		}
	}
	return zeroAfter
}

// midnight returns the beginning of t's day in a zone.
func midnight(t time.Time, zone *time.Location) time.Time {
	y, m, d := t.In(zone).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, zone)
}

// sealZerosOf sees to one hour of one listing, page by page.
func (s *Service) sealZerosOf(ctx context.Context, m Meter, h zeroHour) error {
	for p := (Page{Limit: MaxPage}); ; {
		list, err := s.Subscriptions(ctx, Actor{}, h.listing, p)
		if err != nil {
			return err
		}
		err = s.Store.Update(ctx, func(ctx context.Context, tx Tx) error {
			for i := range list.Items {
				if err := s.sealZero(ctx, tx, m, list.Items[i].ID, h.end); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || list.Next == "" {
			return err
		}
		p.After = list.Next
	}
}

// sealZero makes the record of an hour without usage. The period that the
// marketplace would like best for usage up to end tells whether the hour is
// open, and whether it has a record.
func (s *Service) sealZero(ctx context.Context, tx Tx, m Meter, id marketplace.SubscriptionID, end time.Time) error {
	sub, err := tx.Subscription(ctx, id)
	if err != nil || !sub.Live() {
		return err
	}
	p, ok := m.Period(end, s.Now(), func(time.Time) bool { return false })
	if !ok || p.Start.Before(end.Add(-time.Hour)) || !p.Start.Before(end) {
		return nil
	}
	taken, err := periodTaken(ctx, tx, &sub, m.Terms(), p.Start)
	if err != nil || taken {
		return err
	}
	acc, err := tx.MeterAccount(ctx, id)
	if err != nil || acc.Hold != "" {
		return err // it would end as the ones before
	}
	if acc.UnitAmount == 0 { // nothing was charged yet
		acc.Subscription, acc.UnitAmount, acc.Currency = id, m.Terms().UnitAmount, m.Terms().Currency
		if err := tx.PutMeterAccount(ctx, acc); err != nil {
			return err
		}
	}
	return s.putSealed(ctx, tx, acc, &sub, m.Terms().Dimension, p, 0)
}
