// Package ledger is double-entry bookkeeping for the money of billing
// accounts: transactions whose postings sum to zero, chained by hashes, and
// balances that are the fold of postings.
//
// There is one book for each billing account and currency, so that bills of
// different accounts never wait for each other. Within a book nothing is
// edited or removed: a correction is another transaction.
//
// Owns: postings, balances, the chain, what may not go below zero. Does not
// own: why money moves (core/settlement), whose it is.
package ledger

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cloudsettle/core/money"
)

// Account names a place where money is, within one book. Names of vouchers,
// cards and subscriptions follow their kind after a slash.
type Account string

// The accounts of a book. A positive balance of Cash, vouchers and cards is
// what the customer can spend; Arrears is never positive and is what they owe;
// Carry is what was rounded off and is yet to be charged; Cloud is, negative,
// what was charged through a subscription's marketplace.
const (
	Cash     Account = "cash"
	Arrears  Account = "arrears"
	Carry    Account = "carry"
	Revenue  Account = "revenue"  // what was earned
	External Account = "external" // where money comes from and goes to

	voucherPrefix = "voucher/"
	cardPrefix    = "card/"
	cloudPrefix   = "cloud/"
)

// Voucher, Card and Cloud name the accounts of one voucher, prepaid card or
// subscription.
func Voucher(id string) Account { return Account(voucherPrefix + id) }
func Card(id string) Account    { return Account(cardPrefix + id) }
func Cloud(id string) Account   { return Account(cloudPrefix + id) }

// Floored reports whether the balance of a may not go below zero.
func (a Account) Floored() bool {
	return a == Cash || strings.HasPrefix(string(a), voucherPrefix) || strings.HasPrefix(string(a), cardPrefix)
}

// Kind says why money moved.
type Kind string

// The kinds of transaction.
const (
	Adjustment Kind = "adjustment" // by an operator, with a reason
	TopUp      Kind = "top_up"
	Grant      Kind = "grant" // of a voucher or card
	Usage      Kind = "usage" // a daily bill
	Expiry     Kind = "expiry"
	CreditNote Kind = "credit_note" // gives back what a bill charged
	DebitNote  Kind = "debit_note"  // charges more for a bill
)

// Posting moves an amount into (positive) or out of (negative) an account.
type Posting struct {
	Account Account      `json:"account"`
	Micros  money.Micros `json:"micros"`
}

// Transaction is one indivisible movement of money in one book.
type Transaction struct {
	Owner    string         `json:"owner"` // the billing account
	Currency money.Currency `json:"currency"`
	Seq      uint64         `json:"seq"` // from 1, without gaps
	At       time.Time      `json:"at"`
	Kind     Kind           `json:"kind"`
	Ref      string         `json:"ref,omitempty"` // what it is for, such as a bill
	Reason   string         `json:"reason,omitempty"`
	By       string         `json:"by,omitempty"`
	Postings []Posting      `json:"postings"` // sorted by account, each once, none zero
	Prev     Hash           `json:"prev"`
	Hash     Hash           `json:"hash"`
}

// Balance is what an account holds.
type Balance struct {
	Account Account      `json:"account"`
	Micros  money.Micros `json:"micros"`
}

// Head is the end of a book: its last transaction's hash, and its balances.
type Head struct {
	Owner    string         `json:"owner"`
	Currency money.Currency `json:"currency"`
	Rev      uint64         `json:"rev"`
	Seq      uint64         `json:"seq"`
	Hash     Hash           `json:"hash"`
	Balances []Balance      `json:"balances"` // sorted by account, none zero
}

// Key names a book.
type Key struct {
	Owner    string // the billing account
	Currency money.Currency
}

// Book is the end of a book and what was added since it was read.
type Book struct {
	Head  Head
	Added []Transaction
}

// Post adds t to the book, or changes nothing; see Head.Post.
func (b *Book) Post(t Transaction) (Transaction, error) {
	next, t, err := b.Head.Post(t)
	if err == nil {
		b.Head, b.Added = next, append(b.Added, t)
	}
	return t, err
}

// The errors of posting.
var (
	ErrUnbalanced   = errors.New("postings do not sum to zero")
	ErrInsufficient = errors.New("balance is too low")
	ErrBroken       = errors.New("the chain is broken")
	ErrEmpty        = errors.New("a transaction without postings")
)

// Of returns the balance of an account.
func (h *Head) Of(a Account) money.Micros {
	if at, ok := h.find(a); ok {
		return h.Balances[at].Micros
	}
	return 0
}

func (h *Head) find(a Account) (int, bool) {
	return slices.BinarySearchFunc(h.Balances, a, func(b Balance, a Account) int {
		return cmp.Compare(b.Account, a)
	})
}

// Post appends t to the book of h. It fills in t's place in the chain and
// returns it with the new head; h is unchanged. Errors: ErrUnbalanced,
// ErrEmpty, ErrInsufficient if an account that may not would go below zero,
// money.ErrOverflow.
func (h Head) Post(t Transaction) (Head, Transaction, error) {
	var err error
	if t.Postings, err = normalize(t.Postings); err != nil {
		return h, t, err
	}
	t.Owner, t.Currency, t.Seq, t.Prev = h.Owner, h.Currency, h.Seq+1, h.Hash
	next, err := h.apply(t.Postings)
	if err != nil {
		return h, t, err
	}
	t.Hash = t.digest()
	next.Seq, next.Hash = t.Seq, t.Hash
	return next, t, nil
}

// Moves reports whether t is what comes of postings.
func (t *Transaction) Moves(postings []Posting) bool {
	again, err := normalize(postings)
	return err == nil && slices.Equal(again, t.Postings)
}

// normalize sorts postings by account, adds up those of one account, leaves
// out zeros, and checks that they balance.
func normalize(in []Posting) ([]Posting, error) {
	out := slices.Clone(in)
	slices.SortStableFunc(out, func(a, b Posting) int { return cmp.Compare(a.Account, b.Account) })
	n := 0
	var total money.Micros
	var err error
	for _, p := range out {
		if total, err = total.Add(p.Micros); err != nil {
			return nil, err
		}
		if n > 0 && out[n-1].Account == p.Account {
			if out[n-1].Micros, err = out[n-1].Micros.Add(p.Micros); err != nil {
				return nil, err
			}
			continue
		}
		out[n] = p
		n++
	}
	out = slices.DeleteFunc(out[:n], func(p Posting) bool { return p.Micros == 0 })
	switch {
	case total != 0:
		return nil, fmt.Errorf("%w: %s", ErrUnbalanced, total)
	case len(out) == 0:
		return nil, ErrEmpty
	}
	return out, nil
}

// apply returns h with the balances that follow from postings.
func (h Head) apply(postings []Posting) (Head, error) {
	h.Balances = slices.Clone(h.Balances)
	for _, p := range postings {
		at, ok := h.find(p.Account)
		if !ok {
			h.Balances = slices.Insert(h.Balances, at, Balance{Account: p.Account})
		}
		sum, err := h.Balances[at].Micros.Add(p.Micros)
		if err != nil {
			return h, err
		}
		if sum < 0 && p.Micros < 0 && p.Account.Floored() {
			return h, fmt.Errorf("%w: %s would be %s", ErrInsufficient, p.Account, sum)
		}
		h.Balances[at].Micros = sum
	}
	h.Balances = slices.DeleteFunc(h.Balances, func(b Balance) bool { return b.Micros == 0 })
	return h, nil
}
