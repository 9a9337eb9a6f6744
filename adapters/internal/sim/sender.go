package sim

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// Limits of a sender.
const (
	maxAnswer   = 1 << 20         // bytes of an answer that are read
	maxAttempts = 100_000         // attempts that are remembered; older ones are dropped
	maxDelay    = 2 * time.Second // of a callback held back, before compression
	callTimeout = 10 * time.Second
)

// Delivery is one callback to be delivered until it is accepted.
type Delivery struct {
	Name string
	// Build makes a fresh request for each attempt: signatures may carry the time.
	Build func(ctx context.Context, attempt int) (*http.Request, error)
	// Accept reports whether the marketplace is content with an answer.
	Accept func(status int, body []byte) bool
	// Schedule holds the wait before each retry; when it is used up the
	// marketplace gives up and Failed, if set, is called.
	Schedule []time.Duration
	Failed   func()
	// Accepted, if set, is called with the answer that was accepted, each time.
	Accepted func(body []byte)
}

// Sender delivers callbacks as a marketplace does.
type Sender struct {
	cfg    Config
	client *http.Client
	ctx    context.Context // ends when the sender is closed
	stop   context.CancelFunc

	mu       sync.Mutex
	rnd      *rand.Rand
	attempts []Attempt
	running  int
	idle     chan struct{} // closed when running drops to 0
}

// NewSender returns a sender that is to be closed.
func NewSender(cfg Config) *Sender {
	ctx, stop := context.WithCancel(context.Background())
	client := cfg.Client
	if client == nil {
		client = &http.Client{Timeout: callTimeout, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}}
	}
	idle := make(chan struct{})
	close(idle)
	return &Sender{
		cfg: cfg, client: client, ctx: ctx, stop: stop, idle: idle,
		rnd: rand.New(rand.NewPCG(cfg.Seed, cfg.Seed)),
	}
}

// Send delivers d in the background, with faults and retries.
func (s *Sender) Send(d Delivery) {
	s.mu.Lock()
	if s.running++; s.running == 1 {
		s.idle = make(chan struct{})
	}
	s.mu.Unlock()
	go func() {
		defer s.done()
		s.deliver(d)
	}()
}

func (s *Sender) done() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running--; s.running == 0 {
		close(s.idle)
	}
}

func (s *Sender) deliver(d Delivery) {
	if s.chance(s.Faults().Delay) {
		s.sleep(time.Duration(s.float() * float64(maxDelay)))
	}
	for n := 1; s.ctx.Err() == nil; n++ {
		if a := s.attempt(s.ctx, d, n, s.chance(s.Faults().DropReply)); a.Accepted && !a.Lost {
			break
		}
		if n > len(d.Schedule) {
			if d.Failed != nil {
				d.Failed()
			}
			return
		}
		s.sleep(d.Schedule[n-1])
	}
	for n := 2; s.ctx.Err() == nil && s.chance(s.Faults().Repeat); n++ {
		s.attempt(s.ctx, d, n, false)
	}
}

// Faults returns the faults that hold now.
func (s *Sender) Faults() Faults {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cfg.Faults
}

// SetFaults changes the faults, also of deliveries under way.
func (s *Sender) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg.Faults = f
}

// Once delivers d a single time, without faults, and returns how it went.
func (s *Sender) Once(ctx context.Context, d Delivery) Attempt {
	return s.attempt(ctx, d, 1, false)
}

func (s *Sender) attempt(ctx context.Context, d Delivery, n int, lose bool) Attempt {
	a := Attempt{Name: d.Name, N: n, At: s.cfg.Now(), Lost: lose}
	body, err := s.call(ctx, d, n, &a)
	if err != nil {
		a.Error = err.Error()
	} else {
		a.Accepted = d.Accept(a.Status, body)
	}
	if a.Accepted && !a.Lost && d.Accepted != nil {
		d.Accepted(body)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.attempts) >= maxAttempts {
		s.attempts = append(s.attempts[:0], s.attempts[maxAttempts/2:]...)
	}
	s.attempts = append(s.attempts, a)
	return a
}

func (s *Sender) call(ctx context.Context, d Delivery, n int, a *Attempt) ([]byte, error) {
	req, err := d.Build(ctx, n)
	if err != nil {
		return nil, err
	}
	a.URL = req.URL.Redacted()
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	a.Status, a.Body, a.Location = resp.StatusCode, string(body), resp.Header.Get("Location")
	return body, err
}

// Attempts returns a copy of what was delivered, oldest first.
func (s *Sender) Attempts() []Attempt {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Attempt(nil), s.attempts...)
}

// Wait returns when no delivery is under way.
func (s *Sender) Wait(ctx context.Context) error {
	for {
		s.mu.Lock()
		idle, running := s.idle, s.running
		s.mu.Unlock()
		if running == 0 {
			return nil
		}
		select {
		case <-idle:
		case <-ctx.Done():
			return errors.Join(errors.New("sim: deliveries are still under way"), ctx.Err())
		}
	}
}

// Close stops all deliveries and waits for them.
func (s *Sender) Close() error {
	s.stop()
	return s.Wait(context.Background())
}

// Chance reports true with probability p, from the simulator's seed.
func (s *Sender) chance(p float64) bool { return p > 0 && s.float() < p }

func (s *Sender) float() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rnd.Float64()
}

// sleep waits for d, compressed, or until the sender is closed.
func (s *Sender) sleep(d time.Duration) {
	if s.cfg.Compress > 0 {
		d = time.Duration(float64(d) / s.cfg.Compress)
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.ctx.Done():
	}
}
