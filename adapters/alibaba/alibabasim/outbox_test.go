package alibabasim_test

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"testing"
	"time"

	"cloudsettle/adapters/alibaba/alibabasim"
	"cloudsettle/core"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
	"cloudsettle/core/money"
)

// outbox does with charges and records what the program does: it seals what is
// due, writes down that it sends before it does, and applies the answers. What
// it holds is what a store would; a crash loses everything else.
type outbox struct {
	bench    *bench
	meter    core.Meter
	terms    core.MeterTerms
	rnd      *rand.Rand
	accounts []*account
	records  []*metering.Record
	calls    int
	// fault, if set, is asked before each call.
	fault func() alibabasim.MeteringFaults
	// The probabilities that the program ends before a call and after it, in
	// each case with the state that it kept before.
	crashBefore, crashAfter float64
	// outageEnds is until when the marketplace answers nothing of use.
	outageEnds time.Time
}

// account is a subscription and its records.
type account struct {
	metering.Account
	instance string
	taken    map[time.Time]bool
	active   []*metering.Record // not final and not parked
	lastSent time.Time
}

func newOutbox(b *bench, seed uint64) *outbox {
	return &outbox{
		bench: b, meter: b.market.Meter, terms: b.market.Meter.Terms(),
		rnd:   rand.New(rand.NewPCG(seed, 11)),
		fault: func() alibabasim.MeteringFaults { return alibabasim.MeteringFaults{} },
	}
}

// buy adds n accounts with an instance each.
func (o *outbox) buy(t *testing.T, n int) {
	t.Helper()
	for range n {
		i := o.bench.sim.Buy(map[string]string{"expiredOn": "-"})
		o.accounts = append(o.accounts, &account{
			Account: metering.Account{
				Subscription: marketplace.SubscriptionID("sub_" + i.ID),
				Currency:     o.terms.Currency, UnitAmount: o.terms.UnitAmount,
			},
			instance: i.ID, taken: map[time.Time]bool{},
		})
	}
	o.bench.wait(t)
}

func (o *outbox) charge(t *testing.T, a *account, m money.Micros) {
	t.Helper()
	next, err := a.Charge(m)
	if err != nil {
		t.Fatal(err)
	}
	a.Account = next
}

// seal makes a record of what is due, if there is a period for it.
func (o *outbox) seal(t *testing.T, a *account, end time.Time) {
	t.Helper()
	due, err := a.Due(o.terms.MaxUnits)
	if err != nil {
		t.Fatal(err)
	}
	now := o.bench.clock.now()
	if due == 0 {
		return
	}
	p, ok := o.meter.Period(end, now, func(start time.Time) bool { return a.taken[start] })
	if !ok {
		return
	}
	r := &metering.Record{
		ID: metering.RecordID(fmt.Sprintf("mtr_%06d", len(o.records))), Listing: "ali",
		Subscription: a.Subscription, Subject: a.instance, Dimension: o.terms.Dimension,
		PeriodStart: p.Start, PeriodEnd: p.End, Deadline: p.Deadline, Units: due,
		UnitAmount: a.UnitAmount, Currency: a.Currency, SealedAt: now, Status: metering.Sealed,
	}
	a.Account, a.taken[p.Start] = a.Seal(due), true
	a.active = append(a.active, r)
	o.records = append(o.records, r)
}

// send sends what is due to be sent, in calls of a batch.
func (o *outbox) send(t *testing.T) {
	t.Helper()
	now := o.bench.clock.now()
	var batch []*metering.Record
	var of []*account
	flush := func() {
		if len(batch) > 0 {
			o.report(t, batch, of)
		}
		batch, of = nil, nil
	}
	for _, a := range o.accounts {
		for _, r := range a.active {
			if r.RetryAt.After(now) || now.Sub(a.lastSent) < o.terms.Apart {
				continue
			}
			a.lastSent = now
			batch, of = append(batch, r), append(of, a)
			if len(batch) == o.terms.Batch {
				flush()
			}
			break
		}
	}
	flush()
}

// report sends one batch: the states are kept before, the answers after.
func (o *outbox) report(t *testing.T, batch []*metering.Record, of []*account) {
	t.Helper()
	now := o.bench.clock.now()
	sent := make([]metering.Record, len(batch))
	for n, r := range batch {
		r.Status, r.SentAt = metering.Sending, now
		r.Attempts++
		sent[n] = *r
	}
	o.calls++
	var results []metering.Result
	if o.rnd.Float64() >= o.crashBefore {
		if err := o.bench.sim.SetMeteringFaults(o.fault()); err != nil {
			t.Fatal(err)
		}
		results = o.meter.Report(t.Context(), sent)
		if len(results) != len(sent) {
			t.Fatalf("Report(%d records) = %d results", len(sent), len(results))
		}
		if o.rnd.Float64() < o.crashAfter {
			results = nil
		}
	}
	verdicts := map[metering.RecordID]metering.Result{}
	for _, v := range results {
		verdicts[v.Record] = v
	}
	for n, r := range batch {
		v, answered := verdicts[r.ID]
		if !answered {
			v = metering.Result{Verdict: metering.MaybeTaken, Detail: "the program ended while sending"}
		}
		o.answer(of[n], r, v, now)
	}
}

func (o *outbox) answer(a *account, r *metering.Record, v metering.Result, now time.Time) {
	resend := o.meter.Resolve(*r)
	*r = metering.Answer(*r, v, resend, now)
	parked := r.Status == metering.Unknown && !resend
	if r.Status.Final() {
		a.Account = a.Finish(r, now)
	}
	if !r.Status.Final() && !parked {
		return
	}
	for n := range a.active {
		if a.active[n] == r {
			a.active = append(a.active[:n], a.active[n+1:]...)
			return
		}
	}
}

// idle reports whether everything that is due is sealed and nothing is left
// to be sent.
func (o *outbox) idle(t *testing.T) bool {
	t.Helper()
	for _, a := range o.accounts {
		due, err := a.Due(o.terms.MaxUnits)
		if err != nil {
			t.Fatal(err)
		}
		if due > 0 || len(a.active) > 0 {
			return false
		}
	}
	return true
}

// tally is what became of the records.
type tally struct {
	accepted, parked, lost int
	digest                 uint64
}

// check compares every record and every account with what the marketplace
// bills. most is how often it may bill a record that is not known to be billed
// once: with resend, twice.
func (o *outbox) check(t *testing.T, most int) tally {
	t.Helper()
	var sum tally
	h := fnv.New64a()
	units := map[string]int64{} // billed, by instance, as our records explain it
	inFlight := map[string]int64{}
	for _, r := range o.records {
		n := o.bench.sim.MeteredOf(r.Subject, r.Dimension, r.PeriodStart)
		units[r.Subject] += int64(n) * r.Units
		least := 0
		switch r.Status {
		case metering.Accepted:
			sum.accepted++
			least = 1
		case metering.Unknown:
			sum.parked++
			inFlight[r.Subject] += r.Units
			if r.LastError == "" {
				t.Errorf("%s is parked without a reason", r.ID)
			}
		default:
			sum.lost++
		}
		if limit := most; n < least || n > limit || most == 1 && r.Status.Final() && n != least {
			t.Errorf("%s is %s after %d attempts and billed %d times: %s", r.ID, r.Status, r.Attempts, n, r.LastError)
		}
		_, _ = fmt.Fprintln(h, r.ID, r.Status, r.Attempts, r.Units, r.PeriodStart, n)
	}
	for _, a := range o.accounts {
		billed, _ := o.bench.sim.Metered(a.instance, o.terms.Dimension)
		carry, err := a.Carry()
		if err != nil || carry >= a.UnitAmount || a.InFlight != inFlight[a.instance] || billed != units[a.instance] {
			t.Errorf("%s: carry %s (%v), %d units in flight, want %d, %d billed, want %d",
				a.instance, carry, err, a.InFlight, inFlight[a.instance], billed, units[a.instance])
		}
		if most == 1 && (billed < a.Accepted || billed > a.Accepted+a.InFlight) {
			t.Errorf("%s: %d units billed, want %d and at most %d parked ones", a.instance, billed, a.Accepted, a.InFlight)
		}
	}
	for _, p := range o.bench.sim.MeteringProblems() {
		t.Errorf("the marketplace took what it does not bill: %s", p)
	}
	sum.digest = h.Sum64()
	return sum
}

// hostile returns faults of kinds for about every sixth call.
func (o *outbox) hostile(kinds ...func(*alibabasim.MeteringFaults) *int) func() alibabasim.MeteringFaults {
	return func() (f alibabasim.MeteringFaults) {
		if len(kinds) > 0 && o.rnd.IntN(6) == 0 {
			*kinds[o.rnd.IntN(len(kinds))](&f) = 1
		}
		if left := o.outageEnds.Sub(o.bench.clock.now()); left > 0 {
			f.Outage = left.String()
		}
		return f
	}
}
