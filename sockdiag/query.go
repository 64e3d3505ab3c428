package sockdiag

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/seed16c515c6/timewait/internal/uapi"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// Family selects sockets by address family.
//
// A socket that listens on the IPv6 wildcard and takes IPv4 connections as well
// is an IPv6 socket, and so is each of those connections: its addresses are
// IPv4-mapped ("::ffff:192.0.2.1") and IPv4 does not select it.
type Family uint8

// The families by their AF numbers. In a Query the zero Family means both, from
// one walk of the kernel's table.
const (
	IPv4 Family = uapi.AFInet
	IPv6 Family = uapi.AFInet6
)

// String returns "IPv4", "IPv6", or "Family(42)".
func (f Family) String() string {
	switch f {
	case IPv4:
		return "IPv4"
	case IPv6:
		return "IPv6"
	}
	return "Family(" + strconv.Itoa(int(f)) + ")"
}

// Protocol is a transport protocol, by its IPPROTO number.
type Protocol uint16

// TCP is what a Query asks for, and what the zero Protocol means there. MPTCP
// comes from IDOf, which names the socket that the program has; the TCP subflows
// below it are sockets of their own, and rows of a dump.
const (
	TCP     Protocol = 6
	UDP     Protocol = 17
	SCTP    Protocol = 132
	UDPLite Protocol = 136
	Raw     Protocol = 255
	MPTCP   Protocol = 262
)

// String returns "TCP", "UDP", "SCTP", "UDPLite", "Raw", "MPTCP", or
// "Protocol(42)".
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "TCP"
	case UDP:
		return "UDP"
	case SCTP:
		return "SCTP"
	case UDPLite:
		return "UDPLite"
	case Raw:
		return "Raw"
	case MPTCP:
		return "MPTCP"
	}
	return "Protocol(" + strconv.Itoa(int(p)) + ")"
}

// Query says which sockets are wanted, and what of each. The zero Query is every
// TCP socket of the namespace, IPv4 and IPv6, in every state, without the
// optional attributes.
type Query struct {
	Family   Family   // zero: IPv4 and IPv6
	Protocol Protocol // zero: TCP; others are errors.ErrUnsupported

	// States is the mask that goes to the kernel; zero: all. So an empty Set
	// selects everything, and a program whose set can become empty has to check.
	// Two bits select request sockets, SynRecv and NewSynRecv, and either brings
	// them in state SYN_RECV: to leave them out, leave out both.
	States tcpstate.Set

	// Attrs is what to ask for beyond the header; zero: nothing. What cannot be
	// asked for, because the kernel sends it anyway or never, changes nothing.
	Attrs Attrs
}

// states is the mask that goes to the kernel.
func (q *Query) states() tcpstate.Set {
	if q.States == 0 {
		return tcpstate.All
	}
	return q.States
}

func (q *Query) protocol() Protocol {
	if q.Protocol == 0 {
		return TCP
	}
	return q.Protocol
}

// check finds what no kernel could answer, or this library not.
func (q *Query) check() error {
	switch {
	case q.Family != 0 && q.Family != IPv4 && q.Family != IPv6:
		return fmt.Errorf("a Query's Family is IPv4, IPv6 or zero for both: %w", fs.ErrInvalid)
	case q.protocol() != TCP:
		return fmt.Errorf("%v, where only TCP is known: %w", q.Protocol, errors.ErrUnsupported)
	}
	return nil
}

// messageType is that of the request and of its replies. Only the older of the
// two requests walks both families at once.
func (q *Query) messageType() uint16 {
	if q.Family == 0 {
		return uapi.TCPDiagGetSock
	}
	return uapi.SockDiagByFamily
}

// maxRequest is room enough for either request.
const maxRequest = uapi.SizeofNLMsgHdr + max(uapi.SizeofInetDiagReq, uapi.SizeofInetDiagReqV2)

var ne = binary.NativeEndian

// appendDump appends the dump request: a netlink header, then struct
// inet_diag_req or inet_diag_req_v2. The rest of their id (ports, addresses)
// stays zero, which is "any".
func (q *Query) appendDump(b []byte, seq uint32) []byte {
	var msg [maxRequest]byte
	var n int
	body := msg[uapi.SizeofNLMsgHdr:]
	switch q.messageType() {
	case uapi.TCPDiagGetSock:
		n = uapi.SizeofNLMsgHdr + uapi.SizeofInetDiagReq
		body[0] = uapi.AFInet // not looked at
		body[3] = q.Attrs.extension()
		ne.PutUint32(body[52:], uint32(q.states()))
	case uapi.SockDiagByFamily:
		n = uapi.SizeofNLMsgHdr + uapi.SizeofInetDiagReqV2
		body[0] = uint8(q.Family)
		body[1] = uint8(q.protocol())
		body[2] = q.Attrs.extension()
		ne.PutUint32(body[4:], uint32(q.states()))
	}
	putHeader(msg[:], n, q.messageType(), uapi.NLMFRequest|uapi.NLMFDump, seq)
	return append(b, msg[:n]...)
}

// putHeader writes a struct nlmsghdr. Its port stays zero: the kernel fills in
// the sender's.
func putHeader(b []byte, size int, typ, flags uint16, seq uint32) {
	ne.PutUint32(b, uint32(size))
	ne.PutUint16(b[4:], typ)
	ne.PutUint16(b[6:], flags)
	ne.PutUint32(b[8:], seq)
}

// rowFilter decides about a row on arrival. The kernel looks at a socket's state
// when it picks it and again when it fills the row, and in between the state can
// change, so rows outside the mask do arrive.
type rowFilter struct {
	states tcpstate.Set
	bound  bool // bound-only sockets were asked for
}

func (q *Query) rowFilter() rowFilter {
	set := q.states()
	if set.Has(tcpstate.NewSynRecv) {
		// Request sockets are selected by this state and reported as SYN_RECV.
		set = set.With(tcpstate.SynRecv)
	}
	return rowFilter{states: set, bound: set.Has(tcpstate.BoundInactive)}
}

// state returns the state of a row, and whether the query asked for it. A state
// that has no name here is of a newer kernel, and passes.
func (f rowFilter) state(msg []byte) (tcpstate.State, bool) {
	s := tcpstate.State(msg[1])
	if s == tcpstate.Closed && f.bound && msg[4]|msg[5] != 0 && msg[6]|msg[7] == 0 {
		// Selected as BOUND_INACTIVE and reported as CLOSE: a local port, no
		// remote one. A connection that was reset while the dump came by has both
		// or neither.
		s = tcpstate.BoundInactive
	}
	return s, f.states.Has(s) || s > maxKnownState
}

// maxKnownState is the highest state that has a name.
const maxKnownState = tcpstate.BoundInactive
