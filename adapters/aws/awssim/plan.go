package awssim

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"cloudsettle/adapters/internal/sim"
)

// plan is one thing that happens in the marketplace: it changes the state and
// returns what the seller is sent for it.
type plan struct {
	sim.Event
	fresh bool // without a name it begins a new agreement
	do    func(s *Simulator, a *Agreement, p Params) ([]sim.Delivery, error)
}

// plans are all that can happen, in the order in which people look for them.
func plans() []plan {
	ids := []string{"agreement", "license", "account", "product_code", "time"}
	what := append([]string{"quantity", "dimension", "offer"}, ids...)
	sns := []string{"customer", "product_code", "offer", "trial", "quantity", "time"}
	return []plan{
		{ev("buy", "a purchase: Purchase Agreement Created and License Updated, or the SNS messages of a legacy listing", append(what, "trial", "legacy", "customer")), true, (*Simulator).buy},
		{ev("subscribe", "License Updated: the license is active", append(what, "arn")), true, one((*Simulator).licenseUpdated)},
		{ev("register", "the buyer clicks Set up your account: POSTs a registration token", append(ids, "token")), false, one((*Simulator).register)},
		{ev("change", "other quantities: Purchase Agreement Amended and License Updated", what), false, (*Simulator).amend},
		{ev("renew", "a new agreement renews this one", append(what, "new_agreement", "new_license")), false, succeed("RENEW", "RENEWED")},
		{ev("replace", "a new agreement replaces this one", append(what, "new_agreement", "new_license")), false, succeed("REPLACE", "REPLACED")},
		{ev("unsubscribe", "the buyer cancels: Purchase Agreement Ended, CANCELLED", ids), false, end("CANCELLED")},
		{ev("expire", "the term is over: Purchase Agreement Ended, EXPIRED", ids), false, end("EXPIRED")},
		{ev("terminate", "AWS ends it: Purchase Agreement Ended, TERMINATED", ids), false, end("TERMINATED")},
		{ev("deprovision", "License Deprovisioned: no usage is accepted any more", append(ids, "arn")), false, one((*Simulator).licenseDeprovisioned)},
		{ev("created", "Purchase Agreement Created alone", append(ids, "intent", "previous")), true, one((*Simulator).created)},
		{ev("advisory", "Purchase Agreement Advisory Issued, for people to look at", ids), false, one((*Simulator).advisory)},
		{ev("unknown", "an event of a type that nobody knows yet", append(ids, "detail_type")), false, one((*Simulator).unknown)},
		{ev("sns-subscribe-success", "legacy: metering may start", sns), true, snsAction("subscribe-success", Active)},
		{ev("sns-subscribe-fail", "legacy: the payment failed", sns), false, snsAction("subscribe-fail", Ended)},
		{ev("sns-unsubscribe-pending", "legacy: one hour left for usage", sns), false, snsAction("unsubscribe-pending", Ending)},
		{ev("sns-unsubscribe-success", "legacy: closed", sns), false, snsAction("unsubscribe-success", Ended)},
		{ev("sns-entitlement-updated", "legacy: ask GetEntitlements; quantity=0 is the end of a contract", sns), false, snsAction("entitlement-updated", "")},
		{ev("sns-confirm", "SNS asks to confirm the topic's subscription", []string{"topic"}), false, one((*Simulator).snsConfirm)},
		{ev("sns-unsubscribe-confirmation", "SNS says that the topic was unsubscribed", []string{"topic"}), false, one((*Simulator).snsUnsubscribed)},
	}
}

func ev(name, help string, params []string) sim.Event {
	return sim.Event{Name: name, Help: help, Params: params}
}

// one makes a plan of a single delivery.
func one(f func(*Simulator, *Agreement, Params) (sim.Delivery, error)) func(*Simulator, *Agreement, Params) ([]sim.Delivery, error) {
	return func(s *Simulator, a *Agreement, p Params) ([]sim.Delivery, error) {
		d, err := f(s, a, p)
		return []sim.Delivery{d}, err
	}
}

// all runs the steps in turn and collects what they send.
func (s *Simulator) all(p Params, steps ...func() (sim.Delivery, error)) ([]sim.Delivery, error) {
	var out []sim.Delivery
	for _, step := range steps {
		d, err := step()
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// Events lists what Trigger knows.
func (s *Simulator) Events() []sim.Event {
	var out []sim.Event
	for _, p := range plans() {
		out = append(out, p.Event)
	}
	return out
}

// prepare lets event happen and returns what it sends.
func (s *Simulator) prepare(event string, p Params) ([]sim.Delivery, *Agreement, error) {
	for _, pl := range plans() {
		if pl.Name != event {
			continue
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		a, err := s.pick(p, pl.fresh)
		if err != nil {
			return nil, nil, fmt.Errorf("awssim: %s: %w", event, err)
		}
		out, err := pl.do(s, a, p)
		if err != nil {
			return nil, nil, fmt.Errorf("awssim: %s: %w", event, err)
		}
		return out, a, nil
	}
	return nil, nil, fmt.Errorf("awssim: there is no event %q", event)
}

// Trigger lets event happen and sends its callbacks once each, in order. It
// returns the first that was not accepted, or else the last.
func (s *Simulator) Trigger(ctx context.Context, event string, params map[string]string) (sim.Attempt, error) {
	deliveries, _, err := s.prepare(event, params)
	if err != nil {
		return sim.Attempt{}, err
	}
	var last sim.Attempt
	for _, d := range deliveries {
		if last = s.once(ctx, d); !last.Accepted {
			break
		}
	}
	return last, nil
}

func (s *Simulator) once(ctx context.Context, d sim.Delivery) sim.Attempt {
	if d.Build == nil { // it went to the queue
		return sim.Attempt{Name: d.Name, N: 1, At: s.cfg.Now(), URL: s.listing.SQSQueueURL, Accepted: true}
	}
	return s.sender.Once(ctx, d)
}

// Do lets event happen and delivers its callbacks in the background, with
// faults and retries. It returns the agreement as it is then.
func (s *Simulator) Do(event string, params map[string]string) (Agreement, error) {
	deliveries, a, err := s.prepare(event, params)
	if err != nil {
		return Agreement{}, err
	}
	for _, d := range deliveries {
		if d.Build != nil {
			s.sender.Send(d)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return *a, nil
}

func (s *Simulator) buy(a *Agreement, p Params) ([]sim.Delivery, error) {
	if !a.Legacy {
		return s.all(p,
			func() (sim.Delivery, error) { return s.created(a, p) },
			func() (sim.Delivery, error) { return s.licenseUpdated(a, p) })
	}
	// Contracts without consumption have no subscription topic.
	var out []sim.Delivery
	for _, action := range []string{"subscribe-success", "entitlement-updated"} {
		skip := "contract"
		if action == "entitlement-updated" {
			skip = "subscription"
		}
		if cmp.Or(s.listing.Model, "subscription") == skip {
			continue
		}
		d, err := snsAction(action, Active)(s, a, p)
		if err != nil {
			return nil, err
		}
		out = append(out, d...)
	}
	return out, nil
}

func (s *Simulator) amend(a *Agreement, p Params) ([]sim.Delivery, error) {
	if a.Legacy {
		return snsAction("entitlement-updated", "")(s, a, p)
	}
	return s.all(p,
		func() (sim.Delivery, error) { return s.stated("Amended", "AMEND", a, p) },
		func() (sim.Delivery, error) { return s.licenseUpdated(a, p) })
}

func succeed(intent, status string) func(*Simulator, *Agreement, Params) ([]sim.Delivery, error) {
	return func(s *Simulator, a *Agreement, p Params) ([]sim.Delivery, error) {
		if a.Legacy {
			return nil, errors.New("legacy listings renew within the same customer: use change")
		}
		b, err := s.successor(a, intent, p)
		if err != nil {
			return nil, err
		}
		return s.all(p,
			func() (sim.Delivery, error) { return s.created(b, p) },
			func() (sim.Delivery, error) { return s.licenseUpdated(b, p) },
			func() (sim.Delivery, error) { return s.ended(status, a, p) },
			func() (sim.Delivery, error) { return s.licenseDeprovisioned(a, p) })
	}
}

func end(status string) func(*Simulator, *Agreement, Params) ([]sim.Delivery, error) {
	return func(s *Simulator, a *Agreement, p Params) ([]sim.Delivery, error) {
		if a.Legacy {
			return snsAction("unsubscribe-pending", Ending)(s, a, p)
		}
		d, err := s.ended(status, a, p)
		return []sim.Delivery{d}, err
	}
}
