package sockdiag

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/seed16c515c6/timewait/internal/uapi"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// Behind a plain row, in the same datagram, is where messages are taken off fast.
// What may not be is dealt with there as anywhere.
func TestBehindPlainRow(t *testing.T) {
	const typ = uapi.TCPDiagGetSock
	row := func(typ, flags uint16, seq uint32, cookie uint64) []byte {
		return netlinkMessage(typ, flags, seq, diagMessage(tcpstate.Established, 1000, 2000, cookie))
	}
	resized := func(seq, size uint32) []byte {
		b := row(typ, uapi.NLMFMulti, seq, 2)
		ne.PutUint32(b, size)
		return b
	}
	// Its last attribute has one byte, and the padding is not in the message's length.
	unpadded := func(seq uint32) []byte {
		b := netlinkMessage(typ, uapi.NLMFMulti, seq, append(diagMessage(tcpstate.Established, 1000, 2000, 2), attribute(uapi.InetDiagShutdown, []byte{1})...))
		ne.PutUint32(b, uint32(len(b)-3))
		return b
	}
	for _, tt := range []struct {
		name   string
		behind func(seq uint32) []byte
		rows   []uint64
		is     error
		as     string
	}{
		{"another request's", func(s uint32) []byte { return row(typ, uapi.NLMFMulti, s-1, 99) }, []uint64{1, 3}, nil, ""},
		{"another request's, interrupted", func(s uint32) []byte { return row(typ, uapi.NLMFMulti|uapi.NLMFDumpIntr, s-1, 99) }, []uint64{1, 3}, nil, ""},
		{"interrupted", func(s uint32) []byte { return row(typ, uapi.NLMFMulti|uapi.NLMFDumpIntr, s, 2) }, []uint64{1, 2, 3}, ErrInterrupted, ""},
		{"another flag", func(s uint32) []byte { return row(typ, uapi.NLMFMulti|0x20, s, 2) }, []uint64{1, 2, 3}, nil, ""},
		{"another type", func(s uint32) []byte { return row(uapi.SockDiagByFamily, uapi.NLMFMulti, s, 99) }, []uint64{1, 3}, nil, ""},
		{"longer than the datagram", func(s uint32) []byte { return resized(s, 1<<20) }, []uint64{1}, nil, "netlink message"},
		{"negative on 32 bits", func(s uint32) []byte { return resized(s, 1<<31+88) }, []uint64{1}, nil, "netlink message"},
		{"shorter than its header", func(s uint32) []byte { return resized(s, 15) }, []uint64{1}, nil, "nlmsg_len"},
		{"unpadded", unpadded, []uint64{1, 2, 3}, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := &fakeKernel{answer: func(seq uint32, _ int) []datagram {
				return []datagram{join(row(typ, uapi.NLMFMulti, seq, 1), tt.behind(seq), row(typ, uapi.NLMFMulti, seq, 3)), done(seq)}
			}}
			got, err := cookies(t, k.client(t), t.Context(), Query{})
			var de *DecodeError
			if !slices.Equal(got, tt.rows) || (err == nil) != (tt.is == nil && tt.as == "") || tt.is != nil && !errors.Is(err, tt.is) ||
				tt.as != "" && (!errors.As(err, &de) || de.What != tt.as) {
				t.Error(got, err)
			}
		})
	}
	// The end of a datagram, cut anywhere.
	for cut := range 88 {
		k := &fakeKernel{answer: func(seq uint32, _ int) []datagram {
			return []datagram{join(row(typ, uapi.NLMFMulti, seq, 1), row(typ, uapi.NLMFMulti, seq, 2)[:cut]), done(seq)}
		}}
		if got, err := cookies(t, k.client(t), t.Context(), Query{}); fmt.Sprint(got) != "[1]" || (err == nil) != (cut == 0) {
			t.Error(cut, got, err)
		}
	}
	for cut := range 4 {
		k := &fakeKernel{answer: func(seq uint32, _ int) []datagram {
			m := unpadded(seq)
			return []datagram{join(row(typ, uapi.NLMFMulti, seq, 1), m[:len(m)-cut]), done(seq)}
		}}
		if got, err := cookies(t, k.client(t), t.Context(), Query{}); fmt.Sprint(got) != "[1 2]" || err != nil {
			t.Error(cut, got, err)
		}
	}
}

// One answer is one row, whatever stands behind it.
func TestSingleHasOneRow(t *testing.T) {
	for _, flags := range []uint16{0, 2} {
		for _, typ := range []uint16{0, uapi.SockDiagByFamily} {
			for _, own := range []bool{false, true} {
				k := &fakeKernel{answer: func(seq uint32, _ int) []datagram {
					other := uint32(0)
					if own {
						other = seq
					}
					return []datagram{join(netlinkMessage(uapi.SockDiagByFamily, 0, seq, diagMessage(1, 1000, 2000, 9)),
						netlinkMessage(typ, flags, other, diagMessage(1, 1000, 2000, 5)))}
				}}
				c := k.client(t)
				s, err := c.Lookup(t.Context(), ID{Local: netip.MustParseAddrPort("127.0.0.1:1000"), Remote: netip.MustParseAddrPort("127.0.0.1:2000")}, 0)
				if s.Cookie != 9 || err != nil {
					t.Error(flags, typ, own, s.Cookie, err)
				}
			}
		}
	}
}
