package core_test

import (
	"cmp"
	"math/big"
	"slices"
	"time"

	"github.com/govalues/decimal"

	"cloudsettle/core/money"
	"cloudsettle/core/pricing"
)

// The money of the model: prices, deduction and rounding written down a second
// time, as plainly as they can be said, with fractions that never round by
// themselves. Nothing here calls the code that it is compared with.

func zero() *big.Rat              { return new(big.Rat) }
func plus(a, b *big.Rat) *big.Rat { return new(big.Rat).Add(a, b) }
func less(a, b *big.Rat) *big.Rat { return new(big.Rat).Sub(a, b) }
func mult(a, b *big.Rat) *big.Rat { return new(big.Rat).Mul(a, b) }

func smaller(a, b *big.Rat) *big.Rat {
	if a.Cmp(b) < 0 {
		return a
	}
	return b
}

func rat(s string) *big.Rat {
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		panic("not a number: " + s)
	}
	return r
}

func ofDecimal(d decimal.Decimal) *big.Rat { return rat(d.String()) }
func ofMicros(m money.Micros) *big.Rat     { return big.NewRat(int64(m), 1_000_000) }

func tenTo(n int) *big.Rat {
	return new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil))
}

// whole is the largest whole number that is not above r.
func whole(r *big.Rat) *big.Int { return new(big.Int).Div(r.Num(), r.Denom()) }

// halfEven rounds to a number of decimals; what is just between goes to the
// even neighbour.
func halfEven(r *big.Rat, decimals int) *big.Rat {
	scaled := mult(r, tenTo(decimals))
	n := whole(scaled)
	half := less(scaled, new(big.Rat).SetInt(n)).Cmp(big.NewRat(1, 2))
	if half > 0 || half == 0 && n.Bit(0) == 1 {
		n.Add(n, big.NewInt(1))
	}
	return new(big.Rat).Quo(new(big.Rat).SetInt(n), tenTo(decimals))
}

// minorDigits is how many decimals of a currency can be paid.
var minorDigits = map[money.Currency]int{"CNY": 2, "USD": 2, "JPY": 0}

// modelSample is a sample's key within the record of one workspace and day.
type modelSample struct {
	item, variant string
	hour          int64 // seconds
}

type modelSamples map[modelSample]*big.Rat

// modelLineKey tells lines of a bill apart; of is the day that one corrects,
// or "".
type modelLineKey struct{ of, item, variant string }

type modelLine struct {
	quantity, amount *big.Rat
	noVouchers       bool
}

// modelRated is what samples come to by one book: a line for each item and
// variant, and the names that are in none.
type modelRated struct {
	lines   map[modelLineKey]modelLine
	unrated map[[2]string]bool
}

// rateByBook prices samples.
func rateByBook(b *pricing.Book, samples modelSamples, of string) modelRated {
	out := modelRated{map[modelLineKey]modelLine{}, map[[2]string]bool{}}
	for k := range samples {
		out.unrated[[2]string{k.item, k.variant}] = true // until a line has it
	}
	for i := range b.Items {
		it := &b.Items[i]
		left := ofDecimal(it.FreeQuota)
		for j := range it.Prices {
			p := &it.Prices[j]
			quantity, names := measured(it, p.Variant, samples)
			if len(names) == 0 {
				continue
			}
			free := smaller(left, quantity)
			left = less(left, free)
			amount := halfEven(priced(it, p, less(quantity, free)), b.Scale)
			if !storable(quantity) || !storable(free) || !payable(amount) {
				continue
			}
			for _, name := range names {
				delete(out.unrated, [2]string{name, p.Variant})
			}
			out.lines[modelLineKey{of, it.Code, p.Variant}] = modelLine{quantity, amount, it.ExcludeVouchers}
		}
	}
	return out
}

// measured is the quantity of one variant of an item on a day, and the
// measures of it that were reported: each measure is aggregated, weighted and
// added to its group, and the largest group counts.
func measured(it *pricing.Item, variant string, samples modelSamples) (*big.Rat, []string) {
	measures := it.Measures
	if len(measures) == 0 {
		measures = []pricing.Measure{{Code: it.Code, Weight: decimal.One}}
	}
	groups, names := map[string]*big.Rat{}, []string(nil)
	for _, m := range measures {
		value, ok := aggregated(it.Aggregation, m.Code, variant, samples)
		if !ok {
			continue
		}
		names = append(names, m.Code)
		if groups[m.Group] == nil {
			groups[m.Group] = zero()
		}
		groups[m.Group] = plus(groups[m.Group], mult(value, ofDecimal(m.Weight)))
	}
	largest := zero()
	for _, sum := range groups {
		if sum.Cmp(largest) > 0 {
			largest = sum
		}
	}
	return largest, names
}

func aggregated(how pricing.Aggregation, measure, variant string, samples modelSamples) (*big.Rat, bool) {
	value, newest, found := zero(), int64(0), false
	for k, q := range samples {
		if k.item != measure || k.variant != variant {
			continue
		}
		switch {
		case how == pricing.Sum:
			value = plus(value, q)
		case how == pricing.Max && (!found || q.Cmp(value) > 0),
			how == pricing.Last && (!found || k.hour > newest):
			value, newest = q, k.hour
		}
		found = true
	}
	return value, found
}

// priced is what a quantity costs, exactly.
func priced(it *pricing.Item, p *pricing.Price, quantity *big.Rat) *big.Rat {
	perUnit := func(q *big.Rat, price decimal.Decimal) *big.Rat {
		return new(big.Rat).Quo(mult(q, ofDecimal(price)), ofDecimal(it.Unit))
	}
	if it.Mode == pricing.Flat {
		return perUnit(quantity, p.Price)
	}
	sum, below := zero(), zero()
	for i, t := range p.Tiers {
		last := i == len(p.Tiers)-1 || quantity.Cmp(ofDecimal(t.UpTo)) <= 0
		if it.Mode == pricing.Volume {
			if last {
				return perUnit(quantity, t.Price)
			}
			continue
		}
		if last {
			return plus(sum, perUnit(less(quantity, below), t.Price))
		}
		sum = plus(sum, perUnit(less(ofDecimal(t.UpTo), below), t.Price))
		below = ofDecimal(t.UpTo)
	}
	panic("a price without tiers")
}

// storable reports whether a quantity is one of at most 19 digits.
func storable(q *big.Rat) bool {
	for scale := range 20 {
		if s := mult(q, tenTo(scale)); s.IsInt() {
			return s.Num().Cmp(tenTo(19).Num()) < 0
		}
	}
	return false
}

// payable reports whether an amount fits 64 bits of millionths.
func payable(a *big.Rat) bool { return mult(a, tenTo(6)).Num().IsInt64() }

// modelFund is a voucher or a card.
type modelFund struct {
	id          string
	rank        int    // ordinary vouchers 0, discount vouchers 1, cards 2
	name        string // its account in the ledger
	left        *big.Rat
	from, until time.Time
}

// modelWallet is what an account has in one currency.
type modelWallet struct {
	currency          money.Currency
	cash, owed, carry *big.Rat
	funds             []*modelFund
	cloud             map[string]*big.Rat // charged, by subscription
	earned, outside   *big.Rat            // what bills came to, what was put in
}

func newModelWallet(c money.Currency) *modelWallet {
	return &modelWallet{
		currency: c, cash: zero(), owed: zero(), carry: zero(), cloud: map[string]*big.Rat{}, earned: zero(), outside: zero(),
	}
}

// adjust adds to the cash, after paying what is owed. It is false if the cash
// is less than what is taken.
func (w *modelWallet) adjust(amount *big.Rat) bool {
	pay := zero()
	if amount.Sign() > 0 {
		pay = smaller(amount, w.owed)
	}
	cash := plus(w.cash, less(amount, pay))
	if cash.Sign() < 0 {
		return false
	}
	w.cash, w.owed, w.outside = cash, less(w.owed, pay), plus(w.outside, amount)
	return true
}

// modelPaid is what paid for a bill.
type modelPaid struct {
	by             map[string]*big.Rat
	cloud, arrears *big.Rat
}

// pay deducts a bill: vouchers, cards, and then the subscription that it is
// settled through, or cash and what stays owed.
func (w *modelWallet) pay(lines map[modelLineKey]modelLine, at time.Time, sub string) modelPaid {
	out := modelPaid{map[string]*big.Rat{}, zero(), zero()}
	general, restricted := zero(), zero()
	for _, l := range lines {
		if l.noVouchers {
			restricted = plus(restricted, l.amount)
		} else {
			general = plus(general, l.amount)
		}
	}
	w.earned = plus(w.earned, plus(general, restricted))
	// A credit on one side pays for the other; what is left stays where it was.
	if general.Sign() < 0 && restricted.Sign() > 0 {
		general, restricted = netted(general, restricted)
	} else if restricted.Sign() < 0 && general.Sign() > 0 {
		restricted, general = netted(restricted, general)
	}
	slices.SortFunc(w.funds, func(a, b *modelFund) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), a.until.Compare(b.until), cmp.Compare(a.id, b.id))
	})
	for _, f := range w.funds {
		if at.Before(f.from) || !at.Before(f.until) {
			continue
		}
		paid := f.take(&general)
		if f.rank == 2 {
			paid = plus(paid, f.take(&restricted))
		}
		if paid.Sign() > 0 {
			out.by[f.name] = paid
		}
	}
	rest := plus(general, restricted)
	switch {
	case rest.Sign() == 0:
	case sub != "":
		out.cloud = rest
		if w.cloud[sub] == nil {
			w.cloud[sub] = zero()
		}
		w.cloud[sub] = plus(w.cloud[sub], rest)
	default:
		w.payCash(rest, &out)
	}
	return out
}

// netted lets a credit pay for a debit.
func netted(credit, debit *big.Rat) (*big.Rat, *big.Rat) {
	sum := plus(credit, debit)
	if sum.Sign() < 0 {
		return sum, zero()
	}
	return zero(), sum
}

func (f *modelFund) take(due **big.Rat) *big.Rat {
	n := smaller(*due, f.left)
	if n.Sign() <= 0 {
		return zero()
	}
	*due, f.left = less(*due, n), less(f.left, n)
	return n
}

// payCash charges whole minor units; the rest is carried. What cash does not
// cover is owed; a credit lowers what is owed and is cash after that.
func (w *modelWallet) payCash(rest *big.Rat, out *modelPaid) {
	digits := minorDigits[w.currency]
	due := plus(rest, w.carry)
	charge := halfEven(due, digits)
	w.carry = less(due, charge)
	if carried := less(rest, charge); carried.Sign() != 0 {
		out.by["carry"] = carried
	}
	var cash *big.Rat
	if charge.Sign() < 0 {
		cash = plus(charge, smaller(new(big.Rat).Neg(charge), w.owed))
	} else {
		spendable := new(big.Rat).Quo(new(big.Rat).SetInt(whole(mult(w.cash, tenTo(digits)))), tenTo(digits))
		cash = smaller(charge, spendable)
	}
	out.arrears = less(charge, cash)
	w.owed, w.cash = plus(w.owed, out.arrears), less(w.cash, cash)
	if cash.Sign() != 0 {
		out.by["cash"] = cash
	}
}

// balances are the accounts of a wallet's book as the ledger shows them.
func (w *modelWallet) balances() map[string]*big.Rat {
	out := map[string]*big.Rat{
		"cash": w.cash, "arrears": new(big.Rat).Neg(w.owed), "carry": new(big.Rat).Neg(w.carry), "revenue": w.earned,
		"external": new(big.Rat).Neg(w.outside),
	}
	for _, f := range w.funds {
		out[f.name] = f.left
	}
	for sub, charged := range w.cloud {
		out["cloud/"+sub] = new(big.Rat).Neg(charged)
	}
	for name, balance := range out {
		if balance.Sign() == 0 {
			delete(out, name)
		}
	}
	return out
}
