package marketplace_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"cloudsettle/core/marketplace"
)

var (
	day0 = time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	no   = new(bool)
	yes  = func() *bool { b := true; return &b }()
)

func day(n int) time.Time { return day0.AddDate(0, 0, n) }

// TestMain asks for as many random histories as the project promises.
func TestMain(m *testing.M) {
	flag.Parse()
	if f := flag.Lookup("rapid.checks"); f != nil && f.Value.String() == f.DefValue {
		_ = flag.Set("rapid.checks", "10000")
	}
	os.Exit(m.Run())
}

// state is what a subscription looks like from outside.
type state struct {
	Status    marketplace.Status
	SKU       string
	Quantity  int64
	Trial     bool
	ExpiresAt time.Time
	Replaced  bool
}

// apply decides events one after the other, the i-th seen i seconds after at.
func apply(events []marketplace.Event, at time.Time) marketplace.Subscription {
	sub := marketplace.Subscription{ID: "sub_1"}
	for i, ev := range events {
		seen := at.Add(time.Duration(i) * time.Second)
		sub, _ = marketplace.Decide(sub, ev, seen, marketplace.CallbackID(fmt.Sprint(i)))
		if ev.Account != "" {
			sub.Account = marketplace.AccountID(ev.Account)
		}
	}
	return sub
}

func look(s marketplace.Subscription) state {
	return state{s.Status, s.SKU, s.Quantity, s.Trial, s.ExpiresAt, s.Replaced}
}

// A life is the callbacks of one subscription in the order they happened, and
// where they lead when seen on day at.
type life struct {
	name   string
	at     time.Time
	events []marketplace.Event
	want   state
}

var (
	bought = marketplace.Event{Kind: marketplace.Activated, Account: "1", SKU: "basic", Trial: no, ExpiresAt: day(30)}
	ended  = marketplace.Event{Kind: marketplace.Ended}
)

func renewed(order string, to time.Time) marketplace.Event {
	return marketplace.Event{Kind: marketplace.Renewed, Key: order, Rank: order, Trial: no, ExpiresAt: to}
}

func ranked(k marketplace.Kind, rank string) marketplace.Event {
	return marketplace.Event{Kind: k, Rank: rank}
}

// lives are what each marketplace really sends, at most six callbacks each.
var lives = []life{
	{"UnrankedRenewalAnswersExpiry", day(31), []marketplace.Event{
		bought, {Kind: marketplace.Changed, Key: "2", Rank: "2", SKU: "pro"},
		{Kind: marketplace.Expired}, renewed("3", day(60)),
		{Kind: marketplace.Changed, Key: "4", Rank: "4", SKU: "team", Quantity: 7}, renewed("5", day(90)),
	}, state{Status: marketplace.StatusActive, SKU: "team", Quantity: 7, ExpiresAt: day(90)}},
	{"UnrankedExpiredAfterTerm", day(61), []marketplace.Event{
		bought, renewed("2", day(60)), {Kind: marketplace.Expired},
	}, state{Status: marketplace.StatusFrozen, SKU: "basic", ExpiresAt: day(60)}},
	{"UnrankedExpiredEarly", day(1), []marketplace.Event{
		bought, {Kind: marketplace.Expired},
	}, state{Status: marketplace.StatusFrozen, SKU: "basic", ExpiresAt: day(30)}},
	{"UnrankedRefundedRenewal", day(1), []marketplace.Event{
		bought, renewed("2", day(60)), renewed("3", day(90)),
		{Kind: marketplace.RenewalRefunded, Key: "60", ExpiresAt: day(60)},
	}, state{Status: marketplace.StatusActive, SKU: "basic", ExpiresAt: day(60)}},
	{"UnrankedReleasedIsFinal", day(1), []marketplace.Event{
		{Kind: marketplace.Activated, Account: "1", SKU: "basic", Trial: yes, ExpiresAt: day(7)},
		renewed("2", day(60)), {Kind: marketplace.Expired}, renewed("3", day(90)), {Kind: marketplace.Resumed}, ended,
	}, state{Status: marketplace.StatusEnded, SKU: "basic", ExpiresAt: day(90)}},
	{"UnrankedArrearsPaid", day(1), []marketplace.Event{
		{Kind: marketplace.Activated, Account: "1", SKU: "payg"}, {Kind: marketplace.Expired},
		{Kind: marketplace.Renewed, Key: "2", Rank: "2"},
	}, state{Status: marketplace.StatusActive, SKU: "payg"}},
	{"UnrankedResumed", day(1), []marketplace.Event{
		bought, {Kind: marketplace.Expired}, {Kind: marketplace.Resumed},
	}, state{Status: marketplace.StatusActive, SKU: "basic", ExpiresAt: day(30)}},
	{"RankedLicense", day(1), []marketplace.Event{
		{Kind: marketplace.Registered, Account: "1", Subject: "l-1"},
		{Kind: marketplace.Linked, Also: []string{"agreement:1"}, Rank: "t1"},
		{Kind: marketplace.Activated, Account: "1", Subject: "l-1", Also: []string{"agreement:1"}, Rank: "t2"},
		ranked(marketplace.Ending, "t3"), ranked(marketplace.Ended, "t4"),
		{Kind: marketplace.Activated, Account: "1", Subject: "l-1", Rank: "t1"},
	}, state{Status: marketplace.StatusEnded}},
	{"RankedResubscribedWithoutEnd", day(1), []marketplace.Event{
		{Kind: marketplace.Activated, Account: "1", Rank: "t1"}, ranked(marketplace.Ending, "t2"),
		{Kind: marketplace.Activated, Account: "1", Rank: "t3"},
	}, state{Status: marketplace.StatusActive}},
	{"RankedReplaced", day(1), []marketplace.Event{
		{Kind: marketplace.Activated, Account: "1", Rank: "t1"}, ranked(marketplace.Succeeded, "t2"),
		ranked(marketplace.Ended, "t3"),
	}, state{Status: marketplace.StatusEnded, Replaced: true}},
	{"RankedFreezes", day(1), []marketplace.Event{
		bought, ranked(marketplace.Suspended, "t1"), ranked(marketplace.Resumed, "t2"), ranked(marketplace.Suspended, "t3"),
		{Kind: marketplace.Retermed, Rank: "r1", ExpiresAt: day(60)}, {Kind: marketplace.Retermed, Rank: "r2", ExpiresAt: day(30)},
	}, state{Status: marketplace.StatusFrozen, SKU: "basic", ExpiresAt: day(30)}},
	{"RankedUnfrozen", day(1), []marketplace.Event{
		bought, ranked(marketplace.Suspended, "t1"), ranked(marketplace.Resumed, "t2"),
		{Kind: marketplace.Changed, Key: "c1", Rank: "c1", SKU: "pro", Quantity: 3}, {Kind: marketplace.Changed, Key: "c2", Rank: "c2", SKU: "team"},
	}, state{Status: marketplace.StatusActive, SKU: "team", Quantity: 3, ExpiresAt: day(30)}},
}

func TestDecideReachesTheStateOfTheLife(t *testing.T) {
	t.Parallel()
	for _, l := range lives {
		if diff := cmp.Diff(l.want, look(apply(l.events, l.at))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", l.name, diff)
		}
	}
}

// TestDecideIgnoresOrderAndRepetition tries every order of each life, and for
// every order several ways to repeat its callbacks up to three times.
func TestDecideIgnoresOrderAndRepetition(t *testing.T) {
	t.Parallel()
	for _, l := range lives {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(1, 2))
			permute(len(l.events), func(order []int) {
				for range 4 {
					events := repeated(rnd, l.events, order)
					if got := look(apply(events, l.at)); got != l.want {
						t.Fatalf("order %v as %v (-want +got):\n%s", order, kinds(events), cmp.Diff(l.want, got))
					}
				}
			})
		})
	}
}

// repeated returns events in order, each of them one to three times: again at
// once, or again somewhere later.
func repeated(rnd *rand.Rand, events []marketplace.Event, order []int) []marketplace.Event {
	all := slices.Clone(order)
	for _, i := range order {
		for range rnd.IntN(3) {
			first := slices.Index(all, i)
			all = slices.Insert(all, first+1+rnd.IntN(len(all)-first), i)
		}
	}
	out := make([]marketplace.Event, len(all))
	for at, i := range all {
		out[at] = events[i]
	}
	return out
}

func kinds(events []marketplace.Event) (out []string) {
	for _, ev := range events {
		out = append(out, string(ev.Kind)+ev.Rank)
	}
	return out
}

// permute calls f with every order of n things.
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

// TestDecideAgreesWithTheModel compares random histories with a model that
// looks at the whole history at once. rapid prints the seed of a failure.
func TestDecideAgreesWithTheModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		events := append([]marketplace.Event{bought}, rapid.SliceOfN(rapid.Custom(drawEvent), 0, 24).Draw(t, "events")...)
		at := day(rapid.IntRange(0, 200).Draw(t, "day"))
		got := look(apply(events, at))
		if want := model(events, at); got != want {
			t.Fatalf("%v on %s (-model +got):\n%s", kinds(events), at.Format(time.DateOnly), cmp.Diff(want, got))
		}
		shuffled := rapid.Permutation(events).Draw(t, "shuffled")
		if again := look(apply(shuffled, at)); again != got {
			t.Fatalf("%v shuffled to %v:\n%s", kinds(events), kinds(shuffled), cmp.Diff(got, again))
		}
	})
}

func drawEvent(t *rapid.T) marketplace.Event {
	n := rapid.IntRange(1, 6).Draw(t, "n")
	rank := fmt.Sprintf("%04d", n)
	switch rapid.IntRange(0, 6).Draw(t, "kind") {
	case 0:
		return renewed(rank, day(30+30*n))
	case 1:
		return marketplace.Event{Kind: marketplace.Changed, Key: rank, Rank: rank, SKU: "sku" + rank}
	case 2:
		return marketplace.Event{Kind: marketplace.Expired}
	case 3:
		return ranked(marketplace.Suspended, rank)
	case 4:
		return marketplace.Event{Kind: marketplace.Resumed, Rank: rank + "b"}
	case 5:
		return marketplace.Event{Kind: marketplace.Linked, Also: []string{"other:" + rank}, Rank: rank}
	default:
		return ended
	}
}

// model is the life cycle once more, written as questions to the history.
func model(events []marketplace.Event, at time.Time) state {
	s := state{Status: marketplace.StatusActive, SKU: "basic", ExpiresAt: day(30)}
	var over, expired, answered bool
	var suspended, resumed, plan string
	for _, ev := range events {
		switch ev.Kind {
		case marketplace.Renewed:
			if ev.ExpiresAt.After(s.ExpiresAt) {
				s.ExpiresAt = ev.ExpiresAt
			}
			// The last expiry may have been seen up to a minute after at.
			answered = answered || ev.ExpiresAt.After(at.Add(time.Minute))
		case marketplace.Changed:
			if ev.Rank > plan {
				plan, s.SKU = ev.Rank, ev.SKU
			}
		case marketplace.Expired:
			expired = true
		case marketplace.Suspended:
			suspended = max(suspended, ev.Rank)
		case marketplace.Resumed:
			resumed = max(resumed, ev.Rank)
			answered = true
		case marketplace.Ended:
			over = true
		}
	}
	switch {
	case over:
		s.Status = marketplace.StatusEnded
	case expired && !answered, suspended > resumed:
		s.Status = marketplace.StatusFrozen
	}
	return s
}

// TestDecideTransitions holds the diagram in docs/flow.md against the code.
func TestDecideTransitions(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/flow.md")
	if err != nil {
		t.Fatal(err)
	}
	drawn := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\s+(\w+|\[\*\]) --> (\w+): (.+)$`).FindAllStringSubmatch(string(text), -1) {
		for _, kind := range strings.Split(m[3], ", ") {
			drawn[m[1]+" "+kind+" "+m[2]] = true
		}
	}
	for tr := range transitions() {
		if !drawn[tr] {
			t.Errorf("the code goes %q, docs/flow.md does not draw it", tr)
		}
		delete(drawn, tr)
	}
	for tr := range drawn {
		t.Errorf("docs/flow.md draws %q, the code does not go there", tr)
	}
}

// transitions finds every change of state that one event can cause.
func transitions() map[string]bool {
	start := map[marketplace.Status][]marketplace.Event{
		"[*]":                     nil,
		marketplace.StatusPending: {{Kind: marketplace.Registered, Account: "1"}},
		marketplace.StatusActive:  {{Kind: marketplace.Activated, Account: "1", Rank: "1", ExpiresAt: day(30)}},
		marketplace.StatusFrozen:  {{Kind: marketplace.Activated, Account: "1", Rank: "1", ExpiresAt: day(30)}, {Kind: marketplace.Expired}},
		marketplace.StatusEnding:  {{Kind: marketplace.Activated, Account: "1", Rank: "1"}, ranked(marketplace.Ending, "2")},
		marketplace.StatusEnded:   {{Kind: marketplace.Activated, Account: "1", Rank: "1"}, ranked(marketplace.Ended, "2")},
	}
	out := map[string]bool{}
	for from, events := range start {
		before := apply(events, day(1))
		for _, k := range []marketplace.Kind{
			marketplace.Registered, marketplace.Activated, marketplace.Renewed, marketplace.RenewalRefunded, marketplace.Retermed,
			marketplace.Changed, marketplace.Expired, marketplace.Suspended, marketplace.Resumed, marketplace.Ending,
			marketplace.Ended, marketplace.Succeeded, marketplace.Linked,
		} {
			after, _ := marketplace.Decide(before, marketplace.Event{Kind: k, Account: "1", Rank: "9", Key: "9", ExpiresAt: day(60)}, day(2), "cb")
			if after.Status != before.Status {
				out[fmt.Sprintf("%s %s %s", from, k, after.Status)] = true
			}
		}
	}
	return out
}

func TestMergeIsTheUnion(t *testing.T) {
	t.Parallel()
	early := apply([]marketplace.Event{{Kind: marketplace.Linked, Also: []string{"agreement:1"}}, ranked(marketplace.Ending, "t9")}, day(0))
	own := apply([]marketplace.Event{{Kind: marketplace.Activated, Account: "1", Subject: "l-1", Rank: "t1"}}, day(1))
	got := marketplace.Merge(own, early)
	if got.Status != marketplace.StatusEnding || !got.HasName("agreement:1") || got.Subject != "l-1" || got.ID != own.ID {
		t.Errorf("Merge() = %+v, want the facts and names of both", got)
	}
}

func TestDecideBoundsFacts(t *testing.T) {
	t.Parallel()
	sub := marketplace.Subscription{ID: "sub_1"}
	last := marketplace.Applied
	for i := range 2000 {
		sub, last = marketplace.Decide(sub, renewed(fmt.Sprint(i), day(i)), day(0), "cb")
	}
	if last != marketplace.Refused || len(sub.Facts) != 1024 {
		t.Errorf("after 2000 renewals: %s with %d facts, want refused with 1024", last, len(sub.Facts))
	}
}
