package sysctl_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/seed16c515c6/timewait/sysctl"
)

// get reads a key, and fails the test where it cannot.
func get[T any](t *testing.T, key sysctl.Key[T]) T {
	t.Helper()
	value, err := key.Get()
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// memTotal is the memory of the kernel in bytes, as it counts it now.
func memTotal(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		t.Fatal(err)
	}
	var kB int64
	if _, err := fmt.Sscanf(string(text), "MemTotal: %d kB", &kB); err != nil {
		t.Fatalf("%v in %.60q", err, text)
	}
	return kB << 10
}

// within checks that a size is from low to high times the memory. When the kernel computed it, at boot, less memory was
// free than MemTotal counts now, by its own image and the initramfs: a fifth of the 512 MB of internal/kernels.
func within(t *testing.T, what string, got int64, low, high float64) {
	t.Helper()
	if ratio := float64(got) / float64(memTotal(t)); ratio < low || ratio > high {
		t.Errorf("%s stands for %d bytes, %.3f of the memory, want %v to %v", what, got, ratio, low, high)
	}
}

// The defaults that depend on the memory of the host, by the kernel's own rules, where nobody has set anything.
func TestComputedDefaults(t *testing.T) {
	asReleased(t)
	page := int64(os.Getpagesize())

	// The hash table: a bucket for 128 KiB, rounded up to a power of two. Before 6.1 it shows in what follows from it.
	buckets := 0
	table, err := sysctl.TCPEhashEntries.Get()
	switch {
	case err == nil:
		buckets = table.Buckets
	case errors.Is(err, fs.ErrNotExist):
		buckets = 2 * get(t, sysctl.TCPMaxTWBuckets)
	default:
		t.Fatal(err)
	}
	if buckets <= 0 || buckets&(buckets-1) != 0 {
		t.Fatalf("%d buckets, want a power of two", buckets)
	}
	if buckets == 524288 {
		within(t, "the hash table", int64(buckets)<<17, 0, 2.1)
	} else {
		within(t, "the hash table", int64(buckets)<<17, 0.75, 2.1)
	}
	if !freshBoot() {
		return // what follows may have been set
	}
	if got := get(t, sysctl.TCPMaxTWBuckets); got != buckets/2 {
		t.Errorf("tcp_max_tw_buckets is %d, of %d buckets", got, buckets)
	}
	if got := get(t, sysctl.TCPMaxOrphans); got != buckets/2 {
		t.Errorf("tcp_max_orphans is %d, of %d buckets", got, buckets)
	}
	if got := get(t, sysctl.TCPMaxSynBacklog); got != max(128, buckets/128) {
		t.Errorf("tcp_max_syn_backlog is %d, of %d buckets", got, buckets)
	}

	mem := get(t, sysctl.TCPMem)
	if mem.Low != mem.Pressure/4*3 || mem.High != 2*mem.Low {
		t.Errorf("tcp_mem is %v, want 3/4 and 3/2 of the one in the middle", mem)
	}
	within(t, "16 times tcp_mem", int64(mem.Pressure)*16*page, 0.75, 1)

	// The largest buffers: 1/128 of the same memory, which the middle of tcp_mem has with a loss of less than 16 pages.
	least, most := int64(mem.Pressure)*16*page/128, int64(mem.Pressure+1)*16*page/128
	largest := int64(6 << 20)
	if running(t) >= 6016 {
		largest = 32 << 20
	}
	rmem, wmem := get(t, sysctl.TCPRmem), get(t, sysctl.TCPWmem)
	if rmem.Min != 4096 || rmem.Default != 131072 || rmem.Max < min(least, largest) || rmem.Max > min(most, largest) {
		t.Errorf("tcp_rmem is %v, want 4096 131072 and from %d to %d", rmem, min(least, largest), min(most, largest))
	}
	if wmem.Min != 4096 || wmem.Default != 16384 || wmem.Max < min(least, 4<<20) || wmem.Max > min(most, 4<<20) {
		t.Errorf("tcp_wmem is %v, want 4096 16384 and from %d to %d", wmem, min(least, 4<<20), min(most, 4<<20))
	}

	// Of connection tracking: a bucket (of 8 bytes) for 16 KiB of memory over 8, in whole pages.
	if got, want := int64(get(t, sysctl.NFConntrackBuckets)), memTotal(t)/16384/8; got < want-page/8 || got > want+page/8 || got%(page/8) != 0 {
		t.Errorf("nf_conntrack_buckets is %d, want about %d", got, want)
	}
	if got := get(t, sysctl.NFConntrackCount); got < 0 || got > get(t, sysctl.NFConntrackMax) {
		t.Errorf("nf_conntrack_count is %d", got)
	}

	available, err := os.ReadFile("/proc/sys/net/ipv4/tcp_available_congestion_control")
	if err != nil {
		t.Fatal(err)
	}
	if got := get(t, sysctl.TCPCongestionControl); !slices.Contains(strings.Fields(string(available)), got) {
		t.Errorf("tcp_congestion_control is %q, of %q", got, available)
	}
}
