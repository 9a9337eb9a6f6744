package alibaba

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
	"cloudsettle/core/money"
)

const (
	// callRate is our own limit: the one of the API is not published.
	callRate = 10
	// maxUnits is the most of one record. The page says Integer, and the
	// implementations that are known are in Java.
	maxUnits = math.MaxInt32
	// minWidth is what the width of a period must exceed.
	minWidth = 5 * time.Minute
	// cent is what the marketplace truncates bill lines to.
	cent = money.Unit / 100
)

// Meter reports usage with PushMeteringData. It is safe for concurrent use.
//
// The marketplace knows no repeats: a record that is sent twice is billed
// twice, there is no token and nothing to ask. So a record is sent again only
// if the one before surely was not taken, or if the configuration says so.
type Meter struct {
	listing     marketplace.ListingID
	productCode string
	terms       core.MeterTerms
	window      window
	dialect     dialect
	endpoint    endpoint
	client      *client
	now         func() time.Time
	parksErrors bool // on_server_error
	resends     bool // on_ambiguous
}

var _ core.Meter = (*Meter)(nil)

func newMeter(s core.Settings, c Config, p parsed, api *client) *Meter {
	m := c.Metering
	w := window{zone: p.zone, daily: m.Cycle == cycleDaily}
	meter := &Meter{
		listing: s.Listing, productCode: c.ProductCode, window: w, dialect: chinaDialect{},
		endpoint: p.metering.endpoint, client: api, now: s.Now,
		parksErrors: m.OnServerError == policyPark, resends: m.OnAmbiguous == policyResend,
		terms: core.MeterTerms{
			Dimension: dimension(m.Key, m.Assist), UnitAmount: p.metering.unitAmount,
			Currency: money.Currency(c.Currency), Batch: m.Batch, SameSubscription: true, Apart: apart,
			Rate: callRate, MaxUnits: maxUnits, FinalWithin: finalWithin,
			ReportZero: m.ReportZero,
		},
	}
	if m.API == apiInternational {
		meter.dialect = internationalDialect{p.zone}
	}
	if p.metering.unitAmount%cent != 0 {
		cmp.Or(s.Log, slog.New(slog.DiscardHandler)).Warn(
			"the marketplace truncates bill lines to two decimals",
			"listing", s.Listing, "unit_amount", m.UnitAmount)
	}
	return meter
}

// dimension names what is counted, with everything that goes on the wire: a
// record stays what it is when the configuration changes.
func dimension(key, assist string) string {
	if assist == "" {
		return key
	}
	return key + "/" + assist
}

// Terms returns how the marketplace wants to be reported to.
func (m *Meter) Terms() core.MeterTerms { return m.terms }

// Period returns a period of ten minutes for usage up to end: the last one of
// the usage's last hour that is over, free, and in its window at now; else
// another one of that hour, of the month, or else the nearest. There is none
// while all that are open are taken or not over. It cannot know that an instance
// ended: of one that did, periods after the hour of its end are not billed.
func (m *Meter) Period(end, now time.Time, taken func(start time.Time) bool) (core.MeterPeriod, bool) {
	return m.window.period(end, now, taken)
}

// Resolve says whether a record whose report got no answer is sent again. It
// is at most once, and only by configuration: each time may bill it again.
func (m *Meter) Resolve(r metering.Record) bool { return m.resends && r.Attempts <= 1 }

// Report sends records and returns a verdict for each. It calls the
// marketplace once, and oftener only if a call that several records share is
// refused because of some of them.
func (m *Meter) Report(ctx context.Context, records []metering.Record) []metering.Result {
	results := make([]metering.Result, 0, len(records))
	batch := make([]entry, 0, min(len(records), m.terms.Batch))
	instances := make(map[string]bool, len(records))
	for n := range records {
		r := &records[n]
		e, why := m.prepare(r)
		switch {
		case why.Verdict != "":
			results = append(results, why)
		case instances[r.Subject]:
			results = append(results, result(r, metering.Throttled, apart,
				"another record of the instance is in this call"))
		case len(batch) == m.terms.Batch:
			results = append(results, result(r, metering.NotTaken, 0, "more records than a call may have"))
		default:
			instances[r.Subject] = true
			batch = append(batch, e)
		}
	}
	return append(results, m.send(ctx, batch)...)
}

func result(
	r *metering.Record, v metering.Verdict, wait time.Duration, format string, args ...any,
) metering.Result {
	return metering.Result{
		Record: r.ID, Verdict: v, RetryAfter: wait, Detail: fmt.Sprintf(format, args...),
	}
}

// prepare checks what the marketplace would, and what it would not tell. The
// result has a verdict if the record is not fit to be sent.
func (m *Meter) prepare(r *metering.Record) (entry, metering.Result) {
	key, assist, hasAssist := strings.Cut(r.Dimension, "/")
	refused := func(format string, args ...any) (entry, metering.Result) {
		return entry{}, result(r, metering.Refused, 0, format, args...)
	}
	code := r.Attributes["product_code"]
	switch {
	case r.Listing != m.listing:
		return refused("of another listing, %q", r.Listing)
	case code != "" && code != m.productCode:
		return refused("of another product, %.64q", code)
	case !slices.Contains(meteringKeys, key) || hasAssist && !assistPattern.MatchString(assist):
		return refused("dimension %.64q is none of the marketplace's", r.Dimension)
	case r.Subject == "" || len(r.Subject) > maxID || strings.ContainsFunc(r.Subject, notInID):
		return refused("%.64q is no instance id", r.Subject)
	case r.Units < 0 || r.Units > maxUnits:
		return refused("%d units are not between 0 and %d", r.Units, maxUnits)
	case r.PeriodEnd.Sub(r.PeriodStart) <= minWidth:
		return refused("a period must be longer than %s", minWidth)
	case r.PeriodStart.Nanosecond() != 0 || r.PeriodEnd.Nanosecond() != 0:
		return refused("a period must begin and end with a second")
	}
	if wait := r.PeriodEnd.Sub(m.now()); wait > 0 {
		return entry{}, result(r, metering.NotTaken, wait, "its period is not over")
	}
	return entry{r, key, assist}, metering.Result{}
}

// send sends a batch and, if records of it were at fault, its halves: at most
// as deep as maxBatch has binary digits.
func (m *Meter) send(ctx context.Context, batch []entry) []metering.Result {
	batch, results := m.dropLate(batch)
	if len(batch) == 0 {
		return results
	}
	call := m.dialect.call(batch)
	call.endpoint = m.endpoint
	r := judge(m.exchange(ctx, call), len(batch), m.parksErrors)
	if half := len(batch) / 2; r.records && half > 0 {
		return append(append(results, m.send(ctx, batch[:half])...), m.send(ctx, batch[half:])...)
	}
	for _, e := range batch {
		results = append(results, metering.Result{
			Record: e.ID, Verdict: r.verdict, RetryAfter: r.wait, ProviderID: r.provider, Detail: r.detail,
		})
	}
	return results
}

// dropLate takes out what would come too late. The marketplace would say yes
// and not bill it.
func (m *Meter) dropLate(batch []entry) (good []entry, late []metering.Result) {
	now := m.now()
	for _, e := range batch {
		if m.window.open(e.PeriodStart, now) {
			good = append(good, e)
			continue
		}
		late = append(late, result(e.Record, metering.OutOfTime, 0,
			"its window closes at %s, too soon to be sent", m.window.deadline(e.PeriodStart).Format(time.RFC3339)))
	}
	return good, late
}

// exchange makes one call, waiting for the client's turn included in its time.
// What the SDK makes of the answer does not count.
func (m *Meter) exchange(ctx context.Context, call apiCall) answered {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	got, _ := m.client.do(ctx, call)
	return got
}
