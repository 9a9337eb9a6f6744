package bolt

import (
	"bytes"
	"encoding/binary"
	"strings"

	"go.etcd.io/bbolt"

	"cloudsettle/core"
	"cloudsettle/core/usage"
)

// bucket names one kind of record or one index.
type bucket uint8

const (
	meta bucket = iota
	subscriptions
	subscriptionsByName
	cloudAccounts
	cloudAccountsByProvider
	cloudAccountsByOwner
	billingAccounts
	logins
	workspaces
	bindings
	bindingsByWorkspace
	bindingsHeld
	bindingsByAccount
	bindingsBySubscription
	bindingsByLeft
	callbacks
	rejections
	claims
	apiKeys
	apiKeysByDigest
	settings
	tasks
	tasksByDue
	tasksByFree
	leases
	usageMonths
	usageOpen
	priceBooks
	dailyBills
	dailyBillsByAccount
	monthlyBills
	creditNotes
	creditNotesByAccount
	settlementRuns
	ledgerHeads
	ledgerTransactions
	funds
	fundsByOwner
	meterAccounts
	meterRecords
	meterRecordsBySubscription
	meterRecordsByPeriod
	meterPending
	numBuckets
)

// layout says for each bucket how it is called in the file and whether its
// keys arrive in ascending order.
//
// An index bucket's keys are the looked-up parts, each ended by a NUL, then
// the id of the record; where an index finds one record its value is the id.
var layout = [numBuckets]struct {
	name      string
	ascending bool
}{
	meta:                    {"meta", false},
	subscriptions:           {"subscriptions", true},
	subscriptionsByName:     {"subscriptions_by_name", false},
	cloudAccounts:           {"cloud_accounts", true},
	cloudAccountsByProvider: {"cloud_accounts_by_provider", false},
	cloudAccountsByOwner:    {"cloud_accounts_by_owner", false},
	billingAccounts:         {"billing_accounts", true},
	logins:                  {"logins", false},
	workspaces:              {"workspaces", true},
	bindings:                {"bindings", true},
	bindingsByWorkspace:     {"bindings_by_workspace", false},
	bindingsHeld:            {"bindings_held", false},
	bindingsByAccount:       {"bindings_by_account", false},
	bindingsBySubscription:  {"bindings_by_subscription", false},
	bindingsByLeft:          {"bindings_by_left", false},
	callbacks:               {"callbacks", true},
	rejections:              {"rejections", false},
	claims:                  {"claims", false},
	apiKeys:                 {"api_keys", true},
	apiKeysByDigest:         {"api_keys_by_digest", false},
	settings:                {"settings", false},
	tasks:                   {"tasks", true},
	tasksByDue:              {"tasks_by_due", true},
	tasksByFree:             {"tasks_by_free", true},
	leases:                  {"leases", false},
	usageMonths:             {"usage", false}, // holds a bucket for each month
	usageOpen:               {"usage_open", false},
	priceBooks:              {"price_books", true},
	dailyBills:              {"daily_bills", true},
	dailyBillsByAccount:     {"daily_bills_by_account", false},
	monthlyBills:            {"monthly_bills", false},
	creditNotes:             {"credit_notes", true},
	creditNotesByAccount:    {"credit_notes_by_account", false},
	settlementRuns:          {"settlement_runs", true},
	ledgerHeads:             {"ledger_heads", false},
	ledgerTransactions:      {"ledger_transactions", false},
	funds:                   {"funds", true},
	fundsByOwner:            {"funds_by_owner", false},
	meterAccounts:           {"meter_accounts", true},
	meterRecords:            {"meter_records", true},

	meterRecordsBySubscription: {"meter_records_by_subscription", false},
	meterRecordsByPeriod:       {"meter_records_by_period", false},
	meterPending:               {"meter_pending", false},
}

// ascendingFill is how full pages become where keys arrive in order: such
// pages are never inserted into again, and a tenth of room lets records grow.
const ascendingFill = 0.9

// maxKey bounds a key in bytes. Providers' identifiers are below 256 bytes;
// bbolt slows down long before its own limit of 32 KiB.
const maxKey = 2048

// opened caches the buckets of one transaction, and a cursor for each: looking
// up a key with a new one makes garbage.
type opened struct {
	tx      *bbolt.Tx
	buckets [numBuckets]*bbolt.Bucket
	cursors [numBuckets]*bbolt.Cursor
	days    *bbolt.Cursor // of the bucket of daysOf, or nil
	daysOf  usage.Month
}

// get returns the committed or joined value under key, or nil.
func (o *opened) get(b bucket, key []byte) []byte {
	if o.cursors[b] == nil {
		o.cursors[b] = o.bucket(b).Cursor()
	}
	found, value := o.cursors[b].Seek(key)
	if !bytes.Equal(found, key) {
		return nil
	}
	return value
}

// bucket returns a bucket that Open has made sure exists.
func (o *opened) bucket(b bucket) *bbolt.Bucket {
	if o.buckets[b] == nil {
		found := o.tx.Bucket([]byte(layout[b].name))
		if found != nil && layout[b].ascending {
			found.FillPercent = ascendingFill
		}
		o.buckets[b] = found
	}
	return o.buckets[b]
}

// appendKey appends parts to dst with a NUL between them. It reports false if
// the parts cannot be a key: without NUL in them and with a last part that is
// not empty, different parts make different keys.
func appendKey(dst []byte, parts ...string) ([]byte, bool) {
	from := len(dst)
	for i, part := range parts {
		if strings.IndexByte(part, 0) >= 0 {
			return nil, false
		}
		if i > 0 {
			dst = append(dst, 0)
		}
		dst = append(dst, part...)
	}
	ok := len(parts) > 0 && parts[len(parts)-1] != "" && len(dst)-from <= maxKey
	return dst, ok
}

// appendPeriod appends a day or a month to a key, so that keys sort by time.
func appendPeriod[P ~int32](dst []byte, p P) []byte {
	return binary.BigEndian.AppendUint32(dst, uint32(p)^1<<31) // #nosec -- the sign is turned round
}

// periodOf reads what appendPeriod appended.
func periodOf[P ~int32](key []byte) P {
	return P(binary.BigEndian.Uint32(key) ^ 1<<31) // #nosec -- likewise
}

// periodSize is what appendPeriod appends, in bytes.
const periodSize = 4

// periodKey appends a key of a period and parts. It reports false if the parts
// cannot be a key.
func periodKey[P ~int32](dst []byte, p P, parts ...string) ([]byte, bool) {
	return appendKey(appendPeriod(dst, p), parts...)
}

// keyTime is how a time is written in a key: keys sort by time.
const keyTime = "2006-01-02T15:04:05.000000Z"

// prefixOf returns what the keys begin with that have part before their last.
func prefixOf(part string) []byte { return append([]byte(part), 0) }

// errKey explains why parts are no key.
func errKey(what string, parts ...string) error {
	for _, part := range parts {
		if strings.IndexByte(part, 0) >= 0 {
			return core.Invalid("invalid_key", "%s: %q holds a NUL", what, part)
		}
	}
	if len(parts) == 0 || parts[len(parts)-1] == "" {
		return core.Invalid("invalid_key", "%s: the key is empty", what)
	}
	return &core.Fault{
		Err: core.ErrTooLarge, Code: "key_too_large", Detail: what + ": the key is too long",
	}
}
