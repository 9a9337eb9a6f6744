package core_test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/big"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/id"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
	"cloudsettle/store"
	"cloudsettle/store/fresh"
)

// TestModel drives a service on a real store through random sequences of what
// customers, operators, marketplaces and outages do, and a model beside it.
// After each step, and over everything at the end, both must agree.
//
// -rapid.checks is the number of sequences, -rapid.seed repeats a run.
func TestModel(t *testing.T) {
	t.Parallel()
	seed := seedOf(t)
	var count tallied
	dir := fastDir(t)
	defer debug.SetGCPercent(debug.SetGCPercent(1000)) // the heap is small: else it is collected all the time
	began := time.Now()
	rapid.Check(t, func(rt *rapid.T) {
		s := scope{TB: t}
		defer s.end()
		runSequence(rt, fresh.URL(&s, s.dir(dir)), &count)
	})
	t.Logf("%d sequences, %d steps, %d daily bills, %d corrections, %d monthly bills, %d records on file, %d faults, %d restarts in %s; -rapid.seed=%s",
		count.sequences.Load(), count.steps.Load(), count.bills.Load(), count.corrections.Load(), count.months.Load(),
		count.records.Load(), count.faults.Load(), count.restarts.Load(), time.Since(began).Round(time.Millisecond), seed)
}

// tallied is how much was tried.
type tallied struct {
	sequences, steps, bills, corrections, months, records, faults, restarts atomic.Int64
}

// scope is the part of a test after which its stores are gone: thousands of them
// would fill the disk.
type scope struct {
	testing.TB
	undo []func()
}

func (s *scope) Cleanup(f func()) { s.undo = append(s.undo, f) }

func (s *scope) end() {
	for _, f := range slices.Backward(s.undo) {
		f()
	}
}

// dir makes a directory for the scope.
func (s *scope) dir(parent string) string {
	dir, err := os.MkdirTemp(parent, "")
	must(s, err)
	s.Cleanup(func() { must(s, os.RemoveAll(dir)) })
	return dir
}

// seedOf sets a seed where none was given, so that it can be told.
func seedOf(t *testing.T) string {
	t.Helper()
	f := flag.Lookup("rapid.seed")
	if f.Value.String() == "0" {
		must(t, f.Value.Set(strconv.FormatUint(rand.Uint64()|1, 10)))
	}
	return f.Value.String()
}

// fastDir is a directory in memory where there is one: the model is about what
// is stored, not about the disk.
func fastDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "model")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	return dir
}

// rig is a service and its model.
type rig struct {
	*rapid.T
	ctx   context.Context
	svc   *core.Service
	conf  core.Config
	store *flakyStore
	url   string // of the store
	clock *clock
	model *model
	shops map[marketplace.ListingID]*shop
	count *tallied
	keys  int
	// What was made, in the order in which it was, to draw from.
	payers []account.ID
	spaces []workspace.ID
	subs   []marketplace.SubscriptionID
	series [][2]string // what is reported
	last   func()      // the last change of a wallet, to be sent again
}

// Where the model plays: clocks change in two of the zones, and one site runs
// on no cloud.
var (
	modelZones  = map[string]string{"c1": "Asia/Shanghai", "d1": "Europe/Berlin", "o1": "America/New_York"}
	modelClouds = map[string]marketplace.Provider{"c1": "cloud", "o1": "other"}
	modelPrices = map[string]string{"c1": "CN", "d1": "INTL", "o1": "INTL"}
	modelStarts = []string{
		"2026-03-07T20:00:00Z", "2026-03-28T21:00:00Z", "2026-10-24T20:00:00Z", "2026-10-31T22:00:00Z",
		"2026-11-28T15:00:00Z", "2026-12-30T05:00:00Z", "2028-02-28T11:00:00Z",
	}
)

func newRig(t *rapid.T, url string, count *tallied) *rig {
	start, err := time.Parse(time.RFC3339, rapid.SampledFrom(modelStarts).Draw(t, "start"))
	mustBe(t, err)
	r := &rig{
		T: t, ctx: t.Context(), clock: &clock{now: start}, count: count, shops: map[marketplace.ListingID]*shop{},
		url: url,
		model: &model{
			sites: map[string]workspace.Site{}, payers: map[account.ID]*modelPayer{}, spaces: map[workspace.ID]*modelSpace{},
			subs: map[marketplace.SubscriptionID]*modelSub{}, bills: map[modelDay]*modelBill{}, months: map[modelMonth]*modelMonthly{},
			listings: map[marketplace.ListingID]modelListing{
				"cloud-main": {"cloud", "CNY", true}, "other-main": {"other", "USD", false},
			},
		},
	}
	r.conf = core.Config{
		Mailer: &mailbox{}, Now: r.clock.Now, NewID: id.NewGenerator(r.clock.Now).New,
		Log: slog.New(slog.DiscardHandler), LinkKey: make([]byte, 32), Brand: "Test",
	}
	for code, name := range modelZones {
		zone, err := time.LoadLocation(name)
		mustBe(t, err)
		site := workspace.Site{Code: code, Cloud: modelClouds[code], Zone: zone, Prices: modelPrices[code]}
		r.model.sites[code] = site
		r.conf.Sites = append(r.conf.Sites, site)
	}
	unit := rapid.SampledFrom([]string{"0.01", "0.01", "0.000001", "1"}).Draw(t, "unit")
	most := rapid.SampledFrom([]int64{1 << 50, 1 << 50, 500}).Draw(t, "most units")
	luck := rapid.Uint64().Draw(t, "luck of the marketplaces")
	for _, listing := range []marketplace.ListingID{"cloud-main", "other-main"} {
		l := r.model.listings[listing]
		r.shops[listing] = newShop(l.currency, micros(t, unit), most, luck)
		release := workspace.SettleByWallet
		if l.locks {
			release = workspace.Lock
		}
		r.conf.Marketplaces = append(r.conf.Marketplaces, core.Marketplace{
			Listing: core.Listing{ID: listing, Provider: l.provider, Currency: string(l.currency), OnRelease: release},
			Meter:   r.shops[listing],
		})
	}
	r.open()
	return r
}

// open starts the service on the store as it is.
func (r *rig) open() {
	st, err := store.Open(r.ctx, r.url)
	mustBe(r.T, err)
	r.store = &flakyStore{Store: st}
	r.conf.Store = r.store
	r.svc = core.NewService(r.conf)
}

// restart is what a crash between two commits comes to: all that was not
// committed is gone, also whatever the service remembered.
func (r *rig) restart() {
	r.count.restarts.Add(1)
	mustBe(r.T, r.store.Close())
	r.open()
}

// do runs an operation, sometimes with a commit that goes wrong, until it is
// through, and returns how it ended. It must be safe to repeat.
func (r *rig) do(op func() error) error {
	f := noFault
	if upTo(r.T, "fault?", 8) == 0 {
		f = rapid.SampledFrom([]fault{lostBefore, lostAfter, runTwice}).Draw(r.T, "fault")
		r.count.faults.Add(1)
		r.store.arm(f, upTo(r.T, "at", 3))
	}
	err := op()
	r.store.arm(noFault, 0)
	if !errors.Is(err, core.ErrUnavailable) {
		return err
	}
	if rapid.Bool().Draw(r.T, "restart") {
		r.restart()
	}
	return op()
}

// request is a new request with a key, which makes a repeat safe.
func (r *rig) request() core.Request {
	r.keys++
	return core.Request{Actor: core.Actor{Name: "test"}, Key: strconv.Itoa(r.keys)}
}

func (r *rig) now() time.Time { return r.clock.Now() }

func runSequence(t *rapid.T, url string, count *tallied) {
	r := newRig(t, url, count)
	defer func() { _ = r.store.Close() }()
	for range 1 + upTo(t, "accounts", 2) {
		r.addPayer()
	}
	for range 4 {
		r.series = append(r.series, pick(r, "series", allSeries...))
	}
	for range 1 + upTo(t, "workspaces", 3) {
		r.addSpace()
	}
	if upTo(t, "bought", 2) == 0 {
		r.buy()
	}
	steps := 8 + upTo(t, "steps", 17)
	for range steps {
		r.step()
	}
	r.finish()
	count.sequences.Add(1)
	count.steps.Add(int64(steps))
}

// finish lets the marketplaces recover, settles what is due, and compares
// everything.
func (r *rig) finish() {
	r.runTasks()
	for _, day := range r.model.openDays() {
		r.settle(day)
	}
	r.drain()
	for _, id := range r.spaces {
		r.sameSpace(id)
	}
	for _, id := range r.payers {
		r.sameWallets(id)
		r.sameMonths(id)
	}
	for _, id := range r.subs {
		r.sameMeter(id)
	}
	v, err := r.svc.Verify(r.ctx)
	mustBe(r.T, err)
	if !v.OK || v.Checked["daily_bills"] != len(r.model.bills) || v.Checked["monthly_bills"] != len(r.model.months) {
		r.Fatalf("verify: %+v, want %d daily and %d monthly bills", v, len(r.model.bills), len(r.model.months))
	}
	r.count.months.Add(int64(len(r.model.months)))
}

// sameBill compares a daily bill.
func (r *rig) sameBill(at modelDay) {
	day, err := usage.ParseDay(at.day)
	mustBe(r.T, err)
	list, err := r.svc.DailyBills(r.ctx, core.Actor{}, core.BillFilter{Workspace: string(at.space), From: day, To: day + 1})
	mustBe(r.T, err)
	want := r.model.bills[at]
	if len(list) != 1 {
		r.Fatalf("%d bills of %s on %s, want 1", len(list), at.space, at.day)
	}
	got := list[0]
	if got.BillingAccount != want.binding.payer || got.Settlement.Subscription != want.binding.sub ||
		got.Currency != want.currency || got.Book != want.book {
		r.Fatalf("bill %s: paid by %s through %q in %s by book %s, want %+v in %s by book %s",
			got.ID, got.BillingAccount, got.Settlement.Subscription, got.Currency, got.Book, want.binding, want.currency, want.book)
	}
	for i := range got.Lines {
		r.sameLine(&got, &got.Lines[i], want)
	}
	unrated := map[[2]string]bool{}
	for _, u := range got.Unrated {
		unrated[[2]string{u.Item, u.Variant}] = true
	}
	if len(got.Lines) != len(want.rated.lines) || fmt.Sprint(unrated) != fmt.Sprint(want.rated.unrated) {
		r.Fatalf("bill %s has lines %+v and without one %v, want %v and %v", got.ID, got.Lines, unrated, want.rated.lines, want.rated.unrated)
	}
	if ofMicros(got.Total).Cmp(want.total) != 0 {
		r.Fatalf("bill %s comes to %s, want %s", got.ID, got.Total, want.total.FloatString(9))
	}
	r.samePaid(string(got.ID), got.Split, want.modelPaid)
	r.count.bills.Add(1)
}

func (r *rig) sameLine(b *settlement.DailyBill, l *settlement.Line, want *modelBill) {
	k := modelLineKey{"", l.Item, l.Variant}
	if l.Of != 0 {
		k.of = l.Of.String()
		r.count.corrections.Add(1)
	}
	w, ok := want.rated.lines[k]
	if !ok || ofMicros(l.Amount).Cmp(w.amount) != 0 || ofDecimal(l.Quantity).Cmp(w.quantity) != 0 || l.NoVouchers != w.noVouchers {
		r.Fatalf("bill %s: line %+v, want %+v", b.ID, l, w)
	}
}

func (r *rig) samePaid(what string, got settlement.Split, want modelPaid) {
	paid := map[string]*big.Rat{}
	for _, d := range got.Deductions {
		if d.Micros != 0 { // a month's may come to nothing
			paid[string(d.Source)] = ofMicros(d.Micros)
		}
	}
	for name, sum := range want.by {
		if sum.Sign() == 0 {
			delete(want.by, name)
		}
	}
	if !sameSums(paid, want.by) || ofMicros(got.Cloud).Cmp(want.cloud) != 0 || ofMicros(got.Arrears).Cmp(want.arrears) != 0 {
		r.Fatalf("%s was paid by %v, cloud %s, arrears %s, want %v, %s, %s",
			what, paid, got.Cloud, got.Arrears, want.by, want.cloud.FloatString(9), want.arrears.FloatString(9))
	}
}

func sameSums[K comparable](a, b map[K]*big.Rat) bool {
	for k := range a {
		if b[k] == nil || a[k].Cmp(b[k]) != 0 {
			return false
		}
	}
	return len(a) == len(b)
}

// sameWallets compares the balances of an account in all its currencies.
func (r *rig) sameWallets(id account.ID) {
	for c, w := range r.model.payers[id].wallets {
		got, err := r.svc.WalletOf(r.ctx, core.Actor{}, id, c)
		mustBe(r.T, err)
		balances := map[string]*big.Rat{}
		for _, b := range got.Head.Balances {
			balances[string(b.Account)] = ofMicros(b.Micros)
		}
		if want := w.balances(); !sameSums(balances, want) || ofMicros(got.Balance).Cmp(w.cash) != 0 {
			r.Fatalf("%s has %v %s, want %v", id, balances, c, want)
		}
	}
}

// sameMonths compares the monthly bills of an account.
func (r *rig) sameMonths(id account.ID) {
	list, err := r.svc.MonthlyBills(r.ctx, core.Actor{}, core.BillQuery{Owner: id}, core.Page{Limit: core.MaxPage})
	mustBe(r.T, err)
	n := 0
	for key := range r.model.months {
		if key.payer == id {
			n++
		}
	}
	if len(list.Items) != n {
		r.Fatalf("%s has %d monthly bills, want %d", id, len(list.Items), n)
	}
	for _, b := range list.Items {
		want := r.model.months[modelMonth{id, b.Month.String(), b.Currency}]
		if want == nil {
			r.Fatalf("a monthly bill %s that nobody asked for", b.ID)
		}
		spaces, days := map[[2]string]*big.Rat{}, 0
		for _, s := range b.Workspaces {
			days += s.Days
			space := [2]string{string(s.Workspace), string(s.Subscription)} // a month that it adjusts has a row of its own
			spaces[space] = plus(cmp.Or(spaces[space], zero()), ofMicros(s.Amount))
		}
		if ofMicros(b.Total).Cmp(want.total) != 0 || !sameSums(spaces, want.spaces) || days != want.days {
			r.Fatalf("monthly bill %s of %d days comes to %s, want %d and %s", b.ID, days, b.Total, want.days, want.total.FloatString(9))
		}
		r.samePaid(string(b.ID), b.Split, want.modelPaid)
	}
}

// sameSpace compares the bindings and the records of a workspace.
func (r *rig) sameSpace(id workspace.ID) {
	s := r.model.spaces[id]
	list, err := r.svc.Bindings(r.ctx, core.Actor{}, id, core.Page{Limit: core.MaxPage})
	mustBe(r.T, err)
	if len(list.Items) != len(s.bindings) {
		r.Fatalf("%s has bindings %+v, want %+v", id, list.Items, s.bindings)
	}
	for i, b := range list.Items {
		var to time.Time
		if i+1 < len(s.bindings) {
			to = s.bindings[i+1].from
		}
		if w := s.bindings[i]; !b.From.Equal(w.from) || !b.To.Equal(to) || b.BillingAccount != w.payer || b.Settlement.Subscription != w.sub {
			r.Fatalf("binding %d of %s is %+v, want %+v until %s", i, id, b, w, to)
		}
	}
	v, err := r.svc.Workspace(r.ctx, core.Actor{}, id)
	mustBe(r.T, err)
	if locked := v.Status() == workspace.Locked; locked != s.locked {
		r.Fatalf("%s is locked: %t, want %t", id, locked, s.locked)
	}
	for day, want := range s.days {
		r.sameRecord(id, day, want)
	}
}

func (r *rig) sameRecord(id workspace.ID, date string, want *modelRecord) {
	day, err := usage.ParseDay(date)
	mustBe(r.T, err)
	rec, err := r.svc.UsageOf(r.ctx, core.Actor{}, id, day)
	mustBe(r.T, err)
	if rec.Sealed != want.sealed || len(rec.Samples) != len(want.samples) {
		r.Fatalf("usage of %s on %s: sealed %t, %d samples, want %t, %d", id, date, rec.Sealed, len(rec.Samples), want.sealed, len(want.samples))
	}
	for _, x := range rec.Samples {
		q := want.samples[modelSample{x.Item, x.Variant, x.Hour.Unix()}]
		if q == nil || q.Cmp(ofDecimal(x.Quantity)) != 0 {
			r.Fatalf("usage of %s on %s: %+v, want %s", id, date, x, q)
		}
	}
}
