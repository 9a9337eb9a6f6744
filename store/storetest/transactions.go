package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

// writers is how many goroutines contend: more than one group's worth of
// luck, few enough to be quick.
const writers = 32

// each runs fn in n goroutines and waits for them.
func each(n int, fn func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { fn(i) })
	}
	wg.Wait()
}

func readYourWrites(t *testing.T, s core.Store) {
	putSubscriptions(t, s, "sub_old")
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		if err := tx.PutSubscription(ctx, subscription("sub_new")); err != nil {
			return err
		}
		got, err := tx.SubscriptionByName(ctx, listing, "name of sub_new")
		if err != nil || got.ID != "sub_new" || got.Rev != 1 {
			t.Errorf("SubscriptionByName() = %q at %d, %v, want the one just put, at 1", got.ID, got.Rev, err)
		}
		got.SKU = "changed"
		if err := tx.PutSubscription(ctx, got); err != nil {
			return err
		}
		if err := tx.DeleteSubscription(ctx, "sub_old"); err != nil {
			return err
		}
		_, err = tx.Subscription(ctx, "sub_old")
		wantErr(t, "Subscription(deleted)", err, core.ErrNotFound)
		again, err := tx.Subscription(ctx, "sub_new")
		if err != nil || again.SKU != "changed" || again.Rev != 2 {
			t.Errorf("Subscription() = %q at %d, %v, want changed at 2", again.SKU, again.Rev, err)
		}
		return nil
	})
}

func rollbackLeavesNothing(t *testing.T, s core.Store) {
	err := s.Update(t.Context(), func(ctx context.Context, tx core.Tx) error {
		return errors.Join(writeEverything(ctx, tx), errOwn)
	})
	wantErr(t, "Update(failing)", err, errOwn)
	nothingStored(t, s)
}

// writeEverything writes a record of each kind.
func writeEverything(ctx context.Context, tx core.Tx) error {
	_, _, err := tx.Claim(ctx, "scope", "key", core.Claim{Result: "r"})
	return errors.Join(err,
		tx.PutSubscription(ctx, fullSubscription()),
		tx.PutCloudAccount(ctx, fullCloudAccount()),
		tx.PutBillingAccount(ctx, billingAccount("ba_1", "acme", "ops@acme.example", "+8613800000000")),
		tx.PutWorkspace(ctx, aWorkspace("ws_1")),
		tx.Bind(ctx, binding("bd_1", "ws_1")),
		tx.PutCallbackEntry(ctx, fullEntry()),
		tx.PutRejection(ctx, 0, fullEntry()),
		tx.PutAPIKey(ctx, aKey("key_1", "digest")),
		tx.PutSetting(ctx, "name", "value"),
		tx.PutTask(ctx, aTask("task_1", "notify", epoch)),
		writeBilling(ctx, tx),
	)
}

// nothingStored fails if anything is.
func nothingStored(t *testing.T, s core.Store) {
	t.Helper()
	view(t, s, func(ctx context.Context, tx core.ReadTx) error {
		for what, err := range lookups(ctx, tx) {
			wantErr(t, what, err, core.ErrNotFound)
		}
		n := count(tx.Subscriptions(ctx, "", core.Page{})) + count(tx.CloudAccounts(ctx, core.Page{})) +
			count(tx.CloudAccountsOf(ctx, "ba_1", core.Page{})) + count(tx.BillingAccounts(ctx, core.Page{})) +
			count(tx.Workspaces(ctx, core.Page{})) + count(tx.WorkspacesOf(ctx, "ba_1", core.Page{})) +
			count(tx.BindingHistory(ctx, "ws_1")) + count(tx.BindingsTo(ctx, "sub_1")) +
			count(tx.BindingsLeft(ctx, "sub_0")) + count(tx.Bindings(ctx, core.Page{})) +
			count(tx.CallbackEntries(ctx, "", core.Page{})) + count(tx.Rejections(ctx)) +
			count(tx.APIKeys(ctx, core.Page{})) + count(tx.Tasks(ctx, core.Page{})) + billingLists(ctx, tx)
		if n != 0 {
			t.Errorf("the lists yield %d records, want none", n)
		}
		return nil
	})
	err := s.Update(t.Context(), func(ctx context.Context, tx core.Tx) error {
		if _, fresh, err := tx.Claim(ctx, "scope", "key", core.Claim{}); err != nil || !fresh {
			t.Errorf("Claim() = %t, %v, want a fresh claim", fresh, err)
		}
		return errOwn
	})
	wantErr(t, "Update(failing)", err, errOwn)
}

func panicRollsBack(t *testing.T, s core.Store) {
	defer func() {
		if v := recover(); v != errOwn {
			t.Errorf("recover() = %v, want what the transaction panicked with", v)
		}
		nothingStored(t, s)
	}()
	err := s.Update(t.Context(), func(ctx context.Context, tx core.Tx) error {
		if err := writeEverything(ctx, tx); err != nil {
			return err
		}
		panic(errOwn)
	})
	t.Errorf("Update() = %v, want the panic to go on", err)
}

// goexitRollsBack: a test that fails inside a transaction ends its goroutine,
// which must not be the store's last.
func goexitRollsBack(t *testing.T, s core.Store) {
	ended := make(chan error)
	go func() {
		var returned error
		defer func() { ended <- returned }()
		err := s.Update(context.Background(), func(ctx context.Context, tx core.Tx) error {
			if err := writeEverything(ctx, tx); err != nil {
				return err
			}
			runtime.Goexit()
			return nil
		})
		returned = fmt.Errorf("Update returned %w", err)
	}()
	if err := <-ended; err != nil {
		t.Errorf("%v, want the goroutine to end", err)
	}
	nothingStored(t, s)
}

// again is a store that runs every transaction twice, the first time in vain.
type again struct{ core.Store }

func (a again) Update(ctx context.Context, fn func(context.Context, core.Tx) error) error {
	err := a.Store.Update(ctx, func(ctx context.Context, tx core.Tx) error {
		return errors.Join(fn(ctx, tx), errOwn)
	})
	if !errors.Is(err, errOwn) {
		return fmt.Errorf("the first run = %w, want its own error", err)
	}
	return a.Store.Update(ctx, fn)
}

func closureMayRunAgain(t *testing.T, s core.Store) {
	runs := 0
	fresh, err := core.InTx(t.Context(), again{s}, func(ctx context.Context, tx core.Tx) (bool, error) {
		runs++
		_, fresh, err := tx.Claim(ctx, "deliveries", "1", core.Claim{Result: "cb_1"})
		return fresh, errors.Join(err, tx.PutSubscription(ctx, subscription("sub_1")))
	})
	if err != nil || !fresh || runs != 2 {
		t.Errorf("InTx() = fresh %t, %v after %d runs, want fresh after 2", fresh, err, runs)
	}
	if got := subscriptionIDs(t, s, "", core.Page{}); len(got) != 1 {
		t.Errorf("subscriptions = %q, want one", got)
	}
}

func noNestedUpdate(t *testing.T, s core.Store) {
	nothing := func(context.Context, core.Tx) error { return nil }
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		wantErr(t, "Update inside Update", s.Update(ctx, nothing), core.ErrNested)
		_, err := s.AppendUsage(ctx, nil)
		wantErr(t, "AppendUsage inside Update", err, core.ErrNested)
		return nil
	})
	view(t, s, func(ctx context.Context, tx core.ReadTx) error {
		wantErr(t, "Update inside View", s.Update(ctx, nothing), core.ErrNested)
		return nil
	})
	update(t, s, nothing)
}

func claimOnce(t *testing.T, s core.Store) {
	var mu sync.Mutex
	winner, results := -1, make([]string, writers)
	each(writers, func(i int) {
		mine := core.Claim{Digest: "d", Result: fmt.Sprint(i), At: epoch}
		err := s.Update(t.Context(), func(ctx context.Context, tx core.Tx) error {
			prior, fresh, err := tx.Claim(ctx, "deliveries", "one", mine)
			if err != nil {
				return err
			}
			results[i] = prior.Result
			if fresh {
				results[i] = mine.Result
				mu.Lock()
				winner = i
				mu.Unlock()
			} else if prior.Digest != "d" || !prior.At.Equal(epoch) {
				t.Errorf("Claim() = %+v, want the prior claim", prior)
			}
			return err
		})
		if err != nil {
			t.Errorf("Update() = %v", err)
		}
	})
	for i, got := range results {
		if got != fmt.Sprint(winner) {
			t.Errorf("claim %d saw the result %q, want %d, the winner's", i, got, winner)
		}
	}
}

func claimsAreDropped(t *testing.T, s core.Store) {
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		for _, c := range []struct{ scope, key string }{
			{"a", "1"}, {"a", "2"}, {"a", "3"}, {"ab", "1"}, {"b", "1"},
		} {
			if _, _, err := tx.Claim(ctx, c.scope, c.key, core.Claim{}); err != nil {
				return err
			}
		}
		return nil
	})
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		for _, c := range []struct {
			before      string
			limit, want int
		}{{"3", 1, 1}, {"3", 10, 1}, {"3", 10, 0}} {
			if got, err := tx.DropClaims(ctx, "a", c.before, c.limit); err != nil || got != c.want {
				t.Errorf("DropClaims(a, %s, %d) = %d, %v, want %d", c.before, c.limit, got, err, c.want)
			}
		}
		return nil
	})
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		for _, c := range []struct {
			scope, key string
			fresh      bool
		}{{"a", "2", true}, {"a", "3", false}, {"ab", "1", false}, {"b", "1", false}} {
			if _, fresh, err := tx.Claim(ctx, c.scope, c.key, core.Claim{}); err != nil || fresh != c.fresh {
				t.Errorf("Claim(%s, %s) = %t, %v, want %t", c.scope, c.key, fresh, err, c.fresh)
			}
		}
		return nil
	})
}

func noLostUpdate(t *testing.T, s core.Store) {
	const rounds = 8
	putSubscriptions(t, s, "sub_1")
	each(writers, func(int) {
		for range rounds {
			err := s.Update(t.Context(), func(ctx context.Context, tx core.Tx) error {
				sub, err := tx.Subscription(ctx, "sub_1")
				if err != nil {
					return err
				}
				sub.Quantity++
				return tx.PutSubscription(ctx, sub)
			})
			if err != nil {
				t.Errorf("Update() = %v", err)
			}
		}
	})
	got := read(t, s, func(ctx context.Context, tx core.ReadTx) (marketplace.Subscription, error) {
		return tx.Subscription(ctx, "sub_1")
	})
	if got.Quantity != writers*rounds || got.Rev != writers*rounds+1 {
		t.Errorf("quantity %d at revision %d, want %d at %d", got.Quantity, got.Rev, writers*rounds, writers*rounds+1)
	}
}

func staleRevision(t *testing.T, s core.Store) {
	ctx := t.Context()
	update(t, s, writeEverything)
	put := func(rev uint64) map[string]func(context.Context, core.Tx) error {
		sub, ca := fullSubscription(), fullCloudAccount()
		ba, ws := billingAccount("ba_1", "acme", "ops@acme.example", ""), aWorkspace("ws_1")
		key := aKey("key_1", "digest")
		sub.Rev, ca.Rev, ba.Rev, ws.Rev, key.Rev = rev, rev, rev, rev, rev
		run, fund := aRun("sr_1"), aFund("v_1", "ba_1")
		sums, rec := meterAccount("sub_1"), meterRecord("mr_1", 1)
		run.Rev, fund.Rev, sums.Rev, rec.Rev = rev, rev, rev, rev
		return map[string]func(context.Context, core.Tx) error{
			"PutSubscription":   func(ctx context.Context, tx core.Tx) error { return tx.PutSubscription(ctx, sub) },
			"PutCloudAccount":   func(ctx context.Context, tx core.Tx) error { return tx.PutCloudAccount(ctx, ca) },
			"PutBillingAccount": func(ctx context.Context, tx core.Tx) error { return tx.PutBillingAccount(ctx, ba) },
			"PutWorkspace":      func(ctx context.Context, tx core.Tx) error { return tx.PutWorkspace(ctx, ws) },
			"PutAPIKey":         func(ctx context.Context, tx core.Tx) error { return tx.PutAPIKey(ctx, key) },
			"PutSettlementRun":  func(ctx context.Context, tx core.Tx) error { return tx.PutSettlementRun(ctx, run) },
			"PutFund":           func(ctx context.Context, tx core.Tx) error { return tx.PutFund(ctx, fund) },
			"PutMeterAccount":   func(ctx context.Context, tx core.Tx) error { return tx.PutMeterAccount(ctx, sums) },
			"PutMeterRecord":    func(ctx context.Context, tx core.Tx) error { return tx.PutMeterRecord(ctx, rec) },
		}
	}
	for _, rev := range []uint64{0, 2} {
		for name, fn := range put(rev) {
			wantErr(t, fmt.Sprintf("%s at revision %d", name, rev), s.Update(ctx, fn), core.ErrConflict)
		}
	}
	for name, fn := range put(1) {
		if err := s.Update(ctx, fn); err != nil {
			t.Errorf("%s at the stored revision = %v", name, err)
		}
	}
	missing := subscription("sub_missing")
	missing.Rev = 1
	err := s.Update(ctx, func(ctx context.Context, tx core.Tx) error { return tx.PutSubscription(ctx, missing) })
	wantErr(t, "PutSubscription of one that is gone", err, core.ErrConflict)
}

// neighbours: calls that fail or panic share a commit with others, and the
// others do not notice.
func neighbours(t *testing.T, s core.Store) {
	each(writers, func(i int) {
		defer func() {
			if v := recover(); (v != nil) != (i%4 == 1) {
				t.Errorf("call %d: recover() = %v", i, v)
			}
		}()
		err := s.Update(t.Context(), func(ctx context.Context, tx core.Tx) error {
			if err := tx.PutSubscription(ctx, subscription(fmt.Sprintf("sub_%02d", i))); err != nil {
				return err
			}
			switch i % 4 {
			case 0:
				return errOwn
			case 1:
				panic("call")
			}
			return nil
		})
		if (err != nil) != (i%4 == 0) {
			t.Errorf("call %d: Update() = %v", i, err)
		}
	})
	var want []string
	for i := range writers {
		if i%4 > 1 {
			want = append(want, fmt.Sprintf("sub_%02d", i))
		}
	}
	if got := subscriptionIDs(t, s, "", core.Page{}); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("stored = %q, want %q", got, want)
	}
}

func snapshotDoesNotMove(t *testing.T, s core.Store) {
	putSubscriptions(t, s, "sub_1")
	view(t, s, func(ctx context.Context, tx core.ReadTx) error {
		_, err := tx.Subscription(ctx, "sub_1") // a snapshot is taken at the first look at the latest
		if err != nil {
			return err
		}
		putSubscriptions(t, s, "sub_2")
		_, err = tx.Subscription(ctx, "sub_2")
		wantErr(t, "Subscription written after the snapshot", err, core.ErrNotFound)
		if n := count(tx.Subscriptions(ctx, "", core.Page{})); n != 1 {
			t.Errorf("the snapshot holds %d subscriptions, want 1", n)
		}
		return nil
	})
	if got := subscriptionIDs(t, s, "", core.Page{}); len(got) != 2 {
		t.Errorf("afterwards = %q, want both", got)
	}
}

func canceledContext(t *testing.T, s core.Store) {
	before, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.Update(before, func(context.Context, core.Tx) error {
		t.Error("a transaction ran after its context was done")
		return nil
	})
	wantErr(t, "Update(canceled before)", err, context.Canceled)

	during, cancel := context.WithCancel(t.Context())
	err = s.Update(during, func(ctx context.Context, tx core.Tx) error {
		defer cancel()
		return writeEverything(ctx, tx)
	})
	wantErr(t, "Update(canceled during)", err, context.Canceled)
	nothingStored(t, s)
	wantErr(t, "View(canceled)", s.View(before, nil), context.Canceled)
	_, err = s.AppendUsage(before, nil)
	wantErr(t, "AppendUsage(canceled)", err, context.Canceled)
}

// forgetful is a store that commits and then says that it does not know.
type forgetful struct {
	core.Store
	told bool
}

func (f *forgetful) Update(ctx context.Context, fn func(context.Context, core.Tx) error) error {
	err := f.Store.Update(ctx, fn)
	if err == nil && !f.told {
		f.told = true
		return core.ErrUnavailable
	}
	return err
}

func lostCommitReply(t *testing.T, s core.Store) {
	f := &forgetful{Store: s}
	deliver := func() error {
		return f.Update(t.Context(), func(ctx context.Context, tx core.Tx) error {
			if _, fresh, err := tx.Claim(ctx, "deliveries", "1", core.Claim{}); err != nil || !fresh {
				return err
			}
			sub, err := tx.Subscription(ctx, "sub_1")
			if errors.Is(err, core.ErrNotFound) {
				sub = subscription("sub_1")
			}
			sub.Quantity++
			return tx.PutSubscription(ctx, sub)
		})
	}
	wantErr(t, "the first delivery", deliver(), core.ErrUnavailable)
	if err := deliver(); err != nil {
		t.Errorf("the repeat = %v, want nil", err)
	}
	got := read(t, s, func(ctx context.Context, tx core.ReadTx) (marketplace.Subscription, error) {
		return tx.Subscription(ctx, "sub_1")
	})
	if got.Quantity != 1 {
		t.Errorf("applied %d times, want once", got.Quantity)
	}
}

// transactionEnds: what a transaction hands out does not work after it.
func transactionEnds(t *testing.T, s core.Store) {
	var old core.Tx
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		old = tx
		return nil
	})
	if err := old.PutSetting(t.Context(), "name", "value"); err == nil {
		t.Error("PutSetting after the transaction = nil, want an error")
	}
	if _, err := old.Setting(t.Context(), "name"); err == nil {
		t.Error("Setting after the transaction = nil, want an error")
	}
	for _, err := range old.Subscriptions(t.Context(), "", core.Page{}) {
		if err == nil {
			t.Error("Subscriptions after the transaction yields, want an error")
		}
	}
	nothingStored(t, s)
}

func closeWaits(t *testing.T, s core.Store) {
	inside, finish := make(chan struct{}), make(chan struct{})
	viewed, closed := make(chan error, 1), make(chan error, 1)
	go func() {
		viewed <- s.View(context.Background(), func(ctx context.Context, tx core.ReadTx) error {
			close(inside)
			<-finish
			_, err := tx.Subscription(ctx, "sub_1")
			return err
		})
	}()
	<-inside
	go func() { closed <- s.Close() }()
	select {
	case err := <-closed:
		t.Errorf("Close() = %v while a transaction runs, want it to wait", err)
	default:
	}
	close(finish)
	wantErr(t, "the transaction that ran", <-viewed, core.ErrNotFound)
	if err := <-closed; err != nil {
		t.Errorf("Close() = %v, want nil", err)
	}
}

func closedIsUnavailable(t *testing.T, s core.Store) {
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatalf("Close() twice = %v, want nil", err)
	}
	ctx := t.Context()
	wantErr(t, "View(closed)", s.View(ctx, nil), core.ErrUnavailable)
	wantErr(t, "Update(closed)", s.Update(ctx, nil), core.ErrUnavailable)
	_, err := s.AppendUsage(ctx, nil)
	wantErr(t, "AppendUsage(closed)", err, core.ErrUnavailable)
}
