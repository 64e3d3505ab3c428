package health_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/sockdiag/health"
)

// The headroom of a destination is the number of connects that succeed before one
// fails with EADDRNOTAVAIL, whatever uses the ports. The oracle is connect().
func TestHeadroom(t *testing.T) {
	const mixes = 28
	for seed := range uint64(mixes) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			in(t, func(s *scene) { headroomOf(s, rand.New(rand.NewPCG(seed, 27))) })
		})
	}
}

func headroomOf(s *scene, r *rand.Rand) {
	t := s.t
	// An even number of ports: of an odd one connect() may pass over one.
	first, n := 20000+2*r.IntN(100), 2*(10+r.IntN(20))
	s.set("ipv4/ip_local_port_range", fmt.Sprintf("%d %d", first, first+n-1))
	var reserved []string
	for range r.IntN(5) {
		reserved = append(reserved, fmt.Sprint(first-3+r.IntN(n+6))) // some are outside, some twice
	}
	s.set("ipv4/ip_local_reserved_ports", strings.Join(reserved, ","))
	timestamps := r.IntN(4) > 0
	if !timestamps {
		s.set("ipv4/tcp_timestamps", "0")
	}
	s.set("ipv4/tcp_tw_reuse", "0") // while the connections are made

	servers := []netip.AddrPort{addr("127.0.0.1:9000"), addr("127.0.0.1:9001"), addr("127.0.0.2:9000"), addr("[::1]:9000")}
	listeners := map[netip.AddrPort]int{}
	for _, a := range servers {
		listeners[a] = s.listen(a, 1000)
	}
	// Ports that somebody has bound are passed over, for whatever address it is.
	kinds := []string{"listens", "is bound"}
	if kernel, err := sockdiag.RunningRelease(); err != nil || !kernel.AtLeast(6, 8) {
		kinds = kinds[:1] // it does not tell of the others, as the package comment says
	}
	for _, kind := range kinds {
		for range r.IntN(4) {
			fd := s.socket(false)
			err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.9"), uint16(first+r.IntN(n)))))
			if kind == "listens" && err == nil {
				err = unix.Listen(fd, 1)
			}
			if err != nil && !errors.Is(err, unix.EADDRINUSE) {
				t.Fatal(err)
			}
		}
	}
	ways := []way{{}, {}, {from: "127.0.0.7"}, {v6: true}, {device: "lo"}}
	for range r.IntN(3 * n) {
		to := servers[r.IntN(len(servers))]
		w := ways[r.IntN(len(ways))]
		if to.Addr().Is6() {
			w = way{}
		}
		client, err := s.connect(to, w)
		if errors.Is(err, unix.EADDRNOTAVAIL) {
			continue // full already, which is a case, too
		}
		s.must("connect", err)
		server := s.accept(listeners[to])
		switch r.IntN(6) {
		case 0, 1, 2:
			s.timeWait(client, server)
		case 3:
			s.finWait2(client, server)
		case 4:
			s.halfClose(server, client) // CLOSE_WAIT at the client
		case 5: // ESTABLISHED
		}
	}

	reuse := r.IntN(3)
	s.set("ipv4/tcp_tw_reuse", fmt.Sprint(reuse))
	if old := r.IntN(3) > 0; s.set("ipv4/tcp_tw_reuse_delay", map[bool]string{true: "1", false: "60000"}[old]) {
		time.Sleep(50 * time.Millisecond) // so that every TIME_WAIT is clearly older than 1 ms
	} else if reuse > 0 {
		time.Sleep(2100 * time.Millisecond) // this kernel wants whole seconds
	}

	before := s.take(health.Options{})
	if before.Settings.PortRange.Value.Len() != n || before.DestinationError != 0 || len(before.Gaps) > 0 {
		t.Errorf("range %v, error %d, gaps %q", before.Settings.PortRange.Value, before.DestinationError, before.Gaps)
	}
	type try struct {
		local netip.Addr
		to    netip.AddrPort
		way
	}
	local := netip.MustParseAddr("127.0.0.1")
	// Those without a device come last: those with one do not take their ports away,
	// but the reverse holds.
	tries := []try{{local, servers[0], way{device: "lo"}}, {netip.IPv6Loopback(), servers[3], way{}}}
	for _, to := range servers[:3] {
		tries = append(tries, try{local, to, way{}}, try{netip.MustParseAddr("127.0.0.7"), to, way{from: "127.0.0.7"}})
	}
	for _, tr := range tries {
		want := before.Ports.Usable // where no connection leads to yet
		used := 0
		for _, d := range before.Destinations {
			if d.Local == tr.local && d.Remote == tr.to && (d.Interface == 1) == (tr.device != "") {
				want, used = d.Headroom, d.Used
				if d.Free+d.Reusable != d.Headroom || d.TimeWait+d.FinWait2 > d.Used {
					t.Errorf("%+v", d)
				}
			} else if d.Local == tr.local && d.Remote == tr.to && d.Interface == 0 && used == 0 {
				want -= d.Used - d.Aged*min(reuse, 1)*b2i(timestamps) // in the way of a device's
			}
		}
		got := 0
		for ; ; got++ {
			if _, err := s.connect(tr.to, tr.way); err != nil {
				if !errors.Is(err, unix.EADDRNOTAVAIL) {
					t.Fatal(err)
				}
				break
			}
		}
		// A port may be used both with a device and without one, and is counted twice.
		if got < want || got > want && (tr.device == "" || got > want+used) {
			t.Errorf("%v to %v %+v: headroom %d (used %d), but %d connects succeed; ports %+v, reuse %d, timestamps %v",
				tr.local, tr.to, tr.way, want, used, got, before.Ports, reuse, timestamps)
		}
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
