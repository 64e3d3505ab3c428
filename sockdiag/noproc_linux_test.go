package sockdiag_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// Where /proc is missing, as in some sandboxes, a Client works on threads in the
// namespace of its Dial, and refuses to open a socket on any other.
func TestWithoutProc(t *testing.T) {
	nstest.RequireNamespace(t)
	if os.Getenv("TIMEWAIT_TEST_CHILD") == t.Name() {
		home, other := nstest.NewNamespace(t), nstest.NewNamespace(t) // as long as there is a /proc
		home.Do(func() { withoutProc(t, other) })
		return
	}
	// In a process with mounts of its own: every thread must miss /proc.
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "TIMEWAIT_TEST_CHILD="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		nstest.Skip(t, "a mount namespace: %v", err)
	}
	if _, why, skipped := strings.Cut(string(out), cannotHide); skipped {
		why, _, _ = strings.Cut(why, "\n")
		nstest.Skip(t, "a mount namespace without /proc:%s", why)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
}

const cannotHide = "cannot hide /proc:"

func withoutProc(t *testing.T, other *nstest.Namespace) {
	here := nstest.TimeWait(t, nstest.IPv4, 1)[0]
	var there nstest.Made
	other.Do(func() { there = nstest.TimeWait(t, nstest.IPv4, 1)[0] })
	release, err := sockdiag.RunningRelease()
	if err != nil {
		t.Fatal(err)
	}
	dialled := dial(t) // its files are opened when it counts, and then cannot be
	made := nstest.Many(t, nstest.IPv4, 400, 0)
	hideProc(t)
	if counts, err := dialled.Count(t.Context(), sockdiag.Query{}); err != nil || counts.Total() != uint64(len(made))+1 {
		t.Errorf("dialled while there was a /proc: Count %v, %v", counts, err)
	}

	c, err := sockdiag.Dial(nil)
	if !release.AtLeast(5, 14) {
		// SO_NETNS_COOKIE is missing too: nothing tells one namespace from another.
		if err == nil {
			t.Error("Dial where it cannot know its namespace: no error")
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	// counted looks twice, the second time within the first, on a socket that must
	// be opened. It returns the error of the second.
	counted := func(c *sockdiag.Client, want, not nstest.Made) (inner error) {
		t.Helper()
		seen := false
		for s, err := range c.Dump(t.Context(), sockdiag.Query{States: tcpstate.SetOf(tcpstate.TimeWait)}) {
			if err != nil {
				t.Fatal(err)
			}
			seen = seen || s.Cookie == want.Cookie
			if s.Cookie == not.Cookie {
				t.Error("a socket of another namespace")
			}
			counts, err := c.Count(t.Context(), sockdiag.Query{States: tcpstate.SetOf(tcpstate.TimeWait)})
			if inner = err; err == nil && counts[tcpstate.TimeWait] != 1 {
				t.Errorf("nested Count %v", counts)
			}
		}
		if !seen {
			t.Error("the socket of its namespace is missing")
		}
		return inner
	}
	for range 3 {
		if err := counted(c, here, there); err != nil {
			t.Errorf("nested: %v", err)
		}
	}
	if counts, err := c.Count(t.Context(), sockdiag.Query{}); err != nil || counts.Total() != uint64(len(made))+1 {
		t.Errorf("Count of everything: %v, %v", counts, err)
	}
	other.Do(func() {
		// Its idle sockets, of home, serve any thread; one opened here would not be
		// of home. (After the three rounds two are idle, so a third is needed.)
		for range c.Dump(t.Context(), sockdiag.Query{States: tcpstate.SetOf(tcpstate.TimeWait)}) {
			err := counted(c, here, there)
			var op *sockdiag.OpError
			if !errors.As(err, &op) || !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "namespace") {
				t.Errorf("on a thread of another namespace: %v", err)
			}
		}
		// But a Client that was dialled here is at home here.
		c, err := sockdiag.Dial(nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := counted(c, there, here); err != nil {
			t.Errorf("dialled in the other namespace: %v", err)
		}
	})
	if err := counted(c, here, there); err != nil {
		t.Errorf("back home: %v", err)
	}
	// A namespace that is named cannot be compared with the thread's own.
	if c, err := sockdiag.Dial(&sockdiag.Config{NetNS: other.FD()}); err == nil {
		if err := counted(c, there, here); err != nil {
			t.Errorf("dialled by descriptor: %v", err)
		}
		_ = c.Close()
	} else if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Dial by descriptor: %v", err)
	}
}

// hideProc covers /proc for as long as the test lasts, in a process that has a
// mount namespace of its own.
func hideProc(t *testing.T) {
	t.Helper()
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(cannotHide, err)
	}
	if err := unix.Mount("tmpfs", "/proc", "tmpfs", 0, ""); err != nil {
		t.Fatal(cannotHide, err)
	}
	t.Cleanup(func() { // The check for leaked descriptors looks into it.
		if err := unix.Unmount("/proc", unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if _, err := os.Stat("/proc/self"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("/proc is still there: %v", err)
	}
}
