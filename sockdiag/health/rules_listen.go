package health

import (
	"fmt"

	"github.com/seed16c515c6/timewait/sysctl"
)

func acceptOverflow(l *look) (found []Finding) {
	dropped, _ := l.delta("TcpExt.ListenOverflows")
	why := "When a connection is complete it waits in its listener's queue for accept(). The queue holds one more than listen()'s backlog, which net.core.somaxconn limits. When it is full the kernel drops what comes: clients wait for seconds and try again, or think that they are connected."
	for i := range l.now.Listeners {
		r := &l.now.Listeners[i]
		if r.fullness() < l.t.Backlog {
			continue
		}
		f := Finding{
			ID: AcceptOverflow, Severity: Warning, Why: why,
			Summary:  fmt.Sprintf("%s waiting to be accepted on %v, whose limit is %d", counted(r.Queued, "connection"), r.Local, r.Limit),
			Evidence: l.counterEvidence(evidence("listener", r.Local, "waiting", r.Queued, "backlog", r.Limit), "TcpExt.ListenOverflows", "TcpExt.ListenDrops"),
		}
		if r.Queued > r.Limit {
			f.Severity = Critical
			f.Summary = fmt.Sprintf("the queue of %v is full: %s waiting to be accepted, the limit is %d", r.Local, counted(r.Queued, "connection"), r.Limit)
		}
		if who := l.now.holders(r.Inode); who != "" {
			f.Summary += ": " + who
		}
		f.Evidence = l.now.withHolders(f.Evidence, r.Inode)
		f.Remedies = l.acceptRemedies(r.Limit)
		found = append(found, f)
	}
	if dropped > 0 && (len(found) == 0 || found[0].Severity != Critical) {
		limit := 0
		if len(found) > 0 {
			limit = l.now.Listeners[0].Limit
		}
		found = append([]Finding{{
			ID: AcceptOverflow, Severity: Critical, Why: why,
			Summary:  fmt.Sprintf("%s%s met a full queue of a listener, and got dropped", counted(dropped, "connection"), l.during()),
			Evidence: l.counterEvidence(nil, "TcpExt.ListenOverflows", "TcpExt.ListenDrops"),
			Remedies: l.acceptRemedies(limit),
		}}, found...)
	}
	return found
}

// acceptRemedies are for a listener with that limit; 0: which one is not known.
func (l *look) acceptRemedies(limit int) []Remedy {
	list := []Remedy{
		{Do: "Look at why the program does not accept: is it stopped, out of descriptors, waiting for a lock or for a full pool of workers?"},
		{Do: "Accept in a loop that does nothing else, or in several processes (SO_REUSEPORT)."},
	}
	if s := l.now.Settings.Somaxconn; s.Known && s.Value < 4096 && (limit == 0 || limit >= s.Value) {
		list = append(list, setTo("Raise the limit for all backlogs; listeners that are there keep theirs until they call listen() again.", "net.core.somaxconn", 4096, s.Value))
	}
	list = append(list, Remedy{Do: "Give listen() a larger backlog, against bursts only: a queue that is always full gets no shorter by being longer. (Go takes net.core.somaxconn when it starts to listen.)"})
	if a := l.now.Settings.AbortOnOverflow; a.Known && a.Value {
		list = append(list, setTo("Let clients try again instead of resetting them.", "net.ipv4.tcp_abort_on_overflow", false, true))
	}
	return list
}

// halfOpenMismatch is about connections whose last ACK met a full queue.
func halfOpenMismatch(l *look) (found []Finding) {
	for i := range l.now.Listening {
		p := &l.now.Listening[i]
		if p.SynRecvRetried == 0 || p.Full == 0 {
			continue
		}
		found = append(found, Finding{
			ID: HalfOpenMismatch, Severity: Warning,
			Summary:  fmt.Sprintf("%d clients of port %d may think that they are connected, and are not: its queue is full", p.SynRecvRetried, p.Port),
			Evidence: l.now.withHolders(evidence("port", p.Port, "SYN_RECV", p.SynRecv, "SYN-ACK sent again", p.SynRecvRetried, "waiting", p.Queued, "backlog", p.Limit, "listeners", p.Listeners, "of those full", p.Full), l.now.inodesOf(p.Port)...),
			Why:      "The last ACK of a handshake that meets a full queue is dropped. The client has its side in ESTABLISHED and may send; here the connection is still in SYN_RECV, and the kernel sends its SYN-ACK again.",
			Remedies: l.acceptRemedies(int(p.Limit)),
		})
	}
	return found
}

func synBacklog(l *look) (found []Finding) {
	cookies := l.now.Settings.Syncookies
	off := cookies.Known && cookies.Value == sysctl.SyncookiesOff
	dropped, _ := l.delta("TcpExt.TCPReqQFullDrop")
	cooked, _ := l.delta("TcpExt.TCPReqQFullDoCookies")
	if cookies.Value == sysctl.SyncookiesAlways {
		cooked = 0 // counts every SYN then
	}
	var full *ListeningPort
	for i := range l.now.Listening {
		p := &l.now.Listening[i]
		if p.SynRecv >= 8 && float64(p.SynRecv) >= l.t.Backlog*float64(l.synLimit(p)) && (full == nil || p.SynRecv > full.SynRecv) {
			full = p
		}
	}
	f := Finding{ID: SynBacklog, Severity: Warning}
	switch {
	case dropped > 0:
		f.Severity = Critical
		f.Summary = fmt.Sprintf("%s%s dropped because a queue of half-open connections was full", counted(dropped, "SYN"), l.during())
	case cooked > 0:
		f.Summary = fmt.Sprintf("%s%s answered by cookies because a queue of half-open connections was full", counted(cooked, "SYN"), l.during())
	case full != nil && off:
		f.Severity = Critical
		f.Summary = fmt.Sprintf("%s on port %d, and there is room for %d; what comes then is dropped", counted(full.SynRecv, "half-open connection"), full.Port, l.synLimit(full))
	case full != nil:
		f.Summary = fmt.Sprintf("%s on port %d, whose limit is %d", counted(full.SynRecv, "half-open connection"), full.Port, full.Limit)
	default:
		return nil
	}
	if full != nil {
		f.Evidence = evidence("port", full.Port, "SYN_RECV", full.SynRecv, "SYN-ACK sent again", full.SynRecvRetried, "backlog", full.Limit)
	}
	f.Evidence = l.counterEvidence(append(f.Evidence, evidence("net.ipv4.tcp_syncookies", int(cookies.Value), "net.ipv4.tcp_max_syn_backlog", l.now.Settings.MaxSynBacklog.Value)...),
		"TcpExt.TCPReqQFullDrop", "TcpExt.TCPReqQFullDoCookies", "TcpExt.ListenDrops", "TcpExt.ListenOverflows")
	f.Why = "A listener keeps as many half-open connections as its backlog has room for. Either clients do not answer its SYN-ACK (a flood, or a way back that is broken), or more connect than are accepted. With tcp_syncookies the kernel then answers without remembering. tcp_max_syn_backlog matters only without."
	if off {
		f.Remedies = append(f.Remedies, setTo("Answer by cookies when the queue is full.", "net.ipv4.tcp_syncookies", 1, 0))
	}
	f.Remedies = append(f.Remedies, Remedy{Do: "Give listen() a larger backlog, and raise net.core.somaxconn if that limits it. The program has to listen again."})
	if r := l.now.Settings.SynackRetries; r.Known && r.Value > 3 {
		f.Remedies = append(f.Remedies, setTo("Forget sooner who does not answer.", "net.ipv4.tcp_synack_retries", 3, r.Value))
	}
	return append(found, f)
}

// synLimit is how many half-open connections there can be on a port. Without
// cookies the last quarter of tcp_max_syn_backlog is for peers that are known.
func (l *look) synLimit(p *ListeningPort) uint64 {
	s := &l.now.Settings
	if s.Syncookies.Known && s.Syncookies.Value == sysctl.SyncookiesOff && s.MaxSynBacklog.Known {
		return min(p.Limit, uint64(max(0, s.MaxSynBacklog.Value*3/4)))
	}
	return p.Limit
}

func synFlood(l *look) []Finding {
	sent, ok := l.delta("TcpExt.SyncookiesSent")
	back, _ := l.delta("TcpExt.SyncookiesRecv")
	if !ok || l.perSecond(sent-back) <= l.t.Cookies || l.now.Settings.Syncookies.Value == sysctl.SyncookiesAlways && 2*back > sent {
		return nil
	}
	return []Finding{{
		ID: SynFlood, Severity: Critical,
		Summary:  fmt.Sprintf("%d SYNs%s were answered by a cookie, and only %d came back with it: a flood of SYNs", sent, l.during(), back),
		Evidence: l.counterEvidence(nil, "TcpExt.SyncookiesSent", "TcpExt.SyncookiesRecv", "TcpExt.SyncookiesFailed", "TcpExt.TCPReqQFullDoCookies"),
		Why:      "Who means to connect answers the SYN-ACK. These do not, so their addresses are forged or they only scan. Cookies keep the listener open meanwhile.",
		Remedies: []Remedy{
			{Do: "Leave tcp_syncookies at 1."},
			{Do: "Have SYNs limited or filtered before they arrive: by the provider, a balancer, or a SYN proxy."},
		},
	}}
}

func syncookiesOff(l *look) []Finding {
	c := l.now.Settings.Syncookies
	if !c.Known || c.Value != sysctl.SyncookiesOff {
		return nil
	}
	return []Finding{{
		ID: SyncookiesOff, Severity: Warning,
		Summary:  "SYN cookies are off (tcp_syncookies=0): a small flood of SYNs shuts every listener",
		Evidence: evidence("net.ipv4.tcp_syncookies", 0, "net.ipv4.tcp_max_syn_backlog", l.now.Settings.MaxSynBacklog.Value),
		Why:      "Without them a SYN that meets a full queue is dropped, whoever it is from. With them nothing changes until a queue is full.",
		Remedies: []Remedy{setTo("Turn them on.", "net.ipv4.tcp_syncookies", 1, 0)},
	}}
}

func synSentStuck(l *look) (found []Finding) {
	for i := range l.now.Destinations {
		d := &l.now.Destinations[i]
		if d.Silent <= l.t.Silent {
			continue
		}
		found = append(found, Finding{
			ID: SynSentStuck, Severity: Warning,
			Summary:  fmt.Sprintf("%v does not answer: %d connections there have sent their SYN three times or more", d.Remote, d.Silent),
			Evidence: l.counterEvidence(l.now.withHolders(evidence("destination", d.Remote, "from", d.Local, "SYN_SENT", d.SynSent, "unanswered", d.Silent), d.Inode), "TcpExt.TCPSynRetrans", "Tcp.AttemptFails"),
			Why:      "No SYN-ACK and no RST comes back: the host is down, a firewall drops the SYNs, or the queue of a listener there is full. By default connect() tries for more than two minutes.",
			Remedies: []Remedy{
				{Do: "Look at the destination, and at the firewalls on the way."},
				{Do: "Give connect() a deadline of some seconds (in Go: net.Dialer.Timeout), and stop trying a destination for a while after some failures."},
			},
		})
	}
	return found
}
