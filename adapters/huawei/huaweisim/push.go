package huaweisim

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// usageRecord is one record as it is pushed. Pointers tell what is missing.
type usageRecord struct {
	InstanceID  *string         `json:"instance_id"`
	RecordTime  *string         `json:"record_time"`
	BeginTime   *string         `json:"begin_time"`
	EndTime     *string         `json:"end_time"`
	UsageValue  json.RawMessage `json:"usage_value"`
	MeteringSN  *string         `json:"metering_sn"`
	RelatePkgID *string         `json:"relate_pkg_instance"`
}

// refusal is an answer that is not success.
type refusal struct {
	status    int
	code, msg string
}

// finding is a record that is listed as abnormal.
type finding struct {
	record *Pushed
	code   string
}

// pushUsage serves usage push.
func (s *Sim) pushUsage(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	s.mu.Lock()
	slow := time.Duration(s.meter.faults.Slow)
	refused, found, cut := s.push(r, body)
	var answer map[string]any
	if refused == nil {
		answer = s.listing(found)
	}
	s.mu.Unlock()
	if cut {
		panic(http.ErrAbortHandler) // ends the connection without an answer
	}
	if slow > 0 {
		t := time.NewTimer(slow)
		defer t.Stop()
		select {
		case <-t.C:
		case <-r.Context().Done():
			return
		}
	}
	if refused != nil {
		writeJSON(w, refused.status, map[string]any{"error_code": refused.code, "error_msg": refused.msg})
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

// push checks a call, takes its records in, and misbehaves. The caller holds
// the lock.
func (s *Sim) push(r *http.Request, body []byte) (refused *refusal, found []finding, cut bool) {
	m, now := &s.meter, s.cfg.Now()
	m.calls++
	f := &m.faults
	if now.Before(m.downUntil) || s.happens(&f.Dropped) {
		return nil, nil, true
	}
	if refused = s.admit(r, body, now); refused != nil {
		return refused, nil, false
	}
	switch {
	case s.happens(&f.Throttle): // the documentation prints this code so
		return &refusal{http.StatusNotAcceptable, "CBC. 0250", "rate limit exceeded"}, nil, false
	case s.happens(&f.Broken):
		return &refusal{http.StatusInternalServerError, "MKT.0999", "internal error"}, nil, false
	case s.happens(&f.Unknown):
		return &refusal{http.StatusBadRequest, "MKT.7777", "?"}, nil, false
	}
	records, refused := s.parse(body, now)
	if refused != nil {
		return refused, nil, false
	}
	if refused, found = s.take(records); refused != nil {
		return refused, nil, false
	}
	switch {
	case s.happens(&f.Lost):
		return nil, nil, true
	case s.happens(&f.BrokenAfter):
		refused = &refusal{http.StatusInternalServerError, "MKT.0999", "internal error"}
	case s.happens(&f.UnknownAfter):
		refused = &refusal{http.StatusOK, "MKT.7777", "?"}
	}
	return refused, found, false
}

// admit checks who calls, how often, and both signatures.
func (s *Sim) admit(r *http.Request, body []byte, now time.Time) *refusal {
	if err := verifyCall(r, body, s.own.AccessKeyID, s.own.SecretAccessKey, now); err != nil {
		return &refusal{http.StatusUnauthorized, "APIGW.0301", "Incorrect IAM authentication information"}
	}
	m := &s.meter
	for len(m.recent) > 0 && now.Sub(m.recent[0]) >= rateSpan {
		m.recent = m.recent[1:]
	}
	if m.recent = append(m.recent, now); len(m.recent) > cmp.Or(s.own.Metering.Rate, defaultRate) {
		m.tooFast++
		return &refusal{http.StatusNotAcceptable, "MKT.0250", "rate limit exceeded"}
	}
	ts, nonce := r.Header.Get("ts"), r.Header.Get("nonce")
	want := base64.StdEncoding.EncodeToString(
		hash(s.key, "ts=", ts, "&nonce=", nonce, "&body=", sorted(body)))
	ms, err := strconv.ParseInt(ts, 10, 64)
	late := now.Sub(time.UnixMilli(ms)).Abs() > maxDateSkew
	switch {
	case err != nil || len(nonce) == 0 || len(nonce) > 64 || late:
		return &refusal{http.StatusBadRequest, "MKT.0101", "header ts or nonce"}
	case r.Header.Get("signature") != want:
		return &refusal{http.StatusBadRequest, "MKT.0102", "Invalid body sign"}
	}
	return nil
}

// sorted writes a body again, compact and with keys ascending on every level.
func sorted(body []byte) string {
	var v any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return ""
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // it was just decoded
	return strings.TrimSuffix(b.String(), "\n")
}

// parse reads the records of a call and judges each.
func (s *Sim) parse(body []byte, now time.Time) ([]finding, *refusal) {
	var req struct {
		Records []json.RawMessage `json:"usage_records"`
	}
	if err := strictly(body, &req); err != nil || len(req.Records) == 0 {
		return nil, &refusal{http.StatusBadRequest, "MKT.0101", "invalid parameter"}
	}
	if len(req.Records) > min(cmp.Or(s.own.Metering.Batch, defaultBatch), mostBatch) {
		return nil, &refusal{http.StatusInternalServerError, "MKT.9003", "too many records"}
	}
	records := make([]finding, len(req.Records))
	for n, raw := range req.Records {
		var u usageRecord
		if strictly(raw, &u) != nil || u.incomplete() {
			return nil, &refusal{http.StatusBadRequest, "MKT.0101", "invalid, extra or missing parameter"}
		}
		p, recorded, err := s.read(&u)
		if err != nil {
			return nil, &refusal{http.StatusInternalServerError, "MKT.0100", err.Error()}
		}
		p.raw, p.ReceivedAt = string(raw), now
		records[n] = finding{p, s.judge(p, recorded, now)}
	}
	return records, nil
}

func strictly(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

func (u *usageRecord) incomplete() bool {
	return u.InstanceID == nil || u.RecordTime == nil || u.BeginTime == nil || u.EndTime == nil ||
		u.UsageValue == nil || u.MeteringSN == nil
}

// read checks the form of a record.
func (s *Sim) read(u *usageRecord) (p *Pushed, recorded time.Time, err error) {
	begin, err1 := pushTime(*u.BeginTime)
	end, err2 := pushTime(*u.EndTime)
	recorded, err3 := pushTime(*u.RecordTime)
	usage, err4 := s.usage(u.UsageValue)
	for _, id := range []string{*u.InstanceID, *u.MeteringSN} {
		if id == "" || len(id) > 64 {
			err = errors.New("instance_id or metering_sn")
		}
	}
	return &Pushed{
		MeteringSN: *u.MeteringSN, InstanceID: *u.InstanceID, Begin: begin, End: end, Usage: usage,
	}, recorded, errors.Join(err1, err2, err3, err4, err)
}

func pushTime(v string) (time.Time, error) { return time.Parse("20060102T150405Z", v) }

// usageForm is Double(12,4) without sign and exponent, in which the site wants
// it: a string in China, a number elsewhere, unless the configuration differs.
var usageForm = regexp.MustCompile(`^[0-9]{1,8}(\.[0-9]{1,4})?$`)

func (s *Sim) usage(raw json.RawMessage) (int64, error) {
	text := string(raw)
	form := s.own.Metering.UsageValue
	if form == "" && s.own.China() {
		form = "string"
	}
	if form == "string" {
		if text = strings.Trim(text, `"`); len(text)+2 != len(raw) {
			return 0, errors.New("usage_value is not a string")
		}
	}
	if !usageForm.MatchString(text) {
		return 0, errors.New("usage_value")
	}
	whole, fraction, _ := strings.Cut(text, ".")
	n, err := strconv.ParseInt(whole+(fraction + "0000")[:4], 10, 64)
	if err != nil || n <= 0 {
		return 0, errors.New("usage_value is not above zero")
	}
	return n, nil
}

// take files records as the validation in force says, and returns those that
// the answer lists.
func (s *Sim) take(records []finding) (*refusal, []finding) {
	m := &s.meter
	if m.faults.Validation == validateBatch {
		for _, r := range records {
			if refused := batchRefusal(r.code); refused != nil && m.bySN[r.record.MeteringSN] == nil {
				return refused, nil
			}
		}
	}
	partial := s.happens(&m.faults.Partial)
	var listed []finding
	for _, r := range records {
		before := m.bySN[r.record.MeteringSN]
		switch {
		case before != nil && before.raw != r.record.raw:
			s.violateLocked("metering_sn %s: sent again with other content", r.record.MeteringSN)
			listed = append(listed, finding{r.record, "005"})
		case before != nil: // whether this is told is not documented
			if m.faults.Validation != validateLater && s.rnd.IntN(2) == 0 {
				listed = append(listed, finding{r.record, []string{"005", "010"}[s.rnd.IntN(2)]})
			}
		case partial && s.rnd.IntN(2) == 0:
			listed = append(listed, finding{r.record, "777"})
		case r.code != "" && m.faults.Validation != validateLater:
			listed = append(listed, r)
		default:
			if r.record.Code = r.code; m.byPeriod[period{r.record.InstanceID, r.record.Begin, r.record.End}] {
				r.record.Code = cmp.Or(r.code, "010") // twice in this call
			}
			m.file(r.record)
		}
	}
	return nil, listed
}

// batchRefusal is how a whole call is refused for a record.
func batchRefusal(code string) *refusal {
	switch code {
	case "":
		return nil
	case "001":
		return &refusal{http.StatusInternalServerError, "MKT.9001", "instance not found"}
	case "007":
		return &refusal{http.StatusInternalServerError, "MKT.9004", "begin_time is too old"}
	default:
		return &refusal{http.StatusInternalServerError, "MKT.9002", "invalid usage entries"}
	}
}

// listing is the answer to a call that was taken. The documentation names its
// types and not its keys, so all that fit occur, in an order of no meaning.
func (s *Sim) listing(found []finding) map[string]any {
	answer := map[string]any{"error_code": "MKT.0000", "error_msg": "success"}
	if len(found) == 0 {
		if s.rnd.IntN(2) == 0 {
			answer["abnormal_usage_data_info"] = nil
		}
		return answer
	}
	list := make([]map[string]any, len(found))
	for n, f := range found {
		list[n] = abnormalForm(s.rnd, f)
	}
	s.rnd.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	switch s.rnd.IntN(3) {
	case 0:
		answer["abnormal_usage_data"] = list
	case 1:
		answer["abnormalUsageDataInfo"] = map[string]any{"abnormalUsageData": list}
	default:
		answer["abnormal_usage_data_info"] = map[string]any{"total": len(list), "abnormal_usage_data": list}
	}
	return answer
}

func abnormalForm(rnd *rand.Rand, f finding) map[string]any {
	switch p := f.record; rnd.IntN(3) {
	case 0:
		return map[string]any{"metering_sn": p.MeteringSN, "error_code": f.code, "error_msg": "abnormal"}
	case 1:
		return map[string]any{
			"instanceId": p.InstanceID, "beginTime": p.Begin.UTC().Format("20060102T150405Z"),
			"endTime": p.End.UTC().Format("20060102T150405Z"), "code": "MKT." + f.code,
		}
	default:
		return map[string]any{"usage_data": json.RawMessage(p.raw), "abnormal_code": f.code}
	}
}
