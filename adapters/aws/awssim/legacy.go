package awssim

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"cloudsettle/adapters/internal/sim"
)

// snsAction makes a plan that sends a legacy notification and leaves the
// agreement in a state.
func snsAction(action, status string) planner {
	return func(s *Simulator, a *Agreement, p Params) ([]sim.Delivery, error) {
		a.Legacy = true
		a.become(cmp.Or(status, a.Status), s.cfg.Now())
		if action == "entitlement-updated" && a.Quantity == 0 {
			a.become(Ended, s.cfg.Now()) // what is left of a contract that is over
		}
		body := map[string]string{
			"action": action, "customer-identifier": a.Customer,
			"product-code": cmp.Or(p["product_code"], s.listing.ProductCode),
		}
		if strings.HasPrefix(action, "subscribe-") {
			body["offer-identifier"] = a.Offer
			body["isFreeTrialTermPresent"] = strconv.FormatBool(a.Trial)
		}
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		topic := s.topic("subscription")
		if action == "entitlement-updated" {
			topic = s.topic("entitlement")
		}
		m := map[string]string{"Type": "Notification", "TopicArn": topic, "Message": string(text)}
		d, err := s.sns(action, m, p)
		return []sim.Delivery{d}, err
	}
}

// topic returns the configured topic of a kind, or the usual name.
func (s *Simulator) topic(kind string) string {
	for _, arn := range s.listing.SNSTopics {
		if strings.Contains(arn, kind) {
			return arn
		}
	}
	if len(s.listing.SNSTopics) > 0 {
		return s.listing.SNSTopics[0]
	}
	return "arn:aws:sns:us-east-1:123456789012:aws-mp-" + kind + "-notification-" + s.listing.ProductCode
}

func (s *Simulator) snsConfirm(_ *Agreement, p Params) (sim.Delivery, error) {
	return s.snsControl("SubscriptionConfirmation", p)
}

func (s *Simulator) snsUnsubscribed(_ *Agreement, p Params) (sim.Delivery, error) {
	return s.snsControl("UnsubscribeConfirmation", p)
}

func (s *Simulator) snsControl(kind string, p Params) (sim.Delivery, error) {
	topic, secret := cmp.Or(p["topic"], s.topic("subscription")), hexID(64)
	s.confirm[secret] = topic
	q := url.Values{"Action": {"ConfirmSubscription"}, "TopicArn": {topic}, "Token": {secret}}
	return s.sns(kind, map[string]string{
		"Type": kind, "TopicArn": topic, "Token": secret,
		"Message": "You have chosen to subscribe to the topic " + topic +
			".\nTo confirm the subscription, visit the SubscribeURL included in this message.",
		"SubscribeURL": s.cfg.BaseURL + "/?" + q.Encode(),
	}, p)
}

// sns signs a message and makes its delivery.
func (s *Simulator) sns(name string, m map[string]string, p Params) (sim.Delivery, error) {
	at, err := s.eventTime(p)
	if err != nil {
		return sim.Delivery{}, err
	}
	signer, err := s.signer()
	if err != nil {
		return sim.Delivery{}, err
	}
	m["MessageId"], m["Timestamp"] = uuid(), at.UTC().Format("2006-01-02T15:04:05.000Z")
	m["SignatureVersion"] = cmp.Or(s.switches.SNSVersion, strconv.Itoa(1+s.rnd.IntN(2)))
	if err := signer.sign(m); err != nil {
		return sim.Delivery{}, err
	}
	m["SigningCertURL"] = s.cfg.BaseURL + signer.path
	if m["Type"] == "Notification" {
		m["UnsubscribeURL"] = s.cfg.BaseURL + "/?Action=Unsubscribe&SubscriptionArn=" + m["TopicArn"] + ":1"
	}
	body, err := json.Marshal(m)
	if err != nil {
		return sim.Delivery{}, err
	}
	if s.listing.SQSQueueURL != "" && m["Type"] == "Notification" {
		s.queue.put(string(body))
		return sim.Delivery{Name: name}, nil
	}
	return sim.Delivery{
		Name: name, Schedule: snsSchedule(), Accept: accepted,
		Build: s.post("events", body, http.Header{
			"Content-Type": {"text/plain; charset=UTF-8"}, "X-Amz-Sns-Message-Type": {m["Type"]},
			"X-Amz-Sns-Message-Id": {m["MessageId"]}, "X-Amz-Sns-Topic-Arn": {m["TopicArn"]},
			"User-Agent": {"Amazon Simple Notification Service Agent"},
		}),
	}, nil
}
