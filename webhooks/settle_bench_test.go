package webhooks_test

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/govalues/decimal"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/pricing"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// The settlement that callbacks are measured beside.
const (
	settleItems   = 15
	settlePerTx   = 1000
	settleDefault = 1_000_000 // workspaces; SETTLE_WORKSPACES is another number
	usageReport   = 150       // samples of a report that comes in meanwhile: ten workspaces'
)

// BenchmarkCallbackBesideSettlement measures what a settlement of a million
// workspaces costs callbacks that come in meanwhile, with few and with many
// connections, while usage is reported without pause: as a share of their 99th
// percentile beside such reports only, and alone.
func BenchmarkCallbackBesideSettlement(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // as the program does
	fleet := settleDefault
	if n, err := strconv.Atoi(os.Getenv("SETTLE_WORKSPACES")); err == nil {
		fleet = n
	}
	s := alibabaSource(b)
	addr, svc := program(b, s.market)
	day := usage.DayOf(time.Now(), time.UTC) - 1
	began := time.Now()
	stock(b, svc, day, fleet)
	b.Logf("%d workspaces in %s", fleet, time.Since(began).Round(time.Second))
	next := s.stream()
	for b.Loop() {
		measure := func(conns int) result {
			r := load{addr: addr, conns: conns, next: next, want: s.want}.run(b, 3*roundLength)
			if r.wrong > 0 {
				b.Fatalf("wrong answer %s", r.body)
			}
			return r
		}
		alone, reporting := map[int]result{}, map[int]result{}
		for _, conns := range []int{1, 64} {
			alone[conns] = measure(conns)
			stop := reportAll(b, svc, day+1)
			reporting[conns] = measure(conns)
			stop()
		}
		made := make(chan int, 1)
		go func() {
			out, err := svc.SettleDay(context.Background(), day, core.SettleOptions{})
			if err != nil {
				b.Error(err)
			}
			made <- out.Bills
		}()
		stop := reportAll(b, svc, day+1)
		for _, conns := range []int{1, 64} {
			beside := measure(conns)
			b.ReportMetric(float64(beside.p99)/float64(reporting[conns].p99), fmt.Sprintf("p99/reporting-c%d", conns))
			b.ReportMetric(float64(beside.p99)/float64(alone[conns].p99), fmt.Sprintf("p99/alone-c%d", conns))
			b.ReportMetric(beside.rate/alone[conns].rate, fmt.Sprintf("rate/alone-c%d", conns))
		}
		select {
		case n := <-made:
			b.Fatalf("the settlement of %d ended before the measurement", n)
		default:
		}
		b.ReportMetric(float64(stop()), "usage-samples")
		if n := <-made; n != fleet {
			b.Fatalf("%d bills, want %d", n, fleet)
		}
	}
	b.ReportMetric(0, "ns/op")
}

// reportAll reports usage without pause until it is stopped, and tells how many
// samples were accepted.
func reportAll(b *testing.B, svc *core.Service, day usage.Day) (stop func() int64) {
	b.Helper()
	var accepted atomic.Int64
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	from, _ := day.Bounds(time.UTC)
	go func() {
		defer close(done)
		for n := 0; ctx.Err() == nil; n++ {
			samples := make([]core.UsageSample, usageReport)
			for i := range samples {
				samples[i] = core.UsageSample{
					Workspace: wsName(n%1000*10 + i/settleItems), Item: fmt.Sprintf("item-%02d", i%settleItems), Variant: "7d", Hour: from, Quantity: decimal.MustNew(int64(n), 0),
				}
			}
			r, err := svc.ReportUsage(ctx, samples)
			if err == nil && len(r.Rejected) > 0 {
				b.Errorf("rejected: %+v", r.Rejected[0])
				return
			}
			accepted.Add(int64(r.Accepted + r.Replaced))
		}
	}()
	return func() int64 { cancel(); <-done; return accepted.Load() }
}

func wsName(i int) string { return fmt.Sprintf("ws_%022d", i) }

// stock makes workspaces that used every item on a day, four to an account.
func stock(b *testing.B, svc *core.Service, day usage.Day, fleet int) {
	b.Helper()
	book := pricing.Book{Name: "bench", Zone: "CN", Currency: "CNY", Scale: 6}
	for i := range settleItems {
		book.Items = append(book.Items, pricing.Item{
			Code: fmt.Sprintf("item-%02d", i), Unit: decimal.MustParse("1000"), Aggregation: pricing.Sum, Mode: pricing.Flat,
			Prices: []pricing.Price{{Variant: "7d", Price: decimal.MustParse("0.7")}},
		})
	}
	if _, err := svc.AddPriceBook(b.Context(), core.Request{}, book); err != nil {
		b.Fatal(err)
	}
	for at := 0; at < fleet; at += settlePerTx {
		n := min(settlePerTx, fleet-at)
		err := svc.Store.Update(b.Context(), func(ctx context.Context, tx core.Tx) error {
			for i := at; i < at+n; i++ {
				if err := stockOne(ctx, tx, svc, day, i); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			_, err = svc.Store.AppendUsage(b.Context(), stockUsage(day, at, n))
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

func stockOne(ctx context.Context, tx core.Tx, svc *core.Service, day usage.Day, i int) error {
	from, _ := day.Bounds(time.UTC)
	acc := account.ID(fmt.Sprintf("ba_%022d", i/4))
	if i%4 == 0 {
		name := string(acc)
		err := tx.PutBillingAccount(ctx, account.Account{ID: acc, UserName: name, Email: name + "@example.com", Currency: "CNY"})
		if err != nil {
			return err
		}
	}
	ws := workspace.ID(wsName(i))
	if err := tx.PutWorkspace(ctx, workspace.Workspace{ID: ws, Name: "w", Site: "o1"}); err != nil {
		return err
	}
	return tx.Bind(ctx, workspace.Binding{
		ID: workspace.BindingID(svc.NewID("bnd")), Workspace: ws, BillingAccount: acc,
		Settlement: workspace.Settlement{Method: workspace.ByBillingAccount}, From: from.AddDate(0, -1, 0),
	})
}

func stockUsage(day usage.Day, at, n int) []usage.Entry {
	from, _ := day.Bounds(time.UTC)
	var entries []usage.Entry
	for i := at; i < at+n; i++ {
		for j := range settleItems {
			entries = append(entries, usage.Entry{Day: day, Sample: usage.Sample{
				Workspace: wsName(i), Item: fmt.Sprintf("item-%02d", j), Variant: "7d", Hour: from, Quantity: decimal.MustNew(int64(1000+i%97*17+j), 0),
			}})
		}
	}
	return entries
}
