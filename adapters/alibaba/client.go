package alibaba

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	sdkerrors "github.com/aliyun/alibaba-cloud-sdk-go/sdk/errors"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"

	"cloudsettle/core"
)

// Limits of our calls.
const (
	apiVersion  = "2015-11-01"
	callTimeout = 10 * time.Second // the SDK's own default for reading
	maxAnswer   = 4 << 20          // bytes; a full page of messages is a few KiB
)

// client calls the marketplace's API through the SDK and keeps its traps away
// from the rest of the program:
//
//   - a client is not safe for concurrent use: one call at a time;
//   - it panics on an error answer whose Code is not a string;
//   - it reads proxies from the environment in a way of its own (NO_PROXY as
//     regular expressions) and has no context: our transport replaces its own;
//   - its errors hold the URL with the access key id and the signature: none of
//     their text is passed on;
//   - Success false with status 200 is no error to it.
type client struct {
	endpoint  endpoint
	transport *transport

	mu  sync.Mutex
	sdk *sdk.Client // guarded by mu, like transport.ctx
	err error       // why there is no sdk client
}

func newClient(c Config, e endpoint) *client {
	t := &transport{base: http.DefaultTransport}
	config := sdk.NewConfig().WithScheme(strings.ToUpper(e.scheme)).WithTimeout(callTimeout)
	config.Transport = t
	api, err := sdk.NewClientWithOptions(e.region, config,
		credentials.NewAccessKeyCredential(c.AccessKeyID, c.AccessKeySecret))
	if err == nil {
		api.SetNoProxy("^$") // keeps the environment's from being compiled
		api.SetCloseTrace(true)
	}
	return &client{endpoint: e, transport: t, sdk: api, err: err}
}

// call calls an API that changes at most what a repeat would change again, and
// decodes the answer into out. Failures that a repeat may cure are
// ErrUnavailable.
func (c *client) call(ctx context.Context, api string, query map[string]string, out any) error {
	body, err := c.do(ctx, api, query)
	if err != nil {
		return fmt.Errorf("alibaba: %s: %w", api, err)
	}
	var status struct {
		Success any
		Code    any
	}
	if err := json.Unmarshal(body, &status); err != nil {
		return fmt.Errorf("alibaba: %s: the answer is not JSON: %w", api, core.ErrUnavailable)
	}
	if status.Success != nil && status.Success != true && status.Success != "true" {
		return fmt.Errorf("alibaba: %s: refused with code %.64v: %w", api, status.Code, core.ErrUnavailable)
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("alibaba: %s: unexpected answer: %w", api, core.ErrUnavailable)
	}
	return nil
}

func (c *client) do(ctx context.Context, api string, query map[string]string) (body []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, fmt.Errorf("the client cannot be made: %w", core.ErrInvalid)
	}
	defer func() {
		if recover() != nil {
			body, err = nil, fmt.Errorf("the answer is not as documented: %w", core.ErrUnavailable)
		}
	}()
	r := requests.NewCommonRequest()
	r.Method, r.Scheme, r.Domain = http.MethodPost, c.endpoint.scheme, c.endpoint.host
	r.Product, r.Version, r.ApiName = "Market", apiVersion, api
	for k, v := range query {
		r.QueryParams[k] = v
	}
	c.transport.ctx = ctx
	resp, err := c.sdk.ProcessCommonRequest(r)
	if err != nil {
		return nil, scrub(ctx, err)
	}
	return resp.GetHttpContentBytes(), nil
}

// scrub keeps of an error of the SDK what is safe to show.
func scrub(ctx context.Context, err error) error {
	var server *sdkerrors.ServerError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &server):
		return fmt.Errorf("status %d, code %.64q, request %.64q: %w",
			server.HttpStatus(), server.ErrorCode(), server.RequestId(), core.ErrUnavailable)
	default:
		return fmt.Errorf("no answer: %w", core.ErrUnavailable)
	}
}

// transport adds to the SDK's requests what it cannot: a context and a limit on
// the answer.
type transport struct {
	base http.RoundTripper
	ctx  context.Context //nolint:containedctx // of the one call under way; the SDK passes none on
}

// RoundTrip sends r.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(t.ctx)
	stop := context.AfterFunc(r.Context(), cancel) // the SDK's timeout
	resp, err := t.base.RoundTrip(r.WithContext(ctx))
	if err != nil {
		stop()
		cancel()
		return nil, err
	}
	resp.Body = &body{io.LimitReader(resp.Body, maxAnswer), resp.Body, func() { stop(); cancel() }}
	return resp, nil
}

// body is an answer's body with a limit; closing it frees its context.
type body struct {
	io.Reader
	closer io.Closer
	done   func()
}

// Close closes the body.
func (b *body) Close() error {
	defer b.done()
	return b.closer.Close()
}
