package huawei

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	hwcore "github.com/huaweicloud/huaweicloud-sdk-go-v3/core"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/global"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/config"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/def"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/impl"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/request"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/response"

	"cloudsettle/core"
)

const (
	orderPath = "/api/mkp-openapi-public/global/v1/order/query"
	userAgent = "cloudsettle"
	// queryBudget bounds one Query order over all endpoints. KooGallery hangs up
	// on us after 5 s; what is left is for the store and the network.
	queryBudget = 3 * time.Second
	// maxOrder bounds the answer; an order of many lines is some 20 KiB.
	maxOrder = 1 << 20
	sdkDate  = "20060102T150405Z"
)

// orders queries orders. It is safe for concurrent use.
type orders struct {
	endpoints []string
	cred      *global.Credentials
	transport http.RoundTripper
	now       func() time.Time
}

// newOrders assembles the client from the SDK's parts. Its builder would write
// a file into the home directory and look up identities over the network.
func newOrders(c Config, now func() time.Time) (*orders, error) {
	cred, err := global.NewCredentialsBuilder().
		WithAk(c.AccessKeyID).WithSk(c.SecretAccessKey).SafeBuild()
	if err != nil {
		return nil, fmt.Errorf("huawei: access key: %w", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	return &orders{endpoints: c.endpoints(), cred: cred, transport: transport, now: now}, nil
}

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

// orderQuery and orderAnswer are request and response in the SDK's form, which
// finds fields by name and fills HttpStatusCode whether it is there or not.
type orderQuery struct {
	OrderID     string  `json:"orderId"`
	OrderLineID *string `json:"orderLineId,omitempty"`
}

type orderAnswer struct {
	Body           string
	HttpStatusCode int `json:"-"` //nolint:revive // the SDK's name
}

// get makes one signed call. The SDK knows no contexts, so each call gets a
// thin client of its own around the shared transport, bound to ctx.
func (o *orders) get(ctx context.Context, endpoint, orderID, lineID string) (int, string, error) {
	ctx, cancel := context.WithTimeout(ctx, queryBudget/time.Duration(len(o.endpoints)))
	defer cancel()
	cfg := config.DefaultHttpConfig().WithTimeout(0).WithUserAgent(userAgent).
		WithHttpRoundTripper(boundTransport{ctx, o.transport})
	client := hwcore.NewHcHttpClient(impl.NewDefaultHttpClient(cfg)).
		WithEndpoints([]string{endpoint}).WithCredential(o.cred).WithErrorHandler(anyStatus{}).
		WithExtraHeaders(map[string]string{"X-Sdk-Date": o.now().UTC().Format(sdkDate)})
	q := &orderQuery{OrderID: orderID}
	if lineID != "" {
		q.OrderLineID = &lineID
	}
	resp, err := client.Sync(q, orderRequest())
	if err != nil {
		return 0, "", err
	}
	a := resp.(*orderAnswer)
	return a.HttpStatusCode, a.Body, nil
}

// orderRequest describes one call. The SDK writes the response into it.
func orderRequest() *def.HttpRequestDef {
	return def.NewHttpRequestDefBuilder().
		WithMethod(http.MethodGet).WithPath(orderPath).WithContentType("application/json").
		WithRequestField(def.NewFieldDef().
			WithName("OrderID").WithJsonTag("orderId").WithLocationType(def.Query)).
		WithRequestField(def.NewFieldDef().
			WithName("OrderLineID").WithJsonTag("orderLineId").WithLocationType(def.Query)).
		WithResponse(new(orderAnswer)).
		WithResponseField(def.NewFieldDef().WithName("Body").WithLocationType(def.Body)).
		Build()
}

// boundTransport ends calls with ctx and bounds what an answer may hold.
type boundTransport struct {
	ctx  context.Context //nolint:containedctx // lives for one call
	base http.RoundTripper
}

// RoundTrip makes one call.
func (b boundTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := b.base.RoundTrip(r.WithContext(b.ctx))
	if err != nil {
		return nil, err
	}
	body := resp.Body
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(body, maxOrder), body}
	return resp, nil
}

// anyStatus lets every answer through: the code in its body says what it means.
type anyStatus struct{}

// HandleError accepts all.
func (anyStatus) HandleError(*request.DefaultHttpRequest, *response.DefaultHttpResponse) error {
	return nil
}

// parseOrder reads an answer of Query order.
func parseOrder(orderID string, status int, body string) (*order, error) {
	var r orderReply
	err := json.Unmarshal([]byte(body), &r)
	family, code := resultCode(r)
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
// with and without a blank; the number is the same.
func resultCode(r orderReply) (family, number string) {
	code := string(r.ResultCode)
	if code == "" {
		code = string(r.ErrorCode)
	}
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
