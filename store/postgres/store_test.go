package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/govalues/decimal"
	"github.com/jackc/pgx/v5"

	"cloudsettle/core"
	"cloudsettle/core/ledger"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
	"cloudsettle/store/postgres"
	"cloudsettle/store/postgres/pgtest"
)

const today usage.Day = 20778 // 2026-11-21

// TestManyOpen: of replicas that start at once on an empty database one brings
// it to the schema, and all of them open it.
func TestManyOpen(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			s, err := postgres.Open(t.Context(), url+"&pool_max_conns=2")
			if err != nil {
				t.Errorf("Open() = %v", err)
				return
			}
			err = s.Update(t.Context(), func(ctx context.Context, tx core.Tx) error { return tx.PutSetting(ctx, "name", "value") })
			if err := errors.Join(err, s.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestPartitionRace: replicas that get the first usage of a month at once make
// its partitions once, and none of the usage is refused.
func TestPartitionRace(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	var wg sync.WaitGroup
	for i := range 4 {
		s := open(t, url)
		wg.Go(func() {
			for month := range 6 {
				x := usage.Sample{Workspace: fmt.Sprintf("ws_%d", i), Item: "logs", Hour: time.Unix(0, 0), Quantity: decimal.One}
				_, err := s.AppendUsage(t.Context(), []usage.Entry{{Sample: x, Day: today + usage.Day(31*month)}})
				if err != nil {
					t.Errorf("AppendUsage() = %v", err)
				}
			}
		})
	}
	wg.Wait()
	s := open(t, url)
	days := 0
	err := s.View(t.Context(), func(ctx context.Context, tx core.ReadTx) error {
		for range tx.UsageDays(ctx, today, today+400) {
			days++
		}
		return nil
	})
	if err != nil || days != 6 {
		t.Errorf("%d days with usage, %v, want 6", days, err)
	}
}

// TestPartitionRemoved: the partitions of a month that somebody removed while
// the program runs are made again.
func TestPartitionRemoved(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	s := open(t, url)
	report := func() {
		t.Helper()
		x := usage.Sample{Workspace: "ws_1", Item: "logs", Hour: time.Unix(0, 0), Quantity: decimal.One}
		verdicts, err := s.AppendUsage(t.Context(), []usage.Entry{{Sample: x, Day: today}})
		if err != nil || verdicts[0] != usage.Accepted {
			t.Fatalf("AppendUsage() = %v, %v", verdicts, err)
		}
	}
	report()
	if err := inDatabase(url, "drop table usage_2026_11"); err != nil {
		t.Fatal(err)
	}
	report()
}

// TestCheckFindsDamage: what is changed behind the store's back is found.
func TestCheckFindsDamage(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]string{
		"lost name":         "delete from names",
		"wrong name":        "update names set target = 'sub_2'",
		"lost transaction":  "delete from ledger_transactions",
		"lost head":         "delete from ledger_heads",
		"broken usage":      "update usage set samples = substr(samples, 1, length(samples) - 1)",
		"broken bill":       "update daily_bills set lines = '[[1]]'",
		"task out of order": "update tasks set free_at = free_at - interval '1 hour'",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := pgtest.New(t)
			s := open(t, url)
			fill(t, s)
			if err := s.Check(t.Context()); err != nil {
				t.Fatalf("Check() before = %v", err)
			}
			if err := inDatabase(url, damage); err != nil {
				t.Fatal(err)
			}
			if err := s.Check(t.Context()); err == nil {
				t.Error("Check() = nil, want the damage")
			}
		})
	}
}

// fill stores a few records that belong together.
func fill(t *testing.T, s core.Store) {
	t.Helper()
	_, err := s.AppendUsage(t.Context(), []usage.Entry{{Day: today, Sample: usage.Sample{
		Workspace: "ws_1", Item: "logs", Hour: time.Unix(0, 0), Quantity: decimal.One,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	err = s.Update(t.Context(), func(ctx context.Context, tx core.Tx) error {
		b := ledger.Book{Head: ledger.Head{Owner: "ba_1", Currency: "CNY"}}
		_, err := b.Post(ledger.Transaction{At: benchNow, Kind: ledger.Usage, Ref: "db", Postings: []ledger.Posting{
			{Account: ledger.Revenue, Micros: 1_500_000}, {Account: ledger.Cash, Micros: 500_000}, {Account: ledger.Arrears, Micros: -2_000_000},
		}})
		bill := settlement.DailyBill{
			ID: settlement.DailyBillID("ws_1", today), Workspace: "ws_1", Day: today, BillingAccount: "ba_1", Currency: "CNY",
			Lines: []settlement.Line{{
				Item: "logs", Variant: "7d", Quantity: decimal.MustParse("2.5"), Unit: decimal.One,
				Price: decimal.MustParse("0.6"), Amount: 1_500_000, Of: today - 1,
			}},
			Total: 1_500_000, SealedAt: benchNow, Split: settlement.Split{Arrears: 2_000_000, Deductions: []settlement.Deduction{
				{Source: ledger.Cash, Micros: -500_000},
			}},
		}
		return errors.Join(err,
			tx.PutSubscription(ctx, marketplace.Subscription{ID: "sub_1", Listing: "main", Subject: "name", Account: "ca_1"}),
			tx.PutWorkspace(ctx, workspace.Workspace{ID: "ws_1"}), tx.AppendLedger(ctx, b), tx.AddDailyBill(ctx, bill),
			tx.PutTask(ctx, core.Task{ID: "task_1", Kind: "notify", DueAt: benchNow}),
			tx.PutMeterRecord(ctx, metering.Record{
				ID: "mr_1", Subscription: "sub_1", Dimension: "fee", PeriodStart: benchNow, Units: 3, UnitAmount: 10_000, Currency: "USD",
			}))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestViews: people who read with SQL find amounts in currency units.
func TestViews(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	fill(t, open(t, url))
	c, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	for sql, want := range map[string]string{
		"select format('%s %s %s %s', bill, day, round(total, 2), round(deducted, 2)) from v_daily_bills":            "db_2026-11-21_ws_1 2026-11-21 1.50 -0.50",
		"select format('%s %s %s %s %s', item, quantity, price, round(amount, 2), corrects) from v_daily_bill_lines": "logs 2.5 0.6 1.50 2026-11-20",
		"select format('%s %s', count(*), sum(amount)::int) from v_ledger_postings":                                  "3 0",
		"select format('%s %s', account, round(amount, 2)) from v_ledger_balances where account = 'arrears'":         "arrears -2.00",
		"select format('%s %s %s', units, round(unit_amount, 2), round(amount, 2)) from v_metering":                  "3 0.01 0.03",
	} {
		var got string
		if err := c.QueryRow(t.Context(), sql).Scan(&got); err != nil || got != want {
			t.Errorf("%s yields %q, %v, want %q", sql, got, err, want)
		}
	}
}

// TestNUL: what PostgreSQL cannot hold is refused in names and replaced in text.
func TestNUL(t *testing.T) {
	t.Parallel()
	s := open(t, pgtest.New(t))
	update := func(fn func(context.Context, core.Tx) error) error { return s.Update(t.Context(), fn) }
	for what, fn := range map[string]func(context.Context, core.Tx) error{
		"a name": func(ctx context.Context, tx core.Tx) error {
			return tx.PutSubscription(ctx, marketplace.Subscription{ID: "sub_1", Subject: "a\x00b"})
		},
		"bytes that are not UTF-8": func(ctx context.Context, tx core.Tx) error {
			return tx.PutSetting(ctx, "a\xff", "b")
		},
		"a value": func(ctx context.Context, tx core.Tx) error { return tx.PutSetting(ctx, "a", "b\x00") },
		"what is hashed": func(ctx context.Context, tx core.Tx) error {
			b := ledger.Book{Head: ledger.Head{Owner: "ba_1", Currency: "CNY"}}
			_, err := b.Post(ledger.Transaction{Reason: "\x00", Postings: []ledger.Posting{{Account: "a", Micros: 1}, {Account: "b", Micros: -1}}})
			return errors.Join(err, tx.AppendLedger(ctx, b))
		},
	} {
		if err := update(fn); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", what, err)
		}
	}
	e := core.JournalEntry{
		ID: "cb_1", Reason: "a\x00", RawQuery: "a=\x00\xff", Body: []byte("\x00\xff"),
		Event: &marketplace.Event{Attributes: map[string]string{"a": "\x00", "b": `\u0000`}},
	}
	if err := update(func(ctx context.Context, tx core.Tx) error { return tx.PutCallbackEntry(ctx, e) }); err != nil {
		t.Fatalf("PutCallbackEntry() = %v", err)
	}
	got, err := core.InView(t.Context(), s, func(ctx context.Context, tx core.ReadTx) (core.JournalEntry, error) {
		return tx.CallbackEntry(ctx, "cb_1")
	})
	if err != nil || got.Reason != "a\ufffd" || got.RawQuery != e.RawQuery || string(got.Body) != string(e.Body) ||
		got.Event.Attributes["a"] != "\ufffd" || got.Event.Attributes["b"] != `\u0000` {
		t.Errorf("CallbackEntry() = %+v, %v, want the bytes and replaced text", got, err)
	}
}

// TestUnreachable: a database that went away is ErrUnavailable, in bounded time.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	server := pgtest.Start(t)
	t.Cleanup(server.Remove)
	s, err := postgres.Open(t.Context(), server.URL()+pool)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	server.Crash()
	err = s.Update(t.Context(), func(ctx context.Context, tx core.Tx) error { return tx.PutSetting(ctx, "a", "b") })
	if !errors.Is(err, core.ErrUnavailable) {
		t.Errorf("Update() = %v, want ErrUnavailable", err)
	}
	err = s.View(t.Context(), func(ctx context.Context, tx core.ReadTx) error {
		_, err := tx.Setting(ctx, "a")
		return err
	})
	if !errors.Is(err, core.ErrUnavailable) || strings.Contains(err.Error(), "password") {
		t.Errorf("View() = %v, want ErrUnavailable", err)
	}
}
