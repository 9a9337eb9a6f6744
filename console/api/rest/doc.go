// Package rest is generated from openapi.yaml: the bodies of the REST API, the
// server interface that console/api implements, and the client that the
// command line uses.
//
// Owns: nothing by hand. Change openapi.yaml and run go generate.
package rest

//go:generate go tool oapi-codegen -config models.yaml ../openapi.yaml
//go:generate go tool oapi-codegen -config server.yaml ../openapi.yaml
//go:generate go tool oapi-codegen -config client.yaml ../openapi.yaml
