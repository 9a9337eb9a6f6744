package huaweisim

import (
	"cmp"
	"fmt"
	"maps"
	"strconv"
	"time"
)

// The methods of this file change the book and return the calls that follow.
// They expect the lock to be held.

// buy places an order and returns a call for each of its lines. A probe leaves
// no trace in the book.
func (s *Sim) buy(p map[string]string) []*call {
	if p["testFlag"] == "1" {
		p["orderId"] = cmp.Or(p["orderId"], "MOCKPERIODYEARNEW")
		n := len(s.orders)
		o := s.place(p)
		s.orders = s.orders[:n]
		return []*call{s.newInstance(o, o.Lines[0], p)}
	}
	for _, o := range s.orders {
		if o.OrderID == p["orderId"] {
			return []*call{s.newInstance(o, o.Lines[0], p)}
		}
	}
	o := s.place(p)
	var calls []*call
	for _, l := range o.Lines {
		calls = append(calls, s.newInstance(o, l, p))
	}
	return calls
}

func (s *Sim) newInstance(o *Order, l *Line, p map[string]string) *call {
	c := s.notice("newInstance", map[string]any{"orderId": o.OrderID, "orderLineId": l.OrderLineID}, p)
	c.version, c.order, c.line = o.Version, o, l
	if o.Version == 1 {
		c.fields = s.purchaseV1(o, l)
	}
	c.businessID = func() string { return cmp.Or(p["businessId"], s.uid()) }
	if !c.test {
		c.accepted, c.failed = s.bought, func(c *call) { c.line.Status = "refunded" }
	}
	return c
}

// purchaseV1 returns what a version 1 purchase carries beside the businessId.
func (s *Sim) purchaseV1(o *Order, l *Line) map[string]any {
	modes := map[string]string{"ON_DEMAND": "0", "PERIOD": "1", "ONE_TIME": "3", "ON_DEMAND_PKG": "5"}
	fields := map[string]any{
		"orderId": o.OrderID, "customerId": o.CustomerID, "customerName": o.CustomerName,
		"productId": l.ProductID, "skuCode": l.SKU, "chargingMode": modes[o.ChargingMode],
		"amount": strconv.FormatInt(l.Quantity, 10), "orderAmount": "100.00",
		"email": encrypt(s.key, "buyer@example.com", s.uid()[:8]+s.uid()[:8]),
	}
	if o.Type == "TRIAL" {
		fields["trialFlag"] = "1"
	}
	if !o.ExpiresAt.IsZero() {
		fields["expireTime"] = formatTime(o.ExpiresAt)
	}
	return fields
}

// bought notes the instance that the program named, and begins to ask for it.
func (s *Sim) bought(c *call, a answer) {
	c.line.InstanceID, c.line.Status = a.InstanceID, "done"
	if a.ResultCode != "000000" {
		c.line.Status = "provisioning"
	}
	i := s.find(a.InstanceID)
	if i == nil {
		i = &Instance{
			InstanceID: a.InstanceID, OrderID: c.order.OrderID, Version: c.order.Version,
			ChargingMode: c.order.ChargingMode, CustomerID: c.order.CustomerID,
			ProductID: c.line.ProductID, SKU: c.line.SKU, Quantity: c.line.Quantity,
			Trial: c.order.Type == "TRIAL", ExpiresAt: c.order.ExpiresAt, StartedAt: c.order.CreatedAt,
		}
		s.instances = append(s.instances, i)
	}
	if i.FrontEndURL = a.AppInfo.FrontEndURL; i.Version == 2 {
		s.send(s.query(i, nil))
	}
	i.Confirmed = i.Version == 1
}

// query asks about an instance until the answer has it.
func (s *Sim) query(i *Instance, p map[string]string) *call {
	c := s.about(i, "queryInstance", nil, p)
	c.accepted = func(_ *call, a answer) {
		for _, info := range a.Info {
			if info.InstanceID == i.InstanceID {
				i.Confirmed, i.FrontEndURL = true, info.AppInfo.FrontEndURL
			}
		}
		for _, o := range s.orders {
			for _, l := range o.Lines {
				if l.InstanceID == i.InstanceID && l.Status == "provisioning" {
					l.Status = "done"
				}
			}
		}
	}
	return c
}

// refresh renews, takes the last renewal back, or makes a trial formal.
func (s *Sim) refresh(i *Instance, p map[string]string) (*call, error) {
	scene := cmp.Or(p["scene"], "RENEWAL")
	if p["trialToFormal"] == "1" {
		scene = "TRIAL_TO_FORMAL"
	}
	kind, amount := "RENEW", "100.00"
	switch scene {
	case "UNSUBSCRIBE_RENEWAL_PERIOD":
		if len(i.terms) == 0 && p["expireTime"] == "" {
			return nil, fmt.Errorf("huaweisim: instance %s has no renewal to take back", i.InstanceID)
		}
		kind, amount = "UNSUBSCRIBE", "-100.00"
		if n := len(i.terms); n > 0 {
			i.ExpiresAt, i.terms = i.terms[n-1], i.terms[:n-1]
		}
	case "TRIAL_TO_FORMAL":
		kind, i.Trial, i.ExpiresAt, i.Expired = "TRIAL_TO_FORMAL", false, s.later(i), false
	default:
		if !i.ExpiresAt.IsZero() {
			i.terms = append(i.terms, i.ExpiresAt)
		}
		i.ExpiresAt, i.Expired = s.later(i), false
	}
	if t := p["expireTime"]; t != "" {
		i.ExpiresAt = parseTime(t)
	}
	i.retermed = true
	o := s.follow(i, kind, p)
	if i.Version == 1 {
		fields := map[string]any{
			"orderId": o.OrderID, "expireTime": formatTime(i.ExpiresAt),
			"orderAmount": amount, "productId": i.ProductID,
		}
		if kind == "TRIAL_TO_FORMAL" {
			fields["trialToFormal"] = "1"
		}
		return s.about(i, "refreshInstance", fields, p), nil
	}
	// Milliseconds are not documented here, and are what the official sample has.
	return s.about(i, "refreshInstance", map[string]any{
		"scene": scene, "orderId": o.OrderID, "orderLineId": o.Lines[0].OrderLineID,
		"expireTime": formatTime(i.ExpiresAt) + "256", "productId": i.ProductID,
	}, p), nil
}

// later returns the end of another month.
func (s *Sim) later(i *Instance) time.Time {
	from := i.ExpiresAt
	if now := s.cfg.Now().UTC().Truncate(time.Second); from.Before(now) {
		from = now
	}
	return from.AddDate(0, 1, 0)
}

// setStatus freezes or thaws.
func (s *Sim) setStatus(i *Instance, freeze bool, p map[string]string) *call {
	if i.Suspended = freeze; freeze {
		i.SuspendedAt = s.cfg.Now()
	}
	i.Expired = i.Expired && freeze
	activity, field, status := "updateInstanceStatus", "status", "UNFREEZE"
	if i.Version == 1 {
		activity, field, status = "instanceStatus", "instanceStatus", "NORMAL"
	}
	if freeze {
		status = "FREEZE"
	}
	return s.about(i, activity, map[string]any{field: status}, p)
}

// expire ends the term; version 2 has no call of its own for it.
func (s *Sim) expire(i *Instance, p map[string]string) *call {
	if i.Version == 2 {
		return s.setStatus(i, true, p)
	}
	i.Expired = true
	orderID := cmp.Or(p["orderId"], i.OrderID, s.nextID())
	return s.about(i, "expireInstance", map[string]any{"orderId": orderID}, p)
}

func (s *Sim) release(i *Instance, p map[string]string) *call {
	if !i.Ended {
		i.Ended, i.EndedAt = true, s.cfg.Now()
	}
	fields := map[string]any{}
	switch {
	case i.Version == 1:
		fields["orderId"] = cmp.Or(p["orderId"], i.OrderID, s.nextID())
	case p["orderId"] != "":
		fields["orderId"], fields["orderLineId"] = p["orderId"], p["orderId"]+"-000001"
	}
	return s.about(i, "releaseInstance", fields, p)
}

// upgrade changes plan and quantity.
func (s *Sim) upgrade(i *Instance, p map[string]string) (*call, error) {
	i.SKU, i.ProductID = cmp.Or(p["skuCode"], i.SKU), cmp.Or(p["productId"], i.ProductID)
	i.Quantity = cmp.Or(number(p["quantity"]), i.Quantity+1)
	o := s.follow(i, "CHANGE", p)
	if i.Version == 1 {
		return s.about(i, "upgrade", map[string]any{
			"orderId": o.OrderID, "skuCode": i.SKU, "productId": i.ProductID,
			"amount": strconv.FormatInt(i.Quantity, 10),
		}, p), nil
	}
	return s.about(i, "upgradeInstance", map[string]any{
		"orderId": o.OrderID, "orderLineId": o.Lines[0].OrderLineID,
	}, p), nil
}

// check asks whether a change on renewal is possible.
func (s *Sim) check(i *Instance, p map[string]string) *call {
	return s.about(i, "changeInstanceCheck", map[string]any{"productInfo": map[string]any{
		"productId": cmp.Or(p["productId"], i.ProductID), "skuCode": cmp.Or(p["skuCode"], i.SKU),
		"linearValue": cmp.Or(number(p["quantity"]), i.Quantity),
	}}, p)
}

func (s *Sim) license(p map[string]string) *call {
	c := s.notice("getLicense", map[string]any{
		"customerId": cmp.Or(p["customerId"], someBuyer), "businessId": s.uid(),
		"orderId": cmp.Or(p["orderId"], s.nextID()), "productId": cmp.Or(p["productId"], someProduct),
	}, p)
	c.version = 1
	return c
}

// about returns a call about an instance.
func (s *Sim) about(i *Instance, activity string, fields map[string]any, p map[string]string) *call {
	c := s.notice(activity, map[string]any{"instanceId": i.InstanceID}, p)
	maps.Copy(c.fields, fields)
	c.version = i.Version
	return c
}

// notice returns a version 2 call.
func (s *Sim) notice(activity string, fields map[string]any, p map[string]string) *call {
	c := &call{sim: s, version: 2, activity: activity, fields: fields, test: p["testFlag"] == "1"}
	if flag := p["testFlag"]; flag != "" {
		c.fields["testFlag"] = flag
	}
	return c
}
