package bolt

import (
	"context"
	"errors"
	"fmt"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/ledger"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
	"cloudsettle/core/money"
	"cloudsettle/core/pricing"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
	"cloudsettle/store/internal/daypack"
)

// maxDamages bounds how much damage Check describes; one would do to know.
const maxDamages = 20

// Check implements core.Store. It walks bbolt's pages, decodes every record
// and compares the indexes with the records. Writers wait until it is done: it
// has to see the list of free pages stand still.
func (s *Store) Check(ctx context.Context) error {
	return s.write(ctx, func(t *txn) error {
		c := &checker{r: &t.reader}
		for err := range t.tx.Check() {
			c.report(err)
		}
		if len(c.found) == 0 { // damaged pages cannot be walked
			c.records()
		}
		return errors.Join(c.found...)
	})
}

// checker compares records with their indexes.
type checker struct {
	r        *reader
	found    []error
	expected [numBuckets]int // entries that an index should have
}

func (c *checker) report(err error) {
	if len(c.found) < maxDamages {
		c.found = append(c.found, fmt.Errorf("bolt: check: %w", err))
	}
}

// records checks every bucket of records, then that no index has more entries
// than the records ask for.
func (c *checker) records() {
	each(c, subscriptions, decodeSubscription, c.subscription)
	each(c, cloudAccounts, decodeCloudAccount, c.cloudAccount)
	each(c, billingAccounts, decodeJSON[account.Account], c.billingAccount)
	each(c, workspaces, decodeWorkspace, func(workspace.Workspace) {})
	each(c, bindings, decodeBinding, c.binding)
	each(c, callbacks, decodeEntry, func(core.JournalEntry) {})
	each(c, rejections, decodeEntry, func(core.JournalEntry) {})
	each(c, claims, decodeClaim, func(core.Claim) {})
	each(c, apiKeys, decodeJSON[core.APIKey], func(k core.APIKey) {
		c.expect(apiKeysByDigest, k.ID, k.Digest)
	})
	each(c, settings, decodeJSON[string], func(string) {})
	each(c, tasks, decodeJSON[core.Task], func(t core.Task) {
		c.expect(tasksByDue, "", t.Key())
		c.expect(tasksByFree, "", t.Kind, freeKey(t))
	})
	each(c, leases, decodeJSON[lease], func(lease) {})
	c.usage()
	c.billing()
	for _, b := range []bucket{
		subscriptionsByName, cloudAccountsByProvider, cloudAccountsByOwner, logins, bindingsByWorkspace,
		bindingsHeld, bindingsByAccount, bindingsBySubscription, bindingsByLeft, apiKeysByDigest,
		tasksByDue, tasksByFree, usageOpen, dailyBillsByAccount, creditNotesByAccount, fundsByOwner,
		meterRecordsBySubscription, meterRecordsByPeriod, meterPending,
	} {
		n := 0
		for range c.r.scan(b, nil, nil, ascending) {
			n++
		}
		if n != c.expected[b] {
			c.report(fmt.Errorf("%s has %d entries, want %d: %w",
				layout[b].name, n, c.expected[b], errCorrupt))
		}
	}
}

// each decodes every record of a bucket.
func each[T any](c *checker, b bucket, decode func([]byte) (T, error), check func(T)) {
	for key, value := range c.r.scan(b, nil, nil, ascending) {
		rec, err := decode(value)
		if err != nil {
			c.report(fmt.Errorf("%s %q: %w", layout[b].name, key, err))
			continue
		}
		check(rec)
	}
}

// expect checks that an index leads from parts to id.
func (c *checker) expect(b bucket, id string, parts ...string) {
	c.expected[b]++
	got, err := c.r.lookup(b, parts...)
	if err != nil || got == nil || string(got) != id {
		c.report(fmt.Errorf("%s leads from %q to %q, want %q: %w",
			layout[b].name, parts, got, id, errCorrupt))
	}
}

func (c *checker) subscription(s marketplace.Subscription) {
	head := subscriptionHead{subject: s.Subject, also: s.Also}
	for name := range head.names {
		c.expect(subscriptionsByName, string(s.ID), string(s.Listing), name)
	}
}

func (c *checker) cloudAccount(a marketplace.Account) {
	c.expect(cloudAccountsByProvider, string(a.ID), string(a.Listing), a.ProviderID)
	if a.BillingAccount != "" {
		c.expect(cloudAccountsByOwner, "", a.BillingAccount, string(a.ID))
	}
}

func (c *checker) billingAccount(a account.Account) {
	for _, login := range loginsOf(a) {
		c.expect(logins, string(a.ID), login)
	}
}

func (c *checker) binding(b workspace.Binding) {
	c.expect(bindingsByWorkspace, "", string(b.Workspace), string(b.ID))
	if !b.To.IsZero() {
		return
	}
	c.expect(bindingsHeld, string(b.ID), string(b.Workspace))
	for in, owner := range map[bucket]string{
		bindingsByAccount:      string(b.BillingAccount),
		bindingsBySubscription: string(b.Settlement.Subscription),
		bindingsByLeft:         string(b.Left),
	} {
		if owner != "" {
			c.expect(in, "", owner, string(b.Workspace))
		}
	}
}

// usage decodes every workspace's days and checks that what is open is there.
func (c *checker) usage() {
	open := 0
	for name := range c.r.scan(usageMonths, nil, nil, ascending) {
		days := c.r.bucket(usageMonths).Bucket(name).Cursor()
		for key, value := days.First(); key != nil; key, value = days.Next() {
			if err := checkDay(key, value); err != nil {
				c.report(fmt.Errorf("usage %q: %w", key, err))
			}
			if c.r.get(usageOpen, key) != nil {
				open++
			}
		}
	}
	c.expected[usageOpen] = open
}

func checkDay(key, value []byte) error {
	if len(key) <= periodSize {
		return errCorrupt
	}
	_, err := daypack.Decode(value, string(key[periodSize:]), periodOf[usage.Day](key))
	return err
}

// billing checks prices, bills, ledgers and metering.
func (c *checker) billing() {
	each(c, priceBooks, decodeJSON[pricing.Book], func(pricing.Book) {})
	each(c, dailyBills, decodeDailyBill, func(b settlement.DailyBill) {
		expectIn(c, dailyBillsByAccount, b.Day, string(b.BillingAccount), string(b.Workspace))
	})
	each(c, monthlyBills, decodeJSON[settlement.MonthlyBill], func(settlement.MonthlyBill) {})
	each(c, creditNotes, decodeJSON[settlement.Note], func(n settlement.Note) {
		c.expect(creditNotesByAccount, "", string(n.BillingAccount), string(n.ID))
	})
	each(c, settlementRuns, decodeJSON[core.SettlementRun], func(core.SettlementRun) {})
	c.ledgers()
	each(c, funds, decodeJSON[settlement.Fund], func(f settlement.Fund) {
		if f.Owner != "" {
			c.expect(fundsByOwner, "", f.Owner, f.ID)
		}
	})
	each(c, meterAccounts, decodeMeterAccount, func(metering.Account) {})
	each(c, meterRecords, decodeMeterRecord, c.meterRecord)
}

// ledgers checks that a book has as many transactions as its head says. That
// they are a chain is for the ledger to prove.
func (c *checker) ledgers() {
	type book struct {
		owner    string
		currency money.Currency
	}
	length := map[book]uint64{}
	each(c, ledgerTransactions, decodeTransaction, func(t ledger.Transaction) {
		length[book{t.Owner, t.Currency}]++
	})
	each(c, ledgerHeads, decodeHead, func(h ledger.Head) {
		b := book{h.Owner, h.Currency}
		if length[b] != h.Seq {
			c.report(fmt.Errorf("the ledger of %q in %s is at %d and has %d transactions: %w",
				h.Owner, h.Currency, h.Seq, length[b], errCorrupt))
		}
		delete(length, b)
	})
	for b := range length {
		c.report(fmt.Errorf("the ledger of %q in %s has no head: %w", b.owner, b.currency, errCorrupt))
	}
}

func (c *checker) meterRecord(r metering.Record) {
	period := periodParts(&r)
	c.expect(meterRecordsByPeriod, string(r.ID), period[:]...)
	if r.Subscription != "" {
		c.expect(meterRecordsBySubscription, "", string(r.Subscription), string(r.ID))
	}
	if key := pendingKey(&r); key != "" {
		c.expect(meterPending, "", key)
	}
}

// expectIn is expect for keys that begin with a period, and no value.
func expectIn[P ~int32](c *checker, b bucket, p P, parts ...string) {
	c.expected[b]++
	if got, err := lookupIn(c.r, b, p, parts...); err != nil || got == nil {
		c.report(fmt.Errorf("%s misses %q: %w", layout[b].name, parts, errCorrupt))
	}
}
