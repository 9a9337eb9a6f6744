package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"cloudsettle/core"
	"cloudsettle/core/id"
	"cloudsettle/store"
)

// copyCmd moves everything into another store.
type copyCmd struct {
	From string `arg:"" help:"Store to copy, such as bolt:data/cloudsettle.db; nothing may use it."`
	To   string `arg:"" help:"Empty store, or an unfinished copy, such as postgres://cloudsettle@db.example.com/cloudsettle."`
}

// Run copies, compares and verifies. A copy that was stopped goes on.
func (c *copyCmd) Run(ctx context.Context, s *streams, client *cli) (err error) {
	cfg, err := s.load()
	if err == nil {
		err = storeThere(Config{Store: c.From})
	}
	if err != nil {
		return err
	}
	from, err := store.Open(ctx, c.From)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	to, err := store.Open(ctx, c.To)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Close()) }()
	work := store.Copy{From: from, To: to, Moved: shown(s.err)}
	digests, err := work.Run(ctx)
	if err := errors.Join(printDigests(client, digests), err); err != nil {
		return err
	}
	n, err := c.verify(ctx, s, cfg, from, to)
	if err == nil {
		err = work.Finish(ctx)
	}
	if err == nil && client.output == "table" {
		_, err = fmt.Fprintf(s.out, "The copy is the same, and all that must be true is, on both sides: %d objects checked.\n", n)
	}
	return err
}

// shown returns what shows how many rows were moved, on a terminal.
func shown(w io.Writer) func(what string, rows int) {
	bar := spinner(w, "copy")
	var alone sync.Mutex
	now := ""
	return func(what string, rows int) {
		alone.Lock()
		defer alone.Unlock()
		if what != now {
			now = what
			bar.Describe(what)
			bar.Reset()
		}
		_ = bar.Add(rows)
	}
}

func printDigests(c *cli, digests []store.Digest) error {
	if len(digests) == 0 {
		return nil
	}
	return printAll(c, digests, []column[store.Digest]{
		{"TABLE", func(d store.Digest) string { return d.Table }},
		{"ROWS", func(d store.Digest) string { return count(d.Rows) }},
		{"SHA-256", func(d store.Digest) string { return d.From.String() }},
		{"COPY", func(d store.Digest) string {
			if d.Same() {
				return "same"
			}
			return d.To.String()
		}},
	})
}

// verify checks the invariants over both stores and returns how many objects
// it looked at.
func (c *copyCmd) verify(ctx context.Context, s *streams, cfg Config, from, to core.Store) (checked int, err error) {
	sites, err := cfg.sites()
	if err != nil {
		return 0, err
	}
	bar := spinner(s.err, "verify")
	defer func() { _ = bar.Finish() }()
	for i, st := range []core.Store{from, to} {
		svc := core.NewService(core.Config{
			Store: st, Sites: sites, Now: func() time.Time { return time.Now().UTC() }, NewID: id.NewGenerator(time.Now).New,
			Log: slog.New(slog.DiscardHandler), MonthlyCloseDay: cfg.MonthlyCloseDay, PaymentDays: cfg.PaymentDays,
		})
		v, verr := svc.Verify(ctx)
		for _, n := range v.Checked {
			checked += n
		}
		for _, x := range v.Violations {
			verr = errors.Join(verr, fmt.Errorf("%s breaks %s: %s: %s", withoutPassword([]string{c.From, c.To}[i]), x.Invariant, x.Object, x.Detail))
		}
		err = errors.Join(err, verr)
	}
	return checked, err
}

// withoutPassword is a store's url as it may be shown.
func withoutPassword(store string) string {
	u, err := url.Parse(store)
	if err != nil {
		return "a store"
	}
	return u.Redacted()
}
