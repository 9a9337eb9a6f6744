package core

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"cloudsettle/core/marketplace"
)

// Limits of the log of refused callbacks: anybody can fill it, so it is a ring.
const (
	rejectSlots   = 1024
	rejectPending = 256 // refused callbacks not yet written; more are only counted
	rejectReason  = 200 // bytes of the reason that are kept
	rejectFlush   = time.Second
)

// newEntry begins the journal entry of a verified callback. The endpoint that
// takes registration tokens keeps no body: a token is as good as a login.
func newEntry(id marketplace.CallbackID, cb Callback, ev marketplace.Event) JournalEntry {
	e := JournalEntry{
		ID: id, Listing: ev.Listing, Kind: ev.Kind, Action: ev.Action, Delivery: ev.Delivery, Verified: true,
		Attempts: 1, ReceivedAt: cb.ReceivedAt, Method: cb.Method, Endpoint: cb.Endpoint,
		RawQuery: cb.RawQuery, Body: cb.Body, Event: &ev,
	}
	if ev.Kind == marketplace.Registered || ev.Kind == marketplace.SignIn {
		e.Body, e.RawQuery = nil, ""
	}
	return e
}

// journal writes the entry of this event and completes its outcome.
func (a *application) journal(ctx context.Context, out Outcome) (Outcome, error) {
	a.entry.Result, a.entry.Reason, a.entry.Effects = out.Result, out.Reason, a.effects
	if out.Subscription != nil {
		a.entry.Subscription = out.Subscription.ID
	}
	out.Effects, out.Callback = a.effects, a.entry.ID
	return out, a.tx.PutCallbackEntry(ctx, a.entry)
}

// known returns the journal entry that already recorded this fact, or "".
func (a *application) known(out Outcome) marketplace.CallbackID {
	if out.Subscription == nil || out.Result == marketplace.Applied || len(a.effects) > 0 {
		return ""
	}
	for _, f := range out.Subscription.Facts {
		if f.Kind == a.ev.Kind && f.Key == a.ev.Key && f.Rank == a.ev.Rank && f.Callback != a.entry.ID {
			return f.Callback
		}
	}
	return ""
}

// repeated counts another delivery of a callback that is in the journal.
func (a *application) repeated(ctx context.Context, prior marketplace.CallbackID, out Outcome) (Outcome, error) {
	e, err := a.tx.CallbackEntry(ctx, prior)
	if errors.Is(err, ErrNotFound) {
		return a.journal(ctx, out)
	}
	if err != nil {
		return Outcome{}, err
	}
	e.Attempts++
	out.Callback = e.ID
	return out, a.tx.PutCallbackEntry(ctx, e)
}

// rejectLog holds refused callbacks until the next flush, so that a flood of
// forgeries costs no commits.
type rejectLog struct {
	mu      sync.Mutex
	pending []JournalEntry
}

// refused reports whether a callback was turned away for what it is, not for
// a fault of ours.
func refused(out Outcome, err error) bool {
	if err == nil {
		return out.Result == marketplace.Replayed
	}
	for _, class := range []error{ErrUnverified, ErrInvalid, ErrUnsupported, ErrTooLarge, ErrExpired} {
		if errors.Is(err, class) {
			return true
		}
	}
	return false
}

// reject remembers a refused callback, without anything that is worth stealing.
func (s *Service) reject(cb Callback, ev marketplace.Event, out Outcome, err error) {
	reason := out.Reason
	if err != nil {
		reason = err.Error()
	}
	e := JournalEntry{
		ID: marketplace.CallbackID(s.NewID("cb")), Listing: cb.Listing, Action: clip(ev.Action),
		Result: marketplace.Refused, Reason: clip(reason), Attempts: 1, ReceivedAt: cb.ReceivedAt,
		Method: clip(cb.Method), Endpoint: clip(cb.Endpoint),
		Effects: []string{strconv.Itoa(len(cb.Body)) + " bytes of body, " + strconv.Itoa(len(cb.RawQuery)) + " of query"},
	}
	s.rejected.mu.Lock()
	defer s.rejected.mu.Unlock()
	if len(s.rejected.pending) < rejectPending {
		s.rejected.pending = append(s.rejected.pending, e)
	}
}

func clip(s string) string {
	if len(s) > rejectReason {
		return s[:rejectReason] + "…"
	}
	return s
}

// settingRejectSlot remembers where the ring goes on after a restart.
const settingRejectSlot = "reject_slot"

// FlushRejections writes refused callbacks to the store.
func (s *Service) FlushRejections(ctx context.Context) error {
	s.rejected.mu.Lock()
	entries := s.rejected.pending
	s.rejected.pending = nil
	s.rejected.mu.Unlock()
	if len(entries) == 0 {
		return nil
	}
	return s.Store.Update(ctx, func(ctx context.Context, tx Tx) error {
		slot := 0
		if v, err := tx.Setting(ctx, settingRejectSlot); err == nil {
			slot, _ = strconv.Atoi(v)
		}
		for _, e := range entries {
			if err := tx.PutRejection(ctx, slot, e); err != nil {
				return err
			}
			slot = (slot + 1) % rejectSlots
		}
		return tx.PutSetting(ctx, settingRejectSlot, strconv.Itoa(slot))
	})
}

// CallbackEntry returns one journal entry, verified or refused.
func (s *Service) CallbackEntry(ctx context.Context, id marketplace.CallbackID) (JournalEntry, error) {
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (JournalEntry, error) {
		e, err := tx.CallbackEntry(ctx, id)
		if !errors.Is(err, ErrNotFound) {
			return e, err
		}
		for e, err := range tx.Rejections(ctx) {
			if err != nil || e.ID == id {
				return e, err
			}
		}
		return JournalEntry{}, NotFound("callback", string(id))
	})
}

// CallbackEntries lists verified callbacks, newest first, or with rejected the
// ones that were refused.
func (s *Service) CallbackEntries(ctx context.Context, l marketplace.ListingID, rejected bool, p Page) (List[JournalEntry], error) {
	if rejected {
		if err := s.FlushRejections(ctx); err != nil {
			return List[JournalEntry]{}, err
		}
	}
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (List[JournalEntry], error) {
		if rejected {
			return rejections(ctx, tx, l, p)
		}
		return listed(tx.CallbackEntries(ctx, l, more(p)), p, func(e JournalEntry) string { return string(e.ID) })
	})
}

// rejections cuts one page from the bounded log of refused callbacks.
func rejections(ctx context.Context, tx ReadTx, l marketplace.ListingID, p Page) (List[JournalEntry], error) {
	all, err := collect(tx.Rejections(ctx))
	if err != nil {
		return List[JournalEntry]{}, err
	}
	slices.SortFunc(all, func(a, b JournalEntry) int { return strings.Compare(string(b.ID), string(a.ID)) })
	seq := func(yield func(JournalEntry, error) bool) {
		for _, e := range all {
			after := p.After == "" || string(e.ID) < p.After
			if after && (l == "" || e.Listing == l) && !yield(e, nil) {
				return
			}
		}
	}
	return listed(seq, p, func(e JournalEntry) string { return string(e.ID) })
}

// Replay applies a journaled callback again. It changes nothing if its effect
// is in the state already, whatever was tried before.
func (s *Service) Replay(ctx context.Context, id marketplace.CallbackID) (Outcome, error) {
	e, err := s.CallbackEntry(ctx, id)
	if err != nil {
		return Outcome{}, err
	}
	m, ok := s.markets[e.Listing]
	if e.Event == nil || !ok {
		return Outcome{}, Conflict("not_replayable", "callback %q was refused, or its listing is not configured", id)
	}
	ev := *e.Event
	ev.Nonce, ev.Delivery = "", ""
	cb := Callback{
		Listing: e.Listing, Endpoint: e.Endpoint, Method: e.Method, RawQuery: e.RawQuery, Body: e.Body,
		ReceivedAt: e.ReceivedAt,
	}
	if ev.Incomplete && m.Completer != nil {
		if ev, err = s.complete(ctx, m, ev); err != nil {
			return Outcome{}, err
		}
	}
	return s.reapply(ctx, m, cb, ev, e)
}

// reapply applies ev once more under its old journal entry.
func (s *Service) reapply(ctx context.Context, m Marketplace, cb Callback, ev marketplace.Event, e JournalEntry) (Outcome, error) {
	return InTx(ctx, s.Store, func(ctx context.Context, tx Tx) (Outcome, error) {
		a := &application{Service: s, tx: tx, market: m, cb: cb, ev: ev, entry: e}
		out, err := a.dispatch(ctx, nil)
		if err != nil {
			return Outcome{}, err
		}
		a.entry.Attempts++
		if out.Result != marketplace.Applied {
			out.Callback = e.ID
			return out, tx.PutCallbackEntry(ctx, a.entry)
		}
		a.effects = append(e.Effects, a.effects...)
		return a.journal(ctx, out)
	})
}
