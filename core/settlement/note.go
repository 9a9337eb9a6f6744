package settlement

import (
	"errors"
	"fmt"
	"time"

	"cloudsettle/core/account"
	"cloudsettle/core/ledger"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/money"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// NoteID identifies a credit or debit note.
type NoteID string

// Note corrects a bill by an amount: a credit note gives back, a debit note
// charges more. It is made whole in one transaction and never changes, and
// neither does its bill.
type Note struct {
	ID   NoteID `json:"id"`
	Bill BillID `json:"bill"` // a monthly or a daily one
	// Day and Seq are those of a daily bill: they say which monthly bill has it.
	Day            usage.Day            `json:"day,omitempty"`
	Seq            uint64               `json:"seq,omitempty"`
	BillingAccount account.ID           `json:"billing_account"`
	Currency       money.Currency       `json:"currency"`
	Settlement     workspace.Settlement `json:"settlement"` // what it goes through
	Total          money.Micros         `json:"total"`      // below zero for a credit
	Split
	Reason    string    `json:"reason"`
	By        string    `json:"by,omitempty"`
	LedgerSeq uint64    `json:"ledger_seq"`
	IssuedAt  time.Time `json:"issued_at"`
}

// Kind is the kind of the note's transaction.
func (n *Note) Kind() ledger.Kind {
	if n.Total < 0 {
		return ledger.CreditNote
	}
	return ledger.DebitNote
}

// On reports whether n corrects a monthly bill or a daily bill that it covers.
func (n *Note) On(b *MonthlyBill) bool {
	return n.Bill == b.ID || n.Currency == b.Currency && n.BillingAccount == b.BillingAccount && b.Covers(n.Day, n.Seq)
}

// Postings are the movements of money that the note makes.
func (n *Note) Postings() []ledger.Posting {
	return n.postings(n.Total, n.Settlement.Subscription)
}

// Pay decides how a note moves its money, from the balances as they stand: what
// goes through a cloud account changes what its subscription owes; what goes
// through the wallet lowers arrears and then adds to cash, or takes from cash
// and then adds to arrears.
func (n *Note) Pay(h ledger.Head) (err error) {
	n.Split = Split{}
	if n.Settlement.Method == workspace.ByCloudAccount {
		n.Cloud = n.Total
		return nil
	}
	return n.useCash(n.Total, h)
}

// Balance is what a bill comes to with its notes, in all and through each
// subscription: what a credit note may still give back.
type Balance struct {
	Net    money.Micros
	Clouds map[marketplace.SubscriptionID]money.Micros
}

// The errors of notes.
var (
	ErrNoteTooLarge   = errors.New("more than the bill has left")
	ErrNoteSettlement = errors.New("the bill was paid in more than one way")
	ErrNoteChannel    = errors.New("the bill charged nothing through this subscription")
)

// DailyBalance returns what is left of a daily bill.
func DailyBalance(b *DailyBill, notes []Note) (Balance, error) {
	out := Balance{Net: b.Total, Clouds: map[marketplace.SubscriptionID]money.Micros{}}
	if b.Cloud != 0 {
		out.Clouds[b.Settlement.Subscription] = b.Cloud
	}
	return out.with(notes, func(n *Note) bool { return n.Bill == b.ID })
}

// MonthlyBalance returns what is left of a monthly bill.
func MonthlyBalance(b *MonthlyBill, notes []Note) (Balance, error) {
	out := Balance{Net: b.Total, Clouds: map[marketplace.SubscriptionID]money.Micros{}}
	for _, s := range b.Workspaces {
		sum, err := out.Clouds[s.Subscription].Add(s.Cloud)
		if err != nil {
			return out, err
		}
		if s.Cloud != 0 {
			out.Clouds[s.Subscription] = sum
		}
	}
	return out.with(notes, func(n *Note) bool { return n.On(b) })
}

func (x Balance) with(notes []Note, of func(*Note) bool) (Balance, error) {
	for i := range notes {
		n := &notes[i]
		if !of(n) {
			continue
		}
		var err error
		if x.Net, err = x.Net.Add(n.Total); err != nil {
			return x, err
		}
		if n.Cloud == 0 {
			continue
		}
		id := n.Settlement.Subscription
		if x.Clouds[id], err = x.Clouds[id].Add(n.Cloud); err != nil {
			return x, err
		}
	}
	return x, nil
}

// Allows reports whether a note of an amount may be made. No credit gives back
// more than is left, in all or through one subscription.
func (x Balance) Allows(total money.Micros, s workspace.Settlement) error {
	left := x.Net
	if s.Method == workspace.ByCloudAccount {
		through, charged := x.Clouds[s.Subscription]
		if !charged {
			return ErrNoteChannel
		}
		left = min(left, through)
	}
	if total >= 0 {
		return nil
	}
	sum, err := left.Add(total)
	if err != nil || sum < 0 {
		return fmt.Errorf("%w: %s", ErrNoteTooLarge, max(left, 0))
	}
	return nil
}

// Settlement is what a note goes through if nobody says: what the whole bill
// was charged to. A bill that was charged in several ways has no such thing.
func (x Balance) Settlement() (workspace.Settlement, error) {
	wallet := x.Net
	s := workspace.Settlement{Method: workspace.ByBillingAccount}
	for id, sum := range x.Clouds {
		if sum == 0 {
			continue
		}
		if s.Method == workspace.ByCloudAccount {
			return s, ErrNoteSettlement
		}
		s = workspace.Settlement{Method: workspace.ByCloudAccount, Subscription: id}
		var err error
		if wallet, err = wallet.Sub(sum); err != nil {
			return s, err
		}
	}
	if s.Method == workspace.ByCloudAccount && wallet != 0 {
		return s, ErrNoteSettlement
	}
	return s, nil
}
