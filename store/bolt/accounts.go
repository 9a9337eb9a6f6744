package bolt

import (
	"context"
	"iter"
	"slices"

	"cloudsettle/core"
	"cloudsettle/core/account"
)

// BillingAccount implements core.AccountReader.
func (r *reader) BillingAccount(_ context.Context, id account.ID) (account.Account, error) {
	return find(r, billingAccounts, "billing account", string(id), decodeJSON[account.Account])
}

// BillingAccountByLogin implements core.AccountReader.
func (r *reader) BillingAccountByLogin(ctx context.Context, login string) (account.Account, error) {
	id, err := r.lookup(logins, account.FoldName(login))
	if err != nil || id == nil {
		return account.Account{}, missing(err, "billing account", login)
	}
	return r.BillingAccount(ctx, account.ID(id))
}

// BillingAccounts implements core.AccountReader.
func (r *reader) BillingAccounts(_ context.Context, p core.Page) iter.Seq2[account.Account, error] {
	return page(r, billingAccounts, p, ascending, all(decodeJSON[account.Account]))
}

// PutBillingAccount implements core.AccountWriter.
func (t *txn) PutBillingAccount(_ context.Context, a account.Account) error {
	before, err := revised(t, billingAccounts, "billing account", string(a.ID), a.Rev,
		decodeJSON[account.Account], func(a *account.Account) uint64 { return a.Rev })
	if err != nil {
		return err
	}
	a.Rev++
	return t.storeBillingAccount(before, a)
}

// storeBillingAccount writes a in place of before, or of nothing.
func (t *txn) storeBillingAccount(before *account.Account, a account.Account) error {
	if err := t.relogin(before, a); err != nil {
		return err
	}
	a.CreatedAt = utc(a.CreatedAt)
	return t.put(billingAccounts, "billing account", encodeJSON(a), string(a.ID))
}

// relogin takes the logins of a that before did not have, and frees the others.
func (t *txn) relogin(before *account.Account, a account.Account) error {
	var had []string
	if before != nil {
		had = loginsOf(*before)
	}
	want := loginsOf(a)
	for _, login := range want {
		if slices.Contains(had, login) {
			continue
		}
		if err := t.take(logins, "login", string(a.ID), login); err != nil {
			return err
		}
	}
	for _, login := range had {
		if slices.Contains(want, login) {
			continue
		}
		if err := t.remove(logins, "login", login); err != nil {
			return err
		}
	}
	return nil
}

// loginsOf returns everything that a signs in with, folded, each once.
func loginsOf(a account.Account) []string {
	var list []string
	for _, login := range []string{a.UserName, a.Email, a.Phone} {
		if folded := account.FoldName(login); folded != "" && !slices.Contains(list, folded) {
			list = append(list, folded)
		}
	}
	return list
}
