package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/seed16c515c6/timewait/sockdiag"
)

// victim is a socket to close, and the row that tells of it. All of them are found
// before the first is closed: a dump misses sockets where others vanish under
// it. So -K takes memory, about 300 bytes for each.
type victim struct {
	id  sockdiag.ID
	row []byte
}

// close closes the victims and prints those that it closed. Each is named by its
// cookie, so that no other socket can be hit that has the addresses by now. One
// that is gone already is as it should be; any other that is not closed is
// a failure.
func (l *lister) close(ctx context.Context, stderr io.Writer) error {
	closed, gone, refused := 0, 0, 0
	var why error
	for i, v := range *l.victims {
		err := l.client.Destroy(ctx, v.id)
		switch {
		case err == nil:
			closed++
			if err := l.printClosed(v.row); err != nil {
				return err
			}
		case errors.Is(err, os.ErrNotExist):
			gone++
		case errors.Is(err, errors.ErrUnsupported):
			refused++
			why = fmt.Errorf("%v %v, %v: %w", v.id.Protocol, v.id.Local, v.id.Remote, cause(err))
		case errors.Is(err, fs.ErrPermission):
			return fmt.Errorf("not permitted, it takes CAP_NET_ADMIN: %d closed, %d not: %w", closed, len(*l.victims)-i, cause(err))
		default:
			return fmt.Errorf("%d closed: %w", closed, err)
		}
	}
	if gone > 0 {
		fmt.Fprintf(stderr, "sslite: %d closed, %d gone by themselves meanwhile\n", closed, gone)
	}
	if refused > 0 {
		return fmt.Errorf("%d closed, %d the kernel cannot close, the last one %w", closed, refused, why)
	}
	return nil
}

func (l *lister) printClosed(row []byte) error {
	if l.asJSON {
		_, err := l.out.Write(row)
		return err
	}
	return l.table.add(row)
}

// cause is the error without what was being done, which the text around it says.
func cause(err error) error {
	var op *sockdiag.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
