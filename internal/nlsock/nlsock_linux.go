package nlsock

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"github.com/mdlayher/netlink"
	"github.com/seed16c515c6/timewait/internal/sockopt"
	"golang.org/x/sys/unix"
)

// Conn is one socket. Send, Exchange and Receive are for one goroutine at a time;
// Close and SetReadDeadline are for any, and end a Receive that waits.
type Conn struct {
	nl *netlink.Conn
	rc syscall.RawConn

	// What passes between a call and the function that the poller calls. The
	// functions are made once: a closure per datagram would be an allocation per
	// datagram.
	send, recv, exchange func(fd uintptr) bool
	out, in              []byte
	wait, sent           bool
	n                    int
	from                 unix.RawSockaddrNetlink
	errno                syscall.Errno

	connected bool // to the kernel, so that nobody else can send to this socket
}

// Dial opens a socket in the calling thread's network namespace.
func Dial() (*Conn, error) {
	nl, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, nil)
	if errors.Is(err, unix.EPROTONOSUPPORT) || errors.Is(err, unix.EAFNOSUPPORT) {
		return nil, fmt.Errorf("this kernel is built without sock_diag, or a sandbox forbids netlink sockets: %w: %w", errors.ErrUnsupported, cause(err))
	}
	if err != nil {
		return nil, cause(err)
	}
	// An error then carries the head of the request instead of all of it.
	if err := nl.SetOption(netlink.CapAcknowledge, true); err != nil {
		_ = nl.Close()
		return nil, cause(err)
	}
	rc, err := nl.SyscallConn()
	if err != nil {
		_ = nl.Close()
		return nil, cause(err)
	}
	c := &Conn{nl: nl, rc: rc}
	c.send, c.recv, c.exchange = c.sendFD, c.recvFD, c.exchangeFD
	if err := c.connect(); err != nil {
		_ = nl.Close()
		return nil, err
	}
	return c, nil
}

// connect connects the socket to port 0. The kernel then refuses what is sent to it
// from any other port, but for multicasts. What came before is thrown away. Where a
// sandbox forbids it, the socket stays as it is.
func (c *Conn) connect() error {
	var err error
	if cerr := c.rc.Control(func(fd uintptr) {
		err = unix.Connect(int(fd), &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	}); cerr != nil {
		return cerr
	}
	if err != nil {
		return nil
	}
	for {
		_, _, ok, err := c.Receive(nil, false)
		if err != nil {
			return err
		}
		if !ok {
			c.connected = true
			return nil
		}
	}
}

// cause takes mdlayher/netlink's own error off: the callers have one of theirs.
func cause(err error) error {
	var op *netlink.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// Send sends one datagram to the kernel.
func (c *Conn) Send(b []byte) error {
	c.out = b
	err := c.rc.Write(c.send)
	c.out = nil
	if err == nil && c.errno != 0 {
		err = os.NewSyscallError("sendto", c.errno)
	}
	return err
}

func (c *Conn) sendFD(fd uintptr) bool {
	// No address: a netlink socket sends to port 0, the kernel, whether it is connected
	// to it or not.
	for {
		_, _, c.errno = unix.Syscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(c.out))), uintptr(len(c.out)), 0, 0, 0)
		if c.errno != unix.EINTR {
			return c.errno != unix.EAGAIN
		}
	}
}

// Exchange sends a request that the kernel answers with one datagram, and reads that
// into answer, which takes one visit to the poller instead of two, if it is there by
// then. n is its length: where it exceeds len(answer) the rest is lost. Otherwise ok
// is false and it is left to Receive. Nobody but the kernel, and the groups that the
// socket has joined, can be the sender.
func (c *Conn) Exchange(request, answer []byte) (n int, ok bool, err error) {
	c.out, c.in, c.sent = request, answer, false
	err = c.rc.Write(c.exchange)
	c.out, c.in = nil, nil
	switch {
	case err != nil:
		return 0, false, err
	case c.errno != 0 && !c.sent:
		return 0, false, os.NewSyscallError("sendto", c.errno)
	case c.errno == unix.EAGAIN:
		return 0, false, nil
	case c.errno != 0:
		return 0, false, os.NewSyscallError("recvfrom", c.errno)
	}
	return c.n, true, nil
}

func (c *Conn) exchangeFD(fd uintptr) bool {
	if done := c.sendFD(fd); !done || c.errno != 0 {
		return done
	}
	c.sent = true
	if !c.connected {
		c.errno = unix.EAGAIN
		return true
	}
	// The scheduler need not know of this one: it copies what is there, and if nothing
	// is, it does not wait.
	n, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(c.in))), uintptr(len(c.in)),
		unix.MSG_TRUNC|unix.MSG_DONTWAIT, 0, 0)
	c.n, c.errno = int(n), e
	return true
}

// Receive reads one datagram into b. n is the datagram's length: where it
// exceeds len(b) the rest is lost. port is the sender's, 0 for the kernel. Where
// there is no datagram it waits for one, or returns ok false.
func (c *Conn) Receive(b []byte, wait bool) (n int, port uint32, ok bool, err error) {
	c.in, c.wait = b, wait
	err = c.rc.Read(c.recv)
	c.in = nil
	switch {
	case err != nil:
		return 0, 0, false, err
	case c.errno == unix.EAGAIN:
		return 0, 0, false, nil
	case c.errno != 0:
		return 0, 0, false, os.NewSyscallError("recvfrom", c.errno)
	}
	return c.n, c.from.Pid, true, nil
}

func (c *Conn) recvFD(fd uintptr) bool {
	for {
		size := uint32(unix.SizeofSockaddrNetlink)
		n, _, e := unix.Syscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(c.in))), uintptr(len(c.in)),
			unix.MSG_TRUNC, uintptr(unsafe.Pointer(&c.from)), uintptr(unsafe.Pointer(&size)))
		c.n, c.errno = int(n), e
		if e != unix.EINTR {
			return e != unix.EAGAIN || !c.wait
		}
	}
}

// SetReadDeadline makes a Receive that waits end with os.ErrDeadlineExceeded at
// t; a time in the past ends it at once.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.nl.SetReadDeadline(t) }

// NetNSCookie identifies the socket's network namespace (SO_NETNS_COOKIE, Linux
// 5.14).
func (c *Conn) NetNSCookie() (cookie uint64, err error) {
	if cerr := c.rc.Control(func(fd uintptr) {
		cookie, err = unix.GetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	}); cerr != nil {
		return 0, cerr
	}
	return cookie, os.NewSyscallError("getsockopt SO_NETNS_COOKIE", err)
}

// Join makes the socket a member of a multicast group. It needs no privilege.
func (c *Conn) Join(group uint32) error { return cause(c.nl.JoinGroup(group)) }

// SetReadBuffer sets the bytes that may wait to be read, as the kernel counts them
// (twice what SO_RCVBUF is told), and returns what it allows: beyond twice
// net.core.rmem_max only with CAP_NET_ADMIN in the initial user namespace.
func (c *Conn) SetReadBuffer(bytes int) (int, error) {
	if err := c.nl.SetReadBuffer((bytes + 1) / 2); err != nil {
		return 0, cause(err)
	}
	return c.ReadBuffer()
}

// ReadBuffer returns the bytes that may wait to be read, as the kernel counts them.
func (c *Conn) ReadBuffer() (int, error) {
	n, err := c.nl.ReadBuffer()
	return n, cause(err)
}

// Drops returns how many datagrams the kernel has dropped, because those waiting
// filled the buffer. It wraps around.
func (c *Conn) Drops() (uint32, error) {
	var info [unix.SK_MEMINFO_VARS * 4]byte
	var n int
	var err error
	if cerr := c.rc.Control(func(fd uintptr) {
		n, err = sockopt.Get(fd, unix.SOL_SOCKET, unix.SO_MEMINFO, info[:])
	}); cerr != nil {
		return 0, cerr
	}
	if end := 4 * (unix.SK_MEMINFO_DROPS + 1); err == nil && n < end {
		err = fmt.Errorf("SO_MEMINFO has %d bytes, need %d: %w", n, end, errors.ErrUnsupported)
	}
	return binary.NativeEndian.Uint32(info[4*unix.SK_MEMINFO_DROPS:]), err
}

// Close closes the socket.
func (c *Conn) Close() error { return c.nl.Close() }
