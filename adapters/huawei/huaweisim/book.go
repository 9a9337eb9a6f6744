package huaweisim

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What is bought, and by whom, unless something else is asked for.
const (
	someBuyer   = "68cbc86abc2018ab880d92f36422fa0e"
	someProduct = "OFFI000000000000000001"
	someSKU     = "sku-basic"
)

// Version says which interface an order is delivered through.
type Version int

// Order is what a buyer ordered.
type Order struct {
	OrderID      string    `json:"order_id"`
	Type         string    `json:"type"` // as in Query order: NEW, TRIAL, RENEW, …
	ChargingMode string    `json:"charging_mode"`
	Version      Version   `json:"version"`
	CustomerID   string    `json:"customer_id"`
	CustomerName string    `json:"customer_name"`
	CreatedAt    time.Time `json:"created_at"`
	ExpiresAt    time.Time `json:"expires_at,omitzero"`
	Lines        []*Line   `json:"lines"`
}

// Line is one product of an order.
type Line struct {
	OrderLineID string `json:"order_line_id"`
	ProductID   string `json:"product_id"`
	SKU         string `json:"sku"`
	Quantity    int64  `json:"quantity"`
	InstanceID  string `json:"instance_id,omitempty"` // as the program answered
	Status      string `json:"status"`                // placed, provisioning, done, refunded
}

// Instance is the truth about something that was bought.
type Instance struct {
	InstanceID   string    `json:"instance_id"`
	OrderID      string    `json:"order_id"`
	Version      Version   `json:"version"`
	ChargingMode string    `json:"charging_mode"`
	CustomerID   string    `json:"customer_id"`
	ProductID    string    `json:"product_id"`
	SKU          string    `json:"sku"`
	Quantity     int64     `json:"quantity"`
	Trial        bool      `json:"trial"`
	ExpiresAt    time.Time `json:"expires_at,omitzero"`
	Suspended    bool      `json:"suspended"`
	Expired      bool      `json:"expired"` // version 1 tells expiry from freezing
	Ended        bool      `json:"ended"`
	Confirmed    bool      `json:"confirmed"` // queryInstance was answered with it
	FrontEndURL  string    `json:"front_end_url,omitempty"`
	// Usage of another time is not accepted.
	StartedAt   time.Time `json:"started_at"`
	SuspendedAt time.Time `json:"suspended_at,omitzero"`
	EndedAt     time.Time `json:"ended_at,omitzero"`

	retermed bool        // its term was changed after the purchase
	terms    []time.Time // before each renewal that can be taken back
	queue    []*call     // that freeze or thaw, the first one under way
}

// Status returns the state that the program should know.
func (i *Instance) Status() string {
	switch {
	case i.Ended:
		return "ended"
	case i.Suspended || i.Expired:
		return "frozen"
	default:
		return "active"
	}
}

// The methods below expect the lock to be held.

// nextID returns an order id: the minute, then a number that only grows.
func (s *Sim) nextID() string {
	s.seq++
	count := strings.ToUpper(strconv.FormatInt(int64(s.seq), 36))
	return fmt.Sprintf("CS%s%05s", s.cfg.Now().UTC().Format("0601021504"), count)
}

// uid returns random hexadecimal digits in the form of a UUID.
func (s *Sim) uid() string {
	a, b := s.rnd.Uint64(), s.rnd.Uint64()
	return fmt.Sprintf("%08x-%04x-%04x-%04x-%012x",
		a>>32, a>>16&0xffff, a&0xffff, b>>48, b&0xffffffffffff)
}

// order finds an order or makes one up, so that any id can be asked for.
func (s *Sim) order(id string) *Order {
	for _, o := range s.orders {
		if o.OrderID == id || id == "" && o.Type == "NEW" {
			return o
		}
	}
	return s.place(map[string]string{"orderId": id})
}

func (s *Sim) find(instanceID string) *Instance {
	for _, i := range s.instances {
		if i.InstanceID == instanceID {
			return i
		}
	}
	return nil
}

// instanceFor returns the instance that is named, or the newest that has not
// ended, or one that only exists for this call. A probe gets a copy, so that it
// leaves no trace.
func (s *Sim) instanceFor(p map[string]string) *Instance {
	id, test := p["instanceId"], p["testFlag"] == "1"
	for _, i := range slices.Backward(s.instances) {
		switch {
		case id != "" && i.InstanceID != id || id == "" && (i.Ended || test):
		case test:
			probe := *i
			return &probe
		default:
			return i
		}
	}
	return &Instance{
		InstanceID: cmp.Or(id, s.uid()), Version: versionOf(p), ChargingMode: "PERIOD",
		SKU: someSKU, ProductID: someProduct, Quantity: 1,
		ExpiresAt: s.cfg.Now().UTC().AddDate(0, 1, 0).Truncate(time.Second),
	}
}

func versionOf(p map[string]string) Version {
	if p["version"] == "1" {
		return 1
	}
	return 2
}

// place writes a purchase into the book.
func (s *Sim) place(p map[string]string) *Order {
	now := s.cfg.Now().UTC().Truncate(time.Second)
	o := &Order{
		OrderID: cmp.Or(p["orderId"], s.nextID()), Type: cmp.Or(p["orderType"], "NEW"),
		ChargingMode: cmp.Or(p["chargingMode"], "PERIOD"), Version: versionOf(p), CreatedAt: now,
		CustomerID:   cmp.Or(p["customerId"], someBuyer),
		CustomerName: cmp.Or(p["customerName"], "acme"),
	}
	switch {
	case p["expireTime"] != "":
		o.ExpiresAt = parseTime(p["expireTime"])
	case o.Type == "TRIAL":
		o.ExpiresAt = now.AddDate(0, 0, 7)
	case o.ChargingMode == "PERIOD", o.ChargingMode == "ON_DEMAND_PKG":
		o.ExpiresAt = now.AddDate(1, 0, 0)
	}
	lines := max(1, number(p["lines"]))
	for n := range lines {
		product := cmp.Or(p["productId"], someProduct)
		if lines > 1 {
			product += "-" + strconv.FormatInt(n+1, 10)
		}
		o.Lines = append(o.Lines, &Line{
			OrderLineID: fmt.Sprintf("%s-%06d", o.OrderID, n+1), ProductID: product,
			SKU: cmp.Or(p["skuCode"], someSKU), Quantity: max(1, number(p["quantity"])), Status: "placed",
		})
	}
	if line := p["orderLineId"]; line != "" {
		o.Lines[0].OrderLineID = line
	}
	s.orders = append(s.orders, o)
	return o
}

// follow writes an order about an existing instance into the book.
func (s *Sim) follow(i *Instance, kind string, p map[string]string) *Order {
	o := &Order{
		OrderID: cmp.Or(p["orderId"], s.nextID()), Type: kind, Version: i.Version,
		ChargingMode: i.ChargingMode, CustomerID: cmp.Or(i.CustomerID, someBuyer), CustomerName: "acme",
		CreatedAt: s.cfg.Now().UTC().Truncate(time.Second), ExpiresAt: i.ExpiresAt,
	}
	o.Lines = []*Line{{
		OrderLineID: o.OrderID + "-000001", ProductID: i.ProductID, SKU: i.SKU, Quantity: i.Quantity,
		InstanceID: i.InstanceID, Status: "done",
	}}
	s.orders = append(s.orders, o)
	return o
}

// wireTime is how both interfaces write times; parseTime takes 17 digits too.
const wireTime = "20060102150405"

func parseTime(v string) time.Time {
	t, _ := time.Parse(wireTime, v[:min(len(v), len(wireTime))])
	return t
}

func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(wireTime)
}

func number(v string) int64 {
	n, _ := strconv.ParseInt(v, 10, 64)
	return n
}
