package store_test

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/govalues/decimal"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/ledger"
	"cloudsettle/core/money"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
	"cloudsettle/store"
)

// billsEnv says how many daily bills TestCopyRate copies each way; it takes
// minutes for a million.
const billsEnv = "CLOUDSETTLE_COPY_BILLS"

// billsADay is how many bills of one day there are; linesABill is how many
// lines a bill has.
const (
	billsADay  = 100_000
	linesABill = 15
)

// TestCopyRate tells how many daily bills a second are copied and compared.
func TestCopyRate(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv(billsEnv))
	if err != nil {
		t.Skipf("set %s to a number of bills", billsEnv)
	}
	for kind, place := range kinds {
		t.Run(kind, func(t *testing.T) {
			first, to, back := openURL(t, kinds["bolt"](t)), openURL(t, place(t)), openURL(t, kinds["bolt"](t))
			fillBills(t, first, n)
			timeCopy(t, "bolt to "+kind, first, to, n)
			timeCopy(t, kind+" to bolt", to, back, n)
		})
	}
}

func timeCopy(t *testing.T, what string, from, to core.Store, n int) {
	t.Helper()
	var compared atomic.Int64 // when the first rows were compared
	began := time.Now()
	c := store.Copy{From: from, To: to, Moved: func(what string, rows int) {
		if what == "compare daily_bills" {
			compared.CompareAndSwap(0, int64(time.Since(began)))
		}
	}}
	if _, err := c.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	all, copied := time.Since(began), time.Duration(compared.Load())
	t.Logf("%s: %d bills in %s: copied in %s, %.0f/s; compared in %s, %.0f/s; heap %d MiB",
		what, n, all.Round(time.Millisecond), copied.Round(time.Millisecond), float64(n)/copied.Seconds(),
		(all - copied).Round(time.Millisecond), float64(n)/(all-copied).Seconds(), mem.HeapSys>>20)
}

// fillBills stores n daily bills.
func fillBills(t *testing.T, s core.Store, n int) {
	t.Helper()
	const chunk = 5_000
	for from := 0; from < n; from += chunk {
		bills := make([]settlement.DailyBill, min(chunk, n-from))
		for i := range bills {
			bills[i] = aBill(from + i)
		}
		err := s.Update(t.Context(), func(ctx context.Context, tx core.Tx) error { return tx.AddDailyBill(ctx, bills...) })
		if err != nil {
			t.Fatal(err)
		}
	}
}

func aBill(i int) settlement.DailyBill {
	ws, day := workspace.ID(fmt.Sprintf("ws_01jd%018d", i%billsADay)), usage.Day(20_000+i/billsADay)
	b := settlement.DailyBill{
		ID: settlement.DailyBillID(ws, day), Workspace: ws, Site: "cn1", Day: day,
		BillingAccount: account.ID(fmt.Sprintf("ba_01jd%018d", i%billsADay/3)), Binding: "bd_01jd000000000000000001",
		Settlement: workspace.Settlement{Method: workspace.ByBillingAccount},
		Currency:   "CNY", Book: "pb_01jd000000000000000001", UsageRev: 1,
		SealedAt: time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC),
	}
	for n := range linesABill {
		b.Lines = append(b.Lines, settlement.Line{
			Item: fmt.Sprintf("item-%02d", n), Variant: "14d", Quantity: decimal.MustNew(int64(i+n)*997, 3),
			Unit: decimal.MustNew(1_000_000, 0), Price: decimal.MustNew(15, 1), Amount: money.Micros(i + n),
		})
		b.Total += b.Lines[n].Amount
	}
	b.Deductions = []settlement.Deduction{{Source: ledger.Cash, Micros: b.Total}}
	return b
}
