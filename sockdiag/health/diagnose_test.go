package health_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/sockdiag/health"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// madeForReal are the Findings whose trouble a test makes with real sockets, or
// real settings, in a namespace of its own.
var madeForReal = []string{
	health.PortExhaustion, health.ClosingRate, health.ReuseOff, health.ReuseIneffective, health.BucketOverflow, health.CapLowered,
	health.ServerCloses, health.ManyTimeWait, health.PAWSSyn, health.RFC1337, health.TimestampsOff, health.FinWait2Pileup,
	health.FinTimeoutTrap, health.CloseWaitLeak, health.LastAckStuck, health.FinWait1Stuck, health.AbortiveClose, health.NoKeepalive,
	health.AcceptOverflow, health.HalfOpenMismatch, health.SynBacklog, health.SyncookiesOff, health.SynSentStuck, health.BoundHog,
	health.RangeOverlap, health.RangeSmall, health.RangeParity, health.SettingTrap, health.Scope,
}

// constructed are those that a namespace on loopback cannot have: they take a
// flood of SYNs from elsewhere, a box that changes timestamps, the memory of the
// host, a module, a kernel of 2017, or a /proc that is missing. Their Snapshots
// are recorded ones, made below.
var constructed = []string{
	health.SynFlood, health.PAWSEstablished, health.OrphanPressure, health.TCPMemory, health.ConntrackPressure, health.Recycle, health.BlindSpots,
}

// Every Finding of the catalogue is of one of the two kinds.
func TestCatalogue(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "catalogue.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	ast.Inspect(file, func(n ast.Node) bool {
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			id, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, id)
		}
		return true
	})
	have := slices.Concat(madeForReal, constructed)
	slices.Sort(all)
	slices.Sort(have)
	if !slices.Equal(all, have) || len(slices.Compact(all)) != len(have) {
		t.Errorf("the catalogue has\n%s, tested are\n%s", all, have)
	}
}

// host is a Snapshot of a host as it comes, but for what is given.
func host(t *testing.T, at time.Duration, settings []string, netstat, snmp, sockstat string, sockets ...sockdiag.Socket) *health.Snapshot {
	t.Helper()
	s, err := health.Take(t.Context(), recording(sockets...), health.Options{ProcSys: procSys(settings...), ProcNet: procNet(netstat, snmp, sockstat)})
	if err != nil {
		t.Fatal(err)
	}
	s.Time = time.Date(2026, 7, 1, 3, 0, 0, 0, time.UTC).Add(at)
	return s
}

func TestConstructed(t *testing.T) {
	opens := func(n int) string {
		return fmt.Sprintf("ActiveOpens 0 PassiveOpens %d InSegs %d OutRsts 0 AttemptFails 0", n, 100*n)
	}
	tracking := func(count string) []string {
		return []string{"netfilter/nf_conntrack_count", count, "netfilter/nf_conntrack_max", "100000", "netfilter/nf_conntrack_tcp_timeout_time_wait", "120"}
	}
	for _, tt := range []struct {
		name                   string
		settings               []string
		netstatBefore, netstat string // the first "": there is no earlier Snapshot
		snmp                   string
		sockstat               string
		id                     string
		severity               health.Severity
		words                  []string
	}{
		{"a flood", nil, "SyncookiesSent 5 SyncookiesRecv 5", "SyncookiesSent 2005 SyncookiesRecv 25", opens(9), quiet,
			health.SynFlood, health.Critical, []string{"2000 SYNs in 10 s", "only 20"}},
		{"a busy listener", nil, "SyncookiesSent 5 SyncookiesRecv 5", "SyncookiesSent 2005 SyncookiesRecv 1905", opens(9), quiet,
			health.SynFlood, health.OK, nil},
		{"a flood, seen once", nil, "", "SyncookiesSent 2005 SyncookiesRecv 25", opens(9), quiet, health.SynFlood, health.OK, nil},
		{"timestamps go back", nil, "PAWSEstab 7 PAWSTimewait 0", "PAWSEstab 57 PAWSTimewait 0", opens(9), quiet,
			health.PAWSEstablished, health.Warning, []string{"50 of 900 segments"}},
		{"some old segments", nil, "PAWSEstab 7 PAWSTimewait 0", "PAWSEstab 57 PAWSTimewait 0", opens(9000), quiet, health.PAWSEstablished, health.OK, nil},
		{"half of the orphans", nil, "", "TW 1", opens(9), "inuse 10 orphan 65537 tw 0 alloc 12 mem 3",
			health.OrphanPressure, health.Warning, []string{"65537", "131072"}},
		{"nearly all orphans", nil, "", "TW 1", opens(9), "inuse 10 orphan 120000 tw 0 alloc 12 mem 3",
			health.OrphanPressure, health.Critical, []string{"120000", "131072"}},
		{"few orphans", nil, "TCPAbortOnMemory 3", "TCPAbortOnMemory 3", opens(9), "inuse 10 orphan 65536 tw 0 alloc 12 mem 3", health.OrphanPressure, health.OK, nil},
		{"cut off", nil, "TCPAbortOnMemory 3", "TCPAbortOnMemory 10", opens(9), quiet,
			health.OrphanPressure, health.Critical, []string{"7 connections in 10 s cut off"}},
		{"memory is saved", nil, "", "TW 1", opens(9), "inuse 10 orphan 0 tw 0 alloc 12 mem 150001",
			health.TCPMemory, health.Warning, []string{"saves memory"}},
		{"memory is used up", nil, "", "TW 1", opens(9), "inuse 10 orphan 0 tw 0 alloc 12 mem 200001",
			health.TCPMemory, health.Critical, []string{"used up"}},
		{"memory was short", nil, "TCPMemoryPressures 0", "TCPMemoryPressures 2", opens(9), quiet,
			health.TCPMemory, health.Warning, []string{"2 times in 10 s"}},
		{"memory enough", nil, "TCPMemoryPressures 2", "TCPMemoryPressures 2", opens(9), "inuse 10 orphan 0 tw 0 alloc 12 mem 150000", health.TCPMemory, health.OK, nil},
		{"tracking", tracking("75001"), "", "TW 1", opens(9), quiet, health.ConntrackPressure, health.Warning, []string{"75001", "100000"}},
		{"tracking, full", tracking("95001"), "", "TW 1", opens(9), quiet, health.ConntrackPressure, health.Critical, nil},
		{"tracking, enough", tracking("75000"), "", "TW 1", opens(9), quiet, health.ConntrackPressure, health.OK, nil},
		{"recycle", []string{"ipv4/tcp_tw_recycle", "1"}, "", "TW 1", opens(9), quiet, health.Recycle, health.Critical, nil},
		{"recycle, off", []string{"ipv4/tcp_tw_recycle", "0"}, "", "TW 1", opens(9), quiet, health.Recycle, health.OK, nil},
		{"unreadable", []string{"ipv4/tcp_tw_reuse", "maybe"}, "", "TW 1", opens(9), quiet, health.BlindSpots, health.Warning, []string{"tcp_tw_reuse"}},
		{"readable", nil, "", "TW 1", opens(9), quiet, health.BlindSpots, health.OK, nil},
		{"the host itself", nil, "", "TW 1", opens(9), quiet, health.Scope, health.OK, nil},
		{"reuse of loopback", nil, "", "TW 1", opens(9), quiet, health.ReuseOff, health.OK, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var before *health.Snapshot
			if tt.netstatBefore != "" {
				before = host(t, 0, tt.settings, tt.netstatBefore, opens(0), quiet)
			}
			now := host(t, 10*time.Second, tt.settings, tt.netstat, tt.snmp, tt.sockstat)
			all := health.Diagnose(before, now, health.Thresholds{})
			checkFindings(t, all)
			want(t, all, tt.id, tt.severity, tt.words...)
		})
	}
}

// Where a kernel has one number for old segments, whatever they were for: a busy
// server has some, and they need not be a TIME_WAIT's.
func TestOldSegments(t *testing.T) {
	for _, tt := range []struct {
		name     string
		counter  string
		n, opens int // in ten seconds
		severity health.Severity
		words    []string
	}{
		{"a busy server", "PAWSEstab", 50, 10000, health.OK, nil},
		{"many", "PAWSEstab", 50, 1000, health.Warning, []string{"50 segments in 10 s", "or open ones"}},
		{"told apart", "PAWSTimewait", 50, 10000, health.Warning, []string{"50 segments in 10 s for connections in TIME_WAIT were"}},
		{"told apart, few", "PAWSTimewait", 8, 10000, health.OK, nil},
		{"told apart, of few connections", "PAWSTimewait", 8, 100, health.Warning, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			listener := conn(tcpstate.Listen, "10.0.0.1:443", "0.0.0.0:0")
			look := func(at time.Duration, n, opens int) *health.Snapshot {
				return host(t, at, nil, tt.counter+" "+strconv.Itoa(n), "PassiveOpens "+strconv.Itoa(opens), quiet,
					listener, timeWait("10.0.0.1:443", "10.0.0.2:40000", time.Minute))
			}
			all := health.Diagnose(look(0, 0, 0), look(10*time.Second, tt.n, tt.opens), health.Thresholds{})
			checkFindings(t, all)
			want(t, all, health.PAWSSyn, tt.severity, tt.words...)
		})
	}
}

// Connections that got no TIME_WAIT before the limit was raised.
func TestRaisedLimit(t *testing.T) {
	before := host(t, 0, []string{"ipv4/tcp_max_tw_buckets", "5000"}, "TCPTimeWaitOverflow 0", "ActiveOpens 0", quiet)
	now := host(t, 10*time.Second, nil, "TCPTimeWaitOverflow 9", "ActiveOpens 0", quiet)
	all := health.Diagnose(before, now, health.Thresholds{})
	checkFindings(t, all)
	want(t, all, health.BucketOverflow, health.Critical, "9 connections", "was 5000, and is 131072 now")
}

// What connection tracking dropped, by its counters.
func TestConntrackDrops(t *testing.T) {
	for _, tt := range []struct {
		name        string
		count       string
		drop, early int64 // more than before
		severity    health.Severity
		words       []string
	}{
		{"none", "10", 0, 0, health.OK, nil},
		{"entries were given up", "10", 0, 7, health.Critical, []string{"was full in 10 s", "0 packets", "7 of its entries"}},
		{"packets were dropped", "80000", 5, 0, health.Critical, []string{"was full in 10 s", "5 packets", "it has 80000, and room for 100000"}},
		{"packets were dropped, and there is room", "10", 5, 0, health.Warning, []string{"dropped 5 packets in 10 s", "10 entries now"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			settings := []string{"netfilter/nf_conntrack_count", tt.count, "netfilter/nf_conntrack_max", "100000"}
			counted := func(at time.Duration, drop, early int64) *health.Snapshot {
				net := procNet("TW 1", "ActiveOpens 0", quiet)
				net["stat/nf_conntrack"] = file(fmt.Sprintf("entries drop early_drop\n%x %x 0\n%x 1 %x\n", 7, drop, 7, early))
				s, err := health.Take(t.Context(), recording(), health.Options{ProcSys: procSys(settings...), ProcNet: net})
				if err != nil {
					t.Fatal(err)
				}
				s.Time = time.Date(2026, 7, 1, 3, 0, 0, 0, time.UTC).Add(at)
				return s
			}
			before, now := counted(0, 100, 200), counted(10*time.Second, 100+tt.drop, 200+tt.early)
			all := health.Diagnose(before, now, health.Thresholds{})
			checkFindings(t, all)
			f := want(t, all, health.ConntrackPressure, tt.severity, tt.words...)
			if tt.severity != health.OK {
				shows(t, f, "nf_conntrack.drop", fmt.Sprintf("+%d in 10 s", tt.drop))
				shows(t, f, "nf_conntrack.early_drop", fmt.Sprintf("+%d in 10 s", tt.early))
			}
			if tt.count == "10" {
				want(t, health.Diagnose(nil, now, health.Thresholds{}), health.ConntrackPressure, health.OK)
			}
		})
	}
}

// 28,000 TIME_WAITs to one destination, evenly over the last minute: what is left,
// and until when, with the default settings of a host. That it is elsewhere, and so
// tcp_tw_reuse=2 does not help.
func TestDatabase(t *testing.T) {
	var sockets []sockdiag.Socket
	for i := range 28000 {
		s := timeWait("10.0.0.1:1", "10.0.0.2:5432", time.Minute-time.Duration(i)*time.Minute/28000)
		s.Local = addr("10.0.0.1:" + strconv.Itoa(32768+i))
		sockets = append(sockets, s)
	}
	now := host(t, 0, nil, "TW 28000", "ActiveOpens 0", quiet, sockets...)
	all := health.Diagnose(nil, now, health.Thresholds{})
	checkFindings(t, all)
	f := want(t, all, health.PortExhaustion, health.Critical, "232 of 28232", "10.0.0.2:5432", "28000 in TIME_WAIT", "at the present rate they last")
	shows(t, f, "headroom", 232)
	if who := evidenceOf(f, "process"); !strings.HasPrefix(who, "none has") {
		t.Errorf("whose: %q", who)
	}
	shows(t, f, "closed per second", "467/s") // 28000/60: as many end as are made
	want(t, all, health.ReuseOff, health.Warning, "loopback only", "10.0.0.2:5432")
	if all[0].ID != health.PortExhaustion || !strings.Contains(all[0].Remedies[0].Do, "pool") {
		t.Errorf("first is %+v", all[0])
	}
	var reuse string
	for _, r := range f.Remedies {
		if strings.Contains(r.Set, "tcp_tw_reuse") {
			reuse = r.Set + "|" + r.Undo
		}
	}
	if reuse != "sysctl -w net.ipv4.tcp_tw_reuse=1|sysctl -w net.ipv4.tcp_tw_reuse=2" {
		t.Errorf("%+v", f.Remedies)
	}

	// A thousand a second: 232 last a quarter of a second.
	for i := range sockets {
		sockets[i].Timer.Expires = time.Minute - time.Duration(i)*time.Millisecond
	}
	now = host(t, 0, nil, "TW 28000", "ActiveOpens 0", quiet, sockets...)
	f = want(t, health.Diagnose(nil, now, health.Thresholds{}), health.PortExhaustion, health.Critical, "fail in about 1 s")
	shows(t, f, "closed per second", "1000/s")
}

// Open connections that grow, and leave no TIME_WAIT: their remedies are others, and
// the time is known from two Snapshots.
func TestGrowingUse(t *testing.T) {
	grown := func(n int) (sockets []sockdiag.Socket) {
		for i := range n {
			sockets = append(sockets, conn(tcpstate.Established, "10.0.0.1:"+strconv.Itoa(32768+i), "10.0.0.2:5432"))
		}
		return sockets
	}
	before := host(t, 0, nil, "TW 1", "ActiveOpens 0", quiet, grown(24000)...)
	now := host(t, 10*time.Second, nil, "TW 1", "ActiveOpens 0", quiet, grown(25000)...)
	all := health.Diagnose(before, now, health.Thresholds{})
	checkFindings(t, all)
	f := want(t, all, health.PortExhaustion, health.Warning, "3232 of 28232")
	shows(t, f, "connects fail in", "33 s") // 3232 at 100 a second
	for _, r := range f.Remedies {
		if strings.Contains(r.Set, "reuse") || strings.Contains(r.Do, "close first") {
			t.Errorf("no help against connections that are open: %+v", r)
		}
	}
	want(t, all, health.ReuseOff, health.OK)
	want(t, health.Diagnose(nil, now, health.Thresholds{}), health.PortExhaustion, health.Warning, "they last")
}

// Of two listeners on a port, for IPv4 and IPv6, one has a full queue.
func TestHalfOpenBesideAnother(t *testing.T) {
	full, other := conn(tcpstate.Listen, "0.0.0.0:443", "0.0.0.0:0"), conn(tcpstate.Listen, "[::]:443", "[::]:0")
	full.RecvQueue, full.SendQueue, other.SendQueue = 6, 5, 4096
	half := conn(tcpstate.SynRecv, "10.0.0.1:443", "10.0.0.2:40000")
	half.Timer = sockdiag.Timer{Kind: sockdiag.TimerRetransmit, Retransmits: 1}
	look := func() []health.Finding {
		all := health.Diagnose(nil, host(t, 0, nil, "TW 1", "ActiveOpens 0", quiet, full, other, half), health.Thresholds{})
		checkFindings(t, all)
		return all
	}
	f := want(t, look(), health.HalfOpenMismatch, health.Warning, "1 clients of port 443")
	shows(t, f, "of those full", 1)
	full.RecvQueue = 5
	want(t, look(), health.HalfOpenMismatch, health.OK)
}

// FIN_WAIT2s of a server's clients are told by its port.
func TestFinWait2OfClients(t *testing.T) {
	listener := conn(tcpstate.Listen, "10.0.0.1:443", "0.0.0.0:0")
	sockets := []sockdiag.Socket{listener}
	for range 1001 {
		s := conn(tcpstate.FinWait2, "10.0.0.1:443", "10.0.0.2:40000")
		s.Timer.Kind = sockdiag.TimerTimeWait
		sockets = append(sockets, s)
	}
	all := health.Diagnose(nil, host(t, 0, nil, "TW 1", "ActiveOpens 0", quiet, sockets...), health.Thresholds{})
	checkFindings(t, all)
	shows(t, want(t, all, health.FinWait2Pileup, health.Warning), "most of clients of our port", "443 (1001)")
}

// The closing connections of a busy server, and those whose peers do not answer.
func TestClosing(t *testing.T) {
	for _, tt := range []struct {
		name                        string
		closing, stuck, established int
		severity                    health.Severity
	}{
		{"all in passing", 500, 0, 0, health.OK},
		{"few are stuck", 500, 100, 0, health.OK},
		{"many are stuck", 0, 101, 0, health.Warning},
		{"many, and a small part", 0, 101, 5050, health.OK},
		{"many, and too large a part", 0, 101, 5049, health.Warning},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var sockets []sockdiag.Socket
			add := func(n int, state tcpstate.State, retransmits uint8) {
				for range n {
					s := conn(state, "10.0.0.1:443", "10.0.0.2:40000")
					s.Timer = sockdiag.Timer{Kind: sockdiag.TimerRetransmit, Retransmits: retransmits}
					sockets = append(sockets, s)
				}
			}
			for _, state := range []tcpstate.State{tcpstate.LastAck, tcpstate.FinWait1} {
				add(tt.closing, state, 2)
				add(tt.stuck, state, 3)
			}
			add(tt.established, tcpstate.Established, 0)
			all := health.Diagnose(nil, host(t, 0, nil, "TW 1", "ActiveOpens 0", quiet, sockets...), health.Thresholds{})
			checkFindings(t, all)
			word := strconv.Itoa(tt.stuck) + " connections"
			if tt.severity == health.OK {
				word = ""
			}
			want(t, all, health.LastAckStuck, tt.severity, word)
			want(t, all, health.FinWait1Stuck, tt.severity, word)
		})
	}
}

// Sockets that stay in CLOSE_WAIT: for longer than a minute, by their own account or
// by two Snapshots.
func TestOldCloseWait(t *testing.T) {
	s := conn(tcpstate.CloseWait, "10.0.0.1:443", "10.0.0.2:40000")
	s.Cookie, s.Inode, s.RecvQueue = 7, 8, 100
	before := host(t, 0, nil, "TW 1", "ActiveOpens 0", quiet, s)
	soon := host(t, 59*time.Second, nil, "TW 1", "ActiveOpens 0", quiet, s)
	later := host(t, time.Minute, nil, "TW 1", "ActiveOpens 0", quiet, s)
	want(t, health.Diagnose(before, soon, health.Thresholds{}), health.CloseWaitLeak, health.OK)
	f := want(t, health.Diagnose(before, later, health.Thresholds{}), health.CloseWaitLeak, health.Warning, "closed 1 connection ", "1 of 1 looked at")
	shows(t, f, "with unread data", "1 of 1")
	s.Cookie = 9 // another one
	other := host(t, time.Minute, nil, "TW 1", "ActiveOpens 0", quiet, s)
	want(t, health.Diagnose(before, other, health.Thresholds{}), health.CloseWaitLeak, health.OK)
	other.CloseWait[0].Since = 3 * time.Minute
	f = want(t, health.Diagnose(nil, other, health.Thresholds{}), health.CloseWaitLeak, health.Warning)
	shows(t, f, "oldest of 1", "at least 3 minutes")
	other.CloseWaitOwned = 1000
	want(t, health.Diagnose(nil, other, health.Thresholds{}), health.CloseWaitLeak, health.Critical)
}

// More sockets in CLOSE_WAIT than before: the same and some more, or others, as on a
// busy server, where each is there for a moment.
func TestCloseWaitInPassing(t *testing.T) {
	look := func(at time.Duration, first, last uint64) *health.Snapshot {
		var sockets []sockdiag.Socket
		for cookie := first; cookie <= last; cookie++ {
			s := conn(tcpstate.CloseWait, "10.0.0.1:443", "10.0.0.2:40000")
			s.Cookie, s.Inode = cookie, uint32(cookie)
			sockets = append(sockets, s)
		}
		return host(t, at, nil, "TW 1", "ActiveOpens 0", quiet, sockets...)
	}
	before := look(0, 1, 200)
	want(t, health.Diagnose(before, look(10*time.Second, 1001, 1210), health.Thresholds{}), health.CloseWaitLeak, health.OK)
	want(t, health.Diagnose(before, look(10*time.Second, 151, 360), health.Thresholds{}), health.CloseWaitLeak, health.OK)
	want(t, health.Diagnose(before, look(10*time.Second, 1, 210), health.Thresholds{}), health.CloseWaitLeak, health.Warning, "210 connections (+10")
	want(t, health.Diagnose(before, look(10*time.Second, 21, 2000), health.Thresholds{}), health.CloseWaitLeak, health.Warning)
	want(t, health.Diagnose(look(0, 1, 0), look(10*time.Second, 1, 101), health.Thresholds{}), health.CloseWaitLeak, health.Warning)
}

// A queue is nearly full where there is room for few, and holds one more than its
// limit.
func TestAcceptQueue(t *testing.T) {
	for _, tt := range []struct {
		queued, limit uint32
		severity      health.Severity
	}{
		{0, 0, health.OK}, {1, 0, health.Critical}, {1, 1, health.OK}, {2, 1, health.Critical}, {4, 5, health.OK}, {5, 5, health.Warning},
		{102, 127, health.OK}, {103, 127, health.Warning}, {128, 127, health.Critical},
	} {
		l := conn(tcpstate.Listen, "10.0.0.1:443", "0.0.0.0:0")
		l.RecvQueue, l.SendQueue = tt.queued, tt.limit
		all := health.Diagnose(nil, host(t, 0, nil, "TW 1", "ActiveOpens 0", quiet, l), health.Thresholds{})
		if f := want(t, all, health.AcceptOverflow, tt.severity); t.Failed() {
			t.Fatalf("%d of %d: %+v", tt.queued, tt.limit, f)
		}
	}
}

// Diagnose looks at its arguments alone, and takes what there is of them.
func TestDiagnoseOdd(t *testing.T) {
	now := host(t, 0, nil, "TW 1", "ActiveOpens 0", quiet)
	if all := health.Diagnose(nil, now, health.Thresholds{}); len(all) != 0 {
		t.Errorf("a host as it comes: %+v", all)
	}
	for name, pair := range map[string][2]*health.Snapshot{
		"nothing":   {nil, nil},
		"empty":     {&health.Snapshot{}, &health.Snapshot{}},
		"same":      {now, now},
		"backwards": {host(t, time.Second, nil, "TCPTimeWaitOverflow 0", "ActiveOpens 0", quiet), host(t, 0, nil, "TCPTimeWaitOverflow 9", "ActiveOpens 0", quiet)},
	} {
		if all := health.Diagnose(pair[0], pair[1], health.Thresholds{}); len(all) != 0 {
			t.Errorf("%s: %+v", name, all)
		}
	}
	// A counter that went back is of a namespace that is new.
	before := host(t, 0, nil, "TCPTimeWaitOverflow 100", "ActiveOpens 0", quiet)
	after := host(t, time.Second, nil, "TCPTimeWaitOverflow 4", "ActiveOpens 0", quiet)
	want(t, health.Diagnose(before, after, health.Thresholds{}), health.BucketOverflow, health.Critical, "4 connections")
}

func TestSeverity(t *testing.T) {
	for s, text := range map[health.Severity]string{health.OK: "ok", health.Info: "info", health.Warning: "warning", health.Critical: "critical", 42: "Severity(42)"} {
		if s.String() != text {
			t.Errorf("%d is %q", s, s)
		}
		var back health.Severity
		if err := back.UnmarshalText([]byte(strings.ToUpper(text))); err != nil || back != s {
			t.Errorf("%q: %v, %v", text, back, err)
		}
	}
	for _, text := range []string{"", "bad", "Severity(256)", "Severity(-1)", "severity(1"} {
		s := health.Warning
		if err := s.UnmarshalText([]byte(text)); err == nil || s != health.Warning {
			t.Errorf("%q: %v, %v", text, s, err)
		}
	}
}
