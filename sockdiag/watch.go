package sockdiag

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/seed16c515c6/timewait/internal/uapi"
)

// WatchOptions says what to Watch. The zero WatchOptions are TCP over IPv4 and
// IPv6, and the system's buffer.
type WatchOptions struct {
	Families  []Family   // empty: IPv4 and IPv6
	Protocols []Protocol // TCP and UDP; empty: TCP

	// ReadBuffer is the bytes of announcements that may wait to be read, as the
	// kernel counts them: 1280 for each TCP socket and less for UDP. 0 is the
	// system's default (net.core.rmem_default), which is good for 166. Without
	// CAP_NET_ADMIN in the initial user namespace the kernel allows no more than
	// twice net.core.rmem_max; Watcher.ReadBuffer says what it is.
	ReadBuffer int
}

// NoticeKind is what a Notice tells of.
type NoticeKind uint8

// The kinds of notices.
const (
	SocketClosed NoticeKind = 1 // Notice.Socket is gone
	Lost         NoticeKind = 2 // Notice.Lost announcements were lost
)

// String returns "SocketClosed", "Lost", or "NoticeKind(9)".
func (k NoticeKind) String() string {
	return enumString(k, "NoticeKind", "NoticeKind(0)", "SocketClosed", "Lost")
}

// Notice is what a Watcher tells.
type Notice struct {
	Kind NoticeKind // which of the two fields below is filled in

	// Socket is the one that closed. Its State is CLOSE, whatever it was before
	// (a connected UDP socket stays ESTABLISHED), and nobody owns it: UID and
	// Inode are 0. Of its attributes there are AttrTCPInfo, with the counters as
	// they ended, and AttrProtocol.
	//
	// A connection that was reset by its own side (SO_LINGER 0, a refused connect,
	// one that nobody accepted before its listener closed) has lost its Remote,
	// perhaps its Local, and the counters of TCPInfo; RecvQueue and SendQueue are
	// then garbage, and so is a UDP socket's SendQueue. Its Cookie tells which one
	// it was, for those who have seen it before. Others may have a Cookie that
	// nobody has seen.
	Socket Socket

	Lost uint64 // how many announcements did not fit into the buffer
}

// A Watcher hears of sockets as the kernel frees them. Create it with
// Client.Watch; Close it when done.
type Watcher struct {
	client  *Client
	conn    *conn
	ctx     context.Context
	drops   uint32 // as of the last notice
	rest    []byte // of the datagram that was read last
	ranging atomic.Bool
	closed  atomic.Bool
	once    sync.Once
}

// Watch subscribes to the end of sockets: from when it returns, none is missed
// without a notice (unless the kernel runs out of memory), so that a Dump that follows leaves no gap. It needs no
// privilege. The Watcher is good until ctx is done, it is closed, or the Client is.
//
// The kernel announces every socket of a program when it frees it: connections,
// those that never came to be, listeners, sockets that were not even bound; of MPTCP the
// TCP subflows. That is not when the program closes it: a connection whose last
// data is not acknowledged lives on, and is announced when it ends or shrinks to a
// mini-socket. And a connection that was reset is announced when the program closes
// it. The TIME_WAIT that follows has the Cookie of the announcement, and ends
// without one, as request sockets do.
func (c *Client) Watch(ctx context.Context, opts WatchOptions) (*Watcher, error) {
	w, err := c.watch(ctx, &opts)
	if err != nil {
		return nil, &OpError{Op: "watch", Err: err}
	}
	return w, nil
}

func (c *Client) watch(ctx context.Context, opts *WatchOptions) (*Watcher, error) {
	groups, err := opts.groups()
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	cn, err := c.open()
	if err != nil {
		return nil, err
	}
	cn.buf = make([]byte, minBuffer)
	w := &Watcher{client: c, conn: cn, ctx: ctx}
	if opts.ReadBuffer > 0 {
		_, err = cn.transport.SetReadBuffer(opts.ReadBuffer)
	}
	for _, group := range groups {
		if err == nil {
			err = cn.transport.Join(group)
		}
	}
	if err == nil {
		_, err = cn.transport.Drops() // that it can be told
	}
	if err != nil {
		c.release(cn, false)
		return nil, w.why(err)
	}
	return w, nil
}

// groups are the multicast groups (SKNLGRP_*) that the options stand for.
func (o *WatchOptions) groups() (groups []uint32, err error) {
	if o.ReadBuffer < 0 || o.ReadBuffer > math.MaxInt32 {
		return nil, fmt.Errorf("WatchOptions.ReadBuffer %d is not of 0 to %d: %w", o.ReadBuffer, math.MaxInt32, fs.ErrInvalid)
	}
	protocols, families := o.Protocols, o.Families
	if len(protocols) == 0 {
		protocols = []Protocol{TCP}
	}
	if len(families) == 0 {
		families = []Family{IPv4, IPv6}
	}
	for _, f := range families {
		if f != IPv4 && f != IPv6 {
			return nil, fmt.Errorf("WatchOptions.Families are IPv4 and IPv6, not %v: %w", f, fs.ErrInvalid)
		}
		for _, p := range protocols {
			group, ok := map[Protocol]uint32{TCP: uapi.SKNLGrpInetTCPDestroy, UDP: uapi.SKNLGrpInetUDPDestroy}[p]
			if !ok {
				return nil, fmt.Errorf("the kernel does not announce the end of %v sockets: %w", p, errors.ErrUnsupported)
			}
			if f == IPv6 {
				group += uapi.SKNLGrpInet6TCPDestroy - uapi.SKNLGrpInetTCPDestroy
			}
			if !slices.Contains(groups, group) {
				groups = append(groups, group)
			}
		}
	}
	return groups, nil
}

// Events yields a notice for each socket that closes, in the order in which the
// kernel tells of them, and one for each loss. It waits for the next, and ends
// only with an error: the context's, net.ErrClosed, or that of a broken answer. To
// leave the range loses nothing, and a later one goes on. Only one can be under
// way at a time.
//
// If notices come faster than they are read, the buffer fills up, and the kernel
// drops what comes until all of it has been read. There is a Lost notice as soon as
// that is known, ahead of what was in the buffer, another for what was dropped
// meanwhile, and the stream goes on: what was lost is for a Dump to find out.
func (w *Watcher) Events() iter.Seq2[Notice, error] {
	return func(yield func(Notice, error) bool) {
		if !w.ranging.CompareAndSwap(false, true) {
			yield(Notice{}, &OpError{Op: "watch", Err: errors.New("another range over the events is under way")})
			return
		}
		defer w.ranging.Store(false)
		for {
			n, err := w.next()
			if err != nil {
				yield(Notice{}, &OpError{Op: "watch", Err: err})
				return
			}
			if !yield(n, nil) {
				return
			}
		}
	}
}

// next returns the next notice.
func (w *Watcher) next() (Notice, error) {
	for {
		if err := w.live(); err != nil {
			return Notice{}, err
		}
		if len(w.rest) > 0 {
			m, rest, err := nextMessage(w.rest)
			if err != nil {
				return Notice{}, err
			}
			w.rest = rest
			if m.typ() == uapi.SockDiagByFamily {
				n := Notice{Kind: SocketClosed}
				return n, n.Socket.decodeEvent(m.payload())
			}
			continue
		}
		n, port, ok, err := w.conn.transport.Receive(w.conn.buf, false)
		if errors.Is(err, syscall.ENOBUFS) || !ok && err == nil {
			// Drops go on unsaid until the buffer is empty, which it is when there
			// is nothing to receive.
			lost, derr := w.lost()
			if derr != nil {
				return Notice{}, w.why(derr)
			}
			if lost > 0 {
				return Notice{Kind: Lost, Lost: lost}, nil
			}
			if err == nil {
				n, port, err = w.conn.wait(w.ctx)
			}
			if errors.Is(err, syscall.ENOBUFS) {
				continue // the next look at the drops tells
			}
		}
		switch {
		case err != nil:
			return Notice{}, w.why(err)
		case n > len(w.conn.buf):
			return Notice{}, &truncatedError{size: n}
		case port == 0: // the kernel
			w.rest = w.conn.buf[:n]
		}
	}
}

// lost returns how many announcements were dropped since it was last asked.
func (w *Watcher) lost() (uint64, error) {
	drops, err := w.conn.transport.Drops()
	if err != nil {
		return 0, err
	}
	lost := drops - w.drops // the counter wraps around
	w.drops = drops
	return uint64(lost), nil
}

// live says why to stop.
func (w *Watcher) live() error {
	if w.closed.Load() || w.client.closed.Load() {
		return net.ErrClosed
	}
	return w.ctx.Err()
}

// why says why a call on the socket failed.
func (w *Watcher) why(err error) error {
	if why := w.live(); why != nil {
		return why
	}
	return err
}

// ReadBuffer returns the bytes that may wait to be read, as the kernel counts
// them: what it made of WatchOptions.ReadBuffer.
func (w *Watcher) ReadBuffer() (int, error) {
	n, err := w.conn.transport.ReadBuffer()
	if err != nil {
		return 0, &OpError{Op: "watch", Err: w.why(err)}
	}
	return n, nil
}

// Close ends the subscription. A range over the events that waits ends with
// net.ErrClosed. Closing again does nothing.
func (w *Watcher) Close() error {
	w.once.Do(func() {
		w.closed.Store(true)
		w.client.release(w.conn, false)
	})
	return nil
}

// decodeEvent decodes an announcement, which says of which protocol it is.
func (s *Socket) decodeEvent(b []byte) error {
	p := TCP
	if len(b) >= uapi.SizeofInetDiagMsg {
		err := eachAttr(b[uapi.SizeofInetDiagMsg:], func(typ uint16, payload []byte) error {
			if typ == uapi.InetDiagProtocol && len(payload) > 0 {
				p = Protocol(payload[0])
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return s.decode(p, b, false)
}
