package huawei

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

// Complete fetches the order behind a version 2 event and fills in what the
// callback left out. An answer of Query order that lacks what every order has
// is ErrUnavailable: the next one may be whole.
func (a *Adapter) Complete(ctx context.Context, ev marketplace.Event) (marketplace.Event, error) {
	if !ev.Incomplete {
		return ev, nil
	}
	orderID, lineID := ev.Attributes["orderId"], ev.Attributes["orderLineId"]
	o, err := a.orders.query(ctx, orderID, lineID)
	if err != nil {
		return ev, err
	}
	line, err := o.line(lineID)
	if err != nil {
		return ev, err
	}
	done := ev
	done.Attributes, done.Also = maps.Clone(ev.Attributes), slices.Clone(ev.Also)
	done.Incomplete = false
	if ev.Kind == marketplace.Activated {
		err = a.completePurchase(&done, o, line)
	} else {
		err = completeChange(&done, o, line)
	}
	if err != nil {
		return ev, err
	}
	return done, nil
}

// line finds a line of the order; without an id it is the first.
func (o *order) line(id string) (*orderLine, error) {
	for i := range o.OrderLine {
		if l := &o.OrderLine[i]; id == "" || string(l.OrderLineID) == id {
			return l, nil
		}
	}
	return nil, core.Invalid("unknown_order_line", "order %s has no line %s", o.OrderID, id)
}

func (a *Adapter) completePurchase(ev *marketplace.Event, o *order, l *orderLine) error {
	if o.BuyerInfo == nil || o.BuyerInfo.CustomerID == "" {
		return fmt.Errorf("huawei: order %s has no buyer: %w", o.OrderID, core.ErrUnavailable)
	}
	if p := l.product(); !a.sells(string(p.ProductID), string(p.SKUCode)) {
		return wrongProduct(string(p.ProductID))
	}
	ev.Account, ev.AccountName = string(o.BuyerInfo.CustomerID), string(o.BuyerInfo.CustomerName)
	ev.Trial = new(o.OrderType == "TRIAL")
	if l.ChargingMode == "ON_DEMAND" {
		for _, p := range l.ProductInfo {
			ev.Also = append(ev.Also, "product:"+string(o.OrderID)+"/"+string(p.ProductID))
		}
	}
	maps.Copy(ev.Attributes, o.purchase(l))
	if l.ExpireTime != "" {
		at, err := wireTime("expireTime", string(l.ExpireTime), a.zone)
		if err != nil {
			return err
		}
		ev.ExpiresAt = at
	}
	return l.plan(ev)
}

// completeChange ranks a renewal or change by its order and takes the plan from
// it. The order that takes a renewal back still names what is taken back, so
// its plan does not count.
func completeChange(ev *marketplace.Event, o *order, l *orderLine) error {
	if _, err := digits(string(o.CreateTime)); err != nil || len(o.CreateTime) != 14 {
		return fmt.Errorf("huawei: order %s has no creation time: %w", o.OrderID, core.ErrUnavailable)
	}
	ev.Rank = string(o.CreateTime + "/" + o.OrderID)
	if ev.Attributes["scene"] == "UNSUBSCRIBE_RENEWAL_PERIOD" {
		return nil
	}
	maps.Copy(ev.Attributes, attributes("productId", string(l.product().ProductID),
		"periodType", string(l.PeriodType), "periodNumber", string(l.PeriodNumber),
		"orderAmount", string(l.CurrencyAfterDiscount)))
	return l.plan(ev)
}

// product returns the first product of a line: a SaaS instance is one product.
func (l *orderLine) product() product {
	if len(l.ProductInfo) == 0 {
		return product{}
	}
	return l.ProductInfo[0]
}

func (l *orderLine) plan(ev *marketplace.Event) (err error) {
	p := l.product()
	ev.SKU = string(p.SKUCode)
	ev.Quantity, err = quantity("linearValue", string(p.LinearValue))
	return err
}

// purchase returns the details that are kept with a purchase.
func (o *order) purchase(l *orderLine) map[string]string {
	p := l.product()
	return attributes("chargingMode", string(l.ChargingMode), "orderType", string(o.OrderType),
		"productId", string(p.ProductID), "productName", string(p.ProductName),
		"periodType", string(l.PeriodType), "periodNumber", string(l.PeriodNumber),
		"orderAmount", string(l.CurrencyAfterDiscount), "extendParams", extendV2(l.ExtendParams),
		"userName", string(o.BuyerInfo.UserName), "email", string(o.BuyerInfo.Email),
		"mobilePhone", string(o.BuyerInfo.MobilePhone))
}

func extendV2(raw json.RawMessage) string {
	var out bytes.Buffer
	if err := json.Compact(&out, raw); err != nil || out.Len() > maxExtend {
		return ""
	}
	if s := out.String(); s != "null" && s != "[]" {
		return s
	}
	return ""
}

// sells reports whether a product belongs to the listing.
func (a *Adapter) sells(productID, sku string) bool {
	ids := a.cfg.ProductIDs
	return len(ids) == 0 || slices.Contains(ids, productID) || slices.Contains(ids, sku)
}

func wrongProduct(productID string) error {
	return core.Invalid("wrong_product", "product %.64q is not of this listing", productID)
}
