package core_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/workspace"
)

// TestBindRules: the rules for binding a workspace and for changing how it is
// settled, each with the code that a caller gets.
func TestBindRules(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		do   func(t *testing.T, w *world) error
		want string
	}{
		{"FirstBinding", func(t *testing.T, w *world) error {
			return w.bind(w.workspace("c1"), w.account("acme").ID, "")
		}, "ok"},
		{"SameAgain", func(t *testing.T, w *world) error {
			ws, acc := w.workspace("c1"), w.account("acme").ID
			must(t, w.bind(ws, acc, ""))
			return w.bind(ws, acc, "")
		}, "already_bound"},
		{"CloudAccountOfSomebodyElse", func(t *testing.T, w *world) error {
			sub := w.buy(w.cloud, "s-1", "b-1")
			w.claim(sub, w.account("acme").ID)
			return w.bind(w.workspace("c1"), w.account("other").ID, sub.ID)
		}, "cloud_account_not_claimed"},
		{"FrozenSubscription", func(t *testing.T, w *world) error {
			sub, acc := w.bought(w.cloud)
			w.tell(w.cloud, marketplace.Event{Kind: marketplace.Expired, Subject: "s-1"})
			return w.bind(w.workspace("c1"), acc, sub)
		}, "subscription_not_active"},
		{"ChangeOnceAMonth", func(t *testing.T, w *world) error {
			sub, acc := w.bought(w.cloud)
			ws := w.workspace("c1")
			must(t, w.bind(ws, acc, ""))
			return w.bind(ws, acc, sub)
		}, "ok"},
		{"ChangeTwiceAMonth", func(t *testing.T, w *world) error {
			acc, arb := w.account("acme"), w.workspace("c1")
			certify(t, w, acc.ID, "other")
			must(t, w.bind(arb, acc.ID, ""))
			must(t, w.bind(arb, w.login("other"), ""))
			return w.bind(arb, acc.ID, "")
		}, "changed_this_month"},
		{"ChangeTwiceInTheSitesNextMonth", func(t *testing.T, w *world) error {
			acc, arb := w.account("acme"), w.workspace("c1")
			certify(t, w, acc.ID, "other")
			w.clock.now = time.Date(2026, 11, 30, 15, 59, 59, 0, time.UTC) // still November at +8
			must(t, w.bind(arb, acc.ID, ""))
			must(t, w.bind(arb, w.login("other"), ""))
			w.clock.Add(time.Second) // December at +8, November in UTC
			return w.bind(arb, acc.ID, "")
		}, "ok"},
		{"AwayFromALiveSubscription", func(t *testing.T, w *world) error {
			sub, acc := w.bought(w.cloud)
			ws := w.workspace("c1")
			must(t, w.bind(ws, acc, sub))
			w.clock.Add(60 * 24 * time.Hour)
			return w.bind(ws, acc, "")
		}, "settled_by_cloud_account"},
		{"AwayFromAnEndedSubscription", func(t *testing.T, w *world) error {
			sub, acc := w.bought(w.cloud)
			ws := w.workspace("c1")
			must(t, w.bind(ws, acc, sub))
			w.tell(w.cloud, marketplace.Event{Kind: marketplace.Ended, Subject: "s-1"})
			if err := w.bind(ws, acc, ""); err != nil {
				return err
			}
			if _, status := w.settled(ws); status != workspace.Open {
				return errors.New("still locked")
			}
			return nil
		}, "ok"},
		{"CloudOfAnotherSite", func(t *testing.T, w *world) error {
			sub, acc := w.bought(w.cloud)
			return w.bind(w.workspace("o1"), acc, sub)
		}, "site_settles_elsewhere"},
		{"CloudOfAnotherSiteArbitrary", func(t *testing.T, w *world) error {
			sub, acc := w.bought(w.cloud)
			_, err := w.SetArbitrarySettlement(t.Context(), acc, true)
			must(t, err)
			return w.bind(w.workspace("o1"), acc, sub)
		}, "ok"},
		{"OpenedThroughAMarketplace", func(t *testing.T, w *world) error {
			sub, acc := w.bought(w.cloud)
			link := core.Link{Subscription: sub, Account: acc}
			ws, err := w.BindBuyer(t.Context(), link, core.Choice{Name: "mine", Site: "c1"})
			must(t, err)
			w.tell(w.cloud, marketplace.Event{Kind: marketplace.Ended, Subject: "s-1"})
			other := w.buy(w.other, "o-1", "b-2")
			w.claim(other, acc)
			w.site(ws, "o1")
			return w.bind(ws, acc, other.ID)
		}, "opened_by_marketplace"},
		{"OpenedThroughAMarketplaceThenWallet", func(t *testing.T, w *world) error {
			sub, acc := w.bought(w.cloud)
			ws, err := w.BindBuyer(t.Context(), core.Link{Subscription: sub, Account: acc}, core.Choice{Name: "mine", Site: "c1"})
			must(t, err)
			w.tell(w.cloud, marketplace.Event{Kind: marketplace.Ended, Subject: "s-1"})
			return w.bind(ws, acc, "")
		}, "ok"},
		{"AnotherEnterprise", func(t *testing.T, w *world) error {
			ws := w.workspace("c1")
			must(t, w.bind(ws, w.account("acme").ID, ""))
			return w.bind(ws, w.account("other").ID, "")
		}, "bound_to_another_account"},
		{"NoSuchWorkspace", func(t *testing.T, w *world) error {
			return w.bind("ws_nobody", w.account("acme").ID, "")
		}, "not_found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if got := code(c.do(t, w)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// bought returns a subscription and the account that claimed it.
func (w *world) bought(m core.Marketplace) (marketplace.SubscriptionID, account.ID) {
	w.t.Helper()
	sub, acc := w.buy(m, "s-1", "b-1"), w.account("acme").ID
	w.claim(sub, acc)
	return sub.ID, acc
}

// certify makes another account of the same certified enterprise.
func certify(t *testing.T, w *world, id account.ID, other string) {
	t.Helper()
	second := w.account(other).ID
	must(t, w.store.Update(t.Context(), func(ctx ctxT, tx core.Tx) error {
		for _, id := range []account.ID{id, second} {
			a, err := tx.BillingAccount(ctx, id)
			if err != nil {
				return err
			}
			a.Certification = "Example Enterprise"
			if err := tx.PutBillingAccount(ctx, a); err != nil {
				return err
			}
		}
		return nil
	}))
}

// login returns the id of an account.
func (w *world) login(name string) (id account.ID) {
	w.t.Helper()
	must(w.t, w.store.View(w.t.Context(), func(ctx ctxT, tx core.ReadTx) error {
		a, err := tx.BillingAccountByLogin(ctx, name)
		id = a.ID
		return err
	}))
	return id
}

// site moves a workspace, which nobody can, to look at one rule alone.
func (w *world) site(id workspace.ID, site string) {
	w.t.Helper()
	must(w.t, w.store.Update(w.t.Context(), func(ctx ctxT, tx core.Tx) error {
		ws, err := tx.Workspace(ctx, id)
		if err != nil {
			return err
		}
		ws.Site = site
		return tx.PutWorkspace(ctx, ws)
	}))
}

func TestBindingHistoryHasNoGapsAndNoOverlap(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sub, acc := w.bought(w.other)
	ws := w.workspace("o1")
	must(t, w.bind(ws, acc, ""))
	w.clock.Add(time.Hour)
	must(t, w.bind(ws, acc, sub))
	w.clock.Add(time.Hour)
	w.tell(w.other, marketplace.Event{Kind: marketplace.Ended, Subject: "s-1"})
	list, err := w.Bindings(t.Context(), core.Actor{}, ws, core.Page{Limit: 10})
	must(t, err)
	causes := []workspace.Cause{workspace.Chosen, workspace.Chosen, workspace.SubscriptionEnded}
	if len(list.Items) != len(causes) {
		t.Fatalf("history has %d bindings, want %d", len(list.Items), len(causes))
	}
	for i, b := range list.Items {
		last := i == len(causes)-1
		if b.Cause != causes[i] || b.To.IsZero() != last || !last && !b.To.Equal(list.Items[i+1].From) {
			t.Errorf("binding %d: %s [%s, %s), want %s up to the next", i, b.Cause, b.From, b.To, causes[i])
		}
	}
}

func TestLockStartsTheBuffer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sub, acc := w.bought(w.cloud)
	ws := w.workspace("c1")
	must(t, w.bind(ws, acc, sub))
	w.clock.Add(time.Hour)
	w.tell(w.cloud, marketplace.Event{Kind: marketplace.Expired, Subject: "s-1"})
	v, err := w.Workspace(t.Context(), core.Actor{}, ws)
	must(t, err)
	if want := w.Now().Add(14 * 24 * time.Hour); !v.BufferEndsAt().Equal(want) {
		t.Errorf("buffer ends %s, want %s", v.BufferEndsAt(), want)
	}
	must(t, w.RunTasks(t.Context()))
	if len(w.mails.mails) != 1 || !strings.Contains(w.mails.mails[0].Subject, "locked") {
		t.Errorf("mails: %+v, want one about the lock", w.mails.mails)
	}
}

func TestAnotherAccountsThingsAreNotFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sub, acc := w.bought(w.cloud)
	ws := w.workspace("c1")
	must(t, w.bind(ws, acc, sub))
	stranger := core.Actor{Role: core.RoleAccount, BillingAccount: w.account("stranger").ID}
	got, _ := w.Subscription(t.Context(), core.Actor{}, sub)
	_, err1 := w.Workspace(t.Context(), stranger, ws)
	_, err2 := w.Subscription(t.Context(), stranger, sub)
	_, err3 := w.CloudAccount(t.Context(), stranger, got.Account)
	_, err4 := w.BillingAccount(t.Context(), stranger, acc)
	_, err5 := w.Bindings(t.Context(), stranger, ws, core.Page{Limit: 10})
	for i, err := range []error{err1, err2, err3, err4, err5} {
		if !errors.Is(err, core.ErrNotFound) {
			t.Errorf("%d: %v, want not found", i, err)
		}
	}
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := core.Request{Actor: core.Actor{Name: "key:1"}, Key: "k", Digest: "d"}
	a := account.Account{UserName: "acme", Email: "a@example.com", Currency: "CNY"}
	first, err := w.CreateBillingAccount(t.Context(), r, a)
	must(t, err)
	again, err := w.CreateBillingAccount(t.Context(), r, a)
	if err != nil || again.ID != first.ID {
		t.Errorf("repeat: %s, %v, want %s", again.ID, err, first.ID)
	}
	r.Digest = "other"
	if _, err := w.CreateBillingAccount(t.Context(), r, a); !errors.Is(err, core.ErrKeyReused) {
		t.Errorf("same key, other request: %v, want ErrKeyReused", err)
	}
	if _, err := w.CreateBillingAccount(t.Context(), core.Request{}, a); code(err) != "user_name_taken" {
		t.Errorf("taken user name: %v", err)
	}
}

func TestSignInCodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	acc := w.account("acme")
	send := func() string {
		t.Helper()
		w.clock.Add(time.Minute)
		must(t, w.SendCode(t.Context(), "Acme"))
		must(t, w.RunTasks(t.Context()))
		_, after, _ := strings.Cut(w.mails.mails[len(w.mails.mails)-1].Text, "code is ")
		return after[:6]
	}
	code := send()
	if id, err := w.CheckCode(t.Context(), "acme@example.com", code); err != nil || id != acc.ID {
		t.Errorf("right code: %s, %v", id, err)
	}
	if _, err := w.CheckCode(t.Context(), "acme", code); !errors.Is(err, core.ErrUnverified) {
		t.Errorf("used code: %v, want refused", err)
	}
	code = send()
	for range 5 {
		if _, err := w.CheckCode(t.Context(), "acme", "000000x"); !errors.Is(err, core.ErrUnverified) {
			t.Errorf("wrong code: %v, want refused", err)
		}
	}
	if _, err := w.CheckCode(t.Context(), "acme", code); !errors.Is(err, core.ErrUnverified) {
		t.Errorf("right code after five wrong ones: %v, want refused", err)
	}
	code = send()
	w.clock.Add(11 * time.Minute)
	if _, err := w.CheckCode(t.Context(), "acme", code); !errors.Is(err, core.ErrUnverified) {
		t.Errorf("old code: %v, want refused", err)
	}
	for range 4 {
		send()
		for range 5 {
			_, _ = w.CheckCode(t.Context(), "acme", "000000x")
		}
	}
	w.clock.Add(time.Minute)
	mails := len(w.mails.mails)
	must(t, w.SendCode(t.Context(), "acme"))
	must(t, w.RunTasks(t.Context()))
	if len(w.mails.mails) != mails {
		t.Error("a code was mailed after 25 wrong ones in a day")
	}
	w.clock.Add(24 * time.Hour)
	send()
	mails = len(w.mails.mails)
	must(t, w.SendCode(t.Context(), "nobody"))
	must(t, w.RunTasks(t.Context()))
	if len(w.mails.mails) != mails {
		t.Error("a code was mailed for an unknown login")
	}
}

func TestLandingLinks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	path := w.StayPath("sub_1", "ba_1")
	opaque := strings.TrimPrefix(path, "/landing/")
	k, err := w.OpenLanding(t.Context(), opaque)
	if err != nil || k.Subscription != "sub_1" || k.Account != "ba_1" {
		t.Fatalf("OpenLanding() = %+v, %v", k, err)
	}
	for i := range opaque {
		b := []byte(opaque)
		b[i] ^= 1
		if k, err := w.OpenLanding(t.Context(), string(b)); err == nil && (k.Subscription != "sub_1" || k.Account != "ba_1") {
			t.Errorf("byte %d changed: %+v", i, k)
		}
	}
	w.clock.Add(31 * time.Minute)
	if _, err := w.OpenLanding(t.Context(), opaque); !errors.Is(err, core.ErrExpired) {
		t.Errorf("old link: %v, want ErrExpired", err)
	}
}

func TestBindBuyerTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	sub := w.buy(w.cloud, "s-1", "b-1")
	acc, ws := w.account("acme").ID, w.workspace("c1")
	link := core.Link{Subscription: sub.ID, Account: acc}
	for range 2 {
		if got, err := w.BindBuyer(t.Context(), link, core.Choice{Workspace: ws}); err != nil || got != ws {
			t.Errorf("BindBuyer() = %s, %v", got, err)
		}
	}
	other := core.Link{Subscription: sub.ID, Account: w.account("other").ID}
	if _, err := w.BindBuyer(t.Context(), other, core.Choice{Name: "x", Site: "c1"}); code(err) != "claimed_by_another" {
		t.Errorf("another account: %v", err)
	}
}

func TestAPIKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k, secret, err := w.CreateAPIKey(t.Context(), core.Request{}, "ci", core.RoleOperator, "")
	must(t, err)
	if a, err := w.Authenticate(t.Context(), secret); err != nil || a.Role != core.RoleOperator {
		t.Errorf("Authenticate() = %+v, %v", a, err)
	}
	_, err = w.RevokeAPIKey(t.Context(), k.ID)
	must(t, err)
	if _, err := w.Authenticate(t.Context(), secret); !errors.Is(err, core.ErrUnverified) {
		t.Errorf("revoked key: %v, want refused", err)
	}
	must(t, w.Bootstrap(t.Context(), "bootstrap-key-0123456789"))
	must(t, w.Bootstrap(t.Context(), "bootstrap-key-0123456789"))
	if list, err := w.APIKeys(t.Context(), core.Page{Limit: 10}); err != nil || len(list.Items) != 2 {
		t.Errorf("%d keys, %v, want 2", len(list.Items), err)
	}
}
