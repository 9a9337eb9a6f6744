package awssim

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	mrand "math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"cloudsettle/adapters/internal/sim"
)

// listing is what the simulator needs of the listing's configuration.
type listing struct {
	ProductCode     string   `json:"product_code"`
	ProductID       string   `json:"product_id"`
	Model           string   `json:"model"`
	Region          string   `json:"region"`
	AccessKeyID     string   `json:"access_key_id"`
	SecretAccessKey string   `json:"secret_access_key"`
	EventAPIKey     string   `json:"event_api_key"`
	SNSTopics       []string `json:"sns_topics"`
	SQSQueueURL     string   `json:"sqs_queue_url"`
	Metering        struct {
		Dimension string `json:"dimension"`
	} `json:"metering"`
}

// Simulator is AWS Marketplace for one listing.
type Simulator struct {
	cfg     sim.Config
	listing listing
	sender  *sim.Sender
	queue   *queue
	mux     *http.ServeMux

	mu         sync.Mutex
	rnd        *mrand.Rand
	agreements []*Agreement // in the order they were made
	tokens     map[string]token
	signers    []*signer // the last one signs; none until the first message
	confirm    map[string]string
	confirmed  []string // topics, each once
	switches   Switches
	lastEvent  time.Time
	meter      ledger
}

var _ sim.Simulator = (*Simulator)(nil)

// hideMessages is the default visibility timeout of SQS.
const hideMessages = 30 * time.Second

// New returns a simulator that is to be closed. cfg.BaseURL must be set for
// SNS messages: their certificate is served there.
func New(cfg sim.Config) (*Simulator, error) {
	s := &Simulator{
		cfg: cfg, tokens: map[string]token{}, confirm: map[string]string{}, switches: defaultSwitches(),
		meter: newLedger(),
		rnd:   mrand.New(mrand.NewPCG(cfg.Seed, 1)), // #nosec -- repeatable on purpose
	}
	if s.cfg.Log == nil {
		s.cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := json.Unmarshal(cfg.Raw, &s.listing); err != nil {
		return nil, fmt.Errorf("awssim: configuration: %w", err)
	}
	if s.listing.ProductCode == "" {
		return nil, errors.New("awssim: configuration: product_code is missing")
	}
	s.listing.Region = cmp.Or(s.listing.Region, "us-east-1")
	s.listing.ProductID = cmp.Or(s.listing.ProductID, "prod-"+s.listing.ProductCode)
	s.sender = sim.NewSender(cfg)
	s.queue = newQueue(cfg.Now, time.Duration(float64(hideMessages)/max(1, cfg.Compress)))
	s.mux = s.routes()
	return s, nil
}

// ServeHTTP serves the AWS services, the page and the control API.
func (s *Simulator) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Attempts returns what was delivered so far, oldest first.
func (s *Simulator) Attempts() []sim.Attempt { return s.sender.Attempts() }

// Wait returns when nothing is under way and the queue is empty.
func (s *Simulator) Wait(ctx context.Context) error {
	if err := s.sender.Wait(ctx); err != nil {
		return err
	}
	return s.queue.wait(ctx)
}

// Close stops all deliveries and waits for them.
func (s *Simulator) Close() error { return s.sender.Close() }

// Agreements returns copies of all agreements, oldest first: the truth that
// the program is to arrive at.
func (s *Simulator) Agreements() []Agreement {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Agreement, len(s.agreements))
	for i, a := range s.agreements {
		out[i] = *a
	}
	return out
}

// Confirmed returns the topics whose subscription the program confirmed.
func (s *Simulator) Confirmed() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.confirmed...)
}

// RotateKey makes SNS sign with a new key from now on.
func (s *Simulator) RotateKey() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.newKey()
	return err
}

func (s *Simulator) newKey() (*signer, error) {
	next, err := newSigner(s.cfg.Now())
	if err != nil {
		return nil, fmt.Errorf("awssim: %w", err)
	}
	s.signers = append(s.signers, next)
	return next, nil
}

// signer returns the key that SNS signs with now. Most runs need none, and it
// takes long to make.
func (s *Simulator) signer() (*signer, error) {
	if len(s.signers) == 0 {
		return s.newKey()
	}
	return s.signers[len(s.signers)-1], nil
}

// Set changes how the simulator behaves.
func (s *Simulator) Set(change func(*Switches)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.switches)
}

// hook is where the program takes this listing's callbacks.
func (s *Simulator) hook(endpoint string) string {
	return strings.TrimRight(s.cfg.Target, "/") + "/webhooks/" + string(s.cfg.Listing) + "/" + endpoint
}

// tick returns the time to stamp on the next event. EventBridge stamps whole
// seconds; what happens later gets a later one, so that it can be ordered.
func (s *Simulator) tick() time.Time {
	now := s.cfg.Now().UTC().Truncate(time.Second)
	if !now.After(s.lastEvent) {
		now = s.lastEvent.Add(time.Second)
	}
	s.lastEvent = now
	return now
}

// hexID returns a fresh id of n hexadecimal digits. It is not of the seed:
// purchases of one run must not look like those of the run before.
func hexID(n int) string {
	b := make([]byte, (n+1)/2)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)[:n]
}

func uuid() string {
	return fmt.Sprintf("%s-%s-4%s-8%s-%s", hexID(8), hexID(4), hexID(3), hexID(3), hexID(12))
}
