package owner_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"os"

	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/sockdiag/owner"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// Who listens? All the inodes are asked about at once.
func Example() {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()

	ctx := context.Background()
	c, err := sockdiag.Dial(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	sockets, err := sockdiag.Collect(c.Dump(ctx, sockdiag.Query{States: tcpstate.SetOf(tcpstate.Listen)}))
	if err != nil {
		log.Fatal(err)
	}
	var inodes []uint32
	for _, s := range sockets {
		inodes = append(inodes, s.Inode)
	}
	owners, err := owner.Find(ctx, inodes...)
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range sockets {
		holders, verdict := owners.Of(s.Inode)
		for _, h := range holders {
			if s.Local.String() == l.Addr().String() && h.Process.PID == os.Getpid() {
				fmt.Println(verdict, "with this program")
			}
		}
	}
	// Output: Found with this program
}
