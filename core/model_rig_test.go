package core_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
	"cloudsettle/core/money"
	"cloudsettle/core/usage"
)

// fault is what goes wrong with a commit.
type fault int

const (
	noFault    fault = iota
	lostBefore       // nothing was committed, and nobody says so
	lostAfter        // it was committed, and the answer was lost
	runTwice         // the closure runs, is rolled back, and runs again
)

// flakyStore is a store whose commits go wrong when they are told to.
type flakyStore struct {
	core.Store
	mu        sync.Mutex
	fault     fault
	in        int // how many commits go well before it
	committed int
}

// arm makes a commit go wrong: the next one if in is 0.
func (s *flakyStore) arm(f fault, in int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.in = f, in
}

// next is what happens to a commit that begins.
func (s *flakyStore) next() fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.fault
	if s.in--; s.in >= 0 || f == noFault {
		return noFault
	}
	s.fault = noFault
	return f
}

// commits returns how many commits there were since it was last asked.
func (s *flakyStore) commits() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.committed
	s.committed = 0
	return n
}

var errRollBack = errors.New("rolled back by the test")

func (s *flakyStore) Update(ctx context.Context, fn func(context.Context, core.Tx) error) error {
	return s.commit(func(f fault) error {
		if f == runTwice {
			err := s.Store.Update(ctx, func(ctx context.Context, tx core.Tx) error {
				return errors.Join(errRollBack, fn(ctx, tx))
			})
			if !errors.Is(err, errRollBack) {
				return err
			}
		}
		return s.Store.Update(ctx, fn)
	})
}

func (s *flakyStore) AppendUsage(ctx context.Context, entries []usage.Entry) (verdicts []usage.Verdict, err error) {
	err = s.commit(func(fault) error {
		verdicts, err = s.Store.AppendUsage(ctx, entries)
		return err
	})
	return verdicts, err
}

func (s *flakyStore) commit(do func(fault) error) error {
	f := s.next()
	if f == lostBefore {
		return core.ErrUnavailable
	}
	if err := do(f); err != nil {
		return err
	}
	s.mu.Lock()
	s.committed++
	s.mu.Unlock()
	if f == lostAfter {
		return core.ErrUnavailable
	}
	return nil
}

// shop is a marketplace that takes metering. What it answers is random until
// it is calm; what it has on file is exact.
type shop struct {
	terms  core.MeterTerms
	random *rand.Rand
	calm   bool
	file   map[shopKey]int64
	wrong  []string // what it was told and must not be
}

type shopKey struct {
	sub   marketplace.SubscriptionID
	start time.Time
}

// shopWindow is how long it takes a record; periods are hours.
const shopWindow = 24 * time.Hour

func newShop(c money.Currency, unit money.Micros, most int64, seed uint64) *shop {
	return &shop{
		terms:  core.MeterTerms{Dimension: "fee", UnitAmount: unit, Currency: c, Batch: 2, MaxUnits: most},
		random: rand.New(rand.NewPCG(seed, 1)), file: map[shopKey]int64{},
	}
}

func (s *shop) Terms() core.MeterTerms { return s.terms }

// Period is the newest free hour before end, or after it if those before the
// purchase are all that is left.
func (s *shop) Period(end, now time.Time, taken func(time.Time) bool) (core.MeterPeriod, bool) {
	last := end.Truncate(time.Hour)
	for h := -1; h > -100; h-- {
		if start := last.Add(time.Duration(h) * time.Hour); !taken(start) {
			return core.MeterPeriod{Start: start, End: start.Add(time.Hour), Deadline: now.Add(shopWindow)}, true
		}
	}
	for h := range 100 {
		if start := last.Add(time.Duration(h) * time.Hour); !taken(start) {
			return core.MeterPeriod{Start: start, End: start.Add(time.Hour), Deadline: now.Add(shopWindow)}, true
		}
	}
	return core.MeterPeriod{}, false
}

func (s *shop) Resolve(metering.Record) bool { return true }

func (s *shop) Report(_ context.Context, records []metering.Record) []metering.Result {
	var out []metering.Result
	for _, r := range records {
		if v := s.answer(r); v != "" {
			out = append(out, metering.Result{Record: r.ID, Verdict: v, ProviderID: "p-" + string(r.ID)})
		}
	}
	return out
}

// answer takes a record, or does not; "" is an answer that never came.
func (s *shop) answer(r metering.Record) metering.Verdict {
	if r.Units <= 0 || r.UnitAmount != s.terms.UnitAmount || r.Currency != s.terms.Currency || r.Units > s.terms.MaxUnits {
		s.wrong = append(s.wrong, "a record of "+string(r.Subscription)+" is not what it takes")
	}
	luck := s.random.IntN(100)
	if !s.calm && luck < 25 {
		return [...]metering.Verdict{metering.Throttled, metering.NotTaken, metering.MaybeTaken, ""}[luck%4]
	}
	key := shopKey{r.Subscription, r.PeriodStart.UTC()}
	v := metering.OK
	if have, ok := s.file[key]; ok {
		v = []metering.Verdict{metering.Same, metering.Duplicate}[luck%2]
		if have != r.Units {
			s.wrong = append(s.wrong, "a record of "+string(r.Subscription)+" changed after it was sent")
		}
	}
	s.file[key] = r.Units
	if !s.calm && luck < 40 {
		return [...]metering.Verdict{metering.MaybeTaken, "", ""}[luck%3]
	}
	return v
}
