package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/cli/clitest"
	"github.com/seed16c515c6/timewait/internal/nstest"
)

func TestMain(m *testing.M) { clitest.Main(m, main) }

func set(t *testing.T, name, value string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value+"\n"), 0); err != nil {
		t.Fatal(err)
	}
}

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
		set(t, "ip_local_reserved_ports", "40000-40009")
		lines := text(t)
		if len(lines) != 2 || lines[0] != "28222 local ports to connect from: 32768-60999, 10 of them reserved" || lines[1] != "No outgoing connections." {
			t.Errorf("%q", lines)
		}
	})
}

// Twenty TIME_WAITs to a destination that has 30 ports, and connections to another.
// How many connects succeed, connect() says.
func TestPorts(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		set(t, "tcp_tw_reuse", "0")
		set(t, "ip_local_port_range", "40000 40039")
		made := nstest.TimeWait(t, nstest.IPv4, 20) // its listener was on one of the ports, and is gone
		to := made[0].Remote
		client, server := nstest.Pair(t, nstest.IPv4)
		peer, err := unix.Getpeername(client)
		if err != nil {
			t.Fatal(err)
		}
		other := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(peer.(*unix.SockaddrInet4).Port))

		var r struct {
			Range                   string
			Reserved, Bound, Usable int
			Destinations            []struct {
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
		}
		d := json.NewDecoder(strings.NewReader(clitest.Output(t, run, "-json")))
		d.DisallowUnknownFields()
		if err := d.Decode(&r); err != nil {
			t.Fatal(err)
		}
		first := r.Destinations[0]
		if r.Usable != 40 || first.To != to || first.TimeWait != 20 || first.Used != 20 || first.Free != 20 || first.Headroom != 20 || first.Closed != 2 || first.RunsOut == nil {
			t.Errorf("%+v", r)
		} else if *first.RunsOut != 10 { // 20 are left, at 2 a second
			t.Errorf("runs out in %v", *first.RunsOut)
		}
		second := r.Destinations[1]
		if second.To != other && second.From != netip.MustParseAddr("127.0.0.1") {
			t.Errorf("%+v, want %v", second, other)
		}

		lines := text(t)
		for _, want := range []string{
			"40 local ports to connect from: 40000-40039",
			"used TIME_WAIT reusable free headroom closed/s limit/s runs out from to",
			fmt.Sprintf("20 20 0 20 20 2 1 in 10s 127.0.0.1 %v", to),
			fmt.Sprintf("%v runs out first, in 10s. doctor says what to do.", to),
		} {
			found := false
			for _, line := range lines {
				found = found || line == want
			}
			if !found {
				t.Errorf("no %q in\n%s", want, strings.Join(lines, "\n"))
			}
		}
		if lines := text(t, "-n", "1"); !strings.Contains(strings.Join(lines, "\n"), "more (-n)") {
			t.Errorf("%q", lines)
		}

		// The proof: a listener there again, and connect() until it fails. (A listener
		// on a port of the range takes that port.)
		nstest.Abort(t, client)
		nstest.Abort(t, server) // its port was bound, which a dump does not tell
		l := listen(t, to)
		defer unix.Close(l)
		want := headroom(t, to)
		if want != 19 {
			t.Errorf("headroom %d with a listener in the range, want 19", want)
		}
		got := 0
		for {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(fd)
			if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); errors.Is(err, unix.EADDRNOTAVAIL) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			got++
		}
		if got != want {
			t.Errorf("%d connects succeed, the headroom was %d", got, want)
		}
		if lines := text(t); !strings.Contains(strings.Join(lines, "\n"), fmt.Sprintf("%v runs out first, now.", to)) {
			t.Errorf("%q", lines)
		}
	})
}

func listen(t *testing.T, at netip.AddrPort) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()})
	}
	if err == nil {
		err = unix.Listen(fd, 100)
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// headroom is what the program says about a destination.
func headroom(t *testing.T, to netip.AddrPort) int {
	t.Helper()
	var r struct {
		Destinations []struct {
			To       netip.AddrPort
			Headroom int
		}
	}
	if err := json.Unmarshal([]byte(clitest.Output(t, run, "-json")), &r); err != nil {
		t.Fatal(err)
	}
	for _, d := range r.Destinations {
		if d.To == to {
			return d.Headroom
		}
	}
	t.Fatalf("%v is not among %+v", to, r)
	return 0
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
		out, errs, status := clitest.Exit(t, clitest.Command(tt.args...))
		if status != tt.status || out != "" {
			t.Errorf("%q: status %d, stdout %q", tt.args, status, out)
		}
		clitest.OneLine(t, errs, "ports", tt.words...)
	}
}

func TestHelp(t *testing.T) {
	out, errs, status := clitest.Exit(t, clitest.Command("-h"))
	if status != 0 || errs != "" {
		t.Errorf("status %d, stderr %q", status, errs)
	}
	for _, word := range []string{"Usage: ports", "headroom", "EADDRNOTAVAIL", "-wait TIME", "-netns"} {
		if !strings.Contains(out, word) {
			t.Errorf("no %q in the help", word)
		}
	}
	clitest.Fits(t, out, 80, 40)
}
