package bolt_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cloudsettle/core"
)

// TestCompactTo keeps what the store holds and drops what it held.
func TestCompactTo(t *testing.T) {
	t.Parallel()
	path := place(t)
	s := open(t, path)
	put := func(value string) {
		err := s.Update(t.Context(), func(ctx context.Context, tx core.Tx) error {
			for i := range 64 {
				if err := tx.PutSetting(ctx, fmt.Sprintf("setting-%02d", i), value); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	put(strings.Repeat("x", 32<<10))
	put("small")
	there := func(s core.Store, name string) bool {
		_, err := core.InView(t.Context(), s, func(ctx context.Context, tx core.ReadTx) (string, error) {
			return tx.Setting(ctx, name)
		})
		return err == nil
	}
	to := filepath.Join(filepath.Dir(path), "compact")
	if err := s.CompactTo(t.Context(), to); err != nil {
		t.Fatalf("CompactTo() = %v", err)
	}
	if before, after := fileSize(t, path), fileSize(t, to); after*4 > before {
		t.Errorf("CompactTo() made %d bytes of %d, want less than a quarter", after, before)
	}
	c := open(t, to)
	if err := c.Check(t.Context()); err != nil {
		t.Errorf("Check() of the new file = %v", err)
	}
	if !there(c, "setting-63") {
		t.Error("the new file lacks setting-63")
	}
	if err := s.CompactTo(t.Context(), to); err == nil {
		t.Error("CompactTo() onto a file that exists = nil, want an error")
	}
	if !there(c, "setting-00") {
		t.Error("CompactTo() harmed the file that existed")
	}
}

func fileSize(t *testing.T, path string) int64 {
	t.Helper()
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return st.Size()
}
