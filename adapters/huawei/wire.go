package huawei

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// text is a JSON value that is documented as a string and that some senders
// write as a number, a boolean or null.
type text string

// UnmarshalJSON accepts every scalar.
func (t *text) UnmarshalJSON(b []byte) error {
	switch {
	case b[0] == '"':
		return t.unquote(b)
	case b[0] == '{' || b[0] == '[':
		return fmt.Errorf("a string is expected, not %.20s", b)
	case string(b) == "null":
		*t = ""
	default:
		*t = text(b)
	}
	return nil
}

// unquote spares the usual string, which has no escapes, a second decoder.
func (t *text) unquote(b []byte) error {
	if inner := b[1 : len(b)-1]; bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		*t = text(inner)
		return nil
	}
	return json.Unmarshal(b, (*string)(t))
}

// notice is the body of every version 2 callback; each activity uses some of it.
type notice struct {
	Activity    text            `json:"activity"`
	OrderID     text            `json:"orderId"`
	OrderLineID text            `json:"orderLineId"`
	BusinessID  text            `json:"businessId"`
	InstanceID  text            `json:"instanceId"`
	TestFlag    text            `json:"testFlag"`
	Scene       text            `json:"scene"`
	ProductID   text            `json:"productId"`
	ExpireTime  text            `json:"expireTime"`
	Status      text            `json:"status"`
	ProductInfo json.RawMessage `json:"productInfo"`
}

// product is what is bought, in an order line and in changeInstanceCheck.
type product struct {
	ProductID   text `json:"productId"`
	SKUCode     text `json:"skuCode"`
	LinearValue text `json:"linearValue"`
	ProductName text `json:"productName"`
}

// orderReply is the answer of Query order. Old copies of the page name the code
// error_code.
type orderReply struct {
	ResultCode text   `json:"resultCode"`
	ResultMsg  text   `json:"resultMsg"`
	ErrorCode  text   `json:"error_code"`
	ErrorMsg   text   `json:"error_msg"`
	OrderInfo  *order `json:"orderInfo"`
}

type order struct {
	OrderID    text        `json:"orderId"`
	OrderType  text        `json:"orderType"`
	CreateTime text        `json:"createTime"`
	OrderLine  []orderLine `json:"orderLine"`
	BuyerInfo  *buyer      `json:"buyerInfo"`
}

type orderLine struct {
	OrderLineID           text            `json:"orderLineId"`
	ChargingMode          text            `json:"chargingMode"`
	PeriodType            text            `json:"periodType"`
	PeriodNumber          text            `json:"periodNumber"`
	ExpireTime            text            `json:"expireTime"`
	ProductInfo           []product       `json:"productInfo"`
	ExtendParams          json.RawMessage `json:"extendParams"`
	CurrencyAfterDiscount text            `json:"currencyAfterDiscount"`
}

type buyer struct {
	CustomerID   text `json:"customerId"`
	CustomerName text `json:"customerName"`
	MobilePhone  text `json:"mobilePhone"`
	Email        text `json:"email"`
	UserName     text `json:"userName"`
}

// answer is the body of every reply.
type answer struct {
	ResultCode string         `json:"resultCode"`
	ResultMsg  string         `json:"resultMsg"`
	InstanceID string         `json:"instanceId,omitempty"`
	AppInfo    *appInfo       `json:"appInfo,omitempty"`
	Info       []instanceInfo `json:"info,omitempty"`
}

type appInfo struct {
	FrontEndURL string `json:"frontEndUrl"`
}

type instanceInfo struct {
	InstanceID string   `json:"instanceId"`
	AppInfo    *appInfo `json:"appInfo,omitempty"`
}

// usageBody is the body of usage push. Keys ascend on every level, because the
// signature is over a body that is sorted.
type usageBody struct {
	Records []usageRecord `json:"usage_records"`
}

type usageRecord struct {
	BeginTime  string          `json:"begin_time"`
	EndTime    string          `json:"end_time"`
	InstanceID string          `json:"instance_id"`
	MeteringSN string          `json:"metering_sn"`
	RecordTime string          `json:"record_time"`
	UsageValue json.RawMessage `json:"usage_value"`
}

// periodKey is what KooGallery tells records apart by, beside metering_sn.
type periodKey struct{ instance, begin, end string }

func (r *usageRecord) key() periodKey { return periodKey{r.InstanceID, r.BeginTime, r.EndTime} }

// usageReply is the code in the answer of usage push. Pages name it in two ways.
type usageReply struct {
	ResultCode text `json:"resultCode"`
	ErrorCode  text `json:"error_code"`
}

// abnormal is a record that an answer lists as refused. Where it has no
// metering_sn its instance and period name it.
type abnormal struct {
	sn, code string
	key      periodKey
}

// errAbnormal says that a list of abnormal records has another form.
var errAbnormal = errors.New("huawei: abnormal records of an unknown form")

// parseAbnormal finds the abnormal records in an answer. The type is documented
// as AbnormalUsageDataInfo with a list abnormal_usage_data of AbnormalUsageData;
// the keys in JSON are not, so their case and underscores do not matter.
func parseAbnormal(body []byte) ([]abnormal, error) {
	var top map[string]json.RawMessage
	if err := json.Unmarshal(body, &top); err != nil {
		return nil, errAbnormal
	}
	var list []abnormal
	for name, raw := range top {
		if !strings.HasPrefix(plain(name), "abnormal") {
			continue
		}
		found, err := abnormalIn(raw)
		if err != nil {
			return nil, err
		}
		list = append(list, found...)
	}
	return list, nil
}

// abnormalIn reads a list, or an object that holds one.
func abnormalIn(raw json.RawMessage) ([]abnormal, error) {
	if string(raw) == "null" {
		return nil, nil
	}
	var inner map[string]json.RawMessage
	if json.Unmarshal(raw, &inner) != nil {
		return abnormalList(raw)
	}
	var list []abnormal
	lists := 0
	for name, raw := range inner {
		if raw[0] != '[' && (string(raw) != "null" || !strings.HasPrefix(plain(name), "abnormal")) {
			continue
		}
		found, err := abnormalList(raw)
		if err != nil {
			return nil, err
		}
		lists++
		list = append(list, found...)
	}
	if lists == 0 && len(inner) > 0 {
		return nil, errAbnormal
	}
	return list, nil
}

func abnormalList(raw json.RawMessage) ([]abnormal, error) {
	var elements []map[string]json.RawMessage
	if err := json.Unmarshal(raw, &elements); err != nil {
		return nil, errAbnormal
	}
	list := make([]abnormal, 0, len(elements))
	for _, e := range elements {
		fields := map[string]string{}
		flatten(e, fields)
		list = append(list, abnormal{
			sn: fields["meteringsn"],
			code: cmp.Or(fields["errorcode"], fields["code"], fields["abnormalcode"],
				fields["resultcode"], fields["reasoncode"]),
			key: periodKey{fields["instanceid"], fields["begintime"], fields["endtime"]},
		})
	}
	return list, nil
}

// flatten collects the scalars of an element, which may have the record that it
// is about in a field.
func flatten(element map[string]json.RawMessage, into map[string]string) {
	for name, raw := range element {
		var inner map[string]json.RawMessage
		if json.Unmarshal(raw, &inner) == nil {
			flatten(inner, into)
			delete(element, name)
		}
	}
	for name, raw := range element { // these win over those inside
		var scalar text
		if json.Unmarshal(raw, &scalar) == nil {
			into[plain(name)] = string(scalar)
		}
	}
}

func plain(name string) string {
	return strings.ToLower(strings.ReplaceAll(name, "_", ""))
}
