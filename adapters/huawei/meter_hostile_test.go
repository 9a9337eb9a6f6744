package huawei

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"cloudsettle/adapters/huawei/huaweisim"
	"cloudsettle/core/metering"
)

// hostile returns faults of every kind, and a validation of any kind but the
// one that tells nobody.
func hostile(rnd *rand.Rand) huaweisim.MeteringFaults {
	f := huaweisim.MeteringFaults{
		Throttle: 0.08, Broken: 0.04, BrokenAfter: 0.04, Dropped: 0.04, Lost: 0.08, Unknown: 0.03,
		UnknownAfter: 0.03, Partial: 0.1, Validation: []string{"listed", "batch"}[rnd.IntN(2)],
	}
	if rnd.IntN(10) == 0 {
		f.Outage = huaweisim.Span(time.Duration(1+rnd.IntN(180)) * time.Minute)
	}
	return f
}

// TestMeterLosesAndDoublesNothing: whatever the marketplace, the network and
// our own crashes do, it counts exactly what we hold for accepted, over
// the end of a February that has a leap day.
func TestMeterLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	for seed, records := range map[uint64]int{1: 10_000, 2: 1000} {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 1))
			from := time.Date(2028, 2, 10, 16, 0, 0, 0, time.UTC) // midnight in Beijing, a leap year
			m := startMeter(t, seed, from, map[string]any{"batch": 20 + rnd.IntN(80), "rate": 5})
			o := newOutbox(t, m, from)
			instances := append(m.adopt(records/40, from), "nobody-knows-1", "nobody-knows-2")
			charged := o.live(instances, rnd, records)
			o.drain(rnd)
			o.compare(instances, charged)
		})
	}
}

// live charges instances daily, with corrections and flushes in between, until
// there are n records. It returns what was charged.
func (o *outbox) live(instances []string, rnd *rand.Rand, n int) map[string]int64 {
	charged := map[string]int64{}
	for day := o.now(); len(o.records) < n; {
		day = day.Add(24 * time.Hour)
		o.add(day.Sub(o.now()) + time.Duration(rnd.IntN(7200))*time.Second)
		o.faults(o.tb, hostile(rnd))
		for _, instance := range instances {
			units := int64(1 + rnd.IntN(100_000))
			if len(o.records) < n && o.seal(instance, day, units) {
				charged[instance] += units
			}
			if rnd.IntN(8) == 0 && o.seal(instance, day.Add(-time.Duration(rnd.IntN(48))*time.Hour), units) {
				charged[instance] += units
			}
		}
		for range 15 {
			o.flush(rnd.IntN(10) == 0)
			o.add(time.Duration(200+rnd.IntN(60_000)) * time.Millisecond)
		}
	}
	return charged
}

// drain flushes until nothing is open; faults go on for two days.
func (o *outbox) drain(rnd *rand.Rand) {
	for end := o.now().Add(20 * 24 * time.Hour); len(o.open) > 0 && o.now().Before(end); {
		if o.now().After(end.Add(-18 * 24 * time.Hour)) {
			o.faults(o.tb, huaweisim.MeteringFaults{Validation: "listed"})
		} else if rnd.IntN(50) == 0 {
			o.faults(o.tb, hostile(rnd))
		}
		if o.flush(rnd.IntN(10) == 0) == 0 {
			o.due(0) // forgets what is final
			o.add(time.Minute)
		}
	}
}

// compare holds what we believe against what the marketplace counts.
func (o *outbox) compare(instances []string, charged map[string]int64) {
	t := o.tb
	accepted, counts, attempts := map[string]int64{}, map[metering.Status]int{}, 0
	for id, r := range o.records {
		counts[r.Status]++
		attempts += r.Attempts
		switch {
		case r.Status == metering.Accepted:
			accepted[r.Subject] += r.Units
		case r.Status == metering.Rejected && r.Subject[:6] == "nobody" && r.LastError != "":
		default:
			t.Errorf("record %s is %s: %q, want it accepted", id, r.Status, r.LastError)
		}
		if at := o.at[id]; !at.Before(r.Deadline) {
			t.Errorf("record %s was final at %s, after its window %s", id, at, r.Deadline)
		}
	}
	for _, instance := range instances {
		got, _ := o.sim.Metered(instance, dimension)
		if instance[:6] != "nobody" && (got != accepted[instance] || got != charged[instance]) {
			t.Errorf("%s: the marketplace counts %d, accepted are %d, charged %d",
				instance, got, accepted[instance], charged[instance])
		}
	}
	o.add(time.Hour)
	st := o.sim.Metering()
	if len(st.Console) > 0 || st.TooFast > 0 || len(o.sim.Violations()) > 0 {
		t.Errorf("%d dropped, %d calls too fast, violations %q, want none",
			len(st.Console), st.TooFast, o.sim.Violations())
	}
	t.Logf("%d records %v, %d attempts in %d calls", len(o.records), counts, attempts, st.Calls)
}

// TestMeterFinishesWithinTheFinalWindow: instances end, outages of up to 40
// minutes come, and the last usage of each is accepted in time.
func TestMeterFinishesWithinTheFinalWindow(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(3, 1))
	from := time.Date(2026, 11, 29, 16, 0, 0, 0, time.UTC)
	m := startMeter(t, 3, from, map[string]any{"rate": 5})
	started := from.Add(-24 * time.Hour)
	o := newOutbox(t, m, started)
	ends, charged := map[string]time.Time{}, map[string]int64{}
	instances := m.adopt(1000, started)
	for down := from; len(ends) < len(instances); {
		o.add(time.Duration(rnd.IntN(240)) * time.Second)
		if o.now().After(down) {
			f := huaweisim.MeteringFaults{
				Lost: 0.1, Throttle: 0.1, Partial: 0.1, Validation: "listed",
				Outage: huaweisim.Span(time.Duration(rnd.IntN(40*60)) * time.Second),
			}
			o.faults(t, f)
			down = o.now().Add(time.Duration(f.Outage) + time.Duration(60+rnd.IntN(120))*time.Minute)
		}
		instance, now := instances[len(ends)], o.now()
		ends[instance], charged[instance] = now, int64(1+rnd.IntN(1000))
		m.sim.Adopt(huaweisim.Instance{
			InstanceID: instance, Version: 2, ChargingMode: "ON_DEMAND", StartedAt: started,
			Ended: true, EndedAt: now,
		})
		if !o.seal(instance, now, charged[instance]) {
			t.Fatalf("Period(%s, %s) = none, want one for what ended", now, now)
		}
		o.flush(rnd.IntN(20) == 0)
	}
	for end := o.now().Add(24 * time.Hour); len(o.open) > 0 && o.now().Before(end); {
		if o.flush(false) == 0 {
			o.due(0)
			o.add(time.Minute)
		}
	}
	o.compare(instances, charged)
	for id, r := range o.records {
		if late := o.at[id].Sub(ends[r.Subject]); late > o.meter.Terms().FinalWithin {
			t.Errorf("%s was accepted %s after its end, want within %s", id, late, o.meter.Terms().FinalWithin)
		}
	}
}
