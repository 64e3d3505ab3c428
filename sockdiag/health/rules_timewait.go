package health

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/seed16c515c6/timewait/tcpstate"
)

// minis is how many sockets tcp_max_tw_buckets is about.
func (s *Snapshot) minis() int {
	return int(s.Counts[tcpstate.TimeWait] + s.FinWait2.Mini)
}

// roomFor is a cap for tcp_max_tw_buckets that is enough.
func (l *look) roomFor() int {
	limit := l.now.Settings.MaxTWBuckets
	better := max(2*limit.Value, 2*l.now.minis(), 16384)
	if limit.DefaultKnown {
		better = max(better, limit.Default)
	}
	return better
}

func bucketOverflow(l *look) []Finding {
	limit := l.now.Settings.MaxTWBuckets
	if !limit.Known {
		return nil
	}
	n := l.now.minis()
	refused, _ := l.delta("TcpExt.TCPTimeWaitOverflow")
	f := Finding{ID: BucketOverflow, Severity: Critical}
	was := l.earlier().Settings.MaxTWBuckets.Or(limit.Value)
	switch {
	case refused > 0 && was != limit.Value:
		f.Summary = fmt.Sprintf("%s%s got no TIME_WAIT: tcp_max_tw_buckets was %d, and is %d now", counted(refused, "connection"), l.during(), was, limit.Value)
	case refused > 0 && limit.Value >= 0 && 2*n < limit.Value:
		f.Summary = fmt.Sprintf("%s%s got no TIME_WAIT, though there are only %d of %d: memory was short", counted(refused, "connection"), l.during(), n, limit.Value)
	case refused > 0:
		f.Summary = fmt.Sprintf("%s%s got no TIME_WAIT: tcp_max_tw_buckets is %d", counted(refused, "connection"), l.during(), limit.Value)
	case limit.Value > 0 && n >= limit.Value:
		f.Summary = fmt.Sprintf("there are %d TIME_WAITs, and tcp_max_tw_buckets is %d: a connection that closes gets none", n, limit.Value)
	case limit.Value > 0 && float64(n) >= l.t.Buckets*float64(limit.Value):
		f.Severity = Warning
		f.Summary = fmt.Sprintf("there are %d TIME_WAITs, and tcp_max_tw_buckets is %d", n, limit.Value)
	default:
		return nil
	}
	f.Evidence = l.counterEvidence(evidence("TIME_WAIT", l.now.Counts[tcpstate.TimeWait], "FIN_WAIT2 mini-sockets", l.now.FinWait2.Mini,
		"net.ipv4.tcp_max_tw_buckets", limit.Value), "TcpExt.TCPTimeWaitOverflow", "Tcp.OutRsts")
	f.Why = "At the limit a connection that closes is forgotten at once; none of the old TIME_WAITs is given up for it, and nothing is logged. A peer that has not closed yet then gets a RST for its FIN, and old segments can reach a new connection. Connections that are closed here and not yet there (FIN_WAIT2) count, too."
	f.Remedies = []Remedy{
		setTo("Raise the limit. A TIME_WAIT takes about 256 bytes, so 100,000 are 25 MB.", "net.ipv4.tcp_max_tw_buckets", l.roomFor(), limit.Value),
		{Do: "Close less: keep connections and use them again, or let the other side close first."},
	}
	if t := l.now.Settings.EhashEntries; t.Known && !t.Value.Shared && t.Value.Buckets <= 16384 && limit.Value == t.Value.Buckets/2 {
		f.Remedies = append(f.Remedies, Remedy{
			Do:    "The limit comes from the small hash table of this namespace (" + strconv.Itoa(t.Value.Buckets) + " buckets): make namespaces with tcp_child_ehash_entries=0, or a larger number.",
			Linux: "6.1",
		})
	}
	return []Finding{f}
}

func capLowered(l *look) []Finding {
	limit := l.now.Settings.MaxTWBuckets
	f := Finding{
		ID: CapLowered, Severity: Warning,
		Evidence: evidence("net.ipv4.tcp_max_tw_buckets", limit.Value),
		Why:      "The limit is there against attacks, not to have fewer TIME_WAITs. Above it connections close without TIME_WAIT, whose peers may get a RST, and whose old segments may reach a new connection. Old advice had it lowered.",
	}
	if limit.DefaultKnown {
		f.Evidence = append(f.Evidence, Evidence{"the kernel's own", strconv.Itoa(limit.Default)})
	}
	switch {
	case !limit.Known:
		return nil
	case limit.Value == 0:
		f.Summary = "no connection gets a TIME_WAIT (tcp_max_tw_buckets=0)"
	case limit.Value < 0 && !l.now.Kernel.AtLeast(6, 1):
		f.Summary = fmt.Sprintf("connections may get no TIME_WAIT: tcp_max_tw_buckets is %d, which not every kernel takes for unlimited", limit.Value)
		f.Why += " Linux 5.10 takes a negative number for none at all, 6.1 and later for no limit."
	case limit.Value < 0:
		f.Severity = Info
		f.Summary = fmt.Sprintf("the number of TIME_WAITs has no limit (tcp_max_tw_buckets=%d)", limit.Value)
		f.Why = "Since Linux 6.1 at the latest a negative number is read as a very large one. Each TIME_WAIT takes about 256 bytes."
	case limit.DefaultKnown && limit.Value < limit.Default:
		f.Summary = fmt.Sprintf("tcp_max_tw_buckets is %d, the kernel's own is %d", limit.Value, limit.Default)
	default:
		return nil
	}
	if limit.DefaultKnown {
		f.Remedies = []Remedy{setTo("Go back to the kernel's own.", "net.ipv4.tcp_max_tw_buckets", limit.Default, limit.Value)}
	} else {
		f.Remedies = []Remedy{{Do: "Take the setting out of /etc/sysctl.conf and /etc/sysctl.d, and boot: the kernel has a limit that fits its hash table."}}
	}
	return []Finding{f}
}

// recycle is about kernels before 4.12. Newer ones do not have the setting.
func recycle(l *look) []Finding {
	for _, trap := range l.now.Settings.Traps {
		if trap.Name == "net.ipv4.tcp_tw_recycle" {
			return []Finding{{
				ID: Recycle, Severity: Critical,
				Summary:  "tcp_tw_recycle is on: of clients behind one address, all but one may not be able to connect",
				Evidence: evidence(trap.Name, trap.Value),
				Why:      "It drops the SYNs of an address whose timestamps are older than the last one seen from there. Clients behind one router share its address and not their clocks. Linux 4.12 did away with it.",
				Remedies: []Remedy{setTo("Turn it off, and take it out of /etc/sysctl.conf and /etc/sysctl.d.", trap.Name, 0, 1)},
			}}
		}
	}
	return nil
}

func serverCloses(l *look) []Finding {
	all := l.now.Counts[tcpstate.TimeWait]
	here := uint64(0)
	var most *ListeningPort
	for i := range l.now.Listening {
		p := &l.now.Listening[i]
		here += p.TimeWait
		if most == nil || p.TimeWait > most.TimeWait {
			most = p
		}
	}
	if all < uint64(l.t.TimeWait) || 2*here <= all {
		return nil
	}
	return []Finding{{
		ID: ServerCloses, Severity: Info,
		Summary: fmt.Sprintf("%d of %d TIME_WAITs are of connections that came in, %d of them to port %d: the server closes first", here, all, most.TimeWait, most.Port),
		Evidence: l.now.withHolders(evidence("TIME_WAIT", all, "of connections that came in", here, "port", most.Port, "of that port", most.TimeWait),
			l.now.inodesOf(most.Port)...),
		Why: "A connection that came in uses up no port of this host, however many there are. What it takes is 256 bytes for a minute.",
		Remedies: []Remedy{
			{Do: "Nothing needs to be done. To have fewer, let clients keep their connections (HTTP keep-alive), or close first."},
			{Do: "A server that cannot start again because of them (EADDRINUSE) has to set SO_REUSEADDR on its listener."},
		},
	}}
}

// inodesOf returns the inodes of the listeners of a port.
func (s *Snapshot) inodesOf(port uint16) (inodes []uint32) {
	for i := range s.Listeners {
		if s.Listeners[i].Local.Port() == port {
			inodes = append(inodes, s.Listeners[i].Inode)
		}
	}
	return inodes
}

// manyTimeWait says that TIME_WAITs do no harm, where they do none.
func manyTimeWait(l *look) []Finding {
	n := l.now.Counts[tcpstate.TimeWait]
	if n < uint64(l.t.TimeWait) || l.now.Ports.Capacity == 0 {
		return nil
	}
	limit := l.now.Settings.MaxTWBuckets
	if refused, _ := l.delta("TcpExt.TCPTimeWaitOverflow"); refused > 0 || limit.Known && limit.Value >= 0 && 2*l.now.minis() >= limit.Value {
		return nil
	}
	least, where := l.now.Ports.Usable, ""
	for i := range l.now.Destinations {
		if d := &l.now.Destinations[i]; d.Headroom < least {
			least, where = d.Headroom, " to "+d.Remote.String()
		}
	}
	if 10*least <= 3*l.now.Ports.Capacity {
		return nil
	}
	return []Finding{{
		ID: ManyTimeWait, Severity: Info,
		Summary:  fmt.Sprintf("%d TIME_WAITs, and they do no harm: at least %d of %d local ports are left%s", n, least, l.now.Ports.Usable, where),
		Evidence: evidence("TIME_WAIT", n, "least headroom", least, "net.ipv4.tcp_max_tw_buckets", limit.Value, "memory", strconv.FormatUint(n*256/1024, 10)+" KiB"),
		Why:      "TIME_WAIT is how TCP keeps the segments of an old connection out of a new one. A socket in it has no process and no descriptor, takes about 256 bytes, and ends after 60 seconds, which no setting changes.",
		Remedies: []Remedy{{Do: "Nothing needs to be done. Connections that are used again are cheaper than new ones, here as elsewhere."}},
	}}
}

// paws returns the counters that tell of old segments for a TIME_WAIT: kernels
// before 6.16 count them with those for other connections.
func (s *Snapshot) paws() (counter string, alone bool) {
	if _, ok := s.Counter("TcpExt.PAWSTimewait"); ok {
		return "TcpExt.PAWSTimewait", true
	}
	return "TcpExt.PAWSEstab", false
}

// rejected returns how many segments came in for a TIME_WAIT and were too old, if
// they are a trouble.
func (l *look) rejected() (n int64, counter string, trouble bool) {
	counter, alone := l.now.paws()
	n, ok := l.delta(counter)
	onListeners := uint64(0)
	for i := range l.now.Listening {
		onListeners += l.now.Listening[i].TimeWait
	}
	if !ok || n == 0 || onListeners == 0 && !alone {
		return n, counter, false
	}
	opens, _ := l.delta("Tcp.PassiveOpens")
	// Of open connections, which are in the same number then, a busy host always has
	// some old segments.
	many := alone && l.perSecond(n) > l.t.PAWS
	return n, counter, many || 100*n > opens && n >= 5
}

func pawsSyn(l *look) []Finding {
	n, counter, trouble := l.rejected()
	if !trouble {
		return nil
	}
	f := Finding{
		ID: PAWSSyn, Severity: Warning,
		Summary:  fmt.Sprintf("%d segments%s for connections in TIME_WAIT were older than these: clients may be slow to connect, or fail", n, l.during()),
		Evidence: l.counterEvidence(nil, counter, "TcpExt.TCPACKSkippedTimeWait", "Tcp.OutRsts", "Tcp.PassiveOpens"),
		Why:      "A client that uses a port again is let in over the old TIME_WAIT if its timestamp is newer. Behind a router that gives its port to another client, or to a client whose kernel has a timestamp offset per connection (Linux 7.0, and stable releases of 2026), it can be older. The answer is an ACK, to which the client sends a RST, and then its SYN again.",
	}
	if strings.HasSuffix(counter, "PAWSEstab") {
		f.Summary = fmt.Sprintf("%d segments%s, for connections in TIME_WAIT or open ones, were older than these: clients may be slow to connect, or fail", n, l.during())
		f.Why += " Before Linux 6.16 segments of open connections are in the same number, so it may be these: then something on the way changes timestamps, or delays segments."
	}
	if r := l.now.Settings.RFC1337; r.Known && r.Value {
		f.Remedies = append(f.Remedies, setTo("Let that RST end the TIME_WAIT: with tcp_rfc1337 it is ignored, and the client never gets in.", "net.ipv4.tcp_rfc1337", false, true))
	}
	f.Remedies = append(f.Remedies,
		Remedy{Do: "On the router, do not choose ports at random (MASQUERADE --random-fully), or give it more addresses."},
		Remedy{Do: "On the clients behind it, not here, use the plain clock for timestamps: net.ipv4.tcp_timestamps=2. The default is 1.", Linux: "4.10"},
		Remedy{Do: "Let clients close first: TIME_WAIT is then theirs."})
	return []Finding{f}
}

func rfc1337(l *look) []Finding {
	r := l.now.Settings.RFC1337
	if !r.Known || !r.Value {
		return nil
	}
	f := Finding{
		ID: RFC1337, Severity: Info,
		Summary:  "a RST does not end TIME_WAIT (tcp_rfc1337=1)",
		Evidence: l.counterEvidence(evidence("net.ipv4.tcp_rfc1337", 1), firstOf(l.now.paws())),
		Why:      "It keeps a stray RST from ending a TIME_WAIT early. A client whose SYN was taken for an old one sends a RST, too, in order to get in. With this it cannot, and each of its SYNs lets the TIME_WAIT begin anew. The kernel's own documentation has 0 and 1 the wrong way round.",
		Remedies: []Remedy{setTo("Set it to 0, unless forged RSTs are what you fear.", "net.ipv4.tcp_rfc1337", false, true)},
	}
	if n, _, trouble := l.rejected(); trouble {
		f.Severity = Warning
		f.Summary = fmt.Sprintf("clients may not get in: %d segments%s were too old for a TIME_WAIT, and tcp_rfc1337=1 keeps their RST from ending it", n, l.during())
	}
	return []Finding{f}
}

func firstOf(name string, _ bool) string { return name }
