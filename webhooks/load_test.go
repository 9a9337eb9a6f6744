package webhooks_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/labstack/echo/v4"
	bbolt "go.etcd.io/bbolt"

	"cloudsettle/core"
	"cloudsettle/core/id"
	"cloudsettle/core/workspace"
	"cloudsettle/store/bolt"
	"cloudsettle/webhooks"
)

// A load is a round of requests sent over a number of connections. Requests
// are written and answers read as bytes, so that the client costs little of
// the processors that it shares with the server.
type load struct {
	addr  string
	conns int
	next  func() []byte // a request; called by one goroutine at a time
	want  func(status int, body []byte) bool
}

// result is what a round measured.
type result struct {
	rate     float64 // answers per second
	p50, p99 time.Duration
	wrong    int64
	body     string // of a wrong answer
}

// run sends requests for d.
func (l load) run(tb testing.TB, d time.Duration) result {
	tb.Helper()
	var mu sync.Mutex
	var wrong atomic.Int64
	var sample atomic.Value
	lats := make([][]time.Duration, l.conns)
	began := time.Now()
	var wg sync.WaitGroup
	for i := range l.conns {
		wg.Go(func() {
			conn, err := net.Dial("tcp", l.addr)
			if err != nil {
				tb.Error(err)
				return
			}
			defer func() { _ = conn.Close() }()
			r := bufio.NewReaderSize(conn, 8<<10)
			for time.Since(began) < d {
				mu.Lock()
				req := l.next()
				mu.Unlock()
				sent := time.Now()
				status, body, err := exchange(conn, r, req)
				if err != nil || !l.want(status, body) {
					wrong.Add(1)
					sample.Store(fmt.Sprintf("%d %s %v", status, body, err))
					if err != nil {
						return
					}
				}
				lats[i] = append(lats[i], time.Since(sent))
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	all := slices.Concat(lats...)
	slices.Sort(all)
	if len(all) == 0 {
		tb.Fatal("no request was answered")
	}
	text, _ := sample.Load().(string)
	return result{
		rate: float64(len(all)) / took.Seconds(), wrong: wrong.Load(), body: text,
		p50: all[len(all)/2], p99: all[len(all)*99/100],
	}
}

// exchange sends one request and reads its answer, which has a Content-Length.
func exchange(w io.Writer, r *bufio.Reader, req []byte) (int, []byte, error) {
	if _, err := w.Write(req); err != nil {
		return 0, nil, err
	}
	line, err := r.ReadSlice('\n')
	if err != nil || len(line) < 12 {
		return 0, nil, fmt.Errorf("status line %q: %w", line, err)
	}
	status := int(line[9]-'0')*100 + int(line[10]-'0')*10 + int(line[11]-'0')
	length := 0
	for {
		if line, err = r.ReadSlice('\n'); err != nil {
			return 0, nil, err
		}
		if len(line) <= 2 {
			break
		}
		if rest, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			for _, c := range bytes.TrimSpace(rest) {
				length = length*10 + int(c-'0')
			}
		}
	}
	body := make([]byte, length)
	_, err = io.ReadFull(r, body)
	return status, body, err
}

// get and post write requests as bytes.
func get(target string) []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: test\r\n\r\n", target)
}

func post(target, header string, body []byte) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s",
		target, header, len(body), body)
}

// serve serves h on a free port until the test ends.
func serve(tb testing.TB, h http.Handler) string {
	tb.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := webhooks.NewServer(h, slog.New(slog.DiscardHandler))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(ln)
	}()
	tb.Cleanup(func() {
		_ = s.Close()
		<-done
	})
	return ln.Addr().String()
}

// program serves the whole callback path for markets and returns its address.
func program(tb testing.TB, markets ...core.Marketplace) (addr string, svc *core.Service) {
	tb.Helper()
	st, err := bolt.Open(filepath.Join(tb.TempDir(), "db"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := st.Close(); err != nil {
			tb.Error(err)
		}
	})
	svc = core.NewService(core.Config{
		Store: st, Marketplaces: markets, Now: time.Now, NewID: id.NewGenerator(time.Now).New,
		Log: slog.New(slog.NewJSONHandler(io.Discard, nil)), LinkKey: make([]byte, 32), Brand: "Bench",
		Sites: []workspace.Site{{Code: "o1", Zone: time.UTC, Prices: "CN"}},
	})
	e := echo.New()
	webhooks.Register(e, svc, webhooks.Options{})
	return serve(tb, e), svc
}

// control serves C1: a bare Echo handler that puts the request under a
// time-ordered key, in commits that waiting requests share, and answers when
// it is durable.
func control(tb testing.TB) string {
	tb.Helper()
	db, err := bbolt.Open(filepath.Join(tb.TempDir(), "c1"), 0o600, &bbolt.Options{
		NoFreelistSync: true, FreelistType: bbolt.FreelistMapType, InitialMmapSize: 1 << 30,
	})
	if err != nil {
		tb.Fatal(err)
	}
	type put struct {
		value []byte
		done  chan error
	}
	queue := make(chan put, 4096)
	ctx, stop := context.WithCancel(context.Background())
	var seq uint64
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		for {
			var group []put
			select {
			case p := <-queue:
				group = append(group, p)
			case <-ctx.Done():
				return
			}
			for len(queue) > 0 && len(group) < 256 {
				group = append(group, <-queue)
			}
			err := db.Update(func(tx *bbolt.Tx) error {
				b, err := tx.CreateBucketIfNotExists([]byte("b"))
				if err != nil {
					return err
				}
				for _, p := range group {
					seq++
					if err := b.Put(binary.BigEndian.AppendUint64(nil, seq), p.value); err != nil {
						return err
					}
				}
				return nil
			})
			for _, p := range group {
				p.done <- err
			}
		}
	}()
	e := echo.New()
	e.Any("/*", func(c echo.Context) error {
		body, err := io.ReadAll(c.Request().Body)
		if err != nil {
			return err
		}
		p := put{append(body, c.Request().URL.RawQuery...), make(chan error, 1)}
		queue <- p
		if err := <-p.done; err != nil {
			return err
		}
		return c.JSONBlob(http.StatusOK, []byte(`{"success":true}`))
	})
	addr := serve(tb, e)
	tb.Cleanup(func() {
		stop()
		<-finished
		_ = db.Close()
	})
	return addr
}
