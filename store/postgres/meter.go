package postgres

import (
	"context"
	"iter"
	"time"

	"github.com/jackc/pgx/v5"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
)

const meterAccountColumns = `subscription, rev, currency, unit_amount, charged, accepted, in_flight, lost, hold, held_at,
	last_accepted, accepted_at, billed_at`

func scanMeterAccount(rows pgx.Rows, a *metering.Account) error {
	return rows.Scan(&a.Subscription, &a.Rev, &a.Currency, &a.UnitAmount, &a.Charged, &a.Accepted, &a.InFlight, &a.Lost,
		&a.Hold, into(&a.HeldAt), &a.LastAccepted, into(&a.AcceptedAt), into(&a.BilledAt))
}

// MeterAccount implements core.MeterReader.
func (r *reader) MeterAccount(ctx context.Context, id marketplace.SubscriptionID) (metering.Account, error) {
	a, err := one(ctx, r, "meter account", scanMeterAccount,
		"select "+meterAccountColumns+" from meter_accounts where subscription = $1", string(id))
	if isNotFound(err) {
		return metering.Account{Subscription: id}, nil
	}
	return a, err
}

// MeterAccountsOf implements core.MeterReader.
func (r *reader) MeterAccountsOf(
	ctx context.Context, ids ...marketplace.SubscriptionID,
) ([]metering.Account, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	rows, err := all(ctx, r, scanMeterAccount,
		"select "+meterAccountColumns+" from meter_accounts where subscription = any($1::text[])", cleanAll(ids))
	if err != nil {
		return nil, err
	}
	known := make(map[marketplace.SubscriptionID]metering.Account, len(rows))
	for _, a := range rows {
		known[a.Subscription] = a
	}
	accounts := make([]metering.Account, len(ids))
	for i, id := range ids {
		accounts[i] = known[id]
		accounts[i].Subscription = id
	}
	return accounts, nil
}

// MeterAccounts implements core.MeterReader.
func (r *reader) MeterAccounts(ctx context.Context, p core.Page) iter.Seq2[metering.Account, error] {
	return list(ctx, r, p, listing[metering.Account]{
		"select " + meterAccountColumns + " from meter_accounts where subscription > $1 order by subscription limit $2",
		byID, scanMeterAccount, func(a *metering.Account) string { return string(a.Subscription) },
	})
}

// PutMeterAccount implements core.MeterWriter.
func (t *txn) PutMeterAccount(_ context.Context, accounts ...metering.Account) error {
	if t.over {
		return errOver
	}
	var fresh, known meterArrays
	seen := make(map[marketplace.SubscriptionID]bool, len(accounts))
	for i := range accounts {
		a := &accounts[i]
		if err := checkKey("meter account", string(a.Subscription)); err != nil {
			return err
		}
		if seen[a.Subscription] { // one statement changes a row once
			if err := t.putMeters(&fresh, &known); err != nil {
				return err
			}
			fresh, known = meterArrays{}, meterArrays{}
			clear(seen)
		}
		seen[a.Subscription] = true
		if a.Rev == 0 {
			fresh.add(a)
		} else {
			known.add(a)
		}
	}
	return t.putMeters(&fresh, &known)
}

// meterArrays are the columns of several meter accounts.
type meterArrays struct {
	ids, currencies, holds, last                     []string
	revs, amounts, charged, accepted, inFlight, lost []int64
	heldAt, acceptedAt, billedAt                     []*time.Time
}

func (c *meterArrays) add(a *metering.Account) {
	c.ids, c.currencies = append(c.ids, string(a.Subscription)), append(c.currencies, string(a.Currency))
	c.revs, c.amounts = append(c.revs, whole(a.Rev)), append(c.amounts, int64(a.UnitAmount))
	c.charged, c.accepted = append(c.charged, int64(a.Charged)), append(c.accepted, a.Accepted)
	c.inFlight, c.lost = append(c.inFlight, a.InFlight), append(c.lost, a.Lost)
	c.holds, c.last = append(c.holds, string(a.Hold)), append(c.last, clean(string(a.LastAccepted)))
	c.heldAt, c.acceptedAt = append(c.heldAt, orNull(a.HeldAt)), append(c.acceptedAt, orNull(a.AcceptedAt))
	c.billedAt = append(c.billedAt, orNull(a.BilledAt))
}

func (c *meterArrays) args() []any {
	return []any{
		c.ids, c.revs, c.currencies, c.amounts, c.charged, c.accepted, c.inFlight, c.lost, c.holds, c.heldAt, c.last,
		c.acceptedAt, c.billedAt,
	}
}

const meterRows = `unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
	$8::bigint[], $9::text[], $10::timestamptz[], $11::text[], $12::timestamptz[], $13::timestamptz[])
	as k (` + meterAccountColumns + `)`

func (t *txn) putMeters(fresh, known *meterArrays) error {
	staleMeter := func() error { return core.Conflict("stale_revision", "the sums of a subscription changed meanwhile") }
	if len(fresh.ids) > 0 {
		err := t.write(staleMeter, `
			insert into meter_accounts (`+meterAccountColumns+`)
			select subscription, rev + 1, currency, unit_amount, charged, accepted, in_flight, lost, hold, held_at,
				last_accepted, accepted_at, billed_at from `+meterRows,
			fresh.args()...)
		if err != nil {
			return err
		}
	}
	if len(known.ids) == 0 {
		return nil
	}
	return t.write(staleMeter, `
		with changed as (
			update meter_accounts a set rev = k.rev + 1, currency = k.currency, unit_amount = k.unit_amount,
				charged = k.charged, accepted = k.accepted, in_flight = k.in_flight, lost = k.lost, hold = k.hold,
				held_at = k.held_at, last_accepted = k.last_accepted, accepted_at = k.accepted_at, billed_at = k.billed_at
			from `+meterRows+`
			where a.subscription = k.subscription collate "C" and a.rev = k.rev and a.subscription = any($1::text[])
			returning 1
		) select 1 / (count(*) = cardinality($1::text[]))::int from changed`, known.args()...)
}

const meterRecordColumns = `id, rev, listing, subscription, dimension, period_start, period_end, units, unit_amount,
	currency, deadline, sealed_at, status, attempts, retry_at, sent_at, doubt, provider_id, last_error, subject, account,
	attributes, resolution`

func scanMeterRecord(rows pgx.Rows, m *metering.Record) error {
	var attributes, resolution []byte
	err := rows.Scan(&m.ID, &m.Rev, &m.Listing, &m.Subscription, &m.Dimension, into(&m.PeriodStart), into(&m.PeriodEnd),
		&m.Units, &m.UnitAmount, &m.Currency, into(&m.Deadline), into(&m.SealedAt), &m.Status, &m.Attempts, into(&m.RetryAt),
		into(&m.SentAt), &m.Doubt, &m.ProviderID, &m.LastError, &m.Subject, &m.Account, &attributes,
		&resolution)
	if err == nil && attributes != nil {
		err = decodeJSON(attributes, &m.Attributes)
	}
	if err == nil && resolution != nil {
		err = decodeJSON(resolution, &m.Resolution)
	}
	return err
}

func recordID(m *metering.Record) string { return string(m.ID) }

// MeterRecord implements core.MeterReader.
func (r *reader) MeterRecord(ctx context.Context, id metering.RecordID) (metering.Record, error) {
	return one(ctx, r, "metering record", scanMeterRecord,
		"select "+meterRecordColumns+" from meter_records where id = $1", string(id))
}

// MeterRecords implements core.MeterReader.
func (r *reader) MeterRecords(
	ctx context.Context, id marketplace.SubscriptionID, p core.Page,
) iter.Seq2[metering.Record, error] {
	sql, from := "select "+meterRecordColumns+" from meter_records where id > $1 order by id limit $2", byID
	if id != "" {
		sql = "select " + meterRecordColumns + ` from meter_records
			where subscription = $1 and subscription <> '' and id > $2 order by id limit $3`
		from = of(string(id))
	}
	return list(ctx, r, p, listing[metering.Record]{sql, from, scanMeterRecord, recordID})
}

// MeterPending implements core.MeterReader.
func (r *reader) MeterPending(ctx context.Context) iter.Seq2[metering.Record, error] {
	return yieldAll(ctx, r, scanMeterRecord,
		"select "+meterRecordColumns+" from meter_records where not final order by deadline, id")
}

// MeterPeriodTaken implements core.MeterReader.
func (r *reader) MeterPeriodTaken(
	ctx context.Context, id marketplace.SubscriptionID, dimension string, start time.Time,
) (taken bool, err error) {
	err = r.ask(ctx, query{
		"select from meter_records where subscription = $1 and dimension = $2 and period_start = $3",
		[]any{clean(string(id)), clean(dimension), utc(start)},
		func(rows pgx.Rows) error { taken = rows.Next(); return nil },
	})
	return taken, err
}

// PutMeterRecord implements core.MeterWriter.
func (t *txn) PutMeterRecord(_ context.Context, m metering.Record) error {
	if err := checkKey("period", string(m.Subscription), m.Dimension, m.PeriodStart.String()); err != nil {
		return err
	}
	var attributes, resolution []byte
	var err error
	if len(m.Attributes) > 0 {
		if attributes, err = encodeJSON(m.Attributes); err != nil {
			return err
		}
	}
	if d := m.Resolution; d != (metering.Resolution{}) {
		d.At = utc(d.At)
		if resolution, err = encodeJSON(d); err != nil {
			return err
		}
	}
	return t.put("metering record", string(m.ID), m.Rev, `
		insert into meter_records (id, rev, listing, subscription, dimension, period_start, period_end, units,
			unit_amount, currency, deadline, sealed_at, status, final, attempts, retry_at, sent_at, doubt, provider_id,
			last_error, subject, account, attributes, resolution)
		values ($1, $2::bigint + 1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21,
			$22, $23, $24)`, `
		update meter_records set rev = rev + 1, listing = $3, subscription = $4, dimension = $5, period_start = $6,
			period_end = $7, units = $8, unit_amount = $9, currency = $10, deadline = $11, sealed_at = $12, status = $13,
			final = $14, attempts = $15, retry_at = $16, sent_at = $17, doubt = $18, provider_id = $19, last_error = $20,
			subject = $21, account = $22, attributes = $23, resolution = $24
		where id = $1 and rev = $2`, []any{
		m.ID, whole(m.Rev), m.Listing, m.Subscription, m.Dimension, utc(m.PeriodStart), orNull(m.PeriodEnd), m.Units,
		int64(m.UnitAmount), m.Currency, utc(m.Deadline), orNull(m.SealedAt), m.Status, m.Status.Final(), m.Attempts,
		orNull(m.RetryAt), orNull(m.SentAt), m.Doubt, clean(m.ProviderID), clean(m.LastError), clean(m.Subject),
		clean(m.Account), attributes, resolution,
	})
}
