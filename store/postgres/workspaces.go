package postgres

import (
	"context"
	"iter"
	"strings"

	"github.com/jackc/pgx/v5"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/workspace"
)

const workspaceColumns = `w.id, w.rev, w.name, w.site, w.owner_email, w.opened_by, w.locked_at, w.created_at`

func scanWorkspace(rows pgx.Rows, w *workspace.Workspace) error {
	return rows.Scan(&w.ID, &w.Rev, &w.Name, &w.Site, &w.OwnerEmail, &w.OpenedBy, into(&w.LockedAt), into(&w.CreatedAt))
}

// Workspace implements core.WorkspaceReader.
func (r *reader) Workspace(ctx context.Context, id workspace.ID) (workspace.Workspace, error) {
	return one(ctx, r, "workspace", scanWorkspace,
		"select "+workspaceColumns+" from workspaces w where w.id = $1", string(id))
}

func workspaceID(w *workspace.Workspace) string { return string(w.ID) }

// Workspaces implements core.WorkspaceReader.
func (r *reader) Workspaces(ctx context.Context, p core.Page) iter.Seq2[workspace.Workspace, error] {
	return list(ctx, r, p, listing[workspace.Workspace]{
		"select " + workspaceColumns + " from workspaces w where w.id > $1 order by w.id limit $2",
		byID, scanWorkspace, workspaceID,
	})
}

// WorkspacesOf implements core.WorkspaceReader.
func (r *reader) WorkspacesOf(
	ctx context.Context, id account.ID, p core.Page,
) iter.Seq2[workspace.Workspace, error] {
	return list(ctx, r, p, listing[workspace.Workspace]{
		`select ` + workspaceColumns + ` from bindings b join workspaces w on w.id = b.workspace
		where b.billing_account = $1 and b.billing_account <> '' and b.to_at is null and b.workspace > $2
		order by b.workspace limit $3`,
		of(string(id)), scanWorkspace, workspaceID,
	})
}

// PutWorkspace implements core.WorkspaceWriter.
func (t *txn) PutWorkspace(_ context.Context, w workspace.Workspace) error {
	return t.put("workspace", string(w.ID), w.Rev, `
		insert into workspaces (id, rev, name, site, owner_email, opened_by, locked_at, created_at)
		values ($1, $2::bigint + 1, $3, $4, $5, $6, $7, $8)`, `
		update workspaces set rev = rev + 1, name = $3, site = $4, owner_email = $5, opened_by = $6, locked_at = $7,
			created_at = $8
		where id = $1 and rev = $2`, []any{
		w.ID, whole(w.Rev), clean(w.Name), clean(w.Site), clean(w.OwnerEmail), w.OpenedBy, orNull(w.LockedAt), orNull(w.CreatedAt),
	})
}

const bindingColumns = `b.id, b.workspace, b.billing_account, b.method, b.subscription, b.from_at, b.to_at, b.cause,
	b.by_whom, b.left_behind`

func scanBinding(rows pgx.Rows, b *workspace.Binding) error { return rows.Scan(bindingFields(b)...) }

func bindingFields(b *workspace.Binding) []any {
	return []any{
		&b.ID, &b.Workspace, &b.BillingAccount, &b.Settlement.Method, &b.Settlement.Subscription, into(&b.From),
		into(&b.To), &b.Cause, &b.By, &b.Left,
	}
}

// Binding implements core.WorkspaceReader.
func (r *reader) Binding(ctx context.Context, id workspace.ID) (workspace.Binding, error) {
	return one(ctx, r, "binding of workspace", scanBinding,
		"select "+bindingColumns+" from bindings b where b.workspace = $1 and b.to_at is null", string(id))
}

func bindingID(b *workspace.Binding) string { return string(b.ID) }

func boundWorkspace(b *workspace.Binding) string { return string(b.Workspace) }

// BindingHistory implements core.WorkspaceReader. Oldest first is the order of
// the bindings' ids.
func (r *reader) BindingHistory(ctx context.Context, id workspace.ID) iter.Seq2[workspace.Binding, error] {
	return list(ctx, r, core.Page{}, listing[workspace.Binding]{
		"select " + bindingColumns + " from bindings b where b.workspace = $1 and b.id > $2 order by b.id limit $3",
		of(string(id)), scanBinding, bindingID,
	})
}

// BindingHistories implements core.WorkspaceReader.
func (r *reader) BindingHistories(ctx context.Context, first, last workspace.ID) iter.Seq2[workspace.Binding, error] {
	return list(ctx, r, core.Page{}, listing[workspace.Binding]{
		`select ` + bindingColumns + ` from bindings b where (b.workspace, b.id) > ($1, $2) and b.workspace <= $3
		order by b.workspace, b.id limit $4`,
		func(after string) ([]any, error) {
			workspace, id, found := strings.Cut(after, "\x00")
			if !found {
				workspace = string(first)
			}
			return []any{clean(workspace), clean(id), clean(string(last))}, nil
		},
		scanBinding, func(b *workspace.Binding) string { return string(b.Workspace) + "\x00" + string(b.ID) },
	})
}

// BindingsTo implements core.WorkspaceReader.
func (r *reader) BindingsTo(
	ctx context.Context, id marketplace.SubscriptionID,
) iter.Seq2[workspace.Binding, error] {
	return list(ctx, r, core.Page{}, listing[workspace.Binding]{
		`select ` + bindingColumns + ` from bindings b
		where b.subscription = $1 and b.subscription <> '' and b.to_at is null and b.workspace > $2
		order by b.workspace limit $3`,
		of(string(id)), scanBinding, boundWorkspace,
	})
}

// BindingsLeft implements core.WorkspaceReader.
func (r *reader) BindingsLeft(
	ctx context.Context, id marketplace.SubscriptionID,
) iter.Seq2[workspace.Binding, error] {
	return list(ctx, r, core.Page{}, listing[workspace.Binding]{
		`select ` + bindingColumns + ` from bindings b
		where b.left_behind = $1 and b.left_behind <> '' and b.to_at is null and b.workspace > $2
		order by b.workspace limit $3`,
		of(string(id)), scanBinding, boundWorkspace,
	})
}

// Bindings implements core.WorkspaceReader.
func (r *reader) Bindings(ctx context.Context, p core.Page) iter.Seq2[workspace.Binding, error] {
	return list(ctx, r, p, listing[workspace.Binding]{
		"select " + bindingColumns + " from bindings b where b.id > $1 order by b.id limit $2",
		byID, scanBinding, bindingID,
	})
}

// Bind implements core.WorkspaceWriter. A binding whose id is stored already
// is ErrConflict.
func (t *txn) Bind(_ context.Context, b workspace.Binding) error {
	if err := checkKey("binding", string(b.Workspace), string(b.ID)); err != nil {
		return err
	}
	if err := checkKey("workspace", string(b.Workspace)); err != nil {
		return err
	}
	from := orNull(b.From)
	err := t.write(nil, "update bindings set to_at = $2 where workspace = $1 and to_at is null", b.Workspace, from)
	if err != nil {
		return err
	}
	return t.write(taken("binding", string(b.ID)), `
		insert into bindings (id, workspace, billing_account, method, subscription, from_at, cause, by_whom, left_behind)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		b.ID, b.Workspace, b.BillingAccount, b.Settlement.Method, b.Settlement.Subscription, from, b.Cause, clean(b.By), b.Left)
}
