package huaweisim

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1" // #nosec -- fixed by the protocol
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// maxDateSkew is how far X-Sdk-Date may be off.
const maxDateSkew = 15 * time.Minute

func hash(key string, parts ...string) []byte {
	mac := hmac.New(sha256.New, []byte(key))
	for _, p := range parts {
		mac.Write([]byte(p))
	}
	return mac.Sum(nil)
}

// signBody is the signature of a version 2 callback.
func signBody(key, nonce, timestamp string, body []byte) string {
	inner := hex.EncodeToString(hash(key, string(body)))
	return hex.EncodeToString(hash(key, key, nonce, timestamp, inner))
}

// authToken is the signature of a version 1 callback.
func authToken(key string, values map[string]string) string {
	var pairs []string
	for _, k := range slices.Sorted(maps.Keys(values)) {
		pairs = append(pairs, k+"="+values[k])
	}
	return base64.StdEncoding.EncodeToString(hash(key+values["timeStamp"], strings.Join(pairs, "&")))
}

// encrypt encrypts a field with 128 bits. Of this size the key is simply the
// first block of Java's generator.
func encrypt(key, text, iv string) string {
	seed := sha1.Sum([]byte(key)) // #nosec -- see above
	block := sha1.Sum(seed[:])    // #nosec -- see above
	c, _ := aes.NewCipher(block[:16])
	n := aes.BlockSize - len(text)%aes.BlockSize
	padded := append([]byte(text), bytes.Repeat([]byte{byte(n)}, n)...)
	cipher.NewCBCEncrypter(c, []byte(iv)).CryptBlocks(padded, padded)
	return iv + base64.StdEncoding.EncodeToString(padded)
}

// checkBodySign checks the one Body-Sign header of an answer.
func checkBodySign(key string, headers []string, body []byte) error {
	if len(headers) != 1 {
		return errors.New("http header->bodySign is empty")
	}
	value, ok := strings.CutPrefix(headers[0], `sign_type="HMAC-SHA256",`)
	if !ok {
		return errors.New("sign_type is not equals HMAC-SHA256 or signature is empty")
	}
	_, value, _ = strings.Cut(value, "signature=")
	value = strings.TrimSpace(value)
	want := `"` + base64.StdEncoding.EncodeToString(hash(key, string(body))) + `"`
	if !hmac.Equal([]byte(value), []byte(want)) {
		return errors.New("the signature of the body does not match")
	}
	return nil
}

// verifyCall checks the SDK-HMAC-SHA256 signature of a call to the open API.
func verifyCall(r *http.Request, body []byte, accessKey, secret string, now time.Time) error {
	fields, ok := strings.CutPrefix(r.Header.Get("Authorization"), "SDK-HMAC-SHA256 ")
	if !ok {
		return errors.New("no SDK-HMAC-SHA256 authorization")
	}
	auth := map[string]string{}
	for f := range strings.SplitSeq(fields, ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(f), "=")
		auth[k] = v
	}
	signed := strings.Split(auth["SignedHeaders"], ";")
	date, err := time.Parse("20060102T150405Z", r.Header.Get("X-Sdk-Date"))
	switch {
	case auth["Access"] != accessKey:
		return errors.New("unknown access key")
	case err != nil || !slices.Contains(signed, "x-sdk-date"):
		return errors.New("no signed X-Sdk-Date")
	case date.Sub(now).Abs() > maxDateSkew:
		return errors.New("the request has expired")
	case !hmac.Equal([]byte(auth["Signature"]), []byte(signCall(r, body, secret, signed))):
		return errors.New("verify aksk signature fail")
	}
	return nil
}

// signCall computes the signature over whatever headers are listed.
func signCall(r *http.Request, body []byte, secret string, signed []string) string {
	path := r.URL.EscapedPath()
	if !strings.HasSuffix(path, "/") {
		path += "/"
	}
	lines := []string{r.Method, path, canonicalQuery(r.URL.Query())}
	for _, name := range signed {
		value := r.Header.Get(name)
		if name == "host" {
			value = r.Host
		}
		lines = append(lines, name+":"+strings.TrimSpace(value))
	}
	sum := sha256.Sum256(body)
	lines = append(lines, "", strings.Join(signed, ";"), hex.EncodeToString(sum[:]))
	request := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	text := "SDK-HMAC-SHA256\n" + r.Header.Get("X-Sdk-Date") + "\n" + hex.EncodeToString(request[:])
	return hex.EncodeToString(hash(secret, text))
}

func canonicalQuery(q url.Values) string {
	var pairs []string
	for k, vs := range q {
		for _, v := range vs {
			pairs = append(pairs, rfc3986(k)+"="+rfc3986(v))
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

func rfc3986(s string) string {
	return strings.ReplaceAll(url.QueryEscape(s), "+", "%20")
}
