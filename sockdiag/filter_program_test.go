package sockdiag

import (
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/seed16c515c6/timewait/internal/uapi"
	"github.com/seed16c515c6/timewait/tcpstate"
)

func mustParse(t *testing.T, s string) Filter {
	t.Helper()
	f, err := ParseFilter(s)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return f
}

// The programs are as short as they can be, and some are known byte by byte.
func TestFilterProgram(t *testing.T) {
	u16 := func(v uint16) []byte { return ne.AppendUint16(nil, v) }
	op := func(code, yes uint8, no uint16, operands ...byte) []byte {
		return slices.Concat([]byte{code, yes}, u16(no), operands)
	}
	port := func(p uint16) []byte { return append([]byte{0, 0}, u16(p)...) }
	anyPort := []byte{255, 255, 255, 255}
	for _, tt := range []struct {
		text   string
		family Family
		want   []byte
	}{
		{"", 0, nil},
		{"not src *", 0, op(uapi.BytecodeJmp, 4, 8)},
		{"sport = 8000", 0, op(uapi.BytecodeSEq, 8, 12, port(8000)...)},
		{"sport = 8000 or sport = 9000", 0, slices.Concat(
			op(uapi.BytecodeSEq, 8, 12, port(8000)...), op(uapi.BytecodeJmp, 4, 12), op(uapi.BytecodeSEq, 8, 12, port(9000)...))},
		{"src 127.0.0.0/8", 0, op(uapi.BytecodeSCond, 16, 20, slices.Concat([]byte{uapi.AFInet, 8, 0, 0}, anyPort, []byte{127, 0, 0, 0})...)},
		{"src 127.0.0.0/8:80", 0, op(uapi.BytecodeSCond, 16, 20, slices.Concat([]byte{uapi.AFInet, 8, 0, 0}, ne.AppendUint32(nil, 80), []byte{127, 0, 0, 0})...)},
		{"dst ::/0", 0, op(uapi.BytecodeDCond, 28, 32, slices.Concat([]byte{uapi.AFInet6, 0, 0, 0}, anyPort, make([]byte, 16))...)},
		{"not sport = 80", 0, slices.Concat(op(uapi.BytecodeSEq, 8, 12, port(80)...), op(uapi.BytecodeJmp, 4, 8))},
		{"not ( sport = 80 and dport = 90 )", 0, slices.Concat(
			op(uapi.BytecodeSEq, 8, 20, port(80)...), op(uapi.BytecodeDEq, 8, 12, port(90)...), op(uapi.BytecodeJmp, 4, 8))},
		{"sport = 80 or not dport = 90", 0, slices.Concat( // the not first
			op(uapi.BytecodeDEq, 8, 16, port(90)...), op(uapi.BytecodeSEq, 8, 12, port(80)...))},
		{"sport >= 10 and sport <= 20", 0, slices.Concat(op(uapi.BytecodeSGE, 8, 20, port(10)...), op(uapi.BytecodeSLE, 8, 12, port(20)...))},
		{"dport >= 10 and dport <= 20", 0, slices.Concat(op(uapi.BytecodeDGE, 8, 20, port(10)...), op(uapi.BytecodeDLE, 8, 12, port(20)...))},
		{"dev 3", 0, op(uapi.BytecodeDevCond, 8, 12, ne.AppendUint32(nil, 3)...)},
		{"fwmark 1/3", 0, op(uapi.BytecodeMarkCond, 12, 16, slices.Concat(ne.AppendUint32(nil, 1), ne.AppendUint32(nil, 3))...)},
		{"cgroup id:5", 0, op(uapi.BytecodeCgroupCond, 12, 16, ne.AppendUint64(nil, 5)...)},
		{"autobound", 0, op(uapi.BytecodeAuto, 4, 8)},
		{"dev abc", 0, op(uapi.BytecodeDevCond, 8, 12, ne.AppendUint32(nil, 3)...)}, // fakeNames
		{"cgroup /ab", 0, op(uapi.BytecodeCgroupCond, 12, 16, ne.AppendUint64(nil, 3)...)},

		// The family of the request settles some.
		{"src ::/0", IPv6, nil},
		{"src 0.0.0.0/0", IPv4, nil},
		{"not src ::/0", IPv4, nil},
		{"src ::1", IPv4, op(uapi.BytecodeJmp, 4, 8)},
		{"sport = 80 and not src ::/0", IPv6, op(uapi.BytecodeJmp, 4, 8)},
		{"sport = 80 or src ::1", IPv4, op(uapi.BytecodeSEq, 8, 12, port(80)...)},
	} {
		p, err := mustParse(t, tt.text).compile(tt.family, fakeNames{})
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
		} else if !slices.Equal(p.code, tt.want) {
			t.Errorf("%s: % x, want % x", tt.text, p.code, tt.want)
		}
	}
	for text, want := range map[string]int{
		"not ( sport = 80 or dport = 90 )":                                     8 + 4 + 8 + 4, // each jumps where it holds
		"not sport = 80 or not dport = 90":                                     8 + 8 + 4,
		"not sport = 80 and not dport = 90":                                    8 + 4 + 8 + 4,
		"not ( not sport = 80 and not dport = 90 )":                            8 + 4 + 8,
		"sport = 80 or sport = 81 or sport = 82":                               3*8 + 2*4,
		"( sport = 80 or sport = 81 ) and dst 10.0.0.1:443":                    2*8 + 4 + 16,
		"dst [::1]:443 and src 10.0.0.1:80":                                    28 + 16,
		"( sport = 80 and dport = 1 ) or ( sport = 81 and dport = 2 )":         4*8 + 4,
		"not ( ( sport = 80 and dport = 1 ) or ( sport = 81 and dport = 2 ) )": 4*8 + 2*4,
		"not ( sport > 80 and dport < 90 )":                                    8 + 8 + 4,
		"not sport > 80":                                                       8,
	} {
		p, err := mustParse(t, text).compile(0, nil)
		if err != nil || len(p.code) != want {
			t.Errorf("%s: %d bytes, %v; want %d", text, len(p.code), err, want)
		}
	}
}

// A program up to the kernel's limit is made, and what is longer is an error, not
// a part of it.
func TestFilterProgramLimit(t *testing.T) {
	ports := func(n int) Filter { // 12n-4 bytes
		var fs []Filter
		for i := range n {
			fs = append(fs, LocalPort(uint16(i), uint16(i)))
		}
		return Or(fs...)
	}
	const most = (65528 + 4) / 12 // without a remainder
	p, err := ports(most).compile(0, nil)
	if err != nil || len(p.code) != 65528 || audit(p.code, false) != nil {
		t.Fatalf("%d ports: %d bytes, %v", most, len(p.code), err)
	}
	if !run(p.code, &kernelSocket{sport: most - 1}) {
		t.Error("the last port is not selected")
	}
	if run(p.code, &kernelSocket{sport: most}) {
		t.Error("a port too many is selected")
	}
	for _, f := range []Filter{Not(ports(most)), And(Autobound(), ports(most)), ports(10000)} {
		p, err := f.compile(0, nil)
		if !errors.Is(err, fs.ErrInvalid) || p.code != nil || !strings.Contains(err.Error(), "65528") {
			t.Errorf("%d bytes, %v", len(p.code), err)
		}
	}
}

func TestFilterCompileErrors(t *testing.T) {
	for _, f := range []Filter{
		LocalPort(2, 1), RemotePort(2, 1), LocalPrefix(netip.Prefix{}), RemotePrefix(netip.Prefix{}), InterfaceName(""), CgroupPath(""),
	} {
		for _, f := range []Filter{f, Not(f), And(f, Autobound()), Or(Autobound(), f), And(Or(), f), Or(Filter{}, f)} {
			if _, err := f.compile(0, fakeNames{}); !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("%v: %v", f, err)
			}
			if matched, decided := f.Match(new(Socket)); matched || decided {
				t.Errorf("%v: it has an answer", f)
			}
		}
	}
	for _, f := range []Filter{InterfaceName("lo"), CgroupPath("/")} {
		for _, f := range []Filter{f, Not(f), And(LocalPort(1, 1), Or(Autobound(), f))} {
			if _, err := f.compile(0, noNames{}); !errors.Is(err, errNoName) {
				t.Errorf("%v: %v", f, err)
			}
			if _, err := f.compile(0, nil); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("%v: %v", f, err)
			}
		}
	}
	// Rows are matched with names that were looked up.
	p, err := And(InterfaceName("abc"), CgroupPath("abcd")).compile(0, fakeNames{})
	if err != nil || p.rows != And(Interface(3), Cgroup(4)) {
		t.Errorf("%v, %v", p.rows, err)
	}
}

func TestFilterExplain(t *testing.T) {
	p, err := mustParse(t, "cgroup id:1 or fwmark 1").compile(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := request{protocol: TCP, program: p.code}
	if err := r.explain(syscall.EINVAL); !errors.Is(err, errors.ErrUnsupported) || !errors.Is(err, syscall.EINVAL) {
		t.Error(err)
	}
	if err := r.explain(syscall.EPERM); !errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
	if err := new(request).explain(syscall.EINVAL); err != syscall.EINVAL {
		t.Error(err)
	}
}

// Of conditions that a row cannot answer Match says so, and no more.
func TestFilterMatchUndecided(t *testing.T) {
	full := Socket{State: tcpstate.Established, Family: IPv4, Protocol: TCP, Inode: 1, Attrs: AttrShutdown}
	knowing := full
	knowing.Attrs |= AttrMark | AttrCgroupID
	knowing.Mark, knowing.CgroupID = 1, 7
	mini := Socket{State: tcpstate.TimeWait, Timer: Timer{Kind: TimerTimeWait}}
	orphan := Socket{State: tcpstate.FinWait2, Timer: Timer{Kind: TimerTimeWait}}
	request := Socket{State: tcpstate.SynRecv}
	raw := full
	raw.Protocol = Raw
	for _, tt := range []struct {
		name string
		f    Filter
		s    *Socket
		want answer
	}{
		{"mark, unknown", Mark(1, 1), &full, answerUnknown},
		{"mark", Mark(1, 1), &knowing, answerYes},
		{"another mark", Mark(2, 3), &knowing, answerNo},
		{"not the mark", Not(Mark(1, 1)), &full, answerUnknown},
		{"cgroup, unknown", Cgroup(7), &full, answerUnknown},
		{"cgroup", Cgroup(7), &knowing, answerYes},
		{"another cgroup", Cgroup(8), &knowing, answerNo},
		{"cgroup of TIME_WAIT", Cgroup(7), &mini, answerNo},
		{"cgroup of an orphan", Cgroup(7), &orphan, answerNo},
		{"cgroup of a request", Cgroup(7), &request, answerNo},
		{"no cgroup of TIME_WAIT", Cgroup(0), &mini, answerYes},
		{"a device's name", InterfaceName("lo"), &knowing, answerUnknown},
		{"a cgroup's path", CgroupPath("/"), &knowing, answerUnknown},
		{"autobound", Autobound(), &knowing, answerUnknown},
		{"not autobound", Not(Autobound()), &knowing, answerUnknown},
		{"unknown and no", And(Autobound(), Interface(9)), &full, answerNo},
		{"no and unknown", And(Interface(9), Autobound()), &full, answerNo},
		{"unknown and yes", And(Autobound(), Interface(0)), &full, answerUnknown},
		{"yes and unknown and yes", And(Interface(0), Autobound(), Interface(0)), &full, answerUnknown},
		{"unknown or yes", Or(Autobound(), Interface(0)), &full, answerYes},
		{"unknown or no", Or(Autobound(), Interface(9)), &full, answerUnknown},
		{"no or no or unknown", Or(Interface(9), Interface(8), Autobound()), &full, answerUnknown},
		{"local port of a raw socket", LocalPort(1, 1), &raw, answerUnknown},
		{"local port, as of raw sockets", LocalPort(1, 1), &full, answerNo},
	} {
		if got := tt.f.match(tt.s); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}
