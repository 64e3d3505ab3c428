package sysctl_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/sysctl"
)

// written is the value as its file has it, but for what separates numbers: the unit of the Info says what a type of the
// package stands for.
func written(t *testing.T, info sysctl.Info, value any) string {
	t.Helper()
	units := map[string]time.Duration{"seconds": time.Second, "milliseconds": time.Millisecond, "microseconds": time.Microsecond}
	switch v := value.(type) {
	case time.Duration:
		unit := units[info.Unit]
		if unit == 0 || v%unit != 0 {
			t.Errorf("%s is %v, and the unit is %q", info.Name, v, info.Unit)
			return ""
		}
		return fmt.Sprint(int64(v / unit))
	case bool:
		if info.Unit != "switch" {
			t.Errorf("%s is a bool, and the unit is %q", info.Name, info.Unit)
		}
		if v {
			return "1"
		}
		return "0"
	case sysctl.PortRange:
		return fmt.Sprint(v.First, v.Last)
	case sysctl.Ports:
		var list []string
		for _, r := range v {
			if r.First == r.Last {
				list = append(list, fmt.Sprint(r.First))
			} else {
				list = append(list, fmt.Sprintf("%d-%d", r.First, r.Last))
			}
		}
		return strings.Join(list, ",")
	case sysctl.HashTable:
		if v.Shared {
			return fmt.Sprint(-v.Buckets)
		}
		return fmt.Sprint(v.Buckets)
	case sysctl.PageTriple:
		return fmt.Sprint(v.Low, v.Pressure, v.High)
	case sysctl.ByteTriple:
		return fmt.Sprint(v.Min, v.Default, v.Max)
	case string:
		return v
	}
	if units[info.Unit] != 0 || info.Unit == "switch" {
		t.Errorf("%s is a %T, and the unit is %q", info.Name, value, info.Unit)
	}
	if n := reflect.ValueOf(value); n.CanInt() {
		return fmt.Sprint(n.Int())
	} else if n.CanUint() {
		return fmt.Sprint(n.Uint())
	}
	t.Errorf("%s is a %T", info.Name, value)
	return ""
}

// Every key says what its file says, read and parsed another way.
func TestLiveKernel(t *testing.T) {
	if _, err := os.Stat("/proc/sys/net/ipv4"); err != nil {
		nstest.Skip(t, "/proc/sys/net/ipv4: %v", err)
	}
	read := 0
	for key := range sysctl.Keys() {
		info := key.Info()
		text, readErr := os.ReadFile("/proc/sys/" + info.Path)
		got, err := key.GetAny()
		if readErr != nil {
			if !errors.Is(readErr, fs.ErrNotExist) || !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: %v, but reading the file: %v", info.Name, err, readErr)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v, but the file has %q", info.Name, err, text)
			continue
		}
		read++
		want := strings.Join(strings.Fields(string(text)), " ")
		if _, isSwitch := got.(bool); isSwitch && want != "0" {
			want = "1"
		}
		if have := written(t, info, got); have != want {
			t.Errorf("%s is %v, but the file has %q", info.Name, got, text)
		}
	}
	if read < 30 {
		t.Errorf("%d keys could be read, want the 30 that every namespace of a kernel since 4.19 has", read)
	}
}

func TestLiveRemovedKey(t *testing.T) {
	_, err := sysctl.TCPTWRecycle.Get()
	if _, statErr := os.Stat("/proc/sys/net/ipv4/tcp_tw_recycle"); statErr == nil {
		nstest.Skip(t, "a kernel since 4.12: this one has tcp_tw_recycle")
	}
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "4.12") {
		t.Errorf("tcp_tw_recycle: %v, want fs.ErrNotExist and the release that removed it", err)
	}
}

// namespace is a network namespace of its own, and a thread that is in it.
type namespace struct {
	fd   int
	call chan func()
}

// newNamespace makes a network namespace. Its thread is never given back to the scheduler: it ends with the test.
func newNamespace(t *testing.T) namespace {
	t.Helper()
	ns := namespace{call: make(chan func())}
	ready := make(chan error)
	var file *os.File
	go func() {
		runtime.LockOSThread() // for good
		err := os.NewSyscallError("unshare", syscall.Unshare(syscall.CLONE_NEWNET))
		if err == nil {
			file, err = os.Open("/proc/thread-self/ns/net")
		}
		ready <- err
		for fn := range ns.call {
			fn()
		}
	}()
	t.Cleanup(func() { close(ns.call) })
	if err := <-ready; err != nil {
		nstest.Skip(t, "a network namespace: %v", err)
	}
	t.Cleanup(func() { _ = file.Close() })
	ns.fd = int(file.Fd())
	return ns
}

// do runs fn on the thread that is in the namespace.
func (ns namespace) do(fn func()) {
	done := make(chan struct{})
	ns.call <- func() { defer close(done); fn() }
	<-done
}

// inUserNamespace runs the calling test again in a user namespace, where it may make network namespaces, and reports
// whether it did. As root there is no need to.
func inUserNamespace(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() == 0 {
		return false
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		t.Errorf("in a user namespace: %v\n%s", err, out)
	case err != nil:
		nstest.Skip(t, "a user namespace: %v", err)
	case !strings.Contains(string(out), "--- PASS: "+t.Name()):
		nstest.Skip(t, "a user namespace that is of use:\n%s", out)
	}
	return true
}

func TestNamespaces(t *testing.T) {
	if inUserNamespace(t) {
		return
	}
	ns := newNamespace(t)
	const distinctive = 12345
	var ports []string
	for port := 20001; port < 23000; port += 2 {
		ports = append(ports, fmt.Sprint(port))
	}
	reserved := strings.Join(ports, ",") + "\n"
	ns.do(func() {
		for path, text := range map[string]string{
			"/proc/sys/net/ipv4/tcp_fin_timeout":         fmt.Sprint(distinctive),
			"/proc/sys/net/ipv4/ip_local_reserved_ports": reserved,
		} {
			if err := os.WriteFile(path, []byte(text), 0); err != nil {
				t.Errorf("write to %s in a namespace of our own: %v", path, err)
			}
		}
	})
	if t.Failed() {
		return
	}
	fsys := sysctl.InNamespace(ns.fd)

	// From many goroutines at once, so from several threads, each asks both.
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				outside, err := sysctl.TCPFinTimeout.Get()
				if err != nil || outside == distinctive*time.Second {
					t.Errorf("Get outside of the namespace = %v, %v", outside, err)
					return
				}
				inside, err := sysctl.TCPFinTimeout.GetFS(fsys)
				if err != nil || inside != distinctive*time.Second {
					t.Errorf("GetFS(InNamespace) = %v, %v, want %d s", inside, err, distinctive)
					return
				}
			}
		})
	}
	wg.Wait()

	ns.do(func() {
		if got, err := sysctl.TCPFinTimeout.Get(); err != nil || got != distinctive*time.Second {
			t.Errorf("Get on a thread in the namespace = %v, %v, want %d s", got, err, distinctive)
		}
		if got, err := sysctl.TCPFinTimeout.GetFS(fsys); err != nil || got != distinctive*time.Second {
			t.Errorf("GetFS(InNamespace) on a thread in the namespace = %v, %v, want %d s", got, err, distinctive)
		}
	})

	// What was opened in the namespace stays of it, whoever reads.
	f, err := fsys.Open("net/ipv4/tcp_fin_timeout")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	buf := make([]byte, 64)
	if n, err := f.Read(buf); string(buf[:n]) != fmt.Sprintln(distinctive) {
		t.Errorf("read from outside: %q, %v", buf[:n], err)
	}

	// 9 KB, which fs.ReadFile would cut without the ReadFile method.
	if got, err := fs.ReadFile(fsys, "net/ipv4/ip_local_reserved_ports"); err != nil || string(got) != reserved {
		t.Errorf("the %d bytes of ip_local_reserved_ports came as %d, %v", len(reserved), len(got), err)
	}

	if _, err := sysctl.TCPTWRecycle.GetFS(fsys); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("tcp_tw_recycle in the namespace: %v, want fs.ErrNotExist", err)
	}
}

func TestInNamespaceErrors(t *testing.T) {
	if _, err := sysctl.TCPFinTimeout.GetFS(sysctl.InNamespace(-1)); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a descriptor that is not open: %v, want an error other than fs.ErrNotExist", err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if _, err := sysctl.TCPFinTimeout.GetFS(sysctl.InNamespace(int(null.Fd()))); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a descriptor of something else: %v, want an error other than fs.ErrNotExist", err)
	}
	for _, name := range []string{"", "/net", "../self/status", "net/../net", "net/"} {
		if f, err := sysctl.InNamespace(-1).Open(name); f != nil || !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Open(%q): %v, want fs.ErrInvalid", name, err)
		}
	}
}
