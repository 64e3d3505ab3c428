package health_test

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/sockdiag/health"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// findings diagnoses, checks what holds for every Finding, and tries out the
// remedies that are commands.
func (s *scene) findings(before, now *health.Snapshot, t health.Thresholds) []health.Finding {
	s.t.Helper()
	all := health.Diagnose(before, now, t)
	checkFindings(s.t, all)
	for _, f := range all {
		for _, r := range f.Remedies {
			s.tryOut(r)
		}
	}
	return all
}

// tryOut sets what a Remedy sets, and undoes it.
func (s *scene) tryOut(r health.Remedy) {
	s.t.Helper()
	set, undo := assignment(s.t, r.Set), assignment(s.t, r.Undo)
	if set[0] == "" {
		return
	}
	name := strings.TrimPrefix(strings.ReplaceAll(set[0], ".", "/"), "net/")
	if _, err := os.Stat("/proc/sys/net/" + name); err != nil {
		return // of the host, or of another kernel
	}
	was := strings.Join(strings.Fields(s.get(name)), " ")
	s.set(name, set[1])
	if is := strings.Join(strings.Fields(s.get(name)), " "); is != set[1] || is == was {
		s.t.Errorf("%s: %q, before it %q", r.Set, is, was)
	}
	s.set(name, undo[1])
	if is := strings.Join(strings.Fields(s.get(name)), " "); is != was || set[0] != undo[0] {
		s.t.Errorf("%s, then %s: %q, before it %q", r.Set, r.Undo, is, was)
	}
}

var server = addr("127.0.0.1:9000")

// timeWaits closes n connections to the server, the client first.
func (s *scene) timeWaits(listener, n int) {
	s.t.Helper()
	for range n {
		s.timeWait(s.pair(listener, server, way{}))
	}
}

// A namespace in which nothing is wrong has nothing to warn of, with connections of
// every kind in it.
func TestHealthy(t *testing.T) {
	in(t, func(s *scene) {
		before := s.take(health.Options{})
		nstest.States(t, nstest.IPv4)
		l := s.listen(server, 100)
		s.set("ipv4/tcp_tw_reuse", "0")
		s.timeWaits(l, 20)
		time.Sleep(1100 * time.Millisecond)
		now := s.take(health.Options{Owners: true})
		for _, f := range s.findings(before, now, health.Thresholds{}) {
			// One of States is a listener with a full queue.
			if f.Severity > health.Info && f.ID != health.AcceptOverflow && f.ID != health.HalfOpenMismatch {
				t.Errorf("%v %s: %s", f.Severity, f.ID, f.Summary)
			}
		}
	})
}

// Ten ports, and TIME_WAIT on some of them or on all.
func TestPortExhaustion(t *testing.T) {
	for _, tt := range []struct {
		closed            int
		reuse, timestamps string
		delay             string // "": as it comes
		severity          health.Severity
		off               health.Severity
		ineffective       health.Severity
	}{
		{10, "0", "1", "", health.Critical, health.Warning, health.OK},
		{9, "0", "1", "", health.Warning, health.Warning, health.OK},
		{7, "0", "1", "", health.OK, health.OK, health.OK}, // the rate is lifted out of the way below
		{10, "1", "0", "", health.Critical, health.Warning, health.OK},
		{10, "1", "1", "60000", health.Critical, health.OK, health.Warning}, // all too young
		{10, "1", "1", "1", health.OK, health.OK, health.OK},
		{10, "2", "1", "1", health.OK, health.OK, health.OK}, // it is loopback
	} {
		t.Run(fmt.Sprintf("%d reuse %s timestamps %s delay %s", tt.closed, tt.reuse, tt.timestamps, tt.delay), func(t *testing.T) {
			in(t, func(s *scene) {
				s.set("ipv4/ip_local_port_range", "20000 20009")
				s.set("ipv4/tcp_timestamps", tt.timestamps)
				s.set("ipv4/tcp_tw_reuse", "0")
				l := s.listen(server, 100)
				s.timeWaits(l, tt.closed)
				s.set("ipv4/tcp_tw_reuse", tt.reuse)
				if tt.delay != "" && !s.set("ipv4/tcp_tw_reuse_delay", tt.delay) {
					if tt.delay == "60000" {
						return // kernels before 6.14 know no delay
					}
					time.Sleep(2100 * time.Millisecond)
				}
				time.Sleep(30 * time.Millisecond)
				now := s.take(health.Options{})
				all := s.findings(nil, now, health.Thresholds{Rate: 1e9})
				f := want(t, all, health.PortExhaustion, tt.severity)
				want(t, all, health.ReuseOff, tt.off)
				want(t, all, health.ReuseIneffective, tt.ineffective)
				want(t, all, health.RangeSmall, health.Warning, "only 10 local ports")
				if tt.severity != health.OK {
					shows(t, f, "destination", server)
					shows(t, f, "TIME_WAIT", tt.closed)
					shows(t, f, "headroom", 10-tt.closed)
				}
				succeed := 0
				for ; succeed < 11; succeed++ {
					if _, err := s.connect(server, way{}); err != nil {
						if !errors.Is(err, unix.EADDRNOTAVAIL) {
							t.Fatal(err)
						}
						break
					}
				}
				if succeed != now.Destinations[0].Headroom {
					t.Errorf("%d connects succeed, the headroom is %d", succeed, now.Destinations[0].Headroom)
				}
				if tt.severity == health.Critical && !strings.Contains(f.Summary, "fail now") {
					t.Error(f.Summary)
				}
			})
		})
	}
}

// FIN_WAIT2 is not taken over, whatever tcp_tw_reuse says.
func TestReuseIneffectiveFinWait2(t *testing.T) {
	in(t, func(s *scene) {
		s.set("ipv4/ip_local_port_range", "20000 20009")
		s.set("ipv4/tcp_tw_reuse", "1")
		l := s.listen(server, 100)
		for range 10 {
			s.finWait2(s.pair(l, server, way{}))
		}
		time.Sleep(1100 * time.Millisecond)
		all := s.findings(nil, s.take(health.Options{}), health.Thresholds{FinWait2: 9})
		f := want(t, all, health.ReuseIneffective, health.Warning, "10 of 10 ports", "FIN_WAIT2")
		shows(t, f, "headroom", 0)
		want(t, all, health.PortExhaustion, health.Critical)
		want(t, all, health.ReuseOff, health.OK)
		f = want(t, all, health.FinWait2Pileup, health.Warning, "10 connections")
		shows(t, f, "most to", server.String()+" (10)")
		want(t, s.findings(nil, s.take(health.Options{}), health.Thresholds{}), health.FinWait2Pileup, health.OK)
		if _, err := s.connect(server, way{}); !errors.Is(err, unix.EADDRNOTAVAIL) {
			t.Errorf("connect: %v", err)
		}
	})
}

// Twenty-five closes in a few seconds, of a hundred ports: the rate is the trouble,
// and when the ports will be used up can be told, with one Snapshot and with two.
func TestClosingRate(t *testing.T) {
	in(t, func(s *scene) {
		s.set("ipv4/ip_local_port_range", "20000 20099")
		s.set("ipv4/tcp_tw_reuse", "0")
		l := s.listen(server, 100)
		var begin, end []time.Time // of each close
		closes := func(n int) {
			for range n {
				begin = append(begin, time.Now())
				s.timeWaits(l, 1)
				end = append(end, time.Now())
			}
		}
		closes(5)
		before := s.take(health.Options{})
		start := time.Now()
		closes(20)
		time.Sleep(max(0, 1100*time.Millisecond-time.Since(start)))
		now := s.take(health.Options{})

		// How many of them were in the last ten seconds depends on the machine; the
		// kernel's clock may lag.
		least, most := 0, 0
		for i := range begin {
			if now.Time.Add(now.Took).Sub(begin[i]) < 9*time.Second {
				least++
			}
			if now.Time.Sub(end[i]) < 11*time.Second {
				most++
			}
		}
		const tooFast = 0.7 * 100 / 60
		// rated checks the Findings, of connections that were closed at a rate between
		// these.
		rated := func(all []health.Finding, least, most float64) {
			t.Helper()
			want(t, all, health.PortExhaustion, health.OK)
			switch {
			case most <= tooFast:
				want(t, all, health.ClosingRate, health.OK)
				want(t, all, health.ReuseOff, health.OK)
			case least > tooFast:
				f := want(t, all, health.ClosingRate, health.Warning, "1.7/s is the most that lasts", "127.0.0.1:9000", "connects fail in about ")
				text := strings.TrimSuffix(evidenceOf(f, "closed per second"), "/s")
				if n, err := strconv.ParseFloat(text, 64); err != nil || n < least-0.5 || n > most+0.5 || !strings.HasPrefix(f.Summary, text+"/s connections to ") {
					t.Errorf("closed per second %q, want %.1f to %.1f: %s", text, least, most, f.Summary)
				}
				if least == 2.5 && most == 2.5 {
					shows(t, f, "connects fail in", "30 s") // 25 + 2.5 a second reach 100
				}
				want(t, all, health.ReuseOff, health.Warning, "tcp_tw_reuse=0")
			}
		}
		rated(s.findings(nil, now, health.Thresholds{}), float64(least)/10, float64(most)/10)
		perSecond := 20 / now.Time.Sub(before.Time).Seconds()
		rated(s.findings(before, now, health.Thresholds{}), perSecond, perSecond)

		s.set("ipv4/ip_local_port_range", "20000 40000")
		all := s.findings(before, s.take(health.Options{}), health.Thresholds{})
		want(t, all, health.ClosingRate, health.OK)
		want(t, all, health.ReuseOff, health.OK)
	})
}

// Six closes with room for three.
func TestBucketOverflow(t *testing.T) {
	in(t, func(s *scene) {
		normal := s.get("ipv4/tcp_max_tw_buckets")
		s.set("ipv4/tcp_tw_reuse", "0")
		s.set("ipv4/tcp_max_tw_buckets", "3")
		l := s.listen(server, 100)
		before := s.take(health.Options{})
		s.timeWaits(l, 6)
		now := s.take(health.Options{})
		all := s.findings(before, now, health.Thresholds{})
		f := want(t, all, health.BucketOverflow, health.Critical, "3 connections", "tcp_max_tw_buckets is 3")
		shows(t, f, "TIME_WAIT", 3)
		want(t, s.findings(nil, now, health.Thresholds{}), health.BucketOverflow, health.Critical, "there are 3 TIME_WAITs")
		if now.Settings.MaxTWBuckets.DefaultKnown {
			f = want(t, all, health.CapLowered, health.Warning, "the kernel's own is "+normal)
			if r := f.Remedies[0]; r.Set != "sysctl -w net.ipv4.tcp_max_tw_buckets="+normal || r.Undo != "sysctl -w net.ipv4.tcp_max_tw_buckets=3" {
				t.Errorf("%+v", r)
			}
		}
		s.set("ipv4/tcp_max_tw_buckets", normal)
		now = s.take(health.Options{})
		s.timeWaits(l, 6)
		all = s.findings(now, s.take(health.Options{}), health.Thresholds{})
		want(t, all, health.BucketOverflow, health.OK)
		want(t, all, health.CapLowered, health.OK)

		s.set("ipv4/tcp_max_tw_buckets", "10") // nine of ten
		all = s.findings(nil, s.take(health.Options{}), health.Thresholds{})
		want(t, all, health.BucketOverflow, health.Warning, "there are 9 TIME_WAITs", "is 10")
		s.set("ipv4/tcp_max_tw_buckets", "0")
		before = s.take(health.Options{})
		s.timeWaits(l, 2)
		all = s.findings(before, s.take(health.Options{}), health.Thresholds{})
		want(t, all, health.BucketOverflow, health.Critical, "2 connections", "is 0")
		want(t, all, health.CapLowered, health.Warning, "=0")
		s.set("ipv4/tcp_max_tw_buckets", "-1")
		before = s.take(health.Options{})
		s.timeWaits(l, 2)
		now = s.take(health.Options{})
		all = s.findings(before, now, health.Thresholds{})
		if now.Kernel.AtLeast(6, 1) {
			want(t, all, health.BucketOverflow, health.OK)
			want(t, all, health.CapLowered, health.Info, "no limit")
			return
		}
		// 5.10 takes it for none. What is in between was not tried.
		want(t, all, health.CapLowered, health.Warning, "may get no TIME_WAIT")
		if strings.HasPrefix(evidenceOf(all[0], "TcpExt.TCPTimeWaitOverflow"), "+2") != (all[0].ID == health.BucketOverflow) {
			t.Errorf("%+v", all)
		}
	})
}

// Connections that the peer has closed and we have not, more and more of them; and
// whose they are.
func TestCloseWaitLeak(t *testing.T) {
	in(t, func(s *scene) {
		l := s.listen(server, 200)
		leak := func(n int) {
			for range n {
				client, server := s.pair(l, server, way{})
				s.must("shutdown", unix.Shutdown(client, unix.SHUT_WR))
				s.await(server, tcpstate.CloseWait)
			}
		}
		leak(90)
		first := s.take(health.Options{Owners: true})
		leak(30)
		second := s.take(health.Options{Owners: true})
		f := want(t, s.findings(first, second, health.Thresholds{}), health.CloseWaitLeak, health.Warning, "120 connections (+30", fmt.Sprintf("(pid %d)", os.Getpid()))
		shows(t, f, "CLOSE_WAIT", 120)
		third := s.take(health.Options{})
		want(t, s.findings(second, third, health.Thresholds{}), health.CloseWaitLeak, health.OK) // no more than before, and young
		want(t, s.findings(nil, third, health.Thresholds{}), health.CloseWaitLeak, health.OK)
		want(t, s.findings(first, second, health.Thresholds{CloseWait: 200}), health.CloseWaitLeak, health.OK)
	})
}

// Closes by reset.
func TestAbortiveClose(t *testing.T) {
	for name, linger := range map[string]bool{"reset": true, "in order": false} {
		t.Run(name, func(t *testing.T) {
			in(t, func(s *scene) {
				l := s.listen(server, 100)
				before := s.take(health.Options{})
				for range 12 {
					client, server := s.pair(l, server, way{})
					if linger {
						s.abort(client)
						s.await(server, tcpstate.Closed)
					} else {
						s.timeWait(client, server)
					}
				}
				all := s.findings(before, s.take(health.Options{}), health.Thresholds{})
				if linger {
					want(t, all, health.AbortiveClose, health.Warning, "12 connections", "24 opened")
				} else {
					want(t, all, health.AbortiveClose, health.OK)
				}
			})
		})
	}
}

// Established connections without a timer, and with keepalive.
func TestNoKeepalive(t *testing.T) {
	in(t, func(s *scene) {
		l := s.listen(server, 100)
		var all []int
		for range 8 {
			client, server := s.pair(l, server, way{})
			all = append(all, client, server)
		}
		few := health.Thresholds{Idle: 10}
		want(t, s.findings(nil, s.take(health.Options{}), few), health.NoKeepalive, health.Info, "16 of 16")
		want(t, s.findings(nil, s.take(health.Options{}), health.Thresholds{}), health.NoKeepalive, health.OK)
		for _, fd := range all {
			s.must("SO_KEEPALIVE", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1))
		}
		want(t, s.findings(nil, s.take(health.Options{}), few), health.NoKeepalive, health.OK)
	})
}

// LAST_ACK and FIN_WAIT1 behind a closed window: two of each.
func TestStuckClosing(t *testing.T) {
	in(t, func(s *scene) {
		nstest.States(t, nstest.IPv4)
		nstest.States(t, nstest.IPv4)
		now := s.take(health.Options{})
		all := s.findings(nil, now, health.Thresholds{LastAck: 1, FinWait1: 1})
		want(t, all, health.LastAckStuck, health.Warning, "2 connections", "2 are in that state")
		f := want(t, all, health.FinWait1Stuck, health.Warning, "2 connections", "2 of them because the peer's window is closed")
		shows(t, f, "before a closed window", 2)
		all = s.findings(nil, now, health.Thresholds{})
		want(t, all, health.LastAckStuck, health.OK)
		want(t, all, health.FinWait1Stuck, health.OK)
	})
}

// The server closes first: its TIME_WAITs take none of its ports.
func TestServerCloses(t *testing.T) {
	for name, serverFirst := range map[string]bool{"server": true, "client": false} {
		t.Run(name, func(t *testing.T) {
			in(t, func(s *scene) {
				s.set("ipv4/tcp_tw_reuse", "0")
				l := s.listen(server, 100)
				for range 25 {
					client, server := s.pair(l, server, way{})
					if serverFirst {
						client, server = server, client
					}
					s.timeWait(client, server)
				}
				now := s.take(health.Options{Owners: true})
				all := s.findings(nil, now, health.Thresholds{TimeWait: 20})
				if serverFirst {
					f := want(t, all, health.ServerCloses, health.Info, "25 of 25", "port 9000")
					shows(t, f, "of that port", 25)
					if !strings.Contains(evidenceOf(f, "process"), fmt.Sprintf("(pid %d)", os.Getpid())) {
						t.Errorf("%+v", f.Evidence)
					}
				} else {
					want(t, all, health.ServerCloses, health.OK)
				}
				headroom := now.Ports.Usable
				if !serverFirst {
					headroom -= 25
				}
				f := want(t, all, health.ManyTimeWait, health.Info, "25 TIME_WAITs")
				shows(t, f, "least headroom", headroom)
				want(t, s.findings(nil, now, health.Thresholds{}), health.ManyTimeWait, health.OK)
			})
		})
	}
}
