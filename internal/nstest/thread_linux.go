package nstest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// onThread calls fn on an OS thread that is never used again, so that fn may change what the kernel keeps for each
// thread. It returns when fn has. A FailNow or Skip inside fn ends the caller's goroutine too, as it does elsewhere;
// the caller must be the test's own goroutine then.
func onThread(fn func()) {
	returned, done := false, make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The main thread stands for the process in /proc/self, and outlives its goroutines: Go parks it
			// rather than ending it. Hold it until fn has run on another.
			defer runtime.UnlockOSThread()
			onThread(fn)
		} else {
			fn() // No UnlockOSThread: the thread ends with the goroutine.
		}
		returned = true
	}()
	<-done
	if !returned {
		runtime.Goexit()
	}
}

// Namespace is a network namespace beside that of the tests.
type Namespace struct{ file *os.File }

// NewNamespace makes a network namespace, with lo up, for as long as the test lasts. Where it is not allowed to, it
// skips.
func NewNamespace(t testing.TB) *Namespace {
	t.Helper()
	var n Namespace
	var err error
	onThread(func() {
		if err = unix.Unshare(unix.CLONE_NEWNET); err != nil {
			err = fmt.Errorf("unshare: %w", err)
			return
		}
		if n.file, err = os.Open("/proc/thread-self/ns/net"); err == nil {
			err = loopbackUp()
		}
	})
	if n.file != nil {
		t.Cleanup(func() { _ = n.file.Close() })
	}
	if err != nil {
		Skip(t, "a second network namespace: %v", err)
	}
	return &n
}

// FD returns the namespace's descriptor. It is closed when the test ends.
func (n *Namespace) FD() int { return int(n.file.Fd()) }

// Do calls fn on a thread of its own inside the namespace and returns when fn has. Goroutines that fn starts run
// outside.
func (n *Namespace) Do(fn func()) {
	onThread(func() {
		if err := unix.Setns(n.FD(), unix.CLONE_NEWNET); err != nil {
			panic(fmt.Sprintf("nstest: enter a namespace of our own: %v", err))
		}
		fn()
	})
}

// WithoutCaps calls fn on a thread of its own that has no capability in any set, and returns when fn has. Where user
// 65534 exists (as the machine's root; an ordinary user's namespace maps only itself) the thread also becomes that
// user, with no groups. Goroutines that fn starts run with the privilege of the process.
func WithoutCaps(t testing.TB, fn func()) {
	t.Helper()
	onThread(func() {
		if err := dropPrivilege(); err != nil {
			t.Fatal(err)
		}
		fn()
	})
}

// nobody is the user and group without privilege. It is also the kernel's overflow id, which fits 16 bits: the older
// calls of 32-bit machines take it too.
const nobody = 65534

// dropPrivilege drops it from the calling thread alone: package syscall would change every thread of the process.
func dropPrivilege() error {
	if mapped(nobody) {
		for _, c := range []struct {
			name string
			trap uintptr
			args [3]uintptr
		}{
			{"setgroups", unix.SYS_SETGROUPS, [3]uintptr{}},
			{"setresgid", unix.SYS_SETRESGID, [3]uintptr{nobody, nobody, nobody}},
			{"setresuid", unix.SYS_SETRESUID, [3]uintptr{nobody, nobody, nobody}},
		} {
			// Refused to an ordinary user, who has nothing to drop.
			_, _, e := unix.RawSyscall(c.trap, c.args[0], c.args[1], c.args[2])
			if e != 0 && unix.Geteuid() == 0 {
				return os.NewSyscallError(c.name, e)
			}
		}
		// The change of user made the process undumpable, which gives its files in /proc to root.
		if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil {
			return os.NewSyscallError("prctl", err)
		}
	}
	var none [2]unix.CapUserData
	if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]); err != nil {
		return os.NewSyscallError("capset", err)
	}
	return nil
}

// mapped reports whether the user namespace knows user id and group id.
func mapped(id uint32) bool {
	for _, name := range []string{"/proc/self/uid_map", "/proc/self/gid_map"} {
		if !mapHas(name, id) {
			return false
		}
	}
	return true
}

func mapHas(name string, id uint32) bool {
	f, err := os.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	for {
		var inside, outside, count uint32
		if _, err := fmt.Fscan(f, &inside, &outside, &count); err != nil {
			return false
		}
		if id >= inside && id-inside < count {
			return true
		}
	}
}

// RequireRoot skips the test (see Skip) unless the process has the privilege of the machine's root over networking,
// which the root of a user namespace has not. SO_RCVBUFFORCE is such a thing, and is what is tried.
func RequireRoot(t testing.TB) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(os.NewSyscallError("socket", err))
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 1<<16); err != nil {
		Skip(t, "CAP_NET_ADMIN over the machine: SO_RCVBUFFORCE: %v", err)
	}
}

// SkipWithoutUserNamespace skips the test (see Skip) where err is how a kernel refuses a process of a new user
// namespace: by a limit of zero, by policy, or for want of the feature.
func SkipWithoutUserNamespace(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EINVAL) {
		Skip(t, "a user namespace: %v", err)
	}
}

// childMark is the environment variable that names the test a child process is to run.
const childMark = "TIMEWAIT_TEST_CHILD"

// Unprivileged runs child in a process without privilege over the network namespaces of this one: of a user namespace
// that nothing is mapped into. (Of a thread without privilege the other threads would keep theirs.) The process is this
// test once more; the test must come to this call again and do nothing of note before it. child gets the descriptor of
// another network namespace.
func Unprivileged(t *testing.T, child func(t *testing.T, other int)) {
	t.Helper()
	const inherited = 3 // the first of ExtraFiles
	if os.Getenv(childMark) == t.Name() {
		child(t, inherited)
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), childMark+"="+t.Name())
	cmd.ExtraFiles = []*os.File{NewNamespace(t).file}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
	out, err := cmd.CombinedOutput()
	SkipWithoutUserNamespace(t, err)
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
}
