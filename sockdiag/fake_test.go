package sockdiag

import (
	"encoding/binary"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed16c515c6/timewait/internal/uapi"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// fakeKernel is what the sockets of a Client under test talk to.
type fakeKernel struct {
	// answer returns the datagrams that answer a dump request. It is called with
	// the request's sequence number and how many came before it.
	answer func(seq uint32, nth int) []datagram

	// answerTo, where it is set, gets the request instead.
	answerTo func(request []byte) []datagram

	announce []datagram // to who joins a multicast group

	waits func() // is called when a socket is about to wait for a datagram

	mute    bool          // it does not answer the request that primes a socket
	dialing chan struct{} // dial waits until it is closed; nil: it does not wait
	sending chan struct{} // the same for Send

	mu       sync.Mutex
	dialErr  error
	sendErr  error
	requests [][]byte
	sockets  []*fakeSocket
	hungUp   int
}

// datagram is one thing that Receive can return.
type datagram struct {
	data  []byte
	port  uint32
	size  int    // what the kernel says the length is; 0: that of data
	drops uint32 // how many more were dropped when this is received
	err   error
}

func (k *fakeKernel) client(t *testing.T) *Client {
	t.Helper()
	c, err := dialClient(0, k.dial, k.hangUp)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func (k *fakeKernel) dial() (transport, error) {
	if k.dialing != nil {
		<-k.dialing
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dialErr != nil {
		return nil, k.dialErr
	}
	s := &fakeSocket{kernel: k}
	s.changed.L = &s.mu
	k.sockets = append(k.sockets, s)
	return s, nil
}

func (k *fakeKernel) hangUp() error {
	k.hungUp++
	return nil
}

// open counts the sockets that are not closed.
func (k *fakeKernel) open() (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.sockets {
		s.mu.Lock()
		if !s.closed {
			n++
		}
		s.mu.Unlock()
	}
	return n
}

// primes reports whether a request is the one without a body.
func primes(request []byte) bool { return len(request) == uapi.SizeofNLMsgHdr }

// fakeSocket is a transport. Like the kernel it answers a request without a body
// with EINVAL, and has nothing to say after its last datagram.
type fakeSocket struct {
	kernel *fakeKernel

	mu       sync.Mutex
	changed  sync.Cond
	queue    []datagram
	expired  bool
	closed   bool
	largest  int // buffer that it was read into
	groups   []uint32
	drops    uint32
	received int
}

func (s *fakeSocket) Send(b []byte) error {
	k := s.kernel
	seq := ne.Uint32(b[8:])
	if k.sending != nil {
		<-k.sending
	}
	k.mu.Lock()
	nth := 0
	for _, r := range k.requests {
		if !primes(r) {
			nth++
		}
	}
	k.requests = append(k.requests, append([]byte(nil), b...))
	err := k.sendErr
	k.mu.Unlock()
	var answer []datagram
	switch {
	case !primes(b) && err != nil:
		return err
	case !primes(b) && k.answerTo != nil:
		answer = k.answerTo(b)
	case !primes(b):
		answer = k.answer(seq, nth)
	case !k.mute:
		answer = []datagram{{data: kernelSays(uapi.NLMsgError, seq, syscall.EINVAL)}}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, answer...)
	s.changed.Broadcast()
	return nil
}

// Exchange leaves what is not from the kernel, or is not there yet, to Receive.
func (s *fakeSocket) Exchange(request, answer []byte) (n int, ok bool, err error) {
	if err := s.Send(request); err != nil {
		return 0, false, err
	}
	s.mu.Lock()
	there := len(s.queue) > 0 && s.queue[0].port == 0
	s.mu.Unlock()
	if !there {
		return 0, false, nil
	}
	n, _, ok, err = s.Receive(answer, false)
	return n, ok, err
}

func (s *fakeSocket) Receive(b []byte, wait bool) (int, uint32, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.largest = max(s.largest, len(b))
	for wait && len(s.queue) == 0 && !s.expired && !s.closed {
		if s.kernel.waits != nil {
			go s.kernel.waits() // which may close this socket
		}
		s.changed.Wait()
	}
	switch {
	case s.closed:
		return 0, 0, false, os.ErrClosed
	case s.expired:
		return 0, 0, false, os.ErrDeadlineExceeded
	case len(s.queue) == 0:
		return 0, 0, false, nil
	}
	d := s.queue[0]
	s.queue = s.queue[1:]
	s.drops += d.drops
	if d.err != nil {
		return 0, 0, false, d.err
	}
	s.received++
	copy(b, d.data)
	return max(len(d.data), d.size), d.port, true, nil
}

func (s *fakeSocket) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expired = !t.IsZero() && t.Before(time.Now())
	s.changed.Broadcast()
	return nil
}

func (s *fakeSocket) InterfaceIndex(string) (uint32, error) { return 0, syscall.ENODEV }

// Join is answered with what the kernel announces.
func (s *fakeSocket) Join(group uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups = append(s.groups, group)
	if s.kernel.announce != nil && len(s.groups) == 1 {
		s.queue = append(s.queue, s.kernel.announce...)
	}
	return nil
}

func (s *fakeSocket) SetReadBuffer(bytes int) (int, error) { return bytes, nil }
func (s *fakeSocket) ReadBuffer() (int, error)             { return 4096, nil }

// Drops is how many datagrams were said to be dropped.
func (s *fakeSocket) Drops() (uint32, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drops, nil
}

func (s *fakeSocket) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return os.ErrClosed
	}
	s.closed = true
	s.changed.Broadcast()
	return nil
}

// netlinkMessage is one message with its padding.
func netlinkMessage(typ, flags uint16, seq uint32, payload []byte) []byte {
	b := make([]byte, (16+len(payload)+3)&^3)
	ne.PutUint32(b, uint32(16+len(payload)))
	ne.PutUint16(b[4:], typ)
	ne.PutUint16(b[6:], flags)
	ne.PutUint32(b[8:], seq)
	copy(b[16:], payload)
	return b
}

// kernelSays is an NLMSG_DONE or NLMSG_ERROR.
func kernelSays(typ uint16, seq uint32, errno syscall.Errno) []byte {
	payload := make([]byte, 4, 20)
	ne.PutUint32(payload, uint32(-int32(errno)))
	if typ == uapi.NLMsgError {
		payload = payload[:20] // the request's header
	}
	return netlinkMessage(typ, 2, seq, payload)
}

// diagMessage is an inet_diag_msg of an IPv4 socket on 127.0.0.1, with
// attributes that are already encoded.
func diagMessage(state tcpstate.State, sport, dport uint16, cookie uint64, attrs ...[]byte) []byte {
	b := make([]byte, 72)
	b[0], b[1] = uapi.AFInet, uint8(state)
	binary.BigEndian.PutUint16(b[4:], sport)
	binary.BigEndian.PutUint16(b[6:], dport)
	copy(b[8:], []byte{127, 0, 0, 1})
	copy(b[24:], []byte{127, 0, 0, 1})
	ne.PutUint32(b[44:], uint32(cookie))
	ne.PutUint32(b[48:], uint32(cookie>>32))
	for _, a := range attrs {
		b = append(b, a...)
	}
	return b
}

// attribute is one netlink attribute with its padding.
func attribute(typ uint16, payload []byte) []byte {
	b := make([]byte, (4+len(payload)+3)&^3)
	ne.PutUint16(b, uint16(4+len(payload)))
	ne.PutUint16(b[2:], typ)
	copy(b[4:], payload)
	return b
}

// join makes one datagram of messages.
func join(messages ...[]byte) datagram {
	var d datagram
	for _, m := range messages {
		d.data = append(d.data, m...)
	}
	return d
}

// rows are n messages of a dump of both families, with the cookies first,
// first+1, and so on.
func rows(seq uint32, first uint64, n int) datagram {
	var d datagram
	for i := range uint64(n) {
		d.data = append(d.data, netlinkMessage(uapi.TCPDiagGetSock, 2, seq, diagMessage(tcpstate.Established, 1000, 2000, first+i))...)
	}
	return d
}

func done(seq uint32) datagram { return datagram{data: kernelSays(uapi.NLMsgDone, seq, 0)} }
