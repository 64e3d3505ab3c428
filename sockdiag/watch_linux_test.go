package sockdiag_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// watch opens a Watcher in a namespace of its own, where nobody else's sockets
// close, and fails the test if it hears nothing for long.
func watch(t *testing.T, opts sockdiag.WatchOptions) (*nstest.Namespace, *sockdiag.Client, *sockdiag.Watcher) {
	t.Helper()
	ns := nstest.NewNamespace(t)
	c, err := sockdiag.Dial(&sockdiag.Config{NetNS: ns.FD()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	w, err := c.Watch(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(w.Close(), c.Close()); err != nil {
			t.Error(err)
		}
	})
	return ns, c, w
}

// nextClosed waits for a socket to close, and allows no loss.
func nextClosed(t *testing.T, w *sockdiag.Watcher) sockdiag.Socket {
	t.Helper()
	for n, err := range w.Events() {
		if err != nil {
			t.Fatal(err)
		}
		if n.Kind != sockdiag.SocketClosed {
			t.Fatalf("notice %+v", n)
		}
		return n.Socket
	}
	panic("the range ended without an error")
}

// short makes a connection that carries n bytes and is closed by both sides, the
// client first. It returns what the two were.
func short(t *testing.T, l *net.TCPListener, n int) (client, server sockdiag.ID) {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	client, server = idOf(t, c.(*net.TCPConn)), idOf(t, s.(*net.TCPConn))
	if _, err := c.Write(make([]byte, n)); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, n+1)
	for read := 0; ; {
		m, err := s.Read(b)
		if read += m; err != nil {
			break
		}
	}
	return client, server
}

// Both ends of a connection are announced, with their cookies and what they sent
// and received; and the TIME_WAIT that follows has the cookie of its end.
func TestWatchTCP(t *testing.T) {
	nstest.RequireNamespace(t)
	for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
		ns, c, w := watch(t, sockdiag.WatchOptions{})
		ns.Do(func() {
			l := listen(t, "tcp", address, nil)
			client, server := short(t, l, 1000)
			for range 2 {
				s := nextClosed(t, w)
				if s.State != tcpstate.Closed || s.Protocol != sockdiag.TCP || !s.Attrs.Has(sockdiag.AttrTCPInfo) {
					t.Errorf("%+v in %v, with %v", s.ID(), s.State, s.Attrs)
				}
				if _, ok := s.Owner(); ok {
					t.Error("it has an owner")
				}
				// The kernel counts the SYN and the FIN as a byte each.
				switch s.ID() {
				case client:
					if s.TCPInfo.BytesSent != 1000 || s.TCPInfo.BytesAcked != 1002 {
						t.Errorf("client sent %d, acknowledged %d", s.TCPInfo.BytesSent, s.TCPInfo.BytesAcked)
					}
				case server:
					if s.TCPInfo.BytesReceived != 1001 {
						t.Errorf("server received %d", s.TCPInfo.BytesReceived)
					}
				default:
					t.Errorf("%+v is neither %+v nor %+v", s.ID(), client, server)
				}
			}
			rows := collect(t, c, sockdiag.Query{States: tcpstate.TimeWait.Set()})
			if len(rows) != 1 || rows[0].Cookie != client.Cookie {
				t.Errorf("in TIME_WAIT: %+v, want the client %+v", rows, client)
			}
			// Nothing else is announced before the listener.
			id := idOf(t, l)
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			if s := nextClosed(t, w); s.Cookie != id.Cookie || s.Local != id.Local {
				t.Errorf("%+v is not the listener %+v", s.ID(), id)
			}
		})
	}
}

func TestWatchUDP(t *testing.T) {
	nstest.RequireNamespace(t)
	ns, _, w := watch(t, sockdiag.WatchOptions{Protocols: []sockdiag.Protocol{sockdiag.UDP, sockdiag.TCP}})
	ns.Do(func() {
		for _, address := range []string{"127.0.0.1:0", "[::1]:0"} {
			u := listenUDP(t, "udp", address, nil)
			l := listen(t, "tcp", address, nil)
			for _, id := range []sockdiag.ID{idOf(t, u), idOf(t, l)} {
				conn := map[sockdiag.Protocol]interface{ Close() error }{sockdiag.UDP: u, sockdiag.TCP: l}[id.Protocol]
				if err := conn.Close(); err != nil {
					t.Fatal(err)
				}
				if s := nextClosed(t, w); s.Cookie != id.Cookie || s.Protocol != id.Protocol || s.Family != id.Family {
					t.Errorf("%+v, want %+v", s.ID(), id)
				}
			}
		}
	})
}

// The options leave out what they do not name.
func TestWatchSelects(t *testing.T) {
	nstest.RequireNamespace(t)
	ns, _, w := watch(t, sockdiag.WatchOptions{Families: []sockdiag.Family{sockdiag.IPv6}, Protocols: []sockdiag.Protocol{sockdiag.UDP}})
	ns.Do(func() {
		last := listenUDP(t, "udp", "[::1]:0", nil)
		id := idOf(t, last)
		for _, c := range []interface{ Close() error }{
			listen(t, "tcp", "[::1]:0", nil), listen(t, "tcp", "127.0.0.1:0", nil), listenUDP(t, "udp", "127.0.0.1:0", nil), last,
		} {
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if s := nextClosed(t, w); s.Cookie != id.Cookie {
			t.Errorf("%+v, want %+v", s.ID(), id)
		}
	})
}

// A connection that its own side resets keeps its cookie, and not much else.
func TestWatchReset(t *testing.T) {
	nstest.RequireNamespace(t)
	ns, _, w := watch(t, sockdiag.WatchOptions{})
	ns.Do(func() {
		client, _ := nstest.Pair(t, nstest.IPv4)
		id := idOf(t, fdConn(client))
		nstest.Abort(t, client)
		s := nextClosed(t, w)
		for s.Cookie != id.Cookie {
			s = nextClosed(t, w) // the listener that made it, or the peer
		}
		if s.Remote.Port() != 0 || s.TCPInfo.BytesAcked != 0 {
			t.Errorf("%+v, %d bytes acknowledged; want %+v without a peer", s.ID(), s.TCPInfo.BytesAcked, id)
		}
	})
}

// Of 10,000 connections, each end is seen or reported lost. A buffer of 1280 bytes
// for each loses none, and a tiny one most.
func TestWatchMany(t *testing.T) {
	nstest.RequireNamespace(t)
	connections := 10_000
	if testing.Short() {
		connections = 500
	}
	for _, tt := range []struct {
		name   string
		buffer int
		loses  bool
	}{
		{"large buffer", 2 * connections * 1280 * 5 / 4, false},
		{"tiny buffer", 4096, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ns, _, w := watch(t, sockdiag.WatchOptions{ReadBuffer: tt.buffer})
			got, err := w.ReadBuffer()
			if err != nil {
				t.Fatal(err)
			}
			if got < tt.buffer {
				t.Skipf("an ordinary user may have a receive buffer of %d bytes, not %d", got, tt.buffer)
			}
			ns.Do(func() {
				l := listen(t, "tcp", "127.0.0.1:0", nil)
				port := netip.MustParseAddrPort(l.Addr().String()).Port()
				for range connections {
					shortest(t, l, port)
				}
				var seen, lost uint64
				for n, err := range w.Events() {
					if err != nil {
						t.Fatalf("%d seen and %d lost of %d: %v", seen, lost, 2*connections, err)
					}
					if n.Kind == sockdiag.Lost {
						lost += n.Lost
					} else {
						seen++
					}
					if seen+lost == 2*uint64(connections) {
						break
					}
				}
				t.Logf("%d seen, %d lost", seen, lost)
				if (lost > 0) != tt.loses || seen == 0 {
					t.Errorf("%d seen, %d lost", seen, lost)
				}
				// The stream goes on, and the next is the listener: the sum was exact.
				id := idOf(t, l)
				if err := l.Close(); err != nil {
					t.Error(err)
				}
				if s := nextClosed(t, w); s.Cookie != id.Cookie {
					t.Errorf("%+v came next, want the listener %+v", s.ID(), id)
				}
			})
		})
	}
}

// shortest makes a connection and closes it, the server first.
func shortest(t *testing.T, l *net.TCPListener, port uint16) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: int(port)}); err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
}
