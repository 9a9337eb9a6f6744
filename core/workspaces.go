package core

import (
	"context"
	"errors"
	"strings"
	"time"

	"cloudsettle/core/account"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/workspace"
)

// maxWorkspaceName is the longest name that lists and mails show on one line.
const maxWorkspaceName = 64

// WorkspaceView is a workspace with the binding that holds now, if any.
type WorkspaceView struct {
	workspace.Workspace
	Current *workspace.Binding
}

// CreateWorkspace adds a workspace. OpenedBy may be set by the landing page only.
func (s *Service) CreateWorkspace(ctx context.Context, r Request, w workspace.Workspace) (WorkspaceView, error) {
	if err := s.checkWorkspace(w); err != nil {
		return WorkspaceView{}, err
	}
	w.ID, w.Rev, w.CreatedAt = workspace.ID(s.NewID("ws")), 0, s.Now()
	return once(ctx, s, r, loadWorkspace, func(ctx context.Context, tx Tx) (WorkspaceView, string, error) {
		return WorkspaceView{Workspace: w}, string(w.ID), tx.PutWorkspace(ctx, w)
	})
}

func (s *Service) checkWorkspace(w workspace.Workspace) error {
	f := &Fault{Err: ErrInvalid, Code: "invalid_fields", Detail: "some fields are wrong"}
	if n := strings.TrimSpace(w.Name); n == "" || len(w.Name) > maxWorkspaceName || strings.ContainsAny(w.Name, "\x00\r\n") {
		f.Fields = append(f.Fields, FieldFault{"name", "must be 1 to 64 bytes on one line"})
	}
	if _, ok := s.sites[w.Site]; !ok {
		f.Fields = append(f.Fields, FieldFault{"site", "is not a configured site"})
	}
	if !account.ValidEmail(w.OwnerEmail) {
		f.Fields = append(f.Fields, FieldFault{"owner_email", "must be an e-mail address"})
	}
	if len(f.Fields) > 0 {
		return f
	}
	return nil
}

func loadWorkspace(ctx context.Context, tx ReadTx, id string) (WorkspaceView, error) {
	w, err := tx.Workspace(ctx, workspace.ID(id))
	if w, err = orNotFound(w, err, "workspace", id); err != nil {
		return WorkspaceView{}, err
	}
	return viewWorkspace(ctx, tx, w)
}

func viewWorkspace(ctx context.Context, tx ReadTx, w workspace.Workspace) (WorkspaceView, error) {
	v := WorkspaceView{Workspace: w}
	b, err := tx.Binding(ctx, w.ID)
	switch {
	case errors.Is(err, ErrNotFound):
		return v, nil
	case err != nil:
		return v, err
	}
	v.Current = &b
	return v, nil
}

// Workspace returns one workspace that the actor may see.
func (s *Service) Workspace(ctx context.Context, who Actor, id workspace.ID) (WorkspaceView, error) {
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (WorkspaceView, error) {
		v, err := loadWorkspace(ctx, tx, string(id))
		if err != nil || who.May(v.payer()) {
			return v, err
		}
		return WorkspaceView{}, NotFound("workspace", string(id))
	})
}

func (v WorkspaceView) payer() account.ID {
	if v.Current == nil {
		return ""
	}
	return v.Current.BillingAccount
}

// Workspaces lists workspaces, those of one billing account if owner is not empty.
func (s *Service) Workspaces(ctx context.Context, who Actor, owner account.ID, p Page) (List[WorkspaceView], error) {
	if who.Role == RoleAccount {
		owner = who.BillingAccount
	}
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (List[WorkspaceView], error) {
		seq := tx.Workspaces(ctx, more(p))
		if owner != "" {
			seq = tx.WorkspacesOf(ctx, owner, more(p))
		}
		page, err := listed(seq, p, func(w workspace.Workspace) string { return string(w.ID) })
		if err != nil {
			return List[WorkspaceView]{}, err
		}
		return viewWorkspaces(ctx, tx, page)
	})
}

// viewWorkspaces adds to each workspace of a page the binding that holds now.
func viewWorkspaces(ctx context.Context, tx ReadTx, page List[workspace.Workspace]) (List[WorkspaceView], error) {
	out := List[WorkspaceView]{Items: []WorkspaceView{}, Next: page.Next}
	for _, w := range page.Items {
		v, err := viewWorkspace(ctx, tx, w)
		if err != nil {
			return out, err
		}
		out.Items = append(out.Items, v)
	}
	return out, nil
}

// Want is a binding that somebody asks for.
type Want struct {
	Workspace      workspace.ID
	BillingAccount account.ID
	Settlement     workspace.Settlement
}

// Bind settles a workspace as wanted, from now on. A repeat of what holds
// already, and what a rule forbids, is ErrConflict with the rule's code.
func (s *Service) Bind(ctx context.Context, r Request, w Want) (workspace.Binding, error) {
	id := workspace.BindingID(s.NewID("bnd"))
	load := func(ctx context.Context, tx ReadTx, id string) (workspace.Binding, error) {
		for b, err := range tx.BindingHistory(ctx, w.Workspace) {
			if err != nil || string(b.ID) == id {
				return b, err
			}
		}
		return workspace.Binding{}, NotFound("binding", id)
	}
	return once(ctx, s, r, load, func(ctx context.Context, tx Tx) (workspace.Binding, string, error) {
		if err := mayBind(ctx, tx, r.Actor, w); err != nil {
			return workspace.Binding{}, "", err
		}
		b, err := s.bind(ctx, tx, r.Actor, id, w)
		return b, string(id), err
	})
}

// mayBind lets a key that acts for one account settle only what that account
// pays for already, for itself and through its own cloud accounts. Whatever
// else it names does not exist for it.
func mayBind(ctx context.Context, tx ReadTx, who Actor, w Want) error {
	if !who.May(w.BillingAccount) {
		return NotFound("billing account", string(w.BillingAccount))
	}
	if who.Role != RoleAccount {
		return nil
	}
	v, err := loadWorkspace(ctx, tx, string(w.Workspace))
	if err == nil && !who.May(v.payer()) {
		err = NotFound("workspace", string(w.Workspace))
	}
	if id := w.Settlement.Subscription; err == nil && id != "" {
		var owner account.ID
		if _, owner, err = target(ctx, tx, id); err == nil && !who.May(owner) {
			err = NotFound("subscription", string(id))
		}
	}
	return err
}

func (s *Service) bind(ctx context.Context, tx Tx, who Actor, id workspace.BindingID, w Want) (workspace.Binding, error) {
	p, err := s.proposal(ctx, tx, w)
	if err != nil {
		return workspace.Binding{}, err
	}
	var refusal workspace.Refusal
	if err := workspace.Judge(p); errors.As(err, &refusal) {
		return workspace.Binding{}, &Fault{Err: ErrConflict, Code: refusal.Code, Detail: refusal.Detail}
	}
	b := workspace.Binding{
		ID: id, Workspace: w.Workspace, BillingAccount: w.BillingAccount, Settlement: w.Settlement,
		From: p.Now, Cause: workspace.Chosen, By: who.Name,
	}
	if p.Workspace.Status() == workspace.Locked {
		p.Workspace.LockedAt = time.Time{}
		if err := tx.PutWorkspace(ctx, p.Workspace); err != nil {
			return b, err
		}
	}
	return b, tx.Bind(ctx, b)
}

// proposal gathers all that the rules look at.
func (s *Service) proposal(ctx context.Context, tx ReadTx, w Want) (workspace.Proposal, error) {
	p := workspace.Proposal{Want: w.Settlement, Now: s.Now()}
	v, err := loadWorkspace(ctx, tx, string(w.Workspace))
	if err != nil {
		return p, err
	}
	p.Workspace, p.Current, p.Site = v.Workspace, v.Current, s.sites[v.Site]
	if p.Account, err = loadBillingAccount(ctx, tx, string(w.BillingAccount)); err != nil {
		return p, err
	}
	if id := w.Settlement.Subscription; id != "" {
		if p.Target, p.TargetOwner, err = target(ctx, tx, id); err != nil {
			return p, err
		}
	}
	if p.Current == nil {
		return p, nil
	}
	if id := p.Current.Settlement.Subscription; id != "" {
		if p.CurrentTarget, _, err = target(ctx, tx, id); err != nil {
			return p, err
		}
	}
	payer, err := loadBillingAccount(ctx, tx, string(p.Current.BillingAccount))
	if err != nil {
		return p, err
	}
	p.CurrentAccount = &payer
	p.LastChange, err = lastChange(ctx, tx, w.Workspace)
	return p, err
}

func target(ctx context.Context, tx ReadTx, id marketplace.SubscriptionID) (*marketplace.Subscription, account.ID, error) {
	sub, err := tx.Subscription(ctx, id)
	if sub, err = orNotFound(sub, err, "subscription", string(id)); err != nil {
		return nil, "", err
	}
	if !sub.Known() {
		return nil, "", NotFound("subscription", string(id))
	}
	acc, err := tx.CloudAccount(ctx, sub.Account)
	return &sub, account.ID(acc.BillingAccount), err
}

// lastChange is when a customer last changed the settlement: the newest chosen
// binding but the first.
func lastChange(ctx context.Context, tx ReadTx, id workspace.ID) (last time.Time, err error) {
	first := true
	for b, err := range tx.BindingHistory(ctx, id) {
		if err != nil {
			return last, err
		}
		if !first && b.Cause == workspace.Chosen {
			last = b.From
		}
		first = false
	}
	return last, nil
}

// Bindings lists bindings, ended ones too; the whole history of one workspace
// if id is not empty.
func (s *Service) Bindings(ctx context.Context, who Actor, id workspace.ID, p Page) (List[workspace.Binding], error) {
	if id == "" && who.Role == RoleAccount {
		return List[workspace.Binding]{}, Invalid("workspace_id_required", "name the workspace whose bindings to list")
	}
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (List[workspace.Binding], error) {
		if id == "" {
			return listed(tx.Bindings(ctx, more(p)), p, func(b workspace.Binding) string { return string(b.ID) })
		}
		v, err := loadWorkspace(ctx, tx, string(id))
		if err == nil && !who.May(v.payer()) {
			err = NotFound("workspace", string(id))
		}
		if err != nil {
			return List[workspace.Binding]{}, err
		}
		all, err := collect(tx.BindingHistory(ctx, id))
		return List[workspace.Binding]{Items: all}, err
	})
}
