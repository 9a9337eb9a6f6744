package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cloudsettle/core"
	"cloudsettle/store"
	"cloudsettle/store/postgres/pgtest"
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
		"", "bolt", "bolt:", "data/cloudsettle.db", "sqlite:x", "mysql://ann:secret@127.0.0.1:3306/db", "postgres:db",
		"postgres://ann:secret@127.0.0.1:port/db",
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

// TestOpenUnanswered: a database that does not answer is not a wrong URL, and
// its password is told to nobody.
func TestOpenUnanswered(t *testing.T) {
	t.Parallel()
	_, err := store.Open(t.Context(), "postgres://ann:secret@127.0.0.1:1/db?sslmode=disable")
	if !errors.Is(err, core.ErrUnavailable) || strings.Contains(err.Error(), "secret") {
		t.Errorf("Open() = %v, want ErrUnavailable without the password", err)
	}
}

func TestOpenPostgres(t *testing.T) {
	t.Parallel()
	s, err := store.Open(t.Context(), pgtest.New(t))
	if err != nil {
		t.Fatalf("Open(postgres:…) = %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close() = %v", err)
	}
}

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }
