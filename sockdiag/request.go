package sockdiag

import (
	"encoding/binary"
	"net/netip"

	"github.com/seed16c515c6/timewait/internal/uapi"
	"github.com/seed16c515c6/timewait/tcpstate"
)

var ne = binary.NativeEndian

// request is what one message asks the kernel: a dump, or something about the one
// socket of its id. Whoever makes one has checked it.
type request struct {
	typ, flags uint16
	family     Family // zero: both, which only a TCPDIAG_GETSOCK dump can say
	protocol   Protocol
	rawProto   uint8 // of the raw socket to find; zero: any
	extension  uint8 // idiag_ext
	states     tcpstate.Set
	program    []byte // of the filter; empty: everything
	nothing    bool   // the program selects nothing
	storages   bool   // tell of BPF storages, of all maps; dumps only
	sockID     sockID // a dump looks at its ports only, where they are not zero
}

// sockID is a struct inet_diag_sockid: which socket.
type sockID struct {
	local, remote netip.AddrPort
	device        uint32
	cookie        uint64 // noCookie: any
}

// noCookie is INET_DIAG_NOCOOKIE, twice.
const noCookie = ^uint64(0)

// single reports whether the kernel answers with one message: a row, or an
// NLMSG_ERROR that may say that all is well.
func (r *request) single() bool { return r.flags&uapi.NLMFDump == 0 }

// append appends the message: a netlink header, then struct inet_diag_req or
// inet_diag_req_v2, then attributes.
//
// The kernel drops an attribute silently that its length takes past the end of
// the message, and answers as if it had not been there. So the lengths are
// computed from what has been appended.
func (r *request) append(b []byte, seq uint32) []byte {
	start := len(b)
	b = append(b, make([]byte, uapi.SizeofNLMsgHdr)...) // filled in at the end
	protocol := uint8(r.protocol)
	if r.protocol > 0xff {
		protocol = 0 // an attribute says it
	}
	if r.typ == uapi.TCPDiagGetSock {
		// No protocol, and a family that a dump does not look at.
		b = append(b, uapi.AFInet, 0, 0, r.extension)
		b = r.sockID.append(b)
		b = ne.AppendUint32(b, uint32(r.states))
		b = ne.AppendUint32(b, 0)
	} else {
		b = append(b, uint8(r.family), protocol, r.extension, r.rawProto)
		b = ne.AppendUint32(b, uint32(r.states))
		b = r.sockID.append(b)
	}
	if r.protocol > 0xff || r.typ == uapi.TCPDiagGetSock && r.protocol != TCP {
		b = appendAttrHeader(b, uapi.InetDiagReqProtocol, 4)
		b = ne.AppendUint32(b, uint32(r.protocol))
	}
	if len(r.program) > 0 {
		b = appendAttrHeader(b, uapi.InetDiagReqBytecode, len(r.program))
		b = append(b, r.program...) // whose length is a multiple of 4
	}
	if r.storages {
		b = appendAttrHeader(b, uapi.InetDiagReqSKBPFStorages, 0) // a nest without maps: all of them
	}
	putHeader(b[start:], r.typ, r.flags, seq)
	return b
}

func (id *sockID) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, id.local.Port())
	b = binary.BigEndian.AppendUint16(b, id.remote.Port())
	b = appendAddr(b, id.local.Addr())
	b = appendAddr(b, id.remote.Addr())
	b = ne.AppendUint32(b, id.device)
	b = ne.AppendUint32(b, uint32(id.cookie)) // low word first, on big-endian too
	return ne.AppendUint32(b, uint32(id.cookie>>32))
}

// appendAddr appends an address as 16 bytes: one of IPv4 comes first, and the
// rest is zero. So are all of no address.
func appendAddr(b []byte, a netip.Addr) []byte {
	var a16 [16]byte
	switch {
	case a.Is4():
		a4 := a.As4()
		copy(a16[:], a4[:])
	case a.Is6():
		a16 = a.As16()
	}
	return append(b, a16[:]...)
}

// appendAttrHeader begins an attribute with a payload of size bytes.
func appendAttrHeader(b []byte, typ uint16, size int) []byte {
	b = ne.AppendUint16(b, uint16(uapi.SizeofNLAttr+size))
	return ne.AppendUint16(b, typ)
}

// putHeader writes the struct nlmsghdr that begins the message b. Its port stays
// zero: the kernel fills in the sender's.
func putHeader(b []byte, typ, flags uint16, seq uint32) {
	ne.PutUint32(b, uint32(len(b)))
	ne.PutUint16(b[4:], typ)
	ne.PutUint16(b[6:], flags)
	ne.PutUint32(b[8:], seq)
}
