package aws

import (
	"encoding/json"
	"errors"
	"net/http"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

// answer is how one class of error is told to AWS and to a buyer's browser.
type answer struct {
	class  error
	status int
	word   string // for AWS
	page   page   // for the buyer
}

// answers is the whole table; what is in no row is internal. Of the statuses
// only 429 and 5xx make SNS and EventBridge try again (SNS Developer Guide,
// "Message delivery retries").
func answers() []answer {
	return []answer{
		{core.ErrUnverified, http.StatusForbidden, "not_authentic", pageInvalid},
		{core.ErrTooLarge, http.StatusRequestEntityTooLarge, "too_large", pageInvalid},
		{core.ErrUnsupported, http.StatusNotFound, "unsupported", pageHelp},
		{core.ErrExpired, http.StatusBadRequest, "expired", pageExpired},
		{core.ErrInvalid, http.StatusBadRequest, "invalid", pageInvalid},
		{core.ErrUnavailable, http.StatusServiceUnavailable, "unavailable", pageLater},
	}
}

func internal() answer {
	return answer{nil, http.StatusServiceUnavailable, "internal", pageLater}
}

func answerTo(err error) answer {
	for _, a := range answers() {
		if errors.Is(err, a.class) {
			return a
		}
	}
	return internal()
}

// Reply answers cb: a buyer's browser with a page or the way to one, AWS with
// a status and a line of JSON.
func (a *Adapter) Reply(cb core.Callback, _ marketplace.Event, out core.Outcome, err error) core.Reply {
	if cb.Endpoint == endpointRegister {
		return a.replyToBuyer(cb, out, err)
	}
	if err == nil { // a repeat gets the same answer, so it does not say what became of it
		return replyJSON(http.StatusOK, wireReply{Result: "accepted"})
	}
	ans := answerTo(err)
	body := wireReply{Error: ans.word, RequestID: cb.RequestID}
	var fault *core.Fault
	if errors.As(err, &fault) && ans.class == core.ErrInvalid {
		body.Error, body.Detail = fault.Code, fault.Detail
	}
	r := replyJSON(ans.status, body)
	if errors.Is(err, core.ErrUnsupported) && cb.Endpoint == endpointEvents {
		r.Status = http.StatusMethodNotAllowed
		r.Header.Set("Allow", http.MethodPost)
	}
	return r
}

// wireReply is for people who look at failed deliveries; AWS reads the status.
type wireReply struct {
	Result    string `json:"result,omitempty"`
	Error     string `json:"error,omitempty"`
	Detail    string `json:"detail,omitempty"`
	RequestID string `json:"request_id,omitempty"`
}

func replyJSON(status int, body wireReply) core.Reply {
	text, err := json.Marshal(body)
	if err != nil { // cannot be: only strings
		text = []byte("{}")
	}
	return core.Reply{
		Status: status,
		Header: http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}},
		Body:   append(text, '\n'),
	}
}

// replyToBuyer leads the browser to its landing page with a GET, so that going
// back and reloading does not submit the token again.
func (a *Adapter) replyToBuyer(cb core.Callback, out core.Outcome, err error) core.Reply {
	switch {
	case err == nil && out.Landing != "" && out.Result != marketplace.Refused:
		h := pageHeader()
		h.Set("Location", out.Landing)
		return core.Reply{Status: http.StatusSeeOther, Header: h}
	case err == nil && out.Result == marketplace.Refused:
		return a.replyPage(http.StatusConflict, pageRefused, cb.RequestID)
	case err == nil:
		return a.replyPage(http.StatusOK, pageAccepted, cb.RequestID)
	case errors.Is(err, core.ErrUnsupported) && isVisit(cb.Method):
		return a.replyPage(http.StatusOK, pageHelp, cb.RequestID) // a bookmark, or the back button
	case errors.Is(err, core.ErrUnsupported):
		r := a.replyPage(http.StatusMethodNotAllowed, pageHelp, cb.RequestID)
		r.Header.Set("Allow", "GET, HEAD, POST")
		return r
	}
	ans := answerTo(err)
	return a.replyPage(ans.status, ans.page, cb.RequestID)
}

func isVisit(method string) bool { return method == http.MethodGet || method == http.MethodHead }
