package awssim_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"cloudsettle/adapters/aws/awssim"
	"cloudsettle/adapters/internal/sim"
)

const licenseARN = "arn:aws:license-manager::294406891311:license:l-1"

// metered starts a simulator of a metered product and one agreement, l-1, in it.
func metered(t *testing.T, now time.Time) *bundle {
	t.Helper()
	b := start(t, 1, sim.Faults{}, map[string]any{
		"metering":      map[string]any{"dimension": "usage_fee", "unit_amount": "0.01"},
		"currency":      "USD",
		"sqs_queue_url": "http://127.0.0.1:1/queue",
	})
	b.clock.advance(now.Add(-30 * 24 * time.Hour).Sub(b.clock.Now()))
	b.do(t, "subscribe", map[string]string{"license": "l-1", "account": "845735284135"})
	b.clock.advance(now.Sub(b.clock.Now()))
	return b
}

// record is one of l-1, with changes to its JSON.
func record(at time.Time, quantity int, replace ...string) string {
	text := fmt.Sprintf(`{"CustomerAWSAccountId":"845735284135","Dimension":"usage_fee","LicenseArn":"%s",`+
		`"Quantity":%d,"Timestamp":%d}`, licenseARN, quantity, at.Unix())
	return strings.NewReplacer(replace...).Replace(text)
}

func usageOf(records ...string) string {
	return `{"UsageRecords":[` + strings.Join(records, ",") + `]}`
}

// meter calls BatchMeterUsage and returns the error's name, or the statuses.
func (b *bundle) meter(t *testing.T, body string) string {
	t.Helper()
	_, out := b.call(t, "AWSMPMeteringService.BatchMeterUsage", body, "AKIDEXAMPLE", "example-secret", nil)
	if kind, ok := out["__type"].(string); ok {
		return kind[strings.Index(kind, "#")+1:]
	}
	var said []string
	results, _ := out["Results"].([]any)
	for _, r := range results {
		status, _ := r.(map[string]any)["Status"].(string)
		said = append(said, status)
	}
	unprocessed, _ := out["UnprocessedRecords"].([]any)
	for range unprocessed {
		said = append(said, "Unprocessed")
	}
	return strings.Join(said, " ")
}

func at(t *testing.T, s string) time.Time {
	t.Helper()
	when, err := time.Parse("2006-01-02 15:04:05", s)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

// The window of usage: 24 hours, and the month until 06:00 on the 1st.
func TestUsageHasAWindow(t *testing.T) {
	t.Parallel()
	const accepted, refused = "Success", "TimestampOutOfBoundsException"
	for _, c := range []struct{ now, usage, want string }{
		{"2026-08-27 15:05:00", "2026-08-27 14:00:00", accepted},
		{"2026-08-28 13:59:59", "2026-08-27 14:00:00", accepted},
		{"2026-08-28 14:00:00", "2026-08-27 14:00:00", refused},
		{"2026-09-01 05:00:00", "2026-08-31 23:00:00", accepted},
		{"2026-09-01 05:59:59", "2026-08-31 06:00:00", accepted},
		{"2026-09-01 06:00:00", "2026-08-31 23:00:00", refused},
		{"2026-09-01 06:00:00", "2026-09-01 00:00:00", accepted},
		{"2026-09-01 05:00:00", "2026-08-31 05:00:00", refused},
		{"2027-01-01 05:30:00", "2026-12-31 22:00:00", accepted},
		{"2028-03-01 05:59:59", "2028-02-29 23:00:00", accepted},
		{"2028-03-01 06:00:00", "2028-02-29 23:00:00", refused},
		{"2026-08-27 15:05:00", "2026-08-27 15:05:01", refused},
	} {
		b := metered(t, at(t, c.now))
		if got := b.meter(t, usageOf(record(at(t, c.usage), 1))); got != c.want {
			t.Errorf("usage of %s at %s = %s, want %s", c.usage, c.now, got, c.want)
		}
	}
}

// One record that breaks a rule refuses its whole call.
func TestBatchMeterUsageHasRules(t *testing.T) {
	t.Parallel()
	now := at(t, "2026-08-27 15:05:00")
	hour := now.Truncate(time.Hour).Add(-time.Hour)
	for _, c := range []struct{ name, bad, want string }{
		{"an unknown dimension", record(hour, 1, "usage_fee", "Usage_fee"), "InvalidUsageDimensionException"},
		{"no dimension", record(hour, 1, "usage_fee", ""), "ValidationException"},
		{"an unknown license", record(hour, 1, "l-1", "l-2"), "InvalidLicenseException"},
		{"a license in another spelling", record(hour, 1, "arn:aws", "aws"), "InvalidLicenseException"},
		{"no buyer", record(hour, 1, "845735284135", ""), "InvalidCustomerIdentifierException"},
		{"a handle with a license", record(hour, 1, "CustomerAWSAccountId", "CustomerIdentifier"), "InvalidCustomerIdentifierException"},
		{"letters in the account", record(hour, 1, "845735284135", "84573528413x"), "ValidationException"},
		{"a negative quantity", record(hour, -1), "ValidationException"},
		{"too large a quantity", record(hour, 1<<31), "ValidationException"},
		{"a broken quantity", record(hour, 1, `"Quantity":1`, `"Quantity":1.5`), "SerializationException"},
		{"no timestamp", record(hour, 1, `"Timestamp"`, `"Time"`), "ValidationException"},
		{"before the activation", record(hour, 1), "InvalidLicenseException"},
		{"allocations that do not add up", record(hour, 2, `"Timestamp"`,
			`"UsageAllocations":[{"AllocatedUsageQuantity":1}],"Timestamp"`), "InvalidUsageAllocationsException"},
		{"tags with other characters", record(hour, 1, `"Timestamp"`,
			`"UsageAllocations":[{"AllocatedUsageQuantity":1,"Tags":[{"Key":"a","Value":"b;"}]}],"Timestamp"`), "InvalidTagException"},
	} {
		b := metered(t, now)
		if c.name == "before the activation" {
			b.do(t, "subscribe", map[string]string{"license": "l-1f", "account": "845735284135"})
			c.bad = record(hour, 1, "l-1", "l-1f")
		}
		if got := b.meter(t, usageOf(record(hour, 1), c.bad)); got != c.want {
			t.Errorf("%s = %s, want %s", c.name, got, c.want)
		}
		if n := len(b.Metering().Entries); n != 0 {
			t.Errorf("%s: %d records were taken, want none", c.name, n)
		}
	}
	b := metered(t, now)
	var many []string
	for n := range 26 {
		many = append(many, record(now.Truncate(time.Hour).Add(-time.Duration(n%20)*time.Hour), 1))
	}
	if got := b.meter(t, usageOf(many...)); got != "ValidationException" {
		t.Errorf("26 records = %s, want ValidationException", got)
	}
	mixed := `{"ProductCode":"` + productCode + `","UsageRecords":[` + record(hour, 1) + `]}`
	if got := b.meter(t, mixed); got != "ValidationException" {
		t.Errorf("a license with a product code = %s, want ValidationException", got)
	}
	if got := b.Metering().Violations; len(got) != 2 {
		t.Errorf("violations = %q, want those two", got)
	}
	allocated := record(hour, 2, `"Timestamp"`, `"UsageAllocations":[{"AllocatedUsageQuantity":1},`+
		`{"AllocatedUsageQuantity":1,"Tags":[{"Key":"team","Value":"a"}]}],"Timestamp"`)
	if got := b.meter(t, usageOf(allocated)); got != "Success" {
		t.Errorf("allocations = %s, want Success", got)
	}
	if got := b.meter(t, `{"UsageRecords":[]}`); got != "" {
		t.Errorf("no records = %s, want nothing", got)
	}
}

// The first record of an hour counts, in whichever minute of it, once a Region.
func TestTheFirstRecordOfAnHourCounts(t *testing.T) {
	t.Parallel()
	now := at(t, "2026-08-27 15:05:00")
	hour := now.Truncate(time.Hour).Add(-time.Hour)
	b := metered(t, now)
	for _, c := range []struct {
		record, want string
	}{
		{record(hour, 5), "Success"},
		{record(hour, 5), "Success"},
		{record(hour, 6), "DuplicateRecord"},
		{record(hour.Add(59*time.Minute), 6), "DuplicateRecord"},
		{record(hour.Add(time.Hour), 7), "Success"},
		{record(hour, 0, "845735284135", "000000000001"), "CustomerNotSubscribed"},
	} {
		if got := b.meter(t, usageOf(c.record)); got != c.want {
			t.Errorf("%s = %s, want %s", c.record, got, c.want)
		}
	}
	b.SetMetering(func(f *awssim.MeteringFaults) { f.DuplicateForIdentical = true })
	if got := b.meter(t, usageOf(record(hour, 5))); got != "DuplicateRecord" {
		t.Errorf("the same again = %s, want DuplicateRecord as switched", got)
	}
	if units, records := b.Metered("l-1", "usage_fee"); units != 12 || records != 2 {
		t.Errorf("Metered() = %d in %d records, want 12 in 2", units, records)
	}
}

// A legacy listing is metered by product and customer; one that was told of a
// license as well bills the hour twice, as AWS does.
func TestLegacyUsage(t *testing.T) {
	t.Parallel()
	now := at(t, "2026-08-27 15:05:00")
	hour := now.Truncate(time.Hour).Add(-time.Hour)
	b := metered(t, now.Add(-2*time.Hour))
	b.do(t, "sns-subscribe-success", map[string]string{"customer": "X01EXAMPLEX", "account": "000000000001", "license": "l-old"})
	b.clock.advance(2 * time.Hour)
	legacy := record(hour, 3, `"LicenseArn":"`+licenseARN+`",`, "", "CustomerAWSAccountId", "CustomerIdentifier", "845735284135", "X01EXAMPLEX")
	of := func(product, record string) string {
		return `{"ProductCode":"` + product + `","UsageRecords":[` + record + `]}`
	}
	for _, c := range []struct{ body, want string }{
		{usageOf(legacy), "InvalidProductCodeException"},
		{of("another", legacy), "InvalidProductCodeException"},
		{of(productCode, legacy), "Success"},
		{of(productCode, strings.NewReplacer("CustomerIdentifier", "CustomerAWSAccountId", "X01EXAMPLEX", "000000000001").Replace(legacy)), "Success"},
		{of(productCode, strings.Replace(legacy, "X01EXAMPLEX", "X02", 1)), "CustomerNotSubscribed"},
		{of(productCode, record(hour, 3, `"LicenseArn":"`+licenseARN+`",`, "")), "InvalidLicenseException"},
		{usageOf(record(hour, 3, "l-1", "l-old", "845735284135", "000000000001")), "Success"},
	} {
		if got := b.meter(t, c.body); got != c.want {
			t.Errorf("%s = %s, want %s", c.body, got, c.want)
		}
	}
	customer, _ := b.Metered("X01EXAMPLEX", "usage_fee")
	license, _ := b.Metered("l-old", "usage_fee")
	if customer != 3 || license != 3 {
		t.Errorf("AWS bills %d units by customer and %d by license, want 3 and 3", customer, license)
	}
}

// What remains after the end of an agreement.
func TestTheLastHourForUsage(t *testing.T) {
	t.Parallel()
	ended := at(t, "2026-08-27 10:00:00")
	for _, c := range []struct {
		name, event, later string
		flush              bool
		after              time.Duration
		hour               time.Duration
		want               string
	}{
		{"within the hour", "unsubscribe", "", false, 59 * time.Minute, 0, "Success"},
		{"after the hour", "unsubscribe", "", false, 65 * time.Minute, 0, "CustomerNotSubscribed"},
		{"usage after the end", "expire", "", false, 59*time.Minute + 59*time.Second, 30 * time.Minute, "InvalidLicenseException"},
		{"deprovisioned meanwhile", "unsubscribe", "deprovision", false, 30 * time.Minute, 0, "CustomerNotSubscribed"},
		{"deprovisioned, as the other page has it", "unsubscribe", "deprovision", true, 30 * time.Minute, 0, "Success"},
		{"replaced", "replace", "", false, 30 * time.Minute, 0, "Success"},
		{"replaced long ago", "replace", "", false, 61 * time.Minute, 0, "CustomerNotSubscribed"},
		{"subscribed again", "unsubscribe", "subscribe", false, 2 * time.Hour, 90 * time.Minute, "Success"},
	} {
		b := metered(t, ended)
		b.SetMetering(func(f *awssim.MeteringFaults) { f.FlushAfterDeprovision = c.flush })
		b.do(t, c.event, map[string]string{"license": "l-1"})
		if c.later != "" {
			b.do(t, c.later, map[string]string{"license": "l-1"})
		}
		b.clock.advance(c.after)
		if got := b.meter(t, usageOf(record(ended.Add(c.hour), 1))); got != c.want {
			t.Errorf("%s = %s, want %s", c.name, got, c.want)
		}
	}
}

func TestMeteringHasAQuota(t *testing.T) {
	t.Parallel()
	now := at(t, "2026-08-27 15:05:00")
	b := metered(t, now)
	body := usageOf(record(now.Add(-time.Hour), 1))
	for n := range 10 {
		if got := b.meter(t, body); got != "Success" {
			t.Errorf("call %d = %s, want Success", n+1, got)
		}
	}
	if got := b.meter(t, body); got != "ThrottlingException" {
		t.Errorf("call 11 = %s, want ThrottlingException", got)
	}
	b.clock.advance(100 * time.Millisecond)
	if got := b.meter(t, body); got != "Success" {
		t.Errorf("a tenth of a second later = %s, want Success", got)
	}
}

// The switchboard, as scripts use it.
func TestMeteringFaultsAreSwitched(t *testing.T) {
	t.Parallel()
	now := at(t, "2026-08-27 15:05:00")
	hour := now.Truncate(time.Hour)
	b := metered(t, now)
	turn := func(body string, want int) {
		t.Helper()
		if status, out := b.control(t, http.MethodPost, "/_sim/metering/faults", body); status != want {
			t.Errorf("POST /_sim/metering/faults %s = %d %v, want %d", body, status, out, want)
		}
	}
	turn(`{"throttle":1}`, http.StatusOK)
	turn(`{"fail":1,"dimensions":["seats"]}`, http.StatusOK)
	turn(`{"colour":"blue"}`, http.StatusBadRequest)
	var said []string
	for n := range 5 {
		if n == 4 {
			turn(`{"outage_seconds":60,"unprocessed":1,"unknown_status":1,"forget":1}`, http.StatusOK)
		}
		said = append(said, b.meter(t, usageOf(record(hour, 1, "usage_fee", "seats"))))
	}
	b.clock.advance(time.Minute)
	said = append(said, b.meter(t, usageOf(
		record(hour.Add(-time.Hour), 1), record(hour.Add(-2*time.Hour), 1), record(hour.Add(-3*time.Hour), 1))))
	const want = "InternalServiceErrorException,ThrottlingException,Success,Success,ServiceUnavailable,AcceptedProvisionally Unprocessed"
	if got := strings.Join(said, ","); got != want {
		t.Errorf("calls = %s, want %s", got, want)
	}
	status, out := b.control(t, http.MethodGet, "/_sim/metering", "")
	entries, _ := out["entries"].([]any)
	if status != http.StatusOK || len(entries) != 3 || out["calls"] != 6.0 {
		t.Errorf("GET /_sim/metering = %d %v, want 3 entries after 6 calls", status, out)
	}
	if _, page := b.visit(t, http.MethodGet, "/", "", ""); !strings.Contains(page, "1 × seats in 1 h, 2 × usage_fee in 2 h") {
		t.Errorf("the page does not show the usage:\n%s", page)
	}
}
