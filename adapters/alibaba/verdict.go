package alibaba

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"cloudsettle/core/metering"
)

// apart is how far from each other two requests of one instance must be, for
// products that are not billed in real time (page PushMeteringData).
const apart = time.Minute

// repairTime is how long to wait when a person has to act first: a key, a
// permission, a clock. The records are good, so they wait.
const repairTime = 15 * time.Minute

// rule says what an answer means. Code matches itself and everything below it,
// "Invalid.Parameter" also "Invalid.Parameter.Instance"; without a code the
// status counts, for answers that have no code either.
type rule struct {
	code    string
	status  int
	verdict metering.Verdict
	wait    time.Duration
	// records says that records are at fault, maybe only some of those that
	// shared the call.
	records bool
	// unsure says that nothing was taken only by the reading of this error that
	// is usual, not by the marketplace's word.
	unsure bool
}

// rules is the table of failures. The codes are those of the page and of the
// API's metadata, then those of the gateway (inferred from its other
// products). Errors of the caller come with status 500 too, so a code goes
// before a status. What is not here may have been taken or not.
var rules = []rule{
	{code: "Service.Flow.Control", verdict: metering.Throttled, wait: apart},
	{code: "Invalid.Parameter", verdict: metering.Refused, records: true}, // also .Instance and .Metering
	{code: "Metering.Data.Exceeded", verdict: metering.Refused, records: true},
	{code: "Permission.Denied", verdict: metering.NotTaken, wait: repairTime},
	{code: "UnknownError", verdict: metering.NotTaken, wait: apart, unsure: true},

	{code: "Throttling", verdict: metering.Throttled, wait: apart},
	{code: "SignatureDoesNotMatch", verdict: metering.NotTaken, wait: repairTime},
	{code: "InvalidAccessKeyId", verdict: metering.NotTaken, wait: repairTime},
	{code: "InvalidTimeStamp", verdict: metering.NotTaken, wait: repairTime},
	{code: "Forbidden", verdict: metering.NotTaken, wait: repairTime},
	// The nonce was seen: something between us and them sent the call twice.
	{code: "SignatureNonceUsed", verdict: metering.MaybeTaken, wait: apart},
	{code: "ServiceUnavailable", verdict: metering.NotTaken, wait: apart, unsure: true},

	{status: http.StatusTooManyRequests, verdict: metering.Throttled, wait: apart},
	{status: http.StatusInternalServerError, verdict: metering.NotTaken, wait: apart, unsure: true},
	{status: http.StatusBadGateway, verdict: metering.NotTaken, wait: apart, unsure: true},
	{status: http.StatusServiceUnavailable, verdict: metering.NotTaken, wait: apart, unsure: true},
	// A gateway that waited in vain: what it waited for may still happen.
	{status: http.StatusGatewayTimeout, verdict: metering.MaybeTaken, wait: apart},
}

// unknownAnswer is the rule of everything that is not in the table.
var unknownAnswer = rule{verdict: metering.MaybeTaken, wait: apart}

// ruleOf returns the rule of a failure.
func ruleOf(status int, code string) rule {
	for _, r := range rules {
		switch {
		case code == "" && r.code == "" && r.status == status,
			r.code != "" && (code == r.code || strings.HasPrefix(code, r.code+".")):
			return r
		}
	}
	return unknownAnswer
}

// ruling is what a call means for each of the n records that shared it.
type ruling struct {
	rule
	provider, detail string
}

// judge reads what came back of a call for n records. parks says that errors
// of servers are not trusted to mean that nothing was taken; for several
// records they never are, because a call may have been half done.
func judge(got answered, n int, parks bool) ruling {
	switch {
	case got.status == 0 && !got.reached:
		return ruling{rule: rule{verdict: metering.NotTaken}, detail: "not sent: no connection"}
	case got.status == 0:
		return ruling{rule: unknownAnswer, detail: "sent, and no answer came"}
	}
	success, code, request := parsePush(got.body)
	if got.status == http.StatusOK && success && succeeded(code) {
		return ruling{rule: rule{verdict: metering.OK}, provider: request}
	}
	r := ruleOf(got.status, code)
	if r.unsure && (parks || n > 1) {
		r.verdict = metering.MaybeTaken
	}
	return ruling{rule: r, detail: fmt.Sprintf("status %d, code %.64q, request %.64q", got.status, code, request)}
}

// succeeded reports whether a code goes with success. The API of 2015-11-01
// has none then; which one the other has is not shown.
func succeeded(code string) bool {
	switch strings.ToLower(code) {
	case "", "200", "ok", "success":
		return true
	}
	return false
}
