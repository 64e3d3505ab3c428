package cli_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed16c515c6/timewait/internal/cli"
	"github.com/seed16c515c6/timewait/internal/cli/clitest"
	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/sysctl"
	"github.com/seed16c515c6/timewait/tcpstate"
)

func TestMain(m *testing.M) {
	clitest.Main(m, func() {
		// The program of TestDialWithoutPrivilege: it opens what it is told to.
		_, err := cli.Dial(os.Args[1])
		fmt.Println(err, errors.Is(err, fs.ErrPermission))
		os.Exit(0)
	})
}

// timeWaits dials, and counts the sockets in TIME_WAIT.
func timeWaits(t *testing.T, name string) uint64 {
	t.Helper()
	c, err := cli.Dial(name)
	if err != nil {
		t.Fatalf("Dial(%q): %v", name, err)
	}
	defer c.Close()
	counts, err := c.Count(t.Context(), sockdiag.Query{})
	if err != nil {
		t.Fatal(err)
	}
	return counts[tcpstate.TimeWait]
}

func TestDial(t *testing.T) {
	nstest.RequireNamespace(t)
	one, two := nstest.NewNamespace(t), nstest.NewNamespace(t)
	one.Do(func() { nstest.TimeWait(t, nstest.IPv4, 1) })
	two.Do(func() { nstest.TimeWait(t, nstest.IPv4, 2) })
	one.Do(func() {
		if n := timeWaits(t, ""); n != 1 {
			t.Errorf("the caller's own: %d sockets, want 1", n)
		}
		if n := timeWaits(t, clitest.Path(two)); n != 2 {
			t.Errorf("by a path: %d sockets, want 2", n)
		}
	})
	clitest.InNamedNamespace(t, two, "two", func() {
		if n := timeWaits(t, "two"); n != 2 {
			t.Errorf("by a name: %d sockets, want 2", n)
		}
		if n := timeWaits(t, "/run/netns/two"); n != 2 {
			t.Errorf("by the path of a name: %d sockets, want 2", n)
		}
		if _, err := cli.Dial("three"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a name that is missing: %v", err)
		}
	})
}

func TestDialErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		is   error // which comes last
		text string
	}{
		"no-such-name":           {syscall.ENOENT, `no network namespace "no-such-name"`},
		"/no/such/path":          {syscall.ENOENT, `no network namespace "/no/such/path"`},
		file:                     {fs.ErrInvalid, "not a network namespace"},
		filepath.Dir(file):       {fs.ErrInvalid, "not a network namespace"},
		"/proc/self/ns/uts":      {fs.ErrInvalid, "not a network namespace"}, // but of another kind
		file + "/below":          {syscall.ENOTDIR, "cannot look into"},
		"nul\x00byte":            {syscall.EINVAL, "cannot look into"},
		strings.Repeat("x", 1e4): {syscall.ENAMETOOLONG, "cannot look into"},
	} {
		c, err := cli.Dial(name)
		if err == nil {
			_ = c.Close()
			t.Errorf("%.40q: no error", name)
			continue
		}
		if !errors.Is(err, want.is) || !strings.HasSuffix(err.Error(), ": "+want.is.Error()) || !strings.Contains(err.Error(), want.text) || strings.ContainsAny(err.Error(), "\n\x00") {
			t.Errorf("%.40q: %v", name, err)
		}
		if !strings.Contains(err.Error(), fmt.Sprintf("%q", name)) || strings.Contains(err.Error(), "descriptor") {
			t.Errorf("%.40q is not what the error names: %v", name, err)
		}
	}
}

func TestDialWithoutPrivilege(t *testing.T) {
	nstest.RequireNamespace(t)
	ns := nstest.NewNamespace(t)
	for name, want := range map[string][2]string{
		clitest.Inherited: {"CAP_SYS_ADMIN", "operation not permitted true\n"},
		fmt.Sprintf("/proc/%d/ns/net", os.Getpid()): {"the right to look into that process", "permission denied true\n"},
	} {
		cmd := clitest.Command(name)
		clitest.Unprivileged(t, cmd, ns)
		out, errs, status := clitest.Exit(t, cmd)
		if status != 0 || errs != "" || !strings.Contains(out, name) || !strings.Contains(out, want[0]) || !strings.HasSuffix(out, want[1]) || strings.Count(out, "\n") != 1 {
			t.Errorf("%s: status %d, stderr %q, error and whether it is fs.ErrPermission: %q, want %q", name, status, errs, out, want)
		}
	}
}

// finTimeout reads tcp_fin_timeout by ProcSys.
func finTimeout(t *testing.T, name string) time.Duration {
	t.Helper()
	proc, done, err := cli.ProcSys(name)
	if err != nil {
		t.Fatalf("ProcSys(%q): %v", name, err)
	}
	defer done.Close()
	v, err := sysctl.TCPFinTimeout.GetFS(proc)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestProcSys(t *testing.T) {
	nstest.RequireNamespace(t)
	one, two := nstest.NewNamespace(t), nstest.NewNamespace(t)
	for ns, text := range map[*nstest.Namespace]string{one: "31", two: "32"} {
		ns.Do(func() { nstest.Set(t, "ipv4/tcp_fin_timeout", text) })
	}
	one.Do(func() {
		if v := finTimeout(t, ""); v != 31*time.Second {
			t.Errorf("the caller's own: %v", v)
		}
		if v := finTimeout(t, clitest.Path(two)); v != 32*time.Second {
			t.Errorf("by a path: %v", v)
		}
	})
	// A name comes before a PID, and both are digits here.
	clitest.InNamedNamespace(t, two, fmt.Sprint(os.Getpid()), func() {
		if v := finTimeout(t, fmt.Sprint(os.Getpid())); v != 32*time.Second {
			t.Errorf("by a name: %v", v)
		}
	})
	if v := finTimeout(t, fmt.Sprint(os.Getpid())); v == 31*time.Second || v == 32*time.Second {
		t.Errorf("by a PID, of this process: %v", v)
	}
	for name, want := range map[string]error{
		"no-such-name": fs.ErrNotExist, "2147483646": fs.ErrNotExist, "99999999999": fs.ErrNotExist, os.DevNull: fs.ErrInvalid, "/proc/self/ns/uts": fs.ErrInvalid,
	} {
		if _, _, err := cli.ProcSys(name); !errors.Is(err, want) || !strings.Contains(err.Error(), fmt.Sprintf("%q", name)) {
			t.Errorf("%s: %v, want %v and the name", name, err, want)
		}
	}
}
