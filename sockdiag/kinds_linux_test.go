package sockdiag_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/sockdiag"
)

// withoutPart skips where the kernel has no such part and says so. That is nothing
// which the machine lacks, so that TIMEWAIT_REQUIRE has no say in it: the table of
// internal/kernels says which kernels must have it.
func withoutPart(t *testing.T, part string, err error) {
	t.Helper()
	switch {
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.ENOENT), errors.Is(err, errors.ErrUnsupported):
		t.Skipf("missing: %s in this kernel: %v", part, err)
	case err != nil:
		t.Fatalf("%s: %v", part, err)
	}
}

// loopback is a port of the family's loopback address. 0 leaves it to the kernel.
func loopback(f sockdiag.Family, port uint16) unix.Sockaddr {
	if f == sockdiag.IPv4 {
		return &unix.SockaddrInet4{Port: int(port), Addr: [4]byte{127, 0, 0, 1}}
	}
	return &unix.SockaddrInet6{Port: int(port), Addr: netip.IPv6Loopback().As16()}
}

func trySocket(t *testing.T, f sockdiag.Family, typ, protocol int) (fdConn, error) {
	t.Helper()
	fd, err := unix.Socket(int(f), typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	t.Cleanup(func() {
		// A reset, where that is something: nothing is left of it.
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		_ = unix.Close(fd)
	})
	return fdConn(fd), nil
}

// newSocket makes a socket that does not block, or skips for want of the part.
func newSocket(t *testing.T, part string, f sockdiag.Family, typ, protocol int) fdConn {
	t.Helper()
	fd, err := trySocket(t, f, typ, protocol)
	withoutPart(t, part, err)
	return fd
}

func (f fdConn) bind(t *testing.T, family sockdiag.Family) fdConn {
	t.Helper()
	if err := unix.Bind(int(f), loopback(family, 0)); err != nil {
		t.Fatal(os.NewSyscallError("bind", err))
	}
	return f
}

func (f fdConn) listen(t *testing.T) fdConn {
	t.Helper()
	if err := unix.Listen(int(f), 5); err != nil {
		t.Fatal(os.NewSyscallError("listen", err))
	}
	return f
}

func (f fdConn) option(t *testing.T, level, name, value int) fdConn {
	t.Helper()
	if err := unix.SetsockoptInt(int(f), level, name, value); err != nil {
		t.Fatalf("setsockopt(%d, %d, %d): %v", level, name, value, err)
	}
	return f
}

// connect connects to where the other socket is bound; of a datagram socket it sets
// the peer.
func (f fdConn) connect(t *testing.T, to fdConn) {
	t.Helper()
	sa, err := unix.Getsockname(int(to))
	if err != nil {
		t.Fatal(os.NewSyscallError("getsockname", err))
	}
	err = unix.Connect(int(f), sa)
	for err == unix.EINTR {
		err = unix.Connect(int(f), sa)
	}
	switch err {
	case nil, unix.EINPROGRESS, unix.EALREADY, unix.EISCONN:
	default:
		t.Fatal(os.NewSyscallError("connect", err))
	}
}

// dial connects the client to the listener f and returns the server's end, when
// both ends know that they are connected.
func (f fdConn) dial(t *testing.T, client fdConn) (server fdConn) {
	t.Helper()
	client.connect(t, f)
	eventually(t, "accept", func() bool {
		fd, _, err := unix.Accept4(int(f), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil && err != unix.EAGAIN && err != unix.EINTR {
			t.Fatal(os.NewSyscallError("accept", err))
		}
		server = fdConn(fd)
		return err == nil
	})
	t.Cleanup(func() {
		_ = unix.SetsockoptLinger(int(server), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		_ = unix.Close(int(server))
	})
	eventually(t, "both ends connected", func() bool {
		_, err := unix.Getpeername(int(client))
		return err == nil
	})
	return server
}

// eventually polls, with the patience that an emulated machine needs.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// stream makes a listener and a connection to it.
func stream(t *testing.T, part string, f sockdiag.Family, protocol int) (listener, client, server fdConn) {
	t.Helper()
	listener = newSocket(t, part, f, unix.SOCK_STREAM, protocol).bind(t, f).listen(t)
	client = newSocket(t, part, f, unix.SOCK_STREAM, protocol)
	return listener, client, listener.dial(t, client)
}

// datagrams makes a socket that is bound, and one that is connected to it.
func datagrams(t *testing.T, part string, f sockdiag.Family, typ, protocol int) (bound, connected fdConn) {
	t.Helper()
	bound = newSocket(t, part, f, typ, protocol).bind(t, f)
	connected = newSocket(t, part, f, typ, protocol).bind(t, f)
	connected.connect(t, bound)
	return bound, connected
}

// protocolRaw is a number of RFC 3692, for experiments.
const protocolRaw = 253

// addMD5Key lets the socket use a TCP-MD5 key with a peer on the loopback address.
func (f fdConn) addMD5Key(t *testing.T, family sockdiag.Family) fdConn {
	t.Helper()
	key := unix.TCPMD5Sig{Keylen: 6}
	key.Addr.Family = uint16(family)
	copy(key.Key[:], "sesame")
	if family == sockdiag.IPv4 {
		copy(key.Addr.Data[2:], []byte{127, 0, 0, 1}) // behind the port
	} else {
		key.Addr.Data[2+4+15] = 1 // behind the port and the flow label
	}
	if err := unix.SetsockoptTCPMD5Sig(int(f), unix.IPPROTO_TCP, unix.TCP_MD5SIG, &key); err != nil {
		t.Fatalf("TCP_MD5SIG: %v", err)
	}
	return f
}

// startTLS puts TLS on top of a connection; with keys the kernel encrypts what it
// sends.
func (f fdConn) startTLS(t *testing.T, keys bool) {
	t.Helper()
	withoutPart(t, "TLS", unix.SetsockoptString(int(f), unix.IPPROTO_TCP, unix.TCP_ULP, "tls"))
	if keys {
		f.encrypt(t)
	}
}

// encrypt gives the kernel keys for what a socket with TLS sends: TLS 1.2 and
// AES-GCM-128.
func (f fdConn) encrypt(t *testing.T) {
	t.Helper()
	const solTLS, tlsTX = 282, 1
	info := make([]byte, 40) // struct tls12_crypto_info_aes_gcm_128
	binary.NativeEndian.PutUint16(info, 0x0303)
	binary.NativeEndian.PutUint16(info[2:], 51)
	if err := unix.SetsockoptString(int(f), solTLS, tlsTX, string(info)); err != nil {
		t.Fatalf("TLS_TX: %v", err)
	}
}

// What bpf(2) is called with, from linux/bpf.h.
const (
	bpfMapCreate     = 0
	bpfMapUpdateElem = 2
	bpfBTFLoad       = 18

	bpfMapTypeSKStorage = 24
	bpfNoPrealloc       = 1
)

func bpf(cmd uintptr, attr []byte) (int, error) {
	r, _, e := unix.Syscall(unix.SYS_BPF, cmd, uintptr(unsafe.Pointer(&attr[0])), uintptr(len(attr)))
	if e != 0 {
		return -1, os.NewSyscallError("bpf", e)
	}
	return int(r), nil
}

// storageMap makes a BPF map that holds four bytes for each socket. Without
// CAP_BPF over the machine it is fs.ErrPermission.
func storageMap(t *testing.T) (fd int, err error) {
	t.Helper()
	ne := binary.NativeEndian
	// The BTF of an int, which the map needs for its key and its value: a header,
	// struct btf_type with an encoding behind it, and the strings.
	var types bytes.Buffer
	for _, v := range []any{
		uint16(0xeb9f), uint8(1), uint8(0), uint32(24), // magic, version, flags, length of the header
		uint32(0), uint32(16), uint32(16), uint32(5), // where types and strings are, and their lengths
		uint32(1), uint32(1 << 24), uint32(4), uint32(1<<24 | 32), // name, kind INT, size; signed, 32 bits
		[]byte("\x00int\x00"),
	} {
		if err := binary.Write(&types, ne, v); err != nil {
			t.Fatal(err)
		}
	}
	load := make([]byte, 32)
	ne.PutUint64(load, uint64(uintptr(unsafe.Pointer(&types.Bytes()[0]))))
	ne.PutUint32(load[16:], uint32(types.Len()))
	btf, err := bpf(bpfBTFLoad, load)
	runtime.KeepAlive(&types)
	if err != nil {
		return -1, err
	}
	defer unix.Close(btf)
	create := make([]byte, 64)
	for at, v := range map[int]uint32{0: bpfMapTypeSKStorage, 4: 4, 8: 4, 16: bpfNoPrealloc, 48: uint32(btf), 52: 1, 56: 1} {
		ne.PutUint32(create[at:], v)
	}
	fd, err = bpf(bpfMapCreate, create)
	if err == nil {
		t.Cleanup(func() { unix.Close(fd) })
	}
	return fd, err
}

// store gives the socket a value in the map.
func (f fdConn) store(t *testing.T, storage int, value uint32) fdConn {
	t.Helper()
	key := int32(f)
	update := make([]byte, 32)
	binary.NativeEndian.PutUint32(update, uint32(storage))
	binary.NativeEndian.PutUint64(update[8:], uint64(uintptr(unsafe.Pointer(&key))))
	binary.NativeEndian.PutUint64(update[16:], uint64(uintptr(unsafe.Pointer(&value))))
	_, err := bpf(bpfMapUpdateElem, update)
	runtime.KeepAlive(&key)
	runtime.KeepAlive(&value)
	if err != nil {
		t.Fatalf("a BPF storage for a socket: %v", err)
	}
	return f
}

// setCongestion chooses the algorithm, or skips where the kernel has it not.
func (f fdConn) setCongestion(t *testing.T, name string) fdConn {
	t.Helper()
	withoutPart(t, "congestion control "+name, unix.SetsockoptString(int(f), unix.IPPROTO_TCP, unix.TCP_CONGESTION, name))
	return f
}

// withReno makes reno, which every kernel has and which tells nothing of itself, the
// default of the tests' namespace.
func withReno(t *testing.T) {
	t.Helper()
	const path = "/proc/sys/net/ipv4/tcp_congestion_control"
	old, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, []byte("reno"), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(path, old, 0); err != nil {
			t.Error(err)
		}
	})
}

var _ syscall.Conn = fdConn(0)
