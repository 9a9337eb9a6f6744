package alibabasim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

const pushMeteringData = "PushMeteringData"

// The rules of PushMeteringData.
const (
	maxEntities    = 100
	leastWidth     = 5 * time.Minute // of a period; it must be more
	requestApart   = time.Minute     // of two requests about one instance
	hourTail       = 59 * time.Minute
	dayTail        = hourTail + time.Hour
	maxIntlRecords = maxEntities // not documented for 2022-12-30; taken to be the same
)

// countable are the keys that are billed.
var countable = map[string]bool{
	"Frequency": true, "Period": true, "PeriodMin": true, "Storage": true, "StorageGigaByte": true,
	"NetworkOut": true, "NetworkIn": true, "Character": true, "DailyActiveUser": true,
	"VirtualCpu": true, "Memory": true, "Unit": true, "KTokens": true, "Suit": true,
}

// usage is one entity of a request.
type usage struct {
	instance, key, assist string
	start, end            time.Time
	units                 int64
}

// dimension is what the seller calls the thing counted.
func (u usage) dimension() string {
	if u.assist == "" {
		return u.key
	}
	return u.key + "/" + u.assist
}

func badMetering(format string, args ...any) *apiError {
	return &apiError{http.StatusInternalServerError, "Invalid.Parameter.Metering", fmt.Sprintf(format, args...)}
}

// push does what a request says. The caller holds s.mu.
func (s *Simulator) push(f url.Values, part func(all []usage) []usage) *apiError {
	read := readChina
	if f.Get("Version") == intlVersion {
		read = readInternational
	}
	all, e := read(f)
	if e == nil {
		e = s.checkAll(all)
	}
	if e != nil {
		return e
	}
	now := s.cfg.Now().UTC()
	for _, u := range part(all) {
		s.metering.take(u, s.unbilled(u, now), now)
	}
	return nil
}

type chinaRecord struct {
	InstanceID string      `json:"InstanceId"`
	StartTime  json.Number `json:"StartTime"`
	EndTime    json.Number `json:"EndTime"`
	Entities   []struct {
		Key    string      `json:"Key"`
		Value  json.Number `json:"Value"`
		Assist string      `json:"meteringAssit"`
	} `json:"Entities"`
}

// readChina reads a request of 2015-11-01. json.Number takes numbers and texts
// that are numbers, as the marketplace does.
func readChina(f url.Values) ([]usage, *apiError) {
	var list []chinaRecord
	if err := json.Unmarshal([]byte(f.Get("Metering")), &list); err != nil || len(list) == 0 {
		return nil, badMetering("Metering is not a list of records")
	}
	var all []usage
	for _, r := range list {
		start, err1 := r.StartTime.Int64()
		end, err2 := r.EndTime.Int64()
		for _, e := range r.Entities {
			units, err3 := e.Value.Int64()
			if err1 != nil || err2 != nil || err3 != nil {
				return nil, badMetering("a time or a value is not a whole number")
			}
			all = append(all, usage{r.InstanceID, e.Key, e.Assist, time.Unix(start, 0), time.Unix(end, 0), units})
		}
	}
	return all, nil
}

// readInternational reads a request of 2022-12-30, a flattened form.
func readInternational(f url.Values) ([]usage, *apiError) {
	if _, err := time.Parse(time.DateTime, f.Get("GmtCreate")); err != nil {
		return nil, badMetering("GmtCreate is not a time")
	}
	var all []usage
	for n := 1; n <= maxIntlRecords+1; n++ {
		prefix := "MeteringData." + strconv.Itoa(n) + "."
		if !f.Has(prefix + "InstanceId") {
			break
		}
		start, err1 := strconv.ParseInt(f.Get(prefix+"StartTime"), 10, 64)
		end, err2 := strconv.ParseInt(f.Get(prefix+"EndTime"), 10, 64)
		var entity map[string]int64
		err3 := json.Unmarshal([]byte(f.Get(prefix+"MeteringEntity")), &entity)
		if err1 != nil || err2 != nil || err3 != nil || len(entity) == 0 {
			return nil, badMetering("record %d cannot be read", n)
		}
		for key, units := range entity {
			all = append(all, usage{
				f.Get(prefix + "InstanceId"), key, f.Get(prefix + "MeteringAssist"),
				time.UnixMilli(start), time.UnixMilli(end), units,
			})
		}
	}
	return all, nil
}

// checkAll refuses a request for the first thing that is wrong with it. The
// caller holds s.mu.
func (s *Simulator) checkAll(all []usage) *apiError {
	switch {
	case len(all) == 0:
		return badMetering("there is no usage")
	case len(all) > maxEntities:
		return &apiError{http.StatusInternalServerError, "Metering.Data.Exceeded", "more than 100 entities"}
	}
	records := map[string]time.Time{}
	for _, u := range all {
		if e := s.check(u); e != nil {
			return e
		}
		if start, again := records[u.instance]; again && !start.Equal(u.start) {
			return tooOften()
		}
		records[u.instance] = u.start
	}
	now := s.cfg.Now()
	for id := range records {
		if now.Sub(s.metering.lastRequest[id]) < requestApart {
			return tooOften()
		}
	}
	for id := range records {
		s.metering.lastRequest[id] = now
	}
	return nil
}

func tooOften() *apiError {
	return &apiError{http.StatusInternalServerError, "Service.Flow.Control", "one request of an instance a minute"}
}

// check refuses usage that is wrong by itself. The caller holds s.mu.
func (s *Simulator) check(u usage) *apiError {
	i := s.find(u.instance)
	switch {
	case i == nil || i.ID != u.instance:
		return &apiError{http.StatusInternalServerError, "Invalid.Parameter.Instance", "no such instance"}
	case i.ProductCode != s.listing.ProductCode:
		return &apiError{http.StatusInternalServerError, "Invalid.Parameter", "more than one product"}
	case !u.end.After(u.start) || u.end.Sub(u.start) <= leastWidth:
		return badMetering("EndTime must be more than five minutes after StartTime")
	case u.end.After(s.cfg.Now()):
		return badMetering("EndTime is in the future")
	case !countable[u.key]:
		return badMetering("no such Key")
	case u.units < 0:
		return badMetering("Value is negative")
	case u.assist == "" && s.listing.Metering.Assist != "":
		return &apiError{http.StatusBadRequest, "Invalid.Parameter.Metering", "meteringAssit is empty"}
	case u.assist != s.listing.Metering.Assist:
		return badMetering("no such meteringAssit")
	case s.daily() && !s.cfg.Now().Before(s.closes(u.start)):
		return badMetering("the usage is too old")
	}
	return nil
}

func (s *Simulator) daily() bool { return s.listing.Metering.Cycle == "daily" }

// closes returns when usage that starts then is billed no more.
func (s *Simulator) closes(start time.Time) time.Time {
	if !s.daily() {
		return s.nextHour(start).Add(hourTail)
	}
	y, m, d := start.In(s.listing.zone).Date()
	return time.Date(y, m, d, 24, 0, 0, 0, s.listing.zone).Add(dayTail)
}

// nextHour returns the end of the hour of t.
func (s *Simulator) nextHour(t time.Time) time.Time {
	at := t.In(s.listing.zone)
	y, m, d := at.Date()
	return time.Date(y, m, d, at.Hour()+1, 0, 0, 0, s.listing.zone)
}

// unbilled says why usage is taken and not billed, or "". The caller holds s.mu.
func (s *Simulator) unbilled(u usage, now time.Time) string {
	i := s.find(u.instance)
	end := i.EndedAt
	if end.IsZero() && i.ExpiresOn.Before(now) {
		end = i.ExpiresOn // zero for pay-as-you-go
	}
	switch {
	case !now.Before(s.closes(u.start)):
		return "late"
	case !end.IsZero() && !u.start.Before(s.nextHour(end)):
		return "after the end"
	}
	return ""
}

// servePush answers PushMeteringData, rightly or as the faults say.
func (s *Simulator) servePush(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	fault := s.metering.nextFault(s.cfg.Now())
	var e *apiError
	if !fault.untaken() {
		e = s.push(r.Form, fault.part)
	}
	s.metering.calls++
	s.mu.Unlock()
	switch {
	case fault.answer(w, r):
	case e != nil:
		writeError(w, *e)
	default:
		answer := map[string]any{"Success": true, "RequestId": r.Form.Get("SignatureNonce")}
		if r.Form.Get("Version") == intlVersion {
			answer["Code"], answer["Message"], answer["Result"] = "200", "OK", true
		}
		writeJSON(w, http.StatusOK, answer)
	}
}

// Metered returns what is billed for an instance: units, and how many records.
func (s *Simulator) Metered(instance, dimension string) (units int64, records int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.metering.totals[billed{instance, dimension}]
	if t == nil {
		return 0, 0
	}
	return t.Units, t.Records
}

// MeteredOf returns how often usage of one period is billed.
func (s *Simulator) MeteredOf(instance, dimension string, start time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, p := range s.metering.periods[billed{instance, dimension}] {
		if p.start.Equal(start) {
			n++
		}
	}
	return n
}

// MeteringProblems returns what was taken and not billed, or overlaps other
// usage of its instance, oldest first.
func (s *Simulator) MeteringProblems() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.metering.problems)
}

// billed is what a bill line is about.
type billed struct{ instance, dimension string }

type period struct{ start, end time.Time }

type total struct {
	Instance  string `json:"instance"`
	Dimension string `json:"dimension"`
	Units     int64  `json:"units"`
	Records   int    `json:"records"`
}

// meteringState is what the marketplace remembers of usage. Simulator.mu
// guards it.
type meteringState struct {
	totals      map[billed]*total
	order       []*total
	periods     map[billed][]period
	lastRequest map[string]time.Time // by instance
	problems    []string
	calls       int
	faults      MeteringFaults
	outageEnds  time.Time
}

func newMeteringState() meteringState {
	return meteringState{
		totals: map[billed]*total{}, periods: map[billed][]period{}, lastRequest: map[string]time.Time{},
	}
}

// Limits of what is remembered.
const (
	maxProblems = 1000
	maxPeriods  = 1000 // of a bill line: a week of what can be reported
)

func (m *meteringState) problem(format string, args ...any) {
	if len(m.problems) < maxProblems {
		m.problems = append(m.problems, fmt.Sprintf(format, args...))
	}
}

// take books usage. A repeat is booked again: the marketplace does not notice.
func (m *meteringState) take(u usage, unbilled string, now time.Time) {
	key := billed{u.instance, u.dimension()}
	if unbilled != "" {
		m.problem("%s: %d units of %s at %s: %s", u.instance, u.units, u.start.UTC().Format(time.RFC3339),
			now.Format(time.RFC3339), unbilled)
		return
	}
	for _, p := range m.periods[key] {
		same := p.start.Equal(u.start) && p.end.Equal(u.end)
		if !same && p.start.Before(u.end) && u.start.Before(p.end) {
			m.problem("%s: %s overlaps", u.instance, u.start.UTC().Format(time.RFC3339))
		}
	}
	if len(m.periods[key]) >= maxPeriods {
		m.periods[key] = slices.Delete(m.periods[key], 0, maxPeriods/2)
	}
	m.periods[key] = append(m.periods[key], period{u.start, u.end})
	t := m.totals[key]
	if t == nil {
		t = &total{Instance: u.instance, Dimension: key.dimension}
		m.totals[key], m.order = t, append(m.order, t)
	}
	t.Units += u.units
	t.Records++
}
