package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/mdlayher/netlink"
	"github.com/prometheus/procfs"
	vishvananda "github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/sockdiag/health"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// question is what a contender is asked, in the terms of the floor.
type question struct {
	family        int
	states        uint
	extension     uint
	port          uint
	local, remote netip.AddrPort
}

// answer does one operation and returns the number of sockets that it saw.
type answer func() (rows int, err error)

// peers are the contenders that are written in Go. Those of others do what their
// documentation shows.
var peers = map[string]func(ctx context.Context, q *question) (answer, error){
	"dump":             dump,
	"count":            count,
	"take":             takeSnapshot,
	"lookup":           lookup,
	"mdlayher":         mdlayherExecute,
	"procfs":           procfsNetTCP,
	"vishvananda":      vishvanandaTCP,
	"vishvananda-info": vishvanandaTCPInfo,
	"vishvananda-get":  vishvanandaGet,
}

// peerRole measures one of them: peer NAME, and flags as those of the floor.
func peerRole(ctx context.Context, args []string, stdout, _ io.Writer) error {
	if len(args) == 0 || peers[args[0]] == nil {
		return fmt.Errorf("no such peer: %q", args)
	}
	var q question
	flags := flag.NewFlagSet("peer", flag.ContinueOnError)
	ops := flags.Int("n", 1, "")
	cold := flags.Bool("c", false, "")
	flags.IntVar(&q.family, "f", 0, "")
	flags.UintVar(&q.states, "s", 0, "")
	flags.UintVar(&q.extension, "x", 0, "")
	flags.UintVar(&q.port, "p", 0, "")
	flags.TextVar(&q.local, "l", netip.AddrPort{}, "")
	flags.TextVar(&q.remote, "r", netip.AddrPort{}, "")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	// A context as a program's own is: one that can be cancelled.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	do, err := peers[args[0]](ctx, &q)
	if err != nil {
		return err
	}
	s, err := sampleOf(do, *ops, *cold)
	if err != nil {
		return err
	}
	return json.NewEncoder(stdout).Encode(s)
}

// sampleOf does so many operations, and one before them unless it is cold.
func sampleOf(do answer, ops int, cold bool) (sample, error) {
	s := sample{}
	if !cold {
		if _, err := do(); err != nil {
			return s, err
		}
	}
	took := make([]float64, ops)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	cpu := cpuTime()
	for i := range took {
		begin := time.Now()
		var err error
		s.Rows, err = do()
		took[i] = float64(time.Since(begin))
		if err != nil {
			return s, err
		}
	}
	s.CPU = (cpuTime() - cpu) / float64(ops)
	runtime.ReadMemStats(&after)
	s.NS = quantile(took, 0.5)
	s.Allocs = float64(after.Mallocs-before.Mallocs) / float64(ops)
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return s, err
	}
	_, text, _ := strings.Cut(string(b), "VmHWM:")
	_, err = fmt.Sscan(text, &s.PeakRSS)
	return s, err
}

// cpuTime is that of all threads, in nanoseconds.
func cpuTime() float64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		return math.NaN() // which JSON refuses
	}
	return float64(t.Nano())
}

func (q *question) query() sockdiag.Query {
	query := sockdiag.Query{Family: sockdiag.Family(q.family), States: tcpstate.Set(q.states)}
	if q.extension != 0 {
		query.Attrs = sockdiag.AttrTCPInfo
	}
	if q.port != 0 {
		query.Filter = sockdiag.RemotePort(uint16(q.port), uint16(q.port))
	}
	return query
}

func dump(ctx context.Context, q *question) (answer, error) {
	c, err := sockdiag.Dial(nil)
	if err != nil {
		return nil, err
	}
	query := q.query()
	return func() (int, error) {
		var states tcpstate.Counts // something that a program would do with the sockets
		for s, err := range c.Dump(ctx, query) {
			if err != nil {
				return 0, err
			}
			states.Add(s.State, 1)
		}
		return int(states.Total()), nil
	}, nil
}

func count(ctx context.Context, q *question) (answer, error) {
	c, err := sockdiag.Dial(nil)
	if err != nil {
		return nil, err
	}
	query := q.query()
	return func() (int, error) {
		counts, err := c.Count(ctx, query)
		return int(counts.Total()), err
	}, nil
}

func takeSnapshot(ctx context.Context, _ *question) (answer, error) {
	c, err := sockdiag.Dial(nil)
	if err != nil {
		return nil, err
	}
	return func() (int, error) {
		s, err := health.Take(ctx, c, health.Options{})
		if err != nil {
			return 0, err
		}
		return int(s.Counts.Total()), nil
	}, nil
}

func lookup(ctx context.Context, q *question) (answer, error) {
	c, err := sockdiag.Dial(nil)
	if err != nil {
		return nil, err
	}
	id := sockdiag.ID{Local: q.local, Remote: q.remote}
	return func() (int, error) {
		_, err := c.Lookup(ctx, id, 0)
		return 1, err
	}, nil
}

// mdlayherExecute does what metrics exporters on that module do: dial, ask,
// take all messages at once, and count them by the state in their second byte.
func mdlayherExecute(_ context.Context, q *question) (answer, error) {
	request := netlink.Message{
		Header: netlink.Header{Type: unix.SOCK_DIAG_BY_FAMILY, Flags: netlink.Request | netlink.Dump},
		Data:   make([]byte, 56), // struct inet_diag_req_v2
	}
	request.Data[0], request.Data[1] = unix.AF_INET, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(request.Data[4:], uint32(q.states))
	return func() (int, error) {
		c, err := netlink.Dial(unix.NETLINK_INET_DIAG, nil)
		if err != nil {
			return 0, err
		}
		defer c.Close()
		messages, err := c.Execute(request)
		var counts tcpstate.Counts
		for _, msg := range messages {
			counts.Add(tcpstate.State(msg.Data[1]), 1)
		}
		return int(counts.Total()), err
	}, nil
}

func procfsNetTCP(context.Context, *question) (answer, error) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return nil, err
	}
	return func() (int, error) {
		sockets, err := fs.NetTCP() //nolint:staticcheck // deprecated, and in use
		return len(sockets), err
	}, nil
}

func vishvanandaTCP(context.Context, *question) (answer, error) {
	return func() (int, error) {
		sockets, err := vishvananda.SocketDiagTCP(unix.AF_INET)
		return len(sockets), err
	}, nil
}

func vishvanandaTCPInfo(context.Context, *question) (answer, error) {
	return func() (int, error) {
		sockets, err := vishvananda.SocketDiagTCPInfo(unix.AF_INET)
		return len(sockets), err
	}, nil
}

// vishvanandaGet is a dump, in which that module looks for the socket.
func vishvanandaGet(_ context.Context, q *question) (answer, error) {
	local, remote := net.TCPAddrFromAddrPort(q.local), net.TCPAddrFromAddrPort(q.remote)
	return func() (int, error) {
		_, err := vishvananda.SocketGet(local, remote)
		return 1, err
	}, nil
}
