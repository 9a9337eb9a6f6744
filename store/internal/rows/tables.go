package rows

import (
	"encoding/binary"
	"strings"
	"time"

	"github.com/govalues/decimal"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/ledger"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
	"cloudsettle/core/pricing"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// Everything that a store keeps, in the order in which it is moved: what others
// refer to comes first.
var (
	Settings = Table[Setting]{"settings", func(s *Setting) string { return s.Name }}
	APIKeys  = Table[core.APIKey]{"api_keys", func(k *core.APIKey) string { return k.ID }}
	Accounts = Table[account.Account]{"billing_accounts", func(a *account.Account) string { return string(a.ID) }}

	CloudAccounts = Table[marketplace.Account]{"cloud_accounts", func(a *marketplace.Account) string { return string(a.ID) }}
	Subscriptions = Table[marketplace.Subscription]{"subscriptions", func(s *marketplace.Subscription) string { return string(s.ID) }}

	Workspaces = Table[workspace.Workspace]{"workspaces", func(w *workspace.Workspace) string { return string(w.ID) }}
	Bindings   = Table[workspace.Binding]{"bindings", func(b *workspace.Binding) string { return string(b.ID) }}
	PriceBooks = Table[pricing.Book]{"price_books", func(b *pricing.Book) string { return string(b.ID) }}

	Callbacks  = Table[Entry]{"callbacks", func(e *Entry) string { return string(e.ID) }}
	Rejections = Table[Rejection]{"rejections", func(r *Rejection) string { return number(r.Slot) }}
	Claims     = Table[Claim]{"claims", func(c *Claim) string { return joined(c.Scope, c.Key) }}
	Tasks      = Table[core.Task]{"tasks", func(t *core.Task) string { return t.ID }}

	UsageDays = Table[UsageDay]{"usage", func(u *UsageDay) string { return PeriodKey(u.Day, u.Workspace) }}

	DailyBills = Table[settlement.DailyBill]{"daily_bills", func(b *settlement.DailyBill) string {
		return PeriodKey(b.Day, string(b.Workspace))
	}}
	MonthlyBills = Table[settlement.MonthlyBill]{"monthly_bills", func(b *settlement.MonthlyBill) string {
		return PeriodKey(b.Month, string(b.BillingAccount), string(b.Currency))
	}}
	Notes = Table[settlement.Note]{"credit_notes", func(n *settlement.Note) string { return string(n.ID) }}
	Runs  = Table[core.SettlementRun]{"settlement_runs", func(r *core.SettlementRun) string { return r.ID }}

	LedgerHeads        = Table[ledger.Head]{"ledger_heads", func(h *ledger.Head) string { return joined(h.Owner, string(h.Currency)) }}
	LedgerTransactions = Table[ledger.Transaction]{"ledger_transactions", func(t *ledger.Transaction) string {
		return string(binary.BigEndian.AppendUint64([]byte(joined(t.Owner, string(t.Currency), "")), t.Seq))
	}}
	Funds = Table[settlement.Fund]{"funds", func(f *settlement.Fund) string { return f.ID }}

	MeterAccounts = Table[metering.Account]{"meter_accounts", func(a *metering.Account) string { return string(a.Subscription) }}
	MeterRecords  = Table[metering.Record]{"meter_records", func(r *metering.Record) string { return string(r.ID) }}
)

// Names lists all tables in the order above.
func Names() []string {
	return []string{
		Settings.Name, APIKeys.Name, Accounts.Name, CloudAccounts.Name, Subscriptions.Name,
		Workspaces.Name, Bindings.Name, PriceBooks.Name,
		Callbacks.Name, Rejections.Name, Claims.Name, Tasks.Name, UsageDays.Name,
		DailyBills.Name, MonthlyBills.Name, Notes.Name, Runs.Name,
		LedgerHeads.Name, LedgerTransactions.Name, Funds.Name, MeterAccounts.Name, MeterRecords.Name,
	}
}

// Setting is a small value of the program's own.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Entry is an entry of the journal. Its query is whatever the caller sent, so
// it is not text.
type Entry struct {
	core.JournalEntry
	RawQuery []byte `json:"raw_query,omitempty"` // in place of the one inside
}

// NewEntry makes an Entry of what a store keeps.
func NewEntry(e core.JournalEntry) Entry {
	raw := []byte(e.RawQuery)
	e.RawQuery = ""
	return Entry{e, raw}
}

// Journal is the reverse of NewEntry.
func (e *Entry) Journal() core.JournalEntry {
	out := e.JournalEntry
	out.RawQuery = string(e.RawQuery)
	return out
}

// Rejection is a slot of the log of refused callbacks.
type Rejection struct {
	Slot int `json:"slot"`
	Entry
}

// Claim is a key that was taken.
type Claim struct {
	Scope string `json:"scope"`
	Key   string `json:"key"`
	core.Claim
}

// UsageDay is what a workspace reported for a day.
type UsageDay struct {
	Day       usage.Day `json:"day"`
	Workspace string    `json:"workspace"`
	Rev       uint64    `json:"rev"`
	Sealed    bool      `json:"sealed"`
	Samples   []Sample  `json:"samples"`
}

// Sample is one hour of a UsageDay.
type Sample struct {
	Item     string          `json:"item"`
	Variant  string          `json:"variant,omitempty"`
	Hour     time.Time       `json:"hour"`
	Quantity decimal.Decimal `json:"quantity"`
}

// NewUsageDay makes a UsageDay of what a store keeps.
func NewUsageDay(r *usage.Record) UsageDay {
	out := UsageDay{r.Day, r.Workspace, r.Rev, r.Sealed, make([]Sample, len(r.Samples))}
	for i := range r.Samples {
		s := &r.Samples[i]
		out.Samples[i] = Sample{s.Item, s.Variant, s.Hour, s.Quantity}
	}
	return out
}

// Record is the reverse of NewUsageDay.
func (u *UsageDay) Record() usage.Record {
	out := usage.Record{Workspace: u.Workspace, Day: u.Day, Rev: u.Rev, Sealed: u.Sealed, Samples: make([]usage.Sample, len(u.Samples))}
	for i, s := range u.Samples {
		out.Samples[i] = usage.Sample{Workspace: u.Workspace, Item: s.Item, Variant: s.Variant, Hour: s.Hour, Quantity: s.Quantity}
	}
	return out
}

// PeriodKey is the key of a day or a month and what there is one of in it.
func PeriodKey[P ~int32](p P, parts ...string) string {
	first := binary.BigEndian.AppendUint32(nil, uint32(p)^1<<31) // #nosec -- the sign is turned round
	return string(first) + joined(parts...)
}

// Period splits what PeriodKey made. No key at all is before all periods.
func Period[P ~int32](key string) (p P, rest string) {
	if len(key) < periodSize {
		return -1 << 31, ""
	}
	return P(binary.BigEndian.Uint32([]byte(key[:periodSize])) ^ 1<<31), key[periodSize:] // #nosec -- likewise
}

// periodSize is what a key begins with that has a period.
const periodSize = 4

func number(n int) string {
	return string(binary.BigEndian.AppendUint32(nil, uint32(n))) // #nosec -- a slot, which is bounded
}

func joined(parts ...string) string { return strings.Join(parts, "\x00") }

// Unleased is a task as it moves: what had leased it is not there any more. No
// payload and an empty one are the same.
func Unleased(t core.Task) core.Task {
	t.LeasedUntil, t.Holder = time.Time{}, ""
	if len(t.Payload) == 0 {
		t.Payload = nil
	}
	return t
}
