package workspace

import (
	"time"

	"cloudsettle/core/account"
	"cloudsettle/core/marketplace"
)

// Site is a regional deployment of the product.
type Site struct {
	Code  string
	Cloud marketplace.Provider // whose cloud it runs on, or ""
	Zone  *time.Location
	// Prices is the zone of the price books that hold there.
	Prices string
}

// Refusal is a rule that forbids a binding, in words for the customer.
type Refusal struct {
	Code   string
	Detail string
}

// Error makes a Refusal an error.
func (r Refusal) Error() string { return r.Code + ": " + r.Detail }

// Proposal is a binding that somebody asks for, with all that the rules look at.
type Proposal struct {
	Workspace Workspace
	Site      Site
	Account   account.Account
	Want      Settlement
	// Target is the subscription that Want names, TargetOwner the billing
	// account that claimed its cloud account.
	Target      *marketplace.Subscription
	TargetOwner account.ID
	// Current is the binding that holds now, with its subscription and account.
	Current        *Binding
	CurrentTarget  *marketplace.Subscription
	CurrentAccount *account.Account
	// LastChange is when the customer last changed the settlement, or zero.
	LastChange time.Time
	Now        time.Time
}

// Judge applies the rules for binding a workspace and for changing how it is
// settled. It returns nil or the first Refusal.
func Judge(p Proposal) error {
	for _, rule := range []func(Proposal) *Refusal{
		knownMethod, ownedTarget, liveTarget, sameEnterprise, notBoundAlready,
		staysWithCloud, opensWithCloud, siteCloud, onceAMonth,
	} {
		if r := rule(p); r != nil {
			return *r
		}
	}
	return nil
}

func knownMethod(p Proposal) *Refusal {
	switch {
	case p.Want.Method == ByCloudAccount && p.Target != nil,
		p.Want.Method == ByBillingAccount && p.Want.Subscription == "":
		return nil
	}
	return &Refusal{"invalid_settlement", "settlement must be by billing_account, or by cloud_account with a subscription_id"}
}

// ownedTarget: a cloud account pays only for the billing account that claimed it.
func ownedTarget(p Proposal) *Refusal {
	if p.Target == nil || p.TargetOwner == p.Account.ID {
		return nil
	}
	return &Refusal{"cloud_account_not_claimed", "the cloud account of this subscription has not been claimed by this billing account"}
}

func liveTarget(p Proposal) *Refusal {
	if p.Target == nil || p.Target.Live() {
		return nil
	}
	return &Refusal{"subscription_not_active", "this subscription is " + string(p.Target.Status) + ", not active"}
}

// sameEnterprise: a workspace moves only between accounts of one enterprise.
func sameEnterprise(p Proposal) *Refusal {
	if p.CurrentAccount == nil || p.CurrentAccount.ID == p.Account.ID {
		return nil
	}
	if c := p.CurrentAccount.Certification; c != "" && c == p.Account.Certification {
		return nil
	}
	return &Refusal{"bound_to_another_account", "this workspace is bound to another billing account, which is not certified for the same enterprise"}
}

func notBoundAlready(p Proposal) *Refusal {
	if p.Current == nil || p.Current.Settlement != p.Want || p.Current.BillingAccount != p.Account.ID {
		return nil
	}
	return &Refusal{"already_bound", "this workspace is already settled this way"}
}

// staysWithCloud: what a cloud account settles stays there until the
// subscription is over.
func staysWithCloud(p Proposal) *Refusal {
	if p.CurrentTarget == nil || p.CurrentTarget.Status == marketplace.StatusEnded {
		return nil
	}
	return &Refusal{"settled_by_cloud_account", "this workspace is settled by a cloud account; end its subscription first"}
}

// opensWithCloud: a workspace opened through a marketplace settles only
// through that cloud, or by its billing account once the subscription is over.
func opensWithCloud(p Proposal) *Refusal {
	if p.Workspace.OpenedBy == "" || p.Account.ArbitrarySettlement {
		return nil
	}
	if p.Target != nil && p.Target.Provider == p.Workspace.OpenedBy {
		return nil
	}
	if p.Target == nil && p.Current != nil {
		return nil // staysWithCloud has seen to it that the subscription is over
	}
	return &Refusal{"opened_by_marketplace", "this workspace was opened through " + string(p.Workspace.OpenedBy) + " and settles through that cloud"}
}

// siteCloud: a site's workspaces settle through the cloud that the site runs on.
func siteCloud(p Proposal) *Refusal {
	if p.Target == nil || p.Account.ArbitrarySettlement || p.Site.Cloud == "" || p.Site.Cloud == p.Target.Provider {
		return nil
	}
	return &Refusal{"site_settles_elsewhere", "workspaces of site " + p.Site.Code + " settle through " + string(p.Site.Cloud) + "; arbitrary settlement is off for this account"}
}

// onceAMonth: a customer changes the settlement at most once in a calendar
// month of the site. Leaving a subscription that is over is not a choice.
func onceAMonth(p Proposal) *Refusal {
	if p.Current == nil || p.LastChange.IsZero() || p.CurrentTarget != nil {
		return nil
	}
	last, now := p.LastChange.In(p.Site.Zone), p.Now.In(p.Site.Zone)
	if last.Year() != now.Year() || last.Month() != now.Month() {
		return nil
	}
	return &Refusal{"changed_this_month", "the settlement of a workspace can be changed once a month; it was changed on " + last.Format(time.DateOnly)}
}

// Release says what the end of a subscription does to its workspaces.
type Release string

// The release policies, one per listing.
const (
	SettleByWallet Release = "settle_by_wallet" // go on, paid by the billing account
	Lock           Release = "lock"
)

// Effect is what a subscription's state asks of a workspace that it settles.
type Effect string

// The effects.
const (
	Keep     Effect = ""
	DoLock   Effect = "lock"
	DoUnlock Effect = "unlock"
	DoWallet Effect = "settle_by_wallet"
	DoFollow Effect = "follow" // move to the subscription that replaces this one
)

// Follow decides what becomes of workspaces settled through s. successor is
// the subscription that replaces it, or nil.
func Follow(s, successor *marketplace.Subscription, policy Release) Effect {
	switch {
	case successor != nil && successor.Live():
		return DoFollow
	case s.Status == marketplace.StatusFrozen:
		return DoLock
	case s.Status != marketplace.StatusEnded:
		return DoUnlock
	case s.Replaced || successor != nil:
		return Keep // its successor is on the way
	case policy == SettleByWallet:
		return DoWallet
	default:
		return DoLock
	}
}
