package huawei

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/def"

	"cloudsettle/core"
)

const (
	orderPath = "/api/mkp-openapi-public/global/v1/order/query"
	// queryBudget bounds one Query order over all endpoints. KooGallery hangs up
	// on us after 5 s; what is left is for the store and the network.
	queryBudget = 3 * time.Second
)

// orders queries orders. It is safe for concurrent use.
type orders struct{ *openAPI }

// query returns an order. The documented fallback address is tried when the
// first cannot be reached; an answer of any kind settles the matter.
func (o *orders) query(ctx context.Context, orderID, lineID string) (*order, error) {
	var last error
	for _, endpoint := range o.endpoints {
		status, body, err := o.get(ctx, endpoint, orderID, lineID)
		if err == nil {
			return parseOrder(orderID, status, body)
		}
		if last = err; ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("huawei: query order %s: %w: %w", orderID, core.ErrUnavailable, last)
}

// orderQuery is a request in the SDK's form, which finds fields by name.
type orderQuery struct {
	OrderID     string  `json:"orderId"`
	OrderLineID *string `json:"orderLineId,omitempty"`
}

func (o *orders) get(ctx context.Context, endpoint, orderID, lineID string) (int, string, error) {
	ctx, cancel := context.WithTimeout(ctx, queryBudget/time.Duration(len(o.endpoints)))
	defer cancel()
	q := &orderQuery{OrderID: orderID}
	if lineID != "" {
		q.OrderLineID = &lineID
	}
	a, _, err := o.call(ctx, endpoint, q, orderRequest())
	return a.HttpStatusCode, a.Body, err
}

// orderRequest describes one call.
func orderRequest() *def.HttpRequestDefBuilder {
	return def.NewHttpRequestDefBuilder().WithMethod(http.MethodGet).WithPath(orderPath).
		WithRequestField(def.NewFieldDef().
			WithName("OrderID").WithJsonTag("orderId").WithLocationType(def.Query)).
		WithRequestField(def.NewFieldDef().
			WithName("OrderLineID").WithJsonTag("orderLineId").WithLocationType(def.Query))
}

// parseOrder reads an answer of Query order.
func parseOrder(orderID string, status int, body string) (*order, error) {
	var r orderReply
	err := json.Unmarshal([]byte(body), &r)
	family, code := resultCode(string(r.ResultCode), string(r.ErrorCode))
	switch {
	case err == nil && code == "0000" && status < http.StatusBadRequest:
		return wholeOrder(orderID, r.OrderInfo)
	case unknownOrder(status, family, code):
		return nil, core.Invalid("unknown_order",
			"order %.64q: status %d, code %.32q", orderID, status, code)
	default:
		return nil, fmt.Errorf("huawei: query order %s: status %d, code %.32q: %w",
			orderID, status, family+"."+code, core.ErrUnavailable)
	}
}

// resultCode splits a code. Its family is MKT on new pages and CBC on old ones,
// with and without a blank; the number is the same. Which of the two fields
// holds it depends on the page as well.
func resultCode(resultCode, errorCode string) (family, number string) {
	code := cmp.Or(resultCode, errorCode)
	family, number, found := strings.Cut(code, ".")
	if !found {
		return "", code
	}
	return family, strings.TrimSpace(number)
}

// unknownOrder tells an order that does not exist from a call that went wrong.
// A gateway's 404 has a code of its own and means a wrong address.
func unknownOrder(status int, family, code string) bool {
	if family != "MKT" && family != "CBC" {
		return family == "" && status == http.StatusNotFound
	}
	switch code {
	case "0100", "0101", "9001", "9002":
		return true
	}
	return status == http.StatusNotFound
}

func wholeOrder(orderID string, o *order) (*order, error) {
	switch {
	case o == nil || len(o.OrderLine) == 0:
		return nil, core.Invalid("unknown_order", "order %.64q: nothing known", orderID)
	case string(o.OrderID) != orderID:
		return nil, fmt.Errorf("huawei: asked for order %s, got another: %w", orderID, core.ErrUnavailable)
	}
	return o, nil
}
