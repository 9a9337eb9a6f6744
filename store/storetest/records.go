package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/govalues/decimal"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/marketplace"
	"cloudsettle/core/usage"
	"cloudsettle/core/workspace"
)

const listing marketplace.ListingID = "ali-cn"

// subscription returns a known subscription with one name.
func subscription(id string) marketplace.Subscription {
	return marketplace.Subscription{
		ID: marketplace.SubscriptionID(id), Listing: listing, Provider: "cloud",
		Subject: "name of " + id, Account: "ca_1", Status: marketplace.StatusActive,
		CreatedAt: epoch, LastEventAt: epoch,
	}
}

// fullSubscription returns one with every field set.
func fullSubscription() marketplace.Subscription {
	yes := true
	return marketplace.Subscription{
		ID: "sub_full", Listing: listing, Provider: "cloud", Subject: "12345678",
		Also: []string{"agreement", "order"}, Account: "ca_1", Previous: "sub_before", Next: "sub_after",
		Facts: []marketplace.Fact{
			{
				Kind: marketplace.Activated, Key: "key", Rank: "0001", SeenAt: epoch, Callback: "cb_1",
				Trial: &yes, SKU: "pro", Quantity: 7, ExpiresAt: epoch.AddDate(1, 0, 0),
				Details: []marketplace.Attributed{{Name: "a", Value: "1"}, {Name: "b", Value: ""}},
			},
			{Kind: marketplace.Changed, SeenAt: epoch, Trial: new(bool), Quantity: -3},
		},
		Status: marketplace.StatusFrozen, SKU: "pro", Quantity: -9_000_000_000, Trial: true,
		ExpiresAt: epoch.AddDate(1, 0, 0), Replaced: true,
		CreatedAt: epoch, LastEventAt: epoch.Add(time.Microsecond),
	}
}

func fullCloudAccount() marketplace.Account {
	return marketplace.Account{
		ID: "ca_full", Listing: listing, Provider: "cloud", ProviderID: "000123456789012",
		Name: "Example Ltd", BillingAccount: "ba_1",
		Subscriptions: []marketplace.SubscriptionID{"sub_1", "sub_2"}, CreatedAt: epoch,
	}
}

func fullEntry() core.JournalEntry {
	no := false
	return core.JournalEntry{
		ID: "cb_full", Listing: listing, Kind: marketplace.Renewed, Action: "renewInstance",
		Delivery: "delivery", Verified: true, Result: marketplace.Applied, Reason: "because",
		Effects: []string{"one", "two"}, Subscription: "sub_1", Attempts: 3, ReceivedAt: epoch,
		Method: "GET", Endpoint: "events", RawQuery: "a=b&c=%E4%BA%91", Body: []byte("\x00\xff{\"raw\": true}\r\n"),
		Event: &marketplace.Event{
			Listing: listing, Provider: "cloud", Kind: marketplace.Renewed, Action: "renewInstance",
			Test: true, Delivery: "delivery", Nonce: "nonce", Subject: "subject", Also: []string{"also"},
			Proposed: "proposed", Previous: "previous", Subjects: []string{"x", "y"},
			Account: "000123456789012", AccountName: "Example Ltd", Key: "key", Rank: "rank",
			SKU: "pro", Quantity: 12, Trial: &no, ExpiresAt: epoch,
			Attributes: map[string]string{"b": "2", "a": ""}, Incomplete: true,
		},
	}
}

func billingAccount(id, user, email, phone string) account.Account {
	return account.Account{
		ID: account.ID(id), UserName: user, Email: email, Phone: phone, Currency: "CNY",
		ArbitrarySettlement: true, Certification: "Example Ltd", CreatedAt: epoch,
	}
}

func aWorkspace(id string) workspace.Workspace {
	return workspace.Workspace{
		ID: workspace.ID(id), Name: "prod", Site: "cn1", OwnerEmail: "dev@acme.example",
		OpenedBy: "cloud", LockedAt: epoch, CreatedAt: epoch,
	}
}

func aTask(id, kind string, due time.Time) core.Task {
	return core.Task{
		ID: id, Kind: kind, DueAt: due, Attempts: 2, LastError: "refused",
		Payload: []byte{0, 1, 255}, CreatedAt: epoch,
	}
}

func aKey(id, digest string) core.APIKey {
	return core.APIKey{
		ID: id, Name: "ci", Role: core.RoleAccount, BillingAccount: "ba_1", Digest: digest,
		Hint: "wxyz", CreatedAt: epoch, RevokedAt: epoch,
	}
}

// sample returns a sample of workspace "ws_1", an hour after epoch's day began.
func sample(item string, hour int, quantity string) usage.Sample {
	day := time.Date(epoch.Year(), epoch.Month(), epoch.Day(), 0, 0, 0, 0, time.UTC)
	return usage.Sample{
		Workspace: "ws_1", Item: item, Variant: "14d", Hour: day.Add(time.Duration(hour) * time.Hour),
		Quantity: decimal.MustParse(quantity),
	}
}

// putSubscriptions stores known subscriptions under ids.
func putSubscriptions(t testing.TB, s core.Store, ids ...string) {
	t.Helper()
	update(t, s, func(ctx context.Context, tx core.Tx) error {
		for _, id := range ids {
			if err := tx.PutSubscription(ctx, subscription(id)); err != nil {
				return fmt.Errorf("put %q: %w", id, err)
			}
		}
		return nil
	})
}

// subscriptionIDs returns the identifiers on a page of known subscriptions.
func subscriptionIDs(t testing.TB, s core.Store, l marketplace.ListingID, p core.Page) []string {
	t.Helper()
	return read(t, s, func(ctx context.Context, tx core.ReadTx) ([]string, error) {
		var ids []string
		for sub, err := range tx.Subscriptions(ctx, l, p) {
			if err != nil {
				return nil, err
			}
			ids = append(ids, string(sub.ID))
		}
		return ids, nil
	})
}
