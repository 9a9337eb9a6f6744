package metering

import (
	"time"

	"cloudsettle/core/money"
)

// Health says whether the reporting of a subscription works, so that nobody
// takes broken reporting for a customer who used nothing.
type Health string

// The states, the worst first. Unbound is a subscription that settles no
// workspace: nothing is expected of it.
const (
	Stuck     Health = "stuck"     // a record is past half its window, or what is due is held back
	Silent    Health = "silent"    // workspaces are bound and report no usage
	Idle      Health = "idle"      // usage is reported, and comes to nothing or less than a unit
	Reporting Health = "reporting" // usage is reported and billed
	Unbound   Health = "unbound"   // no workspace settles through it, or it is not active
)

// BilledWithin is how long after a record was accepted a subscription counts as
// billed: days are settled one by one, and a day's record takes a while.
const BilledWithin = 48 * time.Hour

// Signs are what the health of a subscription is told from.
type Signs struct {
	Account Account
	// Live says that the subscription is active, Workspaces how many settle
	// through it now: of others no usage is expected.
	Live       bool
	Workspaces int
	// UsageUntil is the end of the newest hour that any of them reported usage
	// for, Used whether that day has any above zero.
	UsageUntil time.Time
	Used       bool
	// Settled says that a day was billed, Charge what the last one came to.
	Settled bool
	Charge  money.Micros
	// Worst is the worst alarm of its records, Unknown whether one is unknown.
	Worst   Alarm
	Unknown bool
}

// Health tells how the reporting of a subscription is at now. Workspaces that
// reported nothing for silence are silent.
func (s *Signs) Health(now time.Time, silence time.Duration) Health {
	switch {
	case s.Worst > Calm, s.Unknown, s.Account.Hold != "":
		return Stuck
	case s.Workspaces == 0, !s.Live:
		return Unbound
	case s.UsageUntil.Before(now.Add(-silence)):
		return Silent
	case s.Account.InFlight > 0, now.Sub(s.Account.BilledAt) < BilledWithin:
		return Reporting
	case !s.Used, s.Settled && s.Charge < max(s.Account.UnitAmount, 1):
		return Idle
	}
	return Reporting
}
