package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/govalues/decimal"

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

// purchase is a subscription that is bought. The first one of each listing
// ends in the story.
type purchase struct {
	Listing, Name string
	ends          bool
	buy           map[string]string // what the marketplace is told of it
	end           map[string]string
}

// The events by which each marketplace tells of purchases and of their end.
var (
	buying = map[string]string{"aws-main": "subscribe", "ali-cn": "createInstance", "hw-cn": "newInstance"}
	ending = map[string]string{"aws-main": "unsubscribe", "ali-cn": "releaseInstance", "hw-cn": "releaseInstance"}
)

func purchases() []purchase {
	var out []purchase
	for n := range 2 {
		license, instance, order := fmt.Sprintf("l-%032x", n+1), fmt.Sprint(300000001+n), fmt.Sprintf("CS%d", n+1)
		out = append(out, purchase{
			Listing: "aws-main", Name: license, ends: n == 0,
			buy: map[string]string{"license": license, "agreement": "agmt-" + license, "account": fmt.Sprintf("%012d", n+1)},
			end: map[string]string{"license": license},
		}, purchase{
			Listing: "ali-cn", Name: instance, ends: n == 0,
			buy: map[string]string{"orderBizId": instance, "orderId": "4" + instance, "aliUid": "5" + instance},
			end: map[string]string{"instanceId": instance},
		}, purchase{
			Listing: "hw-cn", Name: "hw-" + order, ends: n == 0,
			buy: map[string]string{
				"version": "1", "orderId": order, "businessId": "hw-" + order, "customerId": "buyer-" + order, "chargingMode": "ON_DEMAND",
			},
			end: map[string]string{"instanceId": "hw-" + order, "version": "1"},
		})
	}
	return out
}

// How many take part.
const (
	perPurchase = 2 // workspaces
	ownWallet   = 3 // workspaces that their account pays for
)

// hiring says who takes part beside the purchases.
type hiring struct {
	Purchases []purchase
	Crowd     int // further workspaces that the first account pays for
}

// cast is everybody in the story.
type cast struct {
	Wallet, Cloud account.ID // who pays by wallet, and through cloud accounts
	Subscriptions map[string]marketplace.SubscriptionID
	Parts         []part
}

// part is one workspace and who pays for it: a purchase, or the wallet.
type part struct {
	ID       workspace.ID
	Site     string
	Purchase string
	Crowd    bool
}

// What the wallet has: granted and topped up, in micros.
const (
	faceEach   = 2 * money.Unit // of each of three vouchers and cards
	firstCash  = 5 * money.Unit
	laterTopUp = 1 * money.Unit
	laterOnes  = 4
	walletHas  = 3*faceEach + firstCash + laterOnes*laterTopUp
)

// hire makes accounts, funds, workspaces, bindings and the first prices.
func hire(ctx context.Context, svc *core.Service, in hiring) (cast, error) {
	c := cast{Subscriptions: map[string]marketplace.SubscriptionID{}}
	for name, id := range map[string]*account.ID{"acme": &c.Wallet, "globex": &c.Cloud} {
		a, err := svc.CreateBillingAccount(ctx, core.Request{}, account.Account{
			UserName: name, Email: name + "@example.com", Currency: "CNY",
		})
		if err != nil {
			return c, err
		}
		*id = a.ID
	}
	if err := fund(ctx, svc, c.Wallet); err != nil {
		return c, err
	}
	if err := addPrices(ctx, svc, "first"); err != nil {
		return c, err
	}
	for _, p := range in.Purchases {
		if err := c.join(ctx, svc, p); err != nil {
			return c, err
		}
	}
	for n := range ownWallet + in.Crowd {
		c.Parts = append(c.Parts, part{ID: workspace.ID(svc.NewID("ws")), Site: "cn1", Crowd: n >= ownWallet})
	}
	return c, c.bind(ctx, svc)
}

func fund(ctx context.Context, svc *core.Service, id account.ID) error {
	for _, kind := range []settlement.FundKind{settlement.OrdinaryVoucher, settlement.DiscountVoucher, settlement.PrepaidCard} {
		_, err := svc.GrantFund(ctx, core.Request{}, settlement.Fund{
			Owner: string(id), Kind: kind, Currency: "CNY", Face: faceEach, From: svc.Now(), Until: svc.Now().AddDate(1, 0, 0),
		})
		if err != nil {
			return err
		}
	}
	return topUp(ctx, svc, id, firstCash, "first")
}

func topUp(ctx context.Context, svc *core.Service, id account.ID, m money.Micros, key string) error {
	_, err := svc.AdjustWallet(ctx, core.Request{Key: key}, id, money.Amount{Micros: m, Currency: "CNY"}, "paid in advance")
	return err
}

// join claims what was bought, for workspaces that settle through it.
func (c *cast) join(ctx context.Context, svc *core.Service, p purchase) error {
	sub, err := core.InView(ctx, svc.Store, func(ctx context.Context, tx core.ReadTx) (marketplace.Subscription, error) {
		return tx.SubscriptionByName(ctx, marketplace.ListingID(p.Listing), p.Name)
	})
	if err != nil {
		return err
	}
	c.Subscriptions[p.Name] = sub.ID
	for range perPurchase {
		c.Parts = append(c.Parts, part{ID: workspace.ID(svc.NewID("ws")), Site: siteOf[p.Listing], Purchase: p.Name})
	}
	_, err = svc.Claim(ctx, sub.Account, c.Cloud)
	return err
}

// bind makes all workspaces in one transaction: one by one, a crowd would take
// longer than everything that follows.
func (c *cast) bind(ctx context.Context, svc *core.Service) error {
	return svc.Store.Update(ctx, func(ctx context.Context, tx core.Tx) error {
		for _, p := range c.Parts {
			b := workspace.Binding{
				ID: workspace.BindingID(svc.NewID("bnd")), Workspace: p.ID, BillingAccount: c.Wallet, From: svc.Now(),
				Settlement: workspace.Settlement{Method: workspace.ByBillingAccount}, Cause: workspace.Chosen,
			}
			if p.Purchase != "" {
				b.BillingAccount = c.Cloud
				b.Settlement = workspace.Settlement{Method: workspace.ByCloudAccount, Subscription: c.Subscriptions[p.Purchase]}
			}
			w := workspace.Workspace{ID: p.ID, Name: "workspace", Site: p.Site, OwnerEmail: "dev@example.com", CreatedAt: svc.Now()}
			if err := errors.Join(tx.PutWorkspace(ctx, w), tx.Bind(ctx, b)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Prices of a thousand, before and from secondFrom on.
const (
	firstFrom  = "2026-01-01"
	secondFrom = "2026-10-31"
	priceText  = `
name: public
zone: %[1]s
currency: %[2]s
effective_from: %[3]s
items:
  - {item: logs, unit: 1000, aggregation: sum, prices: [{price: %[4]s}]}
`
)

// prices are the micros of one unit at each site's zone.
var prices = map[string]map[string]money.Micros{
	"first": {"CN": 300, "INTL": 200}, "second": {"CN": 500, "INTL": 400},
}

func addPrices(ctx context.Context, svc *core.Service, version string) error {
	from := map[string]string{"first": firstFrom, "second": secondFrom}[version]
	for zone, currency := range map[string]string{"CN": "CNY", "INTL": "USD"} {
		thousand := 1000 * prices[version][zone]
		books, err := pricing.ParseYAML(fmt.Appendf(nil, priceText, zone, currency, from, thousand))
		if err != nil {
			return err
		}
		if _, err := svc.AddPriceBook(ctx, core.Request{Key: "prices/" + version + zone}, books[0]); err != nil {
			return err
		}
	}
	return nil
}

// work is what a victim is asked to do. All of it may be asked for again.
type work struct {
	Do      string // "usage", "prices", "top-up" or "round"
	Account account.ID
	Samples []core.UsageSample
	AtOnce  bool // a round does everything at the same time, and then again
}

// state says what is left to do after some work.
type state struct {
	Busy bool // there is something that time will do
}

func do(ctx context.Context, svc *core.Service, in work) (state, error) {
	var err error
	switch in.Do {
	case "usage":
		var r core.UsageReport
		if r, err = svc.ReportUsage(ctx, in.Samples); len(r.Rejected) > 0 {
			err = fmt.Errorf("rejected: %+v", r.Rejected[0])
		}
	case "prices":
		err = addPrices(ctx, svc, "second")
	case "top-up":
		for n := range laterOnes {
			err = errors.Join(err, topUp(ctx, svc, in.Account, laterTopUp, fmt.Sprint("later ", n)))
		}
	case "round":
		err = round(ctx, svc, in.AtOnce)
	default:
		err = fmt.Errorf("do what? %q", in.Do)
	}
	if err != nil {
		return state{}, err
	}
	return core.InView(ctx, svc.Store, func(ctx context.Context, tx core.ReadTx) (state, error) { return look(ctx, svc, tx) })
}

// round does what Run does by itself.
func round(ctx context.Context, svc *core.Service, atOnce bool) error {
	steps := []func(context.Context) error{svc.SettleDue, svc.RunTasks, svc.Flush}
	if atOnce {
		var wg sync.WaitGroup
		errs := make([]error, len(steps))
		for i, step := range steps {
			wg.Go(func() { errs[i] = step(ctx) })
		}
		if wg.Wait(); errors.Join(errs...) != nil {
			return errors.Join(errs...)
		}
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// look finds what is left to do, but for what waits for a person.
func look(ctx context.Context, svc *core.Service, tx core.ReadTx) (state, error) {
	var s state
	waits := map[string]bool{}
	for r, err := range tx.MeterPending(ctx) {
		if err != nil {
			return s, err
		}
		if parked(svc, r) {
			waits["task_seal_"+string(r.Subscription)] = true
		} else {
			s.Busy = true
		}
	}
	for t, err := range tx.Tasks(ctx, core.Page{Limit: 1000}) {
		if err != nil {
			return s, err
		}
		s.Busy = s.Busy || !waits[t.ID]
	}
	return s, nil
}

// parked reports whether a record waits for a person to decide about it.
func parked(svc *core.Service, r metering.Record) bool {
	m, _ := svc.Marketplace(r.Listing)
	return r.Status == metering.Unknown && !m.Meter.Resolve(r)
}

// scene is one step of the story.
type scene struct {
	at    time.Time
	stage string // put before the names of the points that are passed
	work  work
	tell  *purchase // a callback about it instead of work
	event string
}

// opensAt is when everything is bought: at the beginning of an hour, for the
// marketplaces differ on the hour in which a purchase was made.
var opensAt = time.Date(2026, 10, 30, 8, 0, 0, 0, time.UTC)

// story is what happens, and what it comes to.
type story struct {
	scenes []scene
	used   map[workspace.ID]money.Micros // what each workspace owes in all
	cloud  map[string]money.Micros       // of it, through each purchase
	wallet map[money.Currency]money.Micros
}

// tellStory makes up four days across the end of a month: usage, some of it
// late, a change of prices, a top-up, subscriptions that end, and the closing.
func tellStory(rnd *rand.Rand, c cast, sold []purchase) *story {
	s := &story{used: map[workspace.ID]money.Micros{}, cloud: map[string]money.Micros{}, wallet: map[money.Currency]money.Micros{}}
	over := map[string]purchase{}
	for _, p := range sold {
		if p.ends {
			over[p.Name] = p
		}
	}
	everybody := func(p part) bool { return !p.Crowd }
	goesOn := func(p part) bool { _, ended := over[p.Purchase]; return !p.Crowd && !ended }
	moved := func(p part) bool { return over[p.Purchase].Listing == "ali-cn" } // to the wallet, when it ends

	use := func(at string, who func(part) bool, byWallet bool, hours ...string) {
		w := work{Do: "usage"}
		for _, p := range c.Parts {
			for _, hour := range hours {
				if who(p) {
					w.Samples = append(w.Samples, s.use(rnd, p, moment(hour), byWallet))
				}
			}
		}
		s.scenes = append(s.scenes, scene{at: moment(at), work: w})
	}
	then := func(at, stage string, w work) {
		s.scenes = append(s.scenes, scene{at: moment(at), stage: stage, work: w})
	}
	all := work{Do: "round"}

	use("10-30 11:00", func(p part) bool { return p.Crowd }, false, "10-30 08:00")
	use("10-30 12:00", everybody, false, "10-30 08:00", "10-30 11:00")
	then("10-30 12:05", "", work{Do: "prices"})
	then("10-30 17:00", "", all)
	then("10-31 00:45", "", all)
	use("10-31 06:00", everybody, false, "10-31 02:00", "10-31 05:00", "10-30 09:00") // the last one is late
	then("10-31 06:10", "", work{Do: "top-up", Account: c.Wallet})
	then("10-31 17:00", "", all)
	then("11-01 00:45", "", all)
	use("11-01 10:00", everybody, false, "11-01 06:00", "11-01 09:00")
	for _, p := range sold {
		if p.ends {
			s.scenes = append(s.scenes, scene{at: moment("11-01 10:20"), stage: finalStage, tell: &p, event: ending[p.Listing]})
		}
	}
	then("11-01 10:21", finalStage, all)
	use("11-01 12:00", goesOn, false, "11-01 10:00", "11-01 11:00")
	use("11-01 12:10", moved, true, "11-01 11:00") // after the last bill of its day
	then("11-01 17:00", "", all)
	then("11-02 00:45", "", all)
	use("11-02 06:00", goesOn, false, "11-02 01:00", "10-31 07:00") // late, too
	use("11-02 06:10", moved, true, "11-02 05:00")
	then("11-02 17:00", "", all)
	then("11-03 00:45", "", all) // closes October
	return s
}

// What goes before the names of points that are passed before the story, and
// while subscriptions end.
const (
	firstStage = "before the story"
	finalStage = "at the end of a subscription"
)

func moment(text string) time.Time {
	t, err := time.Parse("2006-01-02 15:04", "2026-"+text)
	if err != nil {
		panic(err)
	}
	return t
}

// use makes up a sample and adds it to what its workspace owes.
func (s *story) use(rnd *rand.Rand, p part, hour time.Time, byWallet bool) core.UsageSample {
	zone, currency, place := "CN", money.Currency("CNY"), time.FixedZone("", 8*60*60)
	if p.Site == "us1" {
		zone, currency, place = "INTL", "USD", time.UTC
	}
	version := "first"
	if usage.DayOf(hour, place).String() >= secondFrom {
		version = "second"
	}
	quantity := 100 + rnd.Int64N(10_000)
	owes := money.Micros(quantity) * prices[version][zone]
	s.used[p.ID] += owes
	switch {
	case p.Purchase == "" || byWallet:
		s.wallet[currency] += owes
	default:
		s.cloud[p.Purchase] += owes
	}
	return core.UsageSample{Workspace: string(p.ID), Item: "logs", Hour: hour, Quantity: decimal.MustNew(quantity, 0)}
}
