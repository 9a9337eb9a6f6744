package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"go.yaml.in/yaml/v3"

	"cloudsettle/adapters"
	"cloudsettle/core"
	"cloudsettle/store"
)

// dbCmd looks after the store.
type dbCmd struct {
	Backup  backupCmd  `cmd:"" help:"Write a consistent copy, also while a server runs on a copy of the file system."`
	Restore restoreCmd `cmd:"" help:"Put a copy in place of a store that does not exist."`
	Check   checkCmd   `cmd:"" help:"Look for damage in the store's structure."`
	Compact compactCmd `cmd:"" help:"Rewrite the store without free space."`
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

// openStore opens the configured store. A server that runs has it locked; the
// error then says so.
func openStore(ctx context.Context, s *streams) (core.Store, Config, error) {
	cfg, err := loadConfig(s.config, devBase(s.config))
	if err != nil {
		return nil, cfg, err
	}
	st, err := store.Open(ctx, cfg.Store)
	return st, cfg, err
}

// Run writes a copy.
func (c *backupCmd) Run(ctx context.Context, s *streams) (err error) {
	st, _, err := openStore(ctx, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	b, ok := st.(backuper)
	if !ok {
		return errors.New("this store is backed up by its own tools")
	}
	f, err := os.OpenFile(c.To, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	n, err := b.Backup(ctx, io.MultiWriter(f, progress(s.err, "backup")))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%d bytes written to %s\n", n, c.To)
	return err
}

// progress shows how far a long command is, on a terminal.
func progress(w io.Writer, what string) io.Writer {
	f, ok := w.(*os.File)
	if !ok {
		return io.Discard
	}
	if st, err := f.Stat(); err != nil || st.Mode()&os.ModeCharDevice == 0 {
		return io.Discard
	}
	return progressbar.DefaultBytes(-1, what)
}

// boltPath returns the file of an embedded store.
func boltPath(cfg Config) (string, error) {
	path, ok := strings.CutPrefix(cfg.Store, "bolt:")
	if !ok {
		return "", fmt.Errorf("store %q is not an embedded one", cfg.Store)
	}
	return path, nil
}

// Run copies a backup into place and checks it.
func (c *restoreCmd) Run(ctx context.Context, s *streams) error {
	cfg, err := loadConfig(s.config, devBase(s.config))
	if err != nil {
		return err
	}
	path, err := boltPath(cfg)
	if err != nil {
		return err
	}
	if err := copyFile(c.From, path); err != nil {
		return err
	}
	return (&checkCmd{}).Run(ctx, s)
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
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // #nosec -- likewise
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Sync(), dst.Close())
}

// Run checks the store's structure.
func (c *checkCmd) Run(ctx context.Context, s *streams) (err error) {
	st, cfg, err := openStore(ctx, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	if err := st.Check(ctx); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s is sound\n", cfg.Store)
	return err
}

// Run rewrites the store and swaps the files.
func (c *compactCmd) Run(ctx context.Context, s *streams) error {
	st, cfg, err := openStore(ctx, s)
	if err != nil {
		return err
	}
	path, err := boltPath(cfg)
	k, ok := st.(compacter)
	if err != nil || !ok {
		return errors.Join(err, st.Close())
	}
	tmp := path + ".compact"
	if err := errors.Join(k.CompactTo(ctx, tmp), st.Close()); err != nil {
		return err
	}
	before, after := size(path), size(tmp)
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s: %d bytes, before %d\n", path, after, before)
	return err
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
	_, err = fmt.Fprintf(s.out, "%s has this version's schema\n", cfg.Store)
	return err
}

// confCmd checks or prints the configuration.
type confCmd struct {
	Check confCheckCmd `cmd:"" help:"Check the configuration, all problems at once."`
	Print confPrintCmd `cmd:"" help:"Print what is in effect, secrets left as references."`
}

type (
	confCheckCmd struct{}
	confPrintCmd struct{}
)

// Run checks the configuration as serve would.
func (c *confCheckCmd) Run(_ context.Context, s *streams) error {
	cfg, err := loadConfig(s.config, devBase(s.config))
	if err != nil {
		return err
	}
	if err := cfg.Validate(s.config == ""); err != nil {
		return err
	}
	if _, err := openable(cfg); err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "configuration is good: %d listings, %d sites\n", len(cfg.Listings), len(cfg.Sites))
	return err
}

// openable opens every adapter as serve would, without a store.
func openable(cfg Config) ([]core.Marketplace, error) {
	log, err := newLogger(io.Discard, cfg.LogLevel)
	if err != nil {
		return nil, err
	}
	return (&app{cfg: cfg, now: time.Now, log: log}).marketplaces()
}

// Run prints the configuration as YAML. References to secrets stay references;
// literal ones are masked.
func (c *confPrintCmd) Run(_ context.Context, s *streams) error {
	cfg, err := loadConfig(s.config, devBase(s.config))
	if err != nil {
		return err
	}
	for _, l := range cfg.Listings {
		mask(l)
	}
	out, err := yaml.Marshal(map[string]any{
		"listen": cfg.Listen, "admin_listen": cfg.AdminListen, "public_url": cfg.PublicURL, "store": cfg.Store,
		"master_key": masked("master_key", cfg.MasterKey), "log_level": cfg.LogLevel,
		"brand": cfg.Brand, "sites": cfg.Sites, "listings": cfg.Listings,
	})
	if err != nil {
		return err
	}
	_, err = s.out.Write(out)
	return err
}

func mask(m map[string]any) {
	for name, v := range m {
		if text, ok := v.(string); ok {
			m[name] = masked(name, text)
		}
	}
}

// masked hides a literal value whose name says that it is a secret.
func masked(name, value string) string {
	secretName := strings.Contains(name, "key") || strings.Contains(name, "secret") || strings.Contains(name, "password")
	if !secretName || value == "" || strings.HasPrefix(value, "env:") || strings.HasPrefix(value, "file:") {
		return value
	}
	return "***"
}

// doctorCmd checks whether this machine and configuration can serve.
type doctorCmd struct{}

// Run checks one thing after the other and says what to do about what fails.
func (c *doctorCmd) Run(ctx context.Context, s *streams) error {
	cfg, err := loadConfig(s.config, devBase(s.config))
	var failed error
	say := func(what string, err error) {
		mark := "ok"
		if err != nil {
			mark, failed = err.Error(), errors.New("not everything is in order")
		}
		_, _ = fmt.Fprintf(s.out, "%-14s %s\n", what, mark)
	}
	say("configuration", errors.Join(err, cfg.Validate(s.config == "")))
	_, err = openable(cfg)
	say("adapters", err)
	_, err = masterKey(cfg.MasterKey, false)
	say("master key", err)
	st, err := store.Open(ctx, cfg.Store)
	if err == nil {
		err = errors.Join(st.Check(ctx), st.Close())
	}
	say("store", err)
	public, admin, err := listen(ctx, cfg)
	if err == nil {
		err = errors.Join(public.Close(), admin.Close())
	}
	say("ports", err)
	say("marketplaces", knownProviders(cfg))
	return failed
}

func knownProviders(cfg Config) error {
	if len(cfg.Listings) == 0 {
		return fmt.Errorf("none is configured; there are adapters for %s", strings.Join(adapters.Names(), ", "))
	}
	return nil
}

// versionCmd prints the version.
type versionCmd struct{}

// Run prints the version that the module was built at.
func (c *versionCmd) Run(_ context.Context, s *streams) error {
	version := "devel"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
	_, err := fmt.Fprintf(s.out, "cloudsettle %s %s %s/%s\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}
