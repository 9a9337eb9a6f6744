package core

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"cloudsettle/core/marketplace"
)

// application is one event on its way through one transaction. A closure may
// run again, so it is made anew for each run.
type application struct {
	*Service
	tx      Tx
	market  Marketplace
	cb      Callback
	ev      marketplace.Event
	entry   JournalEntry
	effects []string
}

// apply applies ev durably and journals it. A non-nil late is why ev could not
// be completed; it is then accepted and finished by a task.
func (s *Service) apply(ctx context.Context, m Marketplace, cb Callback, ev marketplace.Event, late error) (Outcome, error) {
	entry := newEntry(marketplace.CallbackID(s.NewID("cb")), cb, ev)
	return InTx(ctx, s.Store, func(ctx context.Context, tx Tx) (Outcome, error) {
		a := &application{Service: s, tx: tx, market: m, cb: cb, ev: ev, entry: entry}
		out, err := a.run(ctx, late)
		if err != nil {
			return Outcome{}, fmt.Errorf("apply %s %s: %w", ev.Provider, ev.Action, err)
		}
		return out, nil
	})
}

func (a *application) run(ctx context.Context, late error) (Outcome, error) {
	if fresh, err := a.claimNonce(ctx); err != nil || !fresh {
		return Outcome{Result: marketplace.Replayed, Reason: "this nonce was used before"}, err
	}
	if prior, err := a.claimDelivery(ctx); err != nil || prior != "" {
		return a.repeated(ctx, prior, Outcome{Result: marketplace.Duplicate})
	}
	out, err := a.dispatch(ctx, late)
	if err != nil {
		return Outcome{}, err
	}
	if prior := a.known(out); prior != "" {
		return a.repeated(ctx, prior, out)
	}
	return a.journal(ctx, out)
}

// The scopes of claims.
const (
	scopeNonce    = "nonce/"
	scopeDelivery = "delivery/"
	scopeRequest  = "request/"
)

func (a *application) claimNonce(ctx context.Context) (fresh bool, err error) {
	if a.ev.Nonce == "" || a.ev.Test {
		return true, nil
	}
	_, fresh, err = a.tx.Claim(ctx, scopeNonce+string(a.ev.Listing), a.ev.Nonce, Claim{At: a.cb.ReceivedAt})
	return fresh, err
}

// claimDelivery recognizes repeats of events that are no facts: facts are
// recognized by themselves, questions are answered each time.
func (a *application) claimDelivery(ctx context.Context) (prior marketplace.CallbackID, err error) {
	if a.ev.Delivery == "" || a.ev.Test || a.ev.Kind != marketplace.Noted {
		return "", nil
	}
	claim, fresh, err := a.tx.Claim(ctx, scopeDelivery+string(a.ev.Listing), a.ev.Delivery,
		Claim{Result: string(a.entry.ID), At: a.cb.ReceivedAt})
	if err != nil || fresh {
		return "", err
	}
	return marketplace.CallbackID(claim.Result), nil
}

func (a *application) dispatch(ctx context.Context, late error) (Outcome, error) {
	switch {
	case a.ev.Test:
		return Outcome{Result: marketplace.Tested}, nil
	case a.ev.Kind == marketplace.Noted:
		return Outcome{Result: marketplace.Ignored}, nil
	case a.ev.Kind == marketplace.Asked:
		return a.answer(ctx)
	case a.ev.Kind == marketplace.Checked, a.ev.Kind == marketplace.SignIn:
		return a.admit(ctx)
	case late != nil:
		return a.postpone(ctx, late)
	default:
		return a.fact(ctx)
	}
}

// fact adds ev to the subscription it speaks of.
func (a *application) fact(ctx context.Context) (Outcome, error) {
	a.lookAhead()
	before, err := a.find(ctx)
	if err != nil {
		return Outcome{}, err
	}
	sub, result := marketplace.Decide(before, a.ev, a.cb.ReceivedAt, a.entry.ID)
	if result == marketplace.Applied || result == marketplace.Waiting {
		if sub, err = a.save(ctx, before, sub); err != nil {
			return Outcome{}, err
		}
	}
	if !sub.Known() && result != marketplace.Refused {
		result = marketplace.Waiting
	}
	return a.about(sub, result), nil
}

// about returns the outcome for a subscription, with the way to its landing page.
func (a *application) about(sub marketplace.Subscription, r marketplace.Result) Outcome {
	out := Outcome{Result: r, Subscription: &sub}
	if sub.ID != "" && sub.Known() {
		out.Landing = a.landingPath(sub.ID, a.ev.Kind)
	}
	return out
}

// lookAhead names what will be looked for.
func (a *application) lookAhead() {
	names := append([]string{a.ev.Subject}, a.ev.Also...)
	var buyer []string
	if a.ev.Kind == marketplace.Activated { // others mostly know theirs
		buyer = []string{a.ev.Account}
	}
	a.tx.LookAhead(a.ev.Listing, names, buyer)
}

// find returns the subscription that ev speaks of, or a new one. Where a name
// of ev leads to early facts of the same subscription they are merged in. A
// name that another subscription goes by stays with that one: two licenses of
// one agreement must not keep each other out.
func (a *application) find(ctx context.Context) (marketplace.Subscription, error) {
	own, err := a.byName(ctx, a.ev.Subject)
	if err != nil {
		return own, err
	}
	var taken []string
	for _, name := range a.ev.Also {
		other, err := a.byName(ctx, name)
		switch {
		case err != nil:
			return own, err
		case other.ID == "" || other.ID == own.ID:
		case own.ID == "" && (other.Subject == "" || a.ev.Subject == ""):
			own = other
		case own.ID != "" && other.Subject == "" && !other.Known():
			if own, err = a.merge(ctx, own, other); err != nil {
				return own, err
			}
		default:
			taken = append(taken, name)
		}
	}
	a.ev.Also = without(a.ev.Also, taken)
	if own.ID == "" {
		if own, err = a.byName(ctx, a.ev.Proposed); err != nil {
			return own, err
		}
	}
	if own.ID == "" {
		own.ID = marketplace.SubscriptionID(a.NewID("sub"))
	}
	return own, nil
}

// without returns all but some names. It leaves the slice of names alone: the
// closure around it may run again.
func without(names, some []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(some, n) })
}

// byName returns the subscription that name points to, or none.
func (a *application) byName(ctx context.Context, name string) (marketplace.Subscription, error) {
	if name == "" {
		return marketplace.Subscription{}, nil
	}
	sub, err := a.tx.SubscriptionByName(ctx, a.ev.Listing, name)
	if errors.Is(err, ErrNotFound) {
		return marketplace.Subscription{}, nil
	}
	return sub, err
}

// merge moves early facts into own and removes what held them.
func (a *application) merge(ctx context.Context, own, early marketplace.Subscription) (marketplace.Subscription, error) {
	if err := a.tx.DeleteSubscription(ctx, early.ID); err != nil {
		return own, err
	}
	own = marketplace.Merge(own, early)
	for _, link := range []struct {
		id  marketplace.SubscriptionID
		set func(*marketplace.Subscription)
	}{
		{early.Next, func(s *marketplace.Subscription) { s.Previous = own.ID }},
		{early.Previous, func(s *marketplace.Subscription) { s.Next = own.ID }},
	} {
		if err := a.relink(ctx, link.id, link.set); err != nil {
			return own, err
		}
	}
	if err := a.tx.PutSubscription(ctx, own); err != nil {
		return own, err
	}
	own.Rev++
	return own, nil
}

func (a *application) relink(ctx context.Context, id marketplace.SubscriptionID, set func(*marketplace.Subscription)) error {
	if id == "" {
		return nil
	}
	sub, err := a.tx.Subscription(ctx, id)
	if err != nil {
		return err
	}
	set(&sub)
	return a.tx.PutSubscription(ctx, sub)
}

// save writes sub with its cloud account and links, and lets its workspaces
// follow.
func (a *application) save(ctx context.Context, before, sub marketplace.Subscription) (marketplace.Subscription, error) {
	if err := a.account(ctx, &sub); err != nil {
		return sub, err
	}
	if err := a.link(ctx, &sub); err != nil {
		return sub, err
	}
	if err := a.tx.PutSubscription(ctx, sub); err != nil {
		return sub, err
	}
	sub.Rev++
	if !sub.Known() {
		return sub, nil
	}
	a.note(before, sub)
	if before.Known() { // the usage of a new one cannot be held
		if err := a.releaseMeter(ctx, &sub); err != nil {
			return sub, err
		}
	}
	return sub, a.followers(ctx, before, sub)
}

// note records in words what changed about the subscription itself.
func (a *application) note(before, sub marketplace.Subscription) {
	switch {
	case !before.Known():
		a.effect("subscription %s is %s", sub.ID, sub.Status)
	case before.Status != sub.Status:
		a.effect("subscription %s: %s → %s", sub.ID, before.Status, sub.Status)
	case !before.ExpiresAt.Equal(sub.ExpiresAt):
		a.effect("subscription %s: term ends %s", sub.ID, sub.ExpiresAt.Format("2006-01-02 15:04:05"))
	case before.SKU != sub.SKU || before.Quantity != sub.Quantity:
		a.effect("subscription %s: plan %s, quantity %d", sub.ID, sub.SKU, sub.Quantity)
	}
}

func (a *application) effect(format string, args ...any) {
	a.effects = append(a.effects, fmt.Sprintf(format, args...))
}

// account finds or creates the buyer's cloud account and lists sub with it.
func (a *application) account(ctx context.Context, sub *marketplace.Subscription) error {
	if a.ev.Account == "" || sub.Account != "" {
		return nil
	}
	acc, err := a.tx.CloudAccountByProvider(ctx, a.ev.Listing, a.ev.Account)
	if errors.Is(err, ErrNotFound) {
		acc = marketplace.Account{
			ID: marketplace.AccountID(a.NewID("cac")), Listing: a.ev.Listing, Provider: a.ev.Provider,
			ProviderID: a.ev.Account, CreatedAt: a.cb.ReceivedAt,
		}
		a.effect("cloud account %s", acc.ID)
	} else if err != nil {
		return err
	}
	acc.Name = cmp.Or(a.ev.AccountName, acc.Name)
	acc.Subscriptions = append(acc.Subscriptions, sub.ID)
	sub.Account = acc.ID
	return a.tx.PutCloudAccount(ctx, acc)
}

// link connects sub with the subscription it replaces, which may not be known
// yet.
func (a *application) link(ctx context.Context, sub *marketplace.Subscription) error {
	if a.ev.Previous == "" || sub.Previous != "" || sub.HasName(a.ev.Previous) {
		return nil
	}
	prev, err := a.byName(ctx, a.ev.Previous)
	if err != nil {
		return err
	}
	if prev.ID == "" {
		prev = marketplace.Subscription{
			ID: marketplace.SubscriptionID(a.NewID("sub")), Listing: a.ev.Listing, Provider: a.ev.Provider,
			Also: []string{a.ev.Previous}, Status: marketplace.StatusPending,
			CreatedAt: a.cb.ReceivedAt, LastEventAt: a.cb.ReceivedAt,
		}
	}
	prev.Next, sub.Previous = sub.ID, prev.ID
	return a.tx.PutSubscription(ctx, prev)
}
