package bolt

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/money"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// The keys of daily bills and of their index begin with the day, so that a
// settlement, which goes through the workspaces of one day in order, writes at
// the end of both trees. An index that began with the account would be torn
// open in as many places as there are accounts, every day.

// DailyBill implements core.BillReader.
func (r *reader) DailyBill(
	_ context.Context, id workspace.ID, day usage.Day,
) (settlement.DailyBill, error) {
	value, err := lookupIn(r, dailyBills, day, string(id))
	if err != nil || value == nil {
		bill := string(settlement.DailyBillID(id, day))
		return settlement.DailyBill{}, missing(err, "daily bill", bill)
	}
	b, err := decodeDailyBill(value)
	if err != nil {
		return settlement.DailyBill{}, errBill(settlement.DailyBillID(id, day), err)
	}
	return b, nil
}

// DailyBillsOf implements core.BillReader.
func (r *reader) DailyBillsOf(
	_ context.Context, spare []settlement.DailyBill, keys ...settlement.DailyKey,
) ([]settlement.DailyBill, error) {
	out := slices.Grow(spare[:0], len(keys))[:len(keys)]
	for i, k := range keys {
		value, err := lookupIn(r, dailyBills, k.Day, string(k.Workspace))
		if err != nil {
			return nil, err
		}
		if value == nil {
			out[i] = settlement.DailyBill{}
		} else if err := readDailyBill(&out[i], value); err != nil {
			return nil, errBill(settlement.DailyBillID(k.Workspace, k.Day), err)
		}
	}
	return out, nil
}

func errBill(id settlement.BillID, err error) error {
	return fmt.Errorf("bolt: bill %q: %w", id, err)
}

// DailyBillsOn implements core.BillReader.
func (r *reader) DailyBillsOn(
	_ context.Context, day usage.Day, p core.Page,
) iter.Seq2[settlement.DailyBill, error] {
	return func(yield func(settlement.DailyBill, error) bool) {
		if r.over {
			yield(settlement.DailyBill{}, errOver)
			return
		}
		prefix := appendPeriod(nil, day)
		after := afterIn(prefix, p.After)
		left := p.Limit
		for key, value := range r.scan(dailyBills, prefix, after, ascending) {
			b, err := decodeDailyBill(value)
			if err != nil {
				id := settlement.DailyBillID(workspace.ID(key[periodSize:]), day)
				yield(settlement.DailyBill{}, errBill(id, err))
				return
			}
			if !yield(b, nil) {
				return
			}
			if left--; left == 0 {
				return
			}
		}
	}
}

// DailyBillsFor implements core.BillReader.
func (r *reader) DailyBillsFor(
	ctx context.Context, id account.ID, from, to usage.Day, p core.Page,
) iter.Seq2[settlement.DailyBill, error] {
	return func(yield func(settlement.DailyBill, error) bool) {
		at, err := dailyPlace(from, p)
		if r.over {
			err = errOver
		}
		if err != nil {
			yield(settlement.DailyBill{}, err)
			return
		}
		left := p.Limit
		for e := range owned(r, dailyBillsByAccount, string(id), at, to) {
			b, err := r.DailyBill(ctx, workspace.ID(e.rest), e.period)
			if !yield(b, err) || err != nil {
				return
			}
			if left--; left == 0 {
				return
			}
		}
	}
}

// dailyPlace is where a page of an account's daily bills begins.
func dailyPlace(from usage.Day, p core.Page) (place[usage.Day], error) {
	if p.After == "" {
		return place[usage.Day]{period: from}, nil
	}
	text, found := strings.CutPrefix(p.After, "db_")
	text, id, cut := strings.Cut(text, "_")
	day, err := usage.ParseDay(text)
	if !found || !cut || err != nil {
		return place[usage.Day]{}, errCursor(p)
	}
	if day < from {
		return place[usage.Day]{period: from}, nil
	}
	return place[usage.Day]{day, id}, nil
}

func errCursor(p core.Page) error {
	return core.Invalid("invalid_cursor", "%q is not the id of a bill", p.After)
}

// place is where a key is in a bucket whose keys are a period, an owner and a
// rest, among those of one owner. No rest is before all keys of the period.
type place[P ~int32] struct {
	period P
	rest   string
}

// owned yields owner's entries of b after a place and before a period. It looks
// once into each period that has entries.
func owned[P ~int32](
	r *reader, b bucket, owner string, after place[P], before P,
) iter.Seq2[place[P], []byte] {
	return func(yield func(place[P], []byte) bool) {
		for period := after.period; period < before; period++ {
			next, found := r.firstFrom(b, appendPeriod(nil, period))
			if !found {
				return
			}
			if period = periodOf[P](next); period >= before {
				return
			}
			prefix := append(append(appendPeriod(nil, period), owner...), 0)
			var from []byte
			if after.rest != "" && period == after.period {
				from = append(bytes.Clone(prefix), after.rest...)
			}
			for key, value := range r.scan(b, prefix, from, ascending) {
				if !yield(place[P]{period, string(key[len(prefix):])}, value) {
					return
				}
			}
		}
	}
}

// AddDailyBill implements core.BillWriter. An ID that is not the one of the
// workspace and day is ErrInvalid: pages of bills rely on it.
func (t *txn) AddDailyBill(_ context.Context, bills ...settlement.DailyBill) error {
	for i := range bills {
		if err := t.addDailyBill(&bills[i]); err != nil {
			return err
		}
	}
	return nil
}

func (t *txn) addDailyBill(b *settlement.DailyBill) error {
	const what = "daily bill"
	if b.ID != settlement.DailyBillID(b.Workspace, b.Day) {
		return errBillID(b.ID)
	}
	stored, err := lookupIn(&t.reader, dailyBills, b.Day, string(b.Workspace))
	if err != nil {
		return err
	}
	if stored != nil {
		return core.Conflict("taken", "workspace %q has a bill for %s", b.Workspace, b.Day)
	}
	err = putIn(t, dailyBills, what, func(dst []byte) ([]byte, error) {
		return appendDailyBill(dst, b), nil
	}, b.Day, string(b.Workspace))
	if err != nil {
		return err
	}
	return putIn(t, dailyBillsByAccount, what, nothing,
		b.Day, string(b.BillingAccount), string(b.Workspace))
}

func errBillID(id settlement.BillID) error {
	return core.Invalid("invalid_id", "bill %q is of another account, workspace or period", id)
}

// nothing encodes the value of an index whose keys say it all.
func nothing(dst []byte) ([]byte, error) { return dst, nil }

// MonthlyBill implements core.BillReader.
func (r *reader) MonthlyBill(
	_ context.Context, id account.ID, m usage.Month, c money.Currency,
) (settlement.MonthlyBill, error) {
	value, err := lookupIn(r, monthlyBills, m, string(id), string(c))
	if err != nil || value == nil {
		bill := string(settlement.MonthlyBillID(id, m, c))
		return settlement.MonthlyBill{}, missing(err, "monthly bill", bill)
	}
	b, err := decodeJSON[settlement.MonthlyBill](value)
	if err != nil {
		return b, errBill(settlement.MonthlyBillID(id, m, c), err)
	}
	return b, nil
}

// MonthlyBills implements core.BillReader.
func (r *reader) MonthlyBills(
	_ context.Context, id account.ID, p core.Page,
) iter.Seq2[settlement.MonthlyBill, error] {
	return func(yield func(settlement.MonthlyBill, error) bool) {
		from, err := monthlyPlace(p)
		if r.over {
			err = errOver
		}
		if err != nil {
			yield(settlement.MonthlyBill{}, err)
			return
		}
		left := p.Limit
		for value := range r.monthly(string(id), from) {
			b, err := decodeJSON[settlement.MonthlyBill](value)
			if err != nil {
				yield(b, fmt.Errorf("bolt: monthly bill: %w", err))
				return
			}
			if !yield(b, nil) {
				return
			}
			if left--; left == 0 {
				return
			}
		}
	}
}

// billPlace is the key of a monthly bill in parts.
type billPlace struct {
	month           usage.Month
	owner, currency string
}

// monthlyPlace is where a page of monthly bills begins.
func monthlyPlace(p core.Page) (billPlace, error) {
	if p.After == "" {
		return billPlace{month: -1 << 31}, nil
	}
	text, found := strings.CutPrefix(p.After, "mb_")
	text, rest, cut := strings.Cut(text, "_")
	last := strings.LastIndexByte(rest, '_')
	m, err := usage.ParseMonth(text)
	if !found || !cut || last < 0 || err != nil {
		return billPlace{}, errCursor(p)
	}
	return billPlace{m, rest[:last], rest[last+1:]}, nil
}

// monthly yields the stored monthly bills after a place, those of one owner if
// it is not empty.
func (r *reader) monthly(owner string, after billPlace) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if owner == "" {
			key := appendPeriod(nil, after.month)
			if after.owner != "" {
				key, _ = appendKey(key, after.owner, after.currency)
			}
			for _, value := range r.scan(monthlyBills, nil, key, ascending) {
				if !yield(value) {
					return
				}
			}
			return
		}
		at := place[usage.Month]{after.month, after.currency}
		for _, value := range owned(r, monthlyBills, owner, at, 1<<31-1) {
			if !yield(value) {
				return
			}
		}
	}
}

// AddMonthlyBill implements core.BillWriter. An ID that is not the one of the
// account, month and currency is ErrInvalid: pages of bills rely on it.
func (t *txn) AddMonthlyBill(_ context.Context, b settlement.MonthlyBill) error {
	if b.ID != settlement.MonthlyBillID(b.BillingAccount, b.Month, b.Currency) {
		return errBillID(b.ID)
	}
	stored, err := lookupIn(&t.reader, monthlyBills, b.Month, string(b.BillingAccount), string(b.Currency))
	if err != nil {
		return err
	}
	if stored != nil {
		return core.Conflict("taken", "%q has a bill for %s in %s", b.BillingAccount, b.Month, b.Currency)
	}
	b.IssuedAt, b.DueAt = utc(b.IssuedAt), utc(b.DueAt)
	if len(b.Workspaces) == 0 {
		b.Workspaces = nil
	}
	return putIn(t, monthlyBills, "monthly bill", encodeJSON(b),
		b.Month, string(b.BillingAccount), string(b.Currency))
}

// SettlementRun implements core.BillReader.
func (r *reader) SettlementRun(_ context.Context, id string) (core.SettlementRun, error) {
	return find(r, settlementRuns, "settlement run", id, decodeJSON[core.SettlementRun])
}

// SettlementRuns implements core.BillReader.
func (r *reader) SettlementRuns(
	_ context.Context, p core.Page,
) iter.Seq2[core.SettlementRun, error] {
	return page(r, settlementRuns, p, ascending, all(decodeJSON[core.SettlementRun]))
}

// PutSettlementRun implements core.BillWriter.
func (t *txn) PutSettlementRun(_ context.Context, run core.SettlementRun) error {
	_, err := revised(t, settlementRuns, "settlement run", run.ID, run.Rev,
		decodeJSON[core.SettlementRun], func(r *core.SettlementRun) uint64 { return r.Rev })
	if err != nil {
		return err
	}
	run.Rev++
	return t.storeSettlementRun(run)
}

func (t *txn) storeSettlementRun(run core.SettlementRun) error {
	run.StartedAt, run.FinishedAt = utc(run.StartedAt), utc(run.FinishedAt)
	return t.put(settlementRuns, "settlement run", encodeJSON(run), run.ID)
}
