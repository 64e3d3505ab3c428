package sockdiag

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"os"
	"syscall"
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
	var s Socket
	filter, protocol, keepUnknown := q.rowFilter(), q.protocol(), q.Attrs.Has(AttrUnknown)
	err := c.ask(ctx, "dump", q, func(payload []byte) error {
		if err := s.decode(protocol, payload, keepUnknown); err != nil {
			return err
		}
		state, ok := filter.state(payload)
		if !ok {
			return nil
		}
		s.State = state
		if !yield(s, nil) {
			return errStopped
		}
		return nil
	})
	if err != nil {
		yield(Socket{}, err)
	}
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
	return &OpError{Op: op, Family: q.Family, Protocol: q.protocol(), Err: explain(err)}
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
	if done != nil {
		undisturbed := cn.watch(ctx)
		defer func() { clean = undisturbed() && clean }()
	}
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

	if err = cn.prepare(size); err == nil {
		cn.seq++
		cn.req = q.appendDump(cn.req[:0], cn.seq)
		err = cn.exchange(q.messageType(), live, row)
	}
	switch {
	case err == nil:
		clean = true
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
		return fmt.Errorf("%w: this kernel has no handler for it (the module tcp_diag or inet_diag is missing)", errors.ErrUnsupported)
	}
	return err
}

// Collect returns all sockets of the sequence, and its error. What arrived before
// an error is returned with it.
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
