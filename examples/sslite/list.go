package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/sockdiag/owner"
)

// lister prints sockets as they come. What it holds of them is bounded: the rows
// that a table waits for to be aligned, and with -p those that one look through
// /proc is for.
type lister struct {
	*options
	client  *sockdiag.Client
	out     *bufio.Writer
	table   table
	names   names
	row     []byte    // of JSON
	victims *[]victim // not nil: where the rows go instead

	unseen int           // sockets of which no process was seen
	owners *owner.Owners // the last look
}

func newLister(o *options, c *sockdiag.Client, stdout io.Writer, netid bool) *lister {
	l := &lister{options: o, client: c, out: bufio.NewWriterSize(stdout, 64<<10), names: newNames(c, o.numeric)}
	l.table = table{out: l.out}
	if !o.asJSON {
		header := [columns]string{"", "State", "Recv-Q", "Send-Q", "Local Address:Port", "Peer Address:Port", ""}
		if netid {
			header[0] = "Netid"
		}
		if o.processes {
			header[columns-1] = "Process"
		}
		l.table.header(header, !o.noHeader)
	}
	return l
}

// chunk is how many sockets one look through /proc is for: it costs microseconds
// for every descriptor of the machine, and they are held in memory meanwhile (60
// MB).
const chunk = 65536

// list prints the sockets of the query, of each protocol, or makes victims of
// them.
func (l *lister) list(ctx context.Context, q sockdiag.Query, protocols []sockdiag.Protocol) error {
	var waiting []sockdiag.Socket
	states := q.States
	for _, p := range protocols {
		q.Protocol, q.States = p, states
		if states == 0 {
			q.States = ssDefault(p)
		}
		for s, err := range l.client.Dump(ctx, q) {
			switch {
			case err != nil:
				return err
			case !l.processes:
				err = l.print(&s, nil)
			default:
				if waiting = append(waiting, s); len(waiting) == chunk {
					err = l.printOwned(ctx, waiting)
					waiting = waiting[:0]
				}
			}
			if err != nil {
				return err
			}
		}
	}
	return l.printOwned(ctx, waiting)
}

// printOwned prints sockets with the processes that have them open.
func (l *lister) printOwned(ctx context.Context, sockets []sockdiag.Socket) error {
	if len(sockets) == 0 {
		return nil
	}
	inodes := make([]uint32, len(sockets))
	for i := range sockets {
		inodes[i] = sockets[i].Inode
	}
	owners, err := owner.Find(ctx, inodes...)
	if err != nil {
		return err
	}
	l.owners = owners
	for i := range sockets {
		holders, verdict := owners.Of(sockets[i].Inode)
		if verdict == owner.NotSeen {
			l.unseen++
		}
		if err := l.print(&sockets[i], holders); err != nil {
			return err
		}
	}
	return nil
}

// sayUnseen says what -p could not see.
func (l *lister) sayUnseen(stderr io.Writer) {
	if l.unseen == 0 {
		return
	}
	var why []string
	if n := len(l.owners.Denied); n > 0 {
		why = append(why, fmt.Sprintf("%d processes may not be looked into (it takes CAP_SYS_PTRACE)", n))
	}
	if l.owners.Hidden {
		why = append(why, "/proc hides processes of others (hidepid)")
	}
	if l.owners.Contained {
		why = append(why, "/proc has only the processes of this container")
	}
	fmt.Fprintf(stderr, "sslite: of %d sockets the process was not seen: %s\n", l.unseen, strings.Join(why, "; "))
}

// print prints one socket.
func (l *lister) print(s *sockdiag.Socket, holders []owner.Holder) error {
	if l.asJSON {
		l.row = s.AppendJSON(l.row[:0])
		if l.processes {
			l.row = appendUsers(l.row, holders)
		}
		l.row = append(l.row, '\n')
	}
	switch {
	case l.victims != nil && l.asJSON:
		*l.victims = append(*l.victims, victim{s.ID(), bytes.Clone(l.row)})
	case l.asJSON:
		_, err := l.out.Write(l.row)
		return err
	case l.victims != nil:
		l.appendCells(s, holders)
		*l.victims = append(*l.victims, victim{s.ID(), l.table.take()})
	default:
		l.appendCells(s, holders)
		return l.table.end()
	}
	return nil
}

// appendUsers adds the processes to the object of a socket.
func appendUsers(object []byte, holders []owner.Holder) []byte {
	type user struct {
		Name string `json:"name"`
		PID  int    `json:"pid"`
		FD   int    `json:"fd"`
	}
	users := make([]user, len(holders))
	for i, h := range holders {
		users[i] = user{h.Process.Name, h.Process.PID, h.FD}
	}
	b, _ := json.Marshal(users) // of a string and numbers
	object = append(object[:len(object)-1], `,"users":`...)
	return append(append(object, b...), '}')
}

// flush prints what waits: not a header alone, if there was an error.
func (l *lister) flush(failed bool) (err error) {
	if l.table.begun || !failed {
		err = l.table.flush()
	}
	if flushErr := l.out.Flush(); err == nil {
		err = flushErr
	}
	return err
}
