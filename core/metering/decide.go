package metering

import "time"

// How unanswered and refused reports are repeated.
const (
	retryFirst = 30 * time.Second
	retryMost  = 15 * time.Minute
)

// Answer decides what a verdict does to a record. resend says whether a record
// that may be on file is sent again as it is; the marketplace's own rules.
//
// A record that may be on file never becomes Rejected or Expired: its units
// would be due again, and billed twice. It stays Unknown until it is resolved.
func Answer(r Record, v Result, resend bool, now time.Time) Record {
	r.LastError = v.Detail
	switch v.Verdict {
	case OK, Same:
		r.Status, r.ProviderID, r.LastError, r.Doubt = Accepted, v.ProviderID, "", false
		return r
	case Duplicate:
		return duplicate(r, v)
	case Different:
		r.Status, r.ProviderID = Conflict, v.ProviderID
		return r
	case Refused:
		r.Status = Rejected
	case OutOfTime:
		r.Status = Expired
	case MaybeTaken:
		r.Status, r.Doubt = Unknown, true
		if resend {
			r = again(r, v, now)
		}
	default: // NotTaken, Throttled, NotActive and what is unknown to us
		r.Status = Sealed
		r = again(r, v, now)
	}
	return r.Settle(now)
}

// Settle ends a record whose window is over, and keeps one open that may be on
// file.
func (r Record) Settle(now time.Time) Record {
	if r.Status != Rejected && !now.Before(r.Deadline) {
		r.Status = Expired
	}
	if r.Doubt && r.Status.Final() {
		r.Status = Unknown
	}
	return r
}

// duplicate decides about a key that is on file with a quantity that the
// marketplace does not tell. A record never changes after it was sealed, so if
// an earlier attempt may have been taken, what is on file is the record itself.
func duplicate(r Record, v Result) Record {
	r.Status, r.ProviderID = Conflict, v.ProviderID
	if r.Doubt {
		r.Status, r.LastError, r.Doubt = Accepted, "", false
	}
	return r
}

// again plans the next attempt.
func again(r Record, v Result, now time.Time) Record {
	wait := max(min(retryFirst<<min(max(r.Attempts-1, 0), 10), retryMost), v.RetryAfter)
	r.RetryAt = now.Add(wait)
	return r
}

// Alarm is how urgent a record is that is not final.
type Alarm int

// The alarms: at half and at four fifths of the window.
const (
	Calm Alarm = iota
	Warning
	Critical
)

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
