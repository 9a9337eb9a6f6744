package awssim

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Reasons to refuse a request to an AWS service.
var (
	errNoSignature  = errors.New("the request is not signed with AWS4-HMAC-SHA256")
	errUnknownKey   = errors.New("the access key is not known here")
	errBadSignature = errors.New("the signature is not the one computed from the request")
)

const algorithm = "AWS4-HMAC-SHA256"

// checkSignature verifies a Signature Version 4 as AWS does ("Create a signed
// AWS API request", IAM User Guide).
func checkSignature(r *http.Request, body []byte, accessKey, secret string) error {
	fields, ok := strings.CutPrefix(r.Header.Get("Authorization"), algorithm+" ")
	if !ok {
		return errNoSignature
	}
	auth := map[string]string{}
	for f := range strings.SplitSeq(fields, ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(f), "=")
		auth[k] = v
	}
	scope := strings.Split(auth["Credential"], "/") // key, date, region, service, aws4_request
	signed := strings.Split(auth["SignedHeaders"], ";")
	if len(scope) != 5 || !slices.Contains(signed, "host") || !slices.Contains(signed, "x-amz-date") {
		return errNoSignature
	}
	if subtle.ConstantTimeCompare([]byte(scope[0]), []byte(accessKey)) != 1 {
		return errUnknownKey
	}
	key := []byte("AWS4" + secret)
	for _, part := range scope[1:] {
		key = mac(key, part)
	}
	digest := sha256.Sum256([]byte(canonical(r, signed, body)))
	text := strings.Join([]string{
		algorithm, r.Header.Get("X-Amz-Date"), strings.Join(scope[1:], "/"), hex.EncodeToString(digest[:]),
	}, "\n")
	want := hex.EncodeToString(mac(key, text))
	if subtle.ConstantTimeCompare([]byte(auth["Signature"]), []byte(want)) != 1 {
		return errBadSignature
	}
	return nil
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// canonical returns the canonical request.
func canonical(r *http.Request, signed []string, body []byte) string {
	digest := sha256.Sum256(body)
	query := strings.ReplaceAll(r.URL.Query().Encode(), "+", "%20")
	lines := []string{r.Method, r.URL.EscapedPath(), query}
	for _, name := range signed {
		lines = append(lines, name+":"+headerValue(r, name))
	}
	return strings.Join(append(lines, "", strings.Join(signed, ";"), hex.EncodeToString(digest[:])), "\n")
}

func headerValue(r *http.Request, name string) string {
	switch name {
	case "host":
		return r.Host
	case "content-length":
		return strconv.FormatInt(r.ContentLength, 10)
	}
	values := slices.Clone(r.Header.Values(name))
	for i, v := range values {
		values[i] = strings.Join(strings.Fields(v), " ")
	}
	return strings.Join(values, ",")
}
