package aws_test

import (
	"slices"
	"strings"
	"testing"

	"cloudsettle/adapters/adaptertest"
	"cloudsettle/adapters/aws"
	"cloudsettle/core"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	endpoint := meteringService(t)
	adaptertest.Run(t, adaptertest.Harness{
		Open: func(tb testing.TB) core.Marketplace {
			m, _ := market(tb, map[string]any{"endpoint": endpoint})
			return m
		},
		At:  at,
		Dir: "testdata",
		// One of each kind of message; every byte of each is changed.
		Signed: func(name string) bool {
			return slices.Contains([]string{
				"sns-vector-1", "sns-vector-2", "sns-vector-3", "sns-subscribe-success-v2",
				"sns-subscription-confirmation", "sns-unsubscribe-confirmation",
			}, name)
		},
		UnsignedFields: []string{"UnsubscribeURL"},
		UnsignedQuery:  true,
		Secrets:        []string{"example-event-key", "example-secret", "tok+/=", "tok-expired"},
	})
}

func TestOpenReportsAllProblemsAtOnce(t *testing.T) {
	t.Parallel()
	_, err := aws.Open(settings(t, map[string]any{
		"id": "another", "provider": "gcp", "product_code": "", "model": "rent", "identity": "face", "secret_access_key": "",
		"sns_topics": []string{"*"}, "endpoint": "ftp://x", "signing_cert_hosts": []string{"127.0.0.1:1"},
		"signing_cert_chain": "half", "sns_domains": []string{"*.com"},
	}))
	if err == nil {
		t.Fatal("Open() accepts nonsense")
	}
	for _, want := range []string{
		"id:", "provider:", "product_code:", "model:", "identity:", "access_key_id", "sns_topics:", "endpoint:",
		"signing_cert_hosts:", "signing_cert_chain:", "sns_domains:",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("Open() = %v, want it to mention %s", err, want)
		}
	}
}

func TestOpenIsStrict(t *testing.T) {
	t.Parallel()
	for _, change := range []map[string]any{
		{"colour": "blue"}, {"metering": map[string]any{"colour": "blue"}}, {"sns_topics": "not a list"},
	} {
		if _, err := aws.Open(settings(t, change)); err == nil {
			t.Errorf("Open(%v) = nil, want an error", change)
		}
	}
}

func TestOpenTakesWhatTheContractDocuments(t *testing.T) {
	t.Parallel()
	s := settings(t, nil)
	s.Raw = []byte(`{"id":"aws-main","provider":"aws","site":"","product_code":"aw4fgf5tyo5w2ap6fexample",
		"region":"us-east-1","endpoint":"","access_key_id":"","secret_access_key":"","event_api_key":"",
		"sns_topics":[],"currency":"USD","on_release":"lock","metering":{"dimension":"usage_fee","unit_amount":"0.01"}}`)
	m, err := aws.Open(s)
	if err != nil {
		t.Fatal(err)
	}
	if m.Listing.Currency != "USD" || m.Listing.Provider != "aws" || m.Completer != nil || m.Feed != nil {
		t.Errorf("Open() = %+v, want a listing without entitlements and queue", m)
	}
}
