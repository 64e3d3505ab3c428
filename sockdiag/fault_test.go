package sockdiag

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed16c515c6/timewait/internal/uapi"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// cookies ranges over a dump as callers do, and checks what every sequence
// promises: at most one error, last, with a zero Socket.
func cookies(t *testing.T, c *Client, ctx context.Context, q Query) (got []uint64, failed error) {
	t.Helper()
	for s, err := range c.Dump(ctx, q) {
		if failed != nil {
			t.Fatalf("the sequence went on after its error %v: %v, %v", failed, s, err)
		}
		if err != nil {
			if s != (Socket{}) {
				t.Errorf("the Socket with the error is not zero: %+v", s)
			}
			var op *OpError
			if !errors.As(err, &op) || op.Op != "dump" || op.Protocol != TCP {
				t.Errorf("the error is no *OpError of a dump of TCP: %#v", err)
			}
			failed = err
			continue
		}
		got = append(got, s.Cookie)
	}
	return got, failed
}

// What the kernel, or somebody else, can put into the answer to a dump.
func TestDumpFaults(t *testing.T) {
	msg := func(seq uint32, payload []byte) datagram {
		return join(netlinkMessage(uapi.TCPDiagGetSock, 2, seq, payload))
	}
	says := func(typ uint16, seq uint32, e syscall.Errno) datagram { return datagram{data: kernelSays(typ, seq, e)} }
	tests := []struct {
		name   string
		answer func(seq uint32) []datagram
		rows   int
		is     []error // the error is each of these; none: there is no error
		not    error
		as     string // the error is a *DecodeError of this
	}{
		{name: "nothing there", answer: func(s uint32) []datagram { return []datagram{done(s)} }},
		{name: "done in the last batch", answer: func(s uint32) []datagram {
			return []datagram{rows(s, 1, 2), join(rows(s, 3, 1).data, kernelSays(uapi.NLMsgDone, s, 0))}
		}, rows: 3},
		{name: "EBUSY at once", answer: func(s uint32) []datagram { return []datagram{says(uapi.NLMsgError, s, syscall.EBUSY)} },
			is: []error{syscall.EBUSY}},
		{name: "EBUSY in the middle", answer: func(s uint32) []datagram {
			return []datagram{rows(s, 1, 2), says(uapi.NLMsgError, s, syscall.EBUSY), rows(s, 3, 2), done(s)}
		}, rows: 2, is: []error{syscall.EBUSY}},
		{name: "somebody else's EBUSY in the middle", answer: func(s uint32) []datagram {
			return []datagram{rows(s, 1, 2), says(uapi.NLMsgError, s+7, syscall.EBUSY), rows(s, 3, 2), done(s)}
		}, rows: 4},
		{name: "rows of another request", answer: func(s uint32) []datagram {
			return []datagram{rows(s-1, 90, 2), rows(s, 1, 2), says(uapi.NLMsgDone, s-1, 0), rows(s, 3, 1), done(s)}
		}, rows: 3},
		{name: "foreign sender", answer: func(s uint32) []datagram {
			forged := rows(s, 90, 5)
			forged.port = 4711
			end := done(s)
			end.port = 4711
			return []datagram{forged, end, rows(s, 1, 2), done(s)}
		}, rows: 2},
		{name: "empty datagram", answer: func(s uint32) []datagram { return []datagram{{}, rows(s, 1, 1), done(s)} }, rows: 1},
		{name: "unknown message type", answer: func(s uint32) []datagram {
			return []datagram{join(netlinkMessage(99, 2, s, []byte{1, 2, 3}), rows(s, 1, 1).data), done(s)}
		}, rows: 1},
		{name: "NOOP", answer: func(s uint32) []datagram {
			return []datagram{join(netlinkMessage(uapi.NLMsgNoop, 0, s, nil)), rows(s, 1, 1), done(s)}
		}, rows: 1},
		{name: "OVERRUN", answer: func(s uint32) []datagram {
			return []datagram{rows(s, 1, 1), join(netlinkMessage(uapi.NLMsgOverrun, 0, s, nil)), done(s)}
		}, rows: 1, is: []error{syscall.ENOBUFS}},
		{name: "ENOBUFS", answer: func(s uint32) []datagram {
			return []datagram{rows(s, 1, 2), {err: os.NewSyscallError("recvfrom", syscall.ENOBUFS)}, rows(s, 3, 2), done(s)}
		}, rows: 2, is: []error{syscall.ENOBUFS}},
		{name: "DONE with an errno", answer: func(s uint32) []datagram {
			return []datagram{rows(s, 1, 2), says(uapi.NLMsgDone, s, syscall.ENOMEM)}
		}, rows: 2, is: []error{syscall.ENOMEM}},
		{name: "DONE without payload", answer: func(s uint32) []datagram {
			return []datagram{rows(s, 1, 2), join(netlinkMessage(uapi.NLMsgDone, 2, s, nil))}
		}, rows: 2, as: "NLMSG_DONE"},
		{name: "no handler, by ERROR", answer: func(s uint32) []datagram { return []datagram{says(uapi.NLMsgError, s, syscall.ENOENT)} },
			is: []error{errors.ErrUnsupported}, not: fs.ErrNotExist},
		{name: "no handler, by DONE", answer: func(s uint32) []datagram { return []datagram{says(uapi.NLMsgDone, s, syscall.ENOENT)} },
			is: []error{errors.ErrUnsupported}, not: fs.ErrNotExist},
		{name: "no handler, the older way", answer: func(s uint32) []datagram { return []datagram{says(uapi.NLMsgError, s, syscall.EOPNOTSUPP)} },
			is: []error{errors.ErrUnsupported}},
		{name: "not permitted", answer: func(s uint32) []datagram { return []datagram{says(uapi.NLMsgError, s, syscall.EPERM)} },
			is: []error{fs.ErrPermission}},
		{name: "interrupted, said on a row", answer: func(s uint32) []datagram {
			return []datagram{join(netlinkMessage(uapi.TCPDiagGetSock, 2|uapi.NLMFDumpIntr, s, diagMessage(1, 1, 2, 1))), rows(s, 2, 1), done(s)}
		}, rows: 2, is: []error{ErrInterrupted}},
		{name: "interrupted, said on DONE", answer: func(s uint32) []datagram {
			return []datagram{rows(s, 1, 2), join(netlinkMessage(uapi.NLMsgDone, 2|uapi.NLMFDumpIntr, s, make([]byte, 4)))}
		}, rows: 2, is: []error{ErrInterrupted}},
		{name: "truncated after the first row", answer: func(s uint32) []datagram {
			long := rows(s, 3, 2)
			long.size = 40000
			return []datagram{rows(s, 1, 2), long, done(s)}
		}, rows: 2, is: []error{syscall.EMSGSIZE}},
		{name: "an acknowledgement nobody asked for", answer: func(s uint32) []datagram {
			return []datagram{rows(s, 1, 2), says(uapi.NLMsgError, s, 0), rows(s, 3, 2), done(s)}
		}, rows: 4},
		{name: "short header", answer: func(uint32) []datagram { return []datagram{{data: make([]byte, 15)}} }, as: "nlmsghdr"},
		{name: "message length below its header's", answer: func(s uint32) []datagram {
			d := rows(s, 1, 1)
			ne.PutUint32(d.data, 15)
			return []datagram{d}
		}, as: "nlmsg_len"},
		{name: "message length past the datagram", answer: func(s uint32) []datagram {
			d := rows(s, 1, 1)
			ne.PutUint32(d.data, 1<<31+16)
			return []datagram{d}
		}, as: "netlink message"},
		{name: "short row", answer: func(s uint32) []datagram { return []datagram{rows(s, 1, 1), msg(s, make([]byte, 71)), done(s)} },
			rows: 1, as: "inet_diag_msg"},
		{name: "attribute past the row", answer: func(s uint32) []datagram {
			return []datagram{msg(s, diagMessage(1, 1, 2, 1, []byte{9, 0, 15, 0, 1, 2, 3, 4})), done(s)}
		}, as: "attribute length"},
		{name: "attribute shorter than its header", answer: func(s uint32) []datagram {
			return []datagram{msg(s, diagMessage(1, 1, 2, 1, []byte{3, 0, 15, 0})), done(s)}
		}, as: "attribute length"},
		{name: "half an attribute header", answer: func(s uint32) []datagram {
			return []datagram{msg(s, diagMessage(1, 1, 2, 1, []byte{4, 0})), done(s)}
		}, as: "attribute header"},
		{name: "short mark", answer: func(s uint32) []datagram {
			return []datagram{msg(s, diagMessage(1, 1, 2, 1, attribute(uapi.InetDiagMark, []byte{1, 2}))), done(s)}
		}, as: "INET_DIAG_MARK"},
		{name: "what is unknown", answer: func(s uint32) []datagram {
			odd := diagMessage(20, 1, 2, 1, attribute(63, []byte{1}), attribute(0x3000, nil), attribute(uapi.InetDiagMark, make([]byte, 12)))
			odd[2] = 77 // a timer
			return []datagram{msg(s, odd), done(s)}
		}, rows: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := &fakeKernel{answer: func(seq uint32, _ int) []datagram { return tt.answer(seq) }}
			c := k.client(t)
			got, err := cookies(t, c, t.Context(), Query{})
			if len(got) != tt.rows {
				t.Errorf("%d rows, want %d", len(got), tt.rows)
			}
			for i, cookie := range got {
				if cookie != uint64(i+1) {
					t.Errorf("row %d has cookie %d", i, cookie)
				}
			}
			if fails := len(tt.is) > 0 || tt.as != ""; (err != nil) != fails {
				t.Fatalf("error %v", err)
			}
			for _, want := range tt.is {
				if !errors.Is(err, want) {
					t.Errorf("error %v is not %v", err, want)
				}
			}
			if tt.not != nil && errors.Is(err, tt.not) {
				t.Errorf("error %v is also %v", err, tt.not)
			}
			var decode *DecodeError
			if errors.As(err, &decode) != (tt.as != "") || decode != nil && decode.What != tt.as {
				t.Errorf("error %v, want a *DecodeError of %q", err, tt.as)
			}
			// A socket that anything went wrong on is closed, another is kept.
			if open := k.open(); open != 1 && err == nil || open != 0 && err != nil {
				t.Errorf("%d sockets are open after error %v", open, err)
			}
			// And Count, which walks the same answers, agrees.
			counts, cerr := c.Count(t.Context(), Query{})
			if (cerr == nil) != (err == nil) && !strings.HasPrefix(tt.as, "attribute") && tt.as != "INET_DIAG_MARK" {
				t.Errorf("Count: error %v", cerr)
			}
			if cerr == nil && err == nil && counts.Total() != uint64(tt.rows) {
				t.Errorf("Count: %v, want %d in all", counts, tt.rows)
			}
			if cerr != nil && counts != (tcpstate.Counts{}) {
				t.Errorf("Count: %v with error %v", counts, cerr)
			}
		})
	}
}

var errAny = errors.New("any error")

// A first answer that is longer than the buffer is not decoded but asked for
// again, on another socket, with room for it.
func TestDumpGrowsBuffer(t *testing.T) {
	k := &fakeKernel{answer: func(seq uint32, nth int) []datagram {
		d := rows(seq, 1, 3)
		if nth == 0 {
			d.size = 50_000
		}
		return []datagram{d, done(seq)}
	}}
	c := k.client(t)
	got, err := cookies(t, c, t.Context(), Query{})
	if err != nil || len(got) != 3 {
		t.Fatalf("rows %v, error %v", got, err)
	}
	if len(k.sockets) != 2 || !k.sockets[0].closed || k.sockets[1].largest != 50_000 {
		t.Errorf("%d sockets, buffers %d and %d", len(k.sockets), k.sockets[0].largest, k.sockets[1].largest)
	}
	// A length that nobody should allocate is an error instead.
	k.answer = func(seq uint32, _ int) []datagram {
		d := rows(seq, 1, 1)
		d.size = maxBuffer + 1
		return []datagram{d, done(seq)}
	}
	if _, err := cookies(t, c, t.Context(), Query{}); !errors.Is(err, syscall.EMSGSIZE) || !strings.Contains(err.Error(), fmt.Sprint(maxBuffer+1)) {
		t.Errorf("error %v", err)
	}
}

// The kernel sizes its first batch by what it has seen the socket read into.
func TestFirstRequestPrimes(t *testing.T) {
	k := &fakeKernel{answer: func(seq uint32, _ int) []datagram { return []datagram{rows(seq, 1, 1), done(seq)} }}
	c := k.client(t)
	if k.sockets[0].largest != 0 || len(k.requests) != 0 {
		t.Error("Dial has read or sent already")
	}
	for range 2 {
		if _, err := cookies(t, c, t.Context(), Query{}); err != nil {
			t.Fatal(err)
		}
	}
	var primed []bool
	for _, r := range k.requests {
		primed = append(primed, primes(r))
	}
	if fmt.Sprint(primed) != "[true false false]" {
		t.Errorf("requests that prime: %v", primed)
	}
	if k.sockets[0].largest != 32<<10 {
		t.Errorf("read into %d bytes", k.sockets[0].largest)
	}
}

// At every row: leaving the range closes the socket unread, and the Client goes on.
func TestLeaveEarly(t *testing.T) {
	const n = 5
	for stop := 1; stop <= n; stop++ {
		k := &fakeKernel{answer: func(seq uint32, _ int) []datagram {
			return []datagram{rows(seq, 1, 2), rows(seq, 3, 3), done(seq)}
		}}
		c := k.client(t)
		seen := 0
		for _, err := range c.Dump(t.Context(), Query{}) {
			if err != nil {
				t.Fatal(err)
			}
			if seen++; seen == stop {
				break
			}
		}
		if seen != stop || k.open() != 0 {
			t.Errorf("stopped at %d: %d rows seen, %d sockets open", stop, seen, k.open())
		}
		if left := len(k.sockets[0].queue); left == 0 {
			t.Errorf("stopped at %d: the dump was drained", stop)
		}
		if got, err := cookies(t, c, t.Context(), Query{}); err != nil || len(got) != n {
			t.Errorf("stopped at %d: then %v, %v", stop, got, err)
		}
	}
}

// A loop that panics, or ends its goroutine, leaves no socket behind that is
// taken for busy or for clean.
func TestPanicInLoop(t *testing.T) {
	k := &fakeKernel{answer: func(seq uint32, _ int) []datagram { return []datagram{rows(seq, 1, 2), done(seq)} }}
	c := k.client(t)
	func() {
		defer func() {
			if recover() != "mine" {
				t.Error("the panic did not come through")
			}
		}()
		for range c.Dump(t.Context(), Query{}) {
			panic("mine")
		}
	}()
	var wg sync.WaitGroup
	wg.Go(func() {
		for range c.Dump(t.Context(), Query{}) {
			runtime.Goexit()
		}
	})
	wg.Wait()
	if k.open() != 0 || len(c.conns) != 0 {
		t.Errorf("%d sockets open, %d kept", k.open(), len(c.conns))
	}
}

// At every row: once the context is done, no further row comes, however many
// have arrived already.
func TestCancelAtEveryRow(t *testing.T) {
	const n = 6
	for stop := 0; stop <= n; stop++ {
		k := &fakeKernel{answer: func(seq uint32, _ int) []datagram {
			return []datagram{rows(seq, 1, 3), rows(seq, 4, 3), done(seq)}
		}}
		c := k.client(t)
		ctx, cancel := context.WithCancel(t.Context())
		if stop == 0 {
			cancel()
		}
		seen := 0
		var failed error
		for _, err := range c.Dump(ctx, Query{}) {
			if err != nil {
				failed = err
				continue
			}
			if seen++; seen == stop {
				cancel()
			}
		}
		cancel()
		if seen != stop && stop > 0 {
			t.Errorf("cancelled at row %d: %d rows", stop, seen)
		}
		// After the last row the dump may be done before it looks again.
		if !errors.Is(failed, context.Canceled) && stop < n {
			t.Errorf("cancelled at row %d: error %v", stop, failed)
		}
		if stop == 0 && (len(k.requests) != 0 || seen != 0) {
			t.Errorf("cancelled before: %d requests, %d rows", len(k.requests), seen)
		}
		if stop > 0 && stop < n && k.open() != 0 {
			t.Errorf("cancelled at row %d: a socket with half a dump on it was kept", stop)
		}
	}
}

// A kernel that says nothing more is waited for until the context ends, or the
// Client is closed.
func TestSilentKernel(t *testing.T) {
	silent := func(seq uint32, _ int) []datagram { return []datagram{rows(seq, 1, 2)} }
	t.Run("cancel", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := (&fakeKernel{answer: silent, waits: cancel}).client(t)
		got, err := cookies(t, c, ctx, Query{})
		if len(got) != 2 || !errors.Is(err, context.Canceled) {
			t.Errorf("%v, %v", got, err)
		}
	})
	t.Run("deadline", func(t *testing.T) {
		c := (&fakeKernel{answer: silent}).client(t)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		got, err := cookies(t, c, ctx, Query{})
		if len(got) > 2 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v, %v", got, err)
		}
		var timeout interface{ Timeout() bool }
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("%v is no timeout", err)
		}
	})
	t.Run("close", func(t *testing.T) {
		k := &fakeKernel{answer: silent}
		c := k.client(t)
		k.waits = func() { _ = c.Close() }
		got, err := cookies(t, c, t.Context(), Query{})
		if len(got) != 2 || !errors.Is(err, net.ErrClosed) {
			t.Errorf("%v, %v", got, err)
		}
	})
}

// Datagrams of strangers are not believed, and do not keep a call from ending.
func TestForeignFlood(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	k := &fakeKernel{answer: func(seq uint32, _ int) []datagram {
		cancel()
		forged := done(seq)
		forged.port = 4711
		return []datagram{forged, forged, forged, done(seq)}
	}}
	c := k.client(t)
	if _, err := c.Count(ctx, Query{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if n := k.sockets[0].received; n != 2 { // that of priming, and one
		t.Errorf("%d datagrams read", n)
	}
}

// A socket that had to be waited for serves on, unless the context ended at that
// moment: its deadline would hit the next call.
func TestWaitedFor(t *testing.T) {
	for _, late := range []bool{false, true} {
		k := &fakeKernel{answer: func(uint32, int) []datagram { return nil }}
		c := k.client(t)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Millisecond, func() {
			s := k.sockets[0]
			s.mu.Lock()
			defer s.mu.Unlock()
			s.queue = append(s.queue, done(2)) // the first request primed it
			if late {
				cancel()
				time.Sleep(20 * time.Millisecond)
			}
			s.changed.Broadcast()
		})
		_, err := c.Count(ctx, Query{})
		cancel()
		if !late && (err != nil || k.open() != 1) || late && k.open() != 0 {
			t.Errorf("late %v: error %v, %d sockets open", late, err, k.open())
		}
	}
}

// The listeners of a dump with tcp_info that the kernel loses come all the same, and
// what would have come behind them. Where something did come it is not asked for more.
func TestListenersThatDoNotFit(t *testing.T) {
	const all = 0
	unsorted := func(cookie int) int { return (cookie + 1) ^ 1 }
	listen, both := tcpstate.Listen.Set(), tcpstate.SetOf(tcpstate.Listen, tcpstate.Closed)
	for _, tt := range []struct {
		name   string
		states tcpstate.Set
		attrs  Attrs
		fit    int   // listeners that come with their keys, of those before
		before int   // listeners at the first request
		after  int   // listeners later
		bound  bool  // a bound-only socket besides
		want   []int // cookies
		asked  int
	}{
		{"two fit", all, AttrTCPInfo, 2, 4, 4, false, []int{3, 2, 5, 4, 1001, 1002}, 3},
		{"none fits", all, AttrTCPInfo, 0, 4, 4, false, []int{3, 2, 5, 4, 1001, 1002}, 3},
		{"all fit", all, AttrTCPInfo, 4, 4, 4, false, []int{3, 2, 5, 4, 1001, 1002}, 1},
		{"there are none", all, AttrTCPInfo, 0, 0, 0, false, []int{1001, 1002}, 1},
		{"those that do not fit are closed meanwhile", all, AttrTCPInfo, 2, 4, 2, false, []int{3, 2, 1001, 1002}, 3},
		{"the only one is closed meanwhile", all, AttrTCPInfo, 0, 1, 0, false, []int{1001, 1002}, 3},
		{"one more is opened meanwhile", all, AttrTCPInfo, 4, 4, 5, false, []int{3, 2, 5, 4, 1001, 1002}, 1},
		{"listeners alone", listen, AttrULPInfo, 2, 4, 4, false, []int{3, 2, 5, 4}, 2},
		{"listeners alone, all fit", listen, AttrULPInfo, 4, 4, 4, false, []int{3, 2, 5, 4}, 2},
		{"nothing behind them", both, AttrTCPInfo, 2, 4, 4, false, []int{3, 2, 5, 4}, 3},
		{"a bound-only one behind them", both, AttrTCPInfo, 4, 4, 5, true, []int{3, 2, 5, 4, 1000}, 1},
		{"more than a few", all, AttrTCPInfo, 600, 610, 610, false, nil, 3},
		{"without keys", all, AttrMark, 2, 4, 4, false, []int{3, 2, 5, 4, 1001, 1002}, 1},
		{"without listeners", tcpstate.Established.Set(), AttrTCPInfo, 0, 4, 4, false, []int{1001, 1002}, 1},
		{"of what there is not", tcpstate.Closed.Set(), AttrTCPInfo, 0, 4, 4, false, nil, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.before > 100 {
				for cookie := 1; cookie <= tt.before; cookie++ {
					tt.want = append(tt.want, unsorted(cookie))
				}
				tt.want = append(tt.want, 1001, 1002)
			}
			asked := 0
			k := &fakeKernel{answerTo: func(request []byte) []datagram {
				seq, ext, states := ne.Uint32(request[8:]), request[16+3], tcpstate.Set(ne.Uint32(request[16+52:]))
				row := func(s tcpstate.State, cookie int) []byte {
					return netlinkMessage(uapi.TCPDiagGetSock, 2, seq, diagMessage(s, uint16(cookie), 0, uint64(cookie)))
				}
				there := tt.after
				if asked++; asked == 1 {
					there = tt.before
				}
				var answer []datagram
				if states.Has(tcpstate.Listen) {
					for cookie := 1; cookie <= there; cookie++ {
						if ext != 0 && cookie > tt.fit { // it does not fit, and that is the end
							return append(answer, done(seq))
						}
						answer = append(answer, join(row(tcpstate.Listen, unsorted(cookie))))
					}
				}
				if tt.bound && states.Has(tcpstate.Closed) {
					answer = append(answer, join(row(tcpstate.Closed, 1000)))
				}
				if states.Has(tcpstate.Established) {
					answer = append(answer, rows(seq, 1001, 2))
				}
				return append(answer, done(seq))
			}}
			c := k.client(t)
			q := Query{States: tt.states, Attrs: tt.attrs}
			got, err := cookies(t, c, t.Context(), q)
			if err != nil || fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("cookies %v, want %v, %v", got, tt.want, err)
			}
			if asked != tt.asked {
				t.Errorf("%d requests, want %d", asked, tt.asked)
			}
			// Leaving is possible at each row.
			for stop := 1; stop <= len(tt.want); stop++ {
				n := 0
				asked = 0
				for range c.Dump(t.Context(), q) {
					if n++; n == stop {
						break
					}
				}
				if n != stop {
					t.Errorf("%d rows, wanted to leave at %d", n, stop)
				}
			}
		})
	}
}

// Whichever of those requests fails, the dump does.
func TestListenersThatDoNotFitFail(t *testing.T) {
	for bad := 1; bad <= 3; bad++ {
		asked := 0
		k := &fakeKernel{answer: func(seq uint32, _ int) []datagram {
			if asked++; asked == bad {
				return []datagram{{data: kernelSays(uapi.NLMsgError, seq, syscall.EBUSY)}}
			}
			return []datagram{done(seq)}
		}}
		if _, err := cookies(t, k.client(t), t.Context(), Query{Attrs: AttrTCPInfo}); !errors.Is(err, syscall.EBUSY) || asked != bad {
			t.Errorf("request %d of %d fails: %v", bad, asked, err)
		}
	}
	k := &fakeKernel{answer: func(seq uint32, _ int) []datagram {
		return []datagram{join(netlinkMessage(uapi.TCPDiagGetSock, uapi.NLMFMulti, seq, make([]byte, 71))), done(seq)}
	}}
	var short *DecodeError
	if _, err := cookies(t, k.client(t), t.Context(), Query{Attrs: AttrTCPInfo}); !errors.As(err, &short) {
		t.Errorf("a row of 71 bytes: %v", err)
	}
}

// At every row: Close ends a running dump, and every call after it.
func TestCloseAtEveryRow(t *testing.T) {
	const n = 4
	for stop := 0; stop < n; stop++ {
		k := &fakeKernel{answer: func(seq uint32, _ int) []datagram {
			return []datagram{rows(seq, 1, 2), rows(seq, 3, 2), done(seq)}
		}}
		c := k.client(t)
		if stop == 0 {
			_ = c.Close()
		}
		seen := 0
		var failed error
		for _, err := range c.Dump(t.Context(), Query{}) {
			if err != nil {
				failed = err
				continue
			}
			if seen++; seen == stop {
				if err := c.Close(); err != nil {
					t.Error(err)
				}
			}
		}
		if seen != stop || !errors.Is(failed, net.ErrClosed) {
			t.Errorf("closed at row %d: %d rows, error %v", stop, seen, failed)
		}
		if err := c.Close(); err != nil {
			t.Errorf("closing again: %v", err)
		}
		if _, err := c.Count(t.Context(), Query{}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Count after Close: %v", err)
		}
		if k.open() != 0 || k.hungUp != 1 {
			t.Errorf("%d sockets open, the namespace released %d times", k.open(), k.hungUp)
		}
	}
}

// Whoever leaves the range is done with it, whatever has happened to the Client
// or the context meanwhile.
func TestLeaveAfterClose(t *testing.T) {
	k := &fakeKernel{answer: func(seq uint32, _ int) []datagram { return []datagram{rows(seq, 1, 3), done(seq)} }}
	c := k.client(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range c.Dump(ctx, Query{}) {
		_ = c.Close()
		cancel()
		break
	}
	if k.open() != 0 {
		t.Errorf("%d sockets open", k.open())
	}
}

// Cancelling and closing end a call that has not come to its rows yet.
func TestEndBeforeRows(t *testing.T) {
	for name, end := range map[string]func(c *Client, cancel func()) error{
		"cancel": func(_ *Client, cancel func()) error { cancel(); return context.Canceled },
		"close":  func(c *Client, _ func()) error { _ = c.Close(); return net.ErrClosed },
	} {
		for point, arm := range map[string]func(k *fakeKernel) (release func()){
			"priming": func(k *fakeKernel) func() { k.mute = true; return func() {} },
			"sending": func(k *fakeKernel) func() {
				k.sending = make(chan struct{})
				return func() { close(k.sending) }
			},
			"dialling": func(k *fakeKernel) func() {
				k.dialing = make(chan struct{})
				return func() { close(k.dialing) }
			},
		} {
			t.Run(name+" while "+point, func(t *testing.T) {
				k := &fakeKernel{answer: func(seq uint32, _ int) []datagram { return []datagram{rows(seq, 1, 1), done(seq)} }}
				c := k.client(t)
				if point == "dialling" {
					busy, err := c.acquire() // so that the call has to dial
					if err != nil {
						t.Fatal(err)
					}
					defer c.release(busy, false)
				}
				release := arm(k)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				failed := make(chan error)
				go func() {
					_, err := c.Count(ctx, Query{})
					failed <- err
				}()
				time.Sleep(20 * time.Millisecond) // it has reached the point; sooner is as good
				want := end(c, cancel)
				release()
				if err := <-failed; !errors.Is(err, want) {
					t.Errorf("error %v, want %v", err, want)
				}
				_ = c.Close()
				if k.open() != 0 {
					t.Errorf("%d sockets open", k.open())
				}
			})
		}
	}
}

// BufferSize is what a socket is read into, and 32 KiB the least.
func TestBufferSize(t *testing.T) {
	for size, want := range map[int]int{0: 32 << 10, 1: 32 << 10, 64 << 10: 64 << 10} {
		k := &fakeKernel{answer: func(seq uint32, _ int) []datagram { return []datagram{done(seq)} }}
		c, err := dialClient(size, k.dial, k.hangUp)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Count(t.Context(), Query{}); err != nil {
			t.Fatal(err)
		}
		if got := k.sockets[0].largest; got != want {
			t.Errorf("BufferSize %d: read into %d bytes, want %d", size, got, want)
		}
		_ = c.Close()
	}
}

// The user of a socket that nobody holds is only known where it is neither the
// kernel's 0 nor what a user namespace shows for a user it does not know.
func TestOwner(t *testing.T) {
	for _, tt := range []struct {
		uid, inode uint32
		ok         bool
	}{{0, 0, false}, {65534, 0, false}, {1000, 0, true}, {0, 9, true}, {65534, 9, true}, {1000, 9, true}} {
		s := Socket{UID: tt.uid, Inode: tt.inode}
		if uid, ok := s.Owner(); uid != tt.uid || ok != tt.ok {
			t.Errorf("Owner of %+v: %d, %v", tt, uid, ok)
		}
	}
}

// Calls within calls each have a socket of their own, and few of them are kept.
func TestNestedAndIdle(t *testing.T) {
	k := &fakeKernel{answer: func(seq uint32, _ int) []datagram { return []datagram{rows(seq, 1, 1), done(seq)} }}
	c := k.client(t)
	var nest func(depth int)
	nest = func(depth int) {
		for _, err := range c.Dump(t.Context(), Query{}) {
			if err != nil {
				t.Fatal(err)
			}
			if depth > 1 {
				nest(depth - 1)
			}
		}
	}
	nest(10)
	if len(k.sockets) != 10 {
		t.Errorf("%d sockets for ten dumps within each other", len(k.sockets))
	}
	if open := k.open(); open != maxIdle {
		t.Errorf("%d sockets kept, want %d", open, maxIdle)
	}
	nest(maxIdle)
	if len(k.sockets) != 10 {
		t.Error("kept sockets were not used again")
	}
}

func TestDialAndSendErrors(t *testing.T) {
	k := &fakeKernel{dialErr: syscall.EMFILE}
	if _, err := dialClient(0, k.dial, k.hangUp); !errors.Is(err, syscall.EMFILE) || k.hungUp != 1 {
		t.Errorf("error %v, released %d times", err, k.hungUp)
	}
	k = &fakeKernel{sendErr: syscall.ECONNREFUSED}
	if _, err := cookies(t, k.client(t), t.Context(), Query{}); !errors.Is(err, syscall.ECONNREFUSED) || k.open() != 0 {
		t.Errorf("error %v, %d sockets open", err, k.open())
	}
	k = &fakeKernel{answer: func(seq uint32, _ int) []datagram { return []datagram{rows(seq, 1, 1), done(seq)} }}
	c := k.client(t)
	for range c.Dump(t.Context(), Query{}) {
		k.dialErr = syscall.EMFILE // the one socket is busy
		if _, err := cookies(t, c, t.Context(), Query{}); !errors.Is(err, syscall.EMFILE) {
			t.Errorf("error %v", err)
		}
		k.dialErr = syscall.ENOENT // of a /proc that has gone; not the socket
		if _, err := c.Lookup(t.Context(), someID, 0); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("error %v", err)
		}
	}
}

func TestBadArguments(t *testing.T) {
	for _, cfg := range []Config{{NetNS: -1}, {BufferSize: -1}, {BufferSize: maxBuffer + 1}} {
		if _, err := Dial(&cfg); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("Dial(%+v): %v", cfg, err)
		}
	}
	k := &fakeKernel{}
	c := k.client(t)
	for _, tt := range []struct {
		q    Query
		want error
	}{
		{Query{Family: 3}, fs.ErrInvalid},
		{Query{Protocol: 33}, errors.ErrUnsupported},  // DCCP
		{Query{Protocol: 518}, errors.ErrUnsupported}, // TCP in the low byte
	} {
		q, want := tt.q, tt.want
		for _, err := range c.Dump(t.Context(), q) {
			if !errors.Is(err, want) {
				t.Errorf("Dump(%+v): %v", q, err)
			}
		}
		if _, err := c.Count(t.Context(), q); !errors.Is(err, want) {
			t.Errorf("Count(%+v): %v", q, err)
		}
	}
	if len(k.requests) != 0 {
		t.Error("a bad query was sent")
	}
	if _, err := DecodeSocket(33, diagMessage(1, 1, 2, 3)); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("DecodeSocket of DCCP: %v", err)
	}
	if s, err := DecodeSocket(0, diagMessage(1, 1, 2, 3)); s.Protocol != TCP || err != nil {
		t.Errorf("DecodeSocket of protocol 0: %v, %v", s.Protocol, err)
	}
}

// The bytes of the requests, spelt out from linux/inet_diag.h in this machine's
// order.
func TestRequestBytes(t *testing.T) {
	header := func(size uint32, typ uint16) []any { return []any{size, typ, uint16(0x301), uint32(1), uint32(0)} }
	id := make([]byte, 48)
	tests := []struct {
		q    Query
		want []any
	}{
		// inet_diag_req_v2: family, protocol, ext, pad, states, id.
		{Query{Family: IPv4, States: tcpstate.SetOf(tcpstate.Established), Attrs: AttrTCPInfo},
			append(header(72, 20), []byte{2, 6, 0x02, 0}, uint32(0x2), id)},
		{Query{Family: IPv6, States: tcpstate.SetOf(tcpstate.TimeWait, tcpstate.Listen), Attrs: AttrClassID | AttrMark | AttrCgroupID},
			append(header(72, 20), []byte{10, 6, 0x20, 0}, uint32(0x440), id)},
		// inet_diag_req: family, lengths, ext, id, states, dbs.
		{Query{Attrs: AttrMemInfo | AttrCongestion | AttrTOS | AttrTrafficClass | AttrSocketMemory},
			append(header(76, 18), []byte{2, 0, 0, 0x79}, id, uint32(0xffffffff), uint32(0))},
		// What is not TCP needs INET_DIAG_REQ_PROTOCOL (3) there, and what does not
		// fit into a byte needs it everywhere.
		{Query{Protocol: UDP, States: tcpstate.SetOf(tcpstate.Closed)},
			append(header(84, 18), []byte{2, 0, 0, 0}, id, uint32(0x80), uint32(0), uint16(8), uint16(3), uint32(17))},
		{Query{Protocol: MPTCP},
			append(header(84, 18), []byte{2, 0, 0, 0}, id, uint32(0xffffffff), uint32(0), uint16(8), uint16(3), uint32(262))},
		{Query{Protocol: MPTCP, Family: IPv6},
			append(header(80, 20), []byte{10, 0, 0, 0}, uint32(0xffffffff), id, uint16(8), uint16(3), uint32(262))},
		{Query{Protocol: UDP, Family: IPv4},
			append(header(72, 20), []byte{2, 17, 0, 0}, uint32(0xffffffff), id)},
	}
	for _, tt := range tests {
		var want bytes.Buffer
		for _, v := range tt.want {
			if err := binary.Write(&want, binary.NativeEndian, v); err != nil {
				t.Fatal(err)
			}
		}
		r := tt.q.request()
		if got := r.append(nil, 1); !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%+v:\n got %x\nwant %x", tt.q, got, want.Bytes())
		}
	}
}

// Which rows pass, and under which state, for what was asked.
func TestRowStates(t *testing.T) {
	type row struct {
		state        tcpstate.State
		sport, dport uint16
	}
	const drop = tcpstate.State(0)
	tests := []struct {
		name string
		ask  tcpstate.Set
		row  row
		want tcpstate.State
	}{
		{"asked", tcpstate.SetOf(tcpstate.Established), row{tcpstate.Established, 1, 2}, tcpstate.Established},
		{"changed meanwhile", tcpstate.SetOf(tcpstate.Established), row{tcpstate.FinWait1, 1, 2}, drop},
		{"reset meanwhile", tcpstate.SetOf(tcpstate.Established), row{tcpstate.Closed, 1, 2}, drop},
		{"reset and disconnected meanwhile", tcpstate.SetOf(tcpstate.Established), row{tcpstate.Closed, 0, 0}, drop},
		{"request socket, by its own state", tcpstate.SetOf(tcpstate.NewSynRecv), row{tcpstate.SynRecv, 1, 2}, tcpstate.SynRecv},
		{"bound only", tcpstate.SetOf(tcpstate.BoundInactive), row{tcpstate.Closed, 1, 0}, tcpstate.BoundInactive},
		{"bound only, among all", 0, row{tcpstate.Closed, 1, 0}, tcpstate.BoundInactive},
		{"bound when picked, connected since", tcpstate.SetOf(tcpstate.BoundInactive), row{tcpstate.SynSent, 1, 2}, drop},
		{"reset, among all", 0, row{tcpstate.Closed, 1, 2}, tcpstate.Closed},
		{"reset and still bound", tcpstate.SetOf(tcpstate.BoundInactive), row{tcpstate.Closed, 1, 2}, tcpstate.BoundInactive},
		{"reset, when others were asked for too", tcpstate.SetOf(tcpstate.BoundInactive, tcpstate.Established), row{tcpstate.Closed, 1, 2}, drop},
		{"closed, as asked", tcpstate.SetOf(tcpstate.Closed), row{tcpstate.Closed, 1, 0}, tcpstate.Closed},
		{"a newer kernel's state", tcpstate.SetOf(tcpstate.Established), row{14, 1, 2}, 14},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := &fakeKernel{answer: func(seq uint32, _ int) []datagram {
				m := diagMessage(tt.row.state, tt.row.sport, tt.row.dport, 1)
				return []datagram{join(netlinkMessage(uapi.TCPDiagGetSock, 2, seq, m)), done(seq)}
			}}
			c := k.client(t)
			got := drop
			for s, err := range c.Dump(t.Context(), Query{States: tt.ask}) {
				if err != nil {
					t.Fatal(err)
				}
				got = s.State
			}
			if got != tt.want {
				t.Errorf("state %v, want %v", got, tt.want)
			}
			counts, err := c.Count(t.Context(), Query{States: tt.ask})
			if err != nil {
				t.Fatal(err)
			}
			var want tcpstate.Counts
			if tt.want != drop {
				want.Add(tt.want, 1)
			}
			if counts != want {
				t.Errorf("counts %v, want %v", counts, want)
			}
		})
	}
}

// A filter is checked again on arrival.
func TestRowsMatchAgain(t *testing.T) {
	k := &fakeKernel{answer: func(seq uint32, _ int) []datagram {
		return []datagram{join(rows(seq, 1, 1).data, netlinkMessage(uapi.TCPDiagGetSock, 2, seq, diagMessage(1, 1001, 2000, 2))), done(seq)}
	}}
	if got, err := cookies(t, k.client(t), t.Context(), Query{Filter: LocalPort(1001, 1001)}); fmt.Sprint(got) != "[2]" || err != nil {
		t.Error(got, err)
	}
}
