package storetest

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

func scanOrder(t *testing.T, s core.Store) {
	ids := []string{"foo|", "foo", "fooA", "A", "a", "é", "z", "Z", "a\x01", "aa", "~", "\U0001F9FE", "ﬀ"}
	putSubscriptions(t, s, ids...)
	want := slices.Sorted(slices.Values(ids)) // Go compares strings by bytes
	if got := subscriptionIDs(t, s, "", core.Page{}); !slices.Equal(got, want) {
		t.Errorf("Subscriptions yields %q, want %q", got, want)
	}
}

// scanSeesOwnWrites: a scan inside Update merges what is stored with what the
// transaction wrote, and does not move while the transaction writes on.
func scanSeesOwnWrites(t *testing.T, s core.Store) {
	putSubscriptions(t, s, "sub_1", "sub_3", "sub_5", "sub_7")
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		changed, err := tx.Subscription(ctx, "sub_5")
		changed.SKU = "changed"
		err = firstOf(err, tx.PutSubscription(ctx, subscription("sub_0")),
			tx.PutSubscription(ctx, subscription("sub_4")), tx.PutSubscription(ctx, subscription("sub_9")),
			tx.DeleteSubscription(ctx, "sub_3"), tx.PutSubscription(ctx, changed))
		var got []string
		for sub, err := range tx.Subscriptions(ctx, "", core.Page{After: "sub_0", Limit: 4}) {
			if err != nil {
				return err
			}
			got = append(got, string(sub.ID)+sub.SKU)
			if err := tx.PutSubscription(ctx, subscription(string(sub.ID)+"_late")); err != nil {
				return err
			}
		}
		if want := []string{"sub_1", "sub_4", "sub_5changed", "sub_7"}; !slices.Equal(got, want) {
			t.Errorf("Subscriptions yields %q, want %q", got, want)
		}
		return err
	})
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		for _, id := range []marketplace.CallbackID{"cb_2", "cb_4"} {
			if err := tx.PutCallbackEntry(ctx, core.JournalEntry{ID: id}); err != nil {
				return err
			}
		}
		return nil
	})
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		for _, id := range []marketplace.CallbackID{"cb_1", "cb_3", "cb_5"} {
			if err := tx.PutCallbackEntry(ctx, core.JournalEntry{ID: id}); err != nil {
				return err
			}
		}
		entries, err := collect(tx.CallbackEntries(ctx, "", core.Page{After: "cb_5", Limit: 3}))
		if got := entryIDs(entries); !slices.Equal(got, []string{"cb_4", "cb_3", "cb_2"}) {
			t.Errorf("CallbackEntries yields %q, want cb_4, cb_3, cb_2", got)
		}
		return err
	})
}

func scanBreakReleases(t *testing.T, s core.Store) {
	putSubscriptions(t, s, "sub_1", "sub_2", "sub_3")
	for range 100 {
		view(t, s, func(ctx context.Context, tx core.ReadTx) error {
			for range tx.Subscriptions(ctx, "", core.Page{}) {
				break
			}
			return nil
		})
	}
	putSubscriptions(t, s, "sub_4") // waits for whatever a scan still holds
	if err := s.Close(); err != nil {
		t.Errorf("Close() = %v, want nil", err)
	}
}

// pageTokens: pages neither repeat nor miss what stays, whatever comes and
// goes between them, even if the item of the token itself goes.
func pageTokens(t *testing.T, s core.Store) {
	putSubscriptions(t, s, "sub_1", "sub_3", "sub_5", "sub_7", "sub_9")
	first := subscriptionIDs(t, s, listing, core.Page{Limit: 2})
	if !slices.Equal(first, []string{"sub_1", "sub_3"}) {
		t.Fatalf("the first page = %q, want sub_1 and sub_3", first)
	}
	update(t, s, func(ctx context.Context, tx core.Tx) error { return tx.DeleteSubscription(ctx, "sub_3") })
	putSubscriptions(t, s, "sub_0", "sub_4")
	var rest []string
	for after := first[1]; ; {
		next := subscriptionIDs(t, s, listing, core.Page{After: after, Limit: 2})
		if len(next) == 0 {
			break
		}
		rest = append(rest, next...)
		after = next[len(next)-1]
	}
	if !slices.Equal(rest, []string{"sub_4", "sub_5", "sub_7", "sub_9"}) {
		t.Errorf("the other pages = %q, want sub_4, sub_5, sub_7, sub_9", rest)
	}
	if got := subscriptionIDs(t, s, "", core.Page{After: "sub_9", Limit: 2}); got != nil {
		t.Errorf("after the last = %q, want nothing", got)
	}
	tasksPage(t, s)
}

// tasksPage: tasks are paged by when they are due, not by their identifiers.
func tasksPage(t *testing.T, s core.Store) {
	t.Helper()
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		for i, id := range []string{"task_c", "task_a", "task_b"} {
			if err := tx.PutTask(ctx, aTask(id, fmt.Sprint(i), epoch.AddDate(0, 0, i))); err != nil {
				return err
			}
		}
		return nil
	})
	var got []string
	page := core.Page{Limit: 1}
	for {
		tasks := read(t, s, func(ctx context.Context, tx core.ReadTx) ([]core.Task, error) {
			return collect(tx.Tasks(ctx, page))
		})
		if len(tasks) == 0 {
			break
		}
		got = append(got, tasks[0].ID)
		page.After = tasks[0].Key()
		update(t, s, func(ctx context.Context, tx core.Tx) error {
			leased, err := tx.LeaseTasks(ctx, tasks[0].Kind, aLease("lease_1", tasks[0].DueAt), 1)
			if err != nil {
				return err
			}
			return mustHold(tx.FinishTask(ctx, leased[0]))
		})
	}
	if !slices.Equal(got, []string{"task_c", "task_a", "task_b"}) {
		t.Errorf("tasks by page = %q, want task_c, task_a, task_b", got)
	}
}

// listsNarrow: lists hold what they say and nothing else.
func listsNarrow(t *testing.T, s core.Store) {
	other, early := subscription("sub_other"), subscription("sub_early")
	other.Listing, early.Account = "other-main", ""
	mine, theirs := fullCloudAccount(), fullCloudAccount()
	theirs.ID, theirs.ProviderID, theirs.BillingAccount = "ca_theirs", "2", "ba_10"
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		return firstOf(tx.PutSubscription(ctx, subscription("sub_1")), tx.PutSubscription(ctx, other),
			tx.PutSubscription(ctx, early), tx.PutCloudAccount(ctx, mine), tx.PutCloudAccount(ctx, theirs))
	})
	for l, want := range map[marketplace.ListingID][]string{
		"": {"sub_1", "sub_other"}, listing: {"sub_1"}, "other-main": {"sub_other"}, "none": nil,
	} {
		if got := subscriptionIDs(t, s, l, core.Page{}); !slices.Equal(got, want) {
			t.Errorf("Subscriptions(%q) yields %q, want %q", l, got, want)
		}
	}
	view(t, s, func(ctx context.Context, tx core.ReadTx) error {
		if _, err := tx.SubscriptionByName(ctx, listing, early.Subject); err != nil {
			t.Errorf("SubscriptionByName of one that is not known = %v, want it", err)
		}
		accounts, err := collect(tx.CloudAccountsOf(ctx, "ba_1", core.Page{}))
		if len(accounts) != 1 || accounts[0].ID != mine.ID {
			t.Errorf("CloudAccountsOf(ba_1) yields %v, want %s", accounts, mine.ID)
		}
		return err
	})
	mine.Rev, mine.BillingAccount = 1, "ba_10"
	update(t, s, func(ctx context.Context, tx core.Tx) error { return tx.PutCloudAccount(ctx, mine) })
	view(t, s, func(ctx context.Context, tx core.ReadTx) error {
		if n := count(tx.CloudAccountsOf(ctx, "ba_1", core.Page{})); n != 0 {
			t.Errorf("CloudAccountsOf(ba_1) yields %d after it was given away, want none", n)
		}
		accounts, err := collect(tx.CloudAccountsOf(ctx, "ba_10", core.Page{After: string(mine.ID)}))
		if len(accounts) != 1 || accounts[0].ID != theirs.ID {
			t.Errorf("CloudAccountsOf(ba_10) after the first yields %v, want %s", accounts, theirs.ID)
		}
		return err
	})
}

func entryIDs(entries []core.JournalEntry) []string {
	var ids []string
	for _, e := range entries {
		ids = append(ids, string(e.ID))
	}
	return ids
}

func journalNewestFirst(t *testing.T, s core.Store) {
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		for i := range 10 {
			e := fullEntry()
			e.ID = marketplace.CallbackID(fmt.Sprintf("cb_%d", i))
			if i%2 == 1 {
				e.Listing = "other-main"
			}
			if err := tx.PutCallbackEntry(ctx, e); err != nil {
				return err
			}
		}
		return nil
	})
	view(t, s, func(ctx context.Context, tx core.ReadTx) error {
		for _, c := range []struct {
			l    marketplace.ListingID
			p    core.Page
			want []string
		}{
			{"", core.Page{Limit: 3}, []string{"cb_9", "cb_8", "cb_7"}},
			{"", core.Page{After: "cb_7", Limit: 2}, []string{"cb_6", "cb_5"}},
			{"other-main", core.Page{After: "cb_9"}, []string{"cb_7", "cb_5", "cb_3", "cb_1"}},
			{listing, core.Page{After: "cb_8", Limit: 2}, []string{"cb_6", "cb_4"}},
			{"", core.Page{After: "cb_0"}, nil},
			{"none", core.Page{}, nil},
		} {
			entries, err := collect(tx.CallbackEntries(ctx, c.l, c.p))
			if got := entryIDs(entries); err != nil || !slices.Equal(got, c.want) {
				t.Errorf("CallbackEntries(%q, %+v) yields %q, %v, want %q", c.l, c.p, got, err, c.want)
			}
		}
		return nil
	})
}

func rejectionsBounded(t *testing.T, s core.Store) {
	const slots = 3
	for i := range 5 {
		update(t, s, func(ctx context.Context, tx core.Tx) error {
			e := fullEntry()
			e.ID = marketplace.CallbackID(fmt.Sprintf("cb_%d", i))
			e.ReceivedAt = epoch.AddDate(0, 0, i)
			return tx.PutRejection(ctx, i%slots, e)
		})
	}
	got := read(t, s, func(ctx context.Context, tx core.ReadTx) ([]core.JournalEntry, error) {
		return collect(tx.Rejections(ctx))
	})
	if ids := entryIDs(got); !slices.Equal(ids, []string{"cb_4", "cb_3", "cb_2"}) {
		t.Errorf("Rejections yields %q, want the last three, newest first", ids)
	}
	view(t, s, func(ctx context.Context, tx core.ReadTx) error {
		if n := count(tx.CallbackEntries(ctx, "", core.Page{})); n != 0 {
			t.Errorf("the journal holds %d refused callbacks, want none", n)
		}
		return nil
	})
}
