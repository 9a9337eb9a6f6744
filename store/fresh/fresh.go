// Package fresh opens a new, empty store for a test that is about the program
// and not about one store: a file, or a database where TEST_STORE is postgres.
// A suite that gets its stores here runs on both.
//
// A package whose tests use it lets [pgtest.Main] run them, which stops the
// server that the databases were on.
package fresh

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"cloudsettle/core"
	"cloudsettle/store"
	"cloudsettle/store/postgres"
	"cloudsettle/store/postgres/pgtest"
)

// Env names the kind of store that tests run on: "bolt", which is the default,
// or "postgres".
const Env = "TEST_STORE"

// template is the database that new ones are copies of: making the tables of
// each takes five times as long.
const template = "template_store"

// conns bounds the connections of a store: many tests share the server.
const conns = "&pool_max_conns=8"

// migrated makes template once for each test binary.
var migrated sync.Once

// URL returns the URL of a store that is empty and gone after the test. A file
// is dir/db.
func URL(t testing.TB, dir string) string {
	t.Helper()
	if InFile(t) {
		return "bolt:" + filepath.Join(dir, "db")
	}
	server := pgtest.Shared(t)
	migrated.Do(func() { makeTemplate(t, server) })
	return server.Copy(t, template) + conns
}

// Open opens a store that is empty. After the test it is checked for damage,
// unless the test closed it, and closed.
func Open(t testing.TB) core.Store {
	t.Helper()
	s, err := store.Open(t.Context(), URL(t, t.TempDir()))
	if err != nil {
		t.Fatalf("open a fresh store: %v", err)
	}
	t.Cleanup(func() {
		err := s.Check(context.Background())
		if errors.Is(err, core.ErrUnavailable) {
			err = nil // the test closed it
		}
		if err := errors.Join(err, s.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Own marks a test that chooses its stores by itself. It runs with those of the
// default kind only, for with others it would do the same again.
func Own(t testing.TB) {
	t.Helper()
	if !InFile(t) {
		t.Skip("this test chooses its stores by itself")
	}
}

// InFile reports whether fresh stores are files.
func InFile(t testing.TB) bool {
	t.Helper()
	switch kind := os.Getenv(Env); kind {
	case "", "bolt":
		return true
	case "postgres":
		return false
	default:
		t.Fatalf("%s is %q, want bolt or postgres", Env, kind)
		return false
	}
}

func makeTemplate(t testing.TB, server *pgtest.Server) {
	t.Helper()
	url, err := server.Create(template)
	if err = errors.Join(err, server.Relax()); err != nil {
		t.Fatalf("make the template of databases: %v", err)
	}
	s, err := postgres.Open(t.Context(), url)
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		t.Fatalf("make the tables of the template: %v", err)
	}
}
