package core

import (
	"context"
	"errors"
	"time"

	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
	"cloudsettle/core/money"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// surveyEvery is how often the health of all subscriptions is counted: a look
// at each takes some tens of microseconds.
const surveyEvery = 5 * time.Minute

// MeterState is how the reporting of one subscription is.
type MeterState struct {
	Subscription marketplace.SubscriptionID
	Listing      marketplace.ListingID
	Health       metering.Health
	Signs        metering.Signs
	// LastSettled is the last day that was billed through the subscription, if
	// Signs.Settled.
	LastSettled usage.Day
	// Last is the record that was accepted last, or nil.
	Last *metering.Record
	// Pending is how many records are not final, Deadline the earliest of them.
	Pending  int
	Deadline time.Time
}

// MeterState returns how the reporting of a subscription is.
func (s *Service) MeterState(ctx context.Context, who Actor, id marketplace.SubscriptionID) (MeterState, error) {
	if _, err := s.Subscription(ctx, who, id); err != nil {
		return MeterState{}, err
	}
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (MeterState, error) {
		return s.meterState(ctx, tx, id)
	})
}

func (s *Service) meterState(ctx context.Context, tx ReadTx, id marketplace.SubscriptionID) (MeterState, error) {
	sub, err := tx.Subscription(ctx, id)
	if err != nil {
		return MeterState{}, err
	}
	e, err := s.newExaminer(ctx, tx, lateDays)
	if err != nil {
		return MeterState{}, err
	}
	return e.examine(ctx, &sub)
}

// MeterStateFilter narrows a list of states.
type MeterStateFilter struct {
	Listing marketplace.ListingID
	Health  metering.Health
}

// MeterStates lists how the reporting of subscriptions is, for operators.
func (s *Service) MeterStates(ctx context.Context, f MeterStateFilter, p Page) (List[MeterState], error) {
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (List[MeterState], error) {
		e, err := s.newExaminer(ctx, tx, s.silentDays())
		if err != nil {
			return List[MeterState]{}, err
		}
		states := func(yield func(MeterState, error) bool) {
			for sub, err := range tx.Subscriptions(ctx, f.Listing, scanning(p)) {
				var st MeterState
				if err == nil {
					st, err = e.examine(ctx, &sub)
				}
				if !yield(st, err) {
					return
				}
			}
		}
		return filtered(states, p, func(st MeterState) string { return string(st.Subscription) }, func(st MeterState) bool {
			return wanted(f.Health, st.Health)
		})
	})
}

// SurveyMeters counts the health of all subscriptions for Gauges, page by page.
func (s *Service) SurveyMeters(ctx context.Context) error {
	counts := map[marketplace.ListingID]map[metering.Health]int{}
	for id, m := range s.markets {
		if m.Meter != nil {
			counts[id] = map[metering.Health]int{
				metering.Reporting: 0, metering.Idle: 0, metering.Silent: 0, metering.Stuck: 0, metering.Unbound: 0,
			}
		}
	}
	for p := (Page{Limit: MaxPage}); ; {
		list, err := s.MeterStates(ctx, MeterStateFilter{}, p)
		if err != nil {
			return err
		}
		for _, st := range list.Items {
			if n := counts[st.Listing]; n != nil {
				n[st.Health]++
			}
		}
		if list.Next == "" {
			break
		}
		p.After = list.Next
	}
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	s.watch.gauges.Health = counts
	return nil
}

func (s *Service) silence() time.Duration {
	if s.Alerts.Silence > 0 {
		return s.Alerts.Silence
	}
	return DefaultSilence
}

// silentDays is how many days are looked through for usage that is not silent.
func (s *Service) silentDays() int { return int(s.silence()/(24*time.Hour)) + 2 }

// examiner tells the health of subscriptions on one snapshot.
type examiner struct {
	*Service
	tx      ReadTx
	now     time.Time
	days    usage.Day // how far it looks back for usage
	pending map[marketplace.SubscriptionID][]metering.Record
}

func (s *Service) newExaminer(ctx context.Context, tx ReadTx, days int) (*examiner, error) {
	e := &examiner{
		Service: s, tx: tx, now: s.Now(), days: usage.Day(days), // #nosec -- some tens
		pending: map[marketplace.SubscriptionID][]metering.Record{},
	}
	for r, err := range tx.MeterPending(ctx) {
		if err != nil {
			return nil, err
		}
		e.pending[r.Subscription] = append(e.pending[r.Subscription], r)
	}
	return e, nil
}

func (e *examiner) examine(ctx context.Context, sub *marketplace.Subscription) (MeterState, error) {
	st := MeterState{Subscription: sub.ID, Listing: sub.Listing, Signs: metering.Signs{Live: sub.Live()}}
	var err error
	if st.Signs.Account, err = e.tx.MeterAccount(ctx, sub.ID); err != nil {
		return st, err
	}
	for i := range e.pending[sub.ID] { // by deadline
		r := &e.pending[sub.ID][i]
		st.Signs.Worst = max(st.Signs.Worst, metering.AlarmOf(r, e.now))
		st.Signs.Unknown = st.Signs.Unknown || r.Status == metering.Unknown
		if st.Pending++; st.Pending == 1 {
			st.Deadline = r.Deadline
		}
	}
	if id := st.Signs.Account.LastAccepted; id != "" {
		r, err := e.tx.MeterRecord(ctx, id)
		if err != nil {
			return st, err
		}
		st.Last = &r
	}
	bindings, err := collect(e.tx.BindingsTo(ctx, sub.ID))
	if err != nil {
		return st, err
	}
	for _, b := range bindings {
		st.Signs.Workspaces++
		if err := e.workspace(ctx, &st, b.Workspace); err != nil {
			return st, err
		}
	}
	st.Health = st.Signs.Health(e.now, e.silence())
	return st, nil
}

// workspace adds what one workspace shows: the newest usage and the last bill.
func (e *examiner) workspace(ctx context.Context, st *MeterState, id workspace.ID) error {
	today := usage.DayOf(e.now, time.UTC) + 1 // somewhere it is tomorrow
	used, billed := false, false
	for day := today; day > today-e.days && !(used && billed); day-- {
		rec, err := e.tx.UsageOf(ctx, id, day)
		switch {
		case errors.Is(err, ErrNotFound):
			continue
		case err != nil:
			return err
		}
		if !used {
			used = true
			st.used(&rec)
		}
		if !rec.Sealed || billed {
			continue
		}
		b, err := e.tx.DailyBill(ctx, id, day)
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
		if err == nil && b.Settlement.Subscription == st.Subscription {
			billed = true
			st.settled(day, b.Cloud)
		}
	}
	return nil
}

// used takes note of what one workspace reported for its newest day.
func (st *MeterState) used(rec *usage.Record) {
	for i := range rec.Samples {
		x := &rec.Samples[i]
		if end := x.Hour.Add(time.Hour); end.After(st.Signs.UsageUntil) {
			st.Signs.UsageUntil = end
		}
		st.Signs.Used = st.Signs.Used || x.Quantity.IsPos()
	}
}

// settled counts what one workspace was charged for its last day.
func (st *MeterState) settled(day usage.Day, charge money.Micros) {
	switch {
	case !st.Signs.Settled || day > st.LastSettled:
		st.Signs.Settled, st.LastSettled, st.Signs.Charge = true, day, charge
	case day == st.LastSettled:
		st.Signs.Charge += charge
	}
}
