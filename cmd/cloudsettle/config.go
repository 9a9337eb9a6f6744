package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/v2"

	"cloudsettle/adapters"
	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/workspace"
)

// Config is cloudsettle.yaml. Every key can also be given as CLOUDSETTLE_KEY,
// nested keys with two underscores between them, lists as JSON.
type Config struct {
	Listen      string `koanf:"listen"`
	AdminListen string `koanf:"admin_listen"`
	PublicURL   string `koanf:"public_url"`
	Store       string `koanf:"store"`
	MasterKey   string `koanf:"master_key"`
	LogLevel    string `koanf:"log_level"`
	// MonthlyCloseDay is the day of a month on which the month before is closed,
	// PaymentDays how many days a monthly bill may be paid in.
	MonthlyCloseDay int              `koanf:"monthly_close_day"`
	PaymentDays     int              `koanf:"payment_days"`
	Brand           Brand            `koanf:"brand"`
	SMTP            SMTP             `koanf:"smtp"`
	Alerts          Alerts           `koanf:"alerts"`
	Sites           []Site           `koanf:"sites"`
	Listings        []map[string]any `koanf:"listings"`
}

// Brand is how the seller appears to its customers.
type Brand struct {
	Name         string `koanf:"name" json:"name"`
	SupportEmail string `koanf:"support_email" json:"support_email"`
}

// SMTP is the server that mail leaves through; without a host mail stays
// queued.
type SMTP struct {
	Host     string `koanf:"host" json:"host"`
	Port     int    `koanf:"port" json:"port"`
	Username string `koanf:"username" json:"username"`
	Password string `koanf:"password" json:"password"`
	From     string `koanf:"from" json:"from"`
}

// Alerts say who is told that usage is not accepted, and after how many hours
// without usage a subscription counts as silent.
type Alerts struct {
	Email       []string `koanf:"email" json:"email"`
	SilentHours int      `koanf:"silent_hours" json:"silent_hours"`
}

// The bounds of silent_hours: usage is reported by the hour, and looked for in
// a month at most.
const (
	leastSilentHours = 1
	mostSilentHours  = 31 * 24
)

func (a Alerts) validate() error {
	var errs []error
	for i, to := range a.Email {
		if !account.ValidEmail(to) {
			errs = append(errs, fmt.Errorf("alerts.email[%d]: %q is not an e-mail address", i, to))
		}
	}
	if a.SilentHours < leastSilentHours || a.SilentHours > mostSilentHours {
		errs = append(errs, fmt.Errorf("alerts.silent_hours: %d is not within %d to %d", a.SilentHours, leastSilentHours, mostSilentHours))
	}
	return errors.Join(errs...)
}

// Site is a regional deployment of the product.
type Site struct {
	Code     string `koanf:"code"`
	Name     string `koanf:"name"`
	TimeZone string `koanf:"time_zone"`
	Zone     string `koanf:"zone"` // of the price book
	Cloud    string `koanf:"cloud"`
}

// envPrefix is what variables of ours begin with. CLOUDSETTLE_SERVER,
// CLOUDSETTLE_API_KEY and CLOUDSETTLE_BOOTSTRAP_API_KEY are not configuration.
const envPrefix = "CLOUDSETTLE_"

var notConfig = []string{"SERVER", "API_KEY", "BOOTSTRAP_API_KEY", "CONFIG"}

// defaultListen is where a server listens that was not told where.
const defaultListen = "127.0.0.1:8080"

// defaults are for one machine behind a TLS proxy. public_url is http://listen
// by default.
var defaults = map[string]any{
	"listen":       defaultListen,
	"admin_listen": "127.0.0.1:8081",
	"store":        "bolt:data/cloudsettle.db",
	"master_key":   "file:data/master.key",
	"log_level":    "info",
	"brand.name":   "Cloudsettle", "brand.support_email": "support@example.com",
	"smtp.port": 587, "alerts.silent_hours": 24,

	"monthly_close_day": core.DefaultCloseDay,
	"payment_days":      core.DefaultPaymentDays,
}

// loadConfig reads path, if not empty, over base and the environment over both.
func loadConfig(path string, base map[string]any) (Config, error) {
	k := koanf.New(".")
	for _, m := range []map[string]any{defaults, base} {
		if err := k.Load(confmap.Provider(m, "."), nil); err != nil {
			return Config{}, err
		}
	}
	if path != "" {
		if err := k.Load(file.Provider(path), yaml.Parser()); err != nil {
			return Config{}, fmt.Errorf("config %s: %w", path, err)
		}
	}
	if err := k.Load(env.Provider(".", env.Opt{Prefix: envPrefix, TransformFunc: fromEnv}), nil); err != nil {
		return Config{}, err
	}
	var c Config
	conf := koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
		Result: &c, ErrorUnused: true, TagName: "koanf", WeaklyTypedInput: true,
	}}
	if err := k.UnmarshalWithConf("", &c, conf); err != nil {
		return Config{}, fmt.Errorf("config %s: %w", path, err)
	}
	if c.PublicURL == "" {
		c.PublicURL = "http://" + c.Listen
	}
	return c, nil
}

// fromEnv turns CLOUDSETTLE_BRAND__NAME into brand.name; values that are JSON
// lists become lists.
func fromEnv(name, value string) (string, any) {
	name = strings.TrimPrefix(name, envPrefix)
	if slices.Contains(notConfig, name) {
		return "", nil
	}
	key := strings.ToLower(strings.ReplaceAll(name, "__", "."))
	var list []any
	if strings.HasPrefix(value, "[") && json.Unmarshal([]byte(value), &list) == nil {
		return key, list
	}
	return key, value
}

// resolve replaces secret references in v: env:NAME and file:PATH. A missing
// variable is an empty value; adapters say whether they can do without.
func resolve(v any) (any, error) {
	switch v := v.(type) {
	case string:
		return secret(v)
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, item := range v {
			r, err := resolve(item)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			out[name] = r
		}
		return out, nil
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			r, err := resolve(item)
			if err != nil {
				return nil, fmt.Errorf("%d: %w", i, err)
			}
			out[i] = r
		}
		return out, nil
	}
	return v, nil
}

func secret(s string) (string, error) {
	if name, ok := strings.CutPrefix(s, "env:"); ok {
		return os.Getenv(name), nil
	}
	if path, ok := strings.CutPrefix(s, "file:"); ok {
		b, err := os.ReadFile(path) // #nosec -- the operator names the file
		return strings.TrimSpace(string(b)), err
	}
	return s, nil
}

// Validate reports every problem at once.
func (c Config) Validate(dev bool) error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for name, addr := range map[string]string{"listen": c.Listen, "admin_listen": c.AdminListen} {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			fail("%s: %w", name, err)
		}
	}
	if u, err := url.Parse(c.PublicURL); err != nil || u.Host == "" || strings.HasSuffix(c.PublicURL, "/") {
		fail("public_url: %q is not an address like https://billing.example.com", c.PublicURL)
	} else if u.Scheme != "https" && !dev && !isLoopback(u.Hostname()) {
		fail("public_url: marketplaces only call https addresses, not %q", c.PublicURL)
	}
	_, err := c.sites()
	errs = append(errs, err, c.Alerts.validate())
	if c.MonthlyCloseDay < 1 || c.MonthlyCloseDay > core.MaxCloseDay {
		fail("monthly_close_day: %d is not 1 to %d, a day that every month has", c.MonthlyCloseDay, core.MaxCloseDay)
	}
	if c.PaymentDays < 1 || c.PaymentDays > core.MaxPaymentDays {
		fail("payment_days: %d is not 1 to %d", c.PaymentDays, core.MaxPaymentDays)
	}
	if len(c.Listings) == 0 {
		fail("listings: none is configured")
	}
	seen := map[string]bool{}
	for i, l := range c.Listings {
		id, _ := l["id"].(string)
		switch {
		case !listingID(id):
			fail("listings[%d].id: %q must be lower-case letters, digits and dashes", i, id)
		case seen[id]:
			fail("listings[%d].id: %q is there twice", i, id)
		}
		seen[id] = true
		if _, err := c.settings(l); err != nil {
			fail("listings[%d]: %w", i, err)
		}
	}
	return errors.Join(errs...)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// listingID reports whether id can be a path element.
func listingID(id string) bool {
	return id != "" && len(id) <= 64 && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// sites returns the sites with their time zones, or every problem with them.
func (c Config) sites() ([]workspace.Site, error) {
	var out []workspace.Site
	var errs []error
	for i, s := range c.Sites {
		zone, err := time.LoadLocation(s.TimeZone)
		if err != nil || s.Code == "" {
			errs = append(errs, fmt.Errorf("sites[%d]: needs a code and a known time_zone, not %q", i, s.TimeZone))
			continue
		}
		out = append(out, workspace.Site{Code: s.Code, Cloud: marketplace.Provider(s.Cloud), Zone: zone, Prices: s.Zone})
	}
	return out, errors.Join(errs...)
}

// listing is what the program itself reads of a listing's configuration.
type listing struct {
	ID        marketplace.ListingID
	Provider  marketplace.Provider
	Currency  string
	OnRelease workspace.Release
	Raw       json.RawMessage // all of it, secrets resolved
}

func (c Config) settings(l map[string]any) (listing, error) {
	r, err := resolve(l)
	if err != nil {
		return listing{}, err
	}
	raw, err := json.Marshal(r)
	if err != nil {
		return listing{}, err
	}
	str := func(key string) string { s, _ := l[key].(string); return s }
	out := listing{
		ID: marketplace.ListingID(str("id")), Provider: marketplace.Provider(str("provider")),
		Currency: str("currency"), OnRelease: workspace.Release(str("on_release")), Raw: raw,
	}
	if !adapters.Known(out.Provider) {
		return out, fmt.Errorf("provider: %q is not one of %s", out.Provider, strings.Join(adapters.Names(), ", "))
	}
	switch out.OnRelease {
	case "", workspace.Lock, workspace.SettleByWallet:
		return out, nil
	}
	return out, fmt.Errorf("on_release: %q is neither %s nor %s", out.OnRelease, workspace.Lock, workspace.SettleByWallet)
}
