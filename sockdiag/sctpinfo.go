package sockdiag

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/seed16c515c6/timewait/internal/uapi"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// SCTPInfo is what an SCTP row has beyond other sockets. The kernel has two kinds
// of rows, with the same Cookie, Inode and UID: one for the endpoint, which is the
// socket, and one for each of its associations. So a one-to-one socket that is
// connected is two rows, which Socket.SCTPState tells apart, and an endpoint that
// listens and has associations may come twice.
//
// Most of it is struct sctp_info, the same since Linux 4.7. Of that the kernel fills
// in Options for endpoints, and all the others for associations. It is zero without
// AttrSCTPInfo. Counters are since the association began.
type SCTPInfo struct {
	State    SCTPState         // the association's; zero for an endpoint
	Endpoint SCTPEndpointState // the endpoint's; zero for an association

	Locals []netip.AddrPort // AttrLocals: the addresses of this side
	Peers  []netip.AddrPort // AttrPeers: those of the other, of an association

	Tag                uint32           // verification tag of this side
	Rwnd               uint32           // receive window of this side as last announced, in bytes
	UnackData          uint16           // DATA chunks sent and not acknowledged
	PendData           uint16           // DATA chunks received with gaps before them
	InStrms            uint16           // streams from the peer
	OutStrms           uint16           // streams to the peer
	FragmentationPoint uint32           // 0: the kernel says it in MaxSeg
	InQueue            uint32           // chunks received and not yet processed
	OutQueue           uint32           // chunks not yet sent
	OverallError       uint32           // timeouts in a row, on all paths
	MaxBurst           uint32           // packets that may be sent in one go
	MaxSeg             uint32           // bytes of user data that fit into one DATA chunk
	PeerRwnd           uint32           // receive window of the peer, in bytes
	PeerTag            uint32           // verification tag of the peer
	PeerCapable        SCTPCapabilities // what the peer can do
	PeerSACK           uint8            // 1: the peer's window is closed, 2: a SACK is being made, 4: a SACK is due

	ISACKs       uint64 // SACK chunks received
	OSACKs       uint64 // SACK chunks sent
	OPackets     uint64 // packets sent
	IPackets     uint64 // packets received
	RtxChunks    uint64 // DATA chunks sent again
	OutOfSeqTSNs uint64 // DATA chunks received beyond the window
	IDupChunks   uint64 // DATA chunks received again
	GapCnt       uint64 // gaps in what the peer has received, as its SACKs report them
	OUODChunks   uint64 // unordered DATA chunks sent
	IUODChunks   uint64 // unordered DATA chunks received
	OODChunks    uint64 // ordered DATA chunks sent
	IODChunks    uint64 // ordered DATA chunks received
	OCtrlChunks  uint64 // control chunks sent
	ICtrlChunks  uint64 // control chunks received

	Primary SCTPPath    // the path in use, of an association
	Options SCTPOptions // of an endpoint
}

// SCTPPath is the primary path of an association (sctpi_p_*).
type SCTPPath struct {
	Address           netip.AddrPort // the peer's
	State             SCTPPathState  // whether it works
	Cwnd              uint32         // congestion window, in bytes
	SRTT              uint32         // smoothed round trip, in ticks of the kernel of 1 to 10 ms (CONFIG_HZ), which it does not tell
	RTO               time.Duration  // retransmission timeout, in milliseconds
	HBInterval        uint32         // time between heartbeats, in ticks like SRTT
	PathMaxRxt        uint32         // timeouts in a row until the path is given up
	SACKDelay         time.Duration  // how long a SACK may wait, in milliseconds
	SACKFreq          uint32         // 0: the kernel does not fill it in
	SSThresh          uint32         // slow start threshold, in bytes
	PartialBytesAcked uint32         // bytes acknowledged towards the next growth of Cwnd
	FlightSize        uint32         // bytes in flight
	Error             uint16         // timeouts in a row
}

// SCTPOptions is the options of an SCTP socket (sctpi_s_*).
type SCTPOptions struct {
	Autoclose        time.Duration // idle associations end after this; 0: never
	AdaptationInd    uint32        // SCTP_ADAPTATION_LAYER
	PDPoint          uint32        // SCTP_PARTIAL_DELIVERY_POINT, in bytes
	NoDelay          bool          // SCTP_NODELAY
	DisableFragments bool          // SCTP_DISABLE_FRAGMENTS
	V4Mapped         bool          // SCTP_I_WANT_MAPPED_V4_ADDR
	FragInterleave   uint8         // SCTP_FRAGMENT_INTERLEAVE
	Type             uint32        // 0: one-to-many, 1: peeled off of such a one, 2: one-to-one
}

// SCTPState is the state of an SCTP association, by the numbers that SCTP_STATUS
// has (enum sctp_sstat_state, RFC 6458 8.2.1): in a sock_diag reply the kernel
// counts from one less. The zero SCTPState is none.
type SCTPState uint16

// The states of RFC 9260 section 4.
const (
	SCTPClosed SCTPState = 1 + iota
	SCTPCookieWait
	SCTPCookieEchoed
	SCTPEstablished
	SCTPShutdownPending
	SCTPShutdownSent
	SCTPShutdownReceived
	SCTPShutdownAckSent
)

// String returns "CLOSED", "COOKIE_WAIT", "COOKIE_ECHOED", "ESTABLISHED",
// "SHUTDOWN_PENDING", "SHUTDOWN_SENT", "SHUTDOWN_RECEIVED", "SHUTDOWN_ACK_SENT",
// "none" for zero, or "SCTPState(42)".
func (s SCTPState) String() string {
	return enumString(s, "SCTPState", "none", "CLOSED", "COOKIE_WAIT", "COOKIE_ECHOED", "ESTABLISHED",
		"SHUTDOWN_PENDING", "SHUTDOWN_SENT", "SHUTDOWN_RECEIVED", "SHUTDOWN_ACK_SENT")
}

// SCTPEndpointState is the state of an SCTP socket (enum sctp_sock_state). A
// one-to-many socket that does not listen is closed, whatever its associations are.
type SCTPEndpointState uint8

// The states. Their numbers are those of TCP states.
const (
	SCTPEndpointEstablished  SCTPEndpointState = uapi.SCTPSSEstablished  // one-to-one or peeled off, with an association
	SCTPEndpointEstablishing SCTPEndpointState = uapi.SCTPSSEstablishing // one-to-one, connecting
	SCTPEndpointClosed       SCTPEndpointState = uapi.SCTPSSClosed       // takes no associations
	SCTPEndpointClosing      SCTPEndpointState = uapi.SCTPSSClosing      // the peer shuts the association down
	SCTPEndpointListening    SCTPEndpointState = uapi.SCTPSSListening    // takes associations
)

// String returns "ESTABLISHED", "ESTABLISHING", "CLOSED", "CLOSING", "LISTENING",
// "none" for zero, or "SCTPEndpointState(42)".
func (s SCTPEndpointState) String() string {
	switch s {
	case SCTPEndpointEstablished:
		return "ESTABLISHED"
	case SCTPEndpointEstablishing:
		return "ESTABLISHING"
	case SCTPEndpointClosed:
		return "CLOSED"
	case SCTPEndpointClosing:
		return "CLOSING"
	case SCTPEndpointListening:
		return "LISTENING"
	}
	return enumString(s, "SCTPEndpointState", "none")
}

// SCTPPathState is the state of a path to a peer (enum sctp_spinfo_state).
type SCTPPathState uint16

// The states. An address that does not answer first becomes potentially failed.
const (
	SCTPPathInactive          SCTPPathState = 0
	SCTPPathPotentiallyFailed SCTPPathState = 1
	SCTPPathActive            SCTPPathState = 2
	SCTPPathUnconfirmed       SCTPPathState = 3
)

// String returns "INACTIVE", "PF", "ACTIVE", "UNCONFIRMED", or "SCTPPathState(42)".
func (s SCTPPathState) String() string {
	return enumString(s, "SCTPPathState", "INACTIVE", "PF", "ACTIVE", "UNCONFIRMED")
}

// SCTPCapabilities is what the peer of an association can do (sctpi_peer_capable).
type SCTPCapabilities uint8

// The capabilities.
const (
	SCTPAuth       SCTPCapabilities = 1 << 0 // authenticated chunks
	SCTPPRSCTP     SCTPCapabilities = 1 << 1 // partial reliability
	SCTPASCONF     SCTPCapabilities = 1 << 2 // changing addresses
	SCTPReconf     SCTPCapabilities = 1 << 3 // changing streams; before Linux 5.0 or so host names as addresses
	SCTPIPv6       SCTPCapabilities = 1 << 4 // IPv6 addresses
	SCTPIPv4       SCTPCapabilities = 1 << 5 // IPv4 addresses
	SCTPECN        SCTPCapabilities = 1 << 6 // explicit congestion notification
	SCTPInterleave SCTPCapabilities = 1 << 7 // interleaving of messages
)

// Has reports whether c has all of x.
func (c SCTPCapabilities) Has(x SCTPCapabilities) bool { return c&x == x }

// String lists the capabilities, "Auth|IPv4"; "none" for the empty set.
func (c SCTPCapabilities) String() string { return string(c.append(nil)) }

func (c SCTPCapabilities) append(b []byte) []byte {
	return appendSet(b, c, "SCTPCapabilities", "Auth", "PRSCTP", "ASCONF", "Reconf", "IPv6", "IPv4", "ECN", "Interleave")
}

// SCTPState returns the state of an SCTP association. It is not ok for the row of an
// SCTP endpoint, whose state is in Extra.SCTP.Endpoint, nor for other protocols. A
// program that counts SCTP connections counts the rows for which it is ok.
func (s *Socket) SCTPState() (state SCTPState, ok bool) {
	if s.Protocol != SCTP || s.Extra == nil || s.Extra.SCTP == nil {
		return 0, false
	}
	return s.Extra.SCTP.State, s.Extra.SCTP.State != 0
}

// sctp returns the Socket's SCTPInfo, and makes it where there is none.
func (s *Socket) sctp() *SCTPInfo {
	x := s.extra()
	if x.SCTP == nil {
		x.SCTP = new(SCTPInfo)
	}
	return x.SCTP
}

// fixSCTP takes the numbers of the header for what they are in an SCTP row: one with
// a list of peers, even an empty one, is an association.
func (s *Socket) fixSCTP(state, timer uint8) {
	x := s.sctp()
	s.State = 0
	switch timer {
	case 0:
	case uapi.SCTPTimeoutT3RTX:
		s.Timer.Kind = TimerRetransmit
	default:
		s.Timer.Kind = TimerKind(timer | 0x80) // no name of TCP's
	}
	if !s.Attrs.Has(AttrPeers) {
		x.Endpoint = SCTPEndpointState(state)
		switch x.Endpoint {
		case SCTPEndpointEstablished, SCTPEndpointClosed, SCTPEndpointListening:
			s.State = tcpstate.State(state)
		}
		return
	}
	x.State = SCTPState(state) + 1
	switch x.State {
	case SCTPEstablished:
		s.State = tcpstate.Established
	case SCTPClosed:
		s.State = tcpstate.Closed
	}
	if s.Family == IPv6 {
		s.fixSCTPAddresses()
	}
}

// fixSCTPAddresses finds the two ends of an IPv6 socket's association. The kernel
// copies them from where an IPv6 address has its bytes, and an IPv4 one has zeros, if
// not rubbish; and its local one need not be of the remote one's family.
func (s *Socket) fixSCTPAddresses() {
	x := s.Extra.SCTP
	remote := x.Primary.Address
	if !s.Attrs.Has(AttrSCTPInfo) && len(x.Peers) > 0 {
		remote = x.Peers[0] // unless the program chose another
	}
	if !remote.IsValid() {
		return
	}
	v6 := func(a netip.Addr, port uint16) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom16(a.As16()), port)
	}
	s.Remote = v6(remote.Addr(), s.Remote.Port())
	for _, local := range x.Locals {
		if local.IsValid() && local.Addr().Is4() == remote.Addr().Is4() {
			s.Local = v6(local.Addr(), s.Local.Port())
			return
		}
	}
}

// decode takes a structure of any length, and leaves what does not come from it.
func (i *SCTPInfo) decode(b []byte) {
	var w [uapi.SizeofSCTPInfo]byte
	copy(w[:], b)
	u16 := func(at int) uint16 { return ne.Uint16(w[at:]) }
	u32 := func(at int) uint32 { return ne.Uint32(w[at:]) }
	u64 := func(at int) uint64 { return ne.Uint64(w[at:]) }

	// What is at 4 is the state again.
	i.Tag, i.Rwnd, i.UnackData, i.PendData, i.InStrms, i.OutStrms = u32(0), u32(8), u16(12), u16(14), u16(16), u16(18)
	i.FragmentationPoint, i.InQueue, i.OutQueue, i.OverallError = u32(20), u32(24), u32(28), u32(32)
	i.MaxBurst, i.MaxSeg, i.PeerRwnd, i.PeerTag = u32(36), u32(40), u32(44), u32(48)
	i.PeerCapable, i.PeerSACK = SCTPCapabilities(w[52]), w[53]

	i.ISACKs, i.OSACKs, i.OPackets, i.IPackets = u64(56), u64(64), u64(72), u64(80)
	i.RtxChunks, i.OutOfSeqTSNs, i.IDupChunks, i.GapCnt = u64(88), u64(96), u64(104), u64(112)
	i.OUODChunks, i.IUODChunks, i.OODChunks, i.IODChunks = u64(120), u64(128), u64(136), u64(144)
	i.OCtrlChunks, i.ICtrlChunks = u64(152), u64(160)

	i.Primary = SCTPPath{
		Address: sockaddr((*[uapi.SizeofSockaddrStorage]byte)(w[168:])), State: SCTPPathState(u32(296)),
		Cwnd: u32(300), SRTT: u32(304), RTO: millis(u32(308)), HBInterval: u32(312), PathMaxRxt: u32(316),
		SACKDelay: millis(u32(320)), SACKFreq: u32(324), SSThresh: u32(328), PartialBytesAcked: u32(332),
		FlightSize: u32(336), Error: u16(340),
	}
	i.Options = SCTPOptions{
		Autoclose: time.Duration(u32(344)) * time.Second, AdaptationInd: u32(348), PDPoint: u32(352),
		NoDelay: w[356] != 0, DisableFragments: w[357] != 0, V4Mapped: w[358] != 0, FragInterleave: w[359], Type: u32(360),
	}
}

// decodeAddresses decodes an array of struct sockaddr_storage.
func decodeAddresses(what string, b []byte) ([]netip.AddrPort, error) {
	const size = uapi.SizeofSockaddrStorage
	if len(b)%size != 0 {
		return nil, &DecodeError{What: what, Len: len(b), Want: (len(b)/size + 1) * size}
	}
	addresses := make([]netip.AddrPort, 0, len(b)/size)
	for ; len(b) > 0; b = b[size:] {
		addresses = append(addresses, sockaddr((*[size]byte)(b)))
	}
	return addresses, nil
}

// sockaddr is the address and port of a struct sockaddr_in or sockaddr_in6, and the
// zero AddrPort for another family.
func sockaddr(b *[uapi.SizeofSockaddrStorage]byte) netip.AddrPort {
	port := binary.BigEndian.Uint16(b[2:])
	switch ne.Uint16(b[:]) {
	case uapi.AFInet:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:])), port)
	case uapi.AFInet6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:])), port)
	}
	return netip.AddrPort{}
}
