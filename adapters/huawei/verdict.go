package huawei

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"cloudsettle/core/metering"
)

// throttlePause is how long a call waits after "rate limit exceeded". No page
// tells how long the limit lasts.
const throttlePause = time.Minute

// ruling is what an answer means for a record.
type ruling struct {
	verdict metering.Verdict
	// split says that the records of a call may be to blame, and which ones is
	// not told: halves are tried. Not at fault are keys, rights and limits.
	split   bool
	meaning string
}

// Keys of rulings on what has no code.
const (
	notSent    = "not sent"
	noAnswer   = "no answer"
	tooMany    = "429"
	gateway4xx = "gateway"
	unclear    = "unclear"
)

// rulings is the one table of what answers mean. Codes of four digits are about
// a whole call (page 0070649186), those of three about one record in
// AbnormalUsageDataInfo. A number means the same with MKT, CBC or nothing before
// it. What is not in the table may be on file.
func rulings() map[string]ruling {
	return map[string]ruling{
		"0000": {metering.OK, false, "accepted"},
		"0999": {metering.MaybeTaken, false, "internal error"},
		"0100": {metering.Refused, true, "a value has a wrong form or range"},
		"0101": {metering.Refused, true, "a parameter is invalid, missing or unknown"},
		"0102": {metering.NotTaken, false, "the signature does not hold: check key"},
		"0199": {metering.NotTaken, true, "request error"},
		// A wrong access key looks like this too, so it is not final.
		"0150": {metering.NotTaken, true, "the product is not of the access key's seller"},
		"0151": {metering.NotTaken, false, "the access key has no right to this call"},
		"0154": {metering.NotTaken, false, "illegal token"},
		"0250": {metering.Throttled, false, "rate limit exceeded"},
		"9001": {metering.Refused, true, "no such instance"},
		"9002": {metering.Refused, true, "invalid usage"},
		"9003": {metering.NotTaken, true, "too many records"},
		"9004": {metering.OutOfTime, true, "the period began more than 21 days ago"},
		// Known by name only.
		"9005": {metering.NotTaken, true, "refused for a reason that is not documented"},

		"001": {metering.Refused, false, "no such instance"},
		"002": {metering.Refused, false, "a time has a wrong form"},
		"003": {metering.Refused, false, "wrong usage value"},
		"004": {metering.Refused, false, "no metering_sn"},
		// The metering_sn is the id of a record, which never changes.
		"005": {metering.Same, false, "metering_sn on file already"},
		"006": {metering.Refused, false, "the product was withdrawn"},
		"007": {metering.OutOfTime, false, "too old"},
		"009": {metering.Refused, false, "the instance is not of this seller"},
		"010": {metering.Duplicate, false, "instance and period on file already"},
		"011": {metering.Refused, false, "the period is not within the resource's life"},
		"012": {metering.Refused, false, "the instance is not paid per use"},
		"013": {metering.NotActive, false, "the instance is in an abnormal state"},

		notSent:    {metering.NotTaken, false, "no connection"},
		noAnswer:   {metering.MaybeTaken, false, "no answer"},
		tooMany:    {metering.Throttled, false, "too many requests"},
		gateway4xx: {metering.NotTaken, false, "refused by the gateway: check the access key"},
		unclear:    {metering.MaybeTaken, false, "an answer that is not documented"},
	}
}

// answered rules on the answer to a whole call, and says which it was.
func (m *Meter) answered(status int, family, number string) (ruling, string) {
	r, known := m.rulings[number]
	known = known && len(number) == 4 && (family == "MKT" || family == "CBC" || family == "")
	switch {
	case known && (r.verdict != metering.OK || status == http.StatusOK):
		return r, fmt.Sprintf("%s (%s, status %d)", r.meaning, number, status)
	case status == http.StatusTooManyRequests:
		r = m.rulings[tooMany]
	case strings.HasPrefix(family, "APIG") && status >= 400 && status < 500:
		r = m.rulings[gateway4xx]
	default:
		r = m.rulings[unclear]
	}
	return r, fmt.Sprintf("%s (code %s, status %d)", r.meaning, printable(family+"."+number), status)
}

// listed rules on a record that an answer lists as abnormal.
func (m *Meter) listed(code string) (ruling, string) {
	if _, number, found := strings.Cut(code, "."); found {
		code = number
	}
	code = strings.TrimSpace(code)
	code = strings.Repeat("0", max(0, 3-len(code))) + code
	if r, known := m.rulings[code]; known && len(code) == 3 {
		return r, fmt.Sprintf("%s (%s)", r.meaning, code)
	}
	return m.rulings[unclear], "abnormal, code " + printable(code)
}

// result answers for one record. repeated says that it was sent before in the
// same report, and what is on file then is itself.
func (r ruling) result(id metering.RecordID, detail string, repeated bool) metering.Result {
	res := metering.Result{Record: id, Verdict: r.verdict, Detail: detail}
	switch {
	case r.verdict == metering.Throttled:
		res.RetryAfter = throttlePause
	case r.verdict == metering.Duplicate && repeated:
		res.Verdict = metering.Same
	}
	return res
}

// printable keeps what a code is made of: the rest of an answer is nobody's to
// see.
func printable(code string) string {
	const most = 24
	code = strings.Trim(code[:min(len(code), most)], ". ")
	for _, c := range code {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && c != '.' && c != ' ' {
			return "unknown"
		}
	}
	if code == "" {
		return "none"
	}
	return code
}
