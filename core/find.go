package core

import (
	"context"
	"errors"
	"iter"
	"strings"

	"cloudsettle/core/account"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/workspace"
)

// maxScan is how many objects a filtered page looks at: some milliseconds of
// work, and enough to be found at once in what a seller has.
const maxScan = 2000

// scanning is the page of a scan that a filter looks through.
func scanning(p Page) Page { return Page{After: p.After, Limit: maxScan + 1} }

// filtered reads one page of what keep keeps. It looks at maxScan items at
// most, so a page may have few items and still a next one.
func filtered[T any](seq iter.Seq2[T, error], p Page, key func(T) string, keep func(T) bool) (List[T], error) {
	out := List[T]{Items: []T{}}
	seen, last := 0, ""
	for item, err := range seq {
		if err != nil {
			return List[T]{}, err
		}
		if len(out.Items) == p.Limit || seen == maxScan {
			out.Next = last
			break
		}
		seen++
		last = key(item)
		if keep(item) {
			out.Items = append(out.Items, item)
		}
	}
	return out, nil
}

// wanted reports whether a filter that may be empty lets a value through.
func wanted[T comparable](filter, v T) bool {
	var none T
	return filter == none || filter == v
}

// AccountFilter narrows a list of billing accounts, without regard to case.
type AccountFilter struct{ UserName, Email string }

// FindBillingAccounts lists billing accounts; an account's own key sees itself.
func (s *Service) FindBillingAccounts(ctx context.Context, who Actor, f AccountFilter, p Page) (List[account.Account], error) {
	if f == (AccountFilter{}) {
		return s.BillingAccounts(ctx, who, p)
	}
	login := f.UserName
	if login == "" {
		login = f.Email
	}
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (List[account.Account], error) {
		out := List[account.Account]{Items: []account.Account{}}
		a, err := tx.BillingAccountByLogin(ctx, login)
		switch {
		case errors.Is(err, ErrNotFound):
			return out, nil
		case err != nil:
			return out, err
		}
		if who.May(a.ID) && (f.UserName == "" || strings.EqualFold(a.UserName, f.UserName)) &&
			(f.Email == "" || strings.EqualFold(a.Email, f.Email)) {
			out.Items = append(out.Items, a)
		}
		return out, nil
	})
}

// CloudAccountFilter narrows a list of cloud accounts.
type CloudAccountFilter struct {
	Owner      account.ID
	Listing    marketplace.ListingID
	Provider   marketplace.Provider
	ProviderID string
	Status     marketplace.Status
}

func (f *CloudAccountFilter) keeps(a marketplace.Account) bool {
	return wanted(f.Listing, a.Listing) && wanted(f.Provider, a.Provider) && wanted(f.ProviderID, a.ProviderID) &&
		wanted(f.Owner, account.ID(a.BillingAccount))
}

// FindCloudAccounts lists cloud accounts; an account's own key sees its own.
func (s *Service) FindCloudAccounts(ctx context.Context, who Actor, f CloudAccountFilter, p Page) (List[CloudAccountView], error) {
	if who.Role == RoleAccount {
		f.Owner = who.BillingAccount
	}
	if f == (CloudAccountFilter{Owner: f.Owner}) {
		return s.CloudAccounts(ctx, who, f.Owner, p)
	}
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (List[CloudAccountView], error) {
		views := func(yield func(CloudAccountView, error) bool) {
			for a, err := range s.cloudAccountsLike(ctx, tx, f, p) {
				v := CloudAccountView{Account: a}
				if err == nil && f.keeps(a) {
					v, err = fillCloudAccount(ctx, tx, a)
				}
				if !yield(v, err) {
					return
				}
			}
		}
		return filtered(views, p, func(v CloudAccountView) string { return string(v.ID) }, func(v CloudAccountView) bool {
			return f.keeps(v.Account) && wanted(f.Status, v.Status())
		})
	})
}

// cloudAccountsLike yields what a filter may keep, by the best index.
func (s *Service) cloudAccountsLike(ctx context.Context, tx ReadTx, f CloudAccountFilter, p Page) iter.Seq2[marketplace.Account, error] {
	switch {
	case f.ProviderID != "":
		return lookups(s, f.Listing, p, func(l marketplace.ListingID) (marketplace.Account, error) {
			return tx.CloudAccountByProvider(ctx, l, f.ProviderID)
		})
	case f.Owner != "":
		return tx.CloudAccountsOf(ctx, f.Owner, scanning(p))
	}
	return tx.CloudAccounts(ctx, scanning(p))
}

// lookups yields what each listing, or a certain one, has under a name: one
// page.
func lookups[T any](s *Service, only marketplace.ListingID, p Page, find func(marketplace.ListingID) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		if p.After != "" {
			return
		}
		for _, m := range s.Marketplaces {
			if !wanted(only, m.Listing.ID) {
				continue
			}
			if v, err := find(m.Listing.ID); !errors.Is(err, ErrNotFound) && !yield(v, err) {
				return
			}
		}
	}
}

// SubscriptionFilter narrows a list of subscriptions. ProviderID is any name
// that the marketplace has for one.
type SubscriptionFilter struct {
	Listing      marketplace.ListingID
	Status       marketplace.Status
	CloudAccount marketplace.AccountID
	ProviderID   string
}

func (f *SubscriptionFilter) keeps(s marketplace.Subscription) bool {
	return s.Known() && wanted(f.Listing, s.Listing) && wanted(f.Status, s.Status) && wanted(f.CloudAccount, s.Account) &&
		(f.ProviderID == "" || called(&s, f.ProviderID))
}

// called reports whether the marketplace calls s so, with our prefix of the
// name or without it.
func called(s *marketplace.Subscription, name string) bool {
	if s.HasName(name) {
		return true
	}
	for _, also := range s.Also {
		if _, bare, ok := strings.Cut(also, ":"); ok && bare == name {
			return true
		}
	}
	return false
}

// FindSubscriptions lists subscriptions; an account's own key sees its own.
func (s *Service) FindSubscriptions(ctx context.Context, who Actor, f SubscriptionFilter, p Page) (List[marketplace.Subscription], error) {
	if f == (SubscriptionFilter{Listing: f.Listing}) {
		return s.Subscriptions(ctx, who, f.Listing, p)
	}
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (List[marketplace.Subscription], error) {
		seq, err := s.subscriptionsLike(ctx, tx, who, f, p)
		if err != nil {
			return List[marketplace.Subscription]{}, err
		}
		return filtered(seq, p, func(s marketplace.Subscription) string { return string(s.ID) }, f.keeps)
	})
}

// subscriptionsLike yields what a filter may keep, by the best index.
func (s *Service) subscriptionsLike(ctx context.Context, tx ReadTx, who Actor, f SubscriptionFilter, p Page) (iter.Seq2[marketplace.Subscription, error], error) {
	switch {
	case f.CloudAccount != "":
		a, err := viewCloudAccount(ctx, tx, who, f.CloudAccount)
		return subscriptionsBy(ctx, tx, a.Subscriptions, p), err
	case who.Role == RoleAccount:
		ids, err := boughtBy(ctx, tx, who.BillingAccount, f.Listing)
		return subscriptionsBy(ctx, tx, ids, p), err
	case f.ProviderID != "":
		named := lookups(s, f.Listing, p, func(l marketplace.ListingID) (marketplace.Subscription, error) {
			return tx.SubscriptionByName(ctx, l, f.ProviderID)
		})
		if found, err := collect(named); err != nil || len(found) > 0 {
			return named, err
		}
	}
	return tx.Subscriptions(ctx, f.Listing, scanning(p)), nil
}

// WorkspaceFilter narrows a list of workspaces.
type WorkspaceFilter struct {
	Owner  account.ID
	Site   string
	Status workspace.Status
}

// FindWorkspaces lists workspaces; an account's own key sees what it pays for.
func (s *Service) FindWorkspaces(ctx context.Context, who Actor, f WorkspaceFilter, p Page) (List[WorkspaceView], error) {
	if who.Role == RoleAccount {
		f.Owner = who.BillingAccount
	}
	if f == (WorkspaceFilter{Owner: f.Owner}) {
		return s.Workspaces(ctx, who, f.Owner, p)
	}
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (List[WorkspaceView], error) {
		seq := tx.Workspaces(ctx, scanning(p))
		if f.Owner != "" {
			seq = tx.WorkspacesOf(ctx, f.Owner, scanning(p))
		}
		page, err := filtered(seq, p, func(w workspace.Workspace) string { return string(w.ID) }, func(w workspace.Workspace) bool {
			return wanted(f.Site, w.Site) && wanted(f.Status, w.Status())
		})
		if err != nil {
			return List[WorkspaceView]{}, err
		}
		return viewWorkspaces(ctx, tx, page)
	})
}

// BindingFilter narrows a list of bindings.
type BindingFilter struct {
	Workspace    workspace.ID
	Owner        account.ID
	Subscription marketplace.SubscriptionID
}

// FindBindings lists bindings, ended ones too. With a workspace it is the
// workspace's history on one page. An account's own key sees its own.
func (s *Service) FindBindings(ctx context.Context, who Actor, f BindingFilter, p Page) (List[workspace.Binding], error) {
	keep := func(b workspace.Binding) bool {
		return who.May(b.BillingAccount) && wanted(f.Owner, b.BillingAccount) && wanted(f.Subscription, b.Settlement.Subscription)
	}
	if f.Workspace != "" || f == (BindingFilter{}) {
		list, err := s.Bindings(ctx, who, f.Workspace, p)
		if f.Owner != "" || f.Subscription != "" {
			list.Items = kept(list.Items, keep)
		}
		return list, err
	}
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (List[workspace.Binding], error) {
		return filtered(tx.Bindings(ctx, scanning(p)), p, func(b workspace.Binding) string { return string(b.ID) }, keep)
	})
}

func kept[T any](items []T, keep func(T) bool) []T {
	out := items[:0]
	for _, item := range items {
		if keep(item) {
			out = append(out, item)
		}
	}
	return out
}

// CallbackFilter narrows a list of callbacks. Rejected lists what was refused.
type CallbackFilter struct {
	Listing      marketplace.ListingID
	Rejected     bool
	Kind         marketplace.Kind
	Result       marketplace.Result
	Delivery     string
	Subscription marketplace.SubscriptionID
}

func (f *CallbackFilter) keeps(e JournalEntry) bool {
	return wanted(f.Kind, e.Kind) && wanted(f.Result, e.Result) && wanted(f.Delivery, e.Delivery) &&
		wanted(f.Subscription, e.Subscription)
}

// FindCallbacks lists callbacks, newest first.
func (s *Service) FindCallbacks(ctx context.Context, f CallbackFilter, p Page) (List[JournalEntry], error) {
	if f == (CallbackFilter{Listing: f.Listing, Rejected: f.Rejected}) {
		return s.CallbackEntries(ctx, f.Listing, f.Rejected, p)
	}
	if f.Rejected {
		all, err := s.CallbackEntries(ctx, f.Listing, true, Page{Limit: rejectSlots})
		all.Items = kept(all.Items, func(e JournalEntry) bool {
			return f.keeps(e) && (p.After == "" || string(e.ID) < p.After)
		})
		if len(all.Items) > p.Limit {
			all.Items = all.Items[:p.Limit]
			all.Next = string(all.Items[p.Limit-1].ID)
		}
		return all, err
	}
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (List[JournalEntry], error) {
		return filtered(tx.CallbackEntries(ctx, f.Listing, scanning(p)), p,
			func(e JournalEntry) string { return string(e.ID) }, f.keeps)
	})
}
