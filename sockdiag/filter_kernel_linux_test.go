package sockdiag

import (
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/nlsock"
	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/internal/uapi"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// filterPatience is how long the kernel may take for a change of state.
const filterPatience = 20 * time.Second

// socketMaker makes sockets with the addresses, marks and devices that a test of
// filters is about, in the calling thread's namespace.
type socketMaker struct {
	t    *testing.T
	open map[int]bool
}

func newSocketMaker(t *testing.T) *socketMaker {
	m := &socketMaker{t, map[int]bool{}}
	t.Cleanup(func() {
		for fd := range m.open {
			_ = unix.Close(fd)
		}
	})
	return m
}

func (m *socketMaker) close(fd int) {
	m.t.Helper()
	delete(m.open, fd)
	if err := unix.Close(fd); err != nil {
		m.t.Fatal(os.NewSyscallError("close", err))
	}
}

// addresses adds addresses to lo.
func (m *socketMaker) addresses(addrs ...string) {
	m.t.Helper()
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		m.t.Fatal(err)
	}
	for _, a := range addrs {
		addr, err := netlink.ParseAddr(a)
		if err != nil {
			m.t.Fatal(err)
		}
		if addr.IP.To4() == nil {
			addr.Flags = unix.IFA_F_NODAD // to be of use at once
		}
		if err := netlink.AddrAdd(lo, addr); err != nil {
			m.t.Fatalf("add %s: %v", a, err)
		}
	}
}

type socketOptions struct {
	mark   int
	device string
	defers bool // an accept waits for data, so that connections stay in SYN_RECV
}

// socket makes a socket that is bound to the address, whose family is its own. It
// may bind to what a socket in TIME_WAIT has.
func (m *socketMaker) socket(local netip.AddrPort, o socketOptions) int {
	m.t.Helper()
	family := unix.AF_INET
	if local.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		m.t.Fatal(os.NewSyscallError("socket", err))
	}
	m.open[fd] = true
	set := func(what string, err error) {
		if err != nil {
			m.t.Fatalf("%s: %v", what, err)
		}
	}
	set("SO_REUSEADDR", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	if o.mark != 0 {
		set("SO_MARK", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, o.mark))
	}
	if o.device != "" {
		set("SO_BINDTODEVICE", unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, o.device))
	}
	if o.defers {
		set("TCP_DEFER_ACCEPT", unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_DEFER_ACCEPT, 60))
	}
	set("bind "+local.String(), unix.Bind(fd, rawAddr(local)))
	return fd
}

func rawAddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func (m *socketMaker) listen(local netip.AddrPort, o socketOptions) int {
	m.t.Helper()
	fd := m.socket(local, o)
	if err := unix.Listen(fd, 128); err != nil {
		m.t.Fatal(os.NewSyscallError("listen", err))
	}
	return fd
}

// connect makes a connection from a new socket and returns that and, unless the
// listener defers, the other end.
func (m *socketMaker) connect(local netip.AddrPort, o socketOptions, listener int, remote netip.AddrPort) (client, server int) {
	m.t.Helper()
	client = m.socket(local, o)
	err := unix.Connect(client, rawAddr(remote))
	for errors.Is(err, unix.EINTR) || errors.Is(err, unix.EALREADY) {
		if err = unix.Connect(client, rawAddr(remote)); errors.Is(err, unix.EISCONN) {
			err = nil
		}
	}
	if err != nil {
		m.t.Fatalf("connect %v to %v: %v", local, remote, err)
	}
	if listener < 0 {
		return client, -1
	}
	for {
		server, _, err = unix.Accept4(listener, unix.SOCK_CLOEXEC)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		m.t.Fatal(os.NewSyscallError("accept", err))
	}
	m.open[server] = true
	return client, server
}

// shut sends the FIN of an end, and waits until both are in the states.
func (m *socketMaker) shut(fd, peer int, state, peerState tcpstate.State) {
	m.t.Helper()
	if err := unix.Shutdown(fd, unix.SHUT_WR); err != nil {
		m.t.Fatal(os.NewSyscallError("shutdown", err))
	}
	m.await(fd, state)
	m.await(peer, peerState)
}

func (m *socketMaker) await(fd int, want tcpstate.State) {
	m.t.Helper()
	for deadline := time.Now().Add(filterPatience); ; time.Sleep(time.Millisecond) {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			m.t.Fatal(os.NewSyscallError("getsockopt TCP_INFO", err))
		}
		if tcpstate.State(info.State) == want {
			return
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("a socket is in %v, not %v", tcpstate.State(info.State), want)
		}
	}
}

// timeWait leaves the first end in TIME_WAIT, and nothing of the other.
func (m *socketMaker) timeWait(fd, peer int) {
	m.t.Helper()
	m.shut(fd, peer, tcpstate.FinWait2, tcpstate.CloseWait)
	m.shut(peer, fd, tcpstate.Closed, tcpstate.Closed)
	m.close(fd)
	m.close(peer)
}

// dumpProgram asks the kernel itself, with a program for a filter.
func dumpProgram(t *testing.T, family Family, states tcpstate.Set, program []byte) ([]Socket, error) {
	t.Helper()
	s, err := nlsock.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.SetReadDeadline(time.Now().Add(filterPatience)); err != nil {
		t.Fatal(err)
	}
	q := Query{Family: family, States: states}
	r := q.request()
	r.program = program
	if err := s.Send(r.append(nil, 1)); err != nil {
		t.Fatal(err)
	}
	rows := q.rowFilter()
	var sockets []Socket
	buf := make([]byte, minBuffer)
	for {
		n, _, _, err := s.Receive(buf, true)
		if err != nil {
			t.Fatal(err)
		}
		for b := buf[:n]; len(b) >= uapi.SizeofNLMsgHdr; {
			size := int(ne.Uint32(b))
			payload := b[uapi.SizeofNLMsgHdr:size]
			switch ne.Uint16(b[4:]) {
			case uapi.NLMsgDone:
				return sockets, nil
			case uapi.NLMsgError:
				return nil, syscall.Errno(-int32(ne.Uint32(payload)))
			}
			row, err := DecodeSocket(TCP, payload)
			if err != nil {
				t.Fatal(err)
			}
			row.State, _ = rows.state(row.State, payload)
			sockets = append(sockets, row)
			b = b[min((size+3)&^3, len(b)):]
		}
	}
}

// hereNames looks names up in the calling thread's namespace.
func hereNames(t *testing.T) nameResolver {
	t.Helper()
	s, err := nlsock.Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return transportNames{s}
}

// selectsByKernel compiles the filter, has the kernel evaluate it, and checks that
// Match agrees about every socket, in requests for both families and for each.
func selectsByKernel(t *testing.T, f Filter, states tcpstate.Set, all []Socket, names nameResolver) (selected []Socket) {
	t.Helper()
	for _, family := range []Family{IPv6, IPv4, 0} {
		p, err := f.compile(family, names)
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		selected, err = dumpProgram(t, family, states, p.code)
		if err != nil {
			t.Fatalf("%s: the kernel says %v of % x", f, err, p.code)
		}
		in := map[uint64]bool{}
		for _, s := range selected {
			in[s.Cookie] = true
		}
		if len(in) != len(selected) {
			t.Errorf("%s: %d rows of %d sockets", f, len(selected), len(in))
		}
		for _, s := range all {
			if family != 0 && s.Family != family {
				continue
			}
			matched, decided := p.rows.Match(&s)
			if decided && matched != in[s.Cookie] && unchanged(t, states, &s) {
				t.Errorf("%s in a dump of family %d: Match says %v of %v %v %v, the kernel %v", f, family, matched, s.State, s.Local, s.Remote, in[s.Cookie])
			}
		}
	}
	return selected
}

// unchanged reports whether a socket still is what it was: TIME_WAIT, for one, ends
// by itself.
func unchanged(t *testing.T, states tcpstate.Set, s *Socket) bool {
	t.Helper()
	now, err := dumpProgram(t, 0, states, nil)
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(now, func(n Socket) bool { return n.Cookie == s.Cookie && n.State == s.State })
}

// madeSockets are sockets with names, which are found by their ends.
type madeSockets map[string]string // "local remote" to name

func (made madeSockets) add(t *testing.T, name, local, remote string) {
	t.Helper()
	ends := local + " " + remote
	if made[ends] != "" {
		t.Fatalf("%s and %s have the same ends", name, made[ends])
	}
	made[ends] = name
}

// names are those of the rows.
func (made madeSockets) names(t *testing.T, rows []Socket) (names []string) {
	t.Helper()
	for _, s := range rows {
		name, ok := made[s.Local.String()+" "+s.Remote.String()]
		if !ok {
			t.Errorf("%v %v %v was not made", s.State, s.Local, s.Remote)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// makeSockets makes the sockets that the expressions of TestFilterSelects are
// about, in a namespace of their own. Ports named in it are below those that the
// kernel chooses from. What listens or is bound alone has no remote end, which is
// written 0.
func makeSockets(t *testing.T) madeSockets {
	t.Helper()
	m, made := newSocketMaker(t), madeSockets{}
	m.addresses("10.1.2.3/32", "192.168.7.1/32", "fd00:1::1/128")
	at := netip.MustParseAddrPort
	listen := func(name, local string, o socketOptions) int {
		t.Helper()
		none := "0.0.0.0:0"
		if at(local).Addr().Is6() {
			none = "[::]:0"
		}
		made.add(t, name, local, none)
		return m.listen(at(local), o)
	}
	connect := func(name, local, remote string, o socketOptions, listener int) (client, server int) {
		t.Helper()
		made.add(t, name, local, remote)
		return m.connect(at(local), o, listener, at(remote))
	}
	none := socketOptions{}

	l4 := listen("l4", "127.0.0.1:80", none)
	lany := listen("lany", "0.0.0.0:443", socketOptions{device: "lo"})
	l6 := listen("l6", "[::1]:8080", socketOptions{mark: 0x10})
	l6any := listen("l6any", "[::]:22", none)
	lm := listen("lm", "[::ffff:10.1.2.3]:8443", none)
	listen("ld", "127.0.0.1:25", socketOptions{defers: true})

	// c... is the end that connected, s... the one that was accepted, with the
	// listener's mark.
	connect("c4", "10.1.2.3:10001", "127.0.0.1:80", none, l4)
	made.add(t, "s4", "127.0.0.1:80", "10.1.2.3:10001")
	connect("c6", "[fd00:1::1]:10002", "[::1]:8080", socketOptions{mark: 0x11}, l6)
	made.add(t, "s6", "[::1]:8080", "[fd00:1::1]:10002")
	connect("cm", "10.1.2.3:10003", "10.1.2.3:8443", none, lm)
	made.add(t, "sm", "[::ffff:10.1.2.3]:8443", "[::ffff:10.1.2.3]:10003")
	connect("c22", "192.168.7.1:10004", "192.168.7.1:22", socketOptions{mark: 0x110}, l6any)
	made.add(t, "s22", "[::ffff:192.168.7.1]:22", "[::ffff:192.168.7.1]:10004")

	// Mini-sockets, and with the second the other end, bound to lo as its listener.
	m.timeWait(connect("tw", "10.1.2.3:10005", "127.0.0.1:80", socketOptions{mark: 0xff}, l4))
	fw, cw := connect("fw", "127.0.0.1:10006", "127.0.0.1:443", none, lany)
	made.add(t, "cw", "127.0.0.1:443", "127.0.0.1:10006")
	m.shut(fw, cw, tcpstate.FinWait2, tcpstate.CloseWait)
	m.close(fw)
	connect("cd", "127.0.0.1:10008", "127.0.0.1:25", none, -1)
	made.add(t, "sr", "127.0.0.1:25", "127.0.0.1:10008")

	m.socket(at("127.0.0.1:15000"), socketOptions{mark: 0x10})
	made.add(t, "bi", "127.0.0.1:15000", "0.0.0.0:0")
	return made
}

// What each expression selects of makeSockets, as their properties have it: names,
// or all and with a minus those that are not among them. OWN is the control group
// of the test.
var filterExpectations = []struct{ text, want string }{
	{"", "all"},
	{"not src *", ""},
	{"src 127.0.0.1", "l4 ld s4 fw cw cd sr bi"},
	{"src 127/8", "l4 ld s4 fw cw cd sr bi"},
	{"dst 127.0.0.1", "c4 tw fw cw cd sr"},
	{"src 10.1.2.3", "c4 cm tw lm sm"},
	{"src 10/8", "c4 cm tw lm sm"},
	{"dst 10.0.0.0/8", "s4 cm sm"},
	{"src 192.168.0.0/16", "c22 s22"},
	{"not src 192.168.0.0/16", "all -c22 -s22"},
	{"src ::ffff:10.1.2.3", "lm sm"},
	{"src ::ffff:10.0.0.0/104", "lm sm"},
	{"src ::ffff:0:0/96", "lm sm s22"},
	{"dst ::ffff:0:0/96", "sm s22"},
	{"src 0.0.0.0/0", "all -l6 -l6any -c6 -s6"},
	{"dst 0.0.0.0/0", "all -l6 -l6any -lm -c6 -s6"},
	{"not src 0.0.0.0/0", "l6 l6any c6 s6"},
	{"src ::/0", "l6 l6any lm c6 s6 sm s22"},
	{"not src ::/0", "all -l6 -l6any -lm -c6 -s6 -sm -s22"},
	{"src 0.0.0.0/1", "all -l6 -l6any -c6 -s6 -c22 -s22"},
	{"src ::1", "l6 s6"},
	{"dst ::1", "c6"},
	{"src fd00::/8", "c6"},
	{"dst fd00:1::/32", "s6"},
	{"src ::", "l6any"},
	{"dst ::", "l6 l6any lm"},
	{"src 0.0.0.0", "lany"},
	{"dst 0.0.0.0", "l4 lany ld bi"},
	{"src 10.1.2.3:8443", "lm sm"},
	{"dst [::1]:8080", "c6"},
	{"src [::1]:8081", ""},
	{"src *:443", "lany cw"},
	{"src :ssh", "l6any s22"},
	{"sport = 80", "l4 s4"},
	{"sport != 80", "all -l4 -s4"},
	{"sport < 80", "l6any ld sr s22"},
	{"sport <= 80", "l6any ld sr s22 l4 s4"},
	{"sport > 8080", "lm sm c4 c6 cm c22 tw fw cd bi"},
	{"sport >= 8080", "lm sm c4 c6 cm c22 tw fw cd bi l6 s6"},
	{"dport = 0", "l4 lany l6 l6any lm ld bi"},
	{"dport != 0", "all -l4 -lany -l6 -l6any -lm -ld -bi"},
	{"dport 80", "c4 tw"},
	{"dport gt 10004", "cw sr"},
	{"dport ge 10004", "s22 cw sr"},
	{"dport lt 25", "l4 lany l6 l6any lm ld bi c22"},
	{"dport le 25", "l4 lany l6 l6any lm ld bi c22 cd"},
	{"sport >= 10002 and sport <= 10005", "c6 cm c22 tw"},
	{"not ( sport >= 10002 and sport <= 10005 )", "all -c6 -cm -c22 -tw"},
	{"dev lo", "lany cw"},
	{"dev != lo", "all -lany -cw"},
	{"dev 1", "lany cw"},
	{"dev 0", "all -lany -cw"},
	{"dev 99", ""},
	{"fwmark 0x10", "l6 s6 bi"},
	{"fwmark 0x10/0xf0", "l6 s6 bi c6 c22"},
	{"fwmark 0xff", "tw"},
	{"fwmark 0", "all -l6 -s6 -c6 -c22 -bi -tw"},
	{"fwmark != 0", "l6 s6 c6 c22 bi tw"},
	{"fwmark 1/1", "c6 tw"},
	{"autobound", "s4 s6 sm s22 tw fw cw sr"},
	{"not autobound", "l4 lany l6 l6any lm ld c4 c6 cm c22 cd bi"},
	{"cgroup OWN", "all -tw -fw -sr"},
	{"cgroup != OWN", "tw fw sr"},
	{"cgroup id:0", "tw fw sr"},
	{"cgroup id:1234567", ""},
	{"cgroup id:0 or cgroup OWN", "all"},
	{"sport = 80 or sport = 22 and dport = 0", "l4 l6any"},
	{"sport = 80 or ( sport = 22 and dport = 0 )", "l4 s4 l6any"},
	{"not sport = 80 and dst 127.0.0.1", "c4 tw fw cw cd sr"},
	{"not ( src 127.0.0.1 or src ::/0 )", "lany c4 cm c22 tw"},
	{"( src 10/8 or src 192.168/16 ) and ( dport = 8443 or dport = 22 or dport = 80 )", "c4 cm tw c22"},
	{"not dev lo and not autobound and not dst 0.0.0.0 and not dst ::", "c4 c6 cm c22 cd"},
	{"fwmark 0x10 dev 0 sport < 9000", "l6 s6"},
	{"dst 127.0.0.1:80 | dst 10.1.2.3:8443", "c4 tw cm"},
	{"! dst 127.0.0.1:80 & src 10.1.2.3", "cm lm sm"},
	{"dport = 443 or dport = :8080", "fw c6"},
}

// The kernel selects what is written down above, and Match agrees.
func TestFilterSelects(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		made := makeSockets(t)
		names := hereNames(t)
		client, err := Dial(nil)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		release := mustRunningRelease(t)
		hasBound, hasTimeWaitMark := release.AtLeast(6, 8), release.AtLeast(6, 1)

		var all []string
		for _, name := range made {
			all = append(all, name)
		}
		rows, err := dumpProgram(t, 0, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range filterExpectations {
			want := map[string]bool{}
			for _, name := range strings.Fields(e.want) {
				switch {
				case name == "all":
					for _, name := range all {
						want[name] = true
					}
				case name[0] == '-':
					if !want[name[1:]] {
						t.Errorf("%s: there is no %s", e.text, name[1:])
					}
					delete(want, name[1:])
				default:
					if !slices.Contains(all, name) {
						t.Errorf("%s: there is no %s", e.text, name)
					}
					want[name] = true
				}
			}
			if !hasBound {
				delete(want, "bi")
			}
			if !hasTimeWaitMark && strings.Contains(e.text, "fwmark") {
				delete(want, "tw")
				if e.text == "fwmark 0" {
					want["tw"] = true
				}
			}
			text := strings.ReplaceAll(e.text, "OWN", "id:"+strconv.FormatUint(ownCgroup(t, rows), 10))
			f := mustParse(t, text)
			got := made.names(t, selectsByKernel(t, f, 0, rows, names))
			if want := slices.Sorted(maps.Keys(want)); !slices.Equal(got, want) {
				t.Errorf("%s: it selects %v, want %v", e.text, got, want)
			}
			dumped, err := Collect(client.Dump(t.Context(), Query{Filter: f}))
			if err != nil {
				t.Fatalf("%s: %v", e.text, err)
			}
			counts, err := client.Count(t.Context(), Query{Filter: f})
			if err != nil {
				t.Fatalf("%s: %v", e.text, err)
			}
			if names := made.names(t, dumped); !slices.Equal(names, got) || counts.Total() != uint64(len(got)) {
				t.Errorf("%s: Dump has %v and Count %d, want %v", e.text, names, counts.Total(), got)
			}
		}
		if len(filterExpectations) < 60 {
			t.Errorf("only %d expressions", len(filterExpectations))
		}
	})
}

// ownCgroup returns the control group that the kernel says the sockets are of.
func ownCgroup(t *testing.T, rows []Socket) uint64 {
	t.Helper()
	for _, s := range rows {
		if s.Attrs.Has(AttrCgroupID) {
			return s.CgroupID
		}
	}
	t.Fatal("no socket has a control group")
	return 0
}

// The kernel refuses what the interpreter refuses, and selects what that selects:
// of programs for filters, and of these with bytes changed.
func TestFilterInterpreterIsTheKernel(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		made := makeSockets(t)
		rows, err := dumpProgram(t, 0, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		chosenByKernel := strings.Fields("s4 s6 sm s22 tw fw cw sr")
		rng := rand.New(rand.NewPCG(3, 4))
		taken, refused, some := 0, 0, 0
		n := 3000
		if testing.Short() {
			n = 300
		}
		for range n {
			p, err := liveFilter(rng, ownCgroup(t, rows)).compile(0, nil)
			if err != nil {
				t.Fatal(err)
			}
			code := p.code
			if len(code) == 0 {
				continue
			}
			for range rng.IntN(3) {
				switch at := 4 * rng.IntN(len(code)/4); rng.IntN(4) {
				case 0: // another operation
					code[at] = byte(rng.IntN(15))
				case 1: // another step
					code[at+1] = byte(4 * rng.IntN(10))
				case 2: // another jump
					ne.PutUint16(code[at+2:], uint16(4*rng.IntN(len(code)/4+3)))
				case 3:
					code[rng.IntN(len(code))] ^= 1 << rng.IntN(8)
				}
			}
			want := audit(code, true)
			selected, err := dumpProgram(t, 0, 0, code)
			if (want == nil) != (err == nil) || want != nil && !errors.Is(want, err) {
				t.Fatalf("% x: the kernel says %v, here it is %v", code, err, want)
			}
			if err != nil {
				refused++
				continue
			}
			taken++
			var expected []Socket
			for _, s := range rows {
				name := made.names(t, []Socket{s})[0]
				if run(code, s.asKernel(!slices.Contains(chosenByKernel, name))) {
					expected = append(expected, s)
				}
			}
			if got, want := made.names(t, selected), made.names(t, expected); !slices.Equal(got, want) {
				t.Errorf("% x: the kernel selects %v, here it is %v", code, got, want)
			}
			if len(expected) > 0 && len(expected) < len(rows) {
				some++
			}
		}
		t.Logf("%d programs: %d taken, of which %d select some sockets and not all, and %d refused", n, taken, some, refused)
		if taken < n/4 || refused < n/4 || some < taken/4 {
			t.Error("these are too few to prove anything")
		}
	})
}

// liveFilter makes a filter out of what makeSockets has.
func liveFilter(rng *rand.Rand, cgroup uint64) Filter {
	c := &choices{make([]byte, 300)}
	for i := range c.data {
		c.data[i] = byte(rng.Uint32())
	}
	var make func(depth int) Filter
	make = func(depth int) Filter {
		ports := []uint16{0, 22, 80, 443, 8080, 10003, 10005}
		prefixes := []string{"127.0.0.0/8", "10.1.2.3/32", "0.0.0.0/0", "::/0", "::1/128", "fd00::/16", "::/96", "0.0.0.0/1"}
		switch kind := c.n(10); {
		case kind < 2:
			p := choose(c, ports...)
			return choose(c, LocalPort, RemotePort)(p, p)
		case kind < 3:
			lo, hi := choose(c, ports...), choose(c, ports...)
			return choose(c, LocalPort, RemotePort)(min(lo, hi), max(lo, hi))
		case kind < 5:
			return choose(c, LocalPrefix, RemotePrefix)(netip.MustParsePrefix(choose(c, prefixes...)))
		case kind < 6:
			return choose(c, Interface(0), Interface(1), Autobound())
		case kind < 7:
			return choose(c, Mark(0x10, 0xf0), Mark(1, 1), Mark(0, 0xffffffff), Cgroup(cgroup), Cgroup(0))
		case depth == 0:
			return Autobound()
		case kind < 8:
			return Not(make(depth - 1))
		}
		return choose(c, And, Or)(make(depth-1), make(depth-1), make(depth-1))
	}
	return make(3)
}

// Without privilege the kernel refuses to filter by mark, and does the rest.
func TestFilterWithoutPrivilege(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.WithoutCaps(t, func() {
		c, err := Dial(nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		marks := 0
		for _, e := range filterExpectations {
			f := mustParse(t, strings.ReplaceAll(e.text, "OWN", "id:1"))
			_, err := Collect(c.Dump(t.Context(), Query{Filter: f}))
			if strings.Contains(e.text, "fwmark") {
				marks++
				if !errors.Is(err, fs.ErrPermission) {
					t.Errorf("%s: %v", e.text, err)
				}
			} else if err != nil {
				t.Errorf("%s: %v", e.text, err)
			}
		}
		if marks == 0 {
			t.Error("no expression has a mark")
		}
	})
}

// Names that nothing has are errors of the call, and so are filters that cannot be.
func TestFilterErrorsOfACall(t *testing.T) {
	nstest.RequireNamespace(t)
	c, err := Dial(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cgroupRoot(t)
	for _, tt := range []struct {
		f    Filter
		want error
	}{
		{InterfaceName("nosuch"), fs.ErrNotExist},
		{Not(InterfaceName("nosuch")), fs.ErrNotExist},
		{CgroupPath("/nosuch"), fs.ErrNotExist},
		{LocalPort(2, 1), fs.ErrInvalid},
		{RemotePrefix(netip.Prefix{}), fs.ErrInvalid},
	} {
		var op *OpError
		if _, err := Collect(c.Dump(t.Context(), Query{Filter: tt.f})); !errors.Is(err, tt.want) || !errors.As(err, &op) || op.Op != "dump" {
			t.Errorf("Dump of %v: %v", tt.f, err)
		}
		if _, err := c.Count(t.Context(), Query{Filter: tt.f}); !errors.Is(err, tt.want) || !errors.As(err, &op) || op.Op != "count" {
			t.Errorf("Count of %v: %v", tt.f, err)
		}
	}
}

// A device is looked up in the namespace of the socket, not in that of the thread.
func TestFilterDeviceOfTheNamespace(t *testing.T) {
	nstest.RequireNamespace(t)
	var names nameResolver
	nstest.NewNamespace(t).Do(func() {
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			err = errors.Join(netlink.LinkSetDown(lo), netlink.LinkSetName(lo, "other"))
		}
		if err != nil {
			t.Fatal(err)
		}
		names = hereNames(t)
	})
	if index, err := names.interfaceIndex("other"); err != nil || index != 1 {
		t.Errorf("%d, %v", index, err)
	}
	for _, name := range []string{"lo", "nosuch", strings.Repeat("x", 15), strings.Repeat("x", 16), strings.Repeat("x", 1000), "a\x00b"} {
		if index, err := names.interfaceIndex(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%.20s: %d, %v", name, index, err)
		}
	}
	if index, err := hereNames(t).interfaceIndex("lo"); err != nil || index != 1 {
		t.Errorf("lo: %d, %v", index, err)
	}
}

// A control group is found by its path in the tree and by that of its folder, and
// its id is the number of the folder.
func TestFilterCgroupPath(t *testing.T) {
	root := cgroupRoot(t)
	number := func(path string) uint64 {
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			t.Fatal(err)
		}
		return uint64(st.Ino)
	}
	for _, path := range []string{"/.", root, root + "/", "."} {
		if id, err := cgroupIDOf(path); err != nil || id != number(root) {
			t.Errorf("%s: %d, %v; want %d", path, id, err, number(root))
		}
	}
	folders, err := filepath.Glob(root + "/*/")
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		name := filepath.Base(folder)
		for _, path := range []string{folder, name, "/" + name, name + "/"} {
			if id, err := cgroupIDOf(path); err != nil || id != number(folder) {
				t.Errorf("%s: %d, %v; want %d", path, id, err, number(folder))
			}
		}
	}
	for _, path := range []string{"nosuch", "/nosuch/group", root + "/nosuch", root + "/cgroup.procs", "/proc", "cgroup.procs", "a\x00b", "/etc/passwd"} {
		if id, err := cgroupIDOf(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %d, %v", path, id, err)
		}
	}
}

func TestUnescapeMount(t *testing.T) {
	for in, want := range map[string]string{
		"/sys/fs/cgroup": "/sys/fs/cgroup", `/a\040b`: "/a b", `\134`: `\`, `/a\04`: `/a\04`, `\999`: `\999`, `\`: `\`, "": "",
	} {
		if got := unescapeMount(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
