package api

import (
	"context"

	"cloudsettle/console/api/rest"
	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/marketplace"
)

// handlers implements the operations: decode, core, encode. Errors are core's;
// the guard answers them.
type handlers struct {
	svc    *core.Service
	tables map[rest.ExportBillsParamsOf]table // of exports
}

var _ rest.StrictServerInterface = handlers{}

// Whoami implements rest.StrictServerInterface.
func (h handlers) Whoami(ctx context.Context, _ rest.WhoamiRequestObject) (rest.WhoamiResponseObject, error) {
	who := requestOf(ctx).Actor
	return rest.Whoami200JSONResponse{
		Name: who.Name, Role: rest.Role(who.Role), BillingAccountID: optional(string(who.BillingAccount)),
	}, nil
}

// ListBillingAccounts implements rest.StrictServerInterface.
func (h handlers) ListBillingAccounts(
	ctx context.Context, r rest.ListBillingAccountsRequestObject,
) (rest.ListBillingAccountsResponseObject, error) {
	list, err := h.svc.FindBillingAccounts(ctx, requestOf(ctx).Actor, core.AccountFilter{
		UserName: value(r.Params.UserName), Email: value(r.Params.Email),
	}, page(r.Params.Limit, r.Params.Cursor))
	return rest.ListBillingAccounts200JSONResponse{
		Data: encodeAll(list.Items, encodeBillingAccount), NextCursor: list.Next,
	}, err
}

// CreateBillingAccount implements rest.StrictServerInterface.
func (h handlers) CreateBillingAccount(
	ctx context.Context, r rest.CreateBillingAccountRequestObject,
) (rest.CreateBillingAccountResponseObject, error) {
	a, err := h.svc.CreateBillingAccount(ctx, requestOf(ctx), account.Account{
		UserName: r.Body.UserName, Email: r.Body.Email, Phone: value(r.Body.Phone), Currency: r.Body.Currency,
	})
	return rest.CreateBillingAccount201JSONResponse(encodeBillingAccount(a)), err
}

// GetBillingAccount implements rest.StrictServerInterface.
func (h handlers) GetBillingAccount(
	ctx context.Context, r rest.GetBillingAccountRequestObject,
) (rest.GetBillingAccountResponseObject, error) {
	a, err := h.svc.BillingAccount(ctx, requestOf(ctx).Actor, account.ID(r.ID))
	return rest.GetBillingAccount200JSONResponse(encodeBillingAccount(a)), err
}

// UpdateBillingAccount implements rest.StrictServerInterface.
func (h handlers) UpdateBillingAccount(
	ctx context.Context, r rest.UpdateBillingAccountRequestObject,
) (rest.UpdateBillingAccountResponseObject, error) {
	a, err := h.svc.SetArbitrarySettlement(ctx, account.ID(r.ID), r.Body.ArbitrarySettlement)
	return rest.UpdateBillingAccount200JSONResponse(encodeBillingAccount(a)), err
}

// ownerFilter reads the filter of a list by billing account. Another account's
// is not found, like everything else of it.
func ownerFilter(ctx context.Context, id *string) (account.ID, error) {
	owner := account.ID(value(id))
	if owner != "" && !requestOf(ctx).Actor.May(owner) {
		return "", core.NotFound("billing account", string(owner))
	}
	return owner, nil
}

// ListCloudAccounts implements rest.StrictServerInterface.
func (h handlers) ListCloudAccounts(
	ctx context.Context, r rest.ListCloudAccountsRequestObject,
) (rest.ListCloudAccountsResponseObject, error) {
	owner, err := ownerFilter(ctx, r.Params.BillingAccountID)
	if err != nil {
		return nil, err
	}
	list, err := h.svc.FindCloudAccounts(ctx, requestOf(ctx).Actor, core.CloudAccountFilter{
		Owner: owner, Listing: marketplace.ListingID(value(r.Params.Listing)),
		Provider: marketplace.Provider(value(r.Params.Provider)), ProviderID: value(r.Params.ProviderAccountID),
		Status: marketplace.Status(value(r.Params.Status)),
	}, page(r.Params.Limit, r.Params.Cursor))
	return rest.ListCloudAccounts200JSONResponse{
		Data: encodeAll(list.Items, encodeCloudAccount), NextCursor: list.Next,
	}, err
}

// GetCloudAccount implements rest.StrictServerInterface.
func (h handlers) GetCloudAccount(
	ctx context.Context, r rest.GetCloudAccountRequestObject,
) (rest.GetCloudAccountResponseObject, error) {
	v, err := h.svc.CloudAccount(ctx, requestOf(ctx).Actor, marketplace.AccountID(r.ID))
	return rest.GetCloudAccount200JSONResponse(encodeCloudAccount(v)), err
}

// ClaimCloudAccount implements rest.StrictServerInterface.
func (h handlers) ClaimCloudAccount(
	ctx context.Context, r rest.ClaimCloudAccountRequestObject,
) (rest.ClaimCloudAccountResponseObject, error) {
	v, err := h.svc.Claim(ctx, marketplace.AccountID(r.ID), account.ID(r.Body.BillingAccountID))
	return rest.ClaimCloudAccount200JSONResponse(encodeCloudAccount(v)), err
}

// ListSubscriptions implements rest.StrictServerInterface.
func (h handlers) ListSubscriptions(
	ctx context.Context, r rest.ListSubscriptionsRequestObject,
) (rest.ListSubscriptionsResponseObject, error) {
	list, err := h.svc.FindSubscriptions(ctx, requestOf(ctx).Actor, core.SubscriptionFilter{
		Listing: marketplace.ListingID(value(r.Params.Listing)), Status: marketplace.Status(value(r.Params.Status)),
		CloudAccount: marketplace.AccountID(value(r.Params.CloudAccountID)), ProviderID: value(r.Params.ProviderSubscriptionID),
	}, page(r.Params.Limit, r.Params.Cursor))
	return rest.ListSubscriptions200JSONResponse{
		Data: encodeAll(list.Items, encodeSubscription), NextCursor: list.Next,
	}, err
}

// GetSubscription implements rest.StrictServerInterface.
func (h handlers) GetSubscription(
	ctx context.Context, r rest.GetSubscriptionRequestObject,
) (rest.GetSubscriptionResponseObject, error) {
	s, err := h.svc.Subscription(ctx, requestOf(ctx).Actor, marketplace.SubscriptionID(r.ID))
	return rest.GetSubscription200JSONResponse(encodeSubscription(s)), err
}
