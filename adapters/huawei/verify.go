package huawei

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"cloudsettle/core"
)

// maxNonce bounds a nonce, which is kept until it cannot be used again; 16, 32
// and 64 characters were seen.
const maxNonce = 128

// secret is a key that KooGallery may sign with.
type secret struct {
	key        string
	notifyOnly bool // the key of the order notification interface, good for nothing else
	fields     fieldCipher
}

// stamp is what the signature of a version 2 callback covers beside the body.
type stamp struct{ signature, timestamp, nonce string }

func stampOf(p params) stamp {
	return stamp{p.get("signature"), p.get("timestamp"), p.get("nonce")}
}

// at returns the time of the stamp.
func (s stamp) at() (time.Time, error) {
	ms, err := digits(s.timestamp)
	switch {
	case err == nil && len(s.timestamp) == 13:
		return time.UnixMilli(ms).UTC(), nil
	case err == nil && len(s.timestamp) == 10:
		return time.Unix(ms, 0).UTC(), nil
	default:
		return time.Time{}, fmt.Errorf("huawei: timestamp: %w", core.ErrUnverified)
	}
}

// verifyV2 returns the secret that signed a version 2 callback and the payload
// that it signed. Only that payload may be read: the body may hold members
// beside it that no signature covers.
func (a *Adapter) verifyV2(s stamp, body []byte) (*secret, []byte, error) {
	got, err := hex.DecodeString(s.signature)
	if err != nil || len(got) != sha256.Size || s.nonce == "" || len(s.nonce) > maxNonce {
		return nil, nil, fmt.Errorf("huawei: signature: malformed: %w", core.ErrUnverified)
	}
	if signer := a.signerV2(s, body, got); signer != nil {
		return signer, body, nil
	}
	if sorted, ok := sortedBody(body); ok && !bytes.Equal(sorted, body) {
		if signer := a.signerV2(s, sorted, got); signer != nil {
			return signer, sorted, nil
		}
	}
	return nil, nil, fmt.Errorf("huawei: signature: mismatch: %w", core.ErrUnverified)
}

func (a *Adapter) signerV2(s stamp, payload, got []byte) *secret {
	for i := range a.secrets {
		if hmac.Equal(got, signV2(a.secrets[i].key, s, payload)) {
			return &a.secrets[i]
		}
	}
	return nil
}

// signV2 computes the signature of a version 2 callback: the hash of the
// payload is hashed again with key, nonce and time (page 0070649476).
func signV2(key string, s stamp, payload []byte) []byte {
	k := []byte(key)
	mac := hmac.New(sha256.New, k)
	mac.Write(payload)
	inner := mac.Sum(nil)
	mac.Reset()
	mac.Write(k)
	_, _ = io.WriteString(mac, s.nonce)
	_, _ = io.WriteString(mac, s.timestamp)
	mac.Write(hex.AppendEncode(nil, inner))
	return mac.Sum(inner[:0])
}

// sortedBody returns the compact form of a JSON object with its top-level keys
// ascending and without nulls. Nested values keep their order.
func sortedBody(body []byte) ([]byte, bool) {
	members, ok := membersOf(body)
	if !ok {
		return nil, false
	}
	slices.SortFunc(members, func(a, b member) int { return strings.Compare(a.key, b.key) })
	var out bytes.Buffer
	sep := byte('{')
	for i, m := range members {
		if i > 0 && members[i-1].key == m.key {
			return nil, false
		}
		if string(m.value) == "null" {
			continue
		}
		out.WriteByte(sep)
		out.Write(quote(m.key))
		out.WriteByte(':')
		if err := json.Compact(&out, m.value); err != nil {
			return nil, false
		}
		sep = ','
	}
	if sep == '{' {
		return nil, false
	}
	out.WriteByte('}')
	return out.Bytes(), true
}

type member struct {
	key   string
	value json.RawMessage
}

func membersOf(body []byte) ([]member, bool) {
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, false
	}
	var out []member
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, false
		}
		m := member{key: key.(string)}
		if d.Decode(&m.value) != nil {
			return nil, false
		}
		out = append(out, m)
	}
	if _, err := d.Token(); err != nil {
		return nil, false
	}
	_, err := d.Token()
	return out, err == io.EOF
}

// quote writes a JSON string without the escapes that only HTML needs.
func quote(s string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string always encodes
	return bytes.TrimSpace(b.Bytes())
}

// verifyV1 returns the secret that signed a version 1 callback and the
// parameters as they were signed.
func (a *Adapter) verifyV1(p params) (*secret, params, error) {
	if signer := a.signerV1(p); signer != nil {
		return signer, p, nil
	}
	if repaired, ok := repairPlus(p); ok {
		if signer := a.signerV1(repaired); signer != nil {
			return signer, repaired, nil
		}
	}
	return nil, p, fmt.Errorf("huawei: authToken: mismatch: %w", core.ErrUnverified)
}

func (a *Adapter) signerV1(p params) *secret {
	token, at := p.get("authToken"), p.get("timeStamp")
	if token == "" || at == "" {
		return nil
	}
	for i := range a.secrets {
		s := &a.secrets[i]
		if !s.notifyOnly && hmac.Equal([]byte(token), []byte(signV1(s.key, at, p))) {
			return s
		}
	}
	return nil
}

// signV1 computes the authToken over all parameters that were received, decoded
// once and otherwise as they came: encrypted fields stay encrypted
// (page 0070649066).
func signV1(key, timeStamp string, p params) string {
	mac := hmac.New(sha256.New, []byte(key+timeStamp))
	line := make([]byte, 0, 512)
	for _, q := range p {
		if q.name == "authToken" {
			continue
		}
		if len(line) > 0 {
			line = append(line, '&')
		}
		line = append(append(append(line, q.name...), '='), q.value...)
	}
	mac.Write(line)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// repairPlus undoes what proxies do that decode a query twice: the plus signs
// of base64 arrive as blanks (FAQ 0082027567).
func repairPlus(p params) (params, bool) {
	out, changed := slices.Clone(p), false
	for i, q := range out {
		switch q.name {
		case "authToken", "email", "mobilePhone", "saasExtendParams":
			if strings.Contains(q.value, " ") {
				out[i].value, changed = strings.ReplaceAll(q.value, " ", "+"), true
			}
		}
	}
	return out, changed
}

// bodySign is the value of the Body-Sign header over exactly body
// (page 0070649157). The blank is part of Huawei's own sample.
func bodySign(key string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write(body)
	return `sign_type="HMAC-SHA256", signature= "` + base64.StdEncoding.EncodeToString(mac.Sum(nil)) + `"`
}

// fresh refuses a callback that is too old or too far in the future.
func fresh(at, receivedAt time.Time, within time.Duration) error {
	if d := receivedAt.Sub(at); d > within || d < -within {
		return fmt.Errorf("huawei: timestamp: %s off: %w", d.Round(time.Second), core.ErrExpired)
	}
	return nil
}
