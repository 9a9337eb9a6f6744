package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/govalues/decimal"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/id"
	"cloudsettle/core/pricing"
	"cloudsettle/core/settlement"
	coreusage "cloudsettle/core/usage"
	"cloudsettle/core/workspace"
	"cloudsettle/store"
	"cloudsettle/store/fresh"
	"cloudsettle/store/postgres/pgtest"
)

// How replicas are tested.
const (
	replicaSpaces = 17_000 // three ranges
	replicaPayers = 170
	replicaWithin = 3 * time.Minute
)

// replicas starts servers on one database.
func replicas(t *testing.T, n int, url string) []*rig {
	t.Helper()
	var out []*rig
	for range n {
		r := newRigOn(t, t.TempDir(), url)
		r.serve = []string{"--dev"} // for the clock
		r.start()
		out = append(out, r)
	}
	return out
}

// ask calls the server's API and decodes what it answers.
func (r *rig) ask(method, path string, body, into any) int {
	r.t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		r.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, bytes.NewReader(raw))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+bootstrap)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatalf("%s %s: %v; %s", method, path, err, r.stderr)
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		r.t.Fatalf("%s %s = %s: %v", method, path, resp.Status, err)
	}
	return resp.StatusCode
}

// runsOf is what the runs of a server's store come to.
func (r *rig) runsOf() (bills int, done bool) {
	var list struct {
		Data []struct {
			Bills  int
			Status string
		}
	}
	r.ask(http.MethodGet, "/api/v1/settlement-runs", nil, &list)
	done = len(list.Data) > 0
	for _, run := range list.Data {
		bills += run.Bills
		done = done && run.Status == "done"
	}
	return bills, done
}

// TestReplicasOnOneDatabase: three servers on one database. What one was told
// all know; one is killed at the settlement of a large day, and the others do
// what it had not taken at once, and the rest when its lease ends. What it had
// done stays as it is, and each workspace has one bill, which was counted once.
func TestReplicasOnOneDatabase(t *testing.T) {
	t.Parallel()
	fresh.Own(t)
	url := pgtest.New(t)
	st, err := store.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	day := coreusage.DayOf(time.Now(), time.UTC) - 2 // over everywhere
	fillDay(t, st, day)
	began := time.Now()
	three := replicas(t, 3, url)
	heardByAll(t, three)

	run, kept := killedAt(t, st, day, three[1], three[0], three[2])
	left := []*rig{three[0], three[2]}
	until(t, "the others have done all but what it had leased", func() bool { return rangesLeft(t, st, run) <= 1 })
	n := billsOn(t, st, day, 0)
	leased := time.Since(began) < time.Minute // on a slower machine its lease may have ended, and the day be due
	if n <= len(kept) || leased && n >= replicaSpaces {
		t.Errorf("%d bills are made while its lease lasts, %d of them its own, want some of %d", n, len(kept), replicaSpaces)
	}
	for _, r := range left { // what it had leased is free
		var now map[string]any
		r.ask(http.MethodPut, "/dev/clock", map[string]string{"now": time.Now().Add(2 * time.Minute).UTC().Format(time.RFC3339)}, &now)
	}
	until(t, "the run is done", func() bool { _, done := left[0].runsOf(); return done })
	bills := allBills(t, st, day)
	if counted, _ := left[1].runsOf(); counted != replicaSpaces || len(bills) != replicaSpaces {
		t.Errorf("%d bills counted, %d workspaces have one, want %d", counted, len(bills), replicaSpaces)
	}
	for ws, b := range kept {
		if !reflect.DeepEqual(bills[ws], b) {
			t.Fatalf("a bill of the server that was killed became %+v, was %+v", bills[ws], b)
		}
	}
	var report struct{ OK bool }
	if left[1].ask(http.MethodGet, "/api/v1/verify", nil, &report); !report.OK {
		t.Error("the books are not sound")
	}
}

// killedAt has a server settle a day and kills it when it has made some bills.
// The others stand still meanwhile, so it was this one that was at it. It
// returns the run, and the bills that the server leaves.
func killedAt(t *testing.T, st core.Store, day coreusage.Day, victim *rig, others ...*rig) (run string, kept map[workspace.ID]settlement.DailyBill) {
	t.Helper()
	for _, r := range others {
		r.signal(syscall.SIGSTOP)
		defer r.signal(syscall.SIGCONT)
	}
	var started struct{ ID string }
	victim.ask(http.MethodPost, "/api/v1/settlement-runs", map[string]string{"kind": "daily", "period": day.String()}, &started)
	until(t, "bills are made", func() bool { return billsOn(t, st, day, 1) > 0 })
	victim.kill()
	if n := rangesLeft(t, st, started.ID); n < 3 {
		t.Errorf("it is killed with %d ranges left, want 3: too late to test anything", n)
	}
	kept = allBills(t, st, day)
	t.Logf("killed with %d of %d bills made", len(kept), replicaSpaces)
	return started.ID, kept
}

// signal sends a signal to the server.
func (r *rig) signal(s os.Signal) {
	r.t.Helper()
	if err := r.child.Process.Signal(s); err != nil {
		r.t.Fatal(err)
	}
}

// rangesLeft is how many ranges of a run are not done.
func rangesLeft(t *testing.T, st core.Store, run string) int {
	t.Helper()
	r, err := core.InView(t.Context(), st, func(ctx context.Context, tx core.ReadTx) (core.SettlementRun, error) {
		return tx.SettlementRun(ctx, run)
	})
	if err != nil {
		t.Fatal(err)
	}
	return r.Ranges
}

// allBills returns the bills of a day.
func allBills(t *testing.T, st core.Store, day coreusage.Day) map[workspace.ID]settlement.DailyBill {
	t.Helper()
	bills, err := core.InView(t.Context(), st, func(ctx context.Context, tx core.ReadTx) (map[workspace.ID]settlement.DailyBill, error) {
		out := map[workspace.ID]settlement.DailyBill{}
		for b, err := range tx.DailyBillsOn(ctx, day, core.Page{}) {
			if err != nil {
				return nil, err
			}
			out[b.Workspace] = b
		}
		return out, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return bills
}

// heardByAll: a callback that one server took is known to the others, and its
// repeat at another gets the same answer and changes nothing.
func heardByAll(t *testing.T, servers []*rig) {
	t.Helper()
	for n := range int64(6) {
		s := callback(4 * n) // a purchase
		first := servers[n%3].trigger(s.listing, s.event, s.params)
		again := servers[(n+1)%3].trigger(s.listing, s.event, s.params)
		if !first.Accepted || first.Body != again.Body || first.Status != again.Status {
			t.Errorf("answered %d %s, by another server %d %s", first.Status, first.Body, again.Status, again.Body)
		}
	}
	for i, r := range servers {
		var list struct{ Data []any }
		if r.ask(http.MethodGet, "/api/v1/subscriptions", nil, &list); len(list.Data) != 6 {
			t.Errorf("server %d knows %d subscriptions, want 6", i, len(list.Data))
		}
	}
}

func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for began := time.Now(); !so(); {
		if time.Since(began) > replicaWithin {
			t.Fatalf("not so within %s: %s", replicaWithin, what)
		}
		time.Sleep(20 * time.Millisecond) // another process does it
	}
}

// billsOn counts the bills of a day, up to a limit if that is not 0.
func billsOn(t *testing.T, st core.Store, day coreusage.Day, limit int) (n int) {
	t.Helper()
	err := st.View(t.Context(), func(ctx context.Context, tx core.ReadTx) error {
		n = 0
		for _, err := range tx.DailyBillsOn(ctx, day, core.Page{Limit: limit}) {
			if err != nil {
				return err
			}
			n++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// fillDay adds workspaces that used something on a day, with who pays for them.
func fillDay(t *testing.T, st core.Store, day coreusage.Day) {
	t.Helper()
	ids := id.NewGenerator(time.Now)
	svc := core.NewService(core.Config{Store: st, Now: time.Now, NewID: ids.New, Log: slog.New(slog.DiscardHandler), LinkKey: make([]byte, 32)})
	_, err := svc.AddPriceBook(t.Context(), core.Request{}, pricing.Book{
		Name: "public", Zone: "INTL", Currency: "CNY", Scale: 6, Items: []pricing.Item{{
			Code: "logs", Unit: decimal.MustParse("1000"), Aggregation: pricing.Sum, Mode: pricing.Flat,
			Prices: []pricing.Price{{Variant: "7d", Price: decimal.MustParse("0.7")}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	from, _ := day.Bounds(time.UTC)
	for range replicaPayers {
		var entries []coreusage.Entry
		err := st.Update(t.Context(), func(ctx context.Context, tx core.Tx) error {
			entries = entries[:0]
			name := ids.New("ba")
			err := tx.PutBillingAccount(ctx, account.Account{
				ID: account.ID(name), UserName: strings.ToLower(name), Email: name + "@example.com", Currency: "CNY",
			})
			for range replicaSpaces / replicaPayers {
				ws := workspace.ID(ids.New("ws"))
				if err == nil {
					err = tx.PutWorkspace(ctx, workspace.Workspace{ID: ws, Name: "w", Site: "us1"})
				}
				if err == nil {
					err = tx.Bind(ctx, workspace.Binding{
						ID: workspace.BindingID(ids.New("bnd")), Workspace: ws, BillingAccount: account.ID(name),
						Settlement: workspace.Settlement{Method: workspace.ByBillingAccount}, From: from.AddDate(0, -1, 0),
					})
				}
				entries = append(entries, coreusage.Entry{Day: day, Sample: coreusage.Sample{
					Workspace: string(ws), Item: "logs", Variant: "7d", Hour: from, Quantity: decimal.MustNew(1234, 0),
				}})
			}
			return err
		})
		if err == nil {
			_, err = st.AppendUsage(t.Context(), entries)
		}
		if err != nil {
			t.Fatal(fmt.Errorf("fill the day: %w", err))
		}
	}
}
