package health

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/seed16c515c6/timewait/tcpstate"
)

// leakAge is for how long a socket is in CLOSE_WAIT or owned FIN_WAIT2 before that
// is a leak.
const leakAge = time.Minute

// stale returns those of a sample that are in their state for a minute or more, or
// were there already in the earlier sample, a minute ago.
func (l *look) stale(now, before []Sampled) (list []Sampled) {
	was := map[uint64]bool{}
	if l.dt >= leakAge {
		for i := range before {
			was[before[i].ID.Cookie] = true
		}
	}
	for i := range now {
		if now[i].Since >= leakAge || was[now[i].ID.Cookie] {
			list = append(list, now[i])
		}
	}
	return list
}

// closeWaitStays reports whether at least half of the sockets that were in CLOSE_WAIT
// before still are: every connection that its peer closes is in that state for a
// moment, so a busy host always has some.
func (l *look) closeWaitStays() bool {
	here := map[uint64]bool{}
	worst := uint64(0)
	for i := range l.now.CloseWait {
		cookie := l.now.CloseWait[i].ID.Cookie
		here[cookie] = true
		worst = max(worst, mix(cookie))
	}
	if len(here) < sampleSize {
		worst = math.MaxUint64 // these are all
	}
	was, still := 0, 0
	for i := range l.before.CloseWait {
		// With a higher hash it would not be in the sample any more.
		if cookie := l.before.CloseWait[i].ID.Cookie; mix(cookie) <= worst {
			was++
			if here[cookie] {
				still++
			}
		}
	}
	return 2*still >= was
}

func (l *look) earlier() *Snapshot {
	if l.before == nil {
		return &Snapshot{}
	}
	return l.before
}

// sampleEvidence describes some of the sockets.
func (l *look) sampleEvidence(list []Evidence, sample []Sampled) []Evidence {
	var names []string
	var inodes []uint32
	var oldest time.Duration
	unread := 0
	for i := range sample {
		id := &sample[i].ID
		names = append(names, fmt.Sprintf("%v to %v", plain(id.Local), plain(id.Remote)))
		inodes = append(inodes, sample[i].Inode)
		oldest = max(oldest, sample[i].Since)
		if sample[i].RecvQueue > 1 { // the FIN counts as one
			unread++
		}
	}
	list = append(list, Evidence{"for example", some(names)})
	if oldest > 0 {
		list = append(list, Evidence{"oldest of " + strconv.Itoa(len(sample)), "at least " + seconds(oldest)})
	}
	if unread > 0 {
		list = append(list, Evidence{"with unread data", fmt.Sprintf("%d of %d", unread, len(sample))})
	}
	return l.now.withHolders(list, inodes...)
}

func closeWaitLeak(l *look) []Finding {
	n := l.now.CloseWaitOwned
	stale := l.stale(l.now.CloseWait, l.earlier().CloseWait)
	grows := l.before != nil && n > l.before.CloseWaitOwned && n > uint64(l.t.CloseWait) && l.closeWaitStays()
	if len(stale) == 0 && !grows {
		return nil
	}
	sample := stale
	f := Finding{ID: CloseWaitLeak, Severity: Warning}
	if who := l.now.holders(inodes(l.now.CloseWait)...); who != "" {
		who = ": " + who
		f.Summary = who
	}
	age := ""
	if len(stale) > 0 {
		age = fmt.Sprintf(", %d of %d looked at for more than a minute", len(stale), len(l.now.CloseWait))
	} else {
		sample = l.now.CloseWait
	}
	growth := ""
	if l.before != nil {
		growth = fmt.Sprintf(" (%+d%s)", int64(n)-int64(l.before.CloseWaitOwned), l.during())
	}
	f.Summary = fmt.Sprintf("the peer has closed %s%s that the program here does not close%s%s", counted(n, "connection"), growth, age, f.Summary)
	if len(stale) > 0 && n >= 10*uint64(l.t.CloseWait) {
		f.Severity = Critical
	}
	f.Evidence = l.sampleEvidence(evidence("CLOSE_WAIT", n), sample)
	f.Why = "CLOSE_WAIT is the state between the peer's close and ours. It lasts until the program closes the socket, and no setting shortens it. (Keepalive ends the connection once the peer has forgotten it, but the descriptor stays.) Each holds a descriptor, and when these run out the program can neither accept nor connect."
	f.Remedies = []Remedy{
		{Do: "Mend the program: close each connection when reading returns the end of the stream or an error (in Go: defer conn.Close(), resp.Body.Close() on every path), and set deadlines for reading and writing."},
		{Do: "Until then start it anew before it runs out of descriptors. ls /proc/PID/fd | wc -l tells how many it has, and /proc/PID/limits how many it may."},
	}
	return []Finding{f}
}

func inodes(sample []Sampled) (list []uint32) {
	for i := range sample {
		list = append(list, sample[i].Inode)
	}
	return list
}

func finWait2Pileup(l *look) (found []Finding) {
	fin := l.now.FinWait2
	timeout := l.now.Settings.FinTimeout
	if closed := fin.Mini + fin.Orphan; closed > max(uint64(l.t.FinWait2), l.now.Counts[tcpstate.TimeWait]/5) {
		f := Finding{
			ID: FinWait2Pileup, Severity: Warning,
			Summary:  fmt.Sprintf("%d connections are closed here and not by their peers (FIN_WAIT2)", closed),
			Evidence: evidence("FIN_WAIT2 mini-sockets", fin.Mini, "FIN_WAIT2 orphans", fin.Orphan, "TIME_WAIT", l.now.Counts[tcpstate.TimeWait], "net.ipv4.tcp_fin_timeout", seconds(timeout.Value)),
			Why:      "The peer has our FIN, and keeps its end open: it is in CLOSE_WAIT there. sockstat, ss -s and tcp_max_tw_buckets count these as TIME_WAIT. connect() never takes their ports over.",
			Remedies: []Remedy{{Do: "Look at the peers: their programs do not close when reading returns the end of the stream."}},
		}
		var most *Destination
		for i := range l.now.Destinations {
			if d := &l.now.Destinations[i]; d.FinWait2 > 0 && (most == nil || d.FinWait2 > most.FinWait2) {
				most = d
			}
		}
		if most != nil {
			f.Evidence = append(f.Evidence, Evidence{"most to", fmt.Sprintf("%v (%d)", most.Remote, most.FinWait2)})
		}
		var ours *ListeningPort
		for i := range l.now.Listening {
			if p := &l.now.Listening[i]; p.FinWait2 > 0 && (ours == nil || p.FinWait2 > ours.FinWait2) {
				ours = p
			}
		}
		if ours != nil {
			f.Evidence = append(f.Evidence, Evidence{"most of clients of our port", fmt.Sprintf("%d (%d)", ours.Port, ours.FinWait2)})
		}
		if timeout.Known && timeout.Value > 15*time.Second {
			f.Remedies = append(f.Remedies, setTo("Wait less for them, 15 to 60 seconds; never 61 to 119, which is shorter than it says. Peers that close later get a RST.", "net.ipv4.tcp_fin_timeout", 15, timeout.Value))
		}
		found = append(found, f)
	}
	stale := l.stale(l.now.OwnedFinWait2, l.earlier().OwnedFinWait2)
	if len(stale) > 0 {
		f := Finding{
			ID: FinWait2Pileup, Severity: Info,
			Summary:  fmt.Sprintf("%d connections are closed for sending and still open (FIN_WAIT2), %d of %d looked at for more than a minute", fin.Owned, len(stale), len(l.now.OwnedFinWait2)),
			Evidence: l.sampleEvidence(evidence("FIN_WAIT2 owned", fin.Owned), stale),
			Why:      "After shutdown(SHUT_WR) a program waits for the peer's end. While it has the socket open nothing limits that: tcp_fin_timeout is only for sockets that are closed.",
			Remedies: []Remedy{{Do: "Set a deadline for reading after shutdown, and close."}, {Do: "Look at the peers, which have them in CLOSE_WAIT."}},
		}
		if fin.Owned >= uint64(l.t.CloseWait) {
			f.Severity = Warning
		}
		found = append(found, f)
	}
	return found
}

// stuck reports whether that many closing connections are more than a host of this
// size always has.
func (l *look) stuck(n uint64, threshold int) bool {
	return n > uint64(threshold) && 50*n > l.now.Counts[tcpstate.Established]
}

func lastAckStuck(l *look) []Finding {
	n, unanswered := l.now.Counts[tcpstate.LastAck], l.now.LastAckUnanswered
	if !l.stuck(unanswered, l.t.LastAck) {
		return nil
	}
	return []Finding{{
		ID: LastAckStuck, Severity: Warning,
		Summary:  fmt.Sprintf("%d connections wait in vain for the acknowledgement of our FIN (LAST_ACK); %d are in that state", unanswered, n),
		Evidence: evidence("LAST_ACK", n, "sent again three times or more, or before a closed window", unanswered, "net.ipv4.tcp_orphan_retries", l.now.Settings.OrphanRetries.Value),
		Why:      "The peer closed and then went away, or something on the way drops the last segments, or the peer does not read what was sent before. The kernel repeats them for a while (tcp_orphan_retries; 0 means 8 times).",
		Remedies: append([]Remedy{{Do: "Look at what is between: a firewall or balancer that forgets a connection as soon as it sees a FIN."}}, l.orphanRetries()...),
	}}
}

// orphanRetries ends sooner what nobody answers.
func (l *look) orphanRetries() []Remedy {
	r := l.now.Settings.OrphanRetries
	if !r.Known || r.Value > 0 && r.Value <= 3 {
		return nil
	}
	return []Remedy{setTo("Give up sooner. Slow peers can lose the end of what was sent to them.", "net.ipv4.tcp_orphan_retries", 3, r.Value)}
}

func finWait1Stuck(l *look) []Finding {
	n, probing, unanswered := l.now.Counts[tcpstate.FinWait1], l.now.FinWait1Probing, l.now.FinWait1Unanswered
	if !l.stuck(probing+unanswered, l.t.FinWait1) {
		return nil
	}
	return []Finding{{
		ID: FinWait1Stuck, Severity: Warning,
		Summary:  fmt.Sprintf("%d connections are closed here and their peers do not take the end (FIN_WAIT1), %d of them because the peer's window is closed", probing+unanswered, probing),
		Evidence: evidence("FIN_WAIT1", n, "before a closed window", probing, "sent again three times or more", unanswered, "net.ipv4.tcp_orphan_retries", l.now.Settings.OrphanRetries.Value),
		Why:      "Our FIN waits behind data. The peer does not read, or cannot be reached. The data stays in the kernel's memory until the kernel gives up.",
		Remedies: append([]Remedy{
			{Do: "Look at the peers: their programs do not read what they asked for."},
			{Do: "Set TCP_USER_TIMEOUT on the sockets, so that they end when nothing is acknowledged for so long."},
		}, l.orphanRetries()...),
	}}
}

func abortiveClose(l *look) []Finding {
	n, ok := l.delta("TcpExt.TCPAbortOnData", "TcpExt.TCPAbortOnClose")
	opened, _ := l.delta("Tcp.ActiveOpens", "Tcp.PassiveOpens")
	if !ok || n < 10 || float64(n) <= l.t.Aborts*float64(opened) {
		return nil
	}
	return []Finding{{
		ID: AbortiveClose, Severity: Warning,
		Summary:  fmt.Sprintf("%s%s closed by a reset, %d opened", counted(n, "connection"), l.during(), opened),
		Evidence: l.counterEvidence(nil, "TcpExt.TCPAbortOnData", "TcpExt.TCPAbortOnClose", "Tcp.EstabResets", "Tcp.ActiveOpens", "Tcp.PassiveOpens"),
		Why:      "close() sends a RST instead of a FIN if the program set SO_LINGER to 0 seconds (TCPAbortOnData), or did not read all that had come (TCPAbortOnClose). So does the kernel when the peer still sends after close() (TCPAbortOnData, too). Balancers do so on purpose, in their health checks. The peer gets an error, and can lose data that was on the way.",
		Remedies: []Remedy{
			{Do: "Do not set SO_LINGER to 0 in order to have no TIME_WAIT (in Go: SetLinger(0))."},
			{Do: "Read to the end before closing (in Go, of an HTTP response: io.Copy(io.Discard, resp.Body))."},
		},
	}}
}

func noKeepalive(l *look) []Finding {
	n, all := l.now.NoKeepalive, l.now.Counts[tcpstate.Established]
	if n < uint64(l.t.Idle) || 2*n <= all {
		return nil
	}
	return []Finding{{
		ID: NoKeepalive, Severity: Info,
		Summary:  fmt.Sprintf("%d of %d established connections are idle without keepalive: nothing would tell that the peer has gone", n, all),
		Evidence: evidence("ESTABLISHED", all, "without a timer", n, "net.ipv4.tcp_keepalive_time", seconds(l.now.Settings.KeepaliveTime.Value)),
		Why:      "A host that is switched off, or a router that forgets a connection, sends nothing. Without keepalive or a deadline of its own a program waits forever. tcp_keepalive_time is for sockets with SO_KEEPALIVE only.",
		Remedies: []Remedy{{Do: "Set SO_KEEPALIVE, with TCP_KEEPIDLE below what routers and balancers on the way allow (Go's net.Dialer and net.ListenConfig do, 15 seconds, unless told otherwise)."}},
	}}
}
