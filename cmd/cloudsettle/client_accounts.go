package main

import (
	"context"
	"net/http"

	"cloudsettle/console/api/rest"
)

type billingAccountCmds struct {
	List   listBillingAccounts  `cmd:"" help:"List billing accounts."`
	Create createBillingAccount `cmd:"" help:"Register a billing account."`
	Show   showBillingAccount   `cmd:"" help:"Show one billing account."`
}

func billingAccountColumns() []column[rest.BillingAccount] {
	return []column[rest.BillingAccount]{
		{"ID", func(a rest.BillingAccount) string { return a.ID }},
		{"USER NAME", func(a rest.BillingAccount) string { return a.UserName }},
		{"EMAIL", func(a rest.BillingAccount) string { return a.Email }},
		{"PHONE", func(a rest.BillingAccount) string { return text(a.Phone) }},
		{"CURRENCY", func(a rest.BillingAccount) string { return a.Currency }},
		{"ANY CLOUD", func(a rest.BillingAccount) string { return yes(a.ArbitrarySettlement) }},
		{"CREATED", func(a rest.BillingAccount) string { return when(&a.CreatedAt) }},
	}
}

type listBillingAccounts struct{ listFlags }

// Run lists billing accounts.
func (l *listBillingAccounts) Run(ctx context.Context, c *cli) error {
	items, err := gather[rest.BillingAccount](l.Limit, func(p page) (*http.Response, error) {
		return c.api.ListBillingAccounts(ctx, &rest.ListBillingAccountsParams{Limit: &p.limit, Cursor: p.cursor})
	})
	if err != nil {
		return err
	}
	return printAll(c, items, billingAccountColumns())
}

type createBillingAccount struct {
	UserName string `arg:"" help:"Unique; never changes."`
	Email    string `required:"" help:"Also signs in."`
	Phone    string `help:"Also signs in; in international form."`
	Currency string `required:"" help:"ISO 4217; never changes."`
	keyFlag
}

// Run registers a billing account.
func (n *createBillingAccount) Run(ctx context.Context, c *cli) error {
	a, err := received[rest.BillingAccount](c.api.CreateBillingAccount(ctx,
		&rest.CreateBillingAccountParams{IdempotencyKey: given(n.IdempotencyKey)},
		rest.NewBillingAccount{UserName: n.UserName, Email: n.Email, Phone: given(n.Phone), Currency: n.Currency}))
	if err != nil {
		return err
	}
	return printOne(c, a, billingAccountColumns())
}

type showBillingAccount struct {
	ID string `arg:""`
}

// Run shows a billing account.
func (s *showBillingAccount) Run(ctx context.Context, c *cli) error {
	a, err := received[rest.BillingAccount](c.api.GetBillingAccount(ctx, s.ID))
	if err != nil {
		return err
	}
	return printOne(c, a, billingAccountColumns())
}

type cloudAccountCmds struct {
	List  listCloudAccounts `cmd:"" help:"List cloud accounts."`
	Show  showCloudAccount  `cmd:"" help:"Show one cloud account."`
	Claim claimCloudAccount `cmd:"" help:"Give a cloud account to a billing account."`
}

func cloudAccountColumns() []column[rest.CloudAccount] {
	return []column[rest.CloudAccount]{
		{"ID", func(a rest.CloudAccount) string { return a.ID }},
		{"LISTING", func(a rest.CloudAccount) string { return a.Listing }},
		{"PROVIDER ACCOUNT", func(a rest.CloudAccount) string { return a.ProviderAccountID }},
		{"NAME", func(a rest.CloudAccount) string { return text(a.Name) }},
		{"STATUS", func(a rest.CloudAccount) string { return string(a.Status) }},
		{"BILLING ACCOUNT", func(a rest.CloudAccount) string { return text(a.BillingAccountID) }},
		{"SUBSCRIPTIONS", func(a rest.CloudAccount) string { return joined(a.Subscriptions) }},
		{"WORKSPACES", func(a rest.CloudAccount) string { return joined(a.Workspaces) }},
	}
}

type listCloudAccounts struct {
	BillingAccount string `help:"Only those that this billing account claimed." placeholder:"ID"`
	listFlags
}

// Run lists cloud accounts.
func (l *listCloudAccounts) Run(ctx context.Context, c *cli) error {
	items, err := gather[rest.CloudAccount](l.Limit, func(p page) (*http.Response, error) {
		return c.api.ListCloudAccounts(ctx, &rest.ListCloudAccountsParams{
			BillingAccountID: given(l.BillingAccount), Limit: &p.limit, Cursor: p.cursor,
		})
	})
	if err != nil {
		return err
	}
	return printAll(c, items, cloudAccountColumns())
}

type showCloudAccount struct {
	ID string `arg:""`
}

// Run shows a cloud account.
func (s *showCloudAccount) Run(ctx context.Context, c *cli) error {
	a, err := received[rest.CloudAccount](c.api.GetCloudAccount(ctx, s.ID))
	if err != nil {
		return err
	}
	return printOne(c, a, cloudAccountColumns())
}

type claimCloudAccount struct {
	ID             string `arg:"" help:"The cloud account."`
	BillingAccount string `arg:"" help:"Who gets it."`
}

// Run claims a cloud account. A repeat changes nothing.
func (n *claimCloudAccount) Run(ctx context.Context, c *cli) error {
	a, err := received[rest.CloudAccount](c.api.ClaimCloudAccount(ctx, n.ID, nil,
		rest.NewClaim{BillingAccountID: n.BillingAccount}))
	if err != nil {
		return err
	}
	return printOne(c, a, cloudAccountColumns())
}

type subscriptionCmds struct {
	List listSubscriptions `cmd:"" help:"List subscriptions."`
	Show showSubscription  `cmd:"" help:"Show one subscription."`
}

func subscriptionColumns() []column[rest.Subscription] {
	return []column[rest.Subscription]{
		{"ID", func(s rest.Subscription) string { return s.ID }},
		{"LISTING", func(s rest.Subscription) string { return s.Listing }},
		{"PROVIDER ID", func(s rest.Subscription) string { return s.ProviderSubscriptionID }},
		{"CLOUD ACCOUNT", func(s rest.Subscription) string { return s.CloudAccountID }},
		{"STATUS", func(s rest.Subscription) string { return string(s.Status) }},
		{"SKU", func(s rest.Subscription) string { return s.Sku }},
		{"QUANTITY", func(s rest.Subscription) string { return stated(s.Quantity) }},
		{"TRIAL", func(s rest.Subscription) string { return yes(s.Trial) }},
		{"EXPIRES", func(s rest.Subscription) string { return when(s.ExpiresAt) }},
		{"LAST EVENT", func(s rest.Subscription) string { return when(&s.LastEventAt) }},
	}
}

type listSubscriptions struct {
	Listing string `help:"Only those of this listing."`
	listFlags
}

// Run lists subscriptions.
func (l *listSubscriptions) Run(ctx context.Context, c *cli) error {
	items, err := gather[rest.Subscription](l.Limit, func(p page) (*http.Response, error) {
		return c.api.ListSubscriptions(ctx, &rest.ListSubscriptionsParams{
			Listing: given(l.Listing), Limit: &p.limit, Cursor: p.cursor,
		})
	})
	if err != nil {
		return err
	}
	return printAll(c, items, subscriptionColumns())
}

type showSubscription struct {
	ID string `arg:""`
}

// Run shows a subscription.
func (s *showSubscription) Run(ctx context.Context, c *cli) error {
	sub, err := received[rest.Subscription](c.api.GetSubscription(ctx, s.ID))
	if err != nil {
		return err
	}
	return printOne(c, sub, subscriptionColumns())
}
