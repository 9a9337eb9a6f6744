package store_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloudsettle/core"
	"cloudsettle/store"
	"cloudsettle/store/postgres/pgtest"
	"cloudsettle/store/storetest"
)

// kinds are the stores that copies go between.
var kinds = map[string]func(t testing.TB) string{
	"bolt":     func(t testing.TB) string { return "bolt:" + filepath.Join(t.TempDir(), "cloudsettle.db") },
	"postgres": func(t testing.TB) string { return pgtest.New(t) + "&pool_max_conns=8" },
}

// eachWay runs a test for every pair of kinds, with urls of new stores.
func eachWay(t *testing.T, test func(t *testing.T, from, to string)) {
	t.Parallel()
	for from, makeFrom := range kinds {
		for to, makeTo := range kinds {
			t.Run(from+"-to-"+to, func(t *testing.T) {
				t.Parallel()
				test(t, makeFrom(t), makeTo(t))
			})
		}
	}
}

func openURL(t testing.TB, url string) core.Store {
	t.Helper()
	s, err := store.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func closeStore(t *testing.T, s core.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// mustCopy copies and finishes, and returns how many rows there are.
func mustCopy(t *testing.T, from, to core.Store) (rows int) {
	t.Helper()
	c := store.Copy{From: from, To: to}
	digests, err := c.Run(t.Context())
	if err != nil {
		t.Fatalf("Run() = %v", err)
	}
	for _, d := range digests {
		if !d.Same() || d.Rows == 0 {
			t.Errorf("%s: %d rows, %x and %x", d.Table, d.Rows, d.From, d.To)
		}
		rows += d.Rows
	}
	if err := errors.Join(c.Finish(t.Context()), to.Check(t.Context())); err != nil {
		t.Fatal(err)
	}
	return rows
}

// TestCopyThereAndBack: what comes back from another store is what was there.
func TestCopyThereAndBack(t *testing.T) {
	eachWay(t, func(t *testing.T, fromURL, toURL string) {
		from, to, back := openURL(t, fromURL), openURL(t, toURL), openURL(t, kinds["bolt"](t))
		storetest.Fill(t, from)
		n := mustCopy(t, from, to)
		if m := mustCopy(t, to, back); m != n {
			t.Errorf("%d rows went there and %d came back", n, m)
		}
		digests, err := (&store.Copy{From: from, To: openURL(t, kinds["bolt"](t))}).Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		again, err := (&store.Copy{From: back, To: openURL(t, kinds["bolt"](t))}).Run(t.Context())
		if err != nil || fmt.Sprint(digests) != fmt.Sprint(again) {
			t.Errorf("the digests of what came back are %v, %v, want %v", again, err, digests)
		}
		if err := store.CheckComplete(t.Context(), to); err != nil {
			t.Errorf("CheckComplete() of a finished copy = %v", err)
		}
		if _, err := (&store.Copy{From: from, To: to}).Run(t.Context()); !errors.Is(err, core.ErrConflict) {
			t.Errorf("Run() into a finished copy = %v, want ErrConflict", err)
		}
	})
}

// failing is a target that fails at one batch, before or after it is written.
type failing struct {
	core.Movable
	left    int
	written bool
}

var errKilled = errors.New("killed")

func (f *failing) PutRows(ctx context.Context, table string, rows []core.Row) error {
	if f.left--; f.left >= 0 {
		return f.Movable.PutRows(ctx, table, rows)
	}
	if f.written {
		return errors.Join(f.Movable.PutRows(ctx, table, rows), errKilled)
	}
	return errKilled
}

// TestCopyGoesOn: a copy that ends after any number of batches, with or without
// the last one written, is refused for use, goes on and ends as if nothing had been.
func TestCopyGoesOn(t *testing.T) {
	eachWay(t, func(t *testing.T, fromURL, toURL string) {
		from := openURL(t, fromURL)
		storetest.Fill(t, from)
		fails, again := 0, 0
		for done := false; !done; fails++ {
			to := openURL(t, toURL) // opened anew, as by another process
			f := &failing{Movable: to.(core.Movable), left: 3, written: fails%2 == 1}
			c := store.Copy{From: from, To: f, Moved: func(what string, n int) {
				if strings.HasPrefix(what, "copy ") {
					again += n
				}
			}}
			_, err := c.Run(t.Context())
			done = err == nil
			switch state := store.CheckComplete(t.Context(), to); {
			case !done && !errors.Is(err, errKilled):
				t.Fatalf("Run() = %v, want nil or what the target fails with", err)
			case !errors.Is(state, store.ErrUnfinished):
				t.Errorf("CheckComplete() = %v before Finish, want ErrUnfinished", state)
			case done:
				if err := c.Finish(t.Context()); err != nil {
					t.Error(err)
				}
			}
			closeStore(t, to)
		}
		if fails < 5 {
			t.Errorf("the copy was killed %d times, want more", fails-1)
		}
		to := openURL(t, toURL)
		if err := errors.Join(to.Check(t.Context()), store.CheckComplete(t.Context(), to)); err != nil {
			t.Error(err)
		}
		if n := mustCopy(t, to, openURL(t, kinds["bolt"](t))); again > n+3*fails {
			t.Errorf("%d rows were copied to have %d after %d kills: it did not go on where it was", again, n, fails)
		}
	})
}

// TestCopyFindsForgery: a row that is changed, added or missing in the target
// is found and named, and the copy may not be used.
func TestCopyFindsForgery(t *testing.T) {
	for what, c := range map[string]struct {
		table, key string
		forge      func(context.Context, core.Tx) error
	}{
		"changed": {"workspaces", "ws_2", func(ctx context.Context, tx core.Tx) error {
			w, err := tx.Workspace(ctx, "ws_2")
			w.OwnerEmail = "forger@example.com"
			return errors.Join(err, tx.PutWorkspace(ctx, w))
		}},
		"added": {"settings", "forged", func(ctx context.Context, tx core.Tx) error {
			return tx.PutSetting(ctx, "forged", "")
		}},
		"missing": {"tasks", "task_3", func(ctx context.Context, tx core.Tx) error {
			l := core.Lease{Holder: "forger", From: time.Now(), Until: time.Now().Add(time.Minute)}
			tasks, err := tx.LeaseTasks(ctx, "mail", l, 1)
			for _, task := range tasks {
				_, failed := tx.FinishTask(ctx, task)
				err = errors.Join(err, failed)
			}
			return err
		}},
	} {
		t.Run(what, func(t *testing.T) {
			eachWay(t, func(t *testing.T, fromURL, toURL string) {
				from, to := openURL(t, fromURL), openURL(t, toURL)
				storetest.Fill(t, from)
				copied := store.Copy{From: from, To: to}
				if _, err := copied.Run(t.Context()); err != nil {
					t.Fatal(err)
				}
				forger := store.Copy{From: from, To: &forged{to.(core.Movable), c.table, c.forge}}
				digests, err := forger.Run(t.Context())
				if !errors.Is(err, store.ErrDiffers) {
					t.Fatalf("Run() = %v, want ErrDiffers", err)
				}
				for _, d := range digests {
					if d.Same() != (d.Table != c.table) || d.Table == c.table && d.Differs != c.key {
						t.Errorf("%s differs at %q, want %s at %q only", d.Table, d.Differs, c.table, c.key)
					}
				}
				if err := store.CheckComplete(t.Context(), to); !errors.Is(err, store.ErrUnfinished) {
					t.Errorf("CheckComplete() = %v, want ErrUnfinished", err)
				}
			})
		})
	}
}

// forged is a target that somebody writes to as soon as a table is copied.
type forged struct {
	core.Movable
	table string
	forge func(context.Context, core.Tx) error
}

// Rows begins to be called when all is copied.
func (f *forged) Rows(ctx context.Context, table, after string, limit int) ([]core.Row, error) {
	if table == f.table && after == "" && f.forge != nil {
		forge := f.forge
		f.forge = nil
		if err := f.Update(ctx, forge); err != nil {
			return nil, err
		}
	}
	return f.Movable.Rows(ctx, table, after, limit)
}

// TestCopyRefuses: a target with something in it, and a source that is half a copy.
func TestCopyRefuses(t *testing.T) {
	eachWay(t, func(t *testing.T, fromURL, toURL string) {
		from, to := openURL(t, fromURL), openURL(t, toURL)
		err := to.Update(t.Context(), func(ctx context.Context, tx core.Tx) error { return tx.PutSetting(ctx, "a", "b") })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := (&store.Copy{From: from, To: to}).Run(t.Context()); !errors.Is(err, core.ErrConflict) {
			t.Errorf("Run() into a store with a setting = %v, want ErrConflict", err)
		}
		half := store.Copy{From: to, To: from}
		if _, err := half.Run(t.Context()); err != nil { // not finished
			t.Fatal(err)
		}
		if _, err := (&store.Copy{From: from, To: to}).Run(t.Context()); !errors.Is(err, store.ErrUnfinished) {
			t.Errorf("Run() of half a copy = %v, want ErrUnfinished", err)
		}
	})
}
