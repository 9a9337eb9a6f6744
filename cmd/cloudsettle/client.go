package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"cloudsettle/console/api/rest"
	"cloudsettle/core"
)

// Limits of a call to the server.
const (
	callWithin = 30 * time.Second // the server writes no answer for longer
	longCall   = 10 * time.Minute // but to what looks at the whole store
	maxAnswer  = 32 << 20         // 200 callbacks with long effects are far below
	pageLimit  = core.MaxPage
)

// errNoKey says that a server elsewhere is asked without a key.
var errNoKey = errors.New("no API key: give --api-key, or set CLOUDSETTLE_API_KEY")

// clientCommands are the commands that talk to a running server.
type clientCommands struct {
	Server *url.URL `help:"The server to talk to; the one on this machine by default." env:"CLOUDSETTLE_SERVER" placeholder:"URL"`
	APIKey string   `name:"api-key" help:"The API key; with a server on this machine the demo's own by default." env:"CLOUDSETTLE_API_KEY" placeholder:"KEY"`
	Output string   `short:"o" help:"How to print: table, json or csv." enum:"table,json,csv" default:"table"`

	BillingAccounts billingAccountCmds `cmd:"" help:"Who pays."`
	CloudAccounts   cloudAccountCmds   `cmd:"" help:"What buyers hold at a marketplace."`
	Subscriptions   subscriptionCmds   `cmd:"" help:"What was bought."`
	Workspaces      workspaceCmds      `cmd:"" help:"Units of usage."`
	Bindings        bindingCmds        `cmd:"" help:"How workspaces are settled."`
	Callbacks       callbackCmds       `cmd:"" help:"What marketplaces sent, and what became of it."`
	APIKeys         apiKeyCmds         `cmd:"" name:"apikey" help:"Keys of the API."`
	PriceBooks      priceBookCmds      `cmd:"" name:"pricebook" help:"What usage costs."`
	Usage           usageCmds          `cmd:"" help:"What workspaces used."`
	Bills           billCmds           `cmd:"" help:"Daily and monthly bills."`
	Settle          settleCmds         `cmd:"" help:"Make bills now; they are made by themselves in time."`
	Meter           meterCmds          `cmd:"" help:"What is reported to marketplaces."`
	Verify          verifyCmd          `cmd:"" help:"Check everything that must always be true; exit code 1 if something is not."`
}

// cli is a command line that talks to a server.
type cli struct {
	api     rest.ClientInterface
	patient rest.ClientInterface // for calls that take long
	key     string               // to authenticate with
	output  string               // table, json or csv
	out     io.Writer
}

// client returns what the commands run with.
func (f *clientCommands) client(s *streams) *cli {
	server := f.server(s)
	key := f.key(server)
	return &cli{
		api: f.caller(s, server, key, callWithin), patient: f.caller(s, server, key, longCall),
		key: key, output: f.Output, out: s.out,
	}
}

// caller returns a client whose calls may take so long.
func (f *clientCommands) caller(s *streams, server *url.URL, key string, within time.Duration) rest.ClientInterface {
	return &rest.Client{
		Server: strings.TrimSuffix(server.String(), "/") + "/",
		Client: &http.Client{
			Timeout:   within,
			Transport: s.offline,
			// The API never redirects: whoever does must not see the key.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		RequestEditors: []rest.RequestEditorFn{func(_ context.Context, r *http.Request) error {
			switch {
			case key != "":
				r.Header.Set("Authorization", "Bearer "+key)
			case !isLoopback(server.Hostname()): // here the store itself may answer
				return errNoKey
			}
			return nil
		}},
	}
}

// server returns the server to talk to: the one that was named, else the one
// that the configuration describes.
func (f *clientCommands) server(s *streams) *url.URL {
	if f.Server != nil {
		return f.Server
	}
	cfg, err := s.load()
	if err != nil { // a command that needs the configuration says what is wrong with it
		cfg.Listen = defaultListen
	}
	return &url.URL{Scheme: "http", Host: reachable(cfg.Listen)}
}

// key returns the key to use. The demo's own goes to this machine only.
func (f *clientCommands) key(server *url.URL) string {
	if f.APIKey != "" || !isLoopback(server.Hostname()) {
		return f.APIKey
	}
	text, err := os.ReadFile(devKeyFile)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// problem is an answer of the server that is not what was asked for.
type problem struct{ rest.Problem }

// Error says what is wrong, a line for each field.
func (p *problem) Error() string {
	var out strings.Builder
	_, _ = fmt.Fprintf(&out, "%s (%d %s)", p.Detail, p.Status, p.Code)
	for _, f := range p.Errors {
		_, _ = fmt.Fprintf(&out, "\n  %s: %s", f.Field, f.Detail)
	}
	if p.RequestID != "" {
		_, _ = fmt.Fprintf(&out, "\n  request %s", p.RequestID)
	}
	return printable(out.String())
}

// Unwrap makes errors.Is find whether another try may help.
func (p *problem) Unwrap() error {
	switch p.Status {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return core.ErrUnavailable
	}
	return nil
}

// received reads the answer to a call as a T. Errors: *problem for a refusal,
// ErrUnavailable if the server cannot be reached.
func received[T any](resp *http.Response, err error) (T, error) {
	var out T
	if err != nil {
		return out, unreachable(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return out, unreachable(err)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return out, refused(resp, body)
	}
	if err := json.Unmarshal(body, &out); err != nil {
		return out, fmt.Errorf("the server's answer: %w", err)
	}
	return out, nil
}

// refused reads a problem. What is not one comes from something in between.
func refused(resp *http.Response, body []byte) error {
	p := &problem{}
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if mediaType != "application/problem+json" || json.Unmarshal(body, &p.Problem) != nil {
		p.Problem = rest.Problem{Detail: "the server does not answer like cloudsettle", Code: "unexpected"}
	}
	p.Status = resp.StatusCode
	return p
}

// unreachable tells a server that is not there from our own mistakes.
func unreachable(err error) error {
	var sent *url.Error
	if !errors.As(err, &sent) || errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: %w", core.ErrUnavailable, sent.Err)
}

// listFlags are the flags of every list.
type listFlags struct {
	Limit int `help:"How many to list at most; 0 lists all." default:"50"`
}

// page is one page to ask for.
type page struct {
	limit  int
	cursor *string
}

// gather asks for pages until there are enough items, or no more.
func gather[T any](limit int, ask func(page) (*http.Response, error)) ([]T, error) {
	type list struct {
		Data       []T    `json:"data"`
		NextCursor string `json:"next_cursor"`
	}
	out := []T{}
	p := page{limit: pageLimit}
	for {
		if limit > 0 {
			p.limit = min(pageLimit, limit-len(out))
		}
		l, err := received[list](ask(p))
		if err != nil {
			return nil, err
		}
		out = append(out, l.Data...)
		if l.NextCursor == "" || limit > 0 && len(out) >= limit {
			return out, nil
		}
		p.cursor = &l.NextCursor
	}
}

// keyFlag is the flag of every command that makes something.
type keyFlag struct {
	IdempotencyKey string `help:"A key that makes a repeat of this command safe." placeholder:"KEY"`
}

// given returns nil for what was not given.
func given(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
