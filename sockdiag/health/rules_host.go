package health

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/seed16c515c6/timewait/sysctl"
	"github.com/seed16c515c6/timewait/tcpstate"
)

func orphanPressure(l *look) []Finding {
	orphans, haveOrphans := l.now.Counter("sockstat.TCP.orphan")
	limit := l.now.Settings.MaxOrphans
	aborted, _ := l.delta("TcpExt.TCPAbortOnMemory")
	f := Finding{ID: OrphanPressure, Severity: Critical}
	share := 0.0
	if haveOrphans && limit.Known && limit.Value > 0 {
		share = float64(orphans) / float64(limit.Value)
	}
	switch {
	case aborted > 0:
		f.Summary = fmt.Sprintf("%s%s cut off at close: too many orphans, or no memory", counted(aborted, "connection"), l.during())
	case share > l.t.OrphansCritical:
		f.Summary = fmt.Sprintf("%d connections of the host are closed and not finished, and tcp_max_orphans is %d", orphans, limit.Value)
	case share > l.t.OrphansWarning:
		f.Severity = Warning
		f.Summary = fmt.Sprintf("%d connections of the host are closed and not finished; tcp_max_orphans is %d, and those that do not get on count up to four times", orphans, limit.Value)
	default:
		return nil
	}
	f.Evidence = evidence("FIN_WAIT1", l.now.Counts[tcpstate.FinWait1], "LAST_ACK", l.now.Counts[tcpstate.LastAck], "CLOSING", l.now.Counts[tcpstate.Closing])
	if haveOrphans {
		f.Evidence = append(f.Evidence, Evidence{"orphans of the host", fmt.Sprint(orphans)})
	}
	if limit.Known {
		f.Evidence = append(f.Evidence, Evidence{"net.ipv4.tcp_max_orphans", fmt.Sprint(limit.Value)})
	}
	f.Evidence = l.counterEvidence(f.Evidence, "TcpExt.TCPAbortOnMemory")
	f.Why = "An orphan is a connection that its process has closed and the kernel has yet to finish: data or a FIN that the peer has not acknowledged. Above the limit, or when TCP's memory is used up, the kernel cuts it off with a RST, and the data is lost. Orphans and memory are counted for the whole host."
	f.Remedies = append([]Remedy{{Do: "Look at which peers do not take their data (FIN_WAIT1) or do not answer (LAST_ACK)."}}, l.orphanRetries()...)
	if limit.Known {
		f.Remedies = append(f.Remedies, setTo("Raise the limit. Each orphan can hold some 64 KiB that cannot be swapped.", "net.ipv4.tcp_max_orphans", 2*max(limit.Value, limit.Default), limit.Value))
	}
	return []Finding{f}
}

func tcpMemory(l *look) []Finding {
	pages, have := l.now.Counter("sockstat.TCP.mem")
	limit := l.now.Settings.Mem
	pressures, _ := l.delta("TcpExt.TCPMemoryPressures")
	known := have && limit.Known
	f := Finding{ID: TCPMemory, Severity: Warning}
	switch {
	case known && uint64(pages) > limit.Value.High:
		f.Severity = Critical
		f.Summary = fmt.Sprintf("TCP has used up its memory: %s of %s", mebibytes(uint64(pages)), mebibytes(limit.Value.High))
	case known && uint64(pages) > limit.Value.Pressure:
		f.Summary = fmt.Sprintf("TCP saves memory: it has %s, and begins to save at %s", mebibytes(uint64(pages)), mebibytes(limit.Value.Pressure))
	case pressures > 0:
		f.Summary = fmt.Sprintf("TCP ran short of memory %s%s", counted(pressures, "time"), l.during())
	default:
		return nil
	}
	f.Evidence = evidence("memory of the host's TCP", mebibytes(uint64(pages)))
	if limit.Known {
		f.Evidence = append(f.Evidence, Evidence{"net.ipv4.tcp_mem", limit.Value.String() + " pages"})
	}
	f.Evidence = l.counterEvidence(f.Evidence, "TcpExt.TCPMemoryPressures", "TcpExt.TCPAbortOnMemory", "TcpExt.PruneCalled", "TcpExt.TCPRcvQDrop")
	f.Why = "tcp_mem is in pages of memory and for the whole host. Above its second number buffers do not grow, above the third nothing more is allocated: data is dropped, and orphans are cut off."
	f.Remedies = []Remedy{
		{Do: "Look for connections with full queues (Recv-Q and Send-Q of ss): programs that do not read, peers that do not."},
		{Do: "Lower the most that one connection's buffers may have: the third numbers of net.ipv4.tcp_rmem and tcp_wmem."},
		{Do: "Raise net.ipv4.tcp_mem, if the host has memory to spare. Note the three numbers that it has now."},
	}
	return []Finding{f}
}

// mebibytes is a number of pages as a person says it.
func mebibytes(pages uint64) string {
	return fmt.Sprintf("%.0f MiB", float64(pages)*float64(os.Getpagesize())/(1<<20))
}

func conntrackPressure(l *look) []Finding {
	count, limit := l.now.Settings.ConntrackCount, l.now.Settings.ConntrackMax
	if !count.Known || !limit.Known || limit.Value <= 0 {
		return nil
	}
	share := float64(count.Value) / float64(limit.Value)
	dropped, _ := l.delta("nf_conntrack.drop")
	early, _ := l.delta("nf_conntrack.early_drop")
	f := Finding{ID: ConntrackPressure, Severity: Critical}
	switch {
	case early > 0 || dropped > 0 && share > l.t.ConntrackWarning:
		f.Summary = fmt.Sprintf("connection tracking was full%s: %s dropped, and %d of its entries given up for others; it has %d, and room for %d", l.during(), counted(dropped, "packet"), early, count.Value, limit.Value)
	case share > l.t.ConntrackCritical:
		f.Summary = fmt.Sprintf("connection tracking has %d entries, and room for %d", count.Value, limit.Value)
	case share > l.t.ConntrackWarning:
		f.Severity = Warning
		f.Summary = fmt.Sprintf("connection tracking has %d entries, and room for %d", count.Value, limit.Value)
	case dropped > 0: // it was full for a moment, or two packets of a connection clashed
		f.Severity = Warning
		f.Summary = fmt.Sprintf("connection tracking dropped %s%s; it has %d entries now, and room for %d", counted(dropped, "packet"), l.during(), count.Value, limit.Value)
	default:
		return nil
	}
	f.Evidence = l.counterEvidence(evidence("net.netfilter.nf_conntrack_count", count.Value, "net.netfilter.nf_conntrack_max", limit.Value),
		"nf_conntrack.drop", "nf_conntrack.early_drop", "nf_conntrack.insert_failed")
	f.Why = "When the table is full the kernel drops the first packet of every new connection (\"nf_conntrack: table full, dropping packet\"). By default it keeps a connection in TIME_WAIT for 120 seconds, twice as long as the socket, and an established one for 5 days after its last packet."
	f.Remedies = []Remedy{
		setTo("Raise the limit (in the initial network namespace; 1 MiB for about 3000), and nf_conntrack_buckets with it.", "net.netfilter.nf_conntrack_max", 2*limit.Value, limit.Value),
		{Do: "Do not track what needs no tracking (NOTRACK in the raw table), such as connections to a service of this host."},
	}
	if t := l.now.Settings.ConntrackTimeWait; t.Known && t.Value > time.Minute {
		f.Remedies = append(f.Remedies, setTo("Forget TIME_WAITs as soon as the socket does. Not sooner.", "net.netfilter.nf_conntrack_tcp_timeout_time_wait", 60, t.Value))
	}
	return []Finding{f}
}

func pawsEstablished(l *look) []Finding {
	n, ok := l.delta("TcpExt.PAWSEstab")
	segments, _ := l.delta("Tcp.InSegs")
	if _, alone := l.now.paws(); !alone {
		if _, _, trouble := l.rejected(); trouble {
			return nil // said already: this kernel has one number for both
		}
	}
	if !ok || n < 10 || float64(n) <= l.t.PAWSEstablished*float64(segments) {
		return nil
	}
	return []Finding{{
		ID: PAWSEstablished, Severity: Warning,
		Summary:  fmt.Sprintf("%d of %d segments%s were dropped because their timestamps were too old", n, segments, l.during()),
		Evidence: l.counterEvidence(nil, "TcpExt.PAWSEstab", "TcpExt.PAWSOldAck", "Tcp.InSegs"),
		Why:      "The timestamps of a connection must not go back. Something on the way changes them, mixes up two connections, or a host was moved to one whose clock is behind.",
		Remedies: []Remedy{{Do: "Look at segments before and behind each box on the way (tcpdump shows TS val), and mend the one that changes them."}},
	}}
}

func timestampsOff(l *look) []Finding {
	ts := l.now.Settings.Timestamps
	if !ts.Known || ts.Value != sysctl.TimestampsOff {
		return nil
	}
	f := Finding{
		ID: TimestampsOff, Severity: Info,
		Summary:  "TCP timestamps are off (tcp_timestamps=0)",
		Evidence: evidence("net.ipv4.tcp_timestamps", 0, "net.ipv4.tcp_tw_reuse", int(l.now.Settings.TWReuse.Value)),
		Why:      "Without them no TIME_WAIT can be taken over by connect(), a client that uses a port again is let in by its sequence number alone, and nothing keeps old segments out of connections faster than some 10 MB/s.",
		Remedies: []Remedy{setTo("Turn them on.", "net.ipv4.tcp_timestamps", 1, 0)},
	}
	if l.now.Settings.TWReuse.Value == sysctl.TWReuseOn {
		f.Severity = Warning
		f.Summary += ", so tcp_tw_reuse=1 does nothing"
	}
	return []Finding{f}
}

func finTimeoutTrap(l *look) []Finding {
	v := l.now.Settings.FinTimeout
	f := Finding{ID: FinTimeoutTrap, Severity: Warning, Evidence: evidence("net.ipv4.tcp_fin_timeout", int(v.Value/time.Second))}
	switch {
	case !v.Known:
		return nil
	case v.Value <= 0:
		f.Summary = fmt.Sprintf("tcp_fin_timeout=%d does not do away with FIN_WAIT2, which lasts about 3.5 retransmission timeouts then", int(v.Value/time.Second))
	case v.Value > time.Minute && v.Value < 2*time.Minute:
		f.Summary = fmt.Sprintf("tcp_fin_timeout is %s, and FIN_WAIT2 ends after %s", seconds(v.Value), seconds(2*(v.Value-time.Minute)))
		f.Evidence = append(f.Evidence, Evidence{"FIN_WAIT2 lasts", seconds(2 * (v.Value - time.Minute))})
	default:
		return nil
	}
	f.Why = "Up to 60 seconds the setting is the time. Above, the kernel keeps a full socket for what is over 60 seconds, and then a mini-socket for as long again: 61 means 2 seconds. What comes from the peer later is answered by a RST. TIME_WAIT is not affected by any value."
	f.Remedies = []Remedy{setTo("Have 60, which is the kernel's own, or less.", "net.ipv4.tcp_fin_timeout", 60, v.Value)}
	return []Finding{f}
}

// ownFinding are the settings whose traps have a Finding of their own.
var ownFinding = map[string]bool{
	"net.ipv4.tcp_fin_timeout": true, "net.ipv4.tcp_max_tw_buckets": true, "net.ipv4.tcp_timestamps": true, "net.ipv4.tcp_rfc1337": true,
	"net.ipv4.tcp_tw_recycle": true, "net.ipv4.ip_local_port_range": true,
}

func otherTraps(l *look) (found []Finding) {
	for _, trap := range l.now.Settings.Traps {
		if ownFinding[trap.Name] || trap.Name == "net.ipv4.tcp_syncookies" && trap.Value == "0" {
			continue
		}
		f := Finding{
			ID: SettingTrap, Severity: Info,
			Summary:  trap.Name + "=" + trap.Value + ": " + trap.Effect,
			Evidence: evidence(trap.Name, trap.Value),
			Why:      "The value does something other than it seems to, or harm that is seldom meant.",
			Remedies: []Remedy{{Do: "Better: " + trap.Better + "."}},
		}
		if trap.Default != "" {
			f.Remedies = append(f.Remedies, setTo("Go back to the kernel's own.", trap.Name, trap.Default, trap.Value))
		}
		found = append(found, f)
	}
	return found
}

// scope says what cannot be judged from inside a namespace, if something could be.
func scope(l *look) []Finding {
	s := &l.now.Settings
	if s.MaxOrphans.Known || s.Mem.Known || !s.MaxTWBuckets.Known {
		return nil
	}
	orphans, _ := l.now.Counter("sockstat.TCP.orphan")
	return []Finding{{
		ID: Scope, Severity: Info,
		Summary:  "orphans and TCP's memory are the host's, and their limits cannot be seen from this network namespace",
		Evidence: evidence("orphans of the host", orphans),
		Why:      "In a namespace that is not the initial one tcp_max_orphans and tcp_mem are not there. In sockstat orphan, alloc and mem are of the whole host, and tw of the namespace.",
		Remedies: []Remedy{{Do: "Look from the host's own namespace, too."}},
	}}
}

func blindSpots(l *look) []Finding {
	if len(l.now.Gaps) == 0 {
		return nil
	}
	return []Finding{{
		ID: BlindSpots, Severity: Warning,
		Summary:  "something could not be read, and what depends on it was not looked at: " + l.now.Gaps[0],
		Evidence: evidence("could not be read", strings.Join(l.now.Gaps, "; ")),
		Why:      "/proc is missing or of another process, or the right to read it is.",
		Remedies: []Remedy{{Do: "Give the program a /proc with /proc/sys and /proc/net (systemd: no ProcSubset=pid)."}},
	}}
}
