package nstest

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
)

// marker is the environment variable that tells a test binary where it was started: "enter:NS" by reexec (NS is the
// namespace that was to be left), "inside:NS" below a process that got in, "outside:WHY" below one that did not.
// Workers of the fuzzer and test binaries run by tests inherit it, and so do not nest.
const marker = "TIMEWAIT_NSTEST"

// Run runs the tests of m and returns their status. It starts the test binary once more, with the same arguments,
// descriptors and environment, in a new network namespace with lo up, and passes signals and status on. As root that
// is all; an ordinary user gets a user namespace as well, in which it is root. Where neither can be had the tests run
// where they are, and RequireNamespace skips.
//
// A run that passed and left file descriptors open fails. Fuzzing is exempt: its coordinator keeps some.
func Run(m *testing.M) int {
	how, rest, _ := strings.Cut(os.Getenv(marker), ":")
	switch {
	case how == "enter":
		err := enter(rest)
		report(err)
		if err != nil {
			return 1 // Nobody sees it: the parent runs the tests itself.
		}
		outside = ""
		_ = os.Setenv(marker, "inside:"+rest)
	case how == "inside" && left(rest) == nil:
		outside = ""
	case how == "outside":
		outside = rest
	case hasFlag("-test.fuzzworker"):
		// Its coordinator speaks to it through descriptors and watches it by its pid.
		outside = "a worker of the fuzzer"
	default:
		code, err := reexec()
		if err == nil {
			return code
		}
		outside = strings.ReplaceAll(err.Error(), "\n", "; ")
		_ = os.Setenv(marker, "outside:"+outside)
	}

	before := openFiles()
	code := m.Run()
	if code != 0 || fuzzing() {
		return code
	}
	if leaked := leakedFiles(before); len(leaked) > 0 {
		fmt.Fprintf(os.Stderr, "FAIL: nstest: file descriptors left open: %s\n", strings.Join(leaked, ", "))
		return 1
	}
	return code
}

// reexec runs the test binary in new namespaces and returns its status, or an error if it got into none.
func reexec() (code int, err error) {
	userNS := &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	ways := []*syscall.SysProcAttr{userNS}
	if os.Geteuid() == 0 {
		// In a user namespace root loses what the kernel asks of the machine's root, SO_RCVBUFFORCE for one: it
		// is only for a container's root that may not make network namespaces.
		ways = []*syscall.SysProcAttr{{Cloneflags: syscall.CLONE_NEWNET}, userNS}
	}
	var errs []error
	for _, attr := range ways {
		code, err := reexecWith(attr)
		if err == nil {
			return code, nil
		}
		errs = append(errs, err)
	}
	return 0, errors.Join(errs...)
}

func reexecWith(attr *syscall.SysProcAttr) (code int, err error) {
	here, err := netNS()
	if err != nil {
		return 0, err
	}
	exe, err := os.Executable()
	if err != nil {
		return 0, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer r.Close()
	cmd := &exec.Cmd{
		Path: exe, Args: os.Args, Env: append(os.Environ(), marker+"=enter:"+here),
		Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
		ExtraFiles:  []*os.File{w},
		SysProcAttr: attr,
	}
	// A test binary that "go test" had to kill must not leave its child behind. The kernel sends that signal when
	// the thread ends that started the child, so this one is kept.
	attr.Pdeathsig = syscall.SIGKILL
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	signals := make(chan os.Signal, 16)
	defer signal.Stop(signals)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2} {
		if !signal.Ignored(s) { // As under nohup: it stays ignored, in the child as well.
			signal.Notify(signals, s)
		}
	}

	err = cmd.Start()
	w.Close()
	if err != nil {
		return 0, err
	}
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case s := <-signals:
				_ = cmd.Process.Signal(s)
			case <-done:
				return
			}
		}
	}()

	said, _ := io.ReadAll(r)
	err = cmd.Wait()
	if string(said) != ready {
		return 0, fmt.Errorf("%s (%v)", said, err)
	}
	code = cmd.ProcessState.ExitCode()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		fmt.Fprintf(os.Stderr, "nstest: the test process ended by signal: %v\n", ws.Signal())
		code = 128 + int(ws.Signal())
	}
	return code, nil
}

// ready is what the child reports when it is in its namespace and can use it; anything else is why it cannot.
const ready = "ready"

// reportFD is the pipe to the parent: exec.Cmd's first extra file.
const reportFD = 3

func report(err error) {
	syscall.CloseOnExec(reportFD)
	say := ready
	if err != nil {
		say = err.Error()
	}
	_, _ = syscall.Write(reportFD, []byte(say))
	_ = syscall.Close(reportFD)
}

// enter finishes the move into a new namespace, in the child. Setting lo up is also the proof that its capabilities
// are real: some systems let an ordinary user make namespaces and then refuse every use of them.
func enter(old string) error {
	if err := left(old); err != nil {
		return err
	}
	return loopbackUp()
}

func loopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}

// left checks that the process is not in network namespace old any more.
func left(old string) error {
	now, err := netNS()
	if err == nil && now == old {
		err = fmt.Errorf("still in %s", old)
	}
	return err
}

// netNS names the network namespace of the process, as in "net:[4026531840]".
func netNS() (string, error) { return os.Readlink("/proc/self/ns/net") }

// fuzzing reports whether this is "go test -fuzz" or one of its workers. It is asked after the flags were parsed.
func fuzzing() bool {
	f := flag.Lookup("test.fuzz")
	return f != nil && f.Value.String() != "" || hasFlag("-test.fuzzworker")
}

func hasFlag(name string) bool {
	for _, arg := range os.Args[1:] {
		if arg == name || strings.HasPrefix(arg, name+"=") {
			return true
		}
	}
	return false
}
