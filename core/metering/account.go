package metering

import (
	"math/bits"
	"time"

	"cloudsettle/core/marketplace"
	"cloudsettle/core/money"
)

// Account adds up what one subscription owes its marketplace, in one currency.
// At any time, with the amount of one unit,
//
//	Charged = (Accepted + InFlight) × unit + Carry
//
// and once everything that is due is sealed 0 ≤ Carry < unit. A negative Carry
// is a correction that later charges pay off.
type Account struct {
	Subscription marketplace.SubscriptionID `json:"subscription"`
	Rev          uint64                     `json:"rev"`
	Currency     money.Currency             `json:"currency"`
	UnitAmount   money.Micros               `json:"unit_amount"`
	Charged      money.Micros               `json:"charged"`
	Accepted     int64                      `json:"accepted"`  // units
	InFlight     int64                      `json:"in_flight"` // units of records that are sealed and not final
	// Lost are units of records that ended without being accepted. They are due
	// again; the number is for people.
	Lost int64 `json:"lost,omitempty"`
	// Hold, if not empty, is why nothing is sealed since HeldAt, however much is
	// due. It is lifted by a person or by what the marketplace says next of the
	// subscription; nothing is dropped meanwhile.
	Hold   Hold      `json:"hold,omitempty"`
	HeldAt time.Time `json:"held_at,omitzero"`
	// LastAccepted is the record that was accepted last, at AcceptedAt; BilledAt
	// is when one of more than zero units was.
	LastAccepted RecordID  `json:"last_accepted,omitempty"`
	AcceptedAt   time.Time `json:"accepted_at,omitzero"`
	BilledAt     time.Time `json:"billed_at,omitzero"`
}

// Hold is why a subscription's charges are not sealed.
type Hold string

// The reasons. To seal again at once would end the same way, with every charge
// anew, or bill something twice.
const (
	HoldRefused  Hold = "refused"  // the marketplace will not take a record as it is
	HoldConflict Hold = "conflict" // another quantity is on file: somebody else reports as well
	HoldOver     Hold = "over"     // the subscription ended, and so did its final window
)

// Charge adds an amount, which may be negative.
func (a Account) Charge(m money.Micros) (Account, error) {
	var err error
	a.Charged, err = a.Charged.Add(m)
	return a, err
}

// Carry is what is charged and in no record.
func (a Account) Carry() (money.Micros, error) {
	reported, err := times(a.UnitAmount, a.Accepted+a.InFlight)
	if err != nil {
		return 0, err
	}
	neg, err := reported.Neg()
	if err != nil {
		return 0, err
	}
	return a.Charged.Add(neg)
}

// Due is how many whole units are charged and in no record, at most limit.
func (a Account) Due(limit int64) (int64, error) {
	carry, err := a.Carry()
	if err != nil || carry < a.UnitAmount || a.UnitAmount <= 0 {
		return 0, err
	}
	return min(int64(carry/a.UnitAmount), limit), nil
}

// Seal moves units into a record.
func (a Account) Seal(units int64) Account {
	a.InFlight += units
	return a
}

// Finish takes a record that became final out of flight.
func (a Account) Finish(r *Record, now time.Time) Account {
	a.InFlight -= r.Units
	if r.Status != Accepted {
		a.Lost += r.Units
		return a.held(r, now)
	}
	a.Accepted += r.Units
	a.LastAccepted, a.AcceptedAt = r.ID, now
	if r.Units > 0 {
		a.BilledAt = now
	}
	return a
}

// held stops an account whose record was refused for what it is. A person who
// decided about a record has seen it: that stops nothing.
func (a Account) held(r *Record, now time.Time) Account {
	switch {
	case r.Resolution != Resolution{}:
	case r.Status == Rejected:
		return a.Stop(HoldRefused, now)
	case r.Status == Conflict:
		return a.Stop(HoldConflict, now)
	}
	return a
}

// Stop holds the account's charges back.
func (a Account) Stop(why Hold, now time.Time) Account {
	if a.Hold == "" {
		a.HeldAt = now
	}
	a.Hold = why
	return a
}

// Release lets the account's charges be sealed again.
func (a Account) Release() Account {
	a.Hold, a.HeldAt = "", time.Time{}
	return a
}

// times multiplies an amount by a count, or fails with ErrUnits.
func times(m money.Micros, n int64) (money.Micros, error) {
	neg := (m < 0) != (n < 0)
	hi, lo := bits.Mul64(abs(int64(m)), abs(n))
	if hi != 0 || lo > 1<<63-1 {
		return 0, ErrUnits
	}
	if neg {
		return -money.Micros(lo), nil
	}
	return money.Micros(lo), nil
}

func abs(n int64) uint64 {
	if n < 0 {
		return uint64(-n)
	}
	return uint64(n)
}
