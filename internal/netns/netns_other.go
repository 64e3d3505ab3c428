//go:build !linux

package netns

import (
	"errors"
	"os"
)

// Current returns errors.ErrUnsupported: network namespaces are Linux's.
func Current() (*os.File, error) { return nil, errors.ErrUnsupported }

// Dup returns errors.ErrUnsupported.
func Dup(int) (*os.File, error) { return nil, errors.ErrUnsupported }

// Do returns errors.ErrUnsupported.
func Do(int, func() error) error { return errors.ErrUnsupported }
