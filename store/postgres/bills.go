package postgres

import (
	"context"
	"iter"
	"math"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/money"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

const dailyBillColumns = `day, workspace, site, billing_account, binding, method, subscription, currency, book, total,
	cloud, arrears, usage_rev, ledger_seq, sealed_at, lines, unrated, deductions`

func scanDailyBill(rows pgx.Rows, b *settlement.DailyBill) error {
	var lines, unrated, deductions []byte
	err := rows.Scan((*int32)(&b.Day), &b.Workspace, &b.Site, &b.BillingAccount, &b.Binding, &b.Settlement.Method,
		&b.Settlement.Subscription, &b.Currency, &b.Book, &b.Total, &b.Cloud, &b.Arrears, &b.UsageRev, &b.LedgerSeq,
		into(&b.SealedAt), &lines, &unrated, &deductions)
	if err != nil {
		return err
	}
	b.ID = settlement.DailyBillID(b.Workspace, b.Day)
	if unrated != nil {
		if err := decodeJSON(unrated, &b.Unrated); err != nil {
			return err
		}
	}
	if b.Lines, err = decodeLines(lines); err != nil {
		return err
	}
	b.Deductions, err = decodeDeductions(deductions)
	return err
}

// DailyBill implements core.BillReader.
func (r *reader) DailyBill(ctx context.Context, id workspace.ID, day usage.Day) (settlement.DailyBill, error) {
	name := string(settlement.DailyBillID(id, day))
	if !isKey(string(id)) {
		return settlement.DailyBill{}, r.none("daily bill", name)
	}
	return only(ctx, r, "daily bill", name, scanDailyBill,
		"select "+dailyBillColumns+" from daily_bills where day = $1 and workspace = $2", int32(day), string(id))
}

// DailyBillsOf implements core.BillReader.
func (r *reader) DailyBillsOf(
	ctx context.Context, _ []settlement.DailyBill, keys ...settlement.DailyKey,
) ([]settlement.DailyBill, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	days, workspaces := make([]int32, len(keys)), make([]string, len(keys))
	at := make(map[settlement.DailyKey][]int, len(keys))
	for i, k := range keys {
		days[i], workspaces[i] = int32(k.Day), clean(string(k.Workspace))
		at[k] = append(at[k], i)
	}
	found, err := all(ctx, r, scanDailyBill, `
		select `+dailyBillColumns+` from daily_bills
		where (day, workspace) in (select * from unnest($1::int[], $2::text[])) and day >= $3 and day <= $4`,
		days, workspaces, slices.Min(days), slices.Max(days))
	out := make([]settlement.DailyBill, len(keys))
	for i := range found {
		for _, n := range at[settlement.DailyKey{Workspace: found[i].Workspace, Day: found[i].Day}] {
			out[n] = found[i]
		}
	}
	return out, err
}

// DailyBillsOn implements core.BillReader.
func (r *reader) DailyBillsOn(ctx context.Context, day usage.Day, p core.Page) iter.Seq2[settlement.DailyBill, error] {
	return list(ctx, r, p, listing[settlement.DailyBill]{
		"select " + dailyBillColumns + " from daily_bills where day = $1 and workspace > $2 order by workspace limit $3",
		onDay(day), scanDailyBill, func(b *settlement.DailyBill) string { return string(b.Workspace) },
	})
}

// BillDays implements core.BillReader. It looks once for each day that has
// bills, however many there are.
func (r *reader) BillDays(ctx context.Context) iter.Seq2[usage.Day, error] {
	return yieldAll(ctx, r, scanDay, `
		with recursive billed (day) as (
			(select day from daily_bills order by day limit 1)
			union all
			select (select b.day from daily_bills b where b.day > billed.day order by b.day limit 1)
			from billed where billed.day is not null
		) select day from billed where day is not null`)
}

// DailyBillsFor implements core.BillReader.
func (r *reader) DailyBillsFor(
	ctx context.Context, id account.ID, from, to usage.Day, p core.Page,
) iter.Seq2[settlement.DailyBill, error] {
	return list(ctx, r, p, listing[settlement.DailyBill]{
		`select ` + dailyBillColumns + ` from daily_bills
		where billing_account = $1 and day >= $2 and day < $3 and (day, workspace) > ($4, $5)
		order by day, workspace limit $6`,
		func(after string) ([]any, error) {
			day, ws, err := dailyPlace(from, after)
			return []any{clean(string(id)), int32(from), int32(to), int32(day), clean(ws)}, err
		},
		scanDailyBill, func(b *settlement.DailyBill) string { return string(b.ID) },
	})
}

// dailyPlace is where a page of an account's daily bills begins.
func dailyPlace(from usage.Day, after string) (usage.Day, string, error) {
	if after == "" {
		return from, "", nil
	}
	text, found := strings.CutPrefix(after, "db_")
	text, id, cut := strings.Cut(text, "_")
	day, err := usage.ParseDay(text)
	if !found || !cut || err != nil {
		return 0, "", errCursor(after)
	}
	return day, id, nil
}

func errCursor(after string) error {
	return core.Invalid("invalid_cursor", "%q is not the id of a bill", after)
}

// AddDailyBill implements core.BillWriter. An ID that is not the one of the
// workspace and day is ErrInvalid: pages of bills rely on it.
func (t *txn) AddDailyBill(_ context.Context, bills ...settlement.DailyBill) error {
	if t.over {
		return errOver
	}
	if len(bills) == 0 {
		return nil
	}
	var c billArrays
	c.grow(len(bills))
	for i := range bills {
		b := &bills[i]
		if b.ID != settlement.DailyBillID(b.Workspace, b.Day) {
			return errBillID(b.ID)
		}
		if err := checkKey("daily bill", string(b.BillingAccount), string(b.Workspace)); err != nil {
			return err
		}
		if err := t.s.partitions.needs(b.Day); err != nil {
			return err
		}
		if err := c.add(b); err != nil {
			return err
		}
	}
	return t.write(taken("daily bill", string(bills[0].ID)), insertDailyBills, c.args()...)
}

func errBillID(id settlement.BillID) error {
	return core.Invalid("invalid_id", "bill %q is of another account, workspace or period", id)
}

const monthlyBillColumns = `month, billing_account, currency, since_day, since_seq, until_day, until_seq, total, cloud,
	arrears, issued_at, due_at, workspaces, deductions`

func scanMonthlyBill(rows pgx.Rows, b *settlement.MonthlyBill) error {
	var workspaces, deductions []byte
	err := rows.Scan((*int32)(&b.Month), &b.BillingAccount, &b.Currency, (*int32)(&b.Since.Before), &b.Since.Seq,
		(*int32)(&b.Until.Before), &b.Until.Seq, &b.Total, &b.Cloud, &b.Arrears, into(&b.IssuedAt), into(&b.DueAt),
		&workspaces, &deductions)
	if err != nil {
		return err
	}
	b.ID = settlement.MonthlyBillID(b.BillingAccount, b.Month, b.Currency)
	if err := decodeJSON(workspaces, &b.Workspaces); err != nil {
		return err
	}
	b.Workspaces = orNil(b.Workspaces)
	b.Deductions, err = decodeDeductions(deductions)
	return err
}

// MonthlyBill implements core.BillReader.
func (r *reader) MonthlyBill(
	ctx context.Context, id account.ID, m usage.Month, c money.Currency,
) (settlement.MonthlyBill, error) {
	name := string(settlement.MonthlyBillID(id, m, c))
	if !isKey(string(id), string(c)) {
		return settlement.MonthlyBill{}, r.none("monthly bill", name)
	}
	return only(ctx, r, "monthly bill", name, scanMonthlyBill, `
		select `+monthlyBillColumns+` from monthly_bills where month = $1 and billing_account = $2 and currency = $3`,
		int32(m), string(id), string(c))
}

// MonthlyBills implements core.BillReader.
func (r *reader) MonthlyBills(
	ctx context.Context, id account.ID, p core.Page,
) iter.Seq2[settlement.MonthlyBill, error] {
	sql := `select ` + monthlyBillColumns + ` from monthly_bills
		where (month, billing_account, currency) > ($1, $2, $3) order by month, billing_account, currency limit $4`
	if id != "" {
		sql = `select ` + monthlyBillColumns + ` from monthly_bills
			where billing_account = $2 and (month, currency) > ($1, $3) order by month, currency limit $4`
	}
	return list(ctx, r, p, listing[settlement.MonthlyBill]{
		sql, func(after string) ([]any, error) {
			m, owner, c, err := monthlyPlace(after)
			if id != "" {
				owner = string(id)
			}
			return []any{int32(m), clean(owner), clean(c)}, err
		},
		scanMonthlyBill, func(b *settlement.MonthlyBill) string { return string(b.ID) },
	})
}

// monthlyPlace is where a page of monthly bills begins.
func monthlyPlace(after string) (m usage.Month, owner, currency string, err error) {
	if after == "" {
		return math.MinInt32, "", "", nil
	}
	text, found := strings.CutPrefix(after, "mb_")
	text, rest, cut := strings.Cut(text, "_")
	last := strings.LastIndexByte(rest, '_')
	m, err = usage.ParseMonth(text)
	if !found || !cut || last < 0 || err != nil {
		return 0, "", "", errCursor(after)
	}
	return m, rest[:last], rest[last+1:], nil
}

// AddMonthlyBill implements core.BillWriter. An ID that is not the one of the
// account, month and currency is ErrInvalid: pages of bills rely on it.
func (t *txn) AddMonthlyBill(_ context.Context, b settlement.MonthlyBill) error {
	if b.ID != settlement.MonthlyBillID(b.BillingAccount, b.Month, b.Currency) {
		return errBillID(b.ID)
	}
	if err := checkKey("monthly bill", string(b.BillingAccount), string(b.Currency)); err != nil {
		return err
	}
	workspaces, err := encodeJSON(append([]settlement.Subtotal{}, b.Workspaces...))
	if err != nil {
		return err
	}
	return t.write(taken("monthly bill", string(b.ID)), `
		insert into monthly_bills (`+monthlyBillColumns+`)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
		int32(b.Month), b.BillingAccount, b.Currency, int32(b.Since.Before), whole(b.Since.Seq), int32(b.Until.Before),
		whole(b.Until.Seq), int64(b.Total), int64(b.Cloud), int64(b.Arrears), orNull(b.IssuedAt), orNull(b.DueAt),
		workspaces, appendDeductions(nil, b.Deductions))
}

const runColumns = "id, rev, kind, period, status, bills, waiting, waits, error, started_at, finished_at, ranges"

func scanRun(rows pgx.Rows, r *core.SettlementRun) error {
	var waits []byte
	err := rows.Scan(&r.ID, &r.Rev, &r.Kind, &r.Period, &r.Status, &r.Bills, &r.Waiting, &waits, &r.Error,
		into(&r.StartedAt), into(&r.FinishedAt), &r.Ranges)
	if err != nil {
		return err
	}
	err = decodeJSON(waits, &r.Waits)
	r.Waits = orNil(r.Waits)
	return err
}

// SettlementRun implements core.BillReader.
func (r *reader) SettlementRun(ctx context.Context, id string) (core.SettlementRun, error) {
	return one(ctx, r, "settlement run", scanRun, "select "+runColumns+" from settlement_runs where id = $1", id)
}

// SettlementRuns implements core.BillReader.
func (r *reader) SettlementRuns(ctx context.Context, p core.Page) iter.Seq2[core.SettlementRun, error] {
	return list(ctx, r, p, listing[core.SettlementRun]{
		"select " + runColumns + " from settlement_runs where id > $1 order by id limit $2",
		byID, scanRun, func(r *core.SettlementRun) string { return r.ID },
	})
}

// PutSettlementRun implements core.BillWriter.
func (t *txn) PutSettlementRun(_ context.Context, run core.SettlementRun) error {
	waits, err := encodeJSON(append([]core.Wait{}, run.Waits...))
	if err != nil {
		return err
	}
	return t.put("settlement run", run.ID, run.Rev, `
		insert into settlement_runs (`+runColumns+`)
		values ($1, $2::bigint + 1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`, `
		update settlement_runs set rev = rev + 1, kind = $3, period = $4, status = $5, bills = $6, waiting = $7,
			waits = $8, error = $9, started_at = $10, finished_at = $11, ranges = $12
		where id = $1 and rev = $2`, []any{
		run.ID, whole(run.Rev), run.Kind, run.Period, run.Status, run.Bills, run.Waiting, waits, clean(run.Error),
		orNull(run.StartedAt), orNull(run.FinishedAt), run.Ranges,
	})
}
