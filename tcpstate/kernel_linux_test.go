package tcpstate_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// row is a row of the table.
type row struct {
	state tcpstate.State
	event tcpstate.Event
}

func (r row) String() string { return r.state.String() + "+" + r.event.String() }

// unseen are the rows that the test does not see the kernel do, with the reason.
var unseen = map[row]string{
	{tcpstate.TimeWait, tcpstate.Timeout}: "it takes a minute, a constant of the kernel; that the timer runs is seen",
}

// wayTo is how a socket gets into each state.
var wayTo = map[tcpstate.State]string{
	tcpstate.Closed:        "",
	tcpstate.BoundInactive: "Bind",
	tcpstate.Listen:        "Bind PassiveOpen",
	tcpstate.NewSynRecv:    "Bind PassiveOpen RecvSYN",
	tcpstate.SynSent:       "ActiveOpen",
	tcpstate.SynRecv:       "ActiveOpen RecvSYN",
	tcpstate.Established:   "ActiveOpen RecvSYNACK",
	tcpstate.FinWait1:      "ActiveOpen RecvSYNACK Close",
	tcpstate.FinWait2:      "ActiveOpen RecvSYNACK Close RecvACK",
	tcpstate.Closing:       "ActiveOpen RecvSYNACK Close RecvFIN",
	tcpstate.TimeWait:      "ActiveOpen RecvSYNACK Close RecvFINACK",
	tcpstate.CloseWait:     "ActiveOpen RecvSYNACK RecvFIN",
	tcpstate.LastAck:       "ActiveOpen RecvSYNACK RecvFIN Close",
}

// ways are other ways, for rows that take one, or are to be seen more than once.
var ways = map[row][]string{
	// A listener has to be there for the new SYN.
	{tcpstate.TimeWait, tcpstate.RecvSYN}: {"Bind PassiveOpen RecvSYN RecvACK Close RecvFINACK"},
	// Only an orphan has the timer, and only a mini-socket is taken over, or ended by a SYN.
	{tcpstate.FinWait2, tcpstate.RecvSYN}: {"ActiveOpen RecvSYNACK Close RecvACK Close"},
	{tcpstate.FinWait2, tcpstate.Timeout}: {"ActiveOpen RecvSYNACK Close RecvACK Close"},
	{tcpstate.FinWait2, tcpstate.Reuse}:   {"ActiveOpen RecvSYNACK Close RecvACK Close"},
	// The socket of a process, and the mini-socket.
	{tcpstate.FinWait2, tcpstate.Abort}:    {"ActiveOpen RecvSYNACK Close RecvACK", "ActiveOpen RecvSYNACK Close RecvACK Close"},
	{tcpstate.FinWait2, tcpstate.RecvFIN}:  {"ActiveOpen RecvSYNACK Close RecvACK", "ActiveOpen RecvSYNACK Close RecvACK Close", "ActiveOpen RecvSYNACK Close Close RecvACK"},
	{tcpstate.FinWait2, tcpstate.RecvData}: {"ActiveOpen RecvSYNACK Close RecvACK", "ActiveOpen RecvSYNACK Close RecvACK Close"},
	{tcpstate.FinWait2, tcpstate.RecvRST}:  {"ActiveOpen RecvSYNACK Close RecvACK", "ActiveOpen RecvSYNACK Close RecvACK Close"},
	// The accepted side of a connection does what the connecting one does.
	{tcpstate.LastAck, tcpstate.RecvACK}: {"ActiveOpen RecvSYNACK RecvFIN Close", "Bind PassiveOpen RecvSYN RecvFINACK Close"},
	// What a program does with its socket, it can do again.
	{tcpstate.Listen, tcpstate.Abort}:        {"Bind PassiveOpen", "ActiveOpen RecvSYNACK Abort Bind PassiveOpen"},
	{tcpstate.Established, tcpstate.RecvFIN}: {"ActiveOpen RecvSYNACK", "Bind PassiveOpen Abort ActiveOpen RecvSYNACK"},
}

// TestKernel drives a socket of the running kernel over every row of the table, from CLOSE and with a handmade peer,
// and watches its state in dumps, by its cookie, and every change of state where there is a trace point to be read.
// Each row has to happen as it says, the segments that the kernel sends included.
func TestKernel(t *testing.T) {
	nstest.RequireNamespace(t)
	// The trace point tells of the whole machine, and of no namespace: ports and addresses tell this run from others.
	run := randomPorts()
	trace := openTrace(t, run)
	var mu sync.Mutex
	seen, skipped := map[row]bool{}, map[row]bool{}
	trails := map[string][]change{} // by address
	t.Run("rows", func(t *testing.T) {
		for tr := range tcpstate.Transitions() {
			r := row{tr.From, tr.Event}
			if unseen[r] != "" {
				continue
			}
			todo := ways[r]
			if todo == nil {
				todo = []string{wayTo[tr.From]}
			}
			for _, way := range todo {
				way := append(events(t, way), tr.Event)
				host := netip.AddrFrom4([4]byte{10, byte(run.first >> 8), byte(run.first), byte(len(trails) + 1)})
				trails[host.String()] = nil
				t.Run(r.String(), func(t *testing.T) {
					t.Parallel()
					t.Cleanup(func() {
						mu.Lock()
						defer mu.Unlock()
						skipped[r] = skipped[r] || t.Skipped()
					})
					nstest.NewNamespace(t).Do(func() {
						s := newSubject(t, host, run)
						for i, e := range way {
							s.happens(e, i+1 < len(way) && way[i+1] == tcpstate.Timeout)
						}
						mu.Lock()
						defer mu.Unlock()
						trails[host.String()] = s.trail
						for _, r := range s.rows {
							seen[r] = true
						}
					})
				})
			}
		}
	})
	if t.Failed() {
		return
	}
	for tr := range tcpstate.Transitions() {
		r := row{tr.From, tr.Event}
		if seen[r] == (unseen[r] != "") && !skipped[r] {
			t.Errorf("%v: seen %v, and the reason not to is %q", r, seen[r], unseen[r])
		}
	}
	trace.check(t, trails)
}

func events(t testing.TB, way string) (list []tcpstate.Event) {
	for name := range strings.FieldsSeq(way) {
		e, err := tcpstate.ParseEvent(name)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

// TestKernelSharesCookie uses a socket again whose connection is in TIME_WAIT, and finds two with its cookie.
func TestKernelSharesCookie(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		s := newSubject(t, netip.MustParseAddr("10.0.0.1"), randomPorts())
		for _, e := range events(t, wayTo[tcpstate.TimeWait]) {
			s.happens(e, false)
		}
		s.must("connect to AF_UNSPEC", disconnect(s.fd))
		s.must("listen", unix.Listen(s.fd, 5))
		var states tcpstate.Set
		for _, row := range s.dump(tcpstate.All, s.mine) {
			states = states.With(row.State)
		}
		if want := tcpstate.SetOf(tcpstate.TimeWait, tcpstate.Listen); states != want {
			t.Errorf("of cookie %d there are sockets in %v, want %v", s.cookie, states, want)
		}
		if tcpstate.TimeWait.MayBecome(tcpstate.Listen) {
			t.Error("TIME_WAIT may become LISTEN")
		}
	})
}

// ports are those that the kernel takes for sockets without one. The peer has the first, at its own address.
type ports struct{ first, last int }

func randomPorts() ports {
	first := 2048 + 16*rand.N(3000)
	return ports{first, first + 15}
}

// watched is a socket of the kernel on its way, and its peer.
type watched struct {
	t        *testing.T
	peer     *peer
	client   *sockdiag.Client
	fd       int // -1: it has none
	listener int // of an accepted socket, or -1
	open     map[int]bool
	bound    bool // and nothing else
	hidden   bool // bound sockets are, in this kernel
	cookie   uint64
	state    tcpstate.State
	rows     []row    // that were seen
	trail    []change // that were
}

func newSubject(t *testing.T, host netip.Addr, own ports) *watched {
	t.Helper()
	running, err := sockdiag.RunningRelease()
	if err != nil {
		t.Fatal(err)
	}
	s := &watched{t: t, peer: newPeer(t, host, own.first), listener: -1, open: map[int]bool{}, hidden: !running.AtLeast(6, 8), state: tcpstate.Closed}
	if s.client, err = sockdiag.Dial(nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.client.Close()
		for fd := range s.open {
			_ = unix.Close(fd)
		}
	})
	nstest.Set(s.t, "ipv4/ip_local_port_range", fmt.Sprintf("%d %d", own.first, own.last))
	s.fd = s.socket()
	s.cookie = cookieOf(t, s.fd)
	return s
}

func (s *watched) socket() int {
	s.t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
	s.must("socket", err)
	s.open[fd] = true
	s.must("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	return fd
}

func cookieOf(t testing.TB, fd int) uint64 {
	t.Helper()
	c, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		t.Fatal(os.NewSyscallError("getsockopt(SO_COOKIE)", err))
	}
	return c
}

func (s *watched) must(call string, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("%v, %s: %v", s.state, call, err)
	}
}

// dump returns the rows of the dump that pick is true for.
func (s *watched) dump(states tcpstate.Set, pick func(*sockdiag.Socket) bool) (rows []sockdiag.Socket) {
	s.t.Helper()
	for row, err := range s.client.Dump(context.Background(), sockdiag.Query{Family: sockdiag.IPv4, States: states}) {
		if err != nil {
			s.t.Fatal(err)
		}
		if pick(&row) {
			rows = append(rows, row)
		}
	}
	return rows
}

func (s *watched) mine(row *sockdiag.Socket) bool { return row.Cookie == s.cookie }

// look returns the socket's state as the kernel shows it. Request sockets are told apart by the mask that selects
// nothing else. A socket in no table is closed. Kernels before 6.8 have none for sockets that are only bound.
func (s *watched) look() tcpstate.State {
	s.t.Helper()
	if len(s.dump(tcpstate.NewSynRecv.Set(), s.mine)) > 0 {
		return tcpstate.NewSynRecv
	}
	rows := s.dump(tcpstate.All, s.mine)
	switch {
	case len(rows) > 0:
		return rows[len(rows)-1].State
	case s.bound && s.hidden && localAddr(s.t, s.fd).Port() != 0:
		return tcpstate.BoundInactive
	}
	return tcpstate.Closed
}

func localAddr(t testing.TB, fd int) netip.AddrPort {
	t.Helper()
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(os.NewSyscallError("getsockname", err))
	}
	a := sa.(*unix.SockaddrInet4)
	return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
}

// happens lets the event happen, and checks that the kernel does what the table says and shows the states that it says.
// What comes after a timeout next has to be prepared for.
func (s *watched) happens(e tcpstate.Event, timeoutNext bool) {
	s.t.Helper()
	var tr tcpstate.Transition
	for r := range tcpstate.Transitions() {
		if r.From == s.state && r.Event == e {
			tr = r
		}
	}
	if tr.From == 0 {
		s.t.Fatalf("the table has no %v in %v", e, s.state)
	}
	s.peer.reset() // of what was sent before
	orphan := s.fd < 0
	s.trail = append(s.trail, changesOf(tr, orphan)...)
	s.cause(e, timeoutNext)
	if tr.Child != 0 && tr.From == tcpstate.Listen {
		s.followChild(tr)
		s.rows = append(s.rows, row{tr.From, e})
		return
	}
	s.await(passed(tr)...)
	if tr.From == tcpstate.NewSynRecv && tr.To != tr.From && tr.To != tcpstate.Closed {
		s.accept()
	}
	if flags := answer(tr, orphan); flags&rst != 0 {
		for deadline := time.Now().Add(patience); !s.peer.reset(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				s.t.Fatalf("%v+%v: no RST", tr.From, e)
			}
		}
	} else {
		if flags != 0 {
			s.peer.take(flags)
		}
		if s.peer.reset() {
			s.t.Errorf("%v+%v: there was a RST", tr.From, e)
		}
	}
	s.await(tr.To)
	s.rows = append(s.rows, row{tr.From, e})
	s.state = tr.To
	if s.state == tcpstate.TimeWait {
		s.checkTimeWait()
	}
}

// answer returns the flags of what the table says is sent to the peer.
func answer(tr tcpstate.Transition, orphan bool) uint8 {
	what, sends := strings.CutPrefix(tr.Action, "sends ")
	switch kind, _, _ := strings.Cut(what, ","); {
	case !sends, tr.From == tcpstate.Listen && tr.Child == 0: // to others than the peer
		return 0
	case tr.From == tcpstate.FinWait2 && tr.Event == tcpstate.Abort && orphan:
		return 0 // as the row's Departure says
	case kind == "SYN":
		return syn
	case kind == "SYN-ACK", kind == "SYN-ACK again":
		return syn | ack
	case kind == "ACK":
		return ack
	case kind == "FIN":
		return fin | ack
	case kind == "RST":
		return rst
	}
	panic("an Action that is no segment: " + tr.Action)
}

// await waits until the socket is in the last of the states. Until then it may be seen in the others.
func (s *watched) await(states ...tcpstate.State) {
	s.t.Helper()
	from, to := states[0], states[len(states)-1]
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		now := s.look()
		switch {
		case !from.MayBecome(now):
			s.t.Fatalf("%v became %v, which is not in %v", from, now, from.Reachable())
		case now == to:
			return
		case !slices.Contains(states, now):
			s.t.Fatalf("%v became %v, where %v was due", from, now, to)
		case time.Now().After(deadline):
			s.t.Fatalf("still %v after %v, where %v was due", now, patience, to)
		}
	}
}

// followChild turns to the socket that begins beside the listener, which stays as it is.
func (s *watched) followChild(tr tcpstate.Transition) {
	s.t.Helper()
	var rows []sockdiag.Socket
	for deadline := time.Now().Add(patience); len(rows) == 0; time.Sleep(time.Millisecond) {
		rows = s.dump(tcpstate.Connected, func(row *sockdiag.Socket) bool { return row.Remote == s.peer.local })
		if time.Now().After(deadline) {
			s.t.Fatalf("%v+%v: no %v began", tr.From, tr.Event, tr.Child)
		}
	}
	s.await(tr.From)
	if len(rows) != 1 || rows[0].Cookie == s.cookie {
		s.t.Fatalf("beside the listener of cookie %d: %v", s.cookie, rows)
	}
	s.listener, s.fd = s.fd, -1
	s.cookie, s.state = rows[0].Cookie, tr.Child
	if tr.Child == tcpstate.Established {
		s.await(tcpstate.SynRecv, tr.Child)
		s.accept()
		return
	}
	s.await(tr.Child)
	s.peer.take(syn | ack)
}

// accept takes the connection from the listener: the socket that was a request before.
func (s *watched) accept() {
	s.t.Helper()
	fd, _, err := unix.Accept4(s.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	s.must("accept", err)
	s.open[fd] = true
	s.fd = fd
	if got := cookieOf(s.t, fd); got != s.cookie {
		s.t.Errorf("the accepted socket has cookie %d, and was the request %d", got, s.cookie)
	}
}

// checkTimeWait checks that the timer of TIME_WAIT runs, and that its time is a minute.
func (s *watched) checkTimeWait() {
	s.t.Helper()
	rows := s.dump(tcpstate.TimeWait.Set(), s.mine)
	if len(rows) != 1 {
		s.t.Fatalf("%d rows in TIME_WAIT", len(rows))
	}
	if left, ok := rows[0].TimeWait(); !ok || left <= 0 || left > time.Minute {
		s.t.Errorf("TIME_WAIT has %v left, %v", left, ok)
	}
}

// cause does what the event is.
func (s *watched) cause(e tcpstate.Event, timeoutNext bool) {
	s.t.Helper()
	p := s.peer
	s.bound = e == tcpstate.Bind
	switch e {
	case tcpstate.Bind:
		s.must("bind", unix.Bind(s.fd, &unix.SockaddrInet4{Addr: p.host.As4()}))
	case tcpstate.PassiveOpen:
		s.must("listen", unix.Listen(s.fd, 5))
		p.remote = netip.AddrPortFrom(p.host, localAddr(s.t, s.fd).Port())
	case tcpstate.ActiveOpen:
		s.connect()
	case tcpstate.Close:
		s.causeClose(timeoutNext)
	case tcpstate.Abort:
		s.causeAbort()
	case tcpstate.Timeout:
		s.causeTimeout()
	case tcpstate.Reuse:
		fd := s.socket()
		s.must("bind", unix.Bind(fd, &unix.SockaddrInet4{Addr: p.remote.Addr().As4(), Port: int(p.remote.Port())}))
		if err := unix.Connect(fd, sockaddr(p.local)); !errors.Is(err, unix.EINPROGRESS) {
			s.t.Fatal("connect from the port of a mini-socket: ", err)
		}
	case tcpstate.Overflow:
		nstest.Set(s.t, "ipv4/tcp_max_tw_buckets", "0")
		switch s.state {
		case tcpstate.FinWait1:
			s.segment(tcpstate.RecvFINACK)
		case tcpstate.FinWait2:
			s.segment(tcpstate.RecvFIN)
		case tcpstate.Closing:
			s.segment(tcpstate.RecvACK)
		}
	default:
		s.segment(e)
	}
}

func sockaddr(a netip.AddrPort) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
}

func (s *watched) connect() {
	s.t.Helper()
	want := unix.EINPROGRESS
	if s.state == tcpstate.Listen {
		want = unix.EISCONN
	}
	if err := unix.Connect(s.fd, sockaddr(s.peer.local)); !errors.Is(err, want) {
		s.t.Fatalf("connect in %v: %v", s.state, err)
	}
	if s.state != tcpstate.Listen {
		s.peer.remote = localAddr(s.t, s.fd)
		s.peer.iss += 1 << 24
		s.peer.seq = s.peer.iss
	}
}

func (s *watched) causeClose(timeoutNext bool) {
	s.t.Helper()
	switch s.state {
	case tcpstate.Listen:
		s.must("shutdown", unix.Shutdown(s.fd, unix.SHUT_RD))
	case tcpstate.Established, tcpstate.CloseWait:
		s.must("shutdown", unix.Shutdown(s.fd, unix.SHUT_WR))
	default:
		if timeoutNext {
			s.must("setsockopt", unix.SetsockoptInt(s.fd, unix.IPPROTO_TCP, unix.TCP_LINGER2, 1))
		}
		delete(s.open, s.fd)
		s.must("close", unix.Close(s.fd))
		s.fd = -1
	}
}

// causeAbort disconnects the socket, or has sock_diag destroy one without a descriptor.
func (s *watched) causeAbort() {
	s.t.Helper()
	if s.fd >= 0 && s.state != tcpstate.TimeWait {
		s.must("connect to AF_UNSPEC", disconnect(s.fd))
		return
	}
	p := s.peer
	err := netlink.SocketDestroy(tcpAddr(p.remote), tcpAddr(p.local))
	if errors.Is(err, unix.EOPNOTSUPP) {
		nstest.Skip(s.t, "SOCK_DESTROY of a socket in %v (CONFIG_INET_DIAG_DESTROY; of mini-sockets since Linux 6.0)", s.state)
	}
	s.must("SOCK_DESTROY", err)
}

// causeTimeout shortens the timer that runs. What has none running gets one, by data that is not acknowledged.
func (s *watched) causeTimeout() {
	s.t.Helper()
	set := func(fd, option, value int) {
		s.t.Helper()
		s.must("setsockopt", unix.SetsockoptInt(fd, unix.IPPROTO_TCP, option, value))
	}
	switch s.state {
	case tcpstate.FinWait2: // set before it was closed
	case tcpstate.NewSynRecv:
		set(s.listener, unix.TCP_SYNCNT, 1)
	case tcpstate.SynSent:
		set(s.fd, unix.TCP_SYNCNT, 1)
	case tcpstate.Established, tcpstate.CloseWait:
		_, err := unix.Write(s.fd, []byte{1})
		s.must("write", err)
		fallthrough
	default:
		set(s.fd, unix.TCP_USER_TIMEOUT, 1)
	}
}

// segment has the peer send what the event is.
func (s *watched) segment(e tcpstate.Event) {
	s.t.Helper()
	p := s.peer
	unacked := p.ack // all but our SYN or FIN
	if s.state == tcpstate.FinWait1 || s.state == tcpstate.Closing {
		unacked--
	}
	switch e {
	case tcpstate.RecvSYN:
		switch s.state {
		case tcpstate.TimeWait:
			p.seq += 1 << 20
			p.iss = p.seq
		case tcpstate.FinWait2: // in the window
			p.iss = p.seq
		}
		p.send(syn, p.iss, 0)
		p.seq = p.iss + 1
	case tcpstate.RecvSYNACK:
		p.send(syn|ack, p.iss, p.ack)
		p.seq = p.iss + 1
		if s.state == tcpstate.SynRecv {
			s.acknowledgeChallenge()
		}
	case tcpstate.RecvACK:
		if s.state == tcpstate.Listen {
			nstest.Set(s.t, "ipv4/tcp_syncookies", "2")
			p.send(syn, p.iss, 0)
			p.seq = p.iss + 1
			p.take(syn | ack)
		}
		p.send(ack, p.seq, p.ack)
	case tcpstate.RecvFIN:
		if s.state == tcpstate.TimeWait {
			p.seq--
		}
		p.send(fin|ack, p.seq, unacked)
		p.seq++
	case tcpstate.RecvFINACK:
		p.send(fin|ack, p.seq, p.ack)
		p.seq++
	case tcpstate.RecvData:
		if s.fd >= 0 {
			s.must("shutdown", unix.Shutdown(s.fd, unix.SHUT_RD))
		}
		p.send(psh|ack, p.seq, unacked, 1)
	case tcpstate.RecvRST:
		if s.state == tcpstate.SynSent {
			p.send(rst|ack, 0, p.ack)
		} else {
			p.send(rst, p.seq, 0)
		}
	case tcpstate.RecvUnreachable:
		p.unreachable()
	default:
		s.t.Fatalf("no segment is %v", e)
	}
}

// acknowledgeChallenge does for the SYN-ACK of a simultaneous open what older kernels want, as the row's Departure says.
func (s *watched) acknowledgeChallenge() {
	s.t.Helper()
	for deadline := time.Now().Add(patience); s.look() == tcpstate.SynRecv; time.Sleep(time.Millisecond) {
		s.peer.read()
		if slices.ContainsFunc(s.peer.received, func(got segment) bool { return got.flags == ack }) {
			s.peer.send(ack, s.peer.seq, s.peer.ack)
			return
		}
		if time.Now().After(deadline) {
			return
		}
	}
}

func tcpAddr(a netip.AddrPort) net.Addr { return net.TCPAddrFromAddrPort(a) }

// disconnect is connect to AF_UNSPEC, which package unix has no address for.
func disconnect(fd int) error {
	sa := unix.RawSockaddr{Family: unix.AF_UNSPEC}
	_, _, e := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&sa)), unsafe.Sizeof(sa))
	if e != 0 {
		return e
	}
	return nil
}
