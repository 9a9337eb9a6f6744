package webhooks_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloudsettle/webhooks"
)

// pipes is a listener without a network, so that time can be made up.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (p *pipes) dial(t *testing.T, say string) net.Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	p.conns <- theirs
	if _, err := ours.Write([]byte(say)); err != nil {
		t.Fatal(err)
	}
	return ours
}

// TestSlowClients: a thousand clients that never finish their headers or their
// body do not keep others out, and are gone within ten seconds.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		srv := webhooks.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n, _ := io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, strings.Repeat("k", int(n)))
		}), slog.New(slog.DiscardHandler))
		served := make(chan error, 1)
		go func() { served <- srv.Serve(webhooks.Limit(l)) }()

		began := time.Now()
		var freed sync.WaitGroup
		for i := range 1000 {
			say := "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 9\r\n"
			if i%2 == 0 {
				say += "\r\nhalf"
			}
			c := l.dial(t, say)
			freed.Go(func() { _, _ = io.Copy(io.Discard, c) }) // ends when the server hangs up
		}

		good := l.dial(t, "POST / HTTP/1.1\r\nHost: example.com\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
		resp, err := http.ReadResponse(bufio.NewReader(good), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if string(body) != "kk" || err != nil || time.Since(began) > time.Second {
			t.Errorf("beside slow clients = %q, %v after %v, want kk at once", body, err, time.Since(began))
		}
		freed.Wait()
		if d := time.Since(began); d < webhooks.ReadHeaderTimeout || d > 10*time.Second+time.Second {
			t.Errorf("slow clients were freed after %v, want within 10 s", d)
		}
		if err := srv.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve = %v, want %v", err, http.ErrServerClosed)
		}
	})
}

// TestHeaderLimit: headers over the limit are refused, not stored.
func TestHeaderLimit(t *testing.T) {
	t.Parallel()
	l := newPipes()
	srv := webhooks.NewServer(http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	ours, theirs := net.Pipe()
	l.conns <- theirs
	go func() {
		head := "GET / HTTP/1.1\r\nHost: example.com\r\nX: "
		_, _ = ours.Write(append([]byte(head), bytes.Repeat([]byte("x"), 2*webhooks.MaxHeaderBytes)...))
	}()
	resp, err := http.ReadResponse(bufio.NewReader(ours), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(resp.Body.Close(), ours.Close()); err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status = %d, want 431", resp.StatusCode)
	}
}
