package huawei

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/def"

	"cloudsettle/core/metering"
)

const (
	usagePath = "/api/mkp-openapi-public/global/v1/isv/usage-data"
	// pushTime is how times of a record are written, in UTC.
	pushTime = "20060102T150405Z"
	// pushTimeout bounds one call; a thousand records take KooGallery seconds.
	pushTimeout = 15 * time.Second
	// mostCalls bounds one report. It finds one bad record among a thousand: one
	// call, and two for each halving. What is left is not tried.
	mostCalls = 21
	// clockSlack is how long a period must be over before it is pushed:
	// KooGallery drops one that is not over by its own clock, without a word.
	clockSlack = time.Minute
	maxPushID  = 64 // bytes of instance_id and metering_sn, as documented
)

// entry is a record on its way.
type entry struct {
	id   metering.RecordID
	wire usageRecord
}

// Report pushes records, in one call if all goes well. OK means that KooGallery
// took a record in: it validates in the background, and tells of what it drops
// then in the seller's console only. Where a call is refused because of records
// it does not name, halves of it are sent, at Terms().Rate.
func (m *Meter) Report(ctx context.Context, records []metering.Record) []metering.Result {
	p := push{Meter: m, ctx: ctx, results: make([]metering.Result, 0, len(records))}
	p.send(p.check(records), false)
	return p.results
}

// push is one report under way.
type push struct {
	*Meter
	ctx     context.Context //nolint:containedctx // lives for one report
	calls   int
	results []metering.Result
}

// check answers for the records that are not to be sent and returns the others.
func (p *push) check(records []metering.Record) []entry {
	now := p.api.now()
	entries := make([]entry, 0, min(len(records), p.terms.Batch))
	ids := make(map[metering.RecordID]bool, len(records))
	keys := make(map[periodKey]bool, len(records))
	for i := range records {
		r := &records[i]
		if ids[r.ID] {
			continue // one answer for one record
		}
		ids[r.ID] = true
		w := p.wire(r)
		res := p.refusal(r, now)
		switch {
		case res.Verdict != "":
		case keys[w.key()]:
			res.Verdict, res.Detail = metering.Refused, "instance and period twice in one call"
		case len(entries) == p.terms.Batch:
			res.Verdict, res.Detail = metering.NotTaken, "more records than one call may have"
		default:
			keys[w.key()] = true
			entries = append(entries, entry{r.ID, w})
			continue
		}
		p.results = append(p.results, res)
	}
	return entries
}

// refusal says why a record is not sent; no verdict means that it is.
func (m *Meter) refusal(r *metering.Record, now time.Time) metering.Result {
	res := metering.Result{Record: r.ID, Verdict: metering.Refused}
	over := r.PeriodEnd.Add(clockSlack)
	switch mode := r.Attributes["chargingMode"]; {
	case r.Listing != m.listing:
		res.Detail = "a record of another listing"
	case r.Dimension != dimension:
		res.Detail = "dimension: not " + dimension
	case !pushable(string(r.ID)):
		res.Detail = "id: cannot be a metering_sn"
	case !pushable(r.Subject):
		res.Detail = "subject: cannot be an instance_id"
	case mode != "" && mode != "ON_DEMAND" && mode != "0":
		res.Detail = "the instance is not paid per use"
	case r.Units < 1 || r.Units > maxUnits:
		res.Detail = fmt.Sprintf("units: %d is not between 1 and %d", r.Units, maxUnits)
	case !inSeconds(r.PeriodStart) || !inSeconds(r.PeriodEnd) || !r.PeriodStart.Before(r.PeriodEnd):
		res.Detail = "period: not in whole seconds, or its end is not after its start"
	case !now.Before(r.PeriodStart.Add(window)):
		res.Verdict, res.Detail = metering.OutOfTime, "the period began 21 days ago"
	case now.Before(over):
		res.Verdict, res.Detail = metering.NotTaken, "the period is not over"
		res.RetryAfter = over.Sub(now)
	default:
		res.Verdict = ""
	}
	return res
}

// pushable reports whether s can be an identifier on the wire: nothing that one
// JSON encoder escapes and another does not, for the signature covers the body.
func pushable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return false
		}
	}
	return s != "" && len(s) <= maxPushID
}

func inSeconds(t time.Time) bool { return t.Nanosecond() == 0 }

// wire returns what is sent of a record. It depends on nothing else, so that
// every attempt sends the same bytes: the time of the record is when it was
// sealed, and not before its period was over.
func (m *Meter) wire(r *metering.Record) usageRecord {
	units := strconv.AppendInt(make([]byte, 0, 22), r.Units, 10)
	if !m.numbers {
		units = append(append([]byte{'"'}, units...), '"')
	}
	return usageRecord{
		BeginTime: r.PeriodStart.UTC().Format(pushTime), EndTime: r.PeriodEnd.UTC().Format(pushTime),
		InstanceID: r.Subject, MeteringSN: string(r.ID),
		RecordTime: later(r.SealedAt, r.PeriodEnd).UTC().Format(pushTime), UsageValue: units,
	}
}

// send pushes entries and answers for each. Where the answer blames a record
// and does not say which, it sends the halves; again says that these entries
// were sent before in this report.
func (p *push) send(entries []entry, again bool) {
	if len(entries) == 0 {
		return
	}
	if p.calls == mostCalls {
		p.all(entries, p.rulings[notSent], "not tried: too many bad records at once", again)
		return
	}
	if err := p.pace.await(p.ctx); err != nil {
		p.all(entries, p.rulings[notSent], "not tried: no time left", again)
		return
	}
	p.calls++
	status, body, cause := p.post(entries)
	if cause != "" {
		p.all(entries, p.rulings[cause], p.rulings[cause].meaning, again)
		return
	}
	r, detail, abnormal := p.read(status, body)
	switch half := len(entries) / 2; {
	case r.split && half > 0:
		p.send(entries[:half], true)
		p.send(entries[half:], true)
	case r.verdict == metering.OK:
		p.match(entries, abnormal, again)
	default:
		p.all(entries, r, detail, again)
	}
}

// all gives every entry the same answer.
func (p *push) all(entries []entry, r ruling, detail string, again bool) {
	for _, e := range entries {
		p.results = append(p.results, r.result(e.id, detail, again))
	}
}

// read returns what an answer means, and which records it lists as abnormal.
func (p *push) read(status int, body string) (ruling, string, []abnormal) {
	var reply usageReply
	if err := json.Unmarshal([]byte(body), &reply); err != nil {
		reply = usageReply{}
	}
	family, number := resultCode(string(reply.ResultCode), string(reply.ErrorCode))
	r, detail := p.answered(status, family, number)
	if r.verdict != metering.OK {
		return r, detail, nil
	}
	list, err := parseAbnormal([]byte(body))
	if err != nil {
		return p.rulings[unclear], "a list of abnormal records that cannot be read", nil
	}
	return r, detail, list
}

// match answers for the entries of a call that was taken, by metering_sn or by
// instance and period, never by position. An abnormal record that is none of
// them may be any of them.
func (p *push) match(entries []entry, list []abnormal, again bool) {
	found := make(map[string]metering.Result, len(list))
	stray := false
	for _, ab := range list {
		e := find(entries, ab)
		if e == nil {
			stray = true
			continue
		}
		r, detail := p.listed(ab.code)
		res := r.result(e.id, detail, again)
		if before, twice := found[e.wire.MeteringSN]; twice && before.Verdict != res.Verdict {
			res = p.rulings[unclear].result(e.id, "listed as abnormal for two reasons", again)
		}
		found[e.wire.MeteringSN] = res
	}
	for _, e := range entries {
		res, listed := found[e.wire.MeteringSN]
		switch {
		case listed:
		case stray:
			res = p.rulings[unclear].result(e.id, "an abnormal record is not one of the call", again)
		default:
			res = metering.Result{Record: e.id, Verdict: metering.OK, ProviderID: e.wire.MeteringSN}
		}
		p.results = append(p.results, res)
	}
}

func find(entries []entry, ab abnormal) *entry {
	for i := range entries {
		e := &entries[i]
		if ab.sn == e.wire.MeteringSN || ab.sn == "" && ab.key == e.wire.key() {
			return e
		}
	}
	return nil
}

// post makes the call. A cause is why there is no answer. The documented
// fallback address is tried only if nothing was sent to the first.
func (p *push) post(entries []entry) (status int, body, cause string) {
	req := p.sign(entries, strconv.FormatInt(p.api.now().UnixMilli(), 10), rand.Text())
	for _, endpoint := range p.api.endpoints {
		a, sent, err := p.once(endpoint, req)
		switch {
		case err == nil:
			return a.HttpStatusCode, a.Body, ""
		case sent:
			return 0, "", noAnswer
		case p.ctx.Err() != nil:
			return 0, "", notSent
		}
	}
	return 0, "", notSent
}

func (p *push) once(endpoint string, req *usagePush) (sdkAnswer, bool, error) {
	ctx, cancel := context.WithTimeout(p.ctx, pushTimeout)
	defer cancel()
	return p.api.call(ctx, endpoint, req, usageRequest())
}

// usagePush is a request in the SDK's form. A Body that is a string is sent as
// it is; the SDK would append a line feed to anything else.
type usagePush struct {
	Body      string `json:"body"`
	Nonce     string `json:"nonce"`
	Signature string `json:"signature"`
	TS        string `json:"ts"`
}

// usageRequest describes one call.
func usageRequest() *def.HttpRequestDefBuilder {
	b := def.NewHttpRequestDefBuilder().WithMethod(http.MethodPost).WithPath(usagePath).
		WithRequestField(def.NewFieldDef().
			WithName("Body").WithJsonTag("body").WithLocationType(def.Body))
	for name, tag := range map[string]string{"Nonce": "nonce", "Signature": "signature", "TS": "ts"} {
		b = b.WithRequestField(def.NewFieldDef().
			WithName(name).WithJsonTag(tag).WithLocationType(def.Header))
	}
	return b
}

// sign encodes and signs a call: HMAC-SHA256 with the interconnection key, over
// time, nonce and the body with its keys ascending (page 0070649410). That the
// call needs this beside the signature of the access key is not said in one
// place; both are sent.
func (m *Meter) sign(entries []entry, ts, nonce string) *usagePush {
	body := encodeUsage(entries)
	mac := hmac.New(sha256.New, []byte(m.key))
	mac.Write([]byte("ts=" + ts + "&nonce=" + nonce + "&body=")) // a hash never fails
	mac.Write(body)
	return &usagePush{
		Body: string(body), Nonce: nonce, TS: ts,
		Signature: base64.StdEncoding.EncodeToString(mac.Sum(nil)),
	}
}

// encodeUsage writes the body; fields are declared in the order of their names.
func encodeUsage(entries []entry) []byte {
	records := make([]usageRecord, len(entries))
	for i := range entries {
		records[i] = entries[i].wire
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(usageBody{records}) // strings and digits always encode
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'})
}
