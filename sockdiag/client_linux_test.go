package sockdiag_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// A Client sees the namespace that it was dialled in: whichever way it was
// named, whichever thread calls, and with sockets that it opens later.
func TestNamespaceOfTheDial(t *testing.T) {
	nstest.RequireNamespace(t)
	other := nstest.NewNamespace(t)
	var there nstest.Made
	other.Do(func() { there = nstest.TimeWait(t, nstest.IPv4, 1)[0] })
	here := nstest.TimeWait(t, nstest.IPv4, 1)[0]

	var byThread *sockdiag.Client
	other.Do(func() {
		var err error
		if byThread, err = sockdiag.Dial(nil); err != nil {
			t.Fatal(err)
		}
	})
	defer byThread.Close()
	file, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", other.FD()))
	if err != nil {
		t.Fatal(err)
	}
	byDescriptor, err := sockdiag.Dial(&sockdiag.Config{NetNS: int(file.Fd())})
	if err != nil {
		t.Fatal(err)
	}
	defer byDescriptor.Close()
	if err := file.Close(); err != nil { // Dial has duplicated it
		t.Fatal(err)
	}
	home := dial(t)

	check := func(c *sockdiag.Client, want, not nstest.Made) {
		t.Helper()
		// Three within each other: the second and third open sockets.
		for _, err := range c.Dump(t.Context(), sockdiag.Query{}) {
			if err != nil {
				t.Fatal(err)
			}
			for _, err := range c.Dump(t.Context(), sockdiag.Query{}) {
				if err != nil {
					t.Fatal(err)
				}
				rows := collect(t, c, sockdiag.Query{})
				if _, ok := find(rows, want); !ok {
					t.Error("a socket of its namespace is missing")
				}
				if _, ok := find(rows, not); ok {
					t.Error("a socket of another namespace is there")
				}
				break
			}
			break
		}
	}
	for range 2 {
		check(byThread, there, here)
		check(byDescriptor, there, here)
		check(home, here, there)
		other.Do(func() {
			check(byThread, there, here)
			check(byDescriptor, there, here)
			check(home, here, there)
		})
	}
}

// Without privilege a Client works in its own namespace, and fails where it
// would have to enter one, rather than look into the wrong one.
func TestNamespaceWithoutPrivilege(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.Unprivileged(t, dialWithoutPrivilege)
}

func dialWithoutPrivilege(t *testing.T, other int) {
	c := dial(t)
	rows := 0
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, err := range c.Dump(t.Context(), sockdiag.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		rows++
		if _, err := c.Count(t.Context(), sockdiag.Query{}); err != nil { // on a socket opened for it
			t.Error(err)
		}
	}
	if rows == 0 {
		t.Error("no row, though there is a listener")
	}
	if _, err := sockdiag.Dial(&sockdiag.Config{NetNS: other}); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("Dial of a namespace that may not be entered: %v", err)
	}
}

func TestDialNoNamespace(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if _, err := sockdiag.Dial(&sockdiag.Config{NetNS: int(null.Fd())}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("Dial with the descriptor of %s: %v", os.DevNull, err)
	}
	utsns, err := os.Open("/proc/self/ns/uts")
	if err != nil {
		t.Fatal(err)
	}
	defer utsns.Close()
	if _, err := sockdiag.Dial(&sockdiag.Config{NetNS: int(utsns.Fd())}); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("Dial with the descriptor of another kind of namespace: %v", err)
	}
	if _, err := sockdiag.Dial(&sockdiag.Config{NetNS: 1 << 20}); err == nil {
		t.Error("Dial with a descriptor that is not open: no error")
	}
}

// Many calls at the same time, some of which end early, each see all sockets.
func TestConcurrent(t *testing.T) {
	nstest.RequireNamespace(t)
	made := nstest.Many(t, nstest.IPv4, 200, 100)
	c := dial(t)
	q := sockdiag.Query{States: tcpstate.SetOf(tcpstate.Established, tcpstate.TimeWait), Attrs: sockdiag.AttrTCPInfo}
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 15 {
				ctx, cancel := context.WithCancel(t.Context())
				rows, stopped := 0, false
				for _, err := range c.Dump(ctx, q) {
					if err != nil {
						if !stopped || !errors.Is(err, context.Canceled) {
							t.Error(err)
						}
						continue
					}
					rows++
					if i%5 == 3 && rows == 10*worker {
						stopped = true
						cancel()
					}
					if i%5 == 4 && rows == 10*worker {
						stopped = true
						break
					}
				}
				cancel()
				if !stopped && rows < len(made) {
					t.Errorf("%d rows, want %d", rows, len(made))
				}
				if counts, err := c.Count(t.Context(), q); err != nil || counts.Total() < uint64(len(made)) {
					t.Errorf("Count %v, %v", counts, err)
				}
			}
		})
	}
	wg.Wait()
}

// A context that ends while the reader looks at a row ends the dump before the next.
func TestSlowReader(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.Many(t, nstest.IPv4, 50, 0)
	c := dial(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	rows := 0
	var failed error
	for _, err := range c.Dump(ctx, sockdiag.Query{}) {
		if err != nil {
			failed = err
			break
		}
		if rows++; rows == 3 {
			cancel() // while it looks at this one
		}
	}
	if rows != 3 || !errors.Is(failed, context.Canceled) {
		t.Errorf("%d rows, error %v", rows, failed)
	}
	// And the Client goes on.
	if counts, err := c.Count(t.Context(), sockdiag.Query{}); err != nil || counts.Total() < 100 {
		t.Errorf("then Count %v, %v", counts, err)
	}
}

// A Client that nobody closed does not hold its namespace for good.
func TestForgottenClient(t *testing.T) {
	nstest.RequireNamespace(t)
	namespaces := func() (n int) {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		for _, fd := range fds {
			if name, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(name, "net:[") {
				n++
			}
		}
		return n
	}
	before := namespaces()
	for range 20 {
		if _, err := sockdiag.Dial(nil); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); namespaces() > before; {
		if time.Now().After(deadline) {
			t.Fatalf("%d descriptors of namespaces, %d before", namespaces(), before)
		}
		runtime.GC()
		time.Sleep(10 * time.Millisecond)
	}
}

// A listener with many TCP-MD5 keys makes a row that does not fit into the batch
// that the kernel begins with, or into any. It is in the dump all the same, though
// it comes first, and so are all that come behind it.
func TestManyMD5Keys(t *testing.T) {
	nstest.RequireNamespace(t)
	for _, tt := range []struct{ listeners, keys int }{{1, 200}, {1, 400}, {30, 400}} {
		nstest.NewNamespace(t).Do(func() {
			c := dial(t)
			lc := net.ListenConfig{}
			lc.SetMultipathTCP(false)
			for i := range tt.listeners {
				l, err := lc.Listen(t.Context(), "tcp4", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				if i == 0 {
					addMD5Keys(t, l.(*net.TCPListener), tt.keys)
				}
			}
			nstest.Pair(t, nstest.IPv4)
			rows := collect(t, c, sockdiag.Query{Attrs: sockdiag.AttrTCPInfo})
			states := map[tcpstate.State]int{}
			cookies := map[uint64]bool{}
			keys := 0
			for _, s := range rows {
				states[s.State]++
				cookies[s.Cookie] = true
				if s.Extra != nil {
					keys += len(s.Extra.MD5Keys)
				}
			}
			if states[tcpstate.Listen] != tt.listeners || states[tcpstate.Established] != 2 || len(cookies) != tt.listeners+2 {
				t.Errorf("%+v: %d sockets: %v", tt, len(cookies), states)
			}
			// Some 320 fit into the kernel's largest batch.
			if want := map[bool]int{true: tt.keys}[tt.keys < 300]; keys != want {
				t.Errorf("%+v: %d keys, want %d", tt, keys, want)
			}
		})
	}
}

// The same if it is closed after the kernel has ended its walk there: as many
// listeners are left then as have come.
func TestManyMD5KeysOfOneThatGoes(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		c := dial(t)
		lc := net.ListenConfig{}
		lc.SetMultipathTCP(false)
		var listeners []*net.TCPListener
		for range 8 {
			l, err := lc.Listen(t.Context(), "tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			listeners = append(listeners, l.(*net.TCPListener))
		}
		// The one that the kernel comes to last.
		rows := collect(t, c, sockdiag.Query{States: tcpstate.Listen.Set()})
		last := rows[len(rows)-1].Local.String()
		i := slices.IndexFunc(listeners, func(l *net.TCPListener) bool { return l.Addr().String() == last })
		addMD5Keys(t, listeners[i], 400)
		nstest.Pair(t, nstest.IPv4)
		established := 0
		for s, err := range c.Dump(t.Context(), sockdiag.Query{Attrs: sockdiag.AttrTCPInfo}) {
			if err != nil {
				t.Fatal(err)
			}
			if s.State == tcpstate.Listen {
				_ = listeners[i].Close()
			} else {
				established++
			}
		}
		if established != 2 {
			t.Errorf("%d of 2 connections", established)
		}
	})
}

func addMD5Keys(t *testing.T, l *net.TCPListener, n int) {
	t.Helper()
	rc, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := rc.Control(func(fd uintptr) {
		for i := range n {
			key := unix.TCPMD5Sig{Keylen: 6}
			key.Addr.Family = unix.AF_INET
			// A sockaddr_in: the port, then the address.
			copy(key.Addr.Data[2:6], []byte{127, 1, byte(i >> 8), byte(i)})
			copy(key.Key[:], "sesame")
			if err = unix.SetsockoptTCPMD5Sig(int(fd), unix.IPPROTO_TCP, unix.TCP_MD5SIG, &key); err != nil {
				return
			}
		}
	}); cerr != nil {
		t.Fatal(cerr)
	}
	if err != nil {
		nstest.Skip(t, "TCP-MD5: %v", err)
	}
}

// One's own sockets are found among the rows.
func TestOwnSockets(t *testing.T) {
	nstest.RequireNamespace(t)
	for network, address := range map[string]string{"tcp4": "127.0.0.1:0", "tcp6": "[::1]:0"} {
		var lc net.ListenConfig
		lc.SetMultipathTCP(false)
		l, err := lc.Listen(t.Context(), network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		d := net.Dialer{}
		d.SetMultipathTCP(false)
		conn, err := d.DialContext(t.Context(), network, l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		client, listener := conn.(*net.TCPConn), l.(*net.TCPListener)

		id, err := sockdiag.IDOf(client)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := id.Local.String()+" "+id.Remote.String(), conn.LocalAddr().String()+" "+conn.RemoteAddr().String(); got != want {
			t.Errorf("IDOf: %s, want %s", got, want)
		}
		listenID, err := sockdiag.IDOf(listener)
		if err != nil {
			t.Fatal(err)
		}
		c := dial(t)
		found := 0
		for s, err := range c.Dump(t.Context(), sockdiag.Query{}) {
			if err != nil {
				t.Fatal(err)
			}
			switch s.ID() {
			case id:
				found++
				if s.State != tcpstate.Established {
					t.Errorf("the client is in %v", s.State)
				}
			case listenID:
				found++
				if s.State != tcpstate.Listen {
					t.Errorf("the listener is in %v", s.State)
				}
			}
		}
		if found != 2 {
			t.Errorf("%d of two sockets found by ID: %+v, %+v", found, id, listenID)
		}

		info, err := sockdiag.TCPInfoOf(client)
		if err != nil || info.State != tcpstate.Established || info.RTT <= 0 {
			t.Errorf("TCPInfoOf the client: %v, RTT %v, %v", info.State, info.RTT, err)
		}
		info, err = sockdiag.TCPInfoOf(listener)
		if err != nil || info.State != tcpstate.Listen || info.Unacked != 1 {
			t.Errorf("TCPInfoOf the listener: %v, queue %d, %v", info.State, info.Unacked, err)
		}
		_ = client.Close()
		if _, err := sockdiag.TCPInfoOf(client); !errors.Is(err, net.ErrClosed) {
			t.Errorf("TCPInfoOf a closed connection: %v", err)
		}
		if _, err := sockdiag.IDOf(client); !errors.Is(err, net.ErrClosed) {
			t.Errorf("IDOf a closed connection: %v", err)
		}
	}
}

func TestOwnSocketsOfOtherKinds(t *testing.T) {
	nstest.RequireNamespace(t)
	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	id, err := sockdiag.IDOf(udp.(*net.UDPConn))
	if err != nil || id.Protocol != 17 || id.Family != sockdiag.IPv4 || id.Local.String() != udp.LocalAddr().String() || id.Cookie == 0 {
		t.Errorf("IDOf a UDP socket: %+v, %v", id, err)
	}
	if _, err := sockdiag.TCPInfoOf(udp.(*net.UDPConn)); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("TCPInfoOf a UDP socket: %v", err)
	}
	unix, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close()
	if _, err := sockdiag.IDOf(unix.(*net.UnixListener)); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("IDOf a Unix socket: %v", err)
	}
	if _, err := sockdiag.TCPInfoOf(unix.(*net.UnixListener)); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("TCPInfoOf a Unix socket: %v", err)
	}
}

// What another user's program, or none at all, could see of every socket.
func TestAttributesWithoutPrivilege(t *testing.T) {
	nstest.RequireNamespace(t)
	made := nstest.States(t, nstest.IPv4)
	release, err := sockdiag.RunningRelease()
	if err != nil {
		t.Fatal(err)
	}
	q := sockdiag.Query{Attrs: sockdiag.AttrTCPInfo | sockdiag.AttrSocketMemory | sockdiag.AttrCongestion}
	privileged := collect(t, dial(t), q)
	nstest.WithoutCaps(t, func() {
		c, err := sockdiag.Dial(nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		ordinary, err := sockdiag.Collect(c.Dump(t.Context(), q))
		if err != nil {
			t.Error(err)
			return
		}
		for _, m := range made {
			p, pok := find(privileged, m)
			o, ook := find(ordinary, m)
			if !pok || !ook {
				if m.State != tcpstate.BoundInactive {
					t.Errorf("%s: in the dump with privilege %v, without %v", m.Name, pok, ook)
				}
				continue
			}
			// The one difference that the documentation states.
			if o.Attrs != p.Attrs&^sockdiag.AttrMark {
				t.Errorf("%s: without privilege %v, with it %v", m.Name, o.Attrs, p.Attrs)
			}
			// Before 5.14 mini-sockets came without their mark.
			mini := p.Timer.Kind == sockdiag.TimerTimeWait
			if !p.Attrs.Has(sockdiag.AttrMark) && (!mini || release.AtLeast(5, 14)) {
				t.Errorf("%s: no mark with privilege: %v", m.Name, p.Attrs)
			}
			if o.Inode != m.Inode || m.Inode != 0 && o.UID != m.UID && o.UID != 65534 {
				t.Errorf("%s: inode %d and uid %d, want %d and %d", m.Name, o.Inode, o.UID, m.Inode, m.UID)
			}
		}
	})
}

// Close beside calls that open sockets, which leaving a dump early makes them do,
// ends these with net.ErrClosed and nothing else.
func TestDialsBesideClose(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.Many(t, nstest.IPv4, 20, 0)
	for range 20 {
		c, err := sockdiag.Dial(nil)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		started := make(chan struct{}, 4)
		for range cap(started) {
			wg.Go(func() {
				for n := 0; ; n++ {
					var err error
					for _, e := range c.Dump(t.Context(), sockdiag.Query{}) {
						err = e
						break
					}
					if w, e := c.Watch(t.Context(), sockdiag.WatchOptions{}); e == nil {
						_ = w.Close()
					} else {
						err = e
					}
					if n == 0 {
						started <- struct{}{}
					}
					if err != nil {
						if !errors.Is(err, net.ErrClosed) {
							t.Errorf("error %v", err)
						}
						return
					}
				}
			})
		}
		for range cap(started) {
			<-started
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	}
}
