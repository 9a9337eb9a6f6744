package metering

import "time"

// How unanswered and refused reports are repeated.
const (
	retryFirst = 30 * time.Second
	retryMost  = 15 * time.Minute
	// retryShare: a wait takes at most this part of what is left of the window.
	retryShare = 6
	// retryLast is how long before the window closes the last attempt is made:
	// time for a call, and for clocks that differ a little.
	retryLast = time.Minute
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
		r.Status, r.Doubt, r.RetryAt = Unknown, true, time.Time{}
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
	if r.Doubt && r.Status.Final() && r.Units != 0 { // none of zero units is billed twice
		r.Status, r.RetryAt = Unknown, r.Deadline // sending it again decides nothing
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

// again plans the next attempt. The nearer the end of the window, the sooner:
// an outage must not cost the last hour of a subscription that ended, and one
// attempt is left for the end.
func again(r Record, v Result, now time.Time) Record {
	left := r.Deadline.Sub(now)
	wait := min(retryFirst<<min(max(r.Attempts-1, 0), 10), retryMost, max(left/retryShare, retryFirst))
	wait = max(wait, v.RetryAfter)
	if last := left - retryLast; wait > last && last >= retryFirst {
		wait = last
	}
	r.RetryAt = now.Add(wait)
	return r
}
