package nstest_test

import (
	"bytes"
	"errors"
	"flag"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/nstest"
)

func TestMain(m *testing.M) { nstest.Main(m) }

// marker is what Run leaves in the environment.
const marker = "TIMEWAIT_NSTEST"

// TestHelper is what the tests below run in a process of its own. The word after the flags says what it does.
func TestHelper(t *testing.T) {
	switch flag.Arg(0) {
	case "":
		return // An ordinary run of the tests.
	case "pass":
		nstest.RequireNamespace(t)
	case "fail":
		t.Fatal("as asked")
	case "exit":
		os.Exit(42)
	case "leak":
		if _, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			t.Fatal(err)
		}
	case "late":
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(200*time.Millisecond, func() { _ = unix.Close(fd) })
	case "poller":
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "wait":
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		_, _ = os.Stdout.WriteString("waiting\n")
		select {
		case <-stop:
			_, _ = os.Stdout.WriteString("stopped\n")
		case <-time.After(time.Minute):
			t.Fatal("no signal")
		}
	default:
		t.Fatalf("what is %q?", flag.Arg(0))
	}
}

// helper prepares a run of TestHelper. With nested, that process makes a namespace of its own; without, it stays in
// this one.
func helper(t *testing.T, nested bool, what string) *exec.Cmd {
	t.Helper()
	nstest.RequireNamespace(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^TestHelper$", "-test.v", what)
	cmd.Env = []string{"GORACE=atexit_sleep_ms=0"} // The race detector's second at every exit.
	for _, kv := range os.Environ() {
		if !nested || !strings.HasPrefix(kv, marker+"=") {
			cmd.Env = append(cmd.Env, kv)
		}
	}
	return cmd
}

func TestRun(t *testing.T) {
	for _, tt := range []struct {
		what   string
		status int
		says   string
	}{
		{"pass", 0, "--- PASS: TestHelper"},
		{"fail", 1, "as asked"},
		{"exit", 42, ""},
		{"kill", 128 + 9, "ended by signal: killed"},
		{"leak", 1, "file descriptors left open: "},
		{"late", 0, "PASS"},
		{"poller", 0, "PASS"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			out, err := helper(t, true, tt.what).CombinedOutput()
			status := 0
			if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
				status = exit.ExitCode()
			} else if err != nil {
				t.Fatal(err)
			}
			if status != tt.status || !bytes.Contains(out, []byte(tt.says)) {
				t.Errorf("status %d, want %d, and %q in this:\n%s", status, tt.status, tt.says, out)
			}
		})
	}
}

func TestRunNamesTheLeak(t *testing.T) {
	out, _ := helper(t, false, "leak").CombinedOutput()
	if !bytes.Contains(out, []byte("is socket:[")) {
		t.Errorf("no socket named in this:\n%s", out)
	}
}

func TestRunPassesSignalsOn(t *testing.T) {
	cmd := helper(t, true, "wait")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said []byte
	for buf := make([]byte, 1024); ; {
		n, err := out.Read(buf)
		if bytes.Contains(buf[:n], []byte("waiting")) {
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Error(err)
			}
		}
		said = append(said, buf[:n]...)
		if err != nil {
			break
		}
	}
	if err := cmd.Wait(); err != nil || !bytes.Contains(said, []byte("stopped")) {
		t.Errorf("%v, and no \"stopped\" in this:\n%s", err, said)
	}
}

// TestRunDoesNotNest runs the binary as a test may: it stays where it is.
func TestRunDoesNotNest(t *testing.T) {
	for _, tt := range []struct {
		nested bool
		want   string
	}{
		{false, os.Getenv(marker)},
		{true, "inside:" + netNS(t)},
	} {
		cmd := helper(t, tt.nested, "pass")
		cmd.Args[1] = "-test.run=^TestWhere$"
		out, err := cmd.CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("marker "+tt.want+"\n")) {
			t.Errorf("nested %v: %v, and no %q in this:\n%s", tt.nested, err, tt.want, out)
		}
	}
}

// TestWhere says where it runs.
func TestWhere(*testing.T) {
	if flag.Arg(0) != "" {
		_, _ = os.Stdout.WriteString("\nmarker " + os.Getenv(marker) + "\n")
	}
}

// fakeTB records what becomes of a test.
type fakeTB struct {
	testing.TB
	skipped, failed string
}

func (*fakeTB) Helper() {}

func (f *fakeTB) Skipf(format string, _ ...any) { f.skipped = format }

func (f *fakeTB) Fatalf(format string, _ ...any) { f.failed = format }

func TestSkip(t *testing.T) {
	var tb fakeTB
	t.Setenv("TIMEWAIT_REQUIRE", "")
	nstest.Skip(&tb, "a unicorn")
	if !strings.Contains(tb.skipped, "unicorn") || tb.failed != "" {
		t.Errorf("skipped %q, failed %q", tb.skipped, tb.failed)
	}
	tb = fakeTB{}
	t.Setenv("TIMEWAIT_REQUIRE", "1")
	nstest.Skip(&tb, "a unicorn")
	if !strings.Contains(tb.failed, "unicorn") {
		t.Errorf("with TIMEWAIT_REQUIRE=1: skipped %q, failed %q", tb.skipped, tb.failed)
	}
}
