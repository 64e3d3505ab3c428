package sysctl

import (
	"fmt"
	"io/fs"
	"math"
)

// The options of newKey below say what Key.DefaultFS answers. A key without one
// has a default that cannot be told from /proc/sys.

// byDefault is for a default that every kernel has.
func byDefault[T any](value T) option[T] {
	return byDefaultOf(func(fs.FS) (T, bool) { return value, true })
}

// byDefaultSince is for a default that a release of Linux changed.
func byDefaultSince[T any](major, minor int, value, before T) option[T] {
	return byDefaultOf(func(fsys fs.FS) (T, bool) {
		is, known := atLeast(fsys, major, minor)
		if is {
			return value, known
		}
		return before, known
	})
}

// byDefaultOf is for a default that is computed.
func byDefaultOf[T any](compute func(fsys fs.FS) (T, bool)) option[T] {
	return func(def *definition[T]) { def.byDefault = compute }
}

// byTable is for a default that is computed from the number of buckets of the
// namespace's TCP hash table.
func byTable(compute func(buckets int) int) option[int] {
	return byDefaultOf(func(fsys fs.FS) (int, bool) { return fromTable(fsys, compute) })
}

// fromTable computes a default. Kernels before 6.1 do not tell the number.
func fromTable(fsys fs.FS, compute func(buckets int) int) (value int, known bool) {
	table, err := TCPEhashEntries.GetFS(fsys)
	if err != nil {
		return 0, false
	}
	return compute(table.Buckets), true
}

// half is the default of tcp_max_tw_buckets and tcp_max_orphans.
func half(buckets int) int { return buckets / 2 }

// synBacklog is the default of tcp_max_syn_backlog.
func synBacklog(buckets int) int { return max(128, buckets/128) }

// conntrackMax is the default of nf_conntrack_max, if the module was loaded with
// the number of buckets that it has now.
func conntrackMax(fsys fs.FS) (int, bool) {
	buckets, err := NFConntrackBuckets.GetFS(fsys)
	is, known := atLeast(fsys, 5, 15)
	if err != nil || !known {
		return 0, false
	}
	if !is {
		buckets *= 4
	}
	return buckets, true
}

// atLeast reports whether the running kernel is of that release or a later one,
// and whether that could be told.
func atLeast(fsys fs.FS, major, minor int) (is, known bool) {
	if fsys == nil {
		return false, false
	}
	text, err := readFile(fsys, "kernel/osrelease")
	if err != nil {
		return false, false
	}
	var x, y int
	if _, err := fmt.Sscanf(string(text), "%d.%d", &x, &y); err != nil {
		return false, false
	}
	return x > major || x == major && y >= minor, true
}

// challengeLimit is the default of tcp_challenge_ack_limit, which changed twice.
func challengeLimit(fsys fs.FS) (int, bool) {
	if is, known := atLeast(fsys, 6, 1); is || !known {
		return math.MaxInt32, known
	}
	is, known := atLeast(fsys, 4, 7)
	if is {
		return 1000, known
	}
	return 100, known
}
