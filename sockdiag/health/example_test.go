package health_test

import (
	"context"
	"fmt"
	"iter"
	"log"
	"net/http"
	"net/netip"
	"testing/fstest"
	"time"

	"github.com/seed16c515c6/timewait/sockdiag"
	"github.com/seed16c515c6/timewait/sockdiag/health"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// fixture is a Source for the tests of a program that uses this package.
type fixture []sockdiag.Socket

func (f fixture) Dump(_ context.Context, q sockdiag.Query) iter.Seq2[sockdiag.Socket, error] {
	return func(yield func(sockdiag.Socket, error) bool) {
		for _, s := range f {
			if q.States.Has(s.State) && !yield(s, nil) {
				return
			}
		}
	}
}

// Twenty ports, and fifteen of them in TIME_WAIT to one destination.
func ExampleDiagnose() {
	var sockets fixture
	for port := range uint16(15) {
		sockets = append(sockets, sockdiag.Socket{
			Family: sockdiag.IPv4, Protocol: sockdiag.TCP, State: tcpstate.TimeWait,
			Local:  netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), 40000+port),
			Remote: netip.MustParseAddrPort("192.0.2.7:5432"),
			Timer:  sockdiag.Timer{Kind: sockdiag.TimerTimeWait, Expires: 55 * time.Second},
		})
	}
	now, err := health.Take(context.Background(), sockets, health.Options{
		ProcSys: fstest.MapFS{
			"net/ipv4/ip_local_port_range": {Data: []byte("40000 40019\n")},
			"net/ipv4/tcp_tw_reuse":        {Data: []byte("2\n")},
		},
		ProcNet: fstest.MapFS{},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range health.Diagnose(nil, now, health.Thresholds{PortsWarning: 0.3}) {
		if f.ID == health.PortExhaustion || f.ID == health.ReuseOff {
			fmt.Printf("%v %s: %s\n", f.Severity, f.ID, f.Summary)
		}
	}
	// Output:
	// warning TW-PORT-EXHAUST: 5 of 20 local ports are left for 192.0.2.7:5432 (15 in TIME_WAIT): connects fail in about 4 s
	// warning TW-REUSE-OFF: TIME_WAITs are not taken over: tcp_tw_reuse=2 is for loopback only, and 192.0.2.7:5432 is elsewhere
}

// A service with a health check of its host's connections.
func ExampleChecker() {
	c, err := sockdiag.Dial(nil)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	mux := http.NewServeMux()
	mux.Handle("/healthz", health.NewChecker(c, health.Options{Fail: health.Warning}))
	log.Fatal(http.ListenAndServe("127.0.0.1:8080", mux))
}
