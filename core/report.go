package core

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
)

// How records are reported.
const (
	reportEvery   = 5 * time.Second
	reportTimeout = 30 * time.Second
	// reportPass is how long one pass over the records of a listing may take:
	// the next one begins with what is most urgent by then.
	reportPass = 30 * time.Second
)

// Flush seals what is due and reports every record that may be sent now, also
// if a pass that began before this did not know of it.
func (s *Service) Flush(ctx context.Context) error {
	if err := s.sealDue(ctx); err != nil {
		return err
	}
	return s.reportPending(ctx, true)
}

// ReportPending reports the records that are due, the earliest deadline first;
// listings do not wait for each other, and one replica at a time calls for a
// listing. Each record is marked before it is sent, so that a crash leaves a
// record that is known to be unknown.
func (s *Service) ReportPending(ctx context.Context) error { return s.reportPending(ctx, false) }

func (s *Service) reportPending(ctx context.Context, inTurn bool) error {
	pending, err := InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) ([]metering.Record, error) {
		return collect(tx.MeterPending(ctx))
	})
	if err != nil || len(pending) == 0 {
		return err
	}
	byListing := map[marketplace.ListingID][]metering.Record{}
	for _, r := range pending {
		byListing[r.Listing] = append(byListing[r.Listing], r)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for listing, records := range byListing {
		m := s.markets[listing].Meter
		if m == nil || !slices.ContainsFunc(records, func(r metering.Record) bool { return s.touches(m, &r) }) {
			continue
		}
		wg.Go(func() {
			d := reporting(listing, m.Terms())
			d.inTurn = inTurn
			if err := s.solely(ctx, d, func(ctx context.Context) error { return s.report(ctx, m, d, records) }); err != nil {
				mu.Lock()
				errs = append(errs, fmt.Errorf("report %s: %w", listing, err))
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// reporting is the duty to call for a listing. Whoever takes it over waits as
// long as the marketplace wants between calls, and between records of one
// subscription: it does not know what was sent last.
func reporting(l marketplace.ListingID, terms MeterTerms) duty {
	d := duty{name: "report/" + string(l), apart: between(terms)}
	if terms.SameSubscription {
		d.apart = max(d.apart, terms.Apart)
	}
	return d
}

// between is the time between two calls, so that there are not too many.
func between(terms MeterTerms) time.Duration {
	if terms.Rate <= 0 {
		return 0
	}
	return time.Duration(float64(time.Second) / terms.Rate)
}

// touches reports whether there may be something to do about a record now.
func (s *Service) touches(m Meter, r *metering.Record) bool {
	return r.Status == metering.Sending || sendable(m, *r, s.Now())
}

// report sends the records of one listing that are due, in batches.
func (s *Service) report(ctx context.Context, m Meter, d duty, records []metering.Record) error {
	terms := m.Terms()
	due, err := s.dueRecords(ctx, m, records)
	if err != nil {
		return err
	}
	pass, cancel := context.WithTimeout(ctx, reportPass)
	defer cancel()
	for len(due) > 0 && pass.Err() == nil {
		n := min(len(due), terms.Batch)
		if err := s.reportBatch(ctx, m, d, due[:n]); err != nil {
			return err
		}
		if due = due[n:]; len(due) > 0 {
			pause(pass, between(terms))
		}
	}
	return ctx.Err()
}

// dueRecords returns the records that may be sent now, and parks those whose
// answer we did not live to see.
func (s *Service) dueRecords(ctx context.Context, m Meter, records []metering.Record) ([]metering.Record, error) {
	terms, now := m.Terms(), s.Now()
	s.sent.prune(now, terms.Apart)
	var due []metering.Record
	for _, r := range records {
		if err := s.doubt(ctx, m, r, now); err != nil {
			return nil, err
		}
		if !sendable(m, r, now) || terms.SameSubscription && !s.sent.allow(r.Subscription, now, terms.Apart) {
			continue
		}
		due = append(due, r)
	}
	return due, nil
}

// sentLog remembers when a record of each subscription was last sent, for
// marketplaces that want them apart. Another replica waits before it begins,
// see reporting. It is forgotten with the process: where that begins anew at
// once, the marketplace says itself that it was too soon.
type sentLog struct {
	mu   sync.Mutex
	last map[marketplace.SubscriptionID]time.Time
}

// prune forgets what is long ago.
func (l *sentLog) prune(now time.Time, apart time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, at := range l.last {
		if now.Sub(at) > apart {
			delete(l.last, id)
		}
	}
}

// allow reports whether a record may be sent at now, and counts it as sent.
// Two at the same time are never allowed: they would share a call.
func (l *sentLog) allow(id marketplace.SubscriptionID, now time.Time, apart time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, ok := l.last[id]; ok && (now.Sub(at) < apart || now.Equal(at)) {
		return false
	}
	if l.last == nil {
		l.last = map[marketplace.SubscriptionID]time.Time{}
	}
	l.last[id] = now
	return true
}

// doubt parks a record whose answer we did not live to see and that the
// marketplace's rules do not let us send again.
func (s *Service) doubt(ctx context.Context, m Meter, r metering.Record, now time.Time) error {
	if r.Status != metering.Sending || now.Sub(r.SentAt) < 2*reportTimeout || sendable(m, r, now) {
		return nil
	}
	r.Status, r.Doubt = metering.Unknown, true
	err := s.Store.Update(ctx, func(ctx context.Context, tx Tx) error { return tx.PutMeterRecord(ctx, r) })
	if errors.Is(err, ErrConflict) {
		return nil // another process has it
	}
	return err
}

// sendable reports whether a record may be sent now.
func sendable(m Meter, r metering.Record, now time.Time) bool {
	switch {
	case now.Before(r.RetryAt):
		return false
	case r.Status == metering.Sealed:
		return true
	case r.Status == metering.Unknown, r.Status == metering.Sending && now.Sub(r.SentAt) >= 2*reportTimeout:
		return now.Before(r.Deadline) && resends(m, &r)
	}
	return false
}

// resends reports whether a record that may be on file is sent again. None of
// zero units is ever billed twice.
func resends(m Meter, r *metering.Record) bool { return r.Units == 0 || m.Resolve(*r) }

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (s *Service) reportBatch(ctx context.Context, m Meter, d duty, batch []metering.Record) error {
	sent, err := InTx(ctx, s.Store, func(ctx context.Context, tx Tx) ([]metering.Record, error) {
		if err := s.stillMine(ctx, tx, d); err != nil {
			return nil, err
		}
		return s.markSending(ctx, tx, batch)
	})
	if err != nil || len(sent) == 0 {
		return err
	}
	done := make(chan error, 1)
	s.calls.Go(func() { done <- s.call(context.WithoutCancel(ctx), m, sent) })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err() // the call goes on; see Wait
	}
}

// call makes one call and records its answer. It is never given up once it was
// begun: that would leave records of which nobody knows whether they are on
// file, and for some marketplaces only a person could find out.
func (s *Service) call(ctx context.Context, m Meter, sent []metering.Record) error {
	within, cancel := context.WithTimeout(ctx, reportTimeout)
	results := m.Report(within, sent)
	cancel()
	return s.Store.Update(ctx, func(ctx context.Context, tx Tx) error {
		return s.answers(ctx, tx, m, sent, results)
	})
}

// Wait waits for the calls to marketplaces that are under way, which takes
// reportTimeout at most. Nothing else may be running any more; then the store
// can be closed.
func (s *Service) Wait() { s.calls.Wait() }

// markSending marks records that are still as they were when they were
// chosen; those whose window is over expire instead.
func (s *Service) markSending(ctx context.Context, tx Tx, batch []metering.Record) ([]metering.Record, error) {
	var out, ended []metering.Record
	for _, was := range batch {
		r, err := tx.MeterRecord(ctx, was.ID)
		if err != nil {
			return nil, err
		}
		if r.Rev != was.Rev {
			continue // another process has it
		}
		if over := r.Settle(s.Now()); !s.Now().Before(r.Deadline) {
			ended = append(ended, over)
			continue
		}
		r.Doubt = r.Doubt || r.Status == metering.Sending // we died before its answer
		r.Status, r.SentAt = metering.Sending, s.Now()
		r.Attempts++
		if err := tx.PutMeterRecord(ctx, r); err != nil {
			return nil, err
		}
		r.Rev++
		out = append(out, r)
	}
	return out, s.endRecords(ctx, tx, ended)
}

// answers records what the marketplace said. A record that is not as we sent
// it any more, but for its deadline, is somebody else's by now.
func (s *Service) answers(ctx context.Context, tx Tx, m Meter, sent []metering.Record, results []metering.Result) error {
	verdicts := map[metering.RecordID]metering.Result{}
	for _, v := range results {
		verdicts[v.Record] = v
	}
	var ended []metering.Record
	for _, was := range sent {
		r, err := tx.MeterRecord(ctx, was.ID)
		if err != nil {
			return err
		}
		if r.Status != metering.Sending || r.Attempts != was.Attempts {
			continue
		}
		v, ok := verdicts[r.ID]
		if !ok {
			v = metering.Result{Record: r.ID, Verdict: metering.MaybeTaken, Detail: "no answer"}
		}
		ended = append(ended, metering.Answer(r, v, resends(m, &r), s.Now()))
	}
	return s.endRecords(ctx, tx, ended)
}

// endRecords stores records after an attempt. Units of those that are final
// and not accepted are due again, and people are told.
func (s *Service) endRecords(ctx context.Context, tx Tx, records []metering.Record) error {
	var alerts []alert
	for _, r := range records {
		if err := s.endRecord(ctx, tx, &r); err != nil {
			return err
		}
		if r.Status.Final() && r.Status != metering.Accepted {
			alerts = append(alerts, alertOf(&r, metering.Trouble(r.Status)))
		}
	}
	return s.promiseAlerts(ctx, tx, alerts)
}

func (s *Service) endRecord(ctx context.Context, tx Tx, r *metering.Record) error {
	if err := tx.PutMeterRecord(ctx, *r); err != nil || !r.Status.Final() {
		return err
	}
	acc, err := tx.MeterAccount(ctx, r.Subscription)
	if err != nil {
		return err
	}
	if err := tx.PutMeterAccount(ctx, acc.Finish(r, s.Now())); err != nil {
		return err
	}
	if r.Status == metering.Expired {
		return s.promiseSeal(ctx, tx, r.Subscription, r.PeriodEnd, s.Now().Add(sealAgain))
	}
	return nil
}
