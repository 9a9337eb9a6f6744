//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cloudsettle/adapters"
	"cloudsettle/store/fresh"
)

// How the disk fails.
const (
	diskSize    = 24 << 20
	diskRoom    = 1 << 20 // what is free when the callbacks come
	enoughTold  = 5       // refusals to each marketplace before there is room again
	stopsWithin = 15 * time.Second
	mostSent    = 10_000 // until something must have failed
)

// TestFullDisk fills the disk under a server while callbacks come. Everybody is
// told to come again; when there is room, everything goes on.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	fresh.Own(t)
	dir := smallDisk(t)
	r := newRigOn(t, dir, "bolt:"+filepath.Join(dir, "db"))
	r.start()
	var next atomic.Int64
	filler := fill(t, filepath.Join(r.dir, "filler"))
	acked, refused := r.flood(&next, enoughTold)
	if r.status("/api/v1/subscriptions?limit=5") != http.StatusOK {
		t.Error("a full disk keeps people from reading")
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	for _, s := range refused {
		a := r.trigger(s.listing, s.event, s.params)
		if s.answer = a.Body; !a.Accepted {
			t.Errorf("%s %s with room again: %d %s %s, want it accepted", s.listing, s.event, a.Status, a.Body, a.Error)
		}
		acked = append(acked, s)
	}
	t.Logf("%d acknowledged, %d of them after a refusal", len(acked), len(refused))
	r.stand(acked)
}

// TestDiskErrors lets the disk fail to make data durable, once at a time. The
// server stops, for nobody knows what is on the disk, and starts again.
func TestDiskErrors(t *testing.T) {
	t.Parallel()
	fresh.Own(t)
	if _, err := exec.LookPath("strace"); err != nil {
		without(t, "strace, which makes system calls fail: %v", err)
	}
	r := newRig(t)
	r.start() // makes the store
	r.kill()
	var next atomic.Int64
	var acked []sent
	for _, n := range []int{1, 2, 3, 6, 11} {
		// -D leaves the server our child, which we can kill.
		r.start("strace", "-D", "-f", "-qq", "--seccomp-bpf", "-o", filepath.Join(r.dir, "strace"),
			"-e", "trace=fdatasync", "-e", fmt.Sprintf("inject=fdatasync:error=EIO:when=%d", n))
		a, refused := r.flood(&next, 1<<30)
		code, err := r.ended(stopsWithin)
		if err != nil || code == exitOK {
			t.Errorf("after an I/O error in call %d the server ended with %d, %v: %s", n, code, err, r.stderr)
		}
		if !bytes.Contains(r.stderr.Bytes(), []byte("input/output error")) {
			t.Errorf("the server does not say why it stopped: %s", r.stderr)
		}
		r.start()
		for _, s := range refused {
			again := r.trigger(s.listing, s.event, s.params)
			if s.answer = again.Body; !again.Accepted {
				t.Errorf("%s %s after the restart: %d %s, want it accepted", s.listing, s.event, again.Status, again.Body)
			}
			acked = append(acked, s)
		}
		acked = append(acked, a...)
		r.kill()
	}
	t.Logf("%d acknowledged", len(acked))
	r.start()
	r.stand(acked)
}

// flood sends callbacks until so many were refused to each marketplace, or
// nobody answers any more. It returns those that were acknowledged, with their
// answers, and the others.
func (r *rig) flood(next *atomic.Int64, enough int) (acked, refused []sent) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	told := map[string]int{}
	more := func() bool {
		return min(told["aws-main"], told["ali-cn"], told["hw-cn"]) < enough && len(acked) < mostSent
	}
	one := func() bool {
		s := callback(next.Add(1))
		a := r.trigger(s.listing, s.event, s.params)
		mu.Lock()
		defer mu.Unlock()
		if a.Accepted {
			s.answer = a.Body
			acked = append(acked, s)
			return more()
		}
		refused = append(refused, s)
		if a.Error == "" && !asksAgain(s.listing, a) {
			r.t.Errorf("%s %s: answered %d %s, want that it is sent again", s.listing, s.event, a.Status, a.Body)
		}
		told[s.listing]++
		return a.Error == "" && more()
	}
	for range crashWorkers {
		wg.Go(func() {
			for one() {
			}
		})
	}
	wg.Wait()
	if len(refused) == 0 {
		r.t.Errorf("%d callbacks were acknowledged and none refused: the disk did not fail", len(acked))
	}
	return acked, refused
}

// asksAgain reports whether an answer makes the marketplace send again.
func asksAgain(listing string, a adapters.SimAttempt) bool {
	switch listing {
	case "aws-main":
		return a.Status == http.StatusServiceUnavailable
	case "hw-cn":
		return strings.Contains(a.Body, `"000004"`) || strings.Contains(a.Body, `"000005"`)
	default:
		return a.Status >= http.StatusInternalServerError || strings.Contains(a.Body, `"instanceId":"0"`)
	}
}

// stand checks that everything acknowledged still is, by the server and, after
// it was killed, in the store.
func (r *rig) stand(acked []sent) {
	r.t.Helper()
	for _, s := range acked {
		if a := r.trigger(s.listing, s.event, s.params); a.Body != s.answer {
			r.t.Errorf("%s %s: answered %s %s, first %s", s.listing, s.event, a.Body, a.Error, s.answer)
		}
	}
	r.kill()
	r.checkOnce(acked)
	if code, stdout, stderr := runLine(r.t, "--config", r.config, "db", "check"); code != exitOK {
		r.t.Errorf("db check = %d %s%s", code, stdout, stderr)
	}
}

// status asks the server as its operator and returns the status.
func (r *rig) status(path string) int {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.url+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+bootstrap)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// smallDisk mounts a file system of diskSize.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", diskSize)); err != nil {
		without(t, "a file system to fill: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

// fill leaves diskRoom free and returns the file that holds the rest.
func fill(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	written := int64(0)
	for block := make([]byte, 64<<10); err == nil; {
		var n int
		n, err = f.Write(block)
		written += int64(n)
	}
	if !errors.Is(err, unix.ENOSPC) || written < diskRoom {
		t.Fatalf("the disk took %d bytes, then %v", written, err)
	}
	if err := f.Truncate(written - diskRoom); err != nil {
		t.Fatal(err)
	}
	return path
}

// without skips a test that this machine has not the means for. In CI it has.
func without(t *testing.T, what string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("there is no "+what, args...)
	}
	t.Skipf("there is no "+what, args...)
}
