package sockdiag

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/internal/procnet"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// counters are two Clients of one namespace: one that never dumps the crowds, and
// one that dumps all.
type counters struct {
	quick, plain *Client
	taught       int // dumps that showed quick what a gauge means, or that it is wrong
}

func newCounters(t *testing.T, ns int) *counters {
	t.Helper()
	c := new(counters)
	for _, p := range []**Client{&c.quick, &c.plain} {
		client, err := Dial(&Config{NetNS: ns})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := client.Close(); err != nil {
				t.Error(err)
			}
		})
		*p = client
	}
	c.quick.counting.crowd = 0
	c.plain.counting.open = nil
	return c
}

// compare counts in a moment in which nothing moves, and returns what there is and
// how the quick one got there.
func (c *counters) compare(t *testing.T, q Query) (tcpstate.Counts, countRun) {
	t.Helper()
	count := func(client *Client) tcpstate.Counts {
		counts, err := client.Count(t.Context(), q)
		if err != nil {
			t.Fatalf("Count(%+v): %v", q, err)
		}
		return counts
	}
	again := false
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		before := count(c.plain)
		l := c.quick.counting.learned
		c.quick.forget(l)
		quick := count(c.quick)
		run := c.quick.run()
		if after := count(c.plain); before != after {
			if time.Now().After(deadline) {
				t.Fatal("the namespace does not come to rest")
			}
			continue
		}
		if diff := cmp.Diff(before, quick); diff != "" {
			if !again { // a TIME_WAIT may have been half gone
				again = true
				continue
			}
			t.Errorf("%+v, knowing %+v, %+v: dumped (-), counted (+):\n%s", q, l, run, diff)
		}
		// The rows came twice, and are not to again.
		if now := c.quick.counting.learned; (run.doubt == contradicted || run.doubt == untaught) && now != l {
			c.taught++
			continue
		}
		return before, run
	}
}

// A Count without the crowds' rows is what a dump counts, in mixes of all that a
// socket can be, of a namespace that is not the caller's.
func TestCountOfMixes(t *testing.T) {
	nstest.RequireNamespace(t)
	home, other, third := nstest.NewNamespace(t), nstest.NewNamespace(t), nstest.NewNamespace(t)
	c := newCounters(t, other.FD())
	home.Do(func() { // on whose thread the files are opened, and which must not matter
		for range 7 {
			nstest.Pair(t, nstest.IPv4)
		}
		if counts, run := c.compare(t, Query{}); counts.Total() != 0 || run.out.Without(tcpstate.BoundInactive) != crowds {
			t.Errorf("%v in an empty namespace, %+v", counts, run)
		}
	})

	families := nstest.Families[:] // of MPTCP sockets
	other.Do(func() {
		if !mptcp6InUse(t, other.FD()) {
			// Such a kernel (6.18.15) also goes wrong, and down at last, when many of
			// them come and go. That one stays.
			families = families[:1]
		}
	})
	const mixes = 220
	made := map[string]int{}
	leftOut := map[tcpstate.Set]int{}
	most := tcpstate.Counts{}
	for seed := range mixes {
		r := rand.New(rand.NewPCG(uint64(seed), 2))
		t.Run("", func(t *testing.T) {
			check := func() {
				counts, run := c.compare(t, Query{})
				want := crowds
				if run.out.Has(tcpstate.CloseWait) {
					want = want.Without(tcpstate.Established).With(tcpstate.CloseWait)
				}
				rows := counts.Total()
				for s := range run.out.States() {
					rows -= counts[s]
				}
				// Other sockets of the host come and go, and with them this.
				if run.out.Has(tcpstate.BoundInactive) {
					run.out = run.out.Without(tcpstate.BoundInactive)
					made["proofs that none is bound"]++
				}
				if run.out != want || run.doubt != noDoubt || run.rows != int(rows) {
					t.Errorf("%v: %+v, want %v left out and %d rows", counts, run, want, rows)
				}
				leftOut[run.out]++
				for s, n := range counts.All() {
					most[s] = max(most[s], n)
				}
				for _, q := range []Query{
					{Family: IPv4}, {Family: IPv6}, {States: crowds}, {States: tcpstate.Established.Set()},
					{States: tcpstate.TimeWait.Set()}, {States: tcpstate.SetOf(tcpstate.Established, tcpstate.CloseWait), Family: IPv6},
					{States: tcpstate.Set(r.Uint32()), Family: []Family{0, IPv4, IPv6}[r.IntN(3)]},
				} {
					if _, run := c.compare(t, q); run.doubt != noDoubt && run.doubt != outnumbered {
						t.Errorf("%+v: %+v", q, run)
					}
				}
			}
			other.Do(func() {
				mix(t, seed, r, families, made)
				if seed%3 == 0 {
					check() // on a thread in the namespace
				}
			})
			switch seed % 3 {
			case 1:
				third.Do(check) // in another
			case 2:
				home.Do(check)
			}
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("made %v; most of each state:\n%v\nleft out %v; learned %+v, by dump %d times", made, most, leftOut, c.quick.counting.learned, c.taught)
	for s := tcpstate.Established; s <= tcpstate.Closing; s++ {
		if most[s] == 0 && s != tcpstate.Closed {
			t.Errorf("no mix had a socket in %v", s)
		}
	}
	if leftOut[crowds] < mixes/4 {
		t.Errorf("left out: %v", leftOut)
	}
	// Where CurrEstab includes CLOSE_WAIT, that has been the crowd sometimes.
	l := c.quick.counting.learned
	if (l.meaning == inclusive) != (len(leftOut) == 2) || l.meaning == untold {
		t.Errorf("left out: %v, learned %+v", leftOut, l)
	}
	// What CurrEstab means is learned once, that "inuse" is off too.
	if c.taught > 3 || c.taught == 0 && l.inUseOff {
		t.Errorf("%d dumps to learn %+v", c.taught, l)
	}
	if expected := c.quick.counting.expected; expected != untold && l.meaning != expected {
		t.Errorf("learned %+v, expected %v", l, expected)
	}
}

// mix makes up to some sockets of every kind.
func mix(t *testing.T, seed int, r *rand.Rand, families []nstest.Family, made map[string]int) {
	few := []int{0, 0, 1, 2, 4}
	for _, kind := range []struct {
		name string
		add  func(nstest.Family)
	}{
		{"pair", func(f nstest.Family) { nstest.Pair(t, f) }},
		{"time-wait", func(f nstest.Family) { nstest.TimeWait(t, f, 1) }},
		{"half", func(f nstest.Family) { halfClosed(t, f) }},
		{"mini", func(f nstest.Family) {
			fd := halfClosed(t, f)
			setsockopt(t, fd, unix.IPPROTO_TCP, unix.TCP_LINGER2, 60)
			nstest.Close(t, fd)
		}},
		{"orphan", func(f nstest.Family) {
			fd := halfClosed(t, f)
			setsockopt(t, fd, unix.IPPROTO_TCP, unix.TCP_LINGER2, 100)
			nstest.Close(t, fd)
		}},
		{"bound", func(f nstest.Family) { bound(t, f, unix.IPPROTO_TCP) }},
		{"unbound", func(f nstest.Family) { newSocket(t, f, unix.IPPROTO_TCP) }},
		{"listener", func(f nstest.Family) {
			if err := unix.Listen(bound(t, f, unix.IPPROTO_TCP), 1); err != nil {
				t.Error(err)
			}
		}},
		{"reset", func(f nstest.Family) { // in state CLOSE, and still somebody's
			c, s := nstest.Pair(t, f)
			nstest.Abort(t, s)
			awaitState(t, c, tcpstate.Closed)
		}},
		{"self", func(f nstest.Family) { selfConnect(t, f) }},
		{"repaired", func(f nstest.Family) { repaired(t, f) }},
		{"request", func(f nstest.Family) { requestSocket(t, f) }},
		{"mptcp", func(f nstest.Family) { mptcp(t, f) }},
	} {
		for _, f := range nstest.Families {
			n := few[r.IntN(len(few))]
			if kind.name == "mptcp" && !slices.Contains(families, f) {
				continue
			}
			if kind.name == "pair" || kind.name == "half" {
				n *= r.IntN(4)
			}
			for range n {
				kind.add(f)
			}
			made[kind.name] += n
		}
	}
	if seed%20 == 0 {
		nstest.States(t, nstest.Families[r.IntN(len(nstest.Families))])
		made["states"]++
	}
}

func newSocket(t *testing.T, f nstest.Family, protocol int) int {
	t.Helper()
	fd, err := unix.Socket(int(f.Number()), unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		_ = unix.Close(fd)
	})
	return fd
}

func setsockopt(t *testing.T, fd, level, name, value int) {
	t.Helper()
	if err := unix.SetsockoptInt(fd, level, name, value); err != nil {
		t.Fatalf("setsockopt(%d, %d): %v", level, name, err)
	}
}

func loopback(f nstest.Family, port int) unix.Sockaddr {
	if f == nstest.IPv4 {
		return &unix.SockaddrInet4{Port: port, Addr: f.Loopback().As4()}
	}
	return &unix.SockaddrInet6{Port: port, Addr: f.Loopback().As16()}
}

func bound(t *testing.T, f nstest.Family, protocol int) int {
	t.Helper()
	fd := newSocket(t, f, protocol)
	if err := unix.Bind(fd, loopback(f, 0)); err != nil {
		t.Fatal(err)
	}
	return fd
}

func connect(t *testing.T, fd int, to unix.Sockaddr) {
	t.Helper()
	if err := unix.Connect(fd, to); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		t.Fatal(err)
	}
}

func awaitState(t *testing.T, fd int, want tcpstate.State) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			t.Fatal(err)
		}
		got := tcpstate.State(info.State)
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v, want %v", got, want)
		}
	}
}

func address(t *testing.T, fd int) unix.Sockaddr {
	t.Helper()
	to, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// halfClosed returns a socket in FIN_WAIT2, the peer of which is in CLOSE_WAIT.
func halfClosed(t *testing.T, f nstest.Family) int {
	t.Helper()
	c, s := nstest.Pair(t, f)
	if err := unix.Shutdown(c, unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	awaitState(t, c, tcpstate.FinWait2)
	awaitState(t, s, tcpstate.CloseWait)
	return c
}

// selfConnect makes a connection of one socket.
func selfConnect(t *testing.T, f nstest.Family) {
	t.Helper()
	fd := bound(t, f, unix.IPPROTO_TCP)
	connect(t, fd, address(t, fd))
	awaitState(t, fd, tcpstate.Established)
}

// repaired makes a connection without a peer.
func repaired(t *testing.T, f nstest.Family) {
	t.Helper()
	fd := bound(t, f, unix.IPPROTO_TCP)
	setsockopt(t, fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, 1)
	connect(t, fd, loopback(f, 9))
	awaitState(t, fd, tcpstate.Established)
}

// requestSocket makes a request socket, its listener and the client.
func requestSocket(t *testing.T, f nstest.Family) {
	t.Helper()
	l := bound(t, f, unix.IPPROTO_TCP)
	setsockopt(t, l, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 60)
	if err := unix.Listen(l, 5); err != nil {
		t.Fatal(err)
	}
	c := newSocket(t, f, unix.IPPROTO_TCP)
	connect(t, c, address(t, l))
	awaitState(t, c, tcpstate.Established)
}

// hasMPTCP reports whether the kernel has such sockets.
func hasMPTCP(t *testing.T, f nstest.Family) bool {
	t.Helper()
	fd, err := unix.Socket(int(f.Number()), unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_MPTCP)
	if err == nil {
		_ = unix.Close(fd)
		return true
	}
	if !errors.Is(err, unix.EPROTONOSUPPORT) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOPROTOOPT) {
		t.Fatal(err)
	}
	return false
}

// mptcp6InUse makes an MPTCP listener and reports whether its TCP socket is one of
// those that are "inuse".
func mptcp6InUse(t *testing.T, ns int) bool {
	t.Helper()
	if !hasMPTCP(t, nstest.IPv6) {
		return false
	}
	r, err := procnet.Open(ns, procnet.Sockstat6)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	before, err := r.TCP6InUse()
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(bound(t, nstest.IPv6, unix.IPPROTO_MPTCP), 1); err != nil {
		t.Fatal(err)
	}
	after, err := r.TCP6InUse()
	if err != nil {
		t.Fatal(err)
	}
	return after == before+1
}

// mptcp makes an MPTCP connection, whose two subflows are TCP sockets, where the
// kernel can.
func mptcp(t *testing.T, f nstest.Family) {
	t.Helper()
	if !hasMPTCP(t, f) {
		return
	}
	l := bound(t, f, unix.IPPROTO_MPTCP)
	if err := unix.Listen(l, 5); err != nil {
		t.Fatal(err)
	}
	c := newSocket(t, f, unix.IPPROTO_MPTCP)
	connect(t, c, address(t, l))
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		s, _, err := unix.Accept4(l, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err == nil {
			t.Cleanup(func() { _ = unix.Close(s) })
			return
		}
		if !errors.Is(err, unix.EAGAIN) || time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// Files of a namespace that /proc does not show as the thread's are not read, and
// those of one that does not fit are of no use.
func TestCountWithoutFiles(t *testing.T) {
	nstest.RequireNamespace(t)
	home, other := nstest.NewNamespace(t), nstest.NewNamespace(t)
	home.Do(func() {
		for range 20 {
			nstest.Pair(t, nstest.IPv4)
		}
	})
	other.Do(func() {
		for range 5 {
			nstest.Pair(t, nstest.IPv6)
		}
		halfClosed(t, nstest.IPv4)
	})
	for name, open := range map[string]func() (gaugeReader, error){
		"none": nil,
		"missing": func() (gaugeReader, error) {
			return procnet.OpenFS(fstest.MapFS{}, procnet.SNMP, procnet.Sockstat, procnet.Sockstat6)
		},
		"of another namespace": func() (gaugeReader, error) {
			return procnet.Open(home.FD(), procnet.SNMP, procnet.Sockstat, procnet.Sockstat6)
		},
	} {
		c := newCounters(t, other.FD())
		c.quick.counting.open = open
		counts, run := c.compare(t, Query{})
		if run.out != 0 && run.doubt == noDoubt || counts[tcpstate.Established] != 10 || counts[tcpstate.CloseWait] != 1 {
			t.Errorf("%s: %v, %+v", name, counts, run)
		}
	}
}

// The table of what is bound is left out where the kernel says that every TCP socket
// of the host is in one of the others; whether there are others on the host, this
// test has no say in.
func TestCountOfBoundMixes(t *testing.T) {
	nstest.RequireNamespace(t)
	ns := nstest.NewNamespace(t)
	c := newCounters(t, ns.FD())
	files, err := procnet.Open(ns.FD(), procnet.Sockstat, procnet.Sockstat6)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	alone := func() bool { // in the host, but for sockets in no table
		t.Helper()
		v4, err4 := files.TCPSockets()
		v6, err6 := files.TCP6InUse()
		if err := errors.Join(err4, err6); err != nil {
			t.Fatal(err)
		}
		return v4.Allocated == v4.InUse+v6
	}
	left, walked := 0, 0
	for seed := range 30 {
		r := rand.New(rand.NewPCG(uint64(seed), 3))
		t.Run("", func(t *testing.T) {
			limbo := 0
			ns.Do(func() {
				for range 3 {
					nstest.Pair(t, nstest.Families[r.IntN(2)])
				}
				nstest.TimeWait(t, nstest.Families[r.IntN(2)], 1+r.IntN(3))
				for _, add := range []func(nstest.Family){
					func(f nstest.Family) { bound(t, f, unix.IPPROTO_TCP) },
					func(f nstest.Family) { newSocket(t, f, unix.IPPROTO_TCP) },
				} {
					for range r.IntN(2) * r.IntN(3) {
						add(nstest.Families[r.IntN(2)])
						limbo++
					}
				}
			})
			for range 20 { // other sockets of the host may come and go between two looks
				before := alone()
				counts, run := c.compare(t, Query{})
				is := run.out.Has(tcpstate.BoundInactive)
				if is && limbo != 0 || run.out.Without(tcpstate.BoundInactive) != crowds || run.doubt != noDoubt || counts[tcpstate.Established] != 6 {
					t.Errorf("%d sockets in no table; %v, %+v", limbo, counts, run)
				}
				if is == before || is == alone() {
					if is {
						left++
					} else {
						walked++
					}
					return
				}
			}
			t.Errorf("the second table is walked or not, whether there are others in the host or not; %d are in no table", limbo)
		})
	}
	t.Logf("left out %d times, walked %d times", left, walked)
	if walked == 0 {
		t.Error("never walked")
	}
}

// Whichever way a Count goes, it allocates nothing once it has been there.
func TestCountAllocs(t *testing.T) {
	nstest.RequireNamespace(t)
	other := nstest.NewNamespace(t)
	other.Do(func() {
		for _, f := range nstest.Families {
			nstest.Many(t, f, 50, 10)
			halfClosed(t, f)
		}
	})
	c := newCounters(t, other.FD()).quick
	cancellable, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, tt := range []struct {
		q   Query
		out tcpstate.Set
	}{
		{Query{States: tcpstate.All.Without(tcpstate.BoundInactive)}, crowds},
		{Query{States: tcpstate.TimeWait.Set()}, tcpstate.TimeWait.Set()},
		{Query{States: tcpstate.Established.Set()}, tcpstate.Established.Set()},
	} {
		for _, ctx := range []context.Context{context.Background(), cancellable} {
			var err error
			n := testing.AllocsPerRun(20, func() { _, err = c.Count(ctx, tt.q) })
			if n != 0 || err != nil || c.run().out != tt.out || c.run().doubt != noDoubt {
				t.Errorf("%+v: %v allocations, %v, %+v", tt.q, n, err, c.run())
			}
		}
	}
}
