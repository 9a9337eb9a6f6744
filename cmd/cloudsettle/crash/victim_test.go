package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"cloudsettle/core"
	"cloudsettle/core/ledger"
	"cloudsettle/core/metering"
	"cloudsettle/core/pricing"
	"cloudsettle/core/settlement"
	"cloudsettle/core/usage"
	"cloudsettle/store"
	"cloudsettle/store/postgres/pgtest"
	"cloudsettle/webhooks"
)

// victimEnv is the configuration of a test binary that behaves as a server
// which kills itself at a point that it is told.
const victimEnv = "TEST_RUN_AS_VICTIM"

func TestMain(m *testing.M) {
	if config := os.Getenv(victimEnv); config != "" {
		_, _ = fmt.Fprintln(os.Stderr, serveVictim([]byte(config))) // it only ends with an error
		os.Exit(1)
	}
	os.Exit(pgtest.Main(m))
}

// The headers that the test sends to its victim with everything.
const (
	clockHeader = "X-Now"   // the time, in nanoseconds: the marketplaces' clock
	stageHeader = "X-Stage" // put before the names of the points that are passed
)

// trap is where the victim dies: when it passes a point for the Nth time, and
// then at once or within some delay.
type trap struct {
	Point string
	N     int
	Delay time.Duration
}

// die ends the process as a power cut would, as far as processes go.
func die() {
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		panic(err)
	}
	select {} // the signal is on its way
}

// track counts the points that are passed and dies at the trap.
type track struct {
	trap
	mu     sync.Mutex
	stage  string
	passed map[string]int
}

func (k *track) pass(point string) {
	if k.caught(point) {
		k.perish()
	}
}

func (k *track) caught(point string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.stage != "" {
		point = k.stage + ": " + point
	}
	k.passed[point]++
	return point == k.Point && k.passed[point] == k.N
}

func (k *track) perish() {
	if k.Delay == 0 {
		die()
	}
	time.AfterFunc(k.Delay, die)
}

// mortalStore is a store with points on both sides of its commits, named after
// what is committed.
type mortalStore struct {
	core.Store
	*track
}

func (s mortalStore) AppendUsage(ctx context.Context, entries []usage.Entry) ([]usage.Verdict, error) {
	s.pass("before usage is added")
	v, err := s.Store.AppendUsage(ctx, entries)
	if err == nil {
		s.pass("after usage was added")
	}
	return v, err
}

func (s mortalStore) Update(ctx context.Context, fn func(context.Context, core.Tx) error) error {
	var did []string
	err := s.Store.Update(ctx, func(ctx context.Context, tx core.Tx) error {
		m := &mortalTx{Tx: tx, track: s.track, did: map[string]bool{}}
		if err := fn(ctx, m); err != nil {
			return err
		}
		did = did[:0]
		for what := range m.did {
			did = append(did, what)
			s.pass("before the commit of " + what)
		}
		return nil
	})
	if err == nil {
		for _, what := range did {
			s.pass("after the commit of " + what)
		}
	}
	return err
}

// mortalTx notes what a transaction is about.
type mortalTx struct {
	core.Tx
	*track
	did map[string]bool
}

func (t *mortalTx) AddDailyBill(ctx context.Context, bills ...settlement.DailyBill) error {
	for _, b := range bills {
		t.did["bills"] = true
		t.pass("between two bills")
		if err := t.Tx.AddDailyBill(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

func (t *mortalTx) PutMeterRecord(ctx context.Context, r metering.Record) error {
	switch {
	case r.Rev == 0:
		t.did["a sealed record"] = true
	case r.Status == metering.Sending:
		t.did["records to send"] = true
	default:
		t.did["answers"] = true
	}
	return t.Tx.PutMeterRecord(ctx, r)
}

func (t *mortalTx) AppendLedger(ctx context.Context, books ...ledger.Book) error {
	for _, b := range books {
		if b.Added[0].Kind == ledger.Adjustment {
			t.did["a top-up"] = true
		}
	}
	return t.Tx.AppendLedger(ctx, books...)
}

func (t *mortalTx) AddPriceBook(ctx context.Context, b pricing.Book) error {
	t.did["a price book"] = true
	return t.Tx.AddPriceBook(ctx, b)
}

func (t *mortalTx) AddMonthlyBill(ctx context.Context, b settlement.MonthlyBill) error {
	t.did["a monthly bill"] = true
	return t.Tx.AddMonthlyBill(ctx, b)
}

func (t *mortalTx) PutSetting(ctx context.Context, name, value string) error {
	if strings.HasPrefix(name, "closed/") {
		t.did["the closed mark"] = true
	}
	return t.Tx.PutSetting(ctx, name, value)
}

func (t *mortalTx) PutCallbackEntry(ctx context.Context, e core.JournalEntry) error {
	t.did["a callback"] = true
	return t.Tx.PutCallbackEntry(ctx, e)
}

func (t *mortalTx) FinishTask(ctx context.Context, task core.Task) (bool, error) {
	t.did["a task that is done"] = true
	return t.Tx.FinishTask(ctx, task)
}

// mortalMeter is a meter with points around its calls.
type mortalMeter struct {
	core.Meter
	*track
}

func (m mortalMeter) Report(ctx context.Context, records []metering.Record) []metering.Result {
	m.pass("before a call")
	if len(records) > 1 && m.caught("after half of a call was taken") {
		m.Meter.Report(ctx, records[:len(records)/2])
		m.perish()
	}
	out := m.Meter.Report(ctx, records)
	m.pass("after a call was taken")
	return out
}

// victim is a server on a clock that its callers bring along, with one store
// after another. Its routes are webhooks and what a test asks of it.
type victim struct {
	now atomic.Int64

	svc      *core.Service
	store    core.Store
	callback http.Handler
	*track
}

// serveVictim serves until it is killed, or whoever started it has gone.
func serveVictim(config []byte) error {
	var c setting
	if err := json.Unmarshal(config, &c); err != nil {
		return err
	}
	v := &victim{}
	markets, err := c.open(v.clock)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // open as long as the test lives
		os.Exit(0)
	}()
	fmt.Println("http://" + ln.Addr().String())
	return webhooks.NewServer(v.routes(markets), slog.New(slog.NewTextHandler(os.Stderr, nil))).Serve(ln) // it logs panics
}

func (v *victim) clock() time.Time { return time.Unix(0, v.now.Load()).UTC() }

func (v *victim) routes(markets []core.Marketplace) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /open", func(w http.ResponseWriter, r *http.Request) {
		answerWith(w, r, func(ctx context.Context, in opening) (struct{}, error) { return struct{}{}, v.open(in, markets) })
	})
	mux.HandleFunc("POST /hire", func(w http.ResponseWriter, r *http.Request) {
		answerWith(w, r, func(ctx context.Context, in hiring) (cast, error) { return hire(ctx, v.svc, in) })
	})
	mux.HandleFunc("POST /do", func(w http.ResponseWriter, r *http.Request) {
		answerWith(w, r, func(ctx context.Context, in work) (state, error) { return do(ctx, v.svc, in) })
	})
	mux.HandleFunc("POST /verify", func(w http.ResponseWriter, r *http.Request) {
		answerWith(w, r, func(ctx context.Context, _ struct{}) (core.Verification, error) { return v.svc.Verify(ctx) })
	})
	mux.HandleFunc("POST /passed", func(w http.ResponseWriter, r *http.Request) {
		answerWith(w, r, func(context.Context, struct{}) (map[string]int, error) { return v.passed, nil })
	})
	mux.HandleFunc("/webhooks/", func(w http.ResponseWriter, r *http.Request) { v.callback.ServeHTTP(w, r) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now, err := strconv.ParseInt(r.Header.Get(clockHeader), 10, 64)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		v.now.Store(now)
		if v.track != nil {
			v.mu.Lock()
			v.stage = r.Header.Get(stageHeader)
			v.mu.Unlock()
		}
		mux.ServeHTTP(w, r)
	})
}

// answerWith decodes a request, and encodes what became of it.
func answerWith[In, Out any](w http.ResponseWriter, r *http.Request, serve func(context.Context, In) (Out, error)) {
	var in In
	err := json.NewDecoder(r.Body).Decode(&in)
	var out Out
	if err == nil {
		out, err = serve(r.Context(), in)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out) // or the test sees that it is cut short
}

// opening is a store to work on, and where to die.
type opening struct {
	DB string // its URL
	trap
}

// open leaves the store that is open and opens another one. An empty URL only
// leaves.
func (v *victim) open(in opening, markets []core.Marketplace) error {
	if v.store != nil {
		if err := v.store.Close(); err != nil {
			return err
		}
		v.store = nil
	}
	if in.DB == "" {
		return nil
	}
	st, err := store.Open(context.Background(), in.DB)
	if err != nil {
		return err
	}
	v.track = &track{trap: in.trap, passed: map[string]int{}}
	mortal := make([]core.Marketplace, len(markets))
	for i, m := range markets {
		m.Meter = mortalMeter{m.Meter, v.track}
		mortal[i] = m
	}
	v.store = st
	v.svc = newService(mortalStore{st, v.track}, store.Shared(st), mortal, v.clock)
	e := echo.New()
	webhooks.Register(e, v.svc, webhooks.Options{})
	v.callback = e
	return nil
}
