//go:build !linux

package main

// cgroupPaths is empty: control groups are Linux's.
func cgroupPaths() map[uint64]string { return map[uint64]string{} }
