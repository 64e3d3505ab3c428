// Ports shows how the local ports for outgoing connections are used, by
// destination, and which will run out first:
//
//	$ go run ./examples/ports
//	28230 local ports to connect from: 32768-60999, 2 of them bound
//
//	  used  TIME_WAIT  reusable   free  headroom  closed/s  limit/s  runs out  from      to
//	 27998      27950         0    232       232       469      471  in 42 s   10.1.2.9  10.1.2.3:5432
//	    12          0         0  28218     28218         0      471  -         10.1.2.9  10.1.2.4:6379
//
//	10.1.2.3:5432 runs out first, in 42 s. doctor says what to do.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/netip"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/seed16c515c6/timewait/internal/cli"
	"github.com/seed16c515c6/timewait/sockdiag/health"
)

const help = `Usage: ports [-n N] [-wait TIME] [-json] [-netns NAME|PATH|PID]

Shows the destinations of outgoing connections, those with the least headroom
first: how many connects to there succeed until one fails with EADDRNOTAVAIL
("Cannot assign requested address"). Each remote address and port has a pool of
its own, from each local address.

  used       ports with a connection to there, in any state
  reusable   of those in TIME_WAIT, what connect() may take over (tcp_tw_reuse)
  headroom   free and reusable
  closed/s   TIME_WAITs entered a second, in the last ten or since -wait ago
  limit/s    closed connections a second that there are ports for, for good
  runs out   when headroom is 0, if it goes on so

Connections that came in are not here: they take no local port. A port that any
socket is bound to is passed over for every destination.`

func main() { cli.Main("ports", run) }

// row is a destination, and with -json an element of its list.
type row struct {
	Local    netip.Addr     `json:"from"`
	Remote   netip.AddrPort `json:"to"`
	Used     int            `json:"used"`
	TimeWait int            `json:"time_wait"`
	FinWait2 int            `json:"fin_wait2"`
	Reusable int            `json:"reusable"`
	Free     int            `json:"free"`
	Headroom int            `json:"headroom"`
	Closed   float64        `json:"closed_per_second"`
	Limit    float64        `json:"limit_per_second"`
	RunsOut  *float64       `json:"runs_out_in_seconds,omitempty"`
	Missed   int            `json:"not_counted_at_most,omitempty"`
}

// report is what is printed, and with -json the object.
type report struct {
	Range        string `json:"range"`
	Reserved     int    `json:"reserved"`
	Bound        int    `json:"bound"`
	Usable       int    `json:"usable"`
	Destinations []row  `json:"destinations"`
	more         int
}

func run(ctx context.Context, args []string, stdout, _ io.Writer) error {
	flags := cli.NewFlags("ports", help)
	var (
		n      = flags.Int("n", 20, "show `N` destinations, at most 100")
		wait   = flags.Duration("wait", 0, "look a second time after this `TIME`, for what grows meanwhile;\n0: look once")
		asJSON = flags.Bool("json", false, "print one JSON object")
		netns  = flags.String("netns", "", cli.NetNSHelp)
	)
	if err := flags.Parse(args, stdout); err != nil {
		return err
	}
	if *n < 1 || *n > 100 {
		return &cli.UsageError{Err: fmt.Errorf("-n: %d is not from 1 to 100", *n)}
	}
	if *wait != 0 && *wait < time.Second {
		return &cli.UsageError{Err: fmt.Errorf("-wait: %v is neither 0 nor a second or more", *wait)}
	}
	c, err := cli.Dial(*netns)
	if err != nil {
		return err
	}
	defer c.Close()
	var before *health.Snapshot
	if *wait > 0 {
		if before, err = health.Take(ctx, c, health.Options{}); err != nil {
			return err
		}
		select {
		case <-time.After(*wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	now, err := health.Take(ctx, c, health.Options{})
	if err != nil {
		return err
	}
	if !now.Settings.PortRange.Known {
		return fmt.Errorf("the range of local ports cannot be read: %q", now.Gaps)
	}
	r := makeReport(before, now, *n)
	if *asJSON {
		return json.NewEncoder(stdout).Encode(r)
	}
	return r.print(stdout)
}

func makeReport(before, now *health.Snapshot, n int) *report {
	p := now.Ports
	r := &report{
		Range: p.Range.String(), Reserved: p.Reserved, Bound: p.Listening + p.BoundInactive, Usable: p.Usable, Destinations: []row{},
	}
	for i := range now.Destinations {
		d := &now.Destinations[i]
		o := now.Outlook(d, before)
		w := row{
			Local: d.Local, Remote: d.Remote, Used: d.Used, TimeWait: d.TimeWait, FinWait2: d.FinWait2, Reusable: d.Reusable,
			Free: d.Free, Headroom: d.Headroom, Closed: o.Closing, Limit: d.RateLimit, Missed: d.Missed,
		}
		if o.Ends {
			left := o.Left.Seconds()
			w.RunsOut = &left
		}
		r.Destinations = append(r.Destinations, w)
	}
	slices.SortStableFunc(r.Destinations, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.until(), b.until()), cmp.Compare(a.Headroom, b.Headroom))
	})
	r.more = max(0, len(r.Destinations)-n)
	r.Destinations = r.Destinations[:len(r.Destinations)-r.more]
	return r
}

// until is when it runs out, for sorting.
func (w *row) until() float64 {
	if w.RunsOut == nil {
		return math.Inf(1)
	}
	return *w.RunsOut
}

func (r *report) print(out io.Writer) error {
	line := fmt.Sprintf("%d local ports to connect from: %s", r.Usable, r.Range)
	if r.Reserved > 0 {
		line += fmt.Sprintf(", %d of them reserved", r.Reserved)
	}
	if r.Bound > 0 {
		line += fmt.Sprintf(", %d of them bound", r.Bound)
	}
	fmt.Fprintln(out, line)
	if len(r.Destinations) == 0 {
		_, err := fmt.Fprintln(out, "No outgoing connections.")
		return err
	}
	fmt.Fprintln(out)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "used\tTIME_WAIT\treusable\tfree\theadroom\tclosed/s\tlimit/s\truns out\t  from  to")
	for _, w := range r.Destinations {
		fmt.Fprintf(table, "%d\t%d\t%d\t%d\t%d\t%.0f\t%.0f\t%s\t  %v  %v\n",
			w.Used, w.TimeWait, w.Reusable, w.Free, w.Headroom, w.Closed, w.Limit, w.when(), w.Local, w.Remote)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if r.more > 0 {
		fmt.Fprintf(out, "%d more (-n)\n", r.more)
	}
	var err error
	if first := r.Destinations[0]; first.RunsOut != nil {
		_, err = fmt.Fprintf(out, "\n%v runs out first, %s. doctor says what to do.\n", first.Remote, first.when())
	} else {
		_, err = fmt.Fprintln(out, "\nNone of them runs out, if it goes on so.")
	}
	return err
}

func (w *row) when() string {
	switch {
	case w.RunsOut == nil:
		return "-"
	case *w.RunsOut == 0 && w.Headroom == 0:
		return "now"
	}
	return "in " + (time.Duration(*w.RunsOut) * time.Second).String()
}
