//go:build !linux

package sockdiag

import "errors"

func cgroupIDOf(string) (uint64, error) { return 0, errors.ErrUnsupported }
