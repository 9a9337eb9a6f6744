package core

import (
	"context"
	"iter"
	"time"

	"cloudsettle/core/account"
	"cloudsettle/core/ledger"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
	"cloudsettle/core/money"
	"cloudsettle/core/pricing"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// UsageReader reads usage.
type UsageReader interface {
	// UsageOf returns what one workspace reported for one day, or ErrNotFound.
	UsageOf(ctx context.Context, id workspace.ID, day usage.Day) (usage.Record, error)
	// UsageOn yields all records of one day, by workspace. The key of a page is
	// the workspace.
	UsageOn(ctx context.Context, day usage.Day, p Page) iter.Seq2[usage.Record, error]
	// UnbilledOn yields the records of one day that are not sealed, by workspace,
	// with what decides who pays. The key of a page is the workspace.
	UnbilledOn(ctx context.Context, day usage.Day, p Page) iter.Seq2[Unbilled, error]
	// UnbilledRanges cuts what UnbilledOn yields into ranges of size workspaces,
	// the last one of what is left: it returns the last workspace of each but the
	// last, in order. It reads keys only.
	UnbilledRanges(ctx context.Context, day usage.Day, size int) ([]string, error)
	// UsageDays yields the days in [from, to) with records that are not sealed.
	UsageDays(ctx context.Context, from, to usage.Day) iter.Seq2[usage.Day, error]
}

// UsageWriter seals usage; samples are added in bulk by Store.AppendUsage.
type UsageWriter interface {
	// SealUsage marks records as billed. In the order of seals it tells which it
	// marked: none that has another revision, is sealed, or was never there.
	SealUsage(ctx context.Context, seals ...usage.Seal) ([]bool, error)
}

// Unbilled is a workspace's open usage of one day and who would pay for it now.
type Unbilled struct {
	Usage     usage.Record
	Workspace workspace.Workspace
	// Binding is the one that holds now; its ID is "" if there is none.
	Binding workspace.Binding
	// Currency is the billing account's. Listing is where the subscription was
	// bought that the binding settles through, or "".
	Currency money.Currency
	Listing  marketplace.ListingID
}

// Billed is a workspace's usage of one day, without samples if there is none,
// and its bill, without an ID if there is none.
type Billed struct {
	Workspace workspace.ID
	Usage     usage.Record
	Bill      settlement.DailyBill
}

// PriceReader reads price books.
type PriceReader interface {
	PriceBook(ctx context.Context, id pricing.BookID) (pricing.Book, error)
	PriceBooks(ctx context.Context, p Page) iter.Seq2[pricing.Book, error]
}

// PriceWriter writes price books.
type PriceWriter interface {
	// AddPriceBook stores a book, which never changes. A known ID is ErrConflict.
	AddPriceBook(ctx context.Context, b pricing.Book) error
}

// BillReader reads bills.
type BillReader interface {
	DailyBill(ctx context.Context, id workspace.ID, day usage.Day) (settlement.DailyBill, error)
	// DailyBillsOf is DailyBill for many, in the order of keys; one that is
	// missing has no ID. It may use the memory of spare, and of the lines in it,
	// which may be nil.
	DailyBillsOf(ctx context.Context, spare []settlement.DailyBill, keys ...settlement.DailyKey) ([]settlement.DailyBill, error)
	// DailyBillsOn yields the bills of one day, by workspace, which is the key
	// of a page.
	DailyBillsOn(ctx context.Context, day usage.Day, p Page) iter.Seq2[settlement.DailyBill, error]
	// BilledOn yields the workspaces that have usage or a bill on a day, in their
	// order; the key of a page is the workspace. What it yields is overwritten
	// when the next one comes.
	BilledOn(ctx context.Context, day usage.Day, p Page) iter.Seq2[*Billed, error]
	// BillDays yields the days that have bills.
	BillDays(ctx context.Context) iter.Seq2[usage.Day, error]
	// DailyBillsFor yields the bills that a billing account got for days in
	// [from, to), by day and workspace; the key of a page is the bill's ID.
	DailyBillsFor(ctx context.Context, id account.ID, from, to usage.Day, p Page) iter.Seq2[settlement.DailyBill, error]
	// MonthlyBill returns one month's bill in one currency, or ErrNotFound.
	MonthlyBill(ctx context.Context, id account.ID, m usage.Month, c money.Currency) (settlement.MonthlyBill, error)
	// MonthlyBills yields the bills of an account, or of all if id is "", by
	// month, account and currency; the key of a page is the bill's ID.
	MonthlyBills(ctx context.Context, id account.ID, p Page) iter.Seq2[settlement.MonthlyBill, error]
	SettlementRun(ctx context.Context, id string) (SettlementRun, error)
	SettlementRuns(ctx context.Context, p Page) iter.Seq2[SettlementRun, error]
}

// BillWriter writes bills.
type BillWriter interface {
	// AddDailyBill stores bills, which never change. A second one for the same
	// workspace and day is ErrConflict.
	AddDailyBill(ctx context.Context, bills ...settlement.DailyBill) error
	// AddMonthlyBill stores a bill, which never changes. A second one for the
	// same account, month and currency is ErrConflict.
	AddMonthlyBill(ctx context.Context, b settlement.MonthlyBill) error
	PutSettlementRun(ctx context.Context, r SettlementRun) error
}

// NoteReader reads credit and debit notes.
type NoteReader interface {
	Note(ctx context.Context, id settlement.NoteID) (settlement.Note, error)
	// Notes yields notes by id, those of one billing account if id is not empty.
	Notes(ctx context.Context, id account.ID, p Page) iter.Seq2[settlement.Note, error]
}

// NoteWriter writes credit and debit notes.
type NoteWriter interface {
	// AddNote stores a note, which never changes. A known ID is ErrConflict.
	AddNote(ctx context.Context, n settlement.Note) error
}

// LedgerReader reads the books of billing accounts.
type LedgerReader interface {
	// LedgerHead returns the end of a book; a book without transactions has an
	// empty head, which is no error.
	LedgerHead(ctx context.Context, id account.ID, c money.Currency) (ledger.Head, error)
	// LedgerHeads yields the ends of all books, by account and currency; the
	// key of a page is "account/currency".
	LedgerHeads(ctx context.Context, p Page) iter.Seq2[ledger.Head, error]
	// LedgerTransactions yields a book from its beginning; After is the decimal
	// number of the last transaction seen.
	LedgerTransactions(ctx context.Context, id account.ID, c money.Currency, p Page) iter.Seq2[ledger.Transaction, error]
	// LedgerBooks yields whole books from their beginning, those from one to
	// another with all between, in the order of LedgerHeads.
	LedgerBooks(ctx context.Context, first, last ledger.Key) iter.Seq2[ledger.Transaction, error]
	// Purses returns, in the order of keys, the ends of books and all funds of
	// their owners, with a zero At.
	Purses(ctx context.Context, keys ...ledger.Key) ([]settlement.Purse, error)
	Fund(ctx context.Context, id string) (settlement.Fund, error)
	// FundsOf yields the vouchers and cards of a billing account, also used up
	// and expired ones, by id.
	FundsOf(ctx context.Context, id account.ID) iter.Seq2[settlement.Fund, error]
}

// LedgerWriter writes the books of billing accounts.
type LedgerWriter interface {
	// AppendLedger stores what was added to books and the heads it leads to. It
	// is ErrConflict if a stored head is not the one before.
	AppendLedger(ctx context.Context, books ...ledger.Book) error
	PutFund(ctx context.Context, f settlement.Fund) error
}

// MeterReader reads what is reported to marketplaces.
type MeterReader interface {
	// MeterAccount returns the sums of a subscription, zero ones if there are none.
	MeterAccount(ctx context.Context, id marketplace.SubscriptionID) (metering.Account, error)
	// MeterAccountsOf is MeterAccount for many, in the order of ids.
	MeterAccountsOf(ctx context.Context, ids ...marketplace.SubscriptionID) ([]metering.Account, error)
	MeterAccounts(ctx context.Context, p Page) iter.Seq2[metering.Account, error]
	MeterRecord(ctx context.Context, id metering.RecordID) (metering.Record, error)
	// MeterRecords yields records by id, those of one subscription if it is not
	// empty.
	MeterRecords(ctx context.Context, id marketplace.SubscriptionID, p Page) iter.Seq2[metering.Record, error]
	// MeterPending yields the records that are not final, by deadline.
	MeterPending(ctx context.Context) iter.Seq2[metering.Record, error]
	// MeterPeriodTaken reports whether a subscription has a record for a
	// dimension whose period begins at start.
	MeterPeriodTaken(ctx context.Context, id marketplace.SubscriptionID, dimension string, start time.Time) (bool, error)
}

// MeterWriter writes what is reported to marketplaces.
type MeterWriter interface {
	PutMeterAccount(ctx context.Context, accounts ...metering.Account) error
	// PutMeterRecord stores r. Another record of the same subscription,
	// dimension and period is ErrConflict.
	PutMeterRecord(ctx context.Context, r metering.Record) error
}

// SettlementRun is one closing of a day or a month.
type SettlementRun struct {
	ID         string    `json:"id"`
	Rev        uint64    `json:"rev"`
	Kind       string    `json:"kind"`   // "daily" or "monthly"
	Period     string    `json:"period"` // "2026-11-20" or "2026-11"
	Status     string    `json:"status"` // "running", "done" or "failed"
	Bills      int       `json:"bills"`
	Waiting    int       `json:"waiting"` // workspaces whose usage waits
	Waits      []Wait    `json:"waits,omitempty"`
	Ranges     int       `json:"ranges,omitempty"` // parts that are not done yet, if it was cut
	Error      string    `json:"error,omitempty"`
	StartedAt  time.Time `json:"started_at"`
	FinishedAt time.Time `json:"finished_at,omitzero"`
}
