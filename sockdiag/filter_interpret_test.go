package sockdiag

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/seed16c515c6/timewait/internal/uapi"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// What follows is the kernel's side of filter programs, written after the
// description of net/ipv4/inet_diag.c: what it refuses, and what it selects. The
// tests that ask the kernel itself are beside it.

// auditError says that the kernel refuses a program, and why.
type auditError struct {
	at  int
	why string
	syscall.Errno
}

func (e *auditError) Error() string { return fmt.Sprintf("at %d: %s: %v", e.at, e.why, e.Errno) }
func (e *auditError) Unwrap() error { return e.Errno }

// audit is what the kernel checks before it takes a program.
func audit(program []byte, netAdmin bool) error {
	bad := func(at int, why string) error { return &auditError{at, why, syscall.EINVAL} }
	if len(program) < 4 {
		return bad(0, "too short")
	}
	at := 0
	for at < len(program) {
		left := len(program) - at
		if left < 4 {
			return bad(at, "half an operation")
		}
		size := 4
		switch code := program[at]; code {
		case uapi.BytecodeNop, uapi.BytecodeJmp, uapi.BytecodeAuto:
		case uapi.BytecodeSGE, uapi.BytecodeSLE, uapi.BytecodeDGE, uapi.BytecodeDLE, uapi.BytecodeSEq, uapi.BytecodeDEq, uapi.BytecodeDevCond:
			size = 8
		case uapi.BytecodeMarkCond:
			if !netAdmin {
				return &auditError{at, "a mark", syscall.EPERM}
			}
			size = 12
		case uapi.BytecodeCgroupCond:
			size = 12
		case uapi.BytecodeSCond, uapi.BytecodeDCond:
			if left < 12 {
				return bad(at, "half a host")
			}
			addr, ok := map[uint8]int{0: 0, uapi.AFInet: 4, uapi.AFInet6: 16}[program[at+4]]
			if !ok {
				return bad(at, "the family of a host")
			}
			if int(program[at+5]) > 8*addr {
				return bad(at, "the prefix of a host")
			}
			size = 12 + addr
		default:
			return bad(at, "an operation that is unknown")
		}
		if left < size {
			return bad(at, "an operation without its operands")
		}
		held, failed := int(program[at+1]), int(binary.NativeEndian.Uint16(program[at+2:]))
		if program[at] != uapi.BytecodeNop {
			if failed < size || failed > left+4 || failed%4 != 0 {
				return bad(at, fmt.Sprintf("a jump by %d", failed))
			}
			if failed < left && !isBoundary(program, at+failed) {
				return bad(at, fmt.Sprintf("a jump by %d, into an operation", failed))
			}
		}
		if held < size || held > left+4 || held%4 != 0 {
			return bad(at, fmt.Sprintf("a step by %d", held))
		}
		at += held
	}
	if at != len(program) {
		return bad(at, "no end")
	}
	return nil
}

// isBoundary reports whether the steps from the beginning come by.
func isBoundary(program []byte, want int) bool {
	at := 0
	for at < want {
		step := int(program[at+1])
		if step < 4 || step%4 != 0 {
			return false
		}
		at += step
	}
	return at == want
}

// kernelSocket is what the kernel looks at.
type kernelSocket struct {
	family     uint8
	local      []byte
	remote     []byte
	sport      int
	dport      int
	device     uint32
	mark       uint32
	cgroup     uint64
	portChosen bool // not by the kernel
}

// run is what the kernel does with an audited program.
func run(program []byte, s *kernelSocket) bool {
	at := 0
	for at < len(program) {
		op := program[at:]
		word := func() int { return int(binary.NativeEndian.Uint16(op[6:])) }
		held := true
		switch op[0] {
		case uapi.BytecodeNop:
		case uapi.BytecodeJmp:
			held = false
		case uapi.BytecodeSEq:
			held = s.sport == word()
		case uapi.BytecodeSGE:
			held = s.sport >= word()
		case uapi.BytecodeSLE:
			held = s.sport <= word()
		case uapi.BytecodeDEq:
			held = s.dport == word()
		case uapi.BytecodeDGE:
			held = s.dport >= word()
		case uapi.BytecodeDLE:
			held = s.dport <= word()
		case uapi.BytecodeAuto:
			held = !s.portChosen
		case uapi.BytecodeSCond:
			held = hostHolds(op[4:], s.family, s.local, s.sport)
		case uapi.BytecodeDCond:
			held = hostHolds(op[4:], s.family, s.remote, s.dport)
		case uapi.BytecodeDevCond:
			held = s.device == binary.NativeEndian.Uint32(op[4:])
		case uapi.BytecodeMarkCond:
			held = s.mark&binary.NativeEndian.Uint32(op[8:]) == binary.NativeEndian.Uint32(op[4:])
		case uapi.BytecodeCgroupCond:
			held = s.cgroup == binary.NativeEndian.Uint64(op[4:])
		}
		if held {
			at += int(op[1])
		} else {
			at += int(binary.NativeEndian.Uint16(op[2:]))
		}
	}
	return at == len(program)
}

// hostHolds tests a struct inet_diag_hostcond.
func hostHolds(cond []byte, family uint8, addr []byte, port int) bool {
	if want := int(int32(binary.NativeEndian.Uint32(cond[4:]))); want != -1 && want != port {
		return false
	}
	bits := int(cond[1])
	switch {
	case cond[0] == 0:
		return true
	case cond[0] == family:
		return bits == 0 || samePrefix(cond[8:], addr, bits)
	case cond[0] == uapi.AFInet && family == uapi.AFInet6:
		mapped := slices.Equal(addr[:12], []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff})
		return mapped && samePrefix(cond[8:], addr[12:], bits)
	}
	return false
}

func samePrefix(a, b []byte, bits int) bool {
	for i := range bits {
		if (a[i/8]^b[i/8])&(0x80>>(i%8)) != 0 {
			return false
		}
	}
	return true
}

func (s *Socket) asKernel(portChosen bool) *kernelSocket {
	return &kernelSocket{
		family: uint8(s.Family), local: s.Local.Addr().AsSlice(), remote: s.Remote.Addr().AsSlice(),
		sport: int(s.Local.Port()), dport: int(s.Remote.Port()), device: s.Interface, mark: s.Mark, cgroup: s.CgroupID,
		portChosen: portChosen,
	}
}

// names looks up what testFilters contain.
type fakeNames struct{}

func (fakeNames) interfaceIndex(name string) (uint32, error) { return uint32(len(name)), nil }
func (fakeNames) cgroupID(path string) (uint64, error)       { return uint64(len(path)), nil }

// noNames knows none.
type noNames struct{}

var errNoName = errors.New("no such name")

func (noNames) interfaceIndex(string) (uint32, error) { return 0, errNoName }
func (noNames) cgroupID(string) (uint64, error)       { return 0, errNoName }

// choices makes decisions of bytes, and of nothing more when they are used up.
type choices struct{ data []byte }

func (c *choices) n(n int) int {
	if len(c.data) == 0 {
		return 0
	}
	b := c.data[0]
	c.data = c.data[1:]
	return int(b) % n
}

func choose[T any](c *choices, of ...T) T { return of[c.n(len(of))] }

var (
	testPorts = []uint16{0, 1, 22, 80, 443, 1024, 32768, 65534, 65535}
	testAddrs = []netip.Addr{
		netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.128.0.1"), netip.MustParseAddr("127.0.0.1"),
		netip.MustParseAddr("::"), netip.MustParseAddr("::1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8:8000::1"),
		netip.MustParseAddr("::ffff:10.0.0.1"), netip.MustParseAddr("::ffff:10.128.0.1"), netip.MustParseAddr("::ffff:127.0.0.1"),
		netip.MustParseAddr("::ffff:0.0.0.0"), netip.MustParseAddr("a00::"),
	}
	testBits  = []int{0, 1, 7, 8, 9, 31, 32, 33, 64, 96, 97, 104, 105, 127, 128}
	testNames = []string{"lo", "a", "5", "and", "=x", "a b", "(", "\\", "a)b", "id:7", "src", "ä", "!", "a=b", "or=1", "/a\nb", "0x5", "not\\", "&&"}
)

// filter makes a filter of the bytes.
func (c *choices) filter(depth int) Filter {
	kind := c.n(16)
	if depth == 0 && kind > 11 {
		kind -= 12
	}
	switch kind {
	case 0, 1:
		lo, hi := choose(c, testPorts...), choose(c, testPorts...)
		if lo > hi {
			lo, hi = hi, lo
		}
		return choose(c, LocalPort, RemotePort)(lo, hi)
	case 2, 3:
		p := choose(c, testPorts...)
		return choose(c, LocalPort, RemotePort)(p, p)
	case 4, 5, 6:
		a := choose(c, testAddrs...)
		return choose(c, LocalPrefix, RemotePrefix)(netip.PrefixFrom(a, min(choose(c, testBits...), a.BitLen())))
	case 7:
		return Interface(uint32(c.n(4)))
	case 8:
		return choose(c, InterfaceName, CgroupPath)(choose(c, testNames...))
	case 9:
		return Mark(uint32(c.n(4)), choose[uint32](c, 0xffffffff, 3, 1, 0))
	case 10:
		return Cgroup(uint64(c.n(4)))
	case 11:
		return choose(c, Autobound(), Filter{}, Or())
	case 12, 13:
		return Not(c.filter(depth - 1))
	default:
		parts := make([]Filter, c.n(4))
		for i := range parts {
			parts[i] = c.filter(depth - 1)
		}
		return choose(c, And, Or)(parts...)
	}
}

// socket makes a socket of the bytes, as a row of a dump would have it, and says
// whether the program chose its port.
func (c *choices) socket() (s Socket, portChosen bool) {
	s.Family = choose(c, IPv4, IPv6)
	s.Protocol = TCP
	addr := func() netip.Addr {
		for i := c.n(len(testAddrs)); ; i++ {
			if a := testAddrs[i%len(testAddrs)]; a.Is4() == (s.Family == IPv4) {
				return a
			}
		}
	}
	s.Local = netip.AddrPortFrom(addr(), choose(c, testPorts...))
	s.Remote = netip.AddrPortFrom(addr(), choose(c, testPorts...))
	s.Interface = uint32(c.n(4))
	if c.n(2) == 0 {
		s.Mark, s.Attrs = uint32(c.n(4)), AttrMark
	}
	switch c.n(4) {
	case 0:
		s.State, s.Timer.Kind = choose(c, tcpstate.TimeWait, tcpstate.FinWait2), TimerTimeWait
		return s, false
	case 1:
		s.State = tcpstate.SynRecv
		return s, false
	}
	s.State, s.Inode = choose(c, tcpstate.Established, tcpstate.SynRecv), uint32(c.n(2))
	s.Attrs |= AttrShutdown
	if c.n(4) != 0 {
		s.CgroupID, s.Attrs = uint64(1+c.n(3)), s.Attrs|AttrCgroupID
	}
	return s, c.n(2) == 0
}

// checkFilter checks what is true of every filter: it survives being written, the
// kernel takes its program, and that selects what Match says.
func checkFilter(t *testing.T, f Filter, c *choices) (decisions int) {
	t.Helper()
	text := f.String()
	back, err := ParseFilter(text)
	if err != nil {
		t.Fatalf("%q is not read back: %v", text, err)
	}
	if back != f {
		t.Fatalf("%q is read back as %q", text, back)
	}
	programs := map[Family]filterProgram{}
	for _, family := range []Family{0, IPv4, IPv6} {
		p, err := f.compile(family, fakeNames{})
		if errors.Is(err, fs.ErrInvalid) && len(text) > 30000 {
			return 0 // too long
		}
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if (len(p.code) == 0) != (p.rows == Filter{}) || p.nothing != (p.rows == Or()) {
			t.Errorf("%s: a program of %d bytes for %q, nothing %v", text, len(p.code), p.rows, p.nothing)
		}
		if p.code != nil {
			if err := audit(p.code, true); err != nil {
				t.Fatalf("%s: the kernel refuses % x: %v", text, p.code, err)
			}
		}
		programs[family] = p
	}
	for range 20 {
		s, portChosen := c.socket()
		k := s.asKernel(portChosen)
		selected := run(programs[0].code, k)
		if got := run(programs[s.Family].code, k); got != selected {
			t.Errorf("%s: the program for %v says %v of %+v, that for both %v", text, s.Family, got, s, selected)
		}
		for _, p := range []filterProgram{programs[0], programs[s.Family]} {
			matched, decided := p.rows.Match(&s)
			if decided && matched != selected {
				t.Errorf("%s: Match says %v of %+v, the program %v", text, matched, s, selected)
			}
			if matched && !decided {
				t.Errorf("%s: it matches, undecided", text)
			}
			if decided {
				decisions++
			}
			if rows := p.rows.String(); !decided && !strings.Contains(rows, "autobound") &&
				(s.Attrs.Has(AttrMark) || !strings.Contains(rows, "fwmark")) &&
				(s.Attrs.Has(AttrCgroupID) || s.mini() || !strings.Contains(rows, "cgroup")) {
				t.Errorf("%s: Match cannot decide about %+v", text, s)
			}
		}
	}
	return decisions
}

func FuzzFilter(f *testing.F) {
	for i := range 30 {
		rng := rand.New(rand.NewPCG(uint64(i), 1))
		data := make([]byte, 150)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := &choices{data}
		checkFilter(t, c.filter(6), c)
	})
}

func TestFilterRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	decisions, constant := 0, 0
	const n = 3000
	for range n {
		data := make([]byte, 500)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		c := &choices{data}
		f := c.filter(5)
		if f == (Filter{}) || f == Or() {
			constant++
		}
		decisions += checkFilter(t, f, c)
	}
	t.Logf("%d filters, %d of them constant, Match decided %d of %d times", n, constant, decisions, 40*n)
	if constant > n/2 || decisions < 20*n {
		t.Error("these are too few to prove anything")
	}
}

func FuzzParseFilter(f *testing.F) {
	for _, s := range []string{
		"dst 10.0.0.0/8 and ( dport = :https or sport >= :1024 )",
		"src [2001:db8::/32]:22 | not dst ::ffff:10.0.0.0/104 & ! sport != 80",
		"(dev=lo||dev != 3)fwmark 0x1/0xff cgroup /a\\ b or cgroup id:7 autobound",
		"sport gt :http dport <= 0x50 src 10/8:* dst 127.0.0.1/255.0.0.0",
		"not not ( not ( src any ) or src * )", "dev \\and or dev \\5", "src ::1", "src ::1:80", "",
		"state established exclude syn-recv src inet6:any", "excl all state time-wait,fin-wait-2",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		parsed, err := ParseFilter(s)
		q, qerr := ParseQuery(s)
		if err == nil && (qerr != nil || q != Query{Filter: parsed}) {
			t.Fatalf("%q: %+v, %v", s, q, qerr)
		}
		if qerr == nil && q.Filter.node().op == opInvalid || qerr != nil && q != (Query{}) {
			t.Fatalf("%q: %+v, %v", s, q, qerr)
		}
		if err != nil {
			var e *FilterError
			if !errors.As(err, &e) || e.Input != s || e.Column < 1 || e.Column > len(s)+1 || e.Want == "" ||
				!strings.HasPrefix(s[e.Column-1:], e.Found) || parsed != (Filter{}) {
				t.Fatalf("%q: %#v", s, err)
			}
			return
		}
		var data []byte
		for i := range 200 {
			data = append(data, byte(len(s)*7+i*i*31+i/3))
		}
		if parsed.node().op == opInvalid {
			t.Fatalf("%q: %v", s, parsed)
		}
		checkFilter(t, parsed, &choices{data})
	})
}

// The kernel refuses what it is known to refuse: an interpreter that takes
// everything would prove nothing of the programs above.
func TestFilterAudit(t *testing.T) {
	u16 := func(v uint16) []byte { return binary.NativeEndian.AppendUint16(nil, v) }
	op := func(code, yes uint8, no uint16, operands ...byte) []byte {
		return append(append([]byte{code, yes}, u16(no)...), operands...)
	}
	port := append([]byte{0, 0}, u16(80)...)
	eq := op(uapi.BytecodeSEq, 8, 12, port...)
	for _, tt := range []struct {
		name    string
		program []byte
		errno   syscall.Errno
	}{
		{"one test", eq, 0},
		{"one jump to reject", op(uapi.BytecodeJmp, 4, 8), 0},
		{"two tests", slices.Concat(op(uapi.BytecodeSEq, 8, 20, port...), eq), 0},
		{"alternatives", slices.Concat(op(uapi.BytecodeSEq, 8, 12, port...), op(uapi.BytecodeJmp, 4, 12), eq), 0},
		{"empty", nil, syscall.EINVAL},
		{"steps past the end", op(uapi.BytecodeSEq, 12, 12, port...), syscall.EINVAL},
		{"jumps past reject", op(uapi.BytecodeSEq, 8, 16, port...), syscall.EINVAL},
		{"jumps within itself", op(uapi.BytecodeSEq, 8, 4, port...), syscall.EINVAL},
		{"jumps by half a word", op(uapi.BytecodeSEq, 8, 10, port...), syscall.EINVAL},
		{"jumps into an operand", slices.Concat(op(uapi.BytecodeSEq, 8, 12, port...), eq), syscall.EINVAL},
		{"lacks its operand", op(uapi.BytecodeSEq, 4, 8), syscall.EINVAL},
		{"unknown", op(99, 4, 8), syscall.EINVAL},
		{"a long prefix", op(uapi.BytecodeSCond, 16, 20, 2, 33, 0, 0, 255, 255, 255, 255, 10, 0, 0, 0), syscall.EINVAL},
		{"an odd family", op(uapi.BytecodeSCond, 12, 16, 1, 0, 0, 0, 255, 255, 255, 255), syscall.EINVAL},
		{"a mark", op(uapi.BytecodeMarkCond, 12, 16, 0, 0, 0, 0, 0, 0, 0, 0), syscall.EPERM},
	} {
		err := audit(tt.program, false)
		if tt.errno == 0 && err != nil || tt.errno != 0 && !errors.Is(err, tt.errno) {
			t.Errorf("%s: %v, want errno %d", tt.name, err, tt.errno)
		}
	}
}
