package sockdiag

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"os"
	"syscall"

	"github.com/seed16c515c6/timewait/internal/uapi"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// Dump streams the sockets that the query selects. Nothing is sent before the
// sequence is ranged over, and each range is a dump of its own. The sockets are
// the caller's to keep; none of them costs an allocation but what has an
// Extra, or a congestion control algorithm that is not the kernel's own.
//
// A dump is not a snapshot: the kernel walks its tables while connections come
// and go. One that opens, closes or changes meanwhile may be missed, or appear
// twice, with the same cookie, in the states before and after (see Dedup). What
// stays as it is appears once. States are checked again on arrival, so a socket
// that left the query's States in between is not among the rows.
//
// Leaving the range early is cheap and well-behaved. So is being slow: the kernel
// waits. The loop may make other calls on the same Client. The sequence ends with
// at most one error, an *OpError, after which nothing comes; its Socket is zero.
// Once ctx is done no further socket comes. What cannot be interrupted is the
// kernel while it fills one batch: some microseconds to milliseconds, but with
// AttrTCPInfo as long as another process keeps the kernel at work on a socket.
func (c *Client) Dump(ctx context.Context, q Query) iter.Seq2[Socket, error] {
	// No more than this, so that it is inlined where it is ranged over and the
	// sequence costs nothing.
	return func(yield func(Socket, error) bool) { c.dump(ctx, &q, yield) }
}

func (c *Client) dump(ctx context.Context, q *Query, yield func(Socket, error) bool) {
	d := dumper{filter: q.rowFilter(), protocol: q.protocol(), keepUnknown: q.Attrs.Has(AttrUnknown)}
	err := q.check()
	if err != nil {
		err = q.opError("dump", err)
	} else if q.tellsKeys() {
		err = c.dumpListenersApart(ctx, *q, &d, yield)
	} else {
		err = c.ask(ctx, "dump", q, func(payload []byte) error { return d.row(payload, yield) })
	}
	if err != nil {
		yield(Socket{}, err)
	}
}

// dumper turns the rows of one dump into Sockets.
type dumper struct {
	filter      rowFilter
	protocol    Protocol
	keepUnknown bool
	stopped     bool // yield wants no more
	socket      Socket
}

func (d *dumper) row(payload []byte, yield func(Socket, error) bool) error {
	if err := d.socket.decode(d.protocol, payload, d.keepUnknown); err != nil {
		return err
	}
	state, ok := d.filter.state(payload)
	if !ok {
		return nil
	}
	d.socket.State = state
	if !yield(d.socket, nil) {
		d.stopped = true
		return errStopped
	}
	return nil
}

// tellsKeys reports whether the kernel may answer with the TCP-MD5 keys of
// listeners, which can be too many for a row: it then ends the dump as if that
// had been the last socket.
func (q *Query) tellsKeys() bool {
	return q.Attrs.extension()&(1<<(uapi.InetDiagInfo-1)) != 0 && q.states().Has(tcpstate.Listen)
}

// dumpListenersApart asks for the listeners first, so that what is lost is known:
// their number, from a request that brings no keys, tells whether the rows with
// keys were all. If not, the rest comes without what they were asked for. Then
// come the others, who have no more than a few keys. The extra requests cost some
// microseconds: the kernel has few listeners, in a table of their own.
func (c *Client) dumpListenersApart(ctx context.Context, q Query, d *dumper, yield func(Socket, error) bool) error {
	others := q
	others.States = q.states().Without(tcpstate.Listen)
	q.States = tcpstate.Listen.Set()
	bare := q
	bare.Attrs &^= AttrTCPInfo | AttrMD5Keys | AttrULPInfo

	sent, there := 0, 0
	if err := c.ask(ctx, "dump", &q, func(payload []byte) error {
		sent++
		return d.row(payload, yield)
	}); err != nil || d.stopped {
		return err
	}
	if err := c.ask(ctx, "dump", &bare, func([]byte) error { there++; return nil }); err != nil {
		return err
	}
	if sent < there {
		if err := c.dumpMissing(ctx, &q, &bare, d, yield); err != nil || d.stopped {
			return err
		}
	}
	if others.States == 0 {
		return nil
	}
	return c.ask(ctx, "dump", &others, func(payload []byte) error { return d.row(payload, yield) })
}

// dumpMissing yields the sockets that the query bare finds and the query full
// does not. It asks for full's once more: to have remembered them the first time
// would have cost every dump the memory.
func (c *Client) dumpMissing(ctx context.Context, full, bare *Query, d *dumper, yield func(Socket, error) bool) error {
	seen := make(map[uint64]struct{})
	if err := c.ask(ctx, "dump", full, func(payload []byte) error {
		if err := d.socket.decode(d.protocol, payload, false); err != nil {
			return err
		}
		seen[d.socket.Cookie] = struct{}{}
		return nil
	}); err != nil {
		return err
	}
	return c.ask(ctx, "dump", bare, func(payload []byte) error {
		if err := d.socket.decode(d.protocol, payload, d.keepUnknown); err != nil {
			return err
		}
		if _, ok := seen[d.socket.Cookie]; ok {
			return nil
		}
		return d.row(payload, yield)
	})
}

// errStopped ends a request whose caller wants no more rows.
var errStopped = errors.New("stopped")

// ask sends the query and hands the payload of every row to row, whose error
// ends it. It returns nil when the kernel is done or row returned errStopped, and
// otherwise an *OpError.
func (c *Client) ask(ctx context.Context, op string, q *Query, row func(payload []byte) error) error {
	err := q.check()
	if err == nil {
		err = c.askGrowing(ctx, q, row)
	}
	if err == nil || err == errStopped {
		return nil
	}
	return q.opError(op, explain(err))
}

func (q *Query) opError(op string, err error) error {
	return &OpError{Op: op, Family: q.Family, Protocol: q.protocol(), Err: err}
}

// askGrowing asks again with a larger buffer where the first answer was too long
// for it. After the first row it is too late for that.
func (c *Client) askGrowing(ctx context.Context, q *Query, row func(payload []byte) error) error {
	size := c.bufferSize
	for {
		rows := 0
		err := c.askOnce(ctx, q, size, func(payload []byte) error {
			rows++
			return row(payload)
		})
		long, ok := err.(*truncatedError) // errors.As would cost every call an allocation
		if !ok || rows > 0 || long.size <= size || long.size > maxBuffer {
			return err
		}
		size = long.size
	}
}

func (c *Client) askOnce(ctx context.Context, q *Query, size int, row func(payload []byte) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	cn, err := c.acquire()
	if err != nil {
		return err
	}
	// Deferred, because row is the caller's loop, which may panic.
	clean := false
	defer func() { c.release(cn, clean) }()

	done := ctx.Done()
	live := func() error {
		select {
		case <-done:
			return ctx.Err()
		default:
		}
		if c.closed.Load() {
			return net.ErrClosed
		}
		return nil
	}

	if err = cn.prepare(ctx, size); err == nil {
		cn.seq++
		cn.req = q.appendDump(cn.req[:0], cn.seq)
		err = cn.exchange(ctx, q.messageType(), live, row)
	}
	switch {
	case err == nil:
		clean = !cn.spoilt
	case err == errStopped:
		// Whatever else has happened since, the caller wants no more.
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = ctx.Err() // the only one who sets a deadline
	case c.closed.Load():
		err = net.ErrClosed
	}
	return err
}

// explain turns the kernel's word for "I cannot" into ours: where the family or
// the protocol has no handler, the answer to a dump is ENOENT, in an NLMSG_ERROR
// or in the NLMSG_DONE. Only the kernel's answers are bare errnos. (The older
// request says EOPNOTSUPP, which matches errors.ErrUnsupported by itself.)
func explain(err error) error {
	if err == syscall.ENOENT {
		return fmt.Errorf("this kernel has no handler for it (the module tcp_diag or inet_diag is missing): %w", errors.ErrUnsupported)
	}
	return err
}

// Collect returns all sockets of the sequence, and its error. What arrived before
// an error is returned with it. A Socket is some 600 bytes: of a large table, Dump
// or CountBy take what is needed in less memory.
func Collect(seq iter.Seq2[Socket, error]) ([]Socket, error) {
	var all []Socket
	for s, err := range seq {
		if err != nil {
			return all, err
		}
		all = append(all, s)
	}
	return all, nil
}

// Dedup passes each socket on once, by its cookie, the first time it comes: a
// socket that moves while the kernel walks its tables can come twice. To do so it
// remembers every cookie, which takes about 20 to 40 bytes a socket, for as long
// as the range goes on. Sockets without a cookie all pass.
func Dedup(seq iter.Seq2[Socket, error]) iter.Seq2[Socket, error] {
	return func(yield func(Socket, error) bool) {
		seen := make(map[uint64]struct{})
		for s, err := range seq {
			if err == nil && s.Cookie != 0 {
				if _, again := seen[s.Cookie]; again {
					continue
				}
				seen[s.Cookie] = struct{}{}
			}
			if !yield(s, err) {
				return
			}
		}
	}
}

// CountBy counts the sockets of the sequence by what key says of each. The Socket
// that key gets is only valid during the call. What was counted before an error
// is returned with it.
func CountBy[K comparable](seq iter.Seq2[Socket, error], key func(*Socket) K) (map[K]uint64, error) {
	counts := make(map[K]uint64)
	for s, err := range seq {
		if err != nil {
			return counts, err
		}
		counts[key(&s)]++
	}
	return counts, nil
}
