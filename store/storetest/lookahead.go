package storetest

import (
	"context"
	"testing"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

// lookAhead: what is looked for after it was announced is found as if it had
// not been, also twice, and as it was written in between.
func lookAhead(t *testing.T, s core.Store) {
	buyer := fullCloudAccount()
	putSubscriptions(t, s, "sub_there", "sub_moved")
	update(t, s, func(ctx context.Context, tx core.Tx) error { return tx.PutCloudAccount(ctx, buyer) })
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		tx.LookAhead(listing, []string{"name of sub_there", "", "nobody", "name of sub_moved", "nobody", "\x00"}, []string{buyer.ProviderID, "none"})
		find := func(name string, want marketplace.SubscriptionID, rev uint64) {
			got, err := tx.SubscriptionByName(ctx, listing, name)
			if got.ID != want || got.Rev != rev || (err == nil) != (want != "") {
				t.Errorf("SubscriptionByName(%q) = %q at %d, %v, want %q at %d", name, got.ID, got.Rev, err, want, rev)
			}
		}
		for range 2 {
			find("nobody", "", 0)
			find("name of sub_there", "sub_there", 1)
			find("", "", 0)
		}
		acc, err := tx.CloudAccountByProvider(ctx, listing, buyer.ProviderID)
		if err != nil || acc.ID != buyer.ID {
			t.Errorf("CloudAccountByProvider() = %q, %v, want %q", acc.ID, err, buyer.ID)
		}
		moved, err := tx.Subscription(ctx, "sub_moved")
		moved.Subject = "nobody"
		if err := firstOf(err, tx.PutSubscription(ctx, moved)); err != nil {
			return err
		}
		find("name of sub_moved", "", 0)
		find("nobody", "sub_moved", 2)
		_, err = tx.CloudAccountByProvider(ctx, listing, "none")
		wantErr(t, "CloudAccountByProvider(none)", err, core.ErrNotFound)
		return nil
	})
	update(t, s, func(ctx context.Context, tx core.Tx) error { // the places that were held are free
		return tx.PutSubscription(ctx, subscription("none"))
	})
}
