package bolt

import (
	"encoding/binary"

	"cloudsettle/core/account"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/workspace"
	"cloudsettle/store/internal/packed"
)

// appendWorkspace packs w with another revision: every settlement reads each.
func appendWorkspace(dst []byte, w *workspace.Workspace, rev uint64) []byte {
	dst = append(dst, formatPacked1)
	dst = binary.AppendUvarint(dst, rev)
	dst = packed.AppendText(dst, w.ID)
	dst = packed.AppendText(dst, w.Name)
	dst = packed.AppendText(dst, w.Site)
	dst = packed.AppendText(dst, w.OwnerEmail)
	dst = packed.AppendText(dst, w.OpenedBy)
	dst = appendTime(dst, w.LockedAt)
	return appendTime(dst, w.CreatedAt)
}

// decodeWorkspace reads what appendWorkspace wrote.
func decodeWorkspace(value []byte) (workspace.Workspace, error) {
	u, err := unpack(value)
	if err != nil {
		return workspace.Workspace{}, err
	}
	w := workspace.Workspace{
		Rev: u.Uint(), ID: workspace.ID(u.Text()), Name: u.Text(), Site: u.Text(),
		OwnerEmail: u.Text(), OpenedBy: marketplace.Provider(u.Text()),
		LockedAt: u.time(), CreatedAt: u.time(),
	}
	if err := u.Done(); err != nil {
		return workspace.Workspace{}, err
	}
	return w, nil
}

// appendBinding packs b: every settlement reads each that holds.
func appendBinding(dst []byte, b *workspace.Binding) []byte {
	dst = append(dst, formatPacked1)
	dst = packed.AppendText(dst, b.ID)
	dst = packed.AppendText(dst, b.Workspace)
	dst = packed.AppendText(dst, b.BillingAccount)
	dst = packed.AppendText(dst, b.Settlement.Method)
	dst = packed.AppendText(dst, b.Settlement.Subscription)
	dst = appendTime(dst, b.From)
	dst = appendTime(dst, b.To)
	dst = packed.AppendText(dst, b.Cause)
	dst = packed.AppendText(dst, b.By)
	return packed.AppendText(dst, b.Left)
}

// decodeBinding reads what appendBinding wrote.
func decodeBinding(value []byte) (workspace.Binding, error) {
	u, err := unpack(value)
	if err != nil {
		return workspace.Binding{}, err
	}
	b := workspace.Binding{
		ID: workspace.BindingID(u.Text()), Workspace: workspace.ID(u.Text()),
		BillingAccount: account.ID(u.Text()),
		Settlement: workspace.Settlement{
			Method: workspace.Method(u.Text()), Subscription: marketplace.SubscriptionID(u.Text()),
		},
		From: u.time(), To: u.time(),
		Cause: workspace.Cause(u.Text()), By: u.Text(), Left: marketplace.SubscriptionID(u.Text()),
	}
	if err := u.Done(); err != nil {
		return workspace.Binding{}, err
	}
	return b, nil
}
