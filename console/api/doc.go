// Package api serves the REST API under /api/v1, its description and its
// documentation page.
//
// A request flows one way:
//
//	authenticate → may this role do it? → strict JSON, limits and the
//	description → handler: decode, core, encode → or one problem+json
//
// Owns: the HTTP side of the API: keys, roles, shapes, errors. Does not own:
// rules; they live in core. openapi.yaml is the authority on JSON; package
// rest beside this one is generated from it.
package api
