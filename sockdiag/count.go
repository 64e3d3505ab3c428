package sockdiag

import (
	"context"

	"github.com/seed16c515c6/timewait/internal/uapi"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// Count counts the sockets that the query selects by state, without decoding
// them. It asks for no attributes, whatever the query says, because they change
// nothing and cost the kernel time. With an error the Counts are zero.
//
// Like a Dump it is not a snapshot. FIN_WAIT2 counts full sockets and
// mini-sockets together; Dump tells them apart (Socket.TimeWait). Those of SCTP
// that are in no state of TCP's are at index 0.
func (c *Client) Count(ctx context.Context, q Query) (tcpstate.Counts, error) {
	q.Attrs = 0
	r := q.request()
	counter := counter{filter: q.rowFilter(), protocol: r.protocol}
	err := c.compile(&q, &r, &counter.filter)
	if err == nil {
		err = c.ask(ctx, &r, counter.row)
	}
	if err != nil {
		return tcpstate.Counts{}, r.opError("count", err)
	}
	return counter.counts, nil
}

// counter counts the rows of one dump.
type counter struct {
	filter   rowFilter
	protocol Protocol
	counts   tcpstate.Counts
	socket   Socket
}

func (c *counter) row(msg []byte) error {
	if len(msg) < uapi.SizeofInetDiagMsg {
		return &DecodeError{What: "inet_diag_msg", Len: len(msg), Want: uapi.SizeofInetDiagMsg}
	}
	state := tcpstate.State(msg[1])
	// What SCTP means by that number, and what a filter says, take more than it.
	decode := c.protocol == SCTP || c.filter.match != Filter{}
	if decode {
		if err := c.socket.decode(c.protocol, msg, false); err != nil {
			return err
		}
		state = c.socket.State
	}
	state, ok := c.filter.state(state, msg)
	if ok && decode {
		c.socket.State = state
		var err error
		if ok, err = c.filter.matches(&c.socket); err != nil {
			return err
		}
	}
	if ok {
		c.counts.Add(state, 1)
	}
	return nil
}
