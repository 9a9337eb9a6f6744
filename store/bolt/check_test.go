package bolt_test

import (
	"context"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
	"cloudsettle/store/bolt"
)

// TestCheckFindsDamage changes a closed store behind its back.
func TestCheckFindsDamage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		damage func(*bbolt.Tx) error
		want   string
	}{
		"a name is lost": {func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("subscriptions_by_name")).Delete([]byte("aws-main\x00l-1"))
		}, "subscriptions_by_name leads from"},
		"a name leads elsewhere": {func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("subscriptions_by_name")).Put([]byte("aws-main\x00l-1"), []byte("sub_2"))
		}, `to "sub_2", want "sub_1"`},
		"a name leads to nothing": {func(tx *bbolt.Tx) error {
			return tx.Bucket([]byte("subscriptions_by_name")).Put([]byte("aws-main\x00l-2"), []byte("sub_2"))
		}, "subscriptions_by_name has 2 entries, want 1"},
		"a record is cut": {func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte("subscriptions"))
			value := b.Get([]byte("sub_1"))
			return b.Put([]byte("sub_1"), value[:len(value)-1])
		}, `subscriptions "sub_1"`},
		"nothing": {func(*bbolt.Tx) error { return nil }, ""},
	} {
		path := place(t)
		s, err := bolt.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		err = s.Update(t.Context(), func(ctx context.Context, tx core.Tx) error {
			return tx.PutSubscription(ctx, marketplace.Subscription{ID: "sub_1", Listing: "aws-main", Subject: "l-1"})
		})
		if err != nil || s.Close() != nil {
			t.Fatal(err)
		}
		if err := inFile(path, c.damage); err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := open(t, path).Check(t.Context()); err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s: Check() = %q, want %q in it", name, got, c.want)
		}
	}
}
