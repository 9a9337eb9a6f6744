package aws

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptrace"
	"slices"
	"sync/atomic"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/marketplacemetering"
	"github.com/aws/aws-sdk-go-v2/service/marketplacemetering/types"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
	"cloudsettle/core/money"
)

// How BatchMeterUsage is called (API Reference "BatchMeterUsage", Developer
// Guide "metering-service-quotas", 2026-07). 25 records without allocations
// stay far below the 1 MB that a call may have.
const (
	meterBatch  = 25
	meterRate   = 10        // calls a second, of an account in a Region
	finalWithin = time.Hour // per agreement; AWS's pages differ on which event begins it
	meterWithin = 10 * time.Second
	// A report that searches for bad records makes up to 49 calls; other records
	// wait for it.
	reportWithin = time.Minute
	meterPause   = time.Second / meterRate // between the calls of one report
)

// meter reports usage of one listing, to one Region: AWS tells repeats apart
// within a Region only, so a Region must not be changed while records are under
// way.
type meter struct {
	listing  marketplace.ListingID
	product  string
	identity Identity
	terms    core.MeterTerms
	window   time.Duration
	now      func() time.Time

	send   batchMeterUsage
	within time.Duration                              // of one call
	rest   func(context.Context, time.Duration) error // between the calls of one report
}

// batchMeterUsage is the SDK's method.
type batchMeterUsage func(
	context.Context, *api.BatchMeterUsageInput, ...func(*api.Options),
) (*api.BatchMeterUsageOutput, error)

var _ core.Meter = (*meter)(nil)

// newMeter returns the meter of a listing, or nil if it has none: no metering
// is configured, or it sells contracts, of which AWS takes no usage. Where no
// access key is configured the SDK finds credentials when they are needed.
func newMeter(
	c Config, listing marketplace.ListingID, now func() time.Time, client *api.Client,
) (*meter, error) {
	unit, err := c.Metering.unit()
	if err != nil || !c.Metering.wanted() || c.Model == Contract {
		return nil, err
	}
	return &meter{
		listing: listing, product: c.ProductCode, identity: c.Identity, now: now,
		window: time.Duration(c.Metering.WindowHours) * time.Hour,
		terms: core.MeterTerms{
			Dimension: c.Metering.Dimension, UnitAmount: unit, Currency: money.Currency(c.Currency),
			Batch: meterBatch, Rate: meterRate, MaxUnits: maxUnits, FinalWithin: finalWithin,
			ReportZero: c.Metering.ReportZero,
		},
		send: client.BatchMeterUsage, within: meterWithin, rest: rest,
	}, nil
}

// Terms says what AWS counts in and how it wants to be called.
func (m *meter) Terms() core.MeterTerms { return m.terms }

// Resolve sends the same again: within its window AWS recognizes a record by
// license, customer, dimension and hour, and does not bill it twice. Outside
// the window nothing can be learnt any more.
func (m *meter) Resolve(r metering.Record) bool {
	return m.now().Before(deadline(r.PeriodStart, m.window))
}

// Report sends records. A call that AWS refuses for one record in it is halved
// until that one is alone: with 25 records that takes five steps at most, and
// ten calls for one bad record.
func (m *meter) Report(ctx context.Context, records []metering.Record) []metering.Result {
	ctx, cancel := context.WithTimeout(ctx, reportWithin)
	defer cancel()
	ready, results := m.prepare(records)
	parts := [][]usage{ready}
	for calls := 0; len(parts) > 0 && len(parts[0]) > 0; calls++ {
		if calls > 0 && m.rest(ctx, meterPause) != nil {
			return append(results, unsent(parts, "the call was given up")...)
		}
		part := parts[0]
		parts = parts[1:]
		answers, refused := m.call(ctx, part)
		switch {
		case refused == nil:
			results = append(results, answers...)
		case refused.split && len(part) > 1:
			half := len(part) / 2
			parts = slices.Insert(parts, 0, part[:half], part[half:])
		default:
			results = append(results, refused.verdicts(part)...)
			if !refused.split { // it is not about this part
				return append(results, unsent(parts, refused.detail)...)
			}
		}
	}
	return results
}

// unsent is the verdict on what Report did not come to.
func unsent(parts [][]usage, detail string) []metering.Result {
	why := refusal{meaning{verdict: metering.NotTaken}, "not sent: " + detail}
	return why.verdicts(slices.Concat(parts...))
}

// prepare checks records before AWS does, which refuses a whole call for one
// that is wrong. It returns those to send, and the verdicts on the others.
func (m *meter) prepare(records []metering.Record) ([]usage, []metering.Result) {
	now := m.now()
	ready := make([]usage, 0, min(len(records), meterBatch))
	results := make([]metering.Result, 0, len(records))
	known := make(map[usageKey]bool, len(records))
	for i := range records {
		u, v := m.ready(&records[i], now)
		switch {
		case v.Verdict != "":
		case known[u.key]:
			v = metering.Result{Verdict: metering.Refused, Detail: "another record in the call has its key"}
		case len(ready) == meterBatch:
			v = metering.Result{Verdict: metering.NotTaken, Detail: "more records than a call may have"}
		default:
			known[u.key] = true
			ready = append(ready, u)
			continue
		}
		v.Record = records[i].ID
		results = append(results, v)
	}
	return ready, results
}

// ready returns r as it is sent, or a verdict that needs no call.
func (m *meter) ready(r *metering.Record, now time.Time) (usage, metering.Result) {
	u, err := m.usageOf(r)
	closes := deadline(r.PeriodStart, m.window)
	switch wait := r.PeriodStart.Sub(now); {
	case err != nil:
		return u, metering.Result{Verdict: metering.Refused, Detail: err.Error()}
	case wait > 0:
		return u, metering.Result{
			Verdict: metering.NotTaken, Detail: "its hour has not begun", RetryAfter: wait + clockMargin,
		}
	case !now.Before(closes):
		detail := "its window closed at " + closes.Format(time.RFC3339)
		return u, metering.Result{Verdict: metering.OutOfTime, Detail: detail}
	default:
		return u, metering.Result{}
	}
}

// input is what one call says. Only listings known by customer name the product.
func (m *meter) input(part []usage) *api.BatchMeterUsageInput {
	in := &api.BatchMeterUsageInput{UsageRecords: make([]types.UsageRecord, len(part))}
	for i := range part {
		in.UsageRecords[i] = part[i].wire
	}
	if m.identity == ByCustomer {
		in.ProductCode = sdk.String(m.product)
	}
	return in
}

// errPanic is a panic of the SDK.
var errPanic = errors.New("the SDK panicked")

// call makes one call, once: a repeat by the SDK would hide from the record
// that it was sent before, and then a DuplicateRecord could not be told from
// somebody else's.
func (m *meter) call(
	ctx context.Context, part []usage,
) (results []metering.Result, refused *refusal) {
	ctx, cancel := context.WithTimeout(ctx, m.within)
	defer cancel()
	var connected atomic.Bool // before it, nothing was sent
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	defer func() {
		if recover() != nil {
			r := refusalOf(errPanic, connected.Load())
			results, refused = nil, &r
		}
	}()
	out, err := m.send(ctx, m.input(part), func(o *api.Options) { o.Retryer = sdk.NopRetryer{} })
	if err != nil {
		r := refusalOf(err, connected.Load())
		return nil, &r
	}
	return match(part, out), nil
}

// rest waits, or returns why ctx ended.
func rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// wanted reports whether any key of metering is set.
func (c Metering) wanted() bool { return c != Metering{} }

// unit returns the amount of one unit; zero without metering.
func (c Metering) unit() (money.Micros, error) {
	if !c.wanted() {
		return 0, nil
	}
	unit, err := money.ParseMicros(c.UnitAmount)
	if err != nil || unit <= 0 {
		return 0, fmt.Errorf("metering.unit_amount: %q is not a positive decimal of at most 6 decimals",
			clip(c.UnitAmount))
	}
	return unit, nil
}

func (c Metering) validate(currency string) error {
	if !c.wanted() {
		return nil
	}
	_, err := c.unit()
	return errors.Join(err,
		check(c.Dimension != "" && len(c.Dimension) <= maxDimension,
			"metering.dimension: %q is not a dimension of 1 to %d bytes", clip(c.Dimension), maxDimension),
		check(c.WindowHours >= leastWindowHours && c.WindowHours <= mostWindowHours,
			"metering.window_hours: %d is not within %d to %d",
			c.WindowHours, leastWindowHours, mostWindowHours),
		check(money.Currency(currency).Valid(), "currency: %q is not three capital letters", currency),
	)
}
