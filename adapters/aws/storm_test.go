package aws_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"cloudsettle/adapters/aws/awssim"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
	"cloudsettle/core/money"
)

// outbox is the least that reports usage safely: charges become units, units
// become records, and a record's state is stored before each call. Everything
// that a crash must not lose is in stored and accounts.
type outbox struct {
	tb       testing.TB
	w        *world
	rnd      *rand.Rand
	accounts map[string]metering.Account   // by license
	buyers   map[string]awssim.Agreement   // by license
	stored   map[metering.RecordID]string  // JSON
	open     []metering.Record             // in memory: those that are not final
	taken    map[string]map[time.Time]bool // by license
	crash    float64                       // how likely the result of a call is lost here
	before   func()                        // runs before each call
	reports  int
	crashes  int
}

func newOutbox(tb testing.TB, w *world, rnd *rand.Rand) *outbox {
	tb.Helper()
	return &outbox{
		tb: tb, w: w, rnd: rnd, before: func() {},
		accounts: map[string]metering.Account{}, buyers: map[string]awssim.Agreement{},
		stored: map[metering.RecordID]string{}, taken: map[string]map[time.Time]bool{},
	}
}

func (o *outbox) add(a awssim.Agreement) {
	o.buyers[a.License] = a
	o.taken[a.License] = map[time.Time]bool{}
	o.accounts[a.License] = metering.Account{
		Subscription: marketplace.SubscriptionID("sub_" + a.License),
		Currency:     "USD", UnitAmount: o.w.meter.Terms().UnitAmount,
	}
}

func (o *outbox) charge(license string, amount money.Micros) {
	o.tb.Helper()
	next, err := o.accounts[license].Charge(amount)
	if err != nil {
		o.tb.Fatal(err)
	}
	o.accounts[license] = next
}

// seal makes a record of what is due, if there is anything and an hour for it.
func (o *outbox) seal(license string, end time.Time) {
	o.tb.Helper()
	account, terms, now := o.accounts[license], o.w.meter.Terms(), o.w.Now()
	units, err := account.Due(terms.MaxUnits)
	if err != nil {
		o.tb.Fatal(err)
	}
	if units == 0 {
		return
	}
	taken := o.taken[license]
	p, ok := o.w.meter.Period(end, now, func(start time.Time) bool { return taken[start] })
	if !ok {
		return
	}
	taken[p.Start] = true
	r := usage(o.buyers[license], p.Start, units)
	r.ID = metering.RecordID(fmt.Sprintf("%s@%s", license, p.Start.Format(time.RFC3339)))
	r.Subscription, r.UnitAmount, r.Currency = account.Subscription, terms.UnitAmount, terms.Currency
	r.Deadline, r.SealedAt, r.Status, r.Attempts = p.Deadline, now, metering.Sealed, 0
	o.accounts[license] = account.Seal(units)
	o.open = append(o.open, r)
	o.put(r)
}

func (o *outbox) put(r metering.Record) { o.stored[r.ID] = encode(o.tb, r) }

func (o *outbox) get(id metering.RecordID) metering.Record {
	o.tb.Helper()
	var r metering.Record
	if err := json.Unmarshal([]byte(o.stored[id]), &r); err != nil {
		o.tb.Fatal(err)
	}
	return r
}

// push sends what may be sent now, the most urgent first.
func (o *outbox) push() {
	var due []*metering.Record
	for i := range o.open {
		if r := &o.open[i]; !r.RetryAt.After(o.w.Now()) && !parked(*r) {
			due = append(due, r)
		}
	}
	slices.SortFunc(due, func(a, b *metering.Record) int {
		return cmp.Or(a.Deadline.Compare(b.Deadline), cmp.Compare(a.ID, b.ID))
	})
	terms := o.w.meter.Terms()
	for batch := range slices.Chunk(due, terms.Batch) {
		o.send(batch)
		o.w.advance(time.Duration(float64(time.Second) / terms.Rate))
	}
	o.open = slices.DeleteFunc(o.open, func(r metering.Record) bool { return r.Status.Final() || parked(r) })
}

// parked reports whether a record waits for a person: an attempt may have been
// taken, and a later one was refused or came too late.
func parked(r metering.Record) bool {
	return r.Status == metering.Unknown && r.Doubt && !r.RetryAt.Before(r.Deadline)
}

func (o *outbox) send(batch []*metering.Record) {
	sent := make([]metering.Record, len(batch))
	for i, r := range batch {
		r.Status, r.SentAt = metering.Sending, o.w.Now()
		r.Attempts++
		o.put(*r)
		sent[i] = *r
	}
	o.before()
	o.reports++
	results := o.w.meter.Report(o.tb.Context(), sent)
	if o.rnd.Float64() < o.crash {
		o.crashes++
		results = nil
		for i := range o.open { // what was only in memory is gone
			o.open[i] = o.get(o.open[i].ID)
		}
	}
	verdicts := map[metering.RecordID]metering.Result{}
	for _, v := range results {
		verdicts[v.Record] = v
	}
	for _, r := range batch {
		v, ok := verdicts[r.ID]
		if !ok {
			v = metering.Result{Record: r.ID, Verdict: metering.MaybeTaken, Detail: "the program stopped"}
		}
		o.answer(r, v)
	}
}

func (o *outbox) answer(r *metering.Record, v metering.Result) {
	*r = metering.Answer(*r, v, o.w.meter.Resolve(*r), o.w.Now())
	if r.Status.Final() {
		o.accounts[r.Subject] = o.accounts[r.Subject].Finish(r, o.w.Now())
	}
	o.put(*r)
}

// drain sends until everything is final, or for a day.
func (o *outbox) drain() {
	for end := o.w.Now().Add(24 * time.Hour); len(o.open) > 0 && o.w.Now().Before(end); {
		o.push()
		o.w.advance(5 * time.Minute)
	}
}

// balanced compares what was accepted here with what AWS will bill.
func (o *outbox) balanced() {
	o.tb.Helper()
	here, there, waiting := map[string]int64{}, map[string]int64{}, map[string]int64{}
	left := map[string]bool{}
	key := func(subject string, hour time.Time) string { return subject + "@" + hour.Format(time.RFC3339) }
	for id := range o.stored {
		r := o.get(id)
		switch {
		case parked(r) && r.LastError != "":
			waiting[r.Subject] += r.Units
			left[key(r.Subject, r.PeriodStart)] = true
		case !r.Status.Final():
			o.tb.Errorf("record %s is %s: %s", id, r.Status, r.LastError)
		case r.Status == metering.Accepted:
			here[key(r.Subject, r.PeriodStart)] += r.Units
		case r.LastError == "":
			o.tb.Errorf("record %s is %s for no reason", id, r.Status)
		}
	}
	truth := o.w.Metering()
	for _, e := range truth.Entries {
		if !left[key(e.Subject, e.Hour)] {
			there[key(e.Subject, e.Hour)] += e.Quantity
		}
		if !inWindow(e.Hour, e.AcceptedAt) {
			o.tb.Errorf("usage of %s was taken at %s", e.Hour, e.AcceptedAt)
		}
	}
	if diff := gocmp.Diff(here, there); diff != "" {
		o.tb.Errorf("accepted here and billed by AWS differ (-here +there):\n%.2000s", diff)
	}
	for license, account := range o.accounts {
		units, _ := o.w.Metered(license, dimension)
		if units < account.Accepted || units > account.Accepted+waiting[license] || account.InFlight != waiting[license] {
			o.tb.Errorf("%s: AWS bills %d units, want %d and at most the %d that wait for a person of %d in flight",
				license, units, account.Accepted, waiting[license], account.InFlight)
		}
	}
	if len(truth.Violations) > 0 {
		o.tb.Errorf("%d violations of AWS's rules, such as %s", len(truth.Violations), truth.Violations[0])
	}
}

// inWindow is AWS's rule, in other words than the meter's.
func inWindow(hour, at time.Time) bool {
	month := time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
	return !hour.After(at) && at.Sub(hour) < 24*time.Hour &&
		(!hour.Before(month) || at.Before(month.Add(6*time.Hour)))
}

// bad days of AWS and of the network: how likely each is before a call.
func (o *outbox) trouble() {
	o.w.SetMetering(func(f *awssim.MeteringFaults) {
		f.Shuffle = true
		f.DuplicateForIdentical = o.rnd.IntN(2) == 0
		for _, n := range []*int{&f.Throttle, &f.Fail, &f.FailAfter, &f.LoseReply} {
			*n = 0
			if o.rnd.IntN(25) == 0 {
				*n = 1 + o.rnd.IntN(2)
			}
		}
		for _, n := range []*int{&f.Unprocessed, &f.Forget, &f.UnknownStatus} {
			*n = 0
			if o.rnd.IntN(15) == 0 {
				*n = 1 + o.rnd.IntN(25)
			}
		}
		if o.rnd.IntN(400) == 0 {
			f.OutageSeconds = o.rnd.IntN(2 * 60 * 60)
		}
	})
}

// storm lets buyers use the product for some hours over the end of a month,
// and AWS have bad days all the time.
func storm(t *testing.T, seed uint64, buyers, hours int) *outbox {
	t.Helper()
	start := time.Date(2026, 8, 31, 1, 0, 0, 0, time.UTC)
	w := newWorld(t, seed, start, nil)
	o := newOutbox(t, w, rand.New(rand.NewPCG(seed, 3)))
	o.crash, o.before = 0.1, o.trouble
	late, nobody := map[string]int{}, map[string]bool{}
	for n := range buyers {
		switch {
		case n%50 == 7: // AWS does not know the license
			a := awssim.Agreement{License: fmt.Sprintf("l-%032x", n+1<<20), Account: "123456789012"}
			nobody[a.License] = true
			o.add(a)
		case n%50 == 13: // activated after the first usage
			a := w.let(t, "created", n)
			late[a.License] = n
			o.add(a)
		default:
			o.add(w.buy(t, n))
		}
	}
	licenses := slices.Sorted(maps.Keys(o.accounts))
	for h := 1; h <= hours+12; h++ {
		end := start.Add(time.Duration(h) * time.Hour)
		w.advance(max(0, end.Sub(w.Now())))
		for _, license := range licenses {
			if n, ok := late[license]; ok && h == 4 {
				w.buy(t, n)
			}
			if h <= hours {
				o.charge(license, money.Micros(10_000+o.rnd.Int64N(5_000_000)))
			}
			if h <= hours || !nobody[license] {
				o.seal(license, end)
			}
		}
		for range 8 {
			w.advance(5 * time.Minute)
			o.push()
		}
	}
	w.SetMetering(func(f *awssim.MeteringFaults) { *f = awssim.MeteringFaults{} })
	o.before, o.crash = func() {}, 0
	o.drain()
	o.balanced()
	for license, account := range o.accounts {
		carry, err := account.Carry()
		if err != nil || !nobody[license] && (carry < 0 || carry >= account.UnitAmount) {
			t.Errorf("%s: %v is not reported, %v, want less than a unit", license, carry, err)
		}
		if nobody[license] && account.Accepted != 0 {
			t.Errorf("%s: %d units accepted of nobody", license, account.Accepted)
		}
	}
	return o
}

// Ten thousand records through AWS's worst days: nothing is lost, nothing is
// billed twice, nothing is sent outside its window.
func TestStorm(t *testing.T) {
	t.Parallel()
	const buyers, hours = 250, 42
	o := storm(t, 1, buyers, hours)
	statuses, attempts := map[metering.Status]int{}, 0
	for id := range o.stored {
		r := o.get(id)
		statuses[r.Status]++
		attempts += r.Attempts
	}
	t.Logf("%d records, %v, %d attempts, %d reports, %d calls, %d crashes",
		len(o.stored), statuses, attempts, o.reports, o.w.Metering().Calls, o.crashes)
	if len(o.stored) < 10_000 || o.crashes == 0 || statuses[metering.Rejected] == 0 || attempts < len(o.stored)*5/4 {
		t.Error("this was no storm")
	}
}

func TestStormsOfOtherSeeds(t *testing.T) {
	t.Parallel()
	for seed := uint64(2); seed < 8; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			storm(t, seed, 50, 12)
		})
	}
}

// The same seed is the same storm, record by record.
func TestAStormCanBeRepeated(t *testing.T) {
	t.Parallel()
	first, second := storm(t, 9, 50, 8), storm(t, 9, 50, 8)
	if diff := gocmp.Diff(first.stored, second.stored); diff != "" {
		t.Errorf("two storms of a seed differ:\n%.2000s", diff)
	}
}

// After the end of an agreement there is one hour, and AWS may be away for
// forty minutes of it.
func TestFinalUsageIsInTime(t *testing.T) {
	t.Parallel()
	const ends = 1_000
	start := time.Date(2026, 8, 27, 0, 0, 0, 0, time.UTC)
	w := newWorld(t, 1, start, nil)
	o := newOutbox(t, w, rand.New(rand.NewPCG(1, 4)))
	o.crash = 0.03
	leaves := map[int][]int{} // buyers by minute
	const minutes = 10 * 24 * 60
	for n := range ends {
		o.add(w.buy(t, n))
		minute := 60 + o.rnd.IntN(minutes-180)
		leaves[minute] = append(leaves[minute], n)
	}
	nextOutage, outages := 30, 0
	for minute := range minutes {
		now := start.Add(time.Duration(minute) * time.Minute)
		w.advance(max(0, now.Sub(w.Now())))
		if minute == nextOutage {
			length := 1 + o.rnd.IntN(40)
			w.SetMetering(func(f *awssim.MeteringFaults) { f.OutageSeconds = length * 60 })
			nextOutage += length + 30 + o.rnd.IntN(90)
			outages++
		}
		for _, n := range leaves[minute] {
			a := w.let(t, "unsubscribe", n)
			o.charge(a.License, money.Micros(10_000+o.rnd.Int64N(5_000_000)))
			o.seal(a.License, w.Now())
		}
		if len(o.open) > 0 {
			w.SetMetering(func(f *awssim.MeteringFaults) { f.LoseReply = o.rnd.IntN(20) / 19 })
			o.push()
		}
	}
	o.balanced()
	ended := map[string]time.Time{}
	for _, a := range w.Agreements() {
		ended[a.License] = a.EndedAt
	}
	latest := time.Duration(0)
	for _, e := range w.Metering().Entries {
		latest = max(latest, e.AcceptedAt.Sub(ended[e.Subject]))
	}
	t.Logf("%d outages; the latest final record came %s after the end", outages, latest)
	if n := len(w.Metering().Entries); n != ends || latest >= time.Hour || latest < 20*time.Minute {
		t.Errorf("%d of %d final records were accepted, the latest %s after the end", n, ends, latest)
	}
}

// An outage over the end of the window: what AWS surely did not take is due
// again under an hour that is open, and what it may have taken waits for a person
// and is not billed again.
func TestUsageOutlivesAnOutageLongerThanItsWindow(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 8, 30, 12, 0, 0, 0, time.UTC)
	w := newWorld(t, 1, start, nil)
	o := newOutbox(t, w, rand.New(rand.NewPCG(1, 5)))
	a := w.buy(t, 1)
	o.add(a)
	w.advance(6 * time.Hour)
	w.SetMetering(func(f *awssim.MeteringFaults) { f.OutageSeconds = 40 * 60 * 60 })
	for range 60 {
		o.charge(a.License, 1_234_567)
		o.seal(a.License, w.Now())
		o.push()
		w.advance(time.Hour)
	}
	o.seal(a.License, w.Now())
	o.drain()
	o.balanced()
	account := o.accounts[a.License]
	if carry, err := account.Carry(); err != nil || carry < 0 || carry >= account.UnitAmount || account.Lost+account.InFlight == 0 {
		t.Errorf("after the outage %v is not reported, %v, %d units were lost and %d wait", carry, err, account.Lost, account.InFlight)
	}
}
