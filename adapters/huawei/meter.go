package huawei

import (
	"cmp"
	"errors"
	"time"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
	"cloudsettle/core/money"
)

// dimension names what is counted. KooGallery has one usage item for each
// instance and no name for it on the wire.
const dimension = "usage"

// Limits of usage push (pages 0070649410 and 0070649411).
const (
	// window is how old the beginning of a period may be: codes MKT.9004 and 007.
	window = 21 * 24 * time.Hour
	// lead is what must be left of the window when a period is chosen, so that
	// a record outlives an outage of a day.
	lead = 24 * time.Hour
	// maxUnits is the most whole units in Double(12,4), the type of usage_value
	// on the international page. The page of China has String(20).
	maxUnits = 99_999_999
	// defaultBatch and mostBatch: one page says 1000 records, the others 100.
	defaultBatch = 100
	mostBatch    = 1000
	// defaultRate is careful: there is a limit (MKT.0250) and no page tells it.
	defaultRate = 1
	mostRate    = 50
	// defaultFinal is how late usage that is billed hourly may be pushed. That
	// it is taken until window closes, also after the end of a subscription, is
	// nowhere said in one sentence.
	defaultFinal = 2 * time.Hour
	leastFinal   = time.Hour // below, one outage is too many
)

// Forms of usage_value.
const (
	asString = "string"
	asNumber = "number"
)

// Metering says what one unit of usage is worth, and settles what the pages
// leave open. Without any of it the listing is not metered.
type Metering struct {
	// UnitAmount is what one unit costs, a decimal in Currency with at most six
	// places. It must be the price in the seller's console.
	UnitAmount string `json:"unit_amount"`
	// UsageValue is the JSON type of usage_value, "string" or "number": the page
	// of China has a string, which is the default there, the international one
	// a number.
	UsageValue string `json:"usage_value"`
	// Batch is how many records one call has, 100 if not set.
	Batch int `json:"batch"`
	// Rate is how many calls are made in a second, 1 if not set.
	Rate int `json:"rate"`
	// FinalWithin is how long after the end of a subscription its last usage is
	// reported, 2h if not set.
	FinalWithin duration `json:"final_within"`
	// TimeZone is where a billing month begins. Only the page of China names
	// one, Beijing time, which is the default everywhere.
	TimeZone string `json:"time_zone"`
}

// validate finds all problems at once.
func (c Metering) validate() error {
	if c == (Metering{}) {
		return nil
	}
	unit, unitErr := money.ParseMicros(c.UnitAmount)
	_, zoneErr := c.zone()
	final := time.Duration(c.FinalWithin)
	return errors.Join(
		fault(unitErr != nil || unit <= 0,
			"metering.unit_amount: %q is not a positive amount with at most six decimals", c.UnitAmount),
		fault(c.UsageValue != "" && c.UsageValue != asString && c.UsageValue != asNumber,
			"metering.usage_value: %q is not %s or %s", c.UsageValue, asString, asNumber),
		fault(c.Batch < 0 || c.Batch > mostBatch, "metering.batch: not between 1 and %d", mostBatch),
		fault(c.Rate < 0 || c.Rate > mostRate, "metering.rate: not between 1 and %d", mostRate),
		fault(final != 0 && (final < leastFinal || final > window-lead),
			"metering.final_within: not between %s and %s", leastFinal, window-lead),
		fault(zoneErr != nil, "metering.time_zone: %q is not known", c.TimeZone),
	)
}

func (c Metering) zone() (*time.Location, error) {
	if c.TimeZone == "" {
		return time.FixedZone("UTC+8", 8*60*60), nil
	}
	return time.LoadLocation(c.TimeZone)
}

// Meter pushes usage of pay-per-use instances. It is safe for concurrent use.
type Meter struct {
	api     *openAPI
	listing marketplace.ListingID
	key     string // signs the body; the key bound to the basic interface
	terms   core.MeterTerms
	zone    *time.Location // where a billing month begins
	numbers bool           // usage_value is a JSON number
	rulings map[string]ruling
	pace    pacer
}

var _ core.Meter = (*Meter)(nil)

// newMeter returns the meter of a valid configuration, or nil if it has none.
func newMeter(l marketplace.ListingID, c Config, api *openAPI) core.Meter {
	unit, err := money.ParseMicros(c.Metering.UnitAmount)
	if err != nil {
		return nil
	}
	zone, err := c.Metering.zone()
	if err != nil {
		return nil
	}
	rate := cmp.Or(c.Metering.Rate, defaultRate)
	form := cmp.Or(c.Metering.UsageValue, asString)
	if c.Metering.UsageValue == "" && c.Site != "cn" {
		form = asNumber
	}
	return &Meter{
		api: api, listing: l, key: c.Key, zone: zone, numbers: form == asNumber,
		rulings: rulings(), pace: newPacer(time.Second/time.Duration(rate), api.now),
		terms: core.MeterTerms{
			Dimension: dimension, UnitAmount: unit, Currency: money.Currency(c.Currency),
			Batch: cmp.Or(c.Metering.Batch, defaultBatch), Rate: float64(rate), MaxUnits: maxUnits,
			FinalWithin:  cmp.Or(time.Duration(c.Metering.FinalWithin), defaultFinal),
			WholePeriods: true,
		},
	}
}

// Terms says how KooGallery wants to be reported to. Records of one instance
// may share a call if their periods differ.
func (m *Meter) Terms() core.MeterTerms { return m.terms }

// Resolve says that a record whose answer was lost is sent again: KooGallery
// knows it by its metering_sn, and a second one for the same instance and
// period is not processed.
func (m *Meter) Resolve(metering.Record) bool { return true }

// Period returns a whole hour, UTC. In this order: the last one that was over
// at end, the ones before and then those after it of the same billing month,
// the newest that is over now. Only hours that are over at now, not taken, and
// accepted for another while (lead) count. Late usage is accepted until the
// beginning of its period is 21 days ago; it is then billed later.
//
// KooGallery refuses a period that begins before its resource or ends after it,
// and tells nobody but the seller's console: taken is to report those as well.
func (m *Meter) Period(
	end, now time.Time, taken func(start time.Time) bool,
) (core.MeterPeriod, bool) {
	last := end.UTC().Truncate(time.Hour).Add(-time.Hour)
	newest := now.UTC().Truncate(time.Hour).Add(-time.Hour)
	oldest := ceilHour(now.UTC().Add(lead - window))
	month := m.month(end.Add(-1))
	free := func(start time.Time) bool { return m.month(start) == month && !taken(start) }
	start, ok := search(earlier(last, newest), oldest, -time.Hour, free)
	if !ok {
		start, ok = search(later(last.Add(time.Hour), oldest), newest, time.Hour, free)
	}
	if !ok {
		start, ok = search(newest, oldest, -time.Hour, func(s time.Time) bool { return !taken(s) })
	}
	if !ok {
		return core.MeterPeriod{}, false
	}
	return core.MeterPeriod{Start: start, End: start.Add(time.Hour), Deadline: start.Add(window)}, true
}

// search returns the first good hour on the way from one to another, both
// included. It asks about at most the hours of a window.
func search(
	from, to time.Time, step time.Duration, good func(time.Time) bool,
) (time.Time, bool) {
	within := func(at time.Time) bool {
		return step > 0 && !at.After(to) || step < 0 && !at.Before(to)
	}
	for at := from; within(at); at = at.Add(step) {
		if good(at) {
			return at, true
		}
	}
	return time.Time{}, false
}

// month numbers the billing month that t is in.
func (m *Meter) month(t time.Time) int {
	t = t.In(m.zone)
	return t.Year()*12 + int(t.Month())
}

func ceilHour(t time.Time) time.Time {
	if whole := t.Truncate(time.Hour); whole.Before(t) {
		return whole.Add(time.Hour)
	}
	return t
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
