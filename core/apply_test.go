package core_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/workspace"
)

// TestRenewalInAnyOrder applies the callbacks of a purchase and its renewal
// under a new agreement in every order. However they arrive there are two
// subscriptions, the first over and replaced, the second active, and the
// workspace has moved.
func TestRenewalInAnyOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var wg sync.WaitGroup
	gate := make(chan struct{}, 64)
	n := 0
	permute(6, func(order []int) {
		p := fmt.Sprintf("%d/", n)
		events := renewal(p)
		order = slices.Clone(order)
		n++
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			for _, i := range order {
				for range 1 + i%3 {
					if _, err := w.try(w.cloud, events[i]); err != nil {
						t.Errorf("order %v: %v", order, err)
						return
					}
				}
			}
			checkRenewed(t, w, p, order)
		})
	})
	wg.Wait()
}

func renewal(p string) []marketplace.Event {
	agreement := func(n string) []string { return []string{p + "agreement:" + n} }
	return []marketplace.Event{
		{Kind: marketplace.Registered, Subject: p + "l-1", Account: p + "buyer"},
		{Kind: marketplace.Activated, Subject: p + "l-1", Also: agreement("1"), Account: p + "buyer", Rank: "t1"},
		{Kind: marketplace.Linked, Also: agreement("2"), Previous: agreement("1")[0], Rank: "t2"},
		{Kind: marketplace.Succeeded, Also: agreement("1"), Rank: "t3"},
		{Kind: marketplace.Activated, Subject: p + "l-2", Also: agreement("2"), Account: p + "buyer", Rank: "t4"},
		{Kind: marketplace.Ended, Subject: p + "l-1", Also: agreement("1"), Rank: "t5"},
	}
}

func checkRenewed(t *testing.T, w *world, p string, order []int) {
	err := w.store.View(t.Context(), func(ctx ctxT, tx core.ReadTx) error {
		first, err1 := tx.SubscriptionByName(ctx, w.cloud.Listing.ID, p+"l-1")
		second, err2 := tx.SubscriptionByName(ctx, w.cloud.Listing.ID, p+"l-2")
		acc, err3 := tx.CloudAccountByProvider(ctx, w.cloud.Listing.ID, p+"buyer")
		switch {
		case err1 != nil || err2 != nil || err3 != nil:
			t.Errorf("order %v: %v, %v, %v", order, err1, err2, err3)
		case first.Status != marketplace.StatusEnded || !first.Replaced || first.Next != second.ID:
			t.Errorf("order %v: first is %s, replaced %v, next %s, want ended, true, %s", order, first.Status, first.Replaced, first.Next, second.ID)
		case second.Status != marketplace.StatusActive || second.Previous != first.ID:
			t.Errorf("order %v: second is %s after %s, want active after %s", order, second.Status, second.Previous, first.ID)
		case len(acc.Subscriptions) != 2:
			t.Errorf("order %v: cloud account has %v, want both subscriptions", order, acc.Subscriptions)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func permute(n int, f func([]int)) {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	var rec func(int)
	rec = func(k int) {
		if k == n {
			f(order)
			return
		}
		for i := k; i < n; i++ {
			order[k], order[i] = order[i], order[k]
			rec(k + 1)
			order[k], order[i] = order[i], order[k]
		}
	}
	rec(0)
}

// TestWorkspacesFollowTheirSubscription: what each state does to a bound
// workspace, under both release policies.
func TestWorkspacesFollowTheirSubscription(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		policy func(*world) core.Marketplace
		events []marketplace.Event
		method workspace.Method
		status workspace.Status
	}{
		{"FreezeLocks", cloudOf, []marketplace.Event{{Kind: marketplace.Suspended, Rank: "1"}}, workspace.ByCloudAccount, workspace.Locked},
		{"ResumeUnlocks", cloudOf, []marketplace.Event{{Kind: marketplace.Suspended, Rank: "1"}, {Kind: marketplace.Resumed, Rank: "2"}}, workspace.ByCloudAccount, workspace.Open},
		{"EndLocks", cloudOf, []marketplace.Event{{Kind: marketplace.Ended, Rank: "1"}}, workspace.ByCloudAccount, workspace.Locked},
		{"EndSettlesByWallet", otherOf, []marketplace.Event{{Kind: marketplace.Ended, Rank: "1"}}, workspace.ByBillingAccount, workspace.Open},
		{"FrozenThenEndSettlesByWallet", otherOf, []marketplace.Event{{Kind: marketplace.Expired}, {Kind: marketplace.Ended, Rank: "1"}}, workspace.ByBillingAccount, workspace.Open},
		{"ReplacedKeeps", cloudOf, []marketplace.Event{{Kind: marketplace.Succeeded, Rank: "1"}, {Kind: marketplace.Ended, Rank: "2"}}, workspace.ByCloudAccount, workspace.Open},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			m := c.policy(w)
			sub, acc := w.buy(m, "s-1", "b-1"), w.account("acme").ID
			w.claim(sub, acc)
			ws := w.workspace(string(m.Listing.Provider[:1]) + "1")
			if err := w.bind(ws, acc, sub.ID); err != nil {
				t.Fatal(err)
			}
			for range 2 { // a repeat changes nothing
				for _, ev := range c.events {
					ev.Subject = "s-1"
					w.tell(m, ev)
				}
				s, status := w.settled(ws)
				if s.Method != c.method || status != c.status {
					t.Errorf("settled by %s and %s, want %s and %s", s.Method, status, c.method, c.status)
				}
			}
		})
	}
}

func cloudOf(w *world) core.Marketplace { return w.cloud }
func otherOf(w *world) core.Marketplace { return w.other }

// TestReplacementMovesWorkspaces: a workspace follows to the subscription that
// replaces its own, also if it was locked, or moved to the wallet, in between.
func TestReplacementMovesWorkspaces(t *testing.T) {
	t.Parallel()
	next := []marketplace.Event{
		{Kind: marketplace.Linked, Also: []string{"agreement:2"}, Previous: "s-1", Rank: "t2"},
		{Kind: marketplace.Activated, Subject: "s-2", Also: []string{"agreement:2"}, Account: "b-1", Rank: "t3"},
	}
	end := marketplace.Event{Kind: marketplace.Ended, Subject: "s-1", Rank: "t4"}
	for _, c := range []struct {
		name   string
		market func(*world) core.Marketplace
		events []marketplace.Event
	}{
		{"BeforeTheEnd", cloudOf, append(slices.Clone(next), end)},
		{"AfterTheEndLocked", cloudOf, append([]marketplace.Event{end}, next...)},
		{"AfterTheEndByWallet", otherOf, append([]marketplace.Event{end}, next...)},
		{"ActivatedBeforeTheLink", cloudOf, []marketplace.Event{next[1], end, next[0]}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			m := c.market(w)
			sub, acc := w.buy(m, "s-1", "b-1"), w.account("acme").ID
			w.claim(sub, acc)
			ws := w.workspace(string(m.Listing.Provider[:1]) + "1")
			if err := w.bind(ws, acc, sub.ID); err != nil {
				t.Fatal(err)
			}
			for _, ev := range c.events {
				w.tell(m, ev)
			}
			s, status := w.settled(ws)
			got, err := w.Subscription(t.Context(), core.Actor{}, s.Subscription)
			if err != nil || got.Subject != "s-2" || status != workspace.Open {
				t.Errorf("settled by %+v (%v) and %s, want s-2 and active", got.Subject, err, status)
			}
		})
	}
}

// TestRepeatsCountAsAttempts: one logical callback is one journal entry.
func TestRepeatsCountAsAttempts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ev := marketplace.Event{Kind: marketplace.Activated, Subject: "s-1", Account: "b-1"}
	first := w.tell(w.cloud, ev)
	for range 2 {
		out := w.tell(w.cloud, ev)
		if out.Result != marketplace.Duplicate || out.Callback != first.Callback || out.Subscription.ID != first.Subscription.ID {
			t.Errorf("repeat: %s as %s, want duplicate as %s", out.Result, out.Callback, first.Callback)
		}
	}
	note := marketplace.Event{Kind: marketplace.Noted, Delivery: "m-1"}
	noted := w.tell(w.cloud, note)
	if out := w.tell(w.cloud, note); out.Result != marketplace.Duplicate || out.Callback != noted.Callback {
		t.Errorf("repeated message: %s as %s", out.Result, out.Callback)
	}
	list, err := w.CallbackEntries(t.Context(), "", false, core.Page{Limit: 10})
	if err != nil || len(list.Items) != 2 {
		t.Fatalf("journal has %d entries (%v), want 2", len(list.Items), err)
	}
	if got := list.Items[1].Attempts; got != 3 {
		t.Errorf("attempts = %d, want 3", got)
	}
}

func TestEarlyFactsWaitUnseen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	renew := marketplace.Event{Kind: marketplace.Renewed, Subject: "s-1", Key: "2", Rank: "2", ExpiresAt: w.Now().AddDate(1, 0, 0)}
	for range 2 {
		if out := w.tell(w.cloud, renew); out.Result != marketplace.Waiting || out.Landing != "" {
			t.Errorf("early renewal: %s, want waiting each time", out.Result)
		}
	}
	list, err := w.Subscriptions(t.Context(), core.Actor{}, "", core.Page{Limit: 10})
	if err != nil || len(list.Items) != 0 {
		t.Errorf("listed %d subscriptions (%v), want none", len(list.Items), err)
	}
	if sub := w.buy(w.cloud, "s-1", "b-1"); !sub.ExpiresAt.Equal(renew.ExpiresAt) {
		t.Errorf("term ends %s, want that of the early renewal", sub.ExpiresAt)
	}
}

// TestSharedNameStaysWithItsFirst: two subscriptions that the provider calls by
// one name too do not keep each other out.
func TestSharedNameStaysWithItsFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, l := range []string{"l-1", "l-2", "l-1", "l-2"} {
		for _, kind := range []marketplace.Kind{marketplace.Registered, marketplace.Activated} {
			out := w.tell(w.cloud, marketplace.Event{Kind: kind, Subject: l, Also: []string{"shared", "own:" + l}, Account: "buyer"})
			if out.Subscription.Subject != l || !out.Subscription.HasName("own:"+l) {
				t.Errorf("%s of %s went to %q, called %q", kind, l, out.Subscription.Subject, out.Subscription.Also)
			}
		}
	}
	out := w.tell(w.cloud, marketplace.Event{Kind: marketplace.Ending, Also: []string{"shared"}, Rank: "t1"})
	if out.Subscription.Subject != "l-1" {
		t.Errorf("the shared name leads to %q, want the first, l-1", out.Subscription.Subject)
	}
}

func TestNonceIsUsedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ev := marketplace.Event{Kind: marketplace.Suspended, Rank: "1", Subject: "s-1", Nonce: core.NonceTime(w.Now()) + "/n"}
	sub := w.buy(w.cloud, "s-1", "b-1")
	w.tell(w.cloud, ev)
	w.tell(w.cloud, marketplace.Event{Kind: marketplace.Resumed, Rank: "2", Subject: "s-1"})
	ev.Rank = "3"
	if out := w.tell(w.cloud, ev); out.Result != marketplace.Replayed {
		t.Errorf("second use: %s, want replayed", out.Result)
	}
	got, err := w.Subscription(t.Context(), core.Actor{}, sub.ID)
	if err != nil || got.Status != marketplace.StatusActive {
		t.Errorf("after a replay: %s (%v), want active", got.Status, err)
	}
}

func TestProbesChangeNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	out := w.tell(w.cloud, marketplace.Event{Kind: marketplace.Activated, Subject: "s-1", Account: "b-1", Test: true})
	list, err := w.CloudAccounts(t.Context(), core.Actor{}, "", core.Page{Limit: 10})
	if out.Result != marketplace.Tested || err != nil || len(list.Items) != 0 {
		t.Errorf("probe: %s with %d cloud accounts (%v), want tested with none", out.Result, len(list.Items), err)
	}
}

// TestLateCompletion: what cannot be completed in time is accepted, keeps its
// identity over retries, and is finished by a task.
func TestLateCompletion(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := &completer{known: map[string]string{}}
	m := w.cloud
	m.Completer = c
	svc := core.NewService(withMarket(w, m))
	w.Service = svc
	ev := marketplace.Event{Kind: marketplace.Activated, Also: []string{"order:1"}, Proposed: "first", Incomplete: true}
	out := w.tell(m, ev)
	ev.Proposed = "second"
	again := w.tell(m, ev)
	if out.Result != marketplace.Processing || again.Result != marketplace.Processing ||
		out.Subscription.Subject != "first" || again.Subscription.Subject != "first" {
		t.Fatalf("late: %s %+v, then %s %+v", out.Result, out.Subscription, again.Result, again.Subscription)
	}
	c.known["order:1"] = "b-1"
	w.clock.Add(time.Minute)
	for range 3 {
		if err := w.RunTasks(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	sub, err := w.Subscription(t.Context(), core.Actor{}, out.Subscription.ID)
	if err != nil || sub.Status != marketplace.StatusActive || sub.Subject != "first" {
		t.Errorf("finished: %+v, %v", sub, err)
	}
	e, err := w.CallbackEntry(t.Context(), out.Callback)
	if err != nil || e.Result != marketplace.Applied || !strings.Contains(strings.Join(e.Effects, ";"), "active") {
		t.Errorf("journal says %s %v (%v), want applied", e.Result, e.Effects, err)
	}
}

func TestReplayHasNoSecondEffect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bought := w.tell(w.cloud, marketplace.Event{Kind: marketplace.Activated, Subject: "s-1", Account: "b-1"})
	w.tell(w.cloud, marketplace.Event{Kind: marketplace.Ended, Subject: "s-1"})
	out, err := w.Replay(t.Context(), bought.Callback)
	if err != nil || out.Result != marketplace.Duplicate || len(out.Effects) != 0 {
		t.Errorf("Replay() = %s %v, %v, want duplicate without effects", out.Result, out.Effects, err)
	}
	if out.Subscription.Status != marketplace.StatusEnded {
		t.Errorf("after the replay: %s, want ended", out.Subscription.Status)
	}
}
