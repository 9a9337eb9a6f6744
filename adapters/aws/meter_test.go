package aws_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloudsettle/adapters/aws"
	"cloudsettle/adapters/aws/awssim"
	"cloudsettle/core/metering"
)

var (
	noon = time.Date(2026, 8, 27, 12, 0, 0, 0, time.UTC)
	hour = noon.Add(-time.Hour) // whose usage is reported at noon
)

// awake is a time after which the usage of hour may be reported.
func awake(tb testing.TB, change map[string]any) *world {
	tb.Helper()
	w := newWorld(tb, 1, noon.Add(-8*time.Hour), change)
	return w
}

func TestReportIsBilledOnce(t *testing.T) {
	t.Parallel()
	w := awake(t, nil)
	a := w.buy(t, 1)
	w.advance(8 * time.Hour)
	r := usage(a, hour, 7)
	first := only(t, w.meter, r)
	if first.Verdict != metering.OK || first.ProviderID == "" {
		t.Fatalf("Report() = %+v, want ok with AWS's id", first)
	}
	if again := only(t, w.meter, r); again.Verdict != metering.OK || again.ProviderID != first.ProviderID {
		t.Errorf("Report() again = %+v, want ok with the id %s", again, first.ProviderID)
	}
	if units, records := w.Metered(a.License, dimension); units != 7 || records != 1 {
		t.Errorf("AWS has %d units in %d records, want 7 in one", units, records)
	}
	if got := w.Metering().Violations; len(got) > 0 {
		t.Errorf("Report() breaks AWS's rules: %v", got)
	}
}

// What AWS answers about a record becomes a verdict, and only Success is one of
// success: other answers have been booked as remitted elsewhere.
func TestReportMapsEveryStatus(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		fault  func(*awssim.MeteringFaults)
		want   metering.Verdict
		onFile bool
	}{
		{"Success", func(*awssim.MeteringFaults) {}, metering.OK, true},
		{"a status that is new", func(f *awssim.MeteringFaults) { f.UnknownStatus = 1 }, metering.MaybeTaken, true},
		{"no result", func(f *awssim.MeteringFaults) { f.Forget = 1 }, metering.MaybeTaken, true},
		{"unprocessed", func(f *awssim.MeteringFaults) { f.Unprocessed = 1 }, metering.NotTaken, false},
		{"throttled", func(f *awssim.MeteringFaults) { f.Throttle = 1 }, metering.Throttled, false},
		{"500 before", func(f *awssim.MeteringFaults) { f.Fail = 1 }, metering.MaybeTaken, false},
		{"500 after", func(f *awssim.MeteringFaults) { f.FailAfter = 1 }, metering.MaybeTaken, true},
		{"a lost reply", func(f *awssim.MeteringFaults) { f.LoseReply = 1 }, metering.MaybeTaken, true},
		{"an outage", func(f *awssim.MeteringFaults) { f.OutageSeconds = 60 }, metering.MaybeTaken, false},
	} {
		w := awake(t, nil)
		a := w.buy(t, 1)
		w.advance(8 * time.Hour)
		w.SetMetering(c.fault)
		got := only(t, w.meter, usage(a, hour, 7))
		if _, records := w.Metered(a.License, dimension); got.Verdict != c.want || (records == 1) != c.onFile {
			t.Errorf("%s: Report() = %+v with %d records on file, want %s", c.name, got, records, c.want)
		}
		if (got.Detail == "") != (c.want == metering.OK) {
			t.Errorf("%s: Report() explains itself as %q", c.name, got.Detail)
		}
		if calls := w.Metering().Calls; calls != 1 {
			t.Errorf("%s: %d calls, want one: nothing but core repeats", c.name, calls)
		}
	}
}

func TestReportTellsDuplicates(t *testing.T) {
	t.Parallel()
	w := awake(t, nil)
	a := w.buy(t, 1)
	w.advance(8 * time.Hour)
	only(t, w.meter, usage(a, hour, 7))
	if got := only(t, w.meter, usage(a, hour, 8)); got.Verdict != metering.Duplicate {
		t.Errorf("Report() of another quantity = %+v, want duplicate", got)
	}
	w.SetMetering(func(f *awssim.MeteringFaults) { f.DuplicateForIdentical = true })
	if got := only(t, w.meter, usage(a, hour, 7)); got.Verdict != metering.Duplicate {
		t.Errorf("Report() of the same = %+v, want duplicate", got)
	}
	if units, _ := w.Metered(a.License, dimension); units != 7 {
		t.Errorf("AWS has %d units, want the first 7", units)
	}
}

func TestReportTellsWhoIsNotSubscribed(t *testing.T) {
	t.Parallel()
	w := awake(t, nil)
	a, b := w.buy(t, 1), w.buy(t, 2)
	w.advance(7 * time.Hour)
	if _, err := w.Do("unsubscribe", map[string]string{"license": a.License}); err != nil {
		t.Fatal(err)
	}
	w.advance(59*time.Minute + 59*time.Second)
	got := report(t, w.meter, usage(a, hour, 1), usage(b, hour, 2))
	for id, r := range got {
		if r.Verdict != metering.OK {
			t.Errorf("within the last hour: %s = %+v, want ok", id, r)
		}
	}
	w.advance(2 * time.Second)
	late, other := usage(a, hour.Add(-time.Hour), 1), usage(b, hour.Add(-time.Hour), 2)
	got = report(t, w.meter, late, other)
	if r := got[late.ID]; r.Verdict != metering.NotActive || r.RetryAfter < time.Minute {
		t.Errorf("after the last hour: %+v, want not_active, and no hurry", r)
	}
	if got[other.ID].Verdict != metering.OK {
		t.Errorf("another agreement of the same account = %+v, want ok", got[other.ID])
	}
}

// Answers are matched by key: whatever order results come in, each record gets
// its own.
func TestReportMatchesShuffledResults(t *testing.T) {
	t.Parallel()
	w := awake(t, nil)
	var records []metering.Record
	for n := range 24 {
		a := w.buy(t, n)
		records = append(records, usage(a, hour, int64(n)))
	}
	ghost := w.buy(t, 30)
	w.advance(8 * time.Hour)
	ghost.Account = "999999999999"
	records = append(records, usage(ghost, hour, 5))
	w.SetMetering(func(f *awssim.MeteringFaults) { f.Shuffle, f.Unprocessed = true, 3 })
	got := report(t, w.meter, records...)
	ids := map[string]metering.RecordID{}
	for _, e := range w.Metering().Entries {
		ids[e.ID] = metering.RecordID(e.Subject + "@" + e.Hour.Format("02T15"))
	}
	for i, r := range records {
		want := metering.OK
		switch {
		case i < 3:
			want = metering.NotTaken
		case r.Account == ghost.Account:
			want = metering.NotActive
		}
		if v := got[r.ID]; v.Verdict != want || want == metering.OK && ids[v.ProviderID] != r.ID {
			t.Errorf("record %d: %+v, want %s with its own id", i, v, want)
		}
	}
}

// One record that AWS refuses takes its whole call down; the others must not
// wait for it.
func TestReportFindsTheBadRecords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		bad   []int
		calls int
	}{
		{[]int{}, 1}, {[]int{0}, 11}, {[]int{12}, 11}, {[]int{24}, 11}, {[]int{3, 4}, 15}, {[]int{1, 9, 17, 24}, 33},
		{[]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24}, 49},
	} {
		w := awake(t, nil)
		var records []metering.Record
		for n := range 25 {
			a := w.buy(t, n)
			if slices.Contains(c.bad, n) {
				a.License += "ff" // nobody's
			}
			records = append(records, usage(a, hour, 1))
		}
		w.advance(8 * time.Hour)
		got := report(t, w.meter, records...)
		for i, r := range records {
			want := metering.OK
			if slices.Contains(c.bad, i) {
				want = metering.Refused
			}
			if got[r.ID].Verdict != want {
				t.Errorf("%d is bad: record %d = %+v, want %s", c.bad, i, got[r.ID], want)
			}
		}
		truth := w.Metering()
		if truth.Calls > c.calls || len(truth.Violations) > 0 {
			t.Errorf("%d is bad: %d calls, %v, want %d and none", c.bad, truth.Calls, truth.Violations, c.calls)
		}
	}
}

// A fault in the middle of the search ends it: what was not sent was not sent.
func TestReportStopsSearchingInTrouble(t *testing.T) {
	t.Parallel()
	w := awake(t, nil)
	records := make([]metering.Record, 0, 8)
	for n := range 8 {
		a := w.buy(t, n)
		if n == 7 {
			a.License += "ff"
		}
		records = append(records, usage(a, hour, 1))
	}
	w.advance(8 * time.Hour)
	ctx, stop := context.WithCancel(t.Context())
	calls := 0
	s := settings(t, map[string]any{"model": "subscription", "endpoint": w.url})
	s.Now = w.Now
	m, err := aws.OpenMeter(s, 0, func(ctx context.Context, d time.Duration) error {
		w.advance(d)
		if calls++; calls == 2 { // the first half was taken
			stop()
		}
		return ctx.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	got := map[metering.Verdict]int{}
	for _, r := range m.Report(ctx, records) {
		got[r.Verdict]++
	}
	if got[metering.OK] != 4 || got[metering.NotTaken] != 4 {
		t.Errorf("Report() that is given up = %v, want 4 ok and 4 not_taken", got)
	}
}

// Throttled in the middle of the search, the rest is not sent either.
func TestReportStopsSearchingWhenThrottled(t *testing.T) {
	t.Parallel()
	w := awake(t, nil)
	var records []metering.Record
	for n := range 8 {
		a := w.buy(t, n)
		if n == 0 {
			a.License += "ff"
		}
		records = append(records, usage(a, hour, 1))
	}
	w.advance(8 * time.Hour)
	s := settings(t, map[string]any{"model": "subscription", "endpoint": w.url})
	s.Now = w.Now
	m, err := aws.OpenMeter(s, 0, func(context.Context, time.Duration) error {
		w.SetMetering(func(f *awssim.MeteringFaults) { f.Throttle = 1 })
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	got := report(t, m, records...)
	for i, r := range records {
		want := metering.NotTaken
		if i < 4 {
			want = metering.Throttled
		}
		if got[r.ID].Verdict != want {
			t.Errorf("record %d = %+v, want %s", i, got[r.ID], want)
		}
	}
	if truth := w.Metering(); truth.Calls != 2 || len(truth.Entries) != 0 {
		t.Errorf("%d calls and %d entries, want 2 and none", truth.Calls, len(truth.Entries))
	}
}

// wireCall is what AWS is sent.
type wireCall struct {
	ProductCode  *string
	UsageRecords []map[string]any
}

// answering opens a meter whose AWS is h, and returns what it was sent.
func answering(tb testing.TB, change map[string]any, h http.HandlerFunc) (*world, func() []wireCall) {
	tb.Helper()
	var mu sync.Mutex
	var calls []wireCall
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var c wireCall
		if err := json.Unmarshal(body, &c); err != nil {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		mu.Lock()
		calls = append(calls, c)
		mu.Unlock()
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		h(w, r)
	}))
	tb.Cleanup(srv.Close)
	w := &world{clock: &clock{now: noon}, server: srv, url: srv.URL}
	s := settings(tb, merged(map[string]any{"model": "subscription", "endpoint": srv.URL}, change))
	s.Now = w.Now
	w.meter = w.open(tb, s, 0)
	return w, func() []wireCall {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(calls)
	}
}

var someone = awssim.Agreement{License: "l-51b9c48f8e8847cb9d1c8f4708155afc", Account: "000000000042"}

// Every error of a call, and whatever else may come back, means what it means:
// nothing of it is ever a success.
func TestReportMapsEveryError(t *testing.T) {
	t.Parallel()
	const secret = "the key AKIDEXAMPLE of https://example.com?X-Amz-Signature=0a"
	fault := func(code string) string {
		return fmt.Sprintf(`{"__type":"com.amazonaws.x#%s","message":%q}`, code, secret)
	}
	for _, c := range []struct {
		status int
		body   string
		want   metering.Verdict
	}{
		{400, fault("ThrottlingException"), metering.Throttled},
		{429, `slow down`, metering.Throttled},
		{400, fault("TimestampOutOfBoundsException"), metering.OutOfTime},
		{400, fault("InvalidUsageDimensionException"), metering.Refused},
		{400, fault("InvalidLicenseException"), metering.Refused},
		{400, fault("InvalidCustomerIdentifierException"), metering.Refused},
		{400, fault("InvalidTagException"), metering.Refused},
		{400, fault("InvalidUsageAllocationsException"), metering.Refused},
		{400, fault("ValidationException"), metering.Refused},
		{400, fault("SerializationException"), metering.Refused},
		{400, fault("InvalidProductCodeException"), metering.NotTaken},
		{400, fault("DisabledApiException"), metering.NotTaken},
		{400, fault("AccessDeniedException"), metering.NotTaken},
		{403, fault("ExpiredTokenException"), metering.NotTaken},
		{400, fault("UnrecognizedClientException"), metering.NotTaken},
		{403, fault("InvalidSignatureException"), metering.NotTaken},
		{500, fault("InternalServiceErrorException"), metering.MaybeTaken},
		{400, fault("InternalServiceErrorException"), metering.MaybeTaken},
		{503, fault("ServiceUnavailable"), metering.MaybeTaken},
		{502, `<html>a gateway</html>`, metering.MaybeTaken},
		{400, fault("Success"), metering.MaybeTaken},
		{400, fault("PonderedException"), metering.MaybeTaken},
		{403, `<html>a proxy</html>`, metering.MaybeTaken},
		{302, ``, metering.MaybeTaken},
		{200, `<html>hello</html>`, metering.MaybeTaken},
		{200, ``, metering.MaybeTaken},
		{200, `{}`, metering.MaybeTaken},
		{200, `{"Results":null,"UnprocessedRecords":null}`, metering.MaybeTaken},
		{200, `{"Results":[{"Status":"Success"}]}`, metering.MaybeTaken},
		{200, `{"Results":[{"Status":"Success","UsageRecord":{}}]}`, metering.MaybeTaken},
		{200, `{"Results":[{"Status":"Success","UsageRecord":{"Dimension":"other","Quantity":7}}]}`, metering.MaybeTaken},
		{200, `{"Results":"all"}`, metering.MaybeTaken},
	} {
		w, calls := answering(t, nil, func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(c.status)
			_, _ = io.WriteString(rw, c.body)
		})
		got := only(t, w.meter, usage(someone, hour, 7))
		if got.Verdict != c.want || got.Detail == "" {
			t.Errorf("%d %s: Report() = %+v, want %s and why", c.status, c.body, got, c.want)
		}
		for _, leak := range []string{"AKID", "http", "Signature=", "127.0.0.1", "example.com"} {
			if strings.Contains(got.Detail, leak) {
				t.Errorf("%d %s: Report() tells %q", c.status, c.body, got.Detail)
			}
		}
		if n := len(calls()); n != 1 {
			t.Errorf("%d %s: %d calls, want one", c.status, c.body, n)
		}
	}
}

// An answer about another quantity than was sent is not ours, whatever it says.
func TestReportComparesQuantities(t *testing.T) {
	t.Parallel()
	for _, status := range []string{"Success", "DuplicateRecord"} {
		w, _ := answering(t, nil, func(rw http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(rw, `{"Results":[{"Status":%q,"UsageRecord":{"CustomerAWSAccountId":"000000000042",
				"Dimension":"usage_fee","LicenseArn":%q,"Quantity":6,"Timestamp":%d}}]}`, status, arnOf(someone.License), hour.Unix())
		})
		if got := only(t, w.meter, usage(someone, hour, 7)); got.Verdict != metering.Different {
			t.Errorf("%s of 6 units instead of 7 = %+v, want different", status, got)
		}
	}
}

// A license and a product code never come together: AWS bills both.
func TestReportNamesTheBuyerInOneWay(t *testing.T) {
	t.Parallel()
	empty := func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, `{}`) }
	named := func(change func(*metering.Record)) metering.Record {
		r := usage(someone, hour, 7)
		r.Attributes["customer_identifier"] = "X01EXAMPLEX"
		change(&r)
		return r
	}
	unchanged := func(*metering.Record) {}
	for _, c := range []struct {
		name, identity string
		change         func(*metering.Record)
		want           string
	}{
		{"a license", "license", unchanged, `{"ProductCode":null,"UsageRecords":[{"CustomerAWSAccountId":"000000000042",` +
			`"Dimension":"usage_fee","LicenseArn":"` + arnOf(someone.License) + `","Quantity":7,"Timestamp":1787828400}]}`},
		{"a license in the spelling of events", "license", func(r *metering.Record) {
			r.Attributes["license_arn_as_sent"] = "aws:license-manager:us-east-1:294406891311:" + someone.License
			delete(r.Attributes, "license_arn")
		}, `{"ProductCode":null,"UsageRecords":[{"CustomerAWSAccountId":"000000000042","Dimension":"usage_fee","LicenseArn":"` +
			arnOf(someone.License) + `","Quantity":7,"Timestamp":1787828400}]}`},
		{"a customer", "customer", unchanged, `{"ProductCode":"` + productCode + `","UsageRecords":[{` +
			`"CustomerIdentifier":"X01EXAMPLEX","Dimension":"usage_fee","Quantity":7,"Timestamp":1787828400}]}`},
		{"a customer's account", "customer", func(r *metering.Record) { delete(r.Attributes, "customer_identifier") },
			`{"ProductCode":"` + productCode + `","UsageRecords":[{"CustomerAWSAccountId":"000000000042",` +
				`"Dimension":"usage_fee","Quantity":7,"Timestamp":1787828400}]}`},
		{"nothing used", "license", func(r *metering.Record) { r.Units = 0 }, `{"ProductCode":null,"UsageRecords":[{` +
			`"CustomerAWSAccountId":"000000000042","Dimension":"usage_fee","LicenseArn":"` + arnOf(someone.License) +
			`","Quantity":0,"Timestamp":1787828400}]}`},
	} {
		w, calls := answering(t, map[string]any{"identity": c.identity}, empty)
		only(t, w.meter, named(c.change))
		if got := calls(); len(got) != 1 || encode(t, got[0]) != c.want {
			t.Errorf("%s: Report() sends %s, want %s", c.name, encode(t, got), c.want)
		}
	}
}

// What AWS would refuse is refused here, and takes nothing else down.
func TestReportChecksRecordsItself(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*metering.Record)
		want   metering.Verdict
	}{
		{"another listing", func(r *metering.Record) { r.Listing = "ali-cn" }, metering.Refused},
		{"another product", func(r *metering.Record) { r.Attributes["product_code"] = "other" }, metering.Refused},
		{"no dimension", func(r *metering.Record) { r.Dimension = "" }, metering.Refused},
		{"a long dimension", func(r *metering.Record) { r.Dimension = strings.Repeat("d", 256) }, metering.Refused},
		{"negative units", func(r *metering.Record) { r.Units = -1 }, metering.Refused},
		{"too many units", func(r *metering.Record) { r.Units = math.MaxInt32 + 1 }, metering.Refused},
		{"far too many units", func(r *metering.Record) { r.Units = 1<<32 + 1 }, metering.Refused},
		{"half an hour", func(r *metering.Record) { r.PeriodStart = hour.Add(-30 * time.Minute) }, metering.Refused},
		{"no license", func(r *metering.Record) { delete(r.Attributes, "license_arn") }, metering.Refused},
		{"no ARN", func(r *metering.Record) { r.Attributes["license_arn"] = "l-" + "\n" }, metering.Refused},
		{"a long ARN", func(r *metering.Record) {
			r.Subject = "l-" + strings.Repeat("0", 1024)
			r.Attributes["license_arn"] = arnOf(r.Subject)
		}, metering.Refused},
		{"another subscription's license", func(r *metering.Record) { r.Subject = "l-1" }, metering.Refused},
		{"no account", func(r *metering.Record) { r.Account = "" }, metering.Refused},
		{"an account with letters", func(r *metering.Record) { r.Account = "12345678901x" }, metering.Refused},
		{"too old", func(r *metering.Record) { r.PeriodStart = noon.Add(-24 * time.Hour) }, metering.OutOfTime},
		{"of the future", func(r *metering.Record) { r.PeriodStart = noon.Add(time.Hour) }, metering.NotTaken},
		{"the same twice", func(r *metering.Record) {
			r.Attributes["license_arn"], r.Subject, r.ID = arnOf("l-1"), "l-1", "again"
		}, metering.Refused},
	} {
		w, calls := answering(t, nil, func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, `{}`) })
		good, bad := usage(someone, hour, 7), usage(someone, hour, 7)
		good.Subject, good.Attributes["license_arn"], good.ID = "l-1", arnOf("l-1"), "good"
		c.change(&bad)
		got := report(t, w.meter, good, bad)[bad.ID]
		if got.Verdict != c.want || got.Detail == "" {
			t.Errorf("%s: Report() = %+v, want %s and why", c.name, got, c.want)
		}
		if sent := calls(); len(sent) != 1 || len(sent[0].UsageRecords) != 1 {
			t.Errorf("%s: Report() sends %s, want the good record alone", c.name, encode(t, sent))
		}
	}
}

func TestReportSendsNoMoreThanACallMayHave(t *testing.T) {
	t.Parallel()
	w := awake(t, nil)
	var records []metering.Record
	for n := range 30 {
		records = append(records, usage(w.buy(t, n), hour, 1))
	}
	w.advance(8 * time.Hour)
	count := map[metering.Verdict]int{}
	for _, r := range report(t, w.meter, records...) {
		count[r.Verdict]++
	}
	if count[metering.OK] != 25 || count[metering.NotTaken] != 5 {
		t.Errorf("Report() of 30 = %v, want 25 ok and 5 not_taken", count)
	}
	if got := w.meter.Report(t.Context(), nil); len(got) != 0 || w.Metering().Calls != 1 {
		t.Errorf("Report() of nothing = %v, want no call", got)
	}
}

// What surely was not sent is not taken; what may have been, may.
func TestReportKnowsWhetherItWasSent(t *testing.T) {
	t.Parallel()
	w := awake(t, nil)
	r := usage(w.buy(t, 1), hour, 7)
	w.advance(8 * time.Hour)
	s := settings(t, map[string]any{"model": "subscription", "endpoint": w.url})
	s.Now = w.Now

	w.SetMetering(func(f *awssim.MeteringFaults) { f.SlowMillis = 60_000 })
	begun := time.Now()
	got := only(t, w.open(t, s, 50*time.Millisecond), r)
	if took := time.Since(begun); got.Verdict != metering.MaybeTaken || took > 20*time.Second {
		t.Errorf("Report() to a slow service = %+v after %s, want maybe within 50 ms", got, took)
	}
	w.SetMetering(func(f *awssim.MeteringFaults) { f.SlowMillis = 0 })
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if got := w.meter.Report(gone, []metering.Record{r}); got[0].Verdict != metering.NotTaken {
		t.Errorf("Report() after the end = %+v, want not_taken", got)
	}
	for sent, want := range map[bool]metering.Verdict{true: metering.MaybeTaken, false: metering.NotTaken} {
		m := w.open(t, s, 0)
		aws.BreakMeter(m, sent)
		if got := only(t, m, r); got.Verdict != want || strings.Contains(got.Detail, "secret") {
			t.Errorf("Report() with a panic, sent %t = %+v, want %s", sent, got, want)
		}
	}
	w.server.Close()
	if got := only(t, w.meter, r); got.Verdict != metering.NotTaken {
		t.Errorf("Report() to nobody = %+v, want not_taken", got)
	}
}

func TestReportsMayRunTogether(t *testing.T) {
	t.Parallel()
	w := awake(t, nil)
	agreements := make([]awssim.Agreement, 8)
	for n := range agreements {
		agreements[n] = w.buy(t, n)
	}
	w.advance(8 * time.Hour)
	var wg sync.WaitGroup
	for n, a := range agreements {
		wg.Go(func() {
			for _, r := range w.meter.Report(t.Context(), []metering.Record{usage(a, hour, int64(n))}) {
				if r.Verdict != metering.OK {
					t.Errorf("Report() of %d = %+v, want ok", n, r)
				}
			}
		})
	}
	wg.Wait()
	if got := w.Metering(); len(got.Entries) != len(agreements) || len(got.Violations) > 0 {
		t.Errorf("AWS has %d entries and %v, want %d and nothing", len(got.Entries), got.Violations, len(agreements))
	}
}

// A record in doubt is sent again while that tells something.
func TestResolveSendsTheSameWithinItsWindow(t *testing.T) {
	t.Parallel()
	w, _ := answering(t, nil, func(http.ResponseWriter, *http.Request) {})
	r := usage(someone, noon.Add(-23*time.Hour), 7)
	if !w.meter.Resolve(r) {
		t.Error("Resolve() = false within the window, want true")
	}
	w.advance(time.Hour)
	if w.meter.Resolve(r) {
		t.Error("Resolve() = true when the window is closed, want false")
	}
}

func TestOpenMetersWhatIsConfigured(t *testing.T) {
	t.Parallel()
	good := map[string]any{"dimension": "usage_fee", "unit_amount": "0.000001"}
	for _, c := range []struct {
		metering map[string]any
		model    string
		meter    bool
		problem  string
	}{
		{good, "subscription", true, ""},
		{good, "contract_with_consumption", true, ""},
		{good, "contract", false, ""},
		{map[string]any{}, "subscription", false, ""},
		{map[string]any{"dimension": "usage_fee"}, "subscription", false, "metering.unit_amount"},
		{map[string]any{"unit_amount": "1"}, "subscription", false, "metering.dimension"},
		{map[string]any{"window_hours": 6}, "contract", false, "metering.dimension"},
		{merged(good, map[string]any{"unit_amount": "0"}), "subscription", false, "metering.unit_amount"},
		{merged(good, map[string]any{"unit_amount": "-1"}), "subscription", false, "metering.unit_amount"},
		{merged(good, map[string]any{"unit_amount": "0.0000001"}), "subscription", false, "metering.unit_amount"},
		{merged(good, map[string]any{"unit_amount": "1e-2"}), "subscription", false, "metering.unit_amount"},
		{merged(good, map[string]any{"window_hours": 1}), "subscription", false, "metering.window_hours"},
		{merged(good, map[string]any{"window_hours": 25}), "subscription", false, "metering.window_hours"},
		{merged(good, map[string]any{"dimension": strings.Repeat("d", 256)}), "subscription", false, "metering.dimension"},
	} {
		m, err := aws.Open(settings(t, map[string]any{"metering": c.metering, "model": c.model}))
		if (m.Meter != nil) != c.meter || (err == nil) != (c.problem == "") ||
			err != nil && !strings.Contains(err.Error(), c.problem) {
			t.Errorf("Open(%v, %s) has a meter: %t, %v, want %t, %q", c.metering, c.model, m.Meter != nil, err, c.meter, c.problem)
		}
	}
	if _, err := aws.Open(settings(t, map[string]any{"currency": ""})); err == nil {
		t.Error("Open() meters without a currency")
	}
}

func TestTerms(t *testing.T) {
	t.Parallel()
	got := openMeter(t, nil).Terms()
	if got.Dimension != dimension || got.UnitAmount != 10_000 || got.Currency != "USD" || got.Batch != 25 ||
		got.Rate != 10 || got.MaxUnits != math.MaxInt32 || got.FinalWithin != time.Hour || got.SameSubscription {
		t.Errorf("Terms() = %+v", got)
	}
}

func BenchmarkReport(b *testing.B) {
	w, _ := answering(b, nil, func(http.ResponseWriter, *http.Request) {})
	records := make([]metering.Record, 25)
	for n := range records {
		a := someone
		a.License = fmt.Sprintf("l-%032x", n)
		records[n] = usage(a, hour, int64(n))
	}
	b.ReportAllocs()
	for b.Loop() {
		if n := aws.PrepareReport(w.meter, records); n != len(records) {
			b.Fatalf("%d records are ready, want %d", n, len(records))
		}
	}
	b.ReportMetric(float64(b.N*len(records))/b.Elapsed().Seconds(), "records/s")
}

// Our clock may be behind AWS's: usage that is too old there is found, and the
// rest of the call is taken.
func TestReportSurvivesAClockThatIsWrong(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1, noon.Add(-48*time.Hour), nil)
	var records []metering.Record
	for n := range 5 {
		records = append(records, usage(w.buy(t, n), hour, 1))
	}
	records[3].PeriodStart = noon.Add(-24 * time.Hour)
	w.advance(48 * time.Hour)
	s := settings(t, map[string]any{"model": "subscription", "endpoint": w.url})
	s.Now = func() time.Time { return w.Now().Add(-10 * time.Minute) }
	got := report(t, w.open(t, s, 0), records...)
	for i, r := range records {
		want := metering.OK
		if i == 3 {
			want = metering.OutOfTime
		}
		if got[r.ID].Verdict != want {
			t.Errorf("record %d = %+v, want %s", i, got[r.ID], want)
		}
	}
}
