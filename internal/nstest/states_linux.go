package nstest

import (
	"errors"
	"net/netip"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/tcpstate"
)

// Made is a socket and what the program that made it knows of it, from its own calls and from getsockname,
// getpeername, fstat, getsockopt and ioctl: nothing here comes from a dump.
type Made struct {
	Name   string // What it stands for, as in "fin-wait-2-orphan"; the names of one set differ.
	Family uint8  // AF_INET or AF_INET6: a Mapped socket is AF_INET6.
	State  tcpstate.State
	Timer  uint8 // The kernel's number: 0 off, 1 retransmit, 2 keepalive or an orphan's end, 3 TIME_WAIT, 4 window probe.

	// Remote has address and port zero, of the socket's family, where there is no peer.
	Local, Remote netip.AddrPort

	FD     int    // -1 once closed, and for sockets that never had one.
	Cookie uint64 // SO_COOKIE, read before the descriptor was closed. 0 where there never was one to ask.
	Inode  uint32 // 0 for what has no descriptor: orphans, mini-sockets, request sockets, connections not yet accepted.
	UID    uint32 // Of the program, as its own user namespace has it.
	Named  bool   // It was bound to a port that the program named. A port 0, a connect or an accept does not count.

	Queued, Limit int // Of a listener: connections that wait for accept, and what listen was told.

	// RecvQueue and SendQueue are bytes, by the ioctls SIOCINQ and SIOCOUTQ. These leave out what sock_diag counts:
	// a FIN received (one byte), and the SYN of SYN_SENT. 0 where there is no descriptor, and for a listener.
	RecvQueue, SendQueue uint32
}

// States makes every TCP state of Linux, with socket calls alone, and returns every socket it made: those that stand
// for a state and their peers. They are in the state, and have the timer, when it returns, and keep them for 30
// seconds at least. Descriptors are closed by reset when the test ends, so that only the TIME_WAIT socket is left,
// for its 60 seconds. Ports are of the kernel's choice: sets can stand side by side.
func States(t testing.TB, family Family) []Made {
	t.Helper()
	m := maker{t: t, family: family}
	m.listeners()
	m.unfinished()
	m.established()
	m.finWait2()
	m.timeWait()
	m.behindClosedWindow()
	m.bound()
	return m.made
}

// The timers of inet_diag_msg. From the kernel's net/ipv4/inet_diag.c.
const (
	timerOff = iota
	timerRetransmit
	timerKeepalive // Also what ends an orphan in FIN_WAIT2.
	timerTimeWait
	timerProbe
)

type maker struct {
	t      testing.TB
	family Family
	made   []Made
}

// add waits for the state and records the socket. The result is good until the next add.
func (m *maker) add(name string, fd int, state tcpstate.State, timer uint8) *Made {
	m.t.Helper()
	await(m.t, fd, state)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		m.t.Fatal(os.NewSyscallError("fstat", err))
	}
	made := Made{
		Name: name, Family: m.family.Number(), State: state, Timer: timer,
		Local: localAddr(m.t, fd), Remote: m.noPeer(),
		FD: fd, Cookie: cookie(m.t, fd), Inode: uint32(st.Ino), UID: uint32(os.Getuid()),
	}
	switch peer, err := unix.Getpeername(fd); {
	case err == nil:
		made.Remote = addrPort(peer)
	case !errors.Is(err, unix.ENOTCONN):
		m.t.Fatal(os.NewSyscallError("getpeername", err))
	}
	if state != tcpstate.Listen {
		made.RecvQueue, made.SendQueue = recvQueue(m.t, fd), sendQueue(m.t, fd)
	}
	m.made = append(m.made, made)
	return &m.made[len(m.made)-1]
}

func cookie(t testing.TB, fd int) uint64 {
	t.Helper()
	c, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		t.Fatal(os.NewSyscallError("getsockopt(SO_COOKIE)", err))
	}
	return c
}

func (m *maker) noPeer() netip.AddrPort {
	if m.family == IPv4 {
		return netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
}

// addListener records a listener in whose queue so many connections must wait.
func (m *maker) addListener(name string, fd, queued, limit int) *Made {
	m.t.Helper()
	// For a listener tcpi_unacked is the length of its queue.
	until(m.t, name+" to have its queue", func() bool { return int(tcpInfo(m.t, fd).Unacked) == queued })
	made := m.add(name, fd, tcpstate.Listen, timerOff)
	made.Queued, made.Limit = queued, limit
	return made
}

// addWaiting records the server's side of the client's connection, which no accept has taken.
func (m *maker) addWaiting(name string, client *Made, state tcpstate.State, timer uint8) {
	m.made = append(m.made, Made{
		Name: name, Family: client.Family, State: state, Timer: timer,
		Local: client.Remote, Remote: client.Local, FD: -1, UID: client.UID,
	})
}

func (m *maker) pair() (client, server int) {
	m.t.Helper()
	return Pair(m.t, m.family)
}

// orphan closes the descriptor of a socket that goes on without it.
func (m *maker) orphan(made *Made, timer uint8) {
	m.t.Helper()
	Close(m.t, made.FD)
	made.FD, made.Inode, made.Timer, made.RecvQueue, made.SendQueue = -1, 0, timer, 0, 0
}

func (m *maker) listeners() {
	m.t.Helper()
	l := listen(m.t, m.family, 5)
	one, two := dial(m.t, m.family, l), dial(m.t, m.family, l)
	m.addListener("listen-queued", l, 2, 5)
	c := m.add("queued-client-1", one, tcpstate.Established, timerOff)
	m.addWaiting("queued-server-1", c, tcpstate.Established, timerOff)
	c = m.add("queued-client-2", two, tcpstate.Established, timerOff)
	m.addWaiting("queued-server-2", c, tcpstate.Established, timerOff)

	l = newSocket(m.t, m.family)
	bindNamed(m.t, l, m.family)
	listenOn(m.t, l, 7)
	m.addListener("listen-named", l, 0, 7).Named = true
}

// unfinished makes SYN_SENT and SYN_RECV.
func (m *maker) unfinished() {
	m.t.Helper()
	// A queue with limit 0 takes one connection. Further SYNs are dropped, and sent again for two minutes.
	l := listen(m.t, m.family, 0)
	c := dial(m.t, m.family, l)
	m.addListener("listen-full", l, 1, 0)
	client := m.add("full-client", c, tcpstate.Established, timerOff)
	m.addWaiting("full-server", client, tcpstate.Established, timerOff)
	made := m.add("syn-sent", dial(m.t, m.family, l), tcpstate.SynSent, timerRetransmit)
	made.Remote = localAddr(m.t, l) // getpeername has no answer yet.

	// Under TCP_DEFER_ACCEPT the handshake's last ACK is ignored until data follows, so that the connection stays
	// a request socket, for a minute.
	l = listen(m.t, m.family, 5, option{unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 60})
	client = m.add("syn-recv-client", dial(m.t, m.family, l), tcpstate.Established, timerOff)
	m.addWaiting("syn-recv", client, tcpstate.SynRecv, timerRetransmit)
	m.addListener("listen-defer", l, 0, 5)
}

func (m *maker) established() {
	m.t.Helper()
	c := newSocket(m.t, m.family, option{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1}, option{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 300})
	bindNamed(m.t, c, m.family)
	c, s := pairOf(m.t, m.family, nil, c)
	write(m.t, c, 1000)
	m.add("established-keepalive", c, tcpstate.Established, timerKeepalive).Named = true
	m.add("established-unread", s, tcpstate.Established, timerOff)
}

// finWait2 makes its three kinds: one that is owned, an orphan, and a mini-socket. Closing after FIN_WAIT2 was reached
// makes the change to the other two at once.
func (m *maker) finWait2() {
	m.t.Helper()
	for _, kind := range []struct {
		name   string
		linger int // How long an orphan may last, in seconds: up to 60 it is a mini-socket, above it is a socket first.
		timer  uint8
	}{
		{"fin-wait-2", 0, timerOff},
		{"fin-wait-2-orphan", 100, timerKeepalive},
		{"fin-wait-2-mini", 60, timerTimeWait},
	} {
		c, s := m.pair()
		shutdown(m.t, c)
		made := m.add(kind.name, c, tcpstate.FinWait2, timerOff)
		if kind.linger != 0 {
			option{unix.IPPROTO_TCP, unix.TCP_LINGER2, kind.linger}.set(m.t, c)
			m.orphan(made, kind.timer)
		}
		m.add("close-wait-of-"+kind.name, s, tcpstate.CloseWait, timerOff)
	}
}

func (m *maker) timeWait() {
	m.t.Helper()
	m.made = append(m.made, TimeWait(m.t, m.family, 1)...)
}

// behindClosedWindow makes the states in which a FIN has to wait behind data that the peer does not take.
func (m *maker) behindClosedWindow() {
	m.t.Helper()
	small := []option{{unix.SOL_SOCKET, unix.SO_RCVBUF, 4096}, {unix.SOL_SOCKET, unix.SO_SNDBUF, 16384}}
	stuck := func() (c, s int) { return pairOf(m.t, m.family, small, newSocket(m.t, m.family, small...)) }

	c, s := stuck()
	fill(m.t, c)
	m.add("established-zero-window", c, tcpstate.Established, timerProbe)
	m.add("established-full", s, tcpstate.Established, timerOff)

	c, s = stuck()
	fill(m.t, c)
	shutdown(m.t, c)
	m.add("fin-wait-1", c, tcpstate.FinWait1, timerProbe)
	m.add("peer-of-fin-wait-1", s, tcpstate.Established, timerOff)

	c, s = stuck()
	fill(m.t, c)
	shutdown(m.t, c)
	shutdown(m.t, s)
	m.add("closing", c, tcpstate.Closing, timerProbe)
	m.add("peer-of-closing", s, tcpstate.FinWait2, timerOff)

	c, s = stuck()
	shutdown(m.t, s)
	await(m.t, c, tcpstate.CloseWait)
	fill(m.t, c)
	shutdown(m.t, c)
	m.add("last-ack", c, tcpstate.LastAck, timerProbe)
	m.add("peer-of-last-ack", s, tcpstate.FinWait2, timerOff)
}

// bound makes sockets that are bound and neither listen nor are connected. The kernel calls them CLOSE; from 6.8 on
// sock_diag selects them by a number of their own.
func (m *maker) bound() {
	m.t.Helper()
	fd := newSocket(m.t, m.family)
	bindAny(m.t, fd, m.family)
	m.add("bound", fd, tcpstate.Closed, timerOff).State = tcpstate.BoundInactive
	fd = newSocket(m.t, m.family)
	bindNamed(m.t, fd, m.family)
	made := m.add("bound-named", fd, tcpstate.Closed, timerOff)
	made.State, made.Named = tcpstate.BoundInactive, true
}
