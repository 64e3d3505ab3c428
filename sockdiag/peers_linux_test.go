package sockdiag_test

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// The table of what is tried here is in peers_test.go.

// theirs is a row of vishvananda/netlink by its cookie.
func theirs[Row any](t *testing.T, rows []Row, err error, socket func(Row) *netlink.Socket) map[uint64]Row {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[uint64]Row, len(rows))
	for _, r := range rows {
		s := socket(r)
		all[uint64(s.ID.Cookie[1])<<32|uint64(s.ID.Cookie[0])] = r
	}
	return all
}

// theirAddr is an address of theirs: one of IPv4 takes 16 bytes there, too.
func theirAddr(ip net.IP, port uint16, family uint8) netip.AddrPort {
	a, _ := netip.AddrFromSlice(ip)
	if family == uint8(sockdiag.IPv4) {
		a = a.Unmap()
	}
	return netip.AddrPortFrom(a, port)
}

// TestPeersLiveHeaders: the headers of every state in every family are those that
// vishvananda/netlink reads. It asks for each family by itself and leaves out
// bound-only sockets; their truth is in TestStates.
func TestPeersLiveHeaders(t *testing.T) {
	nstest.RequireNamespace(t)
	for _, family := range nstest.Families {
		t.Run(family.String(), func(t *testing.T) {
			made := nstest.States(t, family)
			rows, err := netlink.SocketDiagTCP(family.Number())
			want := theirs(t, rows, err, func(s *netlink.Socket) *netlink.Socket { return s })
			ours := collect(t, dial(t), sockdiag.Query{})
			states := tcpstate.Set(0)
			for _, m := range made {
				if m.State == tcpstate.BoundInactive {
					continue
				}
				s, ok := find(ours, m)
				w := want[s.Cookie]
				if !ok || w == nil {
					t.Errorf("%s: in our dump %v, in theirs %v", m.Name, ok, w != nil)
					continue
				}
				states = states.With(s.State)
				got := netlink.Socket{
					Family: uint8(s.Family), State: uint8(s.State), Timer: uint8(s.Timer.Kind), Retrans: s.Timer.Retransmits,
					ID: w.ID, Expires: w.Expires, RQueue: s.RecvQueue, WQueue: s.SendQueue, UID: s.UID, INode: s.Inode,
				}
				if m.Timer == uint8(sockdiag.TimerRetransmit) || m.Timer == uint8(sockdiag.TimerProbe) {
					got.Retrans = w.Retrans // another may have gone out in between
				} else if s.Timer.Kind != sockdiag.TimerNone && s.Timer.Expires > time.Duration(w.Expires)*time.Millisecond {
					t.Errorf("%s: expires in %v, before that in %d ms", m.Name, s.Timer.Expires, w.Expires)
				}
				if !reflect.DeepEqual(got, *w) {
					t.Errorf("%s:\n got %+v\nwant %+v", m.Name, got, *w)
				}
				if local, remote := theirAddr(w.ID.Source, w.ID.SourcePort, w.Family), theirAddr(w.ID.Destination, w.ID.DestinationPort, w.Family); s.Local != local || s.Remote != remote {
					t.Errorf("%s: %v to %v, want %v to %v", m.Name, s.Local, s.Remote, local, remote)
				}
				if s.Interface != w.ID.Interface {
					t.Errorf("%s: interface %d, want %d", m.Name, s.Interface, w.ID.Interface)
				}
			}
			if want := tcpstate.All.Without(tcpstate.Closed, tcpstate.NewSynRecv, tcpstate.BoundInactive); states.Len() != 10 || states&want != states {
				t.Errorf("states %v", states)
			}
		})
	}
}

// TestPeersLiveTCPInfo: all that vishvananda/netlink reads of tcp_info, and reads
// right. Its bit-fields are wrong: see the two tests behind this one.
func TestPeersLiveTCPInfo(t *testing.T) {
	nstest.RequireNamespace(t)
	plain := func(s string) string { return strings.ToLower(strings.ReplaceAll(s, "_", "")) }
	bitFields := map[string]bool{"sndwscale": true, "rcvwscale": true, "deliveryrateapplimited": true, "fastopenclientfail": true}
	// What goes on while nothing happens, and what sending again changes at either
	// end.
	clocks := map[string]bool{"lastdatasent": true, "lastdatarecv": true, "lastackrecv": true, "busytime": true, "rwndlimited": true, "sndbuflimited": true}
	again := map[string]bool{"probes": true, "backoff": true, "segsin": true, "segsout": true, "retransmits": true, "rto": true, "totalretrans": true,
		"lost": true, "retrans": true, "castate": true, "sndcwnd": true, "sndssthresh": true, "pacingrate": true}
	for _, family := range nstest.Families {
		t.Run(family.String(), func(t *testing.T) {
			made := nstest.States(t, family)
			rows, err := netlink.SocketDiagTCPInfo(family.Number())
			want := theirs(t, rows, err, func(r *netlink.InetDiagTCPInfoResp) *netlink.Socket { return r.InetDiagMsg })
			ours := collect(t, dial(t), sockdiag.Query{Attrs: sockdiag.AttrTCPInfo})
			compared := 0
			for _, m := range made {
				s, ok := find(ours, m)
				w := want[s.Cookie]
				if !ok || w == nil || w.TCPInfo == nil {
					if s.Attrs.Has(sockdiag.AttrTCPInfo) {
						t.Errorf("%s: in our dump %v, in theirs %+v", m.Name, ok, w)
					}
					continue
				}
				compared++
				probed := m.Timer == uint8(sockdiag.TimerRetransmit) || m.Timer == uint8(sockdiag.TimerProbe) ||
					m.Name == "established-full" || strings.HasPrefix(m.Name, "peer-of-")
				fields := map[string]reflect.Value{}
				for i := range reflect.TypeFor[sockdiag.TCPInfo]().NumField() {
					fields[plain(reflect.TypeFor[sockdiag.TCPInfo]().Field(i).Name)] = reflect.ValueOf(s.TCPInfo).Field(i)
				}
				for i := range reflect.TypeFor[netlink.TCPInfo]().NumField() {
					name := plain(reflect.TypeFor[netlink.TCPInfo]().Field(i).Name)
					field, ok := fields[name]
					if !ok {
						t.Fatalf("there is no field for %s", name)
					}
					if bitFields[name] || clocks[name] || probed && again[name] {
						continue
					}
					number := reflect.ValueOf(*w.TCPInfo).Field(i).Uint()
					got := fmt.Sprint(field)
					expect := fmt.Sprint(number)
					switch name {
					case "state":
						expect = tcpstate.State(number).String()
					case "castate":
						expect = sockdiag.CAState(number).String()
					case "options":
						expect = sockdiag.TCPOptions(number).String()
					case "minrtt":
						if number == 0xffffffff { // no sample
							number = 0
						}
					}
					if d, ok := field.Interface().(time.Duration); ok {
						got, expect = fmt.Sprint(d.Microseconds()), fmt.Sprint(number)
					}
					if got != expect {
						t.Errorf("%s: %s is %s, want %s", m.Name, name, got, expect)
					}
				}
			}
			if compared < 15 {
				t.Errorf("only %d sockets compared", compared)
			}
		})
	}
}

// ssInfo returns what "ss -i" says of each socket, by its two ends.
func ssInfo(t *testing.T) map[string][]string {
	t.Helper()
	path, err := exec.LookPath("ss")
	if err != nil {
		nstest.Skip(t, "ss, of iproute2: %v", err)
	}
	out, err := exec.Command(path, "-HOtani").Output()
	if err != nil {
		t.Fatalf("ss: %v", err)
	}
	all := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			t.Fatalf("ss: %q", line)
		}
		all[fields[3]+" "+strings.Replace(fields[4], ":*", ":0", 1)] = fields[5:]
	}
	return all
}

// TestPeersLiveWindowScale: the two shifts of a connection whose ends announce
// different ones. vishvananda/netlink has them swapped on little-endian machines.
func TestPeersLiveWindowScale(t *testing.T) {
	nstest.RequireNamespace(t)
	listener := newSocket(t, "TCP", sockdiag.IPv4, unix.SOCK_STREAM, unix.IPPROTO_TCP).bind(t, sockdiag.IPv4).listen(t)
	// So small a buffer needs no shift.
	client := newSocket(t, "TCP", sockdiag.IPv4, unix.SOCK_STREAM, unix.IPPROTO_TCP).option(t, unix.SOL_SOCKET, unix.SO_RCVBUF, 4096)
	server := listener.dial(t, client)
	var shifts [2][2]uint8
	for i, fd := range []fdConn{client, server} {
		id := idOf(t, fd)
		s, err := dial(t).Lookup(t.Context(), id, sockdiag.AttrTCPInfo)
		if err != nil {
			t.Fatal(err)
		}
		info, want := s.TCPInfo, ""
		for _, w := range ssInfo(t)[id.Local.String()+" "+id.Remote.String()] {
			if scale, ok := strings.CutPrefix(w, "wscale:"); ok {
				want = scale
			}
		}
		if got := fmt.Sprintf("%d,%d", info.SndWScale, info.RcvWScale); got != want {
			t.Errorf("wscale %s, ss says %q", got, want)
		}
		shifts[i] = [2]uint8{info.SndWScale, info.RcvWScale}
	}
	// What one end sends with is what the other receives with.
	if shifts[0][0] != shifts[1][1] || shifts[0][1] != shifts[1][0] || shifts[0][0] == shifts[0][1] {
		t.Errorf("the client has %v, the server %v", shifts[0], shifts[1])
	}
}

// TestPeersLiveAppLimited: a connection whose program sends little is limited by it,
// and a listener by nothing. vishvananda/netlink looks at the other end of the
// byte.
func TestPeersLiveAppLimited(t *testing.T) {
	nstest.RequireNamespace(t)
	made := nstest.States(t, nstest.IPv4)
	ours := collect(t, dial(t), sockdiag.Query{Attrs: sockdiag.AttrTCPInfo})
	says := ssInfo(t)
	seen := map[bool]bool{}
	for _, m := range made {
		s, ok := find(ours, m)
		if m.State == tcpstate.BoundInactive || ok && !s.Attrs.Has(sockdiag.AttrTCPInfo) {
			continue // they have none
		}
		words, known := says[m.Local.String()+" "+m.Remote.String()]
		if !ok || !known {
			t.Errorf("%s: in our dump %v, in that of ss %v", m.Name, ok, known)
			continue
		}
		limited := slices.Contains(words, "app_limited")
		seen[limited] = true
		if s.TCPInfo.DeliveryRateAppLimited != limited || s.TCPInfo.FastOpenClientFail != sockdiag.FastOpenUnspecified {
			t.Errorf("%s: app-limited %v, Fast Open %v; ss says %v", m.Name, s.TCPInfo.DeliveryRateAppLimited, s.TCPInfo.FastOpenClientFail, words)
		}
	}
	if len(seen) != 2 {
		t.Errorf("ss says of all sockets that app_limited is %v", seen)
	}
}

// TestPeersLiveLookup: the kernel's dump compares ports alone, and who takes its
// first row for the answer gets another socket, as in vishvananda/netlink. Asked for
// one socket, the kernel falls back to the listener.
func TestPeersLiveLookup(t *testing.T) {
	nstest.RequireNamespace(t)
	c := dial(t)
	for _, f := range bothFamilies {
		_, client, server := stream(t, "TCP", f, unix.IPPROTO_TCP)
		id := idOf(t, client)
		finds(t, c, id)
		gone := idOf(t, server)
		gone.Cookie, gone.Remote = 0, netip.AddrPortFrom(gone.Remote.Addr(), 9)
		missing(t, c, gone)
		other := id
		other.Cookie = 0
		for _, addr := range []string{"192.0.2.1", "198.51.100.1"} {
			a := netip.MustParseAddr(addr)
			if f == sockdiag.IPv6 {
				a = netip.MustParseAddr("2001:db8::" + addr)
			}
			other.Local, other.Remote = netip.AddrPortFrom(a, id.Local.Port()), netip.AddrPortFrom(a.Next(), id.Remote.Port())
			missing(t, c, other)
		}
	}
}

// TestPeersLiveEmptyNamespace: an empty namespace has no socket, however many there
// are where the caller is. vishvananda/netlink, asked on a handle of it, told of
// those.
func TestPeersLiveEmptyNamespace(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.Many(t, nstest.IPv4, 10, 10)
	datagrams(t, "UDP", sockdiag.IPv6, unix.SOCK_DGRAM, unix.IPPROTO_UDP)
	there, err := sockdiag.Dial(&sockdiag.Config{NetNS: nstest.NewNamespace(t).FD()})
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	here := dial(t)
	for _, p := range []sockdiag.Protocol{sockdiag.TCP, sockdiag.UDP} {
		q := sockdiag.Query{Protocol: p, Attrs: sockdiag.AttrTCPInfo}
		if rows := collect(t, there, q); len(rows) != 0 {
			t.Errorf("%v: %d sockets in an empty namespace", p, len(rows))
		}
		if counts, err := there.Count(t.Context(), q); err != nil || counts.Total() != 0 {
			t.Errorf("%v: counts %v, %v in an empty namespace", p, counts, err)
		}
		if rows := collect(t, here, q); len(rows) < 2 {
			t.Errorf("%v: %d sockets at home", p, len(rows))
		}
	}
}

// TestPeersLiveAddresses: listeners print as those who opened them say.
func TestPeersLiveAddresses(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() { // where every port is free
		want := map[string]bool{}
		for _, tt := range []struct{ network, address, remote string }{
			{"tcp4", "127.0.0.9:40000", "0.0.0.0:0"}, {"tcp6", "[::]:40001", "[::]:0"}, {"tcp4", "0.0.0.0:40002", "0.0.0.0:0"},
			{"tcp6", "[::1]:65535", "[::]:0"}, {"tcp4", "127.0.0.1:1025", "0.0.0.0:0"},
		} {
			l := listen(t, tt.network, tt.address, nil)
			if got := l.Addr().String(); got != tt.address {
				t.Fatalf("it listens on %s, not on %s", got, tt.address)
			}
			want[tt.address+" "+tt.remote] = true
		}
		got := map[string]bool{}
		for _, s := range collect(t, dial(t), sockdiag.Query{}) {
			got[s.Local.String()+" "+s.Remote.String()] = true
		}
		if !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

// TestPeersLiveClassID: SO_PRIORITY, in all its bits, on a socket without a class of
// net_cls. It comes with the bit of the traffic class, and not unasked.
func TestPeersLiveClassID(t *testing.T) {
	nstest.RequireNamespace(t)
	const priority = 0x12345678
	for _, f := range bothFamilies {
		_, client, _ := stream(t, "TCP", f, unix.IPPROTO_TCP)
		id := idOf(t, client.option(t, unix.SOL_SOCKET, unix.SO_PRIORITY, priority))
		for _, attrs := range []sockdiag.Attrs{0, sockdiag.AttrTOS, sockdiag.AttrClassID, sockdiag.AttrTrafficClass} {
			s, err := dial(t).Lookup(t.Context(), id, attrs)
			want := attrs&(sockdiag.AttrClassID|sockdiag.AttrTrafficClass) != 0
			if err != nil || s.Attrs.Has(sockdiag.AttrClassID) != want || want && s.ClassID != priority || !want && s.ClassID != 0 {
				t.Errorf("%v, asked for %v: class %#x, attributes %v, %v", f, attrs, s.ClassID, s.Attrs, err)
			}
		}
	}
}

// TestPeersLiveGoListener: what net.Listen opens has INET_DIAG_ULP_INFO in every
// dump with tcp_info, at which florianl/go-diag gave all rows up.
func TestPeersLiveGoListener(t *testing.T) {
	nstest.RequireNamespace(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	n := 0
	for _, s := range collect(t, dial(t), sockdiag.Query{Attrs: sockdiag.AttrTCPInfo}) {
		if s.State == tcpstate.Listen && s.Local.String() == l.Addr().String() && s.Attrs.Has(sockdiag.AttrTCPInfo) {
			n++
		}
	}
	if n != 1 {
		t.Errorf("%d rows of it", n)
	}
}

// TestPeersLiveCongestion: the name is that of getsockopt, for every algorithm that
// this machine allows.
func TestPeersLiveCongestion(t *testing.T) {
	nstest.RequireNamespace(t)
	b, err := os.ReadFile("/proc/sys/net/ipv4/tcp_available_congestion_control")
	if err != nil {
		nstest.Skip(t, "a readable sysctl: %v", err)
	}
	_, client, _ := stream(t, "TCP", sockdiag.IPv4, unix.IPPROTO_TCP)
	id := idOf(t, client)
	reno := false
	for name := range strings.FieldsSeq(string(b)) {
		err := unix.SetsockoptString(int(client), unix.IPPROTO_TCP, unix.TCP_CONGESTION, name)
		if errors.Is(err, unix.EPERM) {
			continue // not for everybody
		}
		if err != nil {
			t.Fatal(err)
		}
		want, err := unix.GetsockoptString(int(client), unix.IPPROTO_TCP, unix.TCP_CONGESTION)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := dial(t).Lookup(t.Context(), id, sockdiag.AttrCongestion); err != nil || s.Congestion != want {
			t.Errorf("%q, %v; getsockopt says %q", s.Congestion, err, want)
		}
		reno = reno || want == "reno"
	}
	if !reno {
		t.Errorf("reno is not among %q", b)
	}
}
