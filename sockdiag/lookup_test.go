package sockdiag

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"github.com/seed16c515c6/timewait/internal/uapi"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// exactly answers exact requests with answer, and dumps with nothing.
func exactly(answer func(seq uint32) []byte) *fakeKernel {
	return &fakeKernel{answerTo: func(req []byte) []datagram {
		seq := ne.Uint32(req[8:])
		if ne.Uint16(req[6:])&uapi.NLMFDump != 0 {
			return []datagram{done(seq)}
		}
		return []datagram{{data: answer(seq)}}
	}}
}

var someID = ID{Local: netip.MustParseAddrPort("127.0.0.1:1000"), Remote: netip.MustParseAddrPort("127.0.0.1:2000")}

// A lookup is one request and one reply, and the next one has the same socket,
// also after a miss.
func TestLookupRoundTrips(t *testing.T) {
	there := true
	k := exactly(func(seq uint32) []byte {
		if !there {
			return kernelSays(uapi.NLMsgError, seq, syscall.ENOENT)
		}
		return netlinkMessage(uapi.SockDiagByFamily, 0, seq, diagMessage(tcpstate.Established, 1000, 2000, 7))
	})
	c := k.client(t)
	look := func() int {
		t.Helper()
		before := len(k.requests)
		s, err := c.Lookup(t.Context(), someID, 0)
		if there && (err != nil || s.Cookie != 7) || !there && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%+v, error %v", s.ID(), err)
		}
		return len(k.requests) - before
	}
	look() // primes the socket as well
	if n := look(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
	there = false
	look() // also learns that the kernel knows of TCP
	if n := look(); n != 1 {
		t.Errorf("%d requests after a miss, want 1", n)
	}
	if len(k.sockets) != 1 || k.open() != 1 {
		t.Errorf("%d sockets opened, %d open", len(k.sockets), k.open())
	}
}

// The kernel says ENOENT as well where it cannot tell of a protocol.
func TestLookupWithoutHandler(t *testing.T) {
	k := &fakeKernel{answerTo: func(req []byte) []datagram {
		seq := ne.Uint32(req[8:])
		if ne.Uint16(req[6:])&uapi.NLMFDump != 0 {
			return []datagram{{data: kernelSays(uapi.NLMsgDone, seq, syscall.ENOENT)}}
		}
		return []datagram{{data: kernelSays(uapi.NLMsgError, seq, syscall.ENOENT)}}
	}}
	c := k.client(t)
	for _, p := range []Protocol{TCP, UDP, MPTCP, SCTP} {
		id := someID
		id.Protocol, id.Token = p, 5
		for range 2 {
			if _, err := c.Lookup(t.Context(), id, 0); !errors.Is(err, errors.ErrUnsupported) || errors.Is(err, os.ErrNotExist) {
				t.Errorf("Lookup of %v: %v", p, err)
			}
		}
		id.Cookie = 1
		if err := c.Destroy(t.Context(), id); !errors.Is(err, errors.ErrUnsupported) || errors.Is(err, os.ErrNotExist) {
			t.Errorf("Destroy of %v: %v", p, err)
		}
	}
}

// What the kernel answers with must be what the ID names.
func TestLookupOtherSocket(t *testing.T) {
	v6 := diagMessage(tcpstate.Established, 1000, 2000, 7)
	v6[0] = uapi.AFInet6
	onDevice := diagMessage(tcpstate.Established, 1000, 2000, 7)
	ne.PutUint32(onDevice[40:], 3)
	elsewhere := diagMessage(tcpstate.Established, 1000, 2000, 7)
	elsewhere[27] = 9 // 127.0.0.9
	known := someID
	known.Cookie = 7
	other := someID
	other.Cookie = 8
	for _, tt := range []struct {
		name  string
		id    ID
		reply []byte
		found bool
	}{
		{"itself", someID, diagMessage(tcpstate.Established, 1000, 2000, 7), true},
		{"itself, by cookie", known, diagMessage(tcpstate.Established, 1000, 2000, 7), true},
		{"another cookie", other, diagMessage(tcpstate.Established, 1000, 2000, 7), false},
		{"the listener", someID, diagMessage(tcpstate.Listen, 1000, 0, 7), false},
		{"another local port", someID, diagMessage(tcpstate.Established, 1001, 2000, 7), false},
		{"another peer", someID, elsewhere, false},
		{"another family", someID, v6, false},
		{"bound to a device", someID, onDevice, false},
		{"bound to a device, by cookie", known, onDevice, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := exactly(func(seq uint32) []byte { return netlinkMessage(uapi.SockDiagByFamily, 0, seq, tt.reply) })
			_, err := k.client(t).Lookup(t.Context(), tt.id, 0)
			if found := err == nil; found != tt.found || !found && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestLookupErrors(t *testing.T) {
	k := exactly(func(seq uint32) []byte { return kernelSays(uapi.NLMsgError, seq, syscall.ENOMEM) })
	c := k.client(t)
	if _, err := c.Lookup(t.Context(), someID, 0); !errors.Is(err, syscall.ENOMEM) {
		t.Errorf("error %v", err)
	}
	before := len(k.requests)
	four, six := someID.Local, netip.MustParseAddrPort("[::1]:1000")
	for _, tt := range []struct {
		id   ID
		want error
	}{
		{ID{}, fs.ErrInvalid},
		{ID{Remote: four}, fs.ErrInvalid},
		{ID{Local: netip.AddrPortFrom(four.Addr(), 0), Remote: four}, fs.ErrInvalid},
		{ID{Local: four, Remote: six}, fs.ErrInvalid},
		{ID{Local: six, Remote: four}, fs.ErrInvalid},
		{ID{Local: four, Cookie: 1<<64 - 1}, fs.ErrInvalid},
		{ID{Local: six, Remote: six, Family: IPv4}, fs.ErrInvalid},
		{ID{Local: four, Family: 3}, fs.ErrInvalid},
		{ID{Local: netip.MustParseAddrPort("[fe80::1%lo]:1")}, fs.ErrInvalid},
		{ID{Local: four, Protocol: 33}, errors.ErrUnsupported},
	} {
		if _, err := c.Lookup(t.Context(), tt.id, 0); !errors.Is(err, tt.want) {
			t.Errorf("Lookup(%+v): %v", tt.id, err)
		}
		tt.id.Cookie = max(tt.id.Cookie, 1)
		if err := c.Destroy(t.Context(), tt.id); !errors.Is(err, tt.want) {
			t.Errorf("Destroy(%+v): %v", tt.id, err)
		}
	}
	if err := c.Destroy(t.Context(), someID); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("Destroy without a cookie: %v", err)
	}
	if n := len(k.requests) - before; n != 0 {
		t.Errorf("%d bad requests were sent", n)
	}
}

// The bytes of exact requests, spelt out from linux/inet_diag.h.
func TestExactRequestBytes(t *testing.T) {
	cookie := func(lo, hi uint32) []byte { return ne.AppendUint32(ne.AppendUint32(nil, lo), hi) }
	none := cookie(0xffffffff, 0xffffffff)
	id := func(sport, dport uint16, src, dst string, device uint32, cookie []byte) []byte {
		b := binary.BigEndian.AppendUint16(nil, sport)
		b = binary.BigEndian.AppendUint16(b, dport)
		for _, s := range []string{src, dst} {
			a := netip.MustParseAddr(s).AsSlice()
			b = append(append(b, a...), make([]byte, 16-len(a))...)
		}
		return append(ne.AppendUint32(b, device), cookie...)
	}
	message := func(typ, flags uint16, head []byte, id []byte, attrs ...byte) []byte {
		b := ne.AppendUint32(nil, uint32(16+56+len(attrs)))
		b = ne.AppendUint16(b, typ)
		b = ne.AppendUint16(b, flags)
		b = append(b, 1, 0, 0, 0, 0, 0, 0, 0)
		ne.PutUint32(b[8:], 1)
		return append(append(append(append(b, head...), 0, 0, 0, 0), id...), attrs...)
	}
	six := ID{Local: netip.MustParseAddrPort("[2001:db8::1]:443"), Remote: netip.MustParseAddrPort("[2001:db8::2]:5000"), Interface: 3, Cookie: 0x1122334455667788}
	udp := someID
	udp.Protocol = UDP
	token := ID{Protocol: MPTCP, Token: 0xcafe}
	for _, tt := range []struct {
		name string
		id   ID
		typ  uint16
		want []byte
	}{
		{"TCP", someID, 20, message(20, 1, []byte{2, 6, 0, 0}, id(1000, 2000, "127.0.0.1", "127.0.0.1", 0, none))},
		{"IPv6, cookie", six, 20, message(20, 1, []byte{10, 6, 0, 0}, id(443, 5000, "2001:db8::1", "2001:db8::2", 3, cookie(0x55667788, 0x11223344)))},
		{"UDP, ends swapped", udp, 20, message(20, 1, []byte{2, 17, 0, 0}, id(2000, 1000, "127.0.0.1", "127.0.0.1", 0, none))},
		{"UDP, to destroy", udp, 21, message(21, 1, []byte{2, 17, 0, 0}, id(1000, 2000, "127.0.0.1", "127.0.0.1", 0, none))},
		{"MPTCP token", token, 20, message(20, 1, []byte{2, 0, 0, 0}, id(0, 0, "0.0.0.0", "0.0.0.0", 0, cookie(0xcafe, 0)),
			append(ne.AppendUint16(ne.AppendUint16(nil, 8), 3), ne.AppendUint32(nil, 262)...)...)},
	} {
		id := tt.id
		if err := id.normalize(); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		r := id.request(tt.typ)
		if got := r.append(nil, 1); string(got) != string(tt.want) {
			t.Errorf("%s:\n got %x\nwant %x", tt.name, got, tt.want)
		}
	}
}

// Unknown attributes are kept where they are asked for, whichever way the socket is found.
func TestLookupUnknown(t *testing.T) {
	for _, inDump := range []bool{false, true} {
		k := &fakeKernel{answerTo: func(r []byte) []datagram {
			seq, typ := ne.Uint32(r[8:]), ne.Uint16(r[4:])
			if inDump && ne.Uint16(r[6:])&uapi.NLMFDump == 0 {
				return []datagram{{data: kernelSays(uapi.NLMsgError, seq, 2)}}
			}
			m := diagMessage(10, 1000, 0, 9, attribute(55, []byte{1}))
			copy(m[24:], make([]byte, 4))
			d := []datagram{join(netlinkMessage(typ, map[bool]uint16{true: 2}[inDump], seq, m))}
			if ne.Uint16(r[6:])&uapi.NLMFDump != 0 {
				d = append(d, done(seq))
			}
			return d
		}}
		for attrs, want := range map[Attrs]bool{0: false, AttrUnknown: true} {
			s, err := k.client(t).Lookup(t.Context(), ID{Local: netip.MustParseAddrPort("127.0.0.1:1000")}, attrs)
			if err != nil || (s.Extra != nil && len(s.Extra.Unknown) == 1) != want {
				t.Error(inDump, attrs, err, s.Extra)
			}
		}
	}
}
