package alibabasim

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"cloudsettle/adapters/internal/sim"
)

// market is a simulator at noon UTC with the instances 1 and 2, and 3 that was
// released at 10:30.
func market(t *testing.T, site, cycle string) *Simulator {
	t.Helper()
	s, err := New(sim.Config{
		Listing: "ali", Now: func() time.Time { return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC) },
		Raw: json.RawMessage(fmt.Sprintf(`{"site":%q,"product_code":"cmgj1","spi_key":"k",
			"metering":{"key":"Unit","assist":"cmgj1-Unit-1","cycle":%q}}`, site, cycle)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	m := s.(*Simulator)
	for n := 1; n <= 3; n++ {
		m.happens(m.compose(createInstance, map[string]string{"orderBizId": fmt.Sprint(n), "expiredOn": removed}))
	}
	m.instances["3"].Status, m.instances["3"].EndedAt = Closed, time.Date(2026, 11, 21, 10, 30, 0, 0, time.UTC)
	other := m.compose(createInstance, map[string]string{"orderBizId": "9", "productCode": "cmgj2"})
	m.happens(other)
	return m
}

// one writes a request of 2015-11-01 about minutes from to to of the day.
func one(instance string, from, to int64, entity string) string {
	midnight := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC).Unix()
	return fmt.Sprintf(`{"InstanceId":%q,"StartTime":"%d","EndTime":%d,"Entities":[%s]}`,
		instance, midnight+60*from, midnight+60*to, entity)
}

const unit = `{"Key":"Unit","Value":"5","meteringAssit":"cmgj1-Unit-1"}`

func all(u []usage) []usage { return u }

// Each rule of the page, by the request that breaks it alone.
func TestPushRefuses(t *testing.T) {
	t.Parallel()
	const bad = "Invalid.Parameter.Metering"
	for _, tc := range []struct {
		name, metering, code string
		status               int
	}{
		{"Good", one("1", 660, 670, unit), "", 0},
		{"NumbersAndTexts", one("1", 660, 670, strings.Replace(unit, `"5"`, "5", 1)), "", 0},
		{"NotJSON", `{`, bad, 500},
		{"Nothing", ``, bad, 500},
		{"NoEntities", one("1", 660, 670, ""), bad, 500},
		{"Fraction", one("1", 660, 670, strings.Replace(unit, `"5"`, "5.5", 1)), bad, 500},
		{"Negative", one("1", 660, 670, strings.Replace(unit, `"5"`, `"-5"`, 1)), bad, 500},
		{"FiveMinutes", one("1", 660, 665, unit), bad, 500},
		{"Backwards", one("1", 670, 660, unit), bad, 500},
		{"Future", one("1", 715, 721, unit), bad, 500},
		{"UnknownKey", one("1", 660, 670, strings.Replace(unit, "Unit", "Ounce", 1)), bad, 500},
		{"NoAssist", one("1", 660, 670, `{"Key":"Unit","Value":"5"}`), bad, 400},
		{"OtherAssist", one("1", 660, 670, strings.Replace(unit, "Unit-1", "Unit-2", 1)), bad, 500},
		{"UnknownInstance", one("7", 660, 670, unit), "Invalid.Parameter.Instance", 500},
		{"OtherProduct", one("9", 660, 670, unit), "Invalid.Parameter", 500},
		{"TooMany", one("1", 660, 670, strings.Repeat(unit+",", 100)+unit), "Metering.Data.Exceeded", 500},
		{"TwiceAtOnce", one("1", 660, 670, unit) + "," + one("1", 670, 680, unit), "Service.Flow.Control", 500},
		{"OneBadOfTwo", one("1", 660, 670, unit) + "," + one("7", 660, 670, unit), "Invalid.Parameter.Instance", 500},
	} {
		s := market(t, "cn", "hourly")
		e := s.push(url.Values{"Version": {apiVersion}, "Metering": {"[" + tc.metering + "]"}}, all)
		got := apiError{}
		if e != nil {
			got = *e
		}
		if got.code != tc.code || got.status != tc.status {
			t.Errorf("%s: push() = %d %s, want %d %s", tc.name, got.status, got.code, tc.status, tc.code)
		}
		units, _ := s.Metered("1", "Unit/cmgj1-Unit-1")
		if want := int64(5); (units == want) != (tc.code == "") {
			t.Errorf("%s: %d units are billed", tc.name, units)
		}
	}
}

// Usage of both APIs is booked alike, a repeat again; the second request of an
// instance within a minute is refused.
func TestPushBooksRepeats(t *testing.T) {
	t.Parallel()
	s := market(t, "intl", "hourly")
	start := time.Date(2026, 11, 21, 11, 0, 0, 0, time.UTC)
	intl := url.Values{
		"Version": {intlVersion}, "GmtCreate": {"2026-11-21 20:00:00"}, "MeteringData.1.InstanceId": {"1"},
		"MeteringData.1.StartTime": {fmt.Sprint(start.UnixMilli())}, "MeteringData.1.MeteringEntity": {`{"Unit":5}`},
		"MeteringData.1.EndTime":        {fmt.Sprint(start.Add(10 * time.Minute).UnixMilli())},
		"MeteringData.1.MeteringAssist": {"cmgj1-Unit-1"},
	}
	if e := s.push(intl, all); e != nil {
		t.Fatal(e)
	}
	if e := s.push(intl, all); e == nil || e.code != "Service.Flow.Control" {
		t.Errorf("push() again = %v, want flow control", e)
	}
	clear(s.metering.lastRequest)
	if e := s.push(url.Values{"Version": {apiVersion}, "Metering": {"[" + one("1", 660, 670, unit) + "]"}}, all); e != nil {
		t.Fatal(e)
	}
	if units, records := s.Metered("1", "Unit/cmgj1-Unit-1"); units != 10 || records != 2 {
		t.Errorf("Metered() = %d, %d, want 10, 2", units, records)
	}
	if n := s.MeteredOf("1", "Unit/cmgj1-Unit-1", start); n != 2 {
		t.Errorf("MeteredOf() = %d, want 2", n)
	}
	intl.Set("GmtCreate", "now")
	if e := s.push(intl, all); e == nil {
		t.Error("push(bad GmtCreate) = nil")
	}
}

// What is late or after the end is taken and not billed; a daily product says
// so when it is late.
func TestPushDoesNotBill(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, cycle, instance string
		from                  int64 // minute of the day, UTC; it is noon
		billed, refused       bool
	}{
		{"Open", "hourly", "1", 660, true, false},
		{"Closed", "hourly", "1", 650, false, false},
		{"DailyOpen", "daily", "1", 10, true, false},
		{"DailyClosed", "daily", "1", -490, false, true},
		{"HourOfTheEnd", "daily", "3", 650, true, false},
		{"AfterTheEnd", "daily", "3", 660, false, false},
	} {
		s := market(t, "cn", tc.cycle)
		e := s.push(url.Values{
			"Version": {apiVersion}, "Metering": {"[" + one(tc.instance, tc.from, tc.from+10, unit) + "]"},
		}, all)
		if _, n := s.Metered(tc.instance, "Unit/cmgj1-Unit-1"); (n == 1) != tc.billed || (e != nil) != tc.refused {
			t.Errorf("%s: push() = %v, %d billed, want billed %t, refused %t", tc.name, e, n, tc.billed, tc.refused)
		}
		if told := len(s.MeteringProblems()) == 1; told == (tc.billed || tc.refused) {
			t.Errorf("%s: problems = %v", tc.name, s.MeteringProblems())
		}
	}
	s := market(t, "cn", "hourly")
	for n, from := range []int64{660, 665} {
		clear(s.metering.lastRequest)
		_ = s.push(url.Values{"Version": {apiVersion}, "Metering": {"[" + one("1", from, from+10, unit) + "]"}}, all)
		if got := len(s.MeteringProblems()); got != n {
			t.Errorf("after period %d: %d problems, want %d for the overlap", n, got, n)
		}
	}
}
