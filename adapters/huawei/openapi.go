package huawei

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	hwcore "github.com/huaweicloud/huaweicloud-sdk-go-v3/core"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/auth/global"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/config"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/def"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/impl"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/request"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/response"
)

const (
	userAgent = "cloudsettle"
	sdkDate   = "20060102T150405Z"
	// maxBody bounds an answer of the open API; an order of many lines is some
	// 20 KiB, a thousand refused records some 300 KiB.
	maxBody = 1 << 20
)

// errSDK stands for a panic of the SDK, whose text may hold anything.
var errSDK = errors.New("the SDK panicked")

// openAPI makes signed calls to KooGallery. It is safe for concurrent use.
type openAPI struct {
	endpoints []string
	cred      *global.Credentials
	transport http.RoundTripper
	now       func() time.Time
}

// newOpenAPI assembles the client from the SDK's parts. Its builder would write
// a file into the home directory and look up identities over the network.
func newOpenAPI(c Config, now func() time.Time) (*openAPI, error) {
	cred, err := global.NewCredentialsBuilder().
		WithAk(c.AccessKeyID).WithSk(c.SecretAccessKey).SafeBuild()
	if err != nil {
		return nil, fmt.Errorf("huawei: access key: %w", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	return &openAPI{endpoints: c.endpoints(), cred: cred, transport: transport, now: now}, nil
}

// sdkAnswer is a response in the SDK's form, which fills HttpStatusCode whether
// it is there or not.
type sdkAnswer struct {
	Body           string
	HttpStatusCode int `json:"-"` //nolint:revive // the SDK's name
}

// call makes one signed call, once: neither the SDK nor the transport below it
// repeats what may have arrived. sent reports whether any of it went out. The
// SDK knows no contexts and is not safe for concurrent use with one definition,
// so each call gets a thin client and a definition of its own around the shared
// transport, bound to ctx.
func (o *openAPI) call(
	ctx context.Context, endpoint string, req any, d *def.HttpRequestDefBuilder,
) (a sdkAnswer, sent bool, err error) {
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})
	defer func() {
		if sent = connected.Load(); recover() != nil {
			err = errSDK
		}
	}()
	cfg := config.DefaultHttpConfig().WithTimeout(0).WithUserAgent(userAgent).
		WithHttpRoundTripper(boundTransport{ctx, o.transport})
	client := hwcore.NewHcHttpClient(impl.NewDefaultHttpClient(cfg)).
		WithEndpoints([]string{endpoint}).WithCredential(o.cred).WithErrorHandler(anyStatus{}).
		WithExtraHeaders(map[string]string{"X-Sdk-Date": o.now().UTC().Format(sdkDate)})
	_, err = client.Sync(req, d.WithContentType("application/json").WithResponse(&a).
		WithResponseField(def.NewFieldDef().WithName("Body").WithLocationType(def.Body)).Build())
	return a, connected.Load(), err
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
	}{io.LimitReader(body, maxBody), body}
	return resp, nil
}

// anyStatus lets every answer through: the code in its body says what it means.
type anyStatus struct{}

// HandleError accepts all.
func (anyStatus) HandleError(*request.DefaultHttpRequest, *response.DefaultHttpResponse) error {
	return nil
}
