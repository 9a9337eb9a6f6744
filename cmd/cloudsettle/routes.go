package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"net/url"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"cloudsettle/adapters"
	"cloudsettle/console"
	"cloudsettle/console/api"
	"cloudsettle/console/dev"
	"cloudsettle/console/landing"
	"cloudsettle/core"
	"cloudsettle/core/marketplace"
	"cloudsettle/webhooks"
)

// readyWithin bounds the look at the store that readiness is.
const readyWithin = 2 * time.Second

// routes returns the public handler and the one for operators.
func (a *app) routes() (public, admin http.Handler, err error) {
	a.metrics.MustRegister(newMeterGauges(a.svc, a.now))
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.IPExtractor = echo.ExtractIPDirect() // else anybody chooses the address we see
	webhooks.Register(e, a.svc, webhooks.Options{Observe: observer(a.metrics)})
	if err := landing.Register(e, a.svc, a.landing()); err != nil {
		return nil, nil, err
	}
	if err := api.Register(e, a.svc); err != nil {
		return nil, nil, err
	}
	if a.dev != nil {
		dev.Register(e, a.dev.inbox, a.dev.clock)
	}
	if err := console.Register(e, a.home()); err != nil {
		return nil, nil, err
	}
	return e, a.adminMux(a.metrics), nil
}

// landing says what the page after a purchase needs to know of the outside.
func (a *app) landing() landing.Options {
	o := landing.Options{
		Brand: a.cfg.Brand.Name, SupportEmail: a.cfg.Brand.SupportEmail, PublicURL: a.cfg.PublicURL,
		Marketplaces: map[marketplace.Provider]landing.Marketplace{}, Sites: map[string]string{},
	}
	for p, words := range adapters.Words() {
		o.Marketplaces[p] = landing.Marketplace{Name: words.Name, Reopen: words.Reopen}
	}
	for _, s := range a.cfg.Sites {
		o.Sites[s.Code] = s.Name
	}
	return o
}

// home is the front page: where to go from here.
func (a *app) home() console.Home {
	h := console.Home{
		Brand: a.cfg.Brand.Name, SupportEmail: a.cfg.Brand.SupportEmail,
		Links: []console.Link{{Title: "API documentation", Text: "Every resource, for programs and people.", URL: "/api/docs"}},
	}
	if a.dev == nil {
		return h
	}
	for _, l := range a.cfg.Listings {
		id, _ := l["id"].(string)
		provider, _ := l["provider"].(string)
		endpoint, _ := l["endpoint"].(string)
		if u, err := url.Parse(endpoint); err != nil || !isLoopback(u.Hostname()) {
			continue
		}
		h.Links = append(h.Links, console.Link{
			Title: "Buy on " + adapters.Words()[marketplace.Provider(provider)].Name,
			Text:  "The simulated marketplace of listing " + id + ".", URL: endpoint,
		})
	}
	h.Links = append(h.Links, console.Link{Title: "Inbox", Text: "Mails that would have been sent, sign-in codes among them.", URL: "/dev/inbox"})
	return h
}

// adminMux serves what only operators may reach.
func (a *app) adminMux(g prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(g, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET "+readyPath, a.ready)
	mux.HandleFunc("GET "+backupPath, a.backup)
	mux.HandleFunc("GET "+checkPath, a.check)
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	return mux
}

// ready says whether callbacks can be taken: whether the store can be written.
func (a *app) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), readyWithin)
	defer cancel()
	err := a.store.Update(ctx, func(ctx context.Context, tx core.Tx) error {
		return tx.PutSetting(ctx, "ready", a.now().Format(time.RFC3339))
	})
	if err != nil {
		a.log.Warn("not ready", slog.Any("error", err))
		http.Error(w, "the store cannot be written", http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ready\n"))
}

// newServer returns a server with the limits that all of ours have.
func newServer(h http.Handler, log *slog.Logger) *http.Server { return webhooks.NewServer(h, log) }
