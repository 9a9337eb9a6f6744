package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"cloudsettle/adapters"
	"cloudsettle/console/dev"
	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/pricing/example"
	"cloudsettle/core/workspace"
)

// devTools are what --dev adds.
type devTools struct {
	inbox *dev.Inbox
	clock *dev.Clock
}

func newDevTools() *devTools {
	clock := dev.NewClock(time.Now)
	return &devTools{inbox: dev.NewInbox(clock.Now), clock: clock}
}

// devKeyFile holds the operator key of the demo, for the command line.
const devKeyFile = "data/dev-api-key"

// devCompress makes an hour of a marketplace's retry schedule a minute.
const devCompress = 60

// isDemo reports whether the demo's own configuration is in effect: nobody
// configured listings.
func isDemo(config string) bool {
	return config == "" && os.Getenv(envPrefix+"LISTINGS") == ""
}

// devBase is the configuration of serve --dev without a file: each marketplace
// once, played by its simulator on this machine. The keys are for nothing else.
func devBase(config string) map[string]any {
	if !isDemo(config) {
		return nil
	}
	return map[string]any{
		"alerts.email": []any{"oncall@example.com"},
		"sites": []any{
			map[string]any{"code": "cn1", "name": "China 1", "time_zone": "Asia/Shanghai", "zone": "CN", "cloud": "alibaba"},
			map[string]any{"code": "cn4", "name": "China 4", "time_zone": "Asia/Shanghai", "zone": "CN", "cloud": "huawei"},
			map[string]any{"code": "us1", "name": "US 1", "time_zone": "UTC", "zone": "INTL", "cloud": "aws"},
		},
		"listings": []any{
			map[string]any{
				"id": "aws-main", "provider": "aws", "product_code": "aw4fgf5tyo5w2ap6fexample", "region": "us-east-1",
				"endpoint": "http://127.0.0.1:8091", "access_key_id": "AKIDEXAMPLE", "secret_access_key": "dev-secret",
				"event_api_key": "dev-event-key", "sns_topics": []any{"arn:aws:sns:us-east-1:123456789012:aws-mp-subscription-notification-example"},
				"signing_cert_hosts": []any{"127.0.0.1:8091"}, "currency": "USD",
				"metering": map[string]any{"dimension": "usage_fee", "unit_amount": "0.01"},
			},
			map[string]any{
				"id": "ali-cn", "provider": "alibaba", "site": "cn", "product_code": "cmgj00012345", "spi_key": "dev-spi-key",
				"access_key_id": "dev-ak", "access_key_secret": "dev-sk", "endpoint": "http://127.0.0.1:8092", "currency": "CNY",
				"metering": map[string]any{"key": "Unit", "assist": "cmgj00012345-Unit-1", "unit_amount": "0.01", "cycle": "hourly"},
			},
			map[string]any{
				"id": "hw-cn", "provider": "huawei", "site": "cn", "product_code": "OFFI1", "key": "dev-key",
				"access_key_id": "dev-ak", "secret_access_key": "dev-sk", "endpoint": "http://127.0.0.1:8093", "currency": "CNY",
				"metering": map[string]any{"unit_amount": "0.01"},
			},
		},
	}
}

// demo starts the simulators, makes what a newcomer needs once, and says what
// to try. The returned function stops the simulators.
func (a *app) demo(ctx context.Context, w io.Writer) (stop func(), err error) {
	sims, err := startSimulators(a.cfg, a.cfg.PublicURL, simOptions{compress: devCompress, seed: 1, now: a.now, log: a.log})
	if err != nil {
		return nil, err
	}
	if err := a.seed(ctx); err != nil {
		return nil, errors.Join(err, sims.Close())
	}
	say := func(what, where string) { _, _ = fmt.Fprintf(w, "  %-44s %s\n", what, where) }
	_, _ = fmt.Fprintf(w, "\n%s is running. Everything here is simulated; nothing leaves this machine.\n\n", a.cfg.Brand.Name)
	say("Console", a.cfg.PublicURL)
	say("API documentation", a.cfg.PublicURL+"/api/docs")
	say("Demo billing account (user name, e-mail)", "acme, ops@acme.example")
	say("Operator API key", "in "+devKeyFile)
	say("Mails and sign-in codes", a.cfg.PublicURL+"/dev/inbox")
	_, _ = fmt.Fprintf(w, "\nTry:\n")
	for _, s := range sims.list {
		say("Buy on "+adapters.Words()[marketplace.Provider(s.provider)].Name, s.url)
	}
	say("See what arrived", "bin/cloudsettle callbacks list")
	say("Send a callback by hand", "bin/cloudsettle trigger ali-cn createInstance")
	say("See the subscriptions", "bin/cloudsettle subscriptions list")
	say("See the prices", "bin/cloudsettle pricebook list")
	say("Report usage from a file", "bin/cloudsettle usage import FILE")
	say("Make the bills of a day", "bin/cloudsettle settle daily DAY --early")
	say("Check everything", "bin/cloudsettle verify")
	_, _ = fmt.Fprintf(w, "\nCtrl-C stops it. Everything is kept in %s/; remove that to begin anew.\n\n", filepath.Dir(devKeyFile))
	return func() { _ = sims.Close() }, nil
}

// seedPrices imports the example price list, so that usage has a price.
func (a *app) seedPrices(ctx context.Context) error {
	books, err := example.Books()
	if err != nil {
		return err
	}
	for i, b := range books {
		r := core.Request{Actor: core.Actor{Name: "demo"}, Key: "price-book-" + strconv.Itoa(i), Digest: "example"}
		if _, err := a.svc.AddPriceBook(ctx, r, b); err != nil {
			return err
		}
	}
	return nil
}

// seed makes the demo's price books, billing account, workspaces and operator key, unless
// they are there.
func (a *app) seed(ctx context.Context) error {
	if err := errors.Join(a.seedKey(ctx), a.seedPrices(ctx)); err != nil {
		return err
	}
	acc, err := a.svc.CreateBillingAccount(ctx, core.Request{}, account.Account{
		UserName: "acme", Email: "ops@acme.example", Phone: "+8613800000000", Currency: "CNY",
	})
	if errors.Is(err, core.ErrConflict) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, site := range []string{"cn1", "cn4", "us1"} {
		ws, err := a.svc.CreateWorkspace(ctx, core.Request{}, workspace.Workspace{
			Name: "demo-" + site, Site: site, OwnerEmail: "dev@acme.example",
		})
		if err != nil {
			return err
		}
		_, err = a.svc.Bind(ctx, core.Request{Actor: core.Actor{Name: "demo"}}, core.Want{
			Workspace: ws.ID, BillingAccount: acc.ID, Settlement: workspace.Settlement{Method: workspace.ByBillingAccount},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// seedKey makes an operator key and leaves its secret where the command line
// looks for it.
func (a *app) seedKey(ctx context.Context) error {
	if b, err := os.ReadFile(devKeyFile); err == nil {
		if _, err := a.svc.Authenticate(ctx, string(b)); err == nil {
			return nil
		}
	}
	_, secret, err := a.svc.CreateAPIKey(ctx, core.Request{}, "demo", core.RoleOperator, "")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(devKeyFile), 0o700); err != nil {
		return err
	}
	return os.WriteFile(devKeyFile, []byte(secret), 0o600)
}
