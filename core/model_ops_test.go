package core_test

import (
	"cmp"
	"context"
	"fmt"
	"math/big"
	"math/bits"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/govalues/decimal"
	"pgregory.net/rapid"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
	"cloudsettle/core/money"
	"cloudsettle/core/pricing"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

// mustBe is must where a sequence runs.
func mustBe(t *rapid.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func micros(t *rapid.T, s string) money.Micros {
	m, err := money.ParseMicros(s)
	mustBe(t, err)
	return m
}

// upTo draws one of n numbers from 0, all of them as often: the generators of
// numbers prefer small ones.
func upTo(t *rapid.T, name string, n int) int {
	at := 0
	for range bits.Len(uint(n)) + 1 {
		at *= 2
		if rapid.Bool().Draw(t, name) {
			at++
		}
	}
	return at % n
}

func pick[T any](r *rig, name string, from ...T) T { return from[upTo(r.T, name, len(from))] }

// steps are the operations; what is there more often happens more often.
var steps = []func(*rig){
	(*rig).report, (*rig).report, (*rig).report, (*rig).report, (*rig).report, (*rig).report, (*rig).report, (*rig).report,
	(*rig).report, (*rig).report, (*rig).night, (*rig).night, (*rig).night, (*rig).night, (*rig).night, (*rig).night, (*rig).night,
	(*rig).wait, (*rig).tangle, (*rig).tangle, (*rig).settleSome, (*rig).settleSome, (*rig).closeSome, (*rig).topUp, (*rig).topUp, (*rig).grant, (*rig).grant, (*rig).grant,
	(*rig).bind, (*rig).bind, (*rig).bind, (*rig).change, (*rig).change, (*rig).reprice, (*rig).flush,
	(*rig).buy, (*rig).addSpace, (*rig).restart, (*rig).runTasks, (*rig).again,
}

func (r *rig) step() {
	steps[upTo(r.T, "step", len(steps))](r)
}

func (r *rig) addPayer() {
	c := pick(r, "currency", "CNY", "CNY", "USD", "JPY")
	name := fmt.Sprintf("acme%d", len(r.payers))
	var a account.Account
	req := r.request()
	mustBe(r.T, r.do(func() (err error) {
		a, err = r.svc.CreateBillingAccount(r.ctx, req, account.Account{UserName: name, Email: name + "@example.com", Currency: c})
		return err
	}))
	r.payers = append(r.payers, a.ID)
	r.model.payers[a.ID] = &modelPayer{money.Currency(c), map[money.Currency]*modelWallet{}}
}

func (r *rig) addSpace() {
	if len(r.spaces) > 4 {
		return
	}
	site := pick(r, "site", "c1", "d1", "o1")
	var v core.WorkspaceView
	req := r.request()
	mustBe(r.T, r.do(func() (err error) {
		v, err = r.svc.CreateWorkspace(r.ctx, req, workspace.Workspace{Name: "ws", Site: site, OwnerEmail: "dev@example.com"})
		return err
	}))
	r.spaces = append(r.spaces, v.ID)
	r.model.spaces[v.ID] = &modelSpace{site: site, days: map[string]*modelRecord{}}
	payer := pick(r, "payer", r.payers...)
	r.price(modelPrices[site], r.model.payers[payer].currency)
	if upTo(r.T, "bound?", 5) > 0 {
		r.bindTo(v.ID, payer, "")
	}
}

// price makes sure that there are prices.
func (r *rig) price(zone string, c money.Currency) {
	if r.model.book(zone, c, dayAfter(r.now().Format(dayFormat), -100)) == nil {
		r.addBook(zone, c, "2025-01-01")
	}
}

func (r *rig) addBook(zone string, c money.Currency, from string) {
	day, err := usage.ParseDay(from)
	mustBe(r.T, err)
	seed := rapid.Uint64().Draw(r.T, "prices")
	b := randomBook(rand.New(rand.NewPCG(seed, 2)), len(r.model.books) == 0)
	if used := slices.DeleteFunc(slices.Clone(b.Items), func(it pricing.Item) bool { return !r.reports(&it) }); len(used) > 0 {
		b.Items = used
	}
	b.Zone, b.Currency, b.EffectiveFrom = zone, c, day
	req := r.request()
	mustBe(r.T, r.do(func() (err error) {
		added, err := r.svc.AddPriceBook(r.ctx, req, b)
		b.ID = added.ID
		return err
	}))
	r.model.books = append(r.model.books, b)
}

// reports reports whether this sequence uses an item; books are read often, and
// the others would only cost time.
func (r *rig) reports(it *pricing.Item) bool {
	return slices.ContainsFunc(r.series, func(s [2]string) bool {
		return s[0] == it.Code || slices.ContainsFunc(it.Measures, func(m pricing.Measure) bool { return m.Code == s[0] })
	})
}

// reprice adds a version of the prices, for the future or for the past.
func (r *rig) reprice() {
	old := pick(r, "book", r.model.books...)
	r.addBook(old.Zone, old.Currency, dayAfter(r.now().Format(dayFormat), -12+upTo(r.T, "from", 15)))
}

// randomBook has an item of each kind. Books after the first may lack some.
func randomBook(rnd *rand.Rand, whole bool) pricing.Book {
	num := func(from ...string) decimal.Decimal { return decimal.MustParse(from[rnd.IntN(len(from))]) }
	price := func() decimal.Decimal {
		return num("0", "0.0001", "0.005", "0.01", "0.7", "1.5", "2", "3.333333", "12")
	}
	unit := func() decimal.Decimal { return num("1", "10", "1000", "1000000", "3", "7") }
	tiers := func() []pricing.Tier {
		return []pricing.Tier{{UpTo: num("1", "5.5"), Price: price()}, {UpTo: num("1000", "5000"), Price: price()}, {Price: price()}}
	}
	b := pricing.Book{Name: "public", Scale: []int{6, 6, 4, 2}[rnd.IntN(4)]}
	for _, it := range []pricing.Item{
		{Code: "logs", Unit: unit(), Aggregation: pricing.Sum, Prices: []pricing.Price{{Variant: "7d", Price: price()}, {Variant: "14d", Price: price()}}},
		{Code: "series", Unit: unit(), Aggregation: pricing.Max, Prices: []pricing.Price{{Variant: "3d", Price: price()}}},
		{Code: "trace", Unit: unit(), Aggregation: pricing.Sum, Mode: pricing.Graduated, Prices: []pricing.Price{{Tiers: tiers()}}},
		{Code: "pv", Unit: unit(), Aggregation: pricing.Max, Mode: pricing.Volume, Prices: []pricing.Price{{Variant: "3d", Tiers: tiers()}}},
		{Code: "seats", Unit: decimal.One, Aggregation: pricing.Last, Prices: []pricing.Price{{Price: price()}}},
		{Code: "sms", Unit: decimal.One, Aggregation: pricing.Sum, ExcludeVouchers: true, Prices: []pricing.Price{{Price: num("0.01", "1", "0.05")}}},
		{
			Code: "quota", Unit: unit(), Aggregation: pricing.Sum, FreeQuota: num("0", "2", "1000.5"),
			Prices: []pricing.Price{{Variant: "y", Price: price()}, {Variant: "x", Price: price()}},
		},
		{
			Code: "events", Unit: unit(), Aggregation: pricing.Sum, Prices: []pricing.Price{{Price: price()}}, Measures: []pricing.Measure{
				{Code: "ev1", Weight: decimal.One}, {Code: "ev2", Weight: num("5", "0.1")}, {Code: "ev3", Weight: num("2"), Group: "other"},
			},
		},
	} {
		if it.Mode == "" {
			it.Mode = pricing.Flat
		}
		if whole || rnd.IntN(5) > 0 {
			b.Items = append(b.Items, it)
		}
	}
	if len(b.Items) == 0 {
		return randomBook(rnd, true)
	}
	return b
}

// allSeries are what is reported, the last two in no book. A sequence has a few
// of them, so that samples meet.
var allSeries = [][2]string{
	{"logs", "7d"}, {"logs", "14d"}, {"series", "3d"}, {"trace", ""}, {"pv", "3d"}, {"seats", ""}, {"sms", ""}, {"sms", ""},
	{"quota", "x"}, {"quota", "y"}, {"ev1", ""}, {"ev2", ""}, {"ev3", ""}, {"logs", "99d"}, {"nothing", ""},
}

var quantities = []string{
	"0", "1", "7", "7.0", "0.5", "0.000001", "12", "1000", "4999.999999", "5000.5", "1500000", "123456789", "1000000000",
}

// immense is more than an amount can hold.
const immense = "9000000000000000000"

// sample draws a sample: mostly of today, some late, some wrong.
func (r *rig) sample() core.UsageSample {
	s := pick(r, "series", r.series...)
	x := core.UsageSample{
		Workspace: string(pick(r, "workspace", r.spaces...)), Item: s[0], Variant: s[1],
		Quantity: decimal.MustParse(pick(r, "quantity", quantities...)),
	}
	back := 24*pick(r, "days back", 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 5, 9) + pick(r, "hours back", 0, 1, 2, 3, 5, 8, 13, 23)
	x.Hour = r.now().Truncate(time.Hour).Add(-time.Duration(back) * time.Hour)
	if billed := r.model.billedSamples(r.now()); len(billed) > 0 && upTo(r.T, "anew", 3) == 0 {
		old := pick(r, "sample", billed...)
		x.Workspace, x.Item, x.Variant, x.Hour = old.Workspace, old.Item, old.Variant, old.Hour
	}
	switch upTo(r.T, "oddity", 40) {
	case 0:
		x.Workspace = "ws_nobody"
	case 1:
		x.Hour = x.Hour.Add(time.Minute)
	case 2:
		x.Quantity = decimal.MustParse("-1")
	case 3:
		x.Hour = r.now().Truncate(time.Hour).Add(time.Duration(pick(r, "hours", 2, 1, -62*24, -63*24)) * time.Hour)
	case 4, 5:
		x.Item, x.Variant, x.Quantity = "sms", "", decimal.MustParse(immense)
	}
	return x
}

// billedSamples are those of the last days that were billed, in some fixed
// order: what is reported anew for one of them comes late.
func (m *model) billedSamples(now time.Time) (out []core.UsageSample) {
	for id, s := range m.spaces {
		for day, r := range s.days {
			if !r.sealed || day < dayAfter(now.UTC().Format(dayFormat), -5) {
				continue
			}
			for k := range r.samples {
				out = append(out, core.UsageSample{Workspace: string(id), Item: k.item, Variant: k.variant, Hour: time.Unix(k.hour, 0).UTC()})
			}
		}
	}
	slices.SortFunc(out, func(a, b core.UsageSample) int {
		return cmp.Or(cmp.Compare(a.Workspace, b.Workspace), cmp.Compare(a.Item, b.Item), cmp.Compare(a.Variant, b.Variant), a.Hour.Compare(b.Hour))
	})
	return out
}

// tangle corrects days that are billed in two days that are not, and settles
// the second of these first.
func (r *rig) tangle() {
	for range 2 {
		r.report()
		r.clock.Add(24 * time.Hour)
	}
	days := r.model.openDays()
	slices.Reverse(days)
	for _, day := range days[:min(len(days), 3)] {
		r.settle(day)
	}
}

// wrong says why a sample is not taken.
func (m *model) wrong(x core.UsageSample, now time.Time) string {
	s := m.spaces[workspace.ID(x.Workspace)]
	switch {
	case s == nil:
		return "unknown_workspace"
	case !m.known(m.sites[s.site].Prices, x.Item):
		return "unknown_item"
	case x.Quantity.IsNeg():
		return "negative_quantity"
	case x.Hour.Minute() != 0:
		return "invalid_hour"
	case x.Hour.Sub(now) > time.Hour:
		return "future_hour"
	case now.Sub(x.Hour) > 62*24*time.Hour:
		return "too_late"
	}
	return ""
}

// report reports usage.
func (r *rig) report() {
	var batch []core.UsageSample
	for range 1 + upTo(r.T, "samples", 6) {
		batch = append(batch, r.sample())
	}
	var rejected []string
	var good []core.UsageSample
	for i, x := range batch {
		if why := r.model.wrong(x, r.now()); why != "" {
			rejected = append(rejected, fmt.Sprintf("%d %s", i, why))
		} else {
			good = append(good, x)
		}
	}
	mustBe(r.T, r.do(func() error {
		r.store.commits()
		got, err := r.svc.ReportUsage(r.ctx, batch)
		want := r.reported(good, r.store.commits())
		var codes []string
		for _, x := range got.Rejected {
			codes = append(codes, fmt.Sprintf("%d %s", x.Index, x.Code))
		}
		if err != nil {
			return err
		}
		if (modelReport{got.Accepted, got.Duplicate, got.Replaced, got.Late}) != want || !slices.Equal(codes, rejected) {
			r.Fatalf("report of %+v: %+v, want %+v and %v", batch, got, want, rejected)
		}
		return nil
	}))
}

// reported puts samples into the model, as far as that was committed: first
// into their own days, then those that came late into today, and what is late
// there too into the day after. Where they are new they are counted as late.
func (r *rig) reported(samples []core.UsageSample, commits int) (out modelReport) {
	for round := 0; round < commits && len(samples) > 0; round++ {
		var late []core.UsageSample
		for _, x := range samples {
			id := workspace.ID(x.Workspace)
			site := r.model.spaces[id].site
			day := r.model.dayAt(site, x.Hour)
			if round > 0 {
				day = dayAfter(r.model.dayAt(site, r.now()), round-1)
			}
			var one modelReport
			if r.model.put(id, day, sampleKey(x), ofDecimal(x.Quantity), &one) {
				late = append(late, x)
			}
			if round > 0 {
				one = modelReport{duplicate: one.duplicate, late: one.accepted + one.replaced}
			}
			out.add(one)
		}
		samples = late
	}
	return out
}

func sampleKey(x core.UsageSample) modelSample { return modelSample{x.Item, x.Variant, x.Hour.Unix()} }

// wait lets time pass, up to weeks.
func (r *rig) wait() {
	r.clock.Add(pick(r, "wait", time.Hour, 9*time.Hour, 24*time.Hour, 24*time.Hour, 24*time.Hour, 72*time.Hour, 20*24*time.Hour, 40*24*time.Hour))
}

// night lets a day pass and settles what is over, oldest first.
func (r *rig) night() {
	r.clock.Add(time.Duration(18+upTo(r.T, "hours", 13)) * time.Hour)
	for _, day := range r.model.openDays() {
		if r.model.payable(day) {
			r.settle(day)
		}
	}
}

// settleSome settles any one day, whatever is open before it.
func (r *rig) settleSome() {
	days := append(r.model.openDays(), r.now().Format(dayFormat))
	r.settle(pick(r, "day", days...))
}

// settle settles a day, sometimes twice, and compares the bills that were made.
func (r *rig) settle(date string) {
	day, err := usage.ParseDay(date)
	mustBe(r.T, err)
	made, waiting := r.model.settle(date, r.now())
	tries := 0
	var out, again core.DayOutcome
	mustBe(r.T, r.do(func() (err error) {
		tries++
		out, err = r.svc.SettleDay(r.ctx, day, core.SettleOptions{})
		return err
	}))
	if upTo(r.T, "twice?", 3) == 0 {
		again, err = r.svc.SettleDay(r.ctx, day, core.SettleOptions{})
		mustBe(r.T, err)
		out.Waiting = again.Waiting
	}
	if tries == 1 && out.Bills != len(made) || again.Bills != 0 || out.Waiting != waiting {
		r.Fatalf("settling %s came to %+v, and again %+v; want %d %v, 0, %d", date, out, again, len(made), made, waiting)
	}
	r.sameBills(made)
}

// sameBills compares bills and the wallets that paid for them.
func (r *rig) sameBills(made []modelDay) {
	touched := map[account.ID]bool{}
	for _, at := range made {
		r.sameBill(at)
		touched[r.model.bills[at].binding.payer] = true
	}
	for id := range touched {
		r.sameWallets(id)
	}
}

// closeSome closes a month that is over everywhere, and closes it again.
func (r *rig) closeSome() {
	month := r.now().AddDate(0, 0, -r.now().Day()).Format("2006-01")
	if r.now().Day() < 3 {
		return
	}
	for _, day := range r.model.openDays() {
		if day[:monthLen] <= month {
			r.settle(day)
		}
	}
	m, err := usage.ParseMonth(month)
	mustBe(r.T, err)
	want, tries, made := r.model.closeMonth(month), 0, 0
	mustBe(r.T, r.do(func() (err error) {
		tries++
		made, err = r.svc.CloseMonth(r.ctx, m)
		return err
	}))
	again, err := r.svc.CloseMonth(r.ctx, m)
	if err != nil || tries == 1 && made != want || again != 0 {
		r.Fatalf("closing %s made %d bills, and again %d, %v; want %d, 0", month, made, again, err, want)
	}
	for _, id := range r.payers {
		r.sameMonths(id)
	}
}

// topUp adds to a wallet, or takes from it.
func (r *rig) topUp() {
	id := pick(r, "payer", r.payers...)
	c := pick(r, "currency", r.model.payers[id].currency, r.model.payers[id].currency, "USD")
	amount := pick(r, "amount", "0", "0.01", "5", "20", "0.005", "1000", "123456.789", "-1", "-50", "-0.004999", "5000000000")
	req := r.request()
	send := func() error {
		_, err := r.svc.AdjustWallet(r.ctx, req, id, money.Amount{Micros: micros(r.T, amount), Currency: c}, "test")
		return err
	}
	want := "ok"
	if amount == "0" {
		want = "invalid_amount"
	} else if !r.model.wallet(id, c).adjust(rat(amount)) {
		want = "insufficient_balance"
	}
	if got := code(r.do(send)); got != want {
		r.Fatalf("adjusting %s by %s %s: %s, want %s", id, amount, c, got, want)
	}
	r.sameWallets(id)
	if want == "ok" {
		r.last = func() { mustBe(r.T, r.do(send)) }
	}
}

// again sends the last change of a wallet once more: it is the same request.
func (r *rig) again() {
	if r.last != nil {
		r.last()
	}
	for _, id := range r.payers {
		r.sameWallets(id)
	}
}

// grant gives vouchers and cards.
func (r *rig) grant() {
	id := pick(r, "payer", r.payers...)
	for range 1 + upTo(r.T, "funds", 3) {
		r.grantTo(id)
	}
	r.sameWallets(id)
}

func (r *rig) grantTo(id account.ID) {
	kinds := []settlement.FundKind{settlement.OrdinaryVoucher, settlement.DiscountVoucher, settlement.PrepaidCard}
	rank, own := upTo(r.T, "kind", 3), r.model.payers[id].currency
	face := pick(r, "face", "0.5", "1", "1", "10", "300", "0.000001", "100000")
	from := r.now().Add(time.Duration(pick(r, "from", 0, 0, 0, -24, 30)) * time.Hour)
	f := settlement.Fund{
		Owner: string(id), Kind: kinds[rank], Currency: pick(r, "currency", own, own, own, "USD", "CNY"),
		Face: micros(r.T, face), From: from, Until: from.Add(time.Duration(pick(r, "hours", 1, 24, 40, 72, 72, 500, 500, 501)) * time.Hour),
	}
	req := r.request()
	mustBe(r.T, r.do(func() error {
		granted, err := r.svc.GrantFund(r.ctx, req, f)
		f.ID = granted.ID
		return err
	}))
	w, name := r.model.wallet(id, f.Currency), "voucher/"+f.ID
	if rank == 2 {
		name = "card/" + f.ID
	}
	w.outside = plus(w.outside, rat(face))
	w.funds = append(w.funds, &modelFund{f.ID, rank, name, rat(face), f.From, f.Until})
}

// bind settles a workspace some way, whether or not that is allowed.
func (r *rig) bind() {
	sub := pick(r, "through", append(slices.Clone(r.subs), "")...)
	payer := pick(r, "payer", r.payers...)
	if s := r.model.subs[sub]; s != nil && upTo(r.T, "own?", 4) > 0 {
		payer = s.owner
	}
	r.bindTo(pick(r, "workspace", r.spaces...), payer, sub)
}

func (r *rig) bindTo(id workspace.ID, payer account.ID, sub marketplace.SubscriptionID) {
	zone := modelPrices[r.model.spaces[id].site]
	r.price(zone, r.model.payers[payer].currency)
	s := workspace.Settlement{Method: workspace.ByBillingAccount}
	if sub != "" {
		s = workspace.Settlement{Method: workspace.ByCloudAccount, Subscription: sub}
		r.price(zone, r.model.listings[r.model.subs[sub].listing].currency)
	}
	want := r.model.bind(id, payer, sub, r.now())
	req := r.request()
	got := code(r.do(func() error {
		_, err := r.svc.Bind(r.ctx, req, core.Want{Workspace: id, BillingAccount: payer, Settlement: s})
		return err
	}))
	if got != want {
		r.Fatalf("binding %s to %s through %q: %s, want %s", id, payer, sub, got, want)
	}
}

// buy purchases a subscription and claims its cloud account.
func (r *rig) buy() {
	if len(r.subs) > 2 {
		return
	}
	listing := pick(r, "listing", marketplace.ListingID("cloud-main"), "other-main")
	subject := fmt.Sprintf("s-%d", len(r.subs))
	out := r.tell(listing, marketplace.Event{Kind: marketplace.Activated, Subject: subject, Account: "b-" + subject, SKU: "basic", Rank: rankOf(0)})
	owner := pick(r, "owner", r.payers...)
	mustBe(r.T, r.do(func() error {
		_, err := r.svc.Claim(r.ctx, out.Subscription.Account, owner)
		return err
	}))
	r.subs = append(r.subs, out.Subscription.ID)
	r.model.subs[out.Subscription.ID] = &modelSub{listing: listing, subject: subject, owner: owner, status: marketplace.StatusActive}
	r.bind()
}

// rankOf writes a number so that it sorts.
func rankOf(n int) string { return fmt.Sprintf("%04d", n+1) }

// change freezes, resumes or ends a subscription. What it used is mostly
// billed at once, as in a program that runs.
func (r *rig) change() {
	if len(r.subs) == 0 {
		r.buy()
		return
	}
	id := pick(r, "subscription", r.subs...)
	s := r.model.subs[id]
	status, kind := s.status, marketplace.Ended
	switch {
	case status == marketplace.StatusEnded:
		return
	case status == marketplace.StatusFrozen:
		kind, status = marketplace.Resumed, marketplace.StatusActive
	case status == marketplace.StatusEnding:
		status = marketplace.StatusEnded
	default:
		kind = pick(r, "kind", marketplace.Suspended, marketplace.Ending, marketplace.Ended, marketplace.Ended)
		status = map[marketplace.Kind]marketplace.Status{
			marketplace.Suspended: marketplace.StatusFrozen, marketplace.Ending: marketplace.StatusEnding, marketplace.Ended: marketplace.StatusEnded,
		}[kind]
	}
	s.rank++
	r.tell(s.listing, marketplace.Event{Kind: kind, Subject: s.subject, Rank: rankOf(s.rank)})
	r.model.become(id, status, r.now())
	for _, space := range r.spaces {
		r.sameSpace(space)
	}
	if upTo(r.T, "at once?", 4) > 0 {
		r.runTasks()
	}
}

// tell hands an event to the service.
func (r *rig) tell(listing marketplace.ListingID, ev marketplace.Event) (out core.Outcome) {
	m, _ := r.svc.Marketplace(listing)
	ev.Listing, ev.Provider, ev.Action = listing, m.Listing.Provider, string(ev.Kind)
	cb := core.Callback{Listing: listing, Method: "GET", Body: []byte("body"), ReceivedAt: r.now()}
	mustBe(r.T, r.do(func() (err error) {
		out, err = r.svc.Handle(r.ctx, m, cb, ev)
		return err
	}))
	return out
}

// runTasks does what was promised. One final settlement at a time may fail:
// then it is tried again once its lease is over.
func (r *rig) runTasks() {
	op := func() error { return r.svc.RunTasks(r.ctx) }
	if len(r.model.finals) > 1 {
		mustBe(r.T, op())
	} else if err := r.do(op); err != nil {
		mustBe(r.T, err)
	}
	for range 5 {
		if !r.promised("final") {
			break
		}
		r.clock.Add(2 * time.Minute)
		mustBe(r.T, op())
	}
	if r.promised("final") {
		r.Fatalf("a final settlement does not end")
	}
	var made []modelDay
	for _, f := range r.model.finals {
		made = append(made, r.model.final(f, r.paidAt)...)
	}
	r.model.finals = nil
	r.sameBills(made)
}

// promised reports whether a task of a kind is not done.
func (r *rig) promised(kind string) (found bool) {
	mustBe(r.T, r.store.View(r.ctx, func(ctx context.Context, tx core.ReadTx) error {
		for t, err := range tx.Tasks(ctx, core.Page{Limit: 1000}) {
			if err != nil {
				return err
			}
			found = found || t.Kind == kind
		}
		return nil
	}))
	return found
}

// paidAt is when a bill was made, or now.
func (r *rig) paidAt(id workspace.ID, date string) time.Time {
	day, err := usage.ParseDay(date)
	mustBe(r.T, err)
	list, err := r.svc.DailyBills(r.ctx, core.Actor{}, core.BillFilter{Workspace: string(id), From: day, To: day + 1})
	mustBe(r.T, err)
	if len(list) == 0 || list[0].SealedAt.After(r.now()) {
		return r.now()
	}
	return list[0].SealedAt
}

// flush reports to the marketplaces what is due.
func (r *rig) flush() {
	mustBe(r.T, r.do(func() error { return r.svc.Flush(r.ctx) }))
	r.clock.Add(pick(r, "wait", 0, time.Minute, 20*time.Minute))
}

// drain reports everything, now that the marketplaces work.
func (r *rig) drain() {
	for _, s := range r.shops {
		s.calm = true
	}
	for range 12 {
		mustBe(r.T, r.svc.Flush(r.ctx))
		n, err := r.svc.PendingRecords(r.ctx)
		mustBe(r.T, err)
		if n == 0 && !r.promised("seal") {
			return
		}
		r.clock.Add(16 * time.Minute) // longer than any wait before another attempt
	}
}

// sameMeter compares what a subscription was charged, what was sealed, and
// what its marketplace has on file.
func (r *rig) sameMeter(id marketplace.SubscriptionID) {
	s := r.model.subs[id]
	shop := r.shops[s.listing]
	if len(shop.wrong) > 0 {
		r.Fatalf("%v", shop.wrong)
	}
	list, err := r.svc.MeterRecords(r.ctx, core.Actor{}, id, core.Page{Limit: 1000})
	mustBe(r.T, err)
	var sealed, filed, known int64
	for _, rec := range list.Items {
		units, on := shop.file[shopKey{id, rec.PeriodStart.UTC()}]
		switch rec.Status {
		case metering.Accepted:
			if !on || units != rec.Units {
				r.Fatalf("record %+v is accepted; on file are %d units", rec, units)
			}
		case metering.Expired:
			if on {
				r.Fatalf("record %+v has expired and is on file with %d units", rec, units)
			}
			continue
		case metering.Unknown:
			if !rec.Doubt || r.now().Before(rec.Deadline) {
				r.Fatalf("record %+v is in doubt before its deadline", rec)
			}
		default:
			r.Fatalf("record %+v is not done", rec)
		}
		if on {
			known += units
		}
		sealed += rec.Units
	}
	for k, units := range shop.file {
		if k.sub == id {
			filed += units
			r.count.records.Add(1)
		}
	}
	charged := zero()
	for _, p := range r.model.payers {
		if w := p.wallets[r.model.listings[s.listing].currency]; w != nil && w.cloud[string(id)] != nil {
			charged = plus(charged, w.cloud[string(id)])
		}
	}
	unit := ofMicros(shop.terms.UnitAmount)
	carry := less(charged, mult(unit, new(big.Rat).SetInt64(sealed)))
	many := charged.Cmp(mult(unit, new(big.Rat).SetInt64(5*shop.terms.MaxUnits))) > 0
	if filed != known || !many && carry.Cmp(unit) >= 0 {
		r.Fatalf("%s was charged %s in units of %s: %d are sealed, %d of the records' and %d altogether on file",
			id, charged.FloatString(6), unit.FloatString(6), sealed, known, filed)
	}
}
