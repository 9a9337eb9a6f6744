package crash

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloudsettle/adapters"
	"cloudsettle/core"
	"cloudsettle/store/postgres/pgtest"
)

// How the test of killed settlements runs.
const (
	killsEachShort = 2
	mostLives      = 5               // in one story; the last one survives
	restartTakes   = 2 * time.Minute // until a program that died is back
	waitStep       = 5 * time.Minute // of the clock, while something is left to do
	mostWaits      = 100
	crowdSize      = 1030 // workspaces: more than one transaction settles
	mostStories    = 4    // for each kill
)

// killsFlag is how often each point kills, on every store.
var killsFlag = flag.Int("kills", 0, "how often each point kills, instead of as often as there is time for")

// place is a kind of store that the program works on.
type place struct {
	name   string
	kills  int           // at each point
	commit time.Duration // what takes about so long is cut short somewhere
	empty  func(t *testing.T) (url string, remove func())
}

// places are the stores. A story takes longer on a server.
var places = []place{
	{name: "bolt", kills: 20, commit: 500 * time.Microsecond, empty: func(t *testing.T) (string, func()) {
		dir := quickDir(t)
		return "bolt:" + filepath.Join(dir, "db"), func() { _ = os.RemoveAll(dir) }
	}},
	{name: "postgres", kills: 3, commit: 4 * time.Millisecond, empty: func(t *testing.T) (string, func()) {
		// The server outlives the victim, so nothing has to reach the disk.
		return pgtest.New(t) + "&pool_max_conns=8&synchronous_commit=off", func() {}
	}},
}

func (p place) killsEach() int {
	switch {
	case *killsFlag > 0:
		return *killsFlag
	case testing.Short():
		return min(p.kills, killsEachShort)
	}
	return p.kills
}

// killPoint is a place at which the program is killed.
type killPoint struct {
	name   string
	soon   bool // it dies within a commit's time after it passed the point
	first  int  // it dies among so many first times, not anywhere
	crowd  int  // of further workspaces
	atOnce bool // everything that is due is done at the same time
}

// Points that the victim does not pass itself.
const (
	duringCall = "while the marketplace works on a call"
	anyMoment  = "at any moment"
)

// killPoints are all places. The names are those that the victim passes.
var killPoints = []killPoint{
	{name: "before usage is added", soon: true},
	{name: "after usage was added"},
	{name: "between two bills"},
	{name: "between two bills", crowd: crowdSize, first: crowdSize},
	{name: "before the commit of bills"},
	{name: "before the commit of bills", soon: true},
	{name: "after the commit of bills"},
	{name: "after the commit of bills", crowd: crowdSize, first: 1}, // a part of a day is settled
	{name: "before the commit of a price book"},
	{name: "after the commit of a price book"},
	{name: "before the commit of a top-up"},
	{name: "after the commit of a top-up"},
	{name: "before the commit of a sealed record"},
	{name: "after the commit of a sealed record"},
	{name: "before the commit of records to send"},
	{name: "after the commit of records to send"},
	{name: "before a call"},
	{name: duringCall},
	{name: "after half of a call was taken"},
	{name: "after a call was taken"},
	{name: "before the commit of answers"},
	{name: "before the commit of answers", soon: true},
	{name: "after the commit of answers"},
	{name: "after the commit of a task that is done"},
	{name: "before the commit of a monthly bill"},
	{name: "after the commit of a monthly bill"},
	{name: "before the commit of the closed mark"},
	{name: "after the commit of the closed mark"},
	{name: finalStage + ": before the commit of a callback"},
	{name: finalStage + ": after the commit of a callback"},
	{name: finalStage + ": before the commit of bills"},
	{name: finalStage + ": after the commit of bills"},
	{name: finalStage + ": before the commit of a task that is done"},
	{name: finalStage + ": after a call was taken"},
	{name: anyMoment},
	{name: anyMoment, atOnce: true},
}

// TestKilledSettlementLosesNothing kills the program at each point of the way
// from usage to the marketplaces' books, again and again, and starts it again
// each time. Whoever got no answer asks again, as clients and marketplaces do.
// In the end every invariant holds, everything that was used is billed once,
// and each marketplace has what the program believes it has, but for one thing:
// where a marketplace recognizes no repeats, a record whose answer was lost is
// not sent again. It stays unknown, for a person; see parking.
func TestKilledSettlementLosesNothing(t *testing.T) {
	t.Parallel()
	for _, on := range places {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			var rehearsals sync.Map // of stories without kills, by the size of the crowd
			for _, p := range killPoints {
				t.Run(p.String(), func(t *testing.T) {
					t.Parallel()
					a := newArena(t, on)
					known, _ := rehearsals.LoadOrStore(p.crowd, sync.OnceValue(func() rehearsal { return a.rehearse(p.crowd) }))
					a.known = known.(func() rehearsal)()
					a.killAgain(p, on.killsEach())
				})
			}
		})
	}
}

// String describes a point in the name of a test.
func (p killPoint) String() string {
	name := p.name
	if p.soon {
		name += ", soon"
	}
	if p.crowd > 0 {
		name += ", in a crowd"
	}
	if p.atOnce {
		name += ", all at once"
	}
	return name
}

// killAgain plays stories until the program was killed n times at a point.
func (a *arena) killAgain(p killPoint, n int) {
	a.t.Helper()
	stories, kills, began := 0, 0, time.Now()
	for ; kills < n && stories < mostStories*n; stories++ {
		seed := rand.Uint64()
		a.play(p, seed)
		if kills += a.kills; a.t.Failed() {
			a.t.Fatalf("seed %d, %d kills", seed, a.kills)
		}
	}
	a.t.Logf("%d kills in %d stories, %s", kills, stories, time.Since(began).Round(time.Millisecond))
	if kills < n {
		a.t.Errorf("only %d kills: the test does not test", kills)
	}
}

// rehearsal is what is known of stories: how often each point is passed, and
// how long they take.
type rehearsal struct {
	passed map[string]int
	took   time.Duration
}

// rehearse plays a story in which nobody is killed.
func (a *arena) rehearse(crowd int) rehearsal {
	began := time.Now()
	passed := a.play(killPoint{crowd: crowd}, 1)
	return rehearsal{passed, time.Since(began)}
}

// arena has what outlives a victim: the marketplaces, the clock, the store.
type arena struct {
	t       *testing.T
	place   place
	setting setting
	opened  []core.Marketplace // to look into the stores that victims leave
	now     atomic.Int64
	stage   atomic.Value
	rnd     *rand.Rand

	target  *httptest.Server // where marketplaces send callbacks
	markets map[string]*market
	victim  *process

	db    string // its URL
	lives int
	kills int
	known rehearsal
	trap  trap
	timer *time.Timer  // of a kill at any moment
	calls atomic.Int64 // that reached a marketplace, in this life
	fatal atomic.Int64 // the one that the victim does not survive, or 0
	c     cast
	story *story
}

// market is a marketplace on an address of its own.
type market struct {
	listing listing
	server  *httptest.Server
	sim     atomic.Pointer[adapters.Simulator]
}

func newArena(t *testing.T, on place) *arena {
	t.Helper()
	a := &arena{t: t, place: on, markets: map[string]*market{}}
	a.stage.Store("")
	a.target = httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			to, _ := url.Parse(a.victim.url)
			r.SetURL(to)
			a.stamp(r.Out.Header)
		},
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	})
	t.Cleanup(a.target.Close)
	a.setting.PublicURL = a.target.URL
	for _, l := range listings() {
		m := &market{}
		m.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.serve(m, w, r) }))
		t.Cleanup(m.server.Close)
		l["endpoint"] = m.server.URL
		m.listing = l
		a.markets[l.id()] = m
		a.setting.Listings = append(a.setting.Listings, l)
	}
	var err error
	if a.opened, err = a.setting.open(a.clock); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if a.victim != nil {
			a.bury()
		}
	})
	return a
}

func (a *arena) clock() time.Time { return time.Unix(0, a.now.Load()).UTC() }

// reach moves the clock to a time, unless it is later already.
func (a *arena) reach(at time.Time) { a.now.Store(max(a.now.Load(), at.UnixNano())) }

func (a *arena) wait(d time.Duration) { a.now.Add(int64(d)) }

func (a *arena) stamp(h http.Header) {
	h.Set(clockHeader, strconv.FormatInt(a.now.Load(), 10))
	h.Set(stageHeader, a.stage.Load().(string))
}

// serve is a marketplace that is called. Where the trap is here, the caller is
// killed when the call has arrived; the marketplace does not know that.
func (a *arena) serve(m *market, w http.ResponseWriter, r *http.Request) {
	if a.calls.Add(1) == a.fatal.Load() {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		a.victim.kill()
	}
	(*m.sim.Load()).ServeHTTP(w, r)
}

// process is a victim in a process of its own.
type process struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	stderr bytes.Buffer
	url    string
	once   sync.Once
}

func startVictim(t *testing.T, s setting) *process {
	t.Helper()
	config, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(os.Args[0])} // #nosec -- this very binary
	// Nothing else of this machine's environment, such as a proxy or a file of
	// certificates to read at every start. It lives too short to collect garbage.
	p.cmd.Env = []string{victimEnv + "=" + string(config), "GOGC=400"}
	p.cmd.Stderr = &p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		p.kill()
		t.Fatalf("the victim does not start: %v, %s", err, &p.stderr)
	}
	p.url = strings.TrimSpace(line)
	return p
}

// kill ends the victim, if it still lives, and waits until it is gone.
func (p *process) kill() {
	if p == nil {
		return
	}
	p.once.Do(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	})
}

// errKilled says that the victim died before it answered.
var errKilled = errors.New("killed")

// ask asks the victim for something.
func ask[Out any](a *arena, path string, in any) (out Out, err error) {
	body, err := json.Marshal(in)
	if err != nil {
		a.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(a.t.Context(), http.MethodPost, a.victim.url+path, bytes.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	a.stamp(req.Header)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return out, errKilled
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return out, errKilled
	}
	if resp.StatusCode != http.StatusOK {
		a.t.Fatalf("%s at %s: %s", path, a.clock(), answer)
	}
	return out, json.Unmarshal(answer, &out)
}

// play plays one story with kills at a point, from a seed, and checks what it
// comes to. It returns how often each point was passed since the last kill.
func (a *arena) play(p killPoint, seed uint64) map[string]int {
	a.rnd = rand.New(rand.NewPCG(seed, 0))
	a.lives, a.kills, a.trap = 0, 0, trap{}
	a.now.Store(opensAt.UnixNano())
	a.stage.Store(firstStage)
	url, remove := a.place.empty(a.t)
	defer remove()
	a.db = url
	sold := purchases()
	defer a.openMarkets(seed)()
	a.set(p)
	a.live()
	for _, s := range sold {
		if !a.tell(s, buying[s.Listing], s.buy) {
			a.t.Fatalf("seed %d: %s was not told", seed, s.Name)
		}
	}
	var err error
	if a.c, err = ask[cast](a, "/hire", hiring{Purchases: sold, Crowd: p.crowd}); err != nil {
		a.t.Fatalf("seed %d: %v", seed, err)
	}
	a.story = tellStory(a.rnd, a.c, sold)
	a.killSometime(p)
	for _, s := range a.story.scenes {
		s.work.AtOnce = p.atOnce
		a.enact(p, s)
	}
	a.finish(p)
	passed := a.retire(p)
	a.check(sold)
	return passed
}

// retire has the victim leave the store. If it may die only now, it does.
func (a *arena) retire(p killPoint) map[string]int {
	passed, _ := ask[map[string]int](a, "/passed", nil)
	if _, err := ask[struct{}](a, "/open", opening{}); err != nil {
		a.bury()
	} else if p.soon || p.name == anyMoment {
		a.bury()
		a.kills--
	}
	if a.timer != nil {
		a.timer.Stop()
	}
	if passed != nil {
		passed[duringCall] = int(a.calls.Load())
	}
	return passed
}

// quickDir returns a directory in memory, if there is one: what a process wrote
// is there after its death, whether it is on a disk or not.
func quickDir(t *testing.T) string {
	t.Helper()
	memory := "/dev/shm"
	if _, err := os.Stat(memory); err != nil {
		memory = ""
	}
	dir, err := os.MkdirTemp(memory, "settle-crash")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// openMarkets starts a simulator for each listing. The returned function
// closes them.
func (a *arena) openMarkets(seed uint64) func() {
	var sims []adapters.Simulator
	for _, m := range a.markets {
		c, err := m.listing.simulated()
		if err != nil {
			a.t.Fatal(err)
		}
		c.Target, c.BaseURL, c.Now, c.Seed = a.target.URL, m.server.URL, a.clock, seed
		sim, err := adapters.Simulate(m.listing.provider(), c)
		if err != nil {
			a.t.Fatal(err)
		}
		m.sim.Store(&sim)
		sims = append(sims, sim)
	}
	return func() {
		for _, sim := range sims {
			_ = sim.Close()
		}
	}
}

// set sets the trap somewhere among the times that its point is passed.
func (a *arena) set(p killPoint) {
	if p.name == anyMoment || p.name == "" {
		return
	}
	times := a.known.passed[p.name]
	if times == 0 {
		a.t.Fatalf("no story passes the point %q; they pass %v", p.name, a.known.passed)
	}
	a.trap = trap{Point: p.name, N: 1 + a.rnd.IntN(min(times, cmp.Or(p.first, times)))}
	if p.soon {
		a.trap.Delay = time.Duration(a.rnd.Int64N(int64(a.place.commit)))
	}
}

// live begins a life of the program on the store as it is.
func (a *arena) live() {
	for {
		a.lives++
		a.calls.Store(0)
		a.fatal.Store(0)
		if a.trap.Point == duringCall {
			a.fatal.Store(int64(a.trap.N))
		}
		if a.victim == nil {
			a.victim = startVictim(a.t, a.setting)
		}
		if _, err := ask[struct{}](a, "/open", opening{a.db, a.trap}); err == nil {
			return
		}
		a.bury()
	}
}

// bury waits until the victim is gone. It has nothing to say unless it died of
// something else.
func (a *arena) bury() {
	a.victim.kill()
	if a.victim.stderr.Len() > 0 {
		a.t.Errorf("the victim said: %s", &a.victim.stderr)
	}
	a.victim = nil
	a.kills++
	a.wait(restartTakes)
}

// revive starts the program again after it was killed, and sees to it that it
// is killed once more, maybe while it still recovers.
func (a *arena) revive(p killPoint) {
	a.bury()
	a.trap = trap{}
	last := a.lives+1 >= mostLives
	if !last {
		p.first = max(1, a.known.passed[p.name]/mostLives)
		a.set(p)
	}
	a.live()
	if p.crowd == 0 { // else it takes long, and once at the end must do
		if v, err := ask[core.Verification](a, "/verify", nil); err != nil || !v.OK {
			a.t.Errorf("verify after a kill: %v, %+v", err, v.Violations)
		}
	}
	if !last {
		a.killSometime(p)
	}
}

// killSometime kills the victim in a while, if that is the point.
func (a *arena) killSometime(p killPoint) {
	if p.name == anyMoment {
		a.timer = time.AfterFunc(time.Duration(a.rnd.Int64N(int64(a.known.took/3))), a.victim.kill)
	}
}

// enact plays one scene. If the program dies, it is asked again after its
// restart.
func (a *arena) enact(p killPoint, s scene) state {
	for {
		a.reach(s.at)
		a.stage.Store(s.stage)
		var st state
		var err error
		if s.tell != nil {
			if !a.tell(*s.tell, s.event, s.tell.end) {
				err = errKilled
			}
		} else {
			st, err = ask[state](a, "/do", s.work)
		}
		if err == nil {
			return st
		}
		a.revive(p)
	}
}

// tell has a marketplace send a callback, and reports whether it was answered.
func (a *arena) tell(p purchase, event string, params map[string]string) bool {
	got, err := (*a.markets[p.Listing].sim.Load()).Trigger(a.t.Context(), event, params)
	switch {
	case err != nil:
		a.t.Fatal(err)
	case got.Status == http.StatusBadGateway || got.Status == 0: // the program is gone
		return false
	case !got.Accepted:
		a.t.Fatalf("%s of %s: answered %d %s", event, p.Name, got.Status, got.Body)
	}
	return true
}

// finish lets time go by until nothing is left to do.
func (a *arena) finish(p killPoint) {
	for range mostWaits {
		if st := a.enact(p, scene{work: work{Do: "round"}}); !st.Busy {
			return
		}
		a.wait(waitStep)
	}
	a.t.Errorf("something is still to do after %s", mostWaits*waitStep)
}

// viewing runs fn on a store that nobody else has open.
func viewing[T any](a *arena, st core.Store, fn func(context.Context, core.ReadTx) (T, error)) T {
	a.t.Helper()
	v, err := core.InView(a.t.Context(), st, fn)
	if err != nil {
		a.t.Fatal(err)
	}
	return v
}
