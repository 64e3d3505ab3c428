// Command guest is the init of a kernel that tests run in: it prepares what they
// need, runs them as the plan says, reports on a serial port and powers off.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/seed16c515c6/timewait/internal/kernels/plan"
	"golang.org/x/sys/unix"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "guest: for process 1 of a virtual machine only")
		os.Exit(2)
	}
	// What goes wrong before the port is open can only be said to the console.
	if err := guest(); err != nil {
		fmt.Println("guest:", err)
	}
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

func guest() error {
	start := time.Now()
	problems := mount()
	port, err := openPort()
	if err != nil {
		return errors.Join(append(problems, err)...)
	}
	say := func(m plan.Message) {
		b, _ := json.Marshal(m)
		fmt.Fprintf(port, "%c%s\n", plan.Mark, b)
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		problems = append(problems, fmt.Errorf("uname: %w", err))
	}
	say(plan.Message{Kernel: unix.ByteSliceToString(name.Release[:])})

	var p plan.Plan
	b, err := os.ReadFile(plan.Path)
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	problems = append(problems, err, loopbackUp(), raiseOptmem())
	for _, file := range p.Modules {
		problems = append(problems, load(file))
	}
	for _, err := range problems {
		if err != nil {
			say(plan.Message{Problem: err.Error()})
		}
	}
	for _, t := range p.Tests {
		say(plan.Message{Begin: t.Package})
		code, err := run(t, p.Args, p.Limit-time.Since(start), port)
		if err != nil {
			say(plan.Message{Problem: err.Error()})
		}
		say(plan.Message{End: t.Package, Code: code})
	}
	say(plan.Message{Done: true})
	const drain = 1 // of TCSBRK: wait until it is sent, and break nothing
	return unix.IoctlSetInt(int(port.Fd()), unix.TCSBRK, drain)
}

// mount makes the file systems that programs expect.
func mount() (problems []error) {
	for _, m := range []struct{ path, kind string }{
		{"/proc", "proc"},
		{"/sys", "sysfs"},
		{"/sys/fs/cgroup", "cgroup2"},
		{"/dev", "devtmpfs"},
		{"/tmp", "tmpfs"},
		{"/run", "tmpfs"},
	} {
		err := os.MkdirAll(m.path, 0o755)
		if err == nil {
			err = unix.Mount(m.kind, m.path, m.kind, 0, "")
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("mount %s: %w", m.path, err))
		}
	}
	return append(problems, os.Chmod("/tmp", 0o1777))
}

// openPort opens the port raw: the terminal layer passes bytes on as they are.
func openPort() (*os.File, error) {
	port, err := os.OpenFile(plan.Port, os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	t, err := unix.IoctlGetTermios(int(port.Fd()), unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", plan.Port, err)
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cflag = unix.CS8 | unix.CREAD | unix.CLOCAL | unix.B115200
	return port, unix.IoctlSetTermios(int(port.Fd()), unix.TCSETS, t)
}

func loopbackUp() error {
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	return nil
}

// raiseOptmem lets a socket of any kernel have as many TCP-MD5 keys as one of 6.12
// by default. Before, a socket had memory for about a hundred.
func raiseOptmem() error {
	return os.WriteFile("/proc/sys/net/core/optmem_max", []byte("131072"), 0)
}

// load loads a module. Kernels whose modules come compressed unpack them.
func load(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	flags := 0
	if !strings.HasSuffix(file, ".ko") {
		flags = unix.MODULE_INIT_COMPRESSED_FILE
	}
	// A module may have come along with one before it.
	if err := unix.FinitModule(int(f.Fd()), "", flags); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load %s: %w", filepath.Base(file), err)
	}
	return nil
}

// run runs a test binary for at most left, and returns its exit status. The test
// is the first to end the wait, so that it can say where it hangs.
func run(t plan.Test, args []string, left time.Duration, output *os.File) (code int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), left)
	defer cancel()
	own := max(left-10*time.Second, time.Second)
	cmd := exec.CommandContext(ctx, t.Binary, append([]string{"-test.timeout=" + own.String()}, args...)...)
	cmd.Dir = filepath.Dir(t.Binary)
	cmd.Env = []string{"HOME=/tmp", "PATH=/bin", "LC_ALL=C"}
	cmd.Stdout, cmd.Stderr = output, output
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if exit.ExitCode() < 0 {
			return -1, fmt.Errorf("%s: %w", t.Package, err)
		}
		return exit.ExitCode(), nil
	}
	if err != nil {
		return -1, err
	}
	return 0, nil
}
