package fresh_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"cloudsettle/core"
	"cloudsettle/store"
	"cloudsettle/store/fresh"
	"cloudsettle/store/postgres/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// TestFresh: each store is empty whatever was done to others, also when it is
// opened again, and is of the kind that was asked for.
func TestFresh(t *testing.T) {
	for kind, scheme := range map[string]string{"": "bolt:", "bolt": "bolt:", "postgres": "postgres://"} {
		t.Run(kind, func(t *testing.T) {
			t.Setenv(fresh.Env, kind)
			for range 2 {
				url := fresh.URL(t, t.TempDir())
				if !strings.HasPrefix(url, scheme) {
					t.Errorf("URL() = %s, want %s…", url, scheme)
				}
				for again := range 2 {
					s, err := store.Open(t.Context(), url)
					if err != nil {
						t.Fatal(err)
					}
					if has := used(t, s); has != (again > 0) {
						t.Errorf("opened %d times before, it was used: %t", again, has)
					}
					if err := s.Close(); err != nil {
						t.Error(err)
					}
				}
			}
			if used(t, fresh.Open(t)) {
				t.Error("Open() = a store that was used before")
			}
		})
	}
}

// used reports whether a store was used before, and uses it.
func used(t *testing.T, s core.Store) (was bool) {
	t.Helper()
	err := s.Update(t.Context(), func(ctx context.Context, tx core.Tx) error {
		_, err := tx.Setting(ctx, "used")
		if was = err == nil; err != nil && !errors.Is(err, core.ErrNotFound) {
			return err
		}
		return tx.PutSetting(ctx, "used", "yes")
	})
	if err != nil {
		t.Fatal(err)
	}
	return was
}
