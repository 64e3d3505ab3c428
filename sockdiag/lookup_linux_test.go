package sockdiag_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// control makes a ListenConfig or Dialer set options.
func control(options ...[3]int) func(_, _ string, rc syscall.RawConn) error {
	return func(_, _ string, rc syscall.RawConn) error {
		var err error
		return errors.Join(rc.Control(func(fd uintptr) {
			for _, o := range options {
				err = errors.Join(err, unix.SetsockoptInt(int(fd), o[0], o[1], o[2]))
			}
		}), err)
	}
}

var reusePort = control([3]int{unix.SOL_SOCKET, unix.SO_REUSEPORT, 1})

// listen opens a plain TCP listener, without MPTCP.
func listen(t *testing.T, network, address string, control func(string, string, syscall.RawConn) error) *net.TCPListener {
	t.Helper()
	config := net.ListenConfig{Control: control}
	config.SetMultipathTCP(false)
	l, err := config.Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.(*net.TCPListener)
}

func listenUDP(t *testing.T, network, address string, control func(string, string, syscall.RawConn) error) *net.UDPConn {
	t.Helper()
	config := net.ListenConfig{Control: control}
	l, err := config.ListenPacket(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.(*net.UDPConn)
}

func dialUDP(t *testing.T, network, address string) *net.UDPConn {
	t.Helper()
	c, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(*net.UDPConn)
}

func idOf(t *testing.T, c syscall.Conn) sockdiag.ID {
	t.Helper()
	id, err := sockdiag.IDOf(c)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// finds looks the ID up, with its cookie and without, and wants the socket with
// that cookie.
func finds(t *testing.T, c *sockdiag.Client, id sockdiag.ID) {
	t.Helper()
	want := id.Cookie
	for _, id.Cookie = range []uint64{want, 0} {
		s, err := c.Lookup(t.Context(), id, 0)
		if err != nil || s.Cookie != want {
			t.Errorf("Lookup(%+v): cookie %d, error %v; want cookie %d", id, s.Cookie, err, want)
		}
	}
}

func missing(t *testing.T, c *sockdiag.Client, id sockdiag.ID) {
	t.Helper()
	if s, err := c.Lookup(t.Context(), id, 0); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Lookup(%+v) = %+v, error %v; want none", id, s.ID(), err)
	}
}

// A socket of every state is found by what its maker knows of it.
func TestLookupStates(t *testing.T) {
	nstest.RequireNamespace(t)
	for _, family := range nstest.Families {
		t.Run(family.String(), func(t *testing.T) {
			made := nstest.States(t, family)
			c := dial(t)
			for _, m := range made {
				if m.State == tcpstate.BoundInactive && !hasBoundInactive(t) {
					continue // in no dump, and not to be looked up
				}
				id := sockdiag.ID{Family: sockdiag.Family(m.Family), Local: m.Local, Remote: m.Remote, Cookie: m.Cookie}
				s, err := c.Lookup(t.Context(), id, sockdiag.AttrTCPInfo)
				if err != nil || s.Local != m.Local || s.Remote != m.Remote || s.State != m.State || m.Cookie != 0 && s.Cookie != m.Cookie {
					t.Errorf("%s: %+v, error %v; want %+v", m.Name, s.ID(), err, m)
					continue
				}
				full := s.Inode != 0 || s.Attrs.Has(sockdiag.AttrShutdown)
				if info := s.Attrs.Has(sockdiag.AttrTCPInfo); info != (full && m.State != tcpstate.BoundInactive) {
					t.Errorf("%s: tcp_info sent: %t", m.Name, info)
				}
				finds(t, c, s.ID())
				other := s.ID()
				other.Cookie++
				missing(t, c, other)
				short := sockdiag.ID{Local: m.Local}
				if m.Remote.Port() != 0 {
					short.Remote = m.Remote
				}
				if s, err := c.Lookup(t.Context(), short, 0); err != nil || s.Local != m.Local || s.Remote != m.Remote {
					t.Errorf("%s: by %+v: %+v, error %v", m.Name, short, s.ID(), err)
				}
			}
		})
	}
}

// A connection that is gone is not its listener, which the kernel answers with.
func TestLookupNeverFallsBackToTheListener(t *testing.T) {
	nstest.RequireNamespace(t)
	c := dial(t)
	for network, ip := range map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0"} {
		l := listen(t, network, ip, nil)
		listener := idOf(t, l)
		finds(t, c, listener)
		gone := listener
		gone.Remote = netip.AddrPortFrom(listener.Local.Addr(), 9)
		gone.Cookie = 0
		missing(t, c, gone)
		gone.Cookie = listener.Cookie
		missing(t, c, gone)
		// Nor is one on the wildcard found under another address.
		wild := idOf(t, listen(t, network, ":0", nil))
		finds(t, c, wild)
		particular := wild
		particular.Local = netip.AddrPortFrom(listener.Local.Addr(), wild.Local.Port())
		missing(t, c, particular)
		particular.Cookie = 0
		missing(t, c, particular)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		missing(t, c, listener)
	}
}

// Every member of a SO_REUSEPORT group is found by its cookie, although the kernel
// picks one by a hash of the request.
func TestLookupReusePort(t *testing.T) {
	nstest.RequireNamespace(t)
	c := dial(t)
	for _, ip := range []string{"127.0.0.1", "::1", "0.0.0.0", "::"} {
		tcp, udp := net.JoinHostPort(ip, "0"), net.JoinHostPort(ip, "0")
		for i := range 8 {
			l := listen(t, "tcp", tcp, reusePort)
			u := listenUDP(t, "udp", udp, reusePort)
			if i == 0 {
				tcp, udp = l.Addr().String(), u.LocalAddr().String()
			}
			for _, id := range []sockdiag.ID{idOf(t, l), idOf(t, u)} {
				s, err := c.Lookup(t.Context(), id, 0)
				if err != nil || s.Cookie != id.Cookie {
					t.Errorf("%v, member %d: cookie %d, error %v; want %d", id.Protocol, i, s.Cookie, err, id.Cookie)
				}
				id.Cookie = 0 // any will do
				if s, err := c.Lookup(t.Context(), id, 0); err != nil || s.Local != id.Local {
					t.Errorf("%v, any member: %+v, error %v", id.Protocol, s.ID(), err)
				}
			}
		}
	}
}

func TestLookupUDP(t *testing.T) {
	nstest.RequireNamespace(t)
	c := dial(t)
	for network, ip := range map[string]string{"udp4": "127.0.0.1:0", "udp6": "[::1]:0"} {
		server := listenUDP(t, network, ip, nil)
		wild := listenUDP(t, network, ":0", nil)
		client := dialUDP(t, network, server.LocalAddr().String())
		for _, conn := range []*net.UDPConn{server, wild, client} {
			id := idOf(t, conn)
			finds(t, c, id)
			other := id
			other.Cookie++
			missing(t, c, other)
			s, err := c.Lookup(t.Context(), id, sockdiag.AttrSocketMemory)
			if want := receiveBuffer(t, conn); err != nil || int(s.SocketMemory.RecvBuffer) != want {
				t.Errorf("receive buffer %d, error %v; getsockopt says %d", s.SocketMemory.RecvBuffer, err, want)
			}
		}
		// The kernel would answer with the socket that takes the peer's packets.
		stranger := idOf(t, server)
		stranger.Remote, stranger.Cookie = netip.AddrPortFrom(stranger.Local.Addr(), 9), 0
		missing(t, c, stranger)
		id := idOf(t, client)
		if err := client.Close(); err != nil {
			t.Fatal(err)
		}
		missing(t, c, id)
	}
	// An IPv6 socket that talks to IPv4.
	server := listenUDP(t, "udp", "[::]:0", nil)
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	local := netip.MustParseAddr("::ffff:127.0.0.1").As16()
	err = errors.Join(unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0), unix.Bind(fd, &unix.SockaddrInet6{Addr: local}))
	if err != nil {
		t.Fatal(err)
	}
	mapped := idOf(t, fdConn(fd))
	if mapped.Family != sockdiag.IPv6 || !mapped.Local.Addr().Is4In6() {
		t.Fatalf("not an IPv4-mapped address: %+v", mapped)
	}
	finds(t, c, mapped)
	finds(t, c, idOf(t, server))
}

func receiveBuffer(t *testing.T, c syscall.Conn) (size int) {
	t.Helper()
	rc, err := c.SyscallConn()
	if err == nil {
		err = errors.Join(rc.Control(func(fd uintptr) {
			size, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
		}), err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return size
}

// An IPv4 connection to an IPv6 listener is found by its IPv4 addresses as well as
// by the mapped ones, and so is the listener's own side only by those it has.
func TestLookupMapped(t *testing.T) {
	nstest.RequireNamespace(t)
	c := dial(t)
	l := listen(t, "tcp", "[::]:0", nil)
	port := netip.MustParseAddrPort(l.Addr().String()).Port()
	client, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	mapped := idOf(t, server)
	if mapped.Family != sockdiag.IPv6 || !mapped.Local.Addr().Is4In6() {
		t.Fatalf("not an IPv4-mapped address: %+v", mapped)
	}
	finds(t, c, mapped)
	unmapped := mapped
	unmapped.Family = sockdiag.IPv4
	unmapped.Local = netip.AddrPortFrom(mapped.Local.Addr().Unmap(), mapped.Local.Port())
	unmapped.Remote = netip.AddrPortFrom(mapped.Remote.Addr().Unmap(), mapped.Remote.Port())
	finds(t, c, unmapped)
	unmapped.Family = 0
	finds(t, c, unmapped)
	finds(t, c, idOf(t, client.(*net.TCPConn)))
}

// A socket that is bound to a device is another one than one that is not.
func TestLookupInterface(t *testing.T) {
	nstest.RequireNamespace(t)
	c := dial(t)
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	bound := control([3]int{unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, lo.Index})
	for _, id := range []sockdiag.ID{
		idOf(t, listen(t, "tcp4", "127.0.0.1:0", bound)),
		idOf(t, listenUDP(t, "udp6", "[::1]:0", bound)),
	} {
		if id.Interface != uint32(lo.Index) {
			t.Fatalf("not bound: %+v", id)
		}
		finds(t, c, id)
		id.Cookie, id.Interface = 0, 0
		missing(t, c, id)
	}
	unbound := idOf(t, listen(t, "tcp4", "127.0.0.1:0", nil))
	unbound.Cookie, unbound.Interface = 0, uint32(lo.Index)
	missing(t, c, unbound)
}

// A socket that was bound, and whose connect was refused, has no peer: but its row
// has the address of the one that it tried.
func TestLookupAfterRefusedConnect(t *testing.T) {
	nstest.RequireNamespace(t)
	if !hasBoundInactive(t) {
		t.Skip("this kernel is older than 6.8, and does not dump bound-only sockets")
	}
	c := dial(t)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	address := netip.MustParseAddrPort(freePort(t, "127.0.0.1:0"))
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: address.Addr().As4(), Port: int(address.Port())}); err != nil {
		t.Fatal(err)
	}
	nobody := netip.MustParseAddrPort(freePort(t, "127.0.0.1:0"))
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: int(nobody.Port())}); err != unix.ECONNREFUSED {
		t.Fatalf("connect: %v", err)
	}
	id := idOf(t, fdConn(fd))
	s, err := c.Lookup(t.Context(), id, 0)
	if err != nil || s.Cookie != id.Cookie || s.State != tcpstate.BoundInactive {
		t.Errorf("Lookup(%+v) = %+v in %v, %v", id, s.ID(), s.State, err)
	}
	if again, err := c.Lookup(t.Context(), s.ID(), 0); err != nil || again.Cookie != id.Cookie {
		t.Errorf("Lookup(%+v) = %+v, %v", s.ID(), again.ID(), err)
	}
}

// An unspecified Remote is none, of whichever family.
func TestLookupUnspecifiedRemote(t *testing.T) {
	nstest.RequireNamespace(t)
	c := dial(t)
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		id := idOf(t, listen(t, "tcp", address, nil))
		for _, remote := range []string{"0.0.0.0:0", "[::]:0"} {
			id.Remote = netip.MustParseAddrPort(remote)
			finds(t, c, id)
		}
	}
}

// listenMPTCP opens an MPTCP listener, or skips.
func listenMPTCP(t *testing.T, address string) *net.TCPListener {
	t.Helper()
	var config net.ListenConfig
	config.SetMultipathTCP(true)
	l, err := config.Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if idOf(t, l.(*net.TCPListener)).Protocol != sockdiag.MPTCP {
		nstest.Skip(t, "MPTCP")
	}
	return l.(*net.TCPListener)
}

// dialMPTCP connects to the listener, and returns both ends.
func dialMPTCP(t *testing.T, l *net.TCPListener) (client, server *net.TCPConn) {
	t.Helper()
	var dialer net.Dialer
	dialer.SetMultipathTCP(true)
	c, err := dialer.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	server, err = l.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return c.(*net.TCPConn), server
}

// An MPTCP socket is found by its token, which is all that the kernel looks at, and
// by its addresses; and its token leads to its subflow.
func TestLookupMPTCP(t *testing.T) {
	nstest.RequireNamespace(t)
	c := dial(t)
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		l := listenMPTCP(t, address)
		client, server := dialMPTCP(t, l)
		finds(t, c, idOf(t, l))
		for _, conn := range []*net.TCPConn{client, server} {
			id := idOf(t, conn)
			finds(t, c, id)
			s, err := c.Lookup(t.Context(), id, sockdiag.AttrMPTCPInfo)
			if err != nil {
				t.Fatal(err)
			}
			if id.Token != 0 && s.Extra.MPTCP.Token != id.Token {
				t.Errorf("token %#x, getsockopt says %#x", s.Extra.MPTCP.Token, id.Token)
			}
			full := s.ID()
			if full.Token == 0 {
				t.Fatalf("no token: %+v", s.Extra.MPTCP)
			}
			finds(t, c, full)
			only := sockdiag.ID{Protocol: sockdiag.MPTCP, Token: full.Token}
			if s, err := c.Lookup(t.Context(), only, 0); err != nil || s.Cookie != full.Cookie {
				t.Errorf("by token alone: %+v, error %v", s.ID(), err)
			}
			other := full
			other.Cookie++
			missing(t, c, other)
			only.Token++
			missing(t, c, only)
			subflow := full
			subflow.Protocol, subflow.Cookie, subflow.Token = sockdiag.TCP, 0, 0
			s, err = c.Lookup(t.Context(), subflow, sockdiag.AttrULPInfo)
			if err != nil || s.Extra == nil || s.Extra.ULP.MPTCP.TokenLocal != full.Token {
				t.Errorf("subflow: %+v, error %v; want token %#x", s.Extra, err, full.Token)
			}
		}
	}
}

// 400 keys make a reply of 40 KB, longer than the buffer and than any batch.
func TestLookupLongReply(t *testing.T) {
	nstest.RequireNamespace(t)
	l := listen(t, "tcp4", "127.0.0.1:0", nil)
	addMD5Keys(t, l, 400)
	c := dial(t)
	s, err := c.Lookup(t.Context(), idOf(t, l), sockdiag.AttrTCPInfo)
	if err != nil || len(s.Extra.MD5Keys) != 400 {
		t.Errorf("%+v, error %v; want 400 keys", s.Extra, err)
	}
}

func TestLookupAllocs(t *testing.T) {
	nstest.RequireNamespace(t)
	c := dial(t)
	client, _ := nstest.Pair(t, nstest.IPv4)
	id := idOf(t, fdConn(client))
	ctx := context.Background()
	var err error
	if n := testing.AllocsPerRun(100, func() { _, err = c.Lookup(ctx, id, sockdiag.AttrTCPInfo) }); n != 0 || err != nil {
		t.Errorf("%v allocations, error %v", n, err)
	}
}

// fdConn is a descriptor as a syscall.Conn.
type fdConn int

func (f fdConn) SyscallConn() (syscall.RawConn, error) { return f, nil }
func (f fdConn) Control(fn func(uintptr)) error        { fn(uintptr(f)); return nil }
func (fdConn) Read(func(uintptr) (done bool)) error    { return errors.ErrUnsupported }
func (fdConn) Write(func(uintptr) (done bool)) error   { return errors.ErrUnsupported }
