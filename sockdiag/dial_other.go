//go:build !linux

package sockdiag

import (
	"errors"
	"fmt"
	"os"
	"runtime"
)

func newDialer(int) (dial func() (transport, error), hangUp func() error, ns *os.File, err error) {
	return nil, nil, nil, fmt.Errorf("NETLINK_SOCK_DIAG is Linux's, and this is %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
