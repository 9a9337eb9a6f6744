package alibaba

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"cloudsettle/core/metering"
)

// actionPush is the action of both APIs.
const actionPush = "PushMeteringData"

// internationalAPI is the newer API of the international site. Its field names
// are those of the official SDKs; that lists are flattened as Name.N.Field is
// inferred from them.
var internationalAPI = version{"marketplaceintl", apiInternational}

// entry is a record that is fit to be sent. What is sent depends on the record
// alone, so that every attempt sends the same.
type entry struct {
	*metering.Record
	key, assist string
}

// dialect writes entries in the words of one API.
type dialect interface {
	// call returns the call that reports entries; its endpoint is not set.
	call(entries []entry) apiCall
}

// chinaDialect is the API of 2015-11-01. Times are seconds, as text.
type chinaDialect struct{}

type chinaRecord struct {
	InstanceID string        `json:"InstanceId"`
	StartTime  string        `json:"StartTime"`
	EndTime    string        `json:"EndTime"`
	Entities   []chinaEntity `json:"Entities"`
}

// chinaEntity: the last name is really spelled like that (page
// PushMeteringData, official sample).
type chinaEntity struct {
	Key    string `json:"Key"`
	Value  string `json:"Value"`
	Assist string `json:"meteringAssit,omitempty"`
}

func (chinaDialect) call(entries []entry) apiCall {
	list := make([]chinaRecord, len(entries))
	for n, e := range entries {
		list[n] = chinaRecord{
			InstanceID: e.Subject,
			StartTime:  strconv.FormatInt(e.PeriodStart.Unix(), 10),
			EndTime:    strconv.FormatInt(e.PeriodEnd.Unix(), 10),
			Entities:   []chinaEntity{{e.key, strconv.FormatInt(e.Units, 10), e.assist}},
		}
	}
	return apiCall{
		api: marketAPI, action: actionPush,
		query: map[string]string{"Metering": string(encode(list))},
	}
}

// internationalDialect is the API of 2022-12-30. Times are milliseconds.
type internationalDialect struct{ zone *time.Location }

func (d internationalDialect) call(entries []entry) apiCall {
	form := make(map[string]string, 1+5*len(entries))
	var sealed time.Time
	for n, e := range entries {
		prefix := "MeteringData." + strconv.Itoa(n+1) + "."
		form[prefix+"InstanceId"] = e.Subject
		form[prefix+"StartTime"] = strconv.FormatInt(e.PeriodStart.UnixMilli(), 10)
		form[prefix+"EndTime"] = strconv.FormatInt(e.PeriodEnd.UnixMilli(), 10)
		form[prefix+"MeteringEntity"] = fmt.Sprintf("{%q:%d}", e.key, e.Units)
		if e.assist != "" {
			form[prefix+"MeteringAssist"] = e.assist
		}
		if e.SealedAt.After(sealed) {
			sealed = e.SealedAt
		}
	}
	// The time of sealing, not of sending: the same on every attempt. Its zone
	// is not stated.
	form["GmtCreate"] = sealed.In(d.zone).Format(time.DateTime)
	return apiCall{api: internationalAPI, action: actionPush, form: form}
}

// pushAnswer answers PushMeteringData. The types differ between the APIs and
// from what the pages say.
type pushAnswer struct {
	Success   any `json:"Success"`
	Code      any `json:"Code"`
	RequestID any `json:"RequestId"`
}

// parsePush reads an answer of whatever kind; what is no JSON is empty.
func parsePush(body []byte) (success bool, code, request string) {
	var a pushAnswer
	if err := json.Unmarshal(body, &a); err != nil {
		return false, "", ""
	}
	return a.Success == true || a.Success == "true", text(a.Code), text(a.RequestID)
}

func text(v any) string {
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}
