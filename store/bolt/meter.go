package bolt

import (
	"context"
	"iter"
	"strings"
	"time"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
)

// MeterAccount implements core.MeterReader.
func (r *reader) MeterAccount(
	_ context.Context, id marketplace.SubscriptionID,
) (metering.Account, error) {
	value, err := r.lookup(meterAccounts, string(id))
	if err != nil || value == nil {
		return metering.Account{Subscription: id}, err
	}
	return find(r, meterAccounts, "meter account", string(id), decodeMeterAccount)
}

// MeterAccountsOf implements core.MeterReader.
func (r *reader) MeterAccountsOf(
	ctx context.Context, ids ...marketplace.SubscriptionID,
) ([]metering.Account, error) {
	accounts := make([]metering.Account, len(ids))
	for i, id := range ids {
		var err error
		if accounts[i], err = r.MeterAccount(ctx, id); err != nil {
			return nil, err
		}
	}
	return accounts, nil
}

// MeterAccounts implements core.MeterReader.
func (r *reader) MeterAccounts(_ context.Context, p core.Page) iter.Seq2[metering.Account, error] {
	return page(r, meterAccounts, p, ascending, all(decodeMeterAccount))
}

// PutMeterAccount implements core.MeterWriter.
func (t *txn) PutMeterAccount(_ context.Context, accounts ...metering.Account) error {
	for i := range accounts {
		if err := t.putMeterAccount(accounts[i]); err != nil {
			return err
		}
	}
	return nil
}

func (t *txn) putMeterAccount(a metering.Account) error {
	_, err := revised(t, meterAccounts, "meter account", string(a.Subscription), a.Rev,
		decodeMeterAccount, func(a *metering.Account) uint64 { return a.Rev })
	if err != nil {
		return err
	}
	a.Rev++
	return t.storeMeterAccount(&a)
}

func (t *txn) storeMeterAccount(a *metering.Account) error {
	return t.put(meterAccounts, "meter account", func(dst []byte) ([]byte, error) {
		return appendMeterAccount(dst, a, a.Rev), nil
	}, string(a.Subscription))
}

// MeterRecord implements core.MeterReader.
func (r *reader) MeterRecord(_ context.Context, id metering.RecordID) (metering.Record, error) {
	return r.meterRecord(string(id))
}

func (r *reader) meterRecord(id string) (metering.Record, error) {
	return find(r, meterRecords, "metering record", id, decodeMeterRecord)
}

// MeterRecords implements core.MeterReader.
func (r *reader) MeterRecords(
	_ context.Context, id marketplace.SubscriptionID, p core.Page,
) iter.Seq2[metering.Record, error] {
	if id == "" {
		return page(r, meterRecords, p, ascending, all(decodeMeterRecord))
	}
	return members(r, meterRecordsBySubscription, string(id), p, r.meterRecord)
}

// MeterPending implements core.MeterReader.
func (r *reader) MeterPending(context.Context) iter.Seq2[metering.Record, error] {
	return func(yield func(metering.Record, error) bool) {
		if r.over {
			yield(metering.Record{}, errOver)
			return
		}
		for key := range r.scan(meterPending, nil, nil, ascending) {
			_, id, _ := strings.Cut(string(key), "/")
			rec, err := r.meterRecord(id)
			if !yield(rec, err) || err != nil {
				return
			}
		}
	}
}

// MeterPeriodTaken implements core.MeterReader.
func (r *reader) MeterPeriodTaken(
	_ context.Context, id marketplace.SubscriptionID, dimension string, start time.Time,
) (bool, error) {
	holder, err := r.lookup(meterRecordsByPeriod, string(id), dimension, utc(start).Format(keyTime))
	return holder != nil, err
}

// PutMeterRecord implements core.MeterWriter.
func (t *txn) PutMeterRecord(_ context.Context, rec metering.Record) error {
	before, err := revised(t, meterRecords, "metering record", string(rec.ID), rec.Rev,
		decodeMeterRecord, func(r *metering.Record) uint64 { return r.Rev })
	if err != nil {
		return err
	}
	rec.Rev++
	return t.storeMeterRecord(before, rec)
}

// storeMeterRecord writes rec in place of before, or of nothing.
func (t *txn) storeMeterRecord(before *metering.Record, rec metering.Record) error {
	if before == nil {
		before = &metering.Record{Status: metering.Expired}
	}
	rec.PeriodStart, rec.Deadline = utc(rec.PeriodStart), utc(rec.Deadline) // they are in keys
	if err := t.relistRecord(before, &rec); err != nil {
		return err
	}
	return t.put(meterRecords, "metering record", func(dst []byte) ([]byte, error) {
		return appendMeterRecord(dst, &rec, rec.Rev), nil
	}, string(rec.ID))
}

// relistRecord moves a record in the indexes. A record that was not stored has
// no ID.
func (t *txn) relistRecord(before, rec *metering.Record) error {
	const what = "metering record"
	if was, now := periodParts(before), periodParts(rec); before.ID == "" || was != now {
		if err := t.take(meterRecordsByPeriod, "period", string(rec.ID), now[:]...); err != nil {
			return err
		}
		if before.ID != "" {
			if err := t.remove(meterRecordsByPeriod, what, was[:]...); err != nil {
				return err
			}
		}
	}
	err := t.list(meterRecordsBySubscription, what,
		string(before.Subscription), string(rec.Subscription), string(rec.ID))
	if err != nil {
		return err
	}
	return t.relistPending(before, rec)
}

// relistPending moves a record in the list of those that are not final.
func (t *txn) relistPending(before, rec *metering.Record) error {
	const what = "pending metering record"
	was, now := pendingKey(before), pendingKey(rec)
	if was == now {
		return nil
	}
	if was != "" {
		if err := t.remove(meterPending, what, was); err != nil {
			return err
		}
	}
	if now == "" {
		return nil
	}
	return t.point(meterPending, what, "", now)
}

// periodParts is the key of a record at its marketplace.
func periodParts(r *metering.Record) [3]string {
	return [3]string{string(r.Subscription), r.Dimension, r.PeriodStart.Format(keyTime)}
}

// pendingKey is the place of a record among those that are not final, or "".
func pendingKey(r *metering.Record) string {
	if r.Status.Final() {
		return ""
	}
	return r.Deadline.Format(keyTime) + "/" + string(r.ID)
}
