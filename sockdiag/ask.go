package sockdiag

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

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
