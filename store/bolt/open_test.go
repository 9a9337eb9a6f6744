package bolt_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"cloudsettle/core"
	"cloudsettle/store/bolt"
)

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	foreign := filepath.Join(dir, "foreign")
	if err := inFile(foreign, func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket([]byte("theirs"))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		path string
		want error
	}{
		"a text":                 {write("text", []byte(strings.Repeat("not a store\n", 4096))), core.ErrInvalid},
		"another program's file": {foreign, core.ErrInvalid},
		"a directory":            {dir, os.ErrInvalid},
		"a file inside a file":   {filepath.Join(write("file", []byte("x")), "db"), os.ErrInvalid},
	} {
		s, err := bolt.Open(c.path)
		if err == nil {
			t.Errorf("Open of %s succeeds", name)
			_ = s.Close()
			continue
		}
		if c.want == core.ErrInvalid && !errors.Is(err, c.want) {
			t.Errorf("Open of %s = %v, want %v", name, err, c.want)
		}
		if !strings.Contains(err.Error(), c.path) {
			t.Errorf("Open of %s = %v, want the path in it", name, err)
		}
	}
}

func TestOpenTwice(t *testing.T) {
	t.Parallel()
	path := place(t)
	open(t, path)
	_, err := bolt.Open(path)
	if !errors.Is(err, core.ErrUnavailable) || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("Open of an open store = %v, want ErrUnavailable and why", err)
	}
}

// TestOpenIsPrivate: nobody else on the machine may read the file.
func TestOpenIsPrivate(t *testing.T) {
	t.Parallel()
	path := place(t)
	open(t, path)
	for name, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700 | os.ModeDir} {
		info, err := os.Stat(name)
		if err != nil || info.Mode() != want {
			t.Errorf("%s has mode %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
}

// TestBackup: a backup taken while transactions go on is a store with a state
// between them.
func TestBackup(t *testing.T) {
	t.Parallel()
	s := open(t, place(t))
	put := func(name string) {
		err := s.Update(t.Context(), func(ctx context.Context, tx core.Tx) error {
			return tx.PutSetting(ctx, name, strings.Repeat("x", 9000))
		})
		if err != nil {
			t.Errorf("Update() = %v", err)
		}
	}
	put("before")
	var copied bytes.Buffer
	during := writerFunc(func(p []byte) (int, error) {
		put("during")
		return copied.Write(p)
	})
	n, err := s.Backup(t.Context(), during)
	if err != nil || n != int64(copied.Len()) {
		t.Fatalf("Backup() = %d, %v, want %d bytes", n, err, copied.Len())
	}
	path := filepath.Join(t.TempDir(), "copy")
	if err := os.WriteFile(path, copied.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	restored := open(t, path)
	if err := restored.Check(t.Context()); err != nil {
		t.Errorf("Check() of the copy = %v", err)
	}
	for name, want := range map[string]bool{"before": true, "during": false} {
		if got := settingThere(t, restored, name); got != want {
			t.Errorf("the copy holds %q: %t, want %t", name, got, want)
		}
	}
	canceled, cancel := context.WithCancel(t.Context())
	stopped := writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })
	if _, err := s.Backup(canceled, stopped); !errors.Is(err, context.Canceled) {
		t.Errorf("Backup(canceled) = %v, want Canceled", err)
	}
}

// writerFunc is an io.Writer.
type writerFunc func([]byte) (int, error)

// Write implements io.Writer.
func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// settingThere reports whether a setting is stored.
func settingThere(t *testing.T, s core.Store, name string) bool {
	t.Helper()
	_, err := core.InView(t.Context(), s, func(ctx context.Context, tx core.ReadTx) (string, error) {
		return tx.Setting(ctx, name)
	})
	if err != nil && !errors.Is(err, core.ErrNotFound) {
		t.Errorf("Setting(%s) = %v", name, err)
	}
	return err == nil
}
