package alibabasim

import (
	"net/url"
	"testing"
)

// The first vector is the one that the ECS documentation prints; the second was
// captured from the SDK.
func TestRPCSignature(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		method string
		values url.Values
		want   string
	}{
		{"GET", url.Values{
			"AccessKeyId": {"testid"}, "Action": {"DescribeRegions"}, "Format": {"XML"},
			"SignatureMethod": {"HMAC-SHA1"}, "SignatureNonce": {"3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf"},
			"SignatureVersion": {"1.0"}, "Timestamp": {"2016-02-23T12:46:24Z"}, "Version": {"2014-05-26"},
		}, "OLeaidS1JvxuMvnyHOwuJ+uX5qY="},
		{"POST", url.Values{
			"AccessKeyId": {"testid"}, "Action": {"PushMeteringData"}, "Format": {"JSON"},
			"Metering": {`[{"InstanceId":"1000001","StartTime":"1723771200","EndTime":"1723771800",` +
				`"Entities":[{"Key":"PeriodMin","Value":"96","meteringAssit":"cmapi00060317-PeriodMin-4"}]}]`},
			"RegionId": {"cn-hangzhou"}, "SignatureMethod": {"HMAC-SHA1"},
			"SignatureNonce": {"4f1ca51a829e0375e5c8f8081db868dd"}, "SignatureType": {""},
			"SignatureVersion": {"1.0"}, "Timestamp": {"2026-11-21T20:28:49Z"}, "Version": {"2015-11-01"},
		}, "KyTS+eAzjnh2Y0zgZk0CMVrEpHw="},
	} {
		if got := rpcSignature(tc.method, tc.values, "testsecret"); got != tc.want {
			t.Errorf("rpcSignature(%s) = %s, want %s", tc.values.Get("Action"), got, tc.want)
		}
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	values := map[string]string{"p1": "1", "p2": "2", "p3": "3", "token": "ignored"}
	if got, want := token(values, "isvkey"), "691b1c2be27485a87fb000de6f89f1d3"; got != want {
		t.Errorf("token() = %s, want %s", got, want)
	}
}
