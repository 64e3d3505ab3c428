//go:build !linux

package sockdiag

import (
	"errors"
	"fmt"
	"runtime"
)

func newDialer(int) (dial func() (transport, error), hangUp func() error, err error) {
	return nil, nil, fmt.Errorf("NETLINK_SOCK_DIAG is Linux's, and this is %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
