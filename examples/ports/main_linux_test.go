package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/cli/clitest"
	"github.com/seed16c515c6/timewait/internal/nstest"
)

func TestMain(m *testing.M) { clitest.Main(m, main) }

// text runs the program and returns its words, line by line.
func text(t *testing.T, args ...string) (lines []string) {
	t.Helper()
	for line := range strings.Lines(clitest.Output(t, run, args...)) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return lines
}

func TestNothing(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		nstest.Set(t, "ipv4/ip_local_reserved_ports", "40000-40009")
		lines := text(t)
		if len(lines) != 2 || lines[0] != "28222 local ports to connect from: 32768-60999, 10 of them reserved" || lines[1] != "No outgoing connections." {
			t.Errorf("%q", lines)
		}
	})
}

// output is what -json prints.
type output struct {
	Range                   string
	Reserved, Bound, Usable int
	Destinations            []destination
}

type destination struct {
	From                           netip.Addr
	To                             netip.AddrPort
	Used, Reusable, Free, Headroom int
	TimeWait                       int      `json:"time_wait"`
	FinWait2                       int      `json:"fin_wait2"`
	Closed                         float64  `json:"closed_per_second"`
	Limit                          float64  `json:"limit_per_second"`
	RunsOut                        *float64 `json:"runs_out_in_seconds"`
	Missed                         int      `json:"not_counted_at_most"`
}

func asJSON(t *testing.T) (r output) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(clitest.Output(t, run, "-json")))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		t.Fatal(err)
	}
	return r
}

// Twenty TIME_WAITs to a destination that has 40 ports, and one connection to
// another. How many connects succeed, connect() says.
func TestPorts(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		nstest.Set(t, "ipv4/tcp_tw_reuse", "0")
		nstest.Set(t, "ipv4/tcp_rfc1337", "1") // a RST that is late ends no TIME_WAIT
		nstest.Set(t, "ipv4/ip_local_port_range", "40000 40039")
		to, other := netip.MustParseAddrPort("127.0.0.1:5432"), netip.MustParseAddrPort("127.0.0.1:5433")
		l := listen(t, to)
		pair(t, listen(t, other), other)
		begin := time.Now()
		for range 20 {
			closeBoth(t, l, to)
		}
		end := time.Now()
		r := asJSON(t)
		if r.Usable != 40 || r.Range != "40000-40039" || r.Bound != 0 || r.Reserved != 0 || len(r.Destinations) != 2 {
			t.Fatalf("%+v", r)
		}
		first, second := r.Destinations[0], r.Destinations[1]
		want := destination{From: to.Addr(), To: to, Used: 20, TimeWait: 20, Free: 20, Headroom: 20, Limit: 40. / 60, Closed: first.Closed, RunsOut: first.RunsOut}
		if first != want {
			t.Errorf("%+v, want %+v", first, want)
		}
		if second != (destination{From: other.Addr(), To: other, Used: 1, Free: 39, Headroom: 39, Limit: 40. / 60}) {
			t.Errorf("%+v", second)
		}
		// The rate is that of ten seconds, and of the twenty ports left.
		if time.Since(begin) < 9*time.Second && first.Closed != 2 || time.Since(end) < 9*time.Second && first.Closed < 0.1 || first.Closed > 2 {
			t.Errorf("%v closed a second", first.Closed)
		}
		if first.Closed == 2 && (first.RunsOut == nil || *first.RunsOut != 10) {
			t.Errorf("%+v", first)
		}

		// As text it says the same. The rate may change in between; within ten seconds it
		// is zero and stays.
		var lines []string
		for again := asJSON(t); ; r, again = again, asJSON(t) {
			lines = text(t)
			if last := asJSON(t); reflect.DeepEqual(r, last) && reflect.DeepEqual(again, last) {
				break
			}
		}
		first = r.Destinations[0]
		when, last := "-", "None of them runs out, if it goes on so."
		if first.RunsOut != nil {
			when = fmt.Sprintf("in %v", time.Duration(*first.RunsOut)*time.Second)
			last = fmt.Sprintf("%v runs out first, %s. doctor says what to do.", to, when)
		}
		for _, want := range []string{
			"40 local ports to connect from: 40000-40039",
			"used TIME_WAIT reusable free headroom closed/s limit/s runs out from to",
			fmt.Sprintf("20 20 0 20 20 %.0f 1 %s 127.0.0.1 %v", first.Closed, when, to),
			fmt.Sprintf("1 0 0 39 39 0 1 - 127.0.0.1 %v", other),
			last,
		} {
			if !slices.Contains(lines, want) {
				t.Errorf("no %q in\n%s", want, strings.Join(lines, "\n"))
			}
		}
		if lines := text(t, "-n", "1"); !strings.Contains(strings.Join(lines, "\n"), "1 more (-n)") {
			t.Errorf("%q", lines)
		}

		// The proof: connect() until it fails.
		got := 0
		for {
			_, err := connect(t, to)
			if errors.Is(err, unix.EADDRNOTAVAIL) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got++
		}
		if got != 20 {
			t.Errorf("%d connects succeed, the headroom was 20", got)
		}
		if lines := text(t); !slices.Contains(lines, fmt.Sprintf("%v runs out first, now. doctor says what to do.", to)) {
			t.Errorf("%q", lines)
		}
	})
}

// A listener on a port of the range takes that port from connections.
func TestBound(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		nstest.Set(t, "ipv4/ip_local_port_range", "40000 40039")
		listen(t, netip.MustParseAddrPort("127.0.0.9:40007"))
		to := netip.MustParseAddrPort("127.0.0.1:5432")
		pair(t, listen(t, to), to)
		r := asJSON(t)
		if r.Usable != 39 || r.Bound != 1 || len(r.Destinations) != 1 || r.Destinations[0].To != to || r.Destinations[0].Headroom != 38 {
			t.Errorf("%+v", r)
		}
		if lines := text(t); lines[0] != "39 local ports to connect from: 40000-40039, 1 of them bound" {
			t.Errorf("%q", lines)
		}
	})
}

// socket makes one that is reset when the test ends, if it is not closed before.
func socket(t *testing.T) *int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return keep(t, fd)
}

func keep(t *testing.T, fd int) *int {
	t.Cleanup(func() {
		if fd >= 0 {
			_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
			_ = unix.Close(fd)
		}
	})
	return &fd
}

func sockaddr(a netip.AddrPort) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
}

func listen(t *testing.T, at netip.AddrPort) *int {
	t.Helper()
	fd := socket(t)
	if err := unix.Bind(*fd, sockaddr(at)); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(*fd, 100); err != nil {
		t.Fatal(err)
	}
	return fd
}

func connect(t *testing.T, to netip.AddrPort) (*int, error) {
	t.Helper()
	fd := socket(t)
	for {
		switch err := unix.Connect(*fd, sockaddr(to)); {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EISCONN): // after EINTR
			return fd, nil
		default:
			return fd, err
		}
	}
}

// pair makes a connection to the listener.
func pair(t *testing.T, listener *int, to netip.AddrPort) (client, server *int) {
	t.Helper()
	client, err := connect(t, to)
	if err != nil {
		t.Fatal(err)
	}
	for {
		fd, _, err := unix.Accept4(*listener, unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		return client, keep(t, fd)
	}
}

// closeBoth makes a connection and ends it: of the client's end TIME_WAIT is left, and
// nothing of the other.
func closeBoth(t *testing.T, listener *int, to netip.AddrPort) {
	t.Helper()
	client, server := pair(t, listener, to)
	const established, closeWait, closed = 1, 8, 7
	await(t, *client, established)
	shut(t, *client)
	await(t, *server, closeWait)
	shut(t, *server)
	for _, fd := range []*int{client, server} {
		await(t, *fd, closed)
		if err := unix.Close(*fd); err != nil {
			t.Fatal(err)
		}
		*fd = -1
	}
}

func shut(t *testing.T, fd int) {
	t.Helper()
	if err := unix.Shutdown(fd, unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
}

// await waits for a state, by the kernel's number.
func await(t *testing.T, fd int, state uint8) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			t.Fatal(err)
		}
		if info.State == state {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("state %d, want %d", info.State, state)
		}
	}
}

func TestWaitAndNetNS(t *testing.T) {
	nstest.RequireNamespace(t)
	there := nstest.NewNamespace(t)
	there.Do(func() { nstest.TimeWait(t, nstest.IPv6, 3) })
	out := clitest.Output(t, run, "-wait", "1s", "-netns", clitest.Path(there))
	if !strings.Contains(out, "None of them runs out") || !strings.Contains(out, "[::1]:") {
		t.Error(out)
	}
}

func TestErrors(t *testing.T) {
	nstest.RequireNamespace(t)
	for _, tt := range []struct {
		args   []string
		status int
		words  []string
	}{
		{[]string{"-netns", "no-such-name"}, 1, []string{`no network namespace "no-such-name"`}},
		{[]string{"-n", "0"}, 2, []string{"-n", "0", "ports -h"}},
		{[]string{"-wait", "10ms"}, 2, []string{"-wait", "10ms"}},
		{[]string{"10"}, 2, []string{`unexpected argument "10"`}},
	} {
		clitest.Fails(t, "ports", tt.args, tt.status, tt.words...)
	}
}

func TestHelp(t *testing.T) {
	clitest.Help(t, "ports", 40, "headroom", "EADDRNOTAVAIL", "-wait TIME", "-netns")
}
