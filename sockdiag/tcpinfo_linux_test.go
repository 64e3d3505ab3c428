package sockdiag

import (
	"errors"
	"io/fs"
	"maps"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/cpu"
	"golang.org/x/sys/unix"

	"github.com/seed16c515c6/timewait/internal/btf"
	"github.com/seed16c515c6/timewait/internal/nstest"
	"github.com/seed16c515c6/timewait/internal/sockopt"
	"github.com/seed16c515c6/timewait/tcpstate"
)

// kernelTypes is the running kernel's own word on its types.
func kernelTypes(t *testing.T) *btf.Spec {
	t.Helper()
	spec, err := btf.LoadKernel()
	if errors.Is(err, fs.ErrNotExist) {
		nstest.Skip(t, "BTF of the running kernel: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

func kernelTCPInfo(t *testing.T) btf.Struct {
	t.Helper()
	s, err := kernelTypes(t).Struct("tcp_info")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustRunningRelease(t *testing.T) Release {
	t.Helper()
	r, err := RunningRelease()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// memberWidth is in bits. BTF numbers them from the low end of each byte on
// little-endian machines, from the high end on big-endian ones.
func memberWidth(m btf.Member) uint32 {
	if m.Bits != 0 {
		return m.Bits
	}
	return 8 * m.Size
}

func getMember(b []byte, m btf.Member) uint64 {
	v, width := uint64(0), memberWidth(m)
	for i := range width {
		if at := m.Offset + i; cpu.IsBigEndian {
			v = v<<1 | uint64(b[at/8]>>(7-at%8)&1)
		} else {
			v |= uint64(b[at/8]>>(at%8)&1) << i
		}
	}
	return v
}

func putMember(b []byte, m btf.Member, v uint64) {
	width := memberWidth(m)
	for i := range width {
		if at := m.Offset + i; cpu.IsBigEndian {
			b[at/8] |= byte(v>>(width-1-i)&1) << (7 - at%8)
		} else {
			b[at/8] |= byte(v>>i&1) << (at % 8)
		}
	}
}

// accECNMembers are those that share the last four bytes.
var accECNMembers = map[string]func(AccECN) uint64{
	"tcpi_ecn_mode":         func(a AccECN) uint64 { return uint64(a.Mode) - 1 },
	"tcpi_accecn_opt_seen":  func(a AccECN) uint64 { return uint64(a.Option) },
	"tcpi_accecn_fail_mode": func(a AccECN) uint64 { return uint64(a.Failure) },
	"tcpi_options2":         func(a AccECN) uint64 { return uint64(a.Options2) },
}

// Every member of the running kernel's tcp_info, set alone, is found by the field of
// its name and by no other.
func TestBTFTCPInfoMembers(t *testing.T) {
	s, release := kernelTCPInfo(t), mustRunningRelease(t)
	seen := map[string]bool{}
	for _, m := range s.Members {
		if m.Offset/8 >= sizeofTCPInfo {
			t.Logf("this kernel's tcp_info has more than the table knows: %+v", m)
			continue
		}
		seen[m.Name] = true
		all := uint64(math.MaxUint64) >> (64 - memberWidth(m))
		for _, v := range []uint64{1, all, all & 0x5a5a5a5a5a5a5a5a} {
			if v > 1<<52 && tcpInfoUnits[m.Name] != 0 {
				v >>= 12 // microseconds that a Duration can hold
			}
			b := make([]byte, s.Size)
			b[0] = 1 // ESTABLISHED, so that no time is taken for meaningless
			if m.Name == "tcpi_state" {
				v, b[0] = 1, 0
			}
			putMember(b, m, v)
			var info TCPInfo
			if err := info.UnmarshalBinary(b); err != nil {
				t.Fatal(err)
			}
			if value, ok := accECNMembers[m.Name]; ok {
				accECN, ok := info.AccECN(release)
				if got := value(accECN); !ok || got != v {
					t.Errorf("%s = %#x, want %#x: %+v for Linux %v", m.Name, got, v, accECN, release)
				}
				info.accECN = [4]byte{}
			} else {
				checkField(t, &info, m.Name, v, false)
				f, _ := fieldOf(&info, m.Name)
				f.SetZero()
			}
			want := TCPInfo{size: uint16(min(s.Size, sizeofTCPInfo))}
			if m.Name != "tcpi_state" {
				want.State = 1
			}
			if info != want {
				t.Errorf("%s = %#x also shows in another field: %+v", m.Name, v, info)
			}
		}
	}
	for f := range Fields() {
		if f == FieldAccECN {
			continue
		}
		if has := release.Compare(f.Since()) >= 0; seen[f.String()] != has {
			t.Errorf("Linux %v has %v: %t; the table says since %v", release, f, seen[f.String()], f.Since())
		}
	}
	for name := range accECNMembers {
		has := release.AtLeast(6, 18) && (release.AtLeast(7, 0) || strings.HasPrefix(name, "tcpi_accecn_"))
		if seen[name] != has {
			t.Errorf("Linux %v has %s: %t", release, name, seen[name])
		}
	}
}

// The offsets themselves, and Has at the kernel's own boundaries.
func TestBTFTCPInfoOffsets(t *testing.T) {
	s := kernelTCPInfo(t)
	var info TCPInfo
	info.decode(make([]byte, s.Size))
	for f := range Fields() {
		row := tcpInfoFields[f]
		if f == FieldAccECN {
			if info.Has(f) != (s.Size >= 280) {
				t.Errorf("%d bytes: Has(%v) = %t", s.Size, f, info.Has(f))
			}
			continue
		}
		m, ok := s.Member(f.String())
		if info.Has(f) != ok {
			t.Errorf("Has(%v) = %t, but the kernel has it: %t", f, info.Has(f), ok)
		}
		if ok && (m.Offset/8 != uint32(row.off) || m.Size != uint32(row.size)) {
			t.Errorf("%v is %d bytes at %d, the table says %d at %d", f, m.Size, m.Offset/8, row.size, row.off)
		}
	}
}

func TestBTFTCPInfoEnums(t *testing.T) {
	spec := kernelTypes(t)
	for enum, want := range map[string]map[string]int64{
		"tcp_ca_state": {
			"TCP_CA_Open": int64(CAOpen), "TCP_CA_Disorder": int64(CADisorder), "TCP_CA_CWR": int64(CACWR),
			"TCP_CA_Recovery": int64(CARecovery), "TCP_CA_Loss": int64(CALoss),
		},
		"tcp_fastopen_client_fail": {
			"TFO_STATUS_UNSPEC":      int64(FastOpenUnspecified),
			"TFO_COOKIE_UNAVAILABLE": int64(FastOpenCookieUnavailable),
			"TFO_DATA_NOT_ACKED":     int64(FastOpenDataNotAcked),
			"TFO_SYN_RETRANSMITTED":  int64(FastOpenSYNRetransmitted),
		},
	} {
		got, err := spec.Enum(enum)
		if err != nil {
			t.Error(err)
		} else if !maps.Equal(got, want) {
			t.Errorf("enum %s is %v, here %v", enum, got, want)
		}
	}
	states, err := spec.Enum("tcp_ca_state")
	for name, v := range states {
		if s := CAState(v).String(); "TCP_CA_"+s != name {
			t.Errorf("%s is called %s here", name, s)
		}
	}
	if len(states) == 0 {
		t.Error(err)
	}
}

// getTCPInfo returns what getsockopt(TCP_INFO) fills in.
func getTCPInfo(t *testing.T, fd int) []byte {
	t.Helper()
	b := make([]byte, 512)
	n, err := sockopt.Get(uintptr(fd), unix.IPPROTO_TCP, unix.TCP_INFO, b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// Live sockets in every state, field by field against the bytes at the kernel's
// own offsets.
func TestLiveTCPInfo(t *testing.T) {
	s := kernelTCPInfo(t)
	nstest.RequireNamespace(t)
	states := map[tcpstate.State]bool{}
	for _, made := range nstest.States(t, nstest.IPv4) {
		if made.FD < 0 {
			continue
		}
		b := getTCPInfo(t, made.FD)
		if len(b) != int(s.Size) {
			t.Errorf("getsockopt returns %d bytes, BTF has %d", len(b), s.Size)
		}
		var info TCPInfo
		if err := info.UnmarshalBinary(b); err != nil {
			t.Fatal(err)
		}
		states[info.State] = true
		// nstest knows from its own calls whether the socket has had a connection.
		noTraffic := !made.Remote.IsValid() || made.Remote.Port() == 0 || made.State == tcpstate.SynSent
		for _, m := range s.Members {
			if _, ok := accECNMembers[m.Name]; !ok && m.Offset/8 < sizeofTCPInfo {
				checkField(t, &info, m.Name, getMember(b, m), noTraffic)
			}
		}
		if t.Failed() {
			t.Fatalf("that was %s", made.Name)
		}
	}
	for _, want := range []tcpstate.State{
		tcpstate.Established, tcpstate.SynSent, tcpstate.FinWait1, tcpstate.FinWait2, tcpstate.CloseWait, tcpstate.LastAck,
		tcpstate.Listen, tcpstate.Closing, tcpstate.Closed,
	} {
		if !states[want] {
			t.Errorf("no socket was in %v; there were %v", want, slices.Sorted(maps.Keys(states)))
		}
	}
}

func liveTCPInfo(t *testing.T, fd int) TCPInfo {
	t.Helper()
	var info TCPInfo
	if err := info.UnmarshalBinary(getTCPInfo(t, fd)); err != nil {
		t.Fatal(err)
	}
	return info
}

func freshTCPSocket(t *testing.T) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// When the times since the last traffic are times, and when they are the kernel's
// clock.
func TestLiveTCPInfoNoTraffic(t *testing.T) {
	none := func(t *testing.T, fd int, state tcpstate.State) {
		t.Helper()
		info := liveTCPInfo(t, fd)
		if info.State != state {
			t.Fatalf("the socket is in %v, want %v", info.State, state)
		}
		if info.LastDataSent != NoTraffic || info.LastDataRecv != NoTraffic || info.LastAckRecv != NoTraffic {
			t.Errorf("last %v, %v, %v; want NoTraffic", info.LastDataSent, info.LastDataRecv, info.LastAckRecv)
		}
	}
	// A tick of the kernel is 10 ms at most.
	since := func(t *testing.T, fd int, state tcpstate.State, least, most time.Duration) {
		t.Helper()
		info := liveTCPInfo(t, fd)
		if info.State != state {
			t.Fatalf("the socket is in %v, want %v", info.State, state)
		}
		for name, d := range map[string]time.Duration{
			"LastDataSent": info.LastDataSent, "LastDataRecv": info.LastDataRecv, "LastAckRecv": info.LastAckRecv,
		} {
			if d < least-20*time.Millisecond || d > most+20*time.Millisecond {
				t.Errorf("%s is %v, want %v to %v", name, d, least, most)
			}
		}
	}

	t.Run("fresh", func(t *testing.T) { none(t, freshTCPSocket(t), tcpstate.Closed) })

	t.Run("refused", func(t *testing.T) {
		bound := freshTCPSocket(t) // and not listening
		if err := unix.Bind(bound, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			t.Fatal(err)
		}
		none(t, bound, tcpstate.Closed)
		addr, err := unix.Getsockname(bound)
		if err != nil {
			t.Fatal(err)
		}
		fd := freshTCPSocket(t)
		if err := unix.Connect(fd, addr); err != unix.EINPROGRESS && err != unix.ECONNREFUSED {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
			if liveTCPInfo(t, fd).State == tcpstate.Closed {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("not refused in 5s")
			}
		}
		none(t, fd, tcpstate.Closed)
	})

	t.Run("connection", func(t *testing.T) {
		start := time.Now()
		client, server := nstest.Pair(t, nstest.IPv4)
		made := time.Now()
		time.Sleep(100 * time.Millisecond)
		for _, fd := range []int{client, server} {
			least := time.Since(made)
			since(t, fd, tcpstate.Established, least, time.Since(start)+50*time.Millisecond)
		}
		nstest.Abort(t, server) // the client gets a RST, and keeps its times
		for deadline := time.Now().Add(5 * time.Second); liveTCPInfo(t, client).State != tcpstate.Closed; {
			if time.Now().After(deadline) {
				t.Fatal("no RST in 5s")
			}
			time.Sleep(time.Millisecond)
		}
		least := time.Since(made)
		since(t, client, tcpstate.Closed, least, time.Since(start)+50*time.Millisecond)
	})

	t.Run("disconnected", func(t *testing.T) {
		client, _ := nstest.Pair(t, nstest.IPv4)
		var unspec unix.RawSockaddr // AF_UNSPEC is zero
		if _, _, e := unix.Syscall(unix.SYS_CONNECT, uintptr(client), uintptr(unsafe.Pointer(&unspec)), unix.SizeofSockaddrInet4); e != 0 {
			t.Fatal(e)
		}
		none(t, client, tcpstate.Closed)
	})
}

// What handshake options a connection has is decided by sysctls.
func TestLiveTCPInfoOptions(t *testing.T) {
	client, server := nstest.Pair(t, nstest.IPv4)
	for option, name := range map[TCPOptions]string{
		OptTimestamps: "tcp_timestamps", OptSACK: "tcp_sack", OptWScale: "tcp_window_scaling",
	} {
		b, err := os.ReadFile("/proc/sys/net/ipv4/" + name)
		if err != nil {
			nstest.Skip(t, "a readable sysctl: %v", err)
		}
		want := strings.TrimSpace(string(b)) != "0"
		for _, fd := range []int{client, server} {
			if got := liveTCPInfo(t, fd).Options; got.Has(option) != want {
				t.Errorf("options %v, but %s is %s", got, name, strings.TrimSpace(string(b)))
			}
		}
	}
}

// A process with personality UNAME26 sees a false release in uname.
func TestRunningReleaseUname26(t *testing.T) {
	b, err := os.ReadFile("/proc/version") // "Linux version 6.18.44-fc (...)"
	if err != nil {
		nstest.Skip(t, "/proc: %v", err)
	}
	want, err := ParseRelease(strings.Fields(string(b))[2])
	if err != nil {
		t.Fatal(err)
	}
	if got := mustRunningRelease(t); got != want {
		t.Errorf("RunningRelease() = %v, /proc/version says %v", got, want)
	}

	const uname26 = 0x0020000
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	old, _, e := unix.Syscall(unix.SYS_PERSONALITY, 0xffffffff, 0, 0)
	if e == 0 {
		_, _, e = unix.Syscall(unix.SYS_PERSONALITY, old|uname26, 0, 0)
	}
	if e != 0 {
		nstest.Skip(t, "personality(UNAME26): %v", e)
	}
	got, err := RunningRelease()
	if _, _, e := unix.Syscall(unix.SYS_PERSONALITY, old, 0, 0); e != 0 {
		t.Fatal(e)
	}
	if got != want || err != nil {
		t.Errorf("under UNAME26 RunningRelease() = %v, %v; want %v", got, err, want)
	}
}
