package marketplace_test

import (
	"testing"

	"cloudsettle/core/marketplace"
)

// A second freeze is lifted by what looks like a repeat of what lifted the
// first: a resumption does not say which it is.
func TestDecideLiftsASecondFreeze(t *testing.T) {
	t.Parallel()
	sub := apply([]marketplace.Event{bought}, day(0))
	expired, resumed := marketplace.Event{Kind: marketplace.Expired}, marketplace.Event{Kind: marketplace.Resumed}
	for n := range 3 {
		var result marketplace.Result
		if sub, _ = marketplace.Decide(sub, expired, day(10*n+1), "cb"); sub.Status != marketplace.StatusFrozen {
			t.Fatalf("after expiry %d: %s, want frozen", n, sub.Status)
		}
		if sub, _ = marketplace.Decide(sub, resumed, day(10*n+2), "cb"); sub.Status != marketplace.StatusActive {
			t.Fatalf("after resumption %d: %s, want active", n, sub.Status)
		}
		if sub, result = marketplace.Decide(sub, resumed, day(10*n+2), "cb"); result != marketplace.Duplicate {
			t.Errorf("repeat of resumption %d: %s, want duplicate", n, result)
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
