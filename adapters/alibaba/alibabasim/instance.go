package alibabasim

import (
	"fmt"
	"maps"
	"time"
)

// The states of an instance, in the marketplace's words.
const (
	Opening = "OPENING" // bought, and the seller did not answer yet
	Opened  = "OPENED"
	Expired = "EXPIRED"
	Closed  = "CLOSED"
)

// Instance is what the marketplace knows of one purchase.
type Instance struct {
	ID          string    `json:"instance_id"` // the orderBizId
	AliUID      string    `json:"ali_uid"`
	OrderID     string    `json:"order_id"`
	ProductCode string    `json:"product_code"`
	SKU         string    `json:"sku"`
	Trial       bool      `json:"trial"`
	Status      string    `json:"status"`
	Renewed     bool      `json:"renewed,omitempty"`
	Refunded    bool      `json:"refunded,omitempty"`
	ExpiresOn   time.Time `json:"expires_on,omitzero"` // zero: pay-as-you-go
	// EndedAt is when it expired or was released; zero while it is open.
	EndedAt   time.Time         `json:"ended_at,omitzero"`
	Items     map[string]string `json:"items,omitempty"`
	CreatedAt time.Time         `json:"created_at"`

	// What the seller answered to createInstance.
	SellerID    string            `json:"seller_id,omitempty"`
	FrontEndURL string            `json:"front_end_url,omitempty"`
	AuthURL     string            `json:"auth_url,omitempty"`
	Info        map[string]string `json:"info,omitempty"`
	// Problem is a promise that the seller broke.
	Problem string `json:"problem,omitempty"`
}

func (i *Instance) clone() Instance {
	c := *i
	c.Items, c.Info = maps.Clone(i.Items), maps.Clone(i.Info)
	return c
}

// allows says why the marketplace would not do action to i now, or "".
func (i *Instance) allows(action string, now time.Time) string {
	switch {
	case i.Status == Closed:
		return "it is released"
	case action == expiredInstance && i.Renewed && i.ExpiresOn.After(now):
		return "it was renewed until " + i.ExpiresOn.Format(time.RFC3339) + "; move the clock there first"
	case action == resumeInstance && i.Status != Expired:
		return "it is not expired"
	case action == refundRenewInstance && i.ExpiresOn.IsZero():
		return "it has no term"
	}
	return ""
}

// happens applies a callback's statement to what the marketplace believes.
// Nothing happens to a released instance any more.
func (i *Instance) happens(m message, zone *time.Location, now time.Time) {
	if i.Status == Closed {
		return
	}
	defer i.ends(now)
	switch m.action {
	case renewInstance:
		i.Status, i.Trial, i.Renewed = Opened, false, true
		i.expires(m.values["expiredOn"], zone)
	case refundRenewInstance:
		i.expires(m.values["expiredOn"], zone)
	case upgradeInstance:
		i.SKU = m.values["skuId"]
		maps.Copy(i.Items, items(m.values))
	case expiredInstance:
		i.Status = Expired
	case resumeInstance:
		i.Status = Opened
	case releaseInstance:
		i.Status, i.Refunded = Closed, m.values["isRefund"] == "true"
	}
}

// ends keeps when the instance stopped being open.
func (i *Instance) ends(now time.Time) {
	switch over := i.Status == Expired || i.Status == Closed; {
	case !over:
		i.EndedAt = time.Time{}
	case i.EndedAt.IsZero():
		i.EndedAt = now.UTC()
	}
}

func (i *Instance) expires(text string, zone *time.Location) {
	if t, err := time.ParseInLocation(time.DateTime, text, zone); err == nil {
		i.ExpiresOn = t.UTC()
	}
}

// answered records what the seller answered to createInstance.
func (i *Instance) answered(a createAnswer) {
	id := fmt.Sprint(a.InstanceID)
	if i.SellerID != "" && i.SellerID != id {
		i.Problem = fmt.Sprintf("the seller answered instanceId %q, before it was %q", id, i.SellerID)
	}
	i.SellerID, i.FrontEndURL, i.AuthURL, i.Info = id, a.AppInfo.FrontEndURL, a.AppInfo.AuthURL, a.Info
	if i.Status == Opening {
		i.Status = Opened
	}
}

// items are the parameters that the seller named.
func items(values map[string]string) map[string]string {
	out := map[string]string{}
	for name, value := range values {
		if !protocolNames[name] {
			out[name] = value
		}
	}
	return out
}

var protocolNames = map[string]bool{
	"action": true, "token": true, "aliUid": true, "orderBizId": true, "orderId": true,
	"productCode": true, "skuId": true, "trial": true, "expiredOn": true, "instanceId": true,
	"package_version": true, "isRefund": true, "requestId": true, "timeStamp": true,
	"template": true, unannounced: true,
}
