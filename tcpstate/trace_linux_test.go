package tcpstate_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
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
func openTrace(t *testing.T, own ports) *trace {
	t.Helper()
	tracefs, err := mountTracefs()
	if err != nil {
		t.Logf("changes of state are seen by polling alone: tracefs: %v", err)
		return nil
	}
	tr := &trace{tracefs: tracefs, name: fmt.Sprintf("instances/tcpstate-test-%d-%d", os.Getpid(), own.first)}
	t.Cleanup(func() { _ = unix.Close(tracefs) })
	if err := tr.start(own); errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
		t.Logf("changes of state are seen by polling alone: %v", err)
		return nil
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unlinkat(tracefs, tr.name, unix.AT_REMOVEDIR) })
	return tr
}

// start makes a trace buffer of our own and switches the trace point on. The buffer is not for what others on this
// machine do, who could fill it.
func (tr *trace) start(own ports) error {
	if err := unix.Mkdirat(tr.tracefs, tr.name, 0o700); err != nil {
		return fmt.Errorf("an instance of tracefs: %w", err)
	}
	// A socket that begins to connect has no port of its own yet.
	err := tr.write("filter", fmt.Sprintf("(sport >= %d && sport <= %d) || dport == %d", own.first, own.last, own.first))
	if err == nil {
		err = tr.write("enable", "1")
	}
	if err != nil {
		_ = unix.Unlinkat(tr.tracefs, tr.name, unix.AT_REMOVEDIR)
	}
	return err
}

func (tr *trace) write(name, value string) error {
	f, err := tr.file("events/sock/inet_sock_set_state/"+name, unix.O_WRONLY)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
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

// changesOf are those of a row. An orphan in FIN_WAIT2 is a mini-socket.
func changesOf(tr tcpstate.Transition, orphan bool) (list []change) {
	steps := passed(tr)
	if tr.Child == tcpstate.Established { // by a SYN cookie, without a request socket
		steps = []tcpstate.State{tcpstate.NewSynRecv, tcpstate.SynRecv, tr.Child}
	}
	for i, to := range steps[1:] {
		from := steps[i]
		switch {
		case from == tcpstate.NewSynRecv && to == tcpstate.SynRecv:
			from = tcpstate.Listen // whose copy begins
		case from == tcpstate.NewSynRecv, from == tcpstate.TimeWait, from == tcpstate.FinWait2 && orphan:
			continue // no full socket yet, or no more
		}
		if c := (change{full(from), full(to)}); c.from != c.to {
			list = append(list, c)
		}
	}
	// Closed, an owned socket in FIN_WAIT2 gives way to the mini-socket; so does an orphan that gets there.
	if gone := tr.From == tcpstate.FinWait2 && tr.Event == tcpstate.Close; gone || orphan && tr.From == tcpstate.FinWait1 && tr.To == tcpstate.FinWait2 {
		list = append(list, change{tcpstate.FinWait2, tcpstate.Closed})
	}
	return list
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

// check compares what was traced with the table: the socket at each address has changed as the rows of its way say,
// and then only as rows say.
func (tr *trace) check(t *testing.T, trails map[string][]change) {
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
	known := map[change]bool{}
	for tr := range tcpstate.Transitions() {
		for _, c := range append(changesOf(tr, false), changesOf(tr, true)...) {
			known[c] = true
		}
	}
	got, kinds := map[string][]change{}, map[change]bool{}
	for line := range bytes.Lines(text) {
		addr, c, err := parseChange(string(line))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if _, ours := trails[addr]; !ours {
			continue
		}
		if !known[c] {
			t.Errorf("the kernel traced %v, which is not in the table", c)
		}
		got[addr] = append(got[addr], c)
		kinds[c] = true
	}
	for c := range known {
		if !kinds[c] {
			t.Errorf("the kernel traced no %v", c)
		}
	}
	for addr, want := range trails {
		if len(want) > 0 && want[0].to == tcpstate.Listen && len(got[addr]) == 0 {
			continue // without bind a listener has no address
		}
		if got := got[addr]; len(got) < len(want) || !slices.Equal(got[:len(want)], want) {
			t.Errorf("the table has %v, and the kernel traced %v", want, got)
		}
	}
	t.Logf("%d sockets changed as the table says, in %d ways", len(got), len(kinds))
}

// parseChange reads a line with "inet_sock_set_state: … saddr=10.1.2.3 … oldstate=TCP_SYN_SENT newstate=TCP_CLOSE".
// Of others the address is empty.
func parseChange(line string) (addr string, c change, err error) {
	_, line, ok := strings.Cut(line, " inet_sock_set_state: ")
	if !ok {
		return "", c, nil
	}
	fields := map[string]string{}
	for f := range strings.FieldsSeq(line) {
		name, value, _ := strings.Cut(f, "=")
		fields[name] = value
	}
	var errFrom, errTo error
	c.from, errFrom = tcpstate.Parse(fields["oldstate"])
	c.to, errTo = tcpstate.Parse(fields["newstate"])
	if c.from == c.to {
		return "", c, errors.Join(errFrom, errTo)
	}
	return fields["saddr"], c, errors.Join(errFrom, errTo)
}
