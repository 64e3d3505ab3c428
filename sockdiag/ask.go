package sockdiag

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/seed16c515c6/timewait/internal/uapi"
)

// reply reads what the kernel answers to a request:
//
//	a := c.reply(ctx, r)
//	defer a.close()
//	for payload := a.next(); payload != nil; payload = a.next() {
//		// an inet_diag_msg and its attributes, until the next call
//	}
//	return a.err
//
// It is what a dump spends its time on in this library, so there are no functions
// to call back.
type reply struct {
	err error

	client  *Client
	ctx     context.Context
	request request // that is being answered
	more    bool    // that of IPv6 is to come
	size    int     // of the buffer
	n       int     // rows of the request
	conn    *conn   // nil before it is sent
	ended   bool
}

// reply asks the kernel when the first row is wanted. Call close, whatever happens.
func (c *Client) reply(ctx context.Context, r *request) reply {
	return reply{client: c, ctx: ctx, request: *r, size: c.bufferSize}
}

// next gets the next row, or nil if there is none: because that was the last one, or for
// the reason in err.
func (r *reply) next() []byte {
	if r.conn != nil {
		if payload := r.conn.ready(); payload != nil && r.got() {
			return payload
		}
	}
	return r.fetch()
}

// fetch is next for the rows, and the ends, that are not ready.
func (r *reply) fetch() []byte {
	for !r.ended {
		if r.conn == nil {
			r.start()
			continue
		}
		payload, ok, err := r.conn.next(r.ctx)
		switch {
		case !ok:
			r.finish(err)
		case r.got():
			return payload
		}
	}
	return nil
}

// got counts a row, unless none may come any longer.
func (r *reply) got() bool {
	if err := r.live(); err != nil {
		r.finish(err)
		return false
	}
	r.n++
	return true
}

// live says why no row may come any longer.
func (r *reply) live() error {
	if r.client.closed.Load() {
		return net.ErrClosed
	}
	return r.ctx.Err()
}

// start sends the request.
func (r *reply) start() {
	err := r.ctx.Err()
	if err == nil && r.request.nothing {
		r.ended = true
		return
	}
	if r.request.protocol == Raw && r.request.family == 0 {
		// Raw sockets of either family have a table each, and a request for both finds
		// none.
		r.request.typ, r.request.family, r.more = uapi.SockDiagByFamily, IPv4, true
	}
	if err == nil {
		r.conn, err = r.client.acquire()
	}
	if err == nil {
		err = r.conn.prepare(r.ctx, r.size)
	}
	if err == nil {
		err = r.conn.ask(&r.request)
	}
	if err != nil {
		r.finish(err)
	}
}

// finish is for when there is no next row: err says why, or that was all. There may
// be something else to ask.
func (r *reply) finish(err error) {
	long, _ := err.(*truncatedError) // errors.As would cost every call an allocation
	switch {
	case err == nil || r.conn == nil || r.conn.ended:
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = r.ctx.Err() // the only one who sets a deadline
	case r.client.closed.Load():
		err = net.ErrClosed
	}
	r.close()
	switch {
	case long != nil && r.n == 0 && long.size > r.size && long.size <= maxBuffer:
		// With a larger buffer it can be asked for again. After the first row it is too
		// late for that.
		r.size = long.size
	case err == nil && r.more:
		r.request.family, r.more, r.n = IPv6, false, 0
	default:
		r.err, r.ended = err, true
	}
}

// close gives the socket back, if that has not been done yet.
func (r *reply) close() {
	if r.conn != nil {
		r.conn.shrink(r.client.bufferSize)
		r.client.release(r.conn, r.conn.ended && !r.conn.spoilt)
		r.conn = nil
	}
}

// ask hands the payload of every row of the answer to row, whose error ends it.
func (c *Client) ask(ctx context.Context, r *request, row func(payload []byte) error) error {
	a := c.reply(ctx, r)
	defer a.close()
	for payload := a.next(); payload != nil; payload = a.next() {
		if err := row(payload); err != nil {
			return err
		}
	}
	return a.err
}

// opError makes the error of a method of what went wrong in it.
func (r *request) opError(op string, err error) error {
	if err == nil {
		return nil
	}
	return &OpError{Op: op, Family: r.family, Protocol: r.protocol, Err: r.explain(err)}
}

// explain says in the kernel's stead what its errno means here. Only the kernel's
// answers are bare errnos.
func (r *request) explain(err error) error {
	switch {
	case err == syscall.EPERM && r.typ == uapi.SockDestroy:
		return fmt.Errorf("it takes CAP_NET_ADMIN over the network namespace: %w", err)
	case err == syscall.EINVAL && len(r.program) > 0:
		return fmt.Errorf("this kernel does not know a condition of the filter (cgroup takes Linux 5.8 with control groups): %w: %w", errors.ErrUnsupported, err)
	case err == syscall.EPERM && len(r.program) > 0 && !r.storages:
		return fmt.Errorf("only with CAP_NET_ADMIN does the kernel filter by mark: %w", err)
	case err == syscall.EPERM && r.storages:
		return fmt.Errorf("BPF storages take CAP_BPF or CAP_SYS_ADMIN in the initial user namespace: %w", err)
	case err == syscall.EOPNOTSUPP && r.typ == uapi.SockDestroy:
		return fmt.Errorf("this kernel is built without CONFIG_INET_DIAG_DESTROY, or cannot destroy this socket: %w", err)
	case err == syscall.ENOENT:
		// The answer to a dump, in an NLMSG_ERROR or in the NLMSG_DONE.
		return fmt.Errorf("this kernel has no handler for it (%s): %w", r.protocol.module(), errors.ErrUnsupported)
	case err == syscall.EOPNOTSUPP:
		// The same, to the older request.
		return fmt.Errorf("this kernel has no handler for it (%s): %w", r.protocol.module(), err)
	}
	return err
}

// module says what may be missing from a kernel that cannot tell of a protocol.
func (p Protocol) module() string {
	switch p {
	case UDP, UDPLite:
		return "module udp_diag"
	case Raw:
		return "module raw_diag"
	case SCTP:
		return "module sctp_diag"
	case MPTCP:
		return "module mptcp_diag, Linux 5.10 or newer"
	}
	return "module tcp_diag or inet_diag"
}
