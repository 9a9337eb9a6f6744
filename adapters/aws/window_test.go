package aws_test

import (
	"testing"
	"time"

	"cloudsettle/core"
)

func utc(tb testing.TB, s string) time.Time {
	tb.Helper()
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05", "2006-01-02 15:04"} {
		if at, err := time.Parse(layout, s); err == nil {
			return at
		}
	}
	tb.Fatalf("%q is no time", s)
	return time.Time{}
}

func nothingTaken(time.Time) bool { return false }

func takenAt(tb testing.TB, hours ...string) func(time.Time) bool {
	tb.Helper()
	taken := map[int64]bool{}
	for _, h := range hours {
		taken[utc(tb, h).Unix()] = true
	}
	return func(start time.Time) bool { return taken[start.Unix()] }
}

func openMeter(tb testing.TB, change map[string]any) core.Meter {
	tb.Helper()
	m, _ := market(tb, merged(map[string]any{"model": "subscription"}, change))
	if m.Meter == nil {
		tb.Fatal("the listing has no meter")
	}
	return m.Meter
}

func merged(all ...map[string]any) map[string]any {
	out := map[string]any{}
	for _, m := range all {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}

// The deadlines of hours, at the windows' edges, months and leap days.
func TestPeriodTellsTheDeadline(t *testing.T) {
	t.Parallel()
	m := openMeter(t, nil)
	for _, c := range []struct{ name, end, now, start, deadline string }{
		{"a day", "2026-08-27 15:00", "2026-08-27 15:05", "2026-08-27 14:00", "2026-08-28 14:00"},
		{"the end is within an hour", "2026-08-27 14:10:30", "2026-08-27 15:05", "2026-08-27 14:00", "2026-08-28 14:00"},
		{"the end is just after an hour", "2026-08-27T15:00:00.000000001Z", "2026-08-27 15:05", "2026-08-27 15:00", "2026-08-28 15:00"},
		{"the last hour of a month", "2026-09-01 00:00", "2026-09-01 01:00", "2026-08-31 23:00", "2026-09-01 06:00"},
		{"24 hours before the cut-off", "2026-08-31 07:00", "2026-08-31 08:00", "2026-08-31 06:00", "2026-09-01 06:00"},
		{"25 hours before the cut-off", "2026-08-31 06:00", "2026-08-31 08:00", "2026-08-31 05:00", "2026-09-01 05:00"},
		{"the first hour of a month", "2026-09-01 01:00", "2026-09-01 06:00", "2026-09-01 00:00", "2026-09-02 00:00"},
		{"the end of a year", "2027-01-01 00:00", "2027-01-01 05:30", "2026-12-31 23:00", "2027-01-01 06:00"},
		{"the end of a February", "2026-03-01 00:00", "2026-03-01 00:30", "2026-02-28 23:00", "2026-03-01 06:00"},
		{"before a leap day", "2028-02-29 00:00", "2028-02-29 07:00", "2028-02-28 23:00", "2028-02-29 23:00"},
		{"a leap day", "2028-03-01 00:00", "2028-03-01 05:00", "2028-02-29 23:00", "2028-03-01 06:00"},
		{"a zone is no matter", "2026-08-28T08:00:00+08:00", "2026-08-28 00:10", "2026-08-27 23:00", "2026-08-28 23:00"},
	} {
		p, ok := m.Period(utc(t, c.end), utc(t, c.now), nothingTaken)
		if !ok || !p.Start.Equal(utc(t, c.start)) || !p.Deadline.Equal(utc(t, c.deadline)) {
			t.Errorf("%s: Period(%s, %s) = %v, %t, want %s until %s", c.name, c.end, c.now, p, ok, c.start, c.deadline)
		}
		if p.End.Sub(p.Start) != time.Hour || p.Start.Location() != time.UTC {
			t.Errorf("%s: Period(%s) = %v, want an hour of UTC", c.name, c.end, p)
		}
	}
}

// Which hour is chosen at a time, around the moments at which another one is.
func TestPeriodAtTheEdges(t *testing.T) {
	t.Parallel()
	m := openMeter(t, nil)
	edge := func(at string, steps map[time.Duration]string, end string) {
		for step, want := range steps {
			now := utc(t, at).Add(step)
			p, ok := m.Period(utc(t, end), now, nothingTaken)
			if !ok || !p.Start.Equal(utc(t, want)) {
				t.Errorf("Period(%s, %s%+v) = %v, %t, want %s", end, at, step, p.Start, ok, want)
			}
			if p.Start.After(now) || !p.Deadline.After(now) {
				t.Errorf("Period(%s, %s%+v) = %v, which is closed then", end, at, step, p)
			}
		}
	}
	const own, next = "2026-08-27 14:00", "2026-08-27 15:00"
	// A minute before the window closes is too late to begin.
	edge("2026-08-28 13:59", map[time.Duration]string{
		-8 * time.Hour: own, -time.Second: own, -1: own, 0: next, 1: next, time.Second: next,
		8 * time.Hour: "2026-08-27 23:00",
	}, "2026-08-27 15:00")
	// The month closes at 06:00 whatever the day.
	const last = "2026-08-31 23:00"
	edge("2026-09-01 05:59", map[time.Duration]string{
		-5 * time.Hour: last, -time.Second: last, -1: last, 0: "2026-09-01 00:00", 1: "2026-09-01 00:00",
		time.Second: "2026-09-01 00:00", 8 * time.Hour: "2026-09-01 00:00",
	}, "2026-09-01 00:00")
	// The hour that runs may be reported when it is a minute old.
	edge("2026-08-27 15:01", map[time.Duration]string{
		-time.Second: own, -1: own, 0: next, 1: next, time.Second: next, 8 * time.Hour: next,
	}, "2026-08-27 15:30")
}

func TestPeriodTakesAnotherHourWhereOneIsTaken(t *testing.T) {
	t.Parallel()
	m := openMeter(t, nil)
	for _, c := range []struct {
		name, end, now string
		taken          []string
		want           string
	}{
		{"the hour before", "2026-08-27 15:00", "2026-08-27 18:00", []string{"2026-08-27 14:00"}, "2026-08-27 13:00"},
		{"two hours before", "2026-08-27 15:00", "2026-08-27 18:00",
			[]string{"2026-08-27 14:00", "2026-08-27 13:00"}, "2026-08-27 12:00"},
		{"the hour after, when those before are closed", "2026-08-27 15:00", "2026-08-28 13:30",
			[]string{"2026-08-27 14:00"}, "2026-08-27 15:00"},
		{"of the old month, even if later than the usage", "2026-08-31 07:00", "2026-09-01 05:30",
			[]string{"2026-08-31 06:00"}, "2026-08-31 07:00"},
		{"of the new month, not of the old one", "2026-09-01 01:00", "2026-09-01 03:00",
			[]string{"2026-09-01 00:00"}, "2026-09-01 01:00"},
		{"of the old month when the new one has none left", "2026-09-01 01:00", "2026-09-01 01:30",
			[]string{"2026-09-01 00:00", "2026-09-01 01:00"}, "2026-08-31 23:00"},
		{"of the new month when the old one is closed", "2026-09-01 00:00", "2026-09-01 08:00",
			[]string{"2026-09-01 00:00"}, "2026-09-01 01:00"},
		{"after days without a report", "2026-08-20 00:00", "2026-08-27 15:30", nil, "2026-08-26 16:00"},
		{"after an outage over the end of a month", "2026-08-31 00:00", "2026-09-03 12:30", nil, "2026-09-02 13:00"},
	} {
		p, ok := m.Period(utc(t, c.end), utc(t, c.now), takenAt(t, c.taken...))
		if !ok || !p.Start.Equal(utc(t, c.want)) {
			t.Errorf("%s: Period(%s, %s) = %v, %t, want %s", c.name, c.end, c.now, p.Start, ok, c.want)
		}
	}
}

// A day has 24 records at most for a subscription; then there is none until the
// next hour.
func TestPeriodRunsOut(t *testing.T) {
	t.Parallel()
	m := openMeter(t, nil)
	end, now := utc(t, "2026-08-27 15:00"), utc(t, "2026-08-27 15:30")
	taken := map[time.Time]bool{}
	is := func(start time.Time) bool { return taken[start] }
	for {
		p, ok := m.Period(end, now, is)
		if !ok {
			break
		}
		if taken[p.Start] || p.Start.After(now) || !now.Before(p.Deadline) || len(taken) > 24 {
			t.Fatalf("Period() = %v with %d hours taken", p, len(taken))
		}
		taken[p.Start] = true
	}
	if len(taken) != 24 {
		t.Errorf("%d hours are open at once, want 24", len(taken))
	}
	if p, ok := m.Period(end, now.Add(time.Hour), is); !ok || !p.Start.Equal(utc(t, "2026-08-27 16:00")) {
		t.Errorf("Period() = %v, %t an hour later, want the new hour", p, ok)
	}
}

func TestPeriodHeedsANarrowerWindow(t *testing.T) {
	t.Parallel()
	m := openMeter(t, map[string]any{
		"metering": map[string]any{"dimension": "usage_fee", "unit_amount": "0.01", "window_hours": 6},
	})
	p, ok := m.Period(utc(t, "2026-08-27 15:00"), utc(t, "2026-08-27 19:58"), nothingTaken)
	if !ok || !p.Start.Equal(utc(t, "2026-08-27 14:00")) || !p.Deadline.Equal(utc(t, "2026-08-27 20:00")) {
		t.Errorf("Period() = %v, %t, want 14:00 until 20:00", p, ok)
	}
	p, ok = m.Period(utc(t, "2026-08-27 15:00"), utc(t, "2026-08-27 20:00"), nothingTaken)
	if !ok || !p.Start.Equal(utc(t, "2026-08-27 15:00")) {
		t.Errorf("Period() = %v, %t, want 15:00", p, ok)
	}
}
