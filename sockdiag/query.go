package sockdiag

import (
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

// The protocols. In a Query the zero Protocol means TCP.
const (
	// TCP has a row for each connection, listener and mini-socket, those below
	// MPTCP connections included.
	TCP Protocol = 6

	// UDP sockets are ESTABLISHED if they are connected, and else in state CLOSE.
	// Only bound ones are in the kernel's table.
	UDP Protocol = 17

	// UDPLite is RFC 3828, which Linux 7.1 has dropped. As UDP.
	UDPLite Protocol = 136

	// Raw sockets are in the states of UDP. They have no ports: Socket.RawProtocol
	// is the IP protocol that they take. The kernel needs its module raw_diag.
	Raw Protocol = 255

	// SCTP has a row for each association and one for each endpoint, with states
	// of its own: see Socket.State. The kernel needs its module sctp_diag.
	SCTP Protocol = 132

	// MPTCP rows are the sockets that programs have. The TCP subflows below each
	// are rows of TCP. Since Linux 5.9, where the kernel is built with it.
	MPTCP Protocol = 262
)

// String returns "TCP", "UDP", "UDPLite", "Raw", "SCTP", "MPTCP", or
// "Protocol(42)".
func (p Protocol) String() string {
	switch p {
	case TCP:
		return "TCP"
	case UDP:
		return "UDP"
	case UDPLite:
		return "UDPLite"
	case Raw:
		return "Raw"
	case SCTP:
		return "SCTP"
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
	Protocol Protocol // zero: TCP

	// States is the mask that goes to the kernel; zero: all. So an empty Set
	// selects everything, and a program whose set can become empty has to check.
	// Two bits select request sockets, SynRecv and NewSynRecv, and either brings
	// them in state SYN_RECV: to leave them out, leave out both.
	States tcpstate.Set

	// Filter is which of the sockets in those states are wanted; zero: all. It goes
	// to the kernel as a program. Where that cannot run all of it the error matches
	// errors.ErrUnsupported or, for Mark without CAP_NET_ADMIN, fs.ErrPermission.
	Filter Filter

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
	}
	return q.protocol().check()
}

func (p Protocol) check() error {
	switch p {
	case TCP, UDP, UDPLite, Raw, SCTP, MPTCP:
		return nil
	}
	return fmt.Errorf("%v is none of the protocols that can be asked for: %w", p, errors.ErrUnsupported)
}

// request is the dump that the query stands for. Only the older of the two
// requests walks both families at once.
func (q *Query) request() request {
	r := request{
		typ: uapi.SockDiagByFamily, flags: uapi.NLMFRequest | uapi.NLMFDump,
		family: q.Family, protocol: q.protocol(), extension: q.Attrs.extension(), states: q.states(),
		storages: q.Attrs.Has(AttrBPFStorages),
	}
	if q.Family == 0 {
		r.typ = uapi.TCPDiagGetSock
	}
	return r
}

// rowFilter decides about a row on arrival. The kernel looks at a socket's state
// when it picks it and again when it fills the row, and in between the state can
// change, so rows outside the mask do arrive.
type rowFilter struct {
	states tcpstate.Set
	match  Filter
	alone  bool // the kernel leaves match to us
	bound  bool // bound-only sockets were asked for, which only TCP tells of
}

func (q *Query) rowFilter() rowFilter {
	set := q.states()
	if set.Has(tcpstate.NewSynRecv) {
		// Request sockets are selected by this state and reported as SYN_RECV.
		set = set.With(tcpstate.SynRecv)
	}
	return rowFilter{states: set, bound: q.protocol() == TCP && set.Has(tcpstate.BoundInactive)}
}

// state returns the state of a row that the kernel says is in s, and whether the
// query asked for it. A state that has no name here is of a newer kernel, and
// passes. (Zero, which an SCTP association can have, is bit 0 of the set.)
func (f rowFilter) state(s tcpstate.State, msg []byte) (tcpstate.State, bool) {
	if s == tcpstate.Closed && f.bound && msg[4]|msg[5] != 0 && (msg[6]|msg[7] == 0 || f.states == tcpstate.BoundInactive.Set()) {
		// Selected as BOUND_INACTIVE and reported as CLOSE: a local port, no
		// remote one. A connection that was reset has both or neither: while the
		// dump came by, or before, if it was bound to its port by number.
		s = tcpstate.BoundInactive
	}
	return s, f.states.Has(s) || s > maxKnownState
}

// matches reports whether a socket is one that the query's Filter selects, as far as
// its row can tell: it may have changed since the kernel looked.
func (f *rowFilter) matches(s *Socket) (bool, error) {
	if f.match == (Filter{}) {
		return true, nil
	}
	return f.matchesFilter(s) // a function of its own, so that this one is inlined
}

func (f *rowFilter) matchesFilter(s *Socket) (bool, error) {
	matched, decided := f.match.Match(s)
	if !decided && f.alone {
		return false, fmt.Errorf("the kernel does not filter sockets of %v, and a row does not tell all of %q: %w", s.Protocol, f.match, errors.ErrUnsupported)
	}
	return matched || !decided, nil
}

// maxKnownState is the highest state that has a name.
const maxKnownState = tcpstate.BoundInactive
