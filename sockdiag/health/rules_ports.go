package health

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/seed16c515c6/timewait/sysctl"
)

// pressure is how short of local ports a destination is.
func (l *look) pressure(d *Destination) Severity {
	capacity := float64(l.now.Ports.Capacity)
	switch left := float64(d.Headroom); {
	case capacity == 0:
		return OK
	case left <= l.t.PortsCritical*capacity:
		return Critical
	case left <= l.t.PortsWarning*capacity:
		return Warning
	}
	return OK
}

// tooFast reports whether connections to a destination are closed at a rate that
// its ports cannot keep up with.
func (l *look) tooFast(d *Destination) bool {
	return d.RateLimit > 0 && l.now.Outlook(d, l.before).Closing > l.t.Rate*d.RateLimit
}

// pressed returns the destinations that are short of ports, the worst first.
func (l *look) pressed() []*Destination {
	var list []*Destination
	for i := range l.now.Destinations {
		if d := &l.now.Destinations[i]; l.pressure(d) != OK {
			list = append(list, d)
		}
	}
	slices.SortStableFunc(list, func(a, b *Destination) int { return cmp.Compare(a.Headroom, b.Headroom) })
	return list
}

func (d *Destination) mostlyTimeWait() bool { return 2*d.TimeWait >= d.Used }

func (l *look) destinationEvidence(d *Destination) []Evidence {
	p := &l.now.Ports
	o := l.now.Outlook(d, l.before)
	list := evidence("destination", d.Remote, "from", d.Local, "used", d.Used, "TIME_WAIT", d.TimeWait, "FIN_WAIT2", d.FinWait2,
		"reusable", d.Reusable, "free", d.Free, "headroom", d.Headroom, "usable ports", p.Usable,
		"net.ipv4.ip_local_port_range", p.Range, "reserved", p.Reserved, "bound by listeners", p.Listening, "bound and idle", p.BoundInactive,
		"closed per second", rate(o.Closing), "lasting rate limit", rate(d.RateLimit))
	if o.Ends {
		list = append(list, Evidence{"connects fail in", seconds(o.Left)})
	}
	if d.Missed > 0 {
		list = append(list, Evidence{"not counted", "at most " + strconv.Itoa(d.Missed)})
	}
	if d.Inode == 0 {
		return append(list, Evidence{"process", "none has a connection to there open now; a TIME_WAIT belongs to nobody any more"})
	}
	return l.now.withHolders(list, d.Inode)
}

func portExhaustion(l *look) (found []Finding) {
	for _, d := range l.pressed() {
		f := Finding{ID: PortExhaustion, Severity: l.pressure(d), Evidence: l.destinationEvidence(d)}
		of := fmt.Sprintf("%d of %d local ports", d.Headroom, l.now.Ports.Usable)
		switch o := l.now.Outlook(d, l.before); {
		case d.Headroom == 0:
			f.Summary = fmt.Sprintf("connects from %v to %v fail now: all %d local ports are in use, %d by TIME_WAIT", d.Local, d.Remote, l.now.Ports.Usable, d.TimeWait)
		case o.Ends:
			f.Summary = fmt.Sprintf("%s are left for %v (%d in TIME_WAIT): connects fail in about %s", of, d.Remote, d.TimeWait, seconds(o.Left))
		default:
			f.Summary = fmt.Sprintf("%s are left for %v (%d in TIME_WAIT); at the present rate they last", of, d.Remote, d.TimeWait)
		}
		if d.mostlyTimeWait() {
			f.Why = "Who closes a connection first keeps its addresses and ports in TIME_WAIT for 60 seconds. To one remote address and port, from one local address, there is one connection for each local port. When all are taken connect() fails with EADDRNOTAVAIL (\"Cannot assign requested address\"). No counter of the kernel's moves."
		} else {
			f.Why = "To one remote address and port, from one local address, there is one connection for each local port. Most of them are open now, or wait for the peer, and are not in TIME_WAIT. When all are taken connect() fails with EADDRNOTAVAIL (\"Cannot assign requested address\")."
		}
		f.Remedies = l.portRemedies(d)
		found = append(found, f)
	}
	return found
}

// portRemedies are in the order in which they should be tried.
func (l *look) portRemedies(d *Destination) (list []Remedy) {
	s := &l.now.Settings
	if d.mostlyTimeWait() {
		list = append(list,
			Remedy{Do: "Keep connections and use them again: a pool, HTTP keep-alive (in Go: one http.Client, MaxIdleConnsPerHost as high as the connections in use at a time, response bodies read to the end and closed)."},
			Remedy{Do: "Let the other side close first: TIME_WAIT is on the side that does."})
	} else {
		list = append(list, Remedy{Do: "Have fewer connections open at a time: a pool with a limit, requests that share connections (HTTP/2), or end those that are idle."})
	}
	if r := s.PortRange.Value; r.First > 16384 {
		wide := sysctl.PortRange{First: 16384, Last: 60999}
		if r.Last > wide.Last {
			wide.Last = 65535
		}
		do := "Widen the range of local ports. Before that, put the ports of services in it into net.ipv4.ip_local_reserved_ports."
		list = append(list, setTo(do, "net.ipv4.ip_local_port_range", wide, r))
	}
	if d.mostlyTimeWait() && !d.Reuse {
		list = append(list, l.reuseRemedies()...)
	}
	list = append(list, Remedy{Do: "Use more remote addresses or ports, or more local addresses. A program that binds to a local address should set IP_BIND_ADDRESS_NO_PORT, or its port is gone for every destination."})
	if delay := s.TWReuseDelay; d.Reuse && delay.Known && delay.Value >= 100*time.Millisecond && 2*(d.TimeWait-d.Aged) > d.Used {
		list = append(list, Remedy{
			Do:    "Let TIME_WAITs be taken over sooner. Not below the tick of the peers' timestamps, which is 1 ms on Linux and up to 500 ms on others.",
			Set:   "sysctl -w net.ipv4.tcp_tw_reuse_delay=100",
			Undo:  "sysctl -w net.ipv4.tcp_tw_reuse_delay=" + asWritten(delay.Value, "milliseconds"),
			Linux: "6.14",
		})
	}
	return list
}

// reuseRemedies turn on what connect() needs for taking TIME_WAITs over.
func (l *look) reuseRemedies() (list []Remedy) {
	s := &l.now.Settings
	if s.Timestamps.Known && s.Timestamps.Value == sysctl.TimestampsOff {
		list = append(list, setTo("Turn timestamps on. What is in TIME_WAIT now was made without them and stays; both sides must have them.", "net.ipv4.tcp_timestamps", 1, int(s.Timestamps.Value)))
	}
	if s.TWReuse.Known && s.TWReuse.Value != sysctl.TWReuseOn {
		list = append(list, setTo("Let connect() take over TIME_WAITs that are older than a second, if the connection had timestamps. It is about outgoing connections only.", "net.ipv4.tcp_tw_reuse", 1, int(s.TWReuse.Value)))
	}
	return list
}

func closingRate(l *look) (found []Finding) {
	for i := range l.now.Destinations {
		d := &l.now.Destinations[i]
		if l.pressure(d) != OK || !l.tooFast(d) {
			continue
		}
		o := l.now.Outlook(d, l.before)
		ends := ""
		if o.Ends {
			ends = ": connects fail in about " + seconds(o.Left)
		}
		found = append(found, Finding{
			ID: ClosingRate, Severity: Warning, Evidence: l.destinationEvidence(d),
			Summary:  fmt.Sprintf("%s connections to %v are closed, and %s is the most that lasts%s", rate(o.Closing), d.Remote, rate(d.RateLimit), ends),
			Why:      "Each connection that this side closes first takes its local port with it into TIME_WAIT. What is closed in 60 seconds (in tcp_tw_reuse_delay, where TIME_WAITs are taken over) must fit into the range of ports.",
			Remedies: l.portRemedies(d),
		})
	}
	return found
}

// reuseOff and reuseIneffective are about destinations that are short of ports
// because of TIME_WAIT.
func reuseOff(l *look) (found []Finding) {
	var names []string
	for i := range l.now.Destinations {
		if d := &l.now.Destinations[i]; !d.Reuse && d.TimeWait > 0 && d.mostlyTimeWait() && (l.pressure(d) != OK || l.tooFast(d)) {
			names = append(names, d.Remote.String())
		}
	}
	s := &l.now.Settings
	if len(names) == 0 || !s.TWReuse.Known {
		return nil
	}
	f := Finding{
		ID: ReuseOff, Severity: Warning, Remedies: l.reuseRemedies(),
		Evidence: evidence("net.ipv4.tcp_tw_reuse", int(s.TWReuse.Value), "net.ipv4.tcp_timestamps", int(s.Timestamps.Value), "destinations", some(names)),
		Why:      "connect() can take over the port of a TIME_WAIT to the same destination, if that is older than a second and both connections have timestamps, which keep old segments out.",
	}
	switch {
	case s.Timestamps.Known && s.Timestamps.Value == sysctl.TimestampsOff:
		f.Summary = "TIME_WAITs are not taken over, because timestamps are off (tcp_timestamps=0)"
	case s.TWReuse.Value == sysctl.TWReuseLoopback:
		f.Summary = "TIME_WAITs are not taken over: tcp_tw_reuse=2 is for loopback only, and " + names[0] + " is elsewhere"
		f.Why += " 2 has been the default since Linux 4.19, and is for connections within the host."
	default:
		f.Summary = fmt.Sprintf("TIME_WAITs are not taken over (tcp_tw_reuse=%d)", int(s.TWReuse.Value))
	}
	return []Finding{f}
}

func reuseIneffective(l *look) (found []Finding) {
	s := &l.now.Settings
	for _, d := range l.pressed() {
		if !d.Reuse {
			continue
		}
		f := Finding{ID: ReuseIneffective, Severity: Warning, Evidence: l.destinationEvidence(d)}
		blocked := l.now.Ports.Listening + l.now.Ports.BoundInactive
		switch young := d.TimeWait - d.Aged; {
		case 2*d.FinWait2 > d.Used:
			f.Summary = fmt.Sprintf("%d of %d ports to %v are in FIN_WAIT2, which tcp_tw_reuse never takes over", d.FinWait2, d.Used, d.Remote)
			f.Why = "They are closed here and not there: the peer has our FIN and keeps its end open (CLOSE_WAIT). Only true TIME_WAITs are taken over."
			f.Remedies = []Remedy{{Do: "Have the program at the other end close its connections when it reads the end of the stream."}}
			if s.FinTimeout.Known && s.FinTimeout.Value > 15*time.Second {
				f.Remedies = append(f.Remedies, setTo("Wait less for it. Peers that do send their FIN later get a RST.", "net.ipv4.tcp_fin_timeout", 15, s.FinTimeout.Value))
			}
		case 2*young > d.Used:
			f.Summary = fmt.Sprintf("%d of %d ports to %v are in TIME_WAIT for less than %s, too short to be taken over", young, d.Used, d.Remote, seconds(s.reuseDelay()))
			f.Why = "More connections are made and closed in that time than there are ports."
			f.Remedies = l.portRemedies(d)
		case 2*blocked > l.now.Ports.Capacity:
			f.Summary = fmt.Sprintf("%d of %d ports are bound by others, and so are for nobody to connect from", blocked, l.now.Ports.Capacity)
			f.Why = "connect() passes over a port that any socket of the namespace was bound to, whatever its address, and over its TIME_WAITs."
			f.Remedies = []Remedy{{Do: "Leave the port to connect(): set IP_BIND_ADDRESS_NO_PORT before binding to an address; let services listen outside the range."}}
		default:
			continue
		}
		found = append(found, f)
	}
	return found
}

func boundHog(l *look) []Finding {
	p := &l.now.Ports
	if p.Capacity == 0 || float64(p.BoundInactive) <= l.t.Bound*float64(p.Capacity) {
		return nil
	}
	return []Finding{{
		ID: BoundHog, Severity: Warning,
		Summary:  fmt.Sprintf("%d of %d local ports are bound by sockets that neither listen nor are connected", p.BoundInactive, p.Capacity),
		Evidence: evidence("bound and idle", p.BoundInactive, "ports", p.Capacity, "usable ports", p.Usable, "net.ipv4.ip_local_port_range", p.Range),
		Why:      "bind() to an address with port 0 takes a port from all destinations, because it cannot know where the connection will lead; connect() passes over it. When none is left bind() fails with EADDRINUSE, and connect() with EADDRNOTAVAIL.",
		Remedies: []Remedy{
			{Do: "Set IP_BIND_ADDRESS_NO_PORT before binding to a local address: the port is then chosen by connect(). (In Go: net.Dialer.Control; a LocalAddr alone does not set it.)", Linux: "4.2"},
			{Do: "Close sockets that were bound and not used."},
		},
	}}
}

// normalRange is ip_local_port_range as it comes.
var normalRange = sysctl.PortRange{First: 32768, Last: 60999}

func rangeSmall(l *look) []Finding {
	p := &l.now.Ports
	if p.Range.Len() == 0 || p.Capacity >= normalRange.Len() {
		return nil
	}
	f := Finding{
		ID: RangeSmall, Severity: Warning,
		Summary:  fmt.Sprintf("only %d local ports to connect from, which is %s closed connections to a destination (%d and %s as it comes)", p.Capacity, rate(float64(p.Capacity)/60), normalRange.Len(), rate(float64(normalRange.Len())/60)),
		Evidence: evidence("net.ipv4.ip_local_port_range", p.Range, "reserved", p.Reserved, "ports", p.Capacity),
		Why:      "One address has that many connections to one destination at a time, those of the last minute in TIME_WAIT included.",
	}
	switch {
	case p.Range.Len() < normalRange.Len():
		f.Remedies = []Remedy{setTo("Widen the range.", "net.ipv4.ip_local_port_range", normalRange, p.Range)}
	case p.Reserved <= normalRange.Len()/100: // somebody needs these few
		return nil
	default:
		f.Remedies = []Remedy{{Do: "Reserve fewer ports (net.ipv4.ip_local_reserved_ports), or widen the range by as many."}}
	}
	return []Finding{f}
}

func rangeParity(l *look) []Finding {
	r := l.now.Ports.Range
	if r.Len() == 0 || r.First%2 != r.Last%2 {
		return nil
	}
	better := sysctl.PortRange{First: r.First, Last: r.Last - 1}
	if r.Last < 65535 {
		better.Last = r.Last + 1
	}
	return []Finding{{
		ID: RangeParity, Severity: Info,
		Summary:  fmt.Sprintf("both ends of ip_local_port_range (%v) are %s", r, [...]string{"even", "odd"}[r.First%2]),
		Evidence: evidence("net.ipv4.ip_local_port_range", r),
		Why:      "connect() takes ports of the parity of the first before the others, bind() the others. With ends of the same parity it may pass over one, and the kernel says so in its log.",
		Remedies: []Remedy{setTo("Have ends of different parity.", "net.ipv4.ip_local_port_range", better, r)},
	}}
}

func rangeOverlap(l *look) []Finding {
	var ports []string
	for i := range l.now.Listening {
		port := l.now.Listening[i].Port
		if r := l.now.Ports.Range; r.First <= port && port <= r.Last && !l.now.Settings.ReservedPorts.Value.Has(port) {
			ports = append(ports, strconv.Itoa(int(port)))
		}
	}
	if len(ports) == 0 || l.now.Ports.Range.Len() == 0 {
		return nil
	}
	return []Finding{{
		ID: RangeOverlap, Severity: Info,
		Summary:  fmt.Sprintf("%d ports that are listened on are in the range of local ports and not reserved: %s", len(ports), some(ports)),
		Evidence: evidence("ports", some(ports), "net.ipv4.ip_local_port_range", l.now.Ports.Range),
		Why:      "A connection may have one of them when the service is to start next, which then fails with EADDRINUSE. If the service takes whatever port it gets, this does not matter. Each is one less for connections.",
		Remedies: []Remedy{{Do: "Reserve the ports that services must have: net.ipv4.ip_local_reserved_ports, a list with commas. Keep what is in it (" + orNone(l.now.Settings.ReservedPorts.Value.String()) + ")."}},
	}}
}

func orNone(s string) string {
	if s == "" {
		return "nothing now"
	}
	return s
}
