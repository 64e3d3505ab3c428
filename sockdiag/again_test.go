package sockdiag

import (
	"context"
	"testing"
	"time"

	"github.com/seed16c515c6/timewait/internal/uapi"
)

// lateTransport is one whose datagram comes when the context has ended and the
// deadline is set, but before the deadline is looked at.
type lateTransport struct {
	*fakeSocket
	cancel   func()
	late     datagram
	deadline chan struct{}
}

func (l *lateTransport) SetReadDeadline(time.Time) error {
	close(l.deadline)
	return nil
}

func (l *lateTransport) Receive(b []byte, wait bool) (int, uint32, bool, error) {
	if wait {
		l.cancel()
		<-l.deadline
		l.queue = append(l.queue, l.late)
	}
	return l.fakeSocket.Receive(b, wait)
}

// A socket that has a deadline is not used again, though all went well on it.
func TestDeadlineSpoils(t *testing.T) {
	k := &fakeKernel{answer: func(uint32, int) []datagram { return nil }}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c, err := dialClient(0, func() (transport, error) {
		t, err := k.dial()
		return &lateTransport{t.(*fakeSocket), cancel, done(2), make(chan struct{})}, err // the first request primed it
	}, k.hangUp)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Count(ctx, Query{}); err != nil || ctx.Err() == nil {
		t.Errorf("%v, of the context %v", err, ctx.Err())
	}
	if k.open() != 0 {
		t.Error("a socket with a deadline was kept")
	}
}

// An idle socket that is to read longer datagrams is primed again, because the kernel
// goes by what it has been seen to read.
func TestGrownIsPrimed(t *testing.T) {
	k := &fakeKernel{answer: func(seq uint32, _ int) []datagram { return []datagram{rows(seq, 1, 1), done(seq)} }}
	c := k.client(t)
	for range c.Dump(t.Context(), Query{}) {
		if _, err := cookies(t, c, t.Context(), Query{}); err != nil { // on another socket
			t.Fatal(err)
		}
	}
	before := len(k.requests)
	k.answer = func(seq uint32, nth int) []datagram {
		d := rows(seq, 1, 1)
		if nth == 2 {
			d.size = 50_000
		}
		return []datagram{d, done(seq)}
	}
	if got, err := cookies(t, c, t.Context(), Query{}); err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	asked := k.requests[before:]
	if len(k.sockets) != 2 || len(asked) != 3 || primes(asked[0]) || !primes(asked[1]) || primes(asked[2]) {
		t.Errorf("%d sockets, %d requests", len(k.sockets), len(asked))
	}
}

// The buffer for a reply of a megabyte is not kept, the one for 100 KB is.
func TestGrownShrinks(t *testing.T) {
	for n, kept := range map[int]bool{1000: true, 10_000: false} {
		size := 0
		k := &fakeKernel{answer: func(seq uint32, _ int) []datagram {
			d := rows(seq, 1, n)
			size = len(d.data)
			return []datagram{d, done(seq)}
		}}
		c := k.client(t)
		for range 2 {
			if got, err := cookies(t, c, t.Context(), Query{}); err != nil || len(got) != n {
				t.Fatal(len(got), err)
			}
			if len(c.conns) != 1 || len(c.conns[0].buf) != map[bool]int{true: size, false: 0}[kept] {
				t.Errorf("%d sockets, a buffer of %d bytes is kept, of %d", len(c.conns), len(c.conns[0].buf), size)
			}
		}
	}
}

// The table of IPv6 is asked for again with a larger buffer, whatever came from that
// of IPv4, and what that one had does not come again.
func TestRawGrowsBuffer(t *testing.T) {
	var families []Family
	k := &fakeKernel{answerTo: func(request []byte) []datagram {
		seq, family := ne.Uint32(request[8:]), Family(request[16])
		families = append(families, family)
		d := join(netlinkMessage(uapi.SockDiagByFamily, 2, seq, diagMessage(7, 1, 0, uint64(family))))
		if len(families) == 2 {
			d.size = 50_000
		}
		return []datagram{d, done(seq)}
	}}
	c := k.client(t)
	var got []uint64
	for s, err := range c.Dump(t.Context(), Query{Protocol: Raw}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, s.Cookie)
	}
	if len(got) != 2 || got[0] != uint64(IPv4) || got[1] != uint64(IPv6) || len(families) != 3 || families[2] != IPv6 {
		t.Errorf("cookies %v, asked for %v", got, families)
	}
}
