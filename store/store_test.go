package store_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"cloudsettle/core"
	"cloudsettle/store"
)

func TestOpen(t *testing.T) {
	t.Parallel()
	s, err := store.Open(t.Context(), "bolt:"+filepath.Join(t.TempDir(), "data", "cloudsettle.db"))
	if err != nil {
		t.Fatalf("Open(bolt:…) = %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"", "bolt", "bolt:", "data/cloudsettle.db", "sqlite:x", "postgres://ann:secret@127.0.0.1:5432/db",
	} {
		_, err := store.Open(t.Context(), url)
		if !errors.Is(err, core.ErrInvalid) {
			t.Errorf("Open(%q) = %v, want ErrInvalid", url, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("Open(%q) = %v, want no password in it", url, err)
		}
	}
}
