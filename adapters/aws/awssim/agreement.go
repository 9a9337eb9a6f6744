package awssim

import (
	"cmp"
	"fmt"
	"strconv"
	"time"
)

// The states of an agreement, as a seller should see them.
const (
	Pending = "pending" // accepted, license not yet updated
	Active  = "active"
	Ending  = "ending" // the last hour for usage
	Ended   = "ended"
)

// Agreement is what one buyer bought once.
type Agreement struct {
	ID      string `json:"agreement"`
	License string `json:"license"` // the id, l-…
	Offer   string `json:"offer"`
	Account string `json:"account"`
	// Customer is the handle of legacy listings; their messages name only it.
	Customer   string    `json:"customer"`
	Legacy     bool      `json:"legacy,omitempty"`
	Trial      bool      `json:"trial,omitempty"`
	Intent     string    `json:"intent"`
	Previous   string    `json:"previous,omitempty"`
	Dimension  string    `json:"dimension"`
	Quantity   int32     `json:"quantity"`
	StartsAt   time.Time `json:"starts_at"`
	EndsAt     time.Time `json:"ends_at"`
	Status     string    `json:"status"`
	Replaced   bool      `json:"replaced,omitempty"`
	Registered bool      `json:"registered,omitempty"`
	// ActivatedAt and EndedAt bound the usage that is accepted.
	ActivatedAt time.Time `json:"activated_at,omitzero"`
	EndedAt     time.Time `json:"ended_at,omitzero"`
}

// become changes the status. An end is as of the first word of it; whoever
// subscribes again has not ended.
func (a *Agreement) become(status string, now time.Time) {
	a.Status = status
	switch {
	case status == Active:
		a.EndedAt = time.Time{}
		if a.ActivatedAt.IsZero() {
			a.ActivatedAt = now.UTC()
		}
	case status != Pending && a.EndedAt.IsZero():
		a.EndedAt = now.UTC()
	}
}

// Params are what a caller fixes of an event; the rest gets defaults.
type Params map[string]string

// licenseIssuer is the account in license ARNs.
const (
	licenseIssuer = "294406891311" // as in the API Reference
	licensePrefix = "arn:aws:license-manager::" + licenseIssuer + ":license:"
)

func (a *Agreement) licenseARN() string {
	return licensePrefix + a.License
}

// documentedARN is the other spelling, which the Seller Guide prints in events.
func (a *Agreement) documentedARN() string {
	return "aws:license-manager:us-east-1:" + licenseIssuer + ":" + a.License
}

// pick finds the agreement that p names, or makes it. Naming none means a new
// one if fresh, else the newest.
func (s *Simulator) pick(p Params, fresh bool) (*Agreement, error) {
	named := p["agreement"] != "" || p["license"] != "" || p["customer"] != ""
	for i := len(s.agreements) - 1; i >= 0; i-- {
		a := s.agreements[i]
		switch {
		case !named && !fresh, named && a.answersTo(p):
			return a, a.change(p)
		}
	}
	return s.newAgreement(p)
}

// answersTo reports whether a is the one that p names.
func (a *Agreement) answersTo(p Params) bool {
	switch {
	case p["license"] != "":
		return p["license"] == a.License
	case p["agreement"] != "":
		return p["agreement"] == a.ID
	default:
		return p["customer"] == a.Customer
	}
}

func (s *Simulator) newAgreement(p Params) (*Agreement, error) {
	now := s.cfg.Now().UTC().Truncate(time.Second)
	a := &Agreement{
		ID:        cmp.Or(p["agreement"], "agmt-"+hexID(25)),
		License:   cmp.Or(p["license"], "l-"+hexID(32)),
		Offer:     cmp.Or(p["offer"], "offer-"+hexID(13)),
		Account:   cmp.Or(p["account"], newAccount()),
		Intent:    "NEW",
		Dimension: cmp.Or(p["dimension"], "seats"),
		Quantity:  10,
		StartsAt:  now, EndsAt: now.AddDate(1, 0, 0), Status: Pending,
		Legacy: s.switches.Legacy,
	}
	a.Customer = cmp.Or(p["customer"], "X"+a.Account)
	if err := a.change(p); err != nil {
		return nil, err
	}
	s.agreements = append(s.agreements, a)
	return a, nil
}

// newAccount returns a number that no buyer has had.
func newAccount() string {
	n, _ := strconv.ParseUint(hexID(12), 16, 64)
	return fmt.Sprintf("%012d", n%1_000_000_000_000)
}

// change takes over what p says about an agreement.
func (a *Agreement) change(p Params) error {
	if q := p["quantity"]; q != "" {
		n, err := strconv.ParseInt(q, 10, 32)
		if err != nil || n < 0 {
			return fmt.Errorf("quantity: %q is not a number from 0 to 2147483647", q)
		}
		a.Quantity = int32(n)
	}
	if t := p["trial"]; t != "" {
		a.Trial = t == "true"
	}
	if l := p["legacy"]; l != "" {
		a.Legacy = l == "true"
	}
	a.Dimension = cmp.Or(p["dimension"], a.Dimension)
	a.Offer = cmp.Or(p["offer"], a.Offer)
	a.Account = cmp.Or(p["account"], a.Account)
	return nil
}

// successor makes the agreement that renews or replaces a.
func (s *Simulator) successor(a *Agreement, intent string, p Params) (*Agreement, error) {
	b, err := s.newAgreement(Params{
		"agreement": p["new_agreement"], "license": p["new_license"], "account": a.Account,
		"customer": a.Customer, "dimension": a.Dimension, "legacy": strconv.FormatBool(a.Legacy),
		"quantity": cmp.Or(p["quantity"], strconv.Itoa(int(a.Quantity))),
	})
	if err != nil {
		return nil, err
	}
	b.Intent, b.Previous = intent, a.ID
	if intent == "RENEW" {
		b.StartsAt, b.EndsAt = a.EndsAt, a.EndsAt.AddDate(1, 0, 0)
	}
	return b, nil
}
