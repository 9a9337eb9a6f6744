package usage_test

import (
	"testing"
	"time"

	"cloudsettle/core/usage"
)

// TestDayEdges: instants a nanosecond before and at midnight belong to other
// days, at each site's own midnight, also on leap days and where clocks change.
// Worked out by hand.
func TestDayEdges(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ zone, last, first, before, after string }{
		{"UTC", "2026-11-20T23:59:59.999999999Z", "2026-11-21T00:00:00Z", "2026-11-20", "2026-11-21"},
		{"Asia/Shanghai", "2026-11-20T15:59:59.999999999Z", "2026-11-20T16:00:00Z", "2026-11-20", "2026-11-21"}, // UTC+8
		{"America/Los_Angeles", "2026-11-21T07:59:59.999999999Z", "2026-11-21T08:00:00Z", "2026-11-20", "2026-11-21"},
		{"Asia/Shanghai", "2028-02-28T15:59:59.999999999Z", "2028-02-28T16:00:00Z", "2028-02-28", "2028-02-29"},
		{"Asia/Shanghai", "2028-02-29T15:59:59.999999999Z", "2028-02-29T16:00:00Z", "2028-02-29", "2028-03-01"},
		{"UTC", "2027-02-28T23:59:59.999999999Z", "2027-03-01T00:00:00Z", "2027-02-28", "2027-03-01"},
		{"Asia/Shanghai", "2026-12-31T15:59:59.999999999Z", "2026-12-31T16:00:00Z", "2026-12-31", "2027-01-01"},
		{"Europe/Berlin", "2026-03-28T22:59:59.999999999Z", "2026-03-28T23:00:00Z", "2026-03-28", "2026-03-29"}, // 23 hours follow
		{"Europe/Berlin", "2026-03-29T21:59:59.999999999Z", "2026-03-29T22:00:00Z", "2026-03-29", "2026-03-30"},
		{"America/New_York", "2026-11-01T03:59:59.999999999Z", "2026-11-01T04:00:00Z", "2026-10-31", "2026-11-01"}, // 25 hours follow
		{"America/New_York", "2026-11-02T04:59:59.999999999Z", "2026-11-02T05:00:00Z", "2026-11-01", "2026-11-02"},
	} {
		zone, err := time.LoadLocation(c.zone)
		if err != nil {
			t.Fatal(err)
		}
		last, err1 := time.Parse(time.RFC3339Nano, c.last)
		first, err2 := time.Parse(time.RFC3339Nano, c.first)
		if err1 != nil || err2 != nil || first.Sub(last) != time.Nanosecond {
			t.Fatalf("%s and %s are not a nanosecond apart: %v %v", c.last, c.first, err1, err2)
		}
		if got := usage.DayOf(last, zone).String(); got != c.before {
			t.Errorf("%s in %s is on %s, want %s", c.last, c.zone, got, c.before)
		}
		day := usage.DayOf(first, zone)
		if day.String() != c.after {
			t.Errorf("%s in %s is on %s, want %s", c.first, c.zone, day, c.after)
		}
		if from, _ := day.Bounds(zone); !from.Equal(first) {
			t.Errorf("%s in %s begins at %s, want %s", day, c.zone, from, c.first)
		}
		if _, to := (day - 1).Bounds(zone); !to.Equal(first) {
			t.Errorf("%s in %s ends at %s, want %s", day-1, c.zone, to, c.first)
		}
	}
}
