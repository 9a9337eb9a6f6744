package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/schollz/progressbar/v3"

	"cloudsettle/core"
	"cloudsettle/store"
)

// dbCmd looks after the store.
type dbCmd struct {
	Backup  backupCmd  `cmd:"" help:"Write a consistent copy, also while the server runs."`
	Restore restoreCmd `cmd:"" help:"Put a copy in place of a store that does not exist."`
	Check   checkCmd   `cmd:"" help:"Look for damage in the store's structure, also while the server runs."`
	Compact compactCmd `cmd:"" help:"Rewrite the store without free space; the server must be stopped."`
	Migrate migrateCmd `cmd:"" help:"Bring the store to this version's schema."`
}

type (
	backupCmd struct {
		To string `arg:"" help:"File to write; it must not exist."`
	}
	restoreCmd struct {
		From string `arg:"" help:"File that backup wrote." type:"existingfile"`
	}
	checkCmd   struct{}
	compactCmd struct{}
	migrateCmd struct{}
)

// backuper is a store that can copy itself while it is used.
type backuper interface {
	Backup(ctx context.Context, w io.Writer) (int64, error)
}

// compacter is a store that can rewrite itself into a file.
type compacter interface {
	CompactTo(ctx context.Context, path string) error
}

// openStore opens the configured store, which must be there: looking after a
// store must not make one. Errors: ErrUnavailable if a running server has it.
func openStore(ctx context.Context, s *streams) (core.Store, Config, error) {
	cfg, err := s.load()
	if err == nil {
		err = storeThere(cfg)
	}
	if err != nil {
		return nil, cfg, err
	}
	st, err := store.Open(ctx, cfg.Store)
	return st, cfg, err
}

// storeThere returns os.ErrNotExist if there is no file of an embedded store.
func storeThere(cfg Config) error {
	path, ok := strings.CutPrefix(cfg.Store, "bolt:")
	if !ok {
		return nil
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("there is no store yet: %w", err)
	}
	return nil
}

// Run writes a copy: of the store, or through the server that has it open.
func (c *backupCmd) Run(ctx context.Context, s *streams, client *cli) (err error) {
	st, cfg, err := openStore(ctx, s)
	write := func(w io.Writer) (int64, error) { return client.liveAt(cfg).get(ctx, backupPath, w) }
	if err == nil {
		defer func() { err = errors.Join(err, st.Close()) }()
		b, ok := st.(backuper)
		if !ok {
			return errors.New("this store is backed up by its own tools")
		}
		write = func(w io.Writer) (int64, error) { return b.Backup(ctx, w) }
	} else if !errors.Is(err, core.ErrUnavailable) {
		return err
	}
	n, err := writeNew(c.To, s.err, write)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%d bytes written to %s\n", n, c.To)
	return err
}

// writeNew makes a durable file of what write writes. None is left behind if
// that fails: half a backup is worse than none.
func writeNew(path string, shown io.Writer, write func(io.Writer) (int64, error)) (int64, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // #nosec -- the operator names the file
	if err != nil {
		return 0, err
	}
	n, err := write(io.MultiWriter(f, progress(shown, "backup")))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return n, errors.Join(err, os.Remove(path))
	}
	return n, nil
}

// progress shows how far a long command is, on a terminal.
func progress(w io.Writer, what string) io.Writer {
	if !isTerminal(w) {
		return io.Discard
	}
	return progressbar.DefaultBytes(-1, what)
}

// storeName is a store as people may see it: the URL of a database may hold a
// password.
func storeName(store string) string {
	u, err := url.Parse(store)
	if err != nil {
		return "the store"
	}
	q := u.Query()
	if q.Has("password") {
		q.Set("password", "***")
		u.RawQuery = q.Encode()
	}
	return u.Redacted()
}

// boltPath returns the file of an embedded store.
func boltPath(cfg Config) (string, error) {
	path, ok := strings.CutPrefix(cfg.Store, "bolt:")
	if !ok {
		return "", fmt.Errorf("store %q is not an embedded one", storeName(cfg.Store))
	}
	return path, nil
}

// Run copies a backup into place once it has shown to be sound.
func (c *restoreCmd) Run(ctx context.Context, s *streams) error {
	cfg, err := s.load()
	if err != nil {
		return err
	}
	path, err := boltPath(cfg)
	if err != nil {
		return err
	}
	if err := storeThere(cfg); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s is there; stop the server and move the file away first: %w", path, cmp.Or(err, os.ErrExist))
	}
	tmp := path + ".restore"
	if err := errors.Join(removeOld(tmp), copyFile(c.From, tmp)); err != nil {
		return err
	}
	if err := soundFile(ctx, tmp); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := errors.Join(os.Rename(tmp, path), syncDir(filepath.Dir(path))); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s is sound and in place\n", path)
	return err
}

// soundFile looks for damage in a file that no server uses.
func soundFile(ctx context.Context, path string) error {
	st, err := store.Open(ctx, "bolt:"+path)
	if err != nil {
		return err
	}
	return errors.Join(st.Check(ctx), st.Close())
}

func copyFile(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	src, err := os.Open(from) // #nosec -- the operator names the file
	if err != nil {
		return err
	}
	defer func() { _ = src.Close() }()
	_, err = writeNew(to, io.Discard, func(w io.Writer) (int64, error) { return io.Copy(w, src) })
	return err
}

// Run checks the store's structure, or lets the server that has it open do it.
func (c *checkCmd) Run(ctx context.Context, s *streams, client *cli) error {
	st, cfg, err := openStore(ctx, s)
	switch {
	case err == nil:
		err = errors.Join(st.Check(ctx), st.Close())
	case errors.Is(err, core.ErrUnavailable):
		_, err = client.liveAt(cfg).get(ctx, checkPath, io.Discard)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s is sound\n", storeName(cfg.Store))
	return err
}

// Run rewrites the store and swaps the files.
func (c *compactCmd) Run(ctx context.Context, s *streams) error {
	st, cfg, err := openStore(ctx, s)
	if errors.Is(err, core.ErrUnavailable) {
		return fmt.Errorf("stop the server first: %w", err)
	}
	if err != nil {
		return err
	}
	k, ok := st.(compacter)
	path, err := boltPath(cfg)
	if !ok || err != nil {
		return errors.Join(errors.New("this store is compacted by its own tools"), st.Close())
	}
	before := size(path)
	// The store is let go last: a server that started between would write to
	// the file that is replaced.
	if err := errors.Join(replace(ctx, k, path), st.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s: %d bytes, before %d\n", path, size(path), before)
	return err
}

// replace puts what k holds in place of its own file.
func replace(ctx context.Context, k compacter, path string) error {
	tmp := path + ".compact"
	if err := errors.Join(removeOld(tmp), k.CompactTo(ctx, tmp)); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// removeOld removes what a run that was killed left behind.
func removeOld(tmp string) error {
	if err := os.Remove(tmp); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// syncDir makes a renamed file durable under its new name.
func syncDir(dir string) error {
	d, err := os.Open(dir) // #nosec -- the store's own
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func size(path string) int64 {
	st, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return st.Size()
}

// Run opens the store, which brings it to the current schema.
func (c *migrateCmd) Run(ctx context.Context, s *streams) error {
	st, cfg, err := openStore(ctx, s)
	if err != nil {
		return err
	}
	if err := st.Close(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s has this version's schema\n", storeName(cfg.Store))
	return err
}
