package core

import (
	"context"
	"errors"
	"iter"
	"slices"

	"cloudsettle/core/account"
	"cloudsettle/core/marketplace"
)

// CreateBillingAccount registers a billing account. Errors: ErrInvalid with
// every wrong field; ErrConflict if the user name, e-mail or phone is taken.
func (s *Service) CreateBillingAccount(ctx context.Context, r Request, a account.Account) (account.Account, error) {
	if err := invalidFields(a.Validate()); err != nil {
		return account.Account{}, err
	}
	a.ID, a.Rev, a.CreatedAt = account.ID(s.NewID("ba")), 0, s.Now()
	return once(ctx, s, r, loadBillingAccount, func(ctx context.Context, tx Tx) (account.Account, string, error) {
		for _, login := range [][2]string{{"user_name", a.UserName}, {"email", a.Email}, {"phone", a.Phone}} {
			if err := freeLogin(ctx, tx, login[0], login[1]); err != nil {
				return a, "", err
			}
		}
		if err := tx.PutBillingAccount(ctx, a); err != nil {
			return a, "", err
		}
		return a, string(a.ID), nil
	})
}

func freeLogin(ctx context.Context, tx ReadTx, field, login string) error {
	if login == "" {
		return nil
	}
	_, err := tx.BillingAccountByLogin(ctx, login)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	return Conflict(field+"_taken", "another billing account signs in with %q", login)
}

// invalidFields turns joined Problems into one ErrInvalid fault.
func invalidFields(err error) error {
	if err == nil {
		return nil
	}
	f := &Fault{Err: ErrInvalid, Code: "invalid_fields", Detail: "some fields are wrong"}
	problems := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		problems = joined.Unwrap()
	}
	for _, p := range problems {
		var problem account.Problem
		if errors.As(p, &problem) {
			f.Fields = append(f.Fields, FieldFault{Field: problem.Field, Detail: problem.Detail})
		}
	}
	return f
}

func loadBillingAccount(ctx context.Context, tx ReadTx, id string) (account.Account, error) {
	a, err := tx.BillingAccount(ctx, account.ID(id))
	return orNotFound(a, err, "billing account", id)
}

// BillingAccount returns one billing account that the actor may see.
func (s *Service) BillingAccount(ctx context.Context, who Actor, id account.ID) (account.Account, error) {
	if !who.May(id) {
		return account.Account{}, NotFound("billing account", string(id))
	}
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (account.Account, error) {
		return loadBillingAccount(ctx, tx, string(id))
	})
}

// BillingAccounts lists billing accounts; an account's own key sees itself.
func (s *Service) BillingAccounts(ctx context.Context, who Actor, p Page) (List[account.Account], error) {
	if who.Role == RoleAccount {
		a, err := s.BillingAccount(ctx, who, who.BillingAccount)
		return List[account.Account]{Items: []account.Account{a}}, err
	}
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (List[account.Account], error) {
		return listed(tx.BillingAccounts(ctx, more(p)), p, func(a account.Account) string { return string(a.ID) })
	})
}

// SetArbitrarySettlement lets workspaces of an account settle through any
// cloud, whatever their site runs on.
func (s *Service) SetArbitrarySettlement(ctx context.Context, id account.ID, on bool) (account.Account, error) {
	return InTx(ctx, s.Store, func(ctx context.Context, tx Tx) (account.Account, error) {
		a, err := loadBillingAccount(ctx, tx, string(id))
		if err != nil || a.ArbitrarySettlement == on {
			return a, err
		}
		a.ArbitrarySettlement = on
		return a, tx.PutBillingAccount(ctx, a)
	})
}

// CloudAccountView is a cloud account with what belongs to it.
type CloudAccountView struct {
	marketplace.Account
	Bought     []marketplace.Subscription
	Workspaces []string // ids of the workspaces that it settles now
}

// Status is the best state of its subscriptions.
func (v CloudAccountView) Status() marketplace.Status {
	best := marketplace.StatusEnded
	rank := map[marketplace.Status]int{
		marketplace.StatusEnded: 0, marketplace.StatusPending: 1, marketplace.StatusEnding: 2,
		marketplace.StatusFrozen: 3, marketplace.StatusActive: 4,
	}
	for _, sub := range v.Bought {
		if rank[sub.Status] > rank[best] {
			best = sub.Status
		}
	}
	return best
}

// CloudAccount returns one cloud account that the actor may see.
func (s *Service) CloudAccount(ctx context.Context, who Actor, id marketplace.AccountID) (CloudAccountView, error) {
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (CloudAccountView, error) {
		return viewCloudAccount(ctx, tx, who, id)
	})
}

func viewCloudAccount(ctx context.Context, tx ReadTx, who Actor, id marketplace.AccountID) (CloudAccountView, error) {
	a, err := tx.CloudAccount(ctx, id)
	if errors.Is(err, ErrNotFound) || err == nil && !who.May(account.ID(a.BillingAccount)) {
		return CloudAccountView{}, NotFound("cloud account", string(id))
	}
	if err != nil {
		return CloudAccountView{}, err
	}
	return fillCloudAccount(ctx, tx, a)
}

func fillCloudAccount(ctx context.Context, tx ReadTx, a marketplace.Account) (CloudAccountView, error) {
	v := CloudAccountView{Account: a}
	for _, id := range a.Subscriptions {
		sub, err := tx.Subscription(ctx, id)
		if err != nil {
			return v, err
		}
		v.Bought = append(v.Bought, sub)
		bindings, err := collect(tx.BindingsTo(ctx, id))
		if err != nil {
			return v, err
		}
		for _, b := range bindings {
			v.Workspaces = append(v.Workspaces, string(b.Workspace))
		}
	}
	return v, nil
}

// CloudAccounts lists cloud accounts, those of one billing account if owner is
// not empty; an account's own key sees its own.
func (s *Service) CloudAccounts(ctx context.Context, who Actor, owner account.ID, p Page) (List[CloudAccountView], error) {
	if who.Role == RoleAccount {
		owner = who.BillingAccount
	}
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (List[CloudAccountView], error) {
		seq := tx.CloudAccounts(ctx, more(p))
		if owner != "" {
			seq = tx.CloudAccountsOf(ctx, owner, more(p))
		}
		page, err := listed(seq, p, func(a marketplace.Account) string { return string(a.ID) })
		if err != nil {
			return List[CloudAccountView]{}, err
		}
		out := List[CloudAccountView]{Items: []CloudAccountView{}, Next: page.Next}
		for _, a := range page.Items {
			v, err := fillCloudAccount(ctx, tx, a)
			if err != nil {
				return out, err
			}
			out.Items = append(out.Items, v)
		}
		return out, nil
	})
}

// Claim gives a cloud account to a billing account. Claiming it again for the
// same one changes nothing; for another one it is ErrConflict.
func (s *Service) Claim(ctx context.Context, id marketplace.AccountID, owner account.ID) (CloudAccountView, error) {
	return InTx(ctx, s.Store, func(ctx context.Context, tx Tx) (CloudAccountView, error) {
		if err := s.claim(ctx, tx, id, owner); err != nil {
			return CloudAccountView{}, err
		}
		return viewCloudAccount(ctx, tx, Actor{}, id)
	})
}

func (s *Service) claim(ctx context.Context, tx Tx, id marketplace.AccountID, owner account.ID) error {
	a, err := tx.CloudAccount(ctx, id)
	if a, err = orNotFound(a, err, "cloud account", string(id)); err != nil {
		return err
	}
	if _, err := loadBillingAccount(ctx, tx, string(owner)); err != nil {
		return err
	}
	switch account.ID(a.BillingAccount) {
	case owner:
		return nil
	case "":
		a.BillingAccount = string(owner)
		return tx.PutCloudAccount(ctx, a)
	}
	return Conflict("claimed_by_another", "this cloud account belongs to another billing account")
}

// Subscription returns one subscription that the actor may see.
func (s *Service) Subscription(ctx context.Context, who Actor, id marketplace.SubscriptionID) (marketplace.Subscription, error) {
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (marketplace.Subscription, error) {
		sub, err := tx.Subscription(ctx, id)
		if errors.Is(err, ErrNotFound) || err == nil && !sub.Known() {
			return sub, NotFound("subscription", string(id))
		}
		if err != nil {
			return sub, err
		}
		if _, err := viewCloudAccount(ctx, tx, who, sub.Account); err != nil {
			return marketplace.Subscription{}, NotFound("subscription", string(id))
		}
		return sub, nil
	})
}

// Subscriptions lists subscriptions; an account's own key sees its own.
func (s *Service) Subscriptions(ctx context.Context, who Actor, l marketplace.ListingID, p Page) (List[marketplace.Subscription], error) {
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (List[marketplace.Subscription], error) {
		if who.Role == RoleAccount {
			return ownSubscriptions(ctx, tx, who.BillingAccount, l, p)
		}
		return listed(tx.Subscriptions(ctx, l, more(p)), p, func(s marketplace.Subscription) string { return string(s.ID) })
	})
}

// ownSubscriptions lists what one billing account bought. Their number is
// bounded by nature, so each page is cut from all of them.
func ownSubscriptions(ctx context.Context, tx ReadTx, owner account.ID, l marketplace.ListingID, p Page) (List[marketplace.Subscription], error) {
	ids, err := boughtBy(ctx, tx, owner, l)
	if err != nil {
		return List[marketplace.Subscription]{}, err
	}
	return listed(subscriptionsBy(ctx, tx, ids, p), p, func(s marketplace.Subscription) string { return string(s.ID) })
}

// boughtBy returns the subscriptions of the cloud accounts that a billing
// account claimed, those of one listing if l is not empty.
func boughtBy(ctx context.Context, tx ReadTx, owner account.ID, l marketplace.ListingID) ([]marketplace.SubscriptionID, error) {
	accounts, err := collect(tx.CloudAccountsOf(ctx, owner, Page{Limit: MaxPage}))
	var ids []marketplace.SubscriptionID
	for _, a := range accounts {
		if l == "" || a.Listing == l {
			ids = append(ids, a.Subscriptions...)
		}
	}
	return ids, err
}

// subscriptionsBy yields subscriptions in the order of their ids, after a page.
func subscriptionsBy(ctx context.Context, tx ReadTx, ids []marketplace.SubscriptionID, p Page) iter.Seq2[marketplace.Subscription, error] {
	return func(yield func(marketplace.Subscription, error) bool) {
		for _, id := range slices.Sorted(slices.Values(ids)) {
			if string(id) > p.After && !yield(tx.Subscription(ctx, id)) {
				return
			}
		}
	}
}
