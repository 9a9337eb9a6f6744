package huaweisim

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"
)

// Limits of usage push.
const (
	pushWindow   = 21 * 24 * time.Hour // how old a period may be
	collectedAt  = 15 * time.Minute    // of each hour, records are collected and validated
	defaultBatch = 100
	mostBatch    = 1000
	defaultRate  = 1
	// rateSpan is the second in which calls are counted, less what a network
	// may bring them closer together.
	rateSpan  = 900 * time.Millisecond
	fourths   = 10_000 // usage has four decimals
	shownPush = 1000   // records that are shown, newest first
)

// How records that break a rule are answered. The documentation has all three.
const (
	validateLater  = "async"  // taken; only the console tells, after the next collection
	validateListed = "listed" // success, and the bad ones listed in the answer
	validateBatch  = "batch"  // the whole call refused
)

// MeteringFaults are what usage push does wrong. A number below 1 is the
// probability of every call; from 1 on it is how many calls, the next ones.
type MeteringFaults struct {
	Throttle     float64 `json:"throttle"`      // MKT.0250, nothing is taken
	Broken       float64 `json:"broken"`        // MKT.0999, nothing is taken
	BrokenAfter  float64 `json:"broken_after"`  // MKT.0999 for what was taken
	Dropped      float64 `json:"dropped"`       // the connection ends, nothing is taken
	Lost         float64 `json:"lost"`          // the connection ends, all is taken
	Unknown      float64 `json:"unknown"`       // a code nobody knows, nothing is taken
	UnknownAfter float64 `json:"unknown_after"` // the same for what was taken
	// Partial leaves half of the records alone and lists them as abnormal, with
	// a code nobody knows, among those that are.
	Partial float64 `json:"partial"`
	// Slow answers that late, by the real clock, after all was taken.
	Slow Span `json:"slow"`
	// Outage ends every connection from now on for so long, by Config.Now.
	Outage Span `json:"outage"`
	// Validation is async (the default), listed or batch.
	Validation string `json:"validation"`
}

// Span is a duration that is "40m" in JSON.
type Span time.Duration

// UnmarshalText parses a duration.
func (s *Span) UnmarshalText(b []byte) error {
	d, err := time.ParseDuration(string(b))
	*s = Span(d)
	return err
}

// MarshalText writes a duration.
func (s Span) MarshalText() ([]byte, error) { return []byte(time.Duration(s).String()), nil }

// Pushed is a usage record that was taken in.
type Pushed struct {
	MeteringSN string    `json:"metering_sn"`
	InstanceID string    `json:"instance_id"`
	Begin      time.Time `json:"begin_time"`
	End        time.Time `json:"end_time"`
	// Usage is in ten-thousandths.
	Usage      int64     `json:"usage_fourths"`
	ReceivedAt time.Time `json:"received_at"`
	Status     string    `json:"status"` // waiting, billed or abnormal
	Code       string    `json:"code,omitempty"`
	raw        string
}

// meter is the metering side. It is guarded by the simulator's lock.
type meter struct {
	faults    MeteringFaults
	downUntil time.Time
	filed     []*Pushed
	bySN      map[string]*Pushed
	byPeriod  map[period]bool // of those that count
	totals    map[string]*tally
	recent    []time.Time // calls of the last second
	calls     int
	tooFast   int
}

type period struct {
	instance   string
	begin, end time.Time
}

type tally struct {
	Usage   int64 `json:"usage_fourths"`
	Records int   `json:"records"`
}

func newMeter() meter {
	return meter{
		bySN: map[string]*Pushed{}, byPeriod: map[period]bool{}, totals: map[string]*tally{},
		faults: MeteringFaults{Validation: validateLater},
	}
}

// SetMeteringFaults replaces the faults of usage push.
func (s *Sim) SetMeteringFaults(f MeteringFaults) error {
	if f.Validation == "" {
		f.Validation = validateLater
	}
	if !slices.Contains([]string{validateLater, validateListed, validateBatch}, f.Validation) {
		return fmt.Errorf("huaweisim: validation %q is not known", f.Validation)
	}
	for _, v := range f.chances() {
		if *v < 0 || *v >= 1 && *v != math.Trunc(*v) {
			return errors.New("huaweisim: faults are probabilities below 1, or whole numbers of calls")
		}
	}
	if f.Slow < 0 || f.Outage < 0 {
		return errors.New("huaweisim: slow and outage do not go back in time")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meter.faults = f
	s.meter.downUntil = time.Time{}
	if f.Outage > 0 {
		s.meter.downUntil = s.cfg.Now().Add(time.Duration(f.Outage))
	}
	return nil
}

func (f *MeteringFaults) chances() []*float64 {
	return []*float64{
		&f.Throttle, &f.Broken, &f.BrokenAfter, &f.Dropped, &f.Lost, &f.Unknown, &f.UnknownAfter,
		&f.Partial,
	}
}

// Metered returns what counts of an instance's usage, in whole units, and how
// many records that is. KooGallery has one dimension, whatever it is called.
func (s *Sim) Metered(instanceID, _ string) (units int64, records int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.meter.totals[instanceID]; t != nil {
		return t.Usage / fourths, t.Records
	}
	return 0, 0
}

// Adopt puts an instance into the book that was bought before, without a call
// to the program. It replaces one of the same name.
func (s *Sim) Adopt(i Instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.find(i.InstanceID); old != nil {
		*old = i
		return
	}
	s.instances = append(s.instances, &i)
}

// MeteringState is what GET /_sim/metering tells.
type MeteringState struct {
	Calls   int               `json:"calls"`
	TooFast int               `json:"too_fast"` // calls over the rate
	Totals  map[string]tally  `json:"totals"`   // by instance
	Records []Pushed          `json:"records"`  // newest first
	Faults  MeteringFaults    `json:"faults"`
	Console map[string]string `json:"console"` // codes of abnormal records, by metering_sn
}

// Metering returns what was pushed, as the seller's console shows it: before
// the next collection nothing is known to be abnormal.
func (s *Sim) Metering() MeteringState {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &s.meter
	st := MeteringState{
		Calls: m.calls, TooFast: m.tooFast, Faults: m.faults,
		Totals: make(map[string]tally, len(m.totals)), Records: []Pushed{}, Console: map[string]string{},
	}
	for id, t := range m.totals {
		st.Totals[id] = *t
	}
	now := s.cfg.Now()
	for _, p := range slices.Backward(m.filed) {
		shown := *p
		switch {
		case now.Before(collection(p.ReceivedAt)):
			shown.Status, shown.Code = "waiting", ""
		case p.Code != "":
			st.Console[p.MeteringSN] = p.Code
		}
		if len(st.Records) < shownPush {
			st.Records = append(st.Records, shown)
		}
	}
	return st
}

// collection is when a record that came at t is collected.
func collection(t time.Time) time.Time {
	at := t.Truncate(time.Hour).Add(collectedAt)
	if !at.After(t) {
		at = at.Add(time.Hour)
	}
	return at
}

// happens draws whether a fault happens to this call. The caller holds the lock.
func (s *Sim) happens(chance *float64) bool {
	switch {
	case *chance >= 1:
		*chance--
		return true
	case *chance > 0:
		return s.rnd.Float64() < *chance
	}
	return false
}

// file takes a record in; an abnormal one does not count.
func (m *meter) file(p *Pushed) {
	m.bySN[p.MeteringSN] = p
	m.filed = append(m.filed, p)
	if p.Status = "billed"; p.Code != "" {
		p.Status = "abnormal"
		return
	}
	m.byPeriod[period{p.InstanceID, p.Begin, p.End}] = true
	t := m.totals[p.InstanceID]
	if t == nil {
		t = &tally{}
		m.totals[p.InstanceID] = t
	}
	t.Usage += p.Usage
	t.Records++
}

// judge returns the code of what is wrong with a record, or "".
func (s *Sim) judge(p *Pushed, recorded, now time.Time) string {
	i := s.find(p.InstanceID)
	switch {
	case i == nil:
		return "001"
	case i.ChargingMode != "ON_DEMAND":
		return "012"
	case p.Begin.After(p.End) || p.End.After(recorded) || p.End.After(now),
		p.Begin.Before(i.StartedAt), i.Ended && p.End.After(i.EndedAt):
		return "011"
	case now.Sub(p.Begin) > pushWindow:
		return "007"
	case i.Suspended && p.End.After(i.SuspendedAt):
		return "013"
	case s.meter.byPeriod[period{p.InstanceID, p.Begin, p.End}]:
		return "010"
	}
	return ""
}

// setMeteringFaults serves POST /_sim/metering/faults.
func (s *Sim) setMeteringFaults(w http.ResponseWriter, r *http.Request) {
	var f MeteringFaults
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxForm))
	d.DisallowUnknownFields()
	err := d.Decode(&f)
	if err == nil {
		err = s.SetMeteringFaults(f)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	writeJSON(w, http.StatusOK, s.Metering())
}
