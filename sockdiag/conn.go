package sockdiag

import (
	"context"
	"fmt"
	"runtime"
	"syscall"
	"time"

	"github.com/seed16c515c6/timewait/internal/uapi"
)

// transport is a NETLINK_SOCK_DIAG socket, or a test's fake of one.
type transport interface {
	// Send sends one datagram to the kernel.
	Send(b []byte) error
	// Exchange sends a request with one answer, and reads that into answer if it is
	// there at once; n is as that of Receive. Otherwise ok is false and Receive will
	// get it. It is from the kernel.
	Exchange(request, answer []byte) (n int, ok bool, err error)
	// Receive reads one datagram. n is its length also where b is shorter and
	// the rest is lost; port is the sender's. Where there is none it waits, or
	// returns ok false.
	Receive(b []byte, wait bool) (n int, port uint32, ok bool, err error)
	// SetReadDeadline and Close end a Receive that waits in another goroutine.
	SetReadDeadline(t time.Time) error
	Close() error

	// InterfaceIndex is for filters that name a device; see nlsock.
	InterfaceIndex(name string) (uint32, error)
	// Join, SetReadBuffer, ReadBuffer and Drops are for a Watcher; see nlsock.
	Join(group uint32) error
	SetReadBuffer(bytes int) (int, error)
	ReadBuffer() (int, error)
	Drops() (uint32, error)
}

// conn is a transport with its buffers. It serves one request at a time.
type conn struct {
	transport transport
	buf       []byte // for a datagram; nil until the first
	req       []byte // the request
	seq       uint32
	turned    time.Time // to the scheduler
	batches   uint      // of dumps, that were to be read
	primed    bool
	spoilt    bool // a deadline was set
	busy      bool // guarded by Client.mu

	// The request, and how far its answer has been read.
	typ      uint16 // of the rows
	plain    uint64 // type, flags and sequence number of a row of a dump, as in its header
	single   bool
	datagram []byte // what is left of it
	torn     bool   // the kernel has said that the dump is not consistent
	ended    bool   // there is no more to read, so that another request can be made

	// interrupt ends a Receive that waits, and then says so on interrupted. It
	// is made once, not per call.
	interrupt   func()
	interrupted chan struct{}
}

func newConn(t transport) *conn {
	c := &conn{transport: t, interrupted: make(chan struct{}, 1)}
	c.interrupt = func() {
		_ = t.SetReadDeadline(time.Unix(1, 0))
		c.interrupted <- struct{}{}
	}
	return c
}

// truncatedError says that a datagram was longer than the buffer.
type truncatedError struct{ size int }

func (e *truncatedError) Error() string {
	return fmt.Sprintf("the kernel sent a message of %d bytes, more than the buffer holds", e.size)
}

func (e *truncatedError) Is(target error) bool { return target == syscall.EMSGSIZE }

// turn is how long a dump goes on before it visits the scheduler. Once a goroutine
// has run for 10 milliseconds, Go's monitor thread takes its processor away in every
// system call that lasts 20 microseconds, and the call ends by looking for another:
// dumps with tcp_info took 4 % longer by that.
//
// To ask the clock takes as long as to decode two sockets, so it is done every few
// batches, which take 50 to 300 microseconds each. What asks one question after the
// other goes on in the same way, some 2 microseconds each, and there the number says
// when.
const (
	turn        = 5 * time.Millisecond
	turnBatches = 8
	turnSingles = 1024
)

func (c *conn) takeTurn() {
	if c.batches++; c.batches%turnBatches != 0 {
		return
	}
	if now := time.Now(); now.Sub(c.turned) > turn {
		runtime.Gosched()
		c.turned = time.Now() // now: what others took of it is theirs
	}
}

// receive reads the next datagram of the kernel. To a socket that could not be
// connected anybody with CAP_NET_ADMIN in the namespace can send, so what is not from
// port 0 is not read.
func (c *conn) receive(ctx context.Context) ([]byte, error) {
	for {
		n, port, ok, err := c.transport.Receive(c.buf, false)
		if !ok && err == nil {
			n, port, err = c.wait(ctx)
		}
		switch {
		case err != nil:
			return nil, err
		case port != 0:
			// Nobody's flood keeps us from ending.
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			continue
		}
		return c.whole(n)
	}
}

// wait is for when the kernel has nothing to say yet. In a dump that is hardly
// ever: each read makes the next batch. So only here the context's end has to
// interrupt, which costs some allocations.
func (c *conn) wait(ctx context.Context) (n int, port uint32, err error) {
	stop := context.AfterFunc(ctx, c.interrupt)
	n, port, _, err = c.transport.Receive(c.buf, true)
	if !stop() {
		<-c.interrupted
		c.spoilt = true // the deadline would hit the next user
	}
	return n, port, err
}

// ask sends the request. next gets the rows of the answer.
func (c *conn) ask(r *request) error {
	c.seq++
	c.req = r.append(c.req[:0], c.seq)
	return c.begin(r.typ, r.single())
}

// begin sends what is in req, and reads the answer if that is one message and there.
func (c *conn) begin(typ uint16, single bool) error {
	c.typ, c.single = typ, single
	var header [uapi.SizeofNLMsgHdr]byte
	putHeader(header[:], typ, uapi.NLMFMulti, c.seq)
	c.plain = ne.Uint64(header[4:])
	c.datagram, c.ended, c.torn = nil, false, false
	if !single {
		return c.transport.Send(c.req)
	}
	if c.seq%turnSingles == 0 {
		runtime.Gosched()
	}
	n, ok, err := c.transport.Exchange(c.req, c.buf)
	if ok {
		c.datagram, err = c.whole(n)
	}
	return err
}

// whole returns the datagram of n bytes that has been read into buf.
func (c *conn) whole(n int) ([]byte, error) {
	if n > len(c.buf) {
		return nil, &truncatedError{size: n}
	}
	return c.buf[:n], nil
}

// ready takes the payload of the next row off the datagram. It returns nil if next has
// to look at it: there is none left, or it is no row of this dump, or has another flag
// than NLM_F_MULTI, which may be NLM_F_DUMP_INTR.
func (c *conn) ready() []byte {
	b := c.datagram
	if len(b) < uapi.SizeofNLMsgHdr || ne.Uint64(b[4:]) != c.plain {
		return nil
	}
	size := int(ne.Uint32(b))
	if size < uapi.SizeofNLMsgHdr || size > len(b) {
		return nil
	}
	c.datagram = b[min(align4(size), len(b)):]
	return b[uapi.SizeofNLMsgHdr:size]
}

// next returns the payload of the next row of the answer; ok is false after the last
// one, and where there is an error. What the kernel answers instead of rows is a bare
// syscall.Errno.
func (c *conn) next(ctx context.Context) (payload []byte, ok bool, err error) {
	for !c.ended {
		if len(c.datagram) == 0 {
			if !c.single {
				c.takeTurn()
			}
			if c.datagram, err = c.receive(ctx); err != nil {
				return nil, false, err
			}
			continue
		}
		var m message
		if m, c.datagram, err = nextMessage(c.datagram); err != nil {
			return nil, false, err
		}
		if m.seq() != c.seq {
			continue // the answer to something else
		}
		if m.flags()&uapi.NLMFDumpIntr != 0 {
			c.torn = true
		}
		switch m.typ() {
		case c.typ:
			if c.single {
				c.ended, c.datagram = true, nil
			}
			return m.payload(), true, nil
		case uapi.NLMsgDone:
			if err = kernelError("NLMSG_DONE", m.payload()); err == nil && c.torn {
				err = ErrInterrupted
			}
			c.ended = err == nil
		case uapi.NLMsgError:
			// Zero acknowledges a request that asked for that.
			err = kernelError("NLMSG_ERROR", m.payload())
			_, errno := err.(syscall.Errno) // errors.As would cost an allocation
			c.ended = c.single && (errno || err == nil)
		case uapi.NLMsgOverrun:
			err = fmt.Errorf("the kernel lost messages (NLMSG_OVERRUN): %w", syscall.ENOBUFS)
		}
		if err != nil {
			return nil, false, err
		}
	}
	return nil, false, nil
}

// prepare readies the conn for a request with a receive buffer of at least size
// bytes.
//
// The first time, it makes the kernel's first batch of rows as large as the
// others. The kernel sizes a batch by the largest buffer that it has seen the
// socket read into, and begins with less than 4 KiB; a socket whose row does not
// fit into an empty batch ends the dump there, and the kernel says that all went
// well. A request without a body is answered with EINVAL, which is a datagram to
// read, and touches nothing. (It has a type that sock_diag knows, because SELinux
// objects to others.)
func (c *conn) prepare(ctx context.Context, size int) error {
	if len(c.buf) < size {
		c.buf = make([]byte, size)
		c.primed = false
	}
	if c.primed {
		return nil
	}
	var empty [uapi.SizeofNLMsgHdr]byte
	c.seq++
	putHeader(empty[:], uapi.SockDiagByFamily, uapi.NLMFRequest|uapi.NLMFAck, c.seq)
	c.req = append(c.req[:0], empty[:]...)
	err := c.begin(uapi.SockDiagByFamily, true)
	if err == nil {
		_, _, err = c.next(ctx)
	}
	if err == syscall.EINVAL {
		c.primed, err = true, nil
	}
	return err
}

// keptBuffer is the largest buffer that an idle conn keeps, if the Client was not told
// to have a larger one. Replies that take more are one in a million.
const keptBuffer = 256 << 10

// shrink gives up a buffer that has grown for one long reply.
func (c *conn) shrink(size int) {
	if len(c.buf) > max(size, keptBuffer) {
		c.buf, c.datagram = nil, nil
	}
}

// message is one netlink message, whole: a struct nlmsghdr and what follows it.
type message []byte

func (m message) typ() uint16     { return ne.Uint16(m[4:]) }
func (m message) flags() uint16   { return ne.Uint16(m[6:]) }
func (m message) seq() uint32     { return ne.Uint32(m[8:]) }
func (m message) payload() []byte { return m[uapi.SizeofNLMsgHdr:] }

// nextMessage takes the first message off a datagram.
func nextMessage(b []byte) (m message, rest []byte, err error) {
	if len(b) < uapi.SizeofNLMsgHdr {
		return nil, nil, &DecodeError{What: "nlmsghdr", Len: len(b), Want: uapi.SizeofNLMsgHdr}
	}
	size := ne.Uint32(b)
	if size < uapi.SizeofNLMsgHdr {
		return nil, nil, &DecodeError{What: "nlmsg_len", Len: int(size), Want: uapi.SizeofNLMsgHdr}
	}
	if uint64(size) > uint64(len(b)) {
		return nil, nil, &DecodeError{What: "netlink message", Len: len(b), Want: int(min(size, 1<<30))}
	}
	return b[:size], b[min(align4(int(size)), len(b)):], nil
}

// kernelError is the errno in an NLMSG_DONE or NLMSG_ERROR: zero or negative.
func kernelError(what string, payload []byte) error {
	if len(payload) < 4 {
		return &DecodeError{What: what, Len: len(payload), Want: 4}
	}
	if errno := -int32(ne.Uint32(payload)); errno != 0 {
		return syscall.Errno(errno)
	}
	return nil
}
