package webhooks

import (
	"bytes"
	"fmt"
	"io"
	"net/http"

	"cloudsettle/core"
)

// MaxBody bounds the body of a callback. The largest that a marketplace
// documents is an SNS message of 256 KiB; order callbacks have a few KiB.
const MaxBody = 256 << 10

// firstRead is what is set aside before a body has arrived: enough for nearly
// every callback, and little enough that a thousand clients that announce much
// and send nothing hold 16 MiB, not 256.
const firstRead = 16 << 10

// read takes the body of req into cb. Errors: ErrTooLarge, ErrInvalid.
func read(req *http.Request, cb *core.Callback) (err error) {
	// A signature is over the bytes that were signed. No marketplace compresses
	// them, and unpacking is how a small body becomes a large one.
	if e := req.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return core.Invalid("content_encoding", "the body of a callback must not be encoded")
	}
	switch n := req.ContentLength; {
	case n == 0:
		return nil
	case n > MaxBody:
		return tooLarge()
	case n > 0 && n <= firstRead:
		cb.Body = make([]byte, n)
		_, err = io.ReadFull(req.Body, cb.Body)
	default:
		cb.Body, err = readGrowing(req.Body)
	}
	switch {
	case err != nil:
		cb.Body = nil // a part of a body is none
		return core.Invalid("body", "the body ended early")
	case len(cb.Body) > MaxBody:
		cb.Body = nil
		return tooLarge()
	}
	return nil
}

// readGrowing reads a body whose length is unknown or large, up to one byte
// more than is allowed.
func readGrowing(body io.Reader) ([]byte, error) {
	buf := bytes.NewBuffer(make([]byte, 0, firstRead))
	_, err := buf.ReadFrom(io.LimitReader(body, MaxBody+1))
	return buf.Bytes(), err
}

func tooLarge() error {
	return &core.Fault{
		Err: core.ErrTooLarge, Code: "body_too_large",
		Detail: fmt.Sprintf("a callback has at most %d bytes", MaxBody),
	}
}
