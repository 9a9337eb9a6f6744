package huawei

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/money"
	"cloudsettle/core/workspace"
)

// provider is the short name of this marketplace.
const provider marketplace.Provider = "huawei"

// Defaults of the configuration.
const (
	// defaultMaxSkew is what the documentation of version 2 allows.
	defaultMaxSkew = time.Minute
	// defaultV1MaxSkew is generous: version 1 documents no window, and every
	// fact of it may be repeated without harm.
	defaultV1MaxSkew = 24 * time.Hour
	// longestMaxSkew is half of how long nonces are kept: one that is forgotten
	// must belong to a callback that is too old anyway.
	longestMaxSkew = 5 * time.Minute
	// longestV1MaxSkew is a limit for the sake of having one.
	longestV1MaxSkew = 7 * 24 * time.Hour
)

// Config is a listing's configuration. Secrets are in plain text.
type Config struct {
	ID       marketplace.ListingID `json:"id"`
	Provider marketplace.Provider  `json:"provider"`
	// Site is the KooGallery that sells it: cn, intl or eu.
	Site string `json:"site"`
	// ProductCode names the product in the seller's console; callbacks do not
	// carry it.
	ProductCode string `json:"product_code"`
	// ProductIDs are the productId and skuCode values that belong to the
	// listing. A purchase of anything else is refused; empty accepts all.
	ProductIDs []string `json:"product_ids"`

	// Key is the interconnection key bound to the production URL, KeyPrevious
	// the one before it while it is being replaced, OrderNotifyKey the one bound
	// to the order notification interface, which must be another.
	Key            string `json:"key"`
	KeyPrevious    string `json:"key_previous"`
	OrderNotifyKey string `json:"order_notify_key"`
	// EncryptType is the size of the key for encrypted fields of version 1 that
	// is chosen in the console: 1 is 256 bits, 2 is 128. The other is tried too.
	EncryptType string `json:"encrypt_type"`

	AccessKeyID     string `json:"access_key_id"`
	SecretAccessKey string `json:"secret_access_key"`
	// Endpoint overrides the site's address of the open API.
	Endpoint string `json:"endpoint"`

	// MaxSkew is how far the timestamp of a version 2 callback may be off,
	// V1MaxSkew the same for version 1.
	MaxSkew   duration `json:"max_skew"`
	V1MaxSkew duration `json:"v1_max_skew"`
	// TimeZone is the zone of expireTime in version 1 and in Query order, where
	// the documentation names none.
	TimeZone string `json:"time_zone"`

	Currency  string            `json:"currency"`
	OnRelease workspace.Release `json:"on_release"`
	Metering  Metering          `json:"metering"`
}

// duration reads Go's notation of durations, such as "60s".
type duration time.Duration

// UnmarshalText parses a duration; an empty one is "not stated".
func (d *duration) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	v, err := time.ParseDuration(string(b))
	*d = duration(v)
	return err
}

// Adapter speaks KooGallery's dialect for one listing. It is safe for
// concurrent use.
type Adapter struct {
	cfg       Config
	listing   core.Listing
	publicURL string
	secrets   []secret // the key to sign answers with comes first
	zone      *time.Location
	orders    *orders
}

var (
	_ core.Adapter   = (*Adapter)(nil)
	_ core.Completer = (*Adapter)(nil)
)

// Open returns the marketplace of one listing. It makes no calls. Its error
// names every problem of the configuration.
func Open(s core.Settings) (core.Marketplace, error) {
	cfg, err := decode(s.Raw)
	if err != nil {
		return core.Marketplace{}, err
	}
	zone, err := cfg.validate(s)
	if err != nil {
		return core.Marketplace{}, err
	}
	api, err := newOpenAPI(cfg, s.Now)
	if err != nil {
		return core.Marketplace{}, err
	}
	listing := core.Listing{
		ID: s.Listing, Provider: cfg.Provider, Currency: cfg.Currency, OnRelease: cfg.OnRelease,
	}
	a := &Adapter{
		cfg: cfg, listing: listing, publicURL: strings.TrimSuffix(s.PublicURL, "/"),
		secrets: cfg.secrets(), zone: zone, orders: &orders{api},
	}
	return core.Marketplace{
		Listing: listing,
		Adapter: a, Completer: a, Meter: newMeter(s.Listing, cfg, api),
	}, nil
}

// decode reads the configuration strictly and fills in the defaults.
func decode(raw json.RawMessage) (Config, error) {
	var c Config
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, fmt.Errorf("huawei: configuration: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return c, errors.New("huawei: configuration: more than one JSON value")
	}
	c.Provider = cmp.Or(c.Provider, provider)
	c.Site = cmp.Or(c.Site, "cn")
	c.EncryptType = cmp.Or(c.EncryptType, "1")
	c.TimeZone = cmp.Or(c.TimeZone, "UTC")
	c.OnRelease = cmp.Or(c.OnRelease, workspace.Lock)
	c.MaxSkew = cmp.Or(c.MaxSkew, duration(defaultMaxSkew))
	c.V1MaxSkew = cmp.Or(c.V1MaxSkew, duration(defaultV1MaxSkew))
	c.Currency = cmp.Or(c.Currency, currency(c.Site))
	return c, nil
}

// currency returns what orders of a site are priced in.
func currency(site string) string {
	switch site {
	case "intl":
		return "USD"
	case "eu":
		return "EUR"
	default:
		return "CNY"
	}
}

// endpoints returns the addresses of a site's open API in the order they are
// tried; the second is the documented fallback.
func (c Config) endpoints() []string {
	switch {
	case c.Endpoint != "":
		return []string{strings.TrimSuffix(c.Endpoint, "/")}
	case c.Site == "intl":
		return []string{"https://mkt-intl.myhuaweicloud.com", "https://mkt.myhuaweicloud.cn"}
	case c.Site == "eu":
		return []string{"https://mkt.myhuaweicloud.eu"}
	default:
		return []string{"https://mkt.myhuaweicloud.com", "https://mkt.myhuaweicloud.cn"}
	}
}

func (c Config) secrets() []secret {
	out := []secret{{key: c.Key, fields: newFieldCipher(c.Key, c.EncryptType)}}
	if c.KeyPrevious != "" {
		out = append(out, secret{key: c.KeyPrevious, fields: newFieldCipher(c.KeyPrevious, c.EncryptType)})
	}
	if c.OrderNotifyKey != "" {
		out = append(out, secret{key: c.OrderNotifyKey, notifyOnly: true})
	}
	return out
}

// validate finds all problems at once and returns the zone.
func (c Config) validate(s core.Settings) (*time.Location, error) {
	zone, err := time.LoadLocation(c.TimeZone)
	return zone, errors.Join(
		fault(err != nil, "time_zone: %q is not known", c.TimeZone),
		fault(c.ID != "" && c.ID != s.Listing, "id: %q is not the listing %q", c.ID, s.Listing),
		fault(c.Provider != provider, "provider: %q is not %s", c.Provider, provider),
		fault(!slices.Contains([]string{"cn", "intl", "eu"}, c.Site),
			"site: %q is not cn, intl or eu", c.Site),
		fault(c.EncryptType != "1" && c.EncryptType != "2", "encrypt_type: %q is not 1 or 2", c.EncryptType),
		fault(!c.MaxSkew.upTo(longestMaxSkew), "max_skew: not between 1s and %s", longestMaxSkew),
		fault(!c.V1MaxSkew.upTo(longestV1MaxSkew), "v1_max_skew: not between 1s and %s", longestV1MaxSkew),
		fault(!money.Currency(c.Currency).Valid(), "currency: %q is not three capital letters", c.Currency),
		fault(c.OnRelease != workspace.SettleByWallet && c.OnRelease != workspace.Lock,
			"on_release: %q is not %s or %s", c.OnRelease, workspace.SettleByWallet, workspace.Lock),
		c.Metering.validate(),
		fault(!reachable(c.Endpoint, s.Dev), "endpoint: %q is not an https:// address", c.Endpoint),
		fault(s.PublicURL == "", "public_url: missing"),
		fault(s.Now == nil, "settings: no clock"),
		c.validateKeys(),
	)
}

func (c Config) validateKeys() error {
	return errors.Join(
		fault(c.Key == "", "key: missing"),
		fault(c.KeyPrevious != "" && c.KeyPrevious == c.Key, "key_previous: the same as key"),
		fault(c.OrderNotifyKey != "" && c.OrderNotifyKey == c.Key, "order_notify_key: the same as key"),
		fault(c.AccessKeyID == "", "access_key_id: missing"),
		fault(c.SecretAccessKey == "", "secret_access_key: missing"),
	)
}

func fault(wrong bool, format string, args ...any) error {
	if !wrong {
		return nil
	}
	return fmt.Errorf("huawei: configuration: "+format, args...)
}

// upTo reports whether d makes sense as a window and is not longer than limit.
func (d duration) upTo(limit time.Duration) bool {
	return time.Duration(d) >= time.Second && time.Duration(d) <= limit
}

// reachable reports whether endpoint is empty or an address that may be called:
// orders name people, so plain HTTP is for simulators only.
func reachable(endpoint string, dev bool) bool {
	if endpoint == "" {
		return true
	}
	u, err := url.Parse(endpoint)
	return err == nil && u.Host != "" && (u.Scheme == "https" || dev && u.Scheme == "http")
}
