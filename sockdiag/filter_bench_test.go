package sockdiag

import (
	"net/netip"
	"testing"

	"github.com/seed16c515c6/timewait/tcpstate"
)

// benchFilters are one that is as simple as can be, one as people write them, and
// one as programs do.
var benchFilters = []struct{ name, text string }{
	{"port", "dport = :443"},
	{"service", "dst 10.0.0.0/8 and ( dport = :443 or sport >= :1024 ) and not dst 10.1.0.0/16"},
	{"list", "( dport = :80 or dport = :443 or dport = :5432 or dport = :6379 or dport = :8080 or dport = :9090 ) and " +
		"not ( dst 127.0.0.0/8 or dst 10.0.0.0/8 or dst 172.16.0.0/12 or dst 192.168.0.0/16 or dst fc00::/7 )"},
}

func mustParseFilter(b *testing.B, text string) Filter {
	b.Helper()
	f, err := ParseFilter(text)
	if err != nil {
		b.Fatal(err)
	}
	return f
}

func BenchmarkParseFilter(b *testing.B) {
	for _, f := range benchFilters {
		b.Run(f.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ParseFilter(f.text); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFilterCompile is what a filter adds to a call.
func BenchmarkFilterCompile(b *testing.B) {
	for _, f := range benchFilters {
		b.Run(f.name, func(b *testing.B) {
			filter := mustParseFilter(b, f.text)
			b.ReportAllocs()
			for b.Loop() {
				p, err := filter.compile(0, nil)
				if err != nil || len(p.code) == 0 {
					b.Fatalf("%d bytes, error %v", len(p.code), err)
				}
			}
		})
	}
}

// BenchmarkFilterMatch is what it adds to each row.
func BenchmarkFilterMatch(b *testing.B) {
	yes := Socket{
		Family: IPv4, Protocol: TCP, State: tcpstate.Established,
		Local:  netip.MustParseAddrPort("10.2.0.1:40000"),
		Remote: netip.MustParseAddrPort("10.2.0.2:443"),
	}
	no := yes
	no.Remote = netip.MustParseAddrPort("10.1.0.2:22")
	for _, tt := range []struct {
		name   string
		socket Socket
	}{{"yes", yes}, {"no", no}} {
		for _, f := range benchFilters[:2] {
			b.Run(f.name+"/"+tt.name, func(b *testing.B) {
				filter := mustParseFilter(b, f.text)
				b.ReportAllocs()
				for b.Loop() {
					if matched, decided := filter.Match(&tt.socket); !decided || matched != (tt.name == "yes") {
						b.Fatalf("matched %t, decided %t", matched, decided)
					}
				}
			})
		}
	}
}

// BenchmarkCountRow is what Count adds to the kernel's work on each socket, without
// a filter and with one.
func BenchmarkCountRow(b *testing.B) {
	row := plainRow()
	for _, text := range []string{"", "sport = :1000"} {
		name := "everything"
		if text != "" {
			name = "filter"
		}
		b.Run(name, func(b *testing.B) {
			q := Query{Filter: mustParseFilter(b, text)}
			c := counter{filter: q.rowFilter(), protocol: TCP}
			c.filter.match = q.Filter
			b.ReportAllocs()
			for b.Loop() {
				if err := c.row(row); err != nil {
					b.Fatal(err)
				}
			}
			if c.counts[tcpstate.Established] == 0 {
				b.Error("nothing was counted")
			}
		})
	}
}
