//go:build !linux

package procnet

import "errors"

// Open returns errors.ErrUnsupported: network namespaces are Linux's.
func Open(int, ...File) (*Reader, error) { return nil, errors.ErrUnsupported }
