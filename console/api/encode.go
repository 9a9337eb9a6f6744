package api

import (
	"cmp"
	"encoding/base64"
	"strings"
	"time"
	"unicode/utf8"

	"cloudsettle/console/api/rest"
	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/workspace"
)

// page reads the parameters of a list; the description has checked them.
func page(limit *int, cursor *string) core.Page {
	p := core.Page{Limit: core.DefaultPage, After: value(cursor)}
	if limit != nil {
		p.Limit = *limit
	}
	return p
}

// value returns what p points to, or the zero value.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// optional returns nil for a zero value, which is then absent or null.
func optional[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// instant is a time as the store keeps it, so that the answer to a change and
// a later read agree.
func instant(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

func optionalInstant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = instant(t)
	return &t
}

// encodeAll encodes one page's items; an empty page is [], not null.
func encodeAll[T, U any](items []T, encode func(T) U) []U {
	out := make([]U, 0, len(items))
	for _, item := range items {
		out = append(out, encode(item))
	}
	return out
}

func encodeBillingAccount(a account.Account) rest.BillingAccount {
	return rest.BillingAccount{
		ID: string(a.ID), UserName: a.UserName, Email: a.Email, Phone: optional(a.Phone),
		Currency: a.Currency, ArbitrarySettlement: a.ArbitrarySettlement,
		Certification: optional(a.Certification), CreatedAt: instant(a.CreatedAt),
	}
}

func encodeCloudAccount(v core.CloudAccountView) rest.CloudAccount {
	return rest.CloudAccount{
		ID: string(v.ID), Provider: string(v.Provider), Listing: string(v.Listing),
		ProviderAccountID: v.ProviderID, Name: optional(v.Name), Status: rest.SubscriptionStatus(v.Status()),
		BillingAccountID: optional(v.BillingAccount), Workspaces: append([]string{}, v.Workspaces...),
		Subscriptions: encodeAll(v.Subscriptions, func(id marketplace.SubscriptionID) string { return string(id) }),
		CreatedAt:     instant(v.CreatedAt),
	}
}

func encodeSubscription(s marketplace.Subscription) rest.Subscription {
	return rest.Subscription{
		ID: string(s.ID), Listing: string(s.Listing), ProviderSubscriptionID: providerName(s),
		CloudAccountID: string(s.Account), Status: rest.SubscriptionStatus(s.Status), Sku: s.SKU,
		Quantity: s.Quantity, Trial: s.Trial, ExpiresAt: optionalInstant(s.ExpiresAt),
		ReplacesID: optional(string(s.Previous)), ReplacedByID: optional(string(s.Next)),
		CreatedAt: instant(s.CreatedAt), LastEventAt: instant(s.LastEventAt),
	}
}

// providerName is what the marketplace calls s: its subject, or where it has
// none, as with older protocols, its first other name without our prefix.
func providerName(s marketplace.Subscription) string {
	if s.Subject != "" || len(s.Also) == 0 {
		return s.Subject
	}
	prefix, name, _ := strings.Cut(s.Also[0], ":")
	return cmp.Or(name, prefix)
}

func encodeWorkspace(v core.WorkspaceView) rest.Workspace {
	w := rest.Workspace{
		ID: string(v.ID), Name: v.Name, Site: v.Site, OwnerEmail: v.OwnerEmail,
		Status: rest.WorkspaceStatus(v.Status()), LockedAt: optionalInstant(v.LockedAt),
		BufferEndsAt: optionalInstant(v.BufferEndsAt()), OpenedBy: optional(string(v.OpenedBy)),
		CreatedAt: instant(v.CreatedAt),
	}
	if b := v.Current; b != nil {
		settlement := encodeSettlement(b.Settlement)
		w.BillingAccountID, w.Settlement = optional(string(b.BillingAccount)), &settlement
	}
	return w
}

func encodeSettlement(s workspace.Settlement) rest.Settlement {
	return rest.Settlement{
		Method: rest.SettlementMethod(s.Method), SubscriptionID: optional(string(s.Subscription)),
	}
}

func encodeBinding(b workspace.Binding) rest.Binding {
	return rest.Binding{
		ID: string(b.ID), WorkspaceID: string(b.Workspace), BillingAccountID: string(b.BillingAccount),
		Settlement: encodeSettlement(b.Settlement), From: instant(b.From), To: optionalInstant(b.To),
		Cause: rest.BindingCause(b.Cause), By: optional(b.By),
	}
}

func encodeCallback(e core.JournalEntry) rest.Callback {
	return rest.Callback{
		ID: string(e.ID), Listing: string(e.Listing), Kind: string(e.Kind), Action: e.Action,
		DeliveryKey: e.Delivery, Verified: e.Verified, Outcome: rest.Outcome(e.Result), Reason: e.Reason,
		ReceivedAt: instant(e.ReceivedAt), Attempts: e.Attempts, Effects: append([]string{}, e.Effects...),
		SubscriptionID: optional(string(e.Subscription)),
	}
}

func encodeRequest(e core.JournalEntry) *rest.RawRequest {
	r := &rest.RawRequest{
		Method: e.Method, Endpoint: e.Endpoint, RawQuery: e.RawQuery,
		Body: string(e.Body), BodyEncoding: rest.UTF8,
	}
	if !utf8.Valid(e.Body) {
		r.Body, r.BodyEncoding = base64.StdEncoding.EncodeToString(e.Body), rest.Base64
	}
	return r
}

func encodeReplay(out core.Outcome) rest.Replay {
	return rest.Replay{
		Outcome: rest.Outcome(out.Result), Effects: append([]string{}, out.Effects...), Note: replayNote(out),
	}
}

// replayNote says in words what a replay did.
func replayNote(out core.Outcome) string {
	switch out.Result {
	case marketplace.Applied:
		return "applied"
	case marketplace.Duplicate:
		return "no effect (already applied)"
	case marketplace.Stale:
		return "no effect (superseded by what is known)"
	case marketplace.Waiting:
		return "no effect yet (the purchase it belongs to is not known)"
	}
	return strings.TrimSuffix("no effect ("+cmp.Or(out.Reason, string(out.Result))+")", " ()")
}

func encodeAPIKey(k core.APIKey) rest.APIKey {
	return rest.APIKey{
		ID: k.ID, Name: k.Name, Role: rest.Role(k.Role), BillingAccountID: optional(string(k.BillingAccount)),
		Hint: k.Hint, CreatedAt: instant(k.CreatedAt), RevokedAt: optionalInstant(k.RevokedAt),
	}
}

func encodeSite(s workspace.Site) rest.Site {
	return rest.Site{Code: s.Code, Cloud: optional(string(s.Cloud)), TimeZone: s.Zone.String()}
}

func encodeListing(m core.Marketplace) rest.Listing {
	return rest.Listing{
		ID: string(m.Listing.ID), Provider: string(m.Listing.Provider), Currency: m.Listing.Currency,
		OnRelease: rest.ListingOnRelease(m.Listing.OnRelease),
	}
}
