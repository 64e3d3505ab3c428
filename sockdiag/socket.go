package sockdiag

import (
	"net/netip"
	"strconv"
	"time"

	"github.com/seed16c515c6/timewait/internal/uapi"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// Socket is one socket as the kernel described it. It is a plain value: nothing
// in it changes or is used again when the iteration goes on.
type Socket struct {
	Family   Family   // by the socket, not its addresses: a v4-mapped one is IPv6
	Protocol Protocol // as the Query has it

	// State is TCP's, and MPTCP's. A bound-only TCP socket, which the kernel calls
	// CLOSE, is BoundInactive. A UDP or raw socket is Established while it is
	// connected to a peer, and Closed otherwise. An SCTP socket is Established,
	// Closed or Listen where the word means the same, and zero, which is no state,
	// where it does not: see SCTPState.
	State tcpstate.State

	Timer Timer // the one that runs, if any; UDP and raw sockets have none

	// Local and Remote are the two ends. A wildcard is the unspecified address;
	// a listener's Remote is that with port 0, and so is that of a bound-only
	// socket, unless it was connected before: then the old address stays, with
	// port 0. There is no zone: Interface says what a link-local address is
	// bound to.
	//
	// A raw socket has no ports. The port of Local is its IP protocol, like
	// RawProtocol, and that of Remote is whatever the program connected to.
	// An SCTP association has the peer's address in use and an own one of the same
	// family; Extra.SCTP has all.
	//
	// IPv4-mapped IPv6 addresses stay as the kernel has them. To compare with
	// IPv4, or to sum by address: netip.AddrPortFrom(a.Addr().Unmap(), a.Port()).
	Local, Remote netip.AddrPort

	// Interface is the index of the device that the socket is bound to, 0 for
	// none. Of an SCTP association it is the device that the way to the peer
	// leads through, bound or not.
	Interface uint32

	// Cookie identifies the socket in this boot, over all namespaces. A
	// connection keeps it from SYN_RECV to TIME_WAIT, so that a socket that
	// disconnects and is used again shares it with its own TIME_WAIT. It is what
	// SO_COOKIE gives.
	// An SCTP endpoint and its associations are one socket, with one cookie.
	Cookie uint64

	// RecvQueue is the bytes received and not yet read, SendQueue the bytes
	// written and not yet acknowledged. A SYN or FIN counts as one: CLOSE_WAIT
	// with nothing unread has a RecvQueue of 1. For a listener see Backlog.
	// Mini-sockets have 0.
	//
	// Of other protocols than TCP they are the memory behind what was received and
	// not yet read, and behind what is being sent, which is more than the bytes in
	// it. The event of a closed UDP socket has no SendQueue to tell of, and there
	// it is 1<<32 - 1. An SCTP endpoint that does not listen has nothing
	// meaningful.
	RecvQueue, SendQueue uint32

	// UID is the owner, as the user namespace that dialled the Client knows it:
	// an unmapped one is 65534. See Owner for what 0 can mean.
	UID uint32

	// Inode is the number in /proc/PID/fd/N's "socket:[N]"; 0 for a socket that
	// no file holds: a mini-socket, an orphan, a connection not yet accepted.
	Inode uint32

	// Attrs is which attributes the kernel sent. The fields below are zero
	// without theirs.
	Attrs Attrs

	TCPInfo      TCPInfo      // AttrTCPInfo
	MemInfo      MemInfo      // AttrMemInfo
	SocketMemory SocketMemory // AttrSocketMemory
	Congestion   string       // AttrCongestion: the algorithm's name, "cubic"
	TOS          uint8        // AttrTOS: IP_TOS, of either family
	TrafficClass uint8        // AttrTrafficClass: IPV6_TCLASS
	Shutdown     Shutdown     // AttrShutdown
	Mark         uint32       // AttrMark: SO_MARK
	ClassID      uint32       // AttrClassID: net_cls class, or SO_PRIORITY where that is 0
	CgroupID     uint64       // AttrCgroupID: inode of the cgroup v2 folder
	BBR          BBRInfo      // AttrBBRInfo

	Options     SocketOptions // AttrSocketOptions
	V6Only      bool          // AttrV6Only: IPV6_V6ONLY
	RawProtocol uint8         // AttrProtocol: the IP protocol of a raw socket; 0 of others

	// Extra is what few TCP sockets have, MPTCP with its info, and SCTP always; nil
	// for the others. It is not shared with any other Socket. Compare Sockets by
	// their Cookie: with ==, two are different whose Extra is equal but not the
	// same.
	Extra *Extra
}

// ID identifies a socket for later requests about it.
type ID struct {
	Family    Family         // as Socket has it
	Protocol  Protocol       // as Socket has it; of IDOf perhaps one that a Query has not
	Local     netip.AddrPort // as Socket has it
	Remote    netip.AddrPort // as Socket has it; unspecified and port 0 without a peer
	Interface uint32         // index of the device that the socket is bound to, 0 for none
	Cookie    uint64         // 0: not known

	// Token is the local token of an MPTCP socket, 0 if not known: MPTCPInfo.Token
	// of it, MPTCPSubflow.TokenLocal of its subflows. The kernel finds it by that.
	Token uint32
}

// ID returns what identifies the socket.
func (s *Socket) ID() ID {
	id := ID{Family: s.Family, Protocol: s.Protocol, Local: s.Local, Remote: s.Remote, Interface: s.Interface, Cookie: s.Cookie}
	if s.Extra != nil && s.Extra.MPTCP != nil {
		id.Token = s.Extra.MPTCP.Token
	}
	return id
}

// TimeWait returns how long a mini-socket stays: one in TIME_WAIT or in FIN_WAIT2.
// Look at State to count only the one or the other. It is not ok for others, which
// means all that is not TCP.
//
// TIME_WAIT lasts a minute, which the kernel starts anew when the peer's FIN comes
// again. The FIN_WAIT2 of a connection that its process has closed is kept as the
// same kind of mini-socket, and sockstat, ss -s and tcp_max_tw_buckets count it as
// TIME_WAIT. There the time left is that to wait for the peer's FIN
// (tcp_fin_timeout), before a TIME_WAIT that may follow.
func (s *Socket) TimeWait() (left time.Duration, ok bool) {
	if s.Timer.Kind != TimerTimeWait {
		return 0, false
	}
	return s.Timer.Expires, true
}

// Backlog returns how many connections wait in a listener's accept queue, and
// for how many there is room: what listen(2) was given, limited by somaxconn.
// The kernel lets in one more than the limit. Of a one-to-many SCTP socket, which
// accepts nothing, queued is 0. It is not ok for other states.
func (s *Socket) Backlog() (queued, limit int, ok bool) {
	if s.State != tcpstate.Listen {
		return 0, 0, false
	}
	return int(s.RecvQueue), int(s.SendQueue), true
}

// Owner returns the user that the socket belongs to. It is not ok where UID may
// stand for nobody. Mini-sockets have no owner. Kernels up to 6.12 know none of a
// socket that its process has closed, or that none has accepted yet. For nobody
// the kernel says 0, which a user namespace that does not map root shows as 65534.
func (s *Socket) Owner() (uid uint32, ok bool) {
	const unmapped = 65534 // the default of /proc/sys/kernel/overflowuid
	return s.UID, s.Inode != 0 || s.UID != 0 && s.UID != unmapped
}

// Timer is the timer that runs for a socket. The kernel names one: that of
// retransmission before that of probing a closed window before that of
// keepalive.
type Timer struct {
	Kind TimerKind // what it waits for; TimerNone: none runs

	// Retransmits counts the timer's expiries without an answer: retransmissions
	// with TimerRetransmit, SYN-ACKs sent again for a SYN_RECV request socket,
	// probes with TimerProbe and TimerKeepalive. Of an SCTP association it is the
	// DATA chunks that were sent again since it began, modulo 256.
	Retransmits uint8

	// Expires is the time until the timer expires, to the kernel's tick (1 to 10
	// ms). 0 also means that it is due, or that there is none.
	Expires time.Duration
}

// TimerKind is what a Timer waits for.
type TimerKind uint8

// The timers. Kernels may send others.
const (
	TimerNone       TimerKind = uapi.TimerOff
	TimerRetransmit TimerKind = uapi.TimerOn        // retransmission, tail-loss probe, reordering; SCTP's T3-rtx
	TimerKeepalive  TimerKind = uapi.TimerKeepalive // keepalive; on an orphan the end of FIN_WAIT2; of MPTCP the wait for subflows
	TimerTimeWait   TimerKind = uapi.TimerTimeWait  // a mini-socket's end: see Socket.TimeWait
	TimerProbe      TimerKind = uapi.TimerProbe0    // probing the peer's closed window
	TimerDelayedACK TimerKind = uapi.TimerDelACK    // Linux 7.1
)

// String returns "none", "retransmit", "keepalive", "time-wait", "probe",
// "delayed-ack", or "TimerKind(42)".
func (k TimerKind) String() string {
	return enumString(k, "TimerKind", "none", "retransmit", "keepalive", "time-wait", "probe", "delayed-ack")
}

// Shutdown is which directions of a socket are shut down (sk_shutdown).
type Shutdown uint8

// The directions. A closed socket has both.
const (
	ShutdownRecv Shutdown = 1
	ShutdownSend Shutdown = 2
)

// String returns "none", "recv", "send", "recv|send", or "Shutdown(42)".
func (s Shutdown) String() string {
	switch s {
	case 0:
		return "none"
	case ShutdownRecv:
		return "recv"
	case ShutdownSend:
		return "send"
	case ShutdownRecv | ShutdownSend:
		return "recv|send"
	}
	return "Shutdown(" + strconv.Itoa(int(s)) + ")"
}

// MemInfo is struct inet_diag_meminfo: the memory behind a socket, in bytes of
// what the kernel allocated, which is more than the data in it.
type MemInfo struct {
	Recv      uint32 // receive queue (idiag_rmem)
	SendQueue uint32 // send queue (idiag_wmem)
	Forward   uint32 // reserved ahead (idiag_fmem)
	Send      uint32 // being sent (idiag_tmem)
}

// SocketMemory is what SO_MEMINFO gives (SK_MEMINFO_*), in bytes but for Drops.
// All but Drops count what the kernel allocated, which is more than the data.
type SocketMemory struct {
	RecvAlloc  uint32 // receive queue
	RecvBuffer uint32 // its limit, SO_RCVBUF
	SendAlloc  uint32 // being sent
	SendBuffer uint32 // its limit, SO_SNDBUF
	Forward    int32  // reserved ahead; may be negative
	SendQueued uint32 // send queue
	Options    uint32 // socket options
	Backlog    uint32 // received while the process held the socket
	Drops      uint32 // packets dropped
}
