//go:build !linux

package sockdiag

import "errors"

func readTCPInfo(uintptr, *TCPInfo) error { return errors.ErrUnsupported }

func readID(uintptr) (ID, error) { return ID{}, errors.ErrUnsupported }
