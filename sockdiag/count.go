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
// mini-sockets together; Dump tells them apart (Socket.TimeWait).
func (c *Client) Count(ctx context.Context, q Query) (tcpstate.Counts, error) {
	q.Attrs = 0
	var counts tcpstate.Counts
	filter := q.rowFilter()
	err := c.ask(ctx, "count", &q, func(msg []byte) error {
		if len(msg) < uapi.SizeofInetDiagMsg {
			return &DecodeError{What: "inet_diag_msg", Len: len(msg), Want: uapi.SizeofInetDiagMsg}
		}
		if state, ok := filter.state(msg); ok {
			counts.Add(state, 1)
		}
		return nil
	})
	if err != nil {
		return tcpstate.Counts{}, err
	}
	return counts, nil
}
