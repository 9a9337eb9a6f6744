package bolt

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/govalues/decimal"
	"go.etcd.io/bbolt"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/ledger"
	"cloudsettle/core/money"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// The day that is settled.
const (
	settleWorkspaces = 100_000
	settleLines      = 15
	settleChunk      = 5_000 // workspaces a transaction
	settlePerAccount = 3     // workspaces of one account
)

// settleDay is the first day that is settled.
const settleDay usage.Day = 20_000

func settleWorkspace(i int) workspace.ID { return workspace.ID(fmt.Sprintf("ws_01jd%018d", i)) }

// settleOwners says which account pays for a workspace. Accounts are made a
// little before their workspaces, so that their identifiers sort alike; an
// account that gathers workspaces of all ages is the worst case.
var settleOwners = map[string]func(i int) int{
	"alike":  func(i int) int { return i / settlePerAccount },
	"random": func(i int) int { return i * 7919 % (settleWorkspaces / settlePerAccount) },
}

// settleBill is the bill of a workspace's day.
func settleBill(i, owner int, day usage.Day) settlement.DailyBill {
	ws := settleWorkspace(i)
	b := settlement.DailyBill{
		ID: settlement.DailyBillID(ws, day), Workspace: ws, Site: "cn1", Day: day,
		BillingAccount: account.ID(fmt.Sprintf("ba_01jd%018d", owner)),
		Binding:        workspace.BindingID(fmt.Sprintf("bd_01jd%018d", i)),
		Settlement:     workspace.Settlement{Method: workspace.ByBillingAccount},
		Currency:       "CNY", Book: "pb_01jd000000000000000001", UsageRev: 1,
		Lines:    make([]settlement.Line, settleLines),
		SealedAt: time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC),
	}
	for n := range b.Lines {
		b.Lines[n] = settlement.Line{
			Item: fmt.Sprintf("item-%02d", n), Variant: "14d", Quantity: decimal.MustNew(int64(i+n)*997, 3),
			Unit: decimal.MustNew(1_000_000, 0), Price: decimal.MustNew(15, 1), Amount: money.Micros(i + n),
		}
		b.Total += b.Lines[n].Amount
	}
	b.Deductions = []settlement.Deduction{{Source: ledger.Cash, Micros: b.Total}}
	return b
}

// BenchmarkSettleWrites writes what a settlement does for the workspaces of a
// day, in transactions of settleChunk. Bills and postings are made beforehand.
func BenchmarkSettleWrites(b *testing.B) {
	for name, owner := range settleOwners {
		b.Run("owners="+name, func(b *testing.B) {
			s := openBench(b)
			day := settleDay
			for b.Loop() {
				b.StopTimer()
				fillUsage(b, s, day, settleWorkspaces, 1)
				b.StartTimer()
				for from := 0; from < settleWorkspaces; from += settleChunk {
					b.StopTimer()
					bills := settleBills(from, day, owner)
					b.StartTimer()
					if err := s.Update(b.Context(), settleAll(bills)); err != nil {
						b.Fatal(err)
					}
				}
				day++
			}
			b.ReportMetric(float64(b.N*settleWorkspaces)/b.Elapsed().Seconds(), "workspaces/s")
		})
	}
}

func settleBills(from int, day usage.Day, owner func(int) int) []settlement.DailyBill {
	bills := make([]settlement.DailyBill, settleChunk)
	for i := range bills {
		bills[i] = settleBill(from+i, owner(from+i), day)
	}
	return bills
}

// settleAll seals, bills and books.
func settleAll(bills []settlement.DailyBill) func(context.Context, core.Tx) error {
	return func(ctx context.Context, tx core.Tx) error {
		seals := make([]usage.Seal, len(bills))
		for i := range bills {
			seals[i] = usage.Seal{Workspace: string(bills[i].Workspace), Day: bills[i].Day, Rev: bills[i].UsageRev}
		}
		if _, err := tx.SealUsage(ctx, seals...); err != nil {
			return err
		}
		for i := range bills {
			b := &bills[i]
			head, err := tx.LedgerHead(ctx, b.BillingAccount, b.Currency)
			if err != nil {
				return err
			}
			t := ledger.Transaction{
				Owner: head.Owner, Currency: head.Currency, Seq: head.Seq + 1, At: b.SealedAt,
				Kind: ledger.Usage, Ref: string(b.ID), Prev: head.Hash, Postings: b.Postings(),
			}
			head.Seq++
			head.Balances = []ledger.Balance{{Account: ledger.Cash, Micros: 1}, {Account: ledger.Revenue, Micros: -1}}
			b.LedgerSeq = t.Seq
			if err := tx.AppendLedger(ctx, ledger.Book{Head: head, Added: []ledger.Transaction{t}}); err != nil {
				return err
			}
		}
		return tx.AddDailyBill(ctx, bills...)
	}
}

// BenchmarkSettleControl writes the same bills alone, packed, with bbolt alone.
func BenchmarkSettleControl(b *testing.B) {
	db, err := bbolt.Open(filepath.Join(b.TempDir(), "db"), fileMode, bboltOptions())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	day := settleDay
	for b.Loop() {
		for from := 0; from < settleWorkspaces; from += settleChunk {
			b.StopTimer()
			bills := settleBills(from, day, settleOwners["alike"])
			b.StartTimer()
			if err := db.Update(func(tx *bbolt.Tx) error { return putBills(tx, bills) }); err != nil {
				b.Fatal(err)
			}
		}
		day++
	}
	b.ReportMetric(float64(b.N*settleWorkspaces)/b.Elapsed().Seconds(), "workspaces/s")
}

func putBills(tx *bbolt.Tx, bills []settlement.DailyBill) error {
	in, err := tx.CreateBucketIfNotExists([]byte("bills"))
	if err != nil {
		return err
	}
	in.FillPercent = ascendingFill
	for i := range bills {
		key, _ := periodKey(nil, bills[i].Day, string(bills[i].Workspace))
		if err := in.Put(key, appendDailyBill(nil, &bills[i])); err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkUsageOn reads the records of a day as a settlement does.
func BenchmarkUsageOn(b *testing.B) {
	const fleet, hours = 10_000, 24
	s := openBench(b)
	fillUsage(b, s, settleDay, fleet, hours)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		err := s.View(b.Context(), func(ctx context.Context, tx core.ReadTx) error {
			for rec, err := range tx.UsageOn(ctx, settleDay, core.Page{}) {
				if err != nil || len(rec.Samples) != settleLines*hours {
					return fmt.Errorf("%d samples: %w", len(rec.Samples), err)
				}
				n++
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	if n != b.N*fleet {
		b.Fatalf("read %d records, want %d", n, b.N*fleet)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
	b.ReportMetric(float64(n*settleLines*hours)/b.Elapsed().Seconds(), "samples/s")
}

// fillUsage stores usage of so many workspaces, settleLines items for so many
// hours, in one change of each record.
func fillUsage(b *testing.B, s *Store, day usage.Day, fleet, hours int) {
	b.Helper()
	from, _ := day.Bounds(time.UTC)
	var batch []usage.Entry
	for i := range fleet {
		for n := range settleLines * hours {
			batch = append(batch, usage.Entry{Day: day, Sample: usage.Sample{
				Workspace: string(settleWorkspace(i)), Item: fmt.Sprintf("item-%02d", n%settleLines), Variant: "14d",
				Hour: from.Add(time.Duration(n/settleLines) * time.Hour), Quantity: decimal.MustNew(int64(i+n)*997, 3),
			}})
		}
		if len(batch) >= 50_000 || i == fleet-1 {
			if _, err := s.AppendUsage(b.Context(), batch); err != nil {
				b.Fatal(err)
			}
			batch = batch[:0]
		}
	}
}

func openBench(b *testing.B) *Store {
	b.Helper()
	s, err := Open(filepath.Join(b.TempDir(), "db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	return s
}
