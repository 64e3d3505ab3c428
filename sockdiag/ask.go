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

// errStopped ends a request whose caller wants no more rows.
var errStopped = errors.New("stopped")

// ask sends the request and hands the payload of every row to row, whose error
// ends it. It returns nil when the kernel is done or row returned errStopped.
func (c *Client) ask(ctx context.Context, r *request, row func(payload []byte) error) error {
	if r.nothing {
		return ctx.Err()
	}
	err := c.askFamilies(ctx, r, row)
	if err == errStopped {
		return nil
	}
	return err
}

// askFamilies asks for raw sockets of either family by itself: they have a table
// each, and a request for both finds none.
func (c *Client) askFamilies(ctx context.Context, r *request, row func(payload []byte) error) error {
	if r.protocol != Raw || r.family != 0 {
		return c.askGrowing(ctx, r, row)
	}
	one := *r
	one.typ = uapi.SockDiagByFamily
	for _, one.family = range [...]Family{IPv4, IPv6} {
		if err := c.askGrowing(ctx, &one, row); err != nil {
			return err
		}
	}
	return nil
}

// askGrowing asks again with a larger buffer where the first answer was too long
// for it. After the first row it is too late for that.
func (c *Client) askGrowing(ctx context.Context, r *request, row func(payload []byte) error) error {
	size := c.bufferSize
	for {
		rows := 0
		err := c.askOnce(ctx, r, size, func(payload []byte) error {
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

func (c *Client) askOnce(ctx context.Context, r *request, size int, row func(payload []byte) error) (err error) {
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
		err = cn.exchange(ctx, r, live, row)
	}
	switch {
	case answered(r, err):
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
