package awssim

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// MeteringFaults are what can be made to go wrong with metering. Numbers count
// down: they are of the next so many calls or records.
type MeteringFaults struct {
	Throttle  int `json:"throttle"`   // calls answered with ThrottlingException
	Fail      int `json:"fail"`       // calls answered with 500 before anything is processed
	FailAfter int `json:"fail_after"` // calls answered with 500 after everything is
	LoseReply int `json:"lose_reply"` // calls whose connection breaks after everything is processed

	Unprocessed   int `json:"unprocessed"`    // records returned as unprocessed
	Forget        int `json:"forget"`         // records on file that the answer does not mention
	UnknownStatus int `json:"unknown_status"` // records on file with a status that nobody knows

	Shuffle bool `json:"shuffle"` // results come in any order
	// DuplicateForIdentical answers a repeat with DuplicateRecord, not Success.
	DuplicateForIdentical bool `json:"duplicate_for_identical"`
	// FlushAfterDeprovision leaves the last hour open after License Deprovisioned.
	FlushAfterDeprovision bool `json:"flush_after_deprovision"`

	// OutageSeconds begins an outage now; OutageUntil is when it ends.
	OutageSeconds int       `json:"outage_seconds,omitempty"`
	OutageUntil   time.Time `json:"outage_until,omitzero"`
	// SlowMillis delays every answer, in real time.
	SlowMillis int `json:"slow_millis"`
	// Dimensions are further ones of the product.
	Dimensions []string `json:"dimensions"`
}

// MeteringEntry is usage that AWS will bill.
type MeteringEntry struct {
	ID         string    `json:"id"`
	Subject    string    `json:"subject"` // the license's id, or the legacy customer
	Account    string    `json:"account"`
	Dimension  string    `json:"dimension"`
	Hour       time.Time `json:"hour"`
	Quantity   int64     `json:"quantity"`
	Region     string    `json:"region"`
	AcceptedAt time.Time `json:"accepted_at"`
	Repeats    int       `json:"repeats"`
}

// MeteringTruth is what a test compares the program with.
type MeteringTruth struct {
	Entries []MeteringEntry `json:"entries"` // in the order of their acceptance
	Calls   int             `json:"calls"`
	// Violations are calls beyond AWS's limits, and records that changed between
	// attempts.
	Violations []string       `json:"violations"`
	Faults     MeteringFaults `json:"faults"`
}

// entryKey is what one record is kept under: the first of it counts. Regions do
// not know of each other, and neither do the two ways of naming a buyer.
type entryKey struct {
	region, product, license, customer, dimension string
	hour                                          time.Time
}

// ledger is all that was metered.
type ledger struct {
	entries    []*MeteringEntry
	byKey      map[entryKey]*MeteringEntry
	sent       map[entryKey]string
	calls      int
	tokens     float64 // calls that are left in this second
	filledAt   time.Time
	violations []string
	faults     MeteringFaults
}

func newLedger() ledger {
	return ledger{
		byKey: map[entryKey]*MeteringEntry{}, sent: map[entryKey]string{}, tokens: meterPerSec,
	}
}

func (l *ledger) violate(format string, args ...any) {
	l.violations = append(l.violations, fmt.Sprintf(format, args...))
}

// take counts a fault down and reports whether it happens.
func take(n *int) bool {
	if *n <= 0 {
		return false
	}
	*n--
	return true
}

// SetMetering changes what goes wrong with metering.
func (s *Simulator) SetMetering(change func(*MeteringFaults)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &s.meter.faults
	change(f)
	if f.OutageSeconds > 0 {
		f.OutageUntil = s.cfg.Now().Add(time.Duration(f.OutageSeconds) * time.Second)
		f.OutageSeconds = 0
	}
}

// Metered returns what AWS will bill a subject, which is a license id or a
// legacy customer, for a dimension: units, and in how many records.
func (s *Simulator) Metered(subject, dimension string) (units int64, records int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.meter.total(subject, dimension)
}

func (l *ledger) total(subject, dimension string) (units int64, records int) {
	for _, e := range l.entries {
		if e.Subject == subject && e.Dimension == dimension {
			units += e.Quantity
			records++
		}
	}
	return units, records
}

// Metering returns everything that was metered.
func (s *Simulator) Metering() MeteringTruth {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := MeteringTruth{
		Entries: make([]MeteringEntry, len(s.meter.entries)), Calls: s.meter.calls,
		Violations: append([]string{}, s.meter.violations...), Faults: s.meter.faults,
	}
	for i, e := range s.meter.entries {
		t.Entries[i] = *e
	}
	return t
}

// dawdle waits as long as answers are to take.
func (s *Simulator) dawdle(ctx context.Context) {
	s.mu.Lock()
	wait := time.Duration(s.meter.faults.SlowMillis) * time.Millisecond
	s.mu.Unlock()
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// meterTrouble is what befalls a call before anyone looks at its records.
func (s *Simulator) meterTrouble() *apiError {
	now, f := s.cfg.Now(), &s.meter.faults
	switch {
	case now.Before(f.OutageUntil):
		return &apiError{http.StatusServiceUnavailable, "ServiceUnavailable", "an outage"}
	case take(&f.Fail):
		return internalError()
	case take(&f.Throttle):
		return badRequest("ThrottlingException", "slow down")
	case !s.meter.within(now):
		s.meter.violate("more than %d calls in a second", meterPerSec)
		return badRequest("ThrottlingException", "more than %d calls a second", meterPerSec)
	}
	return nil
}

// within counts a call against the quota, which fills up as time goes by.
func (l *ledger) within(now time.Time) bool {
	if !l.filledAt.IsZero() {
		l.tokens = min(meterPerSec, l.tokens+now.Sub(l.filledAt).Seconds()*meterPerSec)
	}
	l.filledAt = now
	const whole = 1 - 1e-6 // ten tenths of a second make a little less than a token
	if l.tokens < whole {
		return false
	}
	l.tokens--
	return true
}

// takeUsage decides about each record of a call that may be processed.
func (s *Simulator) takeUsage(region string, product *string, records []usageRecord) meterResponse {
	out := meterResponse{Results: []usageResult{}, UnprocessedRecords: []usageRecord{}}
	f := &s.meter.faults
	for i := range records {
		u := &records[i]
		if take(&f.Unprocessed) {
			out.UnprocessedRecords = append(out.UnprocessedRecords, *u)
			continue
		}
		r := s.takeRecord(region, product, u)
		switch {
		case take(&f.Forget):
			continue
		case take(&f.UnknownStatus):
			r.Status = "AcceptedProvisionally"
		}
		out.Results = append(out.Results, r)
	}
	if f.Shuffle {
		s.rnd.Shuffle(len(out.Results), func(i, j int) {
			out.Results[i], out.Results[j] = out.Results[j], out.Results[i]
		})
	}
	return out
}

// takeRecord keeps the first record of its key.
func (s *Simulator) takeRecord(region string, product *string, u *usageRecord) usageResult {
	if u.agreement == nil || !s.mayMeter(u.agreement, u.CustomerAWSAccountID) {
		return usageResult{Status: "CustomerNotSubscribed", UsageRecord: *u}
	}
	k := u.key(region, product)
	if first, seen := s.meter.sent[k]; seen && first != u.sent {
		s.meter.violate("a record changed from %s to %s", first, u.sent)
	} else if !seen {
		s.meter.sent[k] = u.sent
	}
	e, known := s.meter.byKey[k]
	if !known {
		e = s.newEntry(k, u)
		return usageResult{e.ID, "Success", *u}
	}
	if e.Repeats++; e.Quantity != u.Quantity || s.meter.faults.DuplicateForIdentical {
		return usageResult{Status: "DuplicateRecord", UsageRecord: *u}
	}
	return usageResult{e.ID, "Success", *u}
}

// key names the buyer of a legacy record always in the same way.
func (u *usageRecord) key(region string, product *string) entryKey {
	k := entryKey{
		region: region, license: u.LicenseArn, customer: u.CustomerAWSAccountID,
		dimension: u.Dimension, hour: u.at.Truncate(time.Hour),
	}
	if u.LicenseArn == "" {
		k.product, k.customer = *product, u.agreement.Customer
	}
	return k
}

func (s *Simulator) newEntry(k entryKey, u *usageRecord) *MeteringEntry {
	a := u.agreement
	e := &MeteringEntry{
		ID:      fmt.Sprintf("%016x-%d", s.rnd.Uint64(), len(s.meter.entries)+1),
		Subject: a.License, Account: a.Account, Dimension: u.Dimension,
		Hour: k.hour, Quantity: u.Quantity, Region: k.region, AcceptedAt: s.cfg.Now().UTC(),
	}
	if u.LicenseArn == "" {
		e.Subject = a.Customer
	}
	s.meter.byKey[k] = e
	s.meter.entries = append(s.meter.entries, e)
	return e
}

// mayMeter reports whether usage of an agreement is taken now: while it is
// active, and for an hour after its end.
func (s *Simulator) mayMeter(a *Agreement, account string) bool {
	switch {
	case account != "" && account != a.Account, a.ActivatedAt.IsZero():
		return false
	case a.Status == Active:
		return true
	case a.Status == Ended && !a.Replaced && !s.meter.faults.FlushAfterDeprovision:
		return false
	default:
		return s.cfg.Now().Before(a.EndedAt.Add(finalWindow))
	}
}

func (s *Simulator) controlMetering(w http.ResponseWriter, _ *http.Request) {
	s.writeJSON(w, http.StatusOK, s.Metering())
}

// controlMeteringFaults changes what the body names; the rest stays.
func (s *Simulator) controlMeteringFaults(w http.ResponseWriter, r *http.Request) {
	next := s.Metering().Faults
	next.Dimensions = slices.Clone(next.Dimensions)
	dec := json.NewDecoder(io.LimitReader(r.Body, maxRequest))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&next); err != nil {
		s.refuse(w, err)
		return
	}
	s.SetMetering(func(f *MeteringFaults) { *f = next })
	s.writeJSON(w, http.StatusOK, s.Metering().Faults)
}

// usageLine is the page's summary of what was metered for an agreement.
func (s *Simulator) usageLine(a Agreement) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	units, records := map[string]int64{}, map[string]int{}
	for _, e := range s.meter.entries {
		if e.Subject == a.License || e.Subject == a.Customer {
			units[e.Dimension] += e.Quantity
			records[e.Dimension]++
		}
	}
	var lines []string
	for _, d := range slices.Sorted(maps.Keys(units)) {
		lines = append(lines, fmt.Sprintf("%d × %s in %d h", units[d], d, records[d]))
	}
	return strings.Join(lines, ", ")
}
