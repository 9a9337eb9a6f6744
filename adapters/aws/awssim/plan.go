package awssim

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"cloudsettle/adapters/internal/sim"
)

// planner lets something happen: it changes the state and returns what the
// seller is sent for it.
type planner func(*Simulator, *Agreement, Params) ([]sim.Delivery, error)

// plan is one thing that can happen in the marketplace.
type plan struct {
	name, help string
	params     []string
	fresh      bool // without a name it begins a new agreement
	do         planner
}

// plans are all that can happen, in the order in which people look for them.
func plans() []plan { return append(busPlans(), snsPlans()...) }

func busPlans() []plan {
	ids := []string{"agreement", "license", "account", "product_code", "time"}
	arn := append([]string{"arn"}, ids...)
	what := append([]string{"quantity", "dimension", "offer"}, ids...)
	bought := append([]string{"trial", "legacy", "customer"}, what...)
	next := append([]string{"new_agreement", "new_license"}, what...)
	return []plan{
		{"buy", "a purchase: Purchase Agreement Created and License Updated, or the SNS messages of a legacy listing",
			bought, true, (*Simulator).buy},
		{"subscribe", "License Updated: the license is active",
			append(arn, what...), true, one((*Simulator).licenseUpdated)},
		{"register", "the buyer clicks Set up your account: POSTs a registration token",
			append([]string{"token"}, ids...), false, one((*Simulator).register)},
		{"change", "other quantities: Purchase Agreement Amended and License Updated",
			what, false, (*Simulator).amend},
		{"renew", "a new agreement renews this one", next, false, succeed("RENEW", "RENEWED")},
		{"replace", "a new agreement replaces this one", next, false, succeed("REPLACE", "REPLACED")},
		{"unsubscribe", "the buyer cancels: Purchase Agreement Ended, CANCELLED", ids, false, end("CANCELLED")},
		{"expire", "the term is over: Purchase Agreement Ended, EXPIRED", ids, false, end("EXPIRED")},
		{"terminate", "AWS ends it: Purchase Agreement Ended, TERMINATED", ids, false, end("TERMINATED")},
		{"deprovision", "License Deprovisioned: no usage is accepted any more",
			arn, false, one((*Simulator).licenseDeprovisioned)},
		{"created", "Purchase Agreement Created alone",
			append([]string{"intent", "previous"}, ids...), true, one((*Simulator).created)},
		{"advisory", "Purchase Agreement Advisory Issued, for people to look at",
			ids, false, one((*Simulator).advisory)},
		{"unknown", "an event of a type that nobody knows yet",
			append([]string{"detail_type"}, ids...), false, one((*Simulator).unknown)},
	}
}

func snsPlans() []plan {
	legacy := []string{"customer", "product_code", "offer", "trial", "quantity", "time"}
	topic := []string{"topic"}
	return []plan{
		{"sns-subscribe-success", "legacy: metering may start",
			legacy, true, snsAction("subscribe-success", Active)},
		{"sns-subscribe-fail", "legacy: the payment failed",
			legacy, false, snsAction("subscribe-fail", Ended)},
		{"sns-unsubscribe-pending", "legacy: one hour left for usage",
			legacy, false, snsAction("unsubscribe-pending", Ending)},
		{"sns-unsubscribe-success", "legacy: closed",
			legacy, false, snsAction("unsubscribe-success", Ended)},
		{"sns-entitlement-updated", "legacy: ask GetEntitlements; quantity=0 is the end of a contract",
			legacy, false, snsAction("entitlement-updated", "")},
		{"sns-confirm", "SNS asks to confirm the topic's subscription",
			topic, false, one((*Simulator).snsConfirm)},
		{"sns-unsubscribe-confirmation", "SNS says that the topic was unsubscribed",
			topic, false, one((*Simulator).snsUnsubscribed)},
	}
}

// one makes a planner of a single delivery.
func one(f func(*Simulator, *Agreement, Params) (sim.Delivery, error)) planner {
	return func(s *Simulator, a *Agreement, p Params) ([]sim.Delivery, error) {
		d, err := f(s, a, p)
		return []sim.Delivery{d}, err
	}
}

// all runs the steps in turn and collects what they send.
func (s *Simulator) all(steps ...func() (sim.Delivery, error)) ([]sim.Delivery, error) {
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
		out = append(out, sim.Event{Name: p.name, Help: p.help, Params: p.params})
	}
	return out
}

// prepare lets event happen and returns what it sends.
func (s *Simulator) prepare(event string, p Params) ([]sim.Delivery, *Agreement, error) {
	for _, pl := range plans() {
		if pl.name != event {
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
func (s *Simulator) Trigger(
	ctx context.Context, event string, params map[string]string,
) (sim.Attempt, error) {
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
		return s.all(
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
	return s.all(
		func() (sim.Delivery, error) { return s.stated("Amended", "AMEND", a, p) },
		func() (sim.Delivery, error) { return s.licenseUpdated(a, p) })
}

func succeed(intent, status string) planner {
	return func(s *Simulator, a *Agreement, p Params) ([]sim.Delivery, error) {
		if a.Legacy {
			return nil, errors.New("legacy listings renew within the same customer: use change")
		}
		b, err := s.successor(a, intent, p)
		if err != nil {
			return nil, err
		}
		return s.all(
			func() (sim.Delivery, error) { return s.created(b, p) },
			func() (sim.Delivery, error) { return s.licenseUpdated(b, p) },
			func() (sim.Delivery, error) { return s.ended(status, a, p) },
			func() (sim.Delivery, error) { return s.licenseDeprovisioned(a, p) })
	}
}

func end(status string) planner {
	return func(s *Simulator, a *Agreement, p Params) ([]sim.Delivery, error) {
		if a.Legacy {
			return snsAction("unsubscribe-pending", Ending)(s, a, p)
		}
		d, err := s.ended(status, a, p)
		return []sim.Delivery{d}, err
	}
}
