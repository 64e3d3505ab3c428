//go:build !linux

package netns

import "errors"

// Current returns errors.ErrUnsupported: network namespaces are Linux's.
func Current() (fd int, err error) { return -1, errors.ErrUnsupported }

// Dup returns errors.ErrUnsupported.
func Dup(int) (int, error) { return -1, errors.ErrUnsupported }

// Close returns errors.ErrUnsupported.
func Close(int) error { return errors.ErrUnsupported }

// Do returns errors.ErrUnsupported.
func Do(int, func() error) error { return errors.ErrUnsupported }
