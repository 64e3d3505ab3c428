package sockdiag

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/seed16c515c6/timewait/internal/uapi"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// event is the announcement of a socket.
func event(cookie uint64) []byte {
	m := diagMessage(tcpstate.Closed, 1000, 2000, cookie, attribute(uapi.InetDiagProtocol, []byte{6}))
	return netlinkMessage(uapi.SockDiagByFamily, 0, 0, m)
}

// watched ranges over the notices until there were want of them, or an error, and
// tells of each: its cookie, or what was lost as a negative number.
func watched(w *Watcher, want int) (got []int, err error) {
	for n, err := range w.Events() {
		if err != nil {
			return got, err
		}
		switch n.Kind {
		case SocketClosed:
			got = append(got, int(n.Socket.Cookie))
		case Lost:
			got = append(got, -int(n.Lost))
		}
		if len(got) == want {
			break
		}
	}
	return got, nil
}

// A loss is a notice, and the stream goes on. What is dropped after the kernel has
// said so is told as well, once the buffer is empty.
func TestWatchLoss(t *testing.T) {
	k := &fakeKernel{announce: []datagram{
		{err: syscall.ENOBUFS, drops: 3},
		{data: event(1)},
		{data: event(2), drops: 4},
		{err: syscall.ENOBUFS}, // of the drops already told
		{data: append(event(3), event(4)...)},
		{data: event(9), port: 77}, // not from the kernel
		{data: event(5)},
		{data: event(6), drops: 2},
	}}
	w, err := k.client(t).Watch(t.Context(), WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := watched(w, 9)
	if want := []int{-3, 1, 2, -4, 3, 4, 5, 6, -2}; !slices.Equal(got, want) || err != nil {
		t.Errorf("got %v, error %v; want %v", got, err, want)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

// Leaving a range loses nothing, not even the rest of a datagram.
func TestWatchLeaveAndGoOn(t *testing.T) {
	k := &fakeKernel{announce: []datagram{{data: append(event(1), event(2)...)}, {data: event(3)}}}
	w, err := k.client(t).Watch(t.Context(), WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for n := range 3 {
		if got, err := watched(w, 1); err != nil || got[0] != n+1 {
			t.Errorf("got %v, error %v", got, err)
		}
	}
}

// What ends a Watcher ends a range that waits, and every later one.
func TestWatchEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(*Client, *Watcher, context.CancelFunc)
		want error
	}{
		{"watcher closed", func(_ *Client, w *Watcher, _ context.CancelFunc) { _ = w.Close() }, net.ErrClosed},
		{"client closed", func(c *Client, _ *Watcher, _ context.CancelFunc) { _ = c.Close() }, net.ErrClosed},
		{"context", func(_ *Client, _ *Watcher, cancel context.CancelFunc) { cancel() }, context.Canceled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := &fakeKernel{announce: []datagram{{data: event(1)}}}
			c := k.client(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			w, err := c.Watch(ctx, WatchOptions{})
			if err != nil {
				t.Fatal(err)
			}
			result := make(chan error)
			go func() {
				_, err := watched(w, 2)
				result <- err
			}()
			waiting(t, k)
			tt.end(c, w, cancel)
			var op *OpError
			if err := <-result; !errors.Is(err, tt.want) || !errors.As(err, &op) || op.Op != "watch" {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			if _, err := watched(w, 1); !errors.Is(err, tt.want) {
				t.Errorf("later: error %v, want %v", err, tt.want)
			}
			if err := errors.Join(w.Close(), w.Close()); err != nil {
				t.Error(err)
			}
			if err := errors.Join(c.Close(), w.Close()); err != nil || k.open() != 0 {
				t.Errorf("error %v, %d sockets open", err, k.open())
			}
		})
	}
}

// waiting waits until a fake socket has nothing more to say.
func waiting(t *testing.T, k *fakeKernel) {
	t.Helper()
	for {
		k.mu.Lock()
		s := k.sockets[len(k.sockets)-1]
		k.mu.Unlock()
		s.mu.Lock()
		empty := len(s.queue) == 0
		s.mu.Unlock()
		if empty {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func TestWatchOneRangeAtATime(t *testing.T) {
	k := &fakeKernel{announce: []datagram{{data: event(1)}}}
	w, err := k.client(t).Watch(t.Context(), WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for range w.Events() {
		if _, err := watched(w, 1); err == nil {
			t.Error("a second range within the first")
		}
		break
	}
}

func TestWatchOptions(t *testing.T) {
	for _, tt := range []struct {
		opts   WatchOptions
		groups []uint32 // of linux/sock_diag.h
	}{
		{WatchOptions{}, []uint32{1, 3}},
		{WatchOptions{Families: []Family{IPv4}}, []uint32{1}},
		{WatchOptions{Protocols: []Protocol{UDP}}, []uint32{2, 4}},
		{WatchOptions{Families: []Family{IPv6, IPv6}, Protocols: []Protocol{UDP, TCP, TCP}}, []uint32{4, 3}},
	} {
		k := &fakeKernel{}
		w, err := k.client(t).Watch(t.Context(), tt.opts)
		if err != nil {
			t.Fatal(err)
		}
		if got := k.sockets[1].groups; !slices.Equal(got, tt.groups) {
			t.Errorf("%+v: groups %v, want %v", tt.opts, got, tt.groups)
		}
		_ = w.Close()
	}
	k := &fakeKernel{}
	c := k.client(t)
	for _, tt := range []struct {
		opts WatchOptions
		want error
	}{
		{WatchOptions{Families: []Family{0}}, fs.ErrInvalid},
		{WatchOptions{ReadBuffer: -1}, fs.ErrInvalid},
		{WatchOptions{ReadBuffer: math.MinInt}, fs.ErrInvalid},
		{WatchOptions{Protocols: []Protocol{MPTCP}}, errors.ErrUnsupported},
	} {
		if _, err := c.Watch(t.Context(), tt.opts); !errors.Is(err, tt.want) {
			t.Errorf("Watch(%+v): %v", tt.opts, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Watch(ctx, WatchOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Watch(t.Context(), WatchOptions{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("error %v", err)
	}
	if n := k.open(); n != 0 {
		t.Errorf("%d sockets open", n)
	}
}

func TestWatchBrokenAnnouncement(t *testing.T) {
	for _, broken := range [][]byte{event(1)[:20], netlinkMessage(uapi.SockDiagByFamily, 0, 0, make([]byte, 40))} {
		k := &fakeKernel{announce: []datagram{{data: broken}}}
		w, err := k.client(t).Watch(t.Context(), WatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var short *DecodeError
		if _, err := watched(w, 1); !errors.As(err, &short) {
			t.Errorf("error %v", err)
		}
		_ = w.Close()
	}
}
