package main

import (
	"context"
	"net/http"

	"cloudsettle/console/api/rest"
)

type workspaceCmds struct {
	List   listWorkspaces  `cmd:"" help:"List workspaces."`
	Create createWorkspace `cmd:"" help:"Add a workspace."`
	Show   showWorkspace   `cmd:"" help:"Show one workspace."`
}

func workspaceColumns() []column[rest.Workspace] {
	return []column[rest.Workspace]{
		{"ID", func(w rest.Workspace) string { return w.ID }},
		{"NAME", func(w rest.Workspace) string { return w.Name }},
		{"SITE", func(w rest.Workspace) string { return w.Site }},
		{"STATUS", func(w rest.Workspace) string { return string(w.Status) }},
		{"BILLING ACCOUNT", func(w rest.Workspace) string { return text(w.BillingAccountID) }},
		{"SETTLED BY", func(w rest.Workspace) string { return settledBy(w.Settlement) }},
		{"OWNER", func(w rest.Workspace) string { return w.OwnerEmail }},
		{"LOCKED", func(w rest.Workspace) string { return when(w.LockedAt) }},
		{"DATA KEPT UNTIL", func(w rest.Workspace) string { return when(w.BufferEndsAt) }},
	}
}

// settledBy prints a settlement: the subscription, if there is one, says it all.
func settledBy(s *rest.Settlement) string {
	switch {
	case s == nil:
		return ""
	case s.SubscriptionID != nil:
		return *s.SubscriptionID
	}
	return string(s.Method)
}

type listWorkspaces struct {
	BillingAccount string `help:"Only those that this billing account pays for." placeholder:"ID"`
	listFlags
}

// Run lists workspaces.
func (l *listWorkspaces) Run(ctx context.Context, c *cli) error {
	items, err := gather[rest.Workspace](l.Limit, func(p page) (*http.Response, error) {
		return c.api.ListWorkspaces(ctx, &rest.ListWorkspacesParams{
			BillingAccountID: given(l.BillingAccount), Limit: &p.limit, Cursor: p.cursor,
		})
	})
	if err != nil {
		return err
	}
	return printAll(c, items, workspaceColumns())
}

type createWorkspace struct {
	Name       string `arg:""`
	Site       string `required:"" help:"The code of a configured site."`
	OwnerEmail string `required:"" help:"Whose workspace it is."`
	keyFlag
}

// Run adds a workspace.
func (n *createWorkspace) Run(ctx context.Context, c *cli) error {
	w, err := received[rest.Workspace](c.api.CreateWorkspace(ctx,
		&rest.CreateWorkspaceParams{IdempotencyKey: given(n.IdempotencyKey)},
		rest.NewWorkspace{Name: n.Name, Site: n.Site, OwnerEmail: n.OwnerEmail}))
	if err != nil {
		return err
	}
	return printOne(c, w, workspaceColumns())
}

type showWorkspace struct {
	ID string `arg:""`
}

// Run shows a workspace.
func (s *showWorkspace) Run(ctx context.Context, c *cli) error {
	w, err := received[rest.Workspace](c.api.GetWorkspace(ctx, s.ID))
	if err != nil {
		return err
	}
	return printOne(c, w, workspaceColumns())
}

type bindingCmds struct {
	List   listBindings  `cmd:"" help:"List bindings, ended ones too."`
	Create createBinding `cmd:"" help:"Bind a workspace, or change how it is settled."`
}

func bindingColumns() []column[rest.Binding] {
	return []column[rest.Binding]{
		{"ID", func(b rest.Binding) string { return b.ID }},
		{"WORKSPACE", func(b rest.Binding) string { return b.WorkspaceID }},
		{"BILLING ACCOUNT", func(b rest.Binding) string { return b.BillingAccountID }},
		{"SETTLED BY", func(b rest.Binding) string { return settledBy(&b.Settlement) }},
		{"FROM", func(b rest.Binding) string { return when(&b.From) }},
		{"TO", func(b rest.Binding) string { return when(b.To) }},
		{"CAUSE", func(b rest.Binding) string { return string(b.Cause) }},
		{"BY", func(b rest.Binding) string { return text(b.By) }},
	}
}

type listBindings struct {
	Workspace string `help:"Only those of this workspace." placeholder:"ID"`
	listFlags
}

// Run lists bindings.
func (l *listBindings) Run(ctx context.Context, c *cli) error {
	items, err := gather[rest.Binding](l.Limit, func(p page) (*http.Response, error) {
		return c.api.ListBindings(ctx, &rest.ListBindingsParams{
			WorkspaceID: given(l.Workspace), Limit: &p.limit, Cursor: p.cursor,
		})
	})
	if err != nil {
		return err
	}
	return printAll(c, items, bindingColumns())
}

type createBinding struct {
	Workspace      string `arg:"" help:"The workspace to settle."`
	BillingAccount string `arg:"" help:"Who pays."`
	Subscription   string `help:"Pay through the cloud account of this subscription, not from the wallet." placeholder:"ID"`
	keyFlag
}

// Run binds a workspace.
func (n *createBinding) Run(ctx context.Context, c *cli) error {
	settlement := rest.Settlement{Method: rest.SettlementMethodBillingAccount}
	if n.Subscription != "" {
		settlement = rest.Settlement{Method: rest.SettlementMethodCloudAccount, SubscriptionID: &n.Subscription}
	}
	b, err := received[rest.Binding](c.api.CreateBinding(ctx,
		&rest.CreateBindingParams{IdempotencyKey: given(n.IdempotencyKey)},
		rest.NewBinding{WorkspaceID: n.Workspace, BillingAccountID: n.BillingAccount, Settlement: settlement}))
	if err != nil {
		return err
	}
	return printOne(c, b, bindingColumns())
}
