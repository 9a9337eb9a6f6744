package main

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // sites have time zones, and a bare machine has no database of them

	"cloudsettle/adapters"
	"cloudsettle/core"
	"cloudsettle/core/id"
	"cloudsettle/store"
)

// How a server ends.
const (
	drainWithin = 10 * time.Second // for requests under way after a signal
	keyBytes    = 32
)

// app is the whole program in one process.
type app struct {
	cfg     Config
	dev     *devTools // nil unless --dev
	relaxed bool
	log     *slog.Logger
	now     func() time.Time
	ids     *id.Generator
	store   core.Store
	svc     *core.Service
	metrics *metrics
	handler http.Handler
	admin   http.Handler
}

// appOptions is what an app is opened with beside its configuration.
type appOptions struct {
	dev *devTools // what --dev adds, or nil
	// relaxed accepts what only --dev may serve with: simulators' hosts and
	// plain http. dev implies it.
	relaxed bool
	log     *slog.Logger
	// local, if not empty, is an operator's key as long as the app is open.
	local string
}

// openApp opens the store and the adapters. The caller closes it.
func openApp(ctx context.Context, cfg Config, o appOptions) (*app, error) {
	o.relaxed = o.relaxed || o.dev != nil
	if err := cfg.Validate(o.relaxed); err != nil {
		return nil, err
	}
	a := &app{cfg: cfg, dev: o.dev, relaxed: o.relaxed, log: o.log, now: func() time.Time { return time.Now().UTC() }}
	if a.dev != nil {
		a.now = a.dev.clock.Now
	}
	a.ids = id.NewGenerator(a.now)
	master, err := masterKey(cfg.MasterKey, a.dev != nil)
	if err != nil {
		return nil, err
	}
	markets, err := a.marketplaces()
	if err != nil {
		return nil, err
	}
	if a.store, err = store.Open(ctx, cfg.Store); err != nil {
		return nil, err
	}
	if err := store.CheckComplete(ctx, a.store); err != nil {
		return nil, errors.Join(err, a.store.Close())
	}
	sites, _ := cfg.sites() // validated above
	linkKey, err := hkdf.Key(sha256.New, master, nil, "landing links", keyBytes)
	if err != nil {
		return nil, errors.Join(err, a.store.Close())
	}
	a.metrics = newMetrics()
	for _, m := range markets {
		if m.Meter != nil {
			a.metrics.start(m.Listing.ID)
		}
	}
	a.svc = core.NewService(core.Config{
		Store: a.store, Marketplaces: markets, Sites: sites, Mailer: a.mailer(), Now: a.now,
		NewID: a.ids.New, Log: a.log, LinkKey: linkKey, Brand: cfg.Brand.Name, LocalSecret: o.local, Dev: a.dev != nil,
		Shared: store.Shared(a.store), MonthlyCloseDay: cfg.MonthlyCloseDay, PaymentDays: cfg.PaymentDays,
		Alerts: core.Alerts{
			Email: cfg.Alerts.Email, Silence: time.Duration(cfg.Alerts.SilentHours) * time.Hour, Count: a.metrics.count,
		},
	})
	if a.handler, a.admin, err = a.routes(); err != nil {
		return nil, errors.Join(err, a.store.Close())
	}
	return a, nil
}

// marketplaces opens the adapter of every listing, or says what is wrong with each.
func (a *app) marketplaces() ([]core.Marketplace, error) {
	var out []core.Marketplace
	var errs []error
	for _, raw := range a.cfg.Listings {
		l, err := a.cfg.settings(raw)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		m, err := adapters.Open(
			core.Listing{ID: l.ID, Provider: l.Provider, Currency: l.Currency, OnRelease: l.OnRelease},
			core.Settings{Raw: l.Raw, PublicURL: a.cfg.PublicURL, Now: a.now, Log: a.log, Dev: a.relaxed},
		)
		out, errs = append(out, m), append(errs, err)
	}
	return out, errors.Join(errs...)
}

// masterKey reads the key that all others are derived from; in dev a missing
// file is made.
func masterKey(ref string, dev bool) ([]byte, error) {
	text, err := secret(ref)
	path, isFile := strings.CutPrefix(ref, "file:")
	if errors.Is(err, os.ErrNotExist) && isFile && dev {
		text, err = makeMasterKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("master_key: %w", err)
	}
	key, err := hex.DecodeString(text)
	if err != nil || len(key) < keyBytes {
		return nil, fmt.Errorf("master_key: must be at least %d bytes in hex, for example from `openssl rand -hex 32`", keyBytes)
	}
	return key, nil
}

func makeMasterKey(path string) (string, error) {
	var b [keyBytes]byte
	_, _ = rand.Read(b[:])
	text := hex.EncodeToString(b[:])
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	return text, os.WriteFile(path, []byte(text+"\n"), 0o600)
}

// failer is a store that can tell that it must not be used any more.
type failer interface {
	Failed() <-chan struct{}
	Err() error
}

// Run serves until ctx is done or something essential fails. It returns when
// all requests under way have been answered, within bounds.
func (a *app) Run(ctx context.Context, public, admin net.Listener) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if f, ok := a.store.(failer); ok {
		go func() {
			select {
			case <-f.Failed():
				stop(fmt.Errorf("the store failed, stopping: %w", f.Err()))
			case <-ctx.Done():
			}
		}()
	}
	var wg sync.WaitGroup
	wg.Go(func() { a.svc.Run(ctx) })
	servers := []*http.Server{newServer(a.handler, a.log), newServer(a.admin, a.log)}
	for i, ln := range []net.Listener{public, admin} {
		wg.Go(func() {
			if err := servers[i].Serve(ln); err != nil && !errors.Is(err, http.ErrServerClosed) {
				stop(err)
			}
		})
	}
	<-ctx.Done()
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainWithin)
	defer cancel()
	for _, s := range servers {
		_ = s.Shutdown(drain)
	}
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// Close releases the store. Run has returned.
func (a *app) Close() error {
	a.svc.Wait()
	return a.store.Close()
}

// newLogger writes lines at a level: JSON for machines, and what people can
// read where w is a terminal.
func newLogger(w io.Writer, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log_level: %w", err)
	}
	o := &slog.HandlerOptions{Level: l}
	if isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, o)), nil
	}
	return slog.New(slog.NewJSONHandler(w, o)), nil
}

// isTerminal reports whether somebody watches w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}
