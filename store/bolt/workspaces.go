package bolt

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"time"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/workspace"
)

// Workspace implements core.WorkspaceReader.
func (r *reader) Workspace(_ context.Context, id workspace.ID) (workspace.Workspace, error) {
	return find(r, workspaces, "workspace", string(id), decodeWorkspace)
}

// Workspaces implements core.WorkspaceReader.
func (r *reader) Workspaces(_ context.Context, p core.Page) iter.Seq2[workspace.Workspace, error] {
	return page(r, workspaces, p, ascending, all(decodeWorkspace))
}

// WorkspacesOf implements core.WorkspaceReader.
func (r *reader) WorkspacesOf(
	ctx context.Context, id account.ID, p core.Page,
) iter.Seq2[workspace.Workspace, error] {
	return members(r, bindingsByAccount, string(id), p, func(id string) (workspace.Workspace, error) {
		return r.Workspace(ctx, workspace.ID(id))
	})
}

// PutWorkspace implements core.WorkspaceWriter.
func (t *txn) PutWorkspace(_ context.Context, w workspace.Workspace) error {
	_, err := revised(t, workspaces, "workspace", string(w.ID), w.Rev,
		decodeWorkspace, func(w *workspace.Workspace) uint64 { return w.Rev })
	if err != nil {
		return err
	}
	w.Rev++
	return t.storeWorkspace(&w)
}

func (t *txn) storeWorkspace(w *workspace.Workspace) error {
	return t.put(workspaces, "workspace", func(dst []byte) ([]byte, error) {
		return appendWorkspace(dst, w, w.Rev), nil
	}, string(w.ID))
}

// Binding implements core.WorkspaceReader.
func (r *reader) Binding(_ context.Context, id workspace.ID) (workspace.Binding, error) {
	held, err := r.lookup(bindingsHeld, string(id))
	if err != nil || held == nil {
		return workspace.Binding{}, missing(err, "binding of workspace", string(id))
	}
	return r.binding(string(held))
}

func (r *reader) binding(id string) (workspace.Binding, error) {
	return find(r, bindings, "binding", id, decodeBinding)
}

// BindingHistory implements core.WorkspaceReader. Oldest first is the order of
// the bindings' ids.
func (r *reader) BindingHistory(
	_ context.Context, id workspace.ID,
) iter.Seq2[workspace.Binding, error] {
	return members(r, bindingsByWorkspace, string(id), core.Page{}, r.binding)
}

// BindingHistories implements core.WorkspaceReader.
func (r *reader) BindingHistories(_ context.Context, first, last workspace.ID) iter.Seq2[workspace.Binding, error] {
	return func(yield func(workspace.Binding, error) bool) {
		if r.over {
			yield(workspace.Binding{}, errOver)
			return
		}
		for key := range r.span(bindingsByWorkspace, prefixOf(string(first)), prefixOf(string(last))) {
			b, err := r.binding(string(key[bytes.IndexByte(key, 0)+1:]))
			if !yield(b, err) || err != nil {
				return
			}
		}
	}
}

// BindingsTo implements core.WorkspaceReader.
func (r *reader) BindingsTo(
	ctx context.Context, id marketplace.SubscriptionID,
) iter.Seq2[workspace.Binding, error] {
	return r.heldBy(ctx, bindingsBySubscription, id)
}

// BindingsLeft implements core.WorkspaceReader.
func (r *reader) BindingsLeft(
	ctx context.Context, id marketplace.SubscriptionID,
) iter.Seq2[workspace.Binding, error] {
	return r.heldBy(ctx, bindingsByLeft, id)
}

// heldBy yields the bindings in force of the workspaces that an index lists.
func (r *reader) heldBy(
	ctx context.Context, b bucket, id marketplace.SubscriptionID,
) iter.Seq2[workspace.Binding, error] {
	return members(r, b, string(id), core.Page{}, func(w string) (workspace.Binding, error) {
		return r.Binding(ctx, workspace.ID(w))
	})
}

// Bindings implements core.WorkspaceReader.
func (r *reader) Bindings(_ context.Context, p core.Page) iter.Seq2[workspace.Binding, error] {
	return page(r, bindings, p, ascending, all(decodeBinding))
}

// Bind implements core.WorkspaceWriter. A binding whose id is stored already
// is ErrConflict.
func (t *txn) Bind(ctx context.Context, b workspace.Binding) error {
	taken, err := t.lookup(bindings, string(b.ID))
	if err != nil {
		return err
	}
	if taken != nil {
		return core.Conflict("taken", "binding %q is stored already", b.ID)
	}
	b.From, b.To = utc(b.From), time.Time{} // it holds from now on
	ended, err := t.unbind(ctx, b)
	if err != nil {
		return err
	}
	if err := t.reindex(ended, b); err != nil {
		return fmt.Errorf("bind workspace %q: %w", b.Workspace, err)
	}
	return t.putBinding(&b)
}

func (t *txn) putBinding(b *workspace.Binding) error {
	return t.put(bindings, "binding", func(dst []byte) ([]byte, error) {
		return appendBinding(dst, b), nil
	}, string(b.ID))
}

// unbind ends the binding that holds now where next begins, and returns it;
// the zero binding if the workspace has none.
func (t *txn) unbind(ctx context.Context, next workspace.Binding) (workspace.Binding, error) {
	held, err := t.lookup(bindingsHeld, string(next.Workspace))
	if err != nil || held == nil {
		return workspace.Binding{}, err
	}
	ended, err := t.binding(string(held))
	if err != nil {
		return workspace.Binding{}, err
	}
	ended.To = next.From
	return ended, t.putBinding(&ended)
}

// reindex moves the workspace in the indexes of bindings in force from ended to b.
func (t *txn) reindex(ended, b workspace.Binding) error {
	const what = "binding"
	id := string(b.Workspace)
	was, now := ended.Settlement.Subscription, b.Settlement.Subscription
	for _, move := range []struct {
		in       bucket
		from, to string
	}{
		{bindingsByAccount, string(ended.BillingAccount), string(b.BillingAccount)},
		{bindingsBySubscription, string(was), string(now)},
		{bindingsByLeft, string(ended.Left), string(b.Left)},
	} {
		if err := t.list(move.in, what, move.from, move.to, id); err != nil {
			return err
		}
	}
	if err := t.point(bindingsHeld, what, string(b.ID), id); err != nil {
		return err
	}
	return t.point(bindingsByWorkspace, what, "", id, string(b.ID))
}
