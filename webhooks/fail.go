package webhooks

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"

	"github.com/labstack/echo/v4"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

// errPanic is what a panic is to the sender: a fault of ours, safe to repeat.
var errPanic = errors.New("a fault in the program")

// panicked answers a callback whose handling panicked.
func (r *receiver) panicked(m core.Marketplace, cb core.Callback, v any) (done core.Carried) {
	r.log.Error("panic in a callback", "listing", m.Listing.ID, "endpoint", cb.Endpoint,
		"request_id", cb.RequestID, "panic", panicText(v), slog.String("stack", string(debug.Stack())))
	done.Err = errPanic
	defer func() {
		if recover() != nil { // Reply itself is what panics
			done.Reply = problem(http.StatusInternalServerError, "internal", "", cb.RequestID)
		}
	}()
	done.Reply = m.Adapter.Reply(cb, marketplace.Event{}, core.Outcome{}, errPanic)
	return done
}

// panicText returns the text of run-time errors, which is ours, and only the
// fact of other panics, whose text may hold what a stranger sent.
func panicText(v any) string {
	if err, ok := v.(interface{ RuntimeError() }); ok {
		return err.(error).Error()
	}
	return "a panic of the program's own"
}

// nowhere answers a path below /webhooks that leads to nothing.
func (r *receiver) nowhere(c echo.Context) error {
	return r.refuse(c, "not_found", "Callbacks go to /webhooks/{listing}, or to register, events or sso below it.")
}

// refuse answers a request that no marketplace's dialect fits.
func (r *receiver) refuse(c echo.Context, code, detail string) error {
	id := r.svc.NewID("req")
	write(c.Response(), problem(http.StatusNotFound, code, detail, id), id)
	r.log.Warn("no such callback path", "outcome", code, "status", http.StatusNotFound, "request_id", id)
	return nil
}

// problem is an answer of RFC 9457.
func problem(status int, code, detail, requestID string) core.Reply {
	body, _ := json.Marshal(struct { // strings and numbers always encode
		Type      string `json:"type"`
		Title     string `json:"title"`
		Status    int    `json:"status"`
		Detail    string `json:"detail,omitempty"`
		Code      string `json:"code"`
		RequestID string `json:"request_id"`
	}{"about:blank", http.StatusText(status), status, detail, code, requestID})
	return core.Reply{
		Status: status, Header: http.Header{"Content-Type": {"application/problem+json"}}, Body: body,
	}
}
