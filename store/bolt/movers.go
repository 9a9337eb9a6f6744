package bolt

import (
	"context"
	"encoding/binary"
	"iter"
	"strings"

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

// movers has what moves each table.
var movers = map[string]mover{
	rows.Settings.Name: moved(&rows.Settings, decodeSetting, func(t *txn, s *rows.Setting) error {
		return t.PutSetting(context.Background(), s.Name, s.Value)
	}, settings),
	rows.APIKeys.Name: moved(&rows.APIKeys, keyless(decodeJSON[core.APIKey]), func(t *txn, k *core.APIKey) error {
		return t.storeAPIKey(nil, *k)
	}, apiKeys, apiKeysByDigest),
	rows.Accounts.Name: moved(&rows.Accounts, keyless(decodeJSON[account.Account]), func(t *txn, a *account.Account) error {
		return t.storeBillingAccount(nil, *a)
	}, billingAccounts, logins),
	rows.CloudAccounts.Name: moved(&rows.CloudAccounts, keyless(decodeCloudAccount), func(t *txn, a *marketplace.Account) error {
		return t.storeCloudAccount(nil, *a)
	}, cloudAccounts, cloudAccountsByProvider, cloudAccountsByOwner),
	rows.Subscriptions.Name: moved(&rows.Subscriptions, keyless(decodeSubscription), func(t *txn, s *marketplace.Subscription) error {
		return t.storeSubscription(nil, *s)
	}, subscriptions, subscriptionsByName),
	rows.Workspaces.Name: moved(&rows.Workspaces, keyless(decodeWorkspace), func(t *txn, w *workspace.Workspace) error {
		return t.storeWorkspace(w)
	}, workspaces),
	rows.Bindings.Name: moved(&rows.Bindings, keyless(decodeBinding), (*txn).addBinding,
		bindings, bindingsByWorkspace, bindingsHeld, bindingsByAccount, bindingsBySubscription, bindingsByLeft),
	rows.PriceBooks.Name: moved(&rows.PriceBooks, keyless(decodeJSON[pricing.Book]), func(t *txn, b *pricing.Book) error {
		return t.AddPriceBook(context.Background(), *b)
	}, priceBooks),
	rows.Callbacks.Name: moved(&rows.Callbacks, decodeCallback, func(t *txn, e *rows.Entry) error {
		return t.PutCallbackEntry(context.Background(), e.Journal())
	}, callbacks),
	rows.Rejections.Name: moved(&rows.Rejections, decodeRejection, func(t *txn, r *rows.Rejection) error {
		return t.PutRejection(context.Background(), r.Slot, r.Journal())
	}, rejections),
	rows.Claims.Name: moved(&rows.Claims, decodeClaimOf, func(t *txn, c *rows.Claim) error {
		_, _, err := t.Claim(context.Background(), c.Scope, c.Key, c.Claim)
		return err
	}, claims),
	rows.Tasks.Name: moved(&rows.Tasks, keyless(decodeTask), func(t *txn, task *core.Task) error {
		return t.PutTask(context.Background(), *task)
	}, tasks, tasksByDue, tasksByFree),
	rows.UsageDays.Name: {
		holds: []bucket{usageMonths, usageOpen}, rows: (*reader).usageRows, last: (*reader).lastUsage, put: (*txn).putUsageRows,
	},
	rows.DailyBills.Name: moved(&rows.DailyBills, keyless(decodeDailyBill), (*txn).addDailyBill, dailyBills, dailyBillsByAccount),
	rows.MonthlyBills.Name: moved(&rows.MonthlyBills, keyless(decodeJSON[settlement.MonthlyBill]), func(t *txn, b *settlement.MonthlyBill) error {
		return t.AddMonthlyBill(context.Background(), *b)
	}, monthlyBills),
	rows.Notes.Name: moved(&rows.Notes, keyless(decodeJSON[settlement.Note]), func(t *txn, n *settlement.Note) error {
		return t.AddNote(context.Background(), *n)
	}, creditNotes, creditNotesByAccount),
	rows.Runs.Name: moved(&rows.Runs, keyless(decodeJSON[core.SettlementRun]), func(t *txn, r *core.SettlementRun) error {
		return t.storeSettlementRun(*r)
	}, settlementRuns),
	rows.LedgerHeads.Name: moved(&rows.LedgerHeads, keyless(decodeHead), func(t *txn, h *ledger.Head) error {
		return t.put(ledgerHeads, "ledger", func(dst []byte) ([]byte, error) { return appendHead(dst, h), nil }, h.Owner, string(h.Currency))
	}, ledgerHeads),
	rows.LedgerTransactions.Name: moved(&rows.LedgerTransactions, keyless(decodeTransaction), (*txn).addTransaction, ledgerTransactions),
	rows.Funds.Name: moved(&rows.Funds, keyless(decodeJSON[settlement.Fund]), func(t *txn, f *settlement.Fund) error {
		return t.storeFund(nil, *f)
	}, funds, fundsByOwner),
	rows.MeterAccounts.Name: moved(&rows.MeterAccounts, keyless(decodeMeterAccount), (*txn).storeMeterAccount, meterAccounts),
	rows.MeterRecords.Name: moved(&rows.MeterRecords, keyless(decodeMeterRecord), func(t *txn, r *metering.Record) error {
		return t.storeMeterRecord(nil, *r)
	}, meterRecords, meterRecordsBySubscription, meterRecordsByPeriod, meterPending),
}

// keyless is a decoder of values that hold their key.
func keyless[T any](decode func(value []byte) (T, error)) func(key, value []byte) (T, error) {
	return func(_, value []byte) (T, error) { return decode(value) }
}

func decodeSetting(key, value []byte) (rows.Setting, error) {
	text, err := decodeJSON[string](value)
	return rows.Setting{Name: string(key), Value: text}, err
}

func decodeCallback(_, value []byte) (rows.Entry, error) {
	e, err := decodeEntry(value)
	return rows.NewEntry(e), err
}

func decodeRejection(key, value []byte) (rows.Rejection, error) {
	if len(key) != periodSize {
		return rows.Rejection{}, errCorrupt
	}
	e, err := decodeEntry(value)
	return rows.Rejection{Slot: int(binary.BigEndian.Uint32(key)), Entry: rows.NewEntry(e)}, err
}

func decodeClaimOf(key, value []byte) (rows.Claim, error) {
	c, err := decodeClaim(value)
	scope, name, _ := strings.Cut(string(key), "\x00")
	return rows.Claim{Scope: scope, Key: name, Claim: c}, err
}

func decodeTask(value []byte) (core.Task, error) {
	t, err := decodeJSON[core.Task](value)
	return rows.Unleased(t), err
}

// addBinding stores a binding with the end that it has. A second one that
// holds for its workspace is ErrConflict.
func (t *txn) addBinding(b *workspace.Binding) error {
	if !b.To.IsZero() {
		if err := t.point(bindingsByWorkspace, "binding", "", string(b.Workspace), string(b.ID)); err != nil {
			return err
		}
		return t.putBinding(b)
	}
	held, err := t.lookup(bindingsHeld, string(b.Workspace))
	if err != nil {
		return err
	}
	if held != nil {
		return core.Conflict("taken", "workspace %q has a binding that holds", b.Workspace)
	}
	if err := t.reindex(workspace.Binding{}, *b); err != nil {
		return err
	}
	return t.putBinding(b)
}

func (t *txn) addTransaction(tx *ledger.Transaction) error {
	key := t.arena.keep(append(t.arena.room(), rows.LedgerTransactions.Key(tx)...))
	return t.putAt(ledgerTransactions, "transaction", func(dst []byte) ([]byte, error) {
		return appendTransaction(dst, tx), nil
	}, key)
}

// usageRows yields the days of workspaces after a key.
func (r *reader) usageRows(after string) iter.Seq2[core.Row, error] {
	day, _ := rows.Period[usage.Day](after)
	from := monthKey(day.Month())
	if after == "" {
		from = nil
	}
	toRow := rowOf(&rows.UsageDays, r.usageDay)
	return func(yield func(core.Row, error) bool) {
		months := r.bucket(usageMonths).Cursor()
		for name, _ := months.Seek(from); name != nil; name, _ = months.Next() {
			days := newCursor(r.bucket(usageMonths).Bucket(name), nil, afterKey(after), ascending)
			for ; days.key != nil; days.step() {
				if row, err := toRow(days.key, days.value); !yield(row, err) || err != nil {
					return
				}
			}
		}
	}
}

func (r *reader) usageDay(key, value []byte) (rows.UsageDay, error) {
	if len(key) <= periodSize {
		return rows.UsageDay{}, errCorrupt
	}
	rec, err := daypack.Decode(value, string(key[periodSize:]), periodOf[usage.Day](key))
	rec.Sealed = r.get(usageOpen, key) == nil
	return rows.NewUsageDay(&rec), err
}

func (r *reader) lastUsage() string {
	months := r.bucket(usageMonths)
	name, _ := months.Cursor().Last()
	if name == nil {
		return ""
	}
	key, _ := months.Bucket(name).Cursor().Last()
	return string(key)
}

func (t *txn) putUsageRows(list []core.Row) error {
	return putRows(t, &rows.UsageDays, list, func(row core.Row) (*rows.UsageDay, error) {
		day, _ := rows.Period[usage.Day](row.Key)
		value := t.usageValue(day, []byte(row.Key))
		if value == nil {
			return nil, nil
		}
		u, err := t.usageDay([]byte(row.Key), value)
		return &u, err
	}, (*txn).addUsageDay)
}

// addUsageDay packs a day that is not stored.
func (t *txn) addUsageDay(u *rows.UsageDay) error {
	rec := u.Record()
	value, err := daypack.Encode(t.arena.room(), &rec)
	if err != nil {
		return err
	}
	value = t.arena.keep(value)
	key := t.arena.keep(append(t.arena.room(), rows.UsageDays.Key(u)...))
	t.usage = append(t.usage, usagePut{u.Day.Month(), key, value})
	if !u.Sealed {
		t.own.set(usageOpen, key, []byte{})
	}
	return nil
}
