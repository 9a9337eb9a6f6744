package alibaba

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/workspace"
)

// Provider is the short name of this marketplace.
const Provider marketplace.Provider = "alibaba"

// The sites. Accounts, keys and hosts of one do not work on the other.
const (
	siteChina         = "cn"
	siteInternational = "intl"
)

// Defaults of the configuration.
const (
	defaultTimeZone     = "Asia/Shanghai"
	defaultSSOWindow    = 5 * time.Minute  // the protocol leaves the choice to the seller
	defaultPollInterval = 10 * time.Minute // parked messages are 8½ hours old already
	minPollInterval     = time.Second      // the API's own limits are not published
	maxSSOWindow        = 24 * time.Hour   // longer, and nonces would not be remembered
)

// beijing is the default zone, without need of a zone database. China has no
// daylight saving time since 1991.
var beijing = time.FixedZone(defaultTimeZone, 8*60*60)

// Config is the configuration of one listing.
type Config struct {
	ID          string `json:"id"`
	Provider    string `json:"provider"`
	Site        string `json:"site"` // cn (default) or intl
	ProductCode string `json:"product_code"`

	// SPIKey signs callbacks. SPIKeyPrevious is accepted beside it while the
	// key is being changed.
	SPIKey         string `json:"spi_key"`
	SPIKeyPrevious string `json:"spi_key_previous"`

	// AccessKeyID and AccessKeySecret sign our calls; without them nothing is
	// pulled. Endpoint overrides the site's API host: a host, or a URL.
	AccessKeyID     string `json:"access_key_id"`
	AccessKeySecret string `json:"access_key_secret"`
	Endpoint        string `json:"endpoint"`
	PollInterval    string `json:"poll_interval"` // of the feed, as a Go duration

	Currency  string            `json:"currency"` // default CNY or USD, by site
	OnRelease workspace.Release `json:"on_release"`
	Metering  Metering          `json:"metering"`

	// TimeZone is the zone of times on the wire.
	TimeZone string `json:"time_zone"`
	// QuantityItem is the billing item that holds the quantity. Without it
	// AccountQuantity and Count are looked for.
	QuantityItem string `json:"quantity_item"`
	// SSOWindow is how far the timeStamp of verify may be off, as a Go duration.
	SSOWindow string `json:"sso_window"`
	// SuccessAsString answers "true" instead of true.
	SuccessAsString bool `json:"success_as_string"`
	// OrderByArrival ignores that order ids grow with time (inferred) and orders
	// upgrades by their arrival.
	OrderByArrival bool `json:"order_by_arrival"`
	// Notes are shown to the buyer beside the purchase.
	Notes string `json:"notes"`
}

const defaultNotes = "Open the front-end address to connect this purchase with your account."

// Adapter receives and answers the callbacks of one listing. It is safe for
// concurrent use.
type Adapter struct {
	listing     marketplace.ListingID
	productCode string
	keys        []string // the current one first
	zone        *time.Location
	ssoWindow   time.Duration
	quantity    []string // billing items that may hold the quantity, best first
	byArrival   bool
	now         func() time.Time

	publicURL string
	authURL   string
	notes     *info
	asString  bool
	succeeded []byte // the answer to everything that simply went well
}

var _ core.Adapter = (*Adapter)(nil)

// Open returns the marketplace of one listing. It reports all problems of the
// configuration at once, and calls nobody.
func Open(s core.Settings) (core.Marketplace, error) {
	c, err := decode(s.Raw)
	if err != nil {
		return core.Marketplace{}, fmt.Errorf("alibaba: configuration of %q: %w", s.Listing, err)
	}
	p, err := c.check(s)
	if err != nil {
		return core.Marketplace{}, fmt.Errorf("alibaba: configuration of %q: %w", s.Listing, err)
	}
	a := newAdapter(s, c, p)
	m := core.Marketplace{
		Listing: core.Listing{
			ID: s.Listing, Provider: Provider, Currency: c.Currency, OnRelease: c.OnRelease,
		},
		Adapter: a,
	}
	if c.AccessKeyID == "" {
		return m, nil
	}
	api := newClient(c, p.endpoint)
	m.Feed = &feed{
		adapter: a, client: api, log: cmp.Or(s.Log, slog.New(slog.DiscardHandler)),
		interval: p.pollInterval,
	}
	if c.Metering != (Metering{}) {
		m.Meter = newMeter(s, c, p, api)
	}
	return m, nil
}

func newAdapter(s core.Settings, c Config, p parsed) *Adapter {
	a := &Adapter{
		listing: s.Listing, productCode: c.ProductCode, keys: []string{c.SPIKey},
		zone: p.zone, ssoWindow: p.ssoWindow, byArrival: c.OrderByArrival, now: s.Now,
		quantity:  []string{"AccountQuantity", "Count"},
		publicURL: strings.TrimRight(s.PublicURL, "/"),
		notes:     &info{c.Notes}, asString: c.SuccessAsString,
	}
	if c.SPIKeyPrevious != "" {
		a.keys = append(a.keys, c.SPIKeyPrevious)
	}
	if c.QuantityItem != "" {
		a.quantity = []string{c.QuantityItem}
	}
	a.authURL = a.publicURL + "/webhooks/" + url.PathEscape(string(s.Listing)) + "/sso"
	a.succeeded = encode(a.answer(true, ""))
	return a
}

// decode reads the configuration strictly and fills in the defaults.
func decode(raw json.RawMessage) (Config, error) {
	var c Config
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return Config{}, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Config{}, errors.New("more than one JSON value")
	}
	c.setDefaults()
	return c, nil
}

func (c *Config) setDefaults() {
	c.Site = cmp.Or(c.Site, siteChina)
	c.TimeZone = cmp.Or(c.TimeZone, defaultTimeZone)
	c.OnRelease = cmp.Or(c.OnRelease, workspace.SettleByWallet)
	c.SSOWindow = cmp.Or(c.SSOWindow, defaultSSOWindow.String())
	c.PollInterval = cmp.Or(c.PollInterval, defaultPollInterval.String())
	c.Notes = cmp.Or(c.Notes, defaultNotes)
	if c.Currency == "" {
		c.Currency = map[string]string{siteChina: "CNY", siteInternational: "USD"}[c.Site]
	}
	if c.Metering != (Metering{}) {
		c.Metering.setDefaults(c.Site)
	}
}

// parsed are the values of a configuration that are more than text.
type parsed struct {
	zone                    *time.Location
	ssoWindow, pollInterval time.Duration
	endpoint                endpoint
	metering                meteringSettings
}

var currencyPattern = regexp.MustCompile(`^[A-Z]{3}$`)

// check validates everything that decode could not.
func (c Config) check(s core.Settings) (parsed, error) {
	var p parsed
	var errs []error
	problem := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	problem(c.ID != "" && c.ID != string(s.Listing), "id: is %q", c.ID)
	problem(c.Provider != "" && c.Provider != string(Provider), "provider: is %q", c.Provider)
	problem(c.Site != siteChina && c.Site != siteInternational, "site: %q is neither cn nor intl", c.Site)
	problem(c.ProductCode == "", "product_code: missing")
	problem(c.SPIKey == "", "spi_key: missing")
	problem((c.AccessKeyID == "") != (c.AccessKeySecret == ""),
		"access_key_id, access_key_secret: one without the other")
	problem(!currencyPattern.MatchString(c.Currency), "currency: %q is not three capital letters", c.Currency)
	problem(c.OnRelease != workspace.SettleByWallet && c.OnRelease != workspace.Lock,
		"on_release: %q is neither settle_by_wallet nor lock", c.OnRelease)
	u, err := url.Parse(s.PublicURL)
	problem(err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https",
		"public_url: %q is not an absolute http or https URL", s.PublicURL)
	problem(s.Now == nil, "settings: no clock")

	p.endpoint, err = parseEndpoint(c.Endpoint, siteEndpoint(c.Site), s.Dev)
	problem(err != nil, "endpoint: %w", err)
	p.zone, err = zone(c.TimeZone)
	problem(err != nil, "time_zone: %w", err)
	p.ssoWindow, err = duration(c.SSOWindow, time.Second, maxSSOWindow)
	problem(err != nil, "sso_window: %w", err)
	p.pollInterval, err = duration(c.PollInterval, minPollInterval, 24*time.Hour)
	problem(err != nil, "poll_interval: %w", err)
	p.metering, err = c.parseMetering(p, s.Dev)
	return p, errors.Join(append(errs, err)...)
}

func zone(name string) (*time.Location, error) {
	if name == defaultTimeZone {
		return beijing, nil
	}
	return time.LoadLocation(name)
}

func duration(text string, least, most time.Duration) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err == nil && (d < least || d > most) {
		err = fmt.Errorf("%s is not between %s and %s", d, least, most)
	}
	return d, err
}

// endpoint is where our calls go.
type endpoint struct {
	scheme, host, region string
}

// siteEndpoint returns the host of the API that both sites have. The SDK's own
// default would be plain HTTP, and its table of hosts lacks regions, so both
// are always stated.
func siteEndpoint(site string) endpoint {
	if site == siteInternational {
		return endpoint{"https", "market.ap-southeast-1.aliyuncs.com", "ap-southeast-1"}
	}
	return endpoint{"https", "market.aliyuncs.com", "cn-hangzhou"}
}

// parseEndpoint returns e, or what text names instead. Plain HTTP is for
// simulators: usage and access key ids would travel in clear.
func parseEndpoint(text string, e endpoint, dev bool) (endpoint, error) {
	if text == "" {
		return e, nil
	}
	named := text
	if !strings.Contains(text, "://") {
		text = "https://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/")+u.RawQuery != "" {
		return e, fmt.Errorf("%q is neither a host nor a URL without a path", named)
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !dev && !loopback(u.Hostname())) {
		return e, fmt.Errorf("%q: plain HTTP is for simulators on this machine", named)
	}
	e.scheme, e.host = u.Scheme, u.Host
	return e, nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && net.IP(ip.AsSlice()).IsLoopback()
}
