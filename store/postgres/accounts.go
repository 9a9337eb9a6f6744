package postgres

import (
	"context"
	"iter"
	"slices"

	"github.com/jackc/pgx/v5"

	"cloudsettle/core"
	"cloudsettle/core/account"
)

const billingAccountColumns = `a.id, a.rev, a.user_name, a.email, a.phone, a.currency, a.arbitrary_settlement,
	a.certification, a.created_at`

func scanBillingAccount(rows pgx.Rows, a *account.Account) error {
	return rows.Scan(&a.ID, &a.Rev, &a.UserName, &a.Email, &a.Phone, &a.Currency, &a.ArbitrarySettlement,
		&a.Certification, into(&a.CreatedAt))
}

// BillingAccount implements core.AccountReader.
func (r *reader) BillingAccount(ctx context.Context, id account.ID) (account.Account, error) {
	return one(ctx, r, "billing account", scanBillingAccount,
		"select "+billingAccountColumns+" from billing_accounts a where a.id = $1", string(id))
}

// BillingAccountByLogin implements core.AccountReader.
func (r *reader) BillingAccountByLogin(ctx context.Context, login string) (account.Account, error) {
	return one(ctx, r, "billing account", scanBillingAccount, `
		select `+billingAccountColumns+` from logins l join billing_accounts a on a.id = l.account
		where l.login = $1`, account.FoldName(login))
}

// BillingAccounts implements core.AccountReader.
func (r *reader) BillingAccounts(ctx context.Context, p core.Page) iter.Seq2[account.Account, error] {
	return list(ctx, r, p, listing[account.Account]{
		"select " + billingAccountColumns + " from billing_accounts a where a.id > $1 order by a.id limit $2",
		byID, scanBillingAccount, func(a *account.Account) string { return string(a.ID) },
	})
}

// PutBillingAccount implements core.AccountWriter.
func (t *txn) PutBillingAccount(_ context.Context, a account.Account) error {
	logins := loginsOf(a)
	for _, login := range logins {
		if err := checkKey("login", login); err != nil {
			return err
		}
	}
	err := t.put("billing account", string(a.ID), a.Rev, `
		insert into billing_accounts (id, rev, user_name, email, phone, currency, arbitrary_settlement, certification, created_at)
		values ($1, $2::bigint + 1, $3, $4, $5, $6, $7, $8, $9)`, `
		update billing_accounts set rev = rev + 1, user_name = $3, email = $4, phone = $5, currency = $6,
			arbitrary_settlement = $7, certification = $8, created_at = $9
		where id = $1 and rev = $2`, []any{
		a.ID, whole(a.Rev), a.UserName, a.Email, a.Phone, a.Currency, a.ArbitrarySettlement, clean(a.Certification),
		orNull(a.CreatedAt),
	})
	if err != nil {
		return err
	}
	err = t.write(nil, "delete from logins where account = $1 and login <> all($2::text[])", a.ID, logins)
	if err != nil {
		return err
	}
	return t.write(taken("login", a.UserName), `
		insert into logins (login, account)
		select l, $1 from unnest($2::text[]) as l
		where not exists (select from logins k where k.login = l collate "C" and k.account = $1)`, a.ID, logins)
}

// loginsOf returns everything that a signs in with, folded, each once.
func loginsOf(a account.Account) []string {
	list := []string{}
	for _, login := range []string{a.UserName, a.Email, a.Phone} {
		if folded := account.FoldName(login); folded != "" && !slices.Contains(list, folded) {
			list = append(list, folded)
		}
	}
	return list
}
