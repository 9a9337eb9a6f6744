package alibaba

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

// The endpoints that the adapter serves. The webhook server never routes to
// endpointPull: only the feed makes such callbacks.
const (
	endpointMain = ""
	endpointSSO  = "sso"
	endpointPull = "pull"
)

// The actions, as the marketplace spells them.
const (
	actionCreate      = "createInstance"
	actionRenew       = "renewInstance"
	actionRefundRenew = "refundRenewInstance"
	actionUpgrade     = "upgradeInstance"
	actionExpired     = "expiredInstance"
	actionResume      = "resumeInstance"
	actionRelease     = "releaseInstance"
	actionOrderPay    = "orderPay"
	actionVerify      = "verify"
)

func known(action string) bool {
	switch action {
	case actionCreate, actionRenew, actionRefundRenew, actionUpgrade, actionExpired,
		actionResume, actionRelease, actionOrderPay, actionVerify:
		return true
	}
	return false
}

// Receive verifies the token of cb and says what it means. It calls nobody.
func (a *Adapter) Receive(_ context.Context, cb core.Callback) (marketplace.Event, error) {
	ev := marketplace.Event{Listing: a.listing, Provider: Provider}
	if err := served(cb); err != nil {
		return ev, err
	}
	p, err := read(cb)
	if err != nil {
		return ev, err
	}
	action := p.get("action")
	if known(action) {
		ev.Action = action
	}
	if !a.authentic(p) {
		return ev, fmt.Errorf("alibaba: token: %w", core.ErrUnverified)
	}
	if err := p.wellFormed(); err != nil {
		return ev, err
	}
	ev.Action = action
	return a.normalize(ev, p, cb)
}

// served refuses paths and methods that the marketplace never uses.
func served(cb core.Callback) error {
	if !servedPath(cb.Endpoint) {
		return fmt.Errorf("alibaba: path %.64q: %w", cb.Endpoint, core.ErrUnsupported)
	}
	if cb.Method == http.MethodGet || cb.Method == http.MethodPost && cb.Endpoint != endpointSSO {
		return nil
	}
	return fmt.Errorf("alibaba: method %s: %w", cb.Method, core.ErrUnsupported)
}

func servedPath(endpoint string) bool {
	return endpoint == endpointMain || endpoint == endpointSSO || endpoint == endpointPull
}

// normalize says in our words what verified parameters mean.
func (a *Adapter) normalize(ev marketplace.Event, p params, cb core.Callback) (marketplace.Event, error) {
	if (cb.Endpoint == endpointSSO) != (ev.Action == actionVerify) && cb.Endpoint != endpointMain {
		return ev, fmt.Errorf("alibaba: action %.64q at %q: %w", ev.Action, cb.Endpoint, core.ErrUnsupported)
	}
	f := fields{params: p, zone: a.zone}
	switch ev.Action {
	case actionCreate:
		a.create(&ev, &f)
	case actionRenew:
		a.renew(&ev, &f)
	case actionRefundRenew:
		ev.Kind, ev.Subject = marketplace.RenewalRefunded, f.id("instanceId")
		ev.ExpiresAt = f.requiredTime("expiredOn")
		ev.Key = ev.ExpiresAt.UTC().Format(time.RFC3339)
	case actionUpgrade:
		a.upgrade(&ev, &f)
	case actionExpired:
		ev.Kind, ev.Subject = marketplace.Expired, f.id("instanceId")
	case actionResume:
		ev.Kind, ev.Subject = marketplace.Resumed, f.id("instanceId")
	case actionRelease:
		ev.Kind, ev.Subject = marketplace.Ended, f.id("instanceId")
		ev.Attributes = map[string]string{"is_refund": strconv.FormatBool(f.boolean("isRefund", false))}
	case actionOrderPay:
		ev.Kind, ev.Delivery = marketplace.Noted, actionOrderPay+"/"+f.id("requestId")
	case actionVerify:
		return a.signIn(ev, &f, cb)
	default:
		return ev, fmt.Errorf("alibaba: action %.64q: %w", ev.Action, core.ErrUnsupported)
	}
	a.ours(&f)
	return ev, f.fault()
}

// ours refuses callbacks about another product: the key belongs to the seller,
// not to the product.
func (a *Adapter) ours(f *fields) {
	if code := f.get("productCode"); code != "" && code != a.productCode {
		f.problem("productCode", "%.64q is not the product of this listing", code)
	}
}

// create: the orderBizId is the purchase, the orderId only the order that it
// was part of.
func (a *Adapter) create(ev *marketplace.Event, f *fields) {
	ev.Kind = marketplace.Activated
	ev.Subject, ev.Account, ev.SKU = f.id("orderBizId"), f.id("aliUid"), f.id("skuId")
	trial := f.boolean("trial", false)
	ev.Trial = &trial
	ev.ExpiresAt = f.time("expiredOn") // absent: pay-as-you-go, or bought once
	ev.Attributes = a.details(f)
	ev.Attributes["order_id"] = f.id("orderId")
	ev.Attributes["product_code"] = f.id("productCode")
	ev.Quantity = a.quantityOf(f)
}

// renew: the renewal of a trial makes it a purchase (inferred: no action is
// documented for that).
func (a *Adapter) renew(ev *marketplace.Event, f *fields) {
	ev.Kind, ev.Subject, ev.Key = marketplace.Renewed, f.id("instanceId"), f.id("orderId")
	ev.Rank = a.rank(ev.Key)
	ev.ExpiresAt = f.time("expiredOn") // absent if arrears of pay-as-you-go were paid
	ev.Trial = new(bool)
}

// upgrade states the new plan and the new values of the billing items, not the
// difference. Without an order id, as on the international site, a change is
// known by what it says; two equal ones are then one.
func (a *Adapter) upgrade(ev *marketplace.Event, f *fields) {
	ev.Kind, ev.Subject, ev.SKU = marketplace.Changed, f.id("instanceId"), f.id("skuId")
	ev.Attributes = a.details(f)
	ev.Quantity = a.quantityOf(f)
	if ev.Key = f.optionalID("orderId"); ev.Key != "" {
		ev.Rank = a.rank(ev.Key)
		ev.Attributes["order_id"] = ev.Key
		return
	}
	ev.Key = ev.SKU
	if items := f.items(); len(items) > 0 {
		sum := sha256.Sum256(items.canonical())
		ev.Key += "/" + hex.EncodeToString(sum[:8])
	}
}

// signIn: the buyer opens our console. Nobody in particular is named, so the
// link is good once and for a short time.
func (a *Adapter) signIn(ev marketplace.Event, f *fields, cb core.Callback) (marketplace.Event, error) {
	ev.Kind, ev.Subject = marketplace.SignIn, f.id("instanceId")
	at := f.requiredTime("timeStamp")
	if err := f.fault(); err != nil {
		return ev, err
	}
	if off := a.received(cb).Sub(at).Abs(); off > a.ssoWindow {
		return ev, fmt.Errorf("alibaba: verify: timeStamp is %s off: %w", off.Round(time.Second), core.ErrExpired)
	}
	sum := sha256.Sum256([]byte(f.get(tokenParam)))
	ev.Nonce = fmt.Sprintf("%010d/%x", at.Unix(), sum[:12])
	ev.Delivery = actionVerify + "/" + ev.Nonce
	return ev, nil
}

func (a *Adapter) received(cb core.Callback) time.Time {
	if cb.ReceivedAt.IsZero() {
		return a.now()
	}
	return cb.ReceivedAt
}

// rankWidth holds any order id of the protocol; those seen have 9 to 16 digits.
const rankWidth = 20

// rank makes order ids sort as numbers. They grow with time (inferred); what
// is no number has no rank.
func (a *Adapter) rank(orderID string) string {
	if a.byArrival || len(orderID) > rankWidth || strings.Trim(orderID, "0123456789") != "" {
		return ""
	}
	return strings.Repeat("0", rankWidth-len(orderID)) + orderID
}

// attributeNames say under which name a parameter is kept with a subscription.
var attributeNames = [...]param{
	{"package_version", "package_version"}, {"template", "template"}, {"ecsInstanceId", "ecs_instance_id"},
}

// details returns what is kept with the subscription: the billing items by
// the names that the seller gave them, and parameters that we know nothing of.
func (a *Adapter) details(f *fields) map[string]string {
	d := make(map[string]string, 8)
	for _, item := range f.items() {
		d[item.name] = item.value
	}
	for _, n := range attributeNames {
		if v := f.get(n.name); v != "" {
			d[n.value] = v
		}
	}
	return d
}

// items are the parameters whose names are not the protocol's.
func (f *fields) items() params {
	var items params
	for _, q := range f.params {
		switch q.name {
		case "action", tokenParam, "aliUid", "orderBizId", "orderId", "productCode", "skuId", "trial",
			"expiredOn", "instanceId", "template", "package_version", "ecsInstanceId":
		default:
			items = append(items, q)
		}
	}
	return items
}

// quantityOf returns the quantity that the billing items state, or 0. An item
// that is no whole number is kept as a detail and says nothing here.
func (a *Adapter) quantityOf(f *fields) int64 {
	for _, name := range a.quantity {
		if n, err := strconv.ParseInt(f.get(name), 10, 64); err == nil && n > 0 {
			return n
		}
	}
	return 0
}
