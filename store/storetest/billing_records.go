package storetest

import (
	"context"
	"fmt"

	"github.com/govalues/decimal"

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
)

func aBook(id string) pricing.Book {
	return pricing.Book{
		ID: pricing.BookID(id), Name: "public", Zone: "CN", Currency: "CNY", EffectiveFrom: today, Version: 3, Scale: 4,
		Items: []pricing.Item{
			{
				Code: "logs", Name: "Logs", Unit: decimal.MustParse("1000000"), Aggregation: pricing.Sum,
				Mode: pricing.Graduated, FreeQuota: decimal.MustParse("10"), ExcludeVouchers: true,
				Measures: []pricing.Measure{{Code: "rows", Weight: decimal.MustParse("0.5"), Group: "g"}},
				Prices: []pricing.Price{{Variant: "14d", Tiers: []pricing.Tier{
					{UpTo: decimal.MustParse("100"), Price: decimal.MustParse("1.50")}, {Price: decimal.MustParse("1")},
				}}},
			},
			{Code: "hosts", Unit: decimal.One, Mode: pricing.Flat, Prices: []pricing.Price{{Price: decimal.MustParse("0.7")}}},
		},
	}
}

// dailyBill returns a bill with every field set.
func dailyBill(ws string, day usage.Day, owner account.ID) settlement.DailyBill {
	return settlement.DailyBill{
		ID: settlement.DailyBillID(workspace.ID(ws), day), Workspace: workspace.ID(ws), Site: "cn1", Day: day,
		BillingAccount: owner, Binding: "bd_1",
		Settlement: workspace.Settlement{Method: workspace.ByCloudAccount, Subscription: "sub_1"},
		Currency:   "CNY", Book: "pb_1",
		Lines: []settlement.Line{
			{
				Item: "logs", Variant: "14d", Quantity: decimal.MustParse("1200000.5"), Unit: decimal.MustParse("1000000"),
				Price: decimal.MustParse("1.50"), Amount: 1_800_001, NoVouchers: true, Of: day - 2,
			},
			{Item: "hosts", Quantity: decimal.MustParse("-3"), Unit: decimal.One, Amount: -2_100_000},
		},
		Unrated: []settlement.Unrated{{Item: "odd", Variant: "x", Reason: "unknown_item"}, {Item: "even", Reason: "no_price"}},
		Total:   -299_999,
		Split: settlement.Split{
			Deductions: []settlement.Deduction{{Source: ledger.Voucher("v_1"), Micros: 1}, {Source: ledger.Cash, Micros: -7}},
			Cloud:      -300_000, Arrears: 7,
		},
		UsageRev: 300, LedgerSeq: 70_000, SealedAt: epoch,
	}
}

func monthlyBill(owner account.ID, m usage.Month, c money.Currency) settlement.MonthlyBill {
	return settlement.MonthlyBill{
		ID: settlement.MonthlyBillID(owner, m, c), BillingAccount: owner, Month: m, Currency: c,
		Since: settlement.Fence{Before: 20_000, Seq: 7}, Until: settlement.Fence{Before: 20_030, Seq: 1 << 40},
		Workspaces: []settlement.Subtotal{
			{Workspace: "ws_1", Site: "cn1", Subscription: "sub_1", Days: 30, Amount: 12_345_678, Cloud: 3, Adjusts: m + 1},
			{Workspace: "ws_2", Site: "us1", Days: 1, Amount: -1},
		},
		Total: 12_345_677,
		Split: settlement.Split{
			Deductions: []settlement.Deduction{{Source: ledger.Cash, Micros: 12_345_670}}, Cloud: 3, Arrears: 4,
		},
		IssuedAt: epoch, DueAt: epoch.AddDate(0, 0, 14),
	}
}

// aNote returns a note with every field set.
func aNote(id string, owner account.ID) settlement.Note {
	return settlement.Note{
		ID: settlement.NoteID(id), Bill: settlement.DailyBillID("ws_1", today), Day: today, Seq: 70_000,
		BillingAccount: owner, Currency: "CNY",
		Settlement: workspace.Settlement{Method: workspace.ByCloudAccount, Subscription: "sub_1"}, Total: -12_345_677,
		Split: settlement.Split{
			Deductions: []settlement.Deduction{{Source: ledger.Cash, Micros: -12_345_670}}, Cloud: -3, Arrears: -4,
		},
		Reason: "why", By: "who", LedgerSeq: 70_001, IssuedAt: epoch,
	}
}

func aRun(id string) core.SettlementRun {
	return core.SettlementRun{
		ID: id, Kind: "daily", Period: "2026-11-20", Status: "done", Bills: 7, Waiting: 2, Ranges: 3, Error: "why",
		Waits:     []core.Wait{{Workspace: "ws_1", Reason: core.WaitUnbound}},
		StartedAt: epoch, FinishedAt: epoch,
	}
}

func aFund(id, owner string) settlement.Fund {
	return settlement.Fund{
		ID: id, Owner: owner, Kind: settlement.DiscountVoucher, Currency: "CNY", Face: 5_000_001,
		From: epoch, Until: epoch.AddDate(1, 0, 0),
	}
}

func meterAccount(id marketplace.SubscriptionID) metering.Account {
	return metering.Account{
		Subscription: id, Currency: "USD", UnitAmount: 10_000, Charged: -123_456_789, Accepted: 12, InFlight: 3, Lost: 1,
		Hold: metering.HoldRefused, HeldAt: epoch, LastAccepted: "mr_0", AcceptedAt: epoch, BilledAt: epoch,
	}
}

// meterRecord returns a sealed record of the n-th hour of "sub_1".
func meterRecord(id string, hour int) metering.Record {
	start := sample("", hour, "1").Hour
	return metering.Record{
		ID: metering.RecordID(id), Listing: listing, Subscription: "sub_1", Dimension: "usage_fee",
		PeriodStart: start, PeriodEnd: start.Add(1), Units: 1 << 40, UnitAmount: 10_000, Currency: "USD",
		Deadline: start.AddDate(0, 0, 1), SealedAt: epoch, Status: metering.Sealed, Attempts: 2,
		RetryAt: epoch, SentAt: epoch, ProviderID: "their id", LastError: "busy", Subject: "l-1",
		Resolution: metering.Resolution{Accepted: true, By: "key:key_1", Reason: "seen", At: epoch},
		Account:    "000123456789012", Attributes: map[string]string{"b": "2", "a": ""},
	}
}

// post returns a transaction of an amount from outside to cash, and the head
// that it leads to.
func post(h ledger.Head, m money.Micros) (ledger.Transaction, ledger.Head, error) {
	next, tx, err := h.Post(ledger.Transaction{
		At: epoch, Kind: ledger.Adjustment, Ref: "ref", Reason: fmt.Sprintf("the one after %d", h.Seq), By: "key:key_1",
		Postings: []ledger.Posting{{Account: ledger.Cash, Micros: m}, {Account: ledger.External, Micros: -m}},
	})
	return tx, next, err
}

// postTo appends n transactions to a book.
func postTo(ctx context.Context, tx core.Tx, id account.ID, c money.Currency, n int) error {
	h, err := tx.LedgerHead(ctx, id, c)
	book := ledger.Book{Head: h}
	for i := range n {
		var t ledger.Transaction
		if err == nil {
			t, book.Head, err = post(book.Head, money.Micros(i+1))
		}
		book.Added = append(book.Added, t)
	}
	if err == nil {
		err = tx.AppendLedger(ctx, book)
	}
	return err
}

// writeBilling writes a record of each kind that is about money.
func writeBilling(ctx context.Context, tx core.Tx) error {
	return firstOf(
		tx.AddPriceBook(ctx, aBook("pb_1")),
		tx.AddDailyBill(ctx, dailyBill("ws_1", today, "ba_1")),
		tx.AddMonthlyBill(ctx, monthlyBill("ba_1", today.Month(), "CNY")),
		tx.PutSettlementRun(ctx, aRun("sr_1")),
		postTo(ctx, tx, "ba_1", "CNY", 1),
		tx.PutFund(ctx, aFund("v_1", "ba_1")),
		tx.PutMeterAccount(ctx, meterAccount("sub_1")),
		tx.PutMeterRecord(ctx, meterRecord("mr_1", 1)), tx.AddNote(ctx, aNote("cn_1", "ba_1")),
	)
}

// billing is one record of each kind that is about money, as a store returns
// them.
type billing struct {
	Book         pricing.Book
	Daily        settlement.DailyBill
	Monthly      settlement.MonthlyBill
	Run          core.SettlementRun
	Head         ledger.Head
	Transactions []ledger.Transaction
	Fund         settlement.Fund
	MeterAccount metering.Account
	MeterRecord  metering.Record
	Note         settlement.Note
}

func readBilling(ctx context.Context, tx core.ReadTx) (b billing, err error) {
	for _, read := range []func() error{
		func() (err error) { b.Book, err = tx.PriceBook(ctx, "pb_1"); return },
		func() (err error) { b.Daily, err = tx.DailyBill(ctx, "ws_1", today); return },
		func() (err error) { b.Monthly, err = tx.MonthlyBill(ctx, "ba_1", today.Month(), "CNY"); return },
		func() (err error) { b.Run, err = tx.SettlementRun(ctx, "sr_1"); return },
		func() (err error) { b.Head, err = tx.LedgerHead(ctx, "ba_1", "CNY"); return },
		func() (err error) {
			b.Transactions, err = collect(tx.LedgerTransactions(ctx, "ba_1", "CNY", core.Page{}))
			return
		},
		func() (err error) { b.Fund, err = tx.Fund(ctx, "v_1"); return },
		func() (err error) { b.MeterAccount, err = tx.MeterAccount(ctx, "sub_1"); return },
		func() (err error) { b.MeterRecord, err = tx.MeterRecord(ctx, "mr_1"); return },
		func() (err error) { b.Note, err = tx.Note(ctx, "cn_1"); return },
	} {
		if err := read(); err != nil {
			return b, err
		}
	}
	return b, nil
}

// wantBilling is what writeBilling stores.
func wantBilling() billing {
	tx, head, err := post(ledger.Head{Owner: "ba_1", Currency: "CNY"}, 1)
	if err != nil {
		panic(err)
	}
	b := billing{
		Book: aBook("pb_1"), Daily: dailyBill("ws_1", today, "ba_1"), Monthly: monthlyBill("ba_1", today.Month(), "CNY"),
		Run: aRun("sr_1"), Head: head, Transactions: []ledger.Transaction{tx}, Fund: aFund("v_1", "ba_1"),
		MeterAccount: meterAccount("sub_1"), MeterRecord: meterRecord("mr_1", 1),
		Note: aNote("cn_1", "ba_1"),
	}
	b.Run.Rev, b.Head.Rev, b.Fund.Rev, b.MeterAccount.Rev, b.MeterRecord.Rev = 1, 1, 1, 1, 1
	b.MeterRecord.PeriodEnd = b.MeterRecord.PeriodStart // to the microsecond
	return b
}

// billingLists counts what the lists about money yield.
func billingLists(ctx context.Context, tx core.ReadTx) int {
	var p core.Page
	return count(tx.UsageOn(ctx, today, p)) + count(tx.UsageDays(ctx, today-9, today+9)) +
		count(tx.PriceBooks(ctx, p)) + count(tx.DailyBillsOn(ctx, today, p)) + count(tx.BilledOn(ctx, today, p)) +
		count(tx.DailyBillsFor(ctx, "ba_1", today, today+1, p)) + count(tx.MonthlyBills(ctx, "", p)) +
		count(tx.MonthlyBills(ctx, "ba_1", p)) + count(tx.Notes(ctx, "", p)) + count(tx.Notes(ctx, "ba_1", p)) + count(tx.SettlementRuns(ctx, p)) + count(tx.LedgerHeads(ctx, p)) +
		count(tx.LedgerTransactions(ctx, "ba_1", "CNY", p)) + count(tx.FundsOf(ctx, "ba_1")) +
		count(tx.MeterAccounts(ctx, p)) + count(tx.MeterRecords(ctx, "", p)) + count(tx.MeterRecords(ctx, "sub_1", p)) +
		count(tx.MeterPending(ctx))
}
