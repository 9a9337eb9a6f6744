package aws

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

// The endpoints below a listing's path. Callbacks from the queue are marked by
// one that is never routed, so that nobody can claim to be the queue.
const (
	endpointRegister = "register"
	endpointEvents   = "events"
	endpointQueue    = "queue"
)

// Headers of callbacks.
const (
	headerKey    = "X-Api-Key"            // of an EventBridge connection
	headerID     = "X-Sqs-Message-Id"     // set by the feed
	headerSentAt = "X-Sqs-Sent-Timestamp" // set by the feed, RFC 3339
)

// agreementSource is the source of every event that may change anything.
const agreementSource = "aws.agreement-marketplace"

// Receive verifies cb and says what it means. A registration calls
// ResolveCustomer; a message of SNS may need its certificate; confirming a
// topic visits SNS. It may be called again for the same callback.
func (a *Adapter) Receive(ctx context.Context, cb core.Callback) (marketplace.Event, error) {
	switch cb.Endpoint {
	case endpointRegister:
		return a.receiveRegistration(ctx, cb)
	case endpointEvents:
		return a.receivePush(ctx, cb)
	case endpointQueue:
		return a.receiveQueued(cb)
	default:
		return a.event(""), unsupported("there is nothing at this path")
	}
}

// event returns an event that says nothing yet but the provider's word.
func (a *Adapter) event(action string) marketplace.Event {
	return marketplace.Event{
		Listing: a.listing, Provider: Provider, Kind: marketplace.Noted, Action: action,
	}
}

// stamp is what a transport knows of the message it carried, for messages that
// carry no id and time themselves.
type stamp struct {
	id string
	at string
}

// receivePush takes an EventBridge event with its key, or an SNS envelope with
// its signature.
func (a *Adapter) receivePush(ctx context.Context, cb core.Callback) (marketplace.Event, error) {
	if cb.Method != http.MethodPost {
		return a.event(""), unsupported("events are sent with POST")
	}
	if keys := cb.Header.Values(headerKey); len(keys) > 0 {
		if !a.knownKey(keys) {
			return a.event(""), unverified("x-api-key is not the one configured")
		}
		return a.receiveMessage(cb.Body, stamp{})
	}
	var e envelope
	if err := json.Unmarshal(cb.Body, &e); err != nil {
		return a.event(""), malformed(err)
	}
	if e.Type == "" {
		return a.event(""), unverified("neither an API key nor a signed message")
	}
	if err := a.verify(ctx, &e); err != nil {
		return a.event(e.Type), err
	}
	return a.receiveEnvelope(ctx, &e)
}

// receiveEnvelope says what a message means whose origin is certain.
func (a *Adapter) receiveEnvelope(ctx context.Context, e *envelope) (marketplace.Event, error) {
	ev := a.event(e.Type)
	ev.Delivery = e.MessageID
	switch e.Type {
	case typeNotification:
		return a.receiveMessage([]byte(e.Message), stamp{id: e.MessageID, at: e.Timestamp})
	case typeSubscribe:
		if err := a.urls.checkConfirm(e); err != nil {
			return ev, err
		}
		_, err := a.certs.get(ctx, e.SubscribeURL, maxConfirmBytes)
		return ev, err
	default:
		// Somebody unsubscribed the topic. Its SubscribeURL would undo that, which
		// is for people to decide; the journal shows it.
		return ev, nil
	}
}

// receiveQueued takes a message that our own credentials read from our own
// queue: an envelope, a raw delivery or an EventBridge event.
func (a *Adapter) receiveQueued(cb core.Callback) (marketplace.Event, error) {
	s := stamp{id: cb.Header.Get(headerID), at: cb.Header.Get(headerSentAt)}
	var e envelope
	if err := json.Unmarshal(cb.Body, &e); err != nil || e.Type != typeNotification {
		return a.receiveMessage(cb.Body, s)
	}
	if len(a.cfg.SNSTopics) > 0 && !a.allowsTopic(e.TopicARN) {
		return a.event(e.Type), unverified("topic %q is not in sns_topics", clip(e.TopicARN))
	}
	return a.receiveMessage([]byte(e.Message), stamp{id: e.MessageID, at: e.Timestamp})
}

// receiveMessage tells the two kinds of messages apart. Others are noted:
// AWS adds types, and sellers forward what they like through their topics.
func (a *Adapter) receiveMessage(body []byte, s stamp) (marketplace.Event, error) {
	m, err := decodeMessage(body)
	if err != nil && s.id == "" {
		return a.event(""), malformed(err)
	}
	switch {
	case m.Action != "":
		return a.legacy(&m, s)
	case m.DetailType != "":
		return a.bus(&m)
	case s.id == "":
		return a.event(""), core.Invalid("not_an_event", "the body is no event of AWS Marketplace")
	}
	ev := a.event("unknown message")
	ev.Delivery = s.id
	return ev, nil
}

// decodeMessage reads a message. The documented sample of a legacy one has a
// comma too many at its end, so that is forgiven.
func decodeMessage(body []byte) (message, error) {
	var m message
	err := json.Unmarshal(body, &m)
	if err == nil {
		return m, nil
	}
	end := bytes.TrimRight(bytes.TrimSuffix(bytes.TrimSpace(body), []byte("}")), " \t\r\n")
	if trimmed, found := bytes.CutSuffix(end, []byte(",")); found {
		m = message{}
		if json.Unmarshal(append(bytes.Clone(trimmed), '}'), &m) == nil {
			return m, nil
		}
	}
	return message{}, err
}

// rankOf returns the rank of what AWS said at a time: fixed width, so that
// byte order is time order.
func rankOf(at string) (string, error) {
	t, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return "", core.Invalid("bad_time", "time %q is not RFC 3339", clip(at))
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000000Z"), nil
}

// licenseID returns the id in a license ARN, "l-…", or "". ResolveCustomer
// spells arn:aws:license-manager::ACCOUNT:license:ID; the documented event has
// no arn: in front and a region inside (Seller Guide "notifications-eventbridge").
func licenseID(arn string) string {
	id := arn[strings.LastIndexAny(arn, ":/")+1:]
	digits, ok := strings.CutPrefix(id, "l-")
	if !ok || digits == "" || strings.ContainsFunc(digits, notAlphanumeric) {
		return ""
	}
	return id
}

func notAlphanumeric(r rune) bool {
	return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
}

// fullARN reports whether arn is spelled as the metering and entitlement
// services spell it.
func fullARN(arn string) bool {
	return strings.HasPrefix(arn, "arn:") && strings.Contains(arn, ":license-manager::") &&
		strings.Contains(arn, ":license:")
}

// accountID returns s if it is an AWS account number, or "".
func accountID(s string) string {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' }) {
		return ""
	}
	return s
}

func malformed(err error) error {
	return core.Invalid("malformed_json", "the body is not the JSON we expect: %v", err)
}

func unsupported(detail string) error {
	return fmt.Errorf("aws: %w: %s", core.ErrUnsupported, detail)
}
