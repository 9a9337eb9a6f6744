package alibaba

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
)

// recorder is an API that answers as told and keeps what it was sent.
type recorder struct {
	mu     sync.Mutex
	sent   []url.Values // query and form of each call
	answer func(n int, v url.Values) (status int, body string)
}

func (h *recorder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	h.mu.Lock()
	h.sent = append(h.sent, r.Form)
	n := len(h.sent)
	h.mu.Unlock()
	status, body := http.StatusOK, `{"Success":true,"RequestId":"req-1"}`
	if h.answer != nil {
		status, body = h.answer(n, r.Form)
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}

// openMeter opens a listing with credentials whose API is h; keys override
// those of its metering, and a key "site" that of the listing.
func openMeter(tb testing.TB, h http.Handler, keys map[string]any) *Meter {
	tb.Helper()
	server := httptest.NewServer(h)
	tb.Cleanup(server.Close)
	return openMeterAt(tb, server.URL, keys)
}

func openMeterAt(tb testing.TB, endpoint string, keys map[string]any) *Meter {
	tb.Helper()
	m := mustOpen(tb, func(c map[string]any, _ *core.Settings) {
		c["access_key_id"], c["access_key_secret"], c["endpoint"] = "test-ak", "test-sk", endpoint
		for k, v := range keys {
			if k == "site" {
				c[k] = v
				continue
			}
			c["metering"].(map[string]any)[k] = v
		}
	})
	return m.Meter.(*Meter)
}

// record returns a good record of instance n at testTime.
func record(n int) metering.Record {
	start := testTime.Truncate(slotWidth).Add(-slotWidth)
	return metering.Record{
		ID: metering.RecordID(fmt.Sprintf("mtr_%d", n)), Listing: "ali-cn", Subject: fmt.Sprint(1000000 + n),
		Subscription: marketplace.SubscriptionID(fmt.Sprintf("sub_%d", n)), Dimension: "Unit/cmgj00012345-Unit-1",
		PeriodStart: start, PeriodEnd: start.Add(slotWidth), Units: 96, UnitAmount: 10_000, Currency: "CNY",
		Deadline: testTime.Add(time.Hour), SealedAt: testTime, Status: metering.Sending, Attempts: 1,
	}
}

func TestTerms(t *testing.T) {
	t.Parallel()
	m := openMeterAt(t, "", map[string]any{"unit_amount": "1.50", "batch": 20})
	want := core.MeterTerms{
		Dimension: "Unit/cmgj00012345-Unit-1", UnitAmount: 1_500_000, Currency: "CNY", Batch: 20,
		SameSubscription: true, Apart: time.Minute, Rate: 10, MaxUnits: 2147483647, FinalWithin: 59 * time.Minute,
	}
	if diff := cmp.Diff(want, m.Terms()); diff != "" {
		t.Errorf("Terms() differs (-want +got):\n%s", diff)
	}
}

// The bytes on the wire, of both APIs, and that a record is the same on every
// attempt, whatever time has passed and whatever the configuration says now.
func TestReportSendsTheSameBytes(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		site string
		keys map[string]any
		want map[string]string
	}{
		{"cn", map[string]any{"assist": "cmgj00012345-Unit-2"}, map[string]string{
			"Action": "PushMeteringData", "Version": "2015-11-01",
			"Metering": `[{"InstanceId":"1000001","StartTime":"1795263600","EndTime":"1795264200",` +
				`"Entities":[{"Key":"Unit","Value":"96","meteringAssit":"cmgj00012345-Unit-1"}]}]`,
		}},
		{"intl", nil, map[string]string{
			"Action": "PushMeteringData", "Version": "2022-12-30", "GmtCreate": "2026-11-21 20:31:00",
			"MeteringData.1.InstanceId": "1000001", "MeteringData.1.StartTime": "1795263600000",
			"MeteringData.1.EndTime": "1795264200000", "MeteringData.1.MeteringEntity": `{"Unit":96}`,
			"MeteringData.1.MeteringAssist": "cmgj00012345-Unit-1",
		}},
	} {
		h := &recorder{}
		m := openMeter(t, h, merge(tc.keys, map[string]any{"site": tc.site}))
		r := record(1)
		for attempt := range 3 {
			m.now = func() time.Time { return testTime.Add(time.Duration(attempt) * time.Minute) }
			r.Attempts, r.SentAt = attempt+1, m.now()
			if got := m.Report(t.Context(), []metering.Record{r}); got[0].Verdict != metering.OK || got[0].ProviderID != "req-1" {
				t.Fatalf("%s: Report() = %+v, want ok", tc.site, got)
			}
		}
		for n, sent := range h.sent {
			got := map[string]string{}
			for k := range sent {
				if !gatewayParams[k] {
					got[k] = sent.Get(k)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: attempt %d differs (-want +got):\n%s", tc.site, n+1, diff)
			}
		}
		if len(h.sent) != 3 {
			t.Errorf("%s: %d calls, want 3", tc.site, len(h.sent))
		}
	}
}

var gatewayParams = map[string]bool{
	"AccessKeyId": true, "Format": true, "RegionId": true, "Signature": true, "SignatureMethod": true,
	"SignatureNonce": true, "SignatureType": true, "SignatureVersion": true, "Timestamp": true,
}

// A product without billing items sends none.
func TestReportWithoutAssist(t *testing.T) {
	t.Parallel()
	h := &recorder{}
	m := openMeter(t, h, map[string]any{"assist": "", "without_assist": true})
	r := record(1)
	r.Dimension = m.Terms().Dimension
	m.Report(t.Context(), []metering.Record{r})
	if len(h.sent) != 1 || strings.Contains(h.sent[0].Get("Metering"), "Assit") || r.Dimension != "Unit" {
		t.Errorf("Report() of %q sent %v, want no meteringAssit", r.Dimension, h.sent)
	}
}

// What the marketplace would refuse, or take and not bill, is not sent at all.
func TestReportChecksRecords(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*metering.Record)
		want   metering.Verdict
		wait   time.Duration
	}{
		"OtherListing": {func(r *metering.Record) { r.Listing = "other" }, metering.Refused, 0},
		"OtherProduct": {func(r *metering.Record) {
			r.Attributes = map[string]string{"product_code": "cmgj1"}
		}, metering.Refused, 0},
		"NoDimension":   {func(r *metering.Record) { r.Dimension = "" }, metering.Refused, 0},
		"BadKey":        {func(r *metering.Record) { r.Dimension = "Ounce/x" }, metering.Refused, 0},
		"EmptyAssist":   {func(r *metering.Record) { r.Dimension = "Unit/" }, metering.Refused, 0},
		"BadAssist":     {func(r *metering.Record) { r.Dimension = `Unit/"` }, metering.Refused, 0},
		"NoInstance":    {func(r *metering.Record) { r.Subject = "" }, metering.Refused, 0},
		"BadInstance":   {func(r *metering.Record) { r.Subject = "1&2" }, metering.Refused, 0},
		"LongInstance":  {func(r *metering.Record) { r.Subject = strings.Repeat("1", maxID+1) }, metering.Refused, 0},
		"NegativeUnits": {func(r *metering.Record) { r.Units = -1 }, metering.Refused, 0},
		"TooManyUnits":  {func(r *metering.Record) { r.Units = maxUnits + 1 }, metering.Refused, 0},
		"FiveMinutes":   {func(r *metering.Record) { r.PeriodEnd = r.PeriodStart.Add(minWidth) }, metering.Refused, 0},
		"Backwards":     {func(r *metering.Record) { r.PeriodEnd = r.PeriodStart.Add(-time.Hour) }, metering.Refused, 0},
		"Fraction":      {func(r *metering.Record) { r.PeriodStart = r.PeriodStart.Add(-1) }, metering.Refused, 0},
		"NotOver": {func(r *metering.Record) {
			r.PeriodEnd = testTime.Add(7 * time.Second)
		}, metering.NotTaken, 7 * time.Second},
		"Late": {func(r *metering.Record) {
			r.PeriodStart = testTime.Add(-2 * time.Hour)
			r.PeriodEnd = r.PeriodStart.Add(slotWidth)
		}, metering.OutOfTime, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &recorder{}
			m := openMeter(t, h, nil)
			r := record(1)
			tc.change(&r)
			got := m.Report(t.Context(), []metering.Record{r})
			if len(got) != 1 || got[0].Verdict != tc.want || got[0].RetryAfter != tc.wait || got[0].Detail == "" || got[0].Record != r.ID {
				t.Errorf("Report() = %+v, want %s after %s with a reason", got, tc.want, tc.wait)
			}
			if len(h.sent) != 0 {
				t.Errorf("Report() sent %v, want nothing", h.sent)
			}
		})
	}
	h := &recorder{}
	m := openMeter(t, h, nil)
	good := record(1)
	good.Attributes = map[string]string{"product_code": "cmgj00012345"}
	good.Units, good.PeriodEnd = 0, good.PeriodStart.Add(minWidth+time.Second)
	if got := m.Report(t.Context(), []metering.Record{good}); got[0].Verdict != metering.OK {
		t.Errorf("Report(at the limits) = %+v, want ok", got)
	}
}

// The last moment to send is well before the window closes: a call that is
// under way when it does is answered with success and not billed.
func TestReportStopsBeforeTheWindowCloses(t *testing.T) {
	t.Parallel()
	r := record(1) // 12:20, taken until 13:59
	last := time.Date(2026, 11, 21, 13, 59, 0, 0, time.UTC).Add(-sendMargin)
	for _, tc := range []struct {
		now  time.Time
		want metering.Verdict
	}{
		{last.Add(-time.Second), metering.OK}, {last.Add(-1), metering.OK}, {last, metering.OutOfTime},
		{last.Add(1), metering.OutOfTime}, {last.Add(8 * time.Hour), metering.OutOfTime},
	} {
		h := &recorder{}
		m := openMeter(t, h, nil)
		m.now = func() time.Time { return tc.now }
		if got := m.Report(t.Context(), []metering.Record{r}); got[0].Verdict != tc.want {
			t.Errorf("Report() at %s = %+v, want %s", tc.now, got, tc.want)
		}
	}
	if sendMargin <= callTimeout {
		t.Errorf("sendMargin = %s, want more than a call takes", sendMargin)
	}
}

// One request of an instance a minute: two records of one do not share a call.
// More than a call may have are not sent either.
func TestReportKeepsToTheLimits(t *testing.T) {
	t.Parallel()
	h := &recorder{}
	m := openMeter(t, h, map[string]any{"batch": 3})
	records := []metering.Record{record(1), record(2), record(1), record(3), record(4)}
	records[2].ID, records[2].PeriodStart = "mtr_1b", records[2].PeriodStart.Add(-slotWidth)
	got := map[metering.RecordID]metering.Verdict{}
	for _, v := range m.Report(t.Context(), records) {
		got[v.Record] = v.Verdict
	}
	want := map[metering.RecordID]metering.Verdict{
		"mtr_1": metering.OK, "mtr_2": metering.OK, "mtr_3": metering.OK,
		"mtr_1b": metering.Throttled, "mtr_4": metering.NotTaken,
	}
	if diff := cmp.Diff(want, got); diff != "" || len(h.sent) != 1 {
		t.Errorf("Report() in %d calls differs (-want +got):\n%s", len(h.sent), diff)
	}
	if got := m.Report(t.Context(), nil); len(got) != 0 || len(h.sent) != 1 {
		t.Errorf("Report(nothing) = %v, want nothing and no call", got)
	}
}

// A batch that is refused for one record is halved until that one is alone.
func TestReportFindsTheBadRecord(t *testing.T) {
	t.Parallel()
	h := &recorder{answer: func(_ int, v url.Values) (int, string) {
		if strings.Contains(v.Get("Metering"), `"1000077"`) {
			return 500, `{"Code":"Invalid.Parameter.Instance"}`
		}
		return 200, `{"Success":true}`
	}}
	m := openMeter(t, h, map[string]any{"batch": 100})
	var records []metering.Record
	for n := range 100 {
		records = append(records, record(n))
	}
	results := m.Report(t.Context(), records)
	for _, v := range results {
		want := metering.OK
		if v.Record == "mtr_77" {
			want = metering.Refused
		}
		if v.Verdict != want {
			t.Errorf("%s: %s, want %s", v.Record, v.Verdict, want)
		}
	}
	if len(results) != 100 || len(h.sent) > 2*7+1 {
		t.Errorf("%d results in %d calls, want 100 in at most 15", len(results), len(h.sent))
	}
}

func TestResolveIsAPolicy(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		policy   string
		attempts int
		want     bool
	}{
		{"", 1, false}, {"park", 1, false}, {"resend", 1, true}, {"resend", 2, false},
	} {
		m := openMeterAt(t, "", map[string]any{"on_ambiguous": tc.policy})
		if got := m.Resolve(metering.Record{Attempts: tc.attempts}); got != tc.want {
			t.Errorf("Resolve(%d attempts) with %q = %t, want %t", tc.attempts, tc.policy, got, tc.want)
		}
	}
}

// The meter and the feed share a client that takes one call at a time.
func TestReportIsConcurrent(t *testing.T) {
	t.Parallel()
	h := &recorder{}
	m := openMeter(t, h, nil)
	var wg sync.WaitGroup
	for n := range 20 {
		wg.Go(func() {
			if got := m.Report(t.Context(), []metering.Record{record(n)}); got[0].Verdict != metering.OK {
				t.Errorf("Report() = %+v, want ok", got)
			}
		})
	}
	wg.Wait()
	var instances []string
	for _, v := range h.sent {
		instances = append(instances, v.Get("Metering")[16:23])
	}
	slices.Sort(instances)
	if len(slices.Compact(instances)) != 20 {
		t.Errorf("%d instances were reported, want 20", len(instances))
	}
}

// BenchmarkReport is the work of a report without the network, per record.
func BenchmarkReport(b *testing.B) {
	for _, batch := range []int{1, 100} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			m := openMeterAt(b, "", map[string]any{"batch": batch})
			m.client.transport.base = instant{}
			records := make([]metering.Record, batch)
			for n := range records {
				records[n] = record(n)
			}
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				if got := m.Report(b.Context(), records); got[0].Verdict != metering.OK {
					b.Fatal(got[0])
				}
				n += batch
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// BenchmarkPrepare is the part of it that is ours: the checks and the bytes.
func BenchmarkPrepare(b *testing.B) {
	m := openMeterAt(b, "", map[string]any{"batch": 100})
	batch := make([]entry, 100)
	records := make([]metering.Record, len(batch))
	for n := range records {
		records[n] = record(n)
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		for i := range records {
			batch[i], _ = m.prepare(&records[i])
		}
		if call := m.dialect.call(batch); len(call.query) == 0 {
			b.Fatal("nothing to send")
		}
		n += len(batch)
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
}

// instant answers at once.
type instant struct{}

func (instant) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{}, Request: r,
		Body: io.NopCloser(strings.NewReader(`{"Success":true,"RequestId":"r"}`)),
	}, nil
}
