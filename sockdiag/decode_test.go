package sockdiag

import (
	"bytes"
	"encoding/binary"
	"errors"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/cpu"

	"github.com/seed16c515c6/timewait/internal/uapi"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// inBytes writes values as the kernel of this machine has them: numbers in its
// byte order, bytes as they are.
func inBytes(t testing.TB, values ...any) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, v := range values {
		if err := binary.Write(&b, binary.NativeEndian, v); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// A row spelt out member by member, in the order of linux/inet_diag.h; it means
// the same on either byte order.
func TestDecodeSocket(t *testing.T) {
	address := func(s string) []byte {
		b := make([]byte, 16)
		copy(b, netip.MustParseAddr(s).AsSlice())
		return b
	}
	row := func(family uint8, local, remote string, expires uint32, attrs ...[]byte) []byte {
		return inBytes(t, family, uint8(4), uint8(1), uint8(7), // family, state, timer, retrans
			[]byte{0x1f, 0x90}, []byte{0x01, 0xbb}, address(local), address(remote), uint32(3), // ports, addresses, if
			uint32(0x11), uint32(0x22), // cookie
			expires, uint32(5), uint32(6), uint32(1000), uint32(4242), // expires, queues, uid, inode
			bytes.Join(attrs, nil))
	}
	header := Socket{
		Family: IPv4, Protocol: TCP, State: tcpstate.FinWait1,
		Timer:     Timer{Kind: TimerRetransmit, Retransmits: 7, Expires: 1500 * time.Millisecond},
		Local:     netip.MustParseAddrPort("192.0.2.1:8080"),
		Remote:    netip.MustParseAddrPort("198.51.100.2:443"),
		Interface: 3, Cookie: 0x22_00000011, RecvQueue: 5, SendQueue: 6, UID: 1000, Inode: 4242,
	}
	with := func(change func(*Socket)) Socket {
		s := header
		change(&s)
		return s
	}
	v4 := func(attrs ...[]byte) []byte { return row(2, "192.0.2.1", "198.51.100.2", 1500, attrs...) }
	memory := []any{uint32(1), uint32(2), uint32(3), uint32(4), int32(-5), uint32(6), uint32(7), uint32(8)}
	decodedMemory := SocketMemory{RecvAlloc: 1, RecvBuffer: 2, SendAlloc: 3, SendBuffer: 4, Forward: -5, SendQueued: 6, Options: 7, Backlog: 8}
	for _, tt := range []struct {
		name string
		row  []byte
		want Socket
	}{
		{"header", v4(), header},
		{"IPv6", row(10, "2001:db8::1", "fe80::2", 1500), with(func(s *Socket) {
			s.Family, s.Local, s.Remote = IPv6, netip.MustParseAddrPort("[2001:db8::1]:8080"), netip.MustParseAddrPort("[fe80::2]:443")
		})},
		{"IPv4-mapped", row(10, "::ffff:192.0.2.1", "::ffff:198.51.100.2", 1500), with(func(s *Socket) {
			s.Family, s.Local, s.Remote = IPv6, netip.MustParseAddrPort("[::ffff:192.0.2.1]:8080"), netip.MustParseAddrPort("[::ffff:198.51.100.2]:443")
		})},
		{"an overdue timer that wrapped around", row(2, "192.0.2.1", "198.51.100.2", 1<<32-40), with(func(s *Socket) { s.Timer.Expires = 0 })},
		{"memory", v4(attribute(uapi.InetDiagMemInfo, inBytes(t, uint32(1), uint32(2), uint32(3), uint32(4)))), with(func(s *Socket) {
			s.Attrs, s.MemInfo = AttrMemInfo, MemInfo{Recv: 1, SendQueue: 2, Forward: 3, Send: 4}
		})},
		{"socket memory of an old kernel", v4(attribute(uapi.InetDiagSKMemInfo, inBytes(t, memory...))), with(func(s *Socket) {
			s.Attrs, s.SocketMemory = AttrSocketMemory, decodedMemory
		})},
		{"socket memory of a newer kernel", v4(attribute(uapi.InetDiagSKMemInfo, inBytes(t, append(memory, uint32(9), uint32(10))...))), with(func(s *Socket) {
			s.Attrs, s.SocketMemory = AttrSocketMemory, decodedMemory
			s.SocketMemory.Drops = 9
		})},
		{"small ones", v4(
			attribute(uapi.InetDiagShutdown, []byte{2}), attribute(uapi.InetDiagTOS, []byte{0x10}), attribute(uapi.InetDiagTClass, []byte{0x20}),
			attribute(uapi.InetDiagMark, inBytes(t, uint32(0x1234))), attribute(uapi.InetDiagClassID, inBytes(t, uint32(0x10001))),
			attribute(uapi.InetDiagCgroupID, inBytes(t, uint64(1<<40+5))), attribute(uapi.InetDiagCong, []byte("cubic\x00"))), with(func(s *Socket) {
			s.Attrs = AttrShutdown | AttrTOS | AttrTrafficClass | AttrMark | AttrClassID | AttrCgroupID | AttrCongestion
			s.Shutdown, s.TOS, s.TrafficClass, s.Mark, s.ClassID, s.CgroupID, s.Congestion = ShutdownSend, 0x10, 0x20, 0x1234, 0x10001, 1<<40+5, "cubic"
		})},
		{"a name that is not known, without its NUL", v4(attribute(uapi.InetDiagCong, []byte("bpf_own"))), with(func(s *Socket) {
			s.Attrs, s.Congestion = AttrCongestion, "bpf_own"
		})},
		{"flags on the type", v4(attribute(0x8000|uapi.InetDiagMark, inBytes(t, uint32(1)))), with(func(s *Socket) {
			s.Attrs, s.Mark = AttrMark, 1
		})},
		{"unknown, and longer", v4(attribute(40, []byte("?")), attribute(1000, nil), attribute(uapi.InetDiagTOS, []byte{8, 9, 10, 11, 12})), with(func(s *Socket) {
			s.Attrs, s.TOS = AttrTOS|1<<40|AttrUnknown, 8
			s.Extra = &Extra{Unknown: []RawAttr{{Type: 40, Data: []byte("?")}, {Type: 1000, Data: []byte{}}}}
		})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := DecodeSocket(TCP, tt.row)
			if err != nil {
				t.Fatal(err)
			}
			if !same(got, tt.want) {
				t.Errorf("%s", cmp.Diff(tt.want, got, cmp.AllowUnexported(TCPInfo{}, MD5Secret{}), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })))
			}
			// Nothing of the row is referred to.
			clear(tt.row)
			if !same(got, tt.want) {
				t.Error("the Socket changed with the bytes it came from")
			}
		})
	}
}

// What is decoded fast in the order of today's kernels is decoded in any other.
func TestDecodeInAnyOrder(t *testing.T) {
	info := make([]byte, sizeofTCPInfo)
	ne.PutUint32(info[16:], 1448)
	options := []byte{0x01, 0}
	if cpu.IsBigEndian {
		options = []byte{0x80, 0}
	}
	type attr struct {
		typ     uint16
		payload []byte
	}
	usual := []attr{
		{uapi.InetDiagShutdown, []byte{2}}, {uapi.InetDiagMark, inBytes(t, uint32(0x1234))}, {uapi.InetDiagCgroupID, inBytes(t, uint64(1<<40+5))},
		{uapi.InetDiagSockOpt, options}, {uapi.InetDiagInfo, info},
	}
	const attrs = AttrShutdown | AttrMark | AttrCgroupID | AttrSocketOptions | AttrTCPInfo
	check := func(order []attr, longer int, flags uint16) {
		var encoded [][]byte
		for _, a := range order {
			encoded = append(encoded, attribute(flags|a.typ, append(slices.Clone(a.payload), make([]byte, longer)...)))
		}
		s, err := DecodeSocket(TCP, diagMessage(tcpstate.Established, 1, 2, 3, encoded...))
		if err != nil {
			t.Fatal(err)
		}
		if s.Attrs != attrs || s.Shutdown != ShutdownSend || s.Mark != 0x1234 || s.CgroupID != 1<<40+5 || s.Options != 1 || s.TCPInfo.SndMSS != 1448 || s.Extra != nil {
			t.Errorf("%v, %d bytes longer, flags %#x: %v", order, longer, flags, s)
		}
	}
	var permute func(order, rest []attr)
	permute = func(order, rest []attr) {
		if len(rest) == 0 {
			check(order, 0, 0)
			check(order, 4, 0)
			check(order, 0, 0x8000)
			return
		}
		for i, a := range rest {
			permute(append(slices.Clone(order), a), append(slices.Clone(rest[:i]), rest[i+1:]...))
		}
	}
	permute(nil, usual)
}

// Every attribute that is cut short is an error that names it.
func TestDecodeShortAttributes(t *testing.T) {
	for typ, tt := range map[uint16]struct {
		want int
		what string
	}{
		uapi.InetDiagMemInfo:   {16, "INET_DIAG_MEMINFO"},
		uapi.InetDiagTOS:       {1, "INET_DIAG_TOS"},
		uapi.InetDiagTClass:    {1, "INET_DIAG_TCLASS"},
		uapi.InetDiagSKMemInfo: {32, "INET_DIAG_SKMEMINFO"},
		uapi.InetDiagShutdown:  {1, "INET_DIAG_SHUTDOWN"},
		uapi.InetDiagMark:      {4, "INET_DIAG_MARK"},
		uapi.InetDiagClassID:   {4, "INET_DIAG_CLASS_ID"},
		uapi.InetDiagCgroupID:  {8, "INET_DIAG_CGROUP_ID"},
		uapi.InetDiagProtocol:  {1, "INET_DIAG_PROTOCOL"},
	} {
		for n := range tt.want {
			_, err := DecodeSocket(TCP, diagMessage(1, 1, 2, 3, attribute(typ, make([]byte, n))))
			var short *DecodeError
			if !errors.As(err, &short) || *short != (DecodeError{What: tt.what, Len: n, Want: tt.want}) {
				t.Errorf("%s of %d bytes: %v", tt.what, n, err)
			}
		}
		if _, err := DecodeSocket(TCP, diagMessage(1, 1, 2, 3, attribute(typ, make([]byte, tt.want)))); err != nil {
			t.Errorf("%s of %d bytes: %v", tt.what, tt.want, err)
		}
	}
}

// A range copies the Socket once per row: it has to stay small.
func TestSocketSize(t *testing.T) {
	if size := unsafe.Sizeof(Socket{}); size > 640 {
		t.Errorf("a Socket is %d bytes", size)
	}
}

func sequence(err error, cookies ...uint64) iter.Seq2[Socket, error] {
	return func(yield func(Socket, error) bool) {
		for _, c := range cookies {
			if !yield(Socket{Cookie: c, State: tcpstate.State(c % 3)}, nil) {
				return
			}
		}
		if err != nil {
			yield(Socket{}, err)
		}
	}
}

func TestCollect(t *testing.T) {
	got, err := Collect(sequence(errAny, 1, 2))
	if len(got) != 2 || got[1].Cookie != 2 || !errors.Is(err, errAny) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := Collect(sequence(nil)); got != nil || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}

func TestDedup(t *testing.T) {
	got, err := Collect(Dedup(sequence(errAny, 1, 2, 1, 0, 0, 3, 2)))
	var cookies []uint64
	for _, s := range got {
		cookies = append(cookies, s.Cookie)
	}
	if diff := cmp.Diff([]uint64{1, 2, 0, 0, 3}, cookies); diff != "" || !errors.Is(err, errAny) {
		t.Errorf("error %v, cookies:\n%s", err, diff)
	}
	// An endpoint of SCTP and its associations share a cookie.
	if rows, err := Collect(Dedup(func(yield func(Socket, error) bool) {
		for _, s := range []Socket{{Protocol: SCTP, Cookie: 1, State: tcpstate.Listen}, {Protocol: SCTP, Cookie: 1}} {
			if !yield(s, nil) {
				return
			}
		}
	})); len(rows) != 2 || err != nil {
		t.Errorf("%d rows, error %v", len(rows), err)
	}
	// Each range starts anew, and can be left.
	again := Dedup(sequence(nil, 7, 7, 8))
	for range 2 {
		n := 0
		for s := range again {
			if n++; s.Cookie == 8 {
				break
			}
		}
		if n != 2 {
			t.Errorf("%d sockets", n)
		}
	}
}

func TestCountBy(t *testing.T) {
	got, err := CountBy(sequence(errAny, 1, 2, 3, 4), func(s *Socket) tcpstate.State { return s.State })
	if diff := cmp.Diff(map[tcpstate.State]uint64{0: 1, 1: 2, 2: 1}, got); diff != "" || !errors.Is(err, errAny) {
		t.Errorf("error %v, counts:\n%s", err, diff)
	}
}

func TestStrings(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{IPv4.String(), "IPv4"}, {IPv6.String(), "IPv6"}, {Family(7).String(), "Family(7)"},
		{TCP.String(), "TCP"}, {MPTCP.String(), "MPTCP"}, {UDP.String(), "UDP"},
		{UDPLite.String(), "UDPLite"}, {Raw.String(), "Raw"}, {SCTP.String(), "SCTP"}, {Protocol(300).String(), "Protocol(300)"},
		{TimerNone.String(), "none"}, {TimerRetransmit.String(), "retransmit"}, {TimerKeepalive.String(), "keepalive"},
		{TimerTimeWait.String(), "time-wait"}, {TimerProbe.String(), "probe"}, {TimerDelayedACK.String(), "delayed-ack"},
		{TimerKind(9).String(), "TimerKind(9)"},
		{Shutdown(0).String(), "none"}, {ShutdownRecv.String(), "recv"}, {ShutdownSend.String(), "send"},
		{(ShutdownRecv | ShutdownSend).String(), "recv|send"}, {Shutdown(4).String(), "Shutdown(4)"},
		{Attrs(0).String(), "none"}, {(AttrTCPInfo | AttrMark | 1<<40).String(), "TCPInfo|Mark|Attr(40)"},
		{(AttrMPTCPInfo | AttrLocals | AttrPeers | AttrProtocol | AttrBPFStorages).String(), "TCPInfo|Protocol|Locals|Peers|BPFStorages"},
		{SCTPState(0).String(), "none"}, {SCTPShutdownAckSent.String(), "SHUTDOWN_ACK_SENT"}, {SCTPState(9).String(), "SCTPState(9)"},
		{SCTPEndpointState(0).String(), "none"}, {SCTPEndpointEstablishing.String(), "ESTABLISHING"}, {SCTPEndpointClosing.String(), "CLOSING"},
		{SCTPEndpointListening.String(), "LISTENING"}, {SCTPEndpointClosed.String(), "CLOSED"}, {SCTPEndpointState(3).String(), "SCTPEndpointState(3)"},
		{SCTPPathPotentiallyFailed.String(), "PF"}, {SCTPPathState(0xffff).String(), "SCTPPathState(65535)"},
		{(SCTPAuth | SCTPInterleave).String(), "Auth|Interleave"}, {MPTCPFlags(1<<31 | 1).String(), "Fallback|MPTCPFlags(31)"},
		{(MPTCPHasLocalAddr | MPTCPHasLast).String(), "LocalAddr|Last"},
		{(&OpError{Op: "dump", Protocol: TCP, Family: IPv6, Err: errAny}).Error(), "sockdiag: dump TCP IPv6: any error"},
		{(&OpError{Op: "dial", Err: errAny}).Error(), "sockdiag: dial: any error"},
		{(&DecodeError{What: "inet_diag_msg", Len: 3, Want: 72}).Error(), "inet_diag_msg: 3 bytes, need 72"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
	for a := range Attrs(64) {
		if name := (Attrs(1) << a).String(); strings.HasPrefix(name, "Attr(") == allAttrs.Has(1<<a) {
			t.Errorf("attribute %d is called %s", a, name)
		}
	}
}

func BenchmarkDecodeSocket(b *testing.B) {
	for name, row := range map[string][]byte{
		"header":   diagMessage(1, 1, 2, 3),
		"TIMEWAIT": diagMessage(6, 1, 2, 3, attribute(uapi.InetDiagMark, make([]byte, 4))),
		"tcp_info": diagMessage(1, 1, 2, 3, attribute(uapi.InetDiagShutdown, []byte{0}), attribute(uapi.InetDiagMark, make([]byte, 4)),
			attribute(uapi.InetDiagCgroupID, make([]byte, 8)), attribute(22, make([]byte, 2)), attribute(uapi.InetDiagInfo, make([]byte, 280))),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var s Socket
			for b.Loop() {
				if err := s.decode(TCP, row, false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The Extra of the row before is not this one's, also where they have the same attributes.
func TestExtraOfTwins(t *testing.T) {
	var s Socket
	if err := s.decode(SCTP, diagMessage(1, 1, 2, 1), false); err != nil {
		t.Fatal(err)
	}
	first := s.Extra
	if err := s.decode(SCTP, diagMessage(1, 1, 2, 2), false); err != nil || s.Extra == first || first == nil {
		t.Error(err, first, s.Extra)
	}
}

// An odd tcp_info that ends the row, without its padding.
func TestOddInfoAtTheEnd(t *testing.T) {
	for n := range 9 {
		a := attribute(uapi.InetDiagInfo, make([]byte, n))
		if s, err := DecodeSocket(TCP, diagMessage(1, 1, 2, 3, a[:4+n])); err != nil || s.Attrs != AttrTCPInfo {
			t.Error(n, err, s.Attrs)
		}
	}
}
