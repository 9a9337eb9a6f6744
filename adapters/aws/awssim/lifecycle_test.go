package awssim_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"cloudsettle/adapters/aws/awssim"
	"cloudsettle/adapters/internal/sim"
	"cloudsettle/core/marketplace"
)

// agrees compares what the program holds with what the marketplace knows.
func (b *bundle) agrees(t *testing.T) {
	t.Helper()
	for _, a := range b.Agreements() {
		name := a.License
		if a.Legacy {
			name = "customer:" + a.Customer
		}
		got := b.program.subscription(name)
		if string(got.Status) != a.Status {
			t.Errorf("%s is %q here, want %q as at the marketplace", name, got.Status, a.Status)
		}
		if (a.Registered || !a.Legacy) && string(got.Account) != a.Account {
			t.Errorf("%s belongs to account %q here, want %q", name, got.Account, a.Account)
		}
		if got.Replaced != a.Replaced {
			t.Errorf("%s is replaced: %t here, want %t", name, got.Replaced, a.Replaced)
		}
		if m := b.config["model"]; m != nil && m != "subscription" && a.Status == awssim.Active && got.Quantity != int64(a.Quantity) {
			t.Errorf("%s has quantity %d here, want %d", name, got.Quantity, a.Quantity)
		}
		if a.Previous != "" {
			if prev := b.program.subscription("agreement:" + a.Previous); got.Previous == "" || prev.ID != got.Previous {
				t.Errorf("%s follows %q here, want %q (%s)", name, got.Previous, prev.ID, a.Previous)
			}
		}
	}
}

// live plays a random life of some buyers.
func live(t *testing.T, b *bundle, seed uint64) {
	t.Helper()
	rnd := rand.New(rand.NewPCG(seed, 2))
	for n := range 4 {
		account := fmt.Sprintf("%012d", 100000000000+n/2) // two agreements an account
		a := b.do(t, "buy", map[string]string{"account": account, "trial": strconv.FormatBool(n == 3)})
		if rnd.IntN(4) > 0 {
			b.do(t, "register", map[string]string{"agreement": a.ID})
		}
	}
	for range 8 {
		all := b.Agreements()
		a := all[rnd.IntN(len(all))]
		steps := map[string][]string{
			awssim.Active: {"change", "register", "renew", "replace", "unsubscribe", "expire", "advisory", "unknown"},
			awssim.Ending: {"deprovision", "register"},
			awssim.Ended:  {"register"},
		}[a.Status]
		if a.Replaced {
			continue
		}
		p := map[string]string{"agreement": a.ID, "quantity": strconv.Itoa(1 + rnd.IntN(50))}
		b.do(t, steps[rnd.IntN(len(steps))], p)
	}
}

func TestLifecycle(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			b := start(t, seed, sim.Hostile, nil)
			live(t, b, seed)
			b.settle(t)
			b.agrees(t)
		})
	}
}

func TestLifecycleOfContracts(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			b := start(t, seed, sim.Hostile, map[string]any{"model": "contract"})
			b.Set(func(s *awssim.Switches) { s.EmptyPages, s.Throttle, s.Fail = true, 2, 2 })
			live(t, b, seed)
			b.settle(t)
			b.agrees(t)
		})
	}
}

func TestLifecycleThroughTheQueue(t *testing.T) {
	t.Parallel()
	b := start(t, 7, sim.Hostile, map[string]any{"sqs_queue_url": "https://sqs.us-east-1.amazonaws.com/123456789012/events"})
	live(t, b, 7)
	b.do(t, "sns-subscribe-success", map[string]string{"customer": "X1"})
	b.readQueue(t)
	b.agrees(t)
}

func TestLifecycleOfLegacyListings(t *testing.T) {
	t.Parallel()
	for _, model := range []string{"subscription", "contract", "contract_with_consumption"} {
		t.Run(model, func(t *testing.T) {
			t.Parallel()
			b := start(t, 11, sim.Hostile, map[string]any{"model": model})
			b.Set(func(s *awssim.Switches) { s.Legacy, s.HideLicense = true, true })
			a := b.do(t, "buy", map[string]string{"account": "123456789012", "quantity": "7"})
			b.do(t, "register", map[string]string{"agreement": a.ID})
			b.settle(t)
			b.agrees(t)
			id := map[string]string{"agreement": a.ID}
			if model != "contract" {
				for _, event := range []string{
					"sns-unsubscribe-pending", "sns-subscribe-success", "sns-unsubscribe-pending", "sns-unsubscribe-success",
				} {
					b.do(t, event, id)
					b.settle(t)
					b.agrees(t)
				}
				return
			}
			id["quantity"] = "0"
			b.do(t, "sns-entitlement-updated", id)
			b.settle(t)
			b.agrees(t)
		})
	}
}

func TestKeysRotateUnderway(t *testing.T) {
	t.Parallel()
	b := start(t, 3, sim.Hostile, nil)
	b.do(t, "sns-subscribe-success", map[string]string{"customer": "X1"})
	if err := b.RotateKey(); err != nil {
		t.Fatal(err)
	}
	b.do(t, "sns-unsubscribe-pending", map[string]string{"customer": "X1"})
	b.settle(t)
	b.agrees(t)
}

func TestEventsOvertakeTheRegistration(t *testing.T) {
	t.Parallel()
	b := start(t, 5, sim.Faults{}, nil)
	const license, agreement = "l-00000000000000000000000000000001", "agmt-1"
	id := map[string]string{"license": license, "agreement": agreement, "account": "123456789012"}
	for _, step := range []struct{ event, time, status string }{
		{"unsubscribe", "2026-11-03T00:00:00Z", ""},
		{"created", "2026-11-01T00:00:00Z", ""},
		{"deprovision", "2026-11-04T00:00:00Z", ""},
		{"subscribe", "2026-11-02T00:00:00Z", "ended"},
		{"register", "", "ended"},
	} {
		p := map[string]string{"time": step.time}
		for k, v := range id {
			p[k] = v
		}
		got, err := b.Trigger(t.Context(), step.event, p)
		if err != nil || !got.Accepted {
			t.Fatalf("Trigger(%s) = %+v, %v, want it accepted", step.event, got, err)
		}
		if step.status == "" {
			continue
		}
		if sub := b.program.subscription(license); string(sub.Status) != step.status || sub.Account != "123456789012" {
			t.Errorf("after %s the subscription is %q of %q, want %q", step.event, sub.Status, sub.Account, step.status)
		}
	}
	if sub := b.program.subscription("agreement:" + agreement); sub.Subject != license {
		t.Errorf("the agreement leads to %q, want %q", sub.Subject, license)
	}
}

func TestEveryEventCanBeTriggeredWithoutState(t *testing.T) {
	t.Parallel()
	for _, model := range []string{"subscription", "contract"} {
		b := start(t, 1, sim.Faults{}, map[string]any{"model": model})
		for _, e := range b.Events() {
			got, err := b.Trigger(t.Context(), e.Name, map[string]string{"license": "l-" + e.Name[:1] + "1", "agreement": "agmt-" + e.Name})
			if err != nil || !got.Accepted {
				t.Errorf("%s: Trigger(%s) = %+v, %v, want it accepted", model, e.Name, got, err)
			}
		}
		if _, err := b.Trigger(t.Context(), "nobody-knows", nil); err == nil {
			t.Error("Trigger(nobody-knows) = nil, want an error")
		}
		if n := len(b.Confirmed()); n != 1 {
			t.Errorf("%d topics were confirmed, want 1", n)
		}
	}
}

func TestResubscriptionRevives(t *testing.T) {
	t.Parallel()
	b := start(t, 2, sim.Faults{}, nil)
	for _, step := range []struct {
		event string
		want  marketplace.Status
	}{
		{"sns-subscribe-success", marketplace.StatusActive},
		{"sns-unsubscribe-pending", marketplace.StatusEnding},
		{"sns-subscribe-success", marketplace.StatusActive}, // no unsubscribe-success is sent then
		{"sns-unsubscribe-success", marketplace.StatusEnded},
		{"sns-subscribe-success", marketplace.StatusActive},
		{"sns-subscribe-fail", marketplace.StatusEnded},
	} {
		if _, err := b.Trigger(t.Context(), step.event, map[string]string{"customer": "X1"}); err != nil {
			t.Fatal(err)
		}
		if got := b.program.subscription("customer:X1").Status; got != step.want {
			t.Errorf("after %s the subscription is %q, want %q", step.event, got, step.want)
		}
	}
}

func TestCustomerWhoBuysAgainIsTheSame(t *testing.T) {
	t.Parallel()
	b := start(t, 4, sim.Faults{}, map[string]any{"identity": "customer"})
	first := map[string]string{"agreement": "agmt-1", "license": "l-1", "customer": "X1", "account": "123456789012", "legacy": "true"}
	again := map[string]string{"agreement": "agmt-2", "license": "l-2", "customer": "X1", "account": "123456789012", "legacy": "true"}
	for _, step := range []struct {
		event  string
		params map[string]string
		want   marketplace.Status
	}{
		{"register", first, marketplace.StatusPending},
		{"sns-subscribe-success", first, marketplace.StatusActive},
		{"sns-unsubscribe-success", first, marketplace.StatusEnded},
		{"register", again, marketplace.StatusEnded},
		{"sns-subscribe-success", again, marketplace.StatusActive},
	} {
		got, err := b.Trigger(t.Context(), step.event, step.params)
		if err != nil || !got.Accepted {
			t.Fatalf("Trigger(%s) = %+v, %v, want it accepted", step.event, got, err)
		}
		if got := b.program.subscription("customer:X1").Status; got != step.want {
			t.Errorf("after %s of %s the customer is %q, want %q", step.event, step.params["license"], got, step.want)
		}
	}
}
