package sockdiag

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/seed16c515c6/timewait/internal/uapi"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// Destroy closes a socket of somebody else's by force, TCP or UDP, as ss -K does.
// The ID has to have its Cookie, as Socket.ID gives it: by addresses and ports
// alone, the kernel would close the listener on the port of a connection that went
// away meanwhile.
//
// A connection is reset, and its owner's next call fails with ECONNABORTED. A
// listener stops listening. A mini-socket (TIME_WAIT, FIN_WAIT2, SYN_RECV) is gone
// at once. A UDP socket is disconnected, and its owner's next call fails with
// ECONNABORTED. Listeners and UDP sockets keep their port if they were bound to it
// by number. The file descriptor stays open in any case.
//
// Linux 5.10 refuses mini-sockets in TIME_WAIT and FIN_WAIT2 (errors.ErrUnsupported)
// and leaves orphans alone, though it says that all is well. 6.1 does neither.
//
// It takes CAP_NET_ADMIN over the namespace, and a kernel built with
// CONFIG_INET_DIAG_DESTROY. Errors match os.ErrNotExist where there is no such
// socket, fs.ErrPermission, and errors.ErrUnsupported where the kernel cannot:
// protocols other than TCP, UDP and UDPLite; a socket that is only bound; one that
// it does not find by its addresses, because a BPF program decides who gets its
// packets, or because another UDP socket on the same ones takes them: a connected
// twin, or one that was destroyed before (seen with Linux 6.18). To find one of a
// SO_REUSEPORT group it may have to ask many times, up to 65,535.
func (c *Client) Destroy(ctx context.Context, id ID) error {
	err := id.normalize()
	r := id.request(uapi.SockDestroy)
	r.flags |= uapi.NLMFAck
	switch {
	case err != nil:
	case id.Protocol != TCP && id.Protocol != UDP && id.Protocol != UDPLite:
		err = fmt.Errorf("the kernel does not destroy sockets of this protocol: %w", errors.ErrUnsupported)
	case id.Cookie == 0:
		err = &invalidError{"an ID without a Cookie could name another socket by the time it is destroyed"}
	default:
		err = c.destroy(ctx, &id, &r)
	}
	return r.opError("destroy", onlySockets(err))
}

func (c *Client) destroy(ctx context.Context, id *ID, r *request) error {
	err := c.ask(ctx, r, ignoreRow)
	switch {
	case !missed(err):
		return err
	case id.Protocol == TCP && id.Remote.Port() != 0:
		return c.missing(ctx, id.Protocol)
	}
	// The kernel chooses among those who share a port by a hash over both ends,
	// and only then looks at the cookie.
	var s Socket
	l := lookup{id: id, socket: &s}
	look := id.request(uapi.SockDiagByFamily)
	if err := c.lookupInDump(ctx, &look, &l); err != nil {
		return err
	}
	if id.Remote.Port() == 0 && s.State != tcpstate.BoundInactive {
		for port := 1; port <= 0xffff; port++ {
			r.sockID.remote = netip.AddrPortFrom(id.Remote.Addr(), uint16(port))
			if err := c.ask(ctx, r, ignoreRow); !missed(err) {
				return err
			}
		}
		if err := c.lookupInDump(ctx, &look, &lookup{id: id, socket: &s}); err != nil {
			return err // it has gone meanwhile
		}
	}
	return fmt.Errorf("the kernel does not find this socket by its addresses (%v): %w", s.State, errors.ErrUnsupported)
}

func ignoreRow([]byte) error { return nil }
