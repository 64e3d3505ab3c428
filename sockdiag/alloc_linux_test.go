package sockdiag_test

import (
	"context"
	"net"
	"testing"

	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// A dump costs no allocation, neither per socket nor, without a filter, per call. It is tested from outside the
// package, because whether Dump is inlined, and its sequence stays off the heap, is decided there.
func TestAllocs(t *testing.T) {
	nstest.RequireNamespace(t)
	c, err := sockdiag.Dial(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// Their cookies are remembered by a dump with tcp_info.
	listeners := net.ListenConfig{}
	listeners.SetMultipathTCP(false)
	for range 200 {
		l, err := listeners.Listen(t.Context(), "tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	made := len(nstest.Many(t, nstest.IPv4, 300, 100)) + len(nstest.Many(t, nstest.IPv6, 100, 100))

	cancellable, cancel := context.WithCancel(t.Context())
	defer cancel()
	headers := sockdiag.Query{}
	full := sockdiag.Query{Attrs: sockdiag.AttrTCPInfo | sockdiag.AttrMemInfo | sockdiag.AttrSocketMemory |
		sockdiag.AttrCongestion | sockdiag.AttrTOS | sockdiag.AttrTrafficClass | sockdiag.AttrClassID}
	mask := sockdiag.Query{Family: sockdiag.IPv4, States: tcpstate.SetOf(tcpstate.TimeWait)}
	filtered := sockdiag.Query{Filter: sockdiag.LocalPort(1, 65535)}
	var rows int
	var failed error
	dump := func(ctx context.Context, q sockdiag.Query) func() {
		return func() { rows, failed = dumpAll(ctx, c, q) }
	}
	count := func(ctx context.Context, q sockdiag.Query) func() {
		return func() {
			var counts tcpstate.Counts
			counts, failed = c.Count(ctx, q)
			rows = int(counts.Total())
		}
	}
	for _, tt := range []struct {
		name       string
		call       func()
		rows, most int
	}{
		{"Dump", dump(context.Background(), headers), made, 0},
		{"Dump with attributes", dump(context.Background(), full), made, 0},
		{"Dump with a mask", dump(context.Background(), mask), 100, 0},
		{"Dump with a filter", dump(context.Background(), filtered), made, 8}, // made into a program for each call
		{"Count with a filter", count(context.Background(), filtered), made, 8},
		{"Dump, cancellable", dump(cancellable, full), made, 0},
		{"Count", count(context.Background(), headers), made, 0},
		{"Count with a mask", count(context.Background(), mask), 100, 0},
		{"Count, cancellable", count(cancellable, headers), made, 0},
	} {
		if n := testing.AllocsPerRun(20, tt.call); n > float64(tt.most) {
			t.Errorf("%s: %v allocations a call, want %d at most", tt.name, n, tt.most)
		}
		if failed != nil || rows < tt.rows {
			t.Errorf("%s: %d sockets seen, want %d at least; error %v", tt.name, rows, tt.rows, failed)
		}
	}
}

// dumpAll ranges over a dump as any program would.
func dumpAll(ctx context.Context, c *sockdiag.Client, q sockdiag.Query) (rows int, err error) {
	for s, err := range c.Dump(ctx, q) {
		if err != nil {
			return rows, err
		}
		if s.State != 0 {
			rows++
		}
	}
	return rows, nil
}
