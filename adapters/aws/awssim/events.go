package awssim

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"cloudsettle/adapters/internal/sim"
)

func (s *Simulator) created(a *Agreement, p Params) (sim.Delivery, error) {
	a.Intent, a.Previous = cmp.Or(p["intent"], a.Intent), cmp.Or(p["previous"], a.Previous)
	return s.stated("Created", a.Intent, a, p)
}

func (s *Simulator) stated(what, intent string, a *Agreement, p Params) (sim.Delivery, error) {
	d := s.detail(a)
	agreement := map[string]any{
		"id": a.ID, "intent": intent, "status": "ACTIVE", "acceptanceTime": stampOf(a.StartsAt),
		"startTime": stampOf(a.StartsAt), "endTime": stampOf(a.EndsAt),
	}
	if a.Previous != "" && intent != "AMEND" {
		agreement["previousAgreementId"] = a.Previous
	}
	d["agreement"] = agreement
	return s.bus("Purchase Agreement "+what+" - Proposer", a, d, p)
}

func (s *Simulator) licenseUpdated(a *Agreement, p Params) (sim.Delivery, error) {
	a.become(Active, s.cfg.Now())
	return s.bus("License Updated - Manufacturer", a, s.license(a, p), p)
}

func (s *Simulator) licenseDeprovisioned(a *Agreement, p Params) (sim.Delivery, error) {
	a.become(Ended, s.cfg.Now())
	if a.Legacy {
		d, err := snsAction("unsubscribe-success", Ended)(s, a, p)
		if err != nil {
			return sim.Delivery{}, err
		}
		return d[0], nil
	}
	return s.bus("License Deprovisioned - Manufacturer", a, s.license(a, p), p)
}

func (s *Simulator) ended(status string, a *Agreement, p Params) (sim.Delivery, error) {
	switch status {
	case "RENEWED", "REPLACED":
		a.Replaced = true
	default:
		if a.Status != Ended {
			a.become(Ending, s.cfg.Now())
		}
	}
	d := s.detail(a)
	d["agreement"] = map[string]any{"id": a.ID, "status": status}
	return s.bus("Purchase Agreement Ended - Proposer", a, d, p)
}

func (s *Simulator) advisory(a *Agreement, p Params) (sim.Delivery, error) {
	d := s.detail(a)
	d["advisory"] = map[string]any{"issuedAt": stampOf(s.cfg.Now())}
	return s.bus("Purchase Agreement Advisory Issued - Manufacturer", a, d, p)
}

func (s *Simulator) unknown(a *Agreement, p Params) (sim.Delivery, error) {
	return s.bus(cmp.Or(p["detail_type"], "Purchase Agreement Pondered - Proposer"), a, s.detail(a), p)
}

// detail is what all events of an agreement say.
func (s *Simulator) detail(a *Agreement) map[string]any {
	return map[string]any{
		"requestId": uuid(), "catalog": "AWSMarketplace", "agreement": map[string]any{"id": a.ID},
		"acceptor": map[string]any{"accountId": a.Account},
		"proposer": map[string]any{"accountId": sellerAccount}, "offer": map[string]any{"id": a.Offer},
	}
}

const sellerAccount = "123456789012"

// license is the detail of a license event; the ARN is spelled in either way.
func (s *Simulator) license(a *Agreement, p Params) map[string]any {
	arn := a.documentedARN()
	if p["arn"] == "full" || p["arn"] == "" && s.rnd.IntN(2) == 0 {
		arn = a.licenseARN()
	}
	d := s.detail(a)
	d["license"] = map[string]any{"arn": arn}
	d["product"] = map[string]any{
		"code": cmp.Or(p["product_code"], s.listing.ProductCode), "id": s.listing.ProductID,
	}
	return d
}

func stampOf(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// eventTime is when an event happens: now, or as the caller wants it.
func (s *Simulator) eventTime(p Params) (time.Time, error) {
	if p["time"] == "" {
		return s.tick(), nil
	}
	t, err := time.Parse(time.RFC3339, p["time"])
	if err != nil {
		return t, fmt.Errorf("time: %q is not RFC 3339", p["time"])
	}
	return t, nil
}

// bus makes an EventBridge event and its delivery: to the queue if there is
// one, else to the API destination.
func (s *Simulator) bus(
	detailType string, a *Agreement, detail map[string]any, p Params,
) (sim.Delivery, error) {
	at, err := s.eventTime(p)
	if err != nil {
		return sim.Delivery{}, err
	}
	body, err := json.Marshal(map[string]any{
		"version": "0", "id": uuid(), "detail-type": detailType, "source": "aws.agreement-marketplace",
		"account": sellerAccount, "time": stampOf(at), "region": "us-east-1",
		"resources": []string{"arn:aws:aws-marketplace::aws:agreement:" + a.ID}, "detail": detail,
	})
	if err != nil {
		return sim.Delivery{}, err
	}
	if s.listing.SQSQueueURL != "" {
		s.queue.put(string(body))
		return sim.Delivery{Name: detailType}, nil
	}
	return sim.Delivery{
		Name: detailType, Schedule: eventBridgeSchedule(), Accept: accepted,
		Build: s.post("events", body, http.Header{
			"Content-Type": {"application/json; charset=utf-8"}, "X-Api-Key": {s.listing.EventAPIKey},
			"User-Agent": {"Amazon/EventBridge/ApiDestinations"},
		}),
	}, nil
}

func accepted(status int, _ []byte) bool { return status >= 200 && status < 300 }

// eventBridgeSchedule is the default retry policy: 185 attempts within 24 hours
// with growing waits (EventBridge User Guide, "Retry policy").
func eventBridgeSchedule() []time.Duration {
	const attempts, most = 185, 8 * time.Minute
	out := make([]time.Duration, attempts)
	for i, wait := 0, time.Second; i < attempts; i, wait = i+1, min(most, wait*2) {
		out[i] = wait
	}
	return out
}

// snsSchedule is the default policy of HTTP subscriptions (SNS Developer Guide,
// "Message delivery retries").
func snsSchedule() []time.Duration {
	return []time.Duration{20 * time.Second, 20 * time.Second, 20 * time.Second}
}

// post returns what builds the request of each attempt.
func (s *Simulator) post(
	endpoint string, body []byte, h http.Header,
) func(context.Context, int) (*http.Request, error) {
	return func(ctx context.Context, _ int) (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.hook(endpoint), bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		req.Header = h.Clone()
		return req, nil
	}
}

// register is the buyer's browser with a token, as it arrives on the seller's
// site. A buyer who sees an error tries again.
func (s *Simulator) register(a *Agreement, p Params) (sim.Delivery, error) {
	form := url.Values{"x-amzn-marketplace-token": {cmp.Or(p["token"], s.mint(a))}}
	if a.Trial {
		form.Set("x-amzn-marketplace-offer-type", "free-trial")
	}
	id := a.ID
	return sim.Delivery{
		Name:     "registration",
		Schedule: []time.Duration{time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute},
		Accept:   func(status int, _ []byte) bool { return status == http.StatusSeeOther },
		Build: s.post("register", []byte(form.Encode()), http.Header{
			"Content-Type": {"application/x-www-form-urlencoded"},
			"Origin":       {"https://us-east-1.console.aws.amazon.com"},
		}),
		Accepted: func([]byte) { s.registered(id) },
	}, nil
}

func (s *Simulator) registered(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.agreements {
		if a.ID == id {
			a.Registered = true
		}
	}
}
