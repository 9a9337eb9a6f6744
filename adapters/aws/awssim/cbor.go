package awssim

import (
	"net/http"

	"github.com/aws/smithy-go/encoding/cbor"
)

// getEntitlementsCBOR serves the protocol that the Go SDK speaks since
// marketplaceentitlementservice v1.37.0: Smithy RPC v2 CBOR.
func (s *Simulator) getEntitlementsCBOR(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Smithy-Protocol", "rpc-v2-cbor")
	w.Header().Set("Content-Type", "application/cbor")
	body, fault := s.authentic(r)
	var out entitlementsResponse
	if fault == nil {
		var in entitlementsRequest
		if in, fault = decodeEntitlements(body); fault == nil {
			out, fault = s.entitlements(in)
		}
	}
	if fault != nil {
		w.WriteHeader(fault.status)
		_, _ = w.Write(cbor.Encode(cbor.Map{
			"__type":  cbor.String("com.amazonaws.marketplaceentitlementservice#" + fault.kind),
			"message": cbor.String(fault.message),
		}))
		return
	}
	_, _ = w.Write(cbor.Encode(encodeEntitlements(out)))
}

func decodeEntitlements(body []byte) (entitlementsRequest, *apiError) {
	var in entitlementsRequest
	v, err := cbor.Decode(body)
	m, ok := v.(cbor.Map)
	if err != nil || !ok {
		return in, &apiError{http.StatusBadRequest, "SerializationException", "the body is not a CBOR map"}
	}
	in.ProductCode, in.NextToken = text(m["ProductCode"]), text(m["NextToken"])
	if n, err := cbor.AsInt64(m["MaxResults"]); err == nil {
		in.MaxResults = &n
	}
	filter, _ := m["Filter"].(cbor.Map)
	in.Filter = map[string][]string{}
	for key, list := range filter {
		values, _ := list.(cbor.List)
		in.Filter[key] = []string{}
		for _, v := range values {
			in.Filter[key] = append(in.Filter[key], text(v))
		}
	}
	return in, nil
}

func text(v cbor.Value) string {
	s, _ := v.(cbor.String)
	return string(s)
}

func unsigned(n int64) cbor.Uint { return cbor.Uint(max(0, n)) } // #nosec -- not negative

// epochTag marks a time as seconds since 1970 (RFC 8949, 3.4.2).
const epochTag = 1

func encodeEntitlements(out entitlementsResponse) cbor.Map {
	list := cbor.List{}
	for _, g := range out.Entitlements {
		m := cbor.Map{
			"CustomerAWSAccountId": cbor.String(g.CustomerAWSAccountID),
			"Dimension":            cbor.String(g.Dimension),
			"ExpirationDate":       &cbor.Tag{ID: epochTag, Value: unsigned(g.ExpirationDate)},
			"LicenseArn":           cbor.String(g.LicenseArn),
			"ProductCode":          cbor.String(g.ProductCode),
			"Value":                cbor.Map{"IntegerValue": unsigned(int64(g.Value.IntegerValue))},
		}
		if g.CustomerIdentifier != "" {
			m["CustomerIdentifier"] = cbor.String(g.CustomerIdentifier)
		}
		list = append(list, m)
	}
	m := cbor.Map{"Entitlements": list}
	if out.NextToken != "" {
		m["NextToken"] = cbor.String(out.NextToken)
	}
	return m
}
