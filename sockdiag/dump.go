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
// stays as it is appears once (AttrTCPInfo has an exception for root). States are
// checked again on arrival, so a socket that left the query's States in between is
// not among the rows.
//
// Leaving the range early is cheap and well-behaved. So is being slow: the kernel
// waits. The loop may make other calls on the same Client. The sequence ends with
// at most one error, an *OpError, after which nothing comes; its Socket is zero.
// Once ctx is done no further socket comes. What cannot be interrupted is the
// kernel while it fills one batch: some microseconds to milliseconds, but with
// AttrTCPInfo as long as another process keeps the kernel at work on a socket.
//
// A dump keeps one processor busy. Two at a time that divide the sockets by local
// port (see the example) take more processor time together, and less time: with
// 100,000 sockets in about equal parts, 1.4 and 0.8 times those of one.
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

// dumper turns the rows of one dump into Sockets.
type dumper struct {
	filter      rowFilter
	protocol    Protocol
	keepUnknown bool
	stopped     bool // yield wants no more

	listeners int            // rows of the last request that were in LISTEN
	last      tcpstate.State // of its rows; zero if there was none
}

// dumpRequest yields the rows that answer the request. It returns nil also when
// yield wants no more.
func (c *Client) dumpRequest(ctx context.Context, r *request, d *dumper, yield func(Socket, error) bool) error {
	err := c.dumpRows(ctx, r, d, yield)
	if err == nil && !d.stopped && r.tellsKeys() {
		err = c.dumpLostListeners(ctx, r, d, yield)
	}
	return err
}

func (c *Client) dumpRows(ctx context.Context, r *request, d *dumper, yield func(Socket, error) bool) error {
	// It is a variable of the function that yields it, so that it is copied only once.
	var s Socket
	listeners := 0
	a := c.reply(ctx, r)
	defer a.close()
	for a.next() {
		ok, err := d.decode(&s, a.payload)
		if err != nil {
			return err
		}
		if s.State == tcpstate.Listen {
			listeners++
		}
		if ok && !yield(s, nil) {
			d.stopped = true
			return nil
		}
	}
	d.listeners, d.last = listeners, s.State
	return a.err
}

// decode makes a Socket of a row, which may not be one that was asked for.
func (d *dumper) decode(s *Socket, payload []byte) (ok bool, err error) {
	if err := s.decode(d.protocol, payload, d.keepUnknown); err != nil {
		return false, err
	}
	state, ok := d.filter.state(s.State, payload)
	if !ok {
		return false, nil
	}
	if s.State != state {
		// Not always: what has just been written is slow to copy, in larger pieces than
		// it was written in.
		s.State = state
	}
	return d.filter.matches(s)
}

// tellsKeys reports whether the kernel may answer with the TCP-MD5 keys of
// listeners, which can be too many for a row: it then ends the dump as if that
// had been the last socket.
func (r *request) tellsKeys() bool {
	return r.protocol == TCP && r.extension&infoExtension != 0 && r.states.Has(tcpstate.Listen)
}

// infoExtension is the bit that asks for INET_DIAG_INFO.
const infoExtension = 1 << (uapi.InetDiagInfo - 1)

// dumpLostListeners is for when the request has been answered, and yields what the
// kernel has left out because of the keys of a listener. Listeners come first, so that
// nothing is missing where anything came behind them. Where nothing did, their number,
// from a request that brings no keys, tells whether the rows with keys were all. If
// not, the rest of them comes without what they were asked for, and then come the
// others, who have no more than a few keys.
func (c *Client) dumpLostListeners(ctx context.Context, r *request, d *dumper, yield func(Socket, error) bool) error {
	if d.last != 0 && d.last != tcpstate.Listen {
		return nil
	}
	full := *r
	full.states = tcpstate.Listen.Set()
	bare := full
	bare.extension &^= infoExtension

	there := 0
	if err := c.ask(ctx, &bare, func([]byte) error { there++; return nil }); err != nil || there <= d.listeners {
		return err
	}
	if err := c.dumpMissing(ctx, &full, &bare, d, yield); err != nil || d.stopped {
		return err
	}
	others := *r
	if others.states = r.states.Without(tcpstate.Listen); others.states == 0 {
		return nil
	}
	return c.dumpRows(ctx, &others, d, yield)
}

// dumpMissing yields the sockets that the request bare finds and the request full
// does not. It asks for full's once more: to have remembered them the first time
// would have cost every dump the memory.
func (c *Client) dumpMissing(ctx context.Context, full, bare *request, d *dumper, yield func(Socket, error) bool) error {
	var s Socket
	seen := make(map[uint64]struct{})
	if err := c.ask(ctx, full, func(payload []byte) error {
		err := s.decode(d.protocol, payload, false)
		seen[s.Cookie] = struct{}{}
		return err
	}); err != nil {
		return err
	}
	return c.dumpRows(ctx, bare, d, func(s Socket, _ error) bool {
		if _, ok := seen[s.Cookie]; ok {
			return true
		}
		return yield(s, nil)
	})
}
