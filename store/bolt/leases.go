package bolt

import (
	"context"
	"crypto/rand"

	"cloudsettle/core"
)

// lease is the lease of a name, and while which process had the file open it
// was taken. Only one has: leases of another one have ended with it.
type lease struct {
	core.Lease
	Opened string `json:"opened"`
}

// newOpening tells one opening of the file from all others.
func newOpening() string { return rand.Text() }

// Lease implements core.LeaseReader.
func (r *reader) Lease(_ context.Context, name string) (core.Lease, error) {
	value, err := r.lookup(leases, name)
	if err != nil || value == nil {
		return core.Lease{}, err
	}
	l, err := decodeJSON[lease](value)
	if err != nil || l.Opened != r.opening {
		return core.Lease{}, err
	}
	return l.Lease, nil
}

// AcquireLease implements core.LeaseWriter.
func (t *txn) AcquireLease(ctx context.Context, name string, l core.Lease) (bool, error) {
	l.From, l.Until = utc(l.From), utc(l.Until)
	held, err := t.Lease(ctx, name)
	switch {
	case err != nil:
		return false, err
	case held.Holder != l.Holder && l.From.Before(held.Until):
		return false, nil
	case !l.Until.After(l.From):
		return true, t.remove(leases, "lease", name)
	}
	return true, t.put(leases, "lease", encodeJSON(lease{l, t.opening}), name)
}
