package aws

import (
	"encoding/json"
	"strings"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

// The names of attributes of a subscription.
const (
	attrLicense        = "license_arn"         // as the metering service spells it
	attrLicenseAsSent  = "license_arn_as_sent" // any other spelling
	attrAgreement      = "agreement_id"
	attrOffer          = "offer_id"
	attrProduct        = "product_id"
	attrProductCode    = "product_code"
	attrCustomer       = "customer_identifier"
	attrIntent         = "agreement_intent"
	attrStatus         = "agreement_status"
	attrAgreementStart = "agreement_start"
	attrAgreementEnd   = "agreement_end"
	attrEntitlement    = "entitlement." // and the dimension
)

func agreementName(id string) string { return prefixed("agreement:", id) }
func customerName(id string) string  { return prefixed("customer:", id) }

func prefixed(prefix, id string) string {
	if id == "" {
		return ""
	}
	return prefix + id
}

func names(all ...string) []string {
	var out []string
	for _, n := range all {
		if n != "" {
			out = append(out, n)
		}
	}
	return out
}

func attributes(pairs ...string) map[string]string {
	out := make(map[string]string, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			out[pairs[i]] = pairs[i+1]
		}
	}
	return out
}

// bus normalizes an EventBridge event (Seller Guide "notifications-eventbridge").
// The role after the dash says only to whom of the sellers the copy went.
func (a *Adapter) bus(m *message) (marketplace.Event, error) {
	kind, _, _ := strings.Cut(m.DetailType, " - ")
	ev := a.event(kind)
	ev.Delivery = m.ID
	if m.Source != agreementSource || a.cfg.Identity == ByCustomer {
		return ev, nil
	}
	var state func(*marketplace.Event, *detail) error
	switch kind {
	case "License Updated":
		state = a.licenseUpdated
	case "License Deprovisioned":
		state = a.licenseDeprovisioned
	case "Purchase Agreement Created", "Purchase Agreement Amended":
		state = a.agreementStated
	case "Purchase Agreement Ended":
		state = a.agreementEnded
	default:
		return ev, nil // advisories, reminders, adjustments: for people, not for us
	}
	var d detail
	if err := json.Unmarshal(m.Detail, &d); err != nil {
		return ev, malformed(err)
	}
	if a.foreign(&d) {
		return ev, nil
	}
	rank, err := rankOf(m.Time)
	if err != nil {
		return ev, err
	}
	ev.Rank = rank
	return ev, state(&ev, &d)
}

// foreign reports whether an event is about another product of the same
// seller; the bus carries them all. Most agreement events do not say.
func (a *Adapter) foreign(d *detail) bool {
	if d.Product.Code != "" {
		return d.Product.Code != a.cfg.ProductCode
	}
	return d.Product.ID != "" && a.cfg.ProductID != "" && d.Product.ID != a.cfg.ProductID
}

// licenseUpdated is the only event that activates ("Do not activate before",
// Seller Guide "saas-product-customer-setup").
func (a *Adapter) licenseUpdated(ev *marketplace.Event, d *detail) error {
	if err := a.licensed(ev, d); err != nil {
		return err
	}
	ev.Kind = marketplace.Activated
	ev.Account = accountID(d.Acceptor.AccountID)
	ev.Incomplete = a.cfg.Model != Subscription
	return nil
}

func (a *Adapter) licenseDeprovisioned(ev *marketplace.Event, d *detail) error {
	if err := a.licensed(ev, d); err != nil {
		return err
	}
	ev.Kind = marketplace.Ended
	return nil
}

// licensed fills in what both license events say.
func (a *Adapter) licensed(ev *marketplace.Event, d *detail) error {
	id := licenseID(d.License.ARN)
	if id == "" {
		return core.Invalid("no_license", "%s without a license id in %q", ev.Action, clip(d.License.ARN))
	}
	arn := attrLicenseAsSent
	if fullARN(d.License.ARN) {
		arn = attrLicense
	}
	ev.Subject = id
	ev.Also = names(agreementName(d.Agreement.ID))
	ev.Attributes = attributes(
		arn, d.License.ARN, attrAgreement, d.Agreement.ID, attrOffer, d.Offer.ID,
		attrProduct, d.Product.ID, attrProductCode, d.Product.Code)
	return nil
}

// agreementStated links the names of an agreement. It carries no account: an
// agreement alone is no purchase of this product.
func (a *Adapter) agreementStated(ev *marketplace.Event, d *detail) error {
	if d.Agreement.ID == "" {
		return noAgreement(ev)
	}
	ev.Kind = marketplace.Linked
	ev.Also = names(agreementName(d.Agreement.ID))
	ev.Previous = agreementName(d.Agreement.PreviousAgreementID)
	ev.Key = strings.ToLower(strings.TrimPrefix(ev.Action, "Purchase Agreement "))
	ev.Attributes = attributes(
		attrAgreement, d.Agreement.ID, attrOffer, d.Offer.ID, attrIntent, d.Agreement.Intent,
		attrAgreementStart, d.Agreement.StartTime, attrAgreementEnd, d.Agreement.EndTime)
	return nil
}

// agreementEnded tells an end from a hand-over. The guide says that the last
// hour for usage opens here, AWS's own tooling that it opens with License
// Deprovisioned: so work stops here, and usage is sent until AWS refuses it.
func (a *Adapter) agreementEnded(ev *marketplace.Event, d *detail) error {
	if d.Agreement.ID == "" {
		return noAgreement(ev)
	}
	switch d.Agreement.Status {
	case "CANCELLED", "EXPIRED", "TERMINATED":
		ev.Kind = marketplace.Ending
	case "RENEWED", "REPLACED":
		ev.Kind = marketplace.Succeeded
	default:
		ev.Rank = ""
		return nil // a status that we do not know must not end anything
	}
	ev.Also = names(agreementName(d.Agreement.ID))
	ev.Attributes = attributes(attrAgreement, d.Agreement.ID, attrStatus, d.Agreement.Status)
	return nil
}

func noAgreement(ev *marketplace.Event) error {
	return core.Invalid("no_agreement", "%s without an agreement id", ev.Action)
}

// legacy normalizes a notification of the SNS topics (Seller Guide
// "saas-notification"). It names the customer only; what it says is ordered by
// the time it was published.
func (a *Adapter) legacy(m *message, s stamp) (marketplace.Event, error) {
	ev := a.event(m.Action)
	ev.Delivery = s.id
	if strings.TrimSpace(m.ProductCode) != a.cfg.ProductCode {
		return ev, nil
	}
	var kind marketplace.Kind
	switch m.Action {
	case "subscribe-success":
		kind = marketplace.Activated
	case "unsubscribe-pending":
		kind = marketplace.Ending
	case "unsubscribe-success", "subscribe-fail":
		kind = marketplace.Ended
	case "entitlement-updated":
		if a.cfg.Model == Subscription {
			return ev, nil // usage-based products have no entitlements to ask for
		}
		kind, ev.Incomplete = marketplace.Changed, true
	default:
		return ev, nil
	}
	rank, err := rankOf(s.at)
	if err != nil {
		return ev, err
	}
	customer := strings.TrimSpace(m.CustomerIdentifier)
	if customer == "" {
		return ev, core.Invalid("no_customer", "%s without a customer identifier", clip(m.Action))
	}
	ev.Kind, ev.Rank, ev.Also = kind, rank, names(customerName(customer))
	ev.Trial = m.trial()
	ev.Attributes = attributes(
		attrCustomer, customer, attrOffer, strings.TrimSpace(m.OfferIdentifier),
		attrProductCode, a.cfg.ProductCode)
	return ev, nil
}

// trial is nil where the notification does not say.
func (m *message) trial() *bool {
	switch m.FreeTrial {
	case "true", "false":
		trial := m.FreeTrial == "true"
		return &trial
	}
	return nil
}
