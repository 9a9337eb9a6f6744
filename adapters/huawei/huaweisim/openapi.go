package huaweisim

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The ways in which Query order may misbehave, for POST /_sim/faults.
const (
	queryWell    = ""
	querySlow    = "slow"    // answers after the caller has hung up
	queryBroken  = "500"     // an internal error
	queryMissing = "404"     // knows no order
	queryNoBuyer = "nobuyer" // leaves out what may be null
)

func orderQueries() []string {
	return []string{queryWell, querySlow, queryBroken, queryMissing, queryNoBuyer}
}

// slowAnswer is longer than a caller may wait that has 5 s for everything.
const slowAnswer = 6 * time.Second

// queryOrder serves Query order.
func (s *Sim) queryOrder(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err := verifyCall(r, body, s.own.AccessKeyID, s.own.SecretAccessKey, s.cfg.Now()); err != nil {
		writeJSON(w, http.StatusUnauthorized, map[string]string{
			"error_code": "APIGW.0301", "error_msg": "Incorrect IAM authentication information: " + err.Error(),
		})
		return
	}
	s.mu.Lock()
	fault := s.orderQuery
	s.mu.Unlock()
	switch fault {
	case querySlow:
		select {
		case <-time.After(slowAnswer):
		case <-r.Context().Done():
			return
		}
	case queryBroken:
		writeResult(w, http.StatusInternalServerError, "MKT.0999", "internal error", nil)
		return
	case queryMissing:
		writeResult(w, http.StatusNotFound, "MKT.0199", "no such order", nil)
		return
	}
	info := s.orderInfo(r.URL.Query().Get("orderId"), r.URL.Query().Get("orderLineId"))
	if info == nil {
		writeResult(w, http.StatusBadRequest, "MKT.0101", "illegal parameter: orderId", nil)
		return
	}
	if fault == queryNoBuyer {
		info["buyerInfo"] = nil
	}
	writeResult(w, http.StatusOK, "MKT.0000", "Success", info)
}

func writeResult(w http.ResponseWriter, status int, code, msg string, info map[string]any) {
	out := map[string]any{"resultCode": code, "resultMsg": msg}
	if info != nil {
		out["orderInfo"] = info
	}
	writeJSON(w, status, out)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the caller may have gone
}

// orderInfo returns an order as Query order tells it, or nil.
func (s *Sim) orderInfo(orderID, lineID string) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.IndexFunc(s.orders, func(o *Order) bool { return o.OrderID == orderID })
	var o *Order
	if at >= 0 {
		o = s.orders[at]
	} else if o = mockOrder(orderID); o == nil {
		return nil
	}
	lines := []map[string]any{}
	for _, l := range o.Lines {
		if lineID == "" || lineID == l.OrderLineID {
			lines = append(lines, lineInfo(o, l))
		}
	}
	return map[string]any{
		"orderId": o.OrderID, "orderType": o.Type, "createTime": formatTime(o.CreatedAt),
		"orderLine": lines,
		"buyerInfo": map[string]any{
			"mobilePhone": "18688888888", "email": nil, "userId": nil, "userName": nil,
			"customerId": o.CustomerID, "customerName": o.CustomerName,
			"customerRealName": "测试用户1", "customerType": 0,
		},
		"extendParams": []any{},
	}
}

func lineInfo(o *Order, l *Line) map[string]any {
	info := map[string]any{
		"orderLineId": l.OrderLineID, "chargingMode": o.ChargingMode,
		"periodType": nil, "periodNumber": nil, "expireTime": nil,
		"productInfo": []map[string]any{{
			"productId": l.ProductID, "skuCode": l.SKU, "linearValue": l.Quantity,
			"productName": "MOCK测试商品,测试规格,基础版,包周期",
		}},
		"extendParams": []map[string]string{{"name": "emailDomainName", "value": "test.example.com"}},
		"currency":     "100", "currencyAfterDiscount": "100",
	}
	if !o.ExpiresAt.IsZero() {
		info["periodType"], info["periodNumber"], info["expireTime"] = "year", 1, formatTime(o.ExpiresAt)
	}
	return info
}

// mockOrder returns one of the orders that Huawei keeps for debugging, or nil.
func mockOrder(id string) *Order {
	kinds := map[string][2]string{
		"MOCKPERIODYEARNEW": {"NEW", "PERIOD"}, "MOCKONETIMENEW": {"NEW", "ONE_TIME"},
		"MOCKONDEMAND": {"NEW", "ON_DEMAND"}, "MOCKONDEMANDPKG": {"NEW", "ON_DEMAND_PKG"},
		"MOCKPERIODDAYTRIAL": {"TRIAL", "PERIOD"}, "MOCKMONTYTRIALTOFORMAL": {"TRIAL_TO_FORMAL", "PERIOD"},
		"MOCKMONTYUNSUBSCRIBE": {"UNSUBSCRIBE", "PERIOD"}, "MOCKMONTYRENEW": {"RENEW", "PERIOD"},
		"MOCKMONTYCHANGE": {"CHANGE", "PERIOD"},
	}
	kind, ok := kinds[id]
	if !ok {
		return nil
	}
	o := &Order{
		OrderID: id, Type: kind[0], ChargingMode: kind[1],
		CreatedAt:  time.Date(2024, 11, 21, 9, 8, 46, 0, time.UTC),
		CustomerID: "459bbbec25d24749b2eb83be37b602a8", CustomerName: "mock_user_01",
		Lines: []*Line{{
			OrderLineID: id + "-000001", ProductID: "OFFI846204237451911168",
			SKU: "0a4d1578-5295-46a7-92d4-7c803dccc51d", Quantity: 50,
		}},
	}
	if strings.HasPrefix(kind[1], "PERIOD") {
		o.ExpiresAt = time.Date(2025, 11, 21, 23, 59, 59, 0, time.UTC)
	}
	return o
}
