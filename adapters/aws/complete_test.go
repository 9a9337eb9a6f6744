package aws_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/smithy-go/encoding/cbor"
	gocmp "github.com/google/go-cmp/cmp"

	"cloudsettle/adapters/aws"
	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

// wire captured from GetEntitlements of the Go SDK: one entitlement of 10 seats
// until 2026-12-27, and a refused filter.
const (
	oneEntitlement = "a16c456e7469746c656d656e747381a674437573746f6d65724157534163636f756e7449646c3834353733353238343133356944696d656e73696f6e6573656174736e45787069726174696f6e44617465c11a6b3055006a4c6963656e736541726e785061726e3a6177733a6c6963656e73652d6d616e616765723a3a3239343430363839313331313a6c6963656e73653a6c2d35316239633438663865383834376362396431633866343730383135356166636b50726f64756374436f646578186177347667663574796f357732617036666578616d706c656556616c7565a16c496e746567657256616c75650a"
	refusedFilter  = "a2665f5f747970657845636f6d2e616d617a6f6e6177732e6d61726b6574706c616365656e7469746c656d656e747365727669636523496e76616c6964506172616d65746572457863657074696f6e676d6573736167656a6261642066696c746572"
	noEntitlements = "a16c456e7469746c656d656e747380"
)

// entitlementService answers the requests in turn, and repeats the last one.
type entitlementService struct {
	answers  [][]byte
	down     bool
	requests []cbor.Map
}

func (s *entitlementService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if v, err := cbor.Decode(body); err == nil {
		s.requests = append(s.requests, v.(cbor.Map))
	}
	answer := s.answers[min(len(s.requests), len(s.answers))-1]
	w.Header().Set("Smithy-Protocol", "rpc-v2-cbor")
	w.Header().Set("Content-Type", "application/cbor")
	switch {
	case s.down:
		w.WriteHeader(http.StatusInternalServerError)
		return
	case bytes.Contains(answer, []byte("__type")):
		w.WriteHeader(http.StatusBadRequest)
	}
	_, _ = w.Write(answer)
}

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// entitling opens a listing whose entitlement service answers as told.
func entitling(t *testing.T, model string, answers ...[]byte) (core.Marketplace, *entitlementService) {
	t.Helper()
	s := &entitlementService{answers: answers}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	m, _ := market(t, map[string]any{"endpoint": srv.URL, "model": model})
	return m, s
}

func activated(t *testing.T, m core.Marketplace, fixture string) marketplace.Event {
	t.Helper()
	return receive(t, m, readFixture(t, fixture))
}

func TestCompleteAsksForTheLicense(t *testing.T) {
	t.Parallel()
	m, s := entitling(t, "contract", unhex(t, oneEntitlement))
	ev := activated(t, m, "bus-license-updated-full-arn")
	got, err := m.Completer.Complete(t.Context(), ev)
	if err != nil {
		t.Fatal(err)
	}
	want := ev
	want.Incomplete, want.SKU, want.Quantity = false, "seats", 10
	want.ExpiresAt = time.Date(2026, 12, 27, 0, 0, 0, 0, time.UTC)
	want.Attributes = map[string]string{"entitlement.seats": "10"}
	for k, v := range ev.Attributes {
		want.Attributes[k] = v
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("Complete() differs (-want +got):\n%s", diff)
	}
	request := cbor.Map{
		"ProductCode": cbor.String(productCode), "MaxResults": cbor.Uint(25),
		"Filter": cbor.Map{"LICENSE_ARN": cbor.List{cbor.String(license)}},
	}
	if diff := gocmp.Diff([]cbor.Map{request}, s.requests); diff != "" {
		t.Errorf("GetEntitlements was asked (-want +got):\n%s", diff)
	}
}

func TestCompleteRespellsTheLicense(t *testing.T) {
	t.Parallel()
	m, s := entitling(t, "contract", unhex(t, noEntitlements), unhex(t, oneEntitlement))
	ev := activated(t, m, "bus-license-updated")
	ev.Subject = "l-51b9c48f8e8847cb9d1c8f4708155afc"
	got, err := m.Completer.Complete(t.Context(), ev)
	if err != nil || got.Quantity != 10 {
		t.Errorf("Complete() = %+v, %v, want the entitlement found through the account", got, err)
	}
	var filters []cbor.Map
	for _, r := range s.requests {
		filters = append(filters, r["Filter"].(cbor.Map))
	}
	want := []cbor.Map{
		{"LICENSE_ARN": cbor.List{cbor.String("arn:aws:license-manager::123456789012:license:l-e52ca6f38bf84d0fafb8802ca15ac11x")}},
		{"CUSTOMER_AWS_ACCOUNT_ID": cbor.List{cbor.String("845735284135")}},
	}
	if diff := gocmp.Diff(want, filters); diff != "" {
		t.Errorf("GetEntitlements was asked (-want +got):\n%s", diff)
	}
}

func TestCompleteTakesNoOtherLicenseOfTheAccount(t *testing.T) {
	t.Parallel()
	m, _ := entitling(t, "contract", unhex(t, noEntitlements), unhex(t, oneEntitlement))
	got, err := m.Completer.Complete(t.Context(), activated(t, m, "bus-license-updated"))
	if err != nil || got.Quantity != 0 || got.Kind != marketplace.Activated {
		t.Errorf("Complete() = %+v, %v, want an activation without quantity", got, err)
	}
}

func TestCompletePagesThroughEmptyPages(t *testing.T) {
	t.Parallel()
	empty := cbor.Encode(cbor.Map{"Entitlements": cbor.List{}, "NextToken": cbor.String("more")})
	m, s := entitling(t, "contract", empty, empty, unhex(t, oneEntitlement))
	got, err := m.Completer.Complete(t.Context(), activated(t, m, "bus-license-updated-full-arn"))
	if err != nil || got.Quantity != 10 || len(s.requests) != 3 {
		t.Errorf("Complete() = quantity %d, %v after %d pages, want 10 after 3", got.Quantity, err, len(s.requests))
	}
	m, _ = entitling(t, "contract", empty)
	if _, err := m.Completer.Complete(t.Context(), activated(t, m, "bus-license-updated-full-arn")); !errors.Is(err, core.ErrUnavailable) {
		t.Errorf("Complete() = %v for endless pages, want ErrUnavailable", err)
	}
}

// entitlement is one of a dimension, as CBOR.
func entitlement(dimension string, value cbor.Map, expires uint64) cbor.Map {
	m := cbor.Map{
		"Dimension": cbor.String(dimension), "LicenseArn": cbor.String(license), "Value": value,
		"ProductCode": cbor.String(productCode), "CustomerAWSAccountId": cbor.String("845735284135"),
	}
	if expires > 0 {
		m["ExpirationDate"] = &cbor.Tag{ID: 1, Value: cbor.Uint(expires)}
	}
	return m
}

func TestCompleteKeepsEveryKindOfValue(t *testing.T) {
	t.Parallel()
	m, _ := entitling(t, "contract", cbor.Encode(cbor.Map{"Entitlements": cbor.List{
		entitlement("seats", cbor.Map{"IntegerValue": cbor.Uint(5)}, 1798329600),
		entitlement("sso", cbor.Map{"BooleanValue": cbor.Bool(true)}, 1798329600-86400),
		entitlement("ratio", cbor.Map{"DoubleValue": cbor.Float64(2.5)}, 0),
		entitlement("tier", cbor.Map{"StringValue": cbor.String("gold")}, 0),
		entitlement("void", cbor.Map{}, 0),
	}}))
	got, err := m.Completer.Complete(t.Context(), activated(t, m, "bus-license-updated-full-arn"))
	if err != nil {
		t.Fatal(err)
	}
	for dimension, want := range map[string]string{"seats": "5", "sso": "true", "ratio": "2.5", "tier": "gold", "void": ""} {
		if v := got.Attributes["entitlement."+dimension]; v != want {
			t.Errorf("entitlement %s = %q, want %q", dimension, v, want)
		}
	}
	if got.SKU != "ratio+seats+sso+tier+void" || got.Quantity != 0 {
		t.Errorf("SKU, quantity = %q, %d, want all dimensions and no common quantity", got.SKU, got.Quantity)
	}
	if want := time.Unix(1798329600, 0).UTC(); !got.ExpiresAt.Equal(want) {
		t.Errorf("ExpiresAt = %v, want the last end %v", got.ExpiresAt, want)
	}
}

func TestEntitlementUpdated(t *testing.T) {
	t.Parallel()
	open := cbor.Encode(cbor.Map{"Entitlements": cbor.List{entitlement("seats", cbor.Map{"IntegerValue": cbor.Uint(5)}, 0)}})
	past := cbor.Encode(cbor.Map{"Entitlements": cbor.List{entitlement("seats", cbor.Map{"IntegerValue": cbor.Uint(5)}, 86400)}})
	for _, c := range []struct {
		name, model string
		answer      []byte
		want        marketplace.Kind
	}{
		{"contract that is over", "contract", unhex(t, noEntitlements), marketplace.Ended},
		{"contract", "contract", unhex(t, oneEntitlement), marketplace.Activated},
		{"contract past the least it holds", "contract", past, marketplace.Activated},
		{"contract with consumption that is over", "contract_with_consumption", unhex(t, noEntitlements), marketplace.Ended},
		{"contract with consumption", "contract_with_consumption", unhex(t, oneEntitlement), marketplace.Retermed},
		{"contract with consumption without an end", "contract_with_consumption", open, marketplace.Changed},
	} {
		m, s := entitling(t, c.model, c.answer)
		ev := activated(t, m, "sns-entitlement-updated")
		if ev.Kind != marketplace.Changed || !ev.Incomplete {
			t.Errorf("%s: Receive() = %s, incomplete %t, want an incomplete change", c.name, ev.Kind, ev.Incomplete)
		}
		got, err := m.Completer.Complete(t.Context(), ev)
		if err != nil || got.Kind != c.want || got.Rank != ev.Rank || got.Incomplete {
			t.Errorf("%s: Complete() = %s rank %s, %v, want %s rank %s", c.name, got.Kind, got.Rank, err, c.want, ev.Rank)
		}
		if f := s.requests[0]["Filter"].(cbor.Map); f["CUSTOMER_IDENTIFIER"] == nil {
			t.Errorf("%s: GetEntitlements was filtered by %v, want the customer", c.name, f)
		}
	}
	m, _ := market(t, map[string]any{"model": "subscription"})
	if ev := activated(t, m, "sns-entitlement-updated"); ev.Kind != marketplace.Noted || ev.Incomplete {
		t.Errorf("usage-based product: Receive() = %s, want it noted: there is nothing to ask for", ev.Kind)
	}
}

func TestCompleteTellsOutageFromRefusal(t *testing.T) {
	t.Parallel()
	m, s := entitling(t, "contract", unhex(t, refusedFilter))
	ev := activated(t, m, "bus-license-updated-full-arn")
	if _, err := m.Completer.Complete(t.Context(), ev); !errors.Is(err, core.ErrInvalid) {
		t.Errorf("Complete() = %v for a refused filter, want ErrInvalid", err)
	}
	s.down = true
	got, err := m.Completer.Complete(t.Context(), ev)
	if !errors.Is(err, core.ErrUnavailable) || !got.Incomplete {
		t.Errorf("Complete() = %+v, %v while AWS is down, want ErrUnavailable and the event as it was", got, err)
	}
}

func TestCompleteLeavesWholeEventsAlone(t *testing.T) {
	t.Parallel()
	m, s := entitling(t, "contract", unhex(t, oneEntitlement))
	ev := activated(t, m, "bus-license-deprovisioned")
	got, err := m.Completer.Complete(t.Context(), ev)
	if diff := gocmp.Diff(ev, got); err != nil || diff != "" || len(s.requests) > 0 {
		t.Errorf("Complete() = %v after %d requests, differs %s", err, len(s.requests), diff)
	}
}

func TestLicenseID(t *testing.T) {
	t.Parallel()
	for arn, want := range map[string]string{
		license: "l-51b9c48f8e8847cb9d1c8f4708155afc",
		"aws:license-manager:us-east-1:123456789012:l-e52ca6f38bf84d0fafb8802ca15ac11x": "l-e52ca6f38bf84d0fafb8802ca15ac11x",
		"arn:aws:license-manager:us-east-1:123456789012:license/l-1":                    "l-1",
		"arn:aws-cn:license-manager::123456789012:license:l-1":                          "l-1",
		"l-1": "l-1",
		"":    "", "l-": "", "license": "", "arn:aws:license-manager::123456789012:license:": "",
		"arn:aws:license-manager::123456789012:license:l-1 ": "", "l-1\n": "", "l-ü": "", "x-1": "",
	} {
		if got := aws.LicenseID(arn); got != want {
			t.Errorf("licenseID(%q) = %q, want %q", arn, got, want)
		}
	}
}

func TestSpellARN(t *testing.T) {
	t.Parallel()
	const want = "arn:aws:license-manager::294406891311:license:l-1"
	for _, asSent := range []string{
		"aws:license-manager:us-east-1:294406891311:l-1", "arn:aws:license-manager:us-east-1:294406891311:l-1",
		"arn:aws:license-manager:us-east-1:294406891311:license:l-1", want,
	} {
		if got := aws.SpellARN(asSent); got != want {
			t.Errorf("spellARN(%q) = %q, want %q", asSent, got, want)
		}
	}
}

func TestRanksSortByTime(t *testing.T) {
	t.Parallel()
	inOrder := []string{
		"2022-07-28T21:23:58Z", "2022-07-28T21:23:58.1Z", "2022-07-28T21:23:58.317Z", "2022-07-29T01:23:59+02:00",
		"2022-07-28T23:24:00Z", "2026-01-01T00:00:00Z",
	}
	last := ""
	for _, at := range inOrder {
		got, err := aws.RankOf(at)
		if err != nil || got <= last || len(got) != len("2022-07-28T21:23:58.000000000Z") {
			t.Errorf("rankOf(%s) = %q, %v, want more than %q", at, got, err, last)
		}
		last = got
	}
	for _, at := range []string{"", "yesterday", "2022-07-28", "2022-13-01T00:00:00Z"} {
		if _, err := aws.RankOf(at); !errors.Is(err, core.ErrInvalid) {
			t.Errorf("rankOf(%q) = %v, want ErrInvalid", at, err)
		}
	}
}
