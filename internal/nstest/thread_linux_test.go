package nstest_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/nstest"
)

func netNS(t *testing.T) string {
	t.Helper()
	return readlink(t, "/proc/self/ns/net")
}

func readlink(t *testing.T, name string) string {
	t.Helper()
	s, err := os.Readlink(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNamespace(t *testing.T) {
	home := netNS(t)
	ns := nstest.NewNamespace(t)
	var inode unix.Stat_t
	if err := unix.Fstat(ns.FD(), &inode); err != nil {
		t.Fatal(err)
	}
	// Often, so that some of it meets the main thread.
	for range 100 {
		ns.Do(func() {
			var st unix.Stat_t
			if err := unix.Stat("/proc/thread-self/ns/net", &st); err != nil {
				t.Fatal(err)
			}
			if st.Ino != inode.Ino {
				t.Fatalf("Do runs in namespace %d, not in %d", st.Ino, inode.Ino)
			}
		})
		if now := netNS(t); now != home {
			t.Fatalf("the process moved from %s to %s", home, now)
		}
	}
	nstest.Pair(t, nstest.IPv4)
	ns.Do(func() {
		if rows := procTCP(t); len(rows) > 0 {
			t.Errorf("a new namespace has sockets: %v", rows)
		}
		c, _ := nstest.Pair(t, nstest.IPv4)
		nstest.Abort(t, c)
	})
}

// TestDoEndsTheTest has a test end inside Do, where it is another goroutine's business.
func TestDoEndsTheTest(t *testing.T) {
	ns := nstest.NewNamespace(t)
	after := false
	t.Run("ends", func(t *testing.T) {
		ns.Do(func() { t.SkipNow() })
		after = true
	})
	if after {
		t.Error("the test went on after SkipNow")
	}
}

func TestWithoutCaps(t *testing.T) {
	status := func() (caps, uid string) {
		b, err := os.ReadFile("/proc/thread-self/status")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			switch f[0] {
			case "CapInh:", "CapPrm:", "CapEff:", "CapAmb:":
				caps += strings.Trim(f[1], "0")
			case "Uid:":
				uid = f[2]
			}
		}
		return caps, uid
	}
	before, me := status()
	for range 20 {
		nstest.WithoutCaps(t, func() {
			caps, uid := status()
			if caps != "" {
				t.Errorf("capabilities %s are left", caps)
			}
			if m, err := os.ReadFile("/proc/self/uid_map"); err == nil && strings.Contains(string(m), "4294967295") && me == "0" && uid != "65534" {
				t.Errorf("uid %s, want 65534", uid)
			}
			if err := unix.Unshare(unix.CLONE_NEWNET); !errors.Is(err, unix.EPERM) {
				t.Errorf("unshare(CLONE_NEWNET): %v, want %v", err, unix.EPERM)
			}
			// What the library reads as an ordinary user must be there for the test as well.
			if _, err := os.ReadFile("/proc/thread-self/net/tcp"); err != nil {
				t.Error(err)
			}
		})
		if caps, uid := status(); caps != before || uid != me {
			t.Fatalf("afterwards: capabilities %s uid %s, before: %s %s", caps, uid, before, me)
		}
	}
}

func TestRequireRoot(t *testing.T) {
	t.Setenv("TIMEWAIT_REQUIRE", "")
	nstest.WithoutCaps(t, func() {
		var tb fakeTB
		nstest.RequireRoot(&tb)
		if tb.skipped == "" {
			t.Error("a thread without capabilities passes for root")
		}
	})
	if os.Getuid() != 0 {
		var tb fakeTB
		nstest.RequireRoot(&tb)
		if tb.skipped == "" {
			t.Errorf("uid %d passes for root", os.Getuid())
		}
	}
}

// TestClose closes what Cleanup would, so that it must not: the number may be another file's by then.
func TestClose(t *testing.T) {
	var reused int
	t.Run("pair", func(t *testing.T) {
		c, s := nstest.Pair(t, nstest.IPv4)
		nstest.Close(t, c)
		nstest.Abort(t, s)
		var err error
		if reused, err = unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			t.Fatal(err)
		}
		if reused != c && reused != s {
			nstest.Skip(t, "descriptors numbered from below: %d, after %d and %d", reused, c, s)
		}
	})
	if err := unix.Close(reused); err != nil {
		t.Errorf("descriptor %d was closed by Cleanup: %v", reused, err)
	}
}
