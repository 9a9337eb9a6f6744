package usage_test

import (
	"testing"
	"time"

	"cloudsettle/core/usage"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestParseDay(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"2026-11-20", "1969-12-31", "1970-01-01", "2024-02-29", "0001-01-01", "9999-12-31"} {
		if d, err := usage.ParseDay(s); err != nil || d.String() != s {
			t.Errorf("ParseDay(%q) = %s, %v", s, d, err)
		}
	}
	for _, s := range []string{"", "2026-11-31", "2026-1-1", "20261120", "2026-11-20T00:00:00Z"} {
		if d, err := usage.ParseDay(s); err == nil {
			t.Errorf("ParseDay(%q) = %s, want an error", s, d)
		}
	}
}

// TestDaysMeet: days cover the whole of time once, also where clocks change.
func TestDaysMeet(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"UTC", "Asia/Shanghai", "America/Los_Angeles", "Europe/Berlin", "Asia/Kolkata", "America/Sao_Paulo"} {
		z := zone(t, name)
		day, err := usage.ParseDay("2017-01-01")
		if err != nil {
			t.Fatal(err)
		}
		_, end := (day - 1).Bounds(z)
		for range 3 * 366 {
			from, to := day.Bounds(z)
			if !from.Equal(end) || !to.After(from) {
				t.Fatalf("%s in %s is [%s, %s), want it to begin at %s", day, name, from, to, end)
			}
			if first, last := usage.DayOf(from, z), usage.DayOf(to.Add(-time.Microsecond), z); first != day || last != day {
				t.Fatalf("DayOf the ends of %s in %s = %s, %s", day, name, first, last)
			}
			day, end = day+1, to
		}
	}
}

func TestBoundsWhereClocksChange(t *testing.T) {
	t.Parallel()
	for date, hours := range map[string]float64{"2026-03-08": 23, "2026-11-01": 25, "2026-11-02": 24} {
		d, err := usage.ParseDay(date)
		if err != nil {
			t.Fatal(err)
		}
		from, to := d.Bounds(zone(t, "America/Los_Angeles"))
		if got := to.Sub(from).Hours(); got != hours {
			t.Errorf("%s has %v hours, want %v", date, got, hours)
		}
	}
}
