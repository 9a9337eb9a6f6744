package main

import (
	"context"
	"net/http"
	"strings"

	"cloudsettle/console/api/rest"
)

type callbackCmds struct {
	List   listCallbacks  `cmd:"" help:"List callbacks, newest first."`
	Show   showCallback   `cmd:"" help:"Show one callback with its raw request."`
	Replay replayCallback `cmd:"" help:"Apply a callback again; no effect if it is applied already."`
}

func callbackColumns() []column[rest.Callback] {
	return []column[rest.Callback]{
		{"ID", func(e rest.Callback) string { return e.ID }},
		{"RECEIVED", func(e rest.Callback) string { return when(&e.ReceivedAt) }},
		{"LISTING", func(e rest.Callback) string { return e.Listing }},
		{"ACTION", func(e rest.Callback) string { return e.Action }},
		{"KIND", func(e rest.Callback) string { return e.Kind }},
		{"OUTCOME", func(e rest.Callback) string { return string(e.Outcome) }},
		{"ATTEMPTS", func(e rest.Callback) string { return count(e.Attempts) }},
		{"SUBSCRIPTION", func(e rest.Callback) string { return text(e.SubscriptionID) }},
		{"REASON", func(e rest.Callback) string { return e.Reason }},
	}
}

// callbackDetails are what only the page of one callback has room for.
func callbackDetails() []column[rest.Callback] {
	request := func(field func(rest.RawRequest) string) func(rest.Callback) string {
		return func(e rest.Callback) string {
			if e.Request == nil {
				return ""
			}
			return field(*e.Request)
		}
	}
	return append(callbackColumns(), []column[rest.Callback]{
		{"DELIVERY KEY", func(e rest.Callback) string { return e.DeliveryKey }},
		{"EFFECTS", func(e rest.Callback) string { return strings.Join(e.Effects, "; ") }},
		{"METHOD", request(func(r rest.RawRequest) string { return r.Method })},
		{"ENDPOINT", request(func(r rest.RawRequest) string { return r.Endpoint })},
		{"QUERY", request(func(r rest.RawRequest) string { return r.RawQuery })},
		{"BODY", request(func(r rest.RawRequest) string { return r.Body })},
	}...)
}

type listCallbacks struct {
	Listing  string `help:"Only those of this listing."`
	Rejected bool   `help:"Those that were refused."`
	listFlags
}

// Run lists callbacks.
func (l *listCallbacks) Run(ctx context.Context, c *cli) error {
	items, err := gather[rest.Callback](l.Limit, func(p page) (*http.Response, error) {
		return c.api.ListCallbacks(ctx, &rest.ListCallbacksParams{
			Listing: given(l.Listing), Rejected: &l.Rejected, Limit: &p.limit, Cursor: p.cursor,
		})
	})
	if err != nil {
		return err
	}
	return printAll(c, items, callbackColumns())
}

type showCallback struct {
	ID string `arg:""`
}

// Run shows a callback.
func (s *showCallback) Run(ctx context.Context, c *cli) error {
	e, err := received[rest.Callback](c.api.GetCallback(ctx, s.ID))
	if err != nil {
		return err
	}
	return printOne(c, e, callbackDetails())
}

type replayCallback struct {
	ID string `arg:""`
}

// Run replays a callback.
func (r *replayCallback) Run(ctx context.Context, c *cli) error {
	out, err := received[rest.Replay](c.api.ReplayCallback(ctx, r.ID, nil))
	if err != nil {
		return err
	}
	return printOne(c, out, []column[rest.Replay]{
		{"OUTCOME", func(r rest.Replay) string { return string(r.Outcome) }},
		{"NOTE", func(r rest.Replay) string { return r.Note }},
		{"EFFECTS", func(r rest.Replay) string { return strings.Join(r.Effects, "; ") }},
	})
}

type apiKeyCmds struct {
	List   listAPIKeys  `cmd:"" help:"List keys, without their secrets."`
	Create createAPIKey `cmd:"" help:"Make a key; its secret is shown this once."`
	Revoke revokeAPIKey `cmd:"" help:"End a key at once."`
}

func apiKeyColumns() []column[rest.APIKey] {
	return []column[rest.APIKey]{
		{"ID", func(k rest.APIKey) string { return k.ID }},
		{"NAME", func(k rest.APIKey) string { return k.Name }},
		{"ROLE", func(k rest.APIKey) string { return string(k.Role) }},
		{"BILLING ACCOUNT", func(k rest.APIKey) string { return text(k.BillingAccountID) }},
		{"HINT", func(k rest.APIKey) string { return "…" + k.Hint }},
		{"CREATED", func(k rest.APIKey) string { return when(&k.CreatedAt) }},
		{"REVOKED", func(k rest.APIKey) string { return when(k.RevokedAt) }},
	}
}

type listAPIKeys struct{ listFlags }

// Run lists keys.
func (l *listAPIKeys) Run(ctx context.Context, c *cli) error {
	items, err := gather[rest.APIKey](l.Limit, func(p page) (*http.Response, error) {
		return c.api.ListAPIKeys(ctx, &rest.ListAPIKeysParams{Limit: &p.limit, Cursor: p.cursor})
	})
	if err != nil {
		return err
	}
	return printAll(c, items, apiKeyColumns())
}

type createAPIKey struct {
	Name           string `arg:"" help:"What the key is for."`
	Role           string `required:"" help:"operator, finance, workspace, readonly or account." enum:"operator,finance,workspace,readonly,account"`
	BillingAccount string `help:"With role account: whom it acts for." placeholder:"ID"`
	keyFlag
}

// Run makes a key.
func (n *createAPIKey) Run(ctx context.Context, c *cli) error {
	k, err := received[rest.APIKey](c.api.CreateAPIKey(ctx,
		&rest.CreateAPIKeyParams{IdempotencyKey: given(n.IdempotencyKey)},
		rest.NewAPIKey{Name: n.Name, Role: rest.Role(n.Role), BillingAccountID: given(n.BillingAccount)}))
	if err != nil {
		return err
	}
	return printOne(c, k, append(apiKeyColumns(), column[rest.APIKey]{
		"SECRET", func(k rest.APIKey) string { return text(k.Secret) },
	}))
}

type revokeAPIKey struct {
	ID string `arg:""`
}

// Run revokes a key. A repeat changes nothing.
func (r *revokeAPIKey) Run(ctx context.Context, c *cli) error {
	k, err := received[rest.APIKey](c.api.RevokeAPIKey(ctx, r.ID, nil))
	if err != nil {
		return err
	}
	return printOne(c, k, apiKeyColumns())
}
