package settlement

import (
	"cmp"
	"slices"
	"time"

	"cloudsettle/core/ledger"
	"cloudsettle/core/money"
	"cloudsettle/core/workspace"
)

// FundKind is what sort of prepaid value a fund is.
type FundKind string

// The kinds, in the order in which they are used up.
const (
	OrdinaryVoucher FundKind = "ordinary_voucher"
	DiscountVoucher FundKind = "discount_voucher"
	PrepaidCard     FundKind = "prepaid_card"
)

// Fund is a voucher or a prepaid card of a billing account.
type Fund struct {
	ID       string         `json:"id"`
	Rev      uint64         `json:"rev"`
	Owner    string         `json:"owner"`
	Kind     FundKind       `json:"kind"`
	Currency money.Currency `json:"currency"`
	Face     money.Micros   `json:"face"`
	From     time.Time      `json:"from"`
	Until    time.Time      `json:"until"` // first instant at which it is no longer valid
}

// Account is the fund's place in the ledger.
func (f *Fund) Account() ledger.Account {
	if f.Kind == PrepaidCard {
		return ledger.Card(f.ID)
	}
	return ledger.Voucher(f.ID)
}

// Valid reports whether the fund may pay at an instant.
func (f *Fund) Valid(at time.Time) bool { return !at.Before(f.From) && at.Before(f.Until) }

// order is how funds are used up: ordinary vouchers, discount vouchers, cards;
// of one kind the one that expires first.
func order(k FundKind) int {
	switch k {
	case OrdinaryVoucher:
		return 0
	case DiscountVoucher:
		return 1
	default:
		return 2
	}
}

// Purse is what can pay for a bill: valid funds and the balances as they stand.
type Purse struct {
	Head  ledger.Head
	Funds []Fund
	At    time.Time
}

// Deduct decides what pays for lines: ordinary vouchers, discount vouchers and
// prepaid cards in this order, then the cloud account, or cash and after it
// arrears. Vouchers do not pay for lines that exclude them. Cash and arrears
// move in whole minor units; what is rounded off is carried in the ledger.
//
// A negative total is a correction: it lowers what the cloud account owes, or
// goes to arrears and then to cash.
func Deduct(lines []Line, p Purse, m workspace.Method) (Split, error) {
	var s Split
	general, restricted, err := sums(lines)
	if err != nil {
		return s, err
	}
	if general, restricted, err = s.useFunds(general, restricted, p); err != nil {
		return s, err
	}
	rest, err := general.Add(restricted)
	switch {
	case err != nil || rest == 0:
		return s, err
	case m == workspace.ByCloudAccount:
		s.Cloud = rest
		return s, nil
	}
	return s, s.useCash(rest, p.Head)
}

// sums returns what vouchers may pay for, and what they may not. A correction
// is netted first.
func sums(lines []Line) (general, restricted money.Micros, err error) {
	for _, l := range lines {
		to := &general
		if l.NoVouchers {
			to = &restricted
		}
		if *to, err = to.Add(l.Amount); err != nil {
			return 0, 0, err
		}
	}
	if general < 0 && restricted > 0 {
		restricted, general = net(restricted, general)
	} else if restricted < 0 && general > 0 {
		general, restricted = net(general, restricted)
	}
	return general, restricted, nil
}

// net lets a credit pay for what is due. What is left stays on its side: a
// credit does not make vouchers pay for what excludes them.
func net(due, credit money.Micros) (money.Micros, money.Micros) {
	sum := due + credit // of different signs: it fits
	return max(sum, 0), min(sum, 0)
}

// useFunds lets vouchers and cards pay, and returns what they left.
func (s *Split) useFunds(general, restricted money.Micros, p Purse) (money.Micros, money.Micros, error) {
	funds := slices.Clone(p.Funds)
	slices.SortFunc(funds, func(a, b Fund) int {
		return cmp.Or(cmp.Compare(order(a.Kind), order(b.Kind)), a.Until.Compare(b.Until), cmp.Compare(a.ID, b.ID))
	})
	for i := range funds {
		f := &funds[i]
		if !f.Valid(p.At) || f.Currency != p.Head.Currency {
			continue
		}
		left := p.Head.Of(f.Account())
		paid := take(&general, &left)
		if f.Kind == PrepaidCard {
			paid += take(&restricted, &left)
		}
		if paid > 0 {
			s.Deductions = append(s.Deductions, Deduction{f.Account(), paid})
		}
	}
	return general, restricted, nil
}

// take moves as much of due as left has, and returns how much that was.
func take(due, left *money.Micros) money.Micros {
	n := min(*due, *left)
	if n <= 0 {
		return 0
	}
	*due -= n
	*left -= n
	return n
}

// useCash charges rest, and what was carried, in whole minor units to cash and
// what cash does not cover to arrears. The carry takes the difference.
func (s *Split) useCash(rest money.Micros, h ledger.Head) error {
	carried, err := h.Of(ledger.Carry).Neg()
	if err != nil {
		return err
	}
	due, err := rest.Add(carried)
	if err != nil {
		return err
	}
	whole, _, err := money.Amount{Micros: due, Currency: h.Currency}.RoundMinor()
	if err != nil {
		return err
	}
	charge := whole.Micros
	if charge < 0 { // a correction first lowers what is owed
		back := min(-charge, -h.Of(ledger.Arrears))
		s.Arrears, charge = -back, charge+back
	}
	cash := charge
	if charge > 0 {
		cash = min(charge, floorMinor(h.Of(ledger.Cash), h.Currency))
		s.Arrears = charge - cash
	}
	if cash != 0 {
		s.Deductions = append(s.Deductions, Deduction{ledger.Cash, cash})
	}
	if carry := rest - cash - s.Arrears; carry != 0 {
		s.Deductions = append(s.Deductions, Deduction{ledger.Carry, carry})
	}
	return nil
}

// floorMinor is the whole minor units of a balance that is not negative.
func floorMinor(m money.Micros, c money.Currency) money.Micros {
	unit := money.Unit
	for range c.MinorDigits() {
		unit /= 10
	}
	return m - m%unit
}
