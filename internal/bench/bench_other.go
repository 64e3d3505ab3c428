//go:build !linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
)

var roles map[string]func(ctx context.Context, args []string, stdout, stderr io.Writer) error

func measure(context.Context, *config, io.Writer) (*report, error) {
	return nil, fmt.Errorf("%s: %w, it takes Linux", runtime.GOOS, errors.ErrUnsupported)
}
