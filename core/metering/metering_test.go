package metering_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"cloudsettle/core/metering"
	"cloudsettle/core/money"
)

// TestNothingIsLostToRounding charges random amounts, credits among them,
// seals what is due, and ends records in random ways: what was charged is
// always what was accepted, what is in flight, and the carry.
func TestNothingIsLostToRounding(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a := metering.Account{Currency: "CNY", UnitAmount: money.Micros(rapid.Int64Range(1, 2_000_000).Draw(t, "unit"))}
		var charged money.Micros
		var flying []int64
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0, 1:
				m := money.Micros(rapid.Int64Range(-1_000_000, 10_000_000).Draw(t, "charge"))
				charged += m
				var err error
				if a, err = a.Charge(m); err != nil {
					t.Fatal(err)
				}
			case 2:
				if units := due(t, a); units > 0 {
					a, flying = a.Seal(units), append(flying, units)
				}
			case 3:
				if len(flying) > 0 {
					end := rapid.SampledFrom([]metering.Status{metering.Accepted, metering.Expired, metering.Rejected}).Draw(t, "end")
					a, flying = a.Finish(&metering.Record{Units: flying[0], Status: end}, time.Time{}), flying[1:]
				}
			}
			balanced(t, a, charged)
		}
	})
}

func due(t *rapid.T, a metering.Account) int64 {
	units, err := a.Due(1 << 31)
	if err != nil {
		t.Fatal(err)
	}
	return units
}

func balanced(t *rapid.T, a metering.Account, charged money.Micros) {
	carry, err := a.Carry()
	if err != nil {
		t.Fatal(err)
	}
	if a.Charged != charged || charged != a.UnitAmount*money.Micros(a.Accepted+a.InFlight)+carry {
		t.Fatalf("charged %s, account %+v, carry %s", charged, a, carry)
	}
	sealed := a.Seal(due(t, a))
	if carry, err = sealed.Carry(); err != nil || carry >= a.UnitAmount {
		t.Fatalf("carry %s after sealing what is due, %v; a unit is %s", carry, err, a.UnitAmount)
	}
	if carry < 0 && due(t, a) != 0 {
		t.Fatalf("units are due with a carry of %s", carry)
	}
}

func TestAnswer(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
	open, closed := now.Add(time.Hour), now
	for _, c := range []struct {
		name     string
		record   metering.Record
		verdict  metering.Verdict
		resend   bool
		deadline time.Time
		want     metering.Status
	}{
		{"OK", metering.Record{Attempts: 1}, metering.OK, false, open, metering.Accepted},
		{"OKAtTheLastMoment", metering.Record{Attempts: 1}, metering.OK, false, closed, metering.Accepted},
		{"Same", metering.Record{Attempts: 2}, metering.Same, false, open, metering.Accepted},
		{"DuplicateOfItself", metering.Record{Attempts: 2, Doubt: true}, metering.Duplicate, true, open, metering.Accepted},
		{"DuplicateOfAnother", metering.Record{Attempts: 3}, metering.Duplicate, true, open, metering.Conflict},
		{"Different", metering.Record{Attempts: 1}, metering.Different, true, open, metering.Conflict},
		{"Refused", metering.Record{Attempts: 1}, metering.Refused, true, open, metering.Rejected},
		{"RefusedAfterDoubt", metering.Record{Attempts: 2, Doubt: true}, metering.Refused, true, open, metering.Unknown},
		{"OutOfTime", metering.Record{Attempts: 1}, metering.OutOfTime, true, open, metering.Expired},
		{"OutOfTimeAfterDoubt", metering.Record{Attempts: 2, Doubt: true}, metering.OutOfTime, true, open, metering.Unknown},
		{"Lost", metering.Record{Attempts: 1}, metering.MaybeTaken, true, open, metering.Unknown},
		{"LostAtTheLastMoment", metering.Record{Attempts: 1}, metering.MaybeTaken, true, closed, metering.Unknown},
		{"Throttled", metering.Record{Attempts: 1}, metering.Throttled, true, open, metering.Sealed},
		{"ThrottledTooLong", metering.Record{Attempts: 9}, metering.Throttled, true, closed, metering.Expired},
		{"ThrottledTooLongAfterDoubt", metering.Record{Attempts: 9, Doubt: true}, metering.Throttled, true, closed, metering.Unknown},
		{"NotSubscribed", metering.Record{Attempts: 1}, metering.NotActive, true, open, metering.Sealed},
		{"SomethingNew", metering.Record{Attempts: 1}, "who knows", true, open, metering.Sealed},
	} {
		c.record.Deadline, c.record.Units = c.deadline, 1
		got := metering.Answer(c.record, metering.Result{Verdict: c.verdict}, c.resend, now)
		if got.Status != c.want {
			t.Errorf("%s: %s, want %s", c.name, got.Status, c.want)
		}
		if c.record.Units = 0; c.resend && c.want == metering.Unknown && c.deadline == closed {
			if got := metering.Answer(c.record, metering.Result{Verdict: c.verdict}, c.resend, now); got.Status != metering.Expired {
				t.Errorf("%s of zero units: %s, want expired: no person needs to look", c.name, got.Status)
			}
		}
		if got.Status == metering.Sealed && !got.RetryAt.After(now) {
			t.Errorf("%s: sent again at %s, at once", c.name, got.RetryAt)
		}
	}
}

// TestRetryAfterIsHeeded: the marketplace's own wait holds, waits grow, but
// never past the last moment at which the record would still be taken.
func TestRetryAfterIsHeeded(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name          string
		attempts      int
		left, after   time.Duration
		least, atMost time.Duration
	}{
		{"First", 1, 24 * time.Hour, 0, 30 * time.Second, 30 * time.Second},
		{"Grown", 9, 24 * time.Hour, 0, 15 * time.Minute, 15 * time.Minute},
		{"AsTold", 1, 24 * time.Hour, time.Hour, time.Hour, time.Hour},
		{"NearTheEnd", 9, 12 * time.Minute, 0, 2 * time.Minute, 2 * time.Minute},
		{"LastChance", 2, 5 * time.Minute, 10 * time.Minute, 4 * time.Minute, 4 * time.Minute},
		{"TooLate", 2, 40 * time.Second, 0, 30 * time.Second, time.Minute},
	} {
		r := metering.Record{Attempts: c.attempts, Deadline: now.Add(c.left)}
		r = metering.Answer(r, metering.Result{Verdict: metering.Throttled, RetryAfter: c.after}, true, now)
		if wait := r.RetryAt.Sub(now); wait < c.least || wait > c.atMost {
			t.Errorf("%s: sent again after %s, want %s to %s", c.name, wait, c.least, c.atMost)
		}
	}
}

func TestAlarms(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
	r := metering.Record{Status: metering.Sealed, SealedAt: at, Deadline: at.Add(10 * time.Hour)}
	for hours, want := range map[int]metering.Alarm{0: metering.Calm, 4: metering.Calm, 5: metering.Warning, 7: metering.Warning, 8: metering.Critical, 12: metering.Critical} {
		if got := metering.AlarmOf(&r, at.Add(time.Duration(hours)*time.Hour)); got != want {
			t.Errorf("after %d of 10 hours: alarm %d, want %d", hours, got, want)
		}
	}
}
