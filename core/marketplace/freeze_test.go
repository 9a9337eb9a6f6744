package marketplace_test

import (
	"testing"

	"cloudsettle/core/marketplace"
)

// A second freeze is lifted by what looks like a repeat of what lifted the
// first: neither a resumption nor a payment of arrears says which it is.
func TestDecideLiftsASecondFreeze(t *testing.T) {
	t.Parallel()
	payg := marketplace.Event{Kind: marketplace.Activated, Account: "1", SKU: "payg"}
	for _, tc := range []struct {
		name         string
		bought, lift marketplace.Event
	}{
		{"Resumed", bought, marketplace.Event{Kind: marketplace.Resumed}},
		{"ArrearsPaid", payg, marketplace.Event{Kind: marketplace.Renewed, Key: "1", Rank: "1"}},
	} {
		sub := apply([]marketplace.Event{tc.bought}, day(0))
		expired := marketplace.Event{Kind: marketplace.Expired}
		for n := range 3 {
			var result marketplace.Result
			if sub, _ = marketplace.Decide(sub, expired, day(10*n+1), "cb"); sub.Status != marketplace.StatusFrozen {
				t.Fatalf("%s: after expiry %d: %s, want frozen", tc.name, n, sub.Status)
			}
			if sub, _ = marketplace.Decide(sub, tc.lift, day(10*n+2), "cb"); sub.Status != marketplace.StatusActive {
				t.Fatalf("%s: after lift %d: %s, want active", tc.name, n, sub.Status)
			}
			if sub, result = marketplace.Decide(sub, tc.lift, day(10*n+2), "cb"); result != marketplace.Duplicate {
				t.Errorf("%s: repeat of lift %d: %s, want duplicate", tc.name, n, result)
			}
		}
	}
}

// A renewal that was refunded does not answer the expiry at the end of the
// term that is left.
func TestDecideExpiresAfterARefundedRenewal(t *testing.T) {
	t.Parallel()
	sub := apply([]marketplace.Event{
		bought, renewed("2", day(60)), {Kind: marketplace.RenewalRefunded, Key: "30", ExpiresAt: day(30)},
	}, day(1))
	sub, result := marketplace.Decide(sub, marketplace.Event{Kind: marketplace.Expired}, day(31), "cb")
	if sub.Status != marketplace.StatusFrozen || result != marketplace.Applied {
		t.Errorf("Decide(expired) = %s, %s, want applied and frozen", result, sub.Status)
	}
}
