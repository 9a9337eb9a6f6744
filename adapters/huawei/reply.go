package huawei

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"unicode/utf16"
	"unicode/utf8"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

// The result codes that we answer with; the list is the same in both versions.
const (
	codeSuccess    = "000000"
	codeUnverified = "000001"
	codeInvalid    = "000002"
	codeUnknown    = "000003" // no such instance
	codeProcessing = "000004"
	codeInternal   = "000005"
	codeNoResource = "000100" // a purchase or upgrade cannot be served
)

// maxMessage bounds resultMsg in characters; documented are 255.
const maxMessage = 200

// Reply answers a callback of either version: always status 200 with a JSON
// result, signed over exactly its bytes. KooGallery repeats everything that is
// not answered with 000000, for hours, so a failure of ours costs a delay only.
func (a *Adapter) Reply(
	cb core.Callback, ev marketplace.Event, out core.Outcome, err error,
) core.Reply {
	var ans answer
	if err != nil {
		ans = failure(err)
	} else {
		ans = a.outcome(cb, ev, out)
	}
	if ans.ResultCode != codeSuccess && cb.RequestID != "" {
		ans.ResultMsg += " (request " + cb.RequestID + ")"
	}
	body := encode(ans)
	return core.Reply{
		Status: http.StatusOK,
		Header: http.Header{
			"Content-Type": {"application/json;charset=UTF-8"},
			"Body-Sign":    {bodySign(a.answerKey(cb), body)},
		},
		Body: body,
	}
}

// answerKey returns the key that KooGallery checks our answer with: the one it
// signed with, which during a change of keys need not be the first.
func (a *Adapter) answerKey(cb core.Callback) string {
	key := a.secrets[0].key
	if len(a.secrets) == 1 {
		return key
	}
	q, err := parseQuery(cb.RawQuery)
	if err != nil {
		return key
	}
	var signer *secret
	if cb.Method == http.MethodPost {
		signer, _, err = a.verifyV2(stampOf(q), cb.Body)
	} else {
		signer, _, err = a.verifyV1(q)
	}
	if err != nil {
		return key
	}
	return signer.key
}

// failure has an answer to every error. What is not the caller's doing is told
// without detail.
func failure(err error) answer {
	var f *core.Fault
	switch {
	case errors.Is(err, core.ErrUnverified), errors.Is(err, core.ErrExpired):
		return answer{ResultCode: codeUnverified, ResultMsg: "authentication failed"}
	case errors.Is(err, core.ErrInvalid) && errors.As(err, &f):
		return answer{ResultCode: codeInvalid, ResultMsg: limit(f.Error())}
	case errors.Is(err, core.ErrInvalid):
		return answer{ResultCode: codeInvalid, ResultMsg: "illegal parameter"}
	case errors.Is(err, core.ErrUnsupported):
		return answer{ResultCode: codeInvalid, ResultMsg: "unsupported activity or method"}
	case errors.Is(err, core.ErrTooLarge):
		return answer{ResultCode: codeInvalid, ResultMsg: "request too large"}
	case errors.Is(err, core.ErrNotFound):
		return answer{ResultCode: codeUnknown, ResultMsg: "no such instance"}
	case errors.Is(err, core.ErrUnavailable), errors.Is(err, core.ErrConflict):
		return answer{ResultCode: codeInternal, ResultMsg: "temporarily unavailable, try again"}
	default:
		return answer{ResultCode: codeInternal, ResultMsg: "internal error"}
	}
}

// outcome answers an event that was applied, or not, without an error.
func (a *Adapter) outcome(cb core.Callback, ev marketplace.Event, out core.Outcome) answer {
	ans := verdict(ev, out)
	switch {
	case ans.ResultCode != codeSuccess && ans.ResultCode != codeProcessing:
		return ans
	case ev.Kind == marketplace.Activated:
		return a.bought(cb, ev, out, ans)
	case ev.Kind == marketplace.Asked:
		return a.described(ev, out, ans)
	default:
		return ans
	}
}

// verdict is the table of results.
func verdict(ev marketplace.Event, out core.Outcome) answer {
	switch out.Result {
	case marketplace.Replayed:
		return answer{ResultCode: codeUnverified, ResultMsg: "nonce was used before"}
	case marketplace.Refused:
		return refused(ev, out)
	case marketplace.Processing:
		return answer{ResultCode: codeProcessing, ResultMsg: "being processed"}
	case marketplace.Applied, marketplace.Duplicate, marketplace.Stale, marketplace.Waiting,
		marketplace.Answered, marketplace.Ignored, marketplace.Tested:
		return settled(ev, out)
	default:
		return answer{ResultCode: codeInternal, ResultMsg: "internal error"}
	}
}

// settled tells success from an instance that nobody bought yet. A fact about
// one is kept until the purchase arrives, and the marketplace is told that the
// instance does not exist, each time, so that it tries again and somebody
// notices. A release is the exception: nothing is left to do for an instance
// that does not exist, and the fact makes the purchase end as soon as it comes.
func settled(ev marketplace.Event, out core.Outcome) answer {
	unknown := out.Result == marketplace.Waiting ||
		out.Subscription != nil && !out.Subscription.Known()
	switch {
	case !unknown || ev.Kind == marketplace.Ended:
		return answer{ResultCode: codeSuccess, ResultMsg: "success"}
	case ev.Kind == marketplace.Activated:
		return answer{ResultCode: codeProcessing, ResultMsg: "being processed"}
	default:
		return answer{ResultCode: codeUnknown, ResultMsg: "no such instance"}
	}
}

// refused uses the code for purchases and upgrades that cannot be served where
// the list has one, and that for unknown instances, else the general one.
func refused(ev marketplace.Event, out core.Outcome) answer {
	msg := limit(cmp.Or(out.Reason, "refused"))
	switch {
	case ev.Kind == marketplace.Activated, ev.Kind == marketplace.Changed:
		return answer{ResultCode: codeNoResource, ResultMsg: msg}
	case ev.Kind == marketplace.Checked && out.Subscription == nil:
		return answer{ResultCode: codeUnknown, ResultMsg: msg}
	default:
		return answer{ResultCode: codeInternal, ResultMsg: msg}
	}
}

// bought adds the instance. An identity is only given away once it is stored:
// another call of the same order proposes another one. A probe has no order
// behind it and gets its own proposal back.
func (a *Adapter) bought(cb core.Callback, ev marketplace.Event, out core.Outcome, ans answer) answer {
	switch {
	case out.Subscription != nil:
		ans.InstanceID = out.Subscription.Subject
	case ev.Test:
		ans.InstanceID = ev.Proposed
	}
	if ans.InstanceID == "" {
		return answer{ResultCode: codeInternal, ResultMsg: "internal error"}
	}
	if cb.Method == http.MethodGet {
		ans.AppInfo = a.appInfo(out.Landing)
	}
	return ans
}

// described adds what is known of the instances that were asked about. While
// one of them is being set up the answer as a whole is "being processed": the
// protocol has no state of a single instance.
func (a *Adapter) described(ev marketplace.Event, out core.Outcome, ans answer) answer {
	if ev.Test && len(out.Answers) == 0 {
		for _, id := range ev.Subjects {
			ans.Info = append(ans.Info, instanceInfo{id, a.appInfo("")})
		}
		return ans
	}
	pending := false
	for _, known := range out.Answers {
		switch s := known.Subscription; {
		case s == nil:
		case !s.Known() || s.Status == marketplace.StatusPending:
			pending = true
		default:
			ans.Info = append(ans.Info, instanceInfo{known.Subject, a.appInfo(known.Landing)})
		}
	}
	switch {
	case pending:
		ans.ResultCode, ans.ResultMsg = codeProcessing, "being processed"
	case len(ans.Info) == 0:
		ans.ResultCode, ans.ResultMsg = codeUnknown, "no such instance"
	}
	return ans
}

func (a *Adapter) appInfo(landing string) *appInfo {
	return &appInfo{FrontEndURL: a.publicURL + landing}
}

// limit shortens a message to what resultMsg may hold beside the request id.
func limit(s string) string {
	if utf8.RuneCountInString(s) <= maxMessage {
		return s
	}
	return string([]rune(s)[:maxMessage])
}

// encode writes the answer in ASCII: KooGallery shows other characters rightly
// only as \uXXXX.
func encode(ans answer) []byte {
	body, _ := json.Marshal(ans) // strings always encode
	for i := range body {
		if body[i] >= utf8.RuneSelf {
			return escape(body)
		}
	}
	return body
}

func escape(body []byte) []byte {
	out := make([]byte, 0, 2*len(body))
	for _, r := range string(body) {
		if r < utf8.RuneSelf {
			out = append(out, byte(r))
			continue
		}
		for _, u := range utf16.Encode([]rune{r}) {
			out = fmt.Appendf(out, `\u%04x`, u)
		}
	}
	return out
}
