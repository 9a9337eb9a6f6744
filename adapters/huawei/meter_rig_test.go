package huawei

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"cloudsettle/adapters/huawei/huaweisim"
	"cloudsettle/adapters/internal/sim"
	"cloudsettle/core"
	"cloudsettle/core/metering"
)

// clock is moved by hand, and by what waits.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// sleep is sleep on this clock.
func (c *clock) sleep(ctx context.Context, d time.Duration) error {
	c.add(max(d, 0))
	return ctx.Err()
}

// metered is a meter and a simulator on one clock.
type metered struct {
	*clock
	sim    *huaweisim.Sim
	meter  *Meter
	market core.Marketplace
}

// startMeter starts both with further metering configuration.
func startMeter(tb testing.TB, seed uint64, from time.Time, more map[string]any) *metered {
	tb.Helper()
	m := &metered{clock: &clock{at: from}}
	api := httptest.NewServer(nil)
	tb.Cleanup(api.Close)
	cfg := map[string]any{"unit_amount": "0.01"}
	for k, v := range more {
		cfg[k] = v
	}
	s := settings(tb, map[string]any{"endpoint": api.URL, "metering": cfg})
	s.Now = m.now
	var err error
	m.sim, err = huaweisim.New(sim.Config{Listing: s.Listing, Raw: s.Raw, Now: m.now, Seed: seed})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = m.sim.Close() })
	api.Config.Handler = m.sim
	if m.market, err = Open(s); err != nil {
		tb.Fatal(err)
	}
	m.meter = m.market.Meter.(*Meter)
	m.meter.pace.sleep = m.sleep
	return m
}

func (m *metered) faults(tb testing.TB, f huaweisim.MeteringFaults) {
	tb.Helper()
	if err := m.sim.SetMeteringFaults(f); err != nil {
		tb.Fatal(err)
	}
}

// adopt puts n pay-per-use instances into the simulator's book.
func (m *metered) adopt(n int, started time.Time) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("inst-%05d", i)
		m.sim.Adopt(huaweisim.Instance{
			InstanceID: ids[i], Version: 2, ChargingMode: "ON_DEMAND", StartedAt: started, Confirmed: true,
		})
	}
	return ids
}

// record returns a record of the hour that begins at start, sealed a while after it.
func record(instance string, start time.Time, units int64) metering.Record {
	return metering.Record{
		ID:      metering.RecordID(fmt.Sprintf("mrec_%s_%d", instance, start.Unix())),
		Listing: "hw-cn", Subscription: "sub_1", Dimension: dimension, Subject: instance,
		PeriodStart: start, PeriodEnd: start.Add(time.Hour), Units: units, UnitAmount: 10_000,
		Currency: "CNY", Deadline: start.Add(window), SealedAt: start.Add(65*time.Minute + time.Microsecond),
		Status: metering.Sending, Attempts: 1,
	}
}

// verdicts maps records to verdicts, and fails if one has none or two.
func verdicts(tb testing.TB, records []metering.Record, results []metering.Result) map[metering.RecordID]metering.Verdict {
	tb.Helper()
	out := map[metering.RecordID]metering.Verdict{}
	for _, r := range results {
		if _, twice := out[r.Record]; twice {
			tb.Errorf("Report() answers twice for %s", r.Record)
		}
		out[r.Record] = r.Verdict
		for _, secret := range []string{testKey, testSK, "TESTAK", "http", "127.0.0.1"} {
			if strings.Contains(r.Detail, secret) {
				tb.Errorf("Report() tells %q in %q", secret, r.Detail)
			}
		}
	}
	for _, r := range records {
		if out[r.ID] == "" {
			tb.Errorf("Report() has no answer for %s", r.ID)
		}
	}
	return out
}

// outbox does what core does with records: it keeps their state before each
// call, applies verdicts, and after a crash goes on from what it kept.
type outbox struct {
	*metered
	tb      testing.TB
	started time.Time                             // of every instance
	records map[metering.RecordID]metering.Record // as persisted
	open    []metering.RecordID                   // that are not final
	taken   map[string]bool
	at      map[metering.RecordID]time.Time // when a record became final
}

func newOutbox(tb testing.TB, m *metered, started time.Time) *outbox {
	return &outbox{
		metered: m, tb: tb, started: started, records: map[metering.RecordID]metering.Record{},
		taken: map[string]bool{}, at: map[metering.RecordID]time.Time{},
	}
}

// seal makes a record of units used up to end, or returns false if no period
// can be had now.
func (o *outbox) seal(instance string, end time.Time, units int64) bool {
	now := o.now()
	key := func(start time.Time) string { return instance + "/" + start.Format(time.RFC3339) }
	p, ok := o.meter.Period(end, now, func(start time.Time) bool {
		return start.Before(o.started) || o.taken[key(start)]
	})
	if !ok {
		return false
	}
	o.taken[key(p.Start)] = true
	r := record(instance, p.Start, units)
	r.PeriodEnd, r.Deadline, r.SealedAt, r.Status, r.Attempts = p.End, p.Deadline, now, metering.Sealed, 0
	o.put(r)
	o.open = append(o.open, r.ID)
	return true
}

func (o *outbox) put(r metering.Record) {
	o.records[r.ID] = r
	if r.Status.Final() {
		o.at[r.ID] = o.now()
	}
}

// due returns up to limit records to send, and notes that they are being sent.
func (o *outbox) due(limit int) []metering.Record {
	now := o.now()
	var batch []metering.Record
	open := o.open[:0]
	for _, id := range o.open {
		r := o.records[id]
		if r.Status.Final() {
			continue
		}
		open = append(open, id)
		resend := r.Status != metering.Unknown || o.meter.Resolve(r)
		if len(batch) < limit && !r.RetryAt.After(now) && resend {
			r.Status, r.SentAt = metering.Sending, now
			r.Attempts++
			o.put(r)
			batch = append(batch, r)
		}
	}
	o.open = open
	return batch
}

// flush sends one batch. crashed drops the answer: on restart, what was being
// sent is unknown.
func (o *outbox) flush(crashed bool) int {
	batch := o.due(o.meter.Terms().Batch)
	if len(batch) == 0 {
		return 0
	}
	results := o.meter.Report(o.tb.Context(), batch)
	verdicts(o.tb, batch, results)
	for _, res := range results {
		r := o.records[res.Record]
		if crashed {
			res = metering.Result{Record: r.ID, Verdict: metering.MaybeTaken, Detail: "crashed"}
		}
		o.put(metering.Answer(r, res, o.meter.Resolve(r), o.now()))
	}
	return len(batch)
}
