package core

import (
	"context"
	"errors"
	"time"

	"cloudsettle/core/marketplace"
	"cloudsettle/core/workspace"
)

// followers lets the workspaces of sub, and of the one it replaces, follow its
// new state.
func (a *application) followers(ctx context.Context, before, sub marketplace.Subscription) error {
	if before.Status == sub.Status && before.Replaced == sub.Replaced &&
		before.Next == sub.Next && before.Previous == sub.Previous {
		return nil
	}
	if sub.Previous != "" && sub.Live() {
		prev, err := a.tx.Subscription(ctx, sub.Previous)
		if err != nil {
			return err
		}
		if err := a.follow(ctx, prev, &sub); err != nil {
			return err
		}
	}
	next, err := a.successor(ctx, sub)
	if err != nil {
		return err
	}
	if before.StoppedAt().IsZero() && !sub.StoppedAt().IsZero() {
		if err := a.promise(ctx, a.tx, taskFinal, finalJob{Subscription: sub.ID, At: a.cb.ReceivedAt}); err != nil {
			return err
		}
	}
	if before.Rev == 0 {
		return nil // nobody can have bound a workspace to it yet
	}
	return a.follow(ctx, sub, next)
}

func (a *application) successor(ctx context.Context, sub marketplace.Subscription) (*marketplace.Subscription, error) {
	if sub.Next == "" {
		return nil, nil
	}
	next, err := a.tx.Subscription(ctx, sub.Next)
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	return &next, err
}

// follow applies what the state of sub asks of each workspace it settles.
func (a *application) follow(ctx context.Context, sub marketplace.Subscription, next *marketplace.Subscription) error {
	effect := workspace.Follow(&sub, next, a.market.Listing.OnRelease)
	if effect == workspace.Keep {
		return nil
	}
	bindings, err := collect(a.tx.BindingsTo(ctx, sub.ID))
	if err != nil {
		return err
	}
	if effect == workspace.DoFollow {
		left, err := collect(a.tx.BindingsLeft(ctx, sub.ID))
		if err != nil {
			return err
		}
		bindings = append(bindings, left...)
	}
	for _, b := range bindings {
		if err := a.affect(ctx, b, effect, sub, next); err != nil {
			return err
		}
	}
	return nil
}

// affect applies one effect to one bound workspace and tells its owner.
func (a *application) affect(ctx context.Context, b workspace.Binding, e workspace.Effect, sub marketplace.Subscription, next *marketplace.Subscription) error {
	switch e {
	case workspace.DoLock:
		return a.setLock(ctx, b, true)
	case workspace.DoUnlock:
		return a.setLock(ctx, b, false)
	case workspace.DoWallet:
		return a.rebind(ctx, b, workspace.Settlement{Method: workspace.ByBillingAccount}, workspace.SubscriptionEnded, sub.ID)
	case workspace.DoFollow:
		return a.rebind(ctx, b, workspace.Settlement{Method: workspace.ByCloudAccount, Subscription: next.ID}, workspace.SubscriptionFollow, "")
	}
	return nil
}

func (a *application) rebind(ctx context.Context, b workspace.Binding, s workspace.Settlement, cause workspace.Cause, left marketplace.SubscriptionID) error {
	err := a.tx.Bind(ctx, workspace.Binding{
		ID: workspace.BindingID(a.NewID("bnd")), Workspace: b.Workspace, BillingAccount: b.BillingAccount,
		Settlement: s, From: a.cb.ReceivedAt, Cause: cause, By: "system", Left: left,
	})
	if err != nil {
		return err
	}
	a.effect("workspace %s settles by %s", b.Workspace, s.Method)
	if err := a.tell(ctx, b, mailSettlementChanged); err != nil {
		return err
	}
	return a.setLock(ctx, b, false)
}

// setLock locks or unlocks a workspace; the buffer clock starts at the lock.
func (a *application) setLock(ctx context.Context, b workspace.Binding, lock bool) error {
	w, err := a.tx.Workspace(ctx, b.Workspace)
	if err != nil || lock == (w.Status() == workspace.Locked) {
		return err
	}
	if !lock {
		w.LockedAt = time.Time{}
		a.effect("workspace %s unlocked", w.ID)
		return a.tx.PutWorkspace(ctx, w)
	}
	w.LockedAt = a.cb.ReceivedAt
	a.effect("workspace %s locked", w.ID)
	if err := a.tell(ctx, b, mailLocked); err != nil {
		return err
	}
	return a.tx.PutWorkspace(ctx, w)
}

// tell promises a mail to the billing account of a binding.
func (a *application) tell(ctx context.Context, b workspace.Binding, text mailText) error {
	acc, err := a.tx.BillingAccount(ctx, b.BillingAccount)
	if err != nil {
		return err
	}
	w, err := a.tx.Workspace(ctx, b.Workspace)
	if err != nil {
		return err
	}
	return a.promiseMail(ctx, a.tx, acc.Email, text, w.Name)
}
