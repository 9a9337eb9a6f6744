package api

import (
	"context"

	"cloudsettle/console/api/rest"
	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/workspace"
)

// ListWorkspaces implements rest.StrictServerInterface.
func (h handlers) ListWorkspaces(
	ctx context.Context, r rest.ListWorkspacesRequestObject,
) (rest.ListWorkspacesResponseObject, error) {
	owner, err := ownerFilter(ctx, r.Params.BillingAccountID)
	if err != nil {
		return nil, err
	}
	list, err := h.svc.FindWorkspaces(ctx, requestOf(ctx).Actor, core.WorkspaceFilter{
		Owner: owner, Site: value(r.Params.Site), Status: workspace.Status(value(r.Params.Status)),
	}, page(r.Params.Limit, r.Params.Cursor))
	return rest.ListWorkspaces200JSONResponse{
		Data: encodeAll(list.Items, encodeWorkspace), NextCursor: list.Next,
	}, err
}

// CreateWorkspace implements rest.StrictServerInterface.
func (h handlers) CreateWorkspace(
	ctx context.Context, r rest.CreateWorkspaceRequestObject,
) (rest.CreateWorkspaceResponseObject, error) {
	v, err := h.svc.CreateWorkspace(ctx, requestOf(ctx), workspace.Workspace{
		Name: r.Body.Name, Site: r.Body.Site, OwnerEmail: r.Body.OwnerEmail,
	})
	return rest.CreateWorkspace201JSONResponse(encodeWorkspace(v)), err
}

// GetWorkspace implements rest.StrictServerInterface.
func (h handlers) GetWorkspace(
	ctx context.Context, r rest.GetWorkspaceRequestObject,
) (rest.GetWorkspaceResponseObject, error) {
	v, err := h.svc.Workspace(ctx, requestOf(ctx).Actor, workspace.ID(r.ID))
	return rest.GetWorkspace200JSONResponse(encodeWorkspace(v)), err
}

// ListBindings implements rest.StrictServerInterface.
func (h handlers) ListBindings(
	ctx context.Context, r rest.ListBindingsRequestObject,
) (rest.ListBindingsResponseObject, error) {
	owner, err := ownerFilter(ctx, r.Params.BillingAccountID)
	if err != nil {
		return nil, err
	}
	list, err := h.svc.FindBindings(ctx, requestOf(ctx).Actor, core.BindingFilter{
		Workspace: workspace.ID(value(r.Params.WorkspaceID)), Owner: owner,
		Subscription: marketplace.SubscriptionID(value(r.Params.SubscriptionID)),
	}, page(r.Params.Limit, r.Params.Cursor))
	return rest.ListBindings200JSONResponse{
		Data: encodeAll(list.Items, encodeBinding), NextCursor: list.Next,
	}, err
}

// CreateBinding implements rest.StrictServerInterface.
func (h handlers) CreateBinding(
	ctx context.Context, r rest.CreateBindingRequestObject,
) (rest.CreateBindingResponseObject, error) {
	b, err := h.svc.Bind(ctx, requestOf(ctx), core.Want{
		Workspace: workspace.ID(r.Body.WorkspaceID), BillingAccount: account.ID(r.Body.BillingAccountID),
		Settlement: decodeSettlement(r.Body.Settlement),
	})
	return rest.CreateBinding201JSONResponse(encodeBinding(b)), err
}

func decodeSettlement(s rest.Settlement) workspace.Settlement {
	return workspace.Settlement{
		Method: workspace.Method(s.Method), Subscription: marketplace.SubscriptionID(value(s.SubscriptionID)),
	}
}
