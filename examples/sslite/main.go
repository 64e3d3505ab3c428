// Sslite lists sockets, and closes them, for those who have ss(8) in their
// fingers:
//
//	$ go run ./examples/sslite -tno state time-wait dst 10.0.0.0/8
//	State     Recv-Q Send-Q Local Address:Port Peer Address:Port
//	TIME-WAIT      0      0 10.1.2.9:40312     10.1.2.3:5432     timer:(timewait,48sec,0)
//	TIME-WAIT      0      0 10.1.2.9:40314     10.1.2.3:5432     timer:(timewait,4.200sec,0)
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/seed16c515c6/timewait/internal/cli"
	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/tcpstate"
)

const help = `Usage: sslite [-tuwSM46alnoemipKOH] [-json] [-netns NAME|PATH|PID]
              [state STATE...] [FILTER]

Lists TCP and UDP sockets in the manner of ss(8), as they come from the kernel:

  sslite -tlnp                               who listens
  sslite -ti dst 10.0.0.0/8 dport = :5432    how connections to there fare
  sslite -tno state time-wait                how long each TIME_WAIT lasts
  sslite -K -t state close-wait sport = :80  close what a program forgot

Without states, -a or -l it is the sockets with a peer, as with ss: of TCP all
but LISTEN, TIME-WAIT, SYN-RECV and what is only bound. States: established,
syn-sent, syn-recv, fin-wait-1, fin-wait-2, time-wait, closed, close-wait,
last-ack, listening, closing, bound-inactive; all, connected, synchronized,
bucket, big. Filter: src, dst, sport, dport, dev, fwmark, cgroup, autobound,
and, or, not, parentheses. Flags go together (-tan), and behind the filter too.

Other than with ss: State always is a column; there are no Unix and netlink
sockets; 4.200sec is what ss writes 4.200ms; -a shows bound-inactive (ss does
not before 6.8); uid:0 is said; -i is a choice, with units. Columns are as wide
as the first 1000 rows need, and grow when later ones need more.`

func main() { cli.Main("sslite", run) }

// options are the flags that say what is shown of a socket.
type options struct {
	numeric, timers, details, memory, info, processes, oneLine, noHeader, asJSON bool
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := cli.NewFlags("sslite", help)
	var (
		o      options
		states tcpstate.Set
		chosen = map[sockdiag.Protocol]*bool{
			sockdiag.TCP:   flags.Bool("t", false, "TCP"),
			sockdiag.UDP:   flags.Bool("u", false, "UDP; without any of -t -u -w -S -M both"),
			sockdiag.Raw:   flags.Bool("w", false, "raw; the port is the IP protocol"),
			sockdiag.SCTP:  flags.Bool("S", false, "SCTP: endpoints and associations"),
			sockdiag.MPTCP: flags.Bool("M", false, "MPTCP; its subflows are under -t"),
		}
		v4    = flags.Bool("4", false, "IPv4 sockets only; -4 and -6 together are both")
		v6    = flags.Bool("6", false, "IPv6 sockets only, IPv4 connections on them (v4-mapped) included")
		netns = flags.String("netns", "", cli.NetNSHelp)
		kill  = flags.Bool("K", false, "close what a FILTER or states select, and print what was closed;\nconnections are reset. It takes CAP_NET_ADMIN")
	)
	flags.BoolFunc("a", "all states; of -a and -l the last counts", func(string) error { states = tcpstate.All; return nil })
	flags.BoolFunc("l", "listeners, and UDP sockets without a peer", func(string) error { states = listening; return nil })
	flags.BoolVar(&o.numeric, "n", false, "ports as numbers, not as /etc/services names them")
	flags.BoolVar(&o.timers, "o", false, "the timer that runs: (kind,time left,retransmissions)")
	flags.BoolVar(&o.details, "e", false, "uid, inode, cookie (sk), mark, cgroup, what is shut down, and -o")
	flags.BoolVar(&o.memory, "m", false, "socket memory, as skmem of ss")
	flags.BoolVar(&o.info, "i", false, "how TCP fares: tcp_info, bytes and milliseconds")
	flags.BoolVar(&o.processes, "p", false, "processes; those of others take CAP_SYS_PTRACE. It looks through /proc\nonce for every 65536 sockets")
	flags.BoolVar(&o.oneLine, "O", false, "one line for each socket, with -i and -m too")
	flags.BoolVar(&o.noHeader, "H", false, "no header")
	flags.BoolVar(&o.asJSON, "json", false, "print one JSON object for each socket, a line each; with what -i and\n-m ask for, and with users for -p")
	if err := flags.ParseMixed(args, stdout); err != nil {
		return err
	}
	o.timers = o.timers || o.details

	q, err := sockdiag.ParseQuery(strings.Join(flags.Args(), " "))
	if err != nil {
		return &cli.UsageError{Err: err}
	}
	if *kill && q.Filter == (sockdiag.Filter{}) && (q.States == 0 || q.States == tcpstate.All) {
		return &cli.UsageError{Err: errors.New("-K closes what a filter or states select, and here are none")}
	}
	if q.States == 0 {
		q.States = states
	}
	if q.Family, err = family(q.Family, *v4, *v6); err != nil {
		return &cli.UsageError{Err: err}
	}
	if o.info {
		q.Attrs |= sockdiag.AttrTCPInfo | sockdiag.AttrCongestion
	}
	if o.memory {
		q.Attrs |= sockdiag.AttrSocketMemory
	}
	var protocols []sockdiag.Protocol
	for _, p := range []sockdiag.Protocol{sockdiag.Raw, sockdiag.UDP, sockdiag.TCP, sockdiag.MPTCP, sockdiag.SCTP} { // as ss has them
		if *chosen[p] {
			protocols = append(protocols, p)
		}
	}
	if protocols == nil {
		protocols = []sockdiag.Protocol{sockdiag.UDP, sockdiag.TCP}
	}

	c, err := cli.Dial(*netns)
	if err != nil {
		return err
	}
	defer c.Close()
	l := newLister(&o, c, stdout, len(protocols) > 1)
	if *kill {
		l.victims = new([]victim)
	}
	err = l.list(ctx, q, protocols)
	if err == nil && *kill {
		err = l.close(ctx, stderr)
	}
	if flushErr := l.flush(err != nil); err == nil {
		err = flushErr
	}
	if err == nil {
		l.sayUnseen(stderr)
	}
	return err
}

// listening are the states of -l: of UDP a socket without a peer.
var listening = tcpstate.SetOf(tcpstate.Listen, tcpstate.Closed)

// ssDefault are the states of ss without any: of other protocols than TCP and its
// kin, those that are connected.
func ssDefault(p sockdiag.Protocol) tcpstate.Set {
	switch p {
	case sockdiag.UDP, sockdiag.Raw:
		return tcpstate.Established.Set()
	}
	return tcpstate.Connected &^ tcpstate.Bucket
}

// family is what the flags and a family within the filter (inet6:[::1]) say
// together.
func family(ofFilter sockdiag.Family, v4, v6 bool) (sockdiag.Family, error) {
	var ofFlags sockdiag.Family
	switch {
	case v4 && !v6:
		ofFlags = sockdiag.IPv4
	case v6 && !v4:
		ofFlags = sockdiag.IPv6
	}
	if ofFlags != 0 && ofFilter != 0 && ofFlags != ofFilter {
		return 0, fmt.Errorf("the filter is for %v alone, and the flags are not", ofFilter)
	}
	return max(ofFlags, ofFilter), nil
}
