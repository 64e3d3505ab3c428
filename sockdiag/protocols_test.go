package sockdiag

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seed16c515c6/timewait/internal/uapi"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// sockaddrIn is a struct sockaddr_in or sockaddr_in6 in a struct sockaddr_storage.
func sockaddrIn(t testing.TB, s string) []byte {
	t.Helper()
	a := netip.MustParseAddrPort(s)
	port := []byte{byte(a.Port() >> 8), byte(a.Port())}
	b := make([]byte, 128)
	if a.Addr().Is4() {
		copy(b, inBytes(t, uint16(2), port, a.Addr().AsSlice()))
	} else {
		copy(b, inBytes(t, uint16(10), port, uint32(0x1234), a.Addr().AsSlice(), uint32(7))) // flow label and scope around it
	}
	return b
}

// An SCTP row has a State only where that means the same, and no timer of TCP's name
// but the one that is the same.
func TestDecodeSCTPStates(t *testing.T) {
	// From RFC 9260 section 4, in the order of enum sctp_state.
	associations := map[uint8]tcpstate.State{0: tcpstate.Closed, 3: tcpstate.Established}
	names := []string{"CLOSED", "COOKIE_WAIT", "COOKIE_ECHOED", "ESTABLISHED", "SHUTDOWN_PENDING", "SHUTDOWN_SENT", "SHUTDOWN_RECEIVED", "SHUTDOWN_ACK_SENT"}
	endpoints := map[uint8]tcpstate.State{1: tcpstate.Established, 7: tcpstate.Closed, 10: tcpstate.Listen}
	for n := range 256 {
		row := diagMessage(tcpstate.State(n), 1, 2, 3, attribute(uapi.InetDiagLocals, nil))
		s, err := DecodeSocket(SCTP, row)
		if err != nil {
			t.Fatal(err)
		}
		if state, ok := s.SCTPState(); ok || state != 0 || s.State != endpoints[uint8(n)] || s.Extra.SCTP.Endpoint != SCTPEndpointState(n) {
			t.Errorf("endpoint in state %d: %v, %v, %+v", n, state, ok, s)
		}
		s, err = DecodeSocket(SCTP, append(row, attribute(uapi.InetDiagPeers, nil)...))
		if err != nil {
			t.Fatal(err)
		}
		state, ok := s.SCTPState()
		if !ok || s.State != associations[uint8(n)] || s.Extra.SCTP.Endpoint != 0 || n < len(names) && state.String() != names[n] {
			t.Errorf("association in state %d: %v, %v, %+v", n, state, ok, s)
		}
		if n >= len(names) && !strings.HasPrefix(state.String(), "SCTPState(") {
			t.Errorf("state %d is called %v", n, state)
		}
	}
	for timer, want := range map[uint8]TimerKind{uapi.TimerOff: TimerNone, uapi.SCTPTimeoutT3RTX: TimerRetransmit} {
		row := diagMessage(3, 1, 2, 3, attribute(uapi.InetDiagPeers, nil))
		row[2] = timer
		if s, err := DecodeSocket(SCTP, row); err != nil || s.Timer.Kind != want {
			t.Errorf("timer %d: %v, %v", timer, s.Timer, err)
		}
	}
	for _, timer := range []byte{1, 2, 3, 5, 12} { // of other events: no name of TCP's
		row := diagMessage(3, 1, 2, 3, attribute(uapi.InetDiagPeers, nil))
		row[2] = timer
		s, err := DecodeSocket(SCTP, row)
		if _, waits := s.TimeWait(); err != nil || waits || !strings.HasPrefix(s.Timer.Kind.String(), "TimerKind(") {
			t.Errorf("timer %d: %v, %v", timer, s.Timer, err)
		}
	}
	for _, p := range []Protocol{TCP, MPTCP, UDP, Raw} {
		s, err := DecodeSocket(p, diagMessage(3, 1, 2, 3, attribute(uapi.InetDiagPeers, nil)))
		if state, ok := s.SCTPState(); err != nil || ok || s.State != tcpstate.SynRecv {
			t.Errorf("%v: %v, %v, %v", p, state, ok, err)
		}
	}
}

// The header of an IPv6 association has rubbish in place of an IPv4 address.
func TestDecodeSCTPAddresses(t *testing.T) {
	info := func(primary string) []byte {
		b := make([]byte, uapi.SizeofSCTPInfo)
		copy(b[168:], sockaddrIn(t, primary))
		return attribute(uapi.InetDiagInfo, b)
	}
	locals := attribute(uapi.InetDiagLocals, append(sockaddrIn(t, "192.0.2.1:80"), sockaddrIn(t, "[2001:db8::1]:80")...))
	peers := attribute(uapi.InetDiagPeers, append(sockaddrIn(t, "198.51.100.7:81"), sockaddrIn(t, "[2001:db8::7]:81")...))
	endpoint := func(s string) []byte { a := netip.MustParseAddr(s).As16(); return a[:] }
	for _, tt := range []struct {
		name          string
		family        uint8
		source, dest  []byte
		attrs         [][]byte
		local, remote string
		locals, peers int
	}{
		{"IPv4 in use", 10, make([]byte, 16), make([]byte, 16), [][]byte{info("198.51.100.7:81"), locals, peers}, "[::ffff:192.0.2.1]:80", "[::ffff:198.51.100.7]:81", 2, 2},
		{"IPv6 in use", 10, make([]byte, 16), endpoint("2001:db8::7"), [][]byte{info("[2001:db8::7]:81"), locals, peers}, "[2001:db8::1]:80", "[2001:db8::7]:81", 2, 2},
		{"not asked", 10, make([]byte, 16), make([]byte, 16), [][]byte{locals, peers}, "[::ffff:192.0.2.1]:80", "[::ffff:198.51.100.7]:81", 2, 2},
		{"no lists", 10, endpoint("2001:db8::1"), endpoint("2001:db8::7"), [][]byte{attribute(uapi.InetDiagPeers, nil)}, "[2001:db8::1]:80", "[2001:db8::7]:81", 0, 0},
		{"an endpoint", 10, endpoint("::"), endpoint("::"), [][]byte{locals}, "[::]:80", "[::]:81", 2, 0},
		{"IPv4", 2, []byte{192, 0, 2, 9, 11: 0}, []byte{198, 51, 100, 9, 11: 0}, [][]byte{info("198.51.100.7:81"), locals, peers}, "192.0.2.9:80", "198.51.100.9:81", 2, 2},
		{"a family that is unknown", 10, endpoint("2001:db8::1"), endpoint("2001:db8::7"),
			[][]byte{attribute(uapi.InetDiagLocals, make([]byte, 128)), attribute(uapi.InetDiagPeers, make([]byte, 128))}, "[2001:db8::1]:80", "[2001:db8::7]:81", 1, 1},
	} {
		row := diagMessage(3, 80, 81, 3, bytes.Join(tt.attrs, nil))
		row[0] = tt.family
		copy(row[8:24], append(tt.source, make([]byte, 16)...))
		copy(row[24:40], append(tt.dest, make([]byte, 16)...))
		s, err := DecodeSocket(SCTP, row)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if s.Local != netip.MustParseAddrPort(tt.local) || s.Remote != netip.MustParseAddrPort(tt.remote) {
			t.Errorf("%s: %v to %v", tt.name, s.Local, s.Remote)
		}
		if x := s.Extra.SCTP; len(x.Locals) != tt.locals || len(x.Peers) != tt.peers || tt.locals == 2 && x.Locals[1] != netip.MustParseAddrPort("[2001:db8::1]:80") {
			t.Errorf("%s: %v to %v", tt.name, x.Locals, x.Peers)
		}
	}
	for _, typ := range []uint16{uapi.InetDiagLocals, uapi.InetDiagPeers} {
		_, err := DecodeSocket(SCTP, diagMessage(3, 80, 81, 3, attribute(typ, make([]byte, 129))))
		if short := new(DecodeError); !errors.As(err, &short) || short.Len != 129 || short.Want != 256 {
			t.Errorf("129 bytes of addresses: %v", err)
		}
	}
}

// What an older kernel does not send is zero and denied, even where it had padding,
// and what a newer one sends besides changes nothing.
func TestDecodeMPTCPInfo(t *testing.T) {
	full := bytes.Repeat([]byte{1}, 120)
	for n := range len(full) + 1 {
		var want MPTCPFields
		for size, f := range map[int]MPTCPFields{48: MPTCPHasLocalAddr, 80: MPTCPHasTraffic, 88: MPTCPHasSubflowsTotal, 96: MPTCPHasLast} {
			if n >= size {
				want |= f
			}
		}
		s, err := DecodeSocket(MPTCP, diagMessage(1, 1, 2, 3, attribute(uapi.InetDiagInfo, full[:n])))
		if err != nil || !s.Attrs.Has(AttrMPTCPInfo) || s.TCPInfo != (TCPInfo{}) {
			t.Fatalf("%+v, %v", s, err)
		}
		i := s.Extra.MPTCP
		if i.Sent != want || (i.LocalAddrMax == 1 && i.CsumEnabled) != i.Has(MPTCPHasLocalAddr) || (i.Retransmits != 0) != i.Has(MPTCPHasTraffic) ||
			(i.BytesAcked != 0) != i.Has(MPTCPHasTraffic) || (i.SubflowsTotal != 0) != i.Has(MPTCPHasSubflowsTotal) ||
			(i.LastAckRecv == 0x01010101*time.Millisecond) != i.Has(MPTCPHasLast) || (i.Subflows == 1) != (n > 0) || i.Has(^MPTCPFields(0)) {
			t.Errorf("%d bytes: %+v", n, i)
		}
	}
}

// INET_DIAG_INFO is what the protocol says it is. Those that have none keep it as
// something unknown.
func TestDecodeInfoOfOtherProtocols(t *testing.T) {
	row := diagMessage(1, 1, 2, 3, attribute(uapi.InetDiagInfo, bytes.Repeat([]byte{1}, 100)))
	for _, p := range []Protocol{UDP, UDPLite, Raw} {
		s, err := DecodeSocket(p, row)
		if err != nil || s.Attrs != AttrTCPInfo|AttrUnknown || s.TCPInfo != (TCPInfo{}) || len(s.Extra.Unknown) != 1 || s.Protocol != p {
			t.Errorf("%v: %+v, %v", p, s, err)
		}
	}
	s, err := DecodeSocket(SCTP, row)
	if err != nil || s.Extra.SCTP.Tag != 0x01010101 || s.Extra.SCTP.ISACKs != 0x01010101_01010101 || s.TCPInfo != (TCPInfo{}) {
		t.Errorf("%+v, %v", s, err)
	}
	if s.Extra.SCTP.Options != (SCTPOptions{}) {
		t.Errorf("of bytes that did not come: %+v", s.Extra.SCTP.Options)
	}
}

// The protocol of a raw socket does not outlast its row.
func TestDecodeRawProtocol(t *testing.T) {
	var s Socket
	for _, tt := range []struct {
		p    Protocol
		row  []byte
		want uint8
		bit  bool
	}{
		{Raw, diagMessage(7, 89, 0, 3, attribute(uapi.InetDiagProtocol, []byte{89})), 89, true},
		{Raw, diagMessage(7, 89, 0, 3), 0, false},
		{Raw, diagMessage(7, 89, 0, 3, attribute(uapi.InetDiagProtocol, []byte{89})), 89, true},
		{UDP, diagMessage(7, 89, 0, 3, attribute(uapi.InetDiagProtocol, []byte{17})), 0, true},
		{TCP, diagMessage(7, 89, 0, 3, attribute(uapi.InetDiagProtocol, []byte{6})), 0, true},
	} {
		if err := s.decode(tt.p, tt.row, false); err != nil || s.RawProtocol != tt.want || s.Attrs.Has(AttrProtocol) != tt.bit || s.Protocol != tt.p {
			t.Errorf("%v: %+v, %v", tt.p, s, err)
		}
	}
}

// A row leaves nothing behind for one of another protocol.
func TestDecodeOverAnotherProtocol(t *testing.T) {
	row := diagMessage(1, 1, 2, 3, attribute(uapi.InetDiagInfo, bytes.Repeat([]byte{1}, 280)), attribute(uapi.InetDiagMark, inBytes(t, uint32(5))))
	protocols := []Protocol{TCP, UDP, UDPLite, Raw, SCTP, MPTCP}
	for _, first := range protocols {
		for _, second := range protocols {
			var s Socket
			if err := errors.Join(s.decode(first, row, false), s.decode(second, row, false)); err != nil {
				t.Fatal(err)
			}
			var alone Socket
			if err := alone.decode(second, row, false); err != nil || !same(s, alone) {
				t.Errorf("%v after %v: %+v, want %+v, %v", second, first, s, alone, err)
			}
		}
	}
}

// The nest is that of a kernel: types with the flag for nests, and padding between.
func TestDecodeBPFStorages(t *testing.T) {
	storage := func(id uint32, value string) []byte {
		return attribute(0x8001, bytes.Join([][]byte{attribute(2, inBytes(t, id)), attribute(1, nil), attribute(3, []byte(value))}, nil))
	}
	row := diagMessage(1, 1, 2, 3, attribute(0x8014, bytes.Join([][]byte{storage(7, "seven"), attribute(99, nil), storage(1<<31, "")}, nil)))
	for _, p := range []Protocol{TCP, UDP} {
		s, err := DecodeSocket(p, row)
		want := []BPFStorage{{MapID: 7, Value: []byte("seven")}, {MapID: 1 << 31, Value: []byte{}}}
		if err != nil || s.Attrs != AttrBPFStorages || !reflect.DeepEqual(s.Extra.BPFStorages, want) {
			t.Errorf("%+v, %v", s.Extra, err)
		}
	}
	s, err := DecodeSocket(TCP, row)
	if err != nil {
		t.Fatal(err)
	}
	if clear(row); string(s.Extra.BPFStorages[0].Value) != "seven" {
		t.Error("the value changed with the bytes it came from")
	}
	for _, nest := range [][]byte{{1, 2, 3}, storage(1, "x")[:10], attribute(0x8001, attribute(2, []byte{1, 2}))} {
		if _, err := DecodeSocket(TCP, diagMessage(1, 1, 2, 3, attribute(0x8014, nest))); !errors.As(err, new(*DecodeError)) {
			t.Errorf("% x: %v", nest, err)
		}
	}
}

// Kernels before 5.17 leave something in idiag_expires where there is no timer.
func TestDecodeExpiresOfNoTimer(t *testing.T) {
	row := diagMessage(7, 1, 2, 3)
	ne.PutUint32(row[52:], 12345)
	if s, err := DecodeSocket(UDP, row); err != nil || s.Timer != (Timer{}) {
		t.Errorf("%+v, %v", s.Timer, err)
	}
}
