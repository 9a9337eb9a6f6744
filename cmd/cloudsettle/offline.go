package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"syscall"
)

// offline answers API calls from the store itself where no server runs, so
// that commands work on a stopped system too. Whoever can open the store may
// do everything with it anyway, so no API key is asked for.
type offline struct {
	streams *streams
	next    http.RoundTripper

	once   sync.Once
	app    *app
	secret string
	err    error
}

// RoundTrip asks the server and, if nothing listens there, the store.
func (o *offline) RoundTrip(r *http.Request) (*http.Response, error) {
	if o.app == nil {
		resp, err := o.next.RoundTrip(r)
		if !errors.Is(err, syscall.ECONNREFUSED) || !isLoopback(r.URL.Hostname()) {
			return resp, err
		}
		if o.once.Do(o.open); o.err != nil {
			return nil, errors.Join(err, o.err)
		}
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+o.secret)
	if r.Body == nil {
		r.Body = http.NoBody
	}
	r.RequestURI = r.URL.RequestURI()
	w := &answer{header: http.Header{}, status: http.StatusOK}
	o.app.handler.ServeHTTP(w, r)
	if r.Method == http.MethodPost { // a settlement that was asked for is done at once
		if err := o.app.svc.RunSettlements(r.Context()); err != nil {
			return nil, err
		}
	}
	return &http.Response{
		StatusCode: w.status, Header: w.header, Body: io.NopCloser(&w.body), Request: r,
		ContentLength: int64(w.body.Len()), ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}

// open opens the configured store, if there is one. Nothing runs in the
// background: a command that ends leaves nothing half done.
func (o *offline) open() {
	cfg, err := o.streams.load()
	if err == nil {
		err = storeThere(cfg)
	}
	if err != nil {
		o.err = err
		return
	}
	var b [keyBytes]byte
	_, _ = rand.Read(b[:])
	o.secret = hex.EncodeToString(b[:])
	o.app, o.err = openApp(context.Background(), cfg, appOptions{relaxed: true, log: slog.New(slog.DiscardHandler), local: o.secret})
}

// Close releases the store, if it was opened.
func (o *offline) Close() error {
	if o.app == nil {
		return nil
	}
	return o.app.Close()
}

// answer is a response that is kept.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }
