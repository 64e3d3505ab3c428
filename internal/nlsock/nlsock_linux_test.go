package nlsock_test

import (
	"encoding/binary"
	"errors"
	"os"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/nlsock"
	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/internal/uapi"
)

func TestMain(m *testing.M) { nstest.Main(m) }

func dial(t *testing.T) *nlsock.Conn {
	t.Helper()
	c, err := nlsock.Dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

var ne = binary.NativeEndian

// message is a netlink message to be acknowledged, with a payload of zeros.
func message(typ uint16, seq uint32, payload int) []byte {
	b := make([]byte, uapi.SizeofNLMsgHdr+payload)
	ne.PutUint32(b, uint32(len(b)))
	ne.PutUint16(b[4:], typ)
	ne.PutUint16(b[6:], uapi.NLMFRequest|uapi.NLMFAck)
	ne.PutUint32(b[8:], seq)
	return b
}

// sizeofAck is a struct nlmsgerr behind its header: an errno and the header of
// the message that it answers, without its payload.
const sizeofAck = uapi.SizeofNLMsgHdr + 4 + uapi.SizeofNLMsgHdr

func TestSendReceive(t *testing.T) {
	c := dial(t)
	for seq := range uint32(3) {
		if err := c.Send(message(uapi.NLMsgNoop, seq, 0)); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 4096)
		n, port, _, err := c.Receive(b, true)
		if err != nil || n != sizeofAck || port != 0 {
			t.Fatalf("%d bytes from port %d, %v", n, port, err)
		}
		if size, typ, answered, errno := ne.Uint32(b), ne.Uint16(b[4:]), ne.Uint32(b[8:]), ne.Uint32(b[16:]); size != sizeofAck || typ != uapi.NLMsgError || answered != seq || errno != 0 {
			t.Errorf("size %d, type %d, sequence %d, errno %d", size, typ, answered, errno)
		}
	}
}

// An error does not bring the request back (NETLINK_CAP_ACK), so that its length
// is bounded.
func TestErrorWithoutRequest(t *testing.T) {
	c := dial(t)
	const noFamily = 0xff
	req := message(uapi.SockDiagByFamily, 1, 1000)
	req[uapi.SizeofNLMsgHdr] = noFamily
	if err := c.Send(req); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4096)
	n, _, _, err := c.Receive(b, true)
	if err != nil || n != sizeofAck || ne.Uint16(b[4:]) != uapi.NLMsgError || ne.Uint32(b[16:]) == 0 {
		t.Errorf("%d bytes, want %d, type %d, errno %d, %v", n, sizeofAck, ne.Uint16(b[4:]), -int32(ne.Uint32(b[16:])), err)
	}
}

// An exchange has its answer at once, and what a shorter buffer does not hold is lost.
func TestExchange(t *testing.T) {
	c := dial(t)
	for seq, size := range []int{100, sizeofAck, 20, 100} {
		b := make([]byte, size)
		n, ok, err := c.Exchange(message(uapi.NLMsgNoop, uint32(seq), 0), b)
		if n != sizeofAck || !ok || err != nil || ne.Uint16(b[4:]) != uapi.NLMsgError || ne.Uint32(b[8:]) != uint32(seq) {
			t.Errorf("into %d bytes: %d, %v, %v: % x", size, n, ok, err, b)
		}
	}
	var call *os.SyscallError
	if n, ok, err := c.Exchange(make([]byte, 1<<20), make([]byte, 100)); n != 0 || ok || !errors.As(err, &call) || call.Syscall != "sendto" || call.Err != unix.EMSGSIZE {
		t.Errorf("a request longer than the send buffer: %d, %v, %v", n, ok, err)
	}
	// A message that asks for no acknowledgment is not answered.
	silent := message(uapi.NLMsgNoop, 7, 0)
	ne.PutUint16(silent[6:], uapi.NLMFRequest)
	if n, ok, err := c.Exchange(silent, make([]byte, 100)); n != 0 || ok || err != nil {
		t.Errorf("no answer: %d, %v, %v", n, ok, err)
	}
	_ = c.Close()
	if n, ok, err := c.Exchange(message(uapi.NLMsgNoop, 9, 0), make([]byte, 100)); n != 0 || ok || err == nil {
		t.Errorf("after Close: %d, %v, %v", n, ok, err)
	}
}

// Nobody but the kernel can send to a Conn, so that an exchange need not ask who it was;
// and what came before that was so is thrown away.
func TestOnlyTheKernelSends(t *testing.T) {
	nstest.RequireNamespace(t)
	c := dial(t)
	b := make([]byte, 100)
	if _, ok, err := c.Exchange(message(uapi.NLMsgNoop, 1, 0), b); !ok || err != nil {
		t.Fatal(ok, err)
	}
	port := ne.Uint32(b[12:])
	send := func() error {
		fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, message(uapi.NLMsgNoop, 4711, 0), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Pid: port})
	}
	if err := send(); err != unix.ECONNREFUSED {
		t.Errorf("sending to a Conn: %v", err)
	}

	if err := c.Disconnect(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := send(); err != nil {
			t.Fatal(err)
		}
	}
	// Not connected, an exchange leaves the answer to Receive, which tells them apart.
	if n, ok, err := c.Exchange(message(uapi.NLMsgNoop, 2, 0), b); n != 0 || ok || err != nil {
		t.Errorf("not connected: %d bytes, %v, %v", n, ok, err)
	}
	if _, from, ok, err := c.Receive(b, false); !ok || err != nil || from == 0 || ne.Uint32(b[8:]) != 4711 {
		t.Errorf("not connected: sequence %d from %d, %v, %v", ne.Uint32(b[8:]), from, ok, err)
	}
	if err := c.Connect(); err != nil {
		t.Fatal(err)
	}
	if n, ok, err := c.Exchange(message(uapi.NLMsgNoop, 3, 0), b); n != sizeofAck || !ok || err != nil || ne.Uint32(b[8:]) != 3 {
		t.Errorf("connected again: %d bytes, sequence %d, %v, %v", n, ne.Uint32(b[8:]), ok, err)
	}
	if n, from, ok, err := c.Receive(b, false); ok || err != nil {
		t.Errorf("behind it %d bytes from port %d, %v", n, from, err)
	}
}

// Where a sandbox forbids connect, it goes without.
func TestConnectForbidden(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() { // on a thread that ends with it
		program := []unix.SockFilter{
			{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the number of the call
			{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_CONNECT, Jf: 1},
			{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
			{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		}
		filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
		if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
			nstest.Skip(t, "a sandbox: %v", err)
		}
		if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&filter)), 0, 0); err != nil {
			nstest.Skip(t, "a sandbox: %v", err)
		}
		c := dial(t)
		b := make([]byte, 100)
		if n, ok, err := c.Exchange(message(uapi.NLMsgNoop, 1, 0), b); n != 0 || ok || err != nil {
			t.Errorf("an exchange: %d, %v, %v", n, ok, err)
		}
		if n, port, ok, err := c.Receive(b, false); n != sizeofAck || port != 0 || !ok || err != nil || ne.Uint32(b[8:]) != 1 {
			t.Errorf("then %d bytes from %d, %v, %v", n, port, ok, err)
		}
	})
}

// That the kernel has dropped datagrams is said once, and an exchange does not hide it.
func TestExchangeAfterALoss(t *testing.T) {
	nstest.RequireNamespace(t)
	nstest.NewNamespace(t).Do(func() {
		c := dial(t)
		if err := c.Join(uapi.SKNLGrpInetTCPDestroy); err != nil {
			t.Fatal(err)
		}
		if _, err := c.SetReadBuffer(1); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(20 * time.Second); ; {
			client, server := nstest.Pair(t, nstest.IPv4)
			nstest.Abort(t, client)
			nstest.Close(t, server)
			if n, err := c.Drops(); err != nil || n > 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("nothing is dropped")
			}
		}
		n, ok, err := c.Exchange(message(uapi.NLMsgNoop, 1, 0), make([]byte, 100))
		var call *os.SyscallError
		if n != 0 || ok || !errors.As(err, &call) || call.Syscall != "recvfrom" || call.Err != unix.ENOBUFS {
			t.Errorf("%d, %v, %v", n, ok, err)
		}
	})
}

// Nothing to read is no error for who does not wait.
func TestReceiveNothing(t *testing.T) {
	c := dial(t)
	if n, _, ok, err := c.Receive(make([]byte, 100), false); n != 0 || ok || err != nil {
		t.Errorf("%d bytes, %v, %v", n, ok, err)
	}
}

// A buffer too short gets the head of the datagram and its whole length, and the
// next datagram is the next.
func TestReceiveShort(t *testing.T) {
	c := dial(t)
	for _, size := range []int{20, 0, 1, sizeofAck} {
		for seq := range uint32(2) {
			if err := c.Send(message(uapi.NLMsgNoop, 10+seq, 0)); err != nil {
				t.Fatal(err)
			}
		}
		b := make([]byte, size)
		if n, port, _, err := c.Receive(b, true); err != nil || n != sizeofAck || port != 0 {
			t.Errorf("into %d bytes: length %d, port %d, %v", size, n, port, err)
		}
		if size >= uapi.SizeofNLMsgHdr && ne.Uint32(b[8:]) != 10 {
			t.Errorf("into %d bytes: % x", size, b)
		}
		b = make([]byte, 100)
		if n, _, _, err := c.Receive(b, true); err != nil || n != sizeofAck || ne.Uint32(b[8:]) != 11 {
			t.Errorf("then length %d, sequence %d, %v", n, ne.Uint32(b[8:]), err)
		}
	}
}

func TestDeadline(t *testing.T) {
	c := dial(t)
	b := make([]byte, 100)
	for _, d := range []time.Duration{-time.Hour, 20 * time.Millisecond} {
		begin := time.Now()
		if err := c.SetReadDeadline(begin.Add(d)); err != nil {
			t.Fatal(err)
		}
		if n, _, _, err := c.Receive(b, true); !errors.Is(err, os.ErrDeadlineExceeded) || n != 0 {
			t.Errorf("deadline in %v: %d, %v", d, n, err)
		}
		if passed := time.Since(begin); passed < d {
			t.Errorf("deadline in %v: after %v", d, passed)
		}
	}
	// While it waits.
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(20*time.Millisecond, func() { _ = c.SetReadDeadline(time.Unix(1, 0)) })
	defer timer.Stop()
	if _, _, _, err := c.Receive(b, true); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("deadline set while waiting: %v", err)
	}
	// And without one it works again.
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Send(message(uapi.NLMsgNoop, 1, 0)); err != nil {
		t.Fatal(err)
	}
	if n, _, _, err := c.Receive(b, true); err != nil || n != sizeofAck {
		t.Errorf("without deadline: %d, %v", n, err)
	}
}

func TestClose(t *testing.T) {
	c := dial(t)
	received := make(chan error)
	go func() {
		_, _, _, err := c.Receive(make([]byte, 100), true)
		received <- err
	}()
	select {
	case err := <-received:
		t.Fatalf("Receive does not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-received:
		if err == nil {
			t.Error("a Receive that waited ends without an error")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Receive waits on after Close")
	}
	if err := c.Send(message(uapi.NLMsgNoop, 1, 0)); err == nil {
		t.Error("Send after Close: no error")
	}
	if _, _, _, err := c.Receive(make([]byte, 100), true); err == nil {
		t.Error("Receive after Close: no error")
	}
	if _, err := c.NetNSCookie(); err == nil {
		t.Error("NetNSCookie after Close: no error")
	}
}

// The cookie is that of the namespace, as any socket of it has it.
func TestNetNSCookie(t *testing.T) {
	nstest.RequireNamespace(t)
	cookies := func() (ours [2]uint64, kernels uint64) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if kernels, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE); err != nil {
			nstest.Skip(t, "SO_NETNS_COOKIE, of Linux 5.14: %v", err)
		}
		for i := range ours {
			if ours[i], err = dial(t).NetNSCookie(); err != nil {
				t.Fatal(err)
			}
		}
		return ours, kernels
	}
	here, want := cookies()
	if here != [2]uint64{want, want} {
		t.Errorf("cookies %v, of another socket %d", here, want)
	}
	nstest.NewNamespace(t).Do(func() {
		there, wantThere := cookies()
		if wantThere == want || there != [2]uint64{wantThere, wantThere} {
			t.Errorf("in another namespace %v, of another socket %d; at home %d", there, wantThere, want)
		}
	})
}
