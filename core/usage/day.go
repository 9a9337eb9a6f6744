package usage

import (
	"fmt"
	"time"
)

// Day is a civil date at a site, counted in days from 1970-01-01. The days of
// bills and the dates from which prices hold are Days: what instants they
// cover depends on the site's time zone.
type Day int32

const secondsPerDay = 24 * 60 * 60

// ParseDay reads a date such as "2026-11-20".
func ParseDay(s string) (Day, error) {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		return 0, fmt.Errorf("day %q is not a date such as 2026-11-20", s)
	}
	return Day(t.Unix() / secondsPerDay), nil
}

// DayOf returns the day at a site in zone that t falls in.
func DayOf(t time.Time, zone *time.Location) Day {
	y, m, d := t.In(zone).Date()
	return Day(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / secondsPerDay)
}

// Bounds returns the instants [from, to) of the day at a site in zone, in UTC.
// A day is 23 or 25 hours long where clocks change. A sample belongs to the
// day that the beginning of its hour falls in.
func (d Day) Bounds(zone *time.Location) (from, to time.Time) {
	return d.midnight(zone), (d + 1).midnight(zone)
}

// midnight returns the first instant of the day, which is one o'clock where
// clocks go forward at midnight.
func (d Day) midnight(zone *time.Location) time.Time {
	y, m, day := d.utc().Date()
	t := time.Date(y, m, day, 0, 0, 0, 0, zone)
	if t.Day() != day {
		_, t = t.ZoneBounds()
	}
	return t.UTC()
}

func (d Day) utc() time.Time { return time.Unix(int64(d)*secondsPerDay, 0).UTC() }

// String returns the date, "2026-11-20".
func (d Day) String() string { return d.utc().Format(time.DateOnly) }

// MarshalText writes the date. It never fails.
func (d Day) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a date; see ParseDay.
func (d *Day) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDay(string(text))
	return err
}
