package health_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/sockdiag/health"
)

// start begins to connect, and does not wait.
func (s *scene) start() int {
	s.t.Helper()
	fd := s.socket(false)
	s.begin(fd)
	return fd
}

// begin is what start does with its socket.
func (s *scene) begin(fd int) {
	s.t.Helper()
	s.must("nonblock", unix.SetNonblock(fd, true))
	if err := unix.Connect(fd, sockaddr(server)); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		s.t.Fatal(err)
	}
}

// queued is how many connections wait to be accepted.
func (s *scene) queued(listener int) int {
	s.t.Helper()
	info, err := unix.GetsockoptTCPInfo(listener, unix.IPPROTO_TCP, unix.TCP_INFO)
	s.must("TCP_INFO", err)
	return int(info.Unacked)
}

// A queue for four holds five; the sixth connection is dropped.
func TestAcceptOverflow(t *testing.T) {
	in(t, func(s *scene) {
		l := s.listen(server, 4)
		for range 3 {
			s.start()
		}
		s.until("three in the queue", func() bool { return s.queued(l) == 3 })
		before := s.take(health.Options{})
		want(t, s.findings(nil, before, health.Thresholds{}), health.AcceptOverflow, health.OK)
		s.start()
		s.until("four in the queue", func() bool { return s.queued(l) == 4 })
		want(t, s.findings(nil, s.take(health.Options{}), health.Thresholds{}), health.AcceptOverflow, health.Warning, "4 connections wait", "limit is 4")
		s.start()
		s.until("five in the queue", func() bool { return s.queued(l) == 5 })
		full := s.take(health.Options{Owners: true})
		f := want(t, s.findings(before, full, health.Thresholds{}), health.AcceptOverflow, health.Critical, "127.0.0.1:9000", "5 connections", "limit is 4", fmt.Sprintf("(pid %d)", os.Getpid()))
		if !strings.HasPrefix(evidenceOf(f, "TcpExt.ListenOverflows"), "+0 ") {
			t.Errorf("%+v", f.Evidence)
		}
		s.start()
		s.until("a SYN is dropped", func() bool {
			n, _ := s.take(health.Options{}).Counter("TcpExt.ListenOverflows")
			return n > 0
		})
		after := s.take(health.Options{})
		f = want(t, s.findings(full, after, health.Thresholds{}), health.AcceptOverflow, health.Critical)
		if strings.HasPrefix(evidenceOf(f, "TcpExt.ListenOverflows"), "+0 ") {
			t.Errorf("%+v", f.Evidence)
		}
		for range 5 { // not more: the sixth may be there by now
			s.accept(l)
		}
		// The queue is not full now, and the counter still tells what happened.
		want(t, s.findings(full, s.take(health.Options{}), health.Thresholds{}), health.AcceptOverflow, health.Critical, "met a full queue")
		s.until("the last one is let in", func() bool { return s.queued(l) == 1 })
		s.accept(l)
		quiet := s.take(health.Options{})
		want(t, s.findings(quiet, s.take(health.Options{}), health.Thresholds{}), health.AcceptOverflow, health.OK)
	})
}

// deferring makes a listener on which connections stay half-open until they bring
// data.
func (s *scene) deferring(backlog int) int {
	s.t.Helper()
	l := s.listen(server, backlog)
	s.must("TCP_DEFER_ACCEPT", unix.SetsockoptInt(l, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 60))
	return l
}

// synRecv is how many connections are half-open on the server's port.
func synRecv(now *health.Snapshot) (n, retried uint64) {
	for _, p := range now.Listening {
		if p.Port == server.Port() {
			return p.SynRecv, p.SynRecvRetried
		}
	}
	return 0, 0
}

// A queue of half-open connections, with cookies and without. The limit is that of
// listen().
func TestSynBacklog(t *testing.T) {
	for _, cookies := range []string{"0", "1"} {
		t.Run("cookies "+cookies, func(t *testing.T) {
			in(t, func(s *scene) {
				s.set("ipv4/tcp_syncookies", cookies)
				s.deferring(16)
				off := cookies == "0"
				severity := map[bool]health.Severity{true: health.Critical, false: health.Warning}[off]
				fill := func(n uint64) *health.Snapshot {
					now := s.take(health.Options{})
					for have, _ := synRecv(now); have < n; have++ {
						s.start()
					}
					s.until("half-open connections", func() bool {
						now = s.take(health.Options{})
						have, _ := synRecv(now)
						return have == n
					})
					return now
				}
				first := fill(5)
				all := s.findings(first, first, health.Thresholds{})
				want(t, all, health.SynBacklog, health.OK)
				if off {
					want(t, all, health.SyncookiesOff, health.Warning, "tcp_syncookies=0")
				} else {
					want(t, all, health.SyncookiesOff, health.OK)
				}
				second := fill(16)
				f := want(t, s.findings(first, second, health.Thresholds{}), health.SynBacklog, severity, "16 half-open connections on port 9000")
				shows(t, f, "SYN_RECV", 16)
				shows(t, f, "backlog", 16)

				// What comes on top is dropped, or answered by a cookie.
				counter, word := "TcpExt.TCPReqQFullDoCookies", "cookies"
				if off {
					counter, word = "TcpExt.TCPReqQFullDrop", "dropped"
				}
				for range 4 { // the first of them still finds room
					s.start()
				}
				var third *health.Snapshot
				s.until(counter, func() bool {
					third = s.take(health.Options{})
					was, _ := second.Counter(counter)
					n, _ := third.Counter(counter)
					return n-was >= 3
				})
				want(t, s.findings(second, third, health.Thresholds{}), health.SynBacklog, severity, word)
			})
		})
	}
}

// Two connections fill the queue; the third one's last ACK is dropped, while its
// client is connected.
func TestHalfOpenMismatch(t *testing.T) {
	in(t, func(s *scene) {
		l := s.deferring(1)
		send := func(fd int) {
			s.until("data is sent", func() bool {
				_, err := unix.Write(fd, []byte("x"))
				return err == nil
			})
		}
		third := s.start() // half-open, as long as it says nothing
		s.until("half-open", func() bool { n, _ := synRecv(s.take(health.Options{})); return n == 1 })
		for i := range 2 {
			send(s.start())
			s.until("in the queue", func() bool { return s.queued(l) == i+1 })
		}
		send(third)
		// From now on it is not waited for data, and so the SYN-ACK is sent again.
		s.must("TCP_DEFER_ACCEPT", unix.SetsockoptInt(l, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 1))
		var now *health.Snapshot
		s.until("the SYN-ACK is sent again", func() bool {
			now = s.take(health.Options{})
			_, n := synRecv(now)
			return n == 1
		})
		f := want(t, s.findings(nil, now, health.Thresholds{}), health.HalfOpenMismatch, health.Warning, "1 clients of port 9000")
		shows(t, f, "waiting", 2)
		shows(t, f, "backlog", 1)
		for s.queued(l) > 0 {
			s.accept(l)
		}
		want(t, s.findings(nil, s.take(health.Options{}), health.Thresholds{}), health.HalfOpenMismatch, health.OK)
	})
}

// A destination that does not answer: a full queue drops SYNs.
func TestSynSentStuck(t *testing.T) {
	in(t, func(s *scene) {
		l := s.listen(server, 0)
		s.start()
		s.until("one in the queue", func() bool { return s.queued(l) == 1 })
		for range 12 {
			s.start()
		}
		var now *health.Snapshot
		s.until("each SYN sent three times", func() bool {
			now = s.take(health.Options{})
			silent := 0
			for _, d := range now.Destinations {
				silent = max(silent, d.Silent)
			}
			if silent <= 10 {
				want(t, s.findings(nil, now, health.Thresholds{}), health.SynSentStuck, health.OK) // so far
			}
			return silent == 12
		})
		f := want(t, s.findings(nil, now, health.Thresholds{}), health.SynSentStuck, health.Warning, "127.0.0.1:9000 does not answer", "12 connections")
		shows(t, f, "unanswered", 12)
		want(t, s.findings(nil, now, health.Thresholds{Silent: 12}), health.SynSentStuck, health.OK)
	})
}
