package sockdiag

import (
	"errors"
	"fmt"
	"os"

	"github.com/seed16c515c6/timewait/internal/netns"
	"github.com/seed16c515c6/timewait/internal/nlsock"
)

// newDialer returns a function that opens sockets in one network namespace:
// that of descriptor fd, or for 0 the calling thread's (which the caller holds
// still). A netlink socket belongs for good to the namespace of the thread that
// opens it. ns is that namespace, until hangUp; nil where /proc is missing.
func newDialer(fd int) (dial func() (transport, error), hangUp func() error, ns *os.File, err error) {
	// A file, so that a Client nobody closed does not keep the namespace for good.
	if fd != 0 {
		if ns, err = netns.Dup(fd); err != nil {
			return nil, nil, nil, err
		}
	} else if ns, err = netns.Current(); err != nil {
		dial, hangUp, err = newBlindDialer(err)
		return dial, hangUp, nil, err
	}
	dial = func() (t transport, err error) {
		// Inside Control, because Close may run at the same time.
		raw, err := ns.SyscallConn()
		if err != nil {
			return nil, err
		}
		cerr := raw.Control(func(fd uintptr) {
			err = netns.Do(int(fd), func() error {
				t, err = open()
				return err
			})
		})
		if cerr != nil {
			return nil, cerr
		}
		return t, err
	}
	return dial, ns.Close, ns, nil
}

// newBlindDialer serves where /proc is missing and noProc says so: there is no
// descriptor of the namespace to compare with or to enter. So it opens sockets
// where the thread is, and refuses one that the kernel's cookie says is of
// another namespace than the first.
func newBlindDialer(noProc error) (dial func() (transport, error), hangUp func() error, err error) {
	first, err := nlsock.Dial()
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, first.Close()) }()
	home, err := first.NetNSCookie()
	if err != nil {
		return nil, nil, fmt.Errorf("cannot tell one network namespace from another: %w, and %w", noProc, err)
	}
	dial = func() (transport, error) {
		t, err := nlsock.Dial()
		if err != nil {
			return nil, err
		}
		here, err := t.NetNSCookie()
		if err == nil && here != home {
			err = fmt.Errorf("the calling thread has left the network namespace of the Dial, and it cannot be entered: %w", noProc)
		}
		if err != nil {
			_ = t.Close()
			return nil, err
		}
		return t, nil
	}
	return dial, func() error { return nil }, nil
}

func open() (transport, error) {
	t, err := nlsock.Dial()
	if err != nil {
		return nil, err // not a nil *nlsock.Conn in a transport
	}
	return t, nil
}
