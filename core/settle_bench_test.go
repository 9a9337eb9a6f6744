package core_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/govalues/decimal"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/id"
	"cloudsettle/core/pricing"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
	"cloudsettle/store/bolt"
)

// benchItems is how many items a workspace uses a day.
const benchItems = 15

// BenchmarkSettleDay settles one day of many workspaces, four to a billing
// account, with rating, deduction and ledger, and beside it reads the same
// usage and writes the same bills without any of that. Then it verifies what
// was settled. Ten times as many workspaces are compared with what one tenth of
// them takes just before and just after.
func BenchmarkSettleDay(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // as the program does
	const few = 100_000
	b.Run(fmt.Sprintf("workspaces=%d", few), func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			benchDay(b, few)
			b.StartTimer()
		}
	})
	b.Run(fmt.Sprintf("workspaces=%d", 10*few), func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			svc, _, day := benchTill(b, few)
			before := benchSettle(b, svc, day, few)
			took := benchDay(b, 10*few)
			svc, _, day = benchTill(b, few)
			after := benchSettle(b, svc, day, few)
			b.ReportMetric(2*took.Seconds()/(before+after).Seconds(), "times-a-tenth")
			b.StartTimer()
		}
	})
}

// benchDay settles and verifies a day, the first of it on b's clock, and returns
// how long that took.
func benchDay(b *testing.B, n int) time.Duration {
	b.Helper()
	svc, st, day := benchTill(b, n)
	bare, _, _ := benchTill(b, n)
	peak := watchHeap(b)
	b.StartTimer()
	took := benchSettle(b, svc, day, n)
	b.StopTimer()
	b.ReportMetric(float64(peak())/(1<<20), "peak-MiB")
	floor := copyBills(b, st, bare.Store, day, n)
	b.ReportMetric(float64(n)/took.Hours(), "bills/hour")
	b.ReportMetric(floor.Seconds()/took.Seconds(), "share-of-bare")
	began := time.Now()
	if v, err := svc.Verify(b.Context()); err != nil || !v.OK {
		b.Fatalf("verify: %+v, %v", v, err)
	}
	verified := time.Since(began)
	b.ReportMetric(float64(n)/verified.Hours(), "verified/hour")
	b.ReportMetric(verified.Seconds()/took.Seconds(), "verify/settle")
	return took
}

// benchSettle settles a day in the way in which users start it.
func benchSettle(b *testing.B, svc *core.Service, day usage.Day, n int) time.Duration {
	b.Helper()
	began := time.Now()
	run, err := svc.StartRun(b.Context(), core.Request{}, core.RunDaily, day.String(), false)
	if err == nil {
		err = svc.RunSettlements(b.Context())
	}
	took := time.Since(began)
	out, errRun := svc.SettlementRun(b.Context(), run.ID)
	if err != nil || errRun != nil || out.Bills != n {
		b.Fatalf("%+v, %v, %v", out, err, errRun)
	}
	return took
}

// watchHeap returns a function that ends the watch and tells the most memory
// that the process had of its own meanwhile: without the pages of the store's
// file, which the kernel takes back when it needs them.
func watchHeap(b *testing.B) func() uint64 {
	b.Helper()
	done, most := make(chan struct{}), make(chan uint64)
	go func() {
		var peak uint64
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			peak = max(peak, anonymous())
			select {
			case <-done:
				most <- peak
				return
			case <-tick.C:
			}
		}
	}()
	return func() uint64 { close(done); return <-most }
}

// anonymous is the process's resident memory that no file backs, in bytes, or
// what the runtime has from the system where the kernel does not tell.
func anonymous() uint64 {
	status, err := os.ReadFile("/proc/self/status")
	if _, rest, found := strings.Cut(string(status), "RssAnon:"); err == nil && found {
		var kib uint64
		if _, err := fmt.Sscan(rest, &kib); err == nil {
			return kib << 10
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Sys
}

// copyBills scans the usage of a day and writes the bills that were made of it
// into another store, and returns how long that took.
func copyBills(b *testing.B, from, to core.Store, day usage.Day, n int) time.Duration {
	b.Helper()
	var bills []settlement.DailyBill
	err := from.View(b.Context(), func(ctx context.Context, tx core.ReadTx) error {
		for x, err := range tx.DailyBillsOn(ctx, day, core.Page{}) {
			if err != nil {
				return err
			}
			bills = append(bills, x)
		}
		return nil
	})
	if err != nil || len(bills) != n {
		b.Fatalf("%d bills, %v", len(bills), err)
	}
	began := time.Now()
	scanned := 0
	err = from.View(b.Context(), func(ctx context.Context, tx core.ReadTx) error {
		for range tx.UsageOn(ctx, day, core.Page{}) {
			scanned++
		}
		return nil
	})
	for at := 0; at < len(bills) && err == nil; at += 10_000 {
		err = to.Update(b.Context(), func(ctx context.Context, tx core.Tx) error {
			for _, x := range bills[at:min(at+10_000, len(bills))] {
				if err := tx.AddDailyBill(ctx, x); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err != nil || scanned != n {
		b.Fatalf("scanned %d, %v", scanned, err)
	}
	return time.Since(began)
}

// benchTill is a store with n workspaces that used every item on one day that
// is over.
func benchTill(b *testing.B, n int) (*core.Service, core.Store, usage.Day) {
	b.Helper()
	st, err := bolt.Open(filepath.Join(b.TempDir(), "db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = st.Close() })
	now := time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	svc := core.NewService(core.Config{
		Store: st, Now: clock, NewID: id.NewGenerator(clock).New, Log: slog.New(slog.DiscardHandler),
		Sites: []workspace.Site{{Code: "o1", Zone: time.UTC, Prices: "CN"}}, LinkKey: make([]byte, 32),
	})
	bk := pricing.Book{Name: "bench", Zone: "CN", Currency: "CNY", Scale: 6}
	for i := range benchItems {
		bk.Items = append(bk.Items, pricing.Item{
			Code: fmt.Sprintf("item-%02d", i), Unit: decimal.MustParse("1000"), Aggregation: pricing.Sum, Mode: pricing.Flat,
			Prices: []pricing.Price{{Variant: "7d", Price: decimal.MustParse("0.7")}},
		})
	}
	if _, err := svc.AddPriceBook(b.Context(), core.Request{}, bk); err != nil {
		b.Fatal(err)
	}
	day := usage.DayOf(now, time.UTC) - 1
	from, _ := day.Bounds(time.UTC)
	for at := 0; at < n; at += 1000 {
		benchWorkspaces(b, st, svc, min(1000, n-at), day, from)
	}
	return svc, st, day
}

func benchWorkspaces(b *testing.B, st core.Store, svc *core.Service, n int, day usage.Day, from time.Time) {
	b.Helper()
	var entries []usage.Entry
	err := st.Update(b.Context(), func(ctx context.Context, tx core.Tx) error {
		var acc account.ID
		entries = entries[:0]
		for i := range n {
			if i%4 == 0 {
				acc = account.ID(svc.NewID("ba"))
				name := string(acc)
				if err := tx.PutBillingAccount(ctx, account.Account{ID: acc, UserName: name, Email: name + "@example.com", Currency: "CNY"}); err != nil {
					return err
				}
			}
			ws := workspace.ID(svc.NewID("ws"))
			if err := tx.PutWorkspace(ctx, workspace.Workspace{ID: ws, Name: "w", Site: "o1"}); err != nil {
				return err
			}
			err := tx.Bind(ctx, workspace.Binding{
				ID: workspace.BindingID(svc.NewID("bnd")), Workspace: ws, BillingAccount: acc,
				Settlement: workspace.Settlement{Method: workspace.ByBillingAccount}, From: from.AddDate(0, -1, 0),
			})
			if err != nil {
				return err
			}
			for j := range benchItems {
				entries = append(entries, usage.Entry{Day: day, Sample: usage.Sample{
					Workspace: string(ws), Item: fmt.Sprintf("item-%02d", j), Variant: "7d", Hour: from,
					Quantity: decimal.MustNew(int64(1000+i*17+j), 0),
				}})
			}
		}
		return nil
	})
	if err == nil {
		_, err = st.AppendUsage(b.Context(), entries)
	}
	if err != nil {
		b.Fatal(err)
	}
}
