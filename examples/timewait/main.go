// Timewait shows the sockets that wait out their connection's end: how many, for
// how much longer, and to where:
//
//	$ go run ./examples/timewait -n 2
//	1204 in TIME_WAIT, 3 in FIN_WAIT2 (closed here, not yet by the peer)
//
//	seconds left  TIME_WAIT  FIN_WAIT2
//	       45-60        790          3  ########################################
//	       30-45        288          0  ##############
//	       15-30        101          0  #####
//	        0-15         25          0  #
//
//	TIME_WAIT  FIN_WAIT2  to
//	     1110          0  10.1.2.3:5432
//	       70          2  clients of our port 443
//	       24          1  3 others
//
//	 left  state      local           remote
//	 0.4s  TIME_WAIT  10.1.2.9:40312  10.1.2.3:5432
//	 0.9s  TIME_WAIT  10.1.2.9:40314  10.1.2.3:5432
//	1205 more (-n 0 lists all)
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/seed16c515c6/timewait/internal/cli"
)

const help = `Usage: timewait [-n N] [-json] [-netns NAME|PATH|PID]

Shows the TCP sockets in TIME_WAIT: for how many seconds they stay, the
destinations with the most of them, and the sockets, the soonest to go first.

FIN_WAIT2 is told apart. Once a process has closed its socket and before the
peer has closed too, the kernel keeps the connection as the same kind of record,
and ss -s or /proc/net/sockstat count it as TIME_WAIT. Many of them mean that
peers do not close.

A TIME_WAIT is on the side that closed first. "clients of our port N" are
connections that came in to a port of ours: they use up none of the ports that
outgoing connections need. Where nobody listens any more, a port passes for ours
if one address has connections to more than 10 peers on it.`

func main() { cli.Main("timewait", run) }

func run(ctx context.Context, args []string, stdout, _ io.Writer) error {
	flags := cli.NewFlags("timewait", help)
	var (
		n      = flags.Int("n", 5, "list the first `N` sockets and destinations, 0 for all;\nwith -json all unless it is given")
		asJSON = flags.Bool("json", false, "print one JSON object, which lists all unless -n is given;\nits numbers always count all")
		netns  = flags.String("netns", "", cli.NetNSHelp)
	)
	if err := flags.Parse(args, stdout); err != nil {
		return err
	}
	if *n < 0 {
		return &cli.UsageError{Err: fmt.Errorf("-n: %d is no number of lines", *n)}
	}
	if *asJSON && !flags.Given("n") {
		*n = 0
	}
	c, err := cli.Dial(*netns)
	if err != nil {
		return err
	}
	defer c.Close()
	r, err := look(ctx, c)
	if err != nil {
		return err
	}
	if err := r.room(ctx, c); err != nil {
		return err
	}
	r.limit(*n)
	if *asJSON {
		return json.NewEncoder(stdout).Encode(r)
	}
	return r.print(stdout)
}
