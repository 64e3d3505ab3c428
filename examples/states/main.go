// States counts the TCP sockets by state, most first:
//
//	$ go run ./examples/states
//	TIME_WAIT    1204
//	ESTABLISHED    37
//	LISTEN          9
//	CLOSE_WAIT      1
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed16c515c6/timewait/internal/cli"
	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/tcpstate"
)

const help = `Usage: states [-4] [-6] [-state LIST] [-json] [-watch DURATION]
              [-netns NAME|PATH|PID]

Counts the TCP sockets of this network namespace by state, most first.

States: ESTABLISHED SYN_SENT SYN_RECV FIN_WAIT1 FIN_WAIT2 TIME_WAIT CLOSE
        CLOSE_WAIT LAST_ACK LISTEN CLOSING BOUND_INACTIVE
Groups: all; connected: all but LISTEN, CLOSE and BOUND_INACTIVE;
        synchronized: connected but SYN_SENT; bucket: SYN_RECV and TIME_WAIT;
        big: all but bucket

FIN_WAIT2 counts full sockets, which a process may still hold, and mini-sockets,
which nobody does, together; timewait tells them apart. BOUND_INACTIVE are
sockets that are bound and neither listen nor are connected; ss -tan and
/proc/net/tcp leave them out, and so do kernels before Linux 6.8.`

func main() { cli.Main("states", run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := cli.NewFlags("states", help)
	var (
		asJSON = flags.Bool("json", false, "print one JSON object, state to number; with -watch one a line")
		states = flags.String("state", "all", "count only the states and groups of this `LIST`, in any spelling:\nTIME_WAIT,fin-wait-2; the kernel leaves the others out")
		v4     = flags.Bool("4", false, "count only IPv4 sockets; -4 and -6 together are both")
		v6     = flags.Bool("6", false, "count only IPv6 sockets; an IPv4 connection that an IPv6 socket\nholds (v4-mapped, ::ffff:192.0.2.1) is one of them")
		watch  = flags.Duration("watch", 0, "count again every `DURATION` (2s, 1m), with the change since the last\ntime, until Ctrl-C")
		netns  = flags.String("netns", "", cli.NetNSHelp)
	)
	if err := flags.Parse(args, stdout); err != nil {
		return err
	}
	var q sockdiag.Query
	var err error
	if q.States, err = parseStates(*states); err != nil {
		return &cli.UsageError{Err: fmt.Errorf("-state: %w", err)}
	}
	if *watch < 0 {
		return &cli.UsageError{Err: fmt.Errorf("-watch: %v is no time to wait", *watch)}
	}
	switch {
	case *v4 && !*v6:
		q.Family = sockdiag.IPv4
	case *v6 && !*v4:
		q.Family = sockdiag.IPv6
	}

	c, err := cli.Dial(*netns)
	if err != nil {
		return err
	}
	defer c.Close()
	nothing := "no such sockets"
	if q.Family == 0 && q.States == tcpstate.All {
		nothing = "no TCP sockets"
	}
	var last *tcpstate.Counts
	for {
		counts, err := c.Count(ctx, q)
		if err != nil {
			if *watch > 0 && ctx.Err() != nil {
				return nil
			}
			return err
		}
		if *asJSON {
			err = json.NewEncoder(stdout).Encode(counts)
		} else {
			if *watch > 0 {
				fmt.Fprintln(stdout, time.Now().Format(time.TimeOnly))
			}
			err = printCounts(stdout, counts, last)
			if counts.Total() == 0 {
				fmt.Fprintln(stderr, nothing)
			}
		}
		if err != nil || *watch == 0 {
			return err
		}
		last = &counts
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(*watch):
		}
		if !*asJSON {
			fmt.Fprintln(stdout)
		}
	}
}

// parseStates reads the list of -state. Unlike tcpstate.ParseSet it does not offer
// "none", for which there is nothing to count.
func parseStates(list string) (tcpstate.Set, error) {
	if strings.TrimSpace(strings.ReplaceAll(list, ",", " ")) == "" {
		return 0, errors.New("no states given")
	}
	set, err := tcpstate.ParseSet(list)
	var bad *tcpstate.ParseError
	switch {
	case errors.As(err, &bad):
		return 0, fmt.Errorf("%q is no state (TIME_WAIT, time-wait, estab) and no group (all, connected, synchronized, bucket, big)", bad.Text)
	case err != nil:
		return 0, err
	case set == 0:
		return 0, fmt.Errorf("%q selects nothing", list)
	}
	return set, nil
}

// printCounts prints the states in columns, those that have gone since last as 0.
func printCounts(w io.Writer, counts tcpstate.Counts, last *tcpstate.Counts) error {
	type row struct {
		name, count, change string
		n                   uint64
	}
	var rows []row
	names, numbers := 0, 0
	for i, n := range counts {
		r := row{name: tcpstate.State(i).String(), count: strconv.FormatUint(n, 10), n: n}
		if last != nil && n != last[i] {
			r.change = fmt.Sprintf("  %+d", int64(n-last[i]))
		}
		if n != 0 || r.change != "" {
			rows = append(rows, r)
			names, numbers = max(names, len(r.name)), max(numbers, len(r.count))
		}
	}
	slices.SortStableFunc(rows, func(a, b row) int { return cmp.Compare(b.n, a.n) })
	for _, r := range rows {
		if _, err := fmt.Fprintf(w, "%-*s  %*s%s\n", names, r.name, numbers, r.count, r.change); err != nil {
			return err
		}
	}
	return nil
}
