package huaweisim

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"cloudsettle/adapters/internal/sim"
)

const usagePath = "/api/mkp-openapi-public/global/v1/isv/usage-data"

// noon is when usage is pushed.
var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// pushed is a simulator on a clock that is moved by hand.
type pushed struct {
	*Sim
	at time.Time
}

func startPush(t *testing.T) *pushed {
	t.Helper()
	p := &pushed{at: noon}
	var err error
	p.Sim, err = New(sim.Config{
		Listing: "hw-cn", Raw: json.RawMessage(fmt.Sprintf(raw, "key-one", "", "")), Seed: 1,
		Now: func() time.Time { return p.at },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	p.Adopt(Instance{InstanceID: "inst-1", ChargingMode: "ON_DEMAND", StartedAt: noon.Add(-24 * time.Hour)})
	return p
}

// push sends a body that is signed with sk and key, and returns the answer.
func (p *pushed) push(sk, key, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, usagePath, strings.NewReader(body))
	ts := strconv.FormatInt(p.at.UnixMilli(), 10)
	r.Header.Set("ts", ts)
	r.Header.Set("nonce", "n-1")
	r.Header.Set("signature", base64.StdEncoding.EncodeToString(hash(key, "ts="+ts+"&nonce=n-1&body="+body)))
	r.Header.Set("X-Sdk-Date", p.at.Format("20060102T150405Z"))
	r.Header.Set("Authorization", "SDK-HMAC-SHA256 Access=TESTAK0000, SignedHeaders=x-sdk-date, Signature="+
		signCall(r, []byte(body), sk, []string{"x-sdk-date"}))
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	p.at = p.at.Add(time.Second)
	return w
}

// usage returns the body of one record of an hour that ended at end.
func usage(sn, instance string, end time.Time, value string) string {
	const form = "20060102T150405Z"
	return fmt.Sprintf(`{"usage_records":[{"begin_time":%q,"end_time":%q,"instance_id":%q,"metering_sn":%q,"record_time":%q,"usage_value":%s}]}`,
		end.Add(-time.Hour).Format(form), end.Format(form), instance, sn, end.Format(form), value)
}

func TestPushIsChecked(t *testing.T) {
	t.Parallel()
	good := usage("sn-1", "inst-1", noon, `"5"`)
	change := func(old, replacement string) string { return strings.Replace(good, old, replacement, 1) }
	many := func(n int) string {
		inner := strings.TrimSuffix(strings.TrimPrefix(good, `{"usage_records":[`), `]}`)
		return `{"usage_records":[` + strings.Repeat(inner+",", n-1) + inner + `]}`
	}
	tests := []struct{ name, sk, key, body, want string }{
		{"Good", "test-sk", "key-one", good, "MKT.0000"},
		{"AccessKey", "other", "key-one", good, "APIGW.0301"},
		{"Signature", "test-sk", "key-two", good, "MKT.0102"},
		{"NotSorted", "test-sk", "key-one", change(`"usage_value":"5"`, `"a":"5"`), "MKT.0102"},
		{"NotCompact", "test-sk", "key-one", good + "\n", "MKT.0102"},
		{"NoRecords", "test-sk", "key-one", `{"usage_records":[]}`, "MKT.0101"},
		{"Missing", "test-sk", "key-one", change(`,"usage_value":"5"`, ``), "MKT.0101"},
		{"Extra", "test-sk", "key-one", change(`"5"`, `"5","zone":"cn"`), "MKT.0101"},
		{"Time", "test-sk", "key-one", change(`Z"`, `"`), "MKT.0100"},
		{"Number", "test-sk", "key-one", change(`"5"`, `5`), "MKT.0100"},
		{"Zero", "test-sk", "key-one", change(`"5"`, `"0.0000"`), "MKT.0100"},
		{"Negative", "test-sk", "key-one", change(`"5"`, `"-5"`), "MKT.0100"},
		{"FiveDecimals", "test-sk", "key-one", change(`"5"`, `"5.00001"`), "MKT.0100"},
		{"NineDigits", "test-sk", "key-one", change(`"5"`, `"100000000"`), "MKT.0100"},
		{"TooMany", "test-sk", "key-one", many(101), "MKT.9003"},
		{"Many", "test-sk", "key-one", many(100), "MKT.0000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := startPush(t)
			if got := p.push(tt.sk, tt.key, tt.body); !strings.Contains(got.Body.String(), `"`+tt.want+`"`) {
				t.Errorf("push(%s) = %d %s, want %s", tt.name, got.Code, got.Body, tt.want)
			}
			units, n := p.Metered("inst-1", "usage")
			if taken := tt.want == "MKT.0000"; taken != (units == 5 && n == 1) {
				t.Errorf("push(%s) counts %d units in %d records", tt.name, units, n)
			}
		})
	}
}

// TestPushIsValidatedInTheBackground: success says nothing yet.
func TestPushIsValidatedInTheBackground(t *testing.T) {
	t.Parallel()
	p := startPush(t)
	hour := time.Hour
	p.Adopt(Instance{InstanceID: "period", ChargingMode: "PERIOD"})
	p.Adopt(Instance{InstanceID: "ended", ChargingMode: "ON_DEMAND", Ended: true, EndedAt: noon.Add(-hour)})
	p.Adopt(Instance{InstanceID: "frozen", ChargingMode: "ON_DEMAND", Suspended: true, SuspendedAt: noon.Add(-hour)})
	p.Adopt(Instance{InstanceID: "new", ChargingMode: "ON_DEMAND", StartedAt: noon.Add(-hour + time.Second)})
	want := map[string]string{
		"nobody": "001", "period": "012", "ended": "011", "frozen": "013", "new": "011", "late": "011", "old": "007", "twice": "010",
	}
	at := map[string]time.Time{"late": noon.Add(hour), "old": noon.Add(-pushWindow + hour - time.Second), "once": noon}
	p.Adopt(Instance{InstanceID: "old", ChargingMode: "ON_DEMAND"})
	p.Adopt(Instance{InstanceID: "late", ChargingMode: "ON_DEMAND"})
	for _, sn := range []string{"once", "twice", "nobody", "period", "ended", "frozen", "new", "late", "old"} {
		instance, end := sn, noon
		if sn == "once" || sn == "twice" {
			instance = "inst-1"
		}
		if t, ok := at[sn]; ok {
			end = t
		}
		if got := p.push("test-sk", "key-one", usage(sn, instance, end, `"5"`)); !strings.Contains(got.Body.String(), "MKT.0000") {
			t.Errorf("push(%s) = %s, want success", sn, got.Body)
		}
	}
	p.at = noon.Add(15*time.Minute - 1)
	if got := p.Metering().Console; len(got) > 0 {
		t.Errorf("before minute 15 the console shows %v, want nothing", got)
	}
	p.at = noon.Add(15 * time.Minute)
	got := p.Metering()
	if len(got.Console) != len(want) || len(got.Totals) != 1 || got.Totals["inst-1"].Records != 1 {
		t.Errorf("the console shows %v and counts %v", got.Console, got.Totals)
	}
	for sn, code := range want {
		if got.Console[sn] != code {
			t.Errorf("%s is %q on the console, want %q", sn, got.Console[sn], code)
		}
	}
}

func TestPushCountsOnce(t *testing.T) {
	t.Parallel()
	p := startPush(t)
	for range 3 {
		p.push("test-sk", "key-one", usage("sn-1", "inst-1", noon, `"2.5"`))
	}
	p.push("test-sk", "key-one", usage("sn-2", "inst-1", noon.Add(-time.Hour), `"2.5"`))
	if units, n := p.Metered("inst-1", ""); units != 5 || n != 2 || len(p.Violations()) > 0 {
		t.Errorf("%d units in %d records, violations %v, want 5 in 2", units, n, p.Violations())
	}
	p.push("test-sk", "key-one", usage("sn-1", "inst-1", noon, `"3"`))
	if units, _ := p.Metered("inst-1", ""); units != 5 || len(p.Violations()) != 1 {
		t.Errorf("%d units, violations %v, want 5 and one", units, p.Violations())
	}
}

func TestPushHasARate(t *testing.T) {
	t.Parallel()
	p := startPush(t)
	p.push("test-sk", "key-one", usage("sn-1", "inst-1", noon, `"1"`))
	p.at = noon.Add(500 * time.Millisecond)
	got := p.push("test-sk", "key-one", usage("sn-2", "inst-1", noon.Add(-time.Hour), `"1"`))
	if _, n := p.Metered("inst-1", ""); got.Code != http.StatusNotAcceptable || n != 1 || p.Metering().TooFast != 1 {
		t.Errorf("push(after 0.5 s) = %d %s, want it throttled", got.Code, got.Body)
	}
}

func TestMeteringFaultsOverHTTP(t *testing.T) {
	t.Parallel()
	p := startPush(t)
	post := func(body string) int {
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/_sim/metering/faults", strings.NewReader(body)))
		return w.Code
	}
	for _, bad := range []string{
		``, `{"lost":"x"}`, `{"nonsense":1}`, `{"lost":-1}`, `{"lost":1.5}`, `{"outage":"soon"}`, `{"slow":"-1s"}`, `{"validation":"never"}`,
	} {
		if code := post(bad); code != http.StatusBadRequest {
			t.Errorf("POST faults %s = %d, want 400", bad, code)
		}
	}
	if code := post(`{"throttle":2,"slow":"1ns","validation":"listed"}`); code != http.StatusOK {
		t.Fatalf("POST faults = %d, want 200", code)
	}
	body := usage("sn-1", "nobody", noon, `"1"`)
	for _, want := range []string{"CBC. 0250", "CBC. 0250", "001"} {
		if got := p.push("test-sk", "key-one", body); !strings.Contains(got.Body.String(), want) {
			t.Errorf("push() = %s, want %s", got.Body, want)
		}
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/_sim/metering", nil))
	var st MeteringState
	if err := json.Unmarshal(w.Body.Bytes(), &st); err != nil || st.Calls != 3 || st.Faults.Slow != 1 {
		t.Errorf("GET metering = %s, %v, want 3 calls", w.Body, err)
	}
}
