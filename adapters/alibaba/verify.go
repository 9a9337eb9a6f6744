package alibaba

import (
	"crypto/md5" // #nosec -- the protocol prescribes it
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"cloudsettle/core"
)

// Limits of a callback, far beyond what the marketplace sends: a product may
// define a few dozen billing items.
const (
	maxParams = 256
	maxName   = 128
	maxValue  = 8 << 10 // bytes; templates are the longest
)

const tokenParam = "token"

// param is one decoded parameter.
type param struct{ name, value string }

// params are sorted by name in byte order and hold each name once.
type params []param

// get returns the value of a parameter, or "".
func (p params) get(name string) string {
	at, found := slices.BinarySearchFunc(p, name, func(q param, name string) int {
		return strings.Compare(q.name, name)
	})
	if !found {
		return ""
	}
	return p[at].value
}

// read returns the parameters of cb: those of the query, then those of a form
// in the body. Of a doubled parameter the first counts, for the token and for
// its meaning alike.
func read(cb core.Callback) (params, error) {
	p, err := appendParams(make(params, 0, 16), cb.RawQuery)
	if err == nil && cb.Method == http.MethodPost && len(cb.Body) > 0 {
		if !isForm(cb.Header.Get("Content-Type")) {
			return nil, invalid("content_type", "a body must be application/x-www-form-urlencoded")
		}
		p, err = appendParams(p, string(cb.Body))
	}
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(p, func(a, b param) int { return strings.Compare(a.name, b.name) })
	return slices.CompactFunc(p, func(a, b param) bool { return a.name == b.name }), nil
}

func isForm(contentType string) bool {
	const form = "application/x-www-form-urlencoded"
	if contentType == form {
		return true
	}
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && t == form
}

// appendParams decodes "a=1&b=2". A semicolon is refused because servers
// disagree whether it separates, and then on what was signed.
func appendParams(p params, encoded string) (params, error) {
	for encoded != "" {
		var part string
		part, encoded, _ = strings.Cut(encoded, "&")
		if part == "" {
			continue
		}
		if len(p) == maxParams {
			return nil, fmt.Errorf("alibaba: more than %d parameters: %w", maxParams, core.ErrTooLarge)
		}
		name, value, err := decodeParam(part)
		if err != nil {
			return nil, err
		}
		p = append(p, param{name, value})
	}
	return p, nil
}

func decodeParam(part string) (name, value string, err error) {
	name, value, _ = strings.Cut(part, "=")
	if name, err = url.QueryUnescape(name); err != nil || strings.Contains(part, ";") {
		return "", "", invalid("bad_encoding", "the name of a parameter is not well encoded")
	}
	if len(name) > maxName || len(value) > 3*maxValue {
		return "", "", fmt.Errorf("alibaba: a parameter is too long: %w", core.ErrTooLarge)
	}
	if value, err = url.QueryUnescape(value); err != nil {
		return "", "", invalid("bad_encoding", "the value of %q is not well encoded", name)
	}
	if len(value) > maxValue {
		return "", "", fmt.Errorf("alibaba: a parameter is too long: %w", core.ErrTooLarge)
	}
	return name, value, nil
}

// authentic reports whether the token of p was made with one of our keys. All
// keys are tried, so that the time does not tell which one it was.
func (a *Adapter) authentic(p params) bool {
	token := []byte(p.get(tokenParam))
	text := p.canonical()
	match := 0
	for _, key := range a.keys {
		want := digest(text, key)
		match |= subtle.ConstantTimeCompare(token, want[:])
	}
	return match == 1
}

// canonical returns the text that is signed, up to the key.
func (p params) canonical() []byte {
	b := make([]byte, 0, 512)
	for _, q := range p {
		if q.name == tokenParam {
			continue
		}
		b = append(b, q.name...)
		b = append(b, '=')
		b = append(b, q.value...)
		b = append(b, '&')
	}
	return append(b, "key="...)
}

// digest signs what canonical returned; it uses the room behind text.
func digest(text []byte, key string) (token [2 * md5.Size]byte) {
	sum := md5.Sum(append(text, key...)) // #nosec -- the protocol prescribes it
	hex.Encode(token[:], sum[:])
	return token
}

// wellFormed refuses what no store could keep, and names that would let one
// signed text be read as two different sets of parameters: "a=1&b=2" is the
// value 1&b=2 of a, or two parameters.
func (p params) wellFormed() error {
	for _, q := range p {
		switch {
		case !utf8.ValidString(q.name) || !utf8.ValidString(q.value):
			return invalid("bad_encoding", "%q is not UTF-8", q.name)
		case strings.IndexByte(q.name, 0) >= 0 || strings.IndexByte(q.value, 0) >= 0:
			return invalid("bad_encoding", "%q holds a zero byte", q.name)
		case q.name == "" || strings.ContainsAny(q.name, "=&"):
			return invalid("bad_name", "%q cannot be the name of a parameter", q.name)
		}
	}
	return nil
}
