package nstest

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/tcpstate"
)

// TimeWait makes n sockets in TIME_WAIT, all of connections to one listener that is gone when it returns: Remote is
// the same for each. They last 60 seconds. It skips where the kernel would not keep as many.
func TimeWait(t testing.TB, family Family, n int) []Made {
	t.Helper()
	l := listen(t, family, 16)
	made := timeWaits(t, family, l, n)
	Close(t, l)
	return made
}

// Many makes so many connections, each with two sockets in ESTABLISHED, and so many sockets in TIME_WAIT, all on one
// listener that is gone when it returns. It skips where descriptors or the kernel's TIME_WAIT table do not suffice;
// 3000 connections and 2000 of the other fit most machines.
func Many(t testing.TB, family Family, connections, timeWait int) []Made {
	t.Helper()
	// Go has raised the soft limit to the hard one by now.
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(os.NewSyscallError("getrlimit", err))
	}
	if need := uint64(2*connections + 100 + len(openFiles())); limit.Cur < need {
		Skip(t, "%d file descriptors: the limit is %d", need, limit.Cur)
	}
	l := listen(t, family, 16)
	m := maker{t: t, family: family}
	for range connections {
		c := dial(t, family, l)
		s := accept(t, l)
		m.add("client", c, tcpstate.Established, timerOff)
		m.add("server", s, tcpstate.Established, timerOff)
	}
	// These come last: a connect may take the port of a TIME_WAIT socket, which is then no more.
	m.made = append(m.made, timeWaits(t, family, l, timeWait)...)
	Close(t, l)
	return m.made
}

func timeWaits(t testing.TB, family Family, listener, n int) []Made {
	t.Helper()
	if limit, used := timeWaitLimit(t), timeWaitCount(t); n+used > limit {
		Skip(t, "room for %d sockets in TIME_WAIT: there are %d and tcp_max_tw_buckets is %d", n, used, limit)
	}
	// On loopback a connect may use the port of a TIME_WAIT socket again after a second (tcp_tw_reuse), and that
	// socket is no more: then there is one instead of two.
	all := make([]Made, 0, n)
	index := make(map[netip.AddrPort]int, n)
	for len(all) < n {
		made := timeWait(t, family, listener)
		if i, again := index[made.Local]; again {
			all[i] = made
			continue
		}
		index[made.Local] = len(all)
		all = append(all, made)
	}
	return all
}

// timeWait connects to the listener and closes, the client first. Both sockets say CLOSE when it is over: the
// client's has left a mini-socket in its place.
func timeWait(t testing.TB, family Family, listener int) Made {
	t.Helper()
	c := dial(t, family, listener)
	s := accept(t, listener)
	await(t, c, tcpstate.Established)
	made := Made{
		Name: "time-wait", Family: family.Number(), State: tcpstate.TimeWait, Timer: timerTimeWait,
		Local: localAddr(t, c), Remote: localAddr(t, s),
		FD: -1, Cookie: cookie(t, c), UID: uint32(os.Getuid()),
	}
	shutdown(t, c)
	await(t, s, tcpstate.CloseWait) // Not until FIN_WAIT2: the ACK for that may be delayed, and goes with the FIN.
	shutdown(t, s)
	await(t, c, tcpstate.Closed)
	await(t, s, tcpstate.Closed)
	Close(t, c)
	Close(t, s)
	return made
}

func timeWaitLimit(t testing.TB) int {
	t.Helper()
	b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_max_tw_buckets")
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(string(bytes.TrimSpace(b)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func timeWaitCount(t testing.TB) int {
	t.Helper()
	b, err := os.ReadFile("/proc/thread-self/net/sockstat")
	if err != nil {
		t.Fatal(err)
	}
	_, b, _ = bytes.Cut(b, []byte("TCP: "))
	var inuse, orphan, tw int
	if _, err := fmt.Sscanf(string(b), "inuse %d orphan %d tw %d", &inuse, &orphan, &tw); err != nil {
		t.Fatalf("/proc/thread-self/net/sockstat: %v", err)
	}
	return tw
}
