//go:build !linux

package owner

import (
	"context"
	"errors"
	"fmt"
	"runtime"
)

func (o *Owners) find(context.Context, string) error {
	return fmt.Errorf("/proc/PID/fd is Linux's, and this is %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
