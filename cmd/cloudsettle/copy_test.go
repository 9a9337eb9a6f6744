package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cloudsettle/store"
	"cloudsettle/store/fresh"
	"cloudsettle/store/postgres/pgtest"
	"cloudsettle/store/storetest"
)

// TestCopyOfBrokenStore: records that break what must be true are copied as
// they are, but the copy is not for use, and fails again when it goes on.
func TestCopyOfBrokenStore(t *testing.T) {
	fresh.Own(t)
	dir := t.TempDir()
	from, to := "bolt:"+filepath.Join(dir, "from.db"), "bolt:"+filepath.Join(dir, "to.db")
	s, err := store.Open(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	storetest.Fill(t, s) // a store holds whatever it is given
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		out, code := runCopy(t, dir, "db", "copy", from, to)
		if code != exitFailed || strings.Count(out, from+" breaks I") == 0 ||
			strings.Count(out, from+" breaks I") != strings.Count(out, to+" breaks I") {
			t.Errorf("db copy exits with %d:\n%s", code, out)
		}
	}
	t.Setenv("CLOUDSETTLE_STORE", to)
	if out, code := runCopy(t, dir, "subscriptions", "list"); code == exitOK || !strings.Contains(out, "was not finished") {
		t.Errorf("a command on half a copy exits with %d:\n%s", code, out)
	}
	if out, code := runCopy(t, dir, "serve"); code != exitFailed || !strings.Contains(out, "was not finished") {
		t.Errorf("serve on half a copy exits with %d:\n%s", code, out)
	}
}

// TestCopyToPostgresAndBack: what was done on a file goes on in a database, and
// on a file again.
func TestCopyToPostgresAndBack(t *testing.T) {
	fresh.Own(t)
	dir := t.TempDir()
	stores := []string{
		"bolt:" + filepath.Join(dir, "first.db"), pgtest.New(t), "bolt:" + filepath.Join(dir, "back.db"),
	}
	s, err := store.Open(t.Context(), stores[0])
	if err == nil {
		err = s.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	var listed string
	for i, url := range stores {
		t.Setenv("CLOUDSETTLE_STORE", url)
		list := mustRun(t, dir, "-o", "csv", "workspaces", "list")
		if i > 0 && list != listed {
			t.Errorf("store %d has\n%s, want\n%s", i, list, listed)
		}
		mustRun(t, dir, "workspaces", "create", fmt.Sprint("prod-", i), "--site", "cn1", "--owner-email", "dev@acme.example")
		listed = mustRun(t, dir, "-o", "csv", "workspaces", "list")
		if i+1 < len(stores) {
			mustRun(t, dir, "db", "copy", url, stores[i+1])
		}
	}
	if n := strings.Count(listed, "prod-"); n != len(stores) {
		t.Errorf("%d workspaces are listed, want %d:\n%s", n, len(stores), listed)
	}
}

// mustRun runs a command line that must succeed, and returns what it wrote.
func mustRun(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, code := runCopy(t, dir, args...)
	if code != exitOK {
		t.Fatalf("%q exits with %d:\n%s", args, code, out)
	}
	return out
}

// runCopy runs a command line and returns what it wrote and its exit code.
func runCopy(t *testing.T, dir string, args ...string) (string, int) {
	t.Helper()
	public, admin := freePort(t), freePort(t)
	path := filepath.Join(dir, "cloudsettle.yaml")
	text := fmt.Sprintf(testConfig, public, admin, "http://"+public, "bolt:"+filepath.Join(dir, "db"), strings.Repeat("ab", 32))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	code := run(t.Context(), append([]string{"--config", path}, args...), &out, &out)
	return out.String(), code
}
