package owner_test

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed16c515c6/timewait/sockdiag/owner"
)

// A fakeProcess has the files of a process that Find reads.
type fakeProcess struct {
	name   string
	cgroup string
	stat   string         // as proc(5) has it: "12 (name) S 1 …"
	fds    map[int]string // the links
	thread map[int]string // the links of a thread, with the PID's successor for its number
}

// statOf is a line of /proc/PID/stat of the length that kernels write, with
// letter, flags and number of threads at their places (3, 9 and 20).
func statOf(name, letter, flags, threads string) string {
	f := slices.Repeat([]string{"7"}, 52)
	f[0], f[1], f[2], f[8], f[19] = "9", "("+name+")", letter, flags, threads
	return strings.Join(f, " ") + "\n"
}

// fakeProc makes a /proc that has these processes.
func fakeProc(t *testing.T, processes map[int]fakeProcess) string {
	t.Helper()
	proc := t.TempDir()
	mkdir := func(path ...string) string {
		dir := filepath.Join(append([]string{proc}, path...)...)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	write := func(dir, name, text string) {
		if text == "" {
			return
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	links := func(dir string, fds map[int]string) {
		for fd, to := range fds {
			if err := os.Symlink(to, filepath.Join(dir, strconv.Itoa(fd))); err != nil {
				t.Fatal(err)
			}
		}
	}
	mkdir("sys")
	mkdir("2nd")
	write(proc, "uptime", "1 1\n")
	for pid, p := range processes {
		dir := mkdir(strconv.Itoa(pid))
		write(dir, "comm", p.name)
		write(dir, "cgroup", p.cgroup)
		write(dir, "stat", p.stat)
		if p.fds != nil {
			links(mkdir(strconv.Itoa(pid), "fd"), p.fds)
		}
		if p.thread != nil {
			mkdir(strconv.Itoa(pid), "task", strconv.Itoa(pid), "fd")
			links(mkdir(strconv.Itoa(pid), "task", strconv.Itoa(pid+1), "fd"), p.thread)
		}
	}
	return proc
}

// kernelThread is process 2 of a machine's /proc, as Linux 6.18 shows it.
var kernelThread = fakeProcess{
	name: "kthreadd\n", stat: "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 2 0 0\n", fds: map[int]string{},
}

func TestFake(t *testing.T) {
	const parens = "a) R 1 (\n b"
	proc := fakeProc(t, map[int]fakeProcess{
		1: {name: "init\n", cgroup: "0::/init.scope\n", fds: map[int]string{0: "/dev/null", 3: "anon_inode:[eventpoll]"}},
		2: kernelThread,
		10: {name: "nginx\n", cgroup: "0::/system.slice/nginx.service\n", fds: map[int]string{
			6: "socket:[100]", 12: "socket:[101]", 7: "socket:[4294967295]", 8: "pipe:[100]", 9: "socket:[10", 11: "socket:[-100]",
			13: "socket:[4294967396]", // 100 and 2³²
			14: "/tmp/socket:[100]", 15: "socket:[]", 16: "[0000]:100", 17: "socket:[100]" + strings.Repeat(" ", 100),
		}},
		11: {name: "nginx\n", cgroup: "0::/system.slice/nginx.service\n", fds: map[int]string{6: "socket:[100]", 100: "socket:[100]"}},
		12: {name: parens + "\n", stat: statOf(parens, "S", "4194560", "1"), fds: map[int]string{5: "socket:[101]"}},
		13: {},                                                                                            // gone since it was listed
		14: {fds: map[int]string{5: "socket:[100]"}},                                                      // gone since its descriptors were listed
		15: {name: "zombie\n", stat: statOf("zombie) S 1 1", "Z", "4228364", "1"), fds: map[int]string{}}, // ended
		20: {name: "leaderless\n", stat: statOf("leaderless", "Z", "4228364", "2"), fds: map[int]string{}, thread: map[int]string{4: "socket:[102]"}},
		30: {name: "odd\n", stat: "odd\n", fds: map[int]string{}},
	})
	o, err := owner.FindIn(t.Context(), proc, 100, 101, 102, 103, math.MaxUint32, 100, 0)
	if err != nil {
		t.Fatal(err)
	}
	const nginx = "/system.slice/nginx.service"
	p10, p11 := &owner.Process{PID: 10, Name: "nginx", Cgroup: nginx}, &owner.Process{PID: 11, Name: "nginx", Cgroup: nginx}
	p12, p20 := &owner.Process{PID: 12, Name: parens}, &owner.Process{PID: 20, Name: "leaderless"}
	for _, c := range []struct {
		inode   uint32
		holders []owner.Holder
		verdict owner.Verdict
	}{
		{100, []owner.Holder{{p10, 6}, {p11, 6}, {p11, 100}}, owner.Found},
		{101, []owner.Holder{{p10, 12}, {p12, 5}}, owner.Found},
		{102, []owner.Holder{{p20, 4}}, owner.Found},
		{103, nil, owner.Nobody},
		{math.MaxUint32, []owner.Holder{{p10, 7}}, owner.Found},
		{0, nil, owner.NoFile},
		{10, nil, owner.NotAsked},
	} {
		holders, verdict := o.Of(c.inode)
		if d := cmp.Diff(c.holders, holders); d != "" || verdict != c.verdict {
			t.Errorf("%d: %v, want %v (-want +got)\n%s", c.inode, verdict, c.verdict, d)
		}
	}
	if !o.Complete() || o.Looked != 6 { // 1, 10, 11, 12, 20, 30
		t.Errorf("Looked %d, Denied %v, Hidden %v, Contained %v", o.Looked, o.Denied, o.Hidden, o.Contained)
	}
}

// Whether a /proc shows all of the machine is told by processes 1 and 2.
func TestFakeCoverage(t *testing.T) {
	plain := fakeProcess{name: "plain\n", stat: statOf("plain", "S", "4194560", "1"), fds: map[int]string{0: "/dev/null"}}
	for name, c := range map[string]struct {
		processes         map[int]fakeProcess
		hidden, contained bool
		verdict           owner.Verdict
	}{
		"machine":                 {map[int]fakeProcess{1: plain, 2: kernelThread, 3: plain}, false, false, owner.Nobody},
		"container":               {map[int]fakeProcess{1: plain, 3: plain}, false, true, owner.NotSeen},
		"container's process 2":   {map[int]fakeProcess{1: plain, 2: plain}, false, true, owner.NotSeen},
		"hidepid":                 {map[int]fakeProcess{30: plain}, true, false, owner.NotSeen},
		"hidepid, one's own is 2": {map[int]fakeProcess{2: plain}, true, false, owner.NotSeen},
	} {
		o, err := owner.FindIn(t.Context(), fakeProc(t, c.processes), 5)
		if err != nil {
			t.Error(name, err)
			continue
		}
		if _, verdict := o.Of(5); o.Hidden != c.hidden || o.Contained != c.contained || verdict != c.verdict {
			t.Errorf("%s: Hidden %v, Contained %v, %v", name, o.Hidden, o.Contained, verdict)
		}
	}
}

// The lines are of hosts with cgroup v2, with v1 and with both, as cgroups(7) and
// systemd lay them out.
func TestFakeCgroup(t *testing.T) {
	for text, want := range map[string]string{
		"0::/user.slice/session-1.scope\n": "/user.slice/session-1.scope",
		"0::/\n":                           "/",
		"":                                 "",
		"0::/../other\n":                   "/../other",
		"0::/with:colons\n":                "/with:colons",
		"0::/gone (deleted)\n":             "/gone (deleted)",
		"12:pids:/docker/ab\n4:cpu,cpuacct:/docker/ab\n1:name=systemd:/docker/ab\n":                       "/docker/ab",
		"5:memory:/m\n1:name=systemd:/system.slice/sshd.service\n0::/\n":                                  "/system.slice/sshd.service",
		"5:memory:/m\n1:name=systemd:/system.slice/sshd.service\n0::/system.slice/sshd.service/unified\n": "/system.slice/sshd.service/unified",
		"5:memory:/m\n": "",
	} {
		proc := fakeProc(t, map[int]fakeProcess{1: {name: "x\n", cgroup: text, fds: map[int]string{3: "socket:[5]"}}})
		o, err := owner.FindIn(t.Context(), proc, 5)
		if err != nil {
			t.Fatal(err)
		}
		holders, _ := o.Of(5)
		if len(holders) != 1 || holders[0].Process.Cgroup != want {
			t.Errorf("%q: %v, want %q", text, holders, want)
		}
	}
}

func TestErrors(t *testing.T) {
	empty := t.TempDir()
	file := filepath.Join(empty, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, proc := range []string{empty, filepath.Join(empty, "no"), file} {
		var pathErr *fs.PathError
		o, err := owner.FindIn(t.Context(), proc, 5)
		if o != nil || !errors.As(err, &pathErr) || pathErr.Path != proc || errors.Is(err, fs.ErrNotExist) != (proc != file) {
			t.Errorf("%s: %v, %v", proc, o, err)
		}
	}

	// Nothing to look for takes no look.
	o, err := owner.FindIn(t.Context(), filepath.Join(empty, "no"), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if holders, verdict := o.Of(0); holders != nil || verdict != owner.NoFile || o.Looked != 0 {
		t.Errorf("of no socket: %v, %v, %d processes", holders, verdict, o.Looked)
	}
}

// countdown is a context that is cancelled when it has been asked so many times.
type countdown struct {
	context.Context
	left int
}

func (c *countdown) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

// A context that ends ends the walk wherever it is, and there is no half a result.
func TestContext(t *testing.T) {
	many := make(map[int]string)
	for fd := range 5000 {
		many[fd] = "socket:[7]"
	}
	processes := map[int]fakeProcess{1: {name: "many\n", fds: many}}
	for pid := 2; pid < 5; pid++ {
		processes[pid] = fakeProcess{name: "few\n", fds: map[int]string{3: "socket:[7]"}}
	}
	proc := fakeProc(t, processes)
	ended := 0
	for left := 0; ; left++ {
		o, err := owner.FindIn(&countdown{t.Context(), left}, proc, 7)
		if err == nil {
			if holders, _ := o.Of(7); len(holders) != 5003 {
				t.Errorf("%d holders", len(holders))
			}
			break
		}
		if o != nil || !errors.Is(err, context.Canceled) {
			t.Fatalf("after %d: %v, %v", left, o, err)
		}
		ended++
	}
	// Before each of the four processes, and at least four times within the first.
	if ended < 8 {
		t.Errorf("the context was asked %d times", ended)
	}
}
