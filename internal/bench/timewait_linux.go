package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// ended is sockets in TIME_WAIT. They last 60 seconds, so they have to be made
// again and again.
type ended struct {
	n      int
	makers [][]listener
	made   time.Time
}

// lasting is the age up to which they may serve once more.
const lasting = 15 * time.Second

// endConnections makes n sockets in TIME_WAIT.
func endConnections(n int) (*ended, error) {
	e := &ended{n: n}
	for i := range min(runtime.NumCPU(), 100) {
		listeners, err := listen(2, byte(i))
		if err != nil {
			return nil, err
		}
		e.makers = append(e.makers, listeners)
	}
	return e, e.make()
}

// renew makes them again when they are old.
func (e *ended) renew(ctx context.Context) error {
	if e.n == 0 || time.Since(e.made) < lasting {
		return nil
	}
	c, err := sockdiag.Dial(nil)
	if err != nil {
		return err
	}
	defer c.Close()
	for s, err := range c.Dump(ctx, sockdiag.Query{States: tcpstate.TimeWait.Set()}) {
		if err != nil {
			return err
		}
		if err := c.Destroy(ctx, s.ID()); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("end TIME_WAIT before its time: %w", err)
		}
	}
	return e.make()
}

func (e *ended) make() error {
	var group errgroup.Group
	for i, listeners := range e.makers {
		n := e.n / len(e.makers)
		if i < e.n%len(e.makers) {
			n++
		}
		group.Go(func() error {
			for i := range n {
				if err := endConnection(&listeners[i%portCount]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	e.made = time.Now()
	return group.Wait()
}

// endConnection makes a connection and closes it, the client first, whose socket
// is then in TIME_WAIT.
func endConnection(l *listener) error {
	client, server, err := l.connect()
	if err != nil {
		return err
	}
	_ = unix.Close(client)
	var b [1]byte
	// The server must not close before it knows that the client has.
	if n, err := unix.Read(server, b[:]); n != 0 || err != nil {
		return fmt.Errorf("%d bytes instead of the connection's end: %w", n, os.NewSyscallError("read", err))
	}
	return os.NewSyscallError("close", unix.Close(server))
}
