package api

import (
	"context"

	"cloudsettle/console/api/rest"
	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/marketplace"
)

// ListCallbacks implements rest.StrictServerInterface.
func (h handlers) ListCallbacks(
	ctx context.Context, r rest.ListCallbacksRequestObject,
) (rest.ListCallbacksResponseObject, error) {
	refused := r.Params.Verified != nil && !*r.Params.Verified
	list, err := h.svc.FindCallbacks(ctx, core.CallbackFilter{
		Listing: marketplace.ListingID(value(r.Params.Listing)), Rejected: value(r.Params.Rejected) || refused,
		Kind: marketplace.Kind(value(r.Params.Kind)), Result: marketplace.Result(value(r.Params.Outcome)),
		Delivery: value(r.Params.DeliveryKey), Subscription: marketplace.SubscriptionID(value(r.Params.SubscriptionID)),
	}, page(r.Params.Limit, r.Params.Cursor))
	return rest.ListCallbacks200JSONResponse{
		Data: encodeAll(list.Items, encodeCallback), NextCursor: list.Next,
	}, err
}

// GetCallback implements rest.StrictServerInterface.
func (h handlers) GetCallback(
	ctx context.Context, r rest.GetCallbackRequestObject,
) (rest.GetCallbackResponseObject, error) {
	e, err := h.svc.CallbackEntry(ctx, marketplace.CallbackID(r.ID))
	out := encodeCallback(e)
	out.Request = encodeRequest(e)
	return rest.GetCallback200JSONResponse(out), err
}

// ReplayCallback implements rest.StrictServerInterface.
func (h handlers) ReplayCallback(
	ctx context.Context, r rest.ReplayCallbackRequestObject,
) (rest.ReplayCallbackResponseObject, error) {
	out, err := h.svc.Replay(ctx, marketplace.CallbackID(r.ID))
	return rest.ReplayCallback200JSONResponse(encodeReplay(out)), err
}

// ListAPIKeys implements rest.StrictServerInterface.
func (h handlers) ListAPIKeys(
	ctx context.Context, r rest.ListAPIKeysRequestObject,
) (rest.ListAPIKeysResponseObject, error) {
	list, err := h.svc.APIKeys(ctx, page(r.Params.Limit, r.Params.Cursor))
	return rest.ListAPIKeys200JSONResponse{
		Data: encodeAll(list.Items, encodeAPIKey), NextCursor: list.Next,
	}, err
}

// CreateAPIKey implements rest.StrictServerInterface.
func (h handlers) CreateAPIKey(
	ctx context.Context, r rest.CreateAPIKeyRequestObject,
) (rest.CreateAPIKeyResponseObject, error) {
	k, secret, err := h.svc.CreateAPIKey(ctx, requestOf(ctx), r.Body.Name,
		core.Role(r.Body.Role), account.ID(value(r.Body.BillingAccountID)))
	out := encodeAPIKey(k)
	out.Secret = optional(secret)
	return rest.CreateAPIKey201JSONResponse(out), err
}

// RevokeAPIKey implements rest.StrictServerInterface.
func (h handlers) RevokeAPIKey(
	ctx context.Context, r rest.RevokeAPIKeyRequestObject,
) (rest.RevokeAPIKeyResponseObject, error) {
	k, err := h.svc.RevokeAPIKey(ctx, r.ID)
	return rest.RevokeAPIKey200JSONResponse(encodeAPIKey(k)), err
}

// ListSites implements rest.StrictServerInterface.
func (h handlers) ListSites(context.Context, rest.ListSitesRequestObject) (rest.ListSitesResponseObject, error) {
	return rest.ListSites200JSONResponse{Data: encodeAll(h.svc.Sites, encodeSite)}, nil
}

// ListListings implements rest.StrictServerInterface.
func (h handlers) ListListings(
	context.Context, rest.ListListingsRequestObject,
) (rest.ListListingsResponseObject, error) {
	return rest.ListListings200JSONResponse{Data: encodeAll(h.svc.Marketplaces, encodeListing)}, nil
}
