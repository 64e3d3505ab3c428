//go:build !linux

package sockdiag

import "errors"

func runningRelease() (Release, error) { return Release{}, errors.ErrUnsupported }
