package huawei

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

// Limits of what a callback may carry.
const (
	maxID      = 128 // bytes of an identifier; documented are 64
	maxAskedOf = 100 // instances in one queryInstance, as documented
)

// The activities of both versions.
const (
	newInstance          = "newInstance"
	queryInstance        = "queryInstance"
	refreshInstance      = "refreshInstance"
	releaseInstance      = "releaseInstance"
	updateInstanceStatus = "updateInstanceStatus" // version 2
	upgradeInstance      = "upgradeInstance"      // version 2
	changeInstanceCheck  = "changeInstanceCheck"  // version 2
	orderNotify          = "orderNotify"          // version 2
	expireInstance       = "expireInstance"       // version 1
	instanceStatus       = "instanceStatus"       // version 1
	upgrade              = "upgrade"              // version 1
)

// Receive verifies a callback of either version and says what it means. It
// makes no calls.
func (a *Adapter) Receive(_ context.Context, cb core.Callback) (marketplace.Event, error) {
	switch {
	case cb.Endpoint != "":
		return a.event(""), fmt.Errorf("huawei: endpoint %q: %w", cb.Endpoint, core.ErrUnsupported)
	case cb.Method == http.MethodPost:
		return a.receiveV2(cb)
	case cb.Method == http.MethodGet:
		return a.receiveV1(cb)
	default:
		return a.event(""), fmt.Errorf("huawei: method %q: %w", cb.Method, core.ErrUnsupported)
	}
}

// event returns an event of this listing that says nothing yet.
func (a *Adapter) event(action string) marketplace.Event {
	return marketplace.Event{
		Listing: a.listing.ID, Provider: a.listing.Provider, Kind: marketplace.Noted, Action: action,
	}
}

func (a *Adapter) receiveV2(cb core.Callback) (marketplace.Event, error) {
	q, err := parseQuery(cb.RawQuery)
	if err != nil {
		return a.event(""), err
	}
	s := stampOf(q)
	signer, payload, err := a.verifyV2(s, cb.Body)
	if err != nil {
		return a.event(""), err
	}
	at, err := s.at()
	if err != nil {
		return a.event(""), err
	}
	if err := fresh(at, cb.ReceivedAt, time.Duration(a.cfg.MaxSkew)); err != nil {
		return a.event(""), err
	}
	var n notice
	if err := json.Unmarshal(payload, &n); err != nil {
		return a.event(""), core.Invalid("bad_body", "the body is not a JSON object of strings")
	}
	ev := a.event(string(n.Activity))
	if signer.notifyOnly && n.Activity != orderNotify {
		return ev, fmt.Errorf("huawei: %s signed with order_notify_key: %w", n.Activity, core.ErrUnverified)
	}
	rank := strconv.FormatInt(at.UnixMilli(), 10)
	ev.Nonce = rank + "/" + s.nonce
	ev.Test = n.TestFlag == "1"
	return n.normalize(ev, rank)
}

// normalize turns a verified version 2 callback into an event. rank is the
// signed timestamp in milliseconds.
func (n *notice) normalize(ev marketplace.Event, rank string) (marketplace.Event, error) {
	switch n.Activity {
	case newInstance:
		return n.bought(ev)
	case queryInstance:
		return asked(ev, string(n.InstanceID), rank)
	case refreshInstance:
		return n.refreshed(ev)
	case updateInstanceStatus:
		return frozen(ev, string(n.InstanceID), string(n.Status), "UNFREEZE", rank)
	case releaseInstance:
		return released(ev, string(n.InstanceID), string(n.OrderID))
	case upgradeInstance:
		return n.upgraded(ev)
	case changeInstanceCheck:
		return n.checked(ev, rank)
	case orderNotify:
		ev.Delivery = deliveryKey(orderNotify, n.OrderID, n.OrderLineID)
		return ev, required("orderId", string(n.OrderID))
	default:
		return ev, fmt.Errorf("huawei: activity %q: %w", n.Activity, core.ErrUnsupported)
	}
}

func (n *notice) bought(ev marketplace.Event) (marketplace.Event, error) {
	ev.Kind = marketplace.Activated
	ev.Delivery = deliveryKey(newInstance, n.OrderID, n.OrderLineID)
	ev.Proposed = string(n.BusinessID)
	ev.Also = []string{"order:" + string(n.OrderID) + "/" + string(n.OrderLineID)}
	ev.Attributes = n.attributes()
	ev.Incomplete = !ev.Test
	return ev, required("orderId", string(n.OrderID), "orderLineId", string(n.OrderLineID),
		"businessId", string(n.BusinessID))
}

func (n *notice) refreshed(ev marketplace.Event) (marketplace.Event, error) {
	ev = n.ordered(ev, marketplace.Retermed)
	err := required("instanceId", ev.Subject, "orderId", ev.Key, "scene", string(n.Scene))
	if err != nil {
		return ev, err
	}
	if n.Scene == "TRIAL_TO_FORMAL" {
		ev.Trial = new(false)
	}
	ev.ExpiresAt, err = wireTime("expireTime", string(n.ExpireTime), time.UTC)
	return ev, err
}

func (n *notice) upgraded(ev marketplace.Event) (marketplace.Event, error) {
	ev = n.ordered(ev, marketplace.Changed)
	return ev, required("instanceId", ev.Subject, "orderId", ev.Key)
}

// ordered begins an event about an instance that a later order changes. The
// order's id tells such facts apart; its creation time, which only Query order
// knows, ranks them.
func (n *notice) ordered(ev marketplace.Event, k marketplace.Kind) marketplace.Event {
	ev.Kind = k
	ev.Delivery = deliveryKey(ev.Action, n.OrderID, n.OrderLineID)
	ev.Subject, ev.Key = string(n.InstanceID), string(n.OrderID)
	ev.Attributes = n.attributes()
	ev.Incomplete = !ev.Test
	return ev
}

func (n *notice) attributes() map[string]string {
	return attributes("orderId", string(n.OrderID), "orderLineId", string(n.OrderLineID),
		"scene", string(n.Scene), "productId", string(n.ProductID))
}

// checked asks whether an instance may become another product. The product is
// documented as an object; some senders write it as a string that holds one,
// and orders hold it in a list.
func (n *notice) checked(ev marketplace.Event, rank string) (marketplace.Event, error) {
	ev.Kind, ev.Subject = marketplace.Checked, string(n.InstanceID)
	ev.Delivery = changeInstanceCheck + "/" + ev.Subject + "/" + rank
	if err := required("instanceId", ev.Subject); err != nil {
		return ev, err
	}
	p, err := parseProduct(n.ProductInfo)
	if err != nil {
		return ev, core.Invalid("bad_product", "productInfo: not a product")
	}
	ev.SKU = string(p.SKUCode)
	ev.Attributes = attributes("productId", string(p.ProductID), "productName", string(p.ProductName))
	ev.Quantity, err = quantity("linearValue", string(p.LinearValue))
	return ev, err
}

func parseProduct(raw json.RawMessage) (product, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) > 0 && raw[0] == '"' {
		var inner string
		if err := json.Unmarshal(raw, &inner); err != nil {
			return product{}, err
		}
		raw = []byte(strings.TrimSpace(inner))
	}
	if len(raw) > 0 && raw[0] == '[' {
		var list []product
		if err := json.Unmarshal(raw, &list); err != nil || len(list) == 0 {
			return product{}, fmt.Errorf("huawei: no product: %w", err)
		}
		return list[0], nil
	}
	var p product
	err := json.Unmarshal(raw, &p)
	return p, err
}

// asked answers for up to 100 instances. Each question is a delivery of its own.
func asked(ev marketplace.Event, instances, rank string) (marketplace.Event, error) {
	ev.Kind = marketplace.Asked
	for id := range strings.SplitSeq(instances, ",") {
		if id = strings.TrimSpace(id); id != "" {
			ev.Subjects = append(ev.Subjects, id)
		}
		if len(ev.Subjects) > maxAskedOf {
			return ev, core.Invalid("too_many_instances", "instanceId: more than %d", maxAskedOf)
		}
	}
	if len(ev.Subjects) == 0 {
		return ev, required("instanceId", "")
	}
	ev.Delivery = ev.Action + "/" + rank
	for _, id := range ev.Subjects {
		if err := required("instanceId", id); err != nil {
			return ev, err
		}
	}
	return ev, nil
}

// frozen means FREEZE or its opposite, which the versions name differently.
func frozen(ev marketplace.Event, instance, status, thaw, rank string) (marketplace.Event, error) {
	ev.Subject, ev.Rank = instance, rank
	switch status {
	case "FREEZE":
		ev.Kind = marketplace.Suspended
	case thaw:
		ev.Kind = marketplace.Resumed
	default:
		return ev, core.Invalid("bad_status", "status: %.32q is not FREEZE or %s", status, thaw)
	}
	return ev, required("instanceId", instance)
}

func released(ev marketplace.Event, instance, orderID string) (marketplace.Event, error) {
	ev.Kind, ev.Subject = marketplace.Ended, instance
	ev.Attributes = attributes("releaseOrderId", orderID)
	return ev, required("instanceId", instance)
}

// deliveryKey names a callback by its order, which every repeat carries.
func deliveryKey(action string, order, line text) string {
	return action + "/" + string(order) + "/" + string(line)
}

// required checks identifiers, given as name and value in turn, and reports
// every one that is missing or cannot be one.
func required(pairs ...string) error {
	var wrong []core.FieldFault
	for i := 0; i < len(pairs); i += 2 {
		switch name, value := pairs[i], pairs[i+1]; {
		case value == "":
			wrong = append(wrong, core.FieldFault{Field: name, Detail: "missing"})
		case len(value) > maxID:
			wrong = append(wrong, core.FieldFault{Field: name, Detail: "too long"})
		case strings.ContainsFunc(value, isControl):
			wrong = append(wrong, core.FieldFault{Field: name, Detail: "has control characters"})
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return &core.Fault{Err: core.ErrInvalid, Code: "bad_parameter", Fields: wrong}
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }

// attributes keeps the values, given as name and value in turn, that are there.
func attributes(pairs ...string) map[string]string {
	out := make(map[string]string, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			out[pairs[i]] = pairs[i+1]
		}
	}
	return out
}

// wireTime parses yyyyMMddHHmmss. Some samples have 17 digits where 14 are
// documented: the last three are milliseconds and are dropped.
func wireTime(name, s string, zone *time.Location) (time.Time, error) {
	if len(s) == 14 || len(s) == 17 {
		if t, err := time.ParseInLocation("20060102150405", s[:14], zone); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, core.Invalid("bad_time", "%s: %.32q is not yyyyMMddHHmmss", name, s)
}

// quantity parses a whole number; an empty one is 0, which is "not stated".
func quantity(name, s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	whole, fraction, _ := strings.Cut(s, ".")
	n, err := digits(whole)
	if err != nil || strings.Trim(fraction, "0") != "" {
		return 0, core.Invalid("bad_quantity", "%s: %.32q is not a whole number", name, s)
	}
	return n, nil
}

// digits parses a number that is written with digits only.
func digits(s string) (int64, error) {
	if strings.Trim(s, "0123456789") != "" {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseInt(s, 10, 64)
}
