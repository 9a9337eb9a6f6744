package alibabasim

import (
	"context"
	"crypto/md5" // #nosec -- only to make up an id
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"cloudsettle/adapters/internal/sim"
)

// The actions.
const (
	createInstance      = "createInstance"
	renewInstance       = "renewInstance"
	refundRenewInstance = "refundRenewInstance"
	upgradeInstance     = "upgradeInstance"
	expiredInstance     = "expiredInstance"
	resumeInstance      = "resumeInstance"
	releaseInstance     = "releaseInstance"
	orderPay            = "orderPay"
	verify              = "verify"
)

// Production messages are retried up to 120 times; the interval is not
// published. Messages have a published schedule.
const (
	productionRetries  = 120
	productionInterval = time.Minute
)

func productionSchedule() []time.Duration {
	return slices.Repeat([]time.Duration{productionInterval}, productionRetries)
}

func messageSchedule() []time.Duration {
	const m, h = time.Minute, time.Hour
	return []time.Duration{m, m, m, 5 * m, 10 * m, 10 * m, 10 * m, h, h, 2 * h, 4 * h}
}

// unannounced is a parameter that no page speaks of: the marketplace says that
// it may add some.
const unannounced = "biz_ext_2026"

// removed is the value that takes a parameter out.
const removed = "-"

// message is one callback before it is signed.
type message struct {
	action string
	values map[string]string
}

// instanceID names the instance that m is about.
func (m message) instanceID() string {
	if m.action == createInstance || m.action == orderPay {
		return m.values["orderBizId"]
	}
	return m.values["instanceId"]
}

// international leaves out what the pages of the international site lack.
func (m message) international() {
	if m.action == upgradeInstance || m.action == releaseInstance {
		delete(m.values, "orderId")
		delete(m.values, "isRefund")
	}
}

// compose fills in what given does not say. The caller holds s.mu.
func (s *Simulator) compose(action string, given map[string]string) message {
	m := message{action, map[string]string{"action": action}}
	i := s.subjectOf(action, given)
	switch action {
	case createInstance:
		s.composeCreate(m.values, given)
	case orderPay:
		maps.Copy(m.values, map[string]string{
			"aliUid": i.AliUID, "orderBizId": i.ID, "orderId": i.OrderID,
			"productCode": i.ProductCode, "skuId": i.SKU, "requestId": requestID(i.OrderID),
		})
	default:
		m.values["instanceId"] = i.SellerID
	}
	switch action {
	case renewInstance:
		m.values["orderId"] = s.nextOrder()
		if !i.ExpiresOn.IsZero() {
			m.values["expiredOn"] = s.text(s.later(i.ExpiresOn).AddDate(0, 1, 0))
		}
	case refundRenewInstance:
		m.values["expiredOn"] = s.text(i.ExpiresOn.AddDate(0, -1, 0))
	case upgradeInstance:
		m.values["orderId"], m.values["skuId"] = s.nextOrder(), nextSKU(i.SKU)
	case resumeInstance:
		m.values["productCode"], m.values["skuId"] = i.ProductCode, i.SKU
	case releaseInstance:
		m.values["isRefund"], m.values["orderId"] = "false", i.OrderID
	case verify:
		m.values["timeStamp"] = s.text(s.cfg.Now())
	}
	if s.listing.international() {
		m.international()
	}
	for name, value := range given {
		m.values[name] = value
		if value == removed {
			delete(m.values, name)
		}
	}
	return m
}

func (s *Simulator) composeCreate(values, given map[string]string) {
	maps.Copy(values, map[string]string{
		"aliUid": "1234567890123456", "orderBizId": s.nextInstance(), "orderId": s.nextOrder(),
		"productCode": s.listing.ProductCode, "skuId": s.listing.firstSKU(), "trial": "false",
		"expiredOn": s.text(midnight(s.cfg.Now().In(s.listing.zone)).AddDate(0, 1, 0)),
	})
	if sku := given["skuId"]; sku != "" && sku != removed {
		values["skuId"] = sku
	}
	values["package_version"] = values["skuId"]
}

// later returns the later of t and now's midnight: a renewal of what ran out
// long ago starts today.
func (s *Simulator) later(t time.Time) time.Time {
	if today := midnight(s.cfg.Now().In(s.listing.zone)); today.After(t) {
		return today
	}
	return t
}

// subjectOf returns the instance that given names, the newest one, or one that
// nobody bought here, made up. The caller holds s.mu.
func (s *Simulator) subjectOf(action string, given map[string]string) Instance {
	id := given["instanceId"]
	if action == orderPay {
		id = given["orderBizId"]
	}
	if id == "" && len(s.order) > 0 {
		id = s.order[len(s.order)-1]
	}
	i := Instance{
		ID: id, AliUID: "1234567890123456", OrderID: strconv.FormatInt(s.lastOrder+1, 10),
		ProductCode: s.listing.ProductCode, SKU: s.listing.firstSKU(),
		ExpiresOn: midnight(s.cfg.Now().In(s.listing.zone)),
	}
	if found := s.find(id); found != nil {
		i = found.clone()
	} else if id == "" {
		i.ID = s.nextInstance()
	}
	if i.SellerID == "" {
		i.SellerID = i.ID // as the documentation recommends
	}
	return i
}

// delivery says how m is delivered.
func (s *Simulator) delivery(m message) sim.Delivery {
	d := sim.Delivery{
		Name:     m.action,
		Schedule: productionSchedule(),
		Build: func(ctx context.Context, _ int) (*http.Request, error) {
			return http.NewRequestWithContext(ctx, http.MethodGet, s.address(m), nil)
		},
		Accept: func(status int, body []byte) bool { return status == http.StatusOK && succeeded(body) },
	}
	switch m.action {
	case createInstance:
		d.Accept = func(status int, body []byte) bool {
			a, ok := decodeCreate(body)
			return status == http.StatusOK && ok && a.hasInstance()
		}
		d.Accepted = func(body []byte) { s.created(m, body) }
	case orderPay:
		d.Schedule = messageSchedule()
	case verify:
		d.Schedule = nil
		d.Accept = func(status int, _ []byte) bool {
			return status == http.StatusSeeOther || status == http.StatusFound
		}
	}
	d.Failed = func() { s.failed(m, d) }
	return d
}

// created records the seller's answer.
func (s *Simulator) created(m message, body []byte) {
	a, ok := decodeCreate(body)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.find(m.instanceID()); i != nil {
		i.answered(a)
	}
}

// failed keeps a message that used up its attempts: for the pull API, or until
// the seller resets it.
func (s *Simulator) failed(m message, d sim.Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch m.action {
	case orderPay:
		s.parked = append(s.parked, parked{m.values["requestId"], m, s.cfg.Now()})
	case verify:
	default:
		s.stuck = append(s.stuck, d)
	}
}

// address signs m and writes it as a URL, in another way each time.
func (s *Simulator) address(m message) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	values := maps.Clone(m.values)
	if values["token"] == "" {
		values["token"] = token(values, s.key)
	}
	names := slices.Sorted(maps.Keys(values))
	s.rnd.Shuffle(len(names), func(a, b int) { names[a], names[b] = names[b], names[a] })
	escape := url.QueryEscape
	if s.rnd.IntN(2) == 0 {
		escape = percent
	}
	for i, name := range names {
		names[i] = escape(name) + "=" + escape(values[name])
	}
	return s.endpointOf(m) + "?" + strings.Join(names, "&")
}

// endpointOf returns the seller's URL for m. The caller holds s.mu.
func (s *Simulator) endpointOf(m message) string {
	base := strings.TrimRight(s.cfg.Target, "/") + "/webhooks/" + url.PathEscape(string(s.cfg.Listing))
	if m.action != verify {
		return base
	}
	for _, id := range s.order {
		if i := s.find(id); i.SellerID == m.instanceID() && i.AuthURL != "" {
			return i.AuthURL
		}
	}
	return base + "/sso"
}

// createAnswer is the seller's answer to createInstance.
type createAnswer struct {
	InstanceID any `json:"instanceId"` // a number from some sellers
	AppInfo    struct {
		FrontEndURL string `json:"frontEndUrl"`
		AuthURL     string `json:"authUrl"`
	} `json:"appInfo"`
	Info map[string]string `json:"info"`
}

func decodeCreate(body []byte) (createAnswer, bool) {
	var a createAnswer
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.UseNumber()
	return a, d.Decode(&a) == nil
}

func (a createAnswer) hasInstance() bool {
	id := fmt.Sprint(a.InstanceID)
	return a.InstanceID != nil && id != "" && id != "0"
}

// succeeded accepts success as a boolean and as a text: the documentation has
// both.
func succeeded(body []byte) bool {
	var a struct {
		Success any `json:"success"`
	}
	return json.Unmarshal(body, &a) == nil && (a.Success == true || a.Success == "true")
}

func requestID(orderID string) string {
	sum := md5.Sum([]byte(orderPay + orderID)) // #nosec -- only to make up an id
	return hex.EncodeToString(sum[:])
}

// nextSKU counts up the digits that sku ends with.
func nextSKU(sku string) string {
	base := strings.TrimRight(sku, "0123456789")
	n, err := strconv.ParseInt(sku[len(base):], 10, 64)
	if err != nil {
		return sku + "2"
	}
	return fmt.Sprintf("%s%0*d", base, len(sku)-len(base), n+1)
}

func (s *Simulator) text(t time.Time) string { return t.In(s.listing.zone).Format(time.DateTime) }

func midnight(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, t.Location())
}
