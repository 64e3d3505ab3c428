// Doctor says what is wrong with the TCP connections of a host: whether it is a
// problem, whose, and what to do about it.
//
//	$ go run ./examples/doctor
//	CRITICAL  232 of 28232 local ports are left for 10.1.2.3:5432 (28000 in
//	          TIME_WAIT): connects fail in about 12 s
//	  why     Who closes a connection first keeps its addresses and ports in
//	          TIME_WAIT for 60 seconds. [...]
//	  seen    destination 10.1.2.3:5432, from 10.1.2.9, used 28000, TIME_WAIT
//	          28000, [...] process api (pid 4242)
//	  do      1. Keep connections and use them again: a pool, HTTP keep-alive [...]
//	          2. Let the other side close first: TIME_WAIT is on the side that
//	          does.
//	          3. Widen the range of local ports. [...]
//	             sysctl -w net.ipv4.ip_local_port_range='16384 60999'
//	             (undo: sysctl -w net.ipv4.ip_local_port_range='32768 60999')
//
// Where nothing is wrong it says so in two lines.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/seed16c515c6/timewait/internal/cli"
	"github.com/seed16c515c6/timewait/sockdiag/health"
)

const help = `Usage: doctor [-once] [-wait TIME] [-all] [-json] [-netns NAME|PATH|PID]

Looks at the TCP sockets, settings and counters of a network namespace twice,
some seconds apart, and says what is wrong, the worst first: with the numbers
that it rests on, how it comes about, and what helps, the best first. It changes
nothing. Commands that it proposes last until the next boot.

Of sockets of other users it names the process only if it may look into that.

The exit status is 0 if nothing is wrong, 1 if there is something to warn of, 2
if something is critical, and 3 if it could not look.`

// The exit statuses.
const (
	statusWarning  = 1
	statusCritical = 2
	statusFailed   = 3
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C kills
	severity, err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	os.Exit(status(severity, err, os.Stderr))
}

func status(severity health.Severity, err error, stderr io.Writer) int {
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		cli.Report("doctor", err, stderr)
		return statusFailed
	case severity == health.Critical:
		return statusCritical
	case severity == health.Warning:
		return statusWarning
	}
	return 0
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (health.Severity, error) {
	flags := cli.NewFlags("doctor", help)
	var (
		once   = flags.Bool("once", false, "look once, and do not know what grows or happens")
		wait   = flags.Duration("wait", 10*time.Second, "look again after this `TIME`")
		all    = flags.Bool("all", false, "print also what is merely worth knowing")
		asJSON = flags.Bool("json", false, "print one JSON object, with all there is")
		netns  = flags.String("netns", "", cli.NetNSHelp)
	)
	if err := flags.Parse(args, stdout); err != nil {
		return 0, err
	}
	if *wait < time.Second || *wait > time.Hour {
		return 0, &cli.UsageError{Err: fmt.Errorf("-wait: %v is not from 1s to 1h", *wait)}
	}
	c, err := cli.Dial(*netns)
	if err != nil {
		return 0, err
	}
	defer c.Close()

	var before *health.Snapshot
	if !*once {
		if before, err = health.Take(ctx, c, health.Options{}); err != nil {
			return 0, err
		}
		if err := pause(ctx, *wait, stderr); err != nil {
			return 0, err
		}
	}
	now, err := health.Take(ctx, c, health.Options{Owners: true})
	if err != nil {
		return 0, err
	}
	findings := health.Diagnose(before, now, health.Thresholds{})
	if *netns == "" {
		findings = append(findings, recycleConf(os.DirFS("/"))...) // the last, as they are not bad
	}
	inside(enter(*netns), findings)
	report := health.NewReport(now, findings)
	if *asJSON {
		err = json.NewEncoder(stdout).Encode(report)
	} else {
		err = newPrinter(stdout).print(report, before, now, *all)
	}
	return report.Severity, err
}

// pause waits, and says so on a terminal.
func pause(ctx context.Context, wait time.Duration, stderr io.Writer) error {
	end := time.After(wait)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	_, show := terminal(stderr)
	deadline := time.Now().Add(wait)
	for left := wait; ; left = time.Until(deadline) {
		if show {
			fmt.Fprintf(stderr, "\rlooking again in %.0f s ", left.Seconds())
		}
		select {
		case <-tick.C:
			continue
		case <-end:
		case <-ctx.Done():
		}
		if show {
			fmt.Fprint(stderr, "\r\x1b[K")
		}
		return ctx.Err()
	}
}
