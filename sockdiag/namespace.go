package sockdiag

import (
	"errors"
	"io/fs"
	"net"
	"os"

	"github.com/seed16c515c6/timewait/internal/netns"
)

// Namespace returns a descriptor of the network namespace that the Client looks
// into, for what else is to be read there: sysctl.InNamespace takes it. The caller
// closes it; the Client need not be open as long.
//
// The error matches net.ErrClosed after Close, and fs.ErrNotExist where there was
// no /proc at Dial, which then cannot tell one namespace from another.
func (c *Client) Namespace() (*os.File, error) {
	ns, err := c.dupNamespace()
	if err != nil {
		return nil, &OpError{Op: "namespace", Err: err}
	}
	return ns, nil
}

func (c *Client) dupNamespace() (ns *os.File, err error) {
	if c.closed.Load() {
		return nil, net.ErrClosed
	}
	if c.namespace == nil {
		return nil, &fs.PathError{Op: "open", Path: "/proc/thread-self/ns/net", Err: fs.ErrNotExist}
	}
	// Inside Control, because Close may run at the same time.
	raw, err := c.namespace.SyscallConn()
	if err != nil {
		return nil, err
	}
	var dupErr error
	err = raw.Control(func(fd uintptr) { ns, dupErr = netns.Dup(int(fd)) })
	if errors.Is(err, os.ErrClosed) {
		err = net.ErrClosed
	}
	return ns, errors.Join(err, dupErr)
}
