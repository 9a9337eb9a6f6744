package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"cloudsettle/console/api/rest"
	"cloudsettle/core"
)

// problemType is the media type of errors (RFC 9457, section 3).
const problemType = "application/problem+json"

// retryAfter is how many seconds a caller should wait when the store or a
// provider is unavailable: longer than a store's restart, short for a person.
const retryAfter = 2

// class is how one kind of error looks from outside.
type class struct {
	is     error
	status int
	code   string // unless a core.Fault has its own
}

// classes is the one table from core's errors to HTTP. The first that matches
// holds; what matches none is a fault of ours and tells nothing.
func classes() []class {
	return []class{
		{core.ErrKeyReused, http.StatusUnprocessableEntity, "idempotency_key_reused"},
		{core.ErrTooLarge, http.StatusRequestEntityTooLarge, "too_large"},
		{core.ErrUnverified, http.StatusUnauthorized, "unauthorized"},
		{core.ErrForbidden, http.StatusForbidden, "forbidden"},
		{core.ErrNotFound, http.StatusNotFound, "not_found"},
		{core.ErrUnsupported, http.StatusNotFound, "unsupported"},
		{core.ErrExpired, http.StatusGone, "expired"},
		{core.ErrConflict, http.StatusConflict, "conflict"},
		{core.ErrNotUsable, http.StatusConflict, "not_usable"},
		{core.ErrInvalid, http.StatusBadRequest, "invalid"},
		{core.ErrUnavailable, http.StatusServiceUnavailable, "unavailable"},
		{context.DeadlineExceeded, http.StatusServiceUnavailable, "unavailable"},
		{context.Canceled, http.StatusServiceUnavailable, "unavailable"},
	}
}

// Problems answers errors as application/problem+json. Its Handle is an
// echo.HTTPErrorHandler for the whole server.
type Problems struct {
	Log *slog.Logger
	// NewID makes request ids where no middleware before set X-Request-Id.
	NewID func(prefix string) string
}

// Handle answers err. Nothing happens if an answer was begun already.
func (p Problems) Handle(err error, c echo.Context) {
	if err == nil || c.Response().Committed {
		return
	}
	problem := describe(err)
	problem.RequestID = p.RequestID(c)
	h := c.Response().Header()
	switch problem.Status {
	case http.StatusUnauthorized:
		h.Set(echo.HeaderWWWAuthenticate, `Bearer realm="api"`)
	case http.StatusServiceUnavailable:
		h.Set(echo.HeaderRetryAfter, strconv.Itoa(retryAfter))
	case http.StatusInternalServerError:
		p.Log.ErrorContext(c.Request().Context(), "request failed", "request_id", problem.RequestID,
			"method", c.Request().Method, "route", c.Path(), "error", err)
	}
	p.write(c, problem)
}

func (p Problems) write(c echo.Context, problem rest.Problem) {
	body, err := json.Marshal(problem)
	if err == nil {
		err = c.Blob(problem.Status, problemType, body)
	}
	if err != nil {
		p.Log.Debug("answer not written", "request_id", problem.RequestID, "error", err)
	}
}

// RequestID returns the id of the request, which every answer carries in
// X-Request-Id. It is ours: callers cannot choose what our logs say.
func (p Problems) RequestID(c echo.Context) string {
	h := c.Response().Header()
	if id := h.Get(echo.HeaderXRequestID); id != "" {
		return id
	}
	id := p.NewID("req")
	h.Set(echo.HeaderXRequestID, id)
	return id
}

// describe says what of err may be told, without the request's id.
func describe(err error) rest.Problem {
	status, code, detail := http.StatusInternalServerError, "internal", "internal error"
	problem := rest.Problem{Type: "about:blank", Errors: []rest.FieldProblem{}}
	var fault *core.Fault
	var routing *echo.HTTPError
	if known, ok := classify(err); ok {
		status, code, detail = known.status, known.code, known.is.Error()
		if errors.As(err, &fault) {
			code, detail = fault.Code, fault.Detail
			for _, f := range fault.Fields {
				problem.Errors = append(problem.Errors, rest.FieldProblem{Field: f.Field, Detail: f.Detail})
			}
		}
	} else if errors.As(err, &routing) && routing.Code < http.StatusInternalServerError {
		status, code, detail = routing.Code, routingCode(routing.Code), http.StatusText(routing.Code)
	}
	problem.Status, problem.Title = status, http.StatusText(status)
	problem.Code, problem.Detail = code, detail
	return problem
}

func classify(err error) (class, bool) {
	var tooLong *http.MaxBytesError
	if errors.As(err, &tooLong) {
		err = core.ErrTooLarge
	}
	for _, c := range classes() {
		if errors.Is(err, c.is) {
			return c, true
		}
	}
	return class{}, false
}

// routingCode names what Echo itself refuses.
func routingCode(status int) string {
	switch status {
	case http.StatusNotFound:
		return "unknown_route"
	case http.StatusMethodNotAllowed:
		return "method_not_allowed"
	case http.StatusRequestEntityTooLarge:
		return "too_large"
	case http.StatusUnsupportedMediaType:
		return "unsupported_media_type"
	}
	return "invalid"
}
