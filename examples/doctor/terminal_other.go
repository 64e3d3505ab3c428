//go:build !linux

package main

import "io"

// terminal knows none: the program needs Linux anyway.
func terminal(io.Writer) (columns int, ok bool) { return 0, false }
