package tcpstate_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/tcpstate"
)

// trace is the kernel's trace point sock:inet_sock_set_state, which tells every change of a full socket's state. A nil
// trace is where the kernel has none for us to read.
type trace struct {
	tracefs int    // the folder
	name    string // of our instance in it
}

// openTrace starts to trace. That is for the machine's root, which an ordinary user's namespace does not have; and a
// kernel may be built or booted without.
func openTrace(t *testing.T) *trace {
	t.Helper()
	tracefs, err := mountTracefs()
	if err != nil {
		t.Logf("changes of state are seen by polling alone: tracefs: %v", err)
		return nil
	}
	tr := &trace{tracefs: tracefs, name: fmt.Sprintf("instances/tcpstate-test-%d", os.Getpid())}
	t.Cleanup(func() { _ = unix.Close(tracefs) })
	if err := tr.start(); errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
		t.Logf("changes of state are seen by polling alone: %v", err)
		return nil
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unlinkat(tracefs, tr.name, unix.AT_REMOVEDIR) })
	return tr
}

// start makes a trace buffer of our own and switches the trace point on.
func (tr *trace) start() error {
	if err := unix.Mkdirat(tr.tracefs, tr.name, 0o700); err != nil {
		return fmt.Errorf("an instance of tracefs: %w", err)
	}
	f, err := tr.file("events/sock/inet_sock_set_state/enable", unix.O_WRONLY)
	if err == nil {
		_, err = f.WriteString("1")
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		_ = unix.Unlinkat(tr.tracefs, tr.name, unix.AT_REMOVEDIR)
	}
	return err
}

// mountTracefs makes a mount that stands in no folder, so that nobody else sees it.
func mountTracefs() (int, error) {
	context, err := unix.Fsopen("tracefs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return 0, err
	}
	defer unix.Close(context)
	if err := unix.FsconfigCreate(context); err != nil {
		return 0, err
	}
	return unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, 0)
}

func (tr *trace) file(name string, flags int) (*os.File, error) {
	fd, err := unix.Openat(tr.tracefs, tr.name+"/"+name, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// change is a change of a full socket's state. A socket that leaves a mini-socket in its place is closed, and so is one
// that is only bound. An accepted one begins as a copy of the listener.
type change struct{ from, to tcpstate.State }

func (c change) String() string { return c.from.String() + "->" + c.to.String() }

// changes are those that the table has.
func changes() map[change]bool {
	all := map[change]bool{}
	for tr := range tcpstate.Transitions() {
		steps := passed(tr)
		if tr.Child == tcpstate.Established { // by a SYN cookie, without a request socket
			steps = []tcpstate.State{tcpstate.Listen, tcpstate.SynRecv, tr.Child}
		}
		for i, to := range steps[1:] {
			from := steps[i]
			switch {
			case from == tcpstate.NewSynRecv && to == tcpstate.SynRecv:
				from = tcpstate.Listen // whose copy begins
			case from == tcpstate.NewSynRecv, from == tcpstate.TimeWait:
				continue // no full socket yet, or no more
			}
			c := change{full(from), full(to)}
			if c.from != c.to {
				all[c] = true
			}
		}
	}
	return all
}

// passed are the states that a row goes through. In Via, the event goes on by the row of that state, if it has one.
func passed(tr tcpstate.Transition) []tcpstate.State {
	if tr.Via == 0 {
		return []tcpstate.State{tr.From, tr.To}
	}
	for on := range tcpstate.Transitions() {
		if on.From == tr.Via && on.Event == tr.Event {
			return append([]tcpstate.State{tr.From}, passed(on)...)
		}
	}
	return []tcpstate.State{tr.From, tr.Via, tr.To}
}

// full is the state of a full socket whose connection is in s.
func full(s tcpstate.State) tcpstate.State {
	if s == tcpstate.BoundInactive || s == tcpstate.TimeWait {
		return tcpstate.Closed
	}
	return s
}

// check compares what was traced of this test's addresses with the table, both ways.
func (tr *trace) check(t *testing.T) {
	t.Helper()
	if tr == nil {
		return
	}
	f, err := tr.file("trace", unix.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	want, got := changes(), map[change]int{}
	for line := range bytes.Lines(text) {
		c, ok, err := parseChange(string(line))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if ok && c.from != c.to {
			got[c]++
		}
	}
	for c, n := range got {
		if !want[c] {
			t.Errorf("the kernel traced %v %d times, which is not in the table", c, n)
		}
	}
	for c := range want {
		if got[c] == 0 {
			t.Errorf("the kernel traced no %v", c)
		}
	}
	t.Logf("%d kinds of changes were traced, and are those of the table", len(got))
}

// parseChange reads a line with "inet_sock_set_state: … saddr=198.51.100.1 … oldstate=TCP_SYN_SENT newstate=TCP_CLOSE".
func parseChange(line string) (c change, ok bool, err error) {
	_, line, ok = strings.Cut(line, " inet_sock_set_state: ")
	if !ok {
		return c, false, nil
	}
	fields := map[string]string{}
	for f := range strings.FieldsSeq(line) {
		name, value, _ := strings.Cut(f, "=")
		fields[name] = value
	}
	if fields["saddr"] != hostAddr.Addr().String() && fields["daddr"] != peerAddr.Addr().String() {
		return c, false, nil
	}
	var errFrom, errTo error
	c.from, errFrom = tcpstate.Parse(fields["oldstate"])
	c.to, errTo = tcpstate.Parse(fields["newstate"])
	return c, true, errors.Join(errFrom, errTo)
}
