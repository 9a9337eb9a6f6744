package huawei

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"cloudsettle/adapters/huawei/huaweisim"
	"cloudsettle/core/metering"
)

// The tests of this file are named for what has cost other sellers money.

// sendOnce sends one record through an outbox and returns it afterwards.
func sendOnce(t *testing.T, o *outbox, id metering.RecordID) metering.Record {
	t.Helper()
	if o.flush(false) == 0 {
		t.Fatalf("nothing is due at %s", o.now())
	}
	return o.records[id]
}

// sealed returns an outbox with one record.
func sealed(t *testing.T) (*outbox, metering.RecordID) {
	t.Helper()
	m := startMeter(t, 1, at, nil)
	o := newOutbox(t, m, hour.Add(-24*time.Hour))
	m.adopt(1, o.started)
	if !o.seal("inst-00000", at, 7) {
		t.Fatal("Period() = none, want one")
	}
	o.add(time.Hour)
	return o, o.open[0]
}

func TestRefusedIsNotRecordedAsSent(t *testing.T) {
	t.Parallel()
	o, id := sealed(t)
	o.sim.Adopt(huaweisim.Instance{InstanceID: "inst-00000", ChargingMode: "PERIOD"})
	o.faults(t, huaweisim.MeteringFaults{Validation: "listed"})
	if r := sendOnce(t, o, id); r.Status != metering.Rejected || r.LastError == "" {
		t.Errorf("the record is %s: %q, want it rejected with a reason", r.Status, r.LastError)
	}
}

func TestThrottlingIsNoFailure(t *testing.T) {
	t.Parallel()
	o, id := sealed(t)
	o.faults(t, huaweisim.MeteringFaults{Throttle: 1})
	r := sendOnce(t, o, id)
	if wait := r.RetryAt.Sub(o.now()); r.Status != metering.Sealed || wait < throttlePause {
		t.Errorf("the record is %s and waits %s, want it sealed and %s", r.Status, wait, throttlePause)
	}
	o.add(throttlePause)
	if r = sendOnce(t, o, id); r.Status != metering.Accepted {
		t.Errorf("the record is %s: %q, want it accepted", r.Status, r.LastError)
	}
}

func TestLostAnswerIsNotChargedTwice(t *testing.T) {
	t.Parallel()
	for _, validation := range []string{"async", "listed", "batch"} {
		o, id := sealed(t)
		o.faults(t, huaweisim.MeteringFaults{Lost: 2, Validation: validation})
		for range 2 {
			if r := sendOnce(t, o, id); r.Status != metering.Unknown {
				t.Errorf("%s: the record is %s, want it unknown", validation, r.Status)
			}
			o.add(time.Hour)
		}
		r := sendOnce(t, o, id)
		if units, n := o.sim.Metered("inst-00000", dimension); r.Status != metering.Accepted || units != 7 || n != 1 {
			t.Errorf("%s: the record is %s, with %d units in %d records", validation, r.Status, units, n)
		}
	}
}

// TestRetryDoesNotChangeTheRecord: a time of sending in a record defeats the
// marketplace's own check for repeats.
func TestRetryDoesNotChangeTheRecord(t *testing.T) {
	t.Parallel()
	var sent []string
	m := stub(t, func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Records []json.RawMessage `json:"usage_records"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		for _, raw := range body.Records {
			if strings.Contains(string(raw), "inst-1") {
				sent = append(sent, string(raw))
			}
		}
		says(500, `{"error_code":"MKT.0999"}`)(w, r)
	})
	c := &clock{at: at}
	m.api.now = c.now
	r, other := record("inst-1", hour, 5), record("inst-2", hour, 5)
	m.Report(t.Context(), []metering.Record{r})
	c.add(26 * time.Hour)
	r.Attempts, r.Status, r.SentAt, r.RetryAt = 2, metering.Sending, at, at.Add(time.Hour)
	m.Report(t.Context(), []metering.Record{other, r})
	if len(sent) != 2 || sent[0] != sent[1] {
		t.Errorf("sent %q, want the same bytes twice", sent)
	}
}

// TestDuplicateIsOursOnlyIfWeSentIt: "on file already" is neither success nor
// failure in itself.
func TestDuplicateIsOursOnlyIfWeSentIt(t *testing.T) {
	t.Parallel()
	m := stub(t, says(200, `{"error_code":"MKT.0000","abnormal_usage_data":[{"metering_sn":"sn-1","code":"010"}]}`))
	for attempts, want := range map[int]metering.Status{1: metering.Conflict, 2: metering.Accepted} {
		r := record("inst-1", hour, 5)
		r.ID, r.Attempts = "sn-1", attempts
		got := m.Report(t.Context(), []metering.Record{r})
		if s := metering.Answer(r, got[0], true, at).Status; s != want {
			t.Errorf("Report(attempt %d) = %v, which is %s, want %s", attempts, got, s, want)
		}
	}
}

// TestHalvesAreRepeatsOfTheWhole: what a refused call took in after all is
// ours when a half of it is on file.
func TestHalvesAreRepeatsOfTheWhole(t *testing.T) {
	t.Parallel()
	calls := 0
	m := stub(t, func(w http.ResponseWriter, r *http.Request) {
		if calls++; calls == 1 {
			says(500, `{"error_code":"MKT.9002"}`)(w, r)
			return
		}
		says(200, `{"error_code":"MKT.0000","abnormal_usage_data":[{"metering_sn":"sn-1","code":"010"}]}`)(w, r)
	})
	records := []metering.Record{record("inst-1", hour, 5), record("inst-2", hour, 5)}
	records[0].ID = "sn-1"
	if got := verdicts(t, records, m.Report(t.Context(), records)); got["sn-1"] != metering.Same {
		t.Errorf("Report() = %v, want sn-1 to be the same", got)
	}
}

func TestSecondChargeOfAnHourGetsAnother(t *testing.T) {
	t.Parallel()
	o, _ := sealed(t)
	for range 3 {
		if !o.seal("inst-00000", at, 5) {
			t.Fatal("Period() = none, want one")
		}
	}
	o.flush(false)
	if units, n := o.sim.Metered("inst-00000", dimension); units != 7+3*5 || n != 4 {
		t.Errorf("%d units in %d records are counted, want %d in 4", units, n, 7+3*5)
	}
}

func TestMissedRunsAreCaughtUp(t *testing.T) {
	t.Parallel()
	from := time.Date(2026, 11, 2, 16, 0, 0, 0, time.UTC)
	m := startMeter(t, 1, from.Add(40*24*time.Hour+5*time.Minute), nil)
	o := newOutbox(t, m, from.Add(-24*time.Hour))
	m.adopt(1, o.started)
	for day := range 40 {
		if !o.seal("inst-00000", from.AddDate(0, 0, day), 5) {
			t.Fatalf("Period(day %d) = none, want one", day)
		}
	}
	for o.flush(false) > 0 {
		o.add(time.Second)
	}
	if units, n := m.sim.Metered("inst-00000", dimension); units != 40*5 || n != 40 {
		t.Errorf("%d units in %d records are counted, want 200 in 40", units, n)
	}
}

func TestTooOldIsNotRetriedForEver(t *testing.T) {
	t.Parallel()
	o, id := sealed(t)
	o.faults(t, huaweisim.MeteringFaults{Outage: huaweisim.Span(30 * 24 * time.Hour)})
	for range 40 {
		o.flush(false)
		o.add(24 * time.Hour)
	}
	if r := o.records[id]; r.Status != metering.Expired || r.Attempts > 25 {
		t.Errorf("the record is %s after %d attempts, want it expired", r.Status, r.Attempts)
	}
}

// TestSuspendedIsRetried: a frozen instance takes no usage until it is thawed.
func TestSuspendedIsRetried(t *testing.T) {
	t.Parallel()
	o, id := sealed(t)
	frozen := huaweisim.Instance{
		InstanceID: "inst-00000", ChargingMode: "ON_DEMAND", StartedAt: o.started,
		Suspended: true, SuspendedAt: hour,
	}
	o.sim.Adopt(frozen)
	o.faults(t, huaweisim.MeteringFaults{Validation: "listed"})
	if r := sendOnce(t, o, id); r.Status != metering.Sealed {
		t.Errorf("the record is %s: %q, want it sealed", r.Status, r.LastError)
	}
	frozen.Suspended = false
	o.sim.Adopt(frozen)
	o.add(time.Hour)
	if r := sendOnce(t, o, id); r.Status != metering.Accepted {
		t.Errorf("the record is %s: %q, want it accepted", r.Status, r.LastError)
	}
}

// TestAnswersAreMatchedByKey: the order of an answer means nothing.
func TestAnswersAreMatchedByKey(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		m := startMeter(t, seed, at, map[string]any{"rate": 50})
		m.faults(t, huaweisim.MeteringFaults{Validation: "listed"})
		var records []metering.Record
		for i, id := range m.adopt(30, hour) {
			if i%3 == 0 {
				id = "nobody-" + id
			}
			records = append(records, record(id, hour, 1))
		}
		results := m.meter.Report(t.Context(), records)
		for _, r := range records {
			at := slices.IndexFunc(results, func(res metering.Result) bool { return res.Record == r.ID })
			want := metering.OK
			if strings.HasPrefix(r.Subject, "nobody") {
				want = metering.Refused
			}
			if results[at].Verdict != want {
				t.Errorf("seed %d: Report(%s) = %v, want %s", seed, r.Subject, results[at], want)
			}
		}
	}
}
