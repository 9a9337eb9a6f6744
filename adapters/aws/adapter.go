package aws

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"time"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/workspace"
)

// Provider is the name of this marketplace.
const Provider marketplace.Provider = "aws"

// Config is one listing's configuration. Secrets are resolved already.
type Config struct {
	ID       marketplace.ListingID `json:"id"`
	Provider marketplace.Provider  `json:"provider"`
	Site     string                `json:"site"`

	ProductCode string `json:"product_code"`
	// ProductID ("prod-…") is optional; agreement events of other products that
	// name theirs are then ignored instead of kept waiting.
	ProductID string `json:"product_id"`
	// Model says whether entitlements are bought up front.
	Model Model `json:"model"`

	// Identity says what a purchase is known by.
	Identity Identity `json:"identity"`

	// Region is where metering and the queue are; us-east-1 if empty.
	Region string `json:"region"`
	// Endpoint replaces every AWS endpoint, for simulators.
	Endpoint        string `json:"endpoint"`
	AccessKeyID     string `json:"access_key_id"`
	SecretAccessKey string `json:"secret_access_key"`

	// EventAPIKey is what the EventBridge connection sends as x-api-key; empty
	// refuses every pushed event. The previous key is accepted too while AWS
	// and this program change it.
	EventAPIKey         string `json:"event_api_key"`
	EventAPIKeyPrevious string `json:"event_api_key_previous"`

	// SNSTopics are the ARNs whose messages are accepted; empty refuses all
	// messages over HTTP.
	SNSTopics []string `json:"sns_topics"`
	// SNSDomains are the domains of SNS: amazonaws.com and amazonaws.com.cn if
	// empty. Isolated partitions and the European cloud have others.
	SNSDomains []string `json:"sns_domains"`
	// SigningCertChain is "leaf" or "full", see the constants.
	SigningCertChain string `json:"signing_cert_chain"`
	// SigningCertIntermediates are PEM certificates that complete the chain.
	SigningCertIntermediates string `json:"signing_cert_intermediates"`
	// SigningCertHosts are hosts of simulators, accepted with --dev only.
	SigningCertHosts []string `json:"signing_cert_hosts"`

	// SQSQueueURL is a queue to read events from, besides what is pushed.
	SQSQueueURL string `json:"sqs_queue_url"`

	// SupportEmail is shown to buyers on pages that tell of a problem.
	SupportEmail string `json:"support_email"`

	Currency  string            `json:"currency"`
	OnRelease workspace.Release `json:"on_release"`
	Metering  Metering          `json:"metering"`
}

// Metering says what one metered unit is. Without any key the listing is not
// metered.
type Metering struct {
	Dimension  string `json:"dimension"`   // the API identifier of the dimension
	UnitAmount string `json:"unit_amount"` // what one unit costs, a decimal in Currency
	// WindowHours is how old usage may be, 2 to 24: 24 since July 2026, and less
	// in pages and samples from before.
	WindowHours int `json:"window_hours"`
	// ReportZero reports hours without usage as zero, as AWS recommends (Seller
	// Guide "metering-for-usage"). Nothing more can then be reported for them.
	ReportZero bool `json:"report_zero"`
}

// Model is the pricing model of a listing (Seller Guide "saas-pricing-models").
type Model string

// The pricing models. Only contracts have entitlements; usage-based products
// must not ask for them.
const (
	Subscription            Model = "subscription"
	Contract                Model = "contract"
	ContractWithConsumption Model = "contract_with_consumption"
)

// Identity says what a purchase is known by.
type Identity string

// The identities. A license is the rule. Listings from before Concurrent
// Agreements that are told through SNS hear of customers only, and a customer
// who subscribes again gets another license: there license and agreement events
// only repeat what SNS says, and are noted.
const (
	ByLicense  Identity = "license"
	ByCustomer Identity = "customer"
)

// Values of signing_cert_chain. The file behind a SigningCertURL has been seen
// to hold the leaf alone (go.sns issue 8, 2023), whose issuer is in no root
// store: then the TLS connection to the SNS host vouches for it. Full insists
// on a chain to the system's roots, through the intermediates configured.
const (
	chainLeaf = "leaf"
	chainFull = "full"
)

const defaultRegion = "us-east-1"

// Adapter receives the callbacks of one listing.
type Adapter struct {
	cfg     Config
	listing marketplace.ListingID
	now     func() time.Time
	log     *slog.Logger

	keys  [][sha256.Size]byte // digests of accepted API keys
	urls  urlRules
	certs *certCache
	cloud cloud
	meter *meter // nil if the listing is not metered
}

var (
	_ core.Adapter   = (*Adapter)(nil)
	_ core.Completer = (*Adapter)(nil)
	_ core.Feed      = (*feed)(nil)
)

// Open returns the marketplace of one listing. It makes no connection. All
// problems of the configuration are reported at once.
func Open(s core.Settings) (core.Marketplace, error) {
	a, err := open(s)
	if err != nil {
		return core.Marketplace{}, err
	}
	return a.marketplace(), nil
}

func (a *Adapter) marketplace() core.Marketplace {
	m := core.Marketplace{
		Listing: core.Listing{
			ID: a.listing, Provider: Provider,
			Currency: a.cfg.Currency, OnRelease: a.cfg.OnRelease,
		},
		Adapter: a,
	}
	if a.cfg.Model != Subscription {
		m.Completer = a
	}
	if a.meter != nil {
		m.Meter = a.meter
	}
	if a.cfg.SQSQueueURL != "" {
		m.Feed = &feed{listing: a.listing, queue: a.cfg.SQSQueueURL, sqs: a.cloud.sqs, now: a.now, log: a.log}
	}
	return m
}

func open(s core.Settings) (*Adapter, error) {
	cfg, err := decodeConfig(s.Raw)
	if err != nil {
		return nil, fmt.Errorf("aws: listing %s: %w", s.Listing, err)
	}
	if err := cfg.validate(s); err != nil {
		return nil, fmt.Errorf("aws: listing %s: %w", s.Listing, err)
	}
	certs, err := newCertCache(cfg, s.Now)
	if err != nil {
		return nil, fmt.Errorf("aws: listing %s: %w", s.Listing, err)
	}
	// The SDK asks for a context to read its own configuration files; nobody
	// waits for it but the start of the program.
	cloud, err := newCloud(context.Background(), cfg)
	if err != nil {
		return nil, fmt.Errorf("aws: listing %s: %w", s.Listing, err)
	}
	meter, err := newMeter(cfg, s.Listing, s.Now, cloud.metering)
	if err != nil {
		return nil, fmt.Errorf("aws: listing %s: %w", s.Listing, err)
	}
	a := &Adapter{
		cfg: cfg, listing: s.Listing, now: s.Now, log: cmp.Or(s.Log, slog.New(slog.DiscardHandler)),
		urls: newURLRules(cfg), certs: certs, cloud: cloud, meter: meter,
	}
	for _, key := range []string{cfg.EventAPIKey, cfg.EventAPIKeyPrevious} {
		if key != "" {
			a.keys = append(a.keys, sha256.Sum256([]byte(key)))
		}
	}
	return a, nil
}

func decodeConfig(raw json.RawMessage) (Config, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	var cfg Config
	if err := dec.Decode(&cfg); err != nil {
		return Config{}, fmt.Errorf("configuration: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Config{}, errors.New("configuration: more than one JSON value")
	}
	cfg.Region = cmp.Or(cfg.Region, defaultRegion)
	cfg.Model = cmp.Or(cfg.Model, Subscription)
	cfg.Identity = cmp.Or(cfg.Identity, ByLicense)
	cfg.SigningCertChain = cmp.Or(cfg.SigningCertChain, chainLeaf)
	if cfg.Metering.wanted() {
		cfg.Metering.WindowHours = cmp.Or(cfg.Metering.WindowHours, mostWindowHours)
	}
	if len(cfg.SNSDomains) == 0 {
		cfg.SNSDomains = []string{"amazonaws.com", "amazonaws.com.cn"}
	}
	return cfg, nil
}

// What configured names may look like.
var (
	productCode = regexp.MustCompile(`^[-a-zA-Z0-9/=:_.@]{1,255}$`) // API Reference, ResolveCustomer
	topicARN    = regexp.MustCompile(`^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_.-]{1,256}$`)
	domain      = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)+$`)
)

func (c Config) validate(s core.Settings) error {
	return errors.Join(
		check(c.ID == "" || c.ID == s.Listing, "id: %q is not the listing's", c.ID),
		check(c.Provider == "" || c.Provider == Provider, "provider: %q is not aws", c.Provider),
		check(productCode.MatchString(c.ProductCode), "product_code: %q is not a product code", c.ProductCode),
		check(slices.Contains([]Model{Subscription, Contract, ContractWithConsumption}, c.Model),
			"model: %q is none of subscription, contract, contract_with_consumption", c.Model),
		check(c.Identity == ByLicense || c.Identity == ByCustomer,
			"identity: %q is neither license nor customer", c.Identity),
		check((c.AccessKeyID == "") == (c.SecretAccessKey == ""),
			"access_key_id and secret_access_key: set both or neither"),
		check(c.EventAPIKeyPrevious == "" || c.EventAPIKey != "",
			"event_api_key_previous: set without event_api_key"),
		check(c.SigningCertChain == chainLeaf || c.SigningCertChain == chainFull,
			"signing_cert_chain: %q is neither leaf nor full", c.SigningCertChain),
		check(len(c.SigningCertHosts) == 0 || s.Dev,
			"signing_cert_hosts: accepted only with --dev: whoever runs those hosts can forge messages"),
		checkEach("sns_topics", c.SNSTopics, topicARN),
		checkEach("sns_domains", c.SNSDomains, domain),
		checkURL("endpoint", c.Endpoint),
		checkURL("sqs_queue_url", c.SQSQueueURL),
		c.Metering.validate(c.Currency),
		check(s.Now != nil, "no clock"),
	)
}

func check(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(format, args...)
}

func checkEach(key string, values []string, form *regexp.Regexp) error {
	var errs []error
	for _, v := range values {
		errs = append(errs, check(form.MatchString(v), "%s: %q does not look like one", key, v))
	}
	return errors.Join(errs...)
}

func checkURL(key, value string) error {
	ok := value == "" || strings.HasPrefix(value, "https://") || strings.HasPrefix(value, "http://")
	return check(ok, "%s: %q is not an http or https URL", key, value)
}
