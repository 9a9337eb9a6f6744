package aws

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha1" // #nosec -- SignatureVersion 1 is SHA-1, and the default of SNS
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"cloudsettle/core"
)

// The types of SNS envelopes.
const (
	typeNotification = "Notification"
	typeSubscribe    = "SubscriptionConfirmation"
	typeUnsubscribe  = "UnsubscribeConfirmation"
)

// knownKey reports whether keys is the one API key that the EventBridge
// connection was given. It takes the same time for every wrong key.
func (a *Adapter) knownKey(keys []string) bool {
	if len(keys) != 1 || keys[0] == "" {
		return false
	}
	got := sha256.Sum256([]byte(keys[0]))
	found := 0
	for _, want := range a.keys {
		found |= subtle.ConstantTimeCompare(got[:], want[:])
	}
	return found == 1
}

// verify checks that SNS signed e for a topic of ours. Nothing is fetched for
// a message that is refused without its certificate.
func (a *Adapter) verify(ctx context.Context, e *envelope) error {
	if !a.allowsTopic(e.TopicARN) {
		return unverified("topic %q is not in sns_topics", clip(e.TopicARN))
	}
	text, err := e.stringToSign()
	if err != nil {
		return err
	}
	signature, err := decodeSignature(e.Signature)
	if err != nil {
		return err
	}
	if !a.urls.cert.MatchString(e.SigningCertURL) {
		return unverified("SigningCertURL is not one of SNS")
	}
	key, err := a.certs.key(ctx, e.SigningCertURL)
	if err != nil {
		return err
	}
	return verifySignature(key, e.SignatureVersion, text, signature)
}

// verifySignature knows the two versions of SNS signatures (SNS Developer
// Guide, "Verifying the signatures of Amazon SNS messages").
func verifySignature(key *rsa.PublicKey, version string, text, signature []byte) error {
	var err error
	switch version {
	case "1":
		digest := sha1.Sum(text) // #nosec -- see the import
		err = rsa.VerifyPKCS1v15(key, crypto.SHA1, digest[:], signature)
	case "2":
		digest := sha256.Sum256(text)
		err = rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature)
	default:
		return unverified("signature version %q is unknown", clip(version))
	}
	if err != nil {
		return unverified("the signature does not hold")
	}
	return nil
}

// stringToSign returns what SNS signs: names and values in byte order of the
// names, each followed by a newline. Only Message and Subject may hold
// newlines: elsewhere they could make one message read as another.
func (e *envelope) stringToSign() ([]byte, error) {
	for _, v := range []string{e.MessageID, e.SubscribeURL, e.Timestamp, e.Token, e.TopicARN} {
		if strings.ContainsAny(v, "\r\n") {
			return nil, unverified("a field holds a line break")
		}
	}
	b := make([]byte, 0, len(e.Message)+len(e.SubscribeURL)+len(e.Token)+512)
	b = appendField(b, "Message", e.Message)
	b = appendField(b, "MessageId", e.MessageID)
	switch e.Type {
	case typeNotification:
		if e.Subject != nil {
			b = appendField(b, "Subject", *e.Subject)
		}
		b = appendField(b, "Timestamp", e.Timestamp)
	case typeSubscribe, typeUnsubscribe:
		b = appendField(b, "SubscribeURL", e.SubscribeURL)
		b = appendField(b, "Timestamp", e.Timestamp)
		b = appendField(b, "Token", e.Token)
	default:
		return nil, unverified("message type %q is unknown", clip(e.Type))
	}
	b = appendField(b, "TopicArn", e.TopicARN)
	return appendField(b, "Type", e.Type), nil
}

func appendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, '\n')
	b = append(b, value...)
	return append(b, '\n')
}

// decodeSignature accepts exactly one spelling of each signature.
func decodeSignature(s string) ([]byte, error) {
	sig, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(sig) == 0 || base64.StdEncoding.EncodedLen(len(sig)) != len(s) {
		return nil, unverified("the signature is not base64")
	}
	return sig, nil
}

// urlRules say which URLs of a message may be fetched. They match the text as
// sent, from its first to its last byte, so that no two parsers can disagree
// about it; ports, user names, queries and fragments have no place in it.
type urlRules struct {
	cert    *regexp.Regexp
	confirm *regexp.Regexp
}

func newURLRules(c Config) urlRules {
	origins := make([]string, 0, len(c.SNSDomains)+len(c.SigningCertHosts))
	for _, d := range c.SNSDomains {
		origins = append(origins, `https://sns\.[a-zA-Z0-9-]{3,63}\.`+regexp.QuoteMeta(d))
	}
	for _, h := range c.SigningCertHosts {
		origins = append(origins, `https?://`+regexp.QuoteMeta(h))
	}
	origin := `\A(?:` + strings.Join(origins, "|") + `)`
	return urlRules{
		cert:    regexp.MustCompile(origin + `/SimpleNotificationService-[0-9a-f]{1,64}\.pem\z`),
		confirm: regexp.MustCompile(origin + `/\?([a-zA-Z0-9%=&:._+*-]+)\z`),
	}
}

// checkConfirm allows a SubscribeURL only for confirming this very message.
func (r urlRules) checkConfirm(e *envelope) error {
	m := r.confirm.FindStringSubmatch(e.SubscribeURL)
	if m == nil {
		return unverified("SubscribeURL is not one of SNS")
	}
	q, err := url.ParseQuery(m[1])
	if err != nil {
		return unverified("SubscribeURL has a malformed query")
	}
	for name, want := range map[string]string{
		"Action": "ConfirmSubscription", "TopicArn": e.TopicARN, "Token": e.Token,
	} {
		if got := q[name]; len(got) != 1 || got[0] != want {
			return unverified("SubscribeURL does not confirm this message: %s", name)
		}
	}
	if len(q) != 3 {
		return unverified("SubscribeURL has more than it needs")
	}
	return nil
}

func unverified(format string, args ...any) error {
	return fmt.Errorf("aws: %w: "+format, append([]any{core.ErrUnverified}, args...)...)
}

func unavailable(what string, err error) error {
	return fmt.Errorf("aws: %s: %w: %w", what, core.ErrUnavailable, err)
}

// clip bounds what a stranger can write into our log.
func clip(s string) string {
	const most = 120
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

func (a *Adapter) allowsTopic(arn string) bool { return slices.Contains(a.cfg.SNSTopics, arn) }
