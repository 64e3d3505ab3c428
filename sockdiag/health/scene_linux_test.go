package health_test

import (
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/sockdiag/health"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// scene is a network namespace in which a test makes trouble. Its methods are
// called inside, on the thread of in.
type scene struct {
	t  *testing.T
	ns *nstest.Namespace

	// open are the descriptors to close. Numbers are used again, so each has a
	// token of the socket that it was.
	open map[int]*byte
}

// in calls fn inside a new namespace, in which every TIME_WAIT lasts. Where a machine
// is so busy that a FIN is sent twice, the second one finds TIME_WAIT, which answers;
// at the other end nobody is left for that answer, and the RST that comes back would
// end the TIME_WAIT, but for tcp_rfc1337.
func in(t *testing.T, fn func(s *scene)) {
	t.Helper()
	nstest.RequireNamespace(t)
	s := &scene{t, nstest.NewNamespace(t), map[int]*byte{}}
	s.ns.Do(func() {
		s.set("ipv4/tcp_rfc1337", "1")
		fn(s)
	})
}

// take looks at the namespace from outside.
func (s *scene) take(opts health.Options) *health.Snapshot {
	s.t.Helper()
	c, err := sockdiag.Dial(&sockdiag.Config{NetNS: s.ns.FD()})
	if err != nil {
		s.t.Fatal(err)
	}
	defer c.Close()
	snapshot, err := health.Take(s.t.Context(), c, opts)
	if err != nil {
		s.t.Fatal(err)
	}
	return snapshot
}

// set writes a setting of the namespace. It reports whether the kernel has it.
func (s *scene) set(name, value string) bool {
	s.t.Helper()
	err := os.WriteFile("/proc/sys/net/"+name, []byte(value+"\n"), 0)
	if errors.Is(err, os.ErrNotExist) {
		return false
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return true
}

// get reads one.
func (s *scene) get(name string) string {
	s.t.Helper()
	b, err := os.ReadFile("/proc/sys/net/" + name)
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// socket makes one that is closed when the test ends. It blocks, for 10 seconds.
func (s *scene) socket(v6 bool) int {
	s.t.Helper()
	family := unix.AF_INET
	if v6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		nstest.Skip(s.t, "sockets of IPv6")
	}
	s.must("socket", err)
	patience := unix.Timeval{Sec: 10}
	for _, o := range []int{unix.SO_RCVTIMEO, unix.SO_SNDTIMEO} {
		s.must("timeout", unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, o, &patience))
	}
	s.keep(fd)
	return fd
}

func (s *scene) must(what string, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
}

// keep has the descriptor closed when the test ends.
func (s *scene) keep(fd int) {
	token := new(byte)
	s.open[fd] = token
	s.t.Cleanup(func() {
		if s.open[fd] == token {
			s.abort(fd)
		}
	})
}

// close closes in order.
func (s *scene) close(fd int) {
	s.t.Helper()
	delete(s.open, fd)
	s.must("close", unix.Close(fd))
}

// abort closes by reset.
func (s *scene) abort(fd int) {
	delete(s.open, fd)
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	_ = unix.Close(fd)
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// listen makes a listener.
func (s *scene) listen(at netip.AddrPort, backlog int) int {
	s.t.Helper()
	fd := s.socket(at.Addr().Is6())
	s.must("SO_REUSEADDR", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	s.must("bind", unix.Bind(fd, sockaddr(at)))
	s.must("listen", unix.Listen(fd, backlog))
	return fd
}

// way is how to connect.
type way struct {
	from   string // the source address, its port left to connect(); "": the kernel's choice
	device string // to bind to
	v6     bool   // from a socket of IPv6
}

// connect connects and returns the client.
func (s *scene) connect(to netip.AddrPort, w way) (fd int, err error) {
	s.t.Helper()
	fd = s.socket(w.v6 || to.Addr().Is6())
	if w.device != "" {
		s.must("SO_BINDTODEVICE", unix.BindToDevice(fd, w.device))
	}
	if w.from != "" {
		s.must("IP_BIND_ADDRESS_NO_PORT", unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1))
		s.must("bind", unix.Bind(fd, sockaddr(netip.AddrPortFrom(netip.MustParseAddr(w.from), 0))))
	}
	if w.v6 && to.Addr().Is4() {
		to = netip.AddrPortFrom(netip.AddrFrom16(to.Addr().As16()), to.Port())
	}
	for {
		err = unix.Connect(fd, sockaddr(to))
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

// pair connects to a listener and accepts.
func (s *scene) pair(listener int, to netip.AddrPort, w way) (client, server int) {
	s.t.Helper()
	client, err := s.connect(to, w)
	s.must("connect", err)
	server = s.accept(listener)
	return client, server
}

func (s *scene) accept(listener int) int {
	s.t.Helper()
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		s.must("accept", err)
		s.keep(fd)
		return fd
	}
}

// await waits until the descriptor is in a state.
func (s *scene) await(fd int, want tcpstate.State) {
	s.t.Helper()
	s.until("state "+want.String(), func() bool { return s.state(fd) == want })
}

func (s *scene) state(fd int) tcpstate.State {
	s.t.Helper()
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	s.must("TCP_INFO", err)
	return tcpstate.State(info.State)
}

func (s *scene) until(what string, cond func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("waited in vain: %s", what)
		}
	}
}

// halfClose closes first's end, and waits until the other has its FIN and first has
// the ACK for that.
func (s *scene) halfClose(first, other int) {
	s.t.Helper()
	s.must("shutdown", unix.Shutdown(first, unix.SHUT_WR))
	s.await(first, tcpstate.FinWait2)
	s.await(other, tcpstate.CloseWait)
}

// timeWait leaves first's end in TIME_WAIT, and nothing of the other.
func (s *scene) timeWait(first, other int) {
	s.t.Helper()
	s.must("shutdown", unix.Shutdown(first, unix.SHUT_WR))
	s.await(other, tcpstate.CloseWait)
	s.must("shutdown", unix.Shutdown(other, unix.SHUT_WR))
	s.await(first, tcpstate.Closed)
	s.await(other, tcpstate.Closed)
	s.close(first)
	s.close(other)
}

// finWait2 leaves first's end as a mini-socket in FIN_WAIT2.
func (s *scene) finWait2(first, other int) {
	s.t.Helper()
	s.halfClose(first, other)
	s.close(first)
}
