package huawei

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"cloudsettle/adapters/huawei/huaweisim"
	"cloudsettle/core"
	"cloudsettle/core/metering"
)

// hour is the beginning of a full hour before at.
var hour = at.Add(-3 * time.Hour)

func TestOpenWithoutMetering(t *testing.T) {
	t.Parallel()
	if m := open(t, map[string]any{"metering": map[string]any{}}); m.Meter != nil {
		t.Errorf("Open(no metering).Meter = %v, want nil", m.Meter)
	}
	want := core.MeterTerms{
		Dimension: "usage", UnitAmount: 10_000, Currency: "CNY", Batch: 100, Rate: 1,
		MaxUnits: 99_999_999, FinalWithin: 2 * time.Hour, WholePeriods: true,
	}
	if diff := cmp.Diff(want, open(t, nil).Meter.Terms()); diff != "" {
		t.Errorf("Terms() differ (-want +got):\n%s", diff)
	}
}

func TestOpenChecksMetering(t *testing.T) {
	t.Parallel()
	for key, metering := range map[string]map[string]any{
		"unit_amount":   {"rate": 2},
		"unit_amount: ": {"unit_amount": "0.0000001"},
		"usage_value":   {"unit_amount": "1", "usage_value": "float"},
		"batch":         {"unit_amount": "1", "batch": 1001},
		"rate":          {"unit_amount": "1", "rate": -1},
		"final_within":  {"unit_amount": "1", "final_within": "21d1h"},
		"final_within:": {"unit_amount": "1", "final_within": "504h"},
		"time_zone":     {"unit_amount": "1", "time_zone": "Mars/Base"},
	} {
		_, err := Open(settings(t, map[string]any{"metering": metering}))
		if key == "final_within" { // not a duration at all
			key = "time: unknown unit"
		} else {
			key = "metering." + key
		}
		if err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("Open(%v) = %v, want it to name %s", metering, err, key)
		}
	}
}

// testMeter returns a meter of the default configuration.
func testMeter(tb testing.TB) *Meter {
	tb.Helper()
	return open(tb, nil).Meter.(*Meter)
}

// TestPeriod has the edges of windows and months. The pages of China bill in
// Beijing time: a month begins at 16:00 UTC on the last day of the one before.
func TestPeriod(t *testing.T) {
	t.Parallel()
	utc := func(month, day, hour, minute, sec, nsec int) time.Time {
		return time.Date(2028, time.Month(month), day, hour, minute, sec, nsec, time.UTC)
	}
	end := utc(3, 10, 16, 0, 0, 0)      // a day in Beijing is over
	last := end.Add(-time.Hour)         // its last hour
	closes := last.Add(window - lead)   // until then it can be chosen
	month := utc(2, 29, 16, 0, 0, 0)    // March begins in Beijing
	before := month.Add(-1 * time.Hour) // the last hour of February, a leap day
	tests := []struct {
		name     string
		end, now time.Time
		taken    []time.Time
		want     time.Time // zero: none
	}{
		{"LastHour", end, end.Add(time.Minute), nil, last},
		{"OverThisInstant", end, end, nil, last},
		{"NotOver1ns", end, end.Add(-1), nil, last.Add(-time.Hour)},
		{"NotOver1s", end, end.Add(-time.Second), nil, last.Add(-time.Hour)},
		{"Late8h", end, end.Add(8 * time.Hour), nil, last},
		{"Early8h", end, end.Add(-8 * time.Hour), nil, last.Add(-8 * time.Hour)},
		{"NotAtAFullHour", end.Add(30 * time.Minute), end.Add(40 * time.Minute), nil, last},
		{"1nsAfterAFullHour", end.Add(1), end.Add(40 * time.Minute), nil, last},
		{"1nsBeforeAFullHour", end.Add(-1), end.Add(time.Minute), nil, last.Add(-time.Hour)},
		{"Taken", end, end.Add(time.Minute), []time.Time{last}, last.Add(-time.Hour)},
		{"TakenTwice", end, end.Add(time.Minute), []time.Time{last, last.Add(-time.Hour)}, last.Add(-2 * time.Hour)},

		{"WindowClosesIn1s", end, closes.Add(-time.Second), nil, last},
		{"WindowClosesIn1ns", end, closes.Add(-1), nil, last},
		{"WindowClosesNow", end, closes, nil, last},
		{"WindowClosed1ns", end, closes.Add(1), nil, last.Add(time.Hour)},
		{"WindowClosed1s", end, closes.Add(time.Second), nil, last.Add(time.Hour)},
		{"WindowClosed8h", end, closes.Add(8 * time.Hour), nil, last.Add(8 * time.Hour)},
		{"MonthClosed", month, month.Add(30 * 24 * time.Hour), nil, month.Add(30*24*time.Hour - time.Hour)},

		{"MonthsLastHour", month, month.Add(time.Minute), nil, before},
		{"MonthsLastHour19DaysLate", month, month.Add(19 * 24 * time.Hour), nil, before},
		{"LeapDayTaken", month, month.Add(time.Minute), []time.Time{before}, before.Add(-time.Hour)},
		{"MonthsFirstHour", month.Add(time.Hour), month.Add(2 * time.Hour), nil, month},
		{"MonthsFirstHourTaken", month.Add(time.Hour), month.Add(3 * time.Hour), []time.Time{month}, month.Add(time.Hour)},
		{"MonthsFirstHourTakenNoOtherIsOver", month.Add(time.Hour), month.Add(time.Hour), []time.Time{month}, before},
		{"1nsIntoTheMonth", month.Add(1), month.Add(2 * time.Hour), nil, month},
		{"1nsIntoTheMonthNoHourIsOver", month.Add(1), month.Add(time.Minute), nil, before},
		{"UTCMonthIsNoCutOff", utc(3, 1, 0, 0, 0, 0), utc(3, 1, 0, 1, 0, 0), []time.Time{utc(2, 29, 23, 0, 0, 0)}, utc(2, 29, 22, 0, 0, 0)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, ok := testMeter(t).Period(tt.end, tt.now, func(s time.Time) bool { return slices.Contains(tt.taken, s) })
			want := core.MeterPeriod{Start: tt.want, End: tt.want.Add(time.Hour), Deadline: tt.want.Add(21 * 24 * time.Hour)}
			if !ok || got != want {
				t.Errorf("Period(%s, %s) = %v, %t, want %v", tt.end, tt.now, got, ok, want)
			}
		})
	}
	if p, ok := testMeter(t).Period(end, end, func(time.Time) bool { return true }); ok {
		t.Errorf("Period(all taken) = %v, want none", p)
	}
}

// TestPeriodInAnotherZone: what is billed elsewhere has months of its own.
func TestPeriodInAnotherZone(t *testing.T) {
	t.Parallel()
	m := open(t, map[string]any{"metering": map[string]any{"unit_amount": "1", "time_zone": "UTC"}}).Meter
	end := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	taken := func(s time.Time) bool { return s.Month() == time.November && s.Hour() != 16 }
	want := end.Add(-8 * time.Hour)
	if p, ok := m.Period(end, end.Add(5*time.Hour), taken); !ok || !p.Start.Equal(want) {
		t.Errorf("Period(UTC) = %v, %t, want one that starts at %s", p, ok, want)
	}
}

// TestPeriodHolds: whatever was missed and whatever is taken, a period is over,
// free and open for a while, and of the billing month if there is one.
func TestPeriodHolds(t *testing.T) {
	t.Parallel()
	m := testMeter(t)
	rapid.Check(t, func(rt *rapid.T) {
		end := at.Add(time.Duration(rapid.Int64Range(0, int64(60*24*time.Hour)).Draw(rt, "end")))
		now := end.Add(time.Duration(rapid.Int64Range(-int64(2*time.Hour), int64(40*24*time.Hour)).Draw(rt, "late")))
		salt := rapid.Int64Range(0, 1<<20).Draw(rt, "salt")
		taken := func(s time.Time) bool { return (s.Unix()/3600*7919+salt)%5 < 4 }
		good := func(s time.Time) bool {
			return !s.Add(time.Hour).After(now) && s.Add(window).Sub(now) >= lead && !taken(s)
		}
		p, ok := m.Period(end, now, taken)
		inMonth, any := false, false
		for s := now.UTC().Truncate(time.Hour); now.Sub(s) <= window; s = s.Add(-time.Hour) {
			any = any || good(s)
			inMonth = inMonth || good(s) && m.month(s) == m.month(end.Add(-1))
		}
		switch {
		case ok != any:
			rt.Fatalf("Period(%s, %s) = %v, %t, want %t", end, now, p, ok, any)
		case ok && (!good(p.Start) || p.End.Sub(p.Start) != time.Hour || p.Deadline.Sub(p.Start) != window):
			rt.Fatalf("Period(%s, %s) = %v, which cannot be had", end, now, p)
		case ok && inMonth && m.month(p.Start) != m.month(end.Add(-1)):
			rt.Fatalf("Period(%s, %s) = %v, want one of the same month", end, now, p)
		}
		if again, _ := m.Period(end, now, taken); again != p {
			rt.Fatalf("Period(%s, %s) = %v, then %v", end, now, p, again)
		}
	})
}

// TestSign checks the call against a vector that was computed apart.
func TestSign(t *testing.T) {
	t.Parallel()
	start := time.Date(2022, 8, 9, 8, 0, 0, 0, time.UTC)
	m := testMeter(t)
	r := record("7f141bf1-aec8-4859-8323-fb3a8ad50721", start, 99)
	r.ID, r.SealedAt = "sn-0001", start.Add(70*time.Minute)
	got := m.sign([]entry{{r.ID, m.wire(&r)}}, "1709690865879", "6c63c221-1f6b-4141-8ff4-22f5dfe82b65")
	const body = `{"usage_records":[{"begin_time":"20220809T080000Z","end_time":"20220809T090000Z",` +
		`"instance_id":"7f141bf1-aec8-4859-8323-fb3a8ad50721","metering_sn":"sn-0001",` +
		`"record_time":"20220809T091000Z","usage_value":"99"}]}`
	const signature = "zUnNBMLGM1Pa+GwXv/dG+xZXiDroMyzEM0lh+i3D0jE="
	if got.Body != body || got.Signature != signature {
		t.Errorf("sign() = %s\n%s, want %s\n%s", got.Body, got.Signature, body, signature)
	}
}

func TestUsageValueOfSites(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ site, form, want string }{
		{"cn", "", `"7"`}, {"intl", "", `7`}, {"eu", "", `7`}, {"cn", "number", `7`}, {"intl", "string", `"7"`},
	} {
		m := open(t, map[string]any{
			"site": tt.site, "metering": map[string]any{"unit_amount": "1", "usage_value": tt.form},
		}).Meter.(*Meter)
		r := record("inst-1", hour, 7)
		if got := string(m.wire(&r).UsageValue); got != tt.want {
			t.Errorf("usage_value(%s, %q) = %s, want %s", tt.site, tt.form, got, tt.want)
		}
	}
}

// stub returns a meter whose marketplace is h.
func stub(tb testing.TB, h http.HandlerFunc) *Meter {
	tb.Helper()
	srv := httptest.NewServer(h)
	tb.Cleanup(srv.Close)
	m := open(tb, map[string]any{"endpoint": srv.URL}).Meter.(*Meter)
	m.pace.sleep = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	return m
}

func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// TestReportVerdicts: only success is accepted, refusals are not retried for
// ever, throttling is no failure, and what nobody documents may be on file.
func TestReportVerdicts(t *testing.T) {
	t.Parallel()
	listed := func(code string) string {
		return `{"error_code":"MKT.0000","abnormal_usage_data_info":{"abnormal_usage_data":[{"metering_sn":"sn-1","error_code":"` + code + `"}]}}`
	}
	code := func(c string) string { return `{"error_code":"` + c + `","error_msg":"a secret"}` }
	tests := []struct {
		name   string
		status int
		body   string
		want   metering.Verdict
	}{
		{"Success", 200, code("MKT.0000"), metering.OK},
		{"SuccessOldNames", 200, `{"resultCode":"CBC. 0000","resultMsg":"success"}`, metering.OK},
		{"SuccessNoneAbnormal", 200, `{"error_code":"MKT.0000","abnormalUsageDataInfo":{"abnormalUsageData":[]}}`, metering.OK},
		{"SuccessAbnormalIsNull", 200, `{"error_code":"MKT.0000","abnormal_usage_data_info":null}`, metering.OK},
		{"SuccessAbnormalListIsNull", 200, `{"error_code":"MKT.0000","abnormal_usage_data_info":{"abnormal_usage_data":null}}`, metering.OK},
		{"SuccessWithErrorStatus", 500, code("MKT.0000"), metering.MaybeTaken},
		{"Redirect", 302, code("MKT.0000"), metering.MaybeTaken},
		{"Internal", 500, code("MKT.0999"), metering.MaybeTaken},
		{"WrongForm", 500, code("MKT.0100"), metering.Refused},
		{"WrongParameter", 400, code("MKT.0101"), metering.Refused},
		{"WrongSignature", 400, code("MKT.0102"), metering.NotTaken},
		{"OtherRequestError", 400, code("MKT.0199"), metering.NotTaken},
		{"NotOurs", 401, code("MKT.0150"), metering.NotTaken},
		{"NoPermission", 401, code("MKT.0151"), metering.NotTaken},
		{"IllegalToken", 401, code("MKT.0154"), metering.NotTaken},
		{"TooOften", 406, code("MKT.0250"), metering.Throttled},
		{"TooOftenAsPrinted", 406, code("CBC. 0250"), metering.Throttled},
		{"NoInstance", 500, code("MKT.9001"), metering.Refused},
		{"InvalidUsage", 500, code("MKT.9002"), metering.Refused},
		{"TooMany", 500, code("MKT.9003"), metering.NotTaken},
		{"TooOld", 500, code("MKT.9004"), metering.OutOfTime},
		{"ExtraInfo", 500, code("MKT.9005"), metering.NotTaken},
		{"UnknownCode", 400, code("MKT.4711"), metering.MaybeTaken},
		{"UnknownCodeAsSuccess", 200, code("MKT.4711"), metering.MaybeTaken},
		{"RecordCodeOfACall", 200, code("MKT.005"), metering.MaybeTaken},
		{"AnotherFamily", 200, code("BSS.0000"), metering.MaybeTaken},
		{"NoCode", 200, `{}`, metering.MaybeTaken},
		{"NotJSON", 200, `<html>`, metering.MaybeTaken},
		{"Empty", 502, ``, metering.MaybeTaken},
		{"TooLarge", 200, `{"error_code":"MKT.0000","x":"` + strings.Repeat("x", maxBody) + `"}`, metering.MaybeTaken},
		{"GatewayKey", 401, code("APIGW.0301"), metering.NotTaken},
		{"GatewayThrottles", 429, code("APIG.0308"), metering.Throttled},
		{"GatewayTimeout", 504, code("APIG.0201"), metering.MaybeTaken},
		{"PlainThrottle", 429, ``, metering.Throttled},

		{"Listed001", 200, listed("001"), metering.Refused},
		{"Listed002", 200, listed("002"), metering.Refused},
		{"Listed003", 200, listed("003"), metering.Refused},
		{"Listed004", 200, listed("004"), metering.Refused},
		{"Listed005", 200, listed("005"), metering.Same},
		{"Listed006", 200, listed("006"), metering.Refused},
		{"Listed007", 200, listed("7"), metering.OutOfTime},
		{"Listed009", 200, listed("MKT.009"), metering.Refused},
		{"Listed010", 200, listed("010"), metering.Duplicate},
		{"Listed011", 200, listed("011"), metering.Refused},
		{"Listed012", 200, listed("012"), metering.Refused},
		{"Listed013", 200, listed("013"), metering.NotActive},
		{"ListedUnknown", 200, listed("008"), metering.MaybeTaken},
		{"ListedSuccess", 200, listed("0000"), metering.MaybeTaken},
		{"ListedNothing", 200, listed(""), metering.MaybeTaken},
		{"ListedTwice", 200, `{"error_code":"MKT.0000","abnormal_usage_data":[{"metering_sn":"sn-1","code":"005"},{"metering_sn":"sn-1","code":"011"}]}`, metering.MaybeTaken},
		{"ListedByPeriod", 200, `{"error_code":"MKT.0000","abnormal_usage_data":[{"instance_id":"inst-1","begin_time":"20261121T060000Z","end_time":"20261121T070000Z","code":"011"}]}`, metering.Refused},
		{"ListedStranger", 200, `{"error_code":"MKT.0000","abnormal_usage_data":[{"metering_sn":"sn-2","code":"011"}]}`, metering.MaybeTaken},
		{"ListedNobody", 200, `{"error_code":"MKT.0000","abnormal_usage_data":[null]}`, metering.MaybeTaken},
		{"ListedInAnotherForm", 200, `{"error_code":"MKT.0000","abnormal_usage_data":"sn-1"}`, metering.MaybeTaken},
		{"ListedInAnotherObject", 200, `{"error_code":"MKT.0000","abnormal_usage_data_info":{"first":{"metering_sn":"sn-1"}}}`, metering.MaybeTaken},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := record("inst-1", hour, 5)
			r.ID = "sn-1"
			got := stub(t, says(tt.status, tt.body)).Report(t.Context(), []metering.Record{r})
			if v := verdicts(t, []metering.Record{r}, got)[r.ID]; v != tt.want {
				t.Errorf("Report(%s) = %v, want %s", tt.name, got, tt.want)
			}
			if strings.Contains(got[0].Detail, "secret") {
				t.Errorf("Report(%s) repeats %q", tt.name, got[0].Detail)
			}
		})
	}
}

// TestReportRefusesByItself: what KooGallery would drop without a word is never
// sent.
func TestReportRefusesByItself(t *testing.T) {
	t.Parallel()
	calls := 0
	m := stub(t, func(w http.ResponseWriter, r *http.Request) { calls++; says(200, `{"error_code":"MKT.0000"}`)(w, r) })
	tests := []struct {
		name   string
		change func(*metering.Record)
		want   metering.Verdict
	}{
		{"OtherListing", func(r *metering.Record) { r.Listing = "hw-intl" }, metering.Refused},
		{"OtherDimension", func(r *metering.Record) { r.Dimension = "calls" }, metering.Refused},
		{"NoID", func(r *metering.Record) { r.ID = "" }, metering.Refused},
		{"LongID", func(r *metering.Record) { r.ID = metering.RecordID(strings.Repeat("x", 65)) }, metering.Refused},
		{"NoSubject", func(r *metering.Record) { r.Subject = "" }, metering.Refused},
		{"LongSubject", func(r *metering.Record) { r.Subject = strings.Repeat("x", 65) }, metering.Refused},
		{"SubjectWithBlank", func(r *metering.Record) { r.Subject = "a b" }, metering.Refused},
		{"SubjectThatEncodersEscape", func(r *metering.Record) { r.Subject = "a<b" }, metering.Refused},
		{"NoUnits", func(r *metering.Record) { r.Units = 0 }, metering.Refused},
		{"NegativeUnits", func(r *metering.Record) { r.Units = -5 }, metering.Refused},
		{"TooManyUnits", func(r *metering.Record) { r.Units = maxUnits + 1 }, metering.Refused},
		{"PaidByPeriod", func(r *metering.Record) { r.Attributes = map[string]string{"chargingMode": "PERIOD"} }, metering.Refused},
		{"Package", func(r *metering.Record) { r.Attributes = map[string]string{"chargingMode": "5"} }, metering.Refused},
		{"Fractions", func(r *metering.Record) { r.PeriodStart = r.PeriodStart.Add(1) }, metering.Refused},
		{"EmptyPeriod", func(r *metering.Record) { r.PeriodEnd = r.PeriodStart }, metering.Refused},
		{"NotOver", func(r *metering.Record) { r.PeriodEnd = at.Add(time.Hour) }, metering.NotTaken},
		{"OverWithinTheSlack", func(r *metering.Record) { r.PeriodEnd = at.Add(time.Second - clockSlack) }, metering.NotTaken},
		{"WindowClosed", func(r *metering.Record) { r.PeriodStart = at.Add(-window) }, metering.OutOfTime},
	}
	for _, tt := range tests {
		r := record("inst-1", hour, 5)
		tt.change(&r)
		got := m.Report(t.Context(), []metering.Record{r})
		if len(got) != 1 || got[0].Record != r.ID || got[0].Verdict != tt.want || got[0].Detail == "" {
			t.Errorf("Report(%s) = %v, want %s with a reason", tt.name, got, tt.want)
		}
		if wait := r.PeriodEnd.Add(clockSlack).Sub(at); tt.want == metering.NotTaken && got[0].RetryAfter != wait {
			t.Errorf("Report(%s) waits %s, want %s", tt.name, got[0].RetryAfter, wait)
		}
	}
	if calls > 0 {
		t.Errorf("%d calls were made, want none", calls)
	}
	for _, tt := range tests[len(tests)-2:] { // the last instant of either
		r := record("inst-1", hour, maxUnits)
		tt.change(&r)
		r.PeriodStart, r.PeriodEnd = r.PeriodStart.Add(time.Second), r.PeriodEnd.Add(-time.Second)
		if got := m.Report(t.Context(), []metering.Record{r}); got[0].Verdict != metering.OK {
			t.Errorf("Report(%s, 1 s before) = %v, want ok", tt.name, got)
		}
	}
}

func TestReportBatches(t *testing.T) {
	t.Parallel()
	m := stub(t, says(200, `{"error_code":"MKT.0000"}`))
	var records []metering.Record
	for i := range m.Terms().Batch + 1 {
		records = append(records, record(fmt.Sprint("inst-", i), hour, 1))
	}
	same := records[0] // the same record, and another with its key
	other := records[1]
	other.ID = "another"
	records = append(records[:1], append([]metering.Record{same, other}, records[1:]...)...)
	got := verdicts(t, records, m.Report(t.Context(), records))
	want := map[metering.Verdict]int{metering.OK: m.Terms().Batch, metering.Refused: 1, metering.NotTaken: 1}
	count := map[metering.Verdict]int{}
	for _, v := range got {
		count[v]++
	}
	if diff := cmp.Diff(want, count); diff != "" || len(m.Report(t.Context(), nil)) != 0 {
		t.Errorf("Report() verdicts differ (-want +got):\n%s", diff)
	}
}

// TestReportFindsTheBadRecord: a call that is refused for one record does not
// keep the others from being accepted, and no call comes too early.
func TestReportFindsTheBadRecord(t *testing.T) {
	t.Parallel()
	m := startMeter(t, 1, at, map[string]any{"batch": 1000, "rate": 4})
	m.faults(t, huaweisim.MeteringFaults{Validation: "batch"})
	ids := m.adopt(1000, hour)
	var records []metering.Record
	for i, id := range ids {
		if i == 617 {
			id = "nobody"
		}
		records = append(records, record(id, hour, 3))
	}
	got := verdicts(t, records, m.meter.Report(t.Context(), records))
	for _, r := range records {
		want := metering.OK
		if r.Subject == "nobody" {
			want = metering.Refused
		}
		if units, n := m.sim.Metered(r.Subject, ""); got[r.ID] != want || want == metering.OK && (units != 3 || n != 1) {
			t.Errorf("%s is %s with %d units in %d records, want %s", r.Subject, got[r.ID], units, n, want)
		}
	}
	if st := m.sim.Metering(); st.Calls > mostCalls || st.TooFast > 0 {
		t.Errorf("%d calls, %d too fast, want at most %d", st.Calls, st.TooFast, mostCalls)
	}
}

// TestReportGivesUpOnBadRecords: when most records are bad, what is not tried
// is not taken, and the next report goes on.
func TestReportGivesUpOnBadRecords(t *testing.T) {
	t.Parallel()
	m := startMeter(t, 1, at, nil)
	m.faults(t, huaweisim.MeteringFaults{Validation: "batch"})
	var records []metering.Record
	for i := range 100 {
		records = append(records, record(fmt.Sprint("nobody-", i), hour, 3))
	}
	got := verdicts(t, records, m.meter.Report(t.Context(), records))
	refused, calls := 0, m.sim.Metering().Calls
	for _, v := range got {
		if v == metering.Refused {
			refused++
		} else if v != metering.NotTaken {
			t.Errorf("a record nobody looked at is %s, want %s", v, metering.NotTaken)
		}
	}
	if calls != mostCalls || refused == 0 {
		t.Errorf("%d calls refused %d records, want %d calls and some", calls, refused, mostCalls)
	}
}

// TestReportWhenTheNetworkFails: only a call that surely was not sent is not
// taken.
func TestReportWhenTheNetworkFails(t *testing.T) {
	t.Parallel()
	r := []metering.Record{record("inst-1", hour, 5)}
	down := httptest.NewServer(nil)
	down.Close()
	ended, end := context.WithCancel(t.Context())
	end()
	waiting, leave := context.WithCancel(t.Context())
	slow := func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // else the server does not see the caller leave
		leave()
		<-r.Context().Done()
	}
	tests := []struct {
		name  string
		ctx   context.Context
		meter *Meter
		want  metering.Verdict
	}{
		{"Down", t.Context(), open(t, map[string]any{"endpoint": down.URL}).Meter.(*Meter), metering.NotTaken},
		{"Ended", ended, stub(t, says(200, `{"error_code":"MKT.0000"}`)), metering.NotTaken},
		{"Cut", t.Context(), stub(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), metering.MaybeTaken},
		{"Slow", waiting, stub(t, slow), metering.MaybeTaken},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := tt.meter.Report(tt.ctx, r)
			if v := verdicts(t, r, got)[r[0].ID]; v != tt.want {
				t.Errorf("Report(%s) = %v, want %s", tt.name, got, tt.want)
			}
		})
	}
}

// roundTrip is a transport.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestReportSurvivesAPanic(t *testing.T) {
	t.Parallel()
	m := testMeter(t)
	m.api.transport = roundTrip(func(*http.Request) (*http.Response, error) { panic("sk=" + testSK) })
	r := []metering.Record{record("inst-1", hour, 5)}
	if got := verdicts(t, r, m.Report(t.Context(), r)); got[r[0].ID] != metering.NotTaken {
		t.Errorf("Report(panic before a connection) = %v, want %s", got, metering.NotTaken)
	}
}

// TestReportFallsBack: the second address is tried if nothing was sent to the
// first, and only then.
func TestReportFallsBack(t *testing.T) {
	t.Parallel()
	r := []metering.Record{record("inst-1", hour, 5)}
	down := httptest.NewServer(nil)
	down.Close()
	m := stub(t, says(200, `{"error_code":"MKT.0000"}`))
	up := m.api.endpoints[0]
	m.api.endpoints = []string{down.URL, up}
	if got := verdicts(t, r, m.Report(t.Context(), r)); got[r[0].ID] != metering.OK {
		t.Errorf("Report(first address down) = %v, want ok", got)
	}
	cut := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer cut.Close()
	m.api.endpoints = []string{cut.URL, up}
	if got := verdicts(t, r, m.Report(t.Context(), r)); got[r[0].ID] != metering.MaybeTaken {
		t.Errorf("Report(answer lost) = %v, want %s", got, metering.MaybeTaken)
	}
}

// TestReportConcurrently: one meter serves many reports at once.
func TestReportConcurrently(t *testing.T) {
	t.Parallel()
	m := startMeter(t, 1, at, map[string]any{"batch": 5, "rate": 50})
	ids := m.adopt(40, hour)
	var wg sync.WaitGroup
	for batch := range slices.Chunk(ids, 5) {
		wg.Go(func() {
			var records []metering.Record
			for _, id := range batch {
				records = append(records, record(id, hour, 2))
			}
			for id, v := range verdicts(t, records, m.meter.Report(t.Context(), records)) {
				if v != metering.OK {
					t.Errorf("Report(%s) = %s, want ok", id, v)
				}
			}
		})
	}
	wg.Wait()
	if st := m.sim.Metering(); len(st.Totals) != 40 || st.Calls != 8 {
		t.Errorf("%d instances in %d calls, want 40 in 8", len(st.Totals), st.Calls)
	}
}

// TestPacer: calls are kept apart whoever makes them, a clock that stands still
// does not make them wait longer and longer, and who gives up blocks nobody.
func TestPacer(t *testing.T) {
	t.Parallel()
	c := &clock{at: at}
	p := newPacer(time.Second, c.now)
	p.sleep = c.sleep
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if err := p.await(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := c.now().Sub(at); got != 9*time.Second {
		t.Errorf("10 calls took %s, want 9s", got)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := p.await(ended); err == nil {
		t.Error("await(ended) = nil, want an error")
	}
	p.sleep = func(_ context.Context, d time.Duration) error { // and the clock stands still
		if d > time.Second {
			t.Errorf("await() waits %s, want at most 1s", d)
		}
		return nil
	}
	for range 5 {
		if err := p.await(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func FuzzParseAbnormal(f *testing.F) {
	f.Add(`{"error_code":"MKT.0000","abnormal_usage_data_info":{"abnormal_usage_data":[{"metering_sn":"sn-1","error_code":"005"}]}}`)
	f.Add(`{"abnormalUsageData":[{"usage_data":{"meteringSn":1},"code":null}]}`)
	f.Fuzz(func(t *testing.T, body string) {
		list, err := parseAbnormal([]byte(body))
		if err != nil && len(list) > 0 {
			t.Errorf("parseAbnormal(%q) = %v beside %v", body, list, err)
		}
	})
}

// BenchmarkReport measures everything but the network.
func BenchmarkReport(b *testing.B) {
	m := testMeter(b)
	m.pace.apart = 0
	m.api.transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		_, err := io.Copy(io.Discard, r.Body)
		return &http.Response{
			StatusCode: http.StatusOK, Header: http.Header{}, Request: r,
			Body: io.NopCloser(strings.NewReader(`{"error_code":"MKT.0000","error_msg":"success"}`)),
		}, err
	})
	records := make([]metering.Record, m.Terms().Batch)
	for i := range records {
		records[i] = record(fmt.Sprintf("7f141bf1-aec8-4859-8323-%012d", i), hour, 12_345)
	}
	b.ReportAllocs()
	for b.Loop() {
		if got := m.Report(b.Context(), records); got[0].Verdict != metering.OK {
			b.Fatal(got[0])
		}
	}
	b.ReportMetric(float64(b.N*len(records))/b.Elapsed().Seconds(), "records/s")
}
