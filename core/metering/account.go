package metering

import (
	"math/bits"

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
}

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
func (a Account) Finish(units int64, s Status) Account {
	a.InFlight -= units
	if s == Accepted {
		a.Accepted += units
	} else {
		a.Lost += units
	}
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
