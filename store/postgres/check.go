package postgres

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/jackc/pgx/v5"

	"cloudsettle/core"
	"cloudsettle/store/internal/packed"
)

// maxDamages bounds how much damage Check describes; one would do to know.
const maxDamages = 20

// Check implements core.Store. The engine looks after its own structure (see
// pg_amcheck); this decodes every record and compares what two tables say of
// the same, on one snapshot.
func (s *Store) Check(ctx context.Context) error {
	var found []error
	err := s.View(ctx, func(ctx context.Context, tx core.ReadTx) error {
		r := tx.(*reader)
		for _, c := range contradictions {
			ids, err := all(ctx, r, func(rows pgx.Rows, id *string) error { return rows.Scan(id) }, c.sql, maxDamages)
			if err != nil {
				return err
			}
			for _, id := range ids {
				found = append(found, fmt.Errorf("postgres: check: %s: %s: %w", c.what, id, packed.ErrCorrupt))
			}
		}
		found = append(found, decodeAll(ctx, r)...)
		return nil
	})
	return errors.Join(append(found, err)...)
}

// contradictions are queries that yield what should not be, up to a limit.
var contradictions = []struct{ what, sql string }{
	{"a name leads nowhere, or to what does not have it", `
		select n.scope || ' ' || n.name from names n
		left join subscriptions s on s.id = n.target and n.scope = 'subscription/' || s.listing
			and (n.name = s.subject or n.name = any(s.also))
		left join cloud_accounts a on a.id = n.target and n.scope = 'cloud_account/' || a.listing and n.name = a.provider_id
		where s.id is null and a.id is null limit $1`},
	{"a subscription's name does not lead to it", `
		select s.id from subscriptions s cross join unnest(s.also || s.subject) as k (name)
		left join names n on n.scope = 'subscription/' || s.listing and n.name = k.name collate "C"
		where k.name <> '' and n.target is distinct from s.id limit $1`},
	{"a cloud account's number does not lead to it", `
		select a.id from cloud_accounts a
		left join names n on n.scope = 'cloud_account/' || a.listing and n.name = a.provider_id
		where n.target is distinct from a.id limit $1`},
	{"a login leads nowhere", `
		select l.login from logins l left join billing_accounts a on a.id = l.account where a.id is null limit $1`},
	{"a task is free before it is due or while it is leased", `
		select id from tasks where free_at <> greatest(due_at, leased_until) limit $1`},
	{"a ledger has another number of transactions than its head says", `
		select coalesce(h.owner, t.owner) || ' ' || coalesce(h.currency, t.currency)
		from ledger_heads h full join (
			select owner, currency, count(*) as n, max(seq) as seq from ledger_transactions group by owner, currency
		) t on t.owner = h.owner and t.currency = h.currency
		where t.n is distinct from h.seq or t.seq is distinct from h.seq limit $1`},
	{"a head is not the one of the last transaction", `
		select h.owner || ' ' || h.currency from ledger_heads h
		join ledger_transactions t on t.owner = h.owner and t.currency = h.currency and t.seq = h.seq
		where t.hash <> h.hash limit $1`},
}

// decodeAll reads every record that is more than its columns, and returns the
// first fault of each kind: a scan ends where it cannot decode.
func decodeAll(ctx context.Context, r *reader) []error {
	var none core.Page
	found := []error{
		faultOf(r.Subscriptions(ctx, "", none)), faultOf(r.CallbackEntries(ctx, "", none)), faultOf(r.Rejections(ctx)),
		faultOf(r.PriceBooks(ctx, none)), faultOf(r.MonthlyBills(ctx, "", none)), faultOf(r.MeterRecords(ctx, "", none)),
		faultOf(r.LedgerHeads(ctx, none)), faultOf(r.Notes(ctx, "", none)),
	}
	for day, err := range r.BillDays(ctx) {
		found = append(found, err, faultOf(r.DailyBillsOn(ctx, day, none)))
	}
	days, err := all(ctx, r, scanDay, `
		with recursive used (day) as (
			(select day from usage order by day limit 1)
			union all
			select (select u.day from usage u where u.day > used.day order by u.day limit 1) from used where used.day is not null
		) select day from used where day is not null`)
	found = append(found, err)
	for _, day := range days {
		found = append(found, faultOf(r.UsageOn(ctx, day, none)))
	}
	return found
}

// faultOf returns the error that a scan ends with.
func faultOf[T any](seq iter.Seq2[T, error]) error {
	for _, err := range seq {
		if err != nil {
			return fmt.Errorf("postgres: check: %w", err)
		}
	}
	return nil
}
