package sockdiag

import (
	"bytes"
	"syscall"
	"testing"
	"time"

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
	for name, row := range map[string][]byte{"dump": row, "dump with tcp_info": withInfo} {
		b.Run(name, func(b *testing.B) {
			k := &endlessKernel{row: row}
			c, err := dialClient(0, func() (transport, error) { return k, nil }, func() error { return nil })
			if err != nil {
				b.Fatal(err)
			}
			rows, ports := 0, 0
			for s, err := range c.Dump(b.Context(), Query{}) {
				if err != nil {
					b.Fatal(err)
				}
				ports += int(s.Local.Port())
				if rows++; rows > b.N {
					break
				}
			}
			if ports == 0 {
				b.Error("no ports")
			}
		})
	}
}

// endlessKernel answers every dump with full datagrams of one row, and no end.
type endlessKernel struct {
	transport
	row      []byte
	datagram []byte
}

func (k *endlessKernel) SetReadDeadline(time.Time) error { return nil }
func (k *endlessKernel) Close() error                    { return nil }
func (k *endlessKernel) Send(request []byte) error {
	seq, typ := ne.Uint32(request[8:]), ne.Uint16(request[4:])
	if primes(request) {
		k.datagram = kernelSays(uapi.NLMsgError, seq, syscall.EINVAL)
		return nil
	}
	one := netlinkMessage(typ, 2, seq, k.row)
	k.datagram = bytes.Repeat(one, minBuffer/len(one))
	return nil
}

func (k *endlessKernel) Exchange(request, answer []byte) (n int, ok bool, err error) {
	err = k.Send(request)
	return copy(answer, k.datagram), err == nil, err
}

func (k *endlessKernel) Receive(b []byte, _ bool) (n int, port uint32, ok bool, err error) {
	return copy(b, k.datagram), 0, true, nil
}
