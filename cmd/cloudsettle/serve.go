package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
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
	a, err := openApp(ctx, cfg, tools, log, "")
	if err != nil {
		return errors.Join(err, public.Close(), admin.Close())
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	if key := os.Getenv(bootstrapKey); key != "" {
		if err := a.svc.Bootstrap(ctx, key); err != nil {
			return err
		}
	}
	if c.Dev && s.config == "" {
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
	var lc net.ListenConfig
	if public, err = lc.Listen(ctx, "tcp", cfg.Listen); err != nil {
		return nil, nil, fmt.Errorf("listen: %w", err)
	}
	if admin, err = lc.Listen(ctx, "tcp", cfg.AdminListen); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("admin_listen: %w", err), public.Close())
	}
	return public, admin, nil
}
