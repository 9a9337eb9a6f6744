package core_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
	"cloudsettle/core/workspace"
)

// ended lets a subscription end now.
func (x *till) ended(subject string) {
	x.t.Helper()
	x.tell(x.cloud, marketplace.Event{Kind: marketplace.Ending, Subject: subject, Rank: "9"})
}

// TestFinalRecordsMeetTheirHour: subscriptions end while their marketplace is
// out of reach for up to 55 minutes; all final usage is accepted within the
// hour that it is taken for.
func TestFinalRecordsMeetTheirHour(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1)) // #nosec -- a test
	x := alarmed(t)
	x.meter.terms = core.MeterTerms{FinalWithin: time.Hour}
	const subscriptions = 40
	back := map[marketplace.SubscriptionID]time.Time{} // when its marketplace answers again
	var ids []marketplace.SubscriptionID
	for i := range subscriptions {
		sub, ws := x.cloudWorkspace(fmt.Sprintf("s-%d", i))
		ids = append(ids, sub.ID)
		x.use(ws, "time_series", "3d", 1, "6000")
	}
	x.meter.verdict = func(r metering.Record) metering.Verdict {
		switch {
		case x.Now().Before(back[r.Subscription]) && random.IntN(2) == 0:
			return metering.NotTaken
		case x.Now().Before(back[r.Subscription]):
			return metering.Throttled
		case !x.Now().Before(r.Deadline):
			return metering.NotActive
		}
		return metering.OK
	}
	x.clock.Add(time.Hour)
	for i, id := range ids {
		back[id] = x.Now().Add(time.Duration(random.IntN(55)) * time.Minute)
		x.ended(fmt.Sprintf("s-%d", i))
	}
	end := x.Now()
	for x.Now().Before(end.Add(time.Hour)) {
		must(t, x.RunTasks(t.Context()))
		x.flush()
		x.clock.Add(5 * time.Second)
	}
	for _, id := range ids {
		if r := x.only(id); r.Status != metering.Accepted || r.Deadline.After(end.Add(time.Hour)) {
			t.Errorf("outage until %s: %s after %d attempts, deadline %s, want it accepted by %s",
				back[id], r.Status, r.Attempts, r.Deadline, end.Add(time.Hour))
		}
	}
	x.sound()
}

// TestWaitingRecordsHurry: a record that was sealed while there was a day left
// gets the final window when its subscription ends, and goes first.
func TestWaitingRecordsHurry(t *testing.T) {
	t.Parallel()
	x := alarmed(t)
	x.meter.terms = core.MeterTerms{FinalWithin: time.Hour}
	early, ws1 := x.cloudWorkspace("s-1")
	late, ws2 := x.cloudWorkspace("s-2")
	x.use(ws1, "time_series", "3d", 1, "6000")
	x.use(ws2, "time_series", "3d", 1, "6000")
	x.says(metering.Throttled)
	x.close()
	for range 8 { // the waits between attempts grow
		x.flush()
		x.clock.Add(20 * time.Minute)
	}
	x.clock.Add(-19 * time.Minute) // the next attempt is far off
	x.ended("s-2")
	x.says(metering.OK)
	must(t, x.RunTasks(t.Context()))
	x.flush()
	if r := x.only(late.ID); r.Status != metering.Accepted || r.Deadline.After(x.Now().Add(time.Hour)) {
		t.Errorf("the ended subscription's record is %s, deadline %s", r.Status, r.Deadline)
	}
	x.clock.Add(time.Hour)
	x.flush()
	if r := x.only(early.ID); r.Status != metering.Accepted {
		t.Errorf("the other record is %s", r.Status)
	}
	last := x.meter.sent[len(x.meter.sent)-2]
	if last[0].Subscription != late.ID {
		t.Errorf("%s was sent before the ended one", last[0].Subscription)
	}
	x.sound()
}

// TestOverIsHeld: what is charged after the final window is not sent, for some
// marketplaces would take it and not bill it. People are told, and may ask for
// it; a subscription that goes on is reported again.
func TestOverIsHeld(t *testing.T) {
	t.Parallel()
	x := alarmed(t)
	x.meter.terms = core.MeterTerms{FinalWithin: time.Hour}
	sub, ws := x.cloudWorkspace("s-1")
	x.clock.Add(2 * time.Hour)
	x.ended("s-1")
	must(t, x.RunTasks(t.Context()))
	x.use(ws, "time_series", "3d", 2, "6000") // nobody reported it in time
	x.close()
	x.flush()
	mails := x.watch()
	if n := len(x.records(sub.ID)); n != 0 || len(mails) != 1 || subjects(mails) != "[Test] Metering of cloud-main: 1 held" {
		t.Errorf("%d records, mails %q, want none, and one about what is held", n, subjects(mails))
	}
	x.tell(x.cloud, marketplace.Event{Kind: marketplace.Changed, Subject: "s-1", SKU: "gold", Rank: "99"})
	x.flush()
	if hold := x.state(sub.ID).Signs.Account.Hold; hold != metering.HoldOver {
		t.Errorf("hold %q after another fact about what has ended, want over", hold)
	}
	if _, err := x.RetryMetering(t.Context(), core.Request{}, sub.ID); err != nil {
		t.Fatal(err)
	}
	x.flush()
	if r := x.only(sub.ID); r.Status != metering.Accepted || r.Units != 360 {
		t.Errorf("after a retry: %+v, want 360 units accepted", r)
	}
	x.sound()
}

// TestTheEndIsChargedToTheCloud: what was used up to the end of a subscription
// is not paid by the wallet that settles the workspace from then on, however
// fine the clock is.
func TestTheEndIsChargedToTheCloud(t *testing.T) {
	t.Parallel()
	x := alarmed(t)
	x.Marketplaces[0].Listing.OnRelease = workspace.SettleByWallet
	x.cloud = x.Marketplaces[0]
	x.restart()
	_, ws := x.cloudWorkspace("s-1")
	x.use(ws, "time_series", "3d", 1, "6000")
	x.clock.Add(time.Hour + 123_456_789*time.Nanosecond)
	x.tell(x.cloud, marketplace.Event{Kind: marketplace.Ended, Subject: "s-1", Rank: "9"})
	must(t, x.RunTasks(t.Context()))
	x.flush()
	if b := x.bill(ws, x.day); b.Cloud != b.Total || b.Total == 0 || x.taken() != 360 {
		t.Errorf("bill %s, %s through the cloud, %d units taken, want all of it", b.Total, b.Cloud, x.taken())
	}
	if now, _ := x.settled(ws); now.Method != workspace.ByBillingAccount {
		t.Errorf("%s is settled by %s afterwards, want the wallet", ws, now.Method)
	}
	x.sound()
}

// TestResumedIsReportedAgain: a subscription that is activated after its end
// has no final window any more, and its next end has one of its own.
func TestResumedIsReportedAgain(t *testing.T) {
	t.Parallel()
	x := alarmed(t)
	x.meter.terms = core.MeterTerms{FinalWithin: time.Hour}
	sub, ws := x.cloudWorkspace("s-1")
	x.tell(x.cloud, marketplace.Event{Kind: marketplace.Ending, Subject: "s-1", Rank: "2"})
	must(t, x.RunTasks(t.Context()))
	x.use(ws, "time_series", "3d", 2, "6000")
	x.close()
	x.flush()
	x.tell(x.cloud, marketplace.Event{Kind: marketplace.Activated, Subject: "s-1", Account: "b-s-1", Rank: "3"})
	x.flush()
	if r := x.only(sub.ID); r.Status != metering.Accepted || r.Units != 360 {
		t.Errorf("after the activation: %+v, want 360 units accepted", r)
	}
	x.tell(x.cloud, marketplace.Event{Kind: marketplace.Ended, Subject: "s-1", Rank: "4"})
	got, err := x.Subscription(t.Context(), core.Actor{}, sub.ID)
	must(t, err)
	if at := got.StoppedAt(); !at.Equal(x.Now()) {
		t.Errorf("stopped at %s, want %s: the first ending was taken back", at, x.Now())
	}
	x.sound()
}

// TestLateAfterAnEarlyBill: the end of a subscription bills the running day.
// Usage of that day that comes afterwards is billed with the next one.
func TestLateAfterAnEarlyBill(t *testing.T) {
	t.Parallel()
	x := alarmed(t)
	sub, ws := x.cloudWorkspace("s-1")
	x.clock.Add(time.Hour)
	x.use(ws, "time_series", "3d", 1, "6000")
	x.ended("s-1")
	must(t, x.RunTasks(t.Context()))
	for range 2 { // also when it is sent again
		x.use(ws, "time_series", "3d", 2, "7000")
	}
	x.clock.Add(48 * time.Hour)
	out, err := x.SettleDay(t.Context(), x.day+1, core.SettleOptions{})
	if err != nil || out.Bills != 1 {
		t.Fatalf("settled %d, %v, want 1", out.Bills, err)
	}
	b := x.bill(ws, x.day+1)
	if b.Total.String() != "0.600000" || b.Settlement.Subscription != sub.ID {
		t.Errorf("the next day's bill %s by %+v, want 0.6 more", b.Total, b.Settlement)
	}
	x.sound()
}

// TestRecordsOfOneSubscriptionAreApart: where a marketplace wants time between
// the records of a subscription they are not sent together, and two are
// nevertheless on their way at the same time when a day and the end come
// together.
func TestRecordsOfOneSubscriptionAreApart(t *testing.T) {
	t.Parallel()
	x := alarmed(t)
	x.meter.terms = core.MeterTerms{FinalWithin: time.Hour, SameSubscription: true, Apart: time.Minute, MaxUnits: 100}
	sub, ws := x.cloudWorkspace("s-1")
	x.use(ws, "time_series", "3d", 1, "6000") // 360 units: four records
	x.clock.Add(5 * time.Hour)
	x.ended("s-1")
	end := x.Now()
	must(t, x.RunTasks(t.Context()))
	for x.Now().Before(end.Add(10 * time.Minute)) {
		x.flush()
		x.clock.Add(5 * time.Second)
	}
	var last time.Time
	units := int64(0)
	for _, r := range x.records(sub.ID) {
		if r.SentAt.Sub(last) < time.Minute {
			t.Errorf("record %s was sent at %s, %s after another", r.ID, r.SentAt, r.SentAt.Sub(last))
		}
		last = r.SentAt
		units += r.Units
	}
	if units != 360 || x.taken() != 360 {
		t.Errorf("%d units in records, %d taken, want 360", units, x.taken())
	}
	x.sound()
}

// TestZeroRecords: a listing that wants it reports each hour, and sums stay.
func TestZeroRecords(t *testing.T) {
	t.Parallel()
	for _, wanted := range []bool{false, true} {
		t.Run(fmt.Sprint(wanted), func(t *testing.T) {
			t.Parallel()
			x := alarmed(t)
			x.meter.terms = core.MeterTerms{ReportZero: wanted}
			sub, ws := x.cloudWorkspace("s-1")
			unclaimed, pending := x.buy(x.cloud, "s-3", "b-3"), x.buy(x.cloud, "s-2", "b-2")
			x.tell(x.cloud, marketplace.Event{Kind: marketplace.Suspended, Subject: "s-2", Rank: "2"})
			x.use(ws, "time_series", "3d", 1, "6000")
			_, end := x.day.Bounds(time.FixedZone("+8", 8*3600))
			for range 19 * 12 { // past the end of the day at the site, with a restart each hour
				if x.Now().Minute() == 30 {
					x.restart()
				}
				if x.Now().Equal(end.Add(time.Hour)) {
					x.close()
				}
				must(t, x.SealZeros(t.Context()))
				x.flush()
				x.clock.Add(5 * time.Minute)
			}
			hours := map[time.Time]int64{}
			for _, r := range x.records(sub.ID) {
				hours[r.PeriodStart] = r.Units
			}
			count := 1
			if wanted {
				count = 18 // of 19 hours the last one was not over for long enough
			}
			if units := hours[end.Add(-time.Hour)]; len(hours) != count || units != 360 {
				t.Errorf("records for %d hours, the day's last with %d units, want %d and 360: %v", len(hours), units, count, hours)
			}
			if n := len(x.records(unclaimed.ID)); (n > 0) != wanted {
				t.Errorf("%d records of an active subscription that nobody claimed", n)
			}
			if n := len(x.records(pending.ID)); n != 0 {
				t.Errorf("%d records of a frozen subscription", n)
			}
			if x.taken() != 360 || x.state(sub.ID).Signs.Account.Accepted != 360 {
				t.Errorf("%d units taken, want 360", x.taken())
			}
			x.sound()
		})
	}
}

// TestHealthOfReporting: nobody who is on call takes broken reporting for a
// customer who used nothing.
func TestHealthOfReporting(t *testing.T) {
	t.Parallel()
	x := alarmed(t)
	sub, ws := x.cloudWorkspace("s-1")
	bare := x.buy(x.cloud, "s-0", "b-0")
	want := func(when string, health metering.Health) {
		t.Helper()
		must(t, x.SurveyMeters(t.Context()))
		st := x.state(sub.ID)
		if n := x.Gauges().Health["cloud-main"][health]; st.Health != health || n != 1 {
			t.Errorf("%s: %s, %d in the gauge, want %s: %+v", when, st.Health, n, health, st.Signs)
		}
	}
	next := func() {
		x.day++
		x.start = x.start.AddDate(0, 0, 1)
	}
	want("bound, without any usage", metering.Silent)
	x.use(ws, "time_series", "3d", 15, "0")
	want("zero usage", metering.Idle)
	next()
	x.clock.Add(24 * time.Hour)
	x.use(ws, "time_series", "3d", 15, "6000")
	want("usage that is not settled yet", metering.Reporting)
	x.close()
	x.says(metering.NotTaken)
	x.flush()
	x.clock.Add(13 * time.Hour)
	want("a record past half its window", metering.Stuck)
	x.says(metering.OK)
	x.clock.Add(time.Hour)
	x.flush()
	next()
	x.use(ws, "time_series", "3d", 15, "6000")
	want("an accepted record", metering.Reporting)
	if st := x.state(sub.ID); st.LastSettled != x.day-1 || st.Last == nil || st.Last.Units != 360 || !st.Signs.UsageUntil.Equal(x.start.Add(16*time.Hour)) {
		t.Errorf("state %+v, want %s settled last and 360 units accepted", st, x.day-1)
	}
	x.clock.Add(3 * 24 * time.Hour)
	want("no usage for days", metering.Silent)
	next()
	next()
	next()
	x.use(ws, "time_series", "3d", 1, "3") // 0.0018, less than a unit
	x.close()
	x.flush()
	want("less than a unit", metering.Idle)
	if st := x.state(bare.ID); st.Health != metering.Unbound {
		t.Errorf("a subscription without workspaces is %s, want unbound", st.Health)
	}
	x.tell(x.cloud, marketplace.Event{Kind: marketplace.Suspended, Subject: "s-1", Rank: "2"})
	if st := x.state(sub.ID); st.Health != metering.Unbound {
		t.Errorf("a frozen subscription is %s, want unbound: its workspaces are locked", st.Health)
	}
	x.tell(x.cloud, marketplace.Event{Kind: marketplace.Resumed, Subject: "s-1", Rank: "3"})
	list, err := x.MeterStates(t.Context(), core.MeterStateFilter{Health: metering.Idle}, core.Page{Limit: 10})
	if err != nil || len(list.Items) != 1 || list.Items[0].Subscription != sub.ID {
		t.Errorf("idle subscriptions %+v, %v, want %s", list.Items, err, sub.ID)
	}
	x.sound()
}
