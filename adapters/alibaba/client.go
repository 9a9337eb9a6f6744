package alibaba

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aliyun/alibaba-cloud-sdk-go/sdk"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/auth/credentials"
	sdkerrors "github.com/aliyun/alibaba-cloud-sdk-go/sdk/errors"
	"github.com/aliyun/alibaba-cloud-sdk-go/sdk/requests"

	"cloudsettle/core"
)

// Limits of our calls.
const (
	callTimeout = 10 * time.Second // the SDK's own default for reading
	maxAnswer   = 4 << 20          // bytes; a full page of messages is a few KiB
	// idleTime is how long a connection is kept. Servers close theirs after a
	// minute or so, and a report that meets that moment has no answer.
	idleTime = 15 * time.Second
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
//   - Success false with status 200 is no error to it;
//   - it could send again by itself what is not idempotent: that stays off.
type client struct {
	endpoint  endpoint
	transport *transport

	// turn is held by the one call under way; it guards sdk and transport. It
	// is a channel so that waiting ends with the caller's context.
	turn chan struct{}
	sdk  *sdk.Client
	err  error // why there is no sdk client
}

func newClient(c Config, e endpoint) *client {
	t := &transport{base: &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: callTimeout, IdleConnTimeout: idleTime,
	}}
	config := sdk.NewConfig().WithScheme(strings.ToUpper(e.scheme)).WithTimeout(callTimeout).WithAutoRetry(false)
	config.Transport = t
	api, err := sdk.NewClientWithOptions(e.region, config,
		credentials.NewAccessKeyCredential(c.AccessKeyID, c.AccessKeySecret))
	if err == nil {
		api.SetNoProxy("^$") // keeps the environment's from being compiled
		api.SetCloseTrace(true)
	}
	return &client{endpoint: e, transport: t, turn: make(chan struct{}, 1), sdk: api, err: err}
}

// call calls an API that changes at most what a repeat would change again, and
// decodes the answer into out. Failures that a repeat may cure are
// ErrUnavailable.
func (c *client) call(ctx context.Context, api string, query map[string]string, out any) error {
	got, err := c.do(ctx, apiCall{api: marketAPI, action: api, endpoint: c.endpoint, query: query})
	if err != nil {
		return fmt.Errorf("alibaba: %s: %w", api, err)
	}
	var status struct {
		Success any
		Code    any
	}
	if err := json.Unmarshal(got.body, &status); err != nil {
		return fmt.Errorf("alibaba: %s: the answer is not JSON: %w", api, core.ErrUnavailable)
	}
	if status.Success != nil && status.Success != true && status.Success != "true" {
		return fmt.Errorf("alibaba: %s: refused with code %.64v: %w", api, status.Code, core.ErrUnavailable)
	}
	if err := json.Unmarshal(got.body, out); err != nil {
		return fmt.Errorf("alibaba: %s: unexpected answer: %w", api, core.ErrUnavailable)
	}
	return nil
}

// version is a product of the gateway and the version of its actions.
type version struct{ product, version string }

// marketAPI is the API of both sites; the other one is in meterwire.go.
var marketAPI = version{"Market", "2015-11-01"}

// apiCall is one call: an action and its parameters, in the URL and the body.
type apiCall struct {
	api         version
	action      string
	endpoint    endpoint
	query, form map[string]string
}

// answered is what came back of a call, whatever the SDK made of it.
type answered struct {
	// reached says that there was a connection, so that the marketplace may have
	// acted even if it did not answer.
	reached bool
	status  int // 0 without an answer
	body    []byte
}

// do makes one call. What came back is returned also beside an error.
func (c *client) do(ctx context.Context, call apiCall) (got answered, err error) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return answered{}, ctx.Err()
	}
	if c.err != nil {
		return answered{}, fmt.Errorf("the client cannot be made: %w", core.ErrInvalid)
	}
	c.transport.ctx, c.transport.got = ctx, answered{}
	defer func() {
		got = c.transport.got
		if recover() != nil {
			err = fmt.Errorf("the answer is not as documented: %w", core.ErrUnavailable)
		}
	}()
	if _, err := c.sdk.ProcessCommonRequest(call.request()); err != nil {
		return got, scrub(ctx, err)
	}
	return got, nil
}

func (call apiCall) request() *requests.CommonRequest {
	r := requests.NewCommonRequest()
	r.Method, r.Scheme, r.Domain = http.MethodPost, call.endpoint.scheme, call.endpoint.host
	r.Product, r.Version, r.ApiName = call.api.product, call.api.version, call.action
	maps.Copy(r.QueryParams, call.query)
	maps.Copy(r.FormParams, call.form)
	return r
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

// transport adds to the SDK's requests what it cannot: a context, a limit on
// the answer, and the answer as it was.
type transport struct {
	base http.RoundTripper
	ctx  context.Context //nolint:containedctx // of the one call under way; the SDK passes none on
	got  answered        // by the one call under way
}

// RoundTrip sends r and reads the whole answer.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(t.ctx)
	defer cancel()
	defer context.AfterFunc(r.Context(), cancel)() // the SDK's timeout
	var reached atomic.Bool                        // a transport may still dial when it has returned
	resp, err := t.base.RoundTrip(r.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { reached.Store(true) },
	})))
	t.got.reached = t.got.reached || err == nil || reached.Load()
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	_ = resp.Body.Close() // read to its end or given up
	if err != nil {
		return nil, err
	}
	t.got.status, t.got.body = resp.StatusCode, body
	resp.Body = io.NopCloser(bytes.NewReader(body))
	return resp, nil
}
