package alibabasim

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"cloudsettle/adapters/internal/sim"
)

// Calls that are not signed as the gateway wants it are refused, each for its
// own reason.
func TestAPIRefuses(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	made, err := New(sim.Config{
		Listing: "ali", Now: time.Now,
		Raw: json.RawMessage(`{"product_code":"cmgj1","spi_key":"k","access_key_id":"ak","access_key_secret":"sk"}`),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = made.Close() }()
	made.(*Simulator).wall = func() time.Time { return now }
	call := func(change func(url.Values), after func(url.Values)) (int, string) {
		v := url.Values{
			"AccessKeyId": {"ak"}, "Action": {"DescribeFailedNotifications"}, "Format": {"JSON"},
			"SignatureMethod": {"HMAC-SHA1"}, "SignatureNonce": {t.Name()}, "SignatureVersion": {"1.0"},
			"Timestamp": {now.Format(time.RFC3339)}, "Version": {apiVersion}, "PageNumber": {"1"}, "PageSize": {"10"},
		}
		change(v)
		v.Set("Signature", rpcSignature(http.MethodPost, v, "sk"))
		after(v)
		w := httptest.NewRecorder()
		made.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/?"+v.Encode(), strings.NewReader("")))
		var answer struct{ Code string }
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatal(err)
		}
		return w.Code, answer.Code
	}
	set := func(name, value string) func(url.Values) { return func(v url.Values) { v.Set(name, value) } }
	none := func(url.Values) {}
	for _, tc := range []struct {
		name          string
		change, after func(url.Values)
		status        int
		code          string
	}{
		{"Good", set("SignatureNonce", "1"), none, 200, ""},
		{"NonceAgain", set("SignatureNonce", "1"), none, 400, "SignatureNonceUsed"},
		{"NoAction", set("Action", ""), none, 400, "MissingAction"},
		{"OtherKey", set("AccessKeyId", "other"), none, 404, "InvalidAccessKeyId.NotFound"},
		{"Early", set("Timestamp", now.Add(16*time.Minute).Format(time.RFC3339)), none, 400, "InvalidTimeStamp.Expired"},
		{"Late", set("Timestamp", now.Add(-16*time.Minute).Format(time.RFC3339)), none, 400, "InvalidTimeStamp.Expired"},
		{"NoTime", set("Timestamp", "now"), none, 400, "InvalidTimeStamp.Expired"},
		{"Changed", none, set("PageNumber", "2"), 400, "SignatureDoesNotMatch"},
		{"Added", none, set("Extra", ""), 400, "SignatureDoesNotMatch"},
		{"Method", set("SignatureMethod", "HMAC-MD5"), none, 400, "InvalidParameter.SignatureMethod"},
		{"Version", set("Version", "2014-01-01"), none, 400, "InvalidVersion"},
		{"UnknownAction", set("Action", "DropTables"), none, 404, "InvalidAction.NotFound"},
		{"PageZero", set("PageNumber", "0"), none, 400, "InvalidParameter"},
		{"ConfirmNothing", set("Action", "ConfirmNotification"), none, 400, "MissingNotificationRequestId"},
		{"NoInstance", set("Action", "DescribeInstanceForIsv"), none, 400, "Invalid.Parameter.Instance"},
	} {
		change := func(v url.Values) { v.Set("SignatureNonce", tc.name); tc.change(v) }
		if status, code := call(change, tc.after); status != tc.status || code != tc.code {
			t.Errorf("%s = %d %q, want %d %q", tc.name, status, code, tc.status, tc.code)
		}
	}
}
