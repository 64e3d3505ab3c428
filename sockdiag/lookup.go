package sockdiag

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"syscall"

	"github.com/seed16c515c6/timewait/internal/uapi"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// Lookup returns the one socket that the ID names, with what attrs asks for. An
// error that matches os.ErrNotExist says that there is no such socket, or no more.
// It needs no privilege. It costs one question and one answer of the kernel, a few
// microseconds, however many sockets there are, but for the cases below.
//
// The addresses, the ports and the Interface have to be those of the socket, and so
// has the Cookie if there is one. The rest of the ID may be as short as this: the
// Protocol zero, for TCP; the Family zero, for that of Local; the Remote zero, for
// none. Addresses have no zone. An ID with IPv4 addresses also finds the IPv6 socket
// that has them mapped. A listener is looked up by what it listens on: a wildcard is
// an address like any other, and not found under a particular one.
//
// The kernel is less strict: asked for a connection that is gone it answers with
// the listener on its port, and asked for one member of a SO_REUSEPORT group
// perhaps with another. Lookup never returns those. Without a Cookie, any member
// of such a group is what the ID names.
//
// What the kernel does not find by itself is looked for with a dump, which costs
// in proportion to the sockets of the protocol: TCP without a peer that does not
// listen, or not any more (listeners alone are quickly dumped); UDP that is gone,
// or has IPv4-mapped addresses, or shares its port; MPTCP without a Token; all of
// SCTP, UDPLite and Raw. A connection in CLOSE (see tcpstate.Closed) is not found.
// What SCTP names is the endpoint if the ID has no Remote,
// and otherwise an association.
func (c *Client) Lookup(ctx context.Context, id ID, attrs Attrs) (s Socket, err error) {
	err = id.normalize()
	r := id.request(uapi.SockDiagByFamily)
	if err == nil {
		r.extension = attrs.extension()
		s.Protocol = id.Protocol
		l := lookup{id: &id, socket: &s, keepUnknown: attrs.Has(AttrUnknown)}
		err = onlySockets(c.lookup(ctx, &r, &l))
	}
	if err != nil {
		return Socket{}, r.opError("lookup", err)
	}
	return s, nil
}

// onlySockets keeps what else does not exist, such as a /proc that has gone, from
// being taken for a socket that does not.
func onlySockets(err error) error {
	_, kernel := err.(syscall.Errno) // which opError explains
	if err != errNoSocket && !kernel && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot ask: %v", err)
	}
	return err
}

// lookup is the state of one Lookup.
type lookup struct {
	id          *ID
	keepUnknown bool
	found       bool
	socket      *Socket // the one that was found, if so
}

func (l *lookup) row(payload []byte) error {
	if err := l.socket.decode(l.id.Protocol, payload, l.keepUnknown); err != nil {
		return err
	}
	l.found = l.id.names(l.socket)
	return nil
}

// lookup asks the kernel for l.id, and finds or fails.
func (c *Client) lookup(ctx context.Context, r *request, l *lookup) error {
	if l.id.exact() {
		err := c.ask(ctx, r, l.row)
		switch {
		case err == nil && l.found:
			return nil
		case err != nil && !missed(err):
			return err
		case l.id.final():
			return c.missing(ctx, r.protocol)
		}
	}
	return c.lookupInDump(ctx, r, l)
}

// missed reports whether the kernel says that it has not found the socket: UDP says
// ESTALE where it found one with another cookie.
func missed(err error) bool { return err == syscall.ENOENT || err == syscall.ESTALE }

// lookupInDump looks for l.id among all that have its ports.
func (c *Client) lookupInDump(ctx context.Context, exact *request, l *lookup) error {
	r := *exact
	r.typ, r.flags = uapi.TCPDiagGetSock, uapi.NLMFRequest|uapi.NLMFDump
	r.sockID = sockID{local: l.id.Local, remote: l.id.Remote} // not swapped
	r.family = 0                                              // IPv4 addresses may be those of an IPv6 socket
	masks := []tcpstate.Set{tcpstate.All}
	if r.protocol == TCP && l.id.Remote.Port() == 0 {
		// Connections are in another table, larger by far, which the kernel walks
		// for bound sockets too.
		masks = []tcpstate.Set{tcpstate.Listen.Set(), tcpstate.BoundInactive.Set()}
	}
	for _, r.states = range masks {
		q := Query{Protocol: r.protocol, States: r.states}
		d := dumper{protocol: r.protocol, filter: q.rowFilter(), keepUnknown: l.keepUnknown}
		// To the end, so that the socket can be used again.
		err := c.dumpRequest(ctx, &r, &d, func(s Socket, _ error) bool {
			if !l.found && l.id.names(&s) {
				l.found, *l.socket = true, s
			}
			return true
		})
		if err != nil || l.found {
			return err
		}
	}
	return errNoSocket
}

// missing is the error for a socket that the kernel has not found. To an exact
// request it says the same where it cannot tell of the protocol at all; a dump
// tells the two apart. Once is enough.
func (c *Client) missing(ctx context.Context, p Protocol) error {
	known := &c.knowsTCP
	if p == MPTCP {
		known = &c.knowsMPTCP
	}
	if known.Load() {
		return errNoSocket
	}
	r := request{
		typ: uapi.SockDiagByFamily, flags: uapi.NLMFRequest | uapi.NLMFDump,
		family: IPv4, protocol: p, states: tcpstate.Listen.Set(),
	}
	if err := c.ask(ctx, &r, func([]byte) error { return nil }); err != nil {
		return err
	}
	known.Store(true)
	return errNoSocket
}

// errNoSocket matches os.ErrNotExist, which speaks of files.
var errNoSocket error = noSocketError{}

type noSocketError struct{}

func (noSocketError) Error() string        { return "no such socket" }
func (noSocketError) Is(target error) bool { return target == fs.ErrNotExist }

// exact reports whether the kernel can be asked for this very socket.
func (id *ID) exact() bool {
	switch id.Protocol {
	case TCP, UDP:
		return true
	case MPTCP:
		return id.Token != 0
	}
	return false
}

// final reports whether what the kernel has not found by an exact request is not
// there.
func (id *ID) final() bool {
	return id.Protocol == MPTCP || id.Protocol == TCP && id.Remote.Port() != 0
}

// request is the exact request of type typ for an ID that is normalized.
func (id *ID) request(typ uint16) request {
	r := request{
		typ: typ, flags: uapi.NLMFRequest, family: id.Family, protocol: id.Protocol,
		sockID: sockID{local: id.Local, remote: id.Remote, device: id.Interface, cookie: id.Cookie},
	}
	if id.Cookie == 0 {
		r.sockID.cookie = noCookie
	}
	switch {
	case id.Protocol == MPTCP:
		r.sockID.cookie = uint64(id.Token)
	case id.Protocol == UDP && typ == uapi.SockDiagByFamily:
		// To look one up, the kernel takes the two ends the other way round.
		r.sockID.local, r.sockID.remote = id.Remote, id.Local
	}
	return r
}

// normalize fills in what may be left out of an ID, or says why it names no socket.
func (id *ID) normalize() error {
	if id.Protocol == 0 {
		id.Protocol = TCP
	}
	if err := id.Protocol.check(); err != nil {
		return err
	}
	if id.Protocol == MPTCP && id.Token != 0 && !id.Local.IsValid() {
		// The token is enough: the kernel looks at nothing else.
		if id.Family == 0 {
			id.Family = IPv4
		}
		return nil
	}
	if !id.Local.IsValid() {
		return &invalidError{"an ID needs a Local"}
	}
	if id.Cookie == noCookie {
		return &invalidError{"a Cookie of all ones is how the kernel is told that there is none"}
	}
	if id.Family == 0 {
		id.Family = IPv6
		if id.Local.Addr().Is4() {
			id.Family = IPv4
		}
	}
	if id.Family != IPv4 && id.Family != IPv6 {
		return &invalidError{"an ID's Family is IPv4, IPv6 or zero for that of Local"}
	}
	if id.Local.Port() == 0 && (id.Protocol == TCP || id.Protocol == UDP) {
		return &invalidError{"a socket without a local port cannot be looked up"}
	}
	if !id.Remote.IsValid() || id.Remote.Port() == 0 && id.Remote.Addr().IsUnspecified() {
		id.Remote = netip.AddrPortFrom(id.Family.unspecified(), id.Remote.Port())
	}
	for _, end := range [...]*netip.AddrPort{&id.Local, &id.Remote} {
		addr := end.Addr()
		if addr.Zone() != "" {
			return &invalidError{"an ID's addresses have no zone: it is Interface that names the device"}
		}
		if id.Family == IPv4 {
			addr = addr.Unmap()
		} else if addr.Is4() {
			addr = netip.AddrFrom16(addr.As16())
		}
		if addr.Is4() != (id.Family == IPv4) {
			return &invalidError{"an ID's Family and its addresses do not agree"}
		}
		*end = netip.AddrPortFrom(addr, end.Port())
	}
	local, remote := id.Local.Addr(), id.Remote.Addr()
	if local.Is4In6() != remote.Is4In6() && !local.IsUnspecified() && !remote.IsUnspecified() {
		return &invalidError{"an ID's Local and Remote are an IPv4 and an IPv6 address"}
	}
	return nil
}

// invalidError matches fs.ErrInvalid, and says what is wrong.
type invalidError struct{ text string }

func (e *invalidError) Error() string        { return e.text }
func (e *invalidError) Is(target error) bool { return target == fs.ErrInvalid }

func (f Family) unspecified() netip.Addr {
	if f == IPv4 {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

// names reports whether the socket is the one that a normalized ID names.
func (id *ID) names(s *Socket) bool {
	if id.Cookie != 0 && s.Cookie != id.Cookie {
		return false
	}
	if id.Protocol == MPTCP && !id.Local.IsValid() {
		return true
	}
	if _, association := s.SCTPState(); id.Protocol == SCTP && association != (id.Remote.Port() != 0) {
		return false // an endpoint has the ends and the cookie of its association
	}
	if id.Cookie != 0 {
		// Without a peer now, a row may have the address of one that it had, or tried.
		noPeer := id.Remote.Port() == 0 && s.Remote.Port() == 0
		return sameEnd(id.Local, s.Local) && (noPeer || sameEnd(id.Remote, s.Remote))
	}
	return sameEnd(id.Local, s.Local) && sameEnd(id.Remote, s.Remote) && s.Interface == id.Interface
}

// sameEnd compares ends of a connection, whichever family's sockets they are of.
func sameEnd(a, b netip.AddrPort) bool {
	if a.Port() != b.Port() {
		return false
	}
	return a.Addr().Unmap() == b.Addr().Unmap() || a.Port() == 0 && a.Addr().IsUnspecified() && b.Addr().IsUnspecified()
}
