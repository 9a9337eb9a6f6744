package huawei

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

// maxExtend bounds the decoded saasExtendParams that are kept; documented are
// 2048 characters encoded.
const maxExtend = 4096

func (a *Adapter) receiveV1(cb core.Callback) (marketplace.Event, error) {
	received, err := parseQuery(cb.RawQuery)
	if err != nil {
		return a.event(""), err
	}
	signer, p, err := a.verifyV1(received)
	if err != nil {
		return a.event(""), err
	}
	at, err := timeV1(p.get("timeStamp"))
	if err != nil {
		return a.event(""), err
	}
	if err := fresh(at, cb.ReceivedAt, time.Duration(a.cfg.V1MaxSkew)); err != nil {
		return a.event(""), err
	}
	ev := a.event(p.get("activity"))
	ev.Test = p.get("testFlag") == "1"
	return a.normalizeV1(ev, p, signer, strconv.FormatInt(at.UnixMilli(), 10))
}

// timeV1 parses yyyyMMddHHmmssSSS, UTC.
func timeV1(s string) (time.Time, error) {
	if len(s) == 17 {
		t, err := time.Parse("20060102150405", s[:14])
		ms, err2 := digits(s[14:])
		if err == nil && err2 == nil {
			return t.Add(time.Duration(ms) * time.Millisecond), nil
		}
	}
	return time.Time{}, core.Invalid("bad_time", "timeStamp: %.32q is not yyyyMMddHHmmssSSS", s)
}

// normalizeV1 turns verified parameters into an event. rank is the signed time
// in milliseconds, so that it compares with that of version 2.
func (a *Adapter) normalizeV1(
	ev marketplace.Event, p params, signer *secret, rank string,
) (marketplace.Event, error) {
	instance := p.get("instanceId")
	switch ev.Action {
	case newInstance:
		return a.boughtV1(ev, p, signer)
	case queryInstance:
		return asked(ev, instance, rank)
	case refreshInstance:
		return a.refreshedV1(ev, p)
	case expireInstance:
		// Ranked, so that a thaw before it does not lift it. A repeat that
		// arrives after the renewal is lifted by the renewal's term.
		ev.Kind, ev.Subject, ev.Rank = marketplace.Expired, instance, rank
		return ev, required("instanceId", instance)
	case instanceStatus:
		return frozen(ev, instance, p.get("instanceStatus"), "NORMAL", rank)
	case releaseInstance:
		return released(ev, instance, "")
	case upgrade:
		return upgradedV1(ev, p)
	default:
		return ev, fmt.Errorf("huawei: activity %.32q: %w", ev.Action, core.ErrUnsupported)
	}
}

func (a *Adapter) boughtV1(
	ev marketplace.Event, p params, signer *secret,
) (marketplace.Event, error) {
	orderID, productID := p.get("orderId"), p.get("productId")
	ev.Kind, ev.Proposed = marketplace.Activated, p.get("businessId")
	ev.Delivery = newInstance + "/" + orderID + "/" + productID
	ev.Account, ev.AccountName = p.get("customerId"), p.get("customerName")
	ev.SKU, ev.Trial = p.get("skuCode"), new(p.get("trialFlag") == "1")
	ev.Also = []string{nameV1(p.get("chargingMode"), orderID, productID)}
	ev.Attributes = purchaseV1(p, signer)
	err := required("businessId", ev.Proposed, "customerId", ev.Account,
		"orderId", orderID, "productId", productID)
	if err != nil {
		return ev, err
	}
	if !ev.Test && !a.sells(productID, ev.SKU) {
		return ev, wrongProduct(productID)
	}
	if s := p.get("expireTime"); s != "" {
		if ev.ExpiresAt, err = wireTime("expireTime", s, a.zone); err != nil {
			return ev, err
		}
	}
	ev.Quantity, err = quantity("amount", p.get("amount"))
	return ev, err
}

// nameV1 names a purchase: an order for pay-per-use (chargingMode 0) may hold
// several products, and each becomes an instance.
func nameV1(chargingMode, orderID, productID string) string {
	if chargingMode == "0" {
		return "product:" + orderID + "/" + productID
	}
	return "order:" + orderID
}

// purchaseV1 returns the details of a purchase. Contacts that do not decrypt
// are left out: they are no reason to refuse a purchase.
func purchaseV1(p params, signer *secret) map[string]string {
	email, _ := signer.fields.decrypt(p.get("email"))
	phone, _ := signer.fields.decrypt(p.get("mobilePhone"))
	return attributes("orderId", p.get("orderId"), "productId", p.get("productId"),
		"chargingMode", p.get("chargingMode"), "periodType", p.get("periodType"),
		"periodNumber", p.get("periodNumber"), "orderAmount", p.get("orderAmount"),
		"userName", p.get("userName"), "email", email, "mobilePhone", phone,
		"extendParams", extendV1(p.get("saasExtendParams")))
}

// extendV1 decodes saasExtendParams, which is base64 of a JSON list and was
// URL-encoded before it became a parameter of a URL.
func extendV1(s string) string {
	if strings.Contains(s, "%") {
		if once, err := url.QueryUnescape(s); err == nil {
			s = once
		}
	}
	text, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(text) > maxExtend || !json.Valid(text) {
		return ""
	}
	return string(text)
}

func (a *Adapter) refreshedV1(ev marketplace.Event, p params) (marketplace.Event, error) {
	ev = orderedV1(ev, p, marketplace.Retermed)
	err := required("instanceId", ev.Subject, "orderId", ev.Key)
	if err != nil {
		return ev, err
	}
	if p.get("trialToFormal") == "1" {
		ev.Trial = new(false)
	}
	ev.ExpiresAt, err = wireTime("expireTime", p.get("expireTime"), a.zone)
	return ev, err
}

func upgradedV1(ev marketplace.Event, p params) (marketplace.Event, error) {
	ev = orderedV1(ev, p, marketplace.Changed)
	ev.SKU = p.get("skuCode")
	err := required("instanceId", ev.Subject, "orderId", ev.Key, "skuCode", ev.SKU)
	if err != nil {
		return ev, err
	}
	ev.Quantity, err = quantity("amount", p.get("amount"))
	return ev, err
}

// orderedV1 begins an event about an instance that a later order changes.
// Version 1 says nothing of when the order was made; its id begins with the
// date. The zero puts it below the ranks of version 2, to which a product moves
// and never back.
func orderedV1(ev marketplace.Event, p params, k marketplace.Kind) marketplace.Event {
	orderID := p.get("orderId")
	ev.Kind, ev.Subject = k, p.get("instanceId")
	ev.Key, ev.Rank = orderID, "0/"+orderID
	ev.Delivery = ev.Action + "/" + orderID
	ev.Attributes = attributes("orderId", orderID, "productId", p.get("productId"),
		"periodType", p.get("periodType"), "periodNumber", p.get("periodNumber"),
		"orderAmount", p.get("orderAmount"))
	return ev
}
