package sockdiag_test

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// destroyRow destroys what a dump found. Linux 5.10 refuses mini-sockets, and does
// nothing to orphans that are full sockets, though it says that all is well.
func destroyRow(t *testing.T, c *sockdiag.Client, s *sockdiag.Socket) {
	t.Helper()
	r, err := sockdiag.RunningRelease()
	if err != nil {
		t.Fatal(err)
	}
	_, mini := s.TimeWait()
	orphan := s.Inode == 0 && s.Attrs.Has(sockdiag.AttrShutdown)
	switch {
	case r.AtLeast(6, 1) || !mini && !orphan:
		destroy(t, c, s.ID())
	case mini:
		if err := c.Destroy(t.Context(), s.ID()); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("Destroy(%+v): %v", s.ID(), err)
		}
	default:
		if err := c.Destroy(t.Context(), s.ID()); err != nil {
			t.Errorf("Destroy(%+v): %v", s.ID(), err)
		}
	}
}

func destroy(t *testing.T, c *sockdiag.Client, id sockdiag.ID) {
	t.Helper()
	if err := c.Destroy(t.Context(), id); err != nil {
		t.Errorf("Destroy(%+v): %v", id, err)
	}
	if err := c.Destroy(t.Context(), id); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Destroy(%+v) again: %v", id, err)
	}
	missing(t, c, id)
}

// A socket of every state is destroyed by the ID that a dump gave.
func TestDestroyStates(t *testing.T) {
	nstest.RequireNamespace(t)
	for _, family := range nstest.Families {
		c := dial(t)
		made := nstest.States(t, family)
		for state := range tcpstate.All.Without(tcpstate.Closed, tcpstate.NewSynRecv, tcpstate.BoundInactive).States() {
			if !state.Valid() {
				continue
			}
			there := destroyAll(t, c, made, state)
			if there == 0 {
				// They were the peers of others, and were reset with them.
				made = nstest.States(t, family)
				there = destroyAll(t, c, made, state)
			}
			if there == 0 {
				t.Errorf("%v: none was made", state)
			}
		}
	}
}

// destroyAll destroys those of the sockets that are in a state, and counts them.
func destroyAll(t *testing.T, c *sockdiag.Client, made []nstest.Made, state tcpstate.State) (n int) {
	t.Helper()
	for _, s := range collect(t, c, sockdiag.Query{States: state.Set()}) {
		if !slices.ContainsFunc(made, func(m nstest.Made) bool { return m.Local == s.Local && m.Remote == s.Remote }) {
			continue
		}
		if _, err := c.Lookup(t.Context(), s.ID(), 0); errors.Is(err, os.ErrNotExist) {
			continue // reset with its peer
		}
		n++
		if state == tcpstate.Listen {
			destroyNoLonger(t, c, s.ID(), state)
		} else {
			destroyRow(t, c, &s)
		}
	}
	return n
}

// A mini-socket in FIN_WAIT2 goes like any other.
func TestDestroyMiniSocket(t *testing.T) {
	nstest.RequireNamespace(t)
	for _, family := range nstest.Families {
		nstest.States(t, family)
		c := dial(t)
		minis := 0
		for _, s := range collect(t, c, sockdiag.Query{Family: sockdiag.Family(family.Number()), States: tcpstate.FinWait2.Set()}) {
			if _, ok := s.TimeWait(); ok {
				minis++
				destroyRow(t, c, &s)
			}
		}
		if minis == 0 {
			t.Errorf("%v: no mini-socket in FIN_WAIT2", family)
		}
	}
}

func TestDestroyConnection(t *testing.T) {
	nstest.RequireNamespace(t)
	for _, family := range nstest.Families {
		c := dial(t)
		client, server := nstest.Pair(t, family)
		destroy(t, c, idOf(t, fdConn(client)))
		var b [1]byte
		if _, err := unix.Read(client, b[:]); err != unix.ECONNABORTED {
			t.Errorf("its owner reads: %v", err)
		}
		if _, err := unix.Read(server, b[:]); err != unix.ECONNRESET {
			t.Errorf("its peer reads: %v", err)
		}
	}
}

func TestDestroyListener(t *testing.T) {
	nstest.RequireNamespace(t)
	c := dial(t)
	for _, address := range []string{"127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"} {
		address := freePort(t, address)
		l := listen(t, "tcp", address, nil)
		destroyNoLonger(t, c, idOf(t, l), tcpstate.Listen)
		if _, err := l.Accept(); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s: its owner accepts: %v", address, err)
		}
		config := net.ListenConfig{Control: control([3]int{unix.SOL_SOCKET, unix.SO_REUSEADDR, 0})}
		if l, err := config.Listen(t.Context(), "tcp", address); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%s: the port was given up: %v, %v", address, l, err)
		}
	}
}

// freePort returns the address with a port that nobody has, TCP or UDP. A socket
// that names its port keeps it; one whose port the kernel chooses does not.
func freePort(t *testing.T, address string) string {
	t.Helper()
	l := listen(t, "tcp", address, nil)
	address = l.Addr().String()
	u := listenUDP(t, "udp", address, nil)
	if err := errors.Join(l.Close(), u.Close()); err != nil {
		t.Fatal(err)
	}
	return address
}

// destroyNoLonger destroys a socket that stays, in another state: one that is
// bound cannot be destroyed.
func destroyNoLonger(t *testing.T, c *sockdiag.Client, id sockdiag.ID, state tcpstate.State) {
	t.Helper()
	if err := c.Destroy(t.Context(), id); err != nil {
		t.Errorf("Destroy(%+v): %v", id, err)
	}
	s, err := c.Lookup(t.Context(), id, 0)
	switch {
	case err == nil && s.State == state:
		t.Errorf("%+v is still in %v", id, state)
	case err == nil && hasBoundInactive(t):
		if err := c.Destroy(t.Context(), id); !errors.Is(err, errors.ErrUnsupported) || s.State != tcpstate.BoundInactive {
			t.Errorf("Destroy(%+v), in %v: %v", id, s.State, err)
		}
	case !errors.Is(err, os.ErrNotExist):
		t.Errorf("Lookup(%+v): %v", id, err)
	}
}

func TestDestroyUDP(t *testing.T) {
	nstest.RequireNamespace(t)
	c := dial(t)
	for network, address := range map[string]string{"udp4": "127.0.0.1:0", "udp6": "[::1]:0"} {
		server := listenUDP(t, network, freePort(t, address), nil)
		client := dialUDP(t, network, server.LocalAddr().String())
		for _, conn := range []*net.UDPConn{client, server} {
			id := idOf(t, conn)
			if err := c.Destroy(t.Context(), id); err != nil {
				t.Errorf("Destroy(%+v): %v", id, err)
			}
			if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNABORTED) {
				t.Errorf("its owner reads: %v", err)
			}
			now, kept := idOf(t, conn), conn == server
			if (now.Local.Port() != 0) != kept || now.Remote.Port() != 0 {
				t.Errorf("it has become %+v, and was %+v", now, id)
			}
		}
	}
}

// The one member of a group is destroyed that was meant, whichever the kernel
// would pick.
func TestDestroyReusePort(t *testing.T) {
	nstest.RequireNamespace(t)
	c := dial(t)
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		address := freePort(t, address)
		var tcp, udp []sockdiag.ID
		for range 8 {
			l := listen(t, "tcp", address, reusePort)
			tcp = append(tcp, idOf(t, l))
			udp = append(udp, idOf(t, listenUDP(t, "udp", address, reusePort)))
		}
		for n := range tcp {
			destroyNoLonger(t, c, tcp[n], tcpstate.Listen)
			if err := c.Destroy(t.Context(), udp[n]); err != nil {
				t.Errorf("Destroy(%+v): %v", udp[n], err)
			}
			for _, id := range tcp[n+1:] {
				if s, err := c.Lookup(t.Context(), id, 0); err != nil || s.State != tcpstate.Listen {
					t.Errorf("after its neighbour was destroyed: %v, %v", s.State, err)
				}
			}
		}
	}
}

// With the ID of a connection that is gone, the kernel would find the listener.
func TestDestroySparesTheListener(t *testing.T) {
	nstest.RequireNamespace(t)
	c := dial(t)
	l := listen(t, "tcp4", "127.0.0.1:0", nil)
	listener := idOf(t, l)
	gone := listener
	gone.Remote = netip.AddrPortFrom(listener.Local.Addr(), 9)
	gone.Cookie++
	if err := c.Destroy(t.Context(), gone); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if s, err := c.Lookup(t.Context(), listener, 0); err != nil || s.State != tcpstate.Listen {
		t.Errorf("the listener: %v, %v", s.State, err)
	}
}

// What is not there, what is not allowed and what cannot be are told apart.
func TestDestroyUnprivileged(t *testing.T) {
	nstest.RequireNamespace(t)
	client, _ := nstest.Pair(t, nstest.IPv4)
	tcp, udp := idOf(t, fdConn(client)), idOf(t, listenUDP(t, "udp4", "127.0.0.1:0", nil))
	nstest.WithoutCaps(t, func() {
		c, err := sockdiag.Dial(nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		for _, id := range []sockdiag.ID{tcp, udp} {
			if err := c.Destroy(t.Context(), id); !errors.Is(err, fs.ErrPermission) {
				t.Errorf("Destroy(%+v): %v", id, err)
			}
			if _, err := c.Lookup(t.Context(), id, 0); err != nil {
				t.Errorf("Lookup(%+v): %v", id, err)
			}
			id.Cookie++
			if err := c.Destroy(t.Context(), id); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("Destroy(%+v): %v", id, err)
			}
		}
		raw := sockdiag.ID{Protocol: sockdiag.Raw, Local: tcp.Local, Cookie: 1}
		if err := c.Destroy(t.Context(), raw); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("Destroy(%+v): %v", raw, err)
		}
	})
}

// All ones is not a cookie but how the kernel is told that there is none.
func TestDestroyRefusesNoCookie(t *testing.T) {
	nstest.RequireNamespace(t)
	c := dial(t)
	listener := idOf(t, listen(t, "tcp4", "127.0.0.1:0", nil))
	for _, cookie := range []uint64{0, 1<<64 - 1} {
		id := listener
		id.Cookie = cookie
		if err := c.Destroy(t.Context(), id); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Destroy with cookie %#x: %v", cookie, err)
		}
	}
	finds(t, c, listener)
}
