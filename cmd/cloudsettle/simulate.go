package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"cloudsettle/adapters"
	"cloudsettle/core"
)

// simulateCmd runs the simulators alone, for a server that runs elsewhere.
type simulateCmd struct {
	Target   string  `help:"Where the server listens; as the configuration says by default." placeholder:"URL"`
	Compress float64 `help:"Divide the marketplaces' waits by this." default:"60"`
	Seed     uint64  `help:"Seed of the faults." default:"1"`
	Hostile  bool    `help:"Repeat, delay and lose callbacks as real networks do."`
}

// Run serves the simulator of every listing until it is interrupted.
func (c *simulateCmd) Run(ctx context.Context, s *streams) error {
	cfg, err := s.load()
	if err != nil {
		return err
	}
	log, err := newLogger(s.err, cfg.LogLevel)
	if err != nil {
		return err
	}
	sims, err := startSimulators(cfg, cmp.Or(c.Target, "http://"+reachable(cfg.Listen)), simOptions{compress: c.Compress, seed: c.Seed, hostile: c.Hostile, now: time.Now, log: log})
	if err != nil {
		return err
	}
	for _, m := range sims.list {
		_, _ = fmt.Fprintf(s.out, "%-12s %s\n", m.id, m.url)
	}
	<-ctx.Done()
	return sims.Close()
}

// simulators are running simulators, one for each listing.
type simulators struct {
	list []simulator
	wg   sync.WaitGroup
}

type simulator struct {
	id, provider, url string
	sim               adapters.Simulator
	server            *http.Server
}

type simOptions struct {
	compress float64
	seed     uint64
	hostile  bool
	now      func() time.Time
	log      *slog.Logger
}

// startSimulators starts the simulator of each listing that has an endpoint on
// this machine, there.
func startSimulators(cfg Config, target string, o simOptions) (*simulators, error) {
	out := &simulators{}
	for _, raw := range cfg.Listings {
		if err := out.start(cfg, raw, target, o); err != nil {
			return nil, errors.Join(err, out.Close())
		}
	}
	if len(out.list) == 0 {
		return nil, errors.New("no listing has an endpoint on this machine to simulate")
	}
	return out, nil
}

func (s *simulators) start(cfg Config, raw map[string]any, target string, o simOptions) error {
	l, err := cfg.settings(raw)
	if err != nil {
		return err
	}
	endpoint, _ := raw["endpoint"].(string)
	u, err := url.Parse(endpoint)
	if err != nil || endpoint == "" || !isLoopback(u.Hostname()) {
		return nil
	}
	sim, err := adapters.Simulate(l.Provider, simConfig(l, target, endpoint, o))
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp", u.Host)
	if err != nil {
		return errors.Join(fmt.Errorf("simulator of %s: %w", l.ID, err), sim.Close())
	}
	server := newServer(withTrigger(sim), o.log)
	s.wg.Go(func() { _ = server.Serve(ln) })
	s.list = append(s.list, simulator{id: string(l.ID), provider: string(l.Provider), url: endpoint, sim: sim, server: server})
	return nil
}

func simConfig(l listing, target, endpoint string, o simOptions) adapters.SimConfig {
	c := adapters.SimConfig{
		Listing: l.ID, Raw: l.Raw, Target: target, BaseURL: endpoint, Now: o.now,
		Seed: o.seed, Compress: o.compress, Log: o.log,
	}
	if o.hostile {
		c.Faults = adapters.HostileFaults()
	}
	return c
}

// Close stops all simulators.
func (s *simulators) Close() error {
	var errs []error
	for _, m := range s.list {
		errs = append(errs, m.sim.Close(), m.server.Close())
	}
	s.wg.Wait()
	return errors.Join(errs...)
}

// triggerCmd sends one signed callback.
type triggerCmd struct {
	Listing string   `arg:"" optional:"" help:"The listing to send it to."`
	Event   string   `arg:"" optional:"" help:"The event; without it, those that the marketplace has are listed."`
	Params  []string `arg:"" optional:"" help:"Parameters, each NAME=VALUE."`
	Target  string   `help:"Where the server listens; as the configuration says by default." placeholder:"URL"`
}

// Run sends the callback and prints how it was answered. It fails if the
// marketplace would not be content.
func (c *triggerCmd) Run(ctx context.Context, s *streams) error {
	cfg, err := s.load()
	if err != nil {
		return err
	}
	c.Target = cmp.Or(c.Target, "http://"+reachable(cfg.Listen))
	for _, raw := range cfg.Listings {
		l, err := cfg.settings(raw)
		if err != nil {
			return err
		}
		if string(l.ID) == c.Listing {
			return c.send(ctx, s.out, raw, l)
		}
	}
	return usage{fmt.Errorf("no listing %q; there are %s", c.Listing, strings.Join(listingIDs(cfg), ", "))}
}

func listingIDs(cfg Config) (out []string) {
	for _, l := range cfg.Listings {
		id, _ := l["id"].(string)
		out = append(out, id)
	}
	return out
}

// send asks the simulator that runs at the listing's endpoint to send the
// callback, so that it also answers what the callback leads to; without one, a
// simulator of its own sends it.
func (c *triggerCmd) send(ctx context.Context, w io.Writer, raw map[string]any, l listing) error {
	endpoint, _ := raw["endpoint"].(string)
	params, err := parseParams(c.Params)
	if err != nil {
		return err
	}
	if u, err := url.Parse(endpoint); c.Event != "" && err == nil && isLoopback(u.Hostname()) {
		if a, err := remoteTrigger(ctx, endpoint, c.Event, params); err == nil {
			return printAttempt(w, a)
		} else if !errors.Is(err, errNoSimulator) {
			return err
		}
	}
	o := simOptions{now: time.Now, log: slog.New(slog.DiscardHandler)}
	sim, err := adapters.Simulate(l.Provider, simConfig(l, c.Target, endpoint, o))
	if err != nil {
		return err
	}
	defer func() { _ = sim.Close() }()
	if c.Event == "" {
		for _, e := range sim.Events() {
			_, _ = fmt.Fprintf(w, "%-28s %s (%s)\n", e.Name, e.Help, strings.Join(e.Params, ", "))
		}
		return nil
	}
	a, err := sim.Trigger(ctx, c.Event, params)
	if err != nil {
		return err
	}
	return printAttempt(w, a)
}

// printAttempt shows how a callback was answered.
func printAttempt(w io.Writer, a adapters.SimAttempt) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(a); err != nil {
		return err
	}
	if a.Status == 0 {
		return fmt.Errorf("no answer: %w", core.ErrUnavailable)
	}
	if !a.Accepted {
		return errors.New("the marketplace would not be content with this answer and try again")
	}
	return nil
}

func parseParams(list []string) (map[string]string, error) {
	out := map[string]string{}
	for _, p := range list {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return nil, usage{fmt.Errorf("parameter %q is not NAME=VALUE", p)}
		}
		out[name] = value
	}
	return out, nil
}
