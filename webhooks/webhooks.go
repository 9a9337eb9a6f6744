package webhooks

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

// handleWithin bounds the work on one callback, so that an answer in the
// marketplace's dialect still leaves before the server's write timeout. Work
// that stops here is safe to repeat, and marketplaces do repeat it.
const handleWithin = 20 * time.Second

// endpoints are the paths below a listing that requests may name. Everything
// else that core knows as an endpoint, such as a queue that is pulled, is
// trusted in another way and must not be reachable from outside.
var endpoints = [...]string{"register", "events", "sso"}

// Options are what callers may choose; the zero value is useful.
type Options struct {
	// Log gets one line per callback; nil means the service's own.
	Log *slog.Logger
	// Observe, if set, is called once per callback after its answer was
	// written, from the request's goroutine.
	Observe func(Record)
}

// Register routes the methods that HTTP knows of /webhooks/{listing} and
// /webhooks/{listing}/{endpoint} to the adapters of svc.
func Register(e *echo.Echo, svc *core.Service, o Options) {
	r := &receiver{svc: svc, log: o.Log, observe: o.Observe}
	if r.log == nil {
		r.log = svc.Log
	}
	e.Any("/webhooks/:listing", r.base)
	e.Any("/webhooks/:listing/:endpoint", r.below)
	e.Any("/webhooks/*", r.nowhere)
	e.RouteNotFound("/webhooks/*", r.nowhere) // methods that Any does not list
}

type receiver struct {
	svc     *core.Service
	log     *slog.Logger
	observe func(Record)
}

func (r *receiver) base(c echo.Context) error { return r.serve(c, "") }

func (r *receiver) below(c echo.Context) error {
	endpoint := c.Param("endpoint")
	if !slices.Contains(endpoints[:], endpoint) {
		return r.nowhere(c)
	}
	return r.serve(c, endpoint)
}

// serve is the way of one callback: bytes in, one line of log, bytes out.
func (r *receiver) serve(c echo.Context, endpoint string) error {
	began, req := r.svc.Now(), c.Request()
	m, ok := r.svc.Marketplace(marketplace.ListingID(c.Param("listing")))
	if !ok {
		return r.refuse(c, "unknown_listing", "There is no listing of this name.")
	}
	cb := core.Callback{
		Listing: m.Listing.ID, Endpoint: endpoint, Method: req.Method, RawQuery: req.URL.RawQuery,
		Header: req.Header, ReceivedAt: began, RequestID: r.svc.NewID("req"),
	}
	done := r.carry(req, m, &cb)
	sent := write(c.Response(), done.Reply, cb.RequestID)
	r.record(m, cb, done, sent)
	return nil
}

// carry reads the request and carries it through the program. Whatever happens
// on the way, there is an answer.
func (r *receiver) carry(req *http.Request, m core.Marketplace, cb *core.Callback) (done core.Carried) {
	defer func() {
		if v := recover(); v != nil {
			done = r.panicked(m, *cb, v)
		}
	}()
	ctx, cancel := context.WithTimeout(req.Context(), handleWithin)
	defer cancel()
	if err := read(req, cb); err != nil {
		return r.svc.Refuse(m, *cb, err)
	}
	return r.svc.Carry(ctx, m, *cb)
}

// write sends reply as it is. It reports whether the connection took it.
func write(w *echo.Response, reply core.Reply, requestID string) bool {
	h := w.Header()
	maps.Copy(h, reply.Header)
	h["X-Request-Id"] = []string{requestID}
	w.WriteHeader(reply.Status)
	if len(reply.Body) == 0 {
		return true
	}
	_, err := w.Write(reply.Body)
	return err == nil
}
