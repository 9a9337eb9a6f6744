package usage

import (
	"fmt"
	"time"
)

// Month is a calendar month at a site, counted from January of the year 0.
type Month int32

// MonthOf returns the month of a day.
func (d Day) Month() Month {
	t := time.Unix(int64(d)*86400, 0).UTC()
	return Month(t.Year()*12 + int(t.Month()) - 1) // #nosec -- years of four digits
}

// ParseMonth reads a month such as "2026-11".
func ParseMonth(s string) (Month, error) {
	t, err := time.Parse("2006-01", s)
	if err != nil {
		return 0, fmt.Errorf("month %q: must be written as 2026-11", s)
	}
	return Month(t.Year()*12 + int(t.Month()) - 1), nil // #nosec -- likewise
}

// Days returns the days [from, to) of the month.
func (m Month) Days() (from, to Day) {
	first := time.Date(int(m)/12, time.Month(int(m)%12+1), 1, 0, 0, 0, 0, time.UTC)
	return dayNumber(first), dayNumber(first.AddDate(0, 1, 0))
}

func dayNumber(t time.Time) Day { return Day(t.Unix() / 86400) } // #nosec -- likewise

// String returns the month, "2026-11".
func (m Month) String() string { return fmt.Sprintf("%04d-%02d", int(m)/12, int(m)%12+1) }

// MarshalText writes the month. It never fails.
func (m Month) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads a month; see ParseMonth.
func (m *Month) UnmarshalText(text []byte) (err error) {
	*m, err = ParseMonth(string(text))
	return err
}
