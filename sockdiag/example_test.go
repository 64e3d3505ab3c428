package sockdiag_test

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/netip"
	"sync"

	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// Which connections are over, and how long does the kernel remember them?
func ExampleClient_Dump() {
	c, err := sockdiag.Dial(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	q := sockdiag.Query{States: tcpstate.SetOf(tcpstate.TimeWait, tcpstate.FinWait2)}
	for s, err := range c.Dump(context.Background(), q) {
		if err != nil {
			log.Fatal(err)
		}
		if left, ok := s.TimeWait(); ok {
			fmt.Println(s.Local, s.Remote, s.State, left)
		}
	}
}

// Two dumps at once, of the sockets with low and with high local ports, where time
// matters more than the processors: a dump alone keeps one of them busy.
func ExampleClient_Dump_halves() {
	c, err := sockdiag.Dial(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	const middle = 32768 // a server's connections have its low port, a client's a high one
	halves := [...]sockdiag.Filter{
		sockdiag.LocalPort(0, middle-1),
		sockdiag.LocalPort(middle, 65535),
	}
	var retransmits [len(halves)]uint64
	var running sync.WaitGroup
	for i, half := range halves {
		running.Go(func() {
			q := sockdiag.Query{Filter: half, Attrs: sockdiag.AttrTCPInfo}
			for s, err := range c.Dump(context.Background(), q) {
				if err != nil {
					log.Fatal(err)
				}
				retransmits[i] += uint64(s.TCPInfo.TotalRetrans)
			}
		})
	}
	running.Wait()
	fmt.Println(retransmits[0]+retransmits[1], "retransmissions")
}

// How many sockets are in TIME_WAIT?
func ExampleClient_Count() {
	c, err := sockdiag.Dial(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	counts, err := c.Count(context.Background(), sockdiag.Query{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(counts[tcpstate.TimeWait], "in TIME_WAIT")
	fmt.Println(counts) // all states, most first
}

// Which servers do the connections lead to?
func ExampleCountBy() {
	c, err := sockdiag.Dial(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	established := sockdiag.Query{States: tcpstate.Established.Set()}
	servers, err := sockdiag.CountBy(c.Dump(context.Background(), established), func(s *sockdiag.Socket) netip.AddrPort {
		return netip.AddrPortFrom(s.Remote.Addr().Unmap(), s.Remote.Port())
	})
	if err != nil {
		log.Fatal(err)
	}
	for server, n := range servers {
		fmt.Println(n, server)
	}
}

// How is this connection doing?
func ExampleTCPInfoOf() {
	conn, err := net.Dial("tcp", "192.0.2.1:443")
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	info, err := sockdiag.TCPInfoOf(conn.(*net.TCPConn))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("round trip", info.RTT, "and", info.TotalRetrans, "retransmissions")
	if info.Has(sockdiag.FieldRcvWnd) { // Linux 6.2
		fmt.Println("window", info.RcvWnd)
	}
}
