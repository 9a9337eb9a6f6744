package aws

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	entitlement "github.com/aws/aws-sdk-go-v2/service/marketplaceentitlementservice"
	"github.com/aws/aws-sdk-go-v2/service/marketplaceentitlementservice/types"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

// Limits of asking for entitlements.
const (
	entitlementPage  = 25  // the most that AWS allows
	entitlementPages = 100 // more is a fault of the service: a product has at most 200 dimensions
)

// The keys of a filter. An account holds the entitlements of all its
// agreements, so a license is asked for wherever one is known.
const (
	byLicense  = "LICENSE_ARN"
	byAccount  = "CUSTOMER_AWS_ACCOUNT_ID"
	byCustomer = "CUSTOMER_IDENTIFIER"
)

// Complete asks GetEntitlements what the buyer of a contract is entitled to
// now. AWS does not say what changed, only that something did.
func (a *Adapter) Complete(ctx context.Context, ev marketplace.Event) (marketplace.Event, error) {
	if !ev.Incomplete {
		return ev, nil
	}
	found, err := a.entitled(ctx, ev)
	if err != nil {
		return ev, fmt.Errorf("aws: entitlements of %s: %w", firstName(ev), err)
	}
	ev.Incomplete = false
	if ev.Kind == marketplace.Changed {
		ev.Kind = a.changeKind(found)
	}
	return entitle(ev, found), nil
}

func firstName(ev marketplace.Event) string {
	return append(names(ev.Subject), append(ev.Also, "nobody")...)[0]
}

// entitled returns the entitlements that ev is about. If AWS finds none by the
// license's ARN, its spelling may be to blame; the buyer's account has them all.
func (a *Adapter) entitled(ctx context.Context, ev marketplace.Event) ([]types.Entitlement, error) {
	if ev.Subject == "" {
		return a.entitlements(ctx, byCustomer, ev.Attributes[attrCustomer])
	}
	arn := ev.Attributes[attrLicense]
	if arn == "" {
		arn = spellARN(ev.Attributes[attrLicenseAsSent])
	}
	found, err := a.entitlements(ctx, byLicense, arn)
	if (err == nil && len(found) > 0) || core.IsRetryable(err) || ev.Account == "" {
		return found, err
	}
	all, err := a.entitlements(ctx, byAccount, ev.Account)
	for _, e := range all {
		if licenseID(sdk.ToString(e.LicenseArn)) == ev.Subject {
			found = append(found, e)
		}
	}
	return found, err
}

// spellARN respells the ARN of an event, aws:license-manager:REGION:ACCOUNT:ID,
// as the entitlement service does.
func spellARN(asSent string) string {
	parts := strings.Split(strings.TrimPrefix(asSent, "arn:"), ":")
	if len(parts) < 5 {
		return asSent
	}
	return "arn:" + parts[0] + ":license-manager::" + parts[3] + ":license:" + licenseID(asSent)
}

// entitlements asks until no token is left: a page may be empty and still not
// be the last (API Reference, GetEntitlements).
func (a *Adapter) entitlements(ctx context.Context, key, value string) ([]types.Entitlement, error) {
	in := &entitlement.GetEntitlementsInput{
		ProductCode: &a.cfg.ProductCode, MaxResults: sdk.Int32(entitlementPage),
		Filter: map[string][]string{key: {value}},
	}
	var found []types.Entitlement
	for range entitlementPages {
		out, err := a.cloud.entitlement.GetEntitlements(ctx, in)
		var invalid *types.InvalidParameterException
		switch {
		case errors.As(err, &invalid):
			return nil, core.Invalid("unknown_license", "AWS does not know %s", clip(value))
		case err != nil:
			return nil, unavailable("GetEntitlements", err)
		}
		found = append(found, out.Entitlements...)
		if sdk.ToString(out.NextToken) == "" {
			return found, nil
		}
		in.NextToken = out.NextToken
	}
	return nil, unavailable("GetEntitlements", errors.New("there is no end of pages"))
}

// changeKind says what entitlement-updated means, which AWS sends for a new
// contract, an upgrade, a renewal and an expiry alike. No entitlements are left
// when a contract is over. A legacy contract without consumption has no other
// notification, so for it this one activates.
func (a *Adapter) changeKind(found []types.Entitlement) marketplace.Kind {
	switch {
	case len(found) == 0:
		return marketplace.Ended
	case a.cfg.Model == Contract:
		return marketplace.Activated
	case !lastDay(found).IsZero():
		return marketplace.Retermed
	default:
		return marketplace.Changed
	}
}

// entitle adds entitlements to ev. A License Updated without any stays what it
// is: an empty answer may only mean that AWS has not caught up.
func entitle(ev marketplace.Event, found []types.Entitlement) marketplace.Event {
	attrs := attributes()
	maps.Copy(attrs, ev.Attributes)
	var dimensions []string
	for _, e := range found {
		dimension, value := sdk.ToString(e.Dimension), valueOf(e.Value)
		if _, twice := attrs[attrEntitlement+dimension]; !twice {
			dimensions = append(dimensions, dimension)
		}
		attrs[attrEntitlement+dimension] = value
	}
	ev.Attributes = attrs
	ev.ExpiresAt = lastDay(found)
	slices.Sort(dimensions)
	ev.SKU = strings.Join(dimensions, "+")
	if len(found) == 1 && found[0].Value != nil && found[0].Value.IntegerValue != nil {
		ev.Quantity = int64(*found[0].Value.IntegerValue) // several have no common unit
	}
	return ev
}

// lastDay returns when the last entitlement runs out. That is the least that
// AWS promises; a renewal moves it.
func lastDay(found []types.Entitlement) time.Time {
	var last time.Time
	for _, e := range found {
		if e.ExpirationDate != nil && e.ExpirationDate.After(last) {
			last = e.ExpirationDate.UTC()
		}
	}
	return last
}

// valueOf writes whichever member of a value is set.
func valueOf(v *types.EntitlementValue) string {
	switch {
	case v == nil:
		return ""
	case v.IntegerValue != nil:
		return strconv.FormatInt(int64(*v.IntegerValue), 10)
	case v.BooleanValue != nil:
		return strconv.FormatBool(*v.BooleanValue)
	case v.DoubleValue != nil:
		return strconv.FormatFloat(*v.DoubleValue, 'f', -1, 64)
	default:
		return sdk.ToString(v.StringValue)
	}
}
