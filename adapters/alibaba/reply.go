package alibaba

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

// noInstance is the instanceId of "not yet" and of "failed" alike; the
// marketplace asks again after both.
const noInstance = "0"

// Reply answers cb in the marketplace's dialect: JSON for its servers, a page
// or a redirect for a buyer's browser. It is total.
func (a *Adapter) Reply(cb core.Callback, ev marketplace.Event, out core.Outcome, err error) core.Reply {
	action := ev.Action
	if action == "" {
		action = peekAction(cb)
	}
	switch {
	case cb.Endpoint == endpointSSO || action == actionVerify:
		return a.browser(cb, ev, out, err)
	case err != nil:
		status, message := describe(cb, err)
		return a.failed(action, status, message+" (request "+cb.RequestID+")")
	case action == actionCreate:
		return a.created(ev, out)
	case accepted(ev, out):
		return jsonReply(http.StatusOK, a.succeeded)
	default:
		return a.failed(action, http.StatusOK, reason(out)+" (request "+cb.RequestID+")")
	}
}

// peekAction finds the action of a callback that Receive did not come to.
func peekAction(cb core.Callback) string {
	p, err := read(cb)
	if err != nil {
		return ""
	}
	return p.get("action")
}

// failures is the table of errors. The first that matches counts. Messages are
// ours: an internal error says nothing about itself.
var failures = []struct {
	err     error
	status  int
	message string
}{
	{core.ErrUnverified, http.StatusOK, "the token does not match the parameters"},
	{core.ErrTooLarge, http.StatusRequestEntityTooLarge, "the request is too large"},
	{core.ErrInvalid, http.StatusOK, "invalid parameters"},
	{core.ErrUnsupported, http.StatusOK, "unsupported action"},
	{core.ErrExpired, http.StatusOK, "the timeStamp is too far from now"},
	{core.ErrNotFound, http.StatusOK, "unknown instance"},
	{core.ErrNotUsable, http.StatusOK, "the instance is not usable now"},
	{core.ErrForbidden, http.StatusOK, "forbidden"},
	{core.ErrUnavailable, http.StatusServiceUnavailable, "unavailable, try again soon"},
	{core.ErrConflict, http.StatusServiceUnavailable, "changed meanwhile, try again soon"},
}

// describe returns the status and the words for an error.
func describe(cb core.Callback, err error) (int, string) {
	for _, f := range failures {
		if !errors.Is(err, f.err) {
			continue
		}
		switch {
		case errors.Is(err, core.ErrUnsupported) && !servedPath(cb.Endpoint):
			return http.StatusNotFound, "no such path"
		case errors.Is(err, core.ErrUnsupported) && served(cb) != nil:
			return http.StatusMethodNotAllowed, "unsupported method"
		case errors.Is(err, core.ErrInvalid):
			return f.status, f.message + details(err)
		}
		return f.status, f.message
	}
	return http.StatusInternalServerError, "internal error"
}

// details lists what a fault says about the parameters.
func details(err error) string {
	var f *core.Fault
	if !errors.As(err, &f) {
		return ""
	}
	var b strings.Builder
	if f.Detail != "" {
		b.WriteString(": " + f.Detail)
	}
	for i, p := range f.Fields {
		b.WriteString([]string{": ", "; "}[min(i, 1)] + p.Field + ": " + p.Detail)
	}
	return b.String()
}

// accepted reports whether the marketplace may forget a callback. What came
// before its purchase is kept either way, but a renewal or a change of
// something we do not know should be seen and asked again; an end need not.
func accepted(ev marketplace.Event, out core.Outcome) bool {
	early := out.Subscription != nil && !out.Subscription.Known()
	switch out.Result {
	case marketplace.Applied, marketplace.Duplicate, marketplace.Stale:
		return !early || mayBeEarly(ev.Kind)
	case marketplace.Waiting:
		return mayBeEarly(ev.Kind)
	case marketplace.Ignored, marketplace.Tested, marketplace.Answered, marketplace.Processing:
		return true
	}
	return false
}

func mayBeEarly(k marketplace.Kind) bool {
	return k == marketplace.Expired || k == marketplace.Resumed || k == marketplace.Ended
}

// reason says why an event was not accepted.
func reason(out core.Outcome) string {
	switch out.Result {
	case marketplace.Applied, marketplace.Duplicate, marketplace.Stale, marketplace.Waiting:
		return "the instance was not created yet"
	case marketplace.Replayed:
		return "used before"
	}
	return cmp.Or(out.Reason, "refused")
}

// created answers createInstance: with the same instanceId whenever it is
// asked, also when the instance is long released.
func (a *Adapter) created(ev marketplace.Event, out core.Outcome) core.Reply {
	switch out.Result {
	case marketplace.Applied, marketplace.Duplicate, marketplace.Stale, marketplace.Tested:
	default:
		return jsonReply(http.StatusOK, encode(createAnswer{InstanceID: noInstance}))
	}
	id := ev.Subject
	if out.Subscription != nil {
		id = cmp.Or(out.Subscription.Subject, id)
	}
	return jsonReply(http.StatusOK, encode(createAnswer{
		InstanceID: cmp.Or(id, noInstance),
		AppInfo: &appInfo{
			FrontEndURL: a.publicURL + cmp.Or(out.Landing, "/"),
			AdminURL:    a.publicURL + "/",
			AuthURL:     a.authURL,
		},
		Info: a.notes,
	}))
}

// failed tells the marketplace to ask again.
func (a *Adapter) failed(action string, status int, message string) core.Reply {
	var r core.Reply
	if action == actionCreate {
		r = jsonReply(status, encode(createAnswer{InstanceID: noInstance, Message: message}))
	} else {
		r = jsonReply(status, encode(a.answer(false, message)))
	}
	withHints(r.Header, status, "GET, POST")
	return r
}

// retryAfter is how long a sender is asked to wait, in seconds. The store is
// usually back by then.
const retryAfter = "30"

// withHints adds the headers that HTTP wants beside some statuses.
func withHints(h http.Header, status int, allow string) {
	switch status {
	case http.StatusMethodNotAllowed:
		h.Set("Allow", allow)
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", retryAfter)
	}
}

func (a *Adapter) answer(success bool, message string) successAnswer {
	if a.asString {
		return successAnswer{fmt.Sprint(success), message}
	}
	return successAnswer{success, message}
}

// encode writes v as JSON, URLs as they are. Answers are made of strings and
// cannot fail to encode.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return []byte(`{"success":false}`)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func jsonReply(status int, body []byte) core.Reply {
	return core.Reply{
		Status: status,
		Header: http.Header{"Content-Type": {"application/json"}},
		Body:   body,
	}
}
