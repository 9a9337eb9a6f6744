package aws

import (
	"cmp"
	"slices"
	"time"

	"cloudsettle/core"
)

// The windows of usage, in AWS's clock, which is UTC (API Reference
// "BatchMeterUsage", SDK changelog of July 2026). Usage "24 hours or more" old
// is refused; usage of a month that is over is refused from 06:00 on the 1st.
// The reference has also said one hour and six: window_hours narrows it.
const (
	mostWindowHours  = 24
	leastWindowHours = 2 // a completed hour is an hour old at least
	monthGrace       = 6 * time.Hour
)

// clockMargin keeps away from both ends of a window when a period is chosen:
// our clock may differ from AWS's, and a call takes its time. Whether AWS
// tolerates usage of the future is not documented.
const clockMargin = time.Minute

// Period returns the hour to report usage under. AWS keeps one record an hour,
// the first that comes; a further one for the same hour is not added to it but
// refused, so a taken hour is never chosen.
//
// The last hour of the usage comes first, then the hours before it, then those
// after it, nearest first: usage after the end of an agreement is refused. The
// months are AWS's: an hour of another month moves money to another invoice, so
// it comes last.
func (m *meter) Period(
	end, now time.Time, taken func(start time.Time) bool,
) (core.MeterPeriod, bool) {
	last := end.Add(-1).UTC().Truncate(time.Hour)
	for _, start := range openHours(last, now, m.window) {
		if !taken(start) {
			return core.MeterPeriod{
				Start: start, End: start.Add(time.Hour), Deadline: deadline(start, m.window),
			}, true
		}
	}
	return core.MeterPeriod{}, false
}

// openHours returns the hours that usage may be reported under at now, the best
// for usage whose last hour is last first.
func openHours(last, now time.Time, window time.Duration) []time.Time {
	var open []time.Time
	closing := now.Add(clockMargin)
	start := now.Add(-clockMargin).UTC().Truncate(time.Hour)
	for ; deadline(start, window).After(closing); start = start.Add(-time.Hour) {
		open = append(open, start)
	}
	slices.SortFunc(open, func(a, b time.Time) int {
		return cmp.Or(
			before(sameMonth(a, last), sameMonth(b, last)),
			before(!a.After(last), !b.After(last)),
			cmp.Compare(a.Sub(last).Abs(), b.Sub(last).Abs()),
		)
	})
	return open
}

// deadline returns when AWS begins to refuse usage of the hour that begins at
// start.
func deadline(start time.Time, window time.Duration) time.Time {
	start = start.UTC()
	closes := start.Add(window)
	cutOff := time.Date(start.Year(), start.Month()+1, 1, 0, 0, 0, 0, time.UTC).Add(monthGrace)
	if cutOff.Before(closes) {
		return cutOff
	}
	return closes
}

func sameMonth(a, b time.Time) bool {
	return a.Year() == b.Year() && a.Month() == b.Month()
}

// before orders what is before what is not.
func before(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	default:
		return 1
	}
}
