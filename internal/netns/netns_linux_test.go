package netns_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/netns"
	"github.com/seed16c515c6/timewait/internal/nstest"
)

func TestMain(m *testing.M) { nstest.Main(m) }

// name is the kernel's name of the namespace behind a path, "net:[4026531840]".
func name(t *testing.T, path string) string {
	t.Helper()
	s, err := os.Readlink(path)
	if err != nil {
		t.Error(err) // not Fatal: Do would wait for the goroutine that it ends
	}
	return s
}

func nameOf(t *testing.T, fd int) string {
	t.Helper()
	return name(t, fmt.Sprintf("/proc/self/fd/%d", fd))
}

// here is the calling thread's.
const here = "/proc/thread-self/ns/net"

// threadsAtHome checks that every thread of the process is in the namespace of
// the first. One that could not be brought back may take a moment to end.
func threadsAtHome(t *testing.T) {
	t.Helper()
	home := name(t, "/proc/self/ns/net")
	var strays []string
	for range 200 {
		strays = nil
		threads, err := filepath.Glob("/proc/self/task/*/ns/net")
		if err != nil || len(threads) == 0 {
			t.Fatalf("no threads: %v", err)
		}
		for _, thread := range threads {
			if ns, err := os.Readlink(thread); err == nil && ns != home {
				strays = append(strays, thread+" "+ns)
			}
		}
		if strays == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("not in %s: %v", home, strays)
}

func TestCurrent(t *testing.T) {
	nstest.RequireNamespace(t)
	other := nstest.NewNamespace(t)
	other.Do(func() {
		ns, err := netns.Current()
		if err != nil {
			t.Fatal(err)
		}
		defer ns.Close()
		if got, want := nameOf(t, int(ns.Fd())), nameOf(t, other.FD()); got != want {
			t.Errorf("Current is %s, the thread is in %s", got, want)
		}
		if flags, err := unix.FcntlInt(ns.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("a child process would inherit it: %#x, %v", flags, err)
		}
	})
}

func TestDup(t *testing.T) {
	ns, err := netns.Current()
	if err != nil {
		t.Fatal(err)
	}
	fd := int(ns.Fd())
	dupFile, err := netns.Dup(fd)
	if err != nil {
		t.Fatal(err)
	}
	dup := int(dupFile.Fd())
	if dup == fd || nameOf(t, dup) != nameOf(t, fd) {
		t.Errorf("descriptor %d of %s, of %d of %s", dup, nameOf(t, dup), fd, nameOf(t, fd))
	}
	if flags, err := unix.FcntlInt(uintptr(dup), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("a child process would inherit it: %#x, %v", flags, err)
	}
	for _, f := range []*os.File{ns, dupFile} {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}

	for _, fd := range []int{fd, -1, 1 << 20} { // the first is closed by now
		if _, err := netns.Dup(fd); !errors.Is(err, unix.EBADF) || !strings.Contains(err.Error(), fmt.Sprint(fd)) {
			t.Errorf("Dup of a closed descriptor: %v", err)
		}
	}
	for _, path := range []string{os.DevNull, "/", "/proc/self/ns/uts", "/proc/self/ns/user", "/proc/self/status"} {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := netns.Dup(int(f.Fd())); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Dup of %s: %v", path, err)
		}
		_ = f.Close()
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	for _, fd := range pipe {
		if _, err := netns.Dup(fd); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Dup of a pipe: %v", err)
		}
		_ = unix.Close(fd)
	}
}

// Do runs on a thread in the namespace, whichever thread calls, says what fn
// said, and leaves every thread where it was.
func TestDo(t *testing.T) {
	nstest.RequireNamespace(t)
	home, err := netns.Current()
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	other := nstest.NewNamespace(t)
	check := func(fd int, want string) {
		calls := 0
		failed := errors.New("fn's own")
		if err := netns.Do(fd, func() error {
			calls++
			if got := name(t, here); got != want {
				t.Errorf("fn runs in %s, want %s", got, want)
			}
			return failed
		}); err != failed || calls != 1 {
			t.Errorf("Do returns %v, after %d calls", err, calls)
		}
		if err := netns.Do(fd, func() error { return nil }); err != nil {
			t.Error(err)
		}
	}
	homeName, otherName := nameOf(t, int(home.Fd())), nameOf(t, other.FD())
	if homeName == otherName {
		t.Fatal("two namespaces are needed")
	}

	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() {
			for range 50 {
				check(int(home.Fd()), homeName)
				check(other.FD(), otherName)
				if got := name(t, here); got != homeName {
					t.Errorf("after Do the caller is in %s", got)
				}
			}
		})
	}
	workers.Wait()
	threadsAtHome(t)

	other.Do(func() {
		check(int(home.Fd()), homeName)
		check(other.FD(), otherName)
		if got := name(t, here); got != otherName {
			t.Errorf("after Do the caller is in %s, was in %s", got, otherName)
		}
		// One inside the other.
		err := netns.Do(int(home.Fd()), func() error {
			return netns.Do(other.FD(), func() error {
				check(int(home.Fd()), homeName)
				return fs.ErrExist
			})
		})
		if err != fs.ErrExist {
			t.Errorf("nested: %v", err)
		}
	})
	threadsAtHome(t)
}

func TestDoErrors(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, fd := range []int{-1, 1 << 20, int(null.Fd())} {
		called := false
		if err := netns.Do(fd, func() error { called = true; return nil }); err == nil || called {
			t.Errorf("descriptor %d: %v, called %v", fd, err, called)
		}
	}
	threadsAtHome(t)
}

// Without privilege Do works in the namespace of the process, and says
// fs.ErrPermission of others.
func TestDoWithoutPrivilege(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.Unprivileged(t, func(t *testing.T, other int) {
		home, err := netns.Current()
		if err != nil {
			t.Fatal(err)
		}
		defer home.Close()
		called := 0
		fn := func() error { called++; return nil }
		if err := netns.Do(int(home.Fd()), fn); err != nil || called != 1 {
			t.Errorf("in the own namespace: %v, %d calls", err, called)
		}
		if err := netns.Do(other, fn); !errors.Is(err, fs.ErrPermission) || called != 1 {
			t.Errorf("in another: %v, %d calls", err, called)
		}
		threadsAtHome(t)
	})

	// And of a single thread.
	nstest.WithoutCaps(t, func() {
		home, err := netns.Current()
		if err != nil {
			t.Error(err)
			return
		}
		defer home.Close()
		if err := netns.Do(int(home.Fd()), func() error { return nil }); err != nil {
			t.Errorf("on a thread without capabilities: %v", err)
		}
	})
}
