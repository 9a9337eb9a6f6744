package core

import (
	"context"
	"iter"
	"time"

	"cloudsettle/core/account"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// Store keeps everything the program must not lose.
type Store interface {
	// View runs fn on a consistent snapshot, taken at fn's first read at the
	// latest, that does not move while fn runs.
	View(ctx context.Context, fn func(ctx context.Context, tx ReadTx) error) error

	// Update runs fn in one atomic transaction and commits it durably if fn
	// returns nil; then, and only then, Update returns nil.
	//
	// fn may run several times and may share a commit with other calls, so it
	// must have no effect but through tx, do no I/O and not wait. An expected
	// refusal is an outcome that commits, not an error: an error rolls
	// everything back. Update inside fn fails with ErrNested.
	//
	// An error that is not fn's own is ErrUnavailable (nothing is known to be
	// wrong with the data; the transaction may or may not have committed, and
	// fn's claims make a repeat safe) or ErrConflict after several attempts.
	Update(ctx context.Context, fn func(ctx context.Context, tx Tx) error) error

	// AppendUsage adds samples in bulk, durably, in one commit. A sample is
	// keyed by workspace, item, variant and hour: a repeat of the same quantity
	// is a duplicate, another quantity replaces. Once the record of the day is
	// sealed nothing is added: a repeat is still a duplicate, all else is late.
	// Verdicts are in the order of entries.
	AppendUsage(ctx context.Context, entries []usage.Entry) ([]usage.Verdict, error)

	// Check looks for damage in the store's own structure.
	Check(ctx context.Context) error

	// Close waits for running transactions and releases the store.
	Close() error
}

// Page bounds a scan. After is the key of the last item seen, or "" to begin;
// it stays valid whatever is written meanwhile.
type Page struct {
	After string
	Limit int
}

// Values that a store returns are copies: the caller may keep and change them.
// Single reads return ErrNotFound. Scans yield in byte order of their keys
// (identifiers sort by creation) and hold resources only while they run.

// ReadTx reads one consistent state.
type ReadTx interface {
	SubscriptionReader
	AccountReader
	WorkspaceReader
	JournalReader
	AccessReader
	TaskReader
	LeaseReader
	UsageReader
	PriceReader
	BillReader
	NoteReader
	LedgerReader
	MeterReader
}

// Tx reads and writes. Reads see the transaction's own writes.
//
// Put methods of records with a Rev insert when Rev is 0 and update otherwise;
// they fail with ErrConflict if the stored revision is another or if a name is
// taken, and the stored revision becomes Rev+1.
//
// What is wrong with a write may be told by the write, by a later call of the
// same transaction, or by Update: a store may send writes together. Such a
// transaction is never committed, whatever its function returns.
type Tx interface {
	ReadTx
	SubscriptionWriter
	AccountWriter
	WorkspaceWriter
	JournalWriter
	AccessWriter
	TaskWriter
	LeaseWriter
	UsageWriter
	PriceWriter
	BillWriter
	NoteWriter
	LedgerWriter
	MeterWriter
	Claimer
}

// SubscriptionReader reads subscriptions and cloud accounts.
type SubscriptionReader interface {
	Subscription(ctx context.Context, id marketplace.SubscriptionID) (marketplace.Subscription, error)
	// SubscriptionByName finds the subscription that a provider's name points to.
	SubscriptionByName(ctx context.Context, l marketplace.ListingID, name string) (marketplace.Subscription, error)
	// Subscriptions yields known subscriptions, those of one listing if l is not empty.
	Subscriptions(ctx context.Context, l marketplace.ListingID, p Page) iter.Seq2[marketplace.Subscription, error]

	CloudAccount(ctx context.Context, id marketplace.AccountID) (marketplace.Account, error)
	CloudAccountByProvider(ctx context.Context, l marketplace.ListingID, providerID string) (marketplace.Account, error)
	CloudAccounts(ctx context.Context, p Page) iter.Seq2[marketplace.Account, error]
	// CloudAccountsOf yields the cloud accounts that a billing account claimed.
	CloudAccountsOf(ctx context.Context, id account.ID, p Page) iter.Seq2[marketplace.Account, error]
}

// SubscriptionWriter writes subscriptions and cloud accounts.
type SubscriptionWriter interface {
	// PutSubscription stores s and points all its names to it. A name that
	// points to another subscription is ErrConflict.
	PutSubscription(ctx context.Context, s marketplace.Subscription) error
	// DeleteSubscription removes s and frees its names. Only subscriptions that
	// are not Known are ever removed, when they are merged into another.
	DeleteSubscription(ctx context.Context, id marketplace.SubscriptionID) error
	PutCloudAccount(ctx context.Context, a marketplace.Account) error
	// LookAhead says which names of subscriptions and provider ids of cloud
	// accounts will be looked for before anything is written, so that a store
	// which is a network away looks for all of them at once. It changes no result.
	LookAhead(l marketplace.ListingID, names, providerIDs []string)
}

// AccountReader reads billing accounts.
type AccountReader interface {
	BillingAccount(ctx context.Context, id account.ID) (account.Account, error)
	// BillingAccountByLogin finds an account by user name, e-mail or phone.
	BillingAccountByLogin(ctx context.Context, login string) (account.Account, error)
	BillingAccounts(ctx context.Context, p Page) iter.Seq2[account.Account, error]
}

// AccountWriter writes billing accounts.
type AccountWriter interface {
	// PutBillingAccount stores a. User name, e-mail and phone are unique among
	// all logins, without regard to case: a taken one is ErrConflict.
	PutBillingAccount(ctx context.Context, a account.Account) error
}

// WorkspaceReader reads workspaces and bindings.
type WorkspaceReader interface {
	Workspace(ctx context.Context, id workspace.ID) (workspace.Workspace, error)
	Workspaces(ctx context.Context, p Page) iter.Seq2[workspace.Workspace, error]
	// WorkspacesOf yields the workspaces that a billing account pays for now.
	WorkspacesOf(ctx context.Context, id account.ID, p Page) iter.Seq2[workspace.Workspace, error]
	// Binding returns the binding that holds now, or ErrNotFound.
	Binding(ctx context.Context, id workspace.ID) (workspace.Binding, error)
	// BindingHistory yields all bindings of a workspace, oldest first.
	BindingHistory(ctx context.Context, id workspace.ID) iter.Seq2[workspace.Binding, error]
	// BindingHistories is BindingHistory of the workspaces from one to another,
	// one workspace after the other.
	BindingHistories(ctx context.Context, first, last workspace.ID) iter.Seq2[workspace.Binding, error]
	// BindingsTo yields the bindings that hold now and settle through a
	// subscription, in byte order of their workspaces.
	BindingsTo(ctx context.Context, id marketplace.SubscriptionID) iter.Seq2[workspace.Binding, error]
	// BindingsLeft yields the bindings that hold now because a subscription ended.
	BindingsLeft(ctx context.Context, id marketplace.SubscriptionID) iter.Seq2[workspace.Binding, error]
	// Bindings yields all bindings by id, ended ones too.
	Bindings(ctx context.Context, p Page) iter.Seq2[workspace.Binding, error]
}

// WorkspaceWriter writes workspaces and bindings.
type WorkspaceWriter interface {
	PutWorkspace(ctx context.Context, w workspace.Workspace) error
	// Bind ends the binding of the workspace that holds now, if any, at b.From
	// and appends b, which holds from then on.
	Bind(ctx context.Context, b workspace.Binding) error
}

// Claimer takes single-use keys.
type Claimer interface {
	// Claim takes key in scope for this transaction. If it was taken before it
	// returns the prior claim and false. It inserts first and reads only on
	// collision. Keys of one scope should begin with what sorts by time.
	Claim(ctx context.Context, scope, key string, c Claim) (prior Claim, fresh bool, err error)
	// DropClaims removes up to limit claims of scope with keys below before
	// and returns how many it removed.
	DropClaims(ctx context.Context, scope, before string, limit int) (int, error)
}

// Claim is what a taken key remembers.
type Claim struct {
	Digest string    `json:"digest,omitempty"` // of the request that took it
	Result string    `json:"result,omitempty"` // the id of what it made
	At     time.Time `json:"at"`
}

// JournalReader reads the journal of callbacks.
type JournalReader interface {
	CallbackEntry(ctx context.Context, id marketplace.CallbackID) (JournalEntry, error)
	// CallbackEntries yields entries newest first; l narrows to one listing.
	CallbackEntries(ctx context.Context, l marketplace.ListingID, p Page) iter.Seq2[JournalEntry, error]
	// Rejections yields the bounded log of refused callbacks, newest first.
	Rejections(ctx context.Context) iter.Seq2[JournalEntry, error]
}

// JournalWriter writes the journal of callbacks.
type JournalWriter interface {
	PutCallbackEntry(ctx context.Context, e JournalEntry) error
	// PutRejection stores e in a slot of the log of refused callbacks, over
	// whatever was there.
	PutRejection(ctx context.Context, slot int, e JournalEntry) error
}

// JournalEntry is one callback as received, and what became of it.
type JournalEntry struct {
	ID           marketplace.CallbackID     `json:"id"`
	Listing      marketplace.ListingID      `json:"listing"`
	Kind         marketplace.Kind           `json:"kind,omitempty"`
	Action       string                     `json:"action,omitempty"`
	Delivery     string                     `json:"delivery,omitempty"`
	Verified     bool                       `json:"verified"`
	Result       marketplace.Result         `json:"result"`
	Reason       string                     `json:"reason,omitempty"`
	Effects      []string                   `json:"effects,omitempty"`
	Subscription marketplace.SubscriptionID `json:"subscription,omitempty"`
	Attempts     int                        `json:"attempts"`
	ReceivedAt   time.Time                  `json:"received_at"`
	// Request is what arrived; secrets that are worth stealing are cut out.
	Method   string `json:"method"`
	Endpoint string `json:"endpoint,omitempty"`
	RawQuery string `json:"raw_query,omitempty"`
	Body     []byte `json:"body,omitempty"`
	// Event is what the request means; a replay applies it again.
	Event *marketplace.Event `json:"event,omitempty"`
}

// AccessReader reads API keys.
type AccessReader interface {
	// APIKeyByDigest finds a key by the digest of its secret.
	APIKeyByDigest(ctx context.Context, digest string) (APIKey, error)
	APIKeys(ctx context.Context, p Page) iter.Seq2[APIKey, error]
	// Setting returns a small value of the program's own, or ErrNotFound.
	Setting(ctx context.Context, name string) (string, error)
}

// AccessWriter writes API keys.
type AccessWriter interface {
	PutAPIKey(ctx context.Context, k APIKey) error
	PutSetting(ctx context.Context, name, value string) error
}

// TaskReader reads tasks.
type TaskReader interface {
	// Tasks yields tasks that are not done, by due time.
	Tasks(ctx context.Context, p Page) iter.Seq2[Task, error]
	// TaskDue reports whether LeaseTasks would find a task of a kind.
	TaskDue(ctx context.Context, kind string, now time.Time) (bool, error)
}

// TaskWriter writes tasks: work promised in a transaction and done after it.
type TaskWriter interface {
	// PutTask stores tasks that nobody has leased, each over the one of its id if
	// there is one: whoever had leased that has lost it.
	PutTask(ctx context.Context, tasks ...Task) error
	// LeaseTasks takes up to limit tasks of a kind that are due at l.From and not
	// leased. A lease that ran out is free again, so a task may be worked on
	// twice; only one of them can put it back or finish it.
	LeaseTasks(ctx context.Context, kind string, l Lease, limit int) ([]Task, error)
	// PutLeased stores t if it is still leased under t.Holder: with a later
	// LeasedUntil that renews the lease, with none it gives the task back. It
	// reports false, and changes nothing, if the task was taken over or is gone.
	PutLeased(ctx context.Context, t Task) (bool, error)
	// FinishTask removes a task that is done, if it is still leased under
	// t.Holder. Otherwise it reports false and changes nothing.
	FinishTask(ctx context.Context, t Task) (bool, error)
}

// Task is work promised in a transaction and done after it, at least once.
type Task struct {
	ID          string    `json:"id"`
	Kind        string    `json:"kind"`
	DueAt       time.Time `json:"due_at"`
	LeasedUntil time.Time `json:"leased_until,omitzero"`
	// Holder is that of the last lease.
	Holder    string    `json:"holder,omitempty"`
	Attempts  int       `json:"attempts"`
	LastError string    `json:"last_error,omitempty"`
	Payload   []byte    `json:"payload"`
	CreatedAt time.Time `json:"created_at"`
}

// Lease is for how long something is taken, [From, Until), and by whom.
type Lease struct {
	// Holder fences: what is done under a lease that was taken over has no effect.
	// For tasks it is never used twice; for a name it is the replica's own.
	Holder string    `json:"holder"`
	From   time.Time `json:"from"`
	Until  time.Time `json:"until"`
}

// LeaseReader reads leases of names.
type LeaseReader interface {
	// Lease returns the lease of a name, also one that ran out; a zero one if
	// there is none.
	Lease(ctx context.Context, name string) (Lease, error)
}

// LeaseWriter takes leases of names.
type LeaseWriter interface {
	// AcquireLease takes the lease of a name, or renews it if l.Holder has it
	// already. It reports false, and changes nothing, while another one's lasts
	// at l.From. An empty lease, whose Until is not after From, frees the name.
	AcquireLease(ctx context.Context, name string, l Lease) (bool, error)
}

// Key is the place of t in the order of Tasks, for Page.After: when it is due,
// then its identifier.
func (t Task) Key() string {
	return t.DueAt.UTC().Format("2006-01-02T15:04:05.000000Z") + "/" + t.ID
}

// InTx runs fn in one transaction of s and returns what the committed run of
// fn returned. Results leave a transaction only this way, so a run that was
// rolled back leaves nothing behind.
func InTx[T any](ctx context.Context, s Store, fn func(context.Context, Tx) (T, error)) (T, error) {
	var out T
	err := s.Update(ctx, func(ctx context.Context, tx Tx) error {
		v, err := fn(ctx, tx)
		if err != nil {
			return err
		}
		out = v
		return nil
	})
	if err != nil {
		var zero T
		return zero, err
	}
	return out, nil
}

// InView runs fn on a snapshot of s and returns what it returned.
func InView[T any](ctx context.Context, s Store, fn func(context.Context, ReadTx) (T, error)) (T, error) {
	var out T
	err := s.View(ctx, func(ctx context.Context, tx ReadTx) (err error) {
		out, err = fn(ctx, tx)
		return err
	})
	return out, err
}
