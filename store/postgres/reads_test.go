package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/id"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/workspace"
	"cloudsettle/store/postgres"
	"cloudsettle/store/postgres/pgtest"
)

// life is what happens to a subscription, in its order.
var life = []marketplace.Kind{
	marketplace.Activated, marketplace.Activated, marketplace.Renewed, marketplace.Changed, marketplace.Suspended,
	marketplace.Resumed, marketplace.Expired, marketplace.Renewed, marketplace.Ended, marketplace.Ended,
}

// shop carries callbacks into a database.
type shop struct {
	t   *testing.T
	url string
	svc *core.Service
}

// TestCallbacksDoNotScan: a callback reads as many rows of a large database as
// of a small one, whatever it says.
func TestCallbacksDoNotScan(t *testing.T) {
	t.Parallel()
	const lives, growth = 10, 1000
	url, err := pgtest.Shared(t).Create("reads") // the engine counts for a database
	if err != nil {
		t.Fatal(err)
	}
	s := &shop{t: t, url: url}
	few := s.reads(func() { s.live(0, lives) })
	s.reads(func() { s.open(lives, growth) })
	many := s.reads(func() { s.live(lives+growth, lives) })
	calls := int64(lives * len(life))
	t.Logf("rows read by a callback: %d of few, %d of many", few/calls, many/calls)
	if many > few+few/10 {
		t.Errorf("%d callbacks read %d rows of a small database, %d of one with %d subscriptions more", calls, few, many, growth)
	}
}

// live lets subscriptions that are bought come and go.
func (s *shop) live(from, n int) {
	s.open(from, n)
	for i := from; i < from+n; i++ {
		for at, kind := range life[1:] {
			s.tell(i, kind, at+1)
		}
	}
}

// open sells subscriptions and binds a workspace to each.
func (s *shop) open(from, n int) {
	for i := from; i < from+n; i++ {
		s.tell(i, marketplace.Activated, 0)
	}
	err := s.svc.Store.Update(s.t.Context(), func(ctx context.Context, tx core.Tx) error {
		var errs []error
		for i := from; i < from+n; i++ {
			sub, err := tx.SubscriptionByName(ctx, "cloud-main", benchName("sub", int64(i)))
			acc := account.ID(fmt.Sprintf("ba_%d", i))
			ws := workspace.ID(fmt.Sprintf("ws_%d", i))
			errs = append(errs, err,
				tx.PutBillingAccount(ctx, account.Account{ID: acc, UserName: string(acc), Email: string(acc) + "@example.com", Currency: "CNY"}),
				tx.PutWorkspace(ctx, workspace.Workspace{ID: ws, Name: "w", Site: "o1"}),
				tx.Bind(ctx, workspace.Binding{
					ID: workspace.BindingID(fmt.Sprintf("bnd_%d", i)), Workspace: ws, BillingAccount: acc, From: benchNow,
					Settlement: workspace.Settlement{Method: workspace.ByCloudAccount, Subscription: sub.ID},
				}))
		}
		return errors.Join(errs...)
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// tell carries one callback.
func (s *shop) tell(i int, kind marketplace.Kind, at int) {
	when := benchNow.Add(time.Duration(at) * time.Hour)
	ev := marketplace.Event{
		Listing: "cloud-main", Provider: "cloud", Kind: kind, Action: string(kind), Subject: benchName("sub", int64(i)),
		Account: benchName("buyer", int64(i)), SKU: "basic", Rank: fmt.Sprintf("%03d", at), ExpiresAt: when.AddDate(0, 1, 0),
	}
	cb := core.Callback{Listing: ev.Listing, Method: "POST", Body: []byte(`{"action":"test"}`), ReceivedAt: when}
	if _, err := s.svc.Handle(s.t.Context(), s.svc.Marketplaces[0], cb, ev); err != nil {
		s.t.Fatalf("%s of %d: %v", kind, i, err)
	}
}

// reads returns how many rows and index entries the engine read for what do
// does with the service.
func (s *shop) reads(do func()) int64 {
	st, err := postgres.Open(s.t.Context(), s.url+pool)
	if err != nil {
		s.t.Fatal(err)
	}
	s.svc = core.NewService(core.Config{
		Store: st, Marketplaces: []core.Marketplace{{Listing: core.Listing{ID: "cloud-main", Provider: "cloud"}}},
		Now: benchClock, NewID: id.NewGenerator(benchClock).New, Log: slog.New(slog.DiscardHandler), LinkKey: make([]byte, 32),
	})
	before := s.rowsRead()
	do()
	if err := st.Close(); err != nil {
		s.t.Fatal(err)
	}
	for others := int64(1); others > 0; { // a connection counts when it ends
		others = s.sql("select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()")
	}
	return s.rowsRead() - before
}

func (s *shop) rowsRead() int64 {
	return s.sql(`select (select sum(seq_tup_read) from pg_stat_user_tables)::bigint
		+ (select sum(idx_tup_read) from pg_stat_user_indexes)::bigint`)
}

// sql asks for one number on a connection of its own.
func (s *shop) sql(text string) (n int64) {
	c, err := pgx.Connect(s.t.Context(), s.url)
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close(context.Background())
	if err := c.QueryRow(s.t.Context(), text).Scan(&n); err != nil {
		s.t.Fatalf("%s: %v", text, err)
	}
	return n
}
