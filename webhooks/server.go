package webhooks

import (
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
)

// The limits of the server. A client that is slow, on purpose or not, gives
// back what it holds within ten seconds.
const (
	// ReadHeaderTimeout is for the headers, which fit into one or two packets.
	ReadHeaderTimeout = 5 * time.Second
	// ReadTimeout is for the whole request: a body of 256 KiB at 26 KiB/s.
	// Handlers that take more bytes extend it with an http.ResponseController.
	ReadTimeout = 10 * time.Second
	// WriteTimeout is from the end of the headers to the end of the answer. It
	// leaves the slowest call to a provider and a commit time to finish.
	WriteTimeout = 30 * time.Second
	// IdleTimeout is how long an unused connection may wait for its next
	// request; most load balancers give up on theirs after 60 s.
	IdleTimeout = 60 * time.Second
	// MaxHeaderBytes is far above the headers of any marketplace, and above the
	// cookies that a browser brings to a landing page.
	MaxHeaderBytes = 32 << 10
	// MaxConns bounds connections, idle ones too: four times the thousand slow
	// clients that must not starve others, at about 20 KiB each.
	MaxConns = 4096
)

// NewServer returns a server for h with the limits above. What net/http itself
// has to say, such as a failed handshake, goes to log as a warning.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: ReadHeaderTimeout,
		ReadTimeout:       ReadTimeout,
		WriteTimeout:      WriteTimeout,
		IdleTimeout:       IdleTimeout,
		MaxHeaderBytes:    MaxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

// Limit returns l bounded to MaxConns connections at a time. Further ones wait
// in the kernel's queue.
func Limit(l net.Listener) net.Listener { return netutil.LimitListener(l, MaxConns) }
