package aws_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"cloudsettle/adapters/aws"
	"cloudsettle/adapters/aws/awssim"
	"cloudsettle/adapters/internal/sim"
	"cloudsettle/core"
	"cloudsettle/core/metering"
)

const dimension = "usage_fee"

// clock is a clock that only tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// world is a listing, its meter, and AWS.
type world struct {
	*awssim.Simulator
	*clock
	meter  core.Meter
	url    string
	server *httptest.Server
}

// newWorld starts one at a time. Rests of the meter move the clock.
func newWorld(tb testing.TB, seed uint64, now time.Time, change map[string]any) *world {
	tb.Helper()
	w := &world{clock: &clock{now: now}}
	var handler http.Handler
	w.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(rw, r)
	}))
	tb.Cleanup(w.server.Close)
	w.url = w.server.URL
	s := settings(tb, merged(map[string]any{
		"model": "subscription", "endpoint": w.url, "sqs_queue_url": w.url + "/queue",
	}, change))
	s.Now = w.Now
	var err error
	if w.Simulator, err = awssim.New(sim.Config{
		Listing: "aws-main", Raw: s.Raw, BaseURL: w.url, Now: w.Now, Seed: seed,
	}); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = w.Close() })
	handler = w.Simulator
	w.meter = w.open(tb, s, 0)
	return w
}

func (w *world) open(tb testing.TB, s core.Settings, within time.Duration) core.Meter {
	tb.Helper()
	m, err := aws.OpenMeter(s, within, func(ctx context.Context, d time.Duration) error {
		w.advance(d)
		return ctx.Err()
	})
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

// buy lets buyer n subscribe.
func (w *world) buy(tb testing.TB, n int) awssim.Agreement {
	tb.Helper()
	return w.let(tb, "subscribe", n)
}

// let lets something happen to the agreement of buyer n. An account has two.
func (w *world) let(tb testing.TB, event string, n int) awssim.Agreement {
	tb.Helper()
	a, err := w.Do(event, map[string]string{
		"license": fmt.Sprintf("l-%032x", n+1), "agreement": fmt.Sprintf("agmt-%d", n),
		"account": fmt.Sprintf("%012d", 100_000_000_000+n/2), "offer": "offer-1",
	})
	if err != nil {
		tb.Fatal(err)
	}
	return a
}

func arnOf(license string) string { return "arn:aws:license-manager::294406891311:license:" + license }

// usage is a record of an agreement, as core seals it.
func usage(a awssim.Agreement, start time.Time, units int64) metering.Record {
	return metering.Record{
		ID:      metering.RecordID(a.License + "@" + start.Format("02T15")),
		Listing: "aws-main", Dimension: dimension, PeriodStart: start, PeriodEnd: start.Add(time.Hour),
		Units: units, Status: metering.Sending, Attempts: 1, Subject: a.License, Account: a.Account,
		Attributes: map[string]string{"license_arn": arnOf(a.License), "product_code": productCode},
	}
}

// report sends records and returns their verdicts by id; it fails the test if
// one has none or several.
func report(tb testing.TB, m core.Meter, records ...metering.Record) map[metering.RecordID]metering.Result {
	tb.Helper()
	results := m.Report(tb.Context(), records)
	byID := map[metering.RecordID]metering.Result{}
	for _, r := range results {
		byID[r.Record] = r
	}
	if len(results) != len(records) || len(byID) != len(records) {
		tb.Fatalf("Report() of %d records = %d results of %d records", len(records), len(results), len(byID))
	}
	return byID
}

// only is the verdict on a single record.
func only(tb testing.TB, m core.Meter, r metering.Record) metering.Result {
	tb.Helper()
	return report(tb, m, r)[r.ID]
}

func encode(tb testing.TB, v any) string {
	tb.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		tb.Fatal(err)
	}
	return string(text)
}
