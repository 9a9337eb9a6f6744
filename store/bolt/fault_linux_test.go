package bolt_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
	"cloudsettle/store/bolt"
)

// faultEnv tells this test binary to be the child of TestDiskFaults.
const faultEnv = "BOLT_TEST_FAULT"

// faultDeliveries is how many commits the child tries.
const faultDeliveries = 6

// TestDiskFaults lets single system calls of a child process fail and checks
// what the store said against what the next process finds. A commit is some
// pwrite64 of pages, fdatasync, one pwrite64 of a meta page, fdatasync.
func TestDiskFaults(t *testing.T) {
	if spec := os.Getenv(faultEnv); spec != "" {
		faultChild(spec)
	}
	if !canInject(t) {
		return
	}
	const survives, stops = false, true
	for _, c := range []struct {
		nr    int
		errno syscall.Errno
		calls []int
		stop  bool
	}{
		{unix.SYS_FDATASYNC, unix.EIO, []int{1, 2, 3, 4, 5, 6}, stops},
		{unix.SYS_FDATASYNC, unix.ENOSPC, []int{1, 3, 5}, survives}, // pages
		{unix.SYS_FDATASYNC, unix.ENOSPC, []int{2, 4, 6}, stops},    // meta pages: visible already
		{unix.SYS_PWRITE64, unix.ENOSPC, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}, survives},
		{unix.SYS_PWRITE64, unix.EDQUOT, []int{1, 7}, survives},
		{unix.SYS_PWRITE64, unix.EIO, []int{1, 2, 3, 4, 5, 6, 7}, stops},
	} {
		for _, n := range c.calls {
			spec := fmt.Sprintf("%d %d %d", c.nr, n, int(c.errno))
			t.Run(fmt.Sprintf("call %d, number %d, %v", c.nr, n, c.errno), func(t *testing.T) {
				t.Parallel()
				checkFault(t, spec, c.stop)
			})
		}
	}
}

// checkFault runs a child with one fault and compares.
func checkFault(t *testing.T, spec string, stop bool) {
	path := place(t)
	acked, refused, failed := runFaultChild(t, spec, path)
	switch {
	case failed != stop:
		t.Errorf("the store stopped for good: %t, want %t (acknowledged %q, refused %q)", failed, stop, acked, refused)
	case !stop && (len(refused) != 1 || len(acked) != faultDeliveries-1):
		t.Errorf("acknowledged %q, refused %q, want one refused and the store to go on", acked, refused)
	case stop && (len(refused) == 0 || slices.Max(append(acked, "")) > slices.Min(refused)):
		t.Errorf("acknowledged %q, refused %q, want nothing acknowledged after the first refusal", acked, refused)
	}
	s := open(t, path)
	for _, name := range acked {
		if !settingThere(t, s, name) {
			t.Errorf("%s was acknowledged and is gone", name)
		}
	}
	for i, name := range refused {
		if settingThere(t, s, name) && (i > 0 || !stop) {
			t.Errorf("%s was refused and is there", name)
		}
	}
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("Check() = %v", err)
	}
}

// runFaultChild returns the deliveries that a child acknowledged and refused,
// and whether its store had stopped at the end.
func runFaultChild(t *testing.T, spec, path string) (acked, refused []string, failed bool) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestDiskFaults$")
	child.Env = append(os.Environ(), faultEnv+"="+spec+" "+path)
	var stderr bytes.Buffer
	child.Stderr = &stderr
	out, err := child.Output()
	if err != nil {
		t.Fatalf("the child: %v: %s%s", err, out, stderr.Bytes())
	}
	for line := range strings.Lines(string(out)) {
		word, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "ack":
			acked = append(acked, name)
		case "refuse":
			refused = append(refused, name)
		case "failed":
			failed = true
		default:
			t.Fatalf("the child says %q", line)
		}
	}
	return acked, refused, failed
}

// faultChild opens a store, makes one system call fail, and delivers.
func faultChild(spec string) {
	if spec == probe {
		probeChild()
	}
	var nr, n, errno int
	var path string
	fmt.Sscan(spec, &nr, &n, &errno, &path)
	s, err := bolt.Open(path)
	if err == nil {
		err = failCall(nr, n, syscall.Errno(errno))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for i := range faultDeliveries {
		name := fmt.Sprintf("delivery-%d", i)
		err := s.Update(context.Background(), func(ctx context.Context, tx core.Tx) error {
			entry := core.JournalEntry{ID: marketplace.CallbackID(name), Body: make([]byte, 3000)}
			return errors.Join(tx.PutSetting(ctx, name, "there"), tx.PutCallbackEntry(ctx, entry))
		})
		switch {
		case err == nil:
			fmt.Println("ack", name)
		case errors.Is(err, core.ErrUnavailable):
			fmt.Println("refuse", name)
		default:
			fmt.Println("error", err)
		}
	}
	select {
	case <-s.Failed():
		fmt.Println("failed")
		err := s.View(context.Background(), func(context.Context, core.ReadTx) error { return nil })
		if !errors.Is(err, core.ErrUnavailable) || !errors.Is(s.Err(), core.ErrUnavailable) {
			fmt.Println("View() after the failure =", err)
		}
	default:
		if err := errors.Join(s.Err(), s.Check(context.Background())); err != nil {
			fmt.Println("Check() =", err)
		}
	}
	if err := s.Close(); err != nil {
		fmt.Println("Close() =", err)
	}
	os.Exit(0)
}

// canInject reports whether this machine lets a process watch its own calls.
func canInject(t *testing.T) bool {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestDiskFaults$")
	child.Env = append(os.Environ(), faultEnv+"="+probe)
	if err := child.Run(); err != nil {
		t.Skipf("this machine does not allow seccomp notifications, so system calls cannot be made to fail: %v", err)
	}
	return true
}

// probe is the fault of a child that only tells whether injection works.
const probe = "probe"

// probeChild syncs a file three times, the second time in vain.
func probeChild() {
	f, err := os.CreateTemp("", "probe")
	if err != nil {
		os.Exit(1)
	}
	err = errors.Join(os.Remove(f.Name()), failCall(unix.SYS_FDATASYNC, 2, unix.EIO))
	sync := func() error { return unix.Fdatasync(int(f.Fd())) }
	if err != nil || sync() != nil || sync() != unix.EIO || sync() != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// seccomp_notif and seccomp_notif_resp of linux/seccomp.h.
type (
	notice struct {
		id         uint64
		pid, flags uint32
		nr         int32
		arch       uint32
		ip         uint64
		args       [6]uint64
	}
	verdict struct {
		id    uint64
		value int64
		errno int32
		flags uint32
	}
)

// failCall makes the nth system call nr of this process from now on fail. A
// filter hands these calls to a goroutine that counts. It cannot be undone.
func failCall(nr, n int, errno syscall.Errno) error {
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // the number of the call
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: uint32(nr)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	const flags = unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_TSYNC |
		unix.SECCOMP_FILTER_FLAG_TSYNC_ESRCH
	fd, _, failed := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags,
		uintptr(unsafe.Pointer(&filter)))
	if failed != 0 {
		return failed
	}
	go judgeCalls(fd, n, errno)
	return nil
}

// judgeCalls lets every call it is told of go on but the nth.
func judgeCalls(fd uintptr, n int, errno syscall.Errno) {
	for ; ; n-- {
		var in notice
		_, _, failed := unix.Syscall(unix.SYS_IOCTL, fd, unix.SECCOMP_IOCTL_NOTIF_RECV,
			uintptr(unsafe.Pointer(&in)))
		if failed != 0 {
			n++ // interrupted
			continue
		}
		out := verdict{id: in.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
		if n == 1 {
			out = verdict{id: in.id, errno: -int32(errno)}
		}
		_, _, _ = unix.Syscall(unix.SYS_IOCTL, fd, unix.SECCOMP_IOCTL_NOTIF_SEND,
			uintptr(unsafe.Pointer(&out)))
	}
}

// TestFullDisk fills a small file system and makes room again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := smallDisk(t)
	s := open(t, filepath.Join(dir, "db"))
	put := func(i int) error {
		return s.Update(t.Context(), func(ctx context.Context, tx core.Tx) error {
			return tx.PutSetting(ctx, fmt.Sprintf("setting-%04d", i), strings.Repeat("x", 64<<10))
		})
	}
	stored := 0
	for ; ; stored++ {
		err := put(stored)
		if err == nil {
			continue
		}
		if !errors.Is(err, core.ErrUnavailable) || !errors.Is(err, unix.ENOSPC) || s.Err() != nil {
			t.Fatalf("Update() on a full disk = %v, stopped: %v, want ErrUnavailable and no stop", err, s.Err())
		}
		break
	}
	there := func(i int) bool { return settingThere(t, s, fmt.Sprintf("setting-%04d", i)) }
	if there(stored) || !there(stored-1) {
		t.Error("the store holds other settings than those it took")
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal(err)
	}
	if err := put(stored); err != nil {
		t.Errorf("Update() with room again = %v, want nil", err)
	}
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("Check() = %v", err)
	}
}

// smallDisk mounts a file system of 2 MiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("a file system to fill cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}
