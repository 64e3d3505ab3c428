package health_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/sockdiag/health"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// Settings that are a Finding by themselves. Each is put back, and the Finding is
// gone.
func TestSettings(t *testing.T) {
	for _, tt := range []struct {
		name, value string
		also        string // a second setting, name=value
		id          string
		severity    health.Severity
		words       []string
	}{
		{"ipv4/tcp_fin_timeout", "61", "", health.FinTimeoutTrap, health.Warning, []string{"is 61 s", "ends after 2 s"}},
		{"ipv4/tcp_fin_timeout", "90", "", health.FinTimeoutTrap, health.Warning, []string{"is 90 s", "ends after 60 s"}},
		{"ipv4/tcp_fin_timeout", "0", "", health.FinTimeoutTrap, health.Warning, []string{"=0"}},
		{"ipv4/tcp_fin_timeout", "120", "", health.FinTimeoutTrap, health.OK, nil},
		{"ipv4/tcp_fin_timeout", "15", "", health.FinTimeoutTrap, health.OK, nil},
		{"ipv4/tcp_rfc1337", "1", "", health.RFC1337, health.Info, []string{"tcp_rfc1337=1"}},
		{"ipv4/tcp_timestamps", "0", "", health.TimestampsOff, health.Info, nil},
		{"ipv4/tcp_timestamps", "0", "ipv4/tcp_tw_reuse=1", health.TimestampsOff, health.Warning, []string{"tcp_tw_reuse=1 does nothing"}},
		{"ipv4/tcp_timestamps", "2", "", health.TimestampsOff, health.OK, nil},
		{"ipv4/tcp_syncookies", "0", "", health.SyncookiesOff, health.Warning, nil},
		{"ipv4/tcp_syncookies", "2", "", health.SettingTrap, health.Info, []string{"net.ipv4.tcp_syncookies=2"}},
		{"ipv4/tcp_retries2", "3", "", health.SettingTrap, health.Info, []string{"net.ipv4.tcp_retries2=3"}},
		{"ipv4/ip_local_port_range", "50000 50999", "", health.RangeSmall, health.Warning, []string{"only 1000 local ports", "17/s"}},
		{"ipv4/ip_local_port_range", "50000 51000", "", health.RangeParity, health.Info, []string{"50000-51000", "even"}},
		{"ipv4/ip_local_port_range", "1025 65535", "", health.RangeParity, health.Info, []string{"odd"}},
		{"ipv4/ip_local_port_range", "16384 60999", "", health.RangeSmall, health.OK, nil},
		{"ipv4/ip_local_reserved_ports", "40000-49999", "", health.RangeSmall, health.Warning, []string{"only 18232 local ports"}},
		{"ipv4/ip_local_reserved_ports", "40000", "", health.RangeSmall, health.OK, nil},
	} {
		t.Run(tt.name+" "+tt.value, func(t *testing.T) {
			in(t, func(s *scene) {
				s.set("ipv4/tcp_rfc1337", "0")
				was := s.get(tt.name)
				s.set(tt.name, tt.value)
				if tt.also != "" {
					s.set("ipv4/tcp_tw_reuse", "1")
				}
				want(t, s.findings(nil, s.take(health.Options{}), health.Thresholds{}), tt.id, tt.severity, tt.words...)
				s.set(tt.name, was)
				want(t, s.findings(nil, s.take(health.Options{}), health.Thresholds{}), tt.id, health.OK)
			})
		})
	}
}

// FIN_WAIT2 lasts as long as the Finding says, and not as the setting does.
func TestFinTimeoutTrapIsTrue(t *testing.T) {
	in(t, func(s *scene) {
		s.set("ipv4/tcp_fin_timeout", "61")
		f := want(t, s.findings(nil, s.take(health.Options{}), health.Thresholds{}), health.FinTimeoutTrap, health.Warning)
		shows(t, f, "FIN_WAIT2 lasts", "2 s")
		l := s.listen(server, 10)
		client, peer := s.pair(l, server, way{})
		start := time.Now()
		s.finWait2(client, peer)
		s.until("FIN_WAIT2 has ended", func() bool { return s.take(health.Options{}).Counts[tcpstate.FinWait2] == 0 })
		if d := time.Since(start); d < time.Second || d > 50*time.Second { // not 61 seconds
			t.Errorf("FIN_WAIT2 lasted %v", d)
		}
	})
}

// In a namespace of its own the host's limits are not to be seen.
func TestScope(t *testing.T) {
	in(t, func(s *scene) {
		want(t, s.findings(nil, s.take(health.Options{}), health.Thresholds{}), health.Scope, health.Info)
	})
}

// Listeners in the range of ports, one of them reserved.
func TestRangeOverlap(t *testing.T) {
	in(t, func(s *scene) {
		s.listen(server, 10)
		want(t, s.findings(nil, s.take(health.Options{}), health.Thresholds{}), health.RangeOverlap, health.OK)
		s.listen(addr("127.0.0.1:40001"), 10)
		s.listen(addr("127.0.0.1:40003"), 10)
		want(t, s.findings(nil, s.take(health.Options{}), health.Thresholds{}), health.RangeOverlap, health.Info, "2 ports", "40001, 40003")
		s.set("ipv4/ip_local_reserved_ports", "40001")
		want(t, s.findings(nil, s.take(health.Options{}), health.Thresholds{}), health.RangeOverlap, health.Info, "1 ports", "40003")
		s.set("ipv4/ip_local_reserved_ports", "40001,40003")
		want(t, s.findings(nil, s.take(health.Options{}), health.Thresholds{}), health.RangeOverlap, health.OK)
	})
}

// Four of ten ports are bound and do nothing: nobody can connect from them.
func TestBoundHog(t *testing.T) {
	in(t, func(s *scene) {
		s.set("ipv4/ip_local_port_range", "20000 20009")
		s.listen(server, 100)
		now := s.take(health.Options{})
		want(t, s.findings(nil, now, health.Thresholds{}), health.BoundHog, health.OK)
		for range 4 {
			s.must("bind", unix.Bind(s.socket(false), sockaddr(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.7"), 0))))
		}
		now = s.take(health.Options{})
		if !now.Kernel.AtLeast(6, 8) { // it does not tell of them, and nothing is made up
			want(t, s.findings(nil, now, health.Thresholds{}), health.BoundHog, health.OK)
			return
		}
		f := want(t, s.findings(nil, now, health.Thresholds{}), health.BoundHog, health.Warning, "4 of 10 local ports")
		shows(t, f, "usable ports", 6)
		for i := range 7 {
			if _, err := s.connect(server, way{}); (err == nil) != (i < 6) || err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
				t.Errorf("connect %d: %v", i, err)
			}
		}
	})
}

// Clients come back to a TIME_WAIT of the server's with older timestamps: with one
// of the two clocks that a host has (tcp_timestamps 1 and 2) the other's are.
func TestPAWSSyn(t *testing.T) {
	for _, rfc1337 := range []string{"0", "1"} {
		t.Run("rfc1337 "+rfc1337, func(t *testing.T) {
			in(t, func(s *scene) {
				s.set("ipv4/tcp_rfc1337", rfc1337)
				l := s.listen(server, 100)
				// come begins to connect from a port.
				come := func(port int, clock string) int {
					s.set("ipv4/tcp_timestamps", clock)
					fd := s.socket(false)
					s.must("SO_REUSEADDR", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
					s.must("bind", unix.Bind(fd, sockaddr(netip.AddrPortFrom(server.Addr(), uint16(port)))))
					s.begin(fd)
					return fd
				}
				before := s.take(health.Options{})
				counter := "TcpExt.PAWSTimewait"
				if _, ok := before.Counter(counter); !ok {
					counter = "TcpExt.PAWSEstab" // before Linux 6.16
				}
				rejected := func() int64 { n, _ := s.take(health.Options{}).Counter(counter); return n }
				fooled := 0
				for port := 30000; port < 30060 && fooled < 6; port++ {
					// The offset of a clock is random, for each port on some kernels.
					clocks := [2]string{"1", "2"}
					if port%2 == 1 {
						clocks = [2]string{"2", "1"}
					}
					client := come(port, clocks[0])
					s.timeWait(s.accept(l), client)
					was := rejected()
					client = come(port, clocks[1])
					// With the setting nobody gets in, so the second SYN is rejected, too.
					s.until("a client is let in, or rejected", func() bool {
						return s.state(client) == tcpstate.Established || rfc1337 == "1" && rejected() >= was+2
					})
					if state := s.state(client); (state == tcpstate.Established) != (rfc1337 == "0" || rejected() == was) {
						t.Errorf("with %d SYNs rejected, tcp_rfc1337=%s: %v", rejected()-was, rfc1337, state)
					}
					if rejected() > was {
						fooled++
					}
					if s.state(client) == tcpstate.Established {
						s.abort(s.accept(l))
					}
					s.abort(client)
				}
				if fooled < 6 {
					t.Fatalf("only %d clients with older timestamps", fooled)
				}
				// One whose TIME_WAIT is left, since kernels before 6.16 count others, too.
				client := come(29999, "1")
				s.timeWait(s.accept(l), client)
				now := s.take(health.Options{})
				all := s.findings(before, now, health.Thresholds{})
				f := want(t, all, health.PAWSSyn, health.Warning, "older")
				if rfc1337 == "1" {
					want(t, all, health.RFC1337, health.Warning, "clients may not get in")
					if r := f.Remedies[0]; r.Set != "sysctl -w net.ipv4.tcp_rfc1337=0" {
						t.Errorf("the first remedy is %+v", r)
					}
				} else {
					want(t, all, health.RFC1337, health.OK)
				}
				want(t, s.findings(now, s.take(health.Options{}), health.Thresholds{}), health.PAWSSyn, health.OK)
				want(t, s.findings(nil, now, health.Thresholds{}), health.PAWSSyn, health.OK)
				first, _ := before.Counter(counter)
				last, _ := now.Counter(counter)
				if n := last - first; n < int64(fooled) || !strings.HasPrefix(evidenceOf(f, counter), fmt.Sprintf("+%d ", n)) {
					t.Errorf("%+v, want %d, of %d clients", f.Evidence, n, fooled)
				}
			})
		})
	}
}
