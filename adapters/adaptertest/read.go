package adaptertest

import (
	"bufio"
	"bytes"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

// Read reads a fixture as the webhook server would hand it to an adapter. The
// path is /webhooks/{listing}[/{endpoint}]. Without a Content-Length the body
// is all that follows the head.
func Read(tb testing.TB, path string, at time.Time) core.Callback {
	tb.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	head, body, found := bytes.Cut(raw, []byte("\r\n\r\n"))
	if !found {
		head, body, _ = bytes.Cut(raw, []byte("\n\n"))
	}
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(append(bytes.TrimSpace(head), "\r\n\r\n"...))))
	if err != nil {
		tb.Fatalf("%s: %v", path, err)
	}
	if n, err := strconv.Atoi(req.Header.Get("Content-Length")); err == nil && n <= len(body) {
		body = body[:n]
	}
	rest, ok := strings.CutPrefix(req.URL.Path, "/webhooks/")
	if !ok {
		tb.Fatalf("%s: path %s is not under /webhooks/", path, req.URL.Path)
	}
	listing, endpoint, _ := strings.Cut(rest, "/")
	return core.Callback{
		Listing: marketplace.ListingID(listing), Endpoint: endpoint, Method: req.Method,
		RawQuery: req.URL.RawQuery, Header: req.Header, Body: body,
		ReceivedAt: at, RequestID: "req_test",
	}
}
