package huawei

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"cloudsettle/core"
)

// The vectors below were computed with Python and, for the generator, with
// JDK 17; Huawei publishes none with a key.

func TestSignV2Vector(t *testing.T) {
	t.Parallel()
	const body = `{"activity":"newInstance","businessId":"87b94795-0603-4e24-8ae5-69420d60e3c8",` +
		`"orderId":"CS2211181819B4LVS","orderLineId":"CS2211181819B4LVS-000001","testFlag":"1"}`
	s := stamp{
		timestamp: "1680508066618",
		nonce:     "50D83FDECAED6CCD8EF597F2A577950527928BA287D04E6036E92B2806FD17DA",
	}
	const want = "70E585FB80E33745B6439544B78789D8EDD419EEC21747A6DF5039654F881AF8"
	if got := strings.ToUpper(hex.EncodeToString(signV2(testKey, s, []byte(body)))); got != want {
		t.Errorf("signV2(V2-A) = %s, want %s", got, want)
	}
	cb := core.Callback{
		Method: "POST", Body: []byte(body), ReceivedAt: time.UnixMilli(1680508066618),
		RawQuery: "signature=" + want + "&timestamp=" + s.timestamp + "&nonce=" + s.nonce,
	}
	ev, err := open(t, nil).Adapter.Receive(t.Context(), cb)
	if err != nil || !ev.Test || ev.Nonce != "1680508066618/"+s.nonce {
		t.Errorf("Receive(V2-A) = %+v, %v, want a probe", ev, err)
	}
}

func TestSignV1Vector(t *testing.T) {
	t.Parallel()
	const query = "activity=newInstance&businessId=b-1&customerId=c-1&email=" +
		"ABCDEFGH123456787BMJA/TIy/sAQ%2BBhWqgyztEJ69cLWAIWYraQUjrLUpg=" +
		"&orderId=CS1&productId=p-1&timeStamp=20170725025113409"
	for name, tt := range map[string]struct{ query, want string }{
		"V1-C":              {query, "mFIYkX8MO/m/0Po80iVRxWv418NwCWL5GLsv8Y1UuSg="},
		"plus became space": {strings.ReplaceAll(query, "%2B", "+"), "YBOiYEgCXkvZFIGmFd3J4pTzrH3CLHTgYFWMmxyf5FE="},
		"decoded too rarely": {
			strings.NewReplacer("%2B", "%252B", "/", "%252F", "=&", "%253D&").Replace(query),
			"a9praA8oPwOgHjwrevJqC4baD+hO1k03+3ZFYLhjjOw=",
		},
	} {
		p, err := parseQuery(tt.query)
		if err != nil {
			t.Fatal(err)
		}
		if got := signV1(testKey, "20170725025113409", p); got != tt.want {
			t.Errorf("signV1(%s) = %s, want %s", name, got, tt.want)
		}
	}
	cb := core.Callback{
		Method: "GET", ReceivedAt: time.Date(2017, 7, 25, 2, 52, 0, 0, time.UTC),
		RawQuery: query + "&authToken=mFIYkX8MO%2Fm%2F0Po80iVRxWv418NwCWL5GLsv8Y1UuSg%3D",
	}
	ev, err := open(t, nil).Adapter.Receive(t.Context(), cb)
	if err != nil || ev.Attributes["email"] != "admin@example.com" {
		t.Errorf("Receive(V1-C) = %+v, %v, want the e-mail address", ev, err)
	}
}

func TestBodySignVector(t *testing.T) {
	t.Parallel()
	const body = `{"resultCode":"000000","resultMsg":"success.","instanceId":"03pf80c2bae96vc49b80b917bea776d7"}`
	for in, token := range map[string]string{
		body:        "bV+asWI4+3fMdE7mF98Y0SH4VJEwDuoyk18KDnSKdOA=",
		body + "\n": "IiKkTKRFZ/yRt3IZtptDFyLEbgVd7jthUMkQASGa8Gs=",
	} {
		want := `sign_type="HMAC-SHA256", signature= "` + token + `"`
		if got := bodySign(testKey, []byte(in)); got != want {
			t.Errorf("bodySign(%q) = %s, want %s", in, got, want)
		}
	}
}

func TestSHA1PRNGVectors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ key, want string }{
		{testKey, "de4d8faa015d2f51dc7ef7f781a1ad827806b46f0147514efdbe24f2e09a60f3"},
		{testKey, "de4d8faa015d2f51dc7ef7f781a1ad82"},
		{"abcde", "8dc54f2e15823c98aea063e339a5d4c53d1a471adbf839311f5083e7778f46fb"},
	} {
		if got := hex.EncodeToString(sha1PRNG([]byte(tt.key), len(tt.want)/2)); got != tt.want {
			t.Errorf("sha1PRNG(%q) = %s, want %s", tt.key, got, tt.want)
		}
	}
}

func TestAdvanceNeverStandsStill(t *testing.T) {
	t.Parallel()
	state, block := [20]byte{}, [20]byte{}
	for i := range block {
		block[i] = 0xff // with the carry of one: adds nothing to any byte
	}
	advance(&state, block)
	if state == [20]byte{} {
		t.Error("advance(0, -1) left the state unchanged, want it counted up")
	}
}

func TestDecrypt(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ field, want string }{
		{"ABCDEFGH123456781sVLtxn85NVnmzQFQfPo0SNSBRErJN1wgtbHc/ilLxA=", "admin@example.com"},
		{"ABCDEFGH123456787BMJA/TIy/sAQ+BhWqgyztEJ69cLWAIWYraQUjrLUpg=", "admin@example.com"},
		{"ABCDEFGH123456787BMJA/TIy/sAQ BhWqgyztEJ69cLWAIWYraQUjrLUpg=", "admin@example.com"},
		{"0000000000000000OvfcrKLha3DcRWGmFOJHOQ==", "P@ssw0rd!中文"},
	} {
		for _, encryptType := range []string{"1", "2"} {
			if got, ok := newFieldCipher(testKey, encryptType).decrypt(tt.field); !ok || got != tt.want {
				t.Errorf("decrypt(%s, type %s) = %q, %t, want %q", tt.field, encryptType, got, ok, tt.want)
			}
		}
	}
	for _, field := range []string{"", "0000000000000000", "0000000000000000!", "0000000000000000AAAA", "short"} {
		if got, ok := newFieldCipher(testKey, "1").decrypt(field); ok {
			t.Errorf("decrypt(%q) = %q, want it refused", field, got)
		}
	}
}

func TestSortedBody(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ in, want string }{
		{`{"b":"2","a":"1"}`, `{"a":"1","b":"2"}`},
		{` { "b" : null , "a" : { "z":1, "y":[ 2 ] } } `, `{"a":{"z":1,"y":[2]}}`},
		{`{"b<":"\u4e2d</>","a":1.50}`, `{"a":1.50,"b<":"\u4e2d</>"}`},
		{`{}`, ""}, {`{"a":null}`, ""}, {`{"a":1,"a":2}`, ""}, {`{"a":1}x`, ""}, {`{"a":1`, ""},
		{`[]`, ""}, {`null`, ""}, {``, ""}, {`{"a":}`, ""}, {`{1:2}`, ""},
	} {
		if got, _ := sortedBody([]byte(tt.in)); string(got) != tt.want {
			t.Errorf("sortedBody(%s) = %s, want %s", tt.in, got, tt.want)
		}
	}
}

func FuzzDecrypt(f *testing.F) {
	c := newFieldCipher(testKey, "1")
	f.Add("ABCDEFGH123456781sVLtxn85NVnmzQFQfPo0SNSBRErJN1wgtbHc/ilLxA=")
	f.Add("0000000000000000OvfcrKLha3DcRWGmFOJHOQ==")
	f.Fuzz(func(t *testing.T, field string) {
		if got, ok := c.decrypt(field); ok && len(got) >= len(field) {
			t.Errorf("decrypt(%q) = %q, longer than what it came from", field, got)
		}
	})
}
