// Package pgtest runs a private PostgreSQL server for tests, from the
// distribution's package, and makes databases on it.
//
// There is one server for each test binary, started when the first test asks
// for a database. It keeps its promises: fsync is on, as where it counts, unless
// a package's tests [Server.Relax] it.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"
)

// startTimeout bounds how long a server takes to answer: a crashed one first
// replays its log.
const startTimeout = 60 * time.Second

// Server is a running PostgreSQL server.
type Server struct {
	bin  string // the directory of its programs
	dir  string // everything it writes
	port int
	cred *syscall.Credential // nil: as whoever runs the tests

	mu      sync.Mutex
	process *os.Process
	ended   chan struct{} // closed when process has ended
}

var (
	shared   *Server
	sharedMu sync.Mutex
	names    atomic.Int64
)

// New makes an empty database for t on the test binary's server and returns
// its URL. The database is dropped after the test. Without PostgreSQL the test
// is skipped, and fails where CI is set.
func New(t testing.TB) string {
	t.Helper()
	return Shared(t).Database(t)
}

// Shared returns the test binary's server.
func Shared(t testing.TB) *Server {
	t.Helper()
	sharedMu.Lock()
	defer sharedMu.Unlock()
	if shared == nil {
		shared = Start(t)
	}
	return shared
}

// Main runs the tests of a package, stops the server that they used, and
// returns the code to exit with. Goroutines that are left are a failure.
func Main(m *testing.M) int {
	code := m.Run()
	stop()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// stop stops the test binary's server, if there is one.
func stop() {
	sharedMu.Lock()
	defer sharedMu.Unlock()
	if shared != nil {
		shared.Remove()
		shared = nil
	}
}

// Start makes and starts a server of its own, for tests that stop it. The
// caller calls Remove.
func Start(t testing.TB) *Server {
	t.Helper()
	bin, err := programs()
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	s := &Server{bin: bin}
	if err := s.make(); err != nil {
		s.Remove()
		t.Fatalf("make a PostgreSQL server: %v", err)
	}
	if err := s.Run(); err != nil {
		s.Remove()
		t.Fatalf("start a PostgreSQL server: %v", err)
	}
	return s
}

// programs returns the directory of the newest server's programs.
func programs() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		if path, err := exec.LookPath("initdb"); err == nil {
			found = []string{path}
		}
	}
	if len(found) == 0 {
		return "", errors.New("PostgreSQL is not installed (package postgresql)")
	}
	slices.Sort(found)
	return filepath.Dir(found[len(found)-1]), nil
}

// make initializes the server's directory. The server refuses to run as root.
func (s *Server) make() (err error) {
	if s.dir, err = os.MkdirTemp("", "pgtest"); err != nil {
		return err
	}
	if os.Getuid() == 0 {
		if s.cred, err = credential("postgres"); err != nil {
			return err
		}
		if err = os.Chown(s.dir, int(s.cred.Uid), int(s.cred.Gid)); err != nil {
			return err
		}
	}
	if s.port, err = freePort(); err != nil {
		return err
	}
	return s.command("initdb", "-D", s.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync").Run()
}

func credential(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
	gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(errUID, errGID)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) command(name string, args ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(s.bin, name), args...) // #nosec -- the tests' own programs
	c.Dir = s.dir
	c.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred, Setpgid: true}
	return c
}

// Run starts the server and waits until it answers.
func (s *Server) Run() error {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	c := s.command("postgres", "-D", s.data(), "-k", s.dir, "-p", strconv.Itoa(s.port),
		"-c", "listen_addresses=127.0.0.1", "-c", "max_connections=300", "-c", "max_locks_per_transaction=256")
	c.Stdout, c.Stderr = log, log
	c.SysProcAttr.Pdeathsig = syscall.SIGQUIT // nothing is left when the tests are killed
	started := make(chan error)
	ended := make(chan struct{})
	go func() {
		runtime.LockOSThread() // the signal comes when this thread ends
		err := c.Start()
		started <- err
		if err == nil {
			_ = c.Wait()
		}
		close(ended)
	}()
	if err := <-started; err != nil {
		return err
	}
	s.mu.Lock()
	s.process, s.ended = c.Process, ended
	s.mu.Unlock()
	return s.await(ended)
}

// await waits until the server answers.
func (s *Server) await(ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.do(ctx, func(*pgx.Conn) error { return nil })
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ended:
			log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			return fmt.Errorf("the server ended: %w: %s", err, log)
		case <-ctx.Done():
			return err
		}
	}
}

// Crash stops the server at once, as a power cut would for all but the disk.
func (s *Server) Crash() { s.stop(syscall.SIGQUIT) }

// stop ends the server with a signal and waits for it.
func (s *Server) stop(signal os.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil {
		return
	}
	_ = s.process.Signal(signal)
	<-s.ended
	s.process = nil
}

// Remove stops the server and removes all it wrote.
func (s *Server) Remove() {
	s.Crash()
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

// Addr is where the server listens.
func (s *Server) Addr() string { return "127.0.0.1:" + strconv.Itoa(s.port) }

// At returns url with the server reached through addr, such as a proxy.
func (s *Server) At(addr, url string) string { return strings.Replace(url, s.Addr(), addr, 1) }

// Database makes an empty schema, which is to a store what a database is and is
// made and dropped much faster. It is dropped after the test.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := newName()
	if err := s.exec("create schema " + name); err != nil {
		t.Fatalf("make a schema: %v", err)
	}
	t.Cleanup(func() {
		if err := s.exec("drop schema " + name + " cascade"); err != nil {
			t.Errorf("drop a schema: %v", err)
		}
	})
	return s.URL() + "&search_path=" + name
}

// Relax lets the server go on before the disk has what it wrote: for tests that
// are about what the program does, not about a machine that stops. Making and
// dropping databases would mostly wait for the disk.
func (s *Server) Relax() error {
	return errors.Join(s.exec("alter system set fsync = off"), s.exec("select pg_reload_conf()"))
}

// Create makes a database that stays until the server is removed, and returns
// its URL.
func (s *Server) Create(name string) (string, error) {
	return s.urlOf(name), s.exec("create database " + name)
}

// Copy makes a database with all that is in another one, which nobody may be
// using, and returns its URL. It is dropped after the test.
func (s *Server) Copy(t testing.TB, from string) string {
	t.Helper()
	name := newName()
	if err := s.exec("create database " + name + " template " + from); err != nil {
		t.Fatalf("copy a database: %v", err)
	}
	t.Cleanup(func() {
		if err := s.exec("drop database " + name + " with (force)"); err != nil {
			t.Errorf("drop a database: %v", err)
		}
	})
	return s.urlOf(name)
}

func newName() string { return fmt.Sprintf("test_%d_%d", os.Getpid(), names.Add(1)) }

// exec runs a statement.
func (s *Server) exec(sql string) error {
	ctx := context.Background()
	return s.do(ctx, func(c *pgx.Conn) error {
		_, err := c.Exec(ctx, sql)
		return err
	})
}

// URL names the server's own database.
func (s *Server) URL() string { return s.urlOf("postgres") }

func (s *Server) urlOf(database string) string {
	return "postgres://postgres@" + s.Addr() + "/" + database + "?sslmode=disable"
}

// do runs fn on a connection to the server.
func (s *Server) do(ctx context.Context, fn func(*pgx.Conn) error) error {
	c, err := pgx.Connect(ctx, s.URL())
	if err != nil {
		return err
	}
	return errors.Join(fn(c), c.Close(ctx))
}
