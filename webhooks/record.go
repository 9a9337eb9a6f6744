package webhooks

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"time"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

// maxAction bounds the part of a log line that a stranger chooses: the action
// of a callback that was not authentic.
const maxAction = 64

// Record is what may be told of one callback: nothing in it is secret.
type Record struct {
	Listing   marketplace.ListingID
	Provider  marketplace.Provider
	Endpoint  string
	Kind      marketplace.Kind // "" if it was not understood
	Action    string           // the marketplace's word for it
	Outcome   string           // a marketplace.Result, or the class of an error
	Status    int
	Duration  time.Duration
	RequestID string
	Callback  marketplace.CallbackID // its journal entry, or ""
}

// record tells what became of a callback.
func (r *receiver) record(m core.Marketplace, cb core.Callback, done core.Carried, sent bool) {
	rec := Record{
		Listing: m.Listing.ID, Provider: m.Listing.Provider, Endpoint: cb.Endpoint,
		Kind: done.Event.Kind, Action: clip(done.Event.Action), Outcome: string(done.Outcome.Result),
		Status: done.Reply.Status, Duration: r.svc.Now().Sub(cb.ReceivedAt),
		RequestID: cb.RequestID, Callback: done.Outcome.Callback,
	}
	level := slog.LevelInfo
	if done.Err != nil {
		rec.Outcome, level = classOf(done.Err)
	}
	attrs := append(make([]slog.Attr, 0, 12), rec.attrs()...)
	if level == slog.LevelError {
		attrs = append(attrs, slog.String("error", harmless(done.Err)))
	}
	if !sent {
		attrs = append(attrs, slog.Bool("reply_lost", true))
	}
	r.log.LogAttrs(context.Background(), level, "callback", attrs...)
	if r.observe != nil {
		r.observe(rec)
	}
}

func (r *Record) attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("listing", string(r.Listing)),
		slog.String("endpoint", r.Endpoint),
		slog.String("kind", string(r.Kind)),
		slog.String("action", r.Action),
		slog.String("outcome", r.Outcome),
		slog.Int("status", r.Status),
		slog.Duration("duration", r.Duration),
		slog.String("request_id", r.RequestID),
		slog.String("callback", string(r.Callback)),
	}
}

func clip(s string) string {
	if len(s) > maxAction {
		return s[:maxAction] + "…"
	}
	return s
}

// classOf names an error without its text. What the sender is to blame for is
// a warning, what we are to blame for is an error.
func classOf(err error) (string, slog.Level) {
	for _, c := range []struct {
		err   error
		name  string
		level slog.Level
	}{
		{core.ErrUnverified, "unverified", slog.LevelWarn},
		{core.ErrInvalid, "invalid", slog.LevelWarn},
		{core.ErrUnsupported, "unsupported", slog.LevelWarn},
		{core.ErrTooLarge, "too_large", slog.LevelWarn},
		{core.ErrExpired, "expired", slog.LevelWarn},
		{core.ErrNotFound, "not_found", slog.LevelWarn},
		{core.ErrNotUsable, "not_usable", slog.LevelWarn},
		{core.ErrForbidden, "forbidden", slog.LevelWarn},
		{core.ErrConflict, "conflict", slog.LevelError},
		{context.Canceled, "canceled", slog.LevelWarn}, // the sender hung up
		{context.DeadlineExceeded, "timeout", slog.LevelError},
		{core.ErrUnavailable, "unavailable", slog.LevelError},
	} {
		if errors.Is(err, c.err) {
			return c.name, c.level
		}
	}
	return "internal", slog.LevelError
}

// harmless returns the text of err, but for errors of HTTP calls, whose text
// has the whole URL.
func harmless(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Op + ": " + u.Err.Error()
	}
	return err.Error()
}
