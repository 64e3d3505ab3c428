package sockdiag

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed16c515c6/timewait/internal/uapi"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// Whatever comes as a reply of whatever protocol, decoding neither panics nor reads
// what an earlier row left behind; and bytes that decode say what their header and
// their attributes say, and no secret.
func FuzzDecodeSocket(f *testing.F) {
	protocols := []Protocol{TCP, UDP, UDPLite, Raw, SCTP, MPTCP}
	for _, k := range recordings(f) {
		for i := range k.Captures {
			payloads, err := k.Payloads(&k.Captures[i])
			if err != nil {
				f.Fatal(err)
			}
			for _, b := range payloads[:min(len(payloads), 8)] {
				for n, p := range protocols {
					if p == Protocol(k.Captures[i].Protocol()) {
						f.Add(uint8(n), b)
					}
				}
			}
		}
	}
	key := make([]byte, uapi.SizeofMD5Sig)
	copy(key, inBytes(f, uint8(2), uint8(24), uint16(13), []byte{192, 0, 2, 0}))
	copy(key[20:], "open, sesame!")
	f.Add(uint8(0), diagMessage(10, 179, 0, 1, attribute(uapi.InetDiagMD5Sig, key)))
	f.Add(uint8(1), diagMessage(1, 1, 2, 3, attribute(0x8014, attribute(0x8001, attribute(2, inBytes(f, uint32(7)))))))

	dirty := func(p Protocol) Socket {
		s, err := DecodeSocket(p, diagMessage(1, 2, 3, 4,
			attribute(uapi.InetDiagMemInfo, make([]byte, 16)), attribute(uapi.InetDiagInfo, []byte(strings.Repeat("\xff", 400))),
			attribute(uapi.InetDiagCong, []byte("vegas\x00")), attribute(uapi.InetDiagTOS, []byte{7}), attribute(uapi.InetDiagTClass, []byte{7}),
			attribute(uapi.InetDiagSKMemInfo, []byte(strings.Repeat("\xff", 36))), attribute(uapi.InetDiagShutdown, []byte{3}),
			attribute(uapi.InetDiagMark, []byte{1, 2, 3, 4}), attribute(uapi.InetDiagClassID, []byte{1, 2, 3, 4}),
			attribute(uapi.InetDiagCgroupID, []byte{1, 2, 3, 4, 5, 6, 7, 8}), attribute(uapi.InetDiagSKV6Only, []byte{1}),
			attribute(uapi.InetDiagSockOpt, []byte{255, 255}), attribute(uapi.InetDiagBBRInfo, []byte(strings.Repeat("\x01", 20))),
			attribute(uapi.InetDiagProtocol, []byte{89}), attribute(uapi.InetDiagLocals, make([]byte, 128))))
		if err != nil {
			f.Fatal(err)
		}
		return s
	}
	f.Fuzz(func(t *testing.T, n uint8, b []byte) {
		p := protocols[int(n)%len(protocols)]
		s, err := DecodeSocket(p, b)
		for _, earlier := range []Protocol{p, TCP} {
			over := dirty(earlier)
			if overErr := over.decode(p, b, true); (overErr == nil) != (err == nil) {
				t.Fatalf("alone %v, over another row %v", err, overErr)
			}
			if err == nil && !same(over, s) {
				t.Errorf("decoded over a row of %v:\n got %+v %+v\nwant %+v %+v", earlier, over, over.Extra, s, s.Extra)
			}
		}
		if err != nil {
			if s != (Socket{}) {
				t.Errorf("error %v with %+v", err, s)
			}
			return
		}
		checkHeader(t, p, b, &s)
		checkAttrs(t, b[72:], &s)
		if s.Extra != nil {
			printed := fmt.Sprintf("%v %+v %x %q", s.Extra.MD5Keys, s.Extra.MD5Keys, s.Extra.MD5Keys, s.Extra.MD5Keys)
			for _, k := range s.Extra.MD5Keys {
				// One shorter may be in what else is printed by chance.
				if secret := string(k.Secret.Reveal()); len(secret) > 12 && strings.Contains(printed, secret) {
					t.Errorf("%q is in %s", secret, printed)
				}
			}
		}
	})
}

func checkHeader(t *testing.T, p Protocol, b []byte, s *Socket) {
	t.Helper()
	if s.Protocol != p || s.Family != Family(b[0]) || s.Local.Port() != uint16(b[4])<<8|uint16(b[5]) ||
		s.Remote.Port() != uint16(b[6])<<8|uint16(b[7]) || s.Inode != ne.Uint32(b[68:]) {
		t.Errorf("%+v of % x", s, b[:72])
	}
	if s.Timer.Expires < 0 || s.Timer.Kind == TimerNone && s.Timer.Expires != 0 || !s.Local.Addr().IsValid() || !s.Remote.Addr().IsValid() {
		t.Errorf("%+v", s)
	}
	state, association := s.SCTPState()
	if p != SCTP {
		if s.State != tcpstate.State(b[1]) || association {
			t.Errorf("%v in state %d: %v, %v", p, b[1], s.State, association)
		}
		return
	}
	switch s.State {
	case tcpstate.Established:
		if association && state != SCTPEstablished || !association && s.Extra.SCTP.Endpoint != SCTPEndpointEstablished {
			t.Errorf("%v is %v", s.Extra.SCTP, s.State)
		}
	case 0, tcpstate.Closed, tcpstate.Listen:
	default:
		t.Errorf("SCTP has no %v", s.State)
	}
	if association != s.Attrs.Has(AttrPeers) || association == (s.Extra.SCTP.Endpoint != 0) && b[1] != 0 {
		t.Errorf("%+v with %v", s.Extra.SCTP, s.Attrs)
	}
	if _, waits := s.TimeWait(); waits {
		t.Errorf("SCTP with timer %d is in TIME_WAIT", b[2])
	}
}

// checkAttrs holds the set of attributes, and what came with them, against a walk of
// its own over their headers.
func checkAttrs(t *testing.T, b []byte, s *Socket) {
	t.Helper()
	var want Attrs
	var raw uint8
	unknown := 0
	for len(b) >= 4 {
		size, typ := int(ne.Uint16(b)), ne.Uint16(b[2:])&0x3fff
		switch {
		case typ == 14: // padding
		case typ < 63:
			want |= 1 << typ
		}
		if known := typ == 14 || typ < 63 && allAttrs.Has(1<<typ); !known || typ == 2 && s.Protocol != TCP && s.Protocol != SCTP && s.Protocol != MPTCP {
			unknown++
			want |= AttrUnknown
		}
		if typ == 10 && s.Protocol == Raw {
			raw = b[4]
		}
		b = b[min((size+3)&^3, len(b)):]
	}
	if s.Attrs != want || s.RawProtocol != raw {
		t.Errorf("attributes %v, raw protocol %d, want %v, %d", s.Attrs, s.RawProtocol, want, raw)
	}
	x := s.Extra
	if x == nil {
		x = new(Extra)
	}
	if len(x.Unknown) != unknown || (x.MPTCP != nil) != (s.Protocol == MPTCP && want.Has(AttrMPTCPInfo)) ||
		!want.Has(AttrBPFStorages) && x.BPFStorages != nil || !want.Has(AttrMD5Keys) && x.MD5Keys != nil || s.Protocol == SCTP && x.SCTP == nil {
		t.Errorf("%+v of %v", x, want)
	}
}
