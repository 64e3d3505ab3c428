// Package clitest runs the example programs in tests: in the test's own process,
// and as a process of their own. Only tests import it.
package clitest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/nstest"
)

// asProgram is the environment variable that makes a test binary the program.
const asProgram = "TIMEWAIT_TEST_PROGRAM"

// Main is what a TestMain calls: in a process that Command started it is the
// program's main, otherwise nstest.Main.
func Main(m *testing.M, main func()) {
	if os.Getenv(asProgram) != "" {
		main()
		os.Exit(99) // not reached: the programs exit
	}
	nstest.Main(m)
}

// Command prepares the program as a process of its own.
func Command(args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	// The race detector would sleep for a second at every exit.
	cmd.Env = append(os.Environ(), asProgram+"=1", "GORACE=atexit_sleep_ms=0")
	return cmd
}

// Exit runs the command, and returns what it printed and its exit status. It
// skips the test where the kernel refuses the user namespace of Unprivileged.
func Exit(t testing.TB, cmd *exec.Cmd) (stdout, stderr string, status int) {
	t.Helper()
	var out, errs bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &out
	}
	cmd.Stderr = &errs
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		if cmd.SysProcAttr != nil && cmd.SysProcAttr.Cloneflags&syscall.CLONE_NEWUSER != 0 {
			nstest.SkipWithoutUserNamespace(t, err)
		}
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// Start starts the command. What it prints is read from stdout; stderr is there when it
// has been waited for.
func Start(t testing.TB, cmd *exec.Cmd) (stdout io.ReadCloser, stderr *strings.Builder) {
	t.Helper()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr = new(strings.Builder)
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return stdout, stderr
}

// Output runs the program in this process and returns what it printed. It must
// succeed and have nothing to complain about.
func Output(t testing.TB, run func(ctx context.Context, args []string, stdout, stderr io.Writer) error, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if err := run(t.Context(), args, &stdout, &stderr); err != nil || stderr.Len() > 0 {
		t.Fatalf("%q: %v\nstdout: %s\nstderr: %s", args, err, &stdout, &stderr)
	}
	return stdout.String()
}

// Fails runs the program with the arguments and checks that it ends with the status,
// prints nothing, and says why in one line, with all the words in it.
func Fails(t testing.TB, program string, args []string, status int, words ...string) {
	t.Helper()
	out, errs, got := Exit(t, Command(args...))
	if got != status || out != "" {
		t.Errorf("%q: status %d, want %d; stdout %q", args, got, status, out)
	}
	OneLine(t, errs, program, words...)
}

// OneLine checks that what a program printed on stderr is one line, of the
// program, with all the words in it.
func OneLine(t testing.TB, stderr, program string, words ...string) {
	t.Helper()
	if !strings.HasPrefix(stderr, program+": ") || strings.Count(stderr, "\n") != 1 || !strings.HasSuffix(stderr, "\n") {
		t.Errorf("stderr is not one line of %s: %q", program, stderr)
	}
	for _, word := range words {
		if !strings.Contains(stderr, word) {
			t.Errorf("stderr has no %q: %q", word, stderr)
		}
	}
	for _, noise := range []string{"sockdiag:", "tcpstate:", "descriptor"} {
		if strings.Contains(stderr, noise) {
			t.Errorf("stderr has %q, which means nothing to who reads it: %q", noise, stderr)
		}
	}
}

// OnFullDisk checks that the program says so, and fails, where what it prints cannot be
// written.
func OnFullDisk(t testing.TB, program string, args ...string) {
	t.Helper()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	cmd := Command(args...)
	cmd.Stdout = full
	_, errs, status := Exit(t, cmd)
	if status != 1 {
		t.Errorf("%q on a full disk: status %d", args, status)
	}
	OneLine(t, errs, program, "no space left")
}

// Help returns what the program prints for -h, and checks that it is the same however
// that is spelt, with whatever else there is, that it has all the words, and that it
// fits a terminal of 80 columns and so many lines.
func Help(t testing.TB, program string, lines int, words ...string) string {
	t.Helper()
	var help string
	for _, args := range [][]string{{"-h"}, {"-help"}, {"--help"}, {"-h", "-json"}} {
		out, errs, status := Exit(t, Command(args...))
		if status != 0 || errs != "" || !strings.HasPrefix(out, "Usage: "+program+" ") {
			t.Errorf("%q: status %d, stderr %q, stdout\n%s", args, status, errs, out)
		}
		if help != "" && out != help {
			t.Errorf("%q has another help:\n%s", args, out)
		}
		help = out
	}
	for _, word := range words {
		if !strings.Contains(help, word) {
			t.Errorf("no %q in the help", word)
		}
	}
	Fits(t, help, 80, lines)
	return help
}

// Fits checks that what a program prints fits a terminal.
func Fits(t testing.TB, text string, columns, lines int) {
	t.Helper()
	n := 0
	for line := range strings.Lines(text) {
		n++
		width := 0
		for _, r := range strings.TrimSuffix(line, "\n") {
			if width++; r == '\t' {
				width += 7 - (width-1)%8
			}
		}
		if width > columns {
			t.Errorf("%d columns: %q", width, line)
		}
	}
	if n > lines {
		t.Errorf("%d lines, want at most %d", n, lines)
	}
}

// InNamedNamespace calls fn on a thread for which, and for whose child
// processes, ns has the name under /run/netns. The thread is in a network
// namespace of its own. Nobody else sees the name.
func InNamedNamespace(t testing.TB, ns *nstest.Namespace, name string, fn func()) {
	t.Helper()
	nstest.NewNamespace(t).Do(func() {
		must := func(what string, err error) {
			t.Helper()
			if err != nil {
				nstest.Skip(t, "a mount namespace with a /run/netns: %s: %v", what, err)
			}
		}
		must("unshare", unix.Unshare(unix.CLONE_NEWNS))
		must("make / private", unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
		must("mount /run", unix.Mount("tmpfs", "/run", "tmpfs", 0, ""))
		path := filepath.Join("/run/netns", name)
		must("mkdir", os.Mkdir("/run/netns", 0o755))
		must("create", os.WriteFile(path, nil, 0o444))
		must("bind", unix.Mount(Path(ns), path, "", unix.MS_BIND, ""))
		fn()
	})
}

// Path is a path to the namespace, for this process.
func Path(ns *nstest.Namespace) string { return fmt.Sprintf("/proc/self/fd/%d", ns.FD()) }

// Unprivileged has the command run in a user namespace into which nothing is
// mapped, so that it has no privilege over what is outside. It inherits the
// descriptor of ns, as Inherited.
func Unprivileged(t testing.TB, cmd *exec.Cmd, ns *nstest.Namespace) {
	t.Helper()
	f, err := os.Open(Path(ns))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	cmd.ExtraFiles = []*os.File{f}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER}
}

// Inherited is the path to the namespace of Unprivileged, for the program.
const Inherited = "/proc/self/fd/3"
