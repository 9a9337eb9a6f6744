package webhooks_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"cloudsettle/core"
)

// huaweiSource sells through the older interface, whose callbacks say all
// there is to say, and freezes and thaws through the newer one, whose
// signature is used once.
func huaweiSource(tb testing.TB) source {
	const key = "bench-key-0002"
	m := open(tb, core.Listing{ID: "hw", Provider: "huawei"}, map[string]any{
		"product_code": "OFFI1", "key": key, "access_key_id": "ak", "secret_access_key": "sk",
	})
	return source{name: "huawei", market: m, stream: func() func() []byte {
		return life(func(n, bought, at int) []byte {
			if at > 0 {
				status := "FREEZE"
				if n%4 == 0 {
					status = "UNFREEZE"
				}
				return huaweiV2(key, n, fmt.Sprintf(`{"activity":"updateInstanceStatus","instanceId":"b-%d","status":"%s"}`, at, status))
			}
			return huaweiV1(key, "activity", "newInstance", "businessId", fmt.Sprintf("b-%d", bought),
				"customerId", fmt.Sprintf("c-%d", bought), "customerName", "acme", "orderId", fmt.Sprintf("CS%012d", bought),
				"skuCode", "0a4d1578", "productId", "00301-666666-0--0", "chargingMode", "1", "periodType", "year",
				"periodNumber", "1", "expireTime", "20271121235959", "amount", "30",
				"timeStamp", time.Now().UTC().Format("20060102150405")+"000")
		})
	}, want: func(status int, body []byte) bool {
		return status == 200 && strings.Contains(string(body), `"000000"`)
	}}
}

func huaweiV1(key string, pairs ...string) []byte {
	var parts, query []string
	var stamp string
	for i := 0; i < len(pairs); i += 2 {
		parts = append(parts, pairs[i]+"="+pairs[i+1])
		query = append(query, pairs[i]+"="+url.QueryEscape(pairs[i+1]))
		if pairs[i] == "timeStamp" {
			stamp = pairs[i+1]
		}
	}
	slices.Sort(parts)
	token := base64.StdEncoding.EncodeToString(sign(key+stamp, strings.Join(parts, "&")))
	return get("/webhooks/hw?" + strings.Join(query, "&") + "&authToken=" + url.QueryEscape(token))
}

func huaweiV2(key string, n int, body string) []byte {
	stamp, nonce := fmt.Sprint(time.Now().UnixMilli()), fmt.Sprintf("%032d", n)
	inner := hex.EncodeToString(sign(key, body))
	signature := hex.EncodeToString(sign(key, key+nonce+stamp+inner))
	return post("/webhooks/hw?signature="+signature+"&timestamp="+stamp+"&nonce="+nonce, "", []byte(body))
}

func sign(key, text string) []byte {
	m := hmac.New(sha256.New, []byte(key))
	m.Write([]byte(text))
	return m.Sum(nil)
}

// eventBridgeSource sends what AWS sends about licenses: it is updated again
// when an entitlement changes.
func eventBridgeSource(tb testing.TB) source {
	const key = "bench-key-0003"
	m := open(tb, core.Listing{ID: "aws", Provider: "aws"}, map[string]any{
		"product_code": "aw4fgf5tyo5w2ap6fexample", "region": "us-east-1", "event_api_key": key,
		"access_key_id": "AKIDEXAMPLE", "secret_access_key": "secret",
	})
	header := "X-Api-Key: " + key + "\r\n"
	return source{name: "eventbridge", market: m, stream: func() func() []byte {
		began := time.Now()
		return life(func(n, bought, at int) []byte {
			license := bought
			if at > 0 {
				license = at
			}
			body := fmt.Sprintf(eventText, n, began.Add(time.Duration(n)*time.Second).UTC().Format(time.RFC3339), license, license, license)
			return post("/webhooks/aws/events", header, []byte(body))
		})
	}, want: ok}
}

const eventText = `{"version":"0","id":"12345678-1234-1234-1234-%012d","detail-type":"License Updated - Manufacturer",` +
	`"source":"aws.agreement-marketplace","account":"123456789012","time":"%s","region":"us-east-1","resources":[],` +
	`"detail":{"requestId":"3d4c9f9b-b809-4f5e-9fac-a9ae98b05cbb","catalog":"AWSMarketplace","agreement":{"id":"agmt-%d"},` +
	`"product":{"code":"aw4fgf5tyo5w2ap6fexample","id":"prod-example"},` +
	`"license":{"arn":"arn:aws:license-manager::294406891311:license:l-%032x"},"acceptor":{"accountId":"%012d"},` +
	`"proposer":{"accountId":"123456512334"},"offer":{"id":"offer-1234567890123"}}}`
