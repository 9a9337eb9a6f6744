package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"cloudsettle/core"
)

// The paths of the admin address that commands use while a server has the
// store open. They ask for an operator's key.
const (
	backupPath = "/backup"
	checkPath  = "/check"
	readyPath  = "/readyz"
)

// liveSilence is how long a running server may be silent: looking through a
// large store takes its time.
const liveSilence = 10 * time.Minute

// live is a running server as its admin address shows it.
type live struct {
	url, key string
	client   *http.Client
}

// liveAt returns the server that cfg describes, whether it runs or not.
func (c *cli) liveAt(cfg Config) live {
	return live{url: "http://" + reachable(cfg.AdminListen), key: c.key, client: &http.Client{
		Transport:     &http.Transport{ResponseHeaderTimeout: liveSilence},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// reachable turns an address to listen at into one to call.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return listen
}

// ready reports nil if the server runs and can write.
func (l live) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	_, err := l.get(ctx, readyPath, io.Discard)
	return err
}

// get copies what the server answers at path to w and returns its bytes.
func (l live) get(ctx context.Context, path string, w io.Writer) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url+path, nil)
	if err != nil {
		return 0, err
	}
	if l.key != "" {
		req.Header.Set("Authorization", "Bearer "+l.key)
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("ask the running server: %w: %w", core.ErrUnavailable, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		why, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		return 0, fmt.Errorf("the running server: %s: %s", resp.Status, printable(strings.TrimSpace(string(why))))
	}
	n, err := io.Copy(w, resp.Body)
	if err != nil {
		return n, fmt.Errorf("ask the running server: %w", err)
	}
	return n, nil
}

// backup answers with a copy of the store. One that breaks off ends the
// connection, so that nobody takes it for whole.
func (a *app) backup(w http.ResponseWriter, r *http.Request) {
	b, ok := a.store.(backuper)
	if !ok || !a.mayOperate(w, r) {
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // as long as it takes
	w.Header().Set("Content-Type", "application/octet-stream")
	if _, err := b.Backup(r.Context(), w); err != nil {
		a.log.Warn("backup broke off", "error", err)
		panic(http.ErrAbortHandler)
	}
}

// check looks for damage in the store.
func (a *app) check(w http.ResponseWriter, r *http.Request) {
	if !a.mayOperate(w, r) {
		return
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{}) // as long as it takes
	if err := a.store.Check(r.Context()); err != nil {
		a.log.Error("the store is damaged", "error", err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(w, "sound\n")
}

// mayOperate reports whether r carries an operator's key; if not, it answers.
func (a *app) mayOperate(w http.ResponseWriter, r *http.Request) bool {
	secret, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	actor, err := a.svc.Authenticate(r.Context(), secret)
	switch {
	case errors.Is(err, core.ErrUnverified), err == nil && actor.Role != core.RoleOperator:
		http.Error(w, "this needs an operator's API key: --api-key, or CLOUDSETTLE_API_KEY", http.StatusUnauthorized)
	case err != nil:
		http.Error(w, "the store cannot be read", http.StatusServiceUnavailable)
	default:
		return true
	}
	return false
}
