package storetest

import (
	"context"
	"errors"
	"iter"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/govalues/decimal"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/ledger"
	"cloudsettle/core/metering"
	"cloudsettle/core/money"
	"cloudsettle/core/pricing"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// fails checks that a transaction fails with an error of a class.
func fails(t testing.TB, s core.Store, what string, class error, fn func(context.Context, core.Tx) error) {
	t.Helper()
	wantErr(t, what, s.Update(t.Context(), fn), class)
}

// idsOf returns the identifiers that a scan yields.
func idsOf[T any, ID ~string](seq iter.Seq2[T, error], id func(T) ID) ([]string, error) {
	var ids []string
	for v, err := range seq {
		if err != nil {
			return nil, err
		}
		ids = append(ids, string(id(v)))
	}
	return ids, nil
}

// wantScan checks what a scan yields on a page.
func wantScan[T any, ID ~string](
	t testing.TB, s core.Store, what string, p core.Page, want []string, id func(T) ID,
	scan func(context.Context, core.ReadTx) iter.Seq2[T, error],
) {
	t.Helper()
	view(t, s, func(ctx context.Context, tx core.ReadTx) error {
		if got, err := idsOf(scan(ctx, tx), id); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s on page %+v yields %q, %v, want %q", what, p, got, err, want)
		}
		return nil
	})
}

func bookID(b pricing.Book) pricing.BookID                 { return b.ID }
func dailyID(b settlement.DailyBill) settlement.BillID     { return b.ID }
func monthlyID(b settlement.MonthlyBill) settlement.BillID { return b.ID }
func runID(r core.SettlementRun) string                    { return r.ID }

// pricesAreInsertOnly: a book never changes, not even to itself.
func pricesAreInsertOnly(t *testing.T, s core.Store) {
	for _, id := range []string{"pb_2", "pb_10", "pb_1"} {
		update(t, s, func(ctx context.Context, tx core.Tx) error { return tx.AddPriceBook(ctx, aBook(id)) })
	}
	changed := aBook("pb_1")
	changed.Name = "changed"
	for _, b := range []pricing.Book{aBook("pb_1"), changed} {
		fails(t, s, "AddPriceBook of a known id", core.ErrConflict, func(ctx context.Context, tx core.Tx) error {
			return tx.AddPriceBook(ctx, b)
		})
	}
	fails(t, s, "AddPriceBook twice", core.ErrConflict, func(ctx context.Context, tx core.Tx) error {
		return firstOf(tx.AddPriceBook(ctx, aBook("pb_3")), tx.AddPriceBook(ctx, aBook("pb_3")))
	})
	got := read(t, s, func(ctx context.Context, tx core.ReadTx) (pricing.Book, error) { return tx.PriceBook(ctx, "pb_1") })
	if diff := cmp.Diff(aBook("pb_1"), got); diff != "" {
		t.Errorf("PriceBook(pb_1) (-want +got):\n%s", diff)
	}
	for _, c := range []struct {
		p    core.Page
		want []string
	}{
		{core.Page{}, []string{"pb_1", "pb_10", "pb_2"}},
		{core.Page{After: "pb_1", Limit: 1}, []string{"pb_10"}},
	} {
		wantScan(t, s, "PriceBooks", c.p, c.want, bookID,
			func(ctx context.Context, tx core.ReadTx) iter.Seq2[pricing.Book, error] {
				return tx.PriceBooks(ctx, c.p)
			})
	}
}

// dailyBillsAreInsertOnly: a workspace's day is billed once.
func dailyBillsAreInsertOnly(t *testing.T, s core.Store) {
	first := dailyBill("ws_1", today, "ba_1")
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		return firstOf(tx.AddDailyBill(ctx, first), tx.AddDailyBill(ctx, dailyBill("ws_1", today+1, "ba_1")),
			tx.AddDailyBill(ctx, dailyBill("ws_2", today, "ba_1")))
	})
	for _, owner := range []account.ID{"ba_1", "ba_2"} {
		fails(t, s, "AddDailyBill for a day that has one", core.ErrConflict,
			func(ctx context.Context, tx core.Tx) error {
				return tx.AddDailyBill(ctx, dailyBill("ws_1", today, owner))
			})
	}
	fails(t, s, "AddDailyBill twice", core.ErrConflict, func(ctx context.Context, tx core.Tx) error {
		return firstOf(tx.AddDailyBill(ctx, dailyBill("ws_3", today, "ba_1")),
			tx.AddDailyBill(ctx, dailyBill("ws_3", today, "ba_1")))
	})
	fails(t, s, "AddDailyBill of no workspace", core.ErrInvalid, func(ctx context.Context, tx core.Tx) error {
		return tx.AddDailyBill(ctx, dailyBill("", today, "ba_1"))
	})
	misnamed, month := dailyBill("ws_4", today, "ba_1"), monthlyBill("ba_1", today.Month(), "CNY")
	misnamed.ID, month.ID = first.ID, "mb_1"
	fails(t, s, "AddDailyBill with another's id", core.ErrInvalid,
		func(ctx context.Context, tx core.Tx) error { return tx.AddDailyBill(ctx, misnamed) })
	fails(t, s, "AddMonthlyBill with another's id", core.ErrInvalid,
		func(ctx context.Context, tx core.Tx) error { return tx.AddMonthlyBill(ctx, month) })
	view(t, s, func(ctx context.Context, tx core.ReadTx) error {
		got, err := tx.DailyBill(ctx, "ws_1", today)
		if diff := cmp.Diff(first, got); diff != "" {
			t.Errorf("DailyBill(ws_1, today) (-want +got):\n%s", diff)
		}
		for _, c := range []struct {
			ws  workspace.ID
			day usage.Day
		}{{"ws_1", today - 1}, {"ws_3", today}, {"ws", today}, {"", today}, {"ws_1\x00", today}} {
			_, err := tx.DailyBill(ctx, c.ws, c.day)
			wantErr(t, "DailyBill of "+string(c.ws), err, core.ErrNotFound)
		}
		return err
	})
}

// dailyBillsAreListed: by day, and by account, day and workspace.
func dailyBillsAreListed(t *testing.T, s core.Store) {
	id := func(day usage.Day, ws string) string { return string(settlement.DailyBillID(workspace.ID(ws), day)) }
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		for _, day := range []usage.Day{today, today - 1, today + 30} {
			for i, ws := range []string{"ws_2", "ws_10", "ws_3_x", "ws_1"} {
				b := dailyBill(ws, day, []account.ID{"ba_1", "ba_1", "ba_1", "ba_10"}[i])
				if err := tx.AddDailyBill(ctx, b); err != nil {
					return err
				}
			}
		}
		got, err := idsOf(tx.DailyBillsFor(ctx, "ba_10", today, today+1, core.Page{}), dailyID)
		if !slices.Equal(got, []string{id(today, "ws_1")}) {
			t.Errorf("DailyBillsFor in the transaction yields %q, want its own bill", got)
		}
		return err
	})
	for _, c := range []struct {
		p    core.Page
		want []string
	}{
		{core.Page{}, []string{"ws_1", "ws_10", "ws_2", "ws_3_x"}}, {core.Page{Limit: 1}, []string{"ws_1"}},
		{core.Page{After: "ws_10", Limit: 1}, []string{"ws_2"}}, {core.Page{After: "ws_3_x"}, nil},
	} {
		wantScan(t, s, "DailyBillsOn", c.p, c.want,
			func(b settlement.DailyBill) workspace.ID { return b.Workspace },
			func(ctx context.Context, tx core.ReadTx) iter.Seq2[settlement.DailyBill, error] {
				return tx.DailyBillsOn(ctx, today, c.p)
			})
	}
	before, now, later := today-1, today, today+30
	for _, c := range []struct {
		owner    account.ID
		from, to usage.Day
		p        core.Page
		want     []string
	}{
		{"ba_1", today, today + 1, core.Page{}, []string{id(now, "ws_10"), id(now, "ws_2"), id(now, "ws_3_x")}},
		{"ba_10", 0, math.MaxInt32, core.Page{}, []string{id(before, "ws_1"), id(now, "ws_1"), id(later, "ws_1")}},
		{"ba_10", math.MinInt32, later, core.Page{}, []string{id(before, "ws_1"), id(now, "ws_1")}},
		{"ba_10", before + 1, later, core.Page{}, []string{id(now, "ws_1")}},
		{"ba_1", 0, later, core.Page{Limit: 4}, []string{
			id(before, "ws_10"), id(before, "ws_2"), id(before, "ws_3_x"), id(now, "ws_10"),
		}},
		{"ba_1", 0, later + 1, core.Page{After: id(now, "ws_2"), Limit: 2}, []string{id(now, "ws_3_x"), id(later, "ws_10")}},
		{"ba_1", now, later, core.Page{After: id(before, "ws_2"), Limit: 1}, []string{id(now, "ws_10")}},
		{"ba_1", now, later, core.Page{After: id(later, "ws_2")}, nil},
		{"ba", 0, math.MaxInt32, core.Page{}, nil},
		{"ba_1", later, now, core.Page{}, nil},
	} {
		wantScan(t, s, "DailyBillsFor "+string(c.owner), c.p, c.want, dailyID,
			func(ctx context.Context, tx core.ReadTx) iter.Seq2[settlement.DailyBill, error] {
				return tx.DailyBillsFor(ctx, c.owner, c.from, c.to, c.p)
			})
	}
}

// monthlyBillsAreListed: by month, account and currency.
func monthlyBillsAreListed(t *testing.T, s core.Store) {
	nov, dec := today.Month(), today.Month()+1
	id := func(owner account.ID, m usage.Month, c money.Currency) string {
		return string(settlement.MonthlyBillID(owner, m, c))
	}
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		return firstOf(tx.AddMonthlyBill(ctx, monthlyBill("ba_2", nov, "CNY")),
			tx.AddMonthlyBill(ctx, monthlyBill("ba_1", dec, "CNY")), tx.AddMonthlyBill(ctx, monthlyBill("ba_1", nov, "USD")),
			tx.AddMonthlyBill(ctx, monthlyBill("ba_1", nov, "CNY")))
	})
	cny, usd := id("ba_1", nov, "CNY"), id("ba_1", nov, "USD")
	other, next := id("ba_2", nov, "CNY"), id("ba_1", dec, "CNY")
	for _, c := range []struct {
		owner account.ID
		p     core.Page
		want  []string
	}{
		{"", core.Page{}, []string{cny, usd, other, next}}, {"ba_1", core.Page{}, []string{cny, usd, next}},
		{"ba_2", core.Page{}, []string{other}}, {"ba", core.Page{}, nil},
		{"", core.Page{After: usd, Limit: 1}, []string{other}}, {"ba_1", core.Page{After: usd, Limit: 1}, []string{next}},
		{"ba_1", core.Page{Limit: 1}, []string{cny}}, {"ba_1", core.Page{After: cny, Limit: 1}, []string{usd}},
		{"", core.Page{After: next}, nil}, {"ba_1", core.Page{After: next}, nil},
	} {
		wantScan(t, s, "MonthlyBills of "+string(c.owner), c.p, c.want, monthlyID,
			func(ctx context.Context, tx core.ReadTx) iter.Seq2[settlement.MonthlyBill, error] {
				return tx.MonthlyBills(ctx, c.owner, c.p)
			})
	}
	again := monthlyBill("ba_1", nov, "CNY")
	again.Total++
	fails(t, s, "AddMonthlyBill for a month that has one", core.ErrConflict,
		func(ctx context.Context, tx core.Tx) error { return tx.AddMonthlyBill(ctx, again) })
	view(t, s, func(ctx context.Context, tx core.ReadTx) error {
		b, err := tx.MonthlyBill(ctx, "ba_1", nov, "CNY")
		if diff := cmp.Diff(monthlyBill("ba_1", nov, "CNY"), b); diff != "" {
			t.Errorf("MonthlyBill() (-want +got):\n%s", diff)
		}
		_, errNone := tx.MonthlyBill(ctx, "ba_2", nov, "USD")
		wantErr(t, "MonthlyBill in another currency", errNone, core.ErrNotFound)
		return err
	})
}

func runsAreListed(t *testing.T, s core.Store) {
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		return firstOf(tx.PutSettlementRun(ctx, aRun("sr_2")), tx.PutSettlementRun(ctx, aRun("sr_1")),
			tx.PutSettlementRun(ctx, aRun("sr_3")))
	})
	p := core.Page{After: "sr_1", Limit: 1}
	wantScan(t, s, "SettlementRuns", p, []string{"sr_2"}, runID,
		func(ctx context.Context, tx core.ReadTx) iter.Seq2[core.SettlementRun, error] {
			return tx.SettlementRuns(ctx, p)
		})
	fails(t, s, "PutSettlementRun of no id", core.ErrInvalid, func(ctx context.Context, tx core.Tx) error {
		return tx.PutSettlementRun(ctx, aRun(""))
	})
}

// badPages: what is no key of a bill, a book or a transaction is refused.
func badPages(t *testing.T, s core.Store) {
	view(t, s, func(ctx context.Context, tx core.ReadTx) error {
		for _, after := range []string{"x", "db_", "mb_", "db_2026-11-40_ws_1", "mb_2026-13_ba_1_CNY", "mb_2026-11_ba", "-1"} {
			p := core.Page{After: after}
			_, err := collect(tx.DailyBillsFor(ctx, "ba_1", 0, 1, p))
			wantErr(t, "DailyBillsFor after "+after, err, core.ErrInvalid)
			_, err = collect(tx.MonthlyBills(ctx, "ba_1", p))
			wantErr(t, "MonthlyBills after "+after, err, core.ErrInvalid)
			_, err = collect(tx.LedgerTransactions(ctx, "ba_1", "CNY", p))
			wantErr(t, "LedgerTransactions after "+after, err, core.ErrInvalid)
		}
		return nil
	})
}

// billsAreExact: amounts and quantities of any size return as they are.
func billsAreExact(t *testing.T, s core.Store) {
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		for i, m := range []money.Micros{math.MaxInt64, math.MinInt64, 0, -1} {
			b := dailyBill("ws_1", today+usage.Day(i), "ba_1")
			b.Total, b.Cloud, b.Arrears, b.Lines[0].Amount, b.Deductions[0].Micros = m, m, m, m, m
			b.Lines[0].Price, b.Lines[1].Price = decimal.MustParse("9999999999999999999"), decimal.MustParse("-0.0000000000000000001")
			b.Lines[0].Unit, b.Lines[0].Quantity = decimal.MustParse("1.000"), decimal.MustParse("0.00")
			month := monthlyBill("ba_1", usage.Month(i), "CNY")
			month.Total, month.Workspaces[0].Amount = m, m
			sums, rec, fund := meterAccount("sub_1"), meterRecord("mr_1", 1), aFund("v_1", "ba_1")
			sums.Rev, rec.Rev, fund.Rev = uint64(i), uint64(i), uint64(i)
			sums.Charged, sums.Accepted, sums.InFlight, rec.Units, rec.UnitAmount, fund.Face = m, int64(m), int64(m), int64(m), m, m
			err := firstOf(tx.AddDailyBill(ctx, b), tx.AddMonthlyBill(ctx, month), tx.PutMeterAccount(ctx, sums),
				tx.PutMeterRecord(ctx, rec), tx.PutFund(ctx, fund))
			if err != nil {
				return err
			}
			sums.Rev, rec.Rev, fund.Rev = sums.Rev+1, rec.Rev+1, fund.Rev+1
			rec.PeriodEnd = rec.PeriodStart
			want := billing{Daily: b, Monthly: month, MeterAccount: sums, MeterRecord: rec, Fund: fund}
			got := billing{}
			var errs [5]error
			got.Daily, errs[0] = tx.DailyBill(ctx, "ws_1", b.Day)
			got.Monthly, errs[1] = tx.MonthlyBill(ctx, "ba_1", month.Month, "CNY")
			got.MeterAccount, errs[2] = tx.MeterAccount(ctx, "sub_1")
			got.MeterRecord, errs[3] = tx.MeterRecord(ctx, "mr_1")
			got.Fund, errs[4] = tx.Fund(ctx, "v_1")
			if diff := cmp.Diff(want, got); errors.Join(errs[:]...) != nil || diff != "" {
				t.Errorf("with %d: %v (-want +got):\n%s", m, errs, diff)
			}
			for j, l := range got.Daily.Lines { // Diff takes 1.0 for 1
				if w := b.Lines[j]; l.Quantity != w.Quantity || l.Unit != w.Unit || l.Price != w.Price {
					t.Errorf("line %d = %+v, want %+v", j, l, w)
				}
			}
		}
		return nil
	})
}

// billingIsCopied: neither what was put nor what was read is shared.
func billingIsCopied(t *testing.T, s core.Store) {
	update(t, s, func(ctx context.Context, tx core.Tx) error { // it may run again, so it spoils its own
		book, daily, monthly, rec := aBook("pb_1"), dailyBill("ws_1", today, "ba_1"),
			monthlyBill("ba_1", today.Month(), "CNY"), meterRecord("mr_1", 1)
		note := aNote("cn_1", "ba_1")
		posted, head, err := post(ledger.Head{Owner: "ba_1", Currency: "CNY"}, 1)
		err = firstOf(err, tx.AddPriceBook(ctx, book), tx.AddDailyBill(ctx, daily), tx.AddMonthlyBill(ctx, monthly),
			tx.PutMeterRecord(ctx, rec), tx.AppendLedger(ctx, ledger.Book{Head: head, Added: []ledger.Transaction{posted}}), tx.PutSettlementRun(ctx, aRun("sr_1")),
			tx.PutFund(ctx, aFund("v_1", "ba_1")), tx.PutMeterAccount(ctx, meterAccount("sub_1")), tx.AddNote(ctx, note))
		spoilBilling(&billing{
			Book: book, Daily: daily, Monthly: monthly, MeterRecord: rec, Note: note,
			Head: head, Transactions: []ledger.Transaction{posted},
		})
		return err
	})
	first, kept := read(t, s, readBilling), read(t, s, readBilling)
	spoilBilling(&first)
	for i := range 20 { // write over whatever memory the reads might have borrowed
		update(t, s, func(ctx context.Context, tx core.Tx) error {
			return tx.AddDailyBill(ctx, dailyBill("ws_1", today+1+usage.Day(i), "ba_1"))
		})
	}
	for name, got := range map[string]billing{"kept": kept, "read again": read(t, s, readBilling)} {
		if diff := cmp.Diff(wantBilling(), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// spoilBilling changes everything that could be shared.
func spoilBilling(b *billing) {
	b.Book.Items[0].Code, b.Book.Items[0].Prices[0].Variant = "spoiled", "spoiled"
	b.Daily.Lines[0].Item, b.Daily.Unrated[0].Item, b.Daily.Deductions[0].Source = "spoiled", "spoiled", "spoiled"
	b.Monthly.Workspaces[0].Site, b.Monthly.Deductions[0].Source = "spoiled", "spoiled"
	b.Head.Balances[0].Micros, b.Transactions[0].Postings[0].Micros = -9, -9
	b.MeterRecord.Attributes["a"], b.Note.Deductions[0].Source = "spoiled", "spoiled"
}

// emptyBilling: a list that is empty returns as nil.
func emptyBilling(t *testing.T, s core.Store) {
	daily := settlement.DailyBill{
		ID: settlement.DailyBillID("ws_1", 0), Workspace: "ws_1", Currency: "CNY",
		Lines: []settlement.Line{}, Unrated: []settlement.Unrated{},
	}
	daily.Deductions = []settlement.Deduction{}
	monthly := settlement.MonthlyBill{
		ID: settlement.MonthlyBillID("ba_1", 0, "CNY"), BillingAccount: "ba_1", Currency: "CNY",
		Workspaces: []settlement.Subtotal{},
	}
	rec := metering.Record{ID: "mr_1", Currency: "CNY", Attributes: map[string]string{}}
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		return firstOf(tx.AddDailyBill(ctx, daily), tx.AddMonthlyBill(ctx, monthly), tx.PutMeterRecord(ctx, rec))
	})
	view(t, s, func(ctx context.Context, tx core.ReadTx) error {
		d, errDaily := tx.DailyBill(ctx, "ws_1", 0)
		m, errMonthly := tx.MonthlyBill(ctx, "ba_1", 0, "CNY")
		r, errRecord := tx.MeterRecord(ctx, "mr_1")
		if d.Lines != nil || d.Unrated != nil || d.Deductions != nil || m.Workspaces != nil || r.Attributes != nil {
			t.Errorf("read %+v, %+v and %+v, want nil lists", d, m, r)
		}
		if !d.SealedAt.IsZero() || !m.IssuedAt.IsZero() || !r.RetryAt.IsZero() {
			t.Error("a time that was not set came back set")
		}
		return firstOf(errDaily, errMonthly, errRecord)
	})
}
