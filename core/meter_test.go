package core_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"cloudsettle/core"
	"cloudsettle/core/ledger"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
	"cloudsettle/core/workspace"
)

const operator = "oncall@example.com"

// alarmed returns a till whose operators are mailed.
func alarmed(t *testing.T) *till {
	t.Helper()
	x := newTill(t)
	x.restart()
	return x
}

// restart makes a new service on the same store: what was in memory is gone.
func (x *till) restart() {
	c := x.Config
	c.Alerts.Email = []string{operator}
	x.Service = core.NewService(c)
}

// cloudWorkspace returns a workspace that settles through a new subscription.
func (x *till) cloudWorkspace(subject string) (marketplace.Subscription, workspace.ID) {
	x.t.Helper()
	sub := x.buy(x.cloud, subject, "b-"+subject)
	x.claim(sub, x.acc)
	ws := x.workspace("c1")
	must(x.t, x.bind(ws, x.acc, sub.ID))
	return sub, ws
}

// says makes the marketplace give one verdict from now on.
func (x *till) says(v metering.Verdict) {
	x.meter.mu.Lock()
	defer x.meter.mu.Unlock()
	x.meter.verdict = func(metering.Record) metering.Verdict { return v }
}

// records returns the records of a subscription, by their making.
func (x *till) records(id marketplace.SubscriptionID) []metering.Record {
	x.t.Helper()
	list, err := x.MeterRecords(x.t.Context(), core.Actor{}, id, core.Page{Limit: core.MaxPage})
	must(x.t, err)
	return list.Items
}

// only returns the one record of a subscription.
func (x *till) only(id marketplace.SubscriptionID) metering.Record {
	x.t.Helper()
	r := x.records(id)
	if len(r) != 1 {
		x.t.Fatalf("%d records of %s, want 1: %+v", len(r), id, r)
	}
	return r[0]
}

// taken returns what the marketplace has on file of all subscriptions.
func (x *till) taken() (units int64) {
	x.meter.mu.Lock()
	defer x.meter.mu.Unlock()
	for _, n := range x.meter.taken {
		units += n
	}
	return units
}

// watch lets the alarms be looked at and their mails be sent, and returns the
// mails.
func (x *till) watch() []core.Mail {
	x.t.Helper()
	must(x.t, x.WatchMeters(x.t.Context()))
	must(x.t, x.RunTasks(x.t.Context()))
	x.mails.mu.Lock()
	defer x.mails.mu.Unlock()
	var out []core.Mail
	for _, m := range x.mails.mails {
		if m.To == operator {
			out = append(out, m)
		}
	}
	x.mails.mails = nil
	return out
}

func (x *till) state(id marketplace.SubscriptionID) core.MeterState {
	x.t.Helper()
	st, err := x.MeterState(x.t.Context(), core.Actor{}, id)
	must(x.t, err)
	return st
}

func subjects(mails []core.Mail) string {
	var out []string
	for _, m := range mails {
		out = append(out, m.Subject)
	}
	return strings.Join(out, "; ")
}

// flush seals and reports what is due now.
func (x *till) flush() {
	x.t.Helper()
	must(x.t, x.Flush(x.t.Context()))
}

// TestAlarmsAreToldOnce: at half and at four fifths of the window, once each,
// also if the program is started anew in between.
func TestAlarmsAreToldOnce(t *testing.T) {
	t.Parallel()
	x := alarmed(t)
	sub, ws := x.cloudWorkspace("s-1")
	x.use(ws, "time_series", "3d", 1, "6000")
	x.says(metering.Throttled)
	x.close()
	x.flush()
	for _, step := range []struct {
		hours int // of a window of 24
		want  string
	}{{11, ""}, {1, "1 warning"}, {1, ""}, {6, ""}, {1, "1 critical"}, {1, ""}} {
		x.clock.Add(time.Duration(step.hours) * time.Hour)
		got := x.watch()
		if step.want == "" && len(got) > 0 || step.want != "" && (len(got) != 1 || !strings.HasSuffix(got[0].Subject, step.want)) {
			t.Errorf("after %d more hours: mails %q, want %q", step.hours, subjects(got), step.want)
		}
		if len(got) == 1 && !strings.Contains(got[0].Text, string(x.only(sub.ID).ID)) {
			t.Errorf("the mail does not name the record: %s", got[0].Text)
		}
		x.restart()
	}
	g := x.Gauges()
	if len(g.Records) != 0 {
		t.Errorf("a new service shows %+v before it looked", g)
	}
	must(t, x.WatchMeters(t.Context()))
	if g = x.Gauges(); g.Records["cloud-main"][metering.Critical] != 1 || x.Now().Sub(g.Oldest["cloud-main"]) < 21*time.Hour {
		t.Errorf("gauges %+v, want one critical record, 21 hours old", g)
	}
}

// TestOneMailForOneOutage: what befalls many records is one mail.
func TestOneMailForOneOutage(t *testing.T) {
	t.Parallel()
	x := alarmed(t)
	const subscriptions = 120
	counted := map[metering.Trouble]int{}
	x.Alerts.Count = func(_ marketplace.ListingID, t metering.Trouble, n int) { counted[t] += n }
	for i := range subscriptions {
		_, ws := x.cloudWorkspace(fmt.Sprintf("s-%d", i))
		x.use(ws, "time_series", "3d", 1, "6000")
	}
	x.says(metering.Throttled)
	x.close()
	x.flush()
	x.clock.Add(20 * time.Hour)
	mails := x.watch()
	if len(mails) != 1 || !strings.Contains(mails[0].Subject, fmt.Sprintf("%d critical", subscriptions)) ||
		!strings.Contains(mails[0].Text, "and 70 more") {
		t.Errorf("mails %q, want one about %d records that lists 50", subjects(mails), subscriptions)
	}
	x.clock.Add(5 * time.Hour) // the window closes
	x.flush()
	if mails = x.watch(); len(mails) != 1 || !strings.Contains(mails[0].Subject, fmt.Sprintf("%d expired", subscriptions)) {
		t.Errorf("mails %q, want one about %d expired records", subjects(mails), subscriptions)
	}
	if counted[metering.TroubleCritical] != subscriptions || counted[metering.TroubleExpired] != subscriptions {
		t.Errorf("counted %v, want %d each of critical and expired", counted, subscriptions)
	}
	x.sound()
}

// TestWhatEndsUnacceptedIsTold: also what is unknown; nothing ends in silence.
func TestWhatEndsUnacceptedIsTold(t *testing.T) {
	t.Parallel()
	for verdict, want := range map[metering.Verdict]string{
		metering.Refused: "1 rejected", metering.Different: "1 conflict", metering.OutOfTime: "1 expired",
		metering.MaybeTaken: "1 unknown", metering.OK: "",
	} {
		t.Run(string(verdict), func(t *testing.T) {
			t.Parallel()
			x := alarmed(t)
			x.meter.parks = true
			_, ws := x.cloudWorkspace("s-1")
			x.use(ws, "time_series", "3d", 1, "6000")
			x.says(verdict)
			x.close()
			x.flush()
			x.restart()
			if got := subjects(x.watch()); want == "" && got != "" || !strings.HasSuffix(got, want) {
				t.Errorf("mails %q, want %q", got, want)
			}
			if got := x.watch(); len(got) != 0 {
				t.Errorf("told again: %q", subjects(got))
			}
			x.sound()
		})
	}
}

// TestUnknownIsDecidedByHand: accepted counts, not accepted is sealed again.
func TestUnknownIsDecidedByHand(t *testing.T) {
	t.Parallel()
	for _, accepted := range []bool{true, false} {
		t.Run(fmt.Sprint(accepted), func(t *testing.T) {
			t.Parallel()
			x := alarmed(t)
			x.meter.parks = true
			sub, ws := x.cloudWorkspace("s-1")
			x.use(ws, "time_series", "3d", 1, "6000")
			x.says(metering.MaybeTaken)
			x.close()
			x.flush()
			r := x.only(sub.ID)
			if r.Status != metering.Unknown {
				t.Fatalf("the record is %s, want unknown", r.Status)
			}
			if st := x.state(sub.ID); st.Health != metering.Stuck {
				t.Errorf("health %s with an unknown record, want stuck", st.Health)
			}
			req := core.Request{Actor: core.Actor{Name: "key:ann"}, Key: "k1", Digest: "d"}
			for range 3 { // a repeat, with the key and without
				got, err := x.ResolveRecord(t.Context(), req, r.ID, accepted, "seen in the console")
				must(t, err)
				if got.Resolution.By != "key:ann" || got.Resolution.Accepted != accepted || !got.Status.Final() {
					t.Errorf("resolved: %+v", got)
				}
				req.Key = ""
			}
			if _, err := x.ResolveRecord(t.Context(), req, r.ID, !accepted, "no"); code(err) != "not_unknown" {
				t.Errorf("deciding otherwise afterwards: %v, want not_unknown", err)
			}
			x.says(metering.OK)
			x.flush()
			st := x.state(sub.ID).Signs.Account
			if st.Accepted != 360 || st.InFlight != 0 || st.Hold != "" {
				t.Errorf("account %+v, want 360 accepted", st)
			}
			want := 1
			if !accepted {
				want = 2
			}
			if got := x.records(sub.ID); len(got) != want || got[0].PeriodStart.Equal(got[want-1].PeriodStart) == !accepted {
				t.Errorf("records %+v, want %d, of different periods", got, want)
			}
			x.sound()
		})
	}
}

// TestOnlyUnknownIsDecidedByHand: what the marketplace answers is not
// overruled, and a decision has a reason.
func TestOnlyUnknownIsDecidedByHand(t *testing.T) {
	t.Parallel()
	x := alarmed(t)
	sub, ws := x.cloudWorkspace("s-1")
	x.use(ws, "time_series", "3d", 1, "6000")
	x.close()
	x.flush()
	id := x.only(sub.ID).ID
	for want, try := range map[string]func() error{
		"not_unknown": func() error { _, err := x.ResolveRecord(t.Context(), core.Request{}, id, false, "why"); return err },
		"not_found":   func() error { _, err := x.ResolveRecord(t.Context(), core.Request{}, "mr_x", false, "why"); return err },
		"reason_required": func() error {
			_, err := x.ResolveRecord(t.Context(), core.Request{}, id, false, "")
			return err
		},
	} {
		if got := code(try()); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	x.sound()
}

// TestRefusedForGoodIsHeld: with each charge all that is due would be sealed
// and refused again. It is held, once told of, until somebody changes
// something; nothing is dropped.
func TestRefusedForGoodIsHeld(t *testing.T) {
	t.Parallel()
	for _, verdict := range []metering.Verdict{metering.Refused, metering.Different} {
		for how, lift := range map[string]func(*till, marketplace.SubscriptionID){
			"retry": func(x *till, id marketplace.SubscriptionID) {
				_, err := x.RetryMetering(x.t.Context(), core.Request{}, id)
				must(x.t, err)
			},
			"change": func(x *till, _ marketplace.SubscriptionID) {
				x.tell(x.cloud, marketplace.Event{Kind: marketplace.Changed, Subject: "s-1", SKU: "gold", Rank: "2"})
			},
		} {
			t.Run(string(verdict)+"/"+how, func(t *testing.T) {
				t.Parallel()
				x := alarmed(t)
				sub, ws := x.cloudWorkspace("s-1")
				x.says(verdict)
				mails := 0
				for range 4 {
					x.use(ws, "time_series", "3d", 1, "6000")
					x.close()
					x.flush()
					mails += len(x.watch())
					x.day++
					x.start = x.start.AddDate(0, 0, 1)
				}
				if got := x.records(sub.ID); len(got) != 1 || mails != 1 {
					t.Fatalf("%d records and %d mails for four days, want one of each", len(got), mails)
				}
				if st := x.state(sub.ID); st.Health != metering.Stuck || st.Signs.Account.Hold == "" {
					t.Errorf("state %+v, want stuck, with a hold", st)
				}
				x.says(metering.OK)
				lift(x, sub.ID)
				x.flush()
				if st := x.state(sub.ID); st.Signs.Account.Accepted != 4*360 || st.Signs.Account.Hold != "" {
					t.Errorf("account %+v, want all four days accepted", st.Signs.Account)
				}
				if got := x.balance(ledger.Cloud(string(sub.ID))); got != "-14.400000" {
					t.Errorf("charged %s, want 14.4", got)
				}
				x.sound()
			})
		}
	}
}

// between is a store that does something after one of its transactions.
type between struct {
	core.Store
	after int // how many transactions from now
	do    func()
}

func (b *between) Update(ctx context.Context, fn func(context.Context, core.Tx) error) error {
	err := b.Store.Update(ctx, fn)
	if b.after--; b.after == 0 {
		b.do()
	}
	return err
}

// TestSealingMissesNoCharge: a charge that comes between any two transactions
// of a flush is sealed, by this one or the next.
func TestSealingMissesNoCharge(t *testing.T) {
	t.Parallel()
	for after := 1; after <= 6; after++ {
		x := alarmed(t)
		_, first := x.cloudWorkspace("s-1")
		second := x.workspace("c1")
		sub, _ := x.settled(first)
		must(t, x.bind(second, x.acc, sub.Subscription))
		x.use(first, "time_series", "3d", 1, "6000")
		x.close()
		raw, charged := x.Service, false
		c := x.Config
		c.Store = &between{Store: x.store, after: after, do: func() {
			x.use(second, "time_series", "3d", 1, "6000")
			out, err := raw.SettleDay(t.Context(), x.day, core.SettleOptions{})
			charged = err == nil && out.Bills == 1
		}}
		must(t, core.NewService(c).Flush(t.Context()))
		if after <= 3 && !charged {
			t.Errorf("nothing was charged after transaction %d", after)
		}
		x.flush()
		if got, want := x.taken(), int64(360); charged && got != 2*want {
			t.Errorf("a charge after transaction %d: the marketplace has %d units, want %d", after, got, 2*want)
		}
		x.sound()
	}
}

// TestACallIsNotGivenUp: a request or a program that ends while a marketplace
// is asked leaves no record unknown.
func TestACallIsNotGivenUp(t *testing.T) {
	t.Parallel()
	x := alarmed(t)
	x.meter.parks = true
	sub, ws := x.cloudWorkspace("s-1")
	x.use(ws, "time_series", "3d", 1, "6000")
	x.close()
	ctx, giveUp := context.WithCancel(t.Context())
	goOn := make(chan struct{})
	x.meter.verdict = func(metering.Record) metering.Verdict {
		giveUp()
		<-goOn
		return metering.OK
	}
	if err := x.Flush(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Flush() = %v, want that it was canceled", err)
	}
	if r := x.only(sub.ID); r.Status != metering.Sending {
		t.Errorf("the record is %s while the marketplace is asked, want sending", r.Status)
	}
	close(goOn)
	x.Wait()
	if r := x.only(sub.ID); r.Status != metering.Accepted {
		t.Errorf("the record is %s, want accepted", r.Status)
	}
	x.sound()
}
