package alibabasim_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"cloudsettle/adapters/alibaba/alibabasim"
	"cloudsettle/adapters/internal/sim"
	"cloudsettle/core/metering"
	"cloudsettle/core/money"
)

// metered makes a listing report usage; keys override those of its metering.
func metered(keys map[string]any) func(map[string]any) {
	return func(c map[string]any) {
		m := map[string]any{"key": "Unit", "assist": "cmgj00012345-Unit-1", "unit_amount": "0.01", "cycle": "hourly"}
		for k, v := range keys {
			m[k] = v
		}
		c["metering"] = m
	}
}

// refusals are faults after which nothing was taken, doubts those after which
// nobody can know.
var (
	refusals = []func(*alibabasim.MeteringFaults) *int{
		func(f *alibabasim.MeteringFaults) *int { return &f.Throttle },
		func(f *alibabasim.MeteringFaults) *int { return &f.ServerError },
		func(f *alibabasim.MeteringFaults) *int { return &f.HTML },
		func(f *alibabasim.MeteringFaults) *int { return &f.NumericCode },
		func(f *alibabasim.MeteringFaults) *int { return &f.Denied },
	}
	doubts = []func(*alibabasim.MeteringFaults) *int{
		func(f *alibabasim.MeteringFaults) *int { return &f.LoseAnswer },
		func(f *alibabasim.MeteringFaults) *int { return &f.GatewayTimeout },
		func(f *alibabasim.MeteringFaults) *int { return &f.SuccessFalse },
	}
	halves = []func(*alibabasim.MeteringFaults) *int{
		func(f *alibabasim.MeteringFaults) *int { return &f.Partial },
	}
)

// hostileRun is a seller's life with a hostile marketplace.
type hostileRun struct {
	site              string
	keys              map[string]any
	accounts, records int
	faults            []func(*alibabasim.MeteringFaults) *int
	crash             float64
	most              int // how often a record may be billed
}

// run charges at random until enough records are sealed, and then goes on
// until nothing is left to do.
func (h hostileRun) run(t *testing.T, seed uint64) (*outbox, tally) {
	t.Helper()
	b := newBench(t, h.site, sim.Config{Seed: seed, Compress: 1e6}, metered(h.keys))
	o := newOutbox(b, seed)
	o.buy(t, h.accounts)
	o.fault = o.hostile(h.faults...)
	o.crashBefore, o.crashAfter = h.crash/2, h.crash/2
	for step := 0; len(o.records) < h.records || !o.idle(t); step++ {
		if step > 100_000 {
			t.Fatalf("%d records after %d steps, and no end", len(o.records), step)
		}
		now := b.clock.now()
		if o.rnd.IntN(500) == 0 {
			o.outageEnds = now.Add(time.Duration(o.rnd.Int64N(int64(3 * time.Hour))))
		}
		for _, a := range o.accounts {
			if len(o.records) < h.records && o.rnd.IntN(5) == 0 {
				o.charge(t, a, money.Micros(o.rnd.Int64N(500_000)-50_000)) // corrections are negative
			}
			o.seal(t, a, now)
		}
		o.send(t)
		b.clock.advance(90*time.Second + time.Duration(o.rnd.Int64N(int64(time.Minute))))
	}
	return o, o.check(t, h.most)
}

// Ten thousand records, every kind of fault, outages longer than a window and
// crashes: what the marketplace bills is what the records say, each once.
func TestHostileMetering(t *testing.T) {
	t.Parallel()
	all := slices.Concat(refusals, doubts)
	for name, h := range map[string]hostileRun{
		"Park":          {site: "cn", accounts: 300, records: 10_000, faults: all, crash: 0.02, most: 1},
		"International": {site: "intl", accounts: 50, records: 1_000, faults: all, crash: 0.02, most: 1},
		"Daily": {
			site: "cn", keys: map[string]any{"cycle": "daily"},
			accounts: 50, records: 1_000, faults: all, crash: 0.02, most: 1,
		},
		// Calls of many records, some of them half done.
		"Batch": {
			site: "cn", keys: map[string]any{"batch": 100, "on_server_error": "park"},
			accounts: 200, records: 4_000, faults: slices.Concat(all, halves), crash: 0.02, most: 1,
		},
		// What asks for it may bill twice, never more often.
		"Resend": {
			site: "cn", keys: map[string]any{"on_ambiguous": "resend"},
			accounts: 50, records: 1_000, faults: all, crash: 0.02, most: 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h.records /= scale
			o, sum := h.run(t, 1)
			t.Logf("%d records in %d calls: %d accepted, %d parked, %d lost and due again",
				len(o.records), o.calls, sum.accepted, sum.parked, sum.lost)
			if len(o.records) < h.records || sum.accepted < h.records/2 {
				t.Errorf("%d records, %d accepted: too few to say anything", len(o.records), sum.accepted)
			}
		})
	}
}

// The same seed makes the same history.
func TestHostileMeteringIsRepeatable(t *testing.T) {
	t.Parallel()
	h := hostileRun{
		site: "cn", accounts: 20, records: 300, faults: slices.Concat(refusals, doubts), crash: 0.05, most: 1,
	}
	_, first := h.run(t, 3)
	_, again := h.run(t, 3)
	_, other := h.run(t, 4)
	if first != again || first == other {
		t.Errorf("seeds 3, 3, 4 = %+v, %+v, %+v, want the first two alike", first, again, other)
	}
}

// A thousand instances end while the marketplace is away for up to 40 minutes:
// what they used last is billed within the final window.
func TestFinalUsageIsAccepted(t *testing.T) {
	t.Parallel()
	const rounds, each = 25 / min(scale, 5), 40
	b := newBench(t, "cn", sim.Config{Seed: 1, Compress: 1e6}, metered(nil))
	o := newOutbox(b, 5)
	o.fault = o.hostile()
	for range rounds {
		o.accounts = nil
		o.buy(t, each)
		b.clock.advance(time.Duration(o.rnd.Int64N(int64(3 * time.Hour))).Truncate(time.Second))
		o.end(t)
	}
	sum := o.check(t, 1)
	if sum.parked > 0 || sum.accepted < rounds*each {
		t.Errorf("%d accepted, %d parked, want at least %d and none", sum.accepted, sum.parked, rounds*each)
	}
}

// end lets the accounts end at random within two hours, with one outage.
func (o *outbox) end(t *testing.T) {
	t.Helper()
	const step = 30 * time.Second
	begin := o.bench.clock.now()
	ends := make([]time.Time, len(o.accounts))
	for n := range ends {
		ends[n] = begin.Add(time.Duration(o.rnd.IntN(240)) * step)
	}
	outageBegins := begin.Add(time.Duration(o.rnd.Int64N(int64(2 * time.Hour))))
	outage := time.Duration(o.rnd.Int64N(int64(40 * time.Minute)))
	for now := begin; now.Before(begin.Add(2*time.Hour + o.terms.FinalWithin)); now = o.bench.clock.now() {
		if !now.Before(outageBegins) {
			o.outageEnds, outageBegins = now.Add(outage), begin.AddDate(1, 0, 0)
		}
		for n, a := range o.accounts {
			o.live(t, a, ends[n], now)
		}
		o.send(t)
		o.bench.clock.advance(step)
	}
}

// live charges an account while it lasts, ends it, and asserts that all is
// accepted when the final window closes.
func (o *outbox) live(t *testing.T, a *account, end, now time.Time) {
	t.Helper()
	switch until := end.Add(o.terms.FinalWithin); {
	case now.Before(end):
		if o.rnd.IntN(40) == 0 && len(a.active) == 0 {
			o.charge(t, a, money.Micros(o.rnd.Int64N(900_000)))
			o.seal(t, a, now)
		}
	case now.Equal(end):
		o.charge(t, a, 5*money.Unit)
		if _, err := o.bench.sim.Do(a.instance, "releaseInstance", nil); err != nil {
			t.Fatal(err)
		}
		o.seal(t, a, end)
	case now.Before(until):
		o.seal(t, a, end)
	case now.Equal(until):
		if due, err := a.Due(o.terms.MaxUnits); due > 0 || a.InFlight > 0 || err != nil {
			t.Errorf("%s ended at %s: %d units due, %d in flight, %v when its final window closed",
				a.instance, end.Format(time.TimeOnly), due, a.InFlight, err)
		}
	}
}

// Usage of the time of an outage that outlasts the window is not lost: it is
// due again, and billed in a later period.
func TestUsageOutlastsAnOutage(t *testing.T) {
	t.Parallel()
	b := newBench(t, "cn", sim.Config{Compress: 1e6}, metered(nil))
	o := newOutbox(b, 1)
	o.buy(t, 1)
	o.fault = o.hostile()
	o.outageEnds = b.clock.now().Add(26 * time.Hour)
	a := o.accounts[0]
	for hour := range 48 {
		o.charge(t, a, money.Unit)
		o.seal(t, a, b.clock.now())
		for range 60 {
			o.send(t)
			b.clock.advance(time.Minute)
		}
		if hour == 25 && a.Accepted != 0 {
			t.Errorf("%d units accepted during the outage", a.Accepted)
		}
	}
	o.check(t, 1)
	if units, _ := b.sim.Metered(a.instance, o.terms.Dimension); units != 48*100 {
		t.Errorf("%d units billed, want %d", units, 48*100)
	}
}

// An answer that the caller does not wait for parks the record.
func TestSlowAnswerParks(t *testing.T) {
	t.Parallel()
	b := newBench(t, "cn", sim.Config{Compress: 1e6}, metered(nil))
	o := newOutbox(b, 1)
	o.buy(t, 1)
	o.charge(t, o.accounts[0], money.Unit)
	o.seal(t, o.accounts[0], b.clock.now())
	if err := b.sim.SetMeteringFaults(alibabasim.MeteringFaults{Slow: 1}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	got := o.meter.Report(ctx, []metering.Record{*o.records[0]})
	if len(got) != 1 || got[0].Verdict != metering.MaybeTaken {
		t.Errorf("Report() = %+v, want maybe", got)
	}
	if _, n := b.sim.Metered(o.accounts[0].instance, o.terms.Dimension); n != 1 {
		t.Errorf("the marketplace has %d records, want 1", n)
	}
}

// The control API sets faults and tells what is billed.
func TestMeteringControl(t *testing.T) {
	t.Parallel()
	b := newBench(t, "cn", sim.Config{Compress: 1e6}, metered(nil))
	o := newOutbox(b, 1)
	o.buy(t, 1)
	for _, tc := range []struct {
		body   string
		status int
	}{
		{`{"throttle":1,"outage":"1m"}`, 200}, {`{}`, 200}, {`{"outage":"soon"}`, 400}, {`{"thorttle":1}`, 400},
	} {
		var got map[string]any
		if status := b.call(t, "POST", "/_sim/metering/faults", tc.body, &got); status != tc.status {
			t.Errorf("POST %s = %d, want %d", tc.body, status, tc.status)
		}
	}
	o.charge(t, o.accounts[0], money.Unit)
	o.seal(t, o.accounts[0], b.clock.now())
	o.send(t)
	var got struct {
		Metered []struct {
			Instance, Dimension string
			Units               int64
			Records             int
		}
		Problems []string
		Calls    int
	}
	b.call(t, "GET", "/_sim/metering", "", &got)
	if s, want := fmt.Sprint(got), "{[{"+o.accounts[0].instance+" Unit/cmgj00012345-Unit-1 100 1}] [] 1}"; s != want {
		t.Errorf("GET /_sim/metering = %s, want %s", s, want)
	}
}
