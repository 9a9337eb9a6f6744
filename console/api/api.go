package api

import (
	"context"
	_ "embed"
	"fmt"
	"net/http"
	"net/url"
	"sort"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/labstack/echo/v4"

	"cloudsettle/console/api/rest"
	"cloudsettle/core"
)

//go:embed openapi.yaml
var specification []byte

// Specification returns openapi.yaml as it is served.
func Specification() []byte { return append([]byte(nil), specification...) }

// Register adds the API to e: everything below /api. It answers every error
// below /api itself, also unknown paths and methods, whatever routes the rest
// of the server has.
func Register(e *echo.Echo, svc *core.Service) error {
	spec, err := openapi3.NewLoader().LoadFromData(specification)
	if err != nil {
		return fmt.Errorf("api: openapi.yaml: %w", err)
	}
	if err := spec.Validate(context.Background()); err != nil {
		return fmt.Errorf("api: openapi.yaml: %w", err)
	}
	page, err := renderDocs(spec)
	if err != nil {
		return fmt.Errorf("api: documentation: %w", err)
	}
	g := guard{svc: svc, problems: Problems{Log: svc.Log, NewID: svc.NewID}}
	before := g.operations(spec)
	rest.RegisterHandlersWithOptions(e, rest.NewStrictHandler(handlers{svc, exportTables(spec)}, nil), rest.RegisterHandlersOptions{
		OperationMiddlewares: before,
	})
	e.POST("/api/v1/usage", newIntake(svc).report, before["reportUsage"]...)
	e.GET("/api/openapi.yaml", serve("application/yaml", specification))
	e.GET("/api/docs", serve(echo.MIMETextHTMLCharsetUTF8, page))
	e.RouteNotFound("/api", g.unrouted(spec))
	e.RouteNotFound("/api/*", g.unrouted(spec))
	return nil
}

// docsPolicy lets the documentation page use its own style and nothing else.
const docsPolicy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"

func serve(contentType string, body []byte) echo.HandlerFunc {
	return func(c echo.Context) error {
		h := c.Response().Header()
		h.Set(echo.HeaderXContentTypeOptions, "nosniff")
		h.Set(echo.HeaderContentSecurityPolicy, docsPolicy)
		return c.Blob(http.StatusOK, contentType, body)
	}
}

// unrouted answers what no operation matches: 405 with Allow where the path
// has other methods, else 404.
func (g guard) unrouted(spec *openapi3.T) echo.HandlerFunc {
	return func(c echo.Context) error {
		err := echo.ErrNotFound
		if allow := methodsAt(spec, c.Request().URL.Path); len(allow) > 0 {
			c.Response().Header().Set(echo.HeaderAllow, strings.Join(allow, ", "))
			err = echo.ErrMethodNotAllowed
		}
		g.problems.Handle(err, c)
		return nil
	}
}

// methodsAt returns the methods that the description has for a path.
func methodsAt(spec *openapi3.T, path string) []string {
	if path == "/api/docs" || path == "/api/openapi.yaml" {
		return []string{http.MethodGet}
	}
	var out []string
	for template, item := range spec.Paths.Map() {
		if !matches(template, path) {
			continue
		}
		for method := range item.Operations() {
			out = append(out, method)
		}
	}
	sort.Strings(out)
	return out
}

func matches(template, path string) bool {
	want, got := strings.Split(template, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return false
	}
	for i := range want {
		if want[i] != got[i] && (!strings.HasPrefix(want[i], "{") || got[i] == "") {
			return false
		}
	}
	return true
}

// pathParams returns the path's parameters, decoded.
func pathParams(c echo.Context) (map[string]string, error) {
	out := make(map[string]string, len(c.ParamNames()))
	for i, name := range c.ParamNames() {
		value, err := url.PathUnescape(c.ParamValues()[i])
		if err != nil {
			return nil, echo.ErrNotFound
		}
		out[name] = value
	}
	return out, nil
}
