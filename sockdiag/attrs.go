package sockdiag

import (
	"math/bits"
	"strconv"

	"github.com/seed16c515c6/timewait/internal/uapi"
)

// Attrs is a set of the attributes that can follow a socket's header. In a Query
// it says what to ask for; in a Socket what the kernel sent. Bit n is the
// kernel's attribute type n (INET_DIAG_*), so that the Attrs of a Socket tells of
// types that this library has no name for, too.
//
// Where nothing else is said, an attribute is of full sockets of any protocol, needs
// no privilege, and kernels since Linux 4.14 have it. Mini-sockets (TIME_WAIT,
// an orphan's FIN_WAIT2, SYN_RECV request sockets) have none of them but AttrMark.
type Attrs uint64

const (
	// AttrMemInfo asks for Socket.MemInfo. SCTP sockets have none.
	AttrMemInfo Attrs = 1 << uapi.InetDiagMemInfo

	// AttrTCPInfo asks for Socket.TCPInfo. Bound-only sockets have none.
	//
	// The kernel takes each socket's lock for it: the dump waits while another
	// process keeps the kernel at work on one, and cannot be interrupted there.
	//
	// To callers with CAP_NET_ADMIN the kernel then sends TCP-MD5 keys as well. A
	// listener with more than about 300 of them fits into no reply, and the kernel
	// ends its walk there as if it had been the last socket. Dump notices: it, and
	// the listeners behind it or opened meanwhile, come without AttrTCPInfo,
	// AttrMD5Keys and AttrULPInfo. A connection with as many keys, which none needs
	// but any program can have, ends the walk too, and that Dump cannot notice: to be
	// sure of all connections, compare with a Count, or dump without CAP_NET_ADMIN.
	AttrTCPInfo Attrs = 1 << uapi.InetDiagInfo

	// AttrMPTCPInfo asks for Extra.MPTCP. It is the kernel's INET_DIAG_INFO, which
	// holds what the socket's protocol has to tell, and so the same bit as
	// AttrTCPInfo, under the name of which it is printed. UDP and raw sockets have
	// none.
	AttrMPTCPInfo = AttrTCPInfo

	// AttrSCTPInfo asks for those fields of Extra.SCTP that are of struct
	// sctp_info. It is the same bit as AttrTCPInfo, like AttrMPTCPInfo.
	AttrSCTPInfo = AttrTCPInfo

	// AttrVegasInfo asks for Extra.Vegas, of TCP sockets. It shares its request bit
	// with AttrDCTCPInfo and AttrBBRInfo: asking for any brings what the socket's
	// congestion control tells of itself, which is at most one of them. Sockets
	// in CLOSE_WAIT, LAST_ACK, CLOSING and LISTEN have none.
	AttrVegasInfo Attrs = 1 << uapi.InetDiagVegasInfo

	// AttrCongestion asks for Socket.Congestion, of TCP sockets. SCTP associations
	// answer "reno", which is the only one that SCTP has.
	AttrCongestion Attrs = 1 << uapi.InetDiagCong

	// AttrTOS asks for Socket.TOS.
	AttrTOS Attrs = 1 << uapi.InetDiagTOS

	// AttrTrafficClass asks for Socket.TrafficClass, of IPv6 sockets.
	AttrTrafficClass Attrs = 1 << uapi.InetDiagTClass

	// AttrSocketMemory asks for Socket.SocketMemory.
	AttrSocketMemory Attrs = 1 << uapi.InetDiagSKMemInfo

	// AttrShutdown is Socket.Shutdown, which full sockets always have.
	AttrShutdown Attrs = 1 << uapi.InetDiagShutdown

	// AttrDCTCPInfo asks for Extra.DCTCP; see AttrVegasInfo.
	AttrDCTCPInfo Attrs = 1 << uapi.InetDiagDCTCPInfo

	// AttrProtocol is Socket.RawProtocol, which raw sockets always have. The
	// events of closed TCP and UDP sockets have it too, where it says TCP or UDP
	// and so nothing new.
	AttrProtocol Attrs = 1 << uapi.InetDiagProtocol

	// AttrV6Only is Socket.V6Only, which IPv6 sockets in LISTEN and CLOSE always
	// have, and the associations of such an SCTP socket.
	AttrV6Only Attrs = 1 << uapi.InetDiagSKV6Only

	// AttrLocals is Extra.SCTP.Locals, which SCTP sockets always have.
	AttrLocals Attrs = 1 << uapi.InetDiagLocals

	// AttrPeers is Extra.SCTP.Peers, which SCTP associations always have, and
	// endpoints never.
	AttrPeers Attrs = 1 << uapi.InetDiagPeers

	// AttrMark is Socket.Mark. The kernel sends it unasked to callers with
	// CAP_NET_ADMIN over the namespace, and to no others. Mini-sockets have it
	// in Linux 6.1, and did not in 5.10.
	AttrMark Attrs = 1 << uapi.InetDiagMark

	// AttrBBRInfo asks for Socket.BBR; see AttrVegasInfo.
	AttrBBRInfo Attrs = 1 << uapi.InetDiagBBRInfo

	// AttrClassID asks for Socket.ClassID. It shares its request bit with
	// AttrTrafficClass: asking for either brings both, where there are both.
	AttrClassID Attrs = 1 << uapi.InetDiagClassID

	// AttrMD5Keys is Extra.MD5Keys: the TCP-MD5 keys of a socket that has some.
	// They come along with AttrTCPInfo, to callers with CAP_NET_ADMIN alone.
	AttrMD5Keys Attrs = 1 << uapi.InetDiagMD5Sig

	// AttrULPInfo is Extra.ULP: TLS, MPTCP and the like on top of a TCP socket,
	// since Linux 5.4. It comes along with AttrTCPInfo; before Linux 6.15 or so to
	// callers with CAP_NET_ADMIN alone, and since then without some of MPTCP's
	// numbers to the others.
	AttrULPInfo Attrs = 1 << uapi.InetDiagULPInfo

	// AttrBPFStorages asks for Extra.BPFStorages, of TCP and MPTCP sockets that
	// have some and are not only bound, in a dump; the kernel ignores it for a
	// single socket. Since Linux 5.7, to
	// callers with CAP_BPF or CAP_SYS_ADMIN in the user namespace that the machine
	// began with: root of a container is refused with fs.ErrPermission.
	AttrBPFStorages Attrs = 1 << uapi.InetDiagSKBPFStorages

	// AttrCgroupID is Socket.CgroupID, which full sockets always have since Linux
	// 5.8 where the kernel knows control groups.
	AttrCgroupID Attrs = 1 << uapi.InetDiagCgroupID

	// AttrSocketOptions is Socket.Options, which full sockets always have since
	// Linux 5.10.
	AttrSocketOptions Attrs = 1 << uapi.InetDiagSockOpt

	// AttrUnknown asks to keep the attributes that this library has no field for,
	// in Extra.Unknown.
	AttrUnknown Attrs = 1 << 63
)

// allAttrs is all that have a name.
const allAttrs = AttrMemInfo | AttrTCPInfo | AttrVegasInfo | AttrCongestion | AttrTOS | AttrTrafficClass |
	AttrSocketMemory | AttrShutdown | AttrDCTCPInfo | AttrProtocol | AttrV6Only | AttrLocals | AttrPeers |
	AttrMark | AttrBBRInfo | AttrClassID | AttrMD5Keys | AttrULPInfo | AttrBPFStorages | AttrCgroupID |
	AttrSocketOptions | AttrUnknown

var attrNames = map[Attrs]string{
	AttrMemInfo: "MemInfo", AttrTCPInfo: "TCPInfo", AttrCongestion: "Congestion", AttrTOS: "TOS",
	AttrTrafficClass: "TrafficClass", AttrSocketMemory: "SocketMemory", AttrShutdown: "Shutdown",
	AttrMark: "Mark", AttrClassID: "ClassID", AttrCgroupID: "CgroupID", AttrVegasInfo: "VegasInfo",
	AttrDCTCPInfo: "DCTCPInfo", AttrBBRInfo: "BBRInfo", AttrV6Only: "V6Only", AttrMD5Keys: "MD5Keys",
	AttrULPInfo: "ULPInfo", AttrSocketOptions: "SocketOptions", AttrUnknown: "Unknown",
	AttrProtocol: "Protocol", AttrLocals: "Locals", AttrPeers: "Peers", AttrBPFStorages: "BPFStorages",
}

// Has reports whether a has all of b.
func (a Attrs) Has(b Attrs) bool { return a&b == b }

// String lists the attributes, "MemInfo|TCPInfo"; those without a name by number,
// "Attr(22)".
func (a Attrs) String() string { return string(a.append(nil)) }

func (a Attrs) append(b []byte) []byte {
	if a == 0 {
		return append(b, "none"...)
	}
	for bar := false; a != 0; a &= a - 1 {
		if bar {
			b = append(b, '|')
		}
		bar = true
		n := bits.TrailingZeros64(uint64(a))
		if name, ok := attrNames[1<<n]; ok {
			b = append(b, name...)
		} else {
			b = append(b, "Attr("...)
			b = append(strconv.AppendInt(b, int64(n), 10), ')')
		}
	}
	return b
}

// extension is idiag_ext, where bit n-1 asks for attribute n of the first eight.
// What is not among them comes unasked, or along with one of them.
func (a Attrs) extension() uint8 {
	if a&AttrClassID != 0 {
		a |= AttrTrafficClass
	}
	if a&(AttrDCTCPInfo|AttrBBRInfo) != 0 {
		a |= AttrVegasInfo
	}
	if a&(AttrMD5Keys|AttrULPInfo) != 0 {
		a |= AttrTCPInfo
	}
	return uint8(a >> 1)
}
