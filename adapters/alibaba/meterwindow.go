package alibaba

import (
	"time"

	"cloudsettle/core"
)

// The periods of records and the windows in which they are taken (page
// PushMeteringData).
const (
	// slotWidth is the width of a period. It must be more than five minutes; ten
	// is what the page's sample has, and six in an hour leave room for several
	// records of one instance.
	slotWidth = 10 * time.Minute
	// windowTail is how long after the hour, or the day, of its usage a record is
	// taken: usage of 08:10 to 08:20 before 09:59, of a day before 01:59.
	windowTail = 119 * time.Minute
	hourlyTail = windowTail - time.Hour
	// sendMargin is how long before its window closes a record is last sent. What
	// comes late is not refused but silently not billed, so a call must be over
	// by then (callTimeout) by clocks that differ a little.
	sendMargin = callTimeout + 20*time.Second
	// finalWithin is how long usage is accepted for certain after an instance
	// ended: the hour that holds its end is billed, until one minute before the
	// next one is over.
	finalWithin = 59 * time.Minute
)

// window knows when which period is taken.
//
// That hours and days are those of Beijing is inferred, so they are those of
// the listing's time_zone. Whether a period that ends with the hour belongs to
// it or to the next one is not stated: it belongs to the hour it starts in,
// which has the earlier deadline. Usage of the future is never reported.
type window struct {
	zone  *time.Location
	daily bool
}

// hour returns the start of the hour of t in the zone.
func (w window) hour(t time.Time) time.Time {
	local := t.In(w.zone)
	into := time.Duration(local.Minute())*time.Minute +
		time.Duration(local.Second())*time.Second + time.Duration(local.Nanosecond())
	return t.Add(-into).UTC()
}

// deadline returns when the window of a period that starts then closes.
func (w window) deadline(start time.Time) time.Time {
	if !w.daily {
		return w.hour(start).Add(time.Hour + hourlyTail)
	}
	y, m, d := start.In(w.zone).Date()
	return time.Date(y, m, d+1, 0, 0, 0, 0, w.zone).Add(windowTail).UTC()
}

// open reports whether a record of a period that starts then may be sent.
func (w window) open(start, now time.Time) bool {
	return now.Before(w.deadline(start).Add(-sendMargin))
}

// oldest returns the start of the oldest hour, or day, that may be open.
func (w window) oldest(now time.Time) time.Time {
	if !w.daily {
		return w.hour(now).Add(-time.Hour)
	}
	y, m, d := now.In(w.zone).Date()
	return time.Date(y, m, d-1, 0, 0, 0, 0, w.zone).UTC()
}

// period returns the best free period: in the last hour of the usage, else in
// its month, else near to it. It is pure; Meter.Period has the promise.
func (w window) period(end, now time.Time, taken func(time.Time) bool) (core.MeterPeriod, bool) {
	var best time.Time
	var bestRank rank
	start, oldest := w.slot(now).Add(-slotWidth), w.oldest(now)
	for ; !start.Before(oldest) && w.open(start, now); start = start.Add(-slotWidth) {
		r := w.rank(start, end)
		if (best.IsZero() || r.before(bestRank)) && !taken(start) {
			best, bestRank = start, r
		}
	}
	if best.IsZero() {
		return core.MeterPeriod{}, false
	}
	return core.MeterPeriod{Start: best, End: best.Add(slotWidth), Deadline: w.deadline(best)}, true
}

// slot returns the start of the slot of t.
func (w window) slot(t time.Time) time.Time {
	h := w.hour(t)
	return h.Add(t.Sub(h).Truncate(slotWidth))
}

// rank orders periods for usage up to end. The least is the best one.
type rank struct {
	class    int
	distance time.Duration
}

func (r rank) before(o rank) bool {
	return r.class < o.class || r.class == o.class && r.distance < o.distance
}

// rank: the hour that holds the end of the usage first, because it is billed
// even if the instance ended in it; then the month; and what was before the
// end before what was after it, which an ended instance is not billed for.
func (w window) rank(start, end time.Time) rank {
	last := end.Add(-1)
	r := rank{distance: start.Add(slotWidth).Sub(end)}
	switch {
	case w.hour(start).Equal(w.hour(last)):
	case sameMonth(start.In(w.zone), last.In(w.zone)):
		r.class = 2
	default:
		r.class = 4
	}
	if r.distance > 0 {
		r.class++
	}
	r.distance = r.distance.Abs()
	return r
}

func sameMonth(a, b time.Time) bool {
	return a.Year() == b.Year() && a.Month() == b.Month()
}
