package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/labstack/echo/v4"

	"cloudsettle/console/api/rest"
	"cloudsettle/core"
	"cloudsettle/core/pricing"
)

const (
	// maxBody bounds a request's body. The largest that the description allows,
	// but for price books and usage, is below 2 KiB; the rest is room for
	// clients that indent.
	maxBody = 64 << 10

	// answerWithin is how long an operation that reads the whole store may take
	// until it answers.
	answerWithin = 10 * time.Minute

	// maxSecret bounds what is hashed to look for a key; ours have 56
	// characters, bootstrap keys are chosen by people.
	maxSecret = 512

	idempotencyKey = "Idempotency-Key"
)

// guard stands before every operation.
type guard struct {
	svc      *core.Service
	problems Problems
}

// operation is one operation of the description.
type operation struct {
	id    string
	route *routers.Route
	query map[string]bool // the parameters it knows
	table table           // of a list's items, for CSV
}

// slow reports whether an operation may look at the whole store.
func (o operation) slow() bool {
	switch o.id {
	case "verify", "previewSettlementRun", "exportBill", "exportBills":
		return true
	}
	return false
}

// limit bounds the body of an operation.
func (o operation) limit() int64 {
	if o.id == "createPriceBook" {
		return pricing.MaxFile
	}
	return maxBody
}

// takes reports whether an operation's body may have a media type.
func (o operation) takes(mediaType string) bool {
	return o.route.Operation.RequestBody.Value.Content[mediaType] != nil
}

// operations returns the middleware of each operation by its id.
func (g guard) operations(spec *openapi3.T) map[string][]echo.MiddlewareFunc {
	out := map[string][]echo.MiddlewareFunc{}
	for path, item := range spec.Paths.Map() {
		for method, op := range item.Operations() {
			o := operation{id: op.OperationID, query: map[string]bool{}, route: &routers.Route{
				Spec: spec, Path: path, PathItem: item, Method: method, Operation: op,
			}}
			for _, p := range op.Parameters {
				if p.Value.In == openapi3.ParameterInQuery {
					o.query[p.Value.Name] = true
				}
			}
			o.table = listTable(op)
			out[o.id] = []echo.MiddlewareFunc{g.before(o)}
		}
	}
	return out
}

// before lets a request through to its handler, or answers what is wrong with
// it. It answers the handler's errors too.
func (g guard) before(op operation) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			g.problems.RequestID(c)
			h := c.Response().Header()
			h.Set(echo.HeaderCacheControl, "no-store")
			h.Set(echo.HeaderXContentTypeOptions, "nosniff")
			if op.query[formatParameter] {
				negotiate(c)
			}
			err := g.admit(c, op)
			if err == nil && op.table != nil && c.Request().URL.Query().Get(formatParameter) == string(rest.Csv) {
				err = op.table.answer(c, next)
			} else if err == nil {
				err = next(c)
			}
			g.problems.Handle(err, c)
			return nil
		}
	}
}

// admit checks who asks and what, in this order: who may not ask learns
// nothing about what was asked.
func (g guard) admit(c echo.Context, op operation) error {
	actor, err := g.authenticate(c.Request())
	if err != nil {
		return err
	}
	if permitted(op.id)&roleSet(actor.Role) == 0 {
		return &core.Fault{
			Err: core.ErrForbidden, Code: "forbidden",
			Detail: fmt.Sprintf("a key with role %s may not use %s", actor.Role, op.id),
		}
	}
	if err := knownQuery(c.Request(), op); err != nil {
		return err
	}
	if op.slow() {
		// Real time, whatever the program's clock says; not a socket in tests.
		_ = http.NewResponseController(c.Response()).SetWriteDeadline(time.Now().Add(answerWithin))
	}
	var body []byte
	if op.id != "reportUsage" { // which reads its own
		if body, err = readBody(c, op); err != nil {
			return err
		}
		if err := conforms(c, op); err != nil {
			return err
		}
	}
	r := core.Request{Actor: actor, Key: c.Request().Header.Get(idempotencyKey), Digest: digest(c.Request(), body)}
	c.SetRequest(c.Request().WithContext(withRequest(c.Request().Context(), r)))
	return nil
}

// authenticate returns who the key of r stands for. Nothing about a key that
// does not hold is told but that.
func (g guard) authenticate(r *http.Request) (core.Actor, error) {
	values := r.Header.Values(echo.HeaderAuthorization)
	if len(values) != 1 {
		return core.Actor{}, unauthorized("send one header Authorization: Bearer KEY")
	}
	scheme, secret, _ := strings.Cut(values[0], " ")
	secret = strings.TrimSpace(secret)
	if !strings.EqualFold(scheme, "bearer") || secret == "" || len(secret) > maxSecret {
		return core.Actor{}, unauthorized("send one header Authorization: Bearer KEY")
	}
	return g.svc.Authenticate(r.Context(), secret)
}

func unauthorized(detail string) error {
	return &core.Fault{Err: core.ErrUnverified, Code: "unauthorized", Detail: detail}
}

// knownQuery refuses unknown and repeated query parameters: a misspelt filter
// would quietly return everything.
func knownQuery(r *http.Request, op operation) error {
	f := &core.Fault{Err: core.ErrInvalid, Code: "invalid_parameters", Detail: "some parameters are wrong"}
	for name, values := range r.URL.Query() {
		switch {
		case !op.query[name]:
			f.Fields = append(f.Fields, core.FieldFault{Field: name, Detail: "is not a parameter of this operation"})
		case len(values) > 1:
			f.Fields = append(f.Fields, core.FieldFault{Field: name, Detail: "is given more than once"})
		}
	}
	if len(f.Fields) > 0 {
		return f
	}
	return nil
}

// readBody reads the whole body, which must be one JSON value unless the
// operation takes other forms too, and puts it back. An operation without a body takes none or an empty object.
func readBody(c echo.Context, op operation) ([]byte, error) {
	r := c.Request()
	if r.Method == http.MethodGet {
		return nil, nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Response(), r.Body, op.limit()))
	if err != nil {
		return nil, unreadable(err, op.limit())
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	switch {
	case op.route.Operation.RequestBody == nil:
		if text := strings.TrimSpace(string(body)); text != "" && text != "{}" {
			return nil, core.Invalid("unexpected_body", "this operation takes no body")
		}
	case len(body) == 0:
		return nil, core.Invalid("invalid_json", "the body is empty")
	case !op.takes(mediaType(r)):
		return nil, echo.ErrUnsupportedMediaType
	case mediaType(r) != echo.MIMEApplicationJSON: // the handler reads it
	case !utf8.Valid(body) || !json.Valid(body):
		return nil, core.Invalid("invalid_json", "the body is not one JSON value in UTF-8")
	}
	return body, nil
}

// unreadable tells a body over the limit from one that did not arrive.
func unreadable(err error, limit int64) error {
	if _, known := classify(err); known {
		return &core.Fault{
			Err: core.ErrTooLarge, Code: "too_large",
			Detail: fmt.Sprintf("the body is longer than %d bytes", limit),
		}
	}
	return core.Invalid("incomplete_body", "the body did not arrive whole")
}

// conforms checks the request against the description.
func conforms(c echo.Context, op operation) error {
	params, err := pathParams(c)
	if err != nil {
		return err
	}
	return refusal(openapi3filter.ValidateRequest(c.Request().Context(), &openapi3filter.RequestValidationInput{
		Request: c.Request(), PathParams: params, Route: op.route,
		Options: &openapi3filter.Options{
			MultiError: true, KeepValidatedValue: true, SkipSettingDefaults: true,
			ExcludeRequestBody: op.route.Operation.RequestBody != nil && mediaType(c.Request()) != echo.MIMEApplicationJSON,
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, // authenticate came first
		},
	}))
}

// digest tells whether two requests with one idempotency key ask the same.
func digest(r *http.Request, body []byte) string {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%s\x00%s\x00", r.Method, r.URL.Path)
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil))
}

// requestKey finds a request's core.Request in its context: the signature of
// generated handlers leaves no other way in.
type requestKey struct{}

func withRequest(ctx context.Context, r core.Request) context.Context {
	return context.WithValue(ctx, requestKey{}, r)
}

// requestOf returns who asks and how to recognize a repeat. Handlers run only
// behind guard.admit, which has put it there.
func requestOf(ctx context.Context) core.Request {
	return ctx.Value(requestKey{}).(core.Request)
}
