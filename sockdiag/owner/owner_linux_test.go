package owner_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/sockdiag/owner"
)

func TestMain(m *testing.M) { nstest.Main(m) }

// holderMark is the environment variable that makes the test binary a process
// that has its descriptors open until its input ends: "whole", or "leaderless"
// for one whose first thread ends before.
const holderMark = "TIMEWAIT_TEST_HOLDER"

func init() {
	kind := os.Getenv(holderMark)
	if kind == "" {
		return
	}
	hold := func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	if kind == "leaderless" {
		go hold()
		_, _, _ = unix.Syscall(unix.SYS_EXIT, 0, 0, 0) // init is on the first thread
	}
	hold()
}

// startHolder starts a process that has the socket open as descriptor 3, until
// stop is called.
func startHolder(t *testing.T, kind string, fd int) (pid int, stop func()) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), holderMark+"="+kind)
	cmd.ExtraFiles = []*os.File{file(t, fd)}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.ExtraFiles[0].Close()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			_ = in.Close()
			_ = cmd.Wait()
		}
	}
	t.Cleanup(stop)
	return cmd.Process.Pid, stop
}

// file duplicates a socket.
func file(t *testing.T, fd int) *os.File {
	t.Helper()
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(dup), "socket")
}

func inode(t *testing.T, fd int) uint32 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	return uint32(st.Ino)
}

func find(t *testing.T, inodes ...uint32) *owner.Owners {
	t.Helper()
	o, err := owner.Find(t.Context(), inodes...)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// holders are those of the socket, as ss would print them.
func holders(o *owner.Owners, inode uint32) (printed []string) {
	found, _ := o.Of(inode)
	for _, h := range found {
		printed = append(printed, h.String())
	}
	return printed
}

func comm(t *testing.T, pid int) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(string(b), "\n")
}

var (
	ssInode = regexp.MustCompile(` ino:(\d+)`)
	ssUsers = regexp.MustCompile(`\("[^"]*",pid=\d+,fd=\d+\)`)
)

// ss returns what ss prints of the holders of every socket in the namespace.
func ss(t *testing.T) map[uint32][]string {
	t.Helper()
	path, err := exec.LookPath("ss")
	if err != nil {
		nstest.Skip(t, "ss, of iproute2: %v", err)
	}
	out, err := exec.Command(path, "-Htanep").Output()
	if err != nil {
		t.Fatalf("ss: %v", err)
	}
	all := make(map[uint32][]string)
	for line := range strings.Lines(string(out)) {
		found := ssInode.FindStringSubmatch(line)
		if found == nil {
			continue
		}
		n, err := strconv.ParseUint(found[1], 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		all[uint32(n)] = ssUsers.FindAllString(line, -1)
	}
	return all
}

// Every socket that has an inode has the holders that ss -p finds, and that the
// test knows of.
func TestAsSS(t *testing.T) {
	nstest.RequireNamespace(t)
	want := make(map[uint32][]string)
	var inodes []uint32
	self := comm(t, os.Getpid())
	for _, family := range nstest.Families {
		for _, m := range nstest.States(t, family) {
			inodes = append(inodes, m.Inode)
			if m.Inode != 0 {
				want[m.Inode] = []string{fmt.Sprintf("(%q,pid=%d,fd=%d)", self, os.Getpid(), m.FD)}
			}
		}
	}
	shared, _ := nstest.Pair(t, nstest.IPv4)
	n := inode(t, shared)
	inodes = append(inodes, n)
	want[n] = []string{fmt.Sprintf("(%q,pid=%d,fd=%d)", self, os.Getpid(), shared)}
	for range 2 {
		pid, _ := startHolder(t, "whole", shared)
		want[n] = append(want[n], fmt.Sprintf("(%q,pid=%d,fd=3)", comm(t, pid), pid))
	}
	again := file(t, shared)
	defer again.Close()
	want[n] = append(want[n], fmt.Sprintf("(%q,pid=%d,fd=%d)", self, os.Getpid(), again.Fd()))

	o := find(t, inodes...)
	slow := ss(t)
	compared := 0
	for n, want := range want {
		got := holders(o, n)
		slices.Sort(want)
		if sorted := slices.Sorted(slices.Values(got)); !slices.Equal(sorted, want) {
			t.Errorf("socket %d: %v, want %v", n, got, want)
		}
		if _, verdict := o.Of(n); verdict != owner.Found {
			t.Errorf("socket %d: %v", n, verdict)
		}
		if users, listed := slow[n]; listed { // bound-only ones are not
			compared++
			slices.Sort(users)
			if !slices.Equal(users, want) {
				t.Errorf("socket %d: ss has %v, want %v", n, users, want)
			}
		}
	}
	if compared < 30 {
		t.Errorf("ss showed only %d of %d sockets", compared, len(want))
	}
	if got, verdict := o.Of(0); got != nil || verdict != owner.NoFile {
		t.Errorf("a socket without inode: %v, %v", got, verdict)
	}
	if o.Looked < 3 {
		t.Errorf("Looked is %d", o.Looked)
	}

	// What a program reads of itself, in the same words.
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	found, _ := o.Of(n)
	for _, h := range found {
		if p := h.Process; p.Cgroup == "" && len(groups) > 0 || p.Cgroup != "" && !strings.Contains(string(groups), ":"+p.Cgroup+"\n") {
			t.Errorf("%v is in cgroup %q, of %q", h, p.Cgroup, groups)
		}
	}
}

// A socket that is closed has no holder any more, though a peer may still see it:
// as orphan, as mini-socket. Nor has one whose only holder has ended.
func TestClosed(t *testing.T) {
	nstest.RequireNamespace(t)
	client, server := nstest.Pair(t, nstest.IPv4)
	c, s := inode(t, client), inode(t, server)
	pid, stop := startHolder(t, "whole", client)
	nstest.Close(t, client)
	o := find(t, c, s)
	if got, want := holders(o, c), []string{fmt.Sprintf("(%q,pid=%d,fd=3)", comm(t, pid), pid)}; !slices.Equal(got, want) {
		t.Errorf("passed on and closed: %v, want %v", got, want)
	}
	stop()
	o = find(t, c, s)
	want := owner.NotSeen
	if o.Complete() {
		want = owner.Nobody
	}
	if got, verdict := o.Of(c); got != nil || verdict != want {
		t.Errorf("closed: %v, %v, want %v", got, verdict, want)
	}
	if got := holders(o, s); len(got) != 1 {
		t.Errorf("its peer: %v", got)
	}
}

// A process whose first thread has ended still has its sockets, and /proc/PID/fd
// shows none.
func TestLeaderless(t *testing.T) {
	nstest.RequireNamespace(t)
	client, _ := nstest.Pair(t, nstest.IPv4)
	pid, _ := startHolder(t, "leaderless", client)
	ended := func() bool {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Contains(b, []byte(") Z "))
	}
	for deadline := time.Now().Add(20 * time.Second); !ended(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the first thread does not end")
		}
	}
	n := inode(t, client)
	want := fmt.Sprintf("(%q,pid=%d,fd=3)", comm(t, pid), pid)
	if got := holders(find(t, n), n); len(got) != 2 || !slices.Contains(got, want) {
		t.Errorf("%v, want %s among them", got, want)
	}
}

// Processes that come and go while Find walks are no errors.
func TestChurn(t *testing.T) {
	nstest.RequireNamespace(t)
	client, _ := nstest.Pair(t, nstest.IPv4)
	n := inode(t, client)
	want := fmt.Sprintf("(%q,pid=%d,fd=%d)", comm(t, os.Getpid()), os.Getpid(), client)
	stopped, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stopped:
				return
			default:
			}
			// Not init's input: it ends as soon as it runs.
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), holderMark+"=whole")
			_ = cmd.Run()
		}
	}()
	for range 100 {
		if got := holders(find(t, n), n); !slices.Contains(got, want) {
			t.Errorf("%v, want %s", got, want)
			break
		}
	}
	close(stopped)
	<-done
}

// Without privilege Find sees its own process, and says which others it did not.
func TestDenied(t *testing.T) {
	nstest.RequireNamespace(t)
	client, _ := nstest.Pair(t, nstest.IPv4)
	other, _ := nstest.Pair(t, nstest.IPv4)
	shared, theirs := inode(t, client), inode(t, other)
	first, _ := startHolder(t, "whole", client)
	second, _ := startHolder(t, "whole", other)
	nstest.Close(t, other)
	self := fmt.Sprintf("(%q,pid=%d,fd=%d)", comm(t, os.Getpid()), os.Getpid(), client)
	nstest.WithoutCaps(t, func() {
		o, err := owner.Find(t.Context(), shared, theirs)
		if err != nil {
			t.Error(err)
			return
		}
		if got, want := holders(o, shared), []string{self}; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		if got, verdict := o.Of(theirs); got != nil || verdict != owner.NotSeen || o.Complete() {
			t.Errorf("%v, %v, want %v", got, verdict, owner.NotSeen)
		}
		if !slices.Contains(o.Denied, first) || !slices.Contains(o.Denied, second) || slices.Contains(o.Denied, os.Getpid()) {
			t.Errorf("Denied are %v: %d and %d should be, %d not", o.Denied, first, second, os.Getpid())
		}
		for _, pid := range o.Denied {
			// A kernel thread's memory has no size; nor has a zombie's.
			if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid)); err == nil && strings.HasPrefix(string(b), "0 ") {
				t.Errorf("Denied has %d, %q, which has no descriptors", pid, comm(t, pid))
			}
		}
	})
	if t.Failed() {
		return
	}
	o := find(t, shared, theirs)
	if got := holders(o, shared); len(got) != 2 {
		t.Errorf("with privilege: %v", got)
	}
	if slices.Contains(o.Denied, first) {
		t.Errorf("with privilege: Denied are %v", o.Denied)
	}
}

func TestTooManyFiles(t *testing.T) {
	var limit, none unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &limit); err != nil {
		t.Fatal(err)
	}
	none.Max = limit.Max
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &none, nil); err != nil {
		t.Fatal(err)
	}
	o, err := owner.Find(t.Context(), 5)
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		t.Fatal(err)
	}
	var pathErr *fs.PathError
	if o != nil || !errors.Is(err, syscall.EMFILE) || !errors.As(err, &pathErr) || pathErr.Path != "/proc" {
		t.Errorf("%v, %v", o, err)
	}
}

// childMark is the environment variable that tells a child of a test what it is.
const childMark = "TIMEWAIT_TEST_OWNER"

// cannotMount begins what a child says that may not mount a /proc.
const cannotMount = "cannot mount /proc:"

// TestOtherProc looks through the /proc of a pid namespace of its own, as in a
// container, with processes inside and outside; and then, as a process inside, at
// one that hides others.
func TestOtherProc(t *testing.T) {
	switch os.Getenv(childMark) {
	case "container":
		container(t)
		return
	case "hidden":
		hidden(t)
		return
	}
	nstest.RequireNamespace(t)
	inside, outside := nstest.Pair(t, nstest.IPv4)
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), childMark+"=container", fmt.Sprintf("OUTSIDE=%d", inode(t, outside)), fmt.Sprintf("PARENT=%d", os.Getpid()))
	cmd.ExtraFiles = []*os.File{file(t, inside)}
	defer cmd.ExtraFiles[0].Close()
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		nstest.Skip(t, "a pid and a mount namespace: %v", err)
	}
	if _, why, cannot := strings.Cut(string(out), cannotMount); cannot {
		why, _, _ = strings.Cut(why, "\n")
		nstest.Skip(t, "a /proc of one's own:%s", why)
	}
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
}

func mountProc(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // for the user without privilege
		t.Fatal(err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(cannotMount, err)
	}
	if err := unix.Mount("proc", dir, "proc", 0, options); err != nil {
		t.Fatal(cannotMount, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func number(t *testing.T, name string) int {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv(name))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// container runs as process 1 of a pid namespace. The one socket it has as
// descriptor 3, and shares with its parent; the other its parent alone has.
func container(t *testing.T) {
	outside, mine := uint32(number(t, "OUTSIDE")), inode(t, 3)
	proc := mountProc(t, "")
	if os.Getpid() != 1 {
		t.Fatalf("this is process %d", os.Getpid())
	}
	o, err := owner.FindIn(t.Context(), proc, outside, mine)
	if err != nil {
		t.Fatal(err)
	}
	found, _ := o.Of(mine)
	if len(found) != 1 || found[0].Process.PID != 1 || found[0].FD != 3 {
		t.Errorf("of the shared socket the container sees %v", found)
	}
	if got, verdict := o.Of(outside); got != nil || verdict != owner.NotSeen || !o.Contained || o.Hidden || len(o.Denied) != 0 {
		t.Errorf("of its parent's socket the container sees %v, %v; Contained %v, Hidden %v, Denied %v", got, verdict, o.Contained, o.Hidden, o.Denied)
	}

	// The host's /proc is still mounted too. In it nobody's PID is one's own.
	o = find(t, outside, mine)
	parent := number(t, "PARENT")
	var pids []int
	found, _ = o.Of(mine)
	for _, h := range found {
		pids = append(pids, h.Process.PID)
	}
	if len(slices.Compact(slices.Clone(pids))) != 2 || !slices.Contains(pids, parent) {
		t.Errorf("of the shared socket the host's /proc shows %v, want %d and another", found, parent)
	}
	if found, _ = o.Of(outside); len(found) != 1 || found[0].Process.PID != parent {
		t.Errorf("of the parent's socket the host's /proc shows %v, want %d", found, parent)
	}

	// A process beside this one, in a /proc that hides.
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), childMark+"=hidden", "PROC="+mountProc(t, "hidepid=2"))
	cmd.ExtraFiles = []*os.File{file(t, 3)}
	defer cmd.ExtraFiles[0].Close()
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("%v\n%s", err, out)
	}
}

// hidden runs as a process whose parent is process 1.
func hidden(t *testing.T) {
	outside, mine := uint32(number(t, "OUTSIDE")), inode(t, 3)
	nstest.WithoutCaps(t, func() {
		o, err := owner.FindIn(t.Context(), os.Getenv("PROC"), outside, mine)
		if err != nil {
			t.Error(err)
			return
		}
		found, _ := o.Of(mine)
		if len(found) != 1 || found[0].Process.PID != os.Getpid() || found[0].FD != 3 {
			t.Errorf("of the shared socket it sees %v, want %d alone", found, os.Getpid())
		}
		if got, verdict := o.Of(outside); got != nil || verdict != owner.NotSeen || !o.Hidden || o.Contained {
			t.Errorf("of the other %v, %v; Hidden %v, Contained %v", got, verdict, o.Hidden, o.Contained)
		}
	})
}
