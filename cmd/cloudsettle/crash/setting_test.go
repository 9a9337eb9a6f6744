package crash

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"cloudsettle/adapters"
	"cloudsettle/core"
	"cloudsettle/core/id"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/money"
	"cloudsettle/core/workspace"
)

// setting is the configuration that a victim and the test share.
type setting struct {
	PublicURL string
	Listings  []listing
}

// listing is the configuration of one marketplace.
type listing map[string]any

func (l listing) text(key string) string         { s, _ := l[key].(string); return s }
func (l listing) id() string                     { return l.text("id") }
func (l listing) provider() marketplace.Provider { return marketplace.Provider(l.text("provider")) }
func (l listing) currency() money.Currency       { return money.Currency(l.text("currency")) }

// listings are the three marketplaces, with units that leave fractions to
// carry, and several records to a call.
func listings() []listing {
	return []listing{
		{
			"id": "aws-main", "provider": "aws", "product_code": "aw4fgf5tyo5w2ap6fexample", "region": "us-east-1",
			"access_key_id": "AKIDEXAMPLE", "secret_access_key": "secret", "event_api_key": "event-key-0001",
			"model": "subscription", "currency": "USD", "on_release": "lock",
			"metering": map[string]any{"dimension": "usage_fee", "unit_amount": "0.07"},
		},
		{
			"id": "ali-cn", "provider": "alibaba", "site": "cn", "product_code": "cmgj00012345", "spi_key": "spi-key-0001",
			"access_key_id": "ak", "access_key_secret": "sk", "currency": "CNY", "on_release": "settle_by_wallet",
			"metering": map[string]any{"key": "Unit", "assist": "cmgj00012345-Unit-1", "unit_amount": "0.03", "batch": 10},
		},
		{
			"id": "hw-cn", "provider": "huawei", "site": "cn", "product_code": "OFFI1", "key": "hw-key-0001",
			"access_key_id": "ak", "secret_access_key": "sk", "currency": "CNY", "on_release": "lock",
			"metering": map[string]any{"unit_amount": "0.01", "rate": 50},
		},
	}
}

// sites are where workspaces are, each on one of the clouds.
func sites() []workspace.Site {
	beijing := time.FixedZone("Beijing", 8*60*60)
	return []workspace.Site{
		{Code: "cn1", Cloud: "alibaba", Zone: beijing, Prices: "CN"},
		{Code: "cn4", Cloud: "huawei", Zone: beijing, Prices: "CN"},
		{Code: "us1", Cloud: "aws", Zone: time.UTC, Prices: "INTL"},
	}
}

// siteOf is where the customers of each listing are.
var siteOf = map[string]string{"aws-main": "us1", "ali-cn": "cn1", "hw-cn": "cn4"}

// open opens the adapters.
func (s setting) open(now func() time.Time) ([]core.Marketplace, error) {
	var out []core.Marketplace
	var errs []error
	for _, l := range s.Listings {
		raw, err := json.Marshal(l)
		errs = append(errs, err)
		m, err := adapters.Open(core.Listing{
			ID: marketplace.ListingID(l.id()), Provider: l.provider(), Currency: string(l.currency()),
			OnRelease: workspace.Release(l.text("on_release")),
		}, core.Settings{
			Listing: marketplace.ListingID(l.id()), Raw: raw, PublicURL: s.PublicURL, Now: now,
			Log: slog.New(slog.DiscardHandler), Dev: true,
		})
		out, errs = append(out, m), append(errs, err)
	}
	return out, errors.Join(errs...)
}

// simulated is what the simulator of l is started with.
func (l listing) simulated() (adapters.SimConfig, error) {
	raw, err := json.Marshal(l)
	return adapters.SimConfig{Listing: marketplace.ListingID(l.id()), Raw: raw}, err
}

// newService is a service on a store, as the program makes it.
func newService(st core.Store, shared bool, markets []core.Marketplace, now func() time.Time) *core.Service {
	return core.NewService(core.Config{
		Store: st, Marketplaces: markets, Sites: sites(), Mailer: nowhere{}, Now: now,
		NewID: id.NewGenerator(now).New, Log: slog.New(slog.DiscardHandler), LinkKey: make([]byte, 32), Brand: "Test",
		Shared: shared,
	})
}

// nowhere is where mails go.
type nowhere struct{}

func (nowhere) Send(context.Context, core.Mail) error { return nil }
