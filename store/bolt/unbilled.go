package bolt

import (
	"context"
	"iter"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/money"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
	"cloudsettle/store/internal/daypack"
)

// UnbilledOn implements core.UsageReader. It walks the list of what is open, so
// that a day that is settled again costs nothing but what is left of it.
func (r *reader) UnbilledOn(
	ctx context.Context, day usage.Day, p core.Page,
) iter.Seq2[core.Unbilled, error] {
	return func(yield func(core.Unbilled, error) bool) {
		if r.over {
			yield(core.Unbilled{}, errOver)
			return
		}
		prefix := appendPeriod(nil, day)
		after := afterIn(prefix, p.After)
		payers := payers{reader: r}
		left := p.Limit
		for key := range r.scan(usageOpen, prefix, after, ascending) {
			u, err := payers.unbilled(ctx, day, key)
			if !yield(u, err) || err != nil {
				return
			}
			if left--; left == 0 {
				return
			}
		}
	}
}

// UnbilledRanges implements core.UsageReader.
func (r *reader) UnbilledRanges(_ context.Context, day usage.Day, size int) ([]string, error) {
	if r.over {
		return nil, errOver
	}
	if size <= 0 {
		return nil, core.Invalid("invalid_range", "ranges of %d workspaces", size)
	}
	var ends []string
	n := 0
	last := ""
	for key := range r.scan(usageOpen, appendPeriod(nil, day), nil, ascending) {
		if n > 0 && n%size == 0 {
			ends = append(ends, last)
		}
		n++
		if n%size == 0 {
			last = string(key[periodSize:])
		}
	}
	return ends, nil
}

// payers finds who pays for the workspaces of one scan. Many have the same
// payer, who is read once.
type payers struct {
	*reader
	currencies map[account.ID]money.Currency
	listings   map[marketplace.SubscriptionID]marketplace.ListingID
}

func (p *payers) unbilled(ctx context.Context, day usage.Day, key []byte) (u core.Unbilled, err error) {
	id := workspace.ID(key[periodSize:])
	if u.Usage, err = daypack.Decode(p.usageValue(day, key), string(id), day); err != nil {
		return u, errUsage(string(id), day, err)
	}
	if u.Workspace, err = p.Workspace(ctx, id); err != nil {
		return u, err
	}
	held, err := p.lookup(bindingsHeld, string(id))
	if err != nil || held == nil {
		return u, err
	}
	if u.Binding, err = p.binding(string(held)); err != nil {
		return u, err
	}
	u.Currency, err = remember(&p.currencies, u.Binding.BillingAccount, func(id account.ID) (money.Currency, error) {
		a, err := p.BillingAccount(ctx, id)
		return money.Currency(a.Currency), err
	})
	if err != nil || u.Binding.Settlement.Subscription == "" {
		return u, err
	}
	u.Listing, err = remember(&p.listings, u.Binding.Settlement.Subscription,
		func(id marketplace.SubscriptionID) (marketplace.ListingID, error) {
			s, err := p.Subscription(ctx, id)
			return s.Listing, err
		})
	return u, err
}

// remember returns what find found for a key the first time.
func remember[K comparable, V any](known *map[K]V, key K, find func(K) (V, error)) (V, error) {
	if v, ok := (*known)[key]; ok {
		return v, nil
	}
	v, err := find(key)
	if err != nil {
		return v, err
	}
	if *known == nil {
		*known = map[K]V{}
	}
	(*known)[key] = v
	return v, nil
}
