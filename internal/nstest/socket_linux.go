package nstest

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/tcpstate"
)

// Family is the kind of TCP socket to make.
type Family uint8

// The kinds.
const (
	IPv4   Family = iota + 1 // AF_INET, on 127.0.0.1
	IPv6                     // AF_INET6, on ::1
	Mapped                   // AF_INET6, on ::ffff:127.0.0.1
)

// Families are all of them.
var Families = [...]Family{IPv4, IPv6, Mapped}

// String returns the family's name, for a subtest.
func (f Family) String() string {
	switch f {
	case IPv4:
		return "ipv4"
	case IPv6:
		return "ipv6"
	case Mapped:
		return "mapped"
	}
	return fmt.Sprintf("Family(%d)", uint8(f))
}

// Number is the kernel's number of the sockets' address family: AF_INET or AF_INET6.
func (f Family) Number() uint8 {
	if f == IPv4 {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

// Loopback is the address that the sockets are on.
func (f Family) Loopback() netip.Addr {
	switch f {
	case IPv4:
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case IPv6:
		return netip.IPv6Loopback()
	}
	return netip.AddrFrom16(netip.AddrFrom4([4]byte{127, 0, 0, 1}).As16())
}

// patience is how long a socket may take to reach a state. On loopback that is microseconds; an emulated machine and a
// busy one take longer.
const patience = 10 * time.Second

// until waits for cond.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain: %s", patience, what)
		}
		time.Sleep(time.Millisecond)
	}
}

// open holds the descriptors that this package has to close. Descriptor numbers are used again, so each has a token
// of the test that it was opened for.
var open = struct {
	sync.Mutex
	fds map[int]*byte
}{fds: make(map[int]*byte)}

// keep has the descriptor closed when the test ends, the connection being reset.
func keep(t testing.TB, fd int) {
	token := new(byte)
	open.Lock()
	open.fds[fd] = token
	open.Unlock()
	t.Cleanup(func() {
		if release(fd, token) {
			abort(fd)
		}
	})
}

// release takes the descriptor from the list, if it is on it with that token. A nil token is any.
func release(fd int, token *byte) bool {
	open.Lock()
	defer open.Unlock()
	have, ok := open.fds[fd]
	if !ok || token != nil && have != token {
		return false
	}
	delete(open.fds, fd)
	return true
}

// Close closes a descriptor of this package before the test ends: an orderly close, which may leave TIME_WAIT.
func Close(t testing.TB, fd int) {
	t.Helper()
	if !release(fd, nil) {
		t.Fatalf("descriptor %d is not open, or not nstest's", fd)
	}
	if err := unix.Close(fd); err != nil {
		t.Fatal(os.NewSyscallError("close", err))
	}
}

// Abort closes a descriptor of this package before the test ends and resets the connection: no socket is left of it.
func Abort(t testing.TB, fd int) {
	t.Helper()
	if !release(fd, nil) {
		t.Fatalf("descriptor %d is not open, or not nstest's", fd)
	}
	abort(fd)
}

func abort(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	_ = unix.Close(fd)
}

// newSocket makes a TCP socket that does not block.
func newSocket(t testing.TB, family Family, opts ...option) int {
	t.Helper()
	fd, err := unix.Socket(int(family.Number()), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		Skip(t, "sockets of family %v", family)
	}
	if err != nil {
		t.Fatal(os.NewSyscallError("socket", err))
	}
	keep(t, fd)
	for _, o := range opts {
		o.set(t, fd)
	}
	return fd
}

// option is a socket option with an integer for its value.
type option struct{ level, name, value int }

func (o option) set(t testing.TB, fd int) {
	t.Helper()
	if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
		t.Fatalf("setsockopt(%d, %d, %d): %v", o.level, o.name, o.value, err)
	}
}

// bind binds to the family's loopback address. Port 0 leaves the choice to the kernel.
func bind(t testing.TB, fd int, family Family, port uint16) error {
	t.Helper()
	err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(family.Loopback(), port)))
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		Skip(t, "address %v", family.Loopback())
	}
	return err
}

func bindAny(t testing.TB, fd int, family Family) {
	t.Helper()
	if err := bind(t, fd, family, 0); err != nil {
		t.Fatal(os.NewSyscallError("bind", err))
	}
}

// bindNamed binds to a port that the program names, which the kernel tells from one that it chose itself.
func bindNamed(t testing.TB, fd int, family Family) {
	t.Helper()
	until(t, "bind to a free port", func() bool {
		probe := newSocket(t, family)
		bindAny(t, probe, family)
		port := localAddr(t, probe).Port()
		Close(t, probe)
		err := bind(t, fd, family, port)
		if err != nil && !errors.Is(err, unix.EADDRINUSE) { // Somebody else was faster.
			t.Fatal(os.NewSyscallError("bind", err))
		}
		return err == nil
	})
}

// listen makes a listener on a port of the kernel's choice.
func listen(t testing.TB, family Family, backlog int, opts ...option) int {
	t.Helper()
	fd := newSocket(t, family, opts...)
	bindAny(t, fd, family)
	listenOn(t, fd, backlog)
	return fd
}

func listenOn(t testing.TB, fd, backlog int) {
	t.Helper()
	if err := unix.Listen(fd, backlog); err != nil {
		t.Fatal(os.NewSyscallError("listen", err))
	}
}

// connect starts a connection to the listener; it does not wait for it.
func connect(t testing.TB, fd, listener int) {
	t.Helper()
	to := sockaddr(localAddr(t, listener))
	for {
		switch err := unix.Connect(fd, to); {
		// An interrupted attempt goes on in the kernel, and the next call finds it under way or done.
		case errors.Is(err, unix.EINTR):
			continue
		case err == nil, errors.Is(err, unix.EINPROGRESS), errors.Is(err, unix.EALREADY), errors.Is(err, unix.EISCONN):
			return
		default:
			t.Fatal(os.NewSyscallError("connect", err))
		}
	}
}

// dial starts a connection from a new socket to the listener.
func dial(t testing.TB, family Family, listener int, opts ...option) int {
	t.Helper()
	fd := newSocket(t, family, opts...)
	connect(t, fd, listener)
	return fd
}

// accept takes the next connection.
func accept(t testing.TB, listener int) (fd int) {
	t.Helper()
	until(t, "accept", func() bool {
		var err error
		fd, _, err = unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		// ECONNABORTED is a connection that was reset in the queue.
		if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ECONNABORTED) {
			t.Fatal(os.NewSyscallError("accept", err))
		}
		return err == nil
	})
	keep(t, fd)
	return fd
}

// Pair makes a connection and returns both ends, in state ESTABLISHED. They do not block, and are closed (the
// connection being reset) when the test ends; Close and Abort do it earlier.
func Pair(t testing.TB, family Family) (client, server int) {
	t.Helper()
	return pairOf(t, family, nil, newSocket(t, family))
}

// pairOf connects the client to a listener that is gone when it returns.
func pairOf(t testing.TB, family Family, server []option, client int) (int, int) {
	t.Helper()
	l := listen(t, family, 1, server...)
	connect(t, client, l)
	s := accept(t, l)
	Close(t, l)
	await(t, client, tcpstate.Established)
	await(t, s, tcpstate.Established)
	return client, s
}

// await waits until the kernel says that the socket is in the state.
func await(t testing.TB, fd int, want tcpstate.State) {
	t.Helper()
	var got tcpstate.State
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if got = tcpstate.State(tcpInfo(t, fd).State); got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("descriptor %d is %v after %v, want %v", fd, got, patience, want)
		}
	}
}

func tcpInfo(t testing.TB, fd int) *unix.TCPInfo {
	t.Helper()
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		t.Fatal(os.NewSyscallError("getsockopt(TCP_INFO)", err))
	}
	if info.State == 0 {
		Skip(t, "getsockopt(TCP_INFO): the answer is empty, as under user-mode emulation")
	}
	return info
}

// shutdown sends our FIN once everything before it is sent.
func shutdown(t testing.TB, fd int) {
	t.Helper()
	if err := unix.Shutdown(fd, unix.SHUT_WR); err != nil {
		t.Fatal(os.NewSyscallError("shutdown", err))
	}
}

// write writes n bytes, which must fit, and waits until the peer has acknowledged them.
func write(t testing.TB, fd, n int) {
	t.Helper()
	if m, err := unix.Write(fd, make([]byte, n)); err != nil || m != n {
		t.Fatalf("write %d bytes: %d, %v", n, m, err)
	}
	until(t, "every byte acknowledged", func() bool { return sendQueue(t, fd) == 0 })
}

// fill writes until the peer's window is closed: bytes wait, none is under way, and no more fit.
func fill(t testing.TB, fd int) {
	t.Helper()
	chunk := make([]byte, 4096)
	until(t, "the peer's window closed", func() bool {
		fitted := false
		for {
			_, err := unix.Write(fd, chunk)
			if errors.Is(err, unix.EAGAIN) {
				break
			}
			if err != nil && !errors.Is(err, unix.EINTR) {
				t.Fatal(os.NewSyscallError("write", err))
			}
			fitted = true
		}
		return !fitted && tcpInfo(t, fd).Unacked == 0 && sendQueue(t, fd) > 0
	})
}

// sendQueue is the number of bytes that the peer has not acknowledged, sent or not.
func sendQueue(t testing.TB, fd int) uint32 { return queued(t, fd, unix.SIOCOUTQ) }

// recvQueue is the number of bytes that the program has not read.
func recvQueue(t testing.TB, fd int) uint32 { return queued(t, fd, unix.SIOCINQ) }

func queued(t testing.TB, fd int, request uint) uint32 {
	t.Helper()
	n, err := unix.IoctlGetInt(fd, request)
	if err != nil {
		t.Fatal(os.NewSyscallError("ioctl", err))
	}
	return uint32(n)
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	return netip.AddrPort{}
}

func localAddr(t testing.TB, fd int) netip.AddrPort {
	t.Helper()
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(os.NewSyscallError("getsockname", err))
	}
	return addrPort(sa)
}
