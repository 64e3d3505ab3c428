package sockdiag

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/cpu"

	"github.com/seed16c515c6/timewait/internal/uapi"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// DecodeSocket decodes the payload of one reply of protocol p (zero: TCP): a struct
// inet_diag_msg and its attributes, in the byte order of this machine. It is for
// replies that came another way than through a Client. The protocol is not in the
// reply, and some attributes and states mean something else under another; one that
// the kernel has no such replies for is errors.ErrUnsupported. The state is as the
// kernel sent it, SCTP's apart: a bound-only socket is Closed here, because the
// request that would tell is not.
//
// Unknown attributes, states and timers are no errors, nor is a structure that is
// longer than this library knows; bytes that are cut short are a *DecodeError.
// Nothing in the Socket refers to payload.
func DecodeSocket(p Protocol, payload []byte) (Socket, error) {
	switch p {
	case 0:
		p = TCP
	case TCP, UDP, UDPLite, Raw, SCTP, MPTCP:
	default:
		return Socket{}, fmt.Errorf("sockets of %v: %w", p, errors.ErrUnsupported)
	}
	var s Socket
	if err := s.decode(p, payload, true); err != nil {
		return Socket{}, err
	}
	return s, nil
}

// decode fills s, which may hold an earlier row, and leaves nothing of that.
func (s *Socket) decode(p Protocol, b []byte, keepUnknown bool) error {
	if len(b) < uapi.SizeofInetDiagMsg {
		return &DecodeError{What: "inet_diag_msg", Len: len(b), Want: uapi.SizeofInetDiagMsg}
	}
	if s.Protocol != p {
		*s = Socket{Protocol: p} // what clear looks at means something else
	}
	s.Family, s.State = Family(b[0]), tcpstate.State(b[1])
	s.Timer = Timer{Kind: TimerKind(b[2]), Retransmits: b[3]}
	if s.Timer.Kind != TimerNone { // or kernels before 5.17 leave something there
		s.Timer.Expires = expires(ne.Uint32(b[52:]))
	}
	sport, dport := binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:])
	if s.Family == IPv4 {
		s.Local = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[8:])), sport)
		s.Remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[24:])), dport)
	} else {
		s.Local = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:])), sport)
		s.Remote = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[24:])), dport)
	}
	s.Interface = ne.Uint32(b[40:])
	// Two 32-bit words, the low one first on either byte order.
	s.Cookie = uint64(ne.Uint32(b[44:])) | uint64(ne.Uint32(b[48:]))<<32
	s.RecvQueue, s.SendQueue = words(b[56:64])
	s.UID, s.Inode = words(b[64:72])
	rest, attrs := s.decodeUsual(b[uapi.SizeofInetDiagMsg:])
	if len(rest) != 0 || attrs != s.Attrs || s.Extra != nil {
		if err := s.decodeAttrs(rest, attrs, keepUnknown); err != nil {
			return err
		}
	}
	if p == SCTP {
		s.fixSCTP(b[1], b[2])
	}
	return nil
}

// expires is idiag_expires. Old kernels let a timer that is overdue wrap around.
func expires(ms uint32) time.Duration {
	if ms > 1<<31 {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}

// decodeAttrs decodes the attributes that follow those in attrs, and clears what an
// earlier row had and this one has not.
func (s *Socket) decodeAttrs(b []byte, attrs Attrs, keepUnknown bool) error {
	if s.Extra != nil {
		s.Extra = nil // it is somebody's now
	}
	for len(b) > 0 {
		n, typ := attrHeader(b)
		if n == 0 {
			return attrError(b)
		}
		payload := b[uapi.SizeofNLAttr:n]
		b = b[min(align4(n), len(b)):]
		known, err := true, error(nil)
		switch typ {
		case uapi.InetDiagMemInfo:
			err = s.MemInfo.decode(payload)
		case uapi.InetDiagInfo:
			known = s.decodeInfo(payload)
		case uapi.InetDiagCong:
			s.Congestion = congestionName(s.Congestion, payload)
		case uapi.InetDiagTOS:
			err = loadUint8(&s.TOS, "INET_DIAG_TOS", payload)
		case uapi.InetDiagTClass:
			err = loadUint8(&s.TrafficClass, "INET_DIAG_TCLASS", payload)
		case uapi.InetDiagSKMemInfo:
			err = s.SocketMemory.decode(payload)
		case uapi.InetDiagShutdown:
			err = loadUint8((*uint8)(&s.Shutdown), "INET_DIAG_SHUTDOWN", payload)
		case uapi.InetDiagMark:
			err = loadUint32(&s.Mark, "INET_DIAG_MARK", payload)
		case uapi.InetDiagClassID:
			err = loadUint32(&s.ClassID, "INET_DIAG_CLASS_ID", payload)
		case uapi.InetDiagCgroupID:
			err = loadUint64(&s.CgroupID, "INET_DIAG_CGROUP_ID", payload)
		case uapi.InetDiagSockOpt:
			err = s.Options.decode(payload, cpu.IsBigEndian)
		case uapi.InetDiagSKV6Only:
			var only uint8
			err = loadUint8(&only, "INET_DIAG_SKV6ONLY", payload)
			s.V6Only = only != 0
		case uapi.InetDiagBBRInfo:
			err = s.BBR.decode(payload)
		case uapi.InetDiagProtocol:
			// Of others, it is what the caller knows.
			var protocol uint8
			if err = loadUint8(&protocol, "INET_DIAG_PROTOCOL", payload); s.Protocol == Raw {
				s.RawProtocol = protocol
			}
		// What follows is for few sockets, and costs each an Extra.
		case uapi.InetDiagVegasInfo:
			err = s.extra().Vegas.decode(payload)
		case uapi.InetDiagDCTCPInfo:
			err = s.extra().DCTCP.decode(payload)
		case uapi.InetDiagULPInfo:
			err = s.extra().ULP.decode(payload)
		case uapi.InetDiagMD5Sig:
			s.extra().MD5Keys, err = decodeMD5Keys(payload)
		case uapi.InetDiagLocals:
			s.sctp().Locals, err = decodeAddresses("INET_DIAG_LOCALS", payload)
		case uapi.InetDiagPeers:
			s.sctp().Peers, err = decodeAddresses("INET_DIAG_PEERS", payload)
		case uapi.InetDiagSKBPFStorages:
			s.extra().BPFStorages, err = decodeBPFStorages(payload)
		case uapi.InetDiagPad:
		default:
			known = false
		}
		if err != nil {
			return err
		}
		if !known && keepUnknown {
			x := s.extra()
			x.Unknown = append(x.Unknown, RawAttr{Type: typ, Data: bytes.Clone(payload)})
			attrs |= AttrUnknown
		}
		if typ < 63 && typ != uapi.InetDiagPad {
			attrs |= 1 << typ
		}
	}
	if attrs != s.Attrs {
		s.clear(s.Attrs &^ attrs)
		s.Attrs = attrs
	}
	return nil
}

// decodeUsual decodes the attributes that come unasked, and tcp_info, if they come in
// the order in which kernels send them when nothing else is asked for, and returns what
// is left. The loop of decodeAttrs takes all of them, but its switch costs 5 nanoseconds
// for each, which was a third of what a Dump adds to the kernel's time.
func (s *Socket) decodeUsual(b []byte) (rest []byte, attrs Attrs) {
	if len(b) >= 8 && ne.Uint32(b) == attrWord(uapi.InetDiagShutdown, 1) {
		s.Shutdown = Shutdown(b[4])
		attrs |= AttrShutdown
		b = b[8:]
	}
	if len(b) >= 8 && ne.Uint32(b) == attrWord(uapi.InetDiagMark, 4) {
		s.Mark = ne.Uint32(b[4:])
		attrs |= AttrMark
		b = b[8:]
	}
	if len(b) >= 12 && ne.Uint32(b) == attrWord(uapi.InetDiagCgroupID, 8) {
		s.CgroupID = ne.Uint64(b[4:])
		attrs |= AttrCgroupID
		b = b[12:]
	}
	if len(b) >= 8 && ne.Uint32(b) == attrWord(uapi.InetDiagSockOpt, 2) {
		_ = s.Options.decode(b[4:6], cpu.IsBigEndian) // these two bytes are all it takes
		attrs |= AttrSocketOptions
		b = b[8:]
	}
	if n, typ := attrHeader(b); typ == uapi.InetDiagInfo && s.Protocol == TCP {
		s.TCPInfo.decode(b[uapi.SizeofNLAttr:n])
		attrs |= AttrTCPInfo
		b = b[min(align4(n), len(b)):]
	}
	return b, attrs
}

// attrWord is the header of an attribute with size bytes of payload, as one number.
func attrWord(typ, size uint32) uint32 {
	if cpu.IsBigEndian {
		return (uapi.SizeofNLAttr+size)<<16 | typ
	}
	return typ<<16 | (uapi.SizeofNLAttr + size)
}

// attrHeader returns the length of the attribute that b begins with, header and all,
// and its type. The length is 0 where b does not hold it. Payloads are only aligned
// to 4 bytes, also where they hold 64-bit numbers, which byte loads do not mind.
// (It returns no more than that to be inlined: this is where a dump spends its time.)
func attrHeader(b []byte) (n int, typ uint16) {
	if len(b) < uapi.SizeofNLAttr {
		return 0, 0
	}
	n = int(ne.Uint16(b))
	if n < uapi.SizeofNLAttr || n > len(b) {
		return 0, 0
	}
	return n, ne.Uint16(b[2:]) & uapi.NLATypeMask
}

// attrError says why b does not hold an attribute.
func attrError(b []byte) error {
	if len(b) < uapi.SizeofNLAttr {
		return &DecodeError{What: "attribute header", Len: len(b), Want: uapi.SizeofNLAttr}
	}
	return &DecodeError{What: "attribute length", Len: len(b), Want: max(int(ne.Uint16(b)), uapi.SizeofNLAttr)}
}

// eachAttr calls f with the attributes of a nest.
func eachAttr(b []byte, f func(typ uint16, payload []byte) error) error {
	for len(b) > 0 {
		n, typ := attrHeader(b)
		if n == 0 {
			return attrError(b)
		}
		if err := f(typ, b[uapi.SizeofNLAttr:n]); err != nil {
			return err
		}
		b = b[min(align4(n), len(b)):]
	}
	return nil
}

func align4(n int) int { return (n + 3) &^ 3 }

// decodeInfo decodes what the protocol tells of itself. Those that do not are not
// known to.
func (s *Socket) decodeInfo(b []byte) (known bool) {
	switch s.Protocol {
	case TCP:
		s.TCPInfo.decode(b)
	case MPTCP:
		x := s.extra()
		x.MPTCP = new(MPTCPInfo)
		x.MPTCP.decode(b)
	case SCTP:
		s.sctp().decode(b)
	default:
		return false
	}
	return true
}

// clear zeroes what the row before had and this one has not.
func (s *Socket) clear(gone Attrs) {
	if gone&AttrMemInfo != 0 {
		s.MemInfo = MemInfo{}
	}
	if gone&AttrTCPInfo != 0 {
		s.TCPInfo = TCPInfo{}
	}
	if gone&AttrCongestion != 0 {
		s.Congestion = ""
	}
	if gone&AttrTOS != 0 {
		s.TOS = 0
	}
	if gone&AttrTrafficClass != 0 {
		s.TrafficClass = 0
	}
	if gone&AttrSocketMemory != 0 {
		s.SocketMemory = SocketMemory{}
	}
	if gone&AttrShutdown != 0 {
		s.Shutdown = 0
	}
	if gone&AttrMark != 0 {
		s.Mark = 0
	}
	if gone&AttrClassID != 0 {
		s.ClassID = 0
	}
	if gone&AttrCgroupID != 0 {
		s.CgroupID = 0
	}
	if gone&AttrSocketOptions != 0 {
		s.Options = 0
	}
	if gone&AttrV6Only != 0 {
		s.V6Only = false
	}
	if gone&AttrBBRInfo != 0 {
		s.BBR = BBRInfo{}
	}
	if gone&AttrProtocol != 0 {
		s.RawProtocol = 0
	}
}

func (m *MemInfo) decode(b []byte) error {
	if len(b) < 16 {
		return &DecodeError{What: "INET_DIAG_MEMINFO", Len: len(b), Want: 16}
	}
	*m = MemInfo{Recv: ne.Uint32(b), SendQueue: ne.Uint32(b[4:]), Forward: ne.Uint32(b[8:]), Send: ne.Uint32(b[12:])}
	return nil
}

// decode takes the counters that the kernel has: it had eight before Linux 4.20
// and may get more.
func (m *SocketMemory) decode(b []byte) error {
	if len(b) < 32 {
		return &DecodeError{What: "INET_DIAG_SKMEMINFO", Len: len(b), Want: 32}
	}
	*m = SocketMemory{
		RecvAlloc: ne.Uint32(b), RecvBuffer: ne.Uint32(b[4:]), SendAlloc: ne.Uint32(b[8:]), SendBuffer: ne.Uint32(b[12:]),
		Forward: int32(ne.Uint32(b[16:])), SendQueued: ne.Uint32(b[20:]), Options: ne.Uint32(b[24:]), Backlog: ne.Uint32(b[28:]),
	}
	if len(b) >= 36 {
		m.Drops = ne.Uint32(b[32:])
	}
	return nil
}

// congestionName turns the NUL-terminated name into a string. The names of the
// kernel's own algorithms are constants here, so that they cost no allocation per
// socket; last, the name of the row before, spares it for most of the others.
func congestionName(last string, b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	if string(b) == last {
		return last
	}
	for _, name := range [...]string{"cubic", "bbr", "reno", "dctcp", "bic", "cdg", "dctcp-reno", "highspeed", "htcp", "hybla",
		"illinois", "lp", "nv", "scalable", "vegas", "veno", "westwood", "yeah"} {
		if string(b) == name {
			return name
		}
	}
	return string(b)
}

func loadUint8(v *uint8, what string, b []byte) error {
	if len(b) < 1 {
		return short(what, b, 1)
	}
	*v = b[0]
	return nil
}

func loadUint16(v *uint16, what string, b []byte) error {
	if len(b) < 2 {
		return short(what, b, 2)
	}
	*v = ne.Uint16(b)
	return nil
}

func loadUint32(v *uint32, what string, b []byte) error {
	if len(b) < 4 {
		return short(what, b, 4)
	}
	*v = ne.Uint32(b)
	return nil
}

func loadUint64(v *uint64, what string, b []byte) error {
	if len(b) < 8 {
		return short(what, b, 8)
	}
	*v = ne.Uint64(b)
	return nil
}

// short is the error for a structure that takes more bytes. Functions that leave it to
// this to make the error are inlined.
func short(what string, b []byte, want int) error {
	return &DecodeError{What: what, Len: len(b), Want: want}
}
