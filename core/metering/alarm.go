package metering

import (
	"slices"
	"time"
)

// Alarm is how urgent a record is that is not final.
type Alarm int

// The alarms: at half and at four fifths of the window.
const (
	Calm Alarm = iota
	Warning
	Critical
)

// String returns the alarm in a word.
func (a Alarm) String() string {
	switch a {
	case Warning:
		return "warning"
	case Critical:
		return "critical"
	}
	return "calm"
}

// AlarmOf returns how urgent a record is at now.
func AlarmOf(r *Record, now time.Time) Alarm {
	switch u := r.Urgency(now); {
	case r.Status.Final() || u < 0.5:
		return Calm
	case u < 0.8:
		return Warning
	default:
		return Critical
	}
}

// Trouble is what people are told of, once for each record.
type Trouble string

// The kinds of trouble. A record that ends without being accepted is told of
// by its status.
const (
	TroubleWarning  Trouble = "warning"  // half of its window is over
	TroubleCritical Trouble = "critical" // four fifths are
	TroubleUnknown  Trouble = "unknown"  // it may be on file or not
	TroubleRejected Trouble = "rejected"
	TroubleConflict Trouble = "conflict"
	TroubleExpired  Trouble = "expired"
	TroubleHeld     Trouble = "held" // what is due is not sealed: the subscription is over
)

// Troubles returns all kinds, the most pressing first: what can still be saved
// before what is over.
func Troubles() []Trouble {
	return []Trouble{
		TroubleCritical, TroubleWarning, TroubleUnknown, TroubleHeld, TroubleRejected, TroubleConflict, TroubleExpired,
	}
}

// Rank is the place of a trouble in Troubles.
func (t Trouble) Rank() int { return slices.Index(Troubles(), t) }

// TroublesOf returns what is to be told of a record that is not final: of its
// window only what is worst.
func TroublesOf(r *Record, now time.Time) []Trouble {
	var out []Trouble
	switch AlarmOf(r, now) {
	case Warning:
		out = append(out, TroubleWarning)
	case Critical:
		out = append(out, TroubleCritical)
	}
	if r.Status == Unknown {
		out = append(out, TroubleUnknown)
	}
	return out
}
