package sockdiag

import (
	"testing"

	"github.com/seed16c515c6/timewait/internal/uapi"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// plainRow is what the kernel sends of a connection unasked, to root.
func plainRow() []byte {
	return diagMessage(tcpstate.Established, 1000, 2000, 77,
		attribute(uapi.InetDiagShutdown, []byte{0}), attribute(uapi.InetDiagMark, make([]byte, 4)),
		attribute(uapi.InetDiagCgroupID, make([]byte, 8)), attribute(uapi.InetDiagSockOpt, []byte{0x52, 0}))
}

// BenchmarkRow is what Dump adds to the kernel's work on each socket.
func BenchmarkRow(b *testing.B) {
	row := plainRow()
	withInfo := append(plainRow(), attribute(uapi.InetDiagInfo, make([]byte, 280))...)
	b.Run("decode", func(b *testing.B) {
		var s Socket
		for b.Loop() {
			if err := s.decode(TCP, row, false); err != nil {
				b.Fatal(err)
			}
		}
	})
	for name, row := range map[string][]byte{"yield": row, "yield with tcp_info": withInfo} {
		b.Run(name, func(b *testing.B) {
			d := dumper{filter: (&Query{}).rowFilter(), protocol: TCP}
			ports := 0
			yield := func(s Socket, _ error) bool { ports += int(s.Local.Port()); return true }
			for b.Loop() {
				if err := d.row(row, yield); err != nil {
					b.Fatal(err)
				}
			}
			if ports == 0 {
				b.Error("nothing was yielded")
			}
		})
	}
}
