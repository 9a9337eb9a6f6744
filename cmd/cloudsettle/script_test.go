package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"cloudsettle/store/fresh"
)

// TestScripts runs command lines as people type them, each script in a folder
// of its own with a configuration and free ports.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", RequireExplicitExec: true,
		Setup: scriptSetup(t),
		Condition: func(name string) (bool, error) {
			if name != "file" {
				return false, fmt.Errorf("there is no condition %q", name)
			}
			return fresh.InFile(t), nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": scriptExits, "await": scriptAwait,
		},
	})
}

// scriptSetup writes cloudsettle.yaml, which commands then find.
func scriptSetup(t *testing.T) func(*testscript.Env) error {
	t.Helper()
	return func(e *testscript.Env) error {
		public, admin := freePort(t), freePort(t)
		e.Setenv("URL", "http://"+public)
		e.Setenv("ADMIN", "http://"+admin)
		e.Setenv("CLOUDSETTLE_API_KEY", bootstrap)
		e.Setenv(bootstrapKey, bootstrap)
		path := filepath.Join(e.WorkDir, "cloudsettle.yaml")
		e.Setenv("CLOUDSETTLE_CONFIG", path)
		text := fmt.Sprintf(testConfig, public, admin, "http://"+public, fresh.URL(t, e.WorkDir), strings.Repeat("ab", 32))
		return os.WriteFile(path, []byte(text), 0o600)
	}
}

// scriptExits is "exits CODE PROGRAM ARG…": the program ends with that code.
func scriptExits(s *testscript.TestScript, neg bool, args []string) {
	code, err := strconv.Atoi(args[0])
	if neg || err != nil || len(args) < 2 {
		s.Fatalf("usage: exits CODE PROGRAM ARG…")
	}
	got := 0
	if err := s.Exec(args[1], args[2:]...); err != nil {
		var ended *exec.ExitError
		if !errors.As(err, &ended) {
			s.Fatalf("%v", err)
		}
		got = ended.ExitCode()
	}
	if got != code {
		s.Fatalf("%q exits with %d, want %d", args[1:], got, code)
	}
}

// scriptAwait is "await": the server in the background is ready.
func scriptAwait(s *testscript.TestScript, _ bool, _ []string) {
	for began := time.Now(); ; {
		resp, err := http.Get(s.Getenv("ADMIN") + readyPath)
		if err == nil {
			_ = resp.Body.Close()
		}
		if err == nil && resp.StatusCode == http.StatusOK {
			return
		}
		if time.Since(began) > 20*time.Second {
			s.Fatalf("the server is not ready: %v", err)
		}
		time.Sleep(5 * time.Millisecond) // there is nothing to wait on but the port
	}
}
