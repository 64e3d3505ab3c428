package main

import (
	"io"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/internal/uapi"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// scene is what the tests look at, and what its maker knows of it.
type scene struct {
	minis, finWait2 int
	destinations    []dest // the most first
	full            int    // FIN_WAIT2 sockets that are no mini-sockets
}

// makeScene makes mini-sockets of every kind, in the calling thread's namespace:
// 40 to one destination, 20 and 10 to others, 15 of clients of ours, and those of
// every state.
func makeScene(t *testing.T) (s scene) {
	t.Helper()
	for _, group := range []struct {
		family nstest.Family
		n      int
	}{{nstest.IPv4, 40}, {nstest.IPv6, 20}, {nstest.Mapped, 10}} {
		made := nstest.TimeWait(t, group.family, group.n)
		s.minis += group.n
		remote := netip.AddrPortFrom(made[0].Remote.Addr().Unmap(), made[0].Remote.Port())
		s.destinations = append(s.destinations, dest{Remote: remote.String(), TimeWait: group.n})
		if group.n == 20 {
			l := listen(t, "127.0.0.1:0")
			closeFirst(t, l, 15)
			s.destinations = append(s.destinations, clientsOf(l, true, 15))
			s.minis += 15
		}
	}
	for _, m := range nstest.States(t, nstest.IPv6) {
		switch {
		case m.State == tcpstate.FinWait2 && m.Timer == uapi.TimerTimeWait:
			s.finWait2++
			s.minis++
		case m.State == tcpstate.FinWait2:
			s.full++
		case m.State == tcpstate.TimeWait:
			s.minis++
		}
	}
	if s.finWait2 == 0 || s.full == 0 {
		t.Fatalf("both kinds of FIN_WAIT2 are needed: %+v", s)
	}
	return s
}

// listen listens for plain TCP, for as long as the test lasts at most.
func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// clientsOf is the destination that the clients of a listener are.
func clientsOf(l net.Listener, listening bool, n int) dest {
	return dest{LocalPort: l.Addr().(*net.TCPAddr).AddrPort().Port(), Listening: &listening, TimeWait: n}
}

// closeFirst closes n connections to the listener before their clients do, and
// returns the clients' addresses.
func closeFirst(t *testing.T, l net.Listener, n int) (clients []string) {
	t.Helper()
	for range n {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = s.Close()
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Fatal(err)
		}
		clients = append(clients, c.LocalAddr().String())
		_ = c.Close()
	}
	return clients
}

type ssSocket struct {
	state string
	left  time.Duration
}

// ssTimeWait is what ss says of the sockets with a timer of TIME_WAIT, by their
// two ends.
func ssTimeWait(t *testing.T) map[[2]netip.AddrPort]ssSocket {
	t.Helper()
	path, err := exec.LookPath("ss")
	if err != nil {
		nstest.Skip(t, "ss, of iproute2: %v", err)
	}
	sockets := map[[2]netip.AddrPort]ssSocket{}
	for option, state := range map[string]string{"time-wait": "TIME_WAIT", "fin-wait-2": "FIN_WAIT2"} {
		out, err := exec.Command(path, "-Htano", "state", option).Output()
		if err != nil {
			t.Fatalf("ss: %v", err)
		}
		for line := range strings.Lines(string(out)) {
			// Recv-Q Send-Q Local Peer timer:(timewait,59sec,0)
			f := strings.Fields(line)
			if len(f) < 5 || !strings.HasPrefix(f[4], "timer:(timewait,") {
				continue
			}
			var ends [2]netip.AddrPort
			for i := range ends {
				a, err := netip.ParseAddrPort(f[2+i])
				if err != nil {
					t.Fatalf("ss says %q: %v", line, err)
				}
				ends[i] = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
			}
			sockets[ends] = ssSocket{state, ssTime(t, strings.Split(f[4], ",")[1])}
		}
	}
	return sockets
}

// ssTime reads a time as ss writes it: "1min", "59sec", "9.123ms" (of which the 9
// is seconds), "123ms".
func ssTime(t *testing.T, s string) time.Duration {
	t.Helper()
	m := regexp.MustCompile(`^(?:(\d+)min)?(?:(\d+)(?:sec|\.))?(?:(\d+)ms)?$`).FindStringSubmatch(s)
	if m == nil {
		t.Fatalf("ss says time %q", s)
	}
	var d time.Duration
	for i, unit := range []time.Duration{time.Minute, time.Second, time.Millisecond} {
		if m[i+1] != "" {
			n, err := strconv.Atoi(m[i+1])
			if err != nil {
				t.Fatal(err)
			}
			d += time.Duration(n) * unit
		}
	}
	return d
}
