package core_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"time"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/id"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/workspace"
	"cloudsettle/store/fresh"
	"cloudsettle/store/postgres/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// world is a service on a real store, with a clock and a mailbox.
type world struct {
	*core.Service
	t     *testing.T
	store core.Store
	clock *clock
	mails *mailbox
	cloud core.Marketplace // locks on release
	other core.Marketplace // settles by wallet on release
	seq   int
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// mailbox is a mailer that keeps what it sends.
type mailbox struct {
	mu    sync.Mutex
	mails []core.Mail
}

func (m *mailbox) Send(_ context.Context, mail core.Mail) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mails = append(m.mails, mail)
	return nil
}

// completer completes what its map holds and is unavailable for the rest.
type completer struct {
	mu    sync.Mutex
	known map[string]string // first name of an event → buyer account
}

func (c *completer) Complete(_ context.Context, ev marketplace.Event) (marketplace.Event, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	buyer, ok := c.known[ev.Also[0]]
	if !ok {
		return ev, core.ErrUnavailable
	}
	ev.Account = buyer
	return ev, nil
}

func newWorld(t *testing.T) *world {
	t.Helper()
	st := fresh.Open(t)
	c := &clock{now: time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)}
	w := &world{
		t: t, store: st, clock: c, mails: &mailbox{},
		cloud: core.Marketplace{Listing: core.Listing{ID: "cloud-main", Provider: "cloud", OnRelease: workspace.Lock}},
		other: core.Marketplace{Listing: core.Listing{ID: "other-main", Provider: "other", OnRelease: workspace.SettleByWallet}},
	}
	w.Service = core.NewService(core.Config{
		Store: st, Marketplaces: []core.Marketplace{w.cloud, w.other}, Mailer: w.mails, Now: c.Now,
		Sites: []workspace.Site{
			{Code: "c1", Cloud: "cloud", Zone: time.FixedZone("+8", 8*3600)}, {Code: "o1", Cloud: "other", Zone: time.UTC},
		},
		NewID: id.NewGenerator(c.Now).New, Log: slog.New(slog.DiscardHandler), LinkKey: make([]byte, 32), Brand: "Test",
	})
	return w
}

// tell hands an event of a marketplace to the service.
func (w *world) tell(m core.Marketplace, ev marketplace.Event) core.Outcome {
	w.t.Helper()
	out, err := w.try(m, ev)
	if err != nil {
		w.t.Fatalf("Handle(%s): %v", ev.Kind, err)
	}
	return out
}

func (w *world) try(m core.Marketplace, ev marketplace.Event) (core.Outcome, error) {
	ev.Listing, ev.Provider, ev.Action = m.Listing.ID, m.Listing.Provider, string(ev.Kind)
	cb := core.Callback{Listing: ev.Listing, Method: "GET", RawQuery: "a=b", Body: []byte("body"), ReceivedAt: w.Now()}
	return w.Handle(w.t.Context(), m, cb, ev)
}

// buy purchases a subscription on m and returns it.
func (w *world) buy(m core.Marketplace, subject, buyer string) marketplace.Subscription {
	w.t.Helper()
	return *w.tell(m, marketplace.Event{Kind: marketplace.Activated, Subject: subject, Account: buyer, SKU: "basic"}).Subscription
}

func (w *world) account(name string) account.Account {
	w.t.Helper()
	a, err := w.CreateBillingAccount(w.t.Context(), core.Request{}, account.Account{
		UserName: name, Email: name + "@example.com", Currency: "CNY",
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

func (w *world) workspace(site string) workspace.ID {
	w.t.Helper()
	w.seq++
	v, err := w.CreateWorkspace(w.t.Context(), core.Request{}, workspace.Workspace{
		Name: fmt.Sprintf("ws %d", w.seq), Site: site, OwnerEmail: "dev@example.com",
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return v.ID
}

// bind settles ws by sub, or by the billing account if sub is "".
func (w *world) bind(ws workspace.ID, acc account.ID, sub marketplace.SubscriptionID) error {
	s := workspace.Settlement{Method: workspace.ByBillingAccount}
	if sub != "" {
		s = workspace.Settlement{Method: workspace.ByCloudAccount, Subscription: sub}
	}
	_, err := w.Bind(w.t.Context(), core.Request{Actor: core.Actor{Name: "test"}}, core.Want{
		Workspace: ws, BillingAccount: acc, Settlement: s,
	})
	return err
}

func (w *world) claim(sub marketplace.Subscription, acc account.ID) {
	w.t.Helper()
	if _, err := w.Claim(w.t.Context(), sub.Account, acc); err != nil {
		w.t.Fatal(err)
	}
}

// settled returns how a workspace is settled now, and whether it is locked.
func (w *world) settled(ws workspace.ID) (workspace.Settlement, workspace.Status) {
	w.t.Helper()
	v, err := w.Workspace(w.t.Context(), core.Actor{}, ws)
	if err != nil {
		w.t.Fatal(err)
	}
	if v.Current == nil {
		return workspace.Settlement{}, v.Status()
	}
	return v.Current.Settlement, v.Status()
}

// code returns the code of a refusal, or what else happened.
func code(err error) string {
	var f *core.Fault
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &f):
		return f.Code
	}
	return err.Error()
}

type ctxT = context.Context

// withMarket returns the configuration of w with one marketplace replaced.
func withMarket(w *world, m core.Marketplace) core.Config {
	c := w.Config
	c.Marketplaces = []core.Marketplace{m}
	return c
}
