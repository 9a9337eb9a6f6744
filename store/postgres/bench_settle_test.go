package postgres_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/govalues/decimal"
	"github.com/jackc/pgx/v5"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/id"
	"cloudsettle/core/pricing"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
	"cloudsettle/store/postgres"
	"cloudsettle/store/postgres/pgtest"
)

// benchItems is how many items a workspace uses a day.
const benchItems = 15

// BenchmarkSettleDay settles one day of many workspaces, four to a billing
// account, with rating, deduction and ledger, by one replica and by two. Beside
// it the engine copies the same usage out and the same bills and transactions
// in, which is the least that any program must do.
func BenchmarkSettleDay(b *testing.B) {
	const n = 100_000
	for replicas := 1; replicas <= 2; replicas++ {
		b.Run(fmt.Sprintf("workspaces=%d/replicas=%d", n, replicas), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				url := pgtest.New(b)
				svc, day := benchTill(b, url, n)
				run, err := svc.StartRun(b.Context(), core.Request{}, core.RunDaily, day.String(), false)
				if err != nil {
					b.Fatal(err)
				}
				all := []*core.Service{svc}
				for range replicas - 1 {
					all = append(all, benchReplica(b, url))
				}
				b.StartTimer()
				began := time.Now()
				settled := settleTogether(b, run.ID, all)
				took := time.Since(began)
				b.StopTimer()
				if settled.Bills != n {
					b.Fatalf("%+v", settled)
				}
				floor := copySettled(b, url)
				b.ReportMetric(float64(n)/took.Seconds(), "bills/s")
				b.ReportMetric(floor.Seconds()/took.Seconds(), "share-of-copy")
				began = time.Now()
				if v, err := svc.Verify(b.Context()); err != nil || !v.OK {
					b.Fatalf("verify: %+v, %v", v, err)
				}
				b.ReportMetric(time.Since(began).Seconds()/took.Seconds(), "verify/settle")
				b.StartTimer()
			}
		})
	}
}

// settleTogether lets replicas work on a run until it is done.
func settleTogether(b *testing.B, run string, replicas []*core.Service) (done core.SettlementRun) {
	b.Helper()
	var wg sync.WaitGroup
	for _, svc := range replicas {
		wg.Go(func() {
			for {
				err := svc.RunSettlements(b.Context())
				var now core.SettlementRun
				if err == nil {
					now, err = svc.SettlementRun(b.Context(), run)
				}
				if err != nil {
					b.Error(err)
					return
				}
				if !now.FinishedAt.IsZero() {
					return
				}
				time.Sleep(time.Millisecond) // the others have the rest
			}
		})
	}
	wg.Wait()
	done, err := replicas[0].SettlementRun(b.Context(), run)
	if err != nil {
		b.Fatal(err)
	}
	return done
}

// TestSettlementVerifies settles a day and closes its month, twice, and derives
// everything again from what is stored.
func TestSettlementVerifies(t *testing.T) {
	t.Parallel()
	const n = 3000 // more than a chunk of a settlement, and of a scan
	svc, day := benchTill(t, pgtest.New(t)+pool, n)
	for _, want := range []int{n, 0} {
		if out, err := svc.SettleDay(t.Context(), day, core.SettleOptions{}); err != nil || out.Bills != want || out.Waiting != 0 {
			t.Fatalf("SettleDay() = %+v, %v, want %d bills", out, err, want)
		}
		if made, err := svc.CloseMonth(t.Context(), day.Month()); err != nil || made != want/4 {
			t.Fatalf("CloseMonth() = %d bills, %v, want %d", made, err, want/4)
		}
	}
	if v, err := svc.Verify(t.Context()); err != nil || !v.OK {
		t.Errorf("Verify() = %+v, %v", v, err)
	}
	if err := svc.Store.Check(t.Context()); err != nil {
		t.Errorf("Check() = %v", err)
	}
}

// copySettled copies usage out, and bills, transactions and heads out and into
// tables like theirs, and returns how long the first and the last took.
func copySettled(b *testing.B, url string) time.Duration {
	b.Helper()
	c, err := pgx.Connect(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close(context.Background())
	var took time.Duration
	timed := func(fn func() error) {
		began := time.Now()
		if err := fn(); err != nil {
			b.Fatal(err)
		}
		took += time.Since(began)
	}
	var out bytes.Buffer
	timed(func() error {
		_, err := c.PgConn().CopyTo(b.Context(), &out, "copy (select * from usage) to stdout binary")
		return err
	})
	for _, table := range []string{"daily_bills", "ledger_transactions", "ledger_heads"} {
		out.Reset()
		if _, err := c.PgConn().CopyTo(b.Context(), &out, "copy (select * from "+table+") to stdout binary"); err != nil {
			b.Fatal(err)
		}
		if _, err := c.Exec(b.Context(), "create table copied_"+table+" (like "+table+" including all)"); err != nil {
			b.Fatal(err)
		}
		timed(func() error {
			_, err := c.PgConn().CopyFrom(b.Context(), &out, "copy copied_"+table+" from stdin binary")
			return err
		})
	}
	return took
}

// benchReplica is another process on a store.
func benchReplica(b testing.TB, url string) *core.Service {
	b.Helper()
	st, err := postgres.Open(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = st.Close() })
	return core.NewService(core.Config{
		Store: st, Shared: true, Now: benchClock, NewID: id.NewGenerator(benchClock).New, Log: slog.New(slog.DiscardHandler),
		Sites: []workspace.Site{{Code: "o1", Zone: time.UTC, Prices: "CN"}}, LinkKey: make([]byte, 32),
	})
}

// benchTill is a store with n workspaces that used every item on one day that
// is over.
func benchTill(b testing.TB, url string, n int) (*core.Service, usage.Day) {
	b.Helper()
	svc := benchReplica(b, url)
	book := pricing.Book{Name: "bench", Zone: "CN", Currency: "CNY", Scale: 6}
	for i := range benchItems {
		book.Items = append(book.Items, pricing.Item{
			Code: fmt.Sprintf("item-%02d", i), Unit: decimal.MustParse("1000"), Aggregation: pricing.Sum, Mode: pricing.Flat,
			Prices: []pricing.Price{{Variant: "7d", Price: decimal.MustParse("0.7")}},
		})
	}
	if _, err := svc.AddPriceBook(b.Context(), core.Request{}, book); err != nil {
		b.Fatal(err)
	}
	day := usage.DayOf(benchNow, time.UTC) - 1
	for at := 0; at < n; at += 1000 {
		benchWorkspaces(b, svc, min(1000, n-at), day)
	}
	return svc, day
}

func benchWorkspaces(b testing.TB, svc *core.Service, n int, day usage.Day) {
	b.Helper()
	from, _ := day.Bounds(time.UTC)
	var entries []usage.Entry
	err := svc.Store.Update(b.Context(), func(ctx context.Context, tx core.Tx) error {
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
		_, err = svc.Store.AppendUsage(b.Context(), entries)
	}
	if err != nil {
		b.Fatal(err)
	}
}
