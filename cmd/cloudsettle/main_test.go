package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"cloudsettle/adapters"
	"cloudsettle/store/fresh"
	"cloudsettle/store/postgres/pgtest"
)

// childEnv makes the test binary behave as the program itself, so that a test
// can kill it.
const childEnv = "TEST_RUN_AS_CLOUDSETTLE"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		main()
	}
	testscript.Main(tests{m}, map[string]func(){"cloudsettle": main})
}

// tests are those of the package, and what is left to stop after them.
type tests struct{ *testing.M }

func (m tests) Run() int { return pgtest.Main(m.M) }

// bootstrap is the operator key of servers under test.
const bootstrap = "bootstrap-key-for-tests-0001"

// rig is a configuration on this machine with a server that can be started and
// killed, and a simulator for each listing.
type rig struct {
	t          *testing.T
	dir        string
	store      string // its URL
	config     string
	serve      []string // flags of serve
	url, admin string
	sims       map[string]adapters.Simulator
	child      *exec.Cmd
	stderr     *bytes.Buffer
}

// newRig writes a configuration with the three marketplaces. Nothing runs yet.
func newRig(t *testing.T) *rig {
	t.Helper()
	dir := t.TempDir()
	return newRigOn(t, dir, fresh.URL(t, dir))
}

// newRigOn is newRig with its files in dir, on a store.
func newRigOn(t *testing.T, dir, store string) *rig {
	t.Helper()
	public, admin := freePort(t), freePort(t)
	r := &rig{t: t, dir: dir, store: store, url: "http://" + public, admin: "http://" + admin, sims: map[string]adapters.Simulator{}}
	r.config = filepath.Join(dir, "cloudsettle.yaml")
	text := fmt.Sprintf(testConfig, public, admin, r.url, store, strings.Repeat("ab", 32))
	if err := os.WriteFile(r.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := loadConfig(r.config, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range cfg.Listings {
		l, err := cfg.settings(raw)
		if err != nil {
			t.Fatal(err)
		}
		o := simOptions{now: time.Now, log: slog.New(slog.DiscardHandler)}
		sim, err := adapters.Simulate(l.Provider, simConfig(l, r.url, "", o))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = sim.Close() })
		r.sims[string(l.ID)] = sim
	}
	t.Cleanup(r.kill)
	return r
}

const testConfig = `
listen: %s
admin_listen: %s
public_url: %s
store: %s
master_key: %s
log_level: error
sites:
  - {code: cn1, name: China 1, time_zone: Asia/Shanghai, zone: CN, cloud: alibaba}
  - {code: cn4, name: China 4, time_zone: Asia/Shanghai, zone: CN, cloud: huawei}
  - {code: us1, name: US 1, time_zone: UTC, zone: INTL, cloud: aws}
listings:
  - {id: aws-main, provider: aws, product_code: aw4fgf5tyo5w2ap6fexample, region: us-east-1, access_key_id: AKIDEXAMPLE,
     secret_access_key: secret, event_api_key: event-key-0001, currency: USD}
  - {id: ali-cn, provider: alibaba, site: cn, product_code: cmgj00012345, spi_key: spi-key-0001, currency: CNY}
  - {id: hw-cn, provider: huawei, site: cn, product_code: OFFI1, key: hw-key-0001, access_key_id: ak, secret_access_key: sk,
     currency: CNY}
`

// The ports of servers under test: below those that the kernel gives to clients,
// one of which would keep a server from starting again.
const (
	firstPort = 20000
	portPairs = 6000
)

// freePort returns an address on this machine that is this test's until it ends,
// also while its server is down: the next port is taken as a sign.
func freePort(t *testing.T) string {
	t.Helper()
	for range portPairs {
		port := firstPort + 2*rand.IntN(portPairs)
		sign, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+1))
		if err != nil {
			continue
		}
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil && ln.Close() == nil {
			t.Cleanup(func() { _ = sign.Close() })
			return ln.Addr().String()
		}
		_ = sign.Close()
	}
	t.Fatal("no port is free")
	return ""
}

// start starts the server in a process of its own and waits until it answers.
func (r *rig) start(wrap ...string) {
	r.t.Helper()
	args := append(wrap, os.Args[0], "serve", "--config", r.config)
	args = append(args, r.serve...)
	r.child = exec.Command(args[0], args[1:]...) // #nosec -- this very binary
	r.child.Env = append(os.Environ(), childEnv+"=1", bootstrapKey+"="+bootstrap)
	r.stderr = &bytes.Buffer{}
	r.child.Stderr = r.stderr
	if err := r.child.Start(); err != nil {
		r.t.Fatal(err)
	}
	for began := time.Now(); ; {
		resp, err := http.Get(r.admin + "/healthz")
		if err == nil {
			_ = resp.Body.Close()
			return
		}
		if time.Since(began) > 20*time.Second {
			r.kill()
			r.t.Fatalf("the server does not answer: %s", r.stderr)
		}
		time.Sleep(5 * time.Millisecond) // there is nothing to wait on but the port
	}
}

// kill ends the server as a power cut would, as far as processes go.
func (r *rig) kill() {
	if r.child == nil || r.child.Process == nil {
		return
	}
	_ = r.child.Process.Kill()
	_ = r.child.Wait()
	r.child = nil
}

// ended waits until the server ends by itself and returns its exit code.
func (r *rig) ended(within time.Duration) (int, error) {
	timer := time.AfterFunc(within, func() { _ = r.child.Process.Kill() })
	_ = r.child.Wait()
	if !timer.Stop() {
		return -1, fmt.Errorf("the server still ran after %s", within)
	}
	code := r.child.ProcessState.ExitCode()
	r.child = nil
	return code, nil
}

// trigger sends one callback and returns how it was answered.
func (r *rig) trigger(listing, event string, params map[string]string) adapters.SimAttempt {
	a, err := r.sims[listing].Trigger(context.Background(), event, params)
	if err != nil {
		r.t.Fatalf("trigger %s %s: %v", listing, event, err)
	}
	return a
}
