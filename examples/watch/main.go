// Watch tells of TCP connections as they end, and how they fared:
//
//	$ go run ./examples/watch -n 2 dport = :5432
//	time                 sent     received retrans    rtt ms     lasted  local                 remote
//	14:03:07.204         1841        90112       0     0.412    >1.204s  10.1.2.9:40312        10.1.2.3:5432
//	14:03:07.311            0            1       0     0.398     0.104s  10.1.2.9:40314        10.1.2.3:5432
//	watch: 2 closed, 1841 bytes sent, 90113 received, 0 segments sent again
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/seed16c515c6/timewait/internal/cli"
	"github.com/seed16c515c6/timewait/sockdiag"
)

const help = `Usage: watch [-tu46] [-n COUNT] [-json] [-buffer BYTES] [-netns NAME|PATH|PID]
             [FILTER]

Prints the TCP sockets that close, as the kernel announces them, until Ctrl-C.
It takes no privilege. FILTER is that of ss(8): dst 10.0.0.0/8 and dport = :443.

time: when the announcement was read
sent, received: bytes, without those sent again; the peer's FIN counts as one
retrans: segments sent again    rtt: smoothed round trip, in milliseconds
lasted: since the connection was made, where no data went one of the two ways;
otherwise the kernel remembers no more than that it was longer than this (>)

The state before the end is not known. A connection is announced when its socket
goes; a TIME_WAIT that it leaves behind is not. Listeners and sockets without a
connection are announced, too. They have no remote end, and a connection
that was reset from this side has half of it at most: the kernel has wiped that
and the numbers.

The filter is applied here. Conditions on what an announcement does not tell
(dev by name, fwmark, cgroup, autobound) do not leave it out; the last line says
of how many that is so.`

func main() { cli.Main("watch", run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := cli.NewFlags("watch", help)
	var (
		tcp    = flags.Bool("t", false, "TCP, as without -t and -u")
		udp    = flags.Bool("u", false, "UDP; of it there are the two ends alone")
		v4     = flags.Bool("4", false, "IPv4 sockets only; -4 and -6 together are both")
		v6     = flags.Bool("6", false, "IPv6 sockets only, IPv4 connections on them (v4-mapped) included")
		count  = flags.Uint64("n", 0, "end after `COUNT` sockets; 0: at Ctrl-C")
		asJSON = flags.Bool("json", false, `print one JSON object a line: "time", and "socket" or "lost"`)
		buffer = flags.Int("buffer", 4<<20, "room for `BYTES` of announcements, 1280 for each TCP socket; more than\ntwice net.core.rmem_max takes CAP_NET_ADMIN\n")
		netns  = flags.String("netns", "", cli.NetNSHelp)
	)
	if err := flags.ParseMixed(args, stdout); err != nil {
		return err
	}
	q, err := sockdiag.ParseQuery(strings.Join(flags.Args(), " "))
	switch {
	case err != nil:
		return &cli.UsageError{Err: err}
	case q.States != 0:
		return &cli.UsageError{Err: errors.New("states before the end are not known, and cannot be filtered by")}
	case *buffer <= 0:
		return &cli.UsageError{Err: fmt.Errorf("-buffer: %d bytes hold nothing", *buffer)}
	}
	options := sockdiag.WatchOptions{ReadBuffer: *buffer}
	if *tcp || !*udp {
		options.Protocols = append(options.Protocols, sockdiag.TCP)
	}
	if *udp {
		options.Protocols = append(options.Protocols, sockdiag.UDP)
	}
	for family, wanted := range map[sockdiag.Family]bool{sockdiag.IPv4: *v4 || !*v6, sockdiag.IPv6: *v6 || !*v4} {
		if wanted && (q.Family == 0 || q.Family == family) {
			options.Families = append(options.Families, family)
		}
	}
	if options.Families == nil {
		return &cli.UsageError{Err: fmt.Errorf("the filter is for %v alone, and the flags are not", q.Family)}
	}

	c, err := cli.Dial(*netns)
	if err != nil {
		return err
	}
	defer c.Close()
	w, err := c.Watch(ctx, options)
	if err != nil {
		return err
	}
	defer w.Close()
	if got, err := w.ReadBuffer(); err == nil && got < *buffer && flags.Given("buffer") {
		fmt.Fprintf(stderr, "watch: -buffer: the kernel allows %d bytes\n", got)
	}

	p := &printer{out: stdout, asJSON: *asJSON, filter: q.Filter, udp: *udp}
	if err := p.header(); err != nil {
		return err
	}
	for n, err := range w.Events() {
		if err != nil {
			if ctx.Err() == nil {
				return err
			}
			break // Ctrl-C
		}
		if n.Kind == sockdiag.Lost {
			fmt.Fprintf(stderr, "watch: %d announcements were lost: they came faster than they were read\n", n.Lost)
		}
		if err := p.print(&n, time.Now()); err != nil {
			return err
		}
		if *count > 0 && p.closed == *count {
			break
		}
	}
	fmt.Fprintln(stderr, "watch: "+p.summary())
	return nil
}
