package sockdiag

import (
	"context"
	"iter"

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
// stays as it is appears once (AttrTCPInfo has an exception for root). States are checked again on arrival, so a socket
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
	r := q.request()
	d := dumper{filter: q.rowFilter(), protocol: r.protocol, keepUnknown: q.Attrs.Has(AttrUnknown)}
	err := c.compile(q, &r, &d.filter)
	if err == nil {
		err = c.dumpRequest(ctx, &r, &d, yield)
	}
	if err != nil && !d.stopped {
		yield(Socket{}, r.opError("dump", err))
	}
}

// dumpRequest yields the rows that answer the request. It returns nil also when
// yield wants no more.
func (c *Client) dumpRequest(ctx context.Context, r *request, d *dumper, yield func(Socket, error) bool) error {
	if r.tellsKeys() {
		return c.dumpListenersApart(ctx, r, d, yield)
	}
	return c.ask(ctx, r, func(payload []byte) error { return d.row(payload, yield) })
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
	state, ok := d.filter.state(d.socket.State, payload)
	if !ok {
		return nil
	}
	d.socket.State = state
	if ok, err := d.filter.matches(&d.socket); !ok {
		return err
	}
	if !yield(d.socket, nil) {
		d.stopped = true
		return errStopped
	}
	return nil
}

// tellsKeys reports whether the kernel may answer with the TCP-MD5 keys of
// listeners, which can be too many for a row: it then ends the dump as if that
// had been the last socket.
func (r *request) tellsKeys() bool {
	return r.protocol == TCP && r.extension&infoExtension != 0 && r.states.Has(tcpstate.Listen)
}

// infoExtension is the bit that asks for INET_DIAG_INFO.
const infoExtension = 1 << (uapi.InetDiagInfo - 1)

// dumpListenersApart asks for the listeners first, so that what is lost is known:
// their number, from a request that brings no keys, tells whether the rows with
// keys were all. If not, the rest comes without what they were asked for. Then
// come the others, who have no more than a few keys. The extra requests cost some
// microseconds: the kernel has few listeners, in a table of their own.
func (c *Client) dumpListenersApart(ctx context.Context, r *request, d *dumper, yield func(Socket, error) bool) error {
	others := *r
	others.states = r.states.Without(tcpstate.Listen)
	full := *r
	full.states = tcpstate.Listen.Set()
	bare := full
	bare.extension &^= infoExtension

	sent, there := 0, 0
	if err := c.ask(ctx, &full, func(payload []byte) error {
		sent++
		return d.row(payload, yield)
	}); err != nil || d.stopped {
		return err
	}
	if err := c.ask(ctx, &bare, func([]byte) error { there++; return nil }); err != nil {
		return err
	}
	if sent < there {
		if err := c.dumpMissing(ctx, &full, &bare, d, yield); err != nil || d.stopped {
			return err
		}
	}
	if others.states == 0 {
		return nil
	}
	return c.ask(ctx, &others, func(payload []byte) error { return d.row(payload, yield) })
}

// dumpMissing yields the sockets that the request bare finds and the request full
// does not. It asks for full's once more: to have remembered them the first time
// would have cost every dump the memory.
func (c *Client) dumpMissing(ctx context.Context, full, bare *request, d *dumper, yield func(Socket, error) bool) error {
	seen := make(map[uint64]struct{})
	if err := c.ask(ctx, full, func(payload []byte) error {
		if err := d.socket.decode(d.protocol, payload, false); err != nil {
			return err
		}
		seen[d.socket.Cookie] = struct{}{}
		return nil
	}); err != nil {
		return err
	}
	return c.ask(ctx, bare, func(payload []byte) error {
		if err := d.socket.decode(d.protocol, payload, d.keepUnknown); err != nil {
			return err
		}
		if _, ok := seen[d.socket.Cookie]; ok {
			return nil
		}
		return d.row(payload, yield)
	})
}
