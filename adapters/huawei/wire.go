package huawei

import (
	"bytes"
	"encoding/json"
	"fmt"
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
