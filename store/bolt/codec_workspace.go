package bolt

import (
	"encoding/binary"

	"cloudsettle/core/account"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/workspace"
)

// appendWorkspace packs w with another revision: every settlement reads each.
func appendWorkspace(dst []byte, w *workspace.Workspace, rev uint64) []byte {
	dst = append(dst, formatPacked1)
	dst = binary.AppendUvarint(dst, rev)
	dst = appendString(dst, w.ID)
	dst = appendString(dst, w.Name)
	dst = appendString(dst, w.Site)
	dst = appendString(dst, w.OwnerEmail)
	dst = appendString(dst, w.OpenedBy)
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
		Rev: u.uint(), ID: workspace.ID(u.string()), Name: u.string(), Site: u.string(),
		OwnerEmail: u.string(), OpenedBy: marketplace.Provider(u.string()),
		LockedAt: u.time(), CreatedAt: u.time(),
	}
	if err := u.done(); err != nil {
		return workspace.Workspace{}, err
	}
	return w, nil
}

// appendBinding packs b: every settlement reads each that holds.
func appendBinding(dst []byte, b *workspace.Binding) []byte {
	dst = append(dst, formatPacked1)
	dst = appendString(dst, b.ID)
	dst = appendString(dst, b.Workspace)
	dst = appendString(dst, b.BillingAccount)
	dst = appendString(dst, b.Settlement.Method)
	dst = appendString(dst, b.Settlement.Subscription)
	dst = appendTime(dst, b.From)
	dst = appendTime(dst, b.To)
	dst = appendString(dst, b.Cause)
	dst = appendString(dst, b.By)
	return appendString(dst, b.Left)
}

// decodeBinding reads what appendBinding wrote.
func decodeBinding(value []byte) (workspace.Binding, error) {
	u, err := unpack(value)
	if err != nil {
		return workspace.Binding{}, err
	}
	b := workspace.Binding{
		ID: workspace.BindingID(u.string()), Workspace: workspace.ID(u.string()),
		BillingAccount: account.ID(u.string()),
		Settlement: workspace.Settlement{
			Method: workspace.Method(u.string()), Subscription: marketplace.SubscriptionID(u.string()),
		},
		From: u.time(), To: u.time(),
		Cause: workspace.Cause(u.string()), By: u.string(), Left: marketplace.SubscriptionID(u.string()),
	}
	if err := u.done(); err != nil {
		return workspace.Binding{}, err
	}
	return b, nil
}
