package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"cloudsettle/core"
	"cloudsettle/store"
)

// doctorCmd checks whether this machine and configuration can serve.
type doctorCmd struct {
	Dev bool `help:"Look for what serve --dev needs."`
}

// Run checks one thing after the other and says what is wrong with each.
func (c *doctorCmd) Run(ctx context.Context, s *streams, client *cli) error {
	dev := c.Dev || isDemo(s.config)
	cfg, err := s.load()
	var failed error
	say := func(what, good string, err error) {
		if err != nil {
			good, failed = strings.ReplaceAll(err.Error(), "\n", "\n               "), errors.New("not everything is in order")
		}
		_, _ = fmt.Fprintf(s.out, "%-14s %s\n", what, good)
	}
	say("configuration", fmt.Sprintf("ok, %d listings", len(cfg.Listings)), errors.Join(err, checkConfig(cfg, dev)))
	_, err = masterKey(cfg.MasterKey, false)
	if dev && errors.Is(err, os.ErrNotExist) {
		say("master key", "ok, serve --dev makes it", nil)
	} else {
		say("master key", "ok", err)
	}
	running := client.liveAt(cfg).ready(ctx)
	good, err := diagnoseStore(ctx, cfg, running)
	say("store", good, err)
	good, err = diagnosePorts(ctx, cfg, running)
	say("ports", good, err)
	return failed
}

// diagnoseStore checks the store, if no server has it open.
func diagnoseStore(ctx context.Context, cfg Config, running error) (string, error) {
	if err := storeThere(cfg); errors.Is(err, os.ErrNotExist) {
		return "ok, serve makes it at first start", nil
	}
	st, err := store.Open(ctx, cfg.Store)
	switch {
	case errors.Is(err, core.ErrUnavailable) && running == nil:
		return "ok, a running server uses it and can write", nil
	case err != nil:
		return "", err
	}
	return "ok", errors.Join(st.Check(ctx), st.Close())
}

// diagnosePorts checks that serve could listen, or that a server of ours does.
func diagnosePorts(ctx context.Context, cfg Config, running error) (string, error) {
	public, admin, err := listen(ctx, cfg)
	switch {
	case errors.Is(err, syscall.EADDRINUSE) && running == nil:
		return "ok, a running server listens", nil
	case err != nil:
		return "", err
	}
	return "ok", errors.Join(public.Close(), admin.Close())
}
