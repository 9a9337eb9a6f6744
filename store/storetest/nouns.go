package storetest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/workspace"
)

func namesAreUnique(t *testing.T, s core.Store) {
	putSubscriptions(t, s, "sub_1")
	clash := subscription("sub_2")
	clash.Also = []string{"name of sub_1"}
	err := s.Update(t.Context(), func(ctx context.Context, tx core.Tx) error { return tx.PutSubscription(ctx, clash) })
	wantErr(t, "PutSubscription with a name that is taken", err, core.ErrConflict)

	clash.Listing = "other-main"
	update(t, s, func(ctx context.Context, tx core.Tx) error { return tx.PutSubscription(ctx, clash) })

	a, b := fullCloudAccount(), fullCloudAccount()
	b.ID = "ca_2"
	update(t, s, func(ctx context.Context, tx core.Tx) error { return tx.PutCloudAccount(ctx, a) })
	err = s.Update(t.Context(), func(ctx context.Context, tx core.Tx) error { return tx.PutCloudAccount(ctx, b) })
	wantErr(t, "PutCloudAccount with a number that is taken", err, core.ErrConflict)

	err = s.Update(t.Context(), func(ctx context.Context, tx core.Tx) error {
		return firstOf(tx.PutAPIKey(ctx, aKey("key_1", "digest")), tx.PutAPIKey(ctx, aKey("key_2", "digest")))
	})
	wantErr(t, "PutAPIKey with a digest that is taken", err, core.ErrConflict)
}

// namesFollow: names that a subscription gives up are free, and those of a
// deleted one too, so that another can take them in the same transaction.
func namesFollow(t *testing.T, s core.Store) {
	early := subscription("sub_early")
	early.Account, early.Also = "", []string{"order", "early"}
	update(t, s, func(ctx context.Context, tx core.Tx) error { return tx.PutSubscription(ctx, early) })
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		merged := subscription("sub_1")
		merged.Also = append(early.Also, early.Subject)
		return firstOf(tx.DeleteSubscription(ctx, early.ID), tx.PutSubscription(ctx, merged))
	})
	found := func(name string) marketplace.SubscriptionID {
		sub, _ := core.InView(t.Context(), s, func(ctx context.Context, tx core.ReadTx) (marketplace.Subscription, error) {
			return tx.SubscriptionByName(ctx, listing, name)
		})
		return sub.ID
	}
	for _, name := range []string{"order", "early", early.Subject, "name of sub_1"} {
		if got := found(name); got != "sub_1" {
			t.Errorf("%q leads to %q, want sub_1", name, got)
		}
	}
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		sub, err := tx.Subscription(ctx, "sub_1")
		sub.Also = []string{"order", "new"}
		return firstOf(err, tx.PutSubscription(ctx, sub))
	})
	for name, want := range map[string]marketplace.SubscriptionID{"order": "sub_1", "new": "sub_1", "early": ""} {
		if got := found(name); got != want {
			t.Errorf("after the change %q leads to %q, want %q", name, got, want)
		}
	}
}

func loginsAreUnique(t *testing.T, s core.Store) {
	put := func(a account.Account) error {
		return s.Update(t.Context(), func(ctx context.Context, tx core.Tx) error { return tx.PutBillingAccount(ctx, a) })
	}
	if err := put(billingAccount("ba_1", "Acme", "Ops@Acme.example", "+8613800000000")); err != nil {
		t.Fatalf("PutBillingAccount() = %v", err)
	}
	for what, a := range map[string]account.Account{
		"user name": billingAccount("ba_2", "acme", "b@acme.example", ""),
		"e-mail":    billingAccount("ba_2", "other", "ops@ACME.example", ""),
		"phone":     billingAccount("ba_2", "other", "b@acme.example", "+8613800000000"),
	} {
		wantErr(t, "PutBillingAccount with a taken "+what, put(a), core.ErrConflict)
	}
	changed := billingAccount("ba_1", "Acme", "new@acme.example", "")
	changed.Rev = 1
	heir := billingAccount("ba_2", "other", "ops@acme.example", "+8613800000000")
	if err := firstOf(put(changed), put(heir)); err != nil {
		t.Errorf("taking logins that became free = %v, want nil", err)
	}
	view(t, s, func(ctx context.Context, tx core.ReadTx) error {
		for login, want := range map[string]account.ID{
			" ACME ": "ba_1", "New@acme.example": "ba_1", "ops@acme.example": "ba_2", "+8613800000000": "ba_2",
		} {
			if got, err := tx.BillingAccountByLogin(ctx, login); err != nil || got.ID != want {
				t.Errorf("BillingAccountByLogin(%q) = %q, %v, want %q", login, got.ID, err, want)
			}
		}
		return nil
	})
}

// binding returns one through subscription "sub_1" of account "ba_1".
func binding(id, ws string) workspace.Binding {
	return workspace.Binding{
		ID: workspace.BindingID(id), Workspace: workspace.ID(ws), BillingAccount: "ba_1",
		Settlement: workspace.Settlement{Method: workspace.ByCloudAccount, Subscription: "sub_1"},
		From:       epoch, Cause: workspace.Chosen, By: "key:key_1", Left: "sub_0",
	}
}

func oneBindingHolds(t *testing.T, s core.Store) {
	first, second, other := binding("bd_1", "ws_1"), binding("bd_3", "ws_1"), binding("bd_2", "ws_0")
	second.BillingAccount, second.From, second.Left = "ba_2", epoch.Add(time.Hour), "sub_1"
	second.Settlement = workspace.Settlement{Method: workspace.ByBillingAccount}
	second.Cause = workspace.SubscriptionEnded
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		return firstOf(tx.PutWorkspace(ctx, aWorkspace("ws_1")), tx.PutWorkspace(ctx, aWorkspace("ws_0")),
			tx.Bind(ctx, first), tx.Bind(ctx, other))
	})
	wantBindings(t, s, "sub_1", []string{"bd_2", "bd_1"}, nil) // by workspace
	update(t, s, func(ctx context.Context, tx core.Tx) error { return tx.Bind(ctx, second) })
	wantBindings(t, s, "sub_1", []string{"bd_2"}, []string{"bd_3"})

	ended := first
	ended.To = second.From
	view(t, s, func(ctx context.Context, tx core.ReadTx) error {
		now, err := tx.Binding(ctx, "ws_1")
		if diff := cmp.Diff(second, now); diff != "" {
			t.Errorf("Binding(ws_1) (-want +got):\n%s", diff)
		}
		history, errHistory := collect(tx.BindingHistory(ctx, "ws_1"))
		if diff := cmp.Diff([]workspace.Binding{ended, second}, history); diff != "" {
			t.Errorf("BindingHistory(ws_1) (-want +got):\n%s", diff)
		}
		all, errAll := collect(tx.Bindings(ctx, core.Page{After: "bd_1", Limit: 1}))
		if diff := cmp.Diff([]workspace.Binding{other}, all); diff != "" {
			t.Errorf("Bindings after bd_1 (-want +got):\n%s", diff)
		}
		for id, want := range map[account.ID]int{"ba_1": 1, "ba_2": 1, "ba": 0} {
			if n := count(tx.WorkspacesOf(ctx, id, core.Page{})); n != want {
				t.Errorf("WorkspacesOf(%s) yields %d, want %d", id, n, want)
			}
		}
		return firstOf(err, errHistory, errAll)
	})
	err := s.Update(t.Context(), func(ctx context.Context, tx core.Tx) error { return tx.Bind(ctx, first) })
	wantErr(t, "Bind with an id that is stored", err, core.ErrConflict)
}

// wantBindings checks which bindings settle through a subscription and which
// hold because it ended.
func wantBindings(t *testing.T, s core.Store, id marketplace.SubscriptionID, to, left []string) {
	t.Helper()
	view(t, s, func(ctx context.Context, tx core.ReadTx) error {
		ids := func(list []workspace.Binding, err error) []string {
			var ids []string
			for _, b := range list {
				ids = append(ids, string(b.ID))
			}
			return ids
		}
		if got := ids(collect(tx.BindingsTo(ctx, id))); !slices.Equal(got, to) {
			t.Errorf("BindingsTo(%s) yields %q, want %q", id, got, to)
		}
		if got := ids(collect(tx.BindingsLeft(ctx, id))); !slices.Equal(got, left) {
			t.Errorf("BindingsLeft(%s) yields %q, want %q", id, got, left)
		}
		return nil
	})
}

func leaseExpires(t *testing.T, s core.Store) {
	now := epoch
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		return firstOf(tx.PutTask(ctx, aTask("task_b", "notify", now)), tx.PutTask(ctx, aTask("task_a", "notify", now)),
			tx.PutTask(ctx, aTask("task_late", "notify", now.Add(time.Microsecond))),
			tx.PutTask(ctx, aTask("task_other", "notify/more", now)))
	})
	held := map[string]core.Task{}
	lease := func(at time.Time, limit int) []string {
		t.Helper()
		tasks, err := core.InTx(t.Context(), s, func(ctx context.Context, tx core.Tx) ([]core.Task, error) {
			return tx.LeaseTasks(ctx, "notify", aLease("lease_"+at.String(), at), limit)
		})
		if err != nil {
			t.Fatalf("LeaseTasks() = %v", err)
		}
		var ids []string
		for _, task := range tasks {
			if !task.LeasedUntil.Equal(at.Add(time.Minute)) {
				t.Errorf("LeasedUntil = %v, want %v", task.LeasedUntil, at.Add(time.Minute))
			}
			ids = append(ids, task.ID)
			held[task.ID] = task
		}
		return ids
	}
	for _, c := range []struct {
		at    time.Time
		limit int
		want  []string
	}{
		{now.Add(-time.Microsecond), 9, nil},
		{now, 1, []string{"task_a"}},
		{now, 9, []string{"task_b"}},
		{now, 9, nil},
		{now.Add(time.Second), 9, []string{"task_late"}},
		{now.Add(time.Minute), 9, []string{"task_a", "task_b"}}, // their lease ran out
	} {
		due := read(t, s, func(ctx context.Context, tx core.ReadTx) (bool, error) {
			return tx.TaskDue(ctx, "notify", c.at)
		})
		if due != (len(c.want) > 0) {
			t.Errorf("TaskDue at %v = %t, want %q", c.at.Sub(now), due, c.want)
		}
		if got := lease(c.at, c.limit); !slices.Equal(got, c.want) {
			t.Errorf("LeaseTasks at %v = %q, want %q", c.at.Sub(now), got, c.want)
		}
	}
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		again := aTask("task_b", "notify", now.Add(time.Hour))
		return firstOf(mustHold(tx.FinishTask(ctx, held["task_a"])), tx.PutTask(ctx, again))
	})
	if got := lease(now.Add(2*time.Minute), 9); !slices.Equal(got, []string{"task_late"}) {
		t.Errorf("LeaseTasks after a deletion and a delay = %q, want task_late", got)
	}
	left := read(t, s, func(ctx context.Context, tx core.ReadTx) ([]core.Task, error) {
		return collect(tx.Tasks(ctx, core.Page{}))
	})
	if len(left) != 3 || left[2].ID != "task_b" {
		t.Errorf("Tasks yields %v, want three, task_b last", left)
	}
}
