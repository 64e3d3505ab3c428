package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/sockdiag/health"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// tally counts the two states that mini-sockets have.
type tally struct {
	TimeWait int `json:"time_wait"`
	FinWait2 int `json:"fin_wait2"`
}

func (t *tally) add(s tcpstate.State) {
	if s == tcpstate.TimeWait {
		t.TimeWait++
	} else {
		t.FinWait2++
	}
}

func (t tally) total() int { return t.TimeWait + t.FinWait2 }

// report is what the program prints, and with -json its object.
type report struct {
	tally
	Limit        *int          `json:"limit,omitempty"` // of both together
	Left         []bucket      `json:"seconds_left"`
	Destinations []destination `json:"destinations"`
	Sockets      []socket      `json:"sockets"`

	otherDestinations int
	others            tally
	otherSockets      int
}

// bucket is the sockets that have From to To seconds left.
type bucket struct {
	From int `json:"from"`
	To   int `json:"to"`
	tally
}

// destination is where sockets lead: a remote address and port, or the clients
// of a port of ours, whose own ports say nothing.
type destination struct {
	Remote    netip.AddrPort `json:"remote,omitzero"`
	LocalPort uint16         `json:"clients_of_local_port,omitempty"`
	Listening *bool          `json:"listening,omitempty"`  // set with LocalPort
	PortsLeft *int           `json:"ports_left,omitempty"` // how many connects succeed now, where that is known
	tally
}

type socket struct {
	Local       netip.AddrPort `json:"local"`
	Remote      netip.AddrPort `json:"remote"`
	State       tcpstate.State `json:"state"`
	SecondsLeft float64        `json:"seconds_left"`
}

// maxOutgoing is how many connections to different peers may leave from one local
// address and port before that is taken for the port of a service.
const maxOutgoing = 10

// look dumps the mini-sockets, and the listeners to tell whose connections came in.
func look(ctx context.Context, c *sockdiag.Client) (*report, error) {
	r := &report{Destinations: []destination{}, Sockets: []socket{}}
	longest := time.Duration(0)
	listening := map[uint16]bool{}
	q := sockdiag.Query{States: tcpstate.SetOf(tcpstate.TimeWait, tcpstate.FinWait2, tcpstate.Listen)}
	for s, err := range sockdiag.Dedup(c.Dump(ctx, q)) {
		if err != nil {
			return nil, err
		}
		if s.State == tcpstate.Listen {
			listening[s.Local.Port()] = true
		} else if left, ok := s.TimeWait(); ok {
			// Not all of the Socket: there can be hundreds of thousands.
			r.Sockets = append(r.Sockets, socket{plain(s.Local), plain(s.Remote), s.State, left.Seconds()})
			longest = max(longest, left)
		}
	}
	slices.SortFunc(r.Sockets, func(a, b socket) int { return cmp.Compare(a.SecondsLeft, b.SecondsLeft) })
	r.Left = buckets(longest)
	// A server that has stopped leaves no listener, but many sockets with one
	// local end. Their remote ends differ, or they would be the same connection.
	ours := maps.Clone(listening)
	peers := map[netip.AddrPort]int{}
	for _, s := range r.Sockets {
		if peers[s.Local]++; peers[s.Local] > maxOutgoing {
			ours[s.Local.Port()] = true
		}
	}
	byDestination := map[destination]*tally{}
	for _, s := range r.Sockets {
		r.add(s.State)
		r.bucket(s.SecondsLeft).add(s.State)
		to := destination{LocalPort: s.Local.Port()}
		if !ours[to.LocalPort] {
			to = destination{Remote: s.Remote}
		}
		if byDestination[to] == nil {
			byDestination[to] = new(tally)
		}
		byDestination[to].add(s.State)
	}
	for d, t := range byDestination {
		d.tally = *t
		if d.LocalPort != 0 {
			l := listening[d.LocalPort]
			d.Listening = &l
		}
		r.Destinations = append(r.Destinations, d)
	}
	slices.SortFunc(r.Destinations, func(a, b destination) int {
		return cmp.Or(cmp.Compare(b.total(), a.total()), a.Remote.Compare(b.Remote), cmp.Compare(a.LocalPort, b.LocalPort))
	})
	return r, nil
}

// room says what there is room for still: mini-sockets, and connections to the
// destinations that outgoing ones lead to.
func (r *report) room(ctx context.Context, c *sockdiag.Client) error {
	s, err := health.Take(ctx, c, health.Options{})
	if err != nil {
		return err
	}
	if s.Settings.MaxTWBuckets.Known {
		r.Limit = &s.Settings.MaxTWBuckets.Value
	}
	if s.Ports.Capacity == 0 {
		return nil // the range of ports is not known
	}
	left := map[netip.AddrPort]int{}
	for i := range s.Destinations {
		d := &s.Destinations[i]
		n, seen := left[plain(d.Remote)]
		if !seen || d.Headroom < n { // from the local address that has the least
			left[plain(d.Remote)] = d.Headroom
		}
	}
	for i := range r.Destinations {
		d := &r.Destinations[i]
		if n, ok := left[d.Remote]; ok && d.LocalPort == 0 {
			d.PortsLeft = &n
		}
	}
	return nil
}

// plain writes an IPv4-mapped address as the IPv4 address that it is on the wire.
func plain(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }

// buckets returns four empty buckets: quarters of a minute. Over a peer that is
// slow to answer FIN_WAIT2 can last longer than one; then they are wider.
func buckets(longest time.Duration) []bucket {
	const n = 4
	seconds := 15
	for longest > time.Duration(n*seconds)*time.Second {
		seconds *= 2
	}
	b := make([]bucket, n)
	for i := range b {
		b[i] = bucket{From: i * seconds, To: (i + 1) * seconds}
	}
	return b
}

// bucket returns the bucket of a time. The first is that of the soonest.
func (r *report) bucket(left float64) *tally {
	// A full minute belongs to the bucket that ends with it.
	i := max(0, int(math.Ceil(left/float64(r.Left[0].To)))-1)
	return &r.Left[i].tally
}

// limit leaves the first n sockets and destinations, and counts the others.
func (r *report) limit(n int) {
	if n == 0 {
		return
	}
	if over := len(r.Sockets) - n; over > 0 {
		r.Sockets, r.otherSockets = r.Sockets[:n], over
	}
	if over := len(r.Destinations) - n; over > 0 {
		for _, d := range r.Destinations[n:] {
			r.others.TimeWait += d.TimeWait
			r.others.FinWait2 += d.FinWait2
		}
		r.Destinations, r.otherDestinations = r.Destinations[:n], over
	}
}

func (r *report) print(w io.Writer) error {
	line := fmt.Sprintf("%d in TIME_WAIT", r.TimeWait)
	if r.FinWait2 > 0 {
		line += fmt.Sprintf(", %d in FIN_WAIT2 (closed here, not yet by the peer)", r.FinWait2)
	}
	if _, err := fmt.Fprintln(w, line); err != nil || r.total() == 0 {
		return err
	}

	head := "seconds left  TIME_WAIT  FIN_WAIT2"
	if r.Limit != nil {
		head += fmt.Sprintf("  (tcp_max_tw_buckets allows %d)", *r.Limit)
	}
	fmt.Fprintf(w, "\n%s\n", head)
	most := 0
	for _, b := range r.Left {
		most = max(most, b.total())
	}
	for _, b := range slices.Backward(r.Left) {
		line := fmt.Sprintf("%12s  %9d  %9d  %s", fmt.Sprintf("%d-%d", b.From, b.To), b.TimeWait, b.FinWait2, bar(b.total(), most))
		fmt.Fprintln(w, strings.TrimRight(line, " "))
	}

	fmt.Fprintf(w, "\nTIME_WAIT  FIN_WAIT2  to\n")
	for _, d := range r.Destinations {
		to := d.Remote.String()
		if d.LocalPort != 0 {
			to = fmt.Sprintf("clients of our port %d", d.LocalPort)
			if !*d.Listening {
				to += " (nobody listens there now)"
			}
		}
		if d.PortsLeft != nil {
			to += fmt.Sprintf(" (%d local ports left)", *d.PortsLeft)
		}
		fmt.Fprintf(w, "%9d  %9d  %s\n", d.TimeWait, d.FinWait2, to)
	}
	if n := r.otherDestinations; n > 0 {
		to := "1 other"
		if n > 1 {
			to = fmt.Sprintf("%d others", n)
		}
		fmt.Fprintf(w, "%9d  %9d  %s\n", r.others.TimeWait, r.others.FinWait2, to)
	}

	fmt.Fprintln(w)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, " left\tstate\tlocal\tremote")
	for _, s := range r.Sockets {
		fmt.Fprintf(table, "%4.1fs\t%v\t%s\t%s\n", s.SecondsLeft, s.State, s.Local, s.Remote)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if r.otherSockets > 0 {
		_, err := fmt.Fprintf(w, "%d more (-n 0 lists all)\n", r.otherSockets)
		return err
	}
	return nil
}

// bar draws n of most, at least one mark for what is there at all.
func bar(n, most int) string {
	const full = 40
	if n == 0 {
		return ""
	}
	return strings.Repeat("#", max(1, n*full/most))
}
