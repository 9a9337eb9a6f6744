package alibabasim_test

import (
	"testing"
	"time"

	"cloudsettle/adapters/alibaba/alibabasim"
	"cloudsettle/adapters/internal/sim"
	"cloudsettle/core/metering"
	"cloudsettle/core/money"
)

// minutes lets the program try for a while.
func (o *outbox) minutes(t *testing.T, n int) {
	t.Helper()
	for range n {
		for _, a := range o.accounts {
			o.seal(t, a, o.bench.clock.now())
		}
		o.send(t)
		o.bench.clock.advance(time.Minute)
	}
}

// next makes the next calls go wrong, and the ones after them go well.
func (o *outbox) next(f alibabasim.MeteringFaults) {
	o.fault = func() alibabasim.MeteringFaults {
		now := f
		f = alibabasim.MeteringFaults{}
		return now
	}
}

// What metering went wrong with elsewhere, each as it would show here.
func TestKnownMeteringFailures(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(t *testing.T, o *outbox, a *account){
		// An answer that is no success was booked as one.
		"NoSuccessIsNotAccepted": func(t *testing.T, o *outbox, a *account) {
			o.next(alibabasim.MeteringFaults{SuccessFalse: 1})
			o.charge(t, a, money.Unit)
			o.minutes(t, 5)
			if r := o.records[0]; r.Status != metering.Unknown || a.Accepted != 0 || len(o.records) != 1 {
				t.Errorf("%s is %s, %d units accepted, %d records", r.ID, r.Status, a.Accepted, len(o.records))
			}
		},
		// Throttling failed the record for good.
		"ThrottlingIsNotFinal": func(t *testing.T, o *outbox, a *account) {
			o.next(alibabasim.MeteringFaults{Throttle: 1})
			o.charge(t, a, money.Unit)
			o.minutes(t, 5)
			if r := o.records[0]; r.Status != metering.Accepted || r.Attempts != 2 {
				t.Errorf("%s is %s after %d attempts, want accepted after 2", r.ID, r.Status, r.Attempts)
			}
		},
		// The amount was added again on every run whose call failed.
		"FailuresDoNotAddUp": func(t *testing.T, o *outbox, a *account) {
			o.charge(t, a, money.Unit)
			for range 4 {
				o.next(alibabasim.MeteringFaults{ServerError: 1})
				o.minutes(t, 3)
			}
			o.minutes(t, 20)
			if units, n := o.bench.sim.Metered(a.instance, o.terms.Dimension); units != 100 || n != 1 {
				t.Errorf("%d units in %d records are billed, want 100 in 1", units, n)
			}
		},
		// A run that did not happen left a hole.
		"AMissedRunLeavesNoHole": func(t *testing.T, o *outbox, a *account) {
			for range 5 {
				o.charge(t, a, money.Unit)
				o.bench.clock.advance(7 * time.Hour)
			}
			o.minutes(t, 5)
			if a.Accepted != 500 {
				t.Errorf("%d units accepted, want 500", a.Accepted)
			}
		},
		// What was too old was tried for ever.
		"TooOldIsNotTriedForEver": func(t *testing.T, o *outbox, a *account) {
			o.charge(t, a, money.Unit)
			o.seal(t, a, o.bench.clock.now())
			o.bench.clock.advance(24 * time.Hour)
			before := o.records[0]
			o.send(t)
			if before.Status != metering.Expired || before.LastError == "" || len(a.active) != 0 {
				t.Errorf("%s is %s: %q, want expired with a reason", before.ID, before.Status, before.LastError)
			}
			o.minutes(t, 5)
			if a.Accepted != 100 {
				t.Errorf("%d units accepted, want 100 in another period", a.Accepted)
			}
		},
		// Only the first report of an hour was taken.
		"SeveralReportsInAnHour": func(t *testing.T, o *outbox, a *account) {
			for range 3 {
				o.charge(t, a, money.Unit)
				o.minutes(t, 2)
			}
			if units, n := o.bench.sim.Metered(a.instance, o.terms.Dimension); units != 300 || n != 3 {
				t.Errorf("%d units in %d records are billed, want 300 in 3", units, n)
			}
		},
		// An outage over the end of a month lost the month's last usage.
		"AnOutageOverTheEndOfAMonth": func(t *testing.T, o *outbox, a *account) {
			o.bench.clock.advance(time.Date(2026, 11, 30, 15, 0, 0, 0, time.UTC).Sub(o.bench.clock.now()))
			o.outageEnds = o.bench.clock.now().Add(5 * time.Hour)
			o.fault = o.hostile()
			o.charge(t, a, money.Unit)
			o.minutes(t, 8*60)
			if a.Accepted != 100 || a.InFlight != 0 {
				t.Errorf("%d units accepted, %d in flight, want 100 and 0", a.Accepted, a.InFlight)
			}
		},
		// Fractions of a unit were dropped with every window.
		"FractionsAddUp": func(t *testing.T, o *outbox, a *account) {
			for range 30 {
				o.charge(t, a, 4_000) // 0.4 units
				o.minutes(t, 11)
			}
			if a.Accepted != 12 {
				t.Errorf("%d units accepted, want 12", a.Accepted)
			}
		},
		// Failures were swallowed: an outage looked like no usage.
		"AnOutageIsSeen": func(t *testing.T, o *outbox, a *account) {
			o.outageEnds = o.bench.clock.now().Add(5 * time.Hour)
			o.fault = o.hostile()
			o.charge(t, a, money.Unit)
			o.minutes(t, 50)
			r := o.records[0]
			if r.Status.Final() || r.LastError == "" || metering.AlarmOf(r, o.bench.clock.now()) != metering.Critical {
				t.Errorf("%s is %s: %q, want a reason and an alarm", r.ID, r.Status, r.LastError)
			}
			o.minutes(t, 6*60)
		},
		// A person corrects a permission; what was used meanwhile is not lost.
		"DeniedUntilCorrected": func(t *testing.T, o *outbox, a *account) {
			o.next(alibabasim.MeteringFaults{Denied: 1})
			o.charge(t, a, money.Unit)
			o.minutes(t, 17)
			if r := o.records[0]; r.Status != metering.Accepted || r.Attempts != 2 {
				t.Errorf("%s is %s after %d attempts, want accepted after 2", r.ID, r.Status, r.Attempts)
			}
		},
		// A crash between the marketplace's yes and our note of it billed twice.
		"ACrashDoesNotBillTwice": func(t *testing.T, o *outbox, a *account) {
			o.crashAfter = 1
			o.charge(t, a, money.Unit)
			o.minutes(t, 30)
			if _, n := o.bench.sim.Metered(a.instance, o.terms.Dimension); n != 1 || a.InFlight != 100 || len(o.records) != 1 {
				t.Errorf("%d records are billed, %d units in flight, %d records", n, a.InFlight, len(o.records))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newOutbox(newBench(t, "cn", sim.Config{Compress: 1e6}, metered(nil)), 1)
			o.buy(t, 1)
			run(t, o, o.accounts[0])
			o.check(t, 1)
		})
	}
}
