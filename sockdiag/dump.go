package sockdiag

import (
	"context"
	"iter"
	"slices"

	"github.com/seed16c515c6/timewait/internal/uapi"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// Dump streams the sockets that the query selects. Nothing is sent before the
// sequence is ranged over, and each range is a dump of its own. The sockets are
// the caller's to keep; none of them costs an allocation but what has an
// Extra, or a congestion control algorithm that is not the kernel's own. (With
// AttrTCPInfo the cookies of listeners are remembered, some hundreds of them without
// one.)
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
}

// dumpRequest yields the rows that answer the request. It returns nil also when
// yield wants no more.
func (c *Client) dumpRequest(ctx context.Context, r *request, d *dumper, yield func(Socket, error) bool) error {
	if r.tellsKeys() {
		return c.dumpWithKeys(ctx, r, d, yield)
	}
	return c.dumpRows(ctx, r, d, yield)
}

func (c *Client) dumpRows(ctx context.Context, r *request, d *dumper, yield func(Socket, error) bool) error {
	a := c.reply(ctx, r)
	defer a.close()
	return d.rows(&a, yield)
}

// rows yields the rows to come.
func (d *dumper) rows(a *reply, yield func(Socket, error) bool) error {
	// It is a variable of the function that yields it, so that it is copied only once.
	var s Socket
	for payload := a.next(); payload != nil; payload = a.next() {
		ok, err := d.decode(&s, payload)
		if err != nil {
			return err
		}
		if ok && !yield(s, nil) {
			d.stopped = true
			return nil
		}
	}
	return a.err
}

// listeners yields the rows up to the first that is not a listener's, and that one. It
// appends the listeners' cookies to seen; only says that no other row came. (A loop of
// its own, so that the one of all rows has no more to do.)
func (d *dumper) listeners(a *reply, seen []uint64, yield func(Socket, error) bool) (cookies []uint64, only bool, err error) {
	var s Socket
	for payload := a.next(); payload != nil; payload = a.next() {
		ok, err := d.decode(&s, payload)
		if err != nil {
			return seen, false, err
		}
		listens := s.State == tcpstate.Listen
		if listens {
			seen = append(seen, s.Cookie)
		}
		if ok && !yield(s, nil) {
			d.stopped = true
			return seen, false, nil
		}
		if !listens {
			return seen, false, nil
		}
	}
	return seen, true, a.err
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

// dumpWithKeys yields what the kernel leaves out because of a listener's keys, too.
// Listeners come first, so that all of them came where anything came behind them.
// Where nothing did, the walk may have ended at one: then those that did not come are
// asked for without what brings the keys, and after them the others, who have no more
// than a few.
func (c *Client) dumpWithKeys(ctx context.Context, r *request, d *dumper, yield func(Socket, error) bool) error {
	a := c.reply(ctx, r)
	defer a.close()
	var few [256]uint64 // on the stack
	seen, only, err := d.listeners(&a, few[:0], yield)
	if err != nil || d.stopped {
		return err
	}
	if !only {
		return d.rows(&a, yield)
	}
	slices.Sort(seen)

	bare := *r
	bare.states = tcpstate.Listen.Set()
	bare.extension &^= infoExtension
	err = c.dumpRows(ctx, &bare, d, func(s Socket, _ error) bool {
		_, came := slices.BinarySearch(seen, s.Cookie)
		return came || yield(s, nil)
	})
	others := *r
	others.states = r.states.Without(tcpstate.Listen)
	if err != nil || d.stopped || others.states == 0 {
		return err
	}
	return c.dumpRows(ctx, &others, d, yield)
}
