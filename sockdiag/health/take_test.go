package health_test

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/sockdiag/health"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// recorded is a Source without a kernel.
type recorded struct {
	sockets iter.Seq[sockdiag.Socket]
	err     error // ends the dump
}

func (r recorded) Dump(ctx context.Context, q sockdiag.Query) iter.Seq2[sockdiag.Socket, error] {
	return func(yield func(sockdiag.Socket, error) bool) {
		for s := range r.sockets {
			if err := ctx.Err(); err != nil {
				yield(sockdiag.Socket{}, err)
				return
			}
			if q.States.Has(s.State) && !yield(s, nil) {
				return
			}
		}
		if err := ctx.Err(); err != nil {
			yield(sockdiag.Socket{}, err)
			return
		}
		if r.err != nil && !q.States.Has(tcpstate.Listen) {
			yield(sockdiag.Socket{}, r.err)
		}
	}
}

func recording(sockets ...sockdiag.Socket) recorded {
	return recorded{sockets: func(yield func(sockdiag.Socket) bool) {
		for _, s := range sockets {
			if !yield(s) {
				return
			}
		}
	}}
}

// file is a text below /proc.
func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

// procSys is that of a host as it comes, but for what is changed.
func procSys(changed ...string) fstest.MapFS {
	m := fstest.MapFS{
		"kernel/osrelease":                    file("6.18.44\n"),
		"net/ipv4/ip_local_port_range":        file("32768\t60999\n"),
		"net/ipv4/ip_local_reserved_ports":    file("\n"),
		"net/ipv4/tcp_tw_reuse":               file("2\n"),
		"net/ipv4/tcp_tw_reuse_delay":         file("1000\n"),
		"net/ipv4/tcp_timestamps":             file("1\n"),
		"net/ipv4/tcp_max_tw_buckets":         file("131072\n"),
		"net/ipv4/tcp_fin_timeout":            file("60\n"),
		"net/ipv4/tcp_rfc1337":                file("0\n"),
		"net/ipv4/tcp_syncookies":             file("1\n"),
		"net/ipv4/tcp_max_syn_backlog":        file("2048\n"),
		"net/ipv4/tcp_synack_retries":         file("5\n"),
		"net/ipv4/tcp_abort_on_overflow":      file("0\n"),
		"net/ipv4/tcp_orphan_retries":         file("0\n"),
		"net/ipv4/tcp_max_orphans":            file("131072\n"),
		"net/ipv4/tcp_mem":                    file("100000\t150000\t200000\n"),
		"net/ipv4/tcp_keepalive_time":         file("7200\n"),
		"net/ipv4/tcp_ehash_entries":          file("262144\n"),
		"net/ipv4/ip_unprivileged_port_start": file("1024\n"),
		"net/core/somaxconn":                  file("4096\n"),
	}
	for i := 0; i+1 < len(changed); i += 2 {
		m["net/"+changed[i]] = file(changed[i+1] + "\n")
	}
	return m
}

// procNet has the counters that are named, and no others.
func procNet(netstat, snmp, sockstat string) fstest.MapFS {
	return fstest.MapFS{
		"netstat":  file(columns("TcpExt", netstat)),
		"snmp":     file(columns("Tcp", snmp)),
		"sockstat": file("sockets: used 100\nTCP: " + sockstat + "\n"),
	}
}

// columns makes "A 1 B 2" what the kernel prints of it.
func columns(section, text string) string {
	names, values := section+":", section+":"
	fields := strings.Fields(text)
	for i := 0; i+1 < len(fields); i += 2 {
		names += " " + fields[i]
		values += " " + fields[i+1]
	}
	return names + "\n" + values + "\n"
}

const quiet = "inuse 10 orphan 0 tw 0 alloc 12 mem 3"

// recordedOptions are for a host as it comes.
func recordedOptions() health.Options {
	return health.Options{ProcSys: procSys(), ProcNet: procNet("TW 5", "ActiveOpens 7", quiet)}
}

func conn(state tcpstate.State, local, remote string) sockdiag.Socket {
	s := sockdiag.Socket{Family: sockdiag.IPv4, Protocol: sockdiag.TCP, State: state, Local: addr(local), Remote: addr(remote)}
	if s.Local.Addr().Is6() {
		s.Family = sockdiag.IPv6
	}
	return s
}

func timeWait(local, remote string, left time.Duration) sockdiag.Socket {
	s := conn(tcpstate.TimeWait, local, remote)
	s.Timer = sockdiag.Timer{Kind: sockdiag.TimerTimeWait, Expires: left}
	return s
}

func addr(text string) netip.AddrPort { return netip.MustParseAddrPort(text) }

// visited counts how often each file is opened.
type visited struct {
	fs.FS
	opened map[string]int
}

func (v visited) Open(name string) (fs.File, error) {
	v.opened[name]++
	return v.FS.Open(name)
}

// Each setting is read once, but for one that is very long, which is read whole.
func TestReadOnce(t *testing.T) {
	var list []string
	for port := 40001; port < 42000; port += 2 {
		list = append(list, strconv.Itoa(port))
	}
	source := visited{procSys("ipv4/ip_local_reserved_ports", strings.Join(list, ","), "ipv4/tcp_fin_timeout", "61", "ipv4/tcp_max_tw_buckets", "7"), map[string]int{}}
	opts := recordedOptions()
	opts.ProcSys = source
	s, err := health.Take(t.Context(), recording(), opts)
	if err != nil {
		t.Fatal(err)
	}
	if s.Ports.Reserved != len(list) || !s.Settings.TWReuse.Known || s.Settings.MaxTWBuckets.Default != 131072 || len(s.Settings.Traps) != 2 || s.Kernel.String() == "" || len(s.Gaps) > 0 {
		t.Errorf("%+v %+v", s.Ports, s.Settings)
	}
	for name, n := range source.opened {
		if n > 1 && name != "net" && name != "net/ipv4/ip_local_reserved_ports" {
			t.Errorf("%s was opened %d times", name, n)
		}
	}
	if len(source.opened) < 40 {
		t.Errorf("only %d files were asked for", len(source.opened))
	}
}

// What counts as use of a destination's ports, and what does not.
func TestRecorded(t *testing.T) {
	opts := recordedOptions()
	opts.ProcSys = procSys("ipv4/ip_local_reserved_ports", "40002", "ipv4/tcp_tw_reuse", "1")
	mapped := timeWait("[::ffff:10.0.0.1]:40010", "[::ffff:10.0.0.2]:5432", 59500*time.Millisecond)
	young := timeWait("10.0.0.1:40012", "10.0.0.2:5432", 59*time.Second) // a second old: must be older
	mini := conn(tcpstate.FinWait2, "10.0.0.1:40014", "10.0.0.2:5432")
	mini.Timer = sockdiag.Timer{Kind: sockdiag.TimerTimeWait, Expires: time.Minute}
	bound := sockdiag.Socket{Family: sockdiag.IPv4, State: tcpstate.BoundInactive, Local: addr("10.0.0.1:40020"), Remote: addr("0.0.0.0:0")}
	listener := sockdiag.Socket{Family: sockdiag.IPv6, State: tcpstate.Listen, Local: addr("[::]:40030"), Remote: addr("[::]:0"), RecvQueue: 3, SendQueue: 128}
	silent := conn(tcpstate.SynSent, "10.0.0.1:40040", "10.0.0.3:80")
	silent.Timer = sockdiag.Timer{Kind: sockdiag.TimerRetransmit, Retransmits: 2}
	s, err := health.Take(t.Context(), recording(
		bound,
		mapped, young, mini,
		timeWait("10.0.0.1:40016", "10.0.0.2:5432", 20*time.Second),
		conn(tcpstate.Established, "10.0.0.1:40018", "10.0.0.2:5432"),
		timeWait("10.0.0.1:40002", "10.0.0.2:5432", time.Second), // reserved
		timeWait("10.0.0.1:1234", "10.0.0.2:5432", time.Second),  // not of the range
		timeWait("10.0.0.1:40030", "10.0.0.2:5432", time.Second), // came in: its port listens
		timeWait("10.0.0.1:40020", "10.0.0.2:5432", time.Second), // its port is bound anyway
		timeWait("10.0.0.9:40016", "10.0.0.2:5432", time.Second), // from another address
		silent, listener,
	), opts)
	if err != nil {
		t.Fatal(err)
	}
	const capacity = 60999 - 32768 + 1 - 1
	if p := s.Ports; p.Capacity != capacity || p.Reserved != 1 || p.Listening != 1 || p.BoundInactive != 1 || p.Usable != capacity-2 {
		t.Errorf("%+v", p)
	}
	if s.OutsideRange != 2 || s.Outgoing != 8 || s.Counts[tcpstate.TimeWait] != 8 || s.Counts.Total() != 13 || s.FinWait2.Mini != 1 || s.DestinationError != 0 {
		t.Errorf("%+v", s)
	}
	want := map[netip.AddrPort]health.Destination{
		addr("10.0.0.1:5432"): {Used: 5, TimeWait: 4, FinWait2: 1, Aged: 1, Reusable: 1, Free: capacity - 2 - 5, Headroom: capacity - 2 - 5 + 1},
		addr("10.0.0.9:5432"): {Used: 1, TimeWait: 1, Aged: 1, Reusable: 1, Free: capacity - 3, Headroom: capacity - 2},
		addr("10.0.0.1:80"):   {Used: 1, SynSent: 1, Silent: 1, Free: capacity - 3, Headroom: capacity - 3},
	}
	if len(s.Destinations) != len(want) {
		t.Errorf("%+v", s.Destinations)
	}
	for _, d := range s.Destinations {
		w := want[netip.AddrPortFrom(d.Local, d.Remote.Port())]
		if d.Used != w.Used || d.TimeWait != w.TimeWait || d.FinWait2 != w.FinWait2 || d.Aged != w.Aged || d.Reusable != w.Reusable ||
			d.Free != w.Free || d.Headroom != w.Headroom || d.SynSent != w.SynSent || d.Silent != w.Silent || d.Missed != 0 || !d.Reuse {
			t.Errorf("%+v\nwant %+v", d, w)
		}
	}
	if l := s.Listening; len(l) != 1 || l[0] != (health.ListeningPort{Port: 40030, Listeners: 1, Queued: 3, Limit: 128, TimeWait: 1}) {
		t.Errorf("%+v", l)
	}
	if n, ok := s.Counter("TcpExt.TW"); n != 5 || !ok || s.Counters["sockstat.TCP.inuse"] != 10 || !s.Kernel.AtLeast(6, 18) {
		t.Errorf("%v", s.Counters)
	}
	if _, ok := s.Counter("TcpExt.PAWSTimewait"); ok {
		t.Error("a counter that the kernel does not have is there")
	}
}

// A Source without a namespace has to come with its settings, and one with a
// namespace must not come with others.
func TestMixedNamespaces(t *testing.T) {
	source := recording()
	for name, opts := range map[string]health.Options{
		"nothing":     {},
		"only sys":    {ProcSys: procSys()},
		"only net":    {ProcNet: procNet("TW 5", "ActiveOpens 7", quiet)},
		"bad numbers": {ProcSys: procSys(), ProcNet: procNet("", "", quiet), Destinations: -1},
	} {
		if s, err := health.Take(t.Context(), source, opts); s != nil || !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
	if s, err := health.Take(t.Context(), located{source, nil}, recordedOptions()); s != nil || !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("settings for a Source that has its own: %v, %v", s, err)
	}
	broken := errors.New("no namespace")
	if s, err := health.Take(t.Context(), located{source, broken}, health.Options{}); s != nil || !errors.Is(err, broken) {
		t.Errorf("a Source that cannot tell its namespace: %v, %v", s, err)
	}
}

// located is a Source with a namespace.
type located struct {
	recorded
	err error
}

func (l located) Namespace() (*os.File, error) { return nil, l.err }

// What cannot be read is a gap; what a kernel does not have is not.
func TestGaps(t *testing.T) {
	sys := procSys("ipv4/tcp_fin_timeout", "soon")
	delete(sys, "net/ipv4/tcp_tw_reuse_delay")
	s, err := health.Take(t.Context(), recording(), health.Options{ProcSys: sys, ProcNet: fstest.MapFS{}})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Gaps) != 2 || !strings.Contains(s.Gaps[0], "tcp_fin_timeout") || !strings.HasPrefix(s.Gaps[1], "counters: ") {
		t.Errorf("%q", s.Gaps)
	}
	if s.Settings.FinTimeout.Known || s.Settings.TWReuseDelay.Known || !s.Settings.PortRange.Known {
		t.Errorf("%+v", s.Settings)
	}
	s, err = health.Take(t.Context(), recording(timeWait("10.0.0.1:1234", "10.0.0.2:80", 0)), health.Options{ProcSys: fstest.MapFS{}, ProcNet: fstest.MapFS{}})
	if err != nil || len(s.Gaps) != 2 || len(s.Destinations) != 1 || s.Destinations[0].Headroom != 0 || s.Ports.Usable != 0 {
		t.Errorf("no /proc: %+v, %v", s, err)
	}
}

// An error of the dump is Take's, and so is the end of the context.
func TestTakeErrors(t *testing.T) {
	failed := errors.New("failed")
	source := recording(conn(tcpstate.Established, "10.0.0.1:40000", "10.0.0.2:80"))
	source.err = failed
	if s, err := health.Take(t.Context(), source, recordedOptions()); s != nil || !errors.Is(err, failed) {
		t.Errorf("%v, %v", s, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s, err := health.Take(ctx, source, recordedOptions()); s != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", s, err)
	}
}

// crowd is n TIME_WAIT sockets, one in eight to one destination and each other to
// a destination of its own.
func crowd(n int) recorded {
	return recorded{sockets: func(yield func(sockdiag.Socket) bool) {
		s := timeWait("10.0.0.1:40000", "10.0.0.2:80", time.Minute)
		for i := range n {
			// The ports are not those of real sockets, where each would be another.
			s.Remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 443)
			if i%8 == 0 {
				s.Remote = addr("192.0.2.1:443")
			}
			if !yield(s) {
				return
			}
		}
	}}
}

// A million destinations take no more memory than ten thousand, and the one that
// matters is found, with as many connections as it has.
func TestManyDestinations(t *testing.T) {
	million := 1_000_000
	if testing.Short() {
		million /= 5
	}
	opts := recordedOptions()
	allocated := func(n int) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s, err := health.Take(t.Context(), crowd(n), opts)
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatal(err)
		}
		d := s.Destinations[0]
		if d.Remote != addr("192.0.2.1:443") || d.Used != n/8 || d.Missed != 0 || len(s.Destinations) != 100 {
			t.Errorf("of %d: %+v", n, d)
		}
		if s.DestinationError > uint64(2*n/8192) {
			t.Errorf("of %d: the error is %d", n, s.DestinationError)
		}
		return after.TotalAlloc - before.TotalAlloc
	}
	few, many := allocated(16_000), allocated(million)
	if many > few+1<<20 || many > 8<<20 {
		t.Errorf("%d sockets allocate %d bytes, 16,000 %d", million, many, few)
	}
}

func BenchmarkTake(b *testing.B) {
	const n = 100_000
	opts := recordedOptions()
	source := crowd(n)
	b.Run("walk", func(b *testing.B) {
		for b.Loop() {
			rows := 0
			for range source.Dump(b.Context(), sockdiag.Query{States: tcpstate.All}) {
				rows++
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/row")
	})
	b.Run("take", func(b *testing.B) {
		for b.Loop() {
			if _, err := health.Take(b.Context(), source, opts); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/row")
	})
}
