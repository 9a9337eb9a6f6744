package core

import (
	"context"
	"errors"
	"time"

	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
)

// How records are reported.
const (
	reportEvery   = 5 * time.Second
	reportTimeout = 30 * time.Second
)

// Flush seals what is due and reports every record that may be sent now.
func (s *Service) Flush(ctx context.Context) error {
	if err := s.runKind(ctx, taskSeal, s.seal); err != nil {
		return err
	}
	return s.ReportPending(ctx)
}

// ReportPending reports the records that are due, listing by listing. Each
// record is marked before it is sent, so that a crash leaves a record that is
// known to be unknown.
func (s *Service) ReportPending(ctx context.Context) error {
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
	var errs []error
	for listing, records := range byListing {
		if m := s.markets[listing].Meter; m != nil {
			errs = append(errs, s.report(ctx, m, records))
		}
	}
	return errors.Join(errs...)
}

// report sends the records of one listing that are due, in batches.
func (s *Service) report(ctx context.Context, m Meter, records []metering.Record) error {
	terms, now := m.Terms(), s.Now()
	var due []metering.Record
	apart := map[marketplace.SubscriptionID]bool{}
	for _, r := range records {
		if err := s.doubt(ctx, m, r, now); err != nil {
			return err
		}
		if !sendable(m, r, now) || terms.SameSubscription && apart[r.Subscription] {
			continue
		}
		apart[r.Subscription] = true
		due = append(due, r)
	}
	for len(due) > 0 && ctx.Err() == nil {
		n := min(len(due), terms.Batch)
		if err := s.reportBatch(ctx, m, due[:n]); err != nil {
			return err
		}
		if due = due[n:]; len(due) > 0 && terms.Rate > 0 {
			pause(ctx, time.Duration(float64(time.Second)/terms.Rate))
		}
	}
	return ctx.Err()
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
		return now.Before(r.Deadline) && m.Resolve(r)
	}
	return false
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (s *Service) reportBatch(ctx context.Context, m Meter, batch []metering.Record) error {
	sent, err := InTx(ctx, s.Store, func(ctx context.Context, tx Tx) ([]metering.Record, error) {
		return s.markSending(ctx, tx, batch)
	})
	if err != nil || len(sent) == 0 {
		return err
	}
	call, cancel := context.WithTimeout(ctx, reportTimeout)
	results := m.Report(call, sent)
	cancel()
	return s.Store.Update(context.WithoutCancel(ctx), func(ctx context.Context, tx Tx) error {
		return s.answers(ctx, tx, m, sent, results)
	})
}

// markSending marks records that are still as they were when they were
// chosen; those whose window is over expire instead.
func (s *Service) markSending(ctx context.Context, tx Tx, batch []metering.Record) ([]metering.Record, error) {
	var out []metering.Record
	for _, was := range batch {
		r, err := tx.MeterRecord(ctx, was.ID)
		if err != nil {
			return nil, err
		}
		if r.Rev != was.Rev {
			continue // another process has it
		}
		if over := r.Settle(s.Now()); !s.Now().Before(r.Deadline) {
			if err := s.endRecord(ctx, tx, over); err != nil {
				return nil, err
			}
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
	return out, nil
}

// answers records what the marketplace said.
func (s *Service) answers(ctx context.Context, tx Tx, m Meter, sent []metering.Record, results []metering.Result) error {
	verdicts := map[metering.RecordID]metering.Result{}
	for _, v := range results {
		verdicts[v.Record] = v
	}
	for _, r := range sent {
		v, ok := verdicts[r.ID]
		if !ok {
			v = metering.Result{Record: r.ID, Verdict: metering.MaybeTaken, Detail: "no answer"}
		}
		if err := s.endRecord(ctx, tx, metering.Answer(r, v, m.Resolve(r), s.Now())); err != nil {
			return err
		}
	}
	return nil
}

// endRecord stores a record after an attempt. If it is final, units that were
// not accepted are due again.
func (s *Service) endRecord(ctx context.Context, tx Tx, r metering.Record) error {
	if err := tx.PutMeterRecord(ctx, r); err != nil || !r.Status.Final() {
		return err
	}
	acc, err := tx.MeterAccount(ctx, r.Subscription)
	if err != nil {
		return err
	}
	if err := tx.PutMeterAccount(ctx, acc.Finish(r.Units, r.Status)); err != nil {
		return err
	}
	if r.Status == metering.Accepted {
		return nil
	}
	s.Log.Error("usage was not accepted", "record", r.ID, "subscription", r.Subscription, "status", r.Status,
		"units", r.Units, "detail", r.LastError)
	if r.Status == metering.Expired {
		return s.promiseSeal(ctx, tx, r.Subscription, r.PeriodEnd, s.Now().Add(sealLater))
	}
	return nil
}
