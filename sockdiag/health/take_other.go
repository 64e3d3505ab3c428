//go:build !linux

package health

import "errors"

// readNamespace returns errors.ErrUnsupported: network namespaces are Linux's.
func (s *Snapshot) readNamespace(int) error { return errors.ErrUnsupported }
