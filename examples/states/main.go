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

const help = `Usage: states [-4] [-6] [-state LIST] [-json] [-watch DURATION] [-netns NAME|PATH]

Counts the TCP sockets of this network namespace by state, most first.`

func main() { cli.Main("states", run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := cli.NewFlags("states", help)
	var (
		asJSON = flags.Bool("json", false, "print one JSON object, state to number; with -watch one a line")
		states = flags.String("state", "all", "count only these states, a `LIST` such as time-wait,fin-wait-2 or connected;\nthe kernel leaves the others out")
		v4     = flags.Bool("4", false, "count only IPv4 sockets")
		v6     = flags.Bool("6", false, "count only IPv6 sockets; an IPv4 connection that an IPv6 socket\nholds (v4-mapped, ::ffff:192.0.2.1) is one of them")
		watch  = flags.Duration("watch", 0, "count again every `DURATION` (2s, 1m), with the change since the last time,\nuntil Ctrl-C")
		netns  = flags.String("netns", "", cli.NetNSHelp)
	)
	if err := flags.Parse(args, stdout); err != nil {
		return err
	}
	var q sockdiag.Query
	var err error
	if q.States, err = tcpstate.ParseSet(*states); err != nil {
		return &cli.UsageError{Err: fmt.Errorf("-state: %s", strings.TrimPrefix(err.Error(), "tcpstate: "))}
	}
	if q.States == 0 {
		return &cli.UsageError{Err: fmt.Errorf("-state: %q selects nothing", *states)}
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
				fmt.Fprintln(stderr, "no such sockets")
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
