package postgres

import (
	"context"
	"encoding/binary"
	"strings"

	"github.com/jackc/pgx/v5"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/ledger"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
	"cloudsettle/core/pricing"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
	"cloudsettle/store/internal/daypack"
	"cloudsettle/store/internal/rows"
)

// movers has what moves each table. An insert adds one to the revision it is
// given, so records that move are given the one before.
var movers = map[string]mover{
	rows.Settings.Name: moved(records[rows.Setting]{
		table: &rows.Settings, columns: "name, value", from: "settings", keys: []string{"name"}, place: byText,
		scan: func(r pgx.Rows, s *rows.Setting) error { return r.Scan(&s.Name, &s.Value) },
		add: oneByOne(func(ctx context.Context, t *txn, s *rows.Setting) error {
			return t.PutSetting(ctx, s.Name, s.Value)
		}),
	}),
	rows.APIKeys.Name: moved(records[core.APIKey]{
		table: &rows.APIKeys, columns: apiKeyColumns, from: "api_keys", keys: []string{"id"}, place: byText, scan: scanAPIKey,
		add: oneByOne(func(ctx context.Context, t *txn, k *core.APIKey) error { k.Rev--; return t.PutAPIKey(ctx, *k) }),
	}),
	rows.Accounts.Name: moved(records[account.Account]{
		table: &rows.Accounts, columns: billingAccountColumns, from: "billing_accounts a", keys: []string{"a.id"}, place: byText,
		scan: scanBillingAccount, names: []string{"logins"},
		add: oneByOne(func(ctx context.Context, t *txn, a *account.Account) error {
			a.Rev--
			return t.PutBillingAccount(ctx, *a)
		}),
	}),
	rows.CloudAccounts.Name: moved(records[marketplace.Account]{
		table: &rows.CloudAccounts, columns: cloudAccountColumns, from: "cloud_accounts a", keys: []string{"a.id"}, place: byText,
		scan: scanCloudAccount, names: []string{"names"},
		add: oneByOne(func(ctx context.Context, t *txn, a *marketplace.Account) error {
			a.Rev--
			return t.PutCloudAccount(ctx, *a)
		}),
	}),
	rows.Subscriptions.Name: moved(records[marketplace.Subscription]{
		table: &rows.Subscriptions, columns: subscriptionColumns, from: "subscriptions s", keys: []string{"s.id"}, place: byText,
		scan: scanSubscription, names: []string{"names"},
		add: oneByOne(func(ctx context.Context, t *txn, s *marketplace.Subscription) error {
			s.Rev--
			return t.PutSubscription(ctx, *s)
		}),
	}),
	rows.Workspaces.Name: moved(records[workspace.Workspace]{
		table: &rows.Workspaces, columns: workspaceColumns, from: "workspaces w", keys: []string{"w.id"}, place: byText,
		scan: scanWorkspace,
		add: oneByOne(func(ctx context.Context, t *txn, w *workspace.Workspace) error {
			w.Rev--
			return t.PutWorkspace(ctx, *w)
		}),
	}),
	rows.Bindings.Name: moved(records[workspace.Binding]{
		table: &rows.Bindings, columns: bindingColumns, from: "bindings b", keys: []string{"b.id"}, place: byText,
		scan: scanBinding, add: oneByOne(addBinding),
	}),
	rows.PriceBooks.Name: moved(records[pricing.Book]{
		table: &rows.PriceBooks, columns: "book", from: "price_books", keys: []string{"id"}, place: byText, scan: scanPriceBook,
		add: oneByOne(func(ctx context.Context, t *txn, b *pricing.Book) error { return t.AddPriceBook(ctx, *b) }),
	}),
	rows.Callbacks.Name: moved(records[rows.Entry]{
		table: &rows.Callbacks, columns: entryColumns, from: "callbacks", keys: []string{"id"}, place: byText, scan: scanMoved,
		add: oneByOne(func(ctx context.Context, t *txn, e *rows.Entry) error { return t.PutCallbackEntry(ctx, e.Journal()) }),
	}),
	rows.Rejections.Name: moved(records[rows.Rejection]{
		table: &rows.Rejections, columns: "slot, " + entryColumns, from: "rejections", keys: []string{"slot"}, place: bySlot,
		scan: scanRejection,
		add: oneByOne(func(ctx context.Context, t *txn, r *rows.Rejection) error {
			return t.PutRejection(ctx, r.Slot, r.Journal())
		}),
	}),
	rows.Claims.Name: moved(records[rows.Claim]{
		table: &rows.Claims, columns: "scope, key, digest, result, at", from: "claims", keys: []string{"scope", "key"}, place: byTwo,
		scan: scanClaim, add: oneByOne(addClaim),
	}),
	rows.Tasks.Name: moved(records[core.Task]{
		table: &rows.Tasks, columns: taskColumns, from: "tasks t", keys: []string{"t.id"}, place: byText,
		scan: func(r pgx.Rows, t *core.Task) error {
			err := scanTask(r, t)
			*t = rows.Unleased(*t)
			return err
		},
		add: together(func(ctx context.Context, t *txn, list []core.Task) error { return t.PutTask(ctx, list...) }),
	}),
	rows.UsageDays.Name: moved(records[rows.UsageDay]{
		table: &rows.UsageDays, columns: "day, workspace, sealed, samples", from: "usage", keys: []string{"day", "workspace"},
		place: byDay, scan: scanUsageDay, add: addUsageDays,
	}),
	rows.DailyBills.Name: moved(records[settlement.DailyBill]{
		table: &rows.DailyBills, columns: dailyBillColumns, from: "daily_bills", keys: []string{"day", "workspace"}, place: byDay,
		scan: scanDailyBill,
		add: together(func(ctx context.Context, t *txn, list []settlement.DailyBill) error {
			return t.AddDailyBill(ctx, list...)
		}),
	}),
	rows.MonthlyBills.Name: moved(records[settlement.MonthlyBill]{
		table: &rows.MonthlyBills, columns: monthlyBillColumns, from: "monthly_bills",
		keys: []string{"month", "billing_account", "currency"}, place: byMonth, scan: scanMonthlyBill,
		add: oneByOne(func(ctx context.Context, t *txn, b *settlement.MonthlyBill) error { return t.AddMonthlyBill(ctx, *b) }),
	}),
	rows.Notes.Name: moved(records[settlement.Note]{
		table: &rows.Notes, columns: noteColumns, from: "credit_notes", keys: []string{"id"}, place: byText, scan: scanNote,
		add: oneByOne(func(ctx context.Context, t *txn, n *settlement.Note) error { return t.AddNote(ctx, *n) }),
	}),
	rows.Runs.Name: moved(records[core.SettlementRun]{
		table: &rows.Runs, columns: runColumns, from: "settlement_runs", keys: []string{"id"}, place: byText, scan: scanRun,
		add: oneByOne(func(ctx context.Context, t *txn, r *core.SettlementRun) error {
			r.Rev--
			return t.PutSettlementRun(ctx, *r)
		}),
	}),
	rows.LedgerHeads.Name: moved(records[ledger.Head]{
		table: &rows.LedgerHeads, columns: headColumns, from: "ledger_heads h", keys: []string{"h.owner", "h.currency"}, place: byTwo,
		scan: scanHead, add: addHeads,
	}),
	rows.LedgerTransactions.Name: moved(records[ledger.Transaction]{
		table: &rows.LedgerTransactions, columns: transactionColumns, from: "ledger_transactions",
		keys: []string{"owner", "currency", "seq"}, place: bySeq, scan: scanTransaction, add: addTransactions,
	}),
	rows.Funds.Name: moved(records[settlement.Fund]{
		table: &rows.Funds, columns: fundColumns, from: "funds", keys: []string{"id"}, place: byText, scan: scanFund,
		add: oneByOne(func(ctx context.Context, t *txn, f *settlement.Fund) error { f.Rev--; return t.PutFund(ctx, *f) }),
	}),
	rows.MeterAccounts.Name: moved(records[metering.Account]{
		table: &rows.MeterAccounts, columns: meterAccountColumns, from: "meter_accounts", keys: []string{"subscription"}, place: byText,
		scan: scanMeterAccount,
		add: together(func(ctx context.Context, t *txn, list []metering.Account) error {
			for i := range list {
				list[i].Rev--
			}
			return t.PutMeterAccount(ctx, list...)
		}),
	}),
	rows.MeterRecords.Name: moved(records[metering.Record]{
		table: &rows.MeterRecords, columns: meterRecordColumns, from: "meter_records", keys: []string{"id"}, place: byText,
		scan: scanMeterRecord,
		add:  oneByOne(func(ctx context.Context, t *txn, m *metering.Record) error { m.Rev--; return t.PutMeterRecord(ctx, *m) }),
	}),
}

// oneByOne adds records with a statement each; all travel in one round trip.
func oneByOne[T any](add func(context.Context, *txn, *T) error) func(context.Context, *txn, []*T) error {
	return func(ctx context.Context, t *txn, list []*T) error {
		for _, rec := range list {
			if err := add(ctx, t, rec); err != nil {
				return err
			}
		}
		return nil
	}
}

// together adds records with one statement.
func together[T any](add func(context.Context, *txn, []T) error) func(context.Context, *txn, []*T) error {
	return func(ctx context.Context, t *txn, list []*T) error {
		values := make([]T, len(list))
		for i, rec := range list {
			values[i] = *rec
		}
		return add(ctx, t, values)
	}
}

// The places of keys: the values of the columns that make them.

func byText(key string) []any { return []any{key} }

func byTwo(key string) []any {
	first, second, _ := strings.Cut(key, "\x00")
	return []any{first, second}
}

func bySlot(key string) []any {
	return []any{int32(binary.BigEndian.Uint32(sized(key, 4)))} // #nosec -- a slot, which is bounded
}

// sized returns the first bytes of a key, and zeros where it has none.
func sized(key string, size int) []byte {
	b := make([]byte, size)
	copy(b, key)
	return b
}

func byDay(key string) []any {
	day, ws := rows.Period[usage.Day](key)
	return []any{int32(day), ws}
}

func byMonth(key string) []any {
	month, rest := rows.Period[usage.Month](key)
	return append([]any{int32(month)}, byTwo(rest)...)
}

// bySeq splits a key that ends with the number of a transaction.
func bySeq(key string) []any {
	const size = 8
	at := max(len(key)-size, 0)
	return append(byTwo(strings.TrimSuffix(key[:at], "\x00")), whole(binary.BigEndian.Uint64(sized(key[at:], size))))
}

func scanMoved(r pgx.Rows, to *rows.Entry) error {
	var e core.JournalEntry
	err := scanEntry(r, &e)
	*to = rows.NewEntry(e)
	return err
}

func scanRejection(r pgx.Rows, to *rows.Rejection) error {
	return scanMoved(&ahead{r, []any{&to.Slot}}, &to.Entry)
}

// ahead are rows with columns before those that are scanned.
type ahead struct {
	pgx.Rows
	first []any
}

// Scan implements pgx.Rows.
func (a *ahead) Scan(rest ...any) error { return a.Rows.Scan(append(a.first, rest...)...) }

func scanClaim(r pgx.Rows, c *rows.Claim) error {
	return r.Scan(&c.Scope, &c.Key, &c.Digest, &c.Result, into(&c.At))
}

func scanUsageDay(r pgx.Rows, u *rows.UsageDay) error {
	var rec usage.Record
	err := scanUsage(r, &rec)
	*u = rows.NewUsageDay(&rec)
	return err
}

func addClaim(_ context.Context, t *txn, c *rows.Claim) error {
	if err := checkKey("claim", c.Scope, c.Key); err != nil {
		return err
	}
	return t.write(taken("claim", c.Key), "insert into claims (scope, key, digest, result, at) values ($1, $2, $3, $4, $5)",
		c.Scope, c.Key, c.Digest, c.Result, orNull(c.At))
}

// addBinding stores a binding with the end that it has. A second one that holds
// for its workspace is ErrConflict.
func addBinding(_ context.Context, t *txn, b *workspace.Binding) error {
	if err := checkKey("binding", string(b.Workspace), string(b.ID)); err != nil {
		return err
	}
	return t.write(taken("binding", string(b.ID)), `
		insert into bindings (id, workspace, billing_account, method, subscription, from_at, to_at, cause, by_whom, left_behind)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		b.ID, b.Workspace, b.BillingAccount, b.Settlement.Method, b.Settlement.Subscription, orNull(b.From), orNull(b.To),
		b.Cause, b.By, b.Left)
}

func addUsageDays(_ context.Context, t *txn, list []*rows.UsageDay) error {
	var c dayArrays
	sealed := make([]bool, len(list))
	for i, u := range list {
		if err := checkKey("usage", u.Workspace); err != nil {
			return err
		}
		if err := t.s.partitions.needs(u.Day); err != nil {
			return err
		}
		rec := u.Record()
		samples, err := daypack.Encode(nil, &rec)
		if err != nil {
			return err
		}
		c.days, c.workspaces = append(c.days, int32(u.Day)), append(c.workspaces, u.Workspace)
		c.revs, c.samples = append(c.revs, whole(u.Rev)), append(c.samples, samples)
		sealed[i] = u.Sealed
	}
	return t.write(taken("usage of", list[0].Workspace), `
		insert into usage (day, workspace, rev, sealed, samples)
		select * from unnest($1::int[], $2::text[], $3::bigint[], $4::boolean[], $5::bytea[])`,
		c.days, c.workspaces, c.revs, sealed, c.samples)
}

func addHeads(_ context.Context, t *txn, list []*ledger.Head) error {
	var c headArrays
	for _, h := range list {
		if err := checkKey("ledger", h.Owner, string(h.Currency)); err != nil {
			return err
		}
		c.owners, c.currencies = append(c.owners, h.Owner), append(c.currencies, string(h.Currency))
		c.seqs, c.hashes = append(c.seqs, whole(h.Seq)), append(c.hashes, h.Hash[:])
		c.balances = append(c.balances, appendBalances(nil, h.Balances))
	}
	return t.putHeads(&c, &headArrays{}, &transactionArrays{})
}

func addTransactions(_ context.Context, t *txn, list []*ledger.Transaction) error {
	var c transactionArrays
	for _, tx := range list {
		if err := checkKey("ledger", tx.Owner, string(tx.Currency)); err != nil {
			return err
		}
		c.add(tx)
	}
	return t.putHeads(&headArrays{}, &headArrays{}, &c)
}
