package alibabasim

import (
	"crypto/hmac"
	"crypto/md5"  // #nosec -- the protocol prescribes it
	"crypto/sha1" // #nosec -- the protocol prescribes it
	"encoding/base64"
	"encoding/hex"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// token signs the parameters of a callback.
func token(values map[string]string, key string) string {
	parts := make([]string, 0, len(values)+1)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if name != "token" {
			parts = append(parts, name+"="+values[name])
		}
	}
	parts = append(parts, "key="+key)
	sum := md5.Sum([]byte(strings.Join(parts, "&"))) // #nosec -- the protocol prescribes it
	return hex.EncodeToString(sum[:])
}

// rpcSignature signs a call of the API (signature version 1.0).
func rpcSignature(method string, values url.Values, secret string) string {
	parts := make([]string, 0, len(values))
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if name != "Signature" {
			parts = append(parts, percent(name)+"="+percent(values.Get(name)))
		}
	}
	mac := hmac.New(sha1.New, []byte(secret+"&"))
	mac.Write([]byte(method + "&%2F&" + percent(strings.Join(parts, "&"))))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// percent encodes as RFC 3986 does; net/url differs from that in the space.
func percent(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}
