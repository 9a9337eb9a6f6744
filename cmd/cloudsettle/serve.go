package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"cloudsettle/webhooks"
)

// serveCmd runs the server.
type serveCmd struct {
	Dev bool `help:"Simulators, demo data, inbox and test clock; with --config only the last two."`
}

// bootstrapKey names the variable whose value becomes an operator key at first start.
const bootstrapKey = "CLOUDSETTLE_BOOTSTRAP_API_KEY" // #nosec -- a name, not a key

// Run serves until it is interrupted.
func (c *serveCmd) Run(ctx context.Context, s *streams) (err error) {
	base := map[string]any{}
	if c.Dev {
		base = devBase(s.config)
	}
	cfg, err := loadConfig(s.config, base)
	if err != nil {
		return err
	}
	log, err := newLogger(s.err, cfg.LogLevel)
	if err != nil {
		return err
	}
	var tools *devTools
	if c.Dev {
		tools = newDevTools()
	}
	public, admin, err := listen(ctx, cfg)
	if err != nil {
		return err
	}
	a, err := openApp(ctx, cfg, appOptions{dev: tools, log: log})
	if err != nil {
		return errors.Join(err, public.Close(), admin.Close())
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	if key := os.Getenv(bootstrapKey); key != "" {
		if err := a.svc.Bootstrap(ctx, key); err != nil {
			return err
		}
	}
	if c.Dev && isDemo(s.config) {
		stop, err := a.demo(ctx, s.out)
		if err != nil {
			return err
		}
		defer stop()
	} else {
		_, _ = fmt.Fprintf(s.out, "cloudsettle listens on http://%s\n", public.Addr())
	}
	return a.Run(ctx, public, admin)
}

// listen opens both sockets before anything else, so that a taken port is
// known at once.
func listen(ctx context.Context, cfg Config) (public, admin net.Listener, err error) {
	if public, err = listenAt(ctx, "listen", cfg.Listen); err != nil {
		return nil, nil, err
	}
	if admin, err = listenAt(ctx, "admin_listen", cfg.AdminListen); err != nil {
		return nil, nil, errors.Join(err, public.Close())
	}
	return webhooks.Limit(public), webhooks.Limit(admin), nil
}

// listenAt opens the socket of a configuration key.
func listenAt(ctx context.Context, key, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s: %s is in use, perhaps by another server; stop that, or set %s%s to another address: %w",
			key, addr, envPrefix, strings.ToUpper(key), err)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return l, nil
}
